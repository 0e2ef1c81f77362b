/* SPDX-License-Identifier: MIT
 *
 * Text to ids and back: the parts in their order.
 */
#include "tokenizer_impl.h"

#include "unicode.h"

#include <stdlib.h>
#include <string.h>

struct ft_encoder {
    const struct ft_tokenizer *tokenizer;
    struct ft_matcher matcher;
    struct ft_word_state *model;
    struct ft_buffer buffer[2];
    struct ft_words words[2];
};

enum ft_status ft_encoder_new(struct ft_encoder **out, const struct ft_tokenizer *tokenizer, struct ft_error *error) {
    struct ft_encoder *encoder;
    enum ft_status status = ft_alloc(&encoder, 1, sizeof *encoder, error);
    if (status) return status;
    encoder->tokenizer = tokenizer;
    status = ft_matcher_init(&encoder->matcher, error);
    if (!status) status = ft_word_state_new(&encoder->model, &tokenizer->model, error);
    if (status) ft_encoder_free(encoder);
    else *out = encoder;
    return status;
}

void ft_encoder_free(struct ft_encoder *encoder) {
    if (!encoder) return;
    ft_matcher_release(&encoder->matcher);
    ft_word_state_free(encoder->model);
    for (int i = 0; i < 2; i++) {
        ft_buffer_release(&encoder->buffer[i]);
        ft_words_release(&encoder->words[i]);
    }
    free(encoder);
}

static enum ft_status push(struct ft_ids *ids, uint32_t id, struct ft_error *error) {
    enum ft_status status = ft_grow(&ids->id, &ids->capacity, ids->count + 1, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
    if (!status) ids->id[ids->count++] = id;
    return status;
}

static enum ft_status push_all(struct ft_ids *ids, const struct ft_ids *more, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < more->count && !status; i++) status = push(ids, more->id[i], error);
    return status;
}

/* Normalized text without added tokens: words, and each word's ids. */
static enum ft_status encode_plain(struct ft_encoder *encoder, unsigned flags, const char *text, size_t length,
                                   struct ft_ids *ids, struct ft_error *error) {
    const struct ft_tokenizer *t = encoder->tokenizer;
    const struct ft_words *words;
    enum ft_status status =
        ft_pretokenize(&t->pretokenizer, &encoder->matcher, flags, text, length, encoder->words, &words, error);
    for (size_t i = 0; i < words->count && !status; i++)
        status = ft_word_encode(encoder->model, words->text + words->word[i].start, words->word[i].length, ids, error);
    return status;
}

/* Raw text without raw added tokens: normalized, and cut at the normalized ones. */
static enum ft_status encode_part(struct ft_encoder *encoder, bool start, bool going_on, const char *text, size_t length,
                                  struct ft_ids *ids, struct ft_error *error) {
    const struct ft_tokenizer *t = encoder->tokenizer;
    struct ft_added_walk walk = {0};
    struct ft_normalized n = {text, length, .at_start = !going_on};
    enum ft_status status = ft_normalize(&t->normalizer, &encoder->matcher, &n, encoder->buffer, error);
    unsigned flags = (start ? FT_PRETOKENIZE_START : 0u) | (going_on ? FT_PRETOKENIZE_CONTINUE : 0u) |
                     (n.whole ? 0u : FT_PRETOKENIZE_CUT);
    while (!status && ft_added_next(&t->added, &t->added.normalized, n.text, n.length, &walk)) {
        status = walk.token ? push(ids, walk.token->id, error)
                            : encode_plain(encoder, flags, n.text + walk.start, walk.end - walk.start, ids, error);
        flags = 0;
    }
    return status;
}

enum ft_status ft_encode(struct ft_encoder *encoder, const char *text, size_t length, unsigned flags, struct ft_ids *ids,
                         struct ft_error *error) {
    const struct ft_tokenizer *t = encoder->tokenizer;
    size_t valid = ft_utf8_valid(text, length), before = ids->count;
    if (valid < length) return ft_fail(error, FT_FORMAT, "the text is not UTF-8 at byte %zu", valid);
    struct ft_added_walk walk = {0};
    bool going_on = flags & FT_ENCODE_CONTINUE;
    enum ft_status status = flags & FT_ENCODE_BEGIN ? push_all(ids, &t->postprocessor.before, error) : FT_OK;
    while (!status && ft_added_next(&t->added, &t->added.raw, text, length, &walk)) {
        status = walk.token ? push(ids, walk.token->id, error)
                            : encode_part(encoder, walk.start == 0, going_on, text + walk.start, walk.end - walk.start, ids, error);
        going_on = false;
    }
    if (!status && flags & FT_ENCODE_END) status = push_all(ids, &t->postprocessor.after, error);
    if (status) ids->count = before;
    return status;
}

/* What decoders see of a token: an added one as it was normalized. NULL: no such token. */
static const char *token_text(const struct ft_tokenizer *t, uint32_t id, size_t *length) {
    const struct ft_added_token *added = ft_added_find(&t->added, id);
    if (!added || !added->normal) return ft_tokenizer_token(t, id, length);
    *length = added->normal_length;
    return added->normal;
}

/* Special is what is spelt like a special token; so one that normalization changes is not, to the reference. */
static bool is_spelt_special(const struct ft_tokenizer *t, uint32_t id, const char *text, size_t length) {
    const struct ft_added_token *added = ft_added_find(&t->added, id);
    if (!added || !added->normal) return added && added->special;
    return ft_tokenizer_is_special(t, ft_vocab_find(&t->added.by_text, text, length));
}

enum ft_status ft_decode(const struct ft_tokenizer *t, const uint32_t *ids, size_t count, unsigned flags,
                         struct ft_buffer *text, struct ft_error *error) {
    struct ft_pieces pieces = {0};
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < count && !status; i++) {
        size_t length;
        const char *token = token_text(t, ids[i], &length);
        if (!token || (flags & FT_DECODE_SKIP_SPECIAL && is_spelt_special(t, ids[i], token, length))) continue;
        status = ft_pieces_add(&pieces, token, length, error);
    }
    if (!status && pieces.count) status = ft_decoder_run(&t->decoder, &pieces, text, error);
    ft_pieces_release(&pieces);
    return status;
}
