/* SPDX-License-Identifier: MIT
 *
 * Filters of texts, numbers and single values; and every filter by its name.
 */
#include "jinja_builtin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- texts ---------------------------------------------------------------------------------------------- */

static struct ft_jv f_trim(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    v = ft_jv_string(run, v);
    return run->status ? ft_jv_nothing() : ft_jinja_strip(v, argument(arguments, 0, "chars"), FT_JINJA_BOTH);
}
static struct ft_jv f_upper(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return ft_jinja_change_case(run, ft_jv_string(run, v), FT_JINJA_UPPER);
}
static struct ft_jv f_lower(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return ft_jinja_change_case(run, ft_jv_string(run, v), FT_JINJA_LOWER);
}
static struct ft_jv f_capitalize(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return ft_jinja_change_case(run, ft_jv_string(run, v), FT_JINJA_CAPITALIZE);
}
static struct ft_jv f_title(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return ft_jinja_change_case(run, ft_jv_string(run, v), FT_JINJA_TITLE);
}
static struct ft_jv f_string(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return ft_jv_string(run, v);
}
static struct ft_jv f_safe(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run, (void)arguments;
    return v;
}
static struct ft_jv f_replace(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    v = ft_jv_string(run, v);
    return run->status ? ft_jv_nothing() : ft_jinja_replace(run, v, arguments);
}

static struct ft_jv f_indent(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv width = argument(arguments, 0, "width");
    bool first = ft_jv_truth(argument(arguments, 1, "first")),
         blank = ft_jv_truth(argument(arguments, 2, "blank"));
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    v = ft_jv_string(run, v);
    if (run->status) return ft_jv_nothing();
    int64_t spaces = width.type == FT_JV_INT ? width.u.integer : 4;
    if (spaces > 1000) return ft_jinja_fail(run, "indent: more than 1000");
    for (const char *p = v.u.text, *end = p + v.size; p <= end && !run->status;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        bool wanted = (p > v.u.text ? blank || stop > p : first);
        for (int64_t i = 0; wanted && width.type != FT_JV_STRING && i < spaces; i++)
            ft_jinja_put(run, &out, " ", 1);
        if (wanted && width.type == FT_JV_STRING) ft_jinja_put(run, &out, width.u.text, width.size);
        ft_jinja_put(run, &out, p, (size_t)(stop - p));
        if (newline) ft_jinja_put(run, &out, "\n", 1);
        p = stop + 1;
    }
    return ft_jv_take(run, &out);
}

static struct ft_jv f_escape(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    v = ft_jv_string(run, v);
    for (uint32_t i = 0; !run->status && i < v.size; i++) {
        char c = v.u.text[i];
        const char *name = c == '&'  ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '\'' ? "&#39;"
                         : c == '"'  ? "&#34;"
                                     : NULL;
        ft_jinja_put(run, &out, name ? name : &c, name ? strlen(name) : 1);
    }
    return ft_jv_take(run, &out);
}

static struct ft_jv f_wordcount(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    struct ft_jv words = ft_jinja_words(run, ft_jv_string(run, v), -1);
    return run->status ? ft_jv_nothing() : ft_jv_int((int64_t)words.u.list->count);
}

/* --- numbers -------------------------------------------------------------------------------------------- */

static struct ft_jv f_int(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run;
    char text[32] = "", *end = text;
    if (v.type == FT_JV_INT || v.type == FT_JV_BOOL) return ft_jv_int(ft_jv_integer(v));
    if (v.type == FT_JV_STRING) {
        v = ft_jinja_strip(v, ft_jv_nothing(), FT_JINJA_BOTH);
        if (v.size && v.size < sizeof text) memcpy(text, v.u.text, v.size);
        long long integer = strtoll(text, &end, 10);
        if (*text && !*end) return ft_jv_int(integer);
        v = ft_jv_float(strtod(text, &end));
        if (!*text || *end) v = ft_jv_nothing();
    }
    if (v.type == FT_JV_FLOAT && fabs(v.u.number) < 9e18) return ft_jv_int((int64_t)v.u.number);
    return ft_jv_int(int_argument(arguments, 0, "default", 0));
}

static struct ft_jv f_float(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run;
    char text[64] = "", *end = text;
    if (ft_jv_is_number(v)) return ft_jv_float(ft_jv_number(v));
    if (v.type == FT_JV_STRING) {
        v = ft_jinja_strip(v, ft_jv_nothing(), FT_JINJA_BOTH);
        if (v.size && v.size < sizeof text) memcpy(text, v.u.text, v.size);
        double number = strtod(text, &end);
        if (*text && !*end) return ft_jv_float(number);
    }
    struct ft_jv other = argument(arguments, 0, "default");
    return ft_jv_float(ft_jv_is_number(other) ? ft_jv_number(other) : 0);
}

