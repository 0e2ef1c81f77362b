/* SPDX-License-Identifier: MIT
 *
 * What templates can call: methods of texts, lists, dictionaries and loops, and global functions. Named and
 * behaving as in Jinja and Python.
 */
#include "jinja_builtin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- methods -------------------------------------------------------------------------------------------- */

static const char *const dict_methods[] = {"get", "items", "keys", "values", "copy", NULL};
static const char *const list_methods[] = {"index", "count", "copy", NULL};
static const char *const loop_methods[] = {"cycle", NULL};

static struct ft_jv bind(struct ft_jinja_run *run, struct ft_jv self, const char *name) {
    struct ft_jv_bound *bound = ft_jinja_alloc(run, 1, sizeof *bound);
    if (!bound) return ft_jv_nothing();
    *bound = (struct ft_jv_bound){self, name};
    return (struct ft_jv){.type = FT_JV_BUILTIN, .u.bound = bound};
}

struct ft_jv ft_jinja_method(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv name) {
    const char *found = NULL;
    if (value.type == FT_JV_STRING) found = listed(ft_jinja_text_methods, name);
    else if (value.type == FT_JV_LIST) found = listed(list_methods, name);
    else if (value.type == FT_JV_DICT && value.u.dict->kind == FT_JV_PLAIN)
        found = listed(dict_methods, name);
    else if (value.type == FT_JV_DICT && value.u.dict->kind == FT_JV_LOOP) found = listed(loop_methods, name);
    return found ? bind(run, value, found) : ft_jv_nothing();
}

static struct ft_jv values(struct ft_jinja_run *run, const struct ft_jv_dict *dict) {
    struct ft_jv list = ft_jv_list(run, dict->count);
    for (size_t i = 0; i < dict->count; i++) ft_jv_push(run, list, dict->entry[i].value);
    return list;
}

static struct ft_jv dict_method(struct ft_jinja_run *run, struct ft_jv self, const char *name,
                                arguments_t *arguments) {
    if (strcmp(name, "items") == 0) return ft_jv_pairs(run, self.u.dict);
    if (strcmp(name, "keys") == 0) return ft_jv_items(run, self);
    if (strcmp(name, "values") == 0) return values(run, self.u.dict);
    if (strcmp(name, "copy") == 0) return self; /* dictionaries do not change */
    const struct ft_jv *found = ft_jv_get(self.u.dict, argument(arguments, 0, "key"));
    if (found) return *found;
    return arguments->count > 1 || arguments->named ? argument(arguments, 1, "default") : ft_jv_none();
}

static struct ft_jv list_method(struct ft_jinja_run *run, struct ft_jv self, const char *name,
                                arguments_t *arguments) {
    struct ft_jv what = argument(arguments, 0, NULL);
    int64_t n = 0;
    if (strcmp(name, "copy") == 0) return self;
    for (size_t i = 0; i < self.u.list->count; i++) {
        if (!ft_jv_equal(self.u.list->item[i], what)) continue;
        if (*name == 'i') return ft_jv_int((int64_t)i);
        n++;
    }
    return *name == 'i' ? ft_jinja_fail(run, "index: it is not in the list") : ft_jv_int(n);
}

/* --- global functions ----------------------------------------------------------------------------------- */

static const char *const globals[] = {"range", "dict", "namespace", "raise_exception", "strftime_now", NULL};

struct ft_jv ft_jinja_global(struct ft_jinja_run *run, struct ft_jv name) {
    const char *found = listed(globals, name);
    return found ? bind(run, ft_jv_nothing(), found) : ft_jv_nothing();
}

static struct ft_jv range(struct ft_jinja_run *run, arguments_t *arguments) {
    enum { RANGE_MAX = 100000 }; /* as Jinja's sandbox */
    int64_t start = arguments->count > 1 ? int_argument(arguments, 0, NULL, 0) : 0;
    int64_t stop = int_argument(arguments, arguments->count > 1 ? 1 : 0, NULL, 0),
            step = int_argument(arguments, 2, NULL, 1);
    struct ft_jv list = ft_jv_list(run, 0);
    if (step == 0) return ft_jinja_fail(run, "range: the step is 0");
    for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !run->status;) {
        if (list.u.list->count == RANGE_MAX)
            return ft_jinja_fail(run, "range: more than %d numbers", RANGE_MAX);
        ft_jv_push(run, list, ft_jv_int(i));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return list;
}

static struct ft_jv new_dict(struct ft_jinja_run *run, arguments_t *arguments, enum ft_jv_dict_kind kind) {
    struct ft_jv dict = ft_jv_dict(run);
    if (arguments->count && arguments->item[0].type == FT_JV_DICT) {
        const struct ft_jv_dict *from = arguments->item[0].u.dict;
        for (size_t i = 0; i < from->count && !run->status; i++)
            ft_jv_set(run, dict.u.dict, from->entry[i].key, from->entry[i].value);
    }
    for (size_t i = 0; arguments->named && i < arguments->named->count && !run->status; i++)
        ft_jv_set(run, dict.u.dict, arguments->named->entry[i].key, arguments->named->entry[i].value);
    if (!run->status) dict.u.dict->kind = kind;
    return dict;
}

