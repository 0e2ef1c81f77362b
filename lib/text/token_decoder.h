/* SPDX-License-Identifier: MIT
 *
 * Decoders: how tokens become text again. A list of steps over a list of texts, which are joined at the end. Private to
 * lib/text.
 */
#ifndef FT_TEXT_TOKEN_DECODER_H
#define FT_TEXT_TOKEN_DECODER_H

#include "ft/memory.h"
#include "pattern.h"

enum ft_decoder_type {
    FT_DECODER_BYTE_LEVEL,
    FT_DECODER_BYTE_FALLBACK,
    FT_DECODER_FUSE,
    FT_DECODER_STRIP,
    FT_DECODER_REPLACE,
    FT_DECODER_METASPACE,
    FT_DECODER_WORDPIECE,
    FT_DECODER_SUFFIX, /* "BPEDecoder" */
    FT_DECODER_CTC,
};

struct ft_decoder_step {
    enum ft_decoder_type type;
    struct ft_pattern pattern; /* REPLACE */
    char *content;             /* REPLACE; STRIP's and METASPACE's character; WORDPIECE's prefix; SUFFIX; CTC's padding */
    char *delimiter;           /* CTC: becomes a space */
    size_t start, stop;        /* STRIP: characters at the ends */
    bool flag;                 /* METASPACE: drops the first token's leading space; WORDPIECE, CTC: cleans up */
};

struct ft_decoder {
    struct ft_decoder_step *step;
    size_t count, capacity;
    bool present; /* without a decoder, tokens are joined by spaces */
};

/* A list of texts in one buffer. */
struct ft_pieces {
    struct ft_buffer text;
    size_t *end; /* [count]: where each ends */
    size_t count, capacity;
};
enum ft_status ft_pieces_add(struct ft_pieces *pieces, const char *text, size_t length, struct ft_error *error);
void ft_pieces_release(struct ft_pieces *pieces);

enum ft_status ft_decoder_read(struct ft_decoder *decoder, const struct ft_json *json, const struct cJSON *node,
                               struct ft_error *error);
void ft_decoder_release(struct ft_decoder *decoder);

/* Decodes the pieces (which it uses up) and appends the text. */
enum ft_status ft_decoder_run(const struct ft_decoder *decoder, struct ft_pieces *pieces, struct ft_buffer *text,
                              struct ft_error *error);

#endif
