/* SPDX-License-Identifier: MIT
 *
 * A template's tokens, one after the other. It knows nothing of the parser above it; its mode follows the
 * tags that it has given out. Private to lib/text.
 */
#ifndef FT_TEXT_JINJA_LEXER_H
#define FT_TEXT_JINJA_LEXER_H

#include "jinja.h"

enum ft_jinja_token_type {
    FT_JT_END,         /* of the template, or the run has failed */
    FT_JT_TEXT,        /* value: never empty, white space already taken off */
    FT_JT_OPEN_OUTPUT, /* {{ */
    FT_JT_OPEN_TAG,    /* {% */
    FT_JT_CLOSE,       /* }} or %} */
    FT_JT_NAME,        /* value */
    FT_JT_STRING,      /* value: without quotes and escapes */
    FT_JT_INT,         /* value */
    FT_JT_FLOAT,       /* value */
    FT_JT_OPERATOR,    /* op: as in struct ft_jinja_node, and brackets and punctuation as they are */
};

struct ft_jinja_token {
    enum ft_jinja_token_type type;
    unsigned char op;
    struct ft_jv value; /* borrows from the source, but strings with escapes from the run */
    unsigned line;
};

struct ft_jinja_lexer {
    struct ft_jinja_run *run; /* memory and errors; run->line follows */
    const char *p, *end;
    enum { FT_JINJA_IN_TEXT, FT_JINJA_IN_OUTPUT, FT_JINJA_IN_TAG } mode;
    bool line_start;   /* only white space since the last newline: for lstrip_blocks */
    bool strip_next;   /* "-" closed the last tag */
    bool trim_newline; /* a block tag was closed: one newline goes */
    unsigned brackets; /* open in this tag */
};

/* source: valid UTF-8 with '\n' for newlines; borrowed. */
void ft_jinja_lexer_init(struct ft_jinja_lexer *lexer, struct ft_jinja_run *run, const char *source,
                         size_t size);

/* The next token. Fails the run on what is no token, and on text, strings and tags without an end. */
struct ft_jinja_token ft_jinja_lex(struct ft_jinja_lexer *lexer);

#endif
