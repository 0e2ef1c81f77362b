/* SPDX-License-Identifier: MIT */
#include "known_regex.h"

#include "unicode.h"

#include <string.h>

const char ft_gpt2_regex[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

#define CL100K(digits)                                                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits                                         \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

enum ft_known_regex ft_known_regex(const char *regex) {
    if (strcmp(regex, ft_gpt2_regex) == 0) return FT_KNOWN_GPT2;
    if (strcmp(regex, CL100K("")) == 0) return FT_KNOWN_QWEN2;
    if (strcmp(regex, CL100K("{1,3}")) == 0) return FT_KNOWN_LLAMA3;
    return FT_KNOWN_NONE;
}

enum kind { SPACE, LETTER, NUMBER, OTHER, END };

/* What the character at p is, and where the next one begins. */
static inline enum kind kind_at(const char *p, const char *end, const char **next) {
    static const unsigned char kind[] = {[FT_CLASS_OTHER] = OTHER,         [FT_CLASS_SPACE] = SPACE,
                                         [FT_CLASS_LETTER] = LETTER,       [FT_CLASS_DIGIT] = NUMBER,
                                         [FT_CLASS_LETTER_NUMBER] = NUMBER, [FT_CLASS_OTHER_NUMBER] = NUMBER,
                                         [FT_CLASS_NONSPACING] = OTHER,    [FT_CLASS_MARK] = OTHER,
                                         [FT_CLASS_CONNECTOR] = OTHER,     [FT_CLASS_PUNCTUATION] = OTHER};
    *next = p;
    if (p == end) return END;
    return (enum kind)kind[ft_class(ft_utf8_next(next))];
}

/* The end of the run of `kind` from p. */
static const char *run_end(enum kind kind, const char *p, const char *end) {
    const char *next;
    while (kind_at(p, end, &next) == kind) p = next;
    return p;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c; }

/* The end of 's 't 're 've 'm 'll 'd at the apostrophe p, or NULL. */
static const char *contraction(const char *p, const char *end, bool any_case) {
    char a = end - p > 1 ? p[1] : '\0', b = end - p > 2 ? p[2] : '\0';
    if (any_case) {
        if (a == '\xc5' && b == '\xbf') return p + 3; /* U+017F, the long s, is an s in another case */
        a = lower(a);
        b = lower(b);
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? p + 3 : NULL;
}

/* \s+(?!\S)|\s+ at the white space p, whose run ends at `stop`: all of it at the end of the text, else all but the last character,
 * which goes with what follows; at least one. */
static const char *space_end(const char *p, const char *stop, const char *end) {
    const char *last = stop;
    if (stop == end) return end;
    (void)ft_utf8_previous(&last);
    return last == p ? stop : last;
}

static const char *gpt2_end(const char *p, const char *end) {
    const char *after, *next, *short_form = *p == '\'' ? contraction(p, end, false) : NULL;
    if (short_form) return short_form;
    enum kind kind = kind_at(p, end, &after);
    if (*p == ' ') { /* one may stand before a run of anything else */
        kind = kind_at(after, end, &next);
        if (kind != SPACE && kind != END) return run_end(kind, next, end);
        kind = SPACE;
    }
    const char *stop = run_end(kind, after, end);
    return kind == SPACE ? space_end(p, stop, end) : stop;
}

static bool is_newline(char c) { return c == '\n' || c == '\r'; }

static const char *punctuation_end(const char *p, const char *end) {
    p = run_end(OTHER, p, end);
    while (p < end && is_newline(*p)) p++;
    return p;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ */
static const char *cl100k_space_end(const char *p, const char *after, const char *end) {
    const char *stop = run_end(SPACE, after, end);
    for (const char *q = stop; q > p; q--)
        if (is_newline(q[-1])) return q;
    return space_end(p, stop, end);
}

static const char *cl100k_end(const char *p, const char *end, unsigned digits) {
    const char *after, *next, *short_form = *p == '\'' ? contraction(p, end, true) : NULL;
    if (short_form) return short_form;
    enum kind kind = kind_at(p, end, &after);
    if (kind == LETTER) return run_end(LETTER, after, end);
    if (kind == NUMBER) {
        for (unsigned i = 1; i < digits && kind_at(after, end, &next) == NUMBER; i++) after = next;
        return after;
    }
    enum kind second = kind_at(after, end, &next);
    if (second == LETTER && !is_newline(*p)) return run_end(LETTER, next, end);
    if (kind == OTHER) return punctuation_end(after, end);
    if (*p == ' ' && second == OTHER) return punctuation_end(next, end);
    return cl100k_space_end(p, after, end);
}

const char *ft_known_end(enum ft_known_regex regex, const char *p, const char *end) {
    if (regex == FT_KNOWN_GPT2) return gpt2_end(p, end);
    return cl100k_end(p, end, regex == FT_KNOWN_LLAMA3 ? 3 : 1);
}
