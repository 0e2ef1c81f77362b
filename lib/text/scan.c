/* SPDX-License-Identifier: MIT */
#include "scan.h"

#include "unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPONENT_MAX = 100000, POWER_MAX = 308 };

enum ft_status ft_scan_fail(const struct ft_scan *scan, const char *what, struct ft_error *error) {
    size_t line = 1, column = 1;
    for (const char *p = scan->start; p < scan->p; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    return ft_fail(error, FT_FORMAT, "%s:%zu:%zu: %s", scan->name, line, column, what);
}

enum ft_status ft_scan_expect(struct ft_scan *scan, char c, struct ft_error *error) {
    if (ft_scan_peek(scan) == c) {
        scan->p++;
        return FT_OK;
    }
    char what[] = "expected '?'";
    what[10] = c;
    return ft_scan_fail(scan, what, error);
}

enum ft_status ft_scan_more(struct ft_scan *scan, char close, bool *more, struct ft_error *error) {
    char c = ft_scan_peek(scan);
    *more = c == ',';
    if (c != ',' && c != close) return ft_scan_fail(scan, "expected ',' or the end of the list", error);
    scan->p++;
    return FT_OK;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t hex4(const char *p, const char *end) {
    int32_t value = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape behind a backslash at scan->p; appends its character. */
static enum ft_status escape(struct ft_scan *scan, struct ft_buffer *text, struct ft_error *error) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = scan->p < scan->end ? *scan->p : '\0', utf8[4];
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        scan->p++;
        return ft_buffer_append(text, to + (simple - from), 1, error);
    }
    int32_t code = c == 'u' ? hex4(scan->p + 1, scan->end) : -1;
    if (code < 0) return ft_scan_fail(scan, "an escape that JSON does not know", error);
    scan->p += 5;
    if (code >= 0xd800 && code < 0xdc00 && scan->end - scan->p >= 6 && scan->p[0] == '\\' && scan->p[1] == 'u') {
        int32_t low = hex4(scan->p + 2, scan->end);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            scan->p += 6;
        }
    }
    if (code >= 0xd800 && code < 0xe000) return ft_scan_fail(scan, "half a surrogate pair", error);
    return ft_buffer_append(text, utf8, ft_utf8_put(utf8, (uint32_t)code), error);
}

/* The first quote, backslash, or control character. */
static const char *plain_end(const char *p, const char *end) {
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) p++;
    return p;
}

/* The rest of a string with escapes, from the first one on. */
static enum ft_status string_with_escapes(struct ft_scan *scan, struct ft_buffer *text, struct ft_error *error) {
    for (;;) {
        const char *stop = plain_end(scan->p, scan->end);
        enum ft_status status = ft_buffer_append(text, scan->p, (size_t)(stop - scan->p), error);
        if (status) return status;
        scan->p = stop;
        if (stop == scan->end) return ft_scan_fail(scan, "the file ends within a string: is it cut?", error);
        scan->p++;
        if (*stop == '"') return FT_OK;
        if (*stop != '\\') return ft_scan_fail(scan, "a control character within a string", error);
        if ((status = escape(scan, text, error))) return status;
    }
}

enum ft_status ft_scan_string(struct ft_scan *scan, struct ft_buffer *buffer, const char **text, size_t *length,
                              struct ft_error *error) {
    if (ft_scan_peek(scan) != '"') return ft_scan_fail(scan, "expected a string", error);
    const char *start = ++scan->p, *stop = plain_end(start, scan->end);
    if (stop < scan->end && *stop == '"') {
        *text = start;
        *length = (size_t)(stop - start);
        scan->p = stop + 1;
        return FT_OK;
    }
    ft_buffer_clear(buffer);
    enum ft_status status = string_with_escapes(scan, buffer, error);
    *text = buffer->data;
    *length = buffer->size;
    return status;
}

enum ft_status ft_scan_u32(struct ft_scan *scan, uint32_t *value, struct ft_error *error) {
    uint32_t v = 0;
    (void)ft_scan_peek(scan);
    const char *digits = scan->p;
    for (; scan->p < scan->end && *scan->p >= '0' && *scan->p <= '9'; scan->p++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint32_t)(*scan->p - '0'), &v))
            return ft_scan_fail(scan, "a number below 2^32 was expected", error);
    if (scan->p == digits || (*digits == '0' && scan->p - digits > 1) ||
        (scan->p < scan->end && (*scan->p == '.' || (*scan->p | 32) == 'e')))
        return ft_scan_fail(scan, "expected a whole number", error);
    *value = v;
    return FT_OK;
}

