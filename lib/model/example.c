/* SPDX-License-Identifier: MIT */
#include "ft/example.h"

#include "ft/chat.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct ft_example_encoder {
    const struct ft_tokenizer *tokenizer;
    struct ft_encoder *encoder;
    enum ft_loss loss;
    struct ft_buffer text; /* the segment being laid out, or all of a rendered text */
    struct ft_chat *chat;  /* NULL: no chat template, or not used yet */
    const char *date;
    struct ft_chat_message *message;
    struct ft_chat_span *span;
    size_t message_capacity, span_capacity;
    struct ft_ids begin;   /* the special tokens before a text */
};

void ft_example_release(struct ft_example *example) {
    ft_ids_release(&example->ids);
    free(example->weight);
    *example = (struct ft_example){0};
}

enum ft_status ft_example_encoder_new(struct ft_example_encoder **out, const struct ft_tokenizer *tokenizer,
                                      enum ft_loss loss, struct ft_error *error) {
    struct ft_example_encoder *encoder;
    enum ft_status status = ft_alloc(&encoder, 1, sizeof *encoder, error);
    if (status) return status;
    encoder->tokenizer = tokenizer;
    encoder->loss = loss;
    status = ft_encoder_new(&encoder->encoder, tokenizer, error);
    if (!status) status = ft_encode(encoder->encoder, "", 0, FT_ENCODE_BEGIN, &encoder->begin, error);
    if (status) ft_example_encoder_free(encoder);
    else *out = encoder;
    return status;
}

void ft_example_encoder_free(struct ft_example_encoder *encoder) {
    if (!encoder) return;
    ft_encoder_free(encoder->encoder);
    ft_chat_free(encoder->chat);
    free(encoder->message);
    free(encoder->span);
    ft_buffer_release(&encoder->text);
    ft_ids_release(&encoder->begin);
    free(encoder);
}

/* --- segments -------------------------------------------------------------------------------------------- */

/* Appends a segment's ids. The first of a row comes behind the special tokens, but for a text that begins with the
 * same token and so has it already; *special says how many were put (0 for later segments). */
static enum ft_status put_text(struct ft_example_encoder *encoder, const char *text, struct ft_ids *ids, size_t *special,
                               struct ft_error *error) {
    const struct ft_ids *begin = &encoder->begin;
    size_t length = strlen(text);
    *special = 0;
    if (ids->count) return ft_encode(encoder->encoder, text, length, FT_ENCODE_CONTINUE, ids, error);
    enum ft_status status = ft_encode(encoder->encoder, text, length, FT_ENCODE_BEGIN, ids, error);
    if (status || !begin->count) return status;
    if (ids->count > begin->count && ids->id[begin->count] == begin->id[0]) {
        ids->count -= begin->count;
        memmove(ids->id, ids->id + begin->count, ids->count * sizeof *ids->id);
    } else {
        *special = begin->count;
    }
    return FT_OK;
}

