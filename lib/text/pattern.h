/* SPDX-License-Identifier: MIT
 *
 * What Split, Replace and others look for: a text or a regular expression. tokenizer.json's expressions are
 * Oniguruma's (Ruby syntax); they run in PCRE2 with JIT after the few escapes that differ have been rewritten.
 * Private to lib/text.
 */
#ifndef FT_TEXT_PATTERN_H
#define FT_TEXT_PATTERN_H

#include "ft/error.h"

#include <stdbool.h>
#include <stddef.h>

struct cJSON;
struct ft_json;

#define FT_PATTERN_MAX ((size_t)64 << 10) /* bytes of an expression */

struct ft_pattern {
    char *literal;  /* NULL: a regular expression */
    size_t literal_length;
    void *code;     /* pcre2_code */
};

/* What one thread needs to match; zero-initialise. */
struct ft_matcher {
    void *data, *context; /* pcre2_match_data, pcre2_match_context */
};

enum ft_status ft_pattern_literal(struct ft_pattern *pattern, const char *text, size_t length, struct ft_error *error);
enum ft_status ft_pattern_regex(struct ft_pattern *pattern, const char *regex, struct ft_error *error);
/* {"String": ...} or {"Regex": ...} */
enum ft_status ft_pattern_json(struct ft_pattern *pattern, const struct ft_json *json, const struct cJSON *node,
                               struct ft_error *error);
void ft_pattern_release(struct ft_pattern *pattern);

enum ft_status ft_matcher_init(struct ft_matcher *matcher, struct ft_error *error);
void ft_matcher_release(struct ft_matcher *matcher);

/* Walks over the matches in text[0..length): zero-initialise, then call until *found is false. Matches do not overlap; an empty one
 * directly behind another match is skipped. */
struct ft_match {
    size_t start, end;
    size_t from;         /* private: where the search goes on */
    bool after;          /* private: `end` holds a match's end */
};
enum ft_status ft_pattern_next(const struct ft_pattern *pattern, struct ft_matcher *matcher, const char *text, size_t length,
                               struct ft_match *match, bool *found, struct ft_error *error);

#endif
