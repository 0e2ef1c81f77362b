/* SPDX-License-Identifier: MIT
 *
 * Normalizers: what happens to a text before it is split. A list of steps, each from one buffer into another.
 * Private to lib/text.
 */
#ifndef FT_TEXT_NORMALIZER_H
#define FT_TEXT_NORMALIZER_H

#include "charsmap.h"
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
    FT_NORMALIZE_NMT,
    FT_NORMALIZE_PRECOMPILED,
    FT_NORMALIZE_BERT_CLEAN,   /* BertNormalizer is up to four steps: this, */
    FT_NORMALIZE_BERT_CHINESE, /* spaces around ideographs, */
    FT_NORMALIZE_BERT_ACCENTS, /* behind an NFD, and LOWERCASE */
};

struct ft_normalizer_step {
    enum ft_normalize_type type;
    struct ft_pattern pattern; /* REPLACE */
    char *content;             /* REPLACE, PREPEND */
    bool left, right;          /* STRIP */
    struct ft_charsmap charsmap; /* PRECOMPILED */
};

struct ft_normalizer {
    struct ft_normalizer_step *step;
    size_t count, capacity;
};

/* node: the "normalizer" of a tokenizer.json; NULL or null is an empty list. */
enum ft_status ft_normalizer_read(struct ft_normalizer *normalizer, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_error *error);
void ft_normalizer_release(struct ft_normalizer *normalizer);

/* A text before and after. */
struct ft_normalized {
    const char *text;
    size_t length;
    bool at_start; /* before: the text does not go on after other text, so PREPEND does its work */
    bool whole;    /* after: the text's beginning was not taken away, so that its first word is the first of all */
};

/* Normalizes in place: n->text then points into one of the two buffers, or stays when nothing changes. */
enum ft_status ft_normalize(const struct ft_normalizer *normalizer, struct ft_matcher *matcher, struct ft_normalized *n,
                            struct ft_buffer buffer[2], struct ft_error *error);

#endif
