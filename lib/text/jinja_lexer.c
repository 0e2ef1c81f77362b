/* SPDX-License-Identifier: MIT
 *
 * Templates as tokens: text and tags with Jinja's white-space rules, and inside tags what expressions
 * are made of.
 */
#include "jinja_lexer.h"

#include "unicode.h"

#include <stdlib.h>
#include <string.h>

static void fail(struct ft_jinja_lexer *lx, const char *what) { (void)ft_jinja_fail(lx->run, "%s", what); }

static struct ft_jinja_token token_here(const struct ft_jinja_lexer *lx, enum ft_jinja_token_type type) {
    return (struct ft_jinja_token){.type = type, .line = lx->run->line};
}

/* --- text and tags -------------------------------------------------------------------------------------- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool looking_at(const struct ft_jinja_lexer *lx, const char *text) {
    size_t n = strlen(text);
    return (size_t)(lx->end - lx->p) >= n && memcmp(lx->p, text, n) == 0;
}

static void count_lines(struct ft_jinja_lexer *lx, const char *from, const char *to) {
    for (; from < to; from++) lx->run->line += *from == '\n';
}

/* Strips what stands between the line's start and a block tag or a comment. */
static const char *lstrip_end(const char *start, const char *stop, bool line_start) {
    const char *p = stop;
    while (p > start && (p[-1] == ' ' || p[-1] == '\t')) p--;
    return (p > start && p[-1] == '\n') || (p == start && line_start) ? p : stop;
}

static const char *find_open(const char *p, const char *end) {
    for (; end - p > 1; p++)
        if (*p == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')) return p;
    return end;
}

static void after_close(struct ft_jinja_lexer *lx, bool strip, bool block, bool keep) {
    lx->strip_next = strip;
    lx->trim_newline = block && !strip && !keep;
    lx->line_start = false;
}

/* The text from lx->p up to `stop`, where a tag begins or all ends, by the white-space rules of both ends. */
static struct ft_jv take_text(struct ft_jinja_lexer *lx, const char *stop, bool at_tag) {
    const char *start = lx->p, *end = stop;
    if (lx->strip_next)
        while (start < stop && is_blank(*start)) start++;
    else if (lx->trim_newline) {
        if (stop - start > 1 && start[0] == '\r' && start[1] == '\n') start += 2;
        else if (start < stop && *start == '\n') start++;
    }
    bool line_start = lx->line_start || (start > lx->p && start[-1] == '\n');
    if (at_tag) {
        char sign = lx->end - stop > 2 ? stop[2] : '\0';
        if (sign == '-')
            while (end > start && is_blank(end[-1])) end--;
        else if (stop[1] != '{' && sign != '+') end = lstrip_end(start, stop, line_start);
    }
    count_lines(lx, lx->p, stop);
    lx->p = stop;
    lx->strip_next = lx->trim_newline = false;
    return ft_jv_borrow(start, (size_t)(end - start));
}

/* {# ... #} at lx->p. */
static void skip_comment(struct ft_jinja_lexer *lx) {
    const char *q = lx->p + 2;
    while (lx->end - q > 1 && !(q[0] == '#' && q[1] == '}')) q++;
    if (lx->end - q <= 1) {
        fail(lx, "a comment has no end");
        return;
    }
    bool strip = q > lx->p + 2 && q[-1] == '-', keep = q > lx->p + 2 && q[-1] == '+';
    count_lines(lx, lx->p, q);
    lx->p = q + 2;
    after_close(lx, strip, true, keep);
}

/* When p is at {% [+-] name [+-] %}, where that ends; else NULL. */
static const char *bare_tag(const struct ft_jinja_lexer *lx, const char *p, const char *name, char *open_sign,
                            char *close_sign) {
    size_t n = strlen(name);
    *open_sign = *close_sign = '\0';
    if (lx->end - p < 2 || p[0] != '{' || p[1] != '%') return NULL;
    p += 2;
    if (p < lx->end && (*p == '-' || *p == '+')) *open_sign = *p++;
    while (p < lx->end && is_blank(*p)) p++;
    if ((size_t)(lx->end - p) < n || memcmp(p, name, n) != 0) return NULL;
    p += n;
    while (p < lx->end && is_blank(*p)) p++;
    if (p < lx->end && (*p == '-' || *p == '+')) *close_sign = *p++;
    return lx->end - p >= 2 && p[0] == '%' && p[1] == '}' ? p + 2 : NULL;
}

/* {% raw %} at lx->p: its contents as text. */
static bool take_raw(struct ft_jinja_lexer *lx, struct ft_jv *text) {
    char open_sign, first, last_open, last;
    const char *body = bare_tag(lx, lx->p, "raw", &open_sign, &first), *after = NULL, *q = body;
    if (!body) return false;
    while (q < lx->end && !(after = bare_tag(lx, q, "endraw", &last_open, &last))) q++;
    if (!after) {
        fail(lx, "{% raw %} has no {% endraw %}");
        return false;
    }
    const char *start = body, *stop = q;
    if (first == '-')
        while (start < stop && is_blank(*start)) start++;
    else if (first != '+' && start < stop && *start == '\n') start++;
    if (last_open == '-')
        while (stop > start && is_blank(stop[-1])) stop--;
    else if (last_open != '+') stop = lstrip_end(start, stop, false);
    *text = ft_jv_borrow(start, (size_t)(stop - start));
    count_lines(lx, lx->p, after);
    lx->p = after;
    after_close(lx, last == '-', true, last == '+');
    return true;
}

static struct ft_jinja_token next_outside(struct ft_jinja_lexer *lx) {
    for (;;) {
        struct ft_jinja_token token = token_here(lx, FT_JT_TEXT);
        const char *stop = find_open(lx->p, lx->end);
        if (stop == lx->end - 1) stop = lx->end;
        token.value = take_text(lx, stop, stop < lx->end);
        if (lx->run->status || token.value.size) return token;
        if (lx->p == lx->end) return token_here(lx, FT_JT_END);
        if (lx->p[1] == '#') {
            skip_comment(lx);
            if (lx->run->status) return token;
            continue;
        }
        if (lx->p[1] == '%' && take_raw(lx, &token.value)) {
            if (token.value.size) return token;
            continue;
        }
        token.type = lx->p[1] == '{' ? FT_JT_OPEN_OUTPUT : FT_JT_OPEN_TAG;
        lx->mode = lx->p[1] == '{' ? FT_JINJA_IN_OUTPUT : FT_JINJA_IN_TAG;
        lx->p += 2;
        if (lx->p < lx->end && (*lx->p == '-' || (*lx->p == '+' && lx->mode == FT_JINJA_IN_TAG))) lx->p++;
        return token;
    }
}

/* --- tokens of expressions ------------------------------------------------------------------------------ */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_name(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80 ||
           (!first && is_digit(c));
}

static int hex_value(const char *p, const char *end, int digits, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < digits; i++, p++) {
        if (p == end) return -1;
        char c = (char)(*p | 32);
        int d = is_digit(*p) ? *p - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0) return -1;
        *out = *out * 16 + (uint32_t)d;
    }
    return 0;
}

