/* SPDX-License-Identifier: MIT */
#include "ft/options.h"

#include "ft/memory.h"
#include "ft/version.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS_MAX = 128, WORD_MAX = 64 };

enum ft_status ft_parse_u64(const char *text, const char *what, uint64_t *value, struct ft_error *error) {
    uint64_t v = 0;
    if (!*text) return ft_fail(error, FT_USAGE, "%s: a whole number is expected", what);
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return ft_fail(error, FT_USAGE, "%s: '%s' is not a whole number below 2^64", what, text);
    }
    *value = v;
    return FT_OK;
}

/* strtod follows the locale, and no program of ft calls setlocale: the C locale is in force. */
enum ft_status ft_parse_double(const char *text, const char *what, double *value, struct ft_error *error) {
    char *end;
    bool plain = *text == '-' || *text == '+' || *text == '.' || isdigit((unsigned char)*text);
    double v = plain ? strtod(text, &end) : 0.0;
    if (!plain || *end || !isfinite(v) || strchr(text, 'x') || strchr(text, 'X'))
        return ft_fail(error, FT_USAGE, "%s: '%s' is not a number", what, text);
    *value = v;
    return FT_OK;
}

static size_t edit_distance(const char *a, const char *b) {
    size_t la = strlen(a), lb = strlen(b), row[WORD_MAX + 1];
    if (la > WORD_MAX || lb > WORD_MAX) return WORD_MAX;
    for (size_t j = 0; j <= lb; j++) row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[lb];
}

const char *ft_nearest(const char *word, const char *const *list) {
    const char *best = NULL;
    size_t least = strlen(word) / 2 + 1;
    for (; *list; list++) {
        size_t d = edit_distance(word, *list);
        if (d < least) {
            least = d;
            best = *list;
        }
    }
    return best;
}

static void print_help(const struct ft_command *command) {
    printf("usage: %s [OPTION]... %s\n%s.\n\n", command->name, command->operands, command->summary);
    for (const struct ft_option *o = command->options; o->name; o++) {
        char left[80];
        snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : "  ", o->letter ? o->letter : ' ',
                 o->letter ? ", " : " ", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        printf("  %-34s %s\n", left, o->help);
    }
    printf("  -h, --%-28s %s\n      --%-28s %s\n", "help", "show this text", "version",
           "show version, numerics and instruction set");
    if (command->details) printf("\n%s\n", command->details);
}

/* One line an option, for shell completion: "--name<TAB>argument<TAB>help". */
static void print_completion(const struct ft_command *command) {
    for (const struct ft_option *o = command->options; o->name; o++) {
        printf("--%s\t%s\t%s\n", o->name, o->argument ? o->argument : "", o->help);
        if (o->letter) printf("-%c\t%s\t%s\n", o->letter, o->argument ? o->argument : "", o->help);
    }
    printf("--help\t\tshow help\n--version\t\tshow the version\n");
}

static enum ft_status store(const struct ft_option *o, const char *value, struct ft_error *error) {
    char what[80];
    snprintf(what, sizeof what, "--%s", o->name);
    uint64_t number;
    enum ft_status status;
    switch (o->type) {
    case FT_OPTION_FLAG: *(bool *)o->target = true; return FT_OK;
    case FT_OPTION_STRING: *(const char **)o->target = value; return FT_OK;
    case FT_OPTION_DOUBLE: return ft_parse_double(value, what, o->target, error);
    case FT_OPTION_U64: return ft_parse_u64(value, what, o->target, error);
    case FT_OPTION_SIZE:
        status = ft_parse_u64(value, what, &number, error);
        if (status) return status;
        size_t max = o->max ? o->max : SIZE_MAX;
        if (number < o->min || number > max)
            return ft_fail(error, FT_USAGE, "%s: %s is outside %zu to %zu", what, value, o->min, max);
        *(size_t *)o->target = (size_t)number;
        return FT_OK;
    case FT_OPTION_LIST: {
        struct ft_option_list *list = o->target;
        if (list->count == FT_OPTION_LIST_MAX)
            return ft_fail(error, FT_USAGE, "%s: given more than %u times", what, FT_OPTION_LIST_MAX);
        list->item[list->count++] = value;
        return FT_OK;
    }
    }
    return ft_fail(error, FT_USAGE, "%s: unknown option type", what);
}

