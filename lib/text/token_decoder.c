/* SPDX-License-Identifier: MIT */
#include "token_decoder.h"

#include "ft/json.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 64, DEPTH_MAX = 8, PIECES_MAX = 1 << 30 };

/* --- lists of texts -------------------------------------------------------------------------------------- */

/* Ends the piece whose text was appended. */
static enum ft_status end_piece(struct ft_pieces *pieces, struct ft_error *error) {
    enum ft_status status =
        ft_grow(&pieces->end, &pieces->capacity, pieces->count + 1, sizeof *pieces->end, PIECES_MAX, "tokens", error);
    if (!status) pieces->end[pieces->count++] = pieces->text.size;
    return status;
}

enum ft_status ft_pieces_add(struct ft_pieces *pieces, const char *text, size_t length, struct ft_error *error) {
    enum ft_status status = ft_buffer_append(&pieces->text, text, length, error);
    return status ? status : end_piece(pieces, error);
}

static const char *piece_at(const struct ft_pieces *pieces, size_t i, size_t *length) {
    size_t start = i ? pieces->end[i - 1] : 0;
    *length = pieces->end[i] - start;
    return pieces->text.data + start;
}

void ft_pieces_release(struct ft_pieces *pieces) {
    free(pieces->end);
    ft_buffer_release(&pieces->text);
    *pieces = (struct ft_pieces){0};
}

/* --- reading --------------------------------------------------------------------------------------------- */

static enum ft_status copy_to(char **to, const char *text, struct ft_error *error) {
    enum ft_status status = ft_alloc(to, strlen(text) + 1, 1, error);
    if (!status) memcpy(*to, text, strlen(text));
    return status;
}

static enum ft_status copy(struct ft_decoder_step *step, const char *text, struct ft_error *error) {
    return copy_to(&step->content, text, error);
}

static enum ft_status read_strip(struct ft_decoder_step *step, const struct ft_json *json, const struct cJSON *node,
                                 struct ft_error *error) {
    const char *text = " ";
    uint64_t start = 0, stop = 0;
    enum ft_status status;
    if ((status = ft_json_get_string(json, node, "content", FT_JSON_OPTIONAL, &text, error)) ||
        (status = ft_json_get_u64(json, node, "start", FT_JSON_OPTIONAL, 0, UINT32_MAX, &start, error)) ||
        (status = ft_json_get_u64(json, node, "stop", FT_JSON_OPTIONAL, 0, UINT32_MAX, &stop, error)))
        return status;
    if (!*text || strlen(text) != ft_utf8_size(*text))
        return ft_json_fail(json, node, error, "\"content\" must be one character");
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    return copy(step, text, error);
}

static enum ft_status read_replace(struct ft_decoder_step *step, const struct ft_json *json, const struct cJSON *node,
                                   struct ft_error *error) {
    const struct cJSON *pattern = NULL;
    const char *text = NULL;
    enum ft_status status = ft_json_get_node(json, node, "pattern", FT_JSON_REQUIRED, FT_JSON_OBJECT, &pattern, error);
    if (!status) status = ft_pattern_json(&step->pattern, json, pattern, error);
    if (!status) status = ft_json_get_string(json, node, "content", FT_JSON_REQUIRED, &text, error);
    return status ? status : copy(step, text, error);
}

static enum ft_status read_metaspace(struct ft_decoder_step *step, const struct ft_json *json, const struct cJSON *node,
                                     struct ft_error *error) {
    const char *text = "\xe2\x96\x81", *scheme = NULL;
    step->flag = true;
    enum ft_status status;
    if ((status = ft_json_get_string(json, node, "replacement", FT_JSON_OPTIONAL, &text, error)) ||
        (status = ft_json_get_bool(json, node, "add_prefix_space", FT_JSON_OPTIONAL, &step->flag, error)) ||
        (status = ft_json_get_string(json, node, "prepend_scheme", FT_JSON_OPTIONAL, &scheme, error)))
        return status;
    if (scheme) step->flag = strcmp(scheme, "never") != 0;
    return copy(step, text, error);
}

