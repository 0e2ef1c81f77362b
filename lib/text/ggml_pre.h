/* SPDX-License-Identifier: MIT
 *
 * Pre-tokenizers by llama.cpp's names. Private to lib/text.
 */
#ifndef FT_TEXT_GGML_PRE_H
#define FT_TEXT_GGML_PRE_H

#include <stdbool.h>

struct ft_ggml_pre {
    const char *name;
    bool digits;         /* each digit is a piece of its own, before the rest */
    const char *split;   /* a regular expression whose matches are pieces; NULL: GPT-2's, that of ByteLevel itself */
    bool nfc;            /* texts are normalized first */
    bool whole_words;    /* a word that is a token is not merged (ignore_merges) */
    bool begins;         /* BOS is added unless the file says otherwise */
};

/* NULL: not known. */
const struct ft_ggml_pre *ft_ggml_pre_named(const char *name);
/* The first that splits so; split NULL: GPT-2's expression. */
const struct ft_ggml_pre *ft_ggml_pre_like(bool digits, const char *split, bool whole_words);

#endif
