/* SPDX-License-Identifier: MIT
 *
 * What a loaded tokenizer is made of. Private to lib/text.
 */
#ifndef FT_TEXT_TOKENIZER_IMPL_H
#define FT_TEXT_TOKENIZER_IMPL_H

#include "added.h"
#include "token_decoder.h"
#include "ft/hash.h"
#include "ft/tokenizer.h"
#include "normalizer.h"
#include "postprocessor.h"
#include "pretokenizer.h"
#include "word_model.h"

/* The special tokens that chat templates know by name. */
#define FT_NAMED_TOKENS 7
extern const char *const ft_named_token[FT_NAMED_TOKENS];

struct ft_tokenizer {
    struct ft_added added;
    struct ft_normalizer normalizer;
    struct ft_pretokenizer pretokenizer;
    struct ft_word_model model;
    struct ft_postprocessor postprocessor;
    struct ft_decoder decoder;
    uint32_t limit; /* one above the highest id */
    uint32_t bos;   /* FT_TOKEN_NONE: none */
    struct ft_ids eos;
    char *template; /* NULL: none */
    char *named[FT_NAMED_TOKENS]; /* as ft_named_token; NULL: none */
    char digest[FT_SHA256_HEX];
};

/* Reads the small files beside tokenizer.json in `directory`: bos, eos, template. */
enum ft_status ft_tokenizer_read_config(struct ft_tokenizer *tokenizer, const char *directory, struct ft_error *error);

#endif
