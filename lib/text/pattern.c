/* SPDX-License-Identifier: MIT */
#include "pattern.h"

#include "ft/json.h"
#include "ft/memory.h"
#include "unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
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

/* What an escape of Ruby's means in PCRE2, outside and inside of brackets; NULL: the same. White space is Unicode's White_Space
 * (PCRE2's has U+180E, too), a word character has marks (PCRE2 10.42's has none), \h is a hexadecimal digit. */
static const char *translate(char escape, bool bracket) {
    switch (escape) {
    case 's': return bracket ? "\\p{Z}\\x{9}-\\x{d}\\x{85}" : "[\\p{Z}\\x{9}-\\x{d}\\x{85}]";
    case 'S': return bracket ? NULL : "[^\\p{Z}\\x{9}-\\x{d}\\x{85}]";
    case 'w': return bracket ? "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}" : "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}]";
    case 'W': return bracket ? NULL : "[^\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}]";
    case 'h': return bracket ? "0-9a-fA-F" : "[0-9a-fA-F]";
    case 'H': return bracket ? NULL : "[^0-9a-fA-F]";
    default: return NULL;
    }
}

static enum ft_status rewrite(struct ft_buffer *out, const char *regex, struct ft_error *error) {
    size_t brackets = 0; /* Ruby's nest */
    enum ft_status status = FT_OK;
    for (const char *p = regex; *p && !status; p++) {
        const char *other = *p == '\\' && p[1] ? translate(p[1], brackets > 0) : NULL;
        if (other) {
            status = ft_buffer_string(out, other, error);
            p++;
            continue;
        }
        if (*p == '\\' && p[1]) {
            status = ft_buffer_append(out, p, 2, error);
            p++;
            continue;
        }
        if (*p == '[' && !(brackets && p[1] == ':')) brackets++;
        else if (*p == '[' && brackets) { /* [:name:] */
            const char *close = strstr(p, ":]");
            if (!close) return ft_fail(error, FT_FORMAT, "the regular expression \"%.200s\" has an open \"[:\"", regex);
            status = ft_buffer_append(out, p, (size_t)(close - p) + 2, error);
            p = close + 1;
            continue;
        } else if (*p == ']' && brackets)
            brackets--;
        if (brackets > 1 || (brackets && p[0] == '&' && p[1] == '&'))
            return ft_fail(error, FT_UNSUPPORTED,
                           "the regular expression \"%.200s\" uses nested brackets or \"&&\", which ft does not have", regex);
        status = ft_buffer_append(out, p, 1, error);
    }
    return status;
}

enum ft_status ft_pattern_regex(struct ft_pattern *pattern, const char *regex, struct ft_error *error) {
    struct ft_buffer text = {.max = 8 * FT_PATTERN_MAX};
    enum ft_status status = rewrite(&text, regex, error);
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