static enum ft_status unknown(const struct ft_command *command, const char *given, struct ft_error *error) {
    const char *names[OPTIONS_MAX + 3];
    char word[WORD_MAX + 3]; /* without "=VALUE" */
    size_t length = strcspn(given, "=");
    snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), given);
    size_t n = 0;
    for (const struct ft_option *o = command->options; o->name && n < OPTIONS_MAX; o++) names[n++] = o->name;
    names[n++] = "help";
    names[n++] = "version";
    names[n] = NULL;
    const char *near = word[0] == '-' && word[1] == '-' ? ft_nearest(word + 2, names) : NULL;
    if (near) return ft_fail(error, FT_USAGE, "unknown option %s; did you mean --%s?", word, near);
    return ft_fail(error, FT_USAGE, "unknown option %s; %s --help lists them", word, command->name);
}

static const struct ft_option *find_long(const struct ft_command *command, const char *name, size_t length) {
    for (const struct ft_option *o = command->options; o->name; o++)
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0) return o;
    return NULL;
}

/* Parses argv[*i] as a long option; may consume argv[*i + 1]. */
static enum ft_status parse_long(const struct ft_command *command, int argc, char **argv, int *i,
                                 struct ft_error *error) {
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    const struct ft_option *o = find_long(command, word + 2, length);
    if (!o) return unknown(command, word, error);
    if (o->type == FT_OPTION_FLAG) {
        if (equals) return ft_fail(error, FT_USAGE, "--%s takes no value", o->name);
        return store(o, NULL, error);
    }
    if (equals) return store(o, equals + 1, error);
    if (*i + 1 >= argc) return ft_fail(error, FT_USAGE, "--%s needs a value: %s", o->name, o->argument);
    return store(o, argv[++*i], error);
}

/* Parses argv[*i] as one or more short options. */
static enum ft_status parse_short(const struct ft_command *command, int argc, char **argv, int *i,
                                  struct ft_error *error) {
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct ft_option *o = command->options;
        while (o->name && o->letter != *p) o++;
        if (!o->name) return unknown(command, argv[*i], error);
        if (o->type != FT_OPTION_FLAG) {
            if (p[1]) return store(o, p + 1, error);
            if (*i + 1 >= argc) return ft_fail(error, FT_USAGE, "-%c needs a value: %s", *p, o->argument);
            return store(o, argv[++*i], error);
        }
        enum ft_status status = store(o, NULL, error);
        if (status) return status;
    }
    return FT_OK;
}

/* Were one of these closed, the next file to be opened would get its number, and words meant for a person would
 * end in it. /dev/null takes the place, opened so that using it fails. */
static void hold_standard_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

enum ft_options_result ft_options_parse(const struct ft_command *command, int argc, char **argv, int *operands,
                                        struct ft_error *error) {
    hold_standard_descriptors();
    int kept = 1; /* operands are gathered at argv[1..kept), then moved behind the options */
    char **held = NULL;
    if (ft_alloc(&held, (size_t)argc + 1, sizeof *held, error)) return FT_OPTIONS_BAD;
    int n_held = 0;
    enum ft_options_result result = FT_OPTIONS_RUN;
    bool only_operands = false;
    for (int i = 1; i < argc && result == FT_OPTIONS_RUN; i++) {
        const char *word = argv[i];
        if (only_operands || word[0] != '-' || !word[1]) held[n_held++] = argv[i];
        else if (strcmp(word, "--") == 0) only_operands = true;
        else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(command);
            result = FT_OPTIONS_DONE;
        } else if (strcmp(word, "--version") == 0) {
            ft_version_print(command->name);
            result = FT_OPTIONS_DONE;
        } else if (strcmp(word, "--complete") == 0) {
            print_completion(command);
            result = FT_OPTIONS_DONE;
        } else if ((word[1] == '-' ? parse_long : parse_short)(command, argc, argv, &i, error)) {
            result = FT_OPTIONS_BAD;
        }
    }
    if (result == FT_OPTIONS_DONE && fflush(stdout) != 0) {
        ft_fail_errno(error, FT_IO, "standard output: cannot be written");
        result = FT_OPTIONS_BAD;
    }
    kept = argc - n_held;
    for (int i = 0; i < n_held; i++) argv[kept + i] = held[i];
    free(held);
    *operands = kept;
    return result;
}
