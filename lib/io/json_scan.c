/* SPDX-License-Identifier: MIT */
#include "json_scan.h"

#include "ft/utf8.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_MAX = 63 }; /* cJSON copies a number into 64 bytes and would cut a longer one */

struct scan {
    const struct ft_json *json;
    const unsigned char *text;
    size_t size, at;
    struct ft_json_spans *spans;
    struct ft_error *error;
};

/* "name:line:column: expected ..., found ...". Columns count characters from 1. */
static enum ft_status refuse_at(const struct scan *s, size_t at, enum ft_status status, const char *what) {
    uint64_t line = s->json->line ? s->json->line : 1;
    size_t column = 1;
    for (size_t i = 0; i < at; i++) {
        if (s->text[i] == '\n') line++, column = 1;
        else if (!ft_utf8_continues(s->text[i])) column++;
    }
    return ft_fail(s->error, status, "%s:%llu:%zu: %s", s->json->name, (unsigned long long)line, column,
                   what);
}

static enum ft_status refuse(const struct scan *s,
                             const char *what) { return refuse_at(s, s->at, FT_FORMAT, what); }

static enum ft_status refuse_expected(const struct scan *s, const char *expected) {
    char what[160];
    if (s->at >= s->size) snprintf(what, sizeof what, "expected %s, but the text ends here", expected);
    else if (s->text[s->at] < 0x21 || s->text[s->at] > 0x7e)
        snprintf(what, sizeof what, "expected %s, found the byte 0x%02x", expected, s->text[s->at]);
    else snprintf(what, sizeof what, "expected %s, found '%c'", expected, s->text[s->at]);
    return refuse(s, what);
}

static void skip_space(struct scan *s) {
    while (s->at < s->size && memchr(" \t\n\r", s->text[s->at], 4)) s->at++;
}

static bool next_is(const struct scan *s,
                    char c) { return s->at < s->size && s->text[s->at] == (unsigned char)c; }

static bool take(struct scan *s, char c) {
    if (!next_is(s, c)) return false;
    s->at++;
    return true;
}

static bool is_digit(const struct scan *s) { return s->at < s->size && s->text[s->at] >= '0' && s->text[s->at] <= '9'; }

static enum ft_status digits(struct scan *s) {
    if (!is_digit(s)) return refuse_expected(s, "a digit");
    while (is_digit(s)) s->at++;
    return FT_OK;
}

static enum ft_status number(struct scan *s) {
    size_t first = s->at;
    take(s, '-');
    bool zero = next_is(s, '0');
    enum ft_status status = digits(s);
    if (!status && zero && s->at - first > 1 + (s->text[first] == '-')) {
        s->at = first;
        return refuse(s, "a number must not begin with a zero");
    }
    if (!status && take(s, '.')) status = digits(s);
    if (!status && (take(s, 'e') || take(s, 'E'))) {
        if (!take(s, '+')) take(s, '-');
        status = digits(s);
    }
    if (status) return status;
    if (s->at - first > NUMBER_MAX)
        return refuse_at(s, first, FT_LIMIT, "a number of more than 63 characters");
    struct ft_json_spans *spans = s->spans;
    status = ft_grow(&spans->span, &spans->capacity, spans->count + 1, sizeof *spans->span, FT_JSON_MAX,
                     "numbers in a JSON text", s->error);
    if (!status) spans->span[spans->count++] = (struct ft_json_span){first, s->at - first};
    return status;
}

