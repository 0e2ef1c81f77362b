/* SPDX-License-Identifier: MIT */
#include "pattern.h"

#include "ft/json.h"
#include "ft/memory.h"
#include "unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A hostile expression ends with an error, not with the day. */
enum { MATCH_LIMIT = 20000000, DEPTH_LIMIT = 100000, HEAP_LIMIT_KIB = 64 << 10 };

enum ft_status ft_pattern_literal(struct ft_pattern *pattern, const char *text, size_t length, struct ft_error *error) {
    enum ft_status status = ft_alloc(&pattern->literal, length + 1, 1, error);
    if (status) return status;
    memcpy(pattern->literal, text, length);
    pattern->literal_length = length;
    return FT_OK;
}

/* Oniguruma's word characters, to stand within brackets: PCRE2's lack marks and circled letters. Outside of brackets Oniguruma takes
 * Latin-1's fractions and superscripts for words, too. */
#define WORD "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define ANY_WORD WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define SPACE "\\p{Z}\\x{9}-\\x{d}\\x{85}" /* Unicode's White_Space; PCRE2's has U+180E, too */
#define HEX "0-9a-fA-F"

/* What an escape of Ruby's means in PCRE2, outside and inside of brackets; NULL: the same. */
static const char *translate(char escape, bool bracket) {
    switch (escape) {
    case 's': return bracket ? SPACE : "[" SPACE "]";
    case 'S': return bracket ? NULL : "[^" SPACE "]";
    case 'w': return bracket ? WORD : "[" ANY_WORD "]";
    case 'W': return bracket ? NULL : "[^" ANY_WORD "]";
    case 'h': return bracket ? HEX : "[" HEX "]";
    case 'H': return bracket ? NULL : "[^" HEX "]";
    case 'b': return bracket ? NULL : "(?:(?<=[" ANY_WORD "])(?![" ANY_WORD "])|(?<![" ANY_WORD "])(?=[" ANY_WORD "]))";
    case 'B': return bracket ? NULL : "(?:(?<=[" ANY_WORD "])(?=[" ANY_WORD "])|(?<![" ANY_WORD "])(?![" ANY_WORD "]))";
    default: return NULL;
    }
}

/* [:name:] within brackets. */
static const char *translate_class(const char *name, size_t length) {
    static const char *const class[][2] = {{"punct", "\\p{P}\\p{S}"},      {"alpha", "\\p{Alphabetic}"}, {"alnum", "\\p{Alphabetic}\\p{Nd}"},
                                           {"upper", "\\p{Uppercase}"},    {"lower", "\\p{Lowercase}"},  {"word", WORD},
                                           {"space", SPACE},               {"digit", "\\p{Nd}"},         {"blank", "\\p{Zs}\\x{9}"},
                                           {"cntrl", "\\p{Cc}"},           {"xdigit", HEX}};
    for (size_t i = 0; i < sizeof class / sizeof *class; i++)
        if (strlen(class[i][0]) == length && memcmp(class[i][0], name, length) == 0) return class[i][1];
    return NULL;
}

/* An expression on its way from Oniguruma's syntax to PCRE2's. */
struct rewriting {
    const char *regex, *p;
    struct ft_buffer *out;
    bool bracket;
    size_t atom; /* where in `out` the last character, escape or bracket begins; NOWHERE: behind something else */
};
#define NOWHERE SIZE_MAX

static enum ft_status cannot(const struct rewriting *r, const char *what, struct ft_error *error) {
    return ft_fail(error, FT_UNSUPPORTED, "the regular expression \"%.200s\" uses %s, which ft does not have", r->regex, what);
}

/* PCRE2's \\p{Greek} has characters of several scripts, too; Oniguruma's is \\p{sc:Greek}. Whether that exists: `name` is a script. */
static bool is_script(const char *name, size_t length) {
    enum { SHORTEST = 3, LONGEST = 40 }; /* general categories are shorter */
    char text[LONGEST + 16];
    int code;
    PCRE2_SIZE offset;
    if (length < SHORTEST || length > LONGEST) return false;
    int size = snprintf(text, sizeof text, "\\p{sc:%.*s}", (int)length, name);
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)size, PCRE2_UTF, &code, &offset, NULL);
    pcre2_code_free(compiled);
    return compiled != NULL;
}

