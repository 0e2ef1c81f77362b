/* SPDX-License-Identifier: MIT
 *
 * Templates to trees: a lexer for text, tags and expressions with Jinja's white-space rules, and a recursive-descent
 * parser in the order of Jinja's own grammar.
 */
#include "jinja.h"

#include "unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum token_type { T_END, T_TEXT, T_OPEN_OUTPUT, T_OPEN_TAG, T_CLOSE, T_NAME, T_STRING, T_INT, T_FLOAT, T_OPERATOR };

struct token {
    enum token_type type;
    unsigned char op; /* T_OPERATOR: as in struct ft_jinja_node */
    struct ft_jv value;
    unsigned line;
};

struct parser {
    struct ft_jinja_run *run; /* memory and errors; run->line follows the lexer */
    const char *p, *end;
    enum { IN_TEXT, IN_OUTPUT, IN_TAG } mode;
    bool line_start; /* only white space since the last newline: for lstrip_blocks */
    bool strip_next; /* "-" closed the last tag */
    bool trim_newline; /* a block tag was closed: one newline goes */
    unsigned brackets;
    struct token token; /* the current one */
    unsigned depth;
    struct ft_jinja_node nothing; /* what is returned once the run has failed */
};

static struct ft_jinja_node *parse_expression(struct parser *ps);
static struct ft_jinja_node *parse_body(struct parser *ps, const char *const *stops);

static void fail(struct parser *ps, const char *what) { (void)ft_jinja_fail(ps->run, "%s", what); }

/* --- text and tags ------------------------------------------------------------------------------------------ */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

static bool looking_at(const struct parser *ps, const char *text) {
    size_t n = strlen(text);
    return (size_t)(ps->end - ps->p) >= n && memcmp(ps->p, text, n) == 0;
}

static void count_lines(struct parser *ps, const char *from, const char *to) {
    for (; from < to; from++) ps->run->line += *from == '\n';
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

static void after_close(struct parser *ps, bool strip, bool block, bool keep) {
    ps->strip_next = strip;
    ps->trim_newline = block && !strip && !keep;
    ps->line_start = false;
}

/* The text from ps->p up to `stop`, where a tag begins (or the end), with the white space rules of both its ends. */
static struct ft_jv take_text(struct parser *ps, const char *stop, bool at_tag) {
    const char *start = ps->p, *end = stop;
    if (ps->strip_next)
        while (start < stop && is_blank(*start)) start++;
    else if (ps->trim_newline) {
        if (stop - start > 1 && start[0] == '\r' && start[1] == '\n') start += 2;
        else if (start < stop && *start == '\n') start++;
    }
    bool line_start = ps->line_start || (start > ps->p && start[-1] == '\n');
    if (at_tag) {
        char sign = ps->end - stop > 2 ? stop[2] : '\0';
        if (sign == '-')
            while (end > start && is_blank(end[-1])) end--;
        else if (stop[1] != '{' && sign != '+') end = lstrip_end(start, stop, line_start);
    }
    count_lines(ps, ps->p, stop);
    ps->p = stop;
    ps->strip_next = ps->trim_newline = false;
    return ft_jv_borrow(start, (size_t)(end - start));
}

/* {# ... #} at ps->p. */
static void skip_comment(struct parser *ps) {
    const char *q = ps->p + 2;
    while (ps->end - q > 1 && !(q[0] == '#' && q[1] == '}')) q++;
    if (ps->end - q <= 1) {
        fail(ps, "a comment has no end");
        return;
    }
    bool strip = q > ps->p + 2 && q[-1] == '-', keep = q > ps->p + 2 && q[-1] == '+';
    count_lines(ps, ps->p, q);
    ps->p = q + 2;
    after_close(ps, strip, true, keep);
}

/* When ps->p is at {% [+-] name [+-] %}, where it ends; else NULL. */
static const char *bare_tag(const struct parser *ps, const char *p, const char *name, char *open_sign, char *close_sign) {
    size_t n = strlen(name);
    *open_sign = *close_sign = '\0';
    if (ps->end - p < 2 || p[0] != '{' || p[1] != '%') return NULL;
    p += 2;
    if (p < ps->end && (*p == '-' || *p == '+')) *open_sign = *p++;
    while (p < ps->end && is_blank(*p)) p++;
    if ((size_t)(ps->end - p) < n || memcmp(p, name, n) != 0) return NULL;
    p += n;
    while (p < ps->end && is_blank(*p)) p++;
    if (p < ps->end && (*p == '-' || *p == '+')) *close_sign = *p++;
    return ps->end - p >= 2 && p[0] == '%' && p[1] == '}' ? p + 2 : NULL;
}

/* {% raw %} at ps->p: its contents as text. */
static bool take_raw(struct parser *ps, struct ft_jv *text) {
    char open_sign, first, last_open, last;
    const char *body = bare_tag(ps, ps->p, "raw", &open_sign, &first), *after = NULL, *q = body;
    if (!body) return false;
    while (q < ps->end && !(after = bare_tag(ps, q, "endraw", &last_open, &last))) q++;
    if (!after) {
        fail(ps, "{% raw %} has no {% endraw %}");
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
    count_lines(ps, ps->p, after);
    ps->p = after;
    after_close(ps, last == '-', true, last == '+');
    return true;
}

static struct token next_outside(struct parser *ps) {
    for (;;) {
        struct token token = {.type = T_TEXT, .line = ps->run->line};
        const char *stop = find_open(ps->p, ps->end);
        if (stop == ps->end - 1) stop = ps->end;
        token.value = take_text(ps, stop, stop < ps->end);
        if (ps->run->status || token.value.size) return token;
        if (ps->p == ps->end) return (struct token){.type = T_END, .line = ps->run->line};
        if (ps->p[1] == '#') {
            skip_comment(ps);
            if (ps->run->status) return token;
            continue;
        }
        if (ps->p[1] == '%' && take_raw(ps, &token.value)) {
            if (token.value.size) return token;
            continue;
        }
        token.type = ps->p[1] == '{' ? T_OPEN_OUTPUT : T_OPEN_TAG;
        ps->mode = ps->p[1] == '{' ? IN_OUTPUT : IN_TAG;
        ps->p += 2;
        if (ps->p < ps->end && (*ps->p == '-' || (*ps->p == '+' && ps->mode == IN_TAG))) ps->p++;
        return token;
    }
}

/* --- tokens of expressions ----------------------------------------------------------------------------------- */

static bool is_name(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80 || (!first && c >= '0' && c <= '9');
}

static int hex_value(const char *p, const char *end, int digits, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < digits; i++, p++) {
        if (p == end) return -1;
        char c = (char)(*p | 32);
        int d = *p >= '0' && *p <= '9' ? *p - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0) return -1;
        *out = *out * 16 + (uint32_t)d;
    }
    return 0;
}

