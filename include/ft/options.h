/* SPDX-License-Identifier: MIT
 *
 * Command lines from one table per program: parsing, --help, --version and shell completion all come from
 * it, so they cannot disagree. Long options take `--name VALUE` or `--name=VALUE`, short ones `-nVALUE` or
 * `-n VALUE`; `--` ends the options; a lone `-` is an operand.
 */
#ifndef FT_OPTIONS_H
#define FT_OPTIONS_H

#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

enum ft_option_type {
    FT_OPTION_FLAG,   /* bool *: set to true */
    FT_OPTION_STRING, /* const char **: points into argv */
    FT_OPTION_SIZE,   /* size_t *: decimal, within [min, max] */
    FT_OPTION_U64,    /* uint64_t *: decimal */
    FT_OPTION_DOUBLE, /* double *: C locale, finite */
    FT_OPTION_LIST,   /* struct ft_option_list *: may be repeated */
};

#define FT_OPTION_LIST_MAX 64u
struct ft_option_list {
    const char *item[FT_OPTION_LIST_MAX];
    size_t count;
};

struct ft_option {
    char letter;      /* 0: none */
    const char *name; /* without dashes; NULL ends a table */
    enum ft_option_type type;
    void *target;
    const char *argument; /* shown in help, e.g. "FILE"; NULL for flags. "DIR" and "FILE" complete as such; "a|b" as words */
    const char *help;     /* one line, lower case, no full stop */
    size_t min, max;      /* FT_OPTION_SIZE only; max 0: no bound */
};

struct ft_command {
    const char *name;     /* "ft-split" */
    const char *operands; /* "[FILE|-]" */
    const char *summary;  /* one line: what it does */
    const char *details;  /* printed after the options, may be NULL: exit status, examples */
    const struct ft_option *options;
};

enum ft_options_result { FT_OPTIONS_RUN, FT_OPTIONS_DONE, FT_OPTIONS_BAD };

/* Parses argv, fills the targets, and sets *operands to the index of the first operand (argv is permuted so
 * that operands come last). FT_OPTIONS_DONE: --help, --version or --complete was answered on stdout.
 * FT_OPTIONS_BAD: *error says what is wrong and names the nearest right option. Standard descriptors that are closed
 * are made to fail from here on. */
enum ft_options_result ft_options_parse(const struct ft_command *command, int argc, char **argv, int *operands,
                                        struct ft_error *error);

/* Decimal integers and C-locale numbers, whole string, no sign tricks; FT_USAGE naming `what` otherwise. */
enum ft_status ft_parse_u64(const char *text, const char *what, uint64_t *value, struct ft_error *error);
enum ft_status ft_parse_double(const char *text, const char *what, double *value, struct ft_error *error);

/* The entry of the NULL-terminated list nearest to `word` in edit distance, or NULL when none is near. */
const char *ft_nearest(const char *word, const char *const *list);

#endif
