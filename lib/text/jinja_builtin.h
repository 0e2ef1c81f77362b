/* SPDX-License-Identifier: MIT
 *
 * What the functions, methods, filters and tests of templates share. Filters and tests are found by name
 * through jinja.h, by one another too (map, select); otherwise jinja_filter.c stands over jinja_sequence.c,
 * and both, like jinja_test.c and jinja_function.c, over jinja_text.c. All do nothing once the run has
 * failed, and return ft_jv_nothing(). Private to lib/text.
 */
#ifndef FT_TEXT_JINJA_BUILTIN_H
#define FT_TEXT_JINJA_BUILTIN_H

#include "jinja.h"

typedef const struct ft_jinja_arguments arguments_t;

/* --- arguments ------------------------------------------------------------------------------------------ */

#define FT_JINJA_NAMED_ONLY SIZE_MAX /* for i */
/* Argument `i`, or the named one, or undefined. */
static inline struct ft_jv argument(arguments_t *arguments, size_t i, const char *name) {
    if (i < arguments->count) return arguments->item[i];
    const struct ft_jv *named = arguments->named && name ? ft_jv_get_word(arguments->named, name) : NULL;
    return named ? *named : ft_jv_nothing();
}

static inline int64_t int_argument(arguments_t *arguments, size_t i, const char *name, int64_t otherwise) {
    struct ft_jv v = argument(arguments, i, name);
    return v.type == FT_JV_INT || v.type == FT_JV_BOOL ? ft_jv_integer(v) : otherwise;
}

/* The entry of a NULL-terminated list that has this name, or NULL. */
static inline const char *listed(const char *const *list, struct ft_jv name) {
    for (; *list; list++)
        if (ft_jv_is(name, *list)) return *list;
    return NULL;
}

/* --- texts (jinja_text.c) ------------------------------------------------------------------------------- */

/* v is a text in all of them, but where it says otherwise. */

enum { FT_JINJA_LEFT = 1, FT_JINJA_RIGHT = 2, FT_JINJA_BOTH = 3 };
/* Without the characters of `set` (no text: without white space) at its sides. Borrows from v. */
struct ft_jv ft_jinja_strip(struct ft_jv v, struct ft_jv set, unsigned sides);

/* A list of words between white space: after `most` cuts the rest is one (-1: no bound). Borrows from v. */
struct ft_jv ft_jinja_words(struct ft_jinja_run *run, struct ft_jv v, int64_t most);

/* Arguments: old, new, count. */
struct ft_jv ft_jinja_replace(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments);

enum ft_jinja_letters { FT_JINJA_LOWER, FT_JINJA_UPPER, FT_JINJA_CAPITALIZE, FT_JINJA_TITLE };
struct ft_jv ft_jinja_change_case(struct ft_jinja_run *run, struct ft_jv v, enum ft_jinja_letters how);

/* items: a list. by: what stands between them; no text: nothing. */
struct ft_jv ft_jinja_join(struct ft_jinja_run *run, struct ft_jv items, struct ft_jv by);

/* name: "isdigit", "isnumeric", "isalpha", "isalnum", "isspace", "isupper" or "islower". */
bool ft_jinja_all_of(struct ft_jv v, const char *name);

/* The method of that name, one of the list's. */
extern const char *const ft_jinja_text_methods[]; /* NULL-terminated */
struct ft_jv ft_jinja_text_method(struct ft_jinja_run *run, struct ft_jv self, const char *name,
                                  arguments_t *arguments);

/* --- filters -------------------------------------------------------------------------------------------- */

struct ft_jinja_filter {
    const char *name;
    struct ft_jv (*run)(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments);
};
extern const struct ft_jinja_filter ft_jinja_sequence_filters[]; /* ends with a NULL name */

#endif
