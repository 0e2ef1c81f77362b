/* SPDX-License-Identifier: MIT
 *
 * Normalizers: what happens to a text before it is split. A list of steps, each from one buffer into another.
 * Private to lib/text.
 */
#ifndef FT_TEXT_NORMALIZER_H
#define FT_TEXT_NORMALIZER_H

#include "ft/memory.h"
#include "pattern.h"

enum ft_normalize_type {
    FT_NORMALIZE_NFC,
    FT_NORMALIZE_NFD,
    FT_NORMALIZE_NFKC,
    FT_NORMALIZE_NFKD,
    FT_NORMALIZE_LOWERCASE,
    FT_NORMALIZE_STRIP,
    FT_NORMALIZE_STRIP_ACCENTS,
    FT_NORMALIZE_REPLACE,
    FT_NORMALIZE_PREPEND,
    FT_NORMALIZE_BYTE_LEVEL,
};

struct ft_normalizer_step {
    enum ft_normalize_type type;
    struct ft_pattern pattern; /* REPLACE */
    char *content;             /* REPLACE, PREPEND */
    bool left, right;          /* STRIP */
};

struct ft_normalizer {
    struct ft_normalizer_step *step;
    size_t count, capacity;
};

/* node: the "normalizer" of a tokenizer.json; NULL or null is an empty list. */
enum ft_status ft_normalizer_read(struct ft_normalizer *normalizer, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_error *error);
void ft_normalizer_release(struct ft_normalizer *normalizer);

/* Normalizes text[0..length): *out points into one of the two buffers, or at the text itself when nothing changes.
 * at_start false: the text goes on after other text, so PREPEND does nothing. */
enum ft_status ft_normalize(const struct ft_normalizer *normalizer, struct ft_matcher *matcher, bool at_start, const char *text,
                            size_t length, struct ft_buffer buffer[2], const char **out, size_t *out_length,
                            struct ft_error *error);

#endif
