/* SPDX-License-Identifier: MIT
 *
 * Filters of lists, dictionaries and whatever else can be iterated over.
 */
#include "jinja_builtin.h"

#include <string.h>

static struct ft_jv f_items(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    if (v.type == FT_JV_UNDEFINED) return ft_jv_list(run, 0);
    return v.type == FT_JV_DICT ? ft_jv_pairs(run, v.u.dict)
                                : ft_jinja_fail(run, "items: a mapping is expected");
}

static struct ft_jv f_list(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    struct ft_jv items = ft_jv_items(run, v);
    if (run->status || (v.type == FT_JV_LIST && !v.u.list->tuple)) return items;
    struct ft_jv list = ft_jv_list(run, items.u.list->count);
    for (size_t i = 0; i < items.u.list->count; i++) ft_jv_push(run, list, items.u.list->item[i]);
    return list;
}

static struct ft_jv f_first(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    struct ft_jv items = ft_jv_items(run, v);
    return run->status || !items.u.list->count ? ft_jv_undefined("first", 5) : items.u.list->item[0];
}
static struct ft_jv f_last(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    struct ft_jv items = ft_jv_items(run, v);
    return run->status || !items.u.list->count ? ft_jv_undefined("last", 4)
                                               : items.u.list->item[items.u.list->count - 1];
}

static struct ft_jv f_reverse(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return ft_jinja_slice(run, v, ft_jv_nothing(), ft_jv_nothing(), ft_jv_int(-1));
}

/* "a.b" goes down; a number indexes. */
static struct ft_jv attribute_of(struct ft_jinja_run *run, struct ft_jv v, struct ft_jv path) {
    if (path.type != FT_JV_STRING) return ft_jinja_lookup(run, v, path, true);
    for (const char *p = path.u.text, *end = p + path.size; p <= end && !run->status;) {
        const char *dot = memchr(p, '.', (size_t)(end - p)), *stop = dot ? dot : end;
        v = ft_jinja_lookup(run, v, ft_jv_borrow(p, (size_t)(stop - p)), true);
        p = stop + 1;
    }
    return v;
}

/* What an item counts by: its attribute, if one is named. */
static struct ft_jv key_of(struct ft_jinja_run *run, struct ft_jv item, struct ft_jv attribute) {
    return attribute.type == FT_JV_UNDEFINED ? item : attribute_of(run, item, attribute);
}

static struct ft_jv f_join(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), attribute = argument(arguments, 1, "attribute");
    if (run->status) return ft_jv_nothing();
    if (attribute.type != FT_JV_UNDEFINED) {
        struct ft_jv list = ft_jv_list(run, items.u.list->count);
        for (size_t i = 0; i < items.u.list->count && !run->status; i++)
            ft_jv_push(run, list, attribute_of(run, items.u.list->item[i], attribute));
        items = list;
    }
    struct ft_jv by = argument(arguments, 0, "d");
    return run->status ? ft_jv_nothing()
                       : ft_jinja_join(run, items, by.type == FT_JV_UNDEFINED ? by : ft_jv_string(run, by));
}

/* Those behind the first n arguments. */
static struct ft_jinja_arguments rest_of(arguments_t *arguments, size_t n) {
    if (n > arguments->count) n = arguments->count;
    return (struct ft_jinja_arguments){arguments->item + n, arguments->count - n, arguments->named};
}

