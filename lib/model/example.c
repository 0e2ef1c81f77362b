/* SPDX-License-Identifier: MIT */
#include "ft/example.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct ft_example_encoder {
    const struct ft_tokenizer *tokenizer;
    struct ft_encoder *encoder;
    enum ft_loss loss;
    struct ft_buffer text; /* the segment being laid out */
    struct ft_ids ids;     /* its ids */
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
    if (status) ft_example_encoder_free(encoder);
    else *out = encoder;
    return status;
}

void ft_example_encoder_free(struct ft_example_encoder *encoder) {
    if (!encoder) return;
    ft_encoder_free(encoder->encoder);
    ft_buffer_release(&encoder->text);
    ft_ids_release(&encoder->ids);
    free(encoder);
}

/* --- segments -------------------------------------------------------------------------------------------- */

/* A text that begins with the token that the tokenizer would put before it has it already. */
static bool begins_doubled(const struct ft_ids *with, const struct ft_ids *without) {
    return with->count > without->count && without->count && with->id[0] == without->id[0];
}

/* Appends a segment's ids: the first of a row, or one that goes on. */
static enum ft_status put_text(struct ft_example_encoder *encoder, bool first, const char *text, struct ft_ids *ids,
                               struct ft_error *error) {
    size_t length = strlen(text);
    if (!first) return ft_encode(encoder->encoder, text, length, FT_ENCODE_CONTINUE, ids, error);
    encoder->ids.count = 0;
    enum ft_status status = ft_encode(encoder->encoder, text, length, 0, &encoder->ids, error);
    if (!status) status = ft_encode(encoder->encoder, text, length, FT_ENCODE_BEGIN, ids, error);
    if (status || !begins_doubled(ids, &encoder->ids)) return status;
    memcpy(ids->id, encoder->ids.id, encoder->ids.count * sizeof *ids->id);
    ids->count = encoder->ids.count;
    return FT_OK;
}

/* Ends what the model shall say. A text that spells the stop token out has it already. */
static enum ft_status put_stop(struct ft_example_encoder *encoder, struct ft_ids *ids, struct ft_error *error) {
    size_t count;
    const uint32_t *eos = ft_tokenizer_eos(encoder->tokenizer, &count);
    if (!eos)
        return ft_fail(error, FT_FORMAT, "the model names no stop token, so it could never learn to stop: add \"eos_token\" to "
                                         "tokenizer_config.json or \"eos_token_id\" to config.json");
    if (ids->count && ids->id[ids->count - 1] == eos[0]) return FT_OK;
    enum ft_status status = ft_grow(&ids->id, &ids->capacity, ids->count + 1, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
    if (!status) ids->id[ids->count++] = eos[0];
    return status;
}

/* Gives all ids from the last weight on the weight `weight`. */
static enum ft_status put_weights(struct ft_example *example, size_t from, float weight, struct ft_error *error) {
    size_t count = example->ids.count;
    enum ft_status status = ft_grow(&example->weight, &example->weight_capacity, count, sizeof *example->weight, SIZE_MAX / 8,
                                    "weights", error);
    for (size_t i = from; i < count && !status; i++) example->weight[i] = i ? weight : 0.0f;
    return status;
}

static enum ft_status put_given(struct ft_example_encoder *encoder, const char *text, struct ft_example *example,
                                struct ft_error *error) {
    size_t from = example->ids.count;
    enum ft_status status = put_text(encoder, from == 0, text, &example->ids, error);
    return status ? status : put_weights(example, from, encoder->loss == FT_LOSS_ALL, error);
}

static enum ft_status put_said(struct ft_example_encoder *encoder, bool first, const char *text, float weight,
                               struct ft_example *example, struct ft_error *error) {
    size_t from = example->ids.count;
    enum ft_status status = put_text(encoder, first, text, &example->ids, error);
    if (!status) status = put_stop(encoder, &example->ids, error);
    return status ? status : put_weights(example, from, weight, error);
}

/* --- layouts --------------------------------------------------------------------------------------------- */

static enum ft_status encode_pair(struct ft_example_encoder *encoder, const struct ft_record *record,
                                  struct ft_example *example, struct ft_error *error) {
    bool first = !*record->prompt;
    enum ft_status status = first ? FT_OK : put_given(encoder, record->prompt, example, error);
    example->prompt = example->ids.count;
    return status ? status : put_said(encoder, first, record->completion, 1, example, error);
}

static bool is_assistant(const struct ft_turn *turn) { return strcmp(turn->role, "assistant") == 0; }

static enum ft_status refuse_template(const struct ft_example_encoder *encoder, struct ft_error *error) {
    if (!ft_tokenizer_template(encoder->tokenizer)) return FT_OK;
    return ft_fail(error, FT_UNSUPPORTED, "the model has a chat template, which this version cannot run; give the data as "
                                          "\"prompt\" and \"completion\"");
}

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
    enum ft_status status = refuse_template(encoder, error);
    while (turns && !(record->turn[turns - 1].weight > 0)) turns--;
    ft_buffer_clear(&encoder->text);
    while (at < turns && !status) {
        status = lay_out(encoder, record->turn, turns, &at, error);
        if (!status) status = put_given(encoder, encoder->text.data, example, error);
        if (!example->prompt) example->prompt = example->ids.count;
        ft_buffer_clear(&encoder->text);
        if (!status) status = ft_buffer_printf(&encoder->text, error, " %s", record->turn[at].content);
        float weight = record->turn[at].weight;
        if (!status) status = put_said(encoder, false, encoder->text.data, weight, example, error);
        ft_buffer_clear(&encoder->text);
        if (!status) status = ft_buffer_string(&encoder->text, "\n", error);
        at++;
    }
    return status;
}

static enum ft_status check_target(const struct ft_example *example, struct ft_error *error) {
    for (size_t i = 0; i < example->ids.count; i++)
        if (example->weight[i] > 0) return FT_OK;
    return ft_fail(error, FT_FORMAT, "no token is left to learn");
}

enum ft_status ft_example_encode(struct ft_example_encoder *encoder, const struct ft_record *record,
                                 struct ft_example *example, struct ft_error *error) {
    example->ids.count = example->prompt = 0;
    enum ft_status status = (record->turns ? encode_turns : encode_pair)(encoder, record, example, error);
    if (!status) status = check_target(example, error);
    return status ? ft_error_context(error, "%s:%" PRIu64, record->json.name, record->line) : FT_OK;
}

enum ft_status ft_example_prompt(struct ft_example_encoder *encoder, const char *prompt, const struct ft_turn *turn,
                                 size_t turns, struct ft_ids *ids, struct ft_error *error) {
    if (!turns) return put_text(encoder, true, prompt, ids, error);
    struct ft_example example = {0};
    size_t at = 0;
    enum ft_status status = refuse_template(encoder, error);
    ft_buffer_clear(&encoder->text);
    while (!status) {
        status = lay_out(encoder, turn, turns, &at, error);
        if (!status) status = put_given(encoder, encoder->text.data, &example, error);
        if (status || at == turns) break;
        ft_buffer_clear(&encoder->text);
        status = ft_buffer_printf(&encoder->text, error, " %s", turn[at++].content);
        if (!status) status = put_said(encoder, false, encoder->text.data, 0, &example, error);
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