/* A string's escapes, as Python's; w never passes r. */
static struct ft_jv unescape(struct parser *ps, const char *r, const char *end) {
    static const char from[] = "nrtbfav0'\"\\", to[] = "\n\r\t\b\f\a\v\0'\"\\";
    char *text = ft_jinja_alloc(ps->run, (size_t)(end - r) + 4, 1), *w = text;
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
        } else if (digits && hex_value(r + 2, end, digits, &c) == 0 && c < 0x110000 && !(c >= 0xd800 && c < 0xe000)) {
            w += ft_utf8_put(w, c);
            r += 2 + digits;
        } else {
            *w++ = *r++;
        }
    }
    return ft_jv_borrow(text, (size_t)(w - text));
}

static struct token take_string(struct parser *ps) {
    const char *start = ps->p + 1, *q = start;
    struct token token = {.type = T_STRING, .line = ps->run->line};
    while (q < ps->end && *q != *ps->p) q += *q == '\\' && ps->end - q > 1 ? 2 : 1;
    if (q >= ps->end) {
        fail(ps, "a string has no end");
        return token;
    }
    token.value = unescape(ps, start, q);
    count_lines(ps, ps->p, q);
    ps->p = q + 1;
    return token;
}

static struct token take_number(struct parser *ps) {
    char digits[64];
    size_t n = 0;
    bool real = false;
    struct token token = {.type = T_INT, .line = ps->run->line};
    for (; ps->p < ps->end && n < sizeof digits - 1; ps->p++) {
        char c = *ps->p;
        bool exponent = (c == 'e' || c == 'E') && ps->end - ps->p > 1 && (is_name(ps->p[1], false) || ps->p[1] == '+' || ps->p[1] == '-');
        bool point = c == '.' && !real && ps->end - ps->p > 1 && ps->p[1] >= '0' && ps->p[1] <= '9';
        bool sign = (c == '+' || c == '-') && n && (digits[n - 1] | 32) == 'e';
        if (c == '_') continue;
        if (!(c >= '0' && c <= '9') && !point && !exponent && !sign) break;
        real |= point || exponent;
        digits[n++] = c;
    }
    digits[n] = '\0';
    int64_t integer = 0;
    for (size_t i = 0; i < n && !real; i++)
        if (__builtin_mul_overflow(integer, 10, &integer) || __builtin_add_overflow(integer, digits[i] - '0', &integer))
            fail(ps, "a number is too large");
    token.value = real ? ft_jv_float(strtod(digits, NULL)) : ft_jv_int(integer);
    if (real) token.type = T_FLOAT;
    return token;
}