/* A string's escapes, as Python's; w never passes r. */
static struct ft_jv unescape(struct ft_jinja_lexer *lx, const char *r, const char *end) {
    static const char from[] = "nrtbfav0'\"\\", to[] = "\n\r\t\b\f\a\v\0'\"\\";
    char *text = ft_jinja_alloc(lx->run, (size_t)(end - r) + 4, 1), *w = text;
    if (!text) return ft_jv_undefined("", 0);
    while (r < end) {
        if (*r != '\\' || end - r < 2) {
            *w++ = *r++;
            continue;
        }
        const char *simple = memchr(from, r[1], sizeof from - 1);
        int digits = r[1] == 'x' ? 2 : r[1] == 'u' ? 4 : r[1] == 'U' ? 8 : 0;
        uint32_t c;
        if (simple) {
            *w++ = to[simple - from];
            r += 2;
        } else if (r[1] == '\n') {
            r += 2;
        } else if (digits && hex_value(r + 2, end, digits, &c) == 0 && c < 0x110000 &&
                   !(c >= 0xd800 && c < 0xe000)) {
            w += ft_utf8_put(w, c);
            r += 2 + digits;
        } else {
            *w++ = *r++;
        }
    }
    return ft_jv_borrow(text, (size_t)(w - text));
}

static struct ft_jinja_token take_string(struct ft_jinja_lexer *lx) {
    const char *start = lx->p + 1, *q = start;
    struct ft_jinja_token token = token_here(lx, FT_JT_STRING);
    while (q < lx->end && *q != *lx->p) q += *q == '\\' && lx->end - q > 1 ? 2 : 1;
    if (q >= lx->end) {
        fail(lx, "a string has no end");
        return token;
    }
    token.value = unescape(lx, start, q);
    count_lines(lx, lx->p, q);
    lx->p = q + 1;
    return token;
}