/* Ends what the model shall say. A text that spells the stop token out has it already. */
static enum ft_status put_stop(struct ft_example_encoder *encoder, struct ft_ids *ids, struct ft_error *error) {
    size_t count;
    const uint32_t *eos = ft_tokenizer_eos(encoder->tokenizer, &count);
    if (!eos)
        return ft_fail(error, FT_FORMAT, "the model names no stop token, so it could never learn to stop: add \"eos_token\" to "
                                         "tokenizer_config.json or \"eos_token_id\" to config.json");
    for (size_t i = 0; i < count && ids->count; i++)
        if (ids->id[ids->count - 1] == eos[i]) return FT_OK;
    enum ft_status status = ft_grow(&ids->id, &ids->capacity, ids->count + 1, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
    if (!status) ids->id[ids->count++] = eos[0];
    return status;
}

/* Gives the ids [from, to) a weight; nothing predicts the first of a row. */
static enum ft_status put_weights(struct ft_example *example, size_t from, size_t to, float weight, struct ft_error *error) {
    enum ft_status status = ft_grow(&example->weight, &example->weight_capacity, to, sizeof *example->weight, SIZE_MAX / 8,
                                    "weights", error);
    for (size_t i = from; i < to && !status; i++) example->weight[i] = i ? weight : 0.0f;
    return status;
}

static enum ft_status put_given(struct ft_example_encoder *encoder, const char *text, struct ft_example *example,
                                struct ft_error *error) {
    size_t from = example->ids.count, special;
    enum ft_status status = put_text(encoder, text, &example->ids, &special, error);
    return status ? status : put_weights(example, from, example->ids.count, encoder->loss == FT_LOSS_ALL, error);
}

static enum ft_status put_said(struct ft_example_encoder *encoder, const char *text, float weight, struct ft_example *example,
                               struct ft_error *error) {
    size_t from = example->ids.count, special;
    enum ft_status status = put_text(encoder, text, &example->ids, &special, error);
    if (!status) status = put_stop(encoder, &example->ids, error);
    if (!status) status = put_weights(example, from, from + special, encoder->loss == FT_LOSS_ALL, error);
    if (!status) status = put_weights(example, from + special, example->ids.count, weight, error);
    if (!example->prompt) example->prompt = from + special;
    return status;
}

/* --- layouts --------------------------------------------------------------------------------------------- */

static enum ft_status encode_pair(struct ft_example_encoder *encoder, const struct ft_record *record,
                                  struct ft_example *example, struct ft_error *error) {
    enum ft_status status = *record->prompt ? put_given(encoder, record->prompt, example, error) : FT_OK;
    return status ? status : put_said(encoder, record->completion, 1, example, error);
}

static bool is_assistant(const struct ft_turn *turn) { return strcmp(turn->role, "assistant") == 0; }

/* What is given before the next answer: pending text in encoder->text, then the messages from *at up to an assistant's. */
static enum ft_status lay_out(struct ft_example_encoder *encoder, const struct ft_turn *turn, size_t turns, size_t *at,
                              struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (; *at < turns && !is_assistant(&turn[*at]) && !status; ++*at)
        status = ft_buffer_printf(&encoder->text, error, "%s: %s\n", turn[*at].role, turn[*at].content);
    return status ? status : ft_buffer_string(&encoder->text, "assistant:", error);
}

static enum ft_status encode_turns(struct ft_example_encoder *encoder, const struct ft_record *record,
                                   struct ft_example *example, struct ft_error *error) {
    size_t turns = record->turns, at = 0;
    enum ft_status status = FT_OK;
    while (turns && !(record->turn[turns - 1].weight > 0)) turns--;
    ft_buffer_clear(&encoder->text);
    while (at < turns && !status) {
        status = lay_out(encoder, record->turn, turns, &at, error);
        if (!status) status = put_given(encoder, encoder->text.data, example, error);
        ft_buffer_clear(&encoder->text);
        if (!status) status = ft_buffer_printf(&encoder->text, error, " %s", record->turn[at].content);
        float weight = record->turn[at].weight;
        if (!status) status = put_said(encoder, encoder->text.data, weight, example, error);
        ft_buffer_clear(&encoder->text);
        if (!status) status = ft_buffer_string(&encoder->text, "\n", error);
        at++;
    }
    return status;
}

/* --- chat templates ------------------------------------------------------------------------------------------ */

void ft_example_encoder_date(struct ft_example_encoder *encoder, const char *date) { encoder->date = date; }

static enum ft_status chat_messages(struct ft_example_encoder *encoder, const struct ft_turn *turn, size_t turns,
                                    struct ft_error *error) {
    enum ft_status status = encoder->chat ? FT_OK : ft_chat_new(&encoder->chat, encoder->tokenizer, NULL, encoder->date, error);
    if (!status)
        status = ft_grow(&encoder->message, &encoder->message_capacity, turns, sizeof *encoder->message, SIZE_MAX / 64, "messages", error);
    if (!status)
        status = ft_grow(&encoder->span, &encoder->span_capacity, turns, sizeof *encoder->span, SIZE_MAX / 64, "messages", error);
    for (size_t i = 0; i < turns && !status; i++)
        encoder->message[i] = (struct ft_chat_message){turn[i].role, turn[i].content, turn[i].node, turn[i].weight > 0};
    return status;
}

/* A part of the rendered text: nothing is put before it. */
static enum ft_status put_part(struct ft_example_encoder *encoder, size_t start, size_t end, struct ft_ids *ids,
                               struct ft_error *error) {
    return ft_encode(encoder->encoder, encoder->text.data + start, end - start, ids->count ? FT_ENCODE_CONTINUE : 0, ids, error);
}

static enum ft_status put_answer(struct ft_example_encoder *encoder, const struct ft_chat_span *span, size_t from, float weight,
                                 struct ft_example *example, struct ft_error *error) {
    size_t before = example->ids.count, seam;
    enum ft_status status = put_part(encoder, from, span->start, &example->ids, error);
    seam = example->ids.count;
    if (!example->prompt) example->prompt = seam;
    if (!status) status = put_weights(example, before, seam, encoder->loss == FT_LOSS_ALL, error);
    if (!status) status = put_part(encoder, span->start, span->end, &example->ids, error);
    if (!status) status = put_stop(encoder, &example->ids, error);
    return status ? status : put_weights(example, seam, example->ids.count, weight, error);
}

static enum ft_status encode_chat(struct ft_example_encoder *encoder, const struct ft_record *record,
                                  struct ft_example *example, struct ft_error *error) {
    enum ft_status status = chat_messages(encoder, record->turn, record->turns, error);
    ft_buffer_clear(&encoder->text);
    if (!status)
        status = ft_chat_spans(encoder->chat, encoder->message, record->turns, record->tools, &encoder->text, encoder->span, error);
    size_t from = 0, n = 0;
    for (size_t i = 0; i < record->turns && !status; i++) {
        if (!encoder->message[i].wanted) continue;
        status = put_answer(encoder, &encoder->span[n], from, record->turn[i].weight, example, error);
        from = encoder->span[n++].end;
    }
    return status;
}

static enum ft_status chat_prompt(struct ft_example_encoder *encoder, const struct ft_record *record, size_t turns,
                                  struct ft_ids *ids, struct ft_error *error) {
    enum ft_status status = chat_messages(encoder, record->turn, turns, error);
    ft_buffer_clear(&encoder->text);
    if (!status)
        status = ft_chat_render(encoder->chat, encoder->message, turns, record->tools, NULL, true, &encoder->text, error);
    return status ? status : put_part(encoder, 0, encoder->text.size, ids, error);
}

static enum ft_status check_target(const struct ft_example *example, struct ft_error *error) {
    for (size_t i = 0; i < example->ids.count; i++)
        if (example->weight[i] > 0) return FT_OK;
    return ft_fail(error, FT_FORMAT, "no token is left to learn");
}

enum ft_status ft_example_encode(struct ft_example_encoder *encoder, const struct ft_record *record,
                                 struct ft_example *example, struct ft_error *error) {
    example->ids.count = example->prompt = 0;
    bool chat = record->turns && ft_tokenizer_template(encoder->tokenizer);
    enum ft_status status = (chat ? encode_chat : record->turns ? encode_turns : encode_pair)(encoder, record, example, error);
    if (!status) status = check_target(example, error);
    return status ? ft_error_context(error, "%s:%" PRIu64, record->json.name, record->line) : FT_OK;
}

enum ft_status ft_example_prompt(struct ft_example_encoder *encoder, const char *prompt, struct ft_ids *ids,
                                 struct ft_error *error) {
    size_t special;
    return put_text(encoder, prompt, ids, &special, error);
}

enum ft_status ft_example_prompt_turns(struct ft_example_encoder *encoder, const struct ft_record *record, size_t turns,
                                       struct ft_ids *ids, struct ft_error *error) {
    if (ft_tokenizer_template(encoder->tokenizer)) return chat_prompt(encoder, record, turns, ids, error);
    const struct ft_turn *turn = record->turn;
    struct ft_example example = {0};
    size_t at = 0;
    enum ft_status status = FT_OK;
    ft_buffer_clear(&encoder->text);
    while (!status) {
        status = lay_out(encoder, turn, turns, &at, error);
        if (!status) status = put_given(encoder, encoder->text.data, &example, error);
        if (status || at == turns) break;
        ft_buffer_clear(&encoder->text);
        status = ft_buffer_printf(&encoder->text, error, " %s", turn[at++].content);
        if (!status) status = put_said(encoder, encoder->text.data, 0, &example, error);
        ft_buffer_clear(&encoder->text);
        if (!status) status = ft_buffer_string(&encoder->text, "\n", error);
    }
    for (size_t i = 0; i < example.ids.count && !status; i++) {
        status = ft_grow(&ids->id, &ids->capacity, ids->count + 1, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
        if (!status) ids->id[ids->count++] = example.ids.id[i];
    }
    ft_example_release(&example);
    return status;
}
