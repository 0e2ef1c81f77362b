/* SPDX-License-Identifier: MIT */
#include "ft/chat.h"

#include "jinja.h"
#include "tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

struct ft_chat {
    const struct ft_tokenizer *tokenizer;
    const char *date;
    struct ft_jinja jinja;
};

enum ft_status ft_chat_new(struct ft_chat **out, const struct ft_tokenizer *tokenizer, const char *template, const char *date,
                           struct ft_error *error) {
    struct ft_chat *chat;
    if (!template) template = ft_tokenizer_template(tokenizer);
    if (!template) return ft_fail(error, FT_USAGE, "the model has no chat template");
    enum ft_status status = ft_alloc(&chat, 1, sizeof *chat, error);
    if (status) return status;
    chat->tokenizer = tokenizer;
    chat->date = date;
    status = ft_jinja_compile(&chat->jinja, template, strlen(template), error);
    if (status) ft_chat_free(chat);
    else *out = chat;
    return status;
}

void ft_chat_free(struct ft_chat *chat) {
    if (!chat) return;
    ft_jinja_release(&chat->jinja);
    free(chat);
}

/* --- rendering ----------------------------------------------------------------------------------------------- */

static struct ft_jv message_value(struct ft_jinja_run *run, const struct ft_chat_message *message) {
    struct ft_json json = {.name = "messages"};
    struct ft_jv dict = ft_jv_dict(run);
    if (run->status) return dict;
    if (!message->node) {
        ft_jv_set(run, dict.u.dict, ft_jv_word("role"), ft_jv_word(message->role));
        ft_jv_set(run, dict.u.dict, ft_jv_word("content"), ft_jv_word(message->content));
        return dict;
    }
    for (const struct cJSON *entry = ft_json_first(message->node); entry && !run->status; entry = ft_json_next(entry)) {
        const char *key = ft_json_key(entry);
        if (strcmp(key, "weight") == 0 || strcmp(key, "train") == 0) continue;
        ft_jv_set(run, dict.u.dict, ft_jv_word(key), ft_jv_from_json(run, &json, entry));
    }
    return dict;
}

static void set(struct ft_jinja_run *run, const char *name, struct ft_jv value) {
    if (!run->status) ft_jv_set(run, &run->globals->names, ft_jv_word(name), value);
}

static void set_special_tokens(struct ft_jinja_run *run, const struct ft_tokenizer *t) {
    for (size_t i = 0; i < FT_NAMED_TOKENS; i++)
        if (t->named[i]) set(run, ft_named_token[i], ft_jv_word(t->named[i]));
}

static enum ft_status render(const struct ft_chat *chat, struct ft_jinja_run *run, const struct ft_chat_message *message,
                             size_t messages, const struct cJSON *tools, const struct cJSON *variables, bool generation_prompt) {
    struct ft_json json = {.name = "the template's variables"};
    struct ft_jv list = ft_jv_list(run, messages);
    run->date = chat->date;
    for (size_t i = 0; i < messages && !run->status; i++) ft_jv_push(run, list, message_value(run, &message[i]));
    set_special_tokens(run, chat->tokenizer);
    set(run, "messages", list);
    set(run, "tools", tools ? ft_jv_from_json(run, &json, tools) : ft_jv_none());
    set(run, "documents", ft_jv_none());
    set(run, "add_generation_prompt", ft_jv_bool(generation_prompt));
    for (const struct cJSON *entry = variables ? ft_json_first(variables) : NULL; entry; entry = ft_json_next(entry))
        set(run, ft_json_key(entry), ft_jv_from_json(run, &json, entry));
    return run->status ? run->status : ft_jinja_render(&chat->jinja, run);
}

/* *steps: of renderings before this one, which share a bound with it; counted on. */
static enum ft_status render_text(const struct ft_chat *chat, const struct ft_chat_message *message, size_t messages,
                                  const struct cJSON *tools, const struct cJSON *variables, bool generation_prompt, uint64_t *steps,
                                  struct ft_buffer *text, struct ft_error *error) {
    struct ft_jinja_run run;
    ft_jinja_run_init(&run, error);
    run.steps = *steps;
    enum ft_status status = render(chat, &run, message, messages, tools, variables, generation_prompt);
    if (!status) status = ft_buffer_append(text, run.out.data, run.out.size, error);
    *steps = run.steps;
    ft_jinja_run_release(&run);
    return status;
}

enum ft_status ft_chat_render(const struct ft_chat *chat, const struct ft_chat_message *message, size_t messages,
                              const struct cJSON *tools, const struct cJSON *variables, bool generation_prompt,
                              struct ft_buffer *text, struct ft_error *error) {
    uint64_t steps = 0;
    return render_text(chat, message, messages, tools, variables, generation_prompt, &steps, text, error);
}

/* --- spans --------------------------------------------------------------------------------------------------- */

struct finder {
    const struct ft_chat *chat;
    const struct ft_chat_message *message;
    size_t messages;
    const struct cJSON *tools;
    const char *text; /* all messages, rendered */
    size_t size;
    uint64_t *steps; /* of all renderings of the record */
    struct ft_error *error;
};