static struct token take_operator(struct parser *ps) {
    static const struct {
        char text[3];
        unsigned char op;
    } two[] = {{"**", 'P'}, {"//", 'D'}, {"==", 'e'}, {"!=", 'n'}, {"<=", 'l'}, {">=", 'g'}};
    struct token token = {.type = T_OPERATOR, .line = ps->run->line};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (looking_at(ps, two[i].text)) {
            ps->p += 2;
            token.op = two[i].op;
            return token;
        }
    if (!strchr("+-/*%~[](){}<>=.:|,", *ps->p)) {
        char message[] = "the character '?' is not expected here";
        message[15] = *ps->p;
        fail(ps, message);
    }
    token.op = (unsigned char)*ps->p++;
    if (strchr("([{", token.op)) ps->brackets++;
    if (strchr(")]}", token.op) && ps->brackets) ps->brackets--;
    return token;
}

/* The end of the tag, if ps->p is there. */
static bool take_close(struct parser *ps, struct token *token) {
    char first = ps->mode == IN_OUTPUT ? '}' : '%';
    const char *p = ps->p;
    bool strip = *p == '-', keep = *p == '+' && ps->mode == IN_TAG;
    if (strip || keep) p++;
    if (ps->end - p < 2 || p[0] != first || p[1] != '}' || (ps->brackets && ps->mode == IN_OUTPUT && !strip)) return false;
    ps->p = p + 2;
    after_close(ps, strip, ps->mode == IN_TAG, keep);
    ps->mode = IN_TEXT;
    ps->brackets = 0;
    *token = (struct token){.type = T_CLOSE, .line = ps->run->line};
    return true;
}

static struct token next_inside(struct parser *ps) {
    struct token token;
    while (ps->p < ps->end && is_blank(*ps->p)) ps->run->line += *ps->p++ == '\n';
    if (ps->p == ps->end) {
        fail(ps, "a tag has no end");
        return (struct token){.type = T_END, .line = ps->run->line};
    }
    if (take_close(ps, &token)) return token;
    char c = *ps->p;
    if (c == '"' || c == '\'') return take_string(ps);
    if (c >= '0' && c <= '9') return take_number(ps);
    if (!is_name(c, true)) return take_operator(ps);
    const char *start = ps->p;
    while (ps->p < ps->end && is_name(*ps->p, false)) ps->p++;
    return (struct token){.type = T_NAME, .value = ft_jv_borrow(start, (size_t)(ps->p - start)), .line = ps->run->line};
}

static void next(struct parser *ps) {
    if (ps->run->status) {
        ps->token = (struct token){.type = T_END};
        return;
    }
    ps->token = ps->mode == IN_TEXT ? next_outside(ps) : next_inside(ps);
    if (ps->run->status) ps->token = (struct token){.type = T_END};
}

/* --- expressions --------------------------------------------------------------------------------------------- */

static struct ft_jinja_node *new_node(struct parser *ps, enum ft_jinja_type type) {
    struct ft_jinja_node *node = ft_jinja_alloc(ps->run, 1, sizeof *node);
    if (!node) return &ps->nothing;
    node->type = type;
    node->line = ps->token.line;
    return node;
}

static bool at_op(const struct parser *ps, unsigned char op) { return ps->token.type == T_OPERATOR && ps->token.op == op; }
static bool at_name(const struct parser *ps, const char *name) { return ps->token.type == T_NAME && ft_jv_is(ps->token.value, name); }

static bool skip_op(struct parser *ps, unsigned char op) {
    if (!at_op(ps, op)) return false;
    next(ps);
    return true;
}
static bool skip_name(struct parser *ps, const char *name) {
    if (!at_name(ps, name)) return false;
    next(ps);
    return true;
}

static void expect_op(struct parser *ps, unsigned char op) {
    char message[] = "'?' is expected here";
    message[1] = (char)op;
    if (!skip_op(ps, op)) fail(ps, message);
}

static struct ft_jv expect_name(struct parser *ps) {
    struct ft_jv name = ps->token.value;
    if (ps->token.type != T_NAME) fail(ps, "a name is expected here");
    next(ps);
    return name;
}

static bool deeper(struct parser *ps) {
    if (++ps->depth <= FT_JINJA_DEPTH_MAX) return true;
    fail(ps, "it nests too deeply");
    return false;
}

