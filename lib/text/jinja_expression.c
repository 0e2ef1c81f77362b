/* SPDX-License-Identifier: MIT
 *
 * Expressions of templates, by recursive descent in the order of Jinja's own grammar.
 */
#include "jinja_parser.h"

#include <string.h>

static struct ft_jinja_node *new_binary(struct ft_jinja_parser *ps, unsigned char op, struct ft_jinja_node *a,
                                        struct ft_jinja_node *b) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_BINARY);
    if (ps->run->status) return node;
    node->op = op;
    node->a = a;
    node->b = b;
    return node;
}

/* Items up to the closing bracket, linked by next. named: `name = value` is allowed. */
static struct ft_jinja_node *parse_items(struct ft_jinja_parser *ps, unsigned char close, bool named) {
    struct ft_jinja_node *first = NULL, **tail = &first;
    while (!ps->run->status && !at_op(ps, close)) {
        struct ft_jinja_node *item = ft_jinja_parse_expression(ps);
        if (named && item->type == FT_JINJA_NAME && at_op(ps, '=') && !ps->run->status) {
            next(ps);
            struct ft_jinja_node *value = ft_jinja_parse_expression(ps);
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

static struct ft_jinja_node *parse_dict(struct ft_jinja_parser *ps) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_DICT), **tail = &node->a;
    while (!ps->run->status && !at_op(ps, '}')) {
        struct ft_jinja_node *key = ft_jinja_parse_expression(ps);
        expect_op(ps, ':');
        struct ft_jinja_node *value = ft_jinja_parse_expression(ps);
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
static struct ft_jinja_node *parse_group(struct ft_jinja_parser *ps) {
    struct ft_jinja_node *tuple = new_node(ps, FT_JINJA_TUPLE), **tail = &tuple->a;
    bool comma = at_op(ps, ')');
    while (!ps->run->status && !at_op(ps, ')')) {
        struct ft_jinja_node *item = ft_jinja_parse_expression(ps);
        if (ps->run->status) break;
        *tail = item;
        tail = &item->next;
        if (!skip_op(ps, ',')) break;
        comma = true;
    }
    expect_op(ps, ')');
    return comma || ps->run->status ? tuple : tuple->a;
}

static struct ft_jinja_node *new_literal(struct ft_jinja_parser *ps, struct ft_jv value) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_LITERAL);
    if (!ps->run->status) node->value = value;
    return node;
}

/* "a" "b" is one string. */
static struct ft_jinja_node *parse_string(struct ft_jinja_parser *ps) {
    struct ft_jinja_node *node = new_literal(ps, ps->token.value);
    next(ps);
    while (ps->token.type == FT_JT_STRING && !ps->run->status) {
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

static struct ft_jinja_node *parse_primary(struct ft_jinja_parser *ps) {
    struct ft_jinja_token token = ps->token;
    if (token.type == FT_JT_STRING) return parse_string(ps);
    if (token.type == FT_JT_INT || token.type == FT_JT_FLOAT) {
        struct ft_jinja_node *node = new_literal(ps, token.value);
        next(ps);
        return node;
    }
    if (token.type == FT_JT_NAME) {
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
    if (!skip_op(ps, '[')) parse_fail(ps, "an expression is expected here");
    else list->a = parse_items(ps, ']', false);
    return list;
}

/* [a], [a:b:c]; the opening bracket is behind. */
static struct ft_jinja_node *parse_subscript(struct ft_jinja_parser *ps) {
    struct ft_jinja_node *part[3] = {NULL};
    unsigned colons = 0;
    while (!ps->run->status && !at_op(ps, ']')) {
        if (skip_op(ps, ':')) {
            if (++colons > 2) parse_fail(ps, "a slice has at most two colons");
        } else {
            part[colons] = ft_jinja_parse_expression(ps);
            if (!at_op(ps, ':') && !at_op(ps, ']')) parse_fail(ps, "']' is expected here");
        }
    }
    expect_op(ps, ']');
    if (!colons) {
        if (!part[0]) parse_fail(ps, "an index is expected here");
        return part[0];
    }
    struct ft_jinja_node *slice = new_node(ps, FT_JINJA_SLICE);
    if (ps->run->status) return slice;
    slice->a = part[0];
    slice->b = part[1];
    slice->c = part[2];
    return slice;
}

static struct ft_jinja_node *parse_postfix(struct ft_jinja_parser *ps, struct ft_jinja_node *a) {
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
        else if (ps->token.type == FT_JT_INT) { /* a.0 is a[0] */
            node->type = FT_JINJA_ITEM;
            node->b = new_literal(ps, ps->token.value);
            next(ps);
        } else node->value = expect_name(ps);
        a = node;
    }
    return a;
}

struct ft_jinja_node *ft_jinja_parse_filter(struct ft_jinja_parser *ps, struct ft_jinja_node *a) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_FILTER);
    if (ps->run->status) return node;
    node->a = a;
    node->value = expect_name(ps);
    if (!ps->run->status && !ft_jinja_has_filter(node->value))
        (void)ft_jinja_fail(ps->run, "the filter \"%.*s\" is not known", (int)node->value.size,
                            node->value.u.text);
    if (skip_op(ps, '(')) node->b = parse_items(ps, ')', true);
    return node;
}

static bool starts_argument(const struct ft_jinja_parser *ps) {
    static const char *const others[] = {"else", "or", "and", "is", "if", "in", "not"};
    switch (ps->token.type) {
    case FT_JT_STRING:
    case FT_JT_INT:
    case FT_JT_FLOAT: return true;
    case FT_JT_NAME:
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (at_name(ps, others[i])) return false;
        return true;
    default: return at_op(ps, '[') || at_op(ps, '{');
    }
}

static struct ft_jinja_node *parse_test(struct ft_jinja_parser *ps, struct ft_jinja_node *a) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_TEST);
    if (ps->run->status) return node;
    node->a = a;
    node->op = skip_name(ps, "not");
    node->value = expect_name(ps);
    if (!ps->run->status && !ft_jinja_has_test(node->value))
        (void)ft_jinja_fail(ps->run, "the test \"%.*s\" is not known", (int)node->value.size,
                            node->value.u.text);
    if (skip_op(ps, '(')) node->b = parse_items(ps, ')', true);
    else if (starts_argument(ps)) node->b = parse_postfix(ps, parse_primary(ps));
    return node;
}