static enum ft_status read_wordpiece(struct ft_decoder_step *step, const struct ft_json *json, const struct cJSON *node,
                                     struct ft_error *error) {
    const char *text = "##";
    step->flag = true;
    enum ft_status status = ft_json_get_string(json, node, "prefix", FT_JSON_OPTIONAL, &text, error);
    if (!status) status = ft_json_get_bool(json, node, "cleanup", FT_JSON_OPTIONAL, &step->flag, error);
    return status ? status : copy(step, text, error);
}

static enum ft_status read_suffix(struct ft_decoder_step *step, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_error *error) {
    const char *text = "</w>";
    enum ft_status status = ft_json_get_string(json, node, "suffix", FT_JSON_OPTIONAL, &text, error);
    return status ? status : copy(step, text, error);
}

static enum ft_status read_ctc(struct ft_decoder_step *step, const struct ft_json *json, const struct cJSON *node,
                               struct ft_error *error) {
    const char *padding = "<pad>", *delimiter = "|";
    step->flag = true;
    enum ft_status status;
    if ((status = ft_json_get_string(json, node, "pad_token", FT_JSON_OPTIONAL, &padding, error)) ||
        (status = ft_json_get_string(json, node, "word_delimiter_token", FT_JSON_OPTIONAL, &delimiter, error)) ||
        (status = ft_json_get_bool(json, node, "cleanup", FT_JSON_OPTIONAL, &step->flag, error)))
        return status;
    if (!*padding || !*delimiter) return ft_json_fail(json, node, error, "a CTC decoder's tokens are not empty");
    status = copy(step, padding, error);
    return status ? status : copy_to(&step->delimiter, delimiter, error);
}

typedef enum ft_status read_function(struct ft_decoder_step *step, const struct ft_json *json, const struct cJSON *node,
                                     struct ft_error *error);

static const struct {
    const char *name;
    enum ft_decoder_type type;
    read_function *read;
} names[] = {
    {"ByteLevel", FT_DECODER_BYTE_LEVEL, NULL},
    {"ByteFallback", FT_DECODER_BYTE_FALLBACK, NULL},
    {"Fuse", FT_DECODER_FUSE, NULL},
    {"Strip", FT_DECODER_STRIP, read_strip},
    {"Replace", FT_DECODER_REPLACE, read_replace},
    {"Metaspace", FT_DECODER_METASPACE, read_metaspace},
    {"WordPiece", FT_DECODER_WORDPIECE, read_wordpiece},
    {"BPEDecoder", FT_DECODER_SUFFIX, read_suffix},
    {"CTC", FT_DECODER_CTC, read_ctc},
};

static enum ft_status read_node(struct ft_decoder *decoder, const struct ft_json *json, const struct cJSON *node,
                                unsigned depth, struct ft_error *error) {
    const char *type = NULL;
    enum ft_status status = ft_json_get_string(json, node, "type", FT_JSON_REQUIRED, &type, error);
    if (status) return status;
    if (strcmp(type, "Sequence") == 0) {
        const struct cJSON *list = NULL;
        if (depth == DEPTH_MAX) return ft_json_fail(json, node, error, "decoders nest too deeply");
        status = ft_json_get_node(json, node, "decoders", FT_JSON_REQUIRED, FT_JSON_ARRAY, &list, error);
        if (status) return status;
        for (node = ft_json_first(list); node && !status; node = ft_json_next(node))
            status = read_node(decoder, json, node, depth + 1, error);
        return status;
    }
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(names[i].name, type) != 0) i++;
    if (i == sizeof names / sizeof *names)
        return ft_fail(error, FT_UNSUPPORTED, "%s: the decoder \"%s\" is not supported", json->name, type);
    status = ft_grow(&decoder->step, &decoder->capacity, decoder->count + 1, sizeof *decoder->step, STEPS_MAX, "decoders",
                     error);
    if (status) return status;
    struct ft_decoder_step *step = &decoder->step[decoder->count++];
    *step = (struct ft_decoder_step){.type = names[i].type};
    return names[i].read ? names[i].read(step, json, node, error) : FT_OK;
}

