/* SPDX-License-Identifier: MIT
 *
 * The template interpreter: walks the tree. A run that has failed does nothing more; every function then returns
 * undefined.
 */
#include "jinja.h"

#include "unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct ft_jv eval(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node);
static void run_body(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node);

static struct ft_jv nothing(void) { return ft_jv_undefined("", 0); }

/* --- names --------------------------------------------------------------------------------------------------- */

static struct ft_jinja_scope *new_scope(struct ft_jinja_run *run, struct ft_jinja_scope *parent) {
    struct ft_jinja_scope *scope = ft_jinja_alloc(run, 1, sizeof *scope);
    if (scope) scope->parent = parent;
    return scope;
}

static struct ft_jv find_name(struct ft_jinja_run *run, const struct ft_jinja_scope *scope, struct ft_jv name) {
    for (; scope; scope = scope->parent) {
        const struct ft_jv *value = ft_jv_get(&scope->names, name);
        if (value) return *value;
    }
    struct ft_jv global = ft_jinja_global(run, name);
    return global.type == FT_JV_UNDEFINED ? ft_jv_undefined(name.u.text, name.size) : global;
}

static void assign(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *target, struct ft_jv value) {
    if (run->status) return;
    if (target->type == FT_JINJA_NAME) {
        ft_jv_set(run, &scope->names, target->value, value);
    } else if (target->type == FT_JINJA_ATTRIBUTE) {
        struct ft_jv object = eval(run, scope, target->a);
        if (run->status) return;
        if (object.type != FT_JV_DICT || object.u.dict->kind != FT_JV_NAMESPACE)
            (void)ft_jinja_fail(run, "only a namespace's attributes can be set");
        else ft_jv_set(run, object.u.dict, target->value, value);
    } else {
        struct ft_jv items = ft_jv_items(run, value);
        size_t i = 0;
        for (const struct ft_jinja_node *part = target->a; part && !run->status; part = part->next, i++) {
            if (i == items.u.list->count) (void)ft_jinja_fail(run, "there are fewer values than names");
            else assign(run, scope, part, items.u.list->item[i]);
        }
        if (!run->status && i < items.u.list->count) (void)ft_jinja_fail(run, "there are more values than names");
    }
}

/* --- operators ----------------------------------------------------------------------------------------------- */

static struct ft_jv concat(struct ft_jinja_run *run, struct ft_jv a, struct ft_jv b) {
    a = ft_jv_string(run, a);
    b = ft_jv_string(run, b);
    if (run->status) return nothing();
    char *text = ft_jinja_alloc(run, (size_t)a.size + b.size + 1, 1);
    if (!text) return nothing();
    memcpy(text, a.u.text, a.size);
    memcpy(text + a.size, b.u.text, b.size);
    return ft_jv_borrow(text, (size_t)a.size + b.size);
}

static struct ft_jv repeat(struct ft_jinja_run *run, struct ft_jv value, int64_t times) {
    if (times < 0) times = 0;
    if (value.type == FT_JV_STRING) {
        if (value.size && (uint64_t)times > FT_JINJA_OUTPUT_MAX / value.size) return ft_jinja_fail(run, "a text becomes too long");
        char *text = ft_jinja_alloc(run, value.size * (size_t)times + 1, 1);
        for (int64_t i = 0; i < times && text; i++) memcpy(text + (size_t)i * value.size, value.u.text, value.size);
        return text ? ft_jv_borrow(text, value.size * (size_t)times) : nothing();
    }
    struct ft_jv list = ft_jv_list(run, 0);
    for (int64_t i = 0; i < times && !run->status; i++)
        for (size_t k = 0; k < value.u.list->count && !run->status; k++) ft_jv_push(run, list, value.u.list->item[k]);
    return list;
}