/* \\p{name}, \\P{name}, \\x{digits}, up to the brace at `close`. */
static enum ft_status rewrite_named(struct rewriting *r, const char *close, struct ft_error *error) {
    bool script = r->p[1] != 'x' && is_script(r->p + 3, (size_t)(close - r->p) - 3);
    enum ft_status status = ft_buffer_append(r->out, r->p, 3, error);
    if (!status && script) status = ft_buffer_string(r->out, "sc:", error);
    if (!status) status = ft_buffer_append(r->out, r->p + 3, (size_t)(close - r->p) - 2, error);
    r->p = close + 1;
    return status;
}

static enum ft_status rewrite_escape(struct rewriting *r, struct ft_error *error) {
    const char *other = translate(r->p[1], r->bracket);
    if (r->bracket && r->p[1] && strchr("SWH", r->p[1])) return cannot(r, "\\S, \\W or \\H within brackets", error);
    if (!r->bracket) r->atom = r->out->size;
    const char *close = strchr("pPx", r->p[1]) && r->p[2] == '{' ? strchr(r->p, '}') : NULL;
    if (close) return rewrite_named(r, close, error);
    enum ft_status status = other ? ft_buffer_string(r->out, other, error) : ft_buffer_append(r->out, r->p, 2, error);
    r->p += 2;
    return status;
}

static enum ft_status rewrite_class(struct rewriting *r, struct ft_error *error) {
    const char *name = r->p + 2, *close = strstr(name, ":]");
    const char *other = close ? translate_class(name, (size_t)(close - name)) : NULL;
    if (!other) return cannot(r, "a \"[:\" that is not punct, alpha, alnum, upper, lower, word, space, digit, blank, cntrl or xdigit", error);
    r->p = close + 2;
    return ft_buffer_string(r->out, other, error);
}

/* {n,m}+ repeats what {n,m} repeats; in PCRE2 it would be possessive. */
static enum ft_status repeat_interval(struct rewriting *r, struct ft_error *error) {
    struct ft_buffer *out = r->out;
    if (r->atom == NOWHERE) return cannot(r, "\"{n,m}+\" behind a group", error);
    enum ft_status status = ft_buffer_string(out, "(?:)+", error);
    if (status) return status;
    memmove(out->data + r->atom + 3, out->data + r->atom, out->size - 5 - r->atom);
    memcpy(out->data + r->atom, "(?:", 3);
    memcpy(out->data + out->size - 2, ")+", 2);
    r->p++;
    return FT_OK;
}

static bool is_interval_end(const struct rewriting *r) {
    const char *p = r->p - 1; /* before '+' */
    if (p < r->regex || *p != '}') return false;
    for (p--; p > r->regex && ((*p >= '0' && *p <= '9') || *p == ',');) p--;
    return *p == '{' && p[1] != '}' && p > r->regex && p[-1] != '\\' && !(p - r->regex > 1 && strchr("pPx", p[-1]) && p[-2] == '\\');
}

static enum ft_status rewrite_plain(struct rewriting *r, struct ft_error *error) {
    char c = *r->p;
    if (r->bracket) {
        if (c == '[') return r->p[1] == ':' ? rewrite_class(r, error) : cannot(r, "nested brackets", error);
        if (c == '&' && r->p[1] == '&') return cannot(r, "\"&&\" within brackets", error);
        if (c == ']') r->bracket = false;
    } else if (c == '+' && is_interval_end(r)) {
        return repeat_interval(r, error);
    } else if (c == '[') {
        r->bracket = true;
        r->atom = r->out->size;
    } else if (strchr("()|", c)) {
        r->atom = NOWHERE;
    } else if (!strchr("{},?*+0123456789", c)) {
        r->atom = r->out->size;
    }
    r->p++;
    return ft_buffer_append(r->out, &c, 1, error);
}

