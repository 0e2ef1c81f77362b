/* SPDX-License-Identifier: MIT
 *
 * tokenizer.ggml.*: from a GGUF file's values to the vocabulary that lib/text turns into tokenizer.json. */
#include "gguf_model.h"

#include "ft/ggml_vocab.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 64 };

/* A short name, copied to end with a NUL. */
static enum ft_status read_name(const struct ft_gguf *gguf, const char *key, enum ft_json_need need,
                                char out[NAME_MAX_BYTES], struct ft_error *error) {
    struct ft_gguf_text text = {"", 0};
    enum ft_status status = ft_gguf_get_text(gguf, key, need, &text, error);
    if (status) return status;
    if (text.length >= NAME_MAX_BYTES)
        return ft_fail(error, FT_FORMAT, "%s: %s is a name of %zu bytes", ft_gguf_path(gguf), key, text.length);
    memcpy(out, text.text, text.length);
    out[text.length] = 0;
    return FT_OK;
}

static enum ft_status read_texts(const struct ft_gguf_value *value, struct ft_ggml_text **out, size_t *count,
                                 struct ft_error *error) {
    if (!value) return FT_OK;
    enum ft_status status = ft_alloc(out, (size_t)value->count, sizeof **out, error);
    if (status) return status;
    const unsigned char *cursor = value->data;
    *count = (size_t)value->count;
    for (size_t i = 0; i < *count; i++) {
        struct ft_gguf_text text = ft_gguf_next_text(&cursor);
        (*out)[i] = (struct ft_ggml_text){text.text, text.length};
    }
    return FT_OK;
}

static enum ft_status wrong_count(const struct ft_gguf *gguf, const struct ft_gguf_value *value, size_t tokens,
                                  struct ft_error *error) {
    return ft_fail(error, FT_FORMAT, "%s: %s has %zu entries for %zu tokens", ft_gguf_path(gguf), value->key,
                   (size_t)value->count, tokens);
}

static enum ft_status read_types(const struct ft_gguf *gguf, struct ft_ggml_vocab *vocab, struct ft_error *error) {
    const struct ft_gguf_value *types;
    enum ft_status status =
        ft_gguf_get_array(gguf, "tokenizer.ggml.token_type", FT_JSON_OPTIONAL, FT_GGUF_I32, &types, error);
    if (status || !types) return status;
    if (types->count != vocab->tokens) return wrong_count(gguf, types, vocab->tokens, error);
    status = ft_alloc(&vocab->type, vocab->tokens, 1, error);
    for (size_t i = 0; i < vocab->tokens && !status; i++) {
        uint64_t type = 0;
        if (!ft_gguf_integer(types, i, &type) || type < FT_GGML_NORMAL || type > FT_GGML_BYTE)
            status = ft_fail(error, FT_FORMAT, "%s: tokenizer.ggml.token_type: token %zu is of no known type",
                             ft_gguf_path(gguf), i);
        else vocab->type[i] = (unsigned char)type;
    }
    return status;
}

static enum ft_status read_scores(const struct ft_gguf *gguf, struct ft_ggml_vocab *vocab, struct ft_error *error) {
    const struct ft_gguf_value *scores;
    enum ft_status status =
        ft_gguf_get_array(gguf, "tokenizer.ggml.scores", FT_JSON_OPTIONAL, FT_GGUF_F32, &scores, error);
    if (status || !scores) return status;
    if (scores->count != vocab->tokens) return wrong_count(gguf, scores, vocab->tokens, error);
    status = ft_alloc(&vocab->score, vocab->tokens, sizeof *vocab->score, error);
    for (size_t i = 0; i < vocab->tokens && !status; i++) {
        double score = 0;
        (void)ft_gguf_number(scores, i, &score); /* an array of f32: it is one */
        vocab->score[i] = (float)score;
    }
    return status;
}