/* A number as read: significand * 10^exponent. */
struct decimal {
    uint64_t significand;
    int64_t exponent;
};

/* Digits from scan->p on; those that do not fit only count as places before the point. Returns how many there were. */
static size_t scan_digits(struct ft_scan *scan, struct decimal *number, bool fraction) {
    const char *start = scan->p;
    bool full = false;
    for (; scan->p < scan->end && *scan->p >= '0' && *scan->p <= '9'; scan->p++) {
        uint64_t next;
        full = full || __builtin_mul_overflow(number->significand, (uint64_t)10, &next) ||
               __builtin_add_overflow(next, (uint64_t)(*scan->p - '0'), &next);
        if (!full) number->significand = next;
        number->exponent += full ? !fraction : -(int)fraction;
    }
    return (size_t)(scan->p - start);
}

static bool scan_exponent(struct ft_scan *scan, struct decimal *number) {
    int64_t exponent = 0;
    scan->p++;
    bool negative = scan->p < scan->end && *scan->p == '-';
    if (negative || (scan->p < scan->end && *scan->p == '+')) scan->p++;
    const char *digits = scan->p;
    for (; scan->p < scan->end && *scan->p >= '0' && *scan->p <= '9'; scan->p++)
        if (exponent < EXPONENT_MAX) exponent = 10 * exponent + (*scan->p - '0');
    number->exponent += negative ? -exponent : exponent;
    return scan->p > digits;
}

/* 10^n for n <= 308: the nearest double. */
static double power_of_ten(int64_t n) {
    char text[8];
    double power = 1;
    if (n <= 22) { /* up to here all are exact */
        while (n-- > 0) power *= 10;
        return power;
    }
    snprintf(text, sizeof text, "1e%d", (int)n);
    return strtod(text, NULL);
}

static double scale(struct decimal number) {
    double value = (double)number.significand;
    for (; number.exponent < -POWER_MAX && value != 0; number.exponent += POWER_MAX) value /= power_of_ten(POWER_MAX);
    if (value == 0) return value;
    if (number.exponent < 0) return value / power_of_ten(-number.exponent);
    return number.exponent > POWER_MAX ? INFINITY : value * power_of_ten(number.exponent);
}

enum ft_status ft_scan_score(struct ft_scan *scan, double *value, struct ft_error *error) {
    struct decimal number = {0};
    bool negative = ft_scan_peek(scan) == '-';
    if (negative) scan->p++;
    if (!scan_digits(scan, &number, false)) return ft_scan_fail(scan, "expected a number", error);
    if (scan->p < scan->end && *scan->p == '.') {
        scan->p++;
        if (!scan_digits(scan, &number, true)) return ft_scan_fail(scan, "expected digits behind the point", error);
    }
    if (scan->p < scan->end && (*scan->p | 32) == 'e' && !scan_exponent(scan, &number))
        return ft_scan_fail(scan, "expected an exponent", error);
    *value = scale(number);
    if (!isfinite(*value)) return ft_scan_fail(scan, "a number that is too large", error);
    if (negative) *value = -*value;
    return FT_OK;
}

/* Moves behind the string whose quote is at scan->p. */
static enum ft_status skip_string(struct ft_scan *scan, struct ft_error *error) {
    for (const char *p = scan->p + 1; p < scan->end; p++) {
        if (*p == '"') {
            scan->p = p + 1;
            return FT_OK;
        }
        if (*p == '\\') p++;
    }
    scan->p = scan->end;
    return ft_scan_fail(scan, "the file ends within a string: is it cut?", error);
}

enum ft_status ft_scan_skip(struct ft_scan *scan, struct ft_error *error) {
    size_t depth = 0;
    do {
        char c = ft_scan_peek(scan);
        enum ft_status status = FT_OK;
        if (!c) return ft_scan_fail(scan, "the file ends within a value: is it cut?", error);
        if (c == '"') status = skip_string(scan, error);
        else if (c == '[' || c == '{') depth++, scan->p++;
        else if (c == ']' || c == '}') {
            if (!depth) return ft_scan_fail(scan, "expected a value", error);
            depth--, scan->p++;
        } else if (c == ',' || c == ':') {
            if (!depth) return ft_scan_fail(scan, "expected a value", error);
            scan->p++;
        } else
            while (scan->p < scan->end && !strchr(" \t\r\n,:]}[{\"", *scan->p)) scan->p++; /* a number or a word */
        if (status) return status;
    } while (depth);
    return FT_OK;
}