enum ft_status ft_decoder_read(struct ft_decoder *decoder, const struct ft_json *json, const struct cJSON *node,
                               struct ft_error *error) {
    decoder->present = node && ft_json_type(node) != FT_JSON_NULL;
    return decoder->present ? read_node(decoder, json, node, 0, error) : FT_OK;
}

void ft_decoder_release(struct ft_decoder *decoder) {
    for (size_t i = 0; i < decoder->count; i++) {
        ft_pattern_release(&decoder->step[i].pattern);
        free(decoder->step[i].content);
        free(decoder->step[i].delimiter);
    }
    free(decoder->step);
    *decoder = (struct ft_decoder){0};
}

/* --- steps ----------------------------------------------------------------------------------------------- */

/* A token's bytes, when all its characters stand for one; else its text as it is. */
static enum ft_status append_bytes(struct ft_buffer *bytes, const char *text, size_t length, struct ft_error *error) {
    size_t before = bytes->size;
    enum ft_status status = FT_OK;
    for (const char *p = text; p < text + length && !status;) {
        int byte = ft_character_byte(ft_utf8_next(&p));
        if (byte < 0) {
            bytes->size = before;
            return ft_buffer_append(bytes, text, length, error);
        }
        char c = (char)byte;
        status = ft_buffer_append(bytes, &c, 1, error);
    }
    return status;
}

static enum ft_status byte_level(const struct ft_pieces *in, struct ft_pieces *out, struct ft_error *error) {
    struct ft_buffer bytes = {0};
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < in->count && !status; i++) {
        size_t length;
        const char *text = piece_at(in, i, &length);
        status = append_bytes(&bytes, text, length, error);
    }
    if (!status) status = ft_utf8_lossy(&out->text, bytes.data, bytes.size, error);
    ft_buffer_release(&bytes);
    return status ? status : end_piece(out, error);
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The byte that "<0xXX>" means, or -1. The reference's number parser takes "+X", too. */
static int fallback_byte(const char *text, size_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = text[3] == '+' ? 0 : hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Gathered bytes become one piece when they are UTF-8, else a U+FFFD each. */
static enum ft_status flush_bytes(struct ft_buffer *bytes, struct ft_pieces *out, struct ft_error *error) {
    enum ft_status status = FT_OK;
    if (!bytes->size) return status;
    if (ft_utf8_valid(bytes->data, bytes->size) == bytes->size) {
        status = ft_pieces_add(out, bytes->data, bytes->size, error);
    } else {
        for (size_t i = 0; i < bytes->size && !status; i++) status = ft_pieces_add(out, "\xef\xbf\xbd", 3, error);
    }
    ft_buffer_clear(bytes);
    return status;
}

static enum ft_status byte_fallback(const struct ft_pieces *in, struct ft_pieces *out, struct ft_error *error) {
    struct ft_buffer bytes = {0};
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < in->count && !status; i++) {
        size_t length;
        const char *text = piece_at(in, i, &length);
        int byte = fallback_byte(text, length);
        char c = (char)byte;
        if (byte >= 0) status = ft_buffer_append(&bytes, &c, 1, error);
        else if (!(status = flush_bytes(&bytes, out, error))) status = ft_pieces_add(out, text, length, error);
    }
    if (!status) status = flush_bytes(&bytes, out, error);
    ft_buffer_release(&bytes);
    return status;
}

static enum ft_status fuse(const struct ft_pieces *in, struct ft_pieces *out, struct ft_error *error) {
    return ft_pieces_add(out, in->text.data, in->text.size, error);
}

