/* SPDX-License-Identifier: MIT
 *
 * Tests of templates: `value is name(arguments)`.
 */
#include "jinja_builtin.h"

#include <string.h>

static bool is_type(struct ft_jv v, const char *name) {
    if (strcmp(name, "string") == 0) return v.type == FT_JV_STRING;
    if (strcmp(name, "number") == 0) return ft_jv_is_number(v);
    if (strcmp(name, "integer") == 0) return v.type == FT_JV_INT;
    if (strcmp(name, "float") == 0) return v.type == FT_JV_FLOAT;
    if (strcmp(name, "boolean") == 0) return v.type == FT_JV_BOOL;
    if (strcmp(name, "mapping") == 0) return v.type == FT_JV_DICT && v.u.dict->kind == FT_JV_PLAIN;
    if (strcmp(name, "iterable") == 0 || strcmp(name, "sequence") == 0)
        return v.type == FT_JV_LIST || v.type == FT_JV_STRING || v.type == FT_JV_DICT ||
               v.type == FT_JV_UNDEFINED;
    if (strcmp(name, "callable") == 0) return v.type == FT_JV_MACRO || v.type == FT_JV_BUILTIN;
    if (strcmp(name, "defined") == 0) return v.type != FT_JV_UNDEFINED;
    if (strcmp(name, "undefined") == 0) return v.type == FT_JV_UNDEFINED;
    if (strcmp(name, "none") == 0) return v.type == FT_JV_NONE;
    if (strcmp(name, "true") == 0) return v.type == FT_JV_BOOL && v.u.flag;
    if (strcmp(name, "false") == 0) return v.type == FT_JV_BOOL && !v.u.flag;
    if (strcmp(name, "escaped") == 0) return false;
    if (strcmp(name, "lower") == 0) return v.type == FT_JV_STRING && ft_jinja_all_of(v, "islower");
    return v.type == FT_JV_STRING && ft_jinja_all_of(v, "isupper"); /* upper */
}

static const char *const type_tests[] = {
    "string",  "number",    "integer", "float", "boolean", "mapping", "iterable", "sequence", "callable",
    "defined", "undefined", "none",    "true",  "false",   "escaped", "lower",    "upper",    NULL};
static const struct {
    const char *name;
    unsigned char op;
} relation_tests[] = {{"eq", 'e'}, {"equalto", 'e'}, {"ne", 'n'}, {"lt", '<'}, {"lessthan", '<'}, {"le", 'l'},
                      {"gt", '>'}, {"greaterthan", '>'}, {"ge", 'g'}, {"in", 'i'}, {"sameas", 'e'}};
static const char *const other_tests[] = {"odd", "even", "divisibleby", "filter", "test", NULL};

static unsigned char relation_test(struct ft_jv name) {
    for (size_t i = 0; i < sizeof relation_tests / sizeof *relation_tests; i++)
        if (ft_jv_is(name, relation_tests[i].name)) return relation_tests[i].op;
    return 0;
}

bool ft_jinja_has_test(struct ft_jv name) {
    return listed(type_tests, name) || relation_test(name) || listed(other_tests, name);
}

bool ft_jinja_test(struct ft_jinja_run *run, struct ft_jv name, struct ft_jv value, arguments_t *arguments) {
    const char *type = listed(type_tests, name);
    struct ft_jv other = argument(arguments, 0, NULL);
    if (type) return is_type(value, type);
    if (ft_jv_is(name, "sameas") && value.type != other.type) return false;
    unsigned char op = relation_test(name);
    if (op) return ft_jinja_relation(run, op, value, other);
    if (ft_jv_is(name, "filter")) return ft_jinja_has_filter(value);
    if (ft_jv_is(name, "test")) return ft_jinja_has_test(value);
    int64_t by = ft_jv_is(name, "divisibleby") ? int_argument(arguments, 0, NULL, 0) : 2;
    if ((value.type != FT_JV_INT && value.type != FT_JV_BOOL) || by == 0) {
        (void)ft_jinja_fail(run, "a whole number is expected");
        return false;
    }
    return (by == -1 || ft_jv_integer(value) % by == 0) != ft_jv_is(name, "odd");
}