static struct ft_jv f_abs(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    if (v.type == FT_JV_FLOAT) return ft_jv_float(fabs(v.u.number));
    if (!ft_jv_is_number(v)) return ft_jinja_fail(run, "abs: a number is expected");
    return ft_jv_integer(v) < 0 ? ft_jinja_binary(run, '-', ft_jv_int(0), v) : v;
}

/* To nearest, ties to even, as Python's round. */
static struct ft_jv f_round(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    if (!ft_jv_is_number(v)) return ft_jinja_fail(run, "round: a number is expected");
    int64_t digits = int_argument(arguments, 0, "precision", 0);
    struct ft_jv method = argument(arguments, 1, "method");
    char text[512];
    if (digits < 0 || digits > 20 || fabs(ft_jv_number(v)) > 1e300)
        return ft_jinja_fail(run, "round: more than 20 digits");
    double scale = pow(10, (double)digits), x = ft_jv_number(v);
    if (ft_jv_is(method, "ceil")) return ft_jv_float(ceil(x * scale) / scale);
    if (ft_jv_is(method, "floor")) return ft_jv_float(floor(x * scale) / scale);
    (void)snprintf(text, sizeof text, "%.*f", (int)digits, x);
    return ft_jv_float(strtod(text, NULL));
}

/* --- anything ------------------------------------------------------------------------------------------- */

static struct ft_jv f_length(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    if (v.type == FT_JV_STRING) return ft_jv_int((int64_t)ft_jv_characters(v));
    if (v.type == FT_JV_LIST) return ft_jv_int((int64_t)v.u.list->count);
    if (v.type == FT_JV_DICT) return ft_jv_int((int64_t)v.u.dict->count);
    if (v.type == FT_JV_UNDEFINED) return ft_jv_int(0);
    return ft_jinja_fail(run, "%s has no length", ft_jv_type_name(v));
}

static struct ft_jv f_default(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run;
    bool falsy = ft_jv_truth(argument(arguments, 1, "boolean")) && !ft_jv_truth(v);
    if (v.type != FT_JV_UNDEFINED && !falsy) return v;
    struct ft_jv other = argument(arguments, 0, "default_value");
    return other.type == FT_JV_UNDEFINED && !arguments->count ? ft_jv_word("") : other;
}

static struct ft_jv f_tojson(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    int64_t indent = int_argument(arguments, 1, "indent", 0);
    struct ft_jv named = argument(arguments, FT_JINJA_NAMED_ONLY, "sort_keys");
    if (indent < 0 || indent > 64) return ft_jinja_fail(run, "tojson: the indent is outside 0 to 64");
    ft_jv_json(run, &out, v, (unsigned)indent, ft_jv_truth(named));
    return ft_jv_take(run, &out);
}

static struct ft_jv f_attr(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    return ft_jinja_lookup(run, v, argument(arguments, 0, "name"), false);
}

/* --- by name -------------------------------------------------------------------------------------------- */

static const struct ft_jinja_filter filters[] = {
    {"abs", f_abs}, {"attr", f_attr}, {"capitalize", f_capitalize}, {"count", f_length}, {"d", f_default},
    {"default", f_default}, {"e", f_escape}, {"escape", f_escape}, {"float", f_float}, {"indent", f_indent},
    {"int", f_int}, {"length", f_length}, {"lower", f_lower}, {"replace", f_replace}, {"round", f_round},
    {"safe", f_safe}, {"string", f_string}, {"title", f_title}, {"tojson", f_tojson}, {"trim", f_trim},
    {"upper", f_upper}, {"wordcount", f_wordcount}, {NULL, NULL}
};

static const struct ft_jinja_filter *find_in(const struct ft_jinja_filter *filter, struct ft_jv name) {
    while (filter->name && !ft_jv_is(name, filter->name)) filter++;
    return filter->name ? filter : NULL;
}

static const struct ft_jinja_filter *find_filter(struct ft_jv name) {
    const struct ft_jinja_filter *filter = find_in(filters, name);
    return filter ? filter : find_in(ft_jinja_sequence_filters, name);
}

bool ft_jinja_has_filter(struct ft_jv name) { return find_filter(name) != NULL; }

struct ft_jv ft_jinja_filter(struct ft_jinja_run *run, struct ft_jv name, struct ft_jv value,
                             arguments_t *arguments) {
    const struct ft_jinja_filter *filter = run->status ? NULL : find_filter(name);
    return filter ? filter->run(run, value, arguments) : ft_jv_nothing();
}