static enum ft_status strip(const struct ft_decoder_step *step, const char *text, size_t length, struct ft_pieces *out,
                            struct ft_error *error) {
    size_t size = strlen(step->content), start = 0, end = length;
    for (size_t i = 0; i < step->start && end - start >= size && memcmp(text + start, step->content, size) == 0; i++)
        start += size;
    for (size_t i = 0; i < step->stop && end - start >= size && memcmp(text + end - size, step->content, size) == 0; i++)
        end -= size;
    return ft_pieces_add(out, text + start, end - start, error);
}

static enum ft_status replace(const struct ft_pattern *pattern, struct ft_matcher *matcher, const char *content,
                              const char *text, size_t length, struct ft_pieces *out, struct ft_error *error) {
    struct ft_match match = {0};
    size_t done = 0;
    bool found;
    enum ft_status status;
    while (!(status = ft_pattern_next(pattern, matcher, text, length, &match, &found, error)) && found) {
        if ((status = ft_buffer_append(&out->text, text + done, match.start - done, error)) ||
            (status = ft_buffer_string(&out->text, content, error)))
            return status;
        done = match.end;
    }
    if (!status) status = ft_buffer_append(&out->text, text + done, length - done, error);
    return status ? status : end_piece(out, error);
}

static enum ft_status metaspace(const struct ft_decoder_step *step, bool first, const char *text, size_t length,
                                struct ft_pieces *out, struct ft_error *error) {
    size_t size = strlen(step->content);
    enum ft_status status = FT_OK;
    for (size_t i = 0, n; i < length && !status; i += n) {
        n = ft_utf8_size(text[i]);
        bool meta = n == size && memcmp(text + i, step->content, size) == 0;
        if (!meta) status = ft_buffer_append(&out->text, text + i, n, error);
        else if (!first || !step->flag) status = ft_buffer_append(&out->text, " ", 1, error);
    }
    return status ? status : end_piece(out, error);
}

/* Replaces each `from` in the piece that begins at `start`, in place; `to` is not longer. */
static void shrink(struct ft_buffer *text, size_t start, const char *from, const char *to) {
    size_t n = strlen(from), m = strlen(to), w = start;
    for (size_t r = start; r < text->size;) {
        if (text->size - r >= n && memcmp(text->data + r, from, n) == 0) {
            memcpy(text->data + w, to, m);
            w += m;
            r += n;
        } else {
            text->data[w++] = text->data[r++];
        }
    }
    text->size = w;
}