/* Days from 1970-01-01 (Howard Hinnant's days_from_civil). */
static int64_t day_number(int64_t y, int64_t m, int64_t d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400,
            doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* strftime in the C locale, of midnight. */
static struct ft_jv strftime_now(struct ft_jinja_run *run, struct ft_jv format) {
    static const char *const month[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};
    static const char *const day[] = {"Thursday", "Friday",  "Saturday", "Sunday",
                                      "Monday",   "Tuesday", "Wednesday"};
    int y = 0, m = 0, d = 0;
    if (format.type != FT_JV_STRING) return ft_jinja_fail(run, "strftime_now takes a format");
    if (!run->date)
        return ft_jinja_fail(run, "the template writes the day's date, which would make the data depend on "
                                  "the day: give --date YYYY-MM-DD");
    if (sscanf(run->date, "%4d-%2d-%2d", &y, &m, &d) != 3 || m < 1 || m > 12 || d < 1 || d > 31)
        return ft_jinja_fail(run, "the date \"%.20s\" is not of the form YYYY-MM-DD", run->date);
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    int64_t number = day_number(y, m, d);
    const char *weekday = day[(number % 7 + 7) % 7];
    for (const char *p = format.u.text, *end = p + format.size; p < end && !run->status; p++) {
        char text[32] = "";
        if (*p != '%' || end - p < 2) {
            ft_jinja_put(run, &out, p, 1);
            continue;
        }
        bool bare = p[1] == '-' && end - p > 2; /* %-d: without the zero */
        p += bare ? 2 : 1;
        switch (*p) {
        case 'Y': (void)snprintf(text, sizeof text, "%04d", y); break;
        case 'y': (void)snprintf(text, sizeof text, "%02d", y % 100); break;
        case 'm': (void)snprintf(text, sizeof text, bare ? "%d" : "%02d", m); break;
        case 'd': (void)snprintf(text, sizeof text, bare ? "%d" : "%02d", d); break;
        case 'B': (void)snprintf(text, sizeof text, "%s", month[m - 1]); break;
        case 'b': (void)snprintf(text, sizeof text, "%.3s", month[m - 1]); break;
        case 'A': (void)snprintf(text, sizeof text, "%s", weekday); break;
        case 'a': (void)snprintf(text, sizeof text, "%.3s", weekday); break;
        case 'j': (void)snprintf(text, sizeof text, "%03" PRId64, number - day_number(y, 1, 1) + 1); break;
        case 'F': (void)snprintf(text, sizeof text, "%04d-%02d-%02d", y, m, d); break;
        case 'H': case 'M': case 'S': (void)snprintf(text, sizeof text, bare ? "0" : "00"); break;
        case 'I': (void)snprintf(text, sizeof text, "12"); break;
        case 'p': (void)snprintf(text, sizeof text, "AM"); break;
        case '%': (void)snprintf(text, sizeof text, "%%"); break;
        default:
            ft_buffer_release(&out);
            return ft_jinja_fail(run, "strftime_now: %%%c is not supported", *p);
        }
        ft_jinja_put(run, &out, text, strlen(text));
    }
    return ft_jv_take(run, &out);
}

/* --- calls ---------------------------------------------------------------------------------------------- */

struct ft_jv ft_jinja_call_builtin(struct ft_jinja_run *run, const struct ft_jv_bound *bound,
                                   arguments_t *arguments) {
    struct ft_jv self = bound->self, first = argument(arguments, 0, NULL);
    if (run->status) return ft_jv_nothing();
    if (self.type == FT_JV_STRING) return ft_jinja_text_method(run, self, bound->name, arguments);
    if (self.type == FT_JV_LIST) return list_method(run, self, bound->name, arguments);
    if (self.type == FT_JV_DICT && self.u.dict->kind == FT_JV_PLAIN)
        return dict_method(run, self, bound->name, arguments);
    if (self.type == FT_JV_DICT) { /* loop.cycle */
        const struct ft_jv *index = ft_jv_get_word(self.u.dict, "index0");
        return arguments->count && index ? arguments->item[(size_t)index->u.integer % arguments->count]
                                         : ft_jv_nothing();
    }
    if (strcmp(bound->name, "range") == 0) return range(run, arguments);
    if (strcmp(bound->name, "dict") == 0) return new_dict(run, arguments, FT_JV_PLAIN);
    if (strcmp(bound->name, "namespace") == 0) return new_dict(run, arguments, FT_JV_NAMESPACE);
    if (strcmp(bound->name, "strftime_now") == 0) return strftime_now(run, argument(arguments, 0, "format"));
    first = ft_jv_string(run, first);
    return run->status ? ft_jv_nothing()
                       : ft_jinja_fail(run, "it refuses the messages: %.*s", (int)first.size, first.u.text);
}