static struct ft_jv add(struct ft_jinja_run *run, struct ft_jv a, struct ft_jv b) {
    if (a.type == FT_JV_STRING && b.type == FT_JV_STRING) return concat(run, a, b);
    if (a.type != FT_JV_LIST || b.type != FT_JV_LIST || a.u.list->tuple != b.u.list->tuple)
        return ft_jinja_fail(run, "%s and %s cannot be added%s%.*s", ft_jv_type_name(a), ft_jv_type_name(b),
                             a.type == FT_JV_UNDEFINED || b.type == FT_JV_UNDEFINED ? ": undefined is " : "",
                             a.type == FT_JV_UNDEFINED   ? (int)a.size
                             : b.type == FT_JV_UNDEFINED ? (int)b.size
                                                         : 0,
                             a.type == FT_JV_UNDEFINED ? a.u.text : b.type == FT_JV_UNDEFINED ? b.u.text : "");
    struct ft_jv list = ft_jv_list(run, a.u.list->count + b.u.list->count);
    for (size_t i = 0; i < a.u.list->count; i++) ft_jv_push(run, list, a.u.list->item[i]);
    for (size_t i = 0; i < b.u.list->count; i++) ft_jv_push(run, list, b.u.list->item[i]);
    if (!run->status) list.u.list->tuple = a.u.list->tuple;
    return list;
}

static struct ft_jv power(struct ft_jinja_run *run, struct ft_jv a, struct ft_jv b) {
    if (a.type == FT_JV_FLOAT || b.type == FT_JV_FLOAT || ft_jv_integer(b) < 0)
        return ft_jv_float(pow(ft_jv_number(a), ft_jv_number(b)));
    int64_t result = 1, base = ft_jv_integer(a);
    for (int64_t i = 0; i < ft_jv_integer(b); i++) {
        if (i > 64 && (base == 0 || base == 1 || base == -1)) return ft_jv_int(base == -1 && ft_jv_integer(b) % 2 == 0 ? 1 : base);
        if (__builtin_mul_overflow(result, base, &result)) return ft_jinja_fail(run, "a number is too large");
    }
    return ft_jv_int(result);
}

/* Division rounds down, as Python's. */
static struct ft_jv divide(struct ft_jinja_run *run, unsigned char op, struct ft_jv a, struct ft_jv b) {
    if (ft_jv_number(b) == 0) return ft_jinja_fail(run, "division by zero");
    if (op == '/') return ft_jv_float(ft_jv_number(a) / ft_jv_number(b));
    if (a.type == FT_JV_FLOAT || b.type == FT_JV_FLOAT) {
        double x = ft_jv_number(a), y = ft_jv_number(b), q = floor(x / y);
        return ft_jv_float(op == 'D' ? q : x - q * y);
    }
    int64_t x = ft_jv_integer(a), y = ft_jv_integer(b);
    if (y == -1) return op == '%' ? ft_jv_int(0) : x == INT64_MIN ? ft_jinja_fail(run, "a number is too large") : ft_jv_int(-x);
    int64_t q = x / y, r = x % y;
    if (r && (r < 0) != (y < 0)) q--, r += y;
    return ft_jv_int(op == 'D' ? q : r);
}

struct ft_jv ft_jinja_binary(struct ft_jinja_run *run, unsigned char op, struct ft_jv a, struct ft_jv b) {
    if (run->status) return nothing();
    if (op == '~') return concat(run, a, b);
    if (op == '*' && (a.type == FT_JV_STRING || a.type == FT_JV_LIST) && (b.type == FT_JV_INT || b.type == FT_JV_BOOL))
        return repeat(run, a, ft_jv_integer(b));
    if (!ft_jv_is_number(a) || !ft_jv_is_number(b)) {
        if (op == '+') return add(run, a, b);
        return ft_jinja_fail(run, "%s and %s cannot be computed with", ft_jv_type_name(a), ft_jv_type_name(b));
    }
    if (op == '/' || op == 'D' || op == '%') return divide(run, op, a, b);
    if (op == 'P') return power(run, a, b);
    if (a.type == FT_JV_FLOAT || b.type == FT_JV_FLOAT) {
        double x = ft_jv_number(a), y = ft_jv_number(b);
        return ft_jv_float(op == '+' ? x + y : op == '-' ? x - y : x * y);
    }
    int64_t x = ft_jv_integer(a), y = ft_jv_integer(b), result;
    bool overflow = op == '+'   ? __builtin_add_overflow(x, y, &result)
                    : op == '-' ? __builtin_sub_overflow(x, y, &result)
                                : __builtin_mul_overflow(x, y, &result);
    return overflow ? ft_jinja_fail(run, "a number is too large") : ft_jv_int(result);
}