/* The four digits after \u, or -1. */
static int code_unit(const struct scan *s, size_t at) {
    if (s->size - at < 4) return -1;
    int value = 0;
    for (size_t i = at; i < at + 4; i++) {
        unsigned char c = s->text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* s->at is behind "\u". */
static enum ft_status unicode_escape(struct scan *s) {
    int unit = code_unit(s, s->at);
    if (unit < 0) return refuse(s, "\\u needs four hexadecimal digits");
    if (unit == 0) return refuse(s, "\\u0000 is not allowed in a text");
    s->at += 4;
    if (unit < 0xd800 || unit > 0xdfff) return FT_OK;
    bool low_follows = unit < 0xdc00 && s->size - s->at >= 6 && s->text[s->at] == '\\' && s->text[s->at + 1] == 'u';
    int low = low_follows ? code_unit(s, s->at + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return refuse(s, "half of a surrogate pair; it stands for no character");
    s->at += 6;
    return FT_OK;
}

static enum ft_status escape(struct scan *s) {
    s->at++; /* the backslash */
    if (s->at >= s->size) return refuse_expected(s, "the rest of an escape");
    if (take(s, 'u')) return unicode_escape(s);
    if (!memchr("\"\\/bfnrt", s->text[s->at], 8))
        return refuse_expected(s, "one of \"\\/bfnrtu after a backslash");
    s->at++;
    return FT_OK;
}

static enum ft_status string(struct scan *s) {
    size_t opening = s->at++;
    enum ft_status status = FT_OK;
    while (!status) {
        if (s->at >= s->size) return refuse_at(s, opening, FT_FORMAT, "this string has no closing quote");
        unsigned char c = s->text[s->at];
        size_t length;
        if (take(s, '"')) return FT_OK;
        if (c == '\\') status = escape(s);
        else if (c < 0x20)
            status = refuse_expected(s, "an escape such as \\n in place of a control character");
        else if (!(length = ft_utf8_length(s->text + s->at, s->size - s->at)))
            status = refuse(s, "this is not UTF-8; convert the file, for example with iconv -t UTF-8");
        else s->at += length;
    }
    return status;
}

static enum ft_status word(struct scan *s, const char *text) {
    size_t length = strlen(text);
    if (s->size - s->at < length || memcmp(s->text + s->at, text, length) != 0)
        return refuse_expected(s, "a value (null, true, false, a number, a string, [ or {)");
    s->at += length;
    return FT_OK;
}

static enum ft_status value(struct scan *s, unsigned depth);

static enum ft_status member(struct scan *s, unsigned depth) {
    if (!next_is(s, '"')) return refuse_expected(s, "a key in double quotes");
    enum ft_status status = string(s);
    if (status) return status;
    skip_space(s);
    if (!take(s, ':')) return refuse_expected(s, "':' after a key");
    return value(s, depth);
}

/* An array or object; s->at is at its bracket. */
static enum ft_status container(struct scan *s, char closing, unsigned depth) {
    if (depth >= FT_JSON_DEPTH) return refuse_at(s, s->at, FT_LIMIT, "nested deeper than 128 levels");
    s->at++;
    skip_space(s);
    if (take(s, closing)) return FT_OK;
    for (;;) {
        skip_space(s);
        enum ft_status status = closing == '}' ? member(s, depth + 1) : value(s, depth + 1);
        if (status) return status;
        skip_space(s);
        if (take(s, closing)) return FT_OK;
        if (!take(s, ',')) return refuse_expected(s, closing == '}' ? "',' or '}'" : "',' or ']'");
    }
}

static enum ft_status value(struct scan *s, unsigned depth) {
    skip_space(s);
    int c = s->at < s->size ? s->text[s->at] : 0;
    switch (c) {
    case '{': return container(s, '}', depth);
    case '[': return container(s, ']', depth);
    case '"': return string(s);
    case 't': return word(s, "true");
    case 'f': return word(s, "false");
    case 'n': return word(s, "null");
    default:
        if (c == '-' || is_digit(s)) return number(s);
        return refuse_expected(s, "a value (null, true, false, a number, a string, [ or {)");
    }
}

enum ft_status ft_json_scan(const struct ft_json *json, const char *text, size_t size,
                            struct ft_json_spans *spans, struct ft_error *error) {
    struct scan s = {json, (const unsigned char *)text, size, 0, spans, error};
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return refuse(&s, "begins with a byte order mark; remove these three bytes");
    if (size >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return refuse(&s, "this is UTF-16; convert the file with iconv -f UTF-16 -t UTF-8");
    enum ft_status status = value(&s, 0);
    if (status) return status;
    skip_space(&s);
    return s.at == size ? FT_OK : refuse_expected(&s, "nothing more after the value");
}
