/* SPDX-License-Identifier: MIT
 *
 * What templates compute from values, as Python does: arithmetic, comparisons, elements and slices.
 */
#include "jinja.h"

#include "unicode.h"

#include <math.h>
#include <string.h>

/* --- operators ------------------------------------------------------------------------------------------ */

static struct ft_jv concat(struct ft_jinja_run *run, struct ft_jv a, struct ft_jv b) {
    a = ft_jv_string(run, a);
    b = ft_jv_string(run, b);
    if (run->status) return ft_jv_nothing();
    char *text = ft_jinja_alloc(run, (size_t)a.size + b.size + 1, 1);
    if (!text) return ft_jv_nothing();
    memcpy(text, a.u.text, a.size);
    memcpy(text + a.size, b.u.text, b.size);
    return ft_jv_borrow(text, (size_t)a.size + b.size);
}

static struct ft_jv repeat(struct ft_jinja_run *run, struct ft_jv value, int64_t times) {
    if (times < 0) times = 0;
    if (value.type == FT_JV_STRING) {
        if (value.size && (uint64_t)times > FT_JINJA_OUTPUT_MAX / value.size)
            return ft_jinja_fail(run, "a text becomes too long");
        char *text = ft_jinja_alloc(run, value.size * (size_t)times + 1, 1);
        for (int64_t i = 0; i < times && text; i++)
            memcpy(text + (size_t)i * value.size, value.u.text, value.size);
        return text ? ft_jv_borrow(text, value.size * (size_t)times) : ft_jv_nothing();
    }
    struct ft_jv list = ft_jv_list(run, 0);
    for (int64_t i = 0; i < times && !run->status; i++)
        for (size_t k = 0; k < value.u.list->count && !run->status; k++)
            ft_jv_push(run, list, value.u.list->item[k]);
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
                             a.type == FT_JV_UNDEFINED   ? a.u.text
                             : b.type == FT_JV_UNDEFINED ? b.u.text
                                                         : "");
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
        if (i > 64 && (base == 0 || base == 1 || base == -1))
            return ft_jv_int(base == -1 && ft_jv_integer(b) % 2 == 0 ? 1 : base);
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
    if (y == -1)
        return op == '%'      ? ft_jv_int(0)
             : x == INT64_MIN ? ft_jinja_fail(run, "a number is too large")
                              : ft_jv_int(-x);
    int64_t q = x / y, r = x % y;
    if (r && (r < 0) != (y < 0)) q--, r += y;
    return ft_jv_int(op == 'D' ? q : r);
}

struct ft_jv ft_jinja_binary(struct ft_jinja_run *run, unsigned char op, struct ft_jv a, struct ft_jv b) {
    if (run->status) return ft_jv_nothing();
    if (op == '~') return concat(run, a, b);
    if (op == '*' && (a.type == FT_JV_STRING || a.type == FT_JV_LIST) &&
        (b.type == FT_JV_INT || b.type == FT_JV_BOOL))
        return repeat(run, a, ft_jv_integer(b));
    if (!ft_jv_is_number(a) || !ft_jv_is_number(b)) {
        if (op == '+') return add(run, a, b);
        return ft_jinja_fail(run, "%s and %s cannot be computed with", ft_jv_type_name(a),
                             ft_jv_type_name(b));
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
        (void)ft_jinja_fail(run, "\"in\" does not go with %s and %s", ft_jv_type_name(one),
                            ft_jv_type_name(all));
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

/* --- parts of values ------------------------------------------------------------------------------------ */

/* The byte where character `index` of a string begins. */
static uint32_t byte_at(struct ft_jv string, int64_t index) {
    uint32_t i = 0;
    while (index-- > 0 && i < string.size) i += (uint32_t)ft_utf8_size(string.u.text[i]);
    return i;
}

static struct ft_jv index_value(struct ft_jv value, int64_t index) {
    int64_t count =
        value.type == FT_JV_LIST ? (int64_t)value.u.list->count : (int64_t)ft_jv_characters(value);
    if (index < 0) index += count;
    if (index < 0 || index >= count) return ft_jv_undefined("an element", 10);
    if (value.type == FT_JV_LIST) return value.u.list->item[index];
    uint32_t at = byte_at(value, index);
    return ft_jv_borrow(value.u.text + at, ft_utf8_size(value.u.text[at]));
}

struct ft_jv ft_jinja_lookup(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv key, bool item) {
    if (run->status) return ft_jv_nothing();
    if (value.type == FT_JV_UNDEFINED)
        return ft_jinja_fail(run, "\"%.*s\" is not defined, so it has no \"%.*s\"", (int)value.size,
                             value.u.text, key.type == FT_JV_STRING ? (int)key.size : 0,
                             key.type == FT_JV_STRING ? key.u.text : "");
    if ((value.type == FT_JV_LIST || value.type == FT_JV_STRING) &&
        (key.type == FT_JV_INT || key.type == FT_JV_BOOL))
        return index_value(value, ft_jv_integer(key));
    if (!item || value.type != FT_JV_DICT) {
        struct ft_jv method = key.type == FT_JV_STRING ? ft_jinja_method(run, value, key) : ft_jv_nothing();
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
    return key.type == FT_JV_STRING ? ft_jv_undefined(key.u.text, key.size)
                                    : ft_jv_undefined("an element", 10);
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

struct ft_jv ft_jinja_slice(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv from, struct ft_jv to,
                            struct ft_jv by) {
    if (run->status) return ft_jv_nothing();
    if (value.type != FT_JV_LIST && value.type != FT_JV_STRING)
        return ft_jinja_fail(run, "%s cannot be sliced", ft_jv_type_name(value));
    struct ft_jv all = ft_jv_items(run, value);
    int64_t step = by.type == FT_JV_INT ? by.u.integer : 1;
    if (run->status) return ft_jv_nothing();
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
    return ft_jv_take(run, &text);
}