static bool contains(struct ft_jinja_run *run, struct ft_jv all, struct ft_jv one) {
    if (all.type == FT_JV_STRING && one.type == FT_JV_STRING) {
        for (size_t i = 0; i + one.size <= all.size; i++)
            if (memcmp(all.u.text + i, one.u.text, one.size) == 0) return true;
        return false;
    }
    if (all.type == FT_JV_DICT) return ft_jv_get(all.u.dict, one) != NULL;
    if (all.type == FT_JV_UNDEFINED) return false;
    if (all.type != FT_JV_LIST) {
        (void)ft_jinja_fail(run, "\"in\" does not go with %s and %s", ft_jv_type_name(one), ft_jv_type_name(all));
        return false;
    }
    for (size_t i = 0; i < all.u.list->count; i++)
        if (ft_jv_equal(all.u.list->item[i], one)) return true;
    return false;
}

bool ft_jinja_relation(struct ft_jinja_run *run, unsigned char op, struct ft_jv a, struct ft_jv b) {
    switch (op) {
    case 'e': return ft_jv_equal(a, b);
    case 'n': return !ft_jv_equal(a, b);
    case 'i': return contains(run, b, a);
    case 'I': return !contains(run, b, a);
    case '<': return ft_jv_compare(run, a, b) < 0;
    case '>': return ft_jv_compare(run, a, b) > 0;
    case 'l': return ft_jv_compare(run, a, b) <= 0;
    default: return ft_jv_compare(run, a, b) >= 0;
    }
}

/* a < b <= c: each operand once, as far as needed. */
static struct ft_jv compare_chain(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv a = eval(run, scope, node->a);
    bool good = true;
    for (const struct ft_jinja_node *operand = node->b; operand && good && !run->status; operand = operand->next) {
        struct ft_jv b = eval(run, scope, operand->a);
        if (!run->status) good = ft_jinja_relation(run, operand->op, a, b);
        a = b;
    }
    return ft_jv_bool(good);
}

/* --- parts of values ----------------------------------------------------------------------------------------- */

/* The byte where character `index` of a string begins. */
static uint32_t byte_at(struct ft_jv string, int64_t index) {
    uint32_t i = 0;
    while (index-- > 0 && i < string.size) i += (uint32_t)ft_utf8_size(string.u.text[i]);
    return i;
}

static struct ft_jv index_value(struct ft_jv value, int64_t index) {
    int64_t count = value.type == FT_JV_LIST ? (int64_t)value.u.list->count : (int64_t)ft_jv_characters(value);
    if (index < 0) index += count;
    if (index < 0 || index >= count) return ft_jv_undefined("an element", 10);
    if (value.type == FT_JV_LIST) return value.u.list->item[index];
    uint32_t at = byte_at(value, index);
    return ft_jv_borrow(value.u.text + at, ft_utf8_size(value.u.text[at]));
}

struct ft_jv ft_jinja_lookup(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv key, bool item) {
    if (run->status) return nothing();
    if (value.type == FT_JV_UNDEFINED)
        return ft_jinja_fail(run, "\"%.*s\" is not defined, so it has no \"%.*s\"", (int)value.size, value.u.text,
                             key.type == FT_JV_STRING ? (int)key.size : 0, key.type == FT_JV_STRING ? key.u.text : "");
    if ((value.type == FT_JV_LIST || value.type == FT_JV_STRING) && (key.type == FT_JV_INT || key.type == FT_JV_BOOL))
        return index_value(value, ft_jv_integer(key));
    if (!item || value.type != FT_JV_DICT) {
        struct ft_jv method = key.type == FT_JV_STRING ? ft_jinja_method(run, value, key) : nothing();
        if (method.type != FT_JV_UNDEFINED || run->status) return method;
    }
    if (value.type == FT_JV_DICT) {
        const struct ft_jv *found = ft_jv_get(value.u.dict, key);
        if (found) return *found;
        if (item && key.type == FT_JV_STRING) {
            struct ft_jv method = ft_jinja_method(run, value, key);
            if (method.type != FT_JV_UNDEFINED || run->status) return method;
        }
    }
    return key.type == FT_JV_STRING ? ft_jv_undefined(key.u.text, key.size) : ft_jv_undefined("an element", 10);
}

/* Python's slice indices. */
static int64_t clamp(struct ft_jv bound, int64_t count, int64_t step, int64_t missing) {
    if (bound.type != FT_JV_INT && bound.type != FT_JV_BOOL) return missing;
    int64_t i = ft_jv_integer(bound);
    if (i < 0) i = i < -count ? -1 : i + count;
    if (i < 0) return step < 0 ? -1 : 0;
    if (i >= count) return step < 0 ? count - 1 : count;
    return i;
}

