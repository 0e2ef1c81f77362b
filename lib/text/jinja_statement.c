/* SPDX-License-Identifier: MIT
 *
 * Statements of templates, and whole ones.
 */
#include "jinja_parser.h"

#include "unicode.h"

#include <stdlib.h>

static struct ft_jinja_node *parse_body(struct ft_jinja_parser *ps, const char *const *stops);

static void end_tag(struct ft_jinja_parser *ps) {
    if (ps->token.type != FT_JT_CLOSE && !ps->run->status) parse_fail(ps, "the tag has something left over");
    next(ps);
}

/* {% endfoo %}: the current token is the name that stopped the body. */
static void end_block(struct ft_jinja_parser *ps, const char *name) {
    if (!skip_name(ps, name)) (void)ft_jinja_fail(ps->run, "{%% %s %%} is expected here", name);
    end_tag(ps);
}

static struct ft_jinja_node *parse_if(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"elif", "else", "endif", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_IF);
    if (!deeper(ps)) return node;
    node->a = ft_jinja_parse_tuple(ps, true);
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
static struct ft_jinja_node *parse_target(struct ft_jinja_parser *ps) {
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
    } while (!ps->run->status && (ps->token.type == FT_JT_NAME || at_op(ps, '(')) && !at_name(ps, "in"));
    tuple->a = first;
    return several ? tuple : first;
}

static struct ft_jinja_node *parse_for(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_FOR);
    node->a = parse_target(ps);
    if (!skip_name(ps, "in")) parse_fail(ps, "\"in\" is expected here");
    node->b = ft_jinja_parse_tuple(ps, false);
    if (skip_name(ps, "if")) node->c = ft_jinja_parse_expression(ps);
    if (at_name(ps, "recursive")) parse_fail(ps, "recursive loops are not supported");
    end_tag(ps);
    node->body = parse_body(ps, stops);
    if (skip_name(ps, "else")) {
        end_tag(ps);
        node->otherwise = parse_body(ps, last);
    }
    end_block(ps, "endfor");
    return node;
}

static struct ft_jinja_node *parse_set(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"endset", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_SET);
    node->a = parse_target(ps);
    if (skip_op(ps, '=')) {
        node->b = ft_jinja_parse_tuple(ps, true);
        end_tag(ps);
        return node;
    }
    node->type = FT_JINJA_SET_BLOCK;
    while (!ps->run->status && skip_op(ps, '|')) node->b = ft_jinja_parse_filter(ps, node->b);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endset");
    return node;
}

/* (a, b=1) */
static struct ft_jinja_node *parse_parameters(struct ft_jinja_parser *ps) {
    struct ft_jinja_node *first = NULL, **tail = &first;
    expect_op(ps, '(');
    while (!ps->run->status && !at_op(ps, ')')) {
        struct ft_jinja_node *node = new_node(ps, FT_JINJA_NAMED);
        if (ps->run->status) break;
        node->value = expect_name(ps);
        if (skip_op(ps, '=')) node->a = ft_jinja_parse_expression(ps);
        *tail = node;
        tail = &node->next;
        if (!skip_op(ps, ',')) break;
    }
    expect_op(ps, ')');
    return first;
}

static struct ft_jinja_node *parse_macro(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"endmacro", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_MACRO);
    node->value = expect_name(ps);
    node->a = parse_parameters(ps);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    if (skip_name(ps, "endmacro") && ps->token.type == FT_JT_NAME) next(ps);
    end_tag(ps);
    return node;
}

static struct ft_jinja_node *parse_call_block(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"endcall", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_CALL_BLOCK);
    if (at_op(ps, '(')) node->a = parse_parameters(ps);
    node->b = ft_jinja_parse_expression(ps);
    if (!ps->run->status && node->b->type != FT_JINJA_CALL) parse_fail(ps, "a call is expected here");
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endcall");
    return node;
}

static struct ft_jinja_node *parse_filter_block(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"endfilter", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_FILTER_BLOCK);
    node->b = ft_jinja_parse_filter(ps, NULL);
    while (!ps->run->status && skip_op(ps, '|')) node->b = ft_jinja_parse_filter(ps, node->b);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endfilter");
    return node;
}

static struct ft_jinja_node *parse_with(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"endwith", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_WITH), **tail = &node->a;
    while (!ps->run->status && ps->token.type == FT_JT_NAME) {
        struct ft_jinja_node *named = new_node(ps, FT_JINJA_NAMED);
        if (ps->run->status) break;
        named->value = expect_name(ps);
        expect_op(ps, '=');
        named->a = ft_jinja_parse_expression(ps);
        *tail = named;
        tail = &named->next;
        if (!skip_op(ps, ',')) break;
    }
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endwith");
    return node;
}

static struct ft_jinja_node *parse_generation(struct ft_jinja_parser *ps) {
    static const char *const stops[] = {"endgeneration", NULL};
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_GENERATION);
    end_tag(ps);
    node->body = parse_body(ps, stops);
    end_block(ps, "endgeneration");
    return node;
}

static struct ft_jinja_node *parse_stop(struct ft_jinja_parser *ps, unsigned char op) {
    struct ft_jinja_node *node = new_node(ps, FT_JINJA_STOP);
    if (!ps->run->status) node->op = op;
    end_tag(ps);
    return node;
}

static struct ft_jinja_node *parse_statement(struct ft_jinja_parser *ps) {
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
                        ps->token.type == FT_JT_NAME ? (int)ps->token.value.size : 0,
                        ps->token.type == FT_JT_NAME ? ps->token.value.u.text : "");
    return new_node(ps, FT_JINJA_TEXT);
}

static bool is_stop(const struct ft_jinja_parser *ps, const char *const *stops) {
    for (; *stops; stops++)
        if (at_name(ps, *stops)) return true;
    return false;
}

/* Those up to a tag that one of `stops` begins, whose name is then the current token; or to the end, when
 * there are none. */
static struct ft_jinja_node *parse_body(struct ft_jinja_parser *ps, const char *const *stops) {
    struct ft_jinja_node *first = NULL, **tail = &first;
    if (!deeper(ps)) return NULL;
    while (!ps->run->status) {
        struct ft_jinja_node *node = NULL;
        if (ps->token.type == FT_JT_END) {
            if (*stops) (void)ft_jinja_fail(ps->run, "{%% %s %%} is missing", *stops);
            break;
        }
        if (ps->token.type == FT_JT_TEXT) {
            node = new_node(ps, FT_JINJA_TEXT);
            if (!ps->run->status) node->value = ps->token.value;
            next(ps);
        } else if (ps->token.type == FT_JT_OPEN_OUTPUT) {
            node = new_node(ps, FT_JINJA_OUTPUT);
            next(ps);
            node->a = ft_jinja_parse_tuple(ps, true);
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

enum ft_status ft_jinja_compile(struct ft_jinja *jinja, const char *source, size_t size,
                                struct ft_error *error) {
    static const char *const none[] = {NULL};
    *jinja = (struct ft_jinja){0};
    enum ft_status status = ft_alloc(&jinja->source, size + 1, 1, error);
    if (status) return status;
    size_t kept = copy_lines(jinja->source, source, size);
    if (kept && jinja->source[kept - 1] == '\n') kept--; /* keep_trailing_newline is off */
    ft_jinja_run_init(&jinja->memory, error);
    jinja->memory.line = 1;
    struct ft_jinja_parser ps = {.run = &jinja->memory};
    ft_jinja_lexer_init(&ps.lexer, &jinja->memory, jinja->source, kept);
    if (ft_utf8_valid(source, size) != size) (void)ft_jinja_fail(ps.run, "it is not UTF-8");
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