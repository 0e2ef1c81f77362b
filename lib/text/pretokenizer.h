/* SPDX-License-Identifier: MIT
 *
 * Pre-tokenizers: how a normalized text is cut into the words that the model sees one by one. A list of steps, each
 * from a list of words to another. Private to lib/text.
 */
#ifndef FT_TEXT_PRETOKENIZER_H
#define FT_TEXT_PRETOKENIZER_H

#include "ft/memory.h"
#include "known_regex.h"
#include "pattern.h"

#include <stdint.h>

/* Words are parts of one text; not all of it need be in words. */
struct ft_word {
    size_t start, length;
};

struct ft_words {
    const char *text;
    size_t length;
    struct ft_word *word;
    size_t count, capacity;
    bool first;           /* the first word begins where the part of the text did: nothing was taken away before it */
    struct ft_buffer own; /* where the text lies when a step changed it */
};

enum ft_split_behavior {
    FT_SPLIT_REMOVED,
    FT_SPLIT_ISOLATED,
    FT_SPLIT_MERGED_WITH_PREVIOUS,
    FT_SPLIT_MERGED_WITH_NEXT,
    FT_SPLIT_CONTIGUOUS,
};

enum ft_split_type {
    FT_SPLIT_PATTERN,
    FT_SPLIT_DIGITS,
    FT_SPLIT_PUNCTUATION,
    FT_SPLIT_SPACE,    /* white space */
    FT_SPLIT_WORDS,    /* runs of word characters, runs of others that are not white space */
    FT_SPLIT_LENGTH,
    FT_SPLIT_SCRIPTS,  /* where the script changes */
    FT_SPLIT_METASPACE,
    FT_SPLIT_BYTE_LEVEL,
};

enum ft_prepend { FT_PREPEND_NEVER, FT_PREPEND_FIRST, FT_PREPEND_ALWAYS };

struct ft_pretokenizer_step {
    enum ft_split_type type;
    enum ft_split_behavior behavior;
    struct ft_pattern pattern; /* PATTERN, and BYTE_LEVEL's own */
    enum ft_known_regex known; /* the pattern is this one, and is not compiled */
    bool invert;               /* PATTERN: the matches are the words */
    bool split;                /* METASPACE, BYTE_LEVEL: cut, not only change */
    enum ft_prepend prepend;   /* METASPACE, BYTE_LEVEL */
    char replacement[5];       /* METASPACE: one character */
    size_t length;             /* LENGTH: characters */
};

struct ft_pretokenizer {
    struct ft_pretokenizer_step *step;
    size_t count, capacity;
    bool bytes; /* the last step is ByteLevel, and its map from bytes to characters is left to the model: words are raw bytes */
};

/* node: the "pre_tokenizer" of a tokenizer.json; NULL or null is an empty list. */
enum ft_status ft_pretokenizer_read(struct ft_pretokenizer *pretokenizer, const struct ft_json *json,
                                    const struct cJSON *node, struct ft_error *error);
void ft_pretokenizer_release(struct ft_pretokenizer *pretokenizer);

enum ft_pretokenize_flags {
    FT_PRETOKENIZE_START = 1,    /* the text starts the whole text: FT_PREPEND_FIRST applies */
    FT_PRETOKENIZE_CONTINUE = 2, /* the text goes on after other text: nothing is prepended to its first word */
    FT_PRETOKENIZE_CUT = 4,      /* the text's beginning was taken away: its first word counts as another */
};

/* Cuts text[0..length). *out is one of the two, its words in order, none empty. */
enum ft_status ft_pretokenize(const struct ft_pretokenizer *pretokenizer, struct ft_matcher *matcher, unsigned flags,
                              const char *text, size_t length, struct ft_words words[2], const struct ft_words **out,
                              struct ft_error *error);
void ft_words_release(struct ft_words *words);

#endif