/* English punctuation and contractions move to the word before, in this order. */
static void clean_up(struct ft_buffer *text, size_t start) {
    static const char *const pair[][2] = {{" .", "."},     {" ?", "?"},     {" !", "!"},       {" ,", ","},
                                          {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"},     {" do not", " don't"},
                                          {" 's", "'s"},   {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) shrink(text, start, pair[i][0], pair[i][1]);
}

static enum ft_status wordpiece(const struct ft_decoder_step *step, bool first, const char *text, size_t length,
                                struct ft_pieces *out, struct ft_error *error) {
    size_t size = strlen(step->content), start = out->text.size;
    enum ft_status status = FT_OK;
    if (!first) {
        bool inner = length >= size && memcmp(text, step->content, size) == 0;
        if (inner) text += size, length -= size;
        else status = ft_buffer_append(&out->text, " ", 1, error);
    }
    if (!status) status = ft_buffer_append(&out->text, text, length, error);
    if (!status && step->flag) clean_up(&out->text, start);
    return status ? status : end_piece(out, error);
}

static enum ft_status suffix(const struct ft_decoder_step *step, bool last, const char *text, size_t length,
                             struct ft_pieces *out, struct ft_error *error) {
    size_t n = strlen(step->content), done = 0;
    enum ft_status status = FT_OK;
    for (size_t i = 0; n && i + n <= length && !status;) {
        if (memcmp(text + i, step->content, n) != 0) {
            i++;
            continue;
        }
        status = ft_buffer_append(&out->text, text + done, i - done, error);
        if (!status && !last) status = ft_buffer_append(&out->text, " ", 1, error);
        done = i += n;
    }
    if (!status) status = ft_buffer_append(&out->text, text + done, length - done, error);
    return status ? status : end_piece(out, error);
}

/* Connectionist temporal classification: repeated tokens are one, padding is nothing. */
static enum ft_status ctc(const struct ft_decoder_step *step, const struct ft_pieces *in, size_t i, struct ft_pieces *out,
                          struct ft_error *error) {
    size_t length, before = 0, start = out->text.size;
    const char *text = piece_at(in, i, &length), *previous = i ? piece_at(in, i - 1, &before) : NULL;
    if (previous && before == length && memcmp(previous, text, length) == 0) return FT_OK;
    enum ft_status status = ft_buffer_append(&out->text, text, length, error);
    if (status) return status;
    shrink(&out->text, start, step->content, "");
    if (step->flag) {
        clean_up(&out->text, start);
        shrink(&out->text, start, step->delimiter, " ");
    }
    return out->text.size == start ? FT_OK : end_piece(out, error);
}

static enum ft_status run_piece(const struct ft_decoder_step *step, struct ft_matcher *matcher, const struct ft_pieces *in,
                                size_t i, struct ft_pieces *out, struct ft_error *error) {
    size_t length;
    const char *text = piece_at(in, i, &length);
    switch (step->type) {
    case FT_DECODER_STRIP: return strip(step, text, length, out, error);
    case FT_DECODER_REPLACE: return replace(&step->pattern, matcher, step->content, text, length, out, error);
    case FT_DECODER_METASPACE: return metaspace(step, i == 0, text, length, out, error);
    case FT_DECODER_WORDPIECE: return wordpiece(step, i == 0, text, length, out, error);
    case FT_DECODER_SUFFIX: return suffix(step, i + 1 == in->count, text, length, out, error);
    case FT_DECODER_CTC: return ctc(step, in, i, out, error);
    default: return ft_pieces_add(out, text, length, error);
    }
}

static enum ft_status run_step(const struct ft_decoder_step *step, struct ft_matcher *matcher, const struct ft_pieces *in,
                               struct ft_pieces *out, struct ft_error *error) {
    ft_buffer_clear(&out->text);
    out->count = 0;
    if (step->type == FT_DECODER_BYTE_LEVEL) return byte_level(in, out, error);
    if (step->type == FT_DECODER_BYTE_FALLBACK) return byte_fallback(in, out, error);
    if (step->type == FT_DECODER_FUSE) return fuse(in, out, error);
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < in->count && !status; i++) status = run_piece(step, matcher, in, i, out, error);
    return status;
}

static enum ft_status join(const struct ft_decoder *decoder, const struct ft_pieces *pieces, struct ft_buffer *text,
                           struct ft_error *error) {
    if (decoder->present) return ft_buffer_append(text, pieces->text.data, pieces->text.size, error);
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < pieces->count && !status; i++) {
        size_t length;
        const char *piece = piece_at(pieces, i, &length);
        if (i) status = ft_buffer_append(text, " ", 1, error);
        if (!status) status = ft_buffer_append(text, piece, length, error);
    }
    return status;
}

enum ft_status ft_decoder_run(const struct ft_decoder *decoder, struct ft_pieces *pieces, struct ft_buffer *text,
                              struct ft_error *error) {
    struct ft_pieces other = {0}, *in = pieces, *out = &other;
    struct ft_matcher matcher = {0};
    enum ft_status status = ft_buffer_append(&pieces->text, "", 0, error);
    if (!status) status = ft_buffer_append(&other.text, "", 0, error);
    if (!status) status = ft_matcher_init(&matcher, error);
    for (size_t i = 0; i < decoder->count && !status; i++) {
        status = run_step(&decoder->step[i], &matcher, in, out, error);
        struct ft_pieces *swap = in;
        in = out;
        out = swap;
    }
    if (!status) status = join(decoder, in, text, error);
    ft_matcher_release(&matcher);
    ft_pieces_release(&other);
    return status;
}