struct ft_jv ft_jinja_slice(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv from, struct ft_jv to, struct ft_jv by) {
    if (run->status) return nothing();
    if (value.type != FT_JV_LIST && value.type != FT_JV_STRING)
        return ft_jinja_fail(run, "%s cannot be sliced", ft_jv_type_name(value));
    struct ft_jv all = ft_jv_items(run, value);
    int64_t step = by.type == FT_JV_INT ? by.u.integer : 1;
    if (run->status) return nothing();
    if (step == 0) return ft_jinja_fail(run, "a slice's step is 0");
    int64_t count = (int64_t)all.u.list->count, start = clamp(from, count, step, step < 0 ? count - 1 : 0),
            stop = clamp(to, count, step, step < 0 ? -1 : count);
    struct ft_jv list = ft_jv_list(run, 0);
    for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !run->status; i += step) {
        ft_jv_push(run, list, all.u.list->item[i]);
        if (step > count || step < -count) break;
    }
    if (run->status || value.type == FT_JV_LIST) return list;
    struct ft_buffer text = {.max = FT_JINJA_OUTPUT_MAX};
    for (size_t i = 0; i < list.u.list->count; i++) ft_jv_print(run, &text, list.u.list->item[i]);
    struct ft_jv string = ft_jv_copy(run, text.data, text.size);
    ft_buffer_release(&text);
    return string;
}

/* --- calls --------------------------------------------------------------------------------------------------- */

static struct ft_jinja_arguments eval_arguments(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                                                const struct ft_jinja_node *node) {
    struct ft_jv list = ft_jv_list(run, 0), named = nothing();
    for (; node && !run->status; node = node->next) {
        if (node->type != FT_JINJA_NAMED) {
            ft_jv_push(run, list, eval(run, scope, node));
            continue;
        }
        if (named.type == FT_JV_UNDEFINED) named = ft_jv_dict(run);
        struct ft_jv value = eval(run, scope, node->a);
        if (!run->status) ft_jv_set(run, named.u.dict, node->value, value);
    }
    if (run->status) return (struct ft_jinja_arguments){0};
    return (struct ft_jinja_arguments){list.u.list->item, list.u.list->count, named.type == FT_JV_DICT ? named.u.dict : NULL};
}

/* Runs a body into a text of its own. */
static struct ft_jv capture(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *body) {
    struct ft_buffer outer = run->out;
    size_t spans = run->spans;
    run->out = (struct ft_buffer){.max = FT_JINJA_OUTPUT_MAX};
    run_body(run, scope, body);
    struct ft_jv text = ft_jv_copy(run, run->out.data, run->out.size);
    ft_buffer_release(&run->out);
    run->out = outer;
    run->spans = spans; /* spans in captured text have no place in the output */
    return text;
}

static bool takes_name(const struct ft_jinja_node *macro, struct ft_jv name) {
    for (const struct ft_jinja_node *p = macro->a; p; p = p->next)
        if (ft_jv_equal(p->value, name)) return true;
    return false;
}

/* Positional arguments, then named ones, then defaults; what is left over goes to varargs and kwargs. */
static void bind(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *macro,
                 const struct ft_jinja_arguments *arguments) {
    size_t i = 0;
    for (const struct ft_jinja_node *p = macro->a; p && !run->status; p = p->next, i++) {
        const struct ft_jv *named = arguments->named ? ft_jv_get(arguments->named, p->value) : NULL;
        struct ft_jv value = i < arguments->count ? arguments->item[i]
                             : named              ? *named
                             : p->a               ? eval(run, scope, p->a)
                                                  : ft_jv_undefined(p->value.u.text, p->value.size);
        ft_jv_set(run, &scope->names, p->value, value);
    }
    struct ft_jv varargs = ft_jv_list(run, 0), kwargs = ft_jv_dict(run);
    for (; i < arguments->count && !run->status; i++) ft_jv_push(run, varargs, arguments->item[i]);
    for (size_t k = 0; arguments->named && k < arguments->named->count && !run->status; k++) {
        const struct ft_jv_entry *entry = &arguments->named->entry[k];
        if (ft_jv_is(entry->key, "caller")) ft_jv_set(run, &scope->names, entry->key, entry->value);
        else if (!takes_name(macro, entry->key)) ft_jv_set(run, kwargs.u.dict, entry->key, entry->value);
    }
    ft_jv_set(run, &scope->names, ft_jv_word("varargs"), varargs);
    ft_jv_set(run, &scope->names, ft_jv_word("kwargs"), kwargs);
}

