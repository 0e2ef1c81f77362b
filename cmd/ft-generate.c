/* SPDX-License-Identifier: MIT
 *
 * ft-generate: prompts in, completions out. */
#include "ft/card.h"
#include "ft/commit.h"
#include "ft/config.h"
#include "ft/example.h"
#include "ft/file.h"
#include "ft/generate.h"
#include "ft/json.h"
#include "ft/memory.h"
#include "ft/options.h"
#include "ft/progress.h"
#include "ft/provenance.h"
#include "ft/record.h"
#include "ft/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOKENS_MAX = 1 << 20,
    GROUP = 64,                /* prompts that begin together, so that answers come out soon */
    BATCH = 16 * GROUP,        /* prompts read ahead at most */
    BATCH_TOKENS = 1 << 22,    /* of them and their completions, from which on no more are read ahead */
};

struct settings {
    const char *model, *tuned;
    size_t max_tokens, top_k, threads, slots;
    double temperature, top_p;
    uint64_t seed;
    bool plain, text;
};

struct work {
    const struct settings *settings;
    struct ft_exec *exec;
    struct ft_tokenizer *tokenizer;
    struct ft_example_encoder *encoder;
    struct ft_model *model;
    const uint32_t *stop;
    size_t stops;
};

/* Prompts of one batch: ids, and the line each came from. */
struct pending {
    struct ft_ids ids[BATCH];
    struct ft_prompt prompt[BATCH];
    char *line[BATCH];
    size_t count, most; /* most: prompts to wait for */
    size_t tokens;      /* of these and, at most, their completions */
    uint64_t first;     /* number of the first, from 0 */
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void pending_clear(struct pending *p) {
    for (size_t i = 0; i < p->count; i++) {
        ft_ids_release(&p->ids[i]);
        free(p->line[i]);
    }
    p->first += p->count;
    p->count = p->tokens = 0;
}

/* --- reading prompts ------------------------------------------------------------------------------------- */

/* The turns that an answer is wanted to: all of "messages" but a last one of the assistant, which training data have. */
static enum ft_status encode_messages(struct work *w, const char *name, uint64_t number, const char *line, size_t size,
                                      struct ft_ids *ids, struct ft_error *error) {
    struct ft_record record = {0};
    enum ft_status status = ft_record_parse(&record, FT_RECORD_MESSAGES, line, size, name, number, error);
    bool fine = !status || record.problem == FT_RECORD_EXAMPLE_MISSING_ASSISTANT_MESSAGE || record.problem == FT_RECORD_NO_TARGET;
    if (fine) {
        size_t turns = record.turns;
        while (turns && strcmp(record.turn[turns - 1].role, "assistant") == 0) turns--;
        status = turns ? ft_example_prompt_turns(w->encoder, &record, turns, ids, error)
                       : ft_fail(error, FT_FORMAT, "%s:%llu: no message to answer", name, (unsigned long long)number);
    }
    ft_record_release(&record);
    return status;
}

static enum ft_status encode_prompt(struct work *w, const char *name, uint64_t number, const char *prompt, struct ft_ids *ids,
                                    struct ft_error *error) {
    enum ft_status status = ft_example_prompt(w->encoder, prompt, ids, error);
    return status ? ft_error_context(error, "%s:%llu", name, (unsigned long long)number) : FT_OK;
}

static enum ft_status encode_line(struct work *w, const char *name, uint64_t number, const char *line, size_t size,
                                  struct ft_ids *ids, struct ft_error *error) {
    if (w->settings->plain) return encode_prompt(w, name, number, line, ids, error);
    struct ft_json json = {0};
    const char *prompt = NULL, *text = NULL;
    enum ft_status status = ft_json_parse(&json, line, size, name, number, error);
    if (!status) status = ft_json_expect(&json, json.root, FT_JSON_OBJECT, error);
    if (!status && ft_json_find(json.root, "messages")) {
        status = encode_messages(w, name, number, line, size, ids, error);
    } else if (!status) {
        status = ft_json_get_string(&json, json.root, "prompt", FT_JSON_OPTIONAL, &prompt, error);
        if (!status) status = ft_json_get_string(&json, json.root, "text", FT_JSON_OPTIONAL, &text, error);
        if (!status && !prompt && !text)
            status = ft_json_fail(&json, json.root, error, "\"messages\", \"prompt\" or \"text\" is expected");
        if (!status) status = encode_prompt(w, name, number, prompt ? prompt : text, ids, error);
    }
    ft_json_release(&json);
    return status;
}

static enum ft_status take_line(struct work *w, struct pending *p, const char *name, uint64_t number, const char *line,
                                size_t size, struct ft_error *error) {
    size_t i = p->count;
    if (memchr(line, '\0', size)) return ft_fail(error, FT_FORMAT, "%s:%llu: NUL in the text", name, (unsigned long long)number);
    p->ids[i] = (struct ft_ids){0};
    size_t context = ft_model_config(w->model)->positions;
    enum ft_status status = encode_line(w, name, number, line, size, &p->ids[i], error);
    if (!status && p->ids[i].count == 0)
        status = ft_fail(error, FT_FORMAT, "%s:%llu: the prompt is empty and the model has no first token of its own", name, (unsigned long long)number);
    if (!status && p->ids[i].count >= context)
        status = ft_fail(error, FT_LIMIT, "%s:%llu: a prompt of %zu tokens leaves no room for a completion in the model's %zu; shorten it",
                         name, (unsigned long long)number, p->ids[i].count, context);
    if (!status && !(p->line[i] = strdup(line))) status = ft_fail(error, FT_NOMEM, "out of memory for the prompts");
    if (status) {
        ft_ids_release(&p->ids[i]);
        return status;
    }
    p->prompt[i] = (struct ft_prompt){.ids = p->ids[i].id, .count = p->ids[i].count, .max_tokens = w->settings->max_tokens};
    p->count++;
    p->tokens += least(p->ids[i].count + w->settings->max_tokens, context);
    return FT_OK;
}

/* --- writing completions --------------------------------------------------------------------------------- */

static enum ft_status put_plain(const char *text) {
    fputs(text, stdout);
    putchar('\n');
    return FT_OK;
}

/* The record's line as it came, with "completion" and "stopped" set. */
static enum ft_status put_json(const struct settings *s, const char *line, const char *text, const struct ft_completion *c,
                               struct ft_error *error) {
    struct ft_json json = {0}, input = {0};
    struct ft_buffer out = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (!status && s->plain) ft_json_set_string(&json, json.root, "prompt", line);
    else if (!status && !(status = ft_json_parse(&input, line, strlen(line), "prompt", 1, error)))
        for (const struct cJSON *entry = ft_json_first(input.root); entry; entry = ft_json_next(entry))
            ft_json_set_copy(&json, json.root, ft_json_key(entry), entry);
    if (!status) {
        ft_json_set_string(&json, json.root, "completion", text);
        ft_json_set_bool(&json, json.root, "stopped", c->stopped);
        ft_json_set_u64(&json, json.root, "tokens", c->count);
        status = ft_json_print(&json, json.root, FT_JSON_SPACED, &out, error);
    }
    if (!status) put_plain(out.data);
    ft_buffer_release(&out);
    ft_json_release(&input);
    ft_json_release(&json);
    return status;
}

static enum ft_status put_completion(const struct work *w, const char *line, const struct ft_completion *c, struct ft_error *error) {
    struct ft_buffer text = {0};
    enum ft_status status = ft_decode(w->tokenizer, c->ids, c->count, FT_DECODE_SKIP_SPECIAL, &text, error);
    const char *shown = text.data ? text.data : "";
    if (!status) status = w->settings->text ? put_plain(shown) : put_json(w->settings, line, shown, c, error);
    ft_buffer_release(&text);
    return status;
}

struct answering {
    const struct work *work;
    const struct pending *pending;
};

/* Printed at once, for who waits at the other end of a pipe. */
static enum ft_status completed(void *arg, size_t prompt, const struct ft_completion *completion, struct ft_error *error) {
    const struct answering *a = arg;
    enum ft_status status = put_completion(a->work, a->pending->line[prompt], completion, error);
    if (!status && (fflush(stdout) != 0 || ferror(stdout))) status = ft_fail_errno(error, FT_IO, "standard output");
    return status;
}

static enum ft_status answer(struct work *w, struct pending *p, struct ft_error *error) {
    const struct settings *s = w->settings;
    struct ft_completions completions = {0};
    struct answering answering = {w, p};
    struct ft_generate job = {.model = w->model, .exec = w->exec, .prompts = p->prompt, .count = p->count, .stop = w->stop,
                              .stops = w->stops, .slots = s->slots, .group = GROUP, .first_record = p->first,
                              .sampling = {s->temperature, s->top_p, s->top_k, s->seed},
                              .completed = completed, .arg = &answering};
    enum ft_status status = p->count ? ft_generate(&job, &completions, error) : FT_OK;
    ft_completions_release(&completions);
    pending_clear(p);
    return status;
}

/* --- the whole ------------------------------------------------------------------------------------------- */

/* With --batch 1 a line is answered before the next is read. Else more are read ahead, each time twice as many, so that
 * the first answers need not wait for many prompts, and many prompts do not wait for each other. */
static void read_more(const struct settings *s, struct pending *p) {
    if (p->most == 0) p->most = s->slots && s->slots < GROUP ? s->slots : GROUP;
    else if (s->slots != 1) p->most = least(2 * p->most, BATCH);
}

static enum ft_status answer_file(struct work *w, const char *path, struct pending *p, struct ft_error *error) {
    struct ft_lines *lines = NULL;
    const char *line;
    size_t size;
    enum ft_status status = ft_lines_open(&lines, path, 0, error);
    read_more(w->settings, p);
    while (!status && !(status = ft_lines_next(lines, &line, &size, error)) && line) {
        if (size == 0 && !w->settings->plain) continue;
        status = take_line(w, p, ft_lines_name(lines), ft_lines_number(lines), line, size, error);
        if (status || (p->count < p->most && p->tokens < BATCH_TOKENS)) continue;
        status = answer(w, p, error);
        read_more(w->settings, p);
    }
    if (!status) status = answer(w, p, error);
    pending_clear(p);
    ft_lines_close(lines);
    return status;
}

static enum ft_status run(const struct settings *s, const char *path, struct ft_error *error) {
    struct work w = {.settings = s};
    struct pending pending = {.count = 0};
    struct ft_model_digest *task = NULL;
    char digest[FT_SHA256_HEX] = "";
    enum ft_status status = s->tuned ? ft_model_digest_begin(&task, s->model, error) : FT_OK;
    if (!status) status = ft_exec_new(&w.exec, (unsigned)s->threads, error);
    if (!status) status = ft_card_tokenizer(&w.tokenizer, s->model, error);
    if (!status) status = ft_example_encoder_new(&w.encoder, w.tokenizer, FT_LOSS_COMPLETION, error);
    enum ft_status digested = ft_model_digest_end(&task, digest, status ? &(struct ft_error){0} : error);
    if (!status) status = digested;
    if (!status) status = ft_system_open(&w.model, w.exec, s->model, digest, s->tuned, error);
    if (!status) {
        w.stop = ft_tokenizer_eos(w.tokenizer, &w.stops);
        status = answer_file(&w, path, &pending, error);
    }
    ft_model_free(w.model);
    ft_example_encoder_free(w.encoder);
    ft_tokenizer_free(w.tokenizer);
    ft_exec_free(w.exec);
    return status;
}

static enum ft_status check(const struct settings *s, int operands, struct ft_error *error) {
    if (!s->model) return ft_fail(error, FT_USAGE, "no model: give its directory with -m");
    if (operands > 1) return ft_fail(error, FT_USAGE, "give one file of prompts, or none for standard input");
    if (s->temperature < 0.0) return ft_fail(error, FT_USAGE, "--temperature: 0 (greedy) or more is expected");
    if (!(s->top_p > 0.0 && s->top_p <= 1.0)) return ft_fail(error, FT_USAGE, "--top-p: more than 0 and at most 1 is expected");
    return FT_OK;
}

int main(int argc, char **argv) {
    struct settings s = {.max_tokens = 256, .top_p = 1.0, .seed = 1};
    const struct ft_option options[] = {
        {'m', "model", FT_OPTION_STRING, &s.model, "MODEL", "the model: a Hugging Face directory or a .gguf file", 0, 0},
        {'a', "adapter", FT_OPTION_STRING, &s.tuned, "DIR", "what ft-train wrote: an adapter or a fully tuned model", 0, 0},
        {'n', "max-tokens", FT_OPTION_SIZE, &s.max_tokens, "N", "longest completion (default 256)", 1, TOKENS_MAX},
        {0, "temperature", FT_OPTION_DOUBLE, &s.temperature, "T", "0 takes the most probable token (default), 1 samples as the model says", 0, 0},
        {0, "top-k", FT_OPTION_SIZE, &s.top_k, "K", "sample among the K most probable (default: all)", 1, 0},
        {0, "top-p", FT_OPTION_DOUBLE, &s.top_p, "P", "sample among the fewest that have probability P together (default 1)", 0, 0},
        {0, "seed", FT_OPTION_U64, &s.seed, "N", "of sampling (default 1)", 0, 0},
        {0, "plain", FT_OPTION_FLAG, &s.plain, NULL, "each line of input is a prompt, as text", 0, 0},
        {0, "text", FT_OPTION_FLAG, &s.text, NULL, "print completions as text, not as JSON", 0, 0},
        {0, "batch", FT_OPTION_SIZE, &s.slots, "N", "sequences at once (default: up to 64, by their memory; no effect on results)", 1, 1024},
        {0, "threads", FT_OPTION_SIZE, &s.threads, "N", "threads (default: all processors; no effect on results)", 1, FT_POOL_MAX},
        {0},
    };
    const struct ft_command command = {"ft-generate", "[PROMPTS.jsonl|-]", "Complete prompts with a model",
                                       "A line of input has \"messages\", \"prompt\" or \"text\"; it is printed again with \"completion\", \"stopped\"\n"
                                       "and \"tokens\". Exit status: 0 success, 2 wrong usage or failure.", options};
    struct ft_error error = {0};
    int first;
    switch (ft_options_parse(&command, argc, argv, &first, &error)) {
    case FT_OPTIONS_DONE: return fflush(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD: break;
    case FT_OPTIONS_RUN:
        if (check(&s, argc - first, &error) == FT_OK && run(&s, first < argc ? argv[first] : "-", &error) == FT_OK) return 0;
    }
    fprintf(stderr, "ft-generate: %s\n", error.message);
    return 2;
}