static struct ft_jinja_node *binary(struct parser *ps, unsigned char op, struct ft_jinja_node *a, struct ft_jinja_node *b) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_BINARY);
    if (ps->run->status) return node;
    node->op = op;
    node->a = a;
    node->b = b;
    return node;
}

/* Items up to the closing bracket, linked by next. named: `name = value` is allowed. */
static struct ft_jinja_node *parse_items(struct parser *ps, unsigned char close, bool named) {
    struct ft_jinja_node *first = NULL, **tail = &first;
    while (!ps->run->status && !at_op(ps, close)) {
        struct ft_jinja_node *item = parse_expression(ps);
        if (named && item->type == FT_JINJA_NAME && at_op(ps, '=') && !ps->run->status) {
            next(ps);
            struct ft_jinja_node *value = parse_expression(ps);
            item->type = FT_JINJA_NAMED;
            item->a = value;
        }
        if (ps->run->status) break;
        *tail = item;
        tail = &item->next;
        if (!skip_op(ps, ',')) break;
    }
    expect_op(ps, close);
    return first;
}

static struct ft_jinja_node *parse_dict(struct parser *ps) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_DICT), **tail = &node->a;
    while (!ps->run->status && !at_op(ps, '}')) {
        struct ft_jinja_node *key = parse_expression(ps);
        expect_op(ps, ':');
        struct ft_jinja_node *value = parse_expression(ps);
        if (ps->run->status) break;
        *tail = key;
        key->next = value;
        tail = &value->next;
        if (!skip_op(ps, ',')) break;
    }
    expect_op(ps, '}');
    return node;
}

/* (a), (a,), (a, b), (). */
static struct ft_jinja_node *parse_group(struct parser *ps) {
    struct ft_jinja_node *tuple = new_node(ps, FT_JINJA_TUPLE), **tail = &tuple->a;
    bool comma = at_op(ps, ')');
    while (!ps->run->status && !at_op(ps, ')')) {
        struct ft_jinja_node *item = parse_expression(ps);
        if (ps->run->status) break;
        *tail = item;
        tail = &item->next;
        if (!skip_op(ps, ',')) break;
        comma = true;
    }
    expect_op(ps, ')');
    return comma || ps->run->status ? tuple : tuple->a;
}

static struct ft_jinja_node *literal(struct parser *ps, struct ft_jv value) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_LITERAL);
    if (!ps->run->status) node->value = value;
    return node;
}

/* "a" "b" is one string. */
static struct ft_jinja_node *parse_string(struct parser *ps) {
    struct ft_jinja_node *node = literal(ps, ps->token.value);
    next(ps);
    while (ps->token.type == T_STRING && !ps->run->status) {
        struct ft_jv more = ps->token.value;
        char *text = ft_jinja_alloc(ps->run, (size_t)node->value.size + more.size + 1, 1);
        if (!text) break;
        memcpy(text, node->value.u.text, node->value.size);
        memcpy(text + node->value.size, more.u.text, more.size);
        node->value = ft_jv_borrow(text, (size_t)node->value.size + more.size);
        next(ps);
    }
    return node;
}

static struct ft_jinja_node *parse_primary(struct parser *ps) {
    struct token token = ps->token;
    if (token.type == T_STRING) return parse_string(ps);
    if (token.type == T_INT || token.type == T_FLOAT) {
        struct ft_jinja_node *node = literal(ps, token.value);
        next(ps);
        return node;
    }
    if (token.type == T_NAME) {
        struct ft_jinja_node *node = new_node(ps, FT_JINJA_NAME);
        if (ps->run->status) return node;
        node->value = token.value;
        bool yes = ft_jv_is(token.value, "true") || ft_jv_is(token.value, "True");
        bool no = ft_jv_is(token.value, "false") || ft_jv_is(token.value, "False");
        bool none = ft_jv_is(token.value, "none") || ft_jv_is(token.value, "None");
        if (yes || no || none) {
            node->type = FT_JINJA_LITERAL;
            node->value = none ? ft_jv_none() : ft_jv_bool(yes);
        }
        next(ps);
        return node;
    }
    if (skip_op(ps, '(')) return parse_group(ps);
    if (skip_op(ps, '{')) return parse_dict(ps);
    struct ft_jinja_node *list = new_node(ps, FT_JINJA_LIST);
    if (!skip_op(ps, '[')) fail(ps, "an expression is expected here");
    else list->a = parse_items(ps, ']', false);
    return list;
}