static struct ft_jv call(struct ft_jinja_run *run, struct ft_jv function, const struct ft_jinja_arguments *arguments) {
    if (run->status) return nothing();
    if (function.type == FT_JV_BUILTIN) return ft_jinja_call_builtin(run, function.u.bound, arguments);
    if (function.type == FT_JV_UNDEFINED)
        return ft_jinja_fail(run, "\"%.*s\" is not defined, so it cannot be called", (int)function.size, function.u.text);
    if (function.type != FT_JV_MACRO) return ft_jinja_fail(run, "%s cannot be called", ft_jv_type_name(function));
    struct ft_jinja_scope *scope = new_scope(run, function.u.macro->scope);
    if (!scope) return nothing();
    bind(run, scope, function.u.macro->node, arguments);
    unsigned line = run->line;
    struct ft_jv text = capture(run, scope, function.u.macro->node->body);
    run->flow = FT_JINJA_ON;
    run->line = line;
    return text;
}

static struct ft_jv new_macro(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv_macro *macro = ft_jinja_alloc(run, 1, sizeof *macro);
    if (!macro) return nothing();
    *macro = (struct ft_jv_macro){node, scope};
    return (struct ft_jv){.type = FT_JV_MACRO, .u.macro = macro};
}

/* --- expressions --------------------------------------------------------------------------------------------- */

static struct ft_jv eval_list(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv list = ft_jv_list(run, 0);
    for (const struct ft_jinja_node *item = node->a; item && !run->status; item = item->next)
        ft_jv_push(run, list, eval(run, scope, item));
    if (!run->status) list.u.list->tuple = node->type == FT_JINJA_TUPLE;
    return list;
}

static struct ft_jv eval_dict(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv dict = ft_jv_dict(run);
    for (const struct ft_jinja_node *key = node->a; key && !run->status; key = key->next->next) {
        struct ft_jv k = eval(run, scope, key), v = eval(run, scope, key->next);
        if (!run->status) ft_jv_set(run, dict.u.dict, k, v);
    }
    return dict;
}

static struct ft_jv eval_unary(struct ft_jinja_run *run, unsigned char op, struct ft_jv a) {
    if (run->status) return nothing();
    if (op == '!') return ft_jv_bool(!ft_jv_truth(a));
    if (!ft_jv_is_number(a)) return ft_jinja_fail(run, "%s has no sign", ft_jv_type_name(a));
    if (op == '+') return a;
    return ft_jinja_binary(run, '-', ft_jv_int(0), a);
}

static struct ft_jv eval_binary(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv a = eval(run, scope, node->a);
    if (run->status) return nothing();
    if (node->op == '&') return ft_jv_truth(a) ? eval(run, scope, node->b) : a;
    if (node->op == '|') return ft_jv_truth(a) ? a : eval(run, scope, node->b);
    struct ft_jv b = eval(run, scope, node->b);
    return ft_jinja_binary(run, node->op, a, b);
}

static struct ft_jv eval_item(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv value = eval(run, scope, node->a);
    const struct ft_jinja_node *key = node->b;
    if (key->type != FT_JINJA_SLICE) return ft_jinja_lookup(run, value, eval(run, scope, key), true);
    struct ft_jv part[3] = {nothing(), nothing(), nothing()};
    const struct ft_jinja_node *const from[3] = {key->a, key->b, key->c};
    for (int i = 0; i < 3; i++)
        if (from[i]) part[i] = eval(run, scope, from[i]);
    return ft_jinja_slice(run, value, part[0], part[1], part[2]);
}

