/* SPDX-License-Identifier: MIT
 *
 * The template interpreter: walks the tree. A run that has failed does nothing more; every function then
 * returns undefined.
 */
#include "jinja.h"

static struct ft_jv eval(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                         const struct ft_jinja_node *node);
static void run_body(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                     const struct ft_jinja_node *node);

/* --- names ---------------------------------------------------------------------------------------------- */

static struct ft_jinja_scope *new_scope(struct ft_jinja_run *run, struct ft_jinja_scope *parent) {
    struct ft_jinja_scope *scope = ft_jinja_alloc(run, 1, sizeof *scope);
    if (scope) scope->parent = parent;
    return scope;
}

static struct ft_jv find_name(struct ft_jinja_run *run, const struct ft_jinja_scope *scope,
                              struct ft_jv name) {
    for (; scope; scope = scope->parent) {
        const struct ft_jv *value = ft_jv_get(&scope->names, name);
        if (value) return *value;
    }
    struct ft_jv global = ft_jinja_global(run, name);
    return global.type == FT_JV_UNDEFINED ? ft_jv_undefined(name.u.text, name.size) : global;
}

static void assign(struct ft_jinja_run *run, struct ft_jinja_scope *scope, const struct ft_jinja_node *target,
                   struct ft_jv value) {
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
        if (!run->status && i < items.u.list->count)
            (void)ft_jinja_fail(run, "there are more values than names");
    }
}

/* --- calls ---------------------------------------------------------------------------------------------- */

static struct ft_jinja_arguments eval_arguments(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                                                const struct ft_jinja_node *node) {
    struct ft_jv list = ft_jv_list(run, 0), named = ft_jv_nothing();
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
    return (struct ft_jinja_arguments){list.u.list->item, list.u.list->count,
                                       named.type == FT_JV_DICT ? named.u.dict : NULL};
}

/* Runs a body into a text of its own. */
static struct ft_jv capture(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                            const struct ft_jinja_node *body) {
    struct ft_buffer outer = run->out;
    size_t spans = run->spans;
    run->out = (struct ft_buffer){.max = FT_JINJA_OUTPUT_MAX};
    run_body(run, scope, body);
    struct ft_jv text = ft_jv_take(run, &run->out);
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

static struct ft_jv call(struct ft_jinja_run *run, struct ft_jv function,
                         const struct ft_jinja_arguments *arguments) {
    if (run->status) return ft_jv_nothing();
    if (function.type == FT_JV_BUILTIN) return ft_jinja_call_builtin(run, function.u.bound, arguments);
    if (function.type == FT_JV_UNDEFINED)
        return ft_jinja_fail(run, "\"%.*s\" is not defined, so it cannot be called", (int)function.size,
                             function.u.text);
    if (function.type != FT_JV_MACRO)
        return ft_jinja_fail(run, "%s cannot be called", ft_jv_type_name(function));
    struct ft_jinja_scope *scope = new_scope(run, function.u.macro->scope);
    if (!scope) return ft_jv_nothing();
    bind(run, scope, function.u.macro->node, arguments);
    unsigned line = run->line;
    struct ft_jv text = capture(run, scope, function.u.macro->node->body);
    run->flow = FT_JINJA_ON;
    run->line = line;
    return text;
}

static struct ft_jv new_macro(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                              const struct ft_jinja_node *node) {
    struct ft_jv_macro *macro = ft_jinja_alloc(run, 1, sizeof *macro);
    if (!macro) return ft_jv_nothing();
    *macro = (struct ft_jv_macro){node, scope};
    return (struct ft_jv){.type = FT_JV_MACRO, .u.macro = macro};
}

/* --- expressions ---------------------------------------------------------------------------------------- */

static struct ft_jv eval_list(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                              const struct ft_jinja_node *node) {
    struct ft_jv list = ft_jv_list(run, 0);
    for (const struct ft_jinja_node *item = node->a; item && !run->status; item = item->next)
        ft_jv_push(run, list, eval(run, scope, item));
    if (!run->status) list.u.list->tuple = node->type == FT_JINJA_TUPLE;
    return list;
}

static struct ft_jv eval_dict(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                              const struct ft_jinja_node *node) {
    struct ft_jv dict = ft_jv_dict(run);
    for (const struct ft_jinja_node *key = node->a; key && !run->status; key = key->next->next) {
        struct ft_jv k = eval(run, scope, key), v = eval(run, scope, key->next);
        if (!run->status) ft_jv_set(run, dict.u.dict, k, v);
    }
    return dict;
}

static struct ft_jv eval_unary(struct ft_jinja_run *run, unsigned char op, struct ft_jv a) {
    if (run->status) return ft_jv_nothing();
    if (op == '!') return ft_jv_bool(!ft_jv_truth(a));
    if (!ft_jv_is_number(a)) return ft_jinja_fail(run, "%s has no sign", ft_jv_type_name(a));
    if (op == '+') return a;
    return ft_jinja_binary(run, '-', ft_jv_int(0), a);
}

static struct ft_jv eval_binary(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                                const struct ft_jinja_node *node) {
    struct ft_jv a = eval(run, scope, node->a);
    if (run->status) return ft_jv_nothing();
    if (node->op == '&') return ft_jv_truth(a) ? eval(run, scope, node->b) : a;
    if (node->op == '|') return ft_jv_truth(a) ? a : eval(run, scope, node->b);
    struct ft_jv b = eval(run, scope, node->b);
    return ft_jinja_binary(run, node->op, a, b);
}

/* a < b <= c: each operand once, as far as needed. */
static struct ft_jv compare_chain(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                                  const struct ft_jinja_node *node) {
    struct ft_jv a = eval(run, scope, node->a);
    bool good = true;
    for (const struct ft_jinja_node *operand = node->b; operand && good && !run->status;
         operand = operand->next) {
        struct ft_jv b = eval(run, scope, operand->a);
        if (!run->status) good = ft_jinja_relation(run, operand->op, a, b);
        a = b;
    }
    return ft_jv_bool(good);
}

static struct ft_jv eval_item(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                              const struct ft_jinja_node *node) {
    struct ft_jv value = eval(run, scope, node->a);
    const struct ft_jinja_node *key = node->b;
    if (key->type != FT_JINJA_SLICE) return ft_jinja_lookup(run, value, eval(run, scope, key), true);
    struct ft_jv part[3] = {ft_jv_nothing(), ft_jv_nothing(), ft_jv_nothing()};
    const struct ft_jinja_node *const from[3] = {key->a, key->b, key->c};
    for (int i = 0; i < 3; i++)
        if (from[i]) part[i] = eval(run, scope, from[i]);
    return ft_jinja_slice(run, value, part[0], part[1], part[2]);
}

static struct ft_jv eval_node(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                              const struct ft_jinja_node *node) {
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
        if (run->status) return ft_jv_nothing();
        if (ft_jv_truth(value)) return eval(run, scope, node->a);
        return node->c ? eval(run, scope, node->c) : ft_jv_nothing();
    case FT_JINJA_ATTRIBUTE: return ft_jinja_lookup(run, eval(run, scope, node->a), node->value, false);
    case FT_JINJA_ITEM: return eval_item(run, scope, node);
    case FT_JINJA_CALL:
        value = eval(run, scope, node->a);
        arguments = eval_arguments(run, scope, node->b);
        return call(run, value, &arguments);
    case FT_JINJA_FILTER:
        value = node->a ? eval(run, scope, node->a) : ft_jv_nothing();
        arguments = eval_arguments(run, scope, node->b);
        return run->status ? ft_jv_nothing() : ft_jinja_filter(run, node->value, value, &arguments);
    case FT_JINJA_TEST:
        value = eval(run, scope, node->a);
        arguments = eval_arguments(run, scope, node->b);
        return run->status ? ft_jv_nothing()
                           : ft_jv_bool(ft_jinja_test(run, node->value, value, &arguments) != node->op);
    default: return ft_jinja_fail(run, "an expression is expected");
    }
}