static enum ft_status rewrite(struct ft_buffer *out, const char *regex, struct ft_error *error) {
    struct rewriting r = {.regex = regex, .p = regex, .out = out, .atom = NOWHERE};
    enum ft_status status = FT_OK;
    while (*r.p && !status) status = *r.p == '\\' && r.p[1] ? rewrite_escape(&r, error) : rewrite_plain(&r, error);
    return status;
}

/* --- characters that PCRE2 does not know ------------------------------------------------------------------- */

/* Does \\p{name} have these? Categories ("L", "Lo") and Han; scripts of new characters, other than that, are left alone. */
static bool has_newer(const char *name, size_t length, const struct ft_newer_range *range) {
    if (length <= 2) return strncmp(range->category, name, length) == 0;
    return range->han && length >= 3 && memcmp(name + length - 3, "Han", 3) == 0 && (length == 3 || name[length - 4] == ':');
}

static enum ft_status add_newer(struct ft_buffer *out, const char *name, size_t length, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < ft_newer_ranges && !status; i++)
        if (has_newer(name, length, &ft_newer_range[i]))
            status = ft_buffer_printf(out, error, "\\x{%x}-\\x{%x}", ft_newer_range[i].first, ft_newer_range[i].last);
    return status;
}

/* An escape of PCRE2's at *p; a property gets what it lacks. Within brackets \\P{...} cannot be said otherwise. */
static enum ft_status complete_escape(struct ft_buffer *out, const char **p, bool bracket, struct ft_error *error) {
    const char *at = *p, *brace = strchr("pP", at[1]) && at[2] == '{' ? strchr(at, '}') : NULL;
    const char *name = at + 3 + (at[2] && at[3] == '^');
    bool negative = brace && (at[1] == 'P') != (name != at + 3);
    if (!brace || (negative && bracket)) {
        *p = brace ? brace + 1 : at + 2;
        return ft_buffer_append(out, at, (size_t)(*p - at), error);
    }
    *p = brace + 1;
    enum ft_status status = bracket ? FT_OK : ft_buffer_string(out, negative ? "[^" : "[", error);
    if (!status) status = ft_buffer_printf(out, error, "\\p{%.*s}", (int)(brace - name), name);
    if (!status) status = add_newer(out, name, (size_t)(brace - name), error);
    return status || bracket ? status : ft_buffer_string(out, "]", error);
}

/* The expression with Unicode 16's characters in its properties, whatever version PCRE2 has. */
static enum ft_status complete(struct ft_buffer *out, const char *regex, struct ft_error *error) {
    enum ft_status status = FT_OK;
    bool bracket = false;
    for (const char *p = regex; *p && !status;) {
        if (*p == '\\' && p[1]) {
            status = complete_escape(out, &p, bracket, error);
            continue;
        }
        bracket = bracket ? *p != ']' : *p == '[';
        status = ft_buffer_append(out, p++, 1, error);
    }
    return status;
}

static bool is_current(void) {
    char version[64] = "";
    return pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, NULL) <= (int)sizeof version &&
           pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version) > 0 && strtoul(version, NULL, 10) >= 16;
}

static enum ft_status translate_regex(struct ft_buffer *out, const char *regex, struct ft_error *error) {
    struct ft_buffer text = {.max = 8 * FT_PATTERN_MAX};
    if (is_current()) return rewrite(out, regex, error);
    enum ft_status status = rewrite(&text, regex, error);
    if (!status) status = complete(out, text.data ? text.data : "", error);
    ft_buffer_release(&text);
    return status;
}