/* [a], [a:b:c]; the opening bracket is behind. */
static struct ft_jinja_node *parse_subscript(struct parser *ps) {
    struct ft_jinja_node *part[3] = {NULL};
    unsigned colons = 0;
    while (!ps->run->status && !at_op(ps, ']')) {
        if (skip_op(ps, ':')) {
            if (++colons > 2) fail(ps, "a slice has at most two colons");
        } else {
            part[colons] = parse_expression(ps);
            if (!at_op(ps, ':') && !at_op(ps, ']')) fail(ps, "']' is expected here");
        }
    }
    expect_op(ps, ']');
    if (!colons) {
        if (!part[0]) fail(ps, "an index is expected here");
        return part[0];
    }
    struct ft_jinja_node *slice = new_node(ps, FT_JINJA_SLICE);
    if (ps->run->status) return slice;
    slice->a = part[0];
    slice->b = part[1];
    slice->c = part[2];
    return slice;
}

static struct ft_jinja_node *parse_postfix(struct parser *ps, struct ft_jinja_node *a) {
    while (!ps->run->status) {
        enum ft_jinja_type type = at_op(ps, '.')   ? FT_JINJA_ATTRIBUTE
                                  : at_op(ps, '[') ? FT_JINJA_ITEM
                                  : at_op(ps, '(') ? FT_JINJA_CALL
                                                   : FT_JINJA_LITERAL;
        if (type == FT_JINJA_LITERAL) break;
        struct ft_jinja_node *node = new_node(ps, type);
        if (ps->run->status) break;
        node->a = a;
        next(ps);
        if (type == FT_JINJA_CALL) node->b = parse_items(ps, ')', true);
        else if (type == FT_JINJA_ITEM) node->b = parse_subscript(ps);
        else if (ps->token.type == T_INT) { /* a.0 is a[0] */
            node->type = FT_JINJA_ITEM;
            node->b = literal(ps, ps->token.value);
            next(ps);
        } else node->value = expect_name(ps);
        a = node;
    }
    return a;
}

/* A name with dots, as filters and tests may have. */
static struct ft_jinja_node *parse_filter(struct parser *ps, struct ft_jinja_node *a) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_FILTER);
    if (ps->run->status) return node;
    node->a = a;
    node->value = expect_name(ps);
    if (!ps->run->status && !ft_jinja_has_filter(node->value))
        (void)ft_jinja_fail(ps->run, "the filter \"%.*s\" is not known", (int)node->value.size, node->value.u.text);
    if (skip_op(ps, '(')) node->b = parse_items(ps, ')', true);
    return node;
}

static bool starts_argument(const struct parser *ps) {
    if (ps->token.type == T_STRING || ps->token.type == T_INT || ps->token.type == T_FLOAT) return true;
    if (ps->token.type == T_NAME)
        return !at_name(ps, "else") && !at_name(ps, "or") && !at_name(ps, "and") && !at_name(ps, "is") && !at_name(ps, "if") &&
               !at_name(ps, "in") && !at_name(ps, "not");
    return at_op(ps, '[') || at_op(ps, '{');
}

static struct ft_jinja_node *parse_test(struct parser *ps, struct ft_jinja_node *a) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_TEST);
    if (ps->run->status) return node;
    node->a = a;
    node->op = skip_name(ps, "not");
    node->value = expect_name(ps);
    if (!ps->run->status && !ft_jinja_has_test(node->value))
        (void)ft_jinja_fail(ps->run, "the test \"%.*s\" is not known", (int)node->value.size, node->value.u.text);
    if (skip_op(ps, '(')) node->b = parse_items(ps, ')', true);
    else if (starts_argument(ps)) node->b = parse_postfix(ps, parse_primary(ps));
    return node;
}

static struct ft_jinja_node *parse_filters(struct parser *ps, struct ft_jinja_node *a) {
    while (!ps->run->status) {
        if (skip_op(ps, '|')) a = parse_filter(ps, a);
        else if (skip_name(ps, "is")) a = parse_test(ps, a);
        else if (at_op(ps, '(')) a = parse_postfix(ps, a);
        else break;
    }
    return a;
}

static struct ft_jinja_node *parse_unary(struct parser *ps, bool filters) {
    struct ft_jinja_node *node;
    if (!deeper(ps)) return new_node(ps, FT_JINJA_LITERAL);
    if (at_op(ps, '-') || at_op(ps, '+')) {
        node = new_node(ps, FT_JINJA_UNARY);
        node->op = ps->token.op;
        next(ps);
        node->a = parse_unary(ps, false);
    } else {
        node = parse_primary(ps);
    }
    node = parse_postfix(ps, node);
    if (filters) node = parse_filters(ps, node);
    ps->depth--;
    return node;
}