static struct ft_jinja_token take_number(struct ft_jinja_lexer *lx) {
    char digits[64];
    size_t n = 0;
    bool real = false;
    struct ft_jinja_token token = token_here(lx, FT_JT_INT);
    for (; lx->p < lx->end && n < sizeof digits - 1; lx->p++) {
        char c = *lx->p;
        char after = lx->end - lx->p > 1 ? lx->p[1] : '\0';
        bool exponent = (c == 'e' || c == 'E') && (is_name(after, false) || after == '+' || after == '-');
        bool point = c == '.' && !real && is_digit(after);
        bool sign = (c == '+' || c == '-') && n && (digits[n - 1] | 32) == 'e';
        if (c == '_') continue;
        if (!is_digit(c) && !point && !exponent && !sign) break;
        real |= point || exponent;
        digits[n++] = c;
    }
    digits[n] = '\0';
    int64_t integer = 0;
    for (size_t i = 0; i < n && !real; i++)
        if (__builtin_mul_overflow(integer, 10, &integer) ||
            __builtin_add_overflow(integer, digits[i] - '0', &integer))
            fail(lx, "a number is too large");
    token.value = real ? ft_jv_float(strtod(digits, NULL)) : ft_jv_int(integer);
    if (real) token.type = FT_JT_FLOAT;
    return token;
}

static struct ft_jinja_token take_operator(struct ft_jinja_lexer *lx) {
    static const struct {
        char text[3];
        unsigned char op;
    } two[] = {{"**", 'P'}, {"//", 'D'}, {"==", 'e'}, {"!=", 'n'}, {"<=", 'l'}, {">=", 'g'}};
    struct ft_jinja_token token = token_here(lx, FT_JT_OPERATOR);
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (looking_at(lx, two[i].text)) {
            lx->p += 2;
            token.op = two[i].op;
            return token;
        }
    if (!strchr("+-/*%~[](){}<>=.:|,", *lx->p)) {
        char message[] = "the character '?' is not expected here";
        message[15] = *lx->p;
        fail(lx, message);
    }
    token.op = (unsigned char)*lx->p++;
    if (strchr("([{", token.op)) lx->brackets++;
    if (strchr(")]}", token.op) && lx->brackets) lx->brackets--;
    return token;
}

/* The end of the tag, if lx->p is there. */
static bool take_close(struct ft_jinja_lexer *lx, struct ft_jinja_token *token) {
    char first = lx->mode == FT_JINJA_IN_OUTPUT ? '}' : '%';
    const char *p = lx->p;
    bool strip = *p == '-', keep = *p == '+' && lx->mode == FT_JINJA_IN_TAG;
    if (strip || keep) p++;
    if (lx->end - p < 2 || p[0] != first || p[1] != '}') return false;
    if (lx->brackets && lx->mode == FT_JINJA_IN_OUTPUT && !strip) return false; /* the end of a dictionary */
    lx->p = p + 2;
    after_close(lx, strip, lx->mode == FT_JINJA_IN_TAG, keep);
    lx->mode = FT_JINJA_IN_TEXT;
    lx->brackets = 0;
    *token = token_here(lx, FT_JT_CLOSE);
    return true;
}

static struct ft_jinja_token next_inside(struct ft_jinja_lexer *lx) {
    struct ft_jinja_token token;
    while (lx->p < lx->end && is_blank(*lx->p)) lx->run->line += *lx->p++ == '\n';
    if (lx->p == lx->end) {
        fail(lx, "a tag has no end");
        return token_here(lx, FT_JT_END);
    }
    if (take_close(lx, &token)) return token;
    char c = *lx->p;
    if (c == '"' || c == '\'') return take_string(lx);
    if (is_digit(c)) return take_number(lx);
    if (!is_name(c, true)) return take_operator(lx);
    const char *start = lx->p;
    while (lx->p < lx->end && is_name(*lx->p, false)) lx->p++;
    token = token_here(lx, FT_JT_NAME);
    token.value = ft_jv_borrow(start, (size_t)(lx->p - start));
    return token;
}

void ft_jinja_lexer_init(struct ft_jinja_lexer *lx, struct ft_jinja_run *run, const char *source,
                         size_t size) {
    *lx = (struct ft_jinja_lexer){.run = run, .p = source, .end = source + size, .line_start = true};
}

struct ft_jinja_token ft_jinja_lex(struct ft_jinja_lexer *lx) {
    struct ft_jinja_token token = {.type = FT_JT_END};
    if (!lx->run->status) token = lx->mode == FT_JINJA_IN_TEXT ? next_outside(lx) : next_inside(lx);
    return lx->run->status ? (struct ft_jinja_token){.type = FT_JT_END} : token;
}