static bool is_stop(const struct ft_tokenizer *t, uint32_t id) {
    for (size_t i = 0; i < t->eos.count; i++)
        if (t->eos.id[i] == id) return true;
    return false;
}

static bool is_prefix(const struct finder *f, const struct ft_buffer *part) {
    return part->size <= f->size && memcmp(f->text, part->data, part->size) == 0;
}

/* Where the first stop token behind `start` ends, or 0; *other: the first special token that is none, or NULL. */
static size_t stop_end(const struct finder *f, size_t start, const struct ft_added_token **other) {
    const struct ft_tokenizer *t = f->chat->tokenizer;
    struct ft_added_walk walk = {0};
    *other = NULL;
    while (ft_added_next(&t->added, &t->added.raw, f->text + start, f->size - start, &walk)) {
        if (walk.token && is_stop(t, walk.token->id)) return start + walk.end;
        if (walk.token && walk.token->special && !*other) *other = walk.token;
    }
    return 0;
}

/* The text that generation of message i begins with. */
static enum ft_status prompt_of(const struct finder *f, size_t i, struct ft_buffer *prompt) {
    ft_buffer_clear(prompt);
    enum ft_status status = render_text(f->chat, f->message, i, f->tools, NULL, true, f->steps, prompt, f->error);
    if (status || is_prefix(f, prompt)) return status;
    return ft_fail(f->error, FT_FORMAT,
                   "message %zu: the chat template writes the messages before it otherwise when an answer follows, so what generation "
                   "would begin with is not in the text; give each answer a record of its own",
                   i + 1);
}

/* Without a stop token, an answer ends where the text without the messages behind it does. */
static enum ft_status end_of(const struct finder *f, size_t i, const struct ft_added_token *other, struct ft_buffer *part,
                             size_t *end) {
    if (other)
        return ft_fail(f->error, FT_FORMAT,
                       "the chat template ends an answer with \"%s\", which is not a stop token of the model: add its id %u to "
                       "eos_token_id in generation_config.json",
                       other->content, other->id);
    ft_buffer_clear(part);
    enum ft_status status = render_text(f->chat, f->message, i + 1, f->tools, NULL, false, f->steps, part, f->error);
    if (!status && !is_prefix(f, part))
        return ft_fail(f->error, FT_FORMAT, "message %zu: the end of the answer cannot be told; give it a record of its own", i + 1);
    *end = part->size;
    return status;
}

static enum ft_status find_spans(const struct finder *f, struct ft_chat_span *span) {
    struct ft_buffer part = {0};
    size_t n = 0, before = 0;
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < f->messages && !status; i++) {
        const struct ft_added_token *other;
        if (!f->message[i].wanted) continue;
        if ((status = prompt_of(f, i, &part))) break;
        size_t start = part.size, end = stop_end(f, start, &other);
        if (!end) status = end_of(f, i, other, &part, &end);
        if (!status && (start < before || end < start))
            status = ft_fail(f->error, FT_FORMAT, "message %zu: its answer overlaps the one before", i + 1);
        span[n++] = (struct ft_chat_span){i, start, end};
        before = end;
    }
    ft_buffer_release(&part);
    return status;
}

/* The end of a stop token that begins right at `at`, or `at`. */
static size_t stop_at(const struct finder *f, size_t at) {
    const struct ft_tokenizer *t = f->chat->tokenizer;
    struct ft_added_walk walk = {0};
    bool there = ft_added_next(&t->added, &t->added.raw, f->text + at, f->size - at, &walk);
    return there && walk.token && walk.start == 0 && is_stop(t, walk.token->id) ? at + walk.end : at;
}

/* The template's own blocks, one for each assistant's message. */
static enum ft_status take_blocks(const struct finder *f, const struct ft_jinja_run *run, struct ft_chat_span *span) {
    size_t n = 0, answers = 0;
    for (size_t i = 0; i < f->messages; i++) {
        if (strcmp(f->message[i].role, "assistant") != 0) continue;
        if (answers < run->spans && f->message[i].wanted) {
            struct ft_jinja_span block = run->span[answers];
            span[n++] = (struct ft_chat_span){i, block.start, stop_at(f, block.end)};
        }
        answers++;
    }
    if (answers == run->spans) return FT_OK;
    return ft_fail(f->error, FT_FORMAT, "the chat template has %zu generation blocks for %zu answers", run->spans, answers);
}

enum ft_status ft_chat_spans(const struct ft_chat *chat, const struct ft_chat_message *message, size_t messages,
                             const struct cJSON *tools, struct ft_buffer *text, struct ft_chat_span *span, struct ft_error *error) {
    struct ft_jinja_run run;
    ft_jinja_run_init(&run, error);
    enum ft_status status = render(chat, &run, message, messages, tools, NULL, false);
    if (!status) {
        struct finder f = {chat, message, messages, tools, run.out.data, run.out.size, &run.steps, error};
        status = run.spans ? take_blocks(&f, &run, span) : find_spans(&f, span);
    }
    if (!status) status = ft_buffer_append(text, run.out.data, run.out.size, error);
    ft_jinja_run_release(&run);
    return status;
}