/* Left-associative levels, loosest first: + -, ~, * / // %, **. */
static struct ft_jinja_node *parse_level(struct parser *ps, int level) {
    static const char *const ops[] = {"+-", "~", "*/D%", "P"};
    if (level == 4) return parse_unary(ps, true);
    struct ft_jinja_node *a = parse_level(ps, level + 1);
    while (!ps->run->status && ps->token.type == T_OPERATOR && ps->token.op && strchr(ops[level], ps->token.op)) {
        unsigned char op = ps->token.op;
        next(ps);
        a = binary(ps, op, a, parse_level(ps, level + 1));
    }
    return a;
}

/* The comparison operator that stands here, consumed, or 0. */
static unsigned char take_comparison(struct parser *ps) {
    unsigned char op = ps->token.op;
    if (ps->token.type == T_OPERATOR && op && strchr("en<>lg", op)) {
        next(ps);
        return op;
    }
    if (skip_name(ps, "in")) return 'i';
    if (!at_name(ps, "not")) return 0;
    next(ps);
    if (!skip_name(ps, "in")) fail(ps, "\"in\" is expected here");
    return 'I';
}

static struct ft_jinja_node *parse_compare(struct parser *ps) {
    struct ft_jinja_node *a = parse_level(ps, 0), *chain = NULL, **tail = NULL;
    for (unsigned char op; !ps->run->status && (op = take_comparison(ps));) {
        if (!chain) {
            chain = new_node(ps, FT_JINJA_COMPARE);
            chain->a = a;
            tail = &chain->b;
        }
        struct ft_jinja_node *operand = new_node(ps, FT_JINJA_OPERAND);
        operand->op = op;
        operand->a = parse_level(ps, 0);
        *tail = operand;
        tail = &operand->next;
    }
    return chain ? chain : a;
}

static struct ft_jinja_node *parse_not(struct parser *ps) {
    if (!at_name(ps, "not")) return parse_compare(ps);
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_UNARY);
    next(ps);
    if (!deeper(ps) || ps->run->status) return node;
    node->op = '!';
    node->a = parse_not(ps);
    ps->depth--;
    return node;
}

static struct ft_jinja_node *parse_logic(struct parser *ps, bool either) {
    struct ft_jinja_node *a = either ? parse_logic(ps, false) : parse_not(ps);
    while (!ps->run->status && skip_name(ps, either ? "or" : "and"))
        a = binary(ps, either ? '|' : '&', a, either ? parse_logic(ps, false) : parse_not(ps));
    return a;
}

/* condition false: without a trailing "if", for the list of a for. */
static struct ft_jinja_node *parse_choice(struct parser *ps, bool condition) {
    if (!deeper(ps)) return new_node(ps, FT_JINJA_LITERAL);
    struct ft_jinja_node *a = parse_logic(ps, true);
    while (condition && !ps->run->status && skip_name(ps, "if")) {
        struct ft_jinja_node *node = new_node(ps, FT_JINJA_CONDITION);
        if (ps->run->status) break;
        node->a = a;
        node->b = parse_logic(ps, true);
        if (skip_name(ps, "else")) node->c = parse_choice(ps, true);
        a = node;
    }
    ps->depth--;
    return a;
}

static struct ft_jinja_node *parse_expression(struct parser *ps) { return parse_choice(ps, true); }

/* a or a, b: a tuple without parentheses. */
static struct ft_jinja_node *parse_tuple(struct parser *ps, bool condition) {
    struct ft_jinja_node *first = parse_choice(ps, condition);
    if (ps->run->status || !at_op(ps, ',')) return first;
    struct ft_jinja_node *tuple = new_node(ps, FT_JINJA_TUPLE), **tail = &first->next;
    tuple->a = first;
    while (!ps->run->status && skip_op(ps, ',')) {
        if (ps->token.type == T_CLOSE || at_op(ps, '=')) break;
        struct ft_jinja_node *item = parse_choice(ps, condition);
        if (ps->run->status) break;
        *tail = item;
        tail = &item->next;
    }
    return tuple;
}

/* --- statements ---------------------------------------------------------------------------------------------- */

static void end_tag(struct parser *ps) {
    if (ps->token.type != T_CLOSE && !ps->run->status) fail(ps, "the tag has something left over");
    next(ps);
}

/* {% endfoo %}: the current token is the name that stopped the body. */
static void end_block(struct parser *ps, const char *name) {
    if (!skip_name(ps, name)) (void)ft_jinja_fail(ps->run, "{%% %s %%} is expected here", name);
    end_tag(ps);
}