static struct ft_jv eval_node(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv value;
    struct ft_jinja_arguments arguments;
    switch (node->type) {
    case FT_JINJA_LITERAL: return node->value;
    case FT_JINJA_NAME: return find_name(run, scope, node->value);
    case FT_JINJA_LIST:
    case FT_JINJA_TUPLE: return eval_list(run, scope, node);
    case FT_JINJA_DICT: return eval_dict(run, scope, node);
    case FT_JINJA_UNARY: return eval_unary(run, node->op, eval(run, scope, node->a));
    case FT_JINJA_BINARY: return eval_binary(run, scope, node);
    case FT_JINJA_COMPARE: return compare_chain(run, scope, node);
    case FT_JINJA_CONDITION:
        value = eval(run, scope, node->b);
        if (run->status) return nothing();
        if (ft_jv_truth(value)) return eval(run, scope, node->a);
        return node->c ? eval(run, scope, node->c) : nothing();
    case FT_JINJA_ATTRIBUTE: return ft_jinja_lookup(run, eval(run, scope, node->a), node->value, false);
    case FT_JINJA_ITEM: return eval_item(run, scope, node);
    case FT_JINJA_CALL:
        value = eval(run, scope, node->a);
        arguments = eval_arguments(run, scope, node->b);
        return call(run, value, &arguments);
    case FT_JINJA_FILTER:
        value = node->a ? eval(run, scope, node->a) : nothing();
        arguments = eval_arguments(run, scope, node->b);
        return run->status ? nothing() : ft_jinja_filter(run, node->value, value, &arguments);
    case FT_JINJA_TEST:
        value = eval(run, scope, node->a);
        arguments = eval_arguments(run, scope, node->b);
        return run->status ? nothing() : ft_jv_bool(ft_jinja_test(run, node->value, value, &arguments) != node->op);
    default: return ft_jinja_fail(run, "an expression is expected");
    }
}

static bool step(struct ft_jinja_run *run, const struct ft_jinja_node *node) {
    if (run->status) return false;
    run->line = node->line;
    if (++run->steps > FT_JINJA_STEPS_MAX) (void)ft_jinja_fail(run, "it takes too long");
    return !run->status;
}

static struct ft_jv eval(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    if (!step(run, node)) return nothing();
    if (++run->depth > FT_JINJA_DEPTH_MAX * 4) (void)ft_jinja_fail(run, "it nests too deeply");
    struct ft_jv value = run->status ? nothing() : eval_node(run, scope, node);
    run->depth--;
    return value;
}

/* --- statements ---------------------------------------------------------------------------------------------- */

/* The items that the loop's condition lets through; it sees the loop's names. */
static struct ft_jv filter_items(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node,
                                 struct ft_jv items) {
    if (!node->c || run->status) return items;
    struct ft_jv kept = ft_jv_list(run, 0);
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        struct ft_jinja_scope *inner = new_scope(run, scope);
        if (!inner) break;
        assign(run, inner, node->a, items.u.list->item[i]);
        if (ft_jv_truth(eval(run, inner, node->c))) ft_jv_push(run, kept, items.u.list->item[i]);
    }
    return kept;
}

static void set_loop(struct ft_jinja_run *run, struct ft_jv_dict *loop, const struct ft_jv_list *items, size_t i) {
    size_t n = items->count;
    struct ft_jv none = ft_jv_undefined("loop.previtem", 13);
    const struct {
        const char *name;
        struct ft_jv value;
    } part[] = {{"index", ft_jv_int((int64_t)i + 1)},  {"index0", ft_jv_int((int64_t)i)},
                {"revindex", ft_jv_int((int64_t)(n - i))}, {"revindex0", ft_jv_int((int64_t)(n - i - 1))},
                {"first", ft_jv_bool(i == 0)},         {"last", ft_jv_bool(i + 1 == n)},
                {"length", ft_jv_int((int64_t)n)},     {"previtem", i ? items->item[i - 1] : none},
                {"nextitem", i + 1 < n ? items->item[i + 1] : none}};
    for (size_t k = 0; k < sizeof part / sizeof *part; k++) ft_jv_set(run, loop, ft_jv_word(part[k].name), part[k].value);
}

static void run_for(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv value = eval(run, scope, node->b);
    struct ft_jv items = run->status ? value : filter_items(run, scope, node, ft_jv_items(run, value));
    if (run->status) return;
    if (!items.u.list->count) {
        run_body(run, new_scope(run, scope), node->otherwise);
        return;
    }
    struct ft_jv loop = ft_jv_dict(run);
    if (run->status) return;
    loop.u.dict->kind = FT_JV_LOOP;
    ft_jv_set(run, loop.u.dict, ft_jv_word("depth"), ft_jv_int(1)); /* but in recursive loops, which there are not */
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        struct ft_jinja_scope *inner = new_scope(run, scope);
        if (!inner) return;
        set_loop(run, loop.u.dict, items.u.list, i);
        ft_jv_set(run, &inner->names, ft_jv_word("loop"), loop);
        assign(run, inner, node->a, items.u.list->item[i]);
        run_body(run, inner, node->body);
        bool stop = run->flow == FT_JINJA_BREAK;
        run->flow = FT_JINJA_ON;
        if (stop) break;
    }
}