enum ft_status ft_pattern_regex(struct ft_pattern *pattern, const char *regex, struct ft_error *error) {
    struct ft_buffer text = {.max = 64 * FT_PATTERN_MAX};
    enum ft_status status = translate_regex(&text, regex, error);
    int code = 0;
    PCRE2_SIZE offset = 0;
    if (!status) {
        pcre2_code *compiled =
            pcre2_compile((PCRE2_SPTR)(text.data ? text.data : ""), text.size,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
        if (compiled) (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without JIT it is only slower */
        pattern->code = compiled;
    }
    if (!status && !pattern->code) {
        PCRE2_UCHAR reason[128] = "";
        (void)pcre2_get_error_message(code, reason, sizeof reason);
        status = ft_fail(error, FT_UNSUPPORTED, "the regular expression \"%.200s\" cannot be used: %s", regex, (char *)reason);
    }
    ft_buffer_release(&text);
    return status;
}

enum ft_status ft_pattern_json(struct ft_pattern *pattern, const struct ft_json *json, const struct cJSON *node,
                               struct ft_error *error) {
    const char *text = NULL, *regex = NULL;
    enum ft_status status = ft_json_get_string(json, node, "String", FT_JSON_OPTIONAL, &text, error);
    if (!status) status = ft_json_get_string(json, node, "Regex", FT_JSON_OPTIONAL, &regex, error);
    if (status) return status;
    if (text && strlen(text) > 0) return ft_pattern_literal(pattern, text, strlen(text), error);
    if (!regex || strlen(regex) > FT_PATTERN_MAX)
        return ft_json_fail(json, node, error, "a pattern is {\"String\": text} or {\"Regex\": expression}");
    status = ft_pattern_regex(pattern, regex, error);
    return status ? ft_error_context(error, "%s", json->name) : FT_OK;
}

void ft_pattern_release(struct ft_pattern *pattern) {
    free(pattern->literal);
    pcre2_code_free(pattern->code);
    *pattern = (struct ft_pattern){0};
}

enum ft_status ft_matcher_init(struct ft_matcher *matcher, struct ft_error *error) {
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    matcher->context = context;
    matcher->data = pcre2_match_data_create(1, NULL);
    if (!matcher->context || !matcher->data) {
        ft_matcher_release(matcher);
        return ft_fail(error, FT_NOMEM, "out of memory: no room for matching");
    }
    (void)pcre2_set_match_limit(context, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(context, DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(context, HEAP_LIMIT_KIB);
    return FT_OK;
}

void ft_matcher_release(struct ft_matcher *matcher) {
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    *matcher = (struct ft_matcher){0};
}

static bool next_literal(const struct ft_pattern *pattern, const char *text, size_t length, struct ft_match *match) {
    const char *p = text + match->from, *end = text + length;
    size_t n = pattern->literal_length;
    for (; (size_t)(end - p) >= n && (p = memchr(p, pattern->literal[0], (size_t)(end - p) - n + 1)); p++) {
        if (memcmp(p, pattern->literal, n) != 0) continue;
        match->start = (size_t)(p - text);
        match->end = match->from = match->start + n;
        return true;
    }
    return false;
}

enum ft_status ft_pattern_next(const struct ft_pattern *pattern, struct ft_matcher *matcher, const char *text, size_t length,
                               struct ft_match *match, bool *found, struct ft_error *error) {
    *found = false;
    if (match->from > length) return FT_OK;
    if (pattern->literal) {
        *found = next_literal(pattern, text, length, match);
        return FT_OK;
    }
    for (;;) {
        int rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, match->from, PCRE2_NO_UTF_CHECK, matcher->data,
                             matcher->context);
        if (rc == PCRE2_ERROR_NOMATCH) return FT_OK;
        if (rc < 0) {
            PCRE2_UCHAR reason[128] = "";
            (void)pcre2_get_error_message(rc, reason, sizeof reason);
            return ft_fail(error, FT_LIMIT, "a regular expression of the tokenizer gave up at byte %zu: %s", match->from,
                           (char *)reason);
        }
        const PCRE2_SIZE *offset = pcre2_get_ovector_pointer(matcher->data);
        if (offset[1] < offset[0]) return ft_fail(error, FT_UNSUPPORTED, "a regular expression with \\K cannot split a text");
        if (offset[0] == offset[1] && match->after && match->end == offset[1]) {
            if (match->from >= length) return FT_OK;
            match->from += ft_utf8_size(text[match->from]);
            continue;
        }
        match->start = offset[0];
        match->end = match->from = offset[1];
        match->after = *found = true;
        return FT_OK;
    }
}