static struct ft_jinja_node *parse_filters(struct ft_jinja_parser *ps, struct ft_jinja_node *a) {
    while (!ps->run->status) {
        if (skip_op(ps, '|')) a = ft_jinja_parse_filter(ps, a);
        else if (skip_name(ps, "is")) a = parse_test(ps, a);
        else if (at_op(ps, '(')) a = parse_postfix(ps, a);
        else break;
    }
    return a;
}

static struct ft_jinja_node *parse_unary(struct ft_jinja_parser *ps, bool filters) {
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

/* The operator that stands here if it is one of `ops`, or 0. */
static unsigned char op_among(const struct ft_jinja_parser *ps, const char *ops) {
    unsigned char op = ps->token.op;
    return ps->token.type == FT_JT_OPERATOR && op && strchr(ops, op) ? op : 0;
}

/* Left-associative levels, loosest first: + -, ~, * / // %, **. */
static struct ft_jinja_node *parse_level(struct ft_jinja_parser *ps, int level) {
    static const char *const ops[] = {"+-", "~", "*/D%", "P"};
    if (level == 4) return parse_unary(ps, true);
    struct ft_jinja_node *a = parse_level(ps, level + 1);
    for (unsigned char op; !ps->run->status && (op = op_among(ps, ops[level]));) {
        next(ps);
        a = new_binary(ps, op, a, parse_level(ps, level + 1));
    }
    return a;
}

/* The comparison operator that stands here, consumed, or 0. */
static unsigned char take_comparison(struct ft_jinja_parser *ps) {
    unsigned char op = op_among(ps, "en<>lg");
    if (op) {
        next(ps);
        return op;
    }
    if (skip_name(ps, "in")) return 'i';
    if (!at_name(ps, "not")) return 0;
    next(ps);
    if (!skip_name(ps, "in")) parse_fail(ps, "\"in\" is expected here");
    return 'I';
}

static struct ft_jinja_node *parse_compare(struct ft_jinja_parser *ps) {
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

static struct ft_jinja_node *parse_not(struct ft_jinja_parser *ps) {
    if (!at_name(ps, "not")) return parse_compare(ps);
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_UNARY);
    next(ps);
    if (!deeper(ps) || ps->run->status) return node;
    node->op = '!';
    node->a = parse_not(ps);
    ps->depth--;
    return node;
}

static struct ft_jinja_node *parse_logic(struct ft_jinja_parser *ps, bool either) {
    struct ft_jinja_node *a = either ? parse_logic(ps, false) : parse_not(ps);
    while (!ps->run->status && skip_name(ps, either ? "or" : "and"))
        a = new_binary(ps, either ? '|' : '&', a, either ? parse_logic(ps, false) : parse_not(ps));
    return a;
}

/* condition false: without a trailing "if", for the list of a for. */
static struct ft_jinja_node *parse_choice(struct ft_jinja_parser *ps, bool condition) {
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

struct ft_jinja_node *ft_jinja_parse_expression(struct ft_jinja_parser *ps) { return parse_choice(ps, true); }

/* a or a, b: a tuple without parentheses. */
struct ft_jinja_node *ft_jinja_parse_tuple(struct ft_jinja_parser *ps, bool condition) {
    struct ft_jinja_node *first = parse_choice(ps, condition);
    if (ps->run->status || !at_op(ps, ',')) return first;
    struct ft_jinja_node *tuple = new_node(ps, FT_JINJA_TUPLE), **tail = &first->next;
    tuple->a = first;
    while (!ps->run->status && skip_op(ps, ',')) {
        if (ps->token.type == FT_JT_CLOSE || at_op(ps, '=')) break;
        struct ft_jinja_node *item = parse_choice(ps, condition);
        if (ps->run->status) break;
        *tail = item;
        tail = &item->next;
    }
    return tuple;
}