static bool step(struct ft_jinja_run *run, const struct ft_jinja_node *node) {
    if (run->status) return false;
    run->line = node->line;
    if (++run->steps > FT_JINJA_STEPS_MAX) (void)ft_jinja_fail(run, "it takes too long");
    return !run->status;
}

static struct ft_jv eval(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                         const struct ft_jinja_node *node) {
    if (!step(run, node)) return ft_jv_nothing();
    if (++run->depth > FT_JINJA_DEPTH_MAX * 4) (void)ft_jinja_fail(run, "it nests too deeply");
    struct ft_jv value = run->status ? ft_jv_nothing() : eval_node(run, scope, node);
    run->depth--;
    return value;
}

/* --- statements ----------------------------------------------------------------------------------------- */

/* The items that the loop's condition lets through; it sees the loop's names. */
static struct ft_jv filter_items(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                                 const struct ft_jinja_node *node, struct ft_jv items) {
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

static void set_loop(struct ft_jinja_run *run, struct ft_jv_dict *loop, const struct ft_jv_list *items,
                     size_t i) {
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
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        ft_jv_set(run, loop, ft_jv_word(part[k].name), part[k].value);
}

static void run_for(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                    const struct ft_jinja_node *node) {
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
    ft_jv_set(run, loop.u.dict, ft_jv_word("depth"), ft_jv_int(1)); /* there are no recursive loops */
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
static struct ft_jv filter_text(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                                const struct ft_jinja_node *filter, struct ft_jv text) {
    if (!filter || run->status) return text;
    text = filter_text(run, scope, filter->a, text);
    struct ft_jinja_arguments arguments = eval_arguments(run, scope, filter->b);
    return run->status ? ft_jv_nothing() : ft_jinja_filter(run, filter->value, text, &arguments);
}

static void run_generation(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                           const struct ft_jinja_node *node) {
    size_t start = run->out.size;
    run_body(run, scope, node->body);
    if (run->status) return;
    run->status = ft_grow(&run->span, &run->span_capacity, run->spans + 1, sizeof *run->span, (size_t)1 << 24,
                          "generation blocks", run->error);
    if (!run->status) run->span[run->spans++] = (struct ft_jinja_span){start, run->out.size};
}

static void run_call_block(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                           const struct ft_jinja_node *node) {
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

static void run_with(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                     const struct ft_jinja_node *node) {
    struct ft_jinja_scope *inner = new_scope(run, scope);
    if (!inner) return;
    for (const struct ft_jinja_node *p = node->a; p && !run->status; p = p->next)
        ft_jv_set(run, &inner->names, p->value, eval(run, scope, p->a));
    run_body(run, inner, node->body);
}

static void run_statement(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                          const struct ft_jinja_node *node) {
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

static void run_body(struct ft_jinja_run *run, struct ft_jinja_scope *scope,
                     const struct ft_jinja_node *node) {
    if (run->status || !scope) return;
    if (++run->depth > FT_JINJA_DEPTH_MAX * 4) (void)ft_jinja_fail(run, "it nests too deeply");
    for (; node && run->flow == FT_JINJA_ON && step(run, node); node = node->next)
        run_statement(run, scope, node);
    run->depth--;
}

enum ft_status ft_jinja_render(const struct ft_jinja *jinja, struct ft_jinja_run *run) {
    struct ft_jinja_scope *scope = new_scope(run, run->globals);
    run_body(run, scope, jinja->body);
    if (!run->status) run->status = ft_buffer_append(&run->out, "", 0, run->error);
    return run->status;
}