/* Filters of a block: the innermost gets the text. */
static struct ft_jv filter_text(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *filter,
                                struct ft_jv text) {
    if (!filter || run->status) return text;
    text = filter_text(run, scope, filter->a, text);
    struct ft_jinja_arguments arguments = eval_arguments(run, scope, filter->b);
    return run->status ? nothing() : ft_jinja_filter(run, filter->value, text, &arguments);
}

static void run_generation(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    size_t start = run->out.size;
    run_body(run, scope, node->body);
    if (run->status) return;
    run->status = ft_grow(&run->span, &run->span_capacity, run->spans + 1, sizeof *run->span, (size_t)1 << 24,
                          "generation blocks", run->error);
    if (!run->status) run->span[run->spans++] = (struct ft_jinja_span){start, run->out.size};
}

static void run_call_block(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv function = eval(run, scope, node->b->a);
    struct ft_jinja_arguments arguments = eval_arguments(run, scope, node->b->b);
    struct ft_jv named = ft_jv_dict(run);
    if (run->status) return;
    for (size_t i = 0; arguments.named && i < arguments.named->count; i++)
        ft_jv_set(run, named.u.dict, arguments.named->entry[i].key, arguments.named->entry[i].value);
    ft_jv_set(run, named.u.dict, ft_jv_word("caller"), new_macro(run, scope, node));
    arguments.named = named.u.dict;
    ft_jv_print(run, &run->out, call(run, function, &arguments));
}

static void run_with(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jinja_scope *inner = new_scope(run, scope);
    if (!inner) return;
    for (const struct ft_jinja_node *p = node->a; p && !run->status; p = p->next)
        ft_jv_set(run, &inner->names, p->value, eval(run, scope, p->a));
    run_body(run, inner, node->body);
}

static void run_statement(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    struct ft_jv value;
    switch (node->type) {
    case FT_JINJA_TEXT: ft_jv_print(run, &run->out, node->value); break;
    case FT_JINJA_OUTPUT:
        value = eval(run, scope, node->a);
        if (!run->status) ft_jv_print(run, &run->out, value);
        break;
    case FT_JINJA_IF:
        value = eval(run, scope, node->a);
        if (!run->status) run_body(run, scope, ft_jv_truth(value) ? node->body : node->otherwise);
        break;
    case FT_JINJA_FOR: run_for(run, scope, node); break;
    case FT_JINJA_SET: assign(run, scope, node->a, eval(run, scope, node->b)); break;
    case FT_JINJA_SET_BLOCK: {
        struct ft_jinja_scope *inner = new_scope(run, scope);
        if (!inner) break;
        value = capture(run, inner, node->body);
        assign(run, scope, node->a, filter_text(run, scope, node->b, value));
        break;
    }
    case FT_JINJA_MACRO: ft_jv_set(run, &scope->names, node->value, new_macro(run, scope, node)); break;
    case FT_JINJA_CALL_BLOCK: run_call_block(run, scope, node); break;
    case FT_JINJA_FILTER_BLOCK:
        value = capture(run, new_scope(run, scope), node->body);
        ft_jv_print(run, &run->out, filter_text(run, scope, node->b, value));
        break;
    case FT_JINJA_WITH: run_with(run, scope, node); break;
    case FT_JINJA_GENERATION: run_generation(run, scope, node); break;
    case FT_JINJA_STOP: run->flow = node->op == 'b' ? FT_JINJA_BREAK : FT_JINJA_CONTINUE; break;
    default: (void)ft_jinja_fail(run, "a statement is expected"); break;
    }
}

static void run_body(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *node) {
    if (run->status || !scope) return;
    if (++run->depth > FT_JINJA_DEPTH_MAX * 4) (void)ft_jinja_fail(run, "it nests too deeply");
    for (; node && run->flow == FT_JINJA_ON && step(run, node); node = node->next) run_statement(run, scope, node);
    run->depth--;
}

enum ft_status ft_jinja_render(const struct ft_jinja *jinja, struct ft_jinja_run *run) {
    struct ft_jinja_scope *scope = new_scope(run, run->globals);
    run_body(run, scope, jinja->body);
    if (!run->status) run->status = ft_buffer_append(&run->out, "", 0, run->error);
    return run->status;
}
