/* SPDX-License-Identifier: MIT
 *
 * The regular expressions that nearly every byte-level tokenizer splits by, by hand: an order of magnitude faster than a
 * machine for all expressions. Tests compare the two. Private to lib/text.
 */
#ifndef FT_TEXT_KNOWN_REGEX_H
#define FT_TEXT_KNOWN_REGEX_H

#include <stdbool.h>
#include <stddef.h>

enum ft_known_regex {
    FT_KNOWN_NONE,
    FT_KNOWN_GPT2,   /* OpenAI's GPT-2 */
    FT_KNOWN_QWEN2,  /* cl100k with single digits */
    FT_KNOWN_LLAMA3, /* cl100k: digits by up to three */
};

extern const char ft_gpt2_regex[];

/* Which one it is, letter by letter. */
enum ft_known_regex ft_known_regex(const char *regex);

/* The end of the match that begins at `p`, p < end: these expressions match everywhere, and never nothing. */
const char *ft_known_end(enum ft_known_regex regex, const char *p, const char *end);

#endif
