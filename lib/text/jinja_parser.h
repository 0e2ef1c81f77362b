/* SPDX-License-Identifier: MIT
 *
 * Templates to trees, by recursive descent: jinja_statement.c over jinja_expression.c over jinja_lexer.c,
 * which call downward only. This is the parser that the upper two share, and the few words that they are
 * written in.
 *
 * Once the run has failed, the next token is FT_JT_END and a new node may be `nothing`, of which there is
 * only one: lists ask for the run's status before they link a node. Private to lib/text.
 */
#ifndef FT_TEXT_JINJA_PARSER_H
#define FT_TEXT_JINJA_PARSER_H

#include "jinja_lexer.h"

struct ft_jinja_parser {
    struct ft_jinja_run *run; /* memory and errors */
    struct ft_jinja_lexer lexer;
    struct ft_jinja_token token; /* the current one */
    unsigned depth;
    struct ft_jinja_node nothing;
};

/* --- expressions (jinja_expression.c) ------------------------------------------------------------------- */

struct ft_jinja_node *ft_jinja_parse_expression(struct ft_jinja_parser *ps);

/* a, or the tuple a, b without parentheses. condition false: it ends before an "if", as a for's list does. */
struct ft_jinja_node *ft_jinja_parse_tuple(struct ft_jinja_parser *ps, bool condition);

/* The filter behind a '|', applied to a; a NULL: to the text of a block. */
struct ft_jinja_node *ft_jinja_parse_filter(struct ft_jinja_parser *ps, struct ft_jinja_node *a);

/* --- the current token ---------------------------------------------------------------------------------- */

static inline void parse_fail(struct ft_jinja_parser *ps, const char *what) {
    (void)ft_jinja_fail(ps->run, "%s", what);
}

static inline void next(struct ft_jinja_parser *ps) { ps->token = ft_jinja_lex(&ps->lexer); }

static inline bool at_op(const struct ft_jinja_parser *ps, unsigned char op) {
    return ps->token.type == FT_JT_OPERATOR && ps->token.op == op;
}
static inline bool at_name(const struct ft_jinja_parser *ps, const char *name) {
    return ps->token.type == FT_JT_NAME && ft_jv_is(ps->token.value, name);
}

/* Whether it stood here; it is behind then. */
static inline bool skip_op(struct ft_jinja_parser *ps, unsigned char op) {
    if (!at_op(ps, op)) return false;
    next(ps);
    return true;
}
static inline bool skip_name(struct ft_jinja_parser *ps, const char *name) {
    if (!at_name(ps, name)) return false;
    next(ps);
    return true;
}

static inline void expect_op(struct ft_jinja_parser *ps, unsigned char op) {
    char message[] = "'?' is expected here";
    message[1] = (char)op;
    if (!skip_op(ps, op)) parse_fail(ps, message);
}
static inline struct ft_jv expect_name(struct ft_jinja_parser *ps) {
    struct ft_jv name = ps->token.value;
    if (ps->token.type != FT_JT_NAME) parse_fail(ps, "a name is expected here");
    next(ps);
    return name;
}

/* --- nodes ---------------------------------------------------------------------------------------------- */

static inline struct ft_jinja_node *new_node(struct ft_jinja_parser *ps, enum ft_jinja_type type) {
    struct ft_jinja_node *node = ft_jinja_alloc(ps->run, 1, sizeof *node);
    if (!node) return &ps->nothing;
    node->type = type;
    node->line = ps->token.line;
    return node;
}

/* Before each recursion, which lowers ps->depth when it is done; fails the run when that was too deep. */
static inline bool deeper(struct ft_jinja_parser *ps) {
    if (++ps->depth <= FT_JINJA_DEPTH_MAX) return true;
    parse_fail(ps, "it nests too deeply");
    return false;
}

#endif