static struct ft_jinja_node *parse_if(struct parser *ps) {
    static const char *const stops[] = {"elif", "else", "endif", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_IF);
    if (!deeper(ps)) return node;
    node->a = parse_tuple(ps, true);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    if (skip_name(ps, "elif")) node->otherwise = parse_if(ps);
    else {
        if (skip_name(ps, "else")) {
            static const char *const last[] = {"endif", NULL};
            end_tag(ps);
            node->otherwise = parse_body(ps, last);
        }
        end_block(ps, "endif");
    }
    ps->depth--;
    return node;
}

/* Names to assign to: a; a, b; ns.a. */
static struct ft_jinja_node *parse_target(struct parser *ps) {
    struct ft_jinja_node *first = NULL, **tail = &first, *tuple = new_node(ps, FT_JINJA_TUPLE);
    bool several = false;
    do {
        bool group = skip_op(ps, '(');
        struct ft_jinja_node *node = group ? parse_target(ps) : new_node(ps, FT_JINJA_NAME);
        if (ps->run->status) return tuple;
        if (group) expect_op(ps, ')');
        else node->value = expect_name(ps);
        if (!group && skip_op(ps, '.')) {
            struct ft_jinja_node *attribute = new_node(ps, FT_JINJA_ATTRIBUTE);
            if (ps->run->status) return tuple;
            attribute->a = node;
            attribute->value = expect_name(ps);
            node = attribute;
        }
        *tail = node;
        tail = &node->next;
        if (!at_op(ps, ',')) break;
        several = true;
        next(ps);
    } while (!ps->run->status && (ps->token.type == T_NAME || at_op(ps, '(')) && !at_name(ps, "in"));
    tuple->a = first;
    return several ? tuple : first;
}

static struct ft_jinja_node *parse_for(struct parser *ps) {
    static const char *const stops[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_FOR);
    node->a = parse_target(ps);
    if (!skip_name(ps, "in")) fail(ps, "\"in\" is expected here");
    node->b = parse_tuple(ps, false);
    if (skip_name(ps, "if")) node->c = parse_expression(ps);
    if (at_name(ps, "recursive")) fail(ps, "recursive loops are not supported");
    end_tag(ps);
    node->body = parse_body(ps, stops);
    if (skip_name(ps, "else")) {
        end_tag(ps);
        node->otherwise = parse_body(ps, last);
    }
    end_block(ps, "endfor");
    return node;
}

static struct ft_jinja_node *parse_set(struct parser *ps) {
    static const char *const stops[] = {"endset", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_SET);
    node->a = parse_target(ps);
    if (skip_op(ps, '=')) {
        node->b = parse_tuple(ps, true);
        end_tag(ps);
        return node;
    }
    node->type = FT_JINJA_SET_BLOCK;
    while (!ps->run->status && skip_op(ps, '|')) node->b = parse_filter(ps, node->b);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endset");
    return node;
}

/* (a, b=1) */
static struct ft_jinja_node *parse_parameters(struct parser *ps) {
    struct ft_jinja_node *first = NULL, **tail = &first;
    expect_op(ps, '(');
    while (!ps->run->status && !at_op(ps, ')')) {
        struct ft_jinja_node *node = new_node(ps, FT_JINJA_NAMED);
        if (ps->run->status) break;
        node->value = expect_name(ps);
        if (skip_op(ps, '=')) node->a = parse_expression(ps);
        *tail = node;
        tail = &node->next;
        if (!skip_op(ps, ',')) break;
    }
    expect_op(ps, ')');
    return first;
}

static struct ft_jinja_node *parse_macro(struct parser *ps) {
    static const char *const stops[] = {"endmacro", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_MACRO);
    node->value = expect_name(ps);
    node->a = parse_parameters(ps);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    if (skip_name(ps, "endmacro") && ps->token.type == T_NAME) next(ps);
    end_tag(ps);
    return node;
}

static struct ft_jinja_node *parse_call_block(struct parser *ps) {
    static const char *const stops[] = {"endcall", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_CALL_BLOCK);
    if (at_op(ps, '(')) node->a = parse_parameters(ps);
    node->b = parse_expression(ps);
    if (!ps->run->status && node->b->type != FT_JINJA_CALL) fail(ps, "a call is expected here");
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endcall");
    return node;
}

static struct ft_jinja_node *parse_filter_block(struct parser *ps) {
    static const char *const stops[] = {"endfilter", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_FILTER_BLOCK);
    node->b = parse_filter(ps, NULL);
    while (!ps->run->status && skip_op(ps, '|')) node->b = parse_filter(ps, node->b);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endfilter");
    return node;
}