/* select, reject, selectattr, rejectattr. */
static struct ft_jv choose(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments, bool attribute,
                           bool wanted) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0),
                 name = argument(arguments, attribute, NULL);
    struct ft_jinja_arguments rest = rest_of(arguments, attribute ? 2 : 1);
    if (run->status) return ft_jv_nothing();
    if (name.type != FT_JV_UNDEFINED && !ft_jinja_has_test(name))
        return ft_jinja_fail(run, "a test of this name is not known");
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        struct ft_jv item = items.u.list->item[i],
                     looked = attribute ? attribute_of(run, item, argument(arguments, 0, NULL)) : item;
        if (run->status) break;
        bool good =
            name.type == FT_JV_UNDEFINED ? ft_jv_truth(looked) : ft_jinja_test(run, name, looked, &rest);
        if (good == wanted) ft_jv_push(run, list, item);
    }
    return list;
}
static struct ft_jv f_select(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) {
    return choose(run, v, a, false, true);
}
static struct ft_jv f_reject(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) {
    return choose(run, v, a, false, false);
}
static struct ft_jv f_selectattr(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) {
    return choose(run, v, a, true, true);
}
static struct ft_jv f_rejectattr(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) {
    return choose(run, v, a, true, false);
}

static struct ft_jv f_map(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0),
                 attribute = argument(arguments, FT_JINJA_NAMED_ONLY, "attribute"),
                 otherwise = argument(arguments, FT_JINJA_NAMED_ONLY, "default"),
                 name = argument(arguments, 0, NULL);
    struct ft_jinja_arguments rest = rest_of(arguments, 1);
    if (run->status) return ft_jv_nothing();
    bool by_filter = attribute.type == FT_JV_UNDEFINED;
    if (by_filter && !ft_jinja_has_filter(name))
        return ft_jinja_fail(run, "map: a filter or an attribute is expected");
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        struct ft_jv item = items.u.list->item[i];
        item = by_filter ? ft_jinja_filter(run, name, item, &rest) : attribute_of(run, item, attribute);
        ft_jv_push(run, list,
                   item.type == FT_JV_UNDEFINED && otherwise.type != FT_JV_UNDEFINED ? otherwise : item);
    }
    return list;
}

/* A stable merge sort by key; texts without regard to case unless told. */
struct keyed {
    struct ft_jv key, item;
};

static void merge_sort(struct ft_jinja_run *run, struct keyed *a, struct keyed *tmp, size_t n, bool reverse) {
    if (n < 2 || run->status) return;
    size_t half = n / 2, i = 0, j = half, k = 0;
    merge_sort(run, a, tmp, half, reverse);
    merge_sort(run, a + half, tmp, n - half, reverse);
    while (i < half || j < n) {
        int order = i == half ? 1 : j == n ? -1 : ft_jv_compare(run, a[i].key, a[j].key);
        if (reverse && i < half && j < n) order = -order;
        tmp[k++] = order <= 0 ? a[i++] : a[j++];
    }
    memcpy(a, tmp, n * sizeof *a);
}

/* part: of the pairs that the items are; -1: they are not. */
static struct ft_jv sort_items(struct ft_jinja_run *run, struct ft_jv items, struct ft_jv attribute,
                               int part, bool cased, bool reverse) {
    size_t n = items.u.list->count;
    struct keyed *a = ft_jinja_alloc(run, n + 1, sizeof *a), *tmp = ft_jinja_alloc(run, n + 1, sizeof *tmp);
    for (size_t i = 0; i < n && !run->status; i++) {
        a[i].item = items.u.list->item[i];
        a[i].key = part >= 0 ? a[i].item.u.list->item[part] : key_of(run, a[i].item, attribute);
        if (!cased && a[i].key.type == FT_JV_STRING)
            a[i].key = ft_jinja_change_case(run, a[i].key, FT_JINJA_LOWER);
    }
    if (!run->status) merge_sort(run, a, tmp, n, reverse);
    struct ft_jv list = ft_jv_list(run, n);
    for (size_t i = 0; i < n && !run->status; i++) ft_jv_push(run, list, a[i].item);
    return list;
}

static struct ft_jv f_sort(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v);
    if (run->status) return ft_jv_nothing();
    return sort_items(run, items, argument(arguments, 2, "attribute"), -1,
                      ft_jv_truth(argument(arguments, 1, "case_sensitive")),
                      ft_jv_truth(argument(arguments, 0, "reverse")));
}