static enum ft_status read_lists(const struct ft_gguf *gguf, struct ft_ggml_vocab *vocab, struct ft_error *error) {
    const struct ft_gguf_value *tokens = NULL, *merges = NULL;
    enum ft_status status =
        ft_gguf_get_array(gguf, "tokenizer.ggml.tokens", FT_JSON_REQUIRED, FT_GGUF_STRING, &tokens, error);
    if (!status)
        status = ft_gguf_get_array(gguf, "tokenizer.ggml.merges", FT_JSON_OPTIONAL, FT_GGUF_STRING, &merges, error);
    if (!status && tokens->count >= (uint64_t)1 << 24)
        status = ft_fail(error, FT_LIMIT, "%s: tokenizer.ggml.tokens: %zu tokens are too many", ft_gguf_path(gguf),
                         (size_t)tokens->count);
    if (!status) status = read_texts(tokens, &vocab->token, &vocab->tokens, error);
    if (!status) status = read_texts(merges, &vocab->merge, &vocab->merges, error);
    if (!status) status = read_types(gguf, vocab, error);
    return status ? status : read_scores(gguf, vocab, error);
}

static enum ft_status read_id(const struct ft_gguf *gguf, const char *key, uint32_t *out, struct ft_error *error) {
    uint64_t id = FT_GGML_NONE;
    enum ft_status status = ft_gguf_get_u64(gguf, key, FT_JSON_OPTIONAL, 0, UINT32_MAX, &id, error);
    *out = (uint32_t)id;
    return status;
}

static enum ft_status read_choice(const struct ft_gguf *gguf, const char *key, int *out, struct ft_error *error) {
    bool value = false;
    *out = -1;
    enum ft_status status = ft_gguf_get_bool(gguf, key, FT_JSON_OPTIONAL, &value, error);
    if (!status && ft_gguf_value(gguf, key)) *out = value;
    return status;
}

static enum ft_status read_rest(const struct ft_gguf *gguf, struct ft_ggml_vocab *vocab, struct ft_error *error) {
    struct ft_gguf_text template = {NULL, 0};
    vocab->space_prefix = true;
    enum ft_status status = ft_gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", FT_JSON_OPTIONAL,
                                             &vocab->space_prefix, error);
    if (!status) status = read_choice(gguf, "tokenizer.ggml.add_bos_token", &vocab->add_bos, error);
    if (!status) status = read_choice(gguf, "tokenizer.ggml.add_eos_token", &vocab->add_eos, error);
    if (!status) status = read_id(gguf, "tokenizer.ggml.bos_token_id", &vocab->bos, error);
    if (!status) status = read_id(gguf, "tokenizer.ggml.eos_token_id", &vocab->eos, error);
    if (!status) status = read_id(gguf, "tokenizer.ggml.unknown_token_id", &vocab->unknown, error);
    if (!status) status = read_id(gguf, "tokenizer.ggml.padding_token_id", &vocab->pad, error);
    if (!status) status = ft_gguf_get_text(gguf, "tokenizer.chat_template", FT_JSON_OPTIONAL, &template, error);
    vocab->chat_template = (struct ft_ggml_text){template.text, template.length};
    return status;
}

enum ft_status ft_gguf_tokenizer(const struct ft_gguf *gguf, struct ft_buffer *tokenizer, struct ft_buffer *config,
                                 struct ft_error *error) {
    char model[NAME_MAX_BYTES], pre[NAME_MAX_BYTES], architecture[NAME_MAX_BYTES];
    struct ft_ggml_vocab vocab = {.model = model, .pre = pre, .architecture = architecture};
    enum ft_status status = read_name(gguf, "tokenizer.ggml.model", FT_JSON_REQUIRED, model, error);
    if (!status) status = read_name(gguf, "tokenizer.ggml.pre", FT_JSON_OPTIONAL, pre, error);
    if (!status) status = read_name(gguf, "general.architecture", FT_JSON_REQUIRED, architecture, error);
    if (!status) status = read_lists(gguf, &vocab, error);
    if (!status) status = read_rest(gguf, &vocab, error);
    if (!status) status = ft_ggml_vocab_write(&vocab, ft_gguf_path(gguf), tokenizer, config, error);
    ft_ggml_vocab_release(&vocab);
    return status;
}