static struct ft_jinja_node *parse_with(struct parser *ps) {
    static const char *const stops[] = {"endwith", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_WITH), **tail = &node->a;
    while (!ps->run->status && ps->token.type == T_NAME) {
        struct ft_jinja_node *named = new_node(ps, FT_JINJA_NAMED);
        if (ps->run->status) break;
        named->value = expect_name(ps);
        expect_op(ps, '=');
        named->a = parse_expression(ps);
        *tail = named;
        tail = &named->next;
        if (!skip_op(ps, ',')) break;
    }
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endwith");
    return node;
}

static struct ft_jinja_node *parse_generation(struct parser *ps) {
    static const char *const stops[] = {"endgeneration", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_GENERATION);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endgeneration");
    return node;
}

static struct ft_jinja_node *parse_stop(struct parser *ps, unsigned char op) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_STOP);
    if (!ps->run->status) node->op = op;
    end_tag(ps);
    return node;
}

static struct ft_jinja_node *parse_statement(struct parser *ps) {
    if (skip_name(ps, "if")) return parse_if(ps);
    if (skip_name(ps, "for")) return parse_for(ps);
    if (skip_name(ps, "set")) return parse_set(ps);
    if (skip_name(ps, "macro")) return parse_macro(ps);
    if (skip_name(ps, "call")) return parse_call_block(ps);
    if (skip_name(ps, "filter")) return parse_filter_block(ps);
    if (skip_name(ps, "with")) return parse_with(ps);
    if (skip_name(ps, "generation")) return parse_generation(ps);
    if (skip_name(ps, "break")) return parse_stop(ps, 'b');
    if (skip_name(ps, "continue")) return parse_stop(ps, 'c');
    (void)ft_jinja_fail(ps->run, "the tag \"%.*s\" is not supported here",
                        ps->token.type == T_NAME ? (int)ps->token.value.size : 0,
                        ps->token.type == T_NAME ? ps->token.value.u.text : "");
    return new_node(ps, FT_JINJA_TEXT);
}

static bool is_stop(const struct parser *ps, const char *const *stops) {
    for (; *stops; stops++)
        if (at_name(ps, *stops)) return true;
    return false;
}

/* Statements up to a tag that one of `stops` begins, whose name is then the current token; or to the end, when there are none. */
static struct ft_jinja_node *parse_body(struct parser *ps, const char *const *stops) {
    struct ft_jinja_node *first = NULL, **tail = &first;
    if (!deeper(ps)) return NULL;
    while (!ps->run->status) {
        struct ft_jinja_node *node = NULL;
        if (ps->token.type == T_END) {
            if (*stops) (void)ft_jinja_fail(ps->run, "{%% %s %%} is missing", *stops);
            break;
        }
        if (ps->token.type == T_TEXT) {
            node = new_node(ps, FT_JINJA_TEXT);
            if (!ps->run->status) node->value = ps->token.value;
            next(ps);
        } else if (ps->token.type == T_OPEN_OUTPUT) {
            node = new_node(ps, FT_JINJA_OUTPUT);
            next(ps);
            node->a = parse_tuple(ps, true);
            end_tag(ps);
        } else {
            next(ps);
            if (is_stop(ps, stops)) break;
            node = parse_statement(ps);
        }
        if (ps->run->status) break;
        *tail = node;
        tail = &node->next;
    }
    ps->depth--;
    return first;
}

/* All kinds of newlines become one. */
static size_t copy_lines(char *out, const char *source, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (source[i] == '\r' && i + 1 < size && source[i + 1] == '\n') continue;
        out[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    return n;
}

enum ft_status ft_jinja_compile(struct ft_jinja *jinja, const char *source, size_t size, struct ft_error *error) {
    static const char *const none[] = {NULL};
    *jinja = (struct ft_jinja){0};
    enum ft_status status = ft_alloc(&jinja->source, size + 1, 1, error);
    if (status) return status;
    size_t kept = copy_lines(jinja->source, source, size);
    if (kept && jinja->source[kept - 1] == '\n') kept--; /* keep_trailing_newline is off */
    ft_jinja_run_init(&jinja->memory, error);
    jinja->memory.line = 1;
    struct parser ps = {.run = &jinja->memory, .p = jinja->source, .end = jinja->source + kept, .line_start = true};
    if (ft_utf8_valid(source, size) != size) fail(&ps, "it is not UTF-8");
    next(&ps);
    jinja->body = parse_body(&ps, none);
    status = jinja->memory.status;
    jinja->memory.error = NULL;
    if (status) ft_jinja_release(jinja);
    return status;
}

void ft_jinja_release(struct ft_jinja *jinja) {
    ft_jinja_run_release(&jinja->memory);
    free(jinja->source);
    *jinja = (struct ft_jinja){0};
}