static struct ft_jv f_dictsort(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    if (v.type != FT_JV_DICT) return ft_jinja_fail(run, "dictsort: a mapping is expected");
    bool value = ft_jv_is(argument(arguments, 1, "by"), "value");
    struct ft_jv pairs = ft_jv_pairs(run, v.u.dict);
    if (run->status) return ft_jv_nothing();
    return sort_items(run, pairs, ft_jv_nothing(), value,
                      ft_jv_truth(argument(arguments, 0, "case_sensitive")),
                      ft_jv_truth(argument(arguments, 2, "reverse")));
}

static struct ft_jv f_unique(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0), keys = ft_jv_dict(run),
                 attribute = argument(arguments, 1, "attribute");
    for (size_t i = 0; !run->status && i < items.u.list->count; i++) {
        struct ft_jv item = items.u.list->item[i], key = key_of(run, item, attribute);
        if (key.type == FT_JV_STRING && !ft_jv_truth(argument(arguments, 0, "case_sensitive")))
            key = ft_jinja_change_case(run, key, FT_JINJA_LOWER);
        if (run->status || ft_jv_get(keys.u.dict, key)) continue;
        ft_jv_set(run, keys.u.dict, key, ft_jv_none());
        ft_jv_push(run, list, item);
    }
    return list;
}

static struct ft_jv extreme(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments, int sign) {
    struct ft_jv items = ft_jv_items(run, v), attribute = argument(arguments, 1, "attribute"),
                 best = ft_jv_undefined("min or max", 10), best_key = best;
    for (size_t i = 0; !run->status && i < items.u.list->count; i++) {
        struct ft_jv item = items.u.list->item[i], key = key_of(run, item, attribute);
        if (i && ft_jv_compare(run, key, best_key) * sign <= 0) continue;
        best = item;
        best_key = key;
    }
    return best;
}
static struct ft_jv f_max(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) {
    return extreme(run, v, a, 1);
}
static struct ft_jv f_min(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) {
    return extreme(run, v, a, -1);
}

static struct ft_jv f_sum(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), attribute = argument(arguments, 0, "attribute"),
                 sum = argument(arguments, 1, "start");
    if (sum.type == FT_JV_UNDEFINED) sum = ft_jv_int(0);
    for (size_t i = 0; !run->status && i < items.u.list->count; i++) {
        struct ft_jv item = items.u.list->item[i];
        sum = ft_jinja_binary(run, '+', sum, key_of(run, item, attribute));
    }
    return sum;
}

static struct ft_jv f_batch(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0), row = ft_jv_nothing(),
                 fill = argument(arguments, 1, "fill_with");
    int64_t size = int_argument(arguments, 0, "linecount", 0);
    if (run->status) return ft_jv_nothing();
    if (size < 1) return ft_jinja_fail(run, "batch: a size is expected");
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        if ((int64_t)i % size == 0) ft_jv_push(run, list, row = ft_jv_list(run, 0));
        ft_jv_push(run, row, items.u.list->item[i]);
    }
    while (row.type == FT_JV_LIST && fill.type != FT_JV_UNDEFINED && (int64_t)row.u.list->count < size &&
           !run->status)
        ft_jv_push(run, row, fill);
    return list;
}

const struct ft_jinja_filter ft_jinja_sequence_filters[] = {
    {"batch", f_batch}, {"dictsort", f_dictsort}, {"first", f_first}, {"items", f_items}, {"join", f_join},
    {"last", f_last}, {"list", f_list}, {"map", f_map}, {"max", f_max}, {"min", f_min}, {"reject", f_reject},
    {"rejectattr", f_rejectattr}, {"reverse", f_reverse}, {"select", f_select}, {"selectattr", f_selectattr},
    {"sort", f_sort}, {"sum", f_sum}, {"unique", f_unique}, {NULL, NULL}
};
