/* SPDX-License-Identifier: MIT
 *
 * What templates find there: filters, tests, methods of texts and dictionaries, global functions. Named and behaving as in
 * Jinja and Python.
 */
#include "jinja.h"

#include "unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef const struct ft_jinja_arguments arguments_t;

static struct ft_jv nothing(void) { return ft_jv_undefined("", 0); }

/* Argument `i`, or the named one, or undefined. */
static struct ft_jv argument(arguments_t *arguments, size_t i, const char *name) {
    if (i < arguments->count) return arguments->item[i];
    const struct ft_jv *named = arguments->named && name ? ft_jv_get_word(arguments->named, name) : NULL;
    return named ? *named : nothing();
}

static int64_t int_argument(arguments_t *arguments, size_t i, const char *name, int64_t otherwise) {
    struct ft_jv v = argument(arguments, i, name);
    return v.type == FT_JV_INT || v.type == FT_JV_BOOL ? ft_jv_integer(v) : otherwise;
}

static struct ft_jv text_of(struct ft_jinja_run *run, struct ft_buffer *text) {
    struct ft_jv v = ft_jv_copy(run, text->data, text->size);
    ft_buffer_release(text);
    return v;
}

static void put(struct ft_jinja_run *run, struct ft_buffer *out, const char *text, size_t size) {
    if (!run->status) run->status = ft_buffer_append(out, text, size, run->error);
}

/* --- texts --------------------------------------------------------------------------------------------------- */

/* The first `what` in text at or behind `from`, or NULL. */
static const char *find(const char *from, const char *end, struct ft_jv what) {
    for (; (size_t)(end - from) >= what.size; from++)
        if (memcmp(from, what.u.text, what.size) == 0) return from;
    return NULL;
}

static bool in_set(uint32_t c, struct ft_jv set) {
    for (const char *p = set.u.text, *end = p + set.size; p < end;)
        if (ft_utf8_next(&p) == c) return true;
    return false;
}

/* side: 1 left, 2 right, 3 both. set undefined or None: white space. */
static struct ft_jv strip(struct ft_jv v, struct ft_jv set, unsigned side) {
    const char *p = v.u.text, *end = p + v.size;
    bool spaces = set.type != FT_JV_STRING;
    while (side & 1 && p < end) {
        const char *q = p;
        uint32_t c = ft_utf8_next(&q);
        if (!(spaces ? ft_is_space(c) || (c >= 0x1c && c <= 0x1f) : in_set(c, set))) break;
        p = q;
    }
    while (side & 2 && end > p) {
        const char *q = end;
        uint32_t c = ft_utf8_previous(&q);
        if (!(spaces ? ft_is_space(c) || (c >= 0x1c && c <= 0x1f) : in_set(c, set))) break;
        end = q;
    }
    return ft_jv_borrow(p, (size_t)(end - p));
}

static struct ft_jv split_spaces(struct ft_jinja_run *run, struct ft_jv v, int64_t most) {
    struct ft_jv list = ft_jv_list(run, 0), rest = strip(v, nothing(), 1);
    while (rest.size && !run->status) {
        const char *p = rest.u.text, *end = p + rest.size, *q = p;
        while (q < end) {
            const char *at = q;
            if (ft_is_space(ft_utf8_next(&q))) {
                q = at;
                break;
            }
        }
        if (most >= 0 && (int64_t)list.u.list->count == most) q = end;
        struct ft_jv word = ft_jv_borrow(p, (size_t)(q - p));
        ft_jv_push(run, list, q == end ? strip(word, nothing(), 2) : word);
        rest = strip(ft_jv_borrow(q, (size_t)(end - q)), nothing(), 1);
    }
    return list;
}

static struct ft_jv split(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv by = argument(arguments, 0, "sep");
    int64_t most = int_argument(arguments, 1, "maxsplit", -1);
    if (by.type != FT_JV_STRING) return split_spaces(run, v, most);
    if (!by.size) return ft_jinja_fail(run, "split: the separator is empty");
    struct ft_jv list = ft_jv_list(run, 0);
    const char *p = v.u.text, *end = p + v.size, *at;
    while (!run->status && (most < 0 || (int64_t)list.u.list->count < most) && (at = find(p, end, by))) {
        ft_jv_push(run, list, ft_jv_borrow(p, (size_t)(at - p)));
        p = at + by.size;
    }
    ft_jv_push(run, list, ft_jv_borrow(p, (size_t)(end - p)));
    return list;
}

/* From the right, at most `maxsplit` times. */
static struct ft_jv rsplit(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jinja_arguments all = {arguments->item, arguments->count ? 1 : 0, NULL};
    int64_t most = int_argument(arguments, 1, "maxsplit", -1);
    struct ft_jv parts = split(run, v, &all), by = argument(arguments, 0, "sep");
    if (run->status || most < 0 || (int64_t)parts.u.list->count <= most + 1) return parts;
    if (by.type != FT_JV_STRING) return ft_jinja_fail(run, "rsplit by white space and a number is not supported");
    size_t keep = (size_t)most, joined = parts.u.list->count - keep;
    struct ft_jv last = parts.u.list->item[joined - 1], list = ft_jv_list(run, keep + 1);
    ft_jv_push(run, list, ft_jv_borrow(v.u.text, (size_t)(last.u.text + last.size - v.u.text)));
    for (size_t i = joined; i < parts.u.list->count; i++) ft_jv_push(run, list, parts.u.list->item[i]);
    return list;
}

static struct ft_jv splitlines(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    bool keep = ft_jv_truth(argument(arguments, 0, "keepends"));
    struct ft_jv list = ft_jv_list(run, 0);
    for (const char *p = v.u.text, *end = p + v.size, *q; p < end && !run->status; p = q) {
        for (q = p; q < end && *q != '\n' && *q != '\r';) q++;
        const char *stop = q;
        if (q < end) q += *q == '\r' && end - q > 1 && q[1] == '\n' ? 2 : 1;
        ft_jv_push(run, list, ft_jv_borrow(p, (size_t)((keep ? q : stop) - p)));
    }
    return list;
}

static struct ft_jv replace(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv old = ft_jv_string(run, argument(arguments, 0, "old")), new = ft_jv_string(run, argument(arguments, 1, "new"));
    int64_t most = int_argument(arguments, 2, "count", -1);
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    if (run->status) return nothing();
    const char *p = v.u.text, *end = p + v.size, *at;
    for (int64_t n = 0; (most < 0 || n < most) && !run->status; n++) {
        if (!(at = find(p, end, old))) break;
        put(run, &out, p, (size_t)(at - p));
        put(run, &out, new.u.text, new.size);
        p = at + old.size;
        if (!old.size) { /* between all characters */
            if (p == end) break;
            size_t size = ft_utf8_size(*p);
            put(run, &out, p, size);
            p += size;
        }
    }
    put(run, &out, p, (size_t)(end - p));
    return text_of(run, &out);
}

enum letters { LOWER, UPPER, CAPITALIZE, TITLE };

static struct ft_jv change_case(struct ft_jinja_run *run, struct ft_jv v, enum letters how) {
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    bool first = true; /* of the text, or of a word */
    for (const char *p = v.u.text, *end = p + v.size; p < end && !run->status;) {
        char utf8[4];
        utf8proc_int32_t c = (utf8proc_int32_t)ft_utf8_next(&p);
        bool up = how == UPPER || (how >= CAPITALIZE && first);
        if (up && c == 0xdf) put(run, &out, how == UPPER ? "SS" : "Ss", 2);
        else put(run, &out, utf8, ft_utf8_put(utf8, (uint32_t)(up ? utf8proc_toupper(c) : utf8proc_tolower(c))));
        first = how == TITLE && !ft_is_letter((uint32_t)c);
    }
    return text_of(run, &out);
}

static struct ft_jv join(struct ft_jinja_run *run, struct ft_jv items, struct ft_jv by) {
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        if (i && by.type == FT_JV_STRING) put(run, &out, by.u.text, by.size);
        ft_jv_print(run, &out, items.u.list->item[i]);
    }
    return text_of(run, &out);
}

/* startswith, endswith: a text, or a tuple of them. */
static bool has_end(struct ft_jv v, struct ft_jv what, bool start) {
    if (what.type == FT_JV_LIST) {
        for (size_t i = 0; i < what.u.list->count; i++)
            if (has_end(v, what.u.list->item[i], start)) return true;
        return false;
    }
    if (what.type != FT_JV_STRING || what.size > v.size) return false;
    return memcmp(start ? v.u.text : v.u.text + v.size - what.size, what.u.text, what.size) == 0;
}

static struct ft_jv find_position(struct ft_jinja_run *run, struct ft_jv v, struct ft_jv what, bool last, bool must) {
    const char *at = NULL, *end = v.u.text + v.size;
    if (what.type != FT_JV_STRING) return ft_jinja_fail(run, "a text is expected to look for");
    for (const char *p = find(v.u.text, end, what); p; p = last && p < end ? find(p + 1, end, what) : NULL) at = p;
    if (!at && must) return ft_jinja_fail(run, "\"%.*s\" is not in the text", (int)what.size, what.u.text);
    return ft_jv_int(at ? (int64_t)ft_jv_characters(ft_jv_borrow(v.u.text, (size_t)(at - v.u.text))) : -1);
}

static struct ft_jv count_text(struct ft_jv v, struct ft_jv what) {
    int64_t n = 0;
    if (what.type != FT_JV_STRING) return ft_jv_int(0);
    if (!what.size) return ft_jv_int((int64_t)ft_jv_characters(v) + 1);
    for (const char *p = v.u.text, *end = p + v.size; (p = find(p, end, what)); p += what.size) n++;
    return ft_jv_int(n);
}

static bool all_of(struct ft_jv v, const char *name) {
    bool cased = false;
    for (const char *p = v.u.text, *end = p + v.size; p < end;) {
        uint32_t c = ft_utf8_next(&p);
        utf8proc_int32_t u = (utf8proc_int32_t)c;
        bool good = strcmp(name, "isdigit") == 0   ? ft_class(c) == FT_CLASS_DIGIT
                    : strcmp(name, "isnumeric") == 0 ? ft_is_numeric(c)
                    : strcmp(name, "isalpha") == 0 ? ft_is_letter(c)
                    : strcmp(name, "isalnum") == 0 ? ft_is_letter(c) || ft_is_numeric(c)
                    : strcmp(name, "isspace") == 0 ? ft_is_space(c)
                    : strcmp(name, "isupper") == 0 ? utf8proc_toupper(u) == u
                                                   : utf8proc_tolower(u) == u;
        if (!good) return false;
        cased |= utf8proc_toupper(u) != utf8proc_tolower(u);
    }
    return v.size && (cased || (strcmp(name, "isupper") != 0 && strcmp(name, "islower") != 0));
}

/* --- methods ------------------------------------------------------------------------------------------------- */

static const char *const text_methods[] = {
    "capitalize", "count",      "endswith", "find",   "index", "isalnum",    "isalpha", "isdigit", "islower", "isnumeric", "isspace",
    "isupper",    "join",       "lower",    "lstrip", "replace", "removeprefix", "removesuffix", "rfind", "rsplit", "rstrip",
    "split",      "splitlines", "startswith", "strip", "title", "upper", "zfill", NULL};
static const char *const dict_methods[] = {"get", "items", "keys", "values", "copy", NULL};
static const char *const list_methods[] = {"index", "count", "copy", NULL};
static const char *const loop_methods[] = {"cycle", NULL};

static const char *listed(const char *const *list, struct ft_jv name) {
    for (; *list; list++)
        if (ft_jv_is(name, *list)) return *list;
    return NULL;
}

static struct ft_jv bind(struct ft_jinja_run *run, struct ft_jv self, const char *name) {
    struct ft_jv_bound *bound = ft_jinja_alloc(run, 1, sizeof *bound);
    if (!bound) return nothing();
    *bound = (struct ft_jv_bound){self, name};
    return (struct ft_jv){.type = FT_JV_BUILTIN, .u.bound = bound};
}

struct ft_jv ft_jinja_method(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv name) {
    const char *found = NULL;
    if (value.type == FT_JV_STRING) found = listed(text_methods, name);
    else if (value.type == FT_JV_LIST) found = listed(list_methods, name);
    else if (value.type == FT_JV_DICT && value.u.dict->kind == FT_JV_PLAIN) found = listed(dict_methods, name);
    else if (value.type == FT_JV_DICT && value.u.dict->kind == FT_JV_LOOP) found = listed(loop_methods, name);
    return found ? bind(run, value, found) : nothing();
}

static struct ft_jv text_method(struct ft_jinja_run *run, struct ft_jv self, const char *name, arguments_t *arguments) {
    struct ft_jv first = argument(arguments, 0, NULL);
    if (name[0] == 'i' && name[1] == 's') return ft_jv_bool(all_of(self, name));
    if (strcmp(name, "strip") == 0) return strip(self, first, 3);
    if (strcmp(name, "lstrip") == 0) return strip(self, first, 1);
    if (strcmp(name, "rstrip") == 0) return strip(self, first, 2);
    if (strcmp(name, "split") == 0) return split(run, self, arguments);
    if (strcmp(name, "rsplit") == 0) return rsplit(run, self, arguments);
    if (strcmp(name, "splitlines") == 0) return splitlines(run, self, arguments);
    if (strcmp(name, "replace") == 0) return replace(run, self, arguments);
    if (strcmp(name, "startswith") == 0) return ft_jv_bool(has_end(self, first, true));
    if (strcmp(name, "endswith") == 0) return ft_jv_bool(has_end(self, first, false));
    if (strcmp(name, "upper") == 0) return change_case(run, self, UPPER);
    if (strcmp(name, "lower") == 0) return change_case(run, self, LOWER);
    if (strcmp(name, "capitalize") == 0) return change_case(run, self, CAPITALIZE);
    if (strcmp(name, "title") == 0) return change_case(run, self, TITLE);
    if (strcmp(name, "count") == 0) return count_text(self, first);
    if (strcmp(name, "find") == 0) return find_position(run, self, first, false, false);
    if (strcmp(name, "rfind") == 0) return find_position(run, self, first, true, false);
    if (strcmp(name, "index") == 0) return find_position(run, self, first, false, true);
    if (strcmp(name, "removeprefix") == 0)
        return has_end(self, first, true) ? ft_jv_borrow(self.u.text + first.size, self.size - first.size) : self;
    if (strcmp(name, "removesuffix") == 0) return has_end(self, first, false) ? ft_jv_borrow(self.u.text, self.size - first.size) : self;
    if (strcmp(name, "join") == 0) {
        struct ft_jv items = ft_jv_items(run, first);
        return run->status ? nothing() : join(run, items, self);
    }
    int64_t width = int_argument(arguments, 0, "width", 0) - (int64_t)ft_jv_characters(self); /* zfill */
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    bool sign = self.size && (*self.u.text == '-' || *self.u.text == '+');
    put(run, &out, self.u.text, sign);
    for (; width > 0 && !run->status; width--) put(run, &out, "0", 1);
    put(run, &out, self.u.text + sign, self.size - sign);
    return text_of(run, &out);
}

static struct ft_jv pair_of(struct ft_jinja_run *run, struct ft_jv a, struct ft_jv b) {
    struct ft_jv pair = ft_jv_list(run, 2);
    ft_jv_push(run, pair, a);
    ft_jv_push(run, pair, b);
    if (!run->status) pair.u.list->tuple = true;
    return pair;
}

/* what: 0 keys, 1 values, 2 pairs. */
static struct ft_jv entries(struct ft_jinja_run *run, const struct ft_jv_dict *dict, int what) {
    struct ft_jv list = ft_jv_list(run, dict->count);
    for (size_t i = 0; i < dict->count && !run->status; i++)
        ft_jv_push(run, list, what == 0   ? dict->entry[i].key
                              : what == 1 ? dict->entry[i].value
                                          : pair_of(run, dict->entry[i].key, dict->entry[i].value));
    return list;
}

static struct ft_jv dict_method(struct ft_jinja_run *run, struct ft_jv self, const char *name, arguments_t *arguments) {
    if (strcmp(name, "items") == 0) return entries(run, self.u.dict, 2);
    if (strcmp(name, "keys") == 0) return entries(run, self.u.dict, 0);
    if (strcmp(name, "values") == 0) return entries(run, self.u.dict, 1);
    if (strcmp(name, "copy") == 0) return self; /* dictionaries do not change */
    const struct ft_jv *found = ft_jv_get(self.u.dict, argument(arguments, 0, "key"));
    if (found) return *found;
    return arguments->count > 1 || arguments->named ? argument(arguments, 1, "default") : ft_jv_none();
}

static struct ft_jv list_method(struct ft_jinja_run *run, struct ft_jv self, const char *name, arguments_t *arguments) {
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

/* --- global functions ---------------------------------------------------------------------------------------- */

static const char *const globals[] = {"range", "dict", "namespace", "raise_exception", "strftime_now", NULL};

struct ft_jv ft_jinja_global(struct ft_jinja_run *run, struct ft_jv name) {
    const char *found = listed(globals, name);
    return found ? bind(run, nothing(), found) : nothing();
}

static struct ft_jv range(struct ft_jinja_run *run, arguments_t *arguments) {
    enum { RANGE_MAX = 100000 }; /* as Jinja's sandbox */
    int64_t start = arguments->count > 1 ? int_argument(arguments, 0, NULL, 0) : 0;
    int64_t stop = int_argument(arguments, arguments->count > 1 ? 1 : 0, NULL, 0), step = int_argument(arguments, 2, NULL, 1);
    struct ft_jv list = ft_jv_list(run, 0);
    if (step == 0) return ft_jinja_fail(run, "range: the step is 0");
    for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !run->status;) {
        if (list.u.list->count == RANGE_MAX) return ft_jinja_fail(run, "range: more than %d numbers", RANGE_MAX);
        ft_jv_push(run, list, ft_jv_int(i));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return list;
}

static struct ft_jv new_dict(struct ft_jinja_run *run, arguments_t *arguments, enum ft_jv_dict_kind kind) {
    struct ft_jv dict = ft_jv_dict(run);
    if (arguments->count && arguments->item[0].type == FT_JV_DICT) {
        const struct ft_jv_dict *from = arguments->item[0].u.dict;
        for (size_t i = 0; i < from->count && !run->status; i++) ft_jv_set(run, dict.u.dict, from->entry[i].key, from->entry[i].value);
    }
    for (size_t i = 0; arguments->named && i < arguments->named->count && !run->status; i++)
        ft_jv_set(run, dict.u.dict, arguments->named->entry[i].key, arguments->named->entry[i].value);
    if (!run->status) dict.u.dict->kind = kind;
    return dict;
}

/* Days from 1970-01-01 (Howard Hinnant's days_from_civil). */
static int64_t day_number(int64_t y, int64_t m, int64_t d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* strftime in the C locale, of midnight. */
static struct ft_jv strftime_now(struct ft_jinja_run *run, struct ft_jv format) {
    static const char *const month[] = {"January", "February", "March",     "April",   "May",      "June",
                                        "July",    "August",   "September", "October", "November", "December"};
    static const char *const day[] = {"Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"};
    int y = 0, m = 0, d = 0;
    if (format.type != FT_JV_STRING) return ft_jinja_fail(run, "strftime_now takes a format");
    if (!run->date)
        return ft_jinja_fail(run, "the template writes the day's date, which would make the data depend on the day: give --date YYYY-MM-DD");
    if (sscanf(run->date, "%4d-%2d-%2d", &y, &m, &d) != 3 || m < 1 || m > 12 || d < 1 || d > 31)
        return ft_jinja_fail(run, "the date \"%.20s\" is not of the form YYYY-MM-DD", run->date);
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    int64_t number = day_number(y, m, d);
    const char *weekday = day[(number % 7 + 7) % 7];
    for (const char *p = format.u.text, *end = p + format.size; p < end && !run->status; p++) {
        char text[32] = "";
        if (*p != '%' || end - p < 2) {
            put(run, &out, p, 1);
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
        default: ft_buffer_release(&out); return ft_jinja_fail(run, "strftime_now: %%%c is not supported", *p);
        }
        put(run, &out, text, strlen(text));
    }
    return text_of(run, &out);
}

struct ft_jv ft_jinja_call_builtin(struct ft_jinja_run *run, const struct ft_jv_bound *bound, arguments_t *arguments) {
    struct ft_jv self = bound->self, first = argument(arguments, 0, NULL);
    if (run->status) return nothing();
    if (self.type == FT_JV_STRING) return text_method(run, self, bound->name, arguments);
    if (self.type == FT_JV_LIST) return list_method(run, self, bound->name, arguments);
    if (self.type == FT_JV_DICT && self.u.dict->kind == FT_JV_PLAIN) return dict_method(run, self, bound->name, arguments);
    if (self.type == FT_JV_DICT) { /* loop.cycle */
        const struct ft_jv *index = ft_jv_get_word(self.u.dict, "index0");
        return arguments->count && index ? arguments->item[(size_t)index->u.integer % arguments->count] : nothing();
    }
    if (strcmp(bound->name, "range") == 0) return range(run, arguments);
    if (strcmp(bound->name, "dict") == 0) return new_dict(run, arguments, FT_JV_PLAIN);
    if (strcmp(bound->name, "namespace") == 0) return new_dict(run, arguments, FT_JV_NAMESPACE);
    if (strcmp(bound->name, "strftime_now") == 0) return strftime_now(run, argument(arguments, 0, "format"));
    first = ft_jv_string(run, first);
    return run->status ? nothing() : ft_jinja_fail(run, "it refuses the messages: %.*s", (int)first.size, first.u.text);
}

/* --- tests --------------------------------------------------------------------------------------------------- */

static bool is_type(struct ft_jv v, const char *name) {
    if (strcmp(name, "string") == 0) return v.type == FT_JV_STRING;
    if (strcmp(name, "number") == 0) return ft_jv_is_number(v);
    if (strcmp(name, "integer") == 0) return v.type == FT_JV_INT;
    if (strcmp(name, "float") == 0) return v.type == FT_JV_FLOAT;
    if (strcmp(name, "boolean") == 0) return v.type == FT_JV_BOOL;
    if (strcmp(name, "mapping") == 0) return v.type == FT_JV_DICT && v.u.dict->kind == FT_JV_PLAIN;
    if (strcmp(name, "iterable") == 0) return v.type == FT_JV_LIST || v.type == FT_JV_STRING || v.type == FT_JV_DICT || v.type == FT_JV_UNDEFINED;
    if (strcmp(name, "sequence") == 0) return v.type == FT_JV_LIST || v.type == FT_JV_STRING || v.type == FT_JV_DICT || v.type == FT_JV_UNDEFINED;
    if (strcmp(name, "callable") == 0) return v.type == FT_JV_MACRO || v.type == FT_JV_BUILTIN;
    if (strcmp(name, "defined") == 0) return v.type != FT_JV_UNDEFINED;
    if (strcmp(name, "undefined") == 0) return v.type == FT_JV_UNDEFINED;
    if (strcmp(name, "none") == 0) return v.type == FT_JV_NONE;
    if (strcmp(name, "true") == 0) return v.type == FT_JV_BOOL && v.u.flag;
    if (strcmp(name, "false") == 0) return v.type == FT_JV_BOOL && !v.u.flag;
    if (strcmp(name, "escaped") == 0) return false;
    if (strcmp(name, "lower") == 0) return v.type == FT_JV_STRING && all_of(v, "islower");
    return v.type == FT_JV_STRING && all_of(v, "isupper"); /* upper */
}

static const char *const type_tests[] = {"string", "number",    "integer", "float", "boolean", "mapping", "iterable", "sequence", "callable",
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

bool ft_jinja_has_test(struct ft_jv name) { return listed(type_tests, name) || relation_test(name) || listed(other_tests, name); }

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

/* --- filters ------------------------------------------------------------------------------------------------- */

typedef struct ft_jv filter_function(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments);

static struct ft_jv want_text(struct ft_jinja_run *run, struct ft_jv v) { return ft_jv_string(run, v); }

static struct ft_jv f_trim(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    v = want_text(run, v);
    return run->status ? nothing() : strip(v, argument(arguments, 0, "chars"), 3);
}
static struct ft_jv f_upper(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return change_case(run, want_text(run, v), UPPER);
}
static struct ft_jv f_lower(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return change_case(run, want_text(run, v), LOWER);
}
static struct ft_jv f_capitalize(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return change_case(run, want_text(run, v), CAPITALIZE);
}
static struct ft_jv f_title(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return change_case(run, want_text(run, v), TITLE);
}
static struct ft_jv f_string(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return want_text(run, v);
}
static struct ft_jv f_safe(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run, (void)arguments;
    return v;
}
static struct ft_jv f_replace(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    v = want_text(run, v);
    return run->status ? nothing() : replace(run, v, arguments);
}

static struct ft_jv f_length(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    if (v.type == FT_JV_STRING) return ft_jv_int((int64_t)ft_jv_characters(v));
    if (v.type == FT_JV_LIST) return ft_jv_int((int64_t)v.u.list->count);
    if (v.type == FT_JV_DICT) return ft_jv_int((int64_t)v.u.dict->count);
    if (v.type == FT_JV_UNDEFINED) return ft_jv_int(0);
    return ft_jinja_fail(run, "%s has no length", ft_jv_type_name(v));
}

static struct ft_jv f_default(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run;
    bool falsy = ft_jv_truth(argument(arguments, 1, "boolean")) && !ft_jv_truth(v);
    if (v.type != FT_JV_UNDEFINED && !falsy) return v;
    struct ft_jv other = argument(arguments, 0, "default_value");
    return other.type == FT_JV_UNDEFINED && !arguments->count ? ft_jv_word("") : other;
}

static struct ft_jv f_tojson(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    int64_t indent = int_argument(arguments, 1, "indent", 0);
    struct ft_jv named = argument(arguments, 99, "sort_keys");
    if (indent < 0 || indent > 64) return ft_jinja_fail(run, "tojson: the indent is outside 0 to 64");
    ft_jv_json(run, &out, v, (unsigned)indent, ft_jv_truth(named));
    return text_of(run, &out);
}

static struct ft_jv f_items(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    if (v.type == FT_JV_UNDEFINED) return ft_jv_list(run, 0);
    return v.type == FT_JV_DICT ? entries(run, v.u.dict, 2) : ft_jinja_fail(run, "items: a mapping is expected");
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
    return run->status || !items.u.list->count ? ft_jv_undefined("last", 4) : items.u.list->item[items.u.list->count - 1];
}

static struct ft_jv f_reverse(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    return ft_jinja_slice(run, v, nothing(), nothing(), ft_jv_int(-1));
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

static struct ft_jv f_join(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), attribute = argument(arguments, 1, "attribute");
    if (run->status) return nothing();
    if (attribute.type != FT_JV_UNDEFINED) {
        struct ft_jv list = ft_jv_list(run, items.u.list->count);
        for (size_t i = 0; i < items.u.list->count && !run->status; i++)
            ft_jv_push(run, list, attribute_of(run, items.u.list->item[i], attribute));
        items = list;
    }
    struct ft_jv by = argument(arguments, 0, "d");
    return run->status ? nothing() : join(run, items, by.type == FT_JV_UNDEFINED ? by : ft_jv_string(run, by));
}

/* Those behind the first n arguments. */
static struct ft_jinja_arguments rest_of(arguments_t *arguments, size_t n) {
    if (n > arguments->count) n = arguments->count;
    return (struct ft_jinja_arguments){arguments->item + n, arguments->count - n, arguments->named};
}

/* select, reject, selectattr, rejectattr. */
static struct ft_jv choose(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments, bool attribute, bool wanted) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0), name = argument(arguments, attribute, NULL);
    struct ft_jinja_arguments rest = rest_of(arguments, attribute ? 2 : 1);
    if (run->status) return nothing();
    if (name.type != FT_JV_UNDEFINED && !ft_jinja_has_test(name)) return ft_jinja_fail(run, "a test of this name is not known");
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        struct ft_jv item = items.u.list->item[i], looked = attribute ? attribute_of(run, item, argument(arguments, 0, NULL)) : item;
        if (run->status) break;
        bool good = name.type == FT_JV_UNDEFINED ? ft_jv_truth(looked) : ft_jinja_test(run, name, looked, &rest);
        if (good == wanted) ft_jv_push(run, list, item);
    }
    return list;
}
static struct ft_jv f_select(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) { return choose(run, v, a, false, true); }
static struct ft_jv f_reject(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) { return choose(run, v, a, false, false); }
static struct ft_jv f_selectattr(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) { return choose(run, v, a, true, true); }
static struct ft_jv f_rejectattr(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) { return choose(run, v, a, true, false); }

static struct ft_jv f_map(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0), attribute = argument(arguments, 99, "attribute"),
                 otherwise = argument(arguments, 99, "default"), name = argument(arguments, 0, NULL);
    struct ft_jinja_arguments rest = rest_of(arguments, 1);
    if (run->status) return nothing();
    bool by_filter = attribute.type == FT_JV_UNDEFINED;
    if (by_filter && !ft_jinja_has_filter(name)) return ft_jinja_fail(run, "map: a filter or an attribute is expected");
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        struct ft_jv item = items.u.list->item[i];
        item = by_filter ? ft_jinja_filter(run, name, item, &rest) : attribute_of(run, item, attribute);
        ft_jv_push(run, list, item.type == FT_JV_UNDEFINED && otherwise.type != FT_JV_UNDEFINED ? otherwise : item);
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

static struct ft_jv sort_items(struct ft_jinja_run *run, struct ft_jv items, struct ft_jv attribute, int key_of_pair, bool cased, bool reverse) {
    size_t n = items.u.list->count;
    struct keyed *a = ft_jinja_alloc(run, n + 1, sizeof *a), *tmp = ft_jinja_alloc(run, n + 1, sizeof *tmp);
    for (size_t i = 0; i < n && !run->status; i++) {
        a[i].item = a[i].key = items.u.list->item[i];
        if (key_of_pair >= 0) a[i].key = a[i].item.u.list->item[key_of_pair];
        else if (attribute.type != FT_JV_UNDEFINED) a[i].key = attribute_of(run, a[i].item, attribute);
        if (!cased && a[i].key.type == FT_JV_STRING) a[i].key = change_case(run, a[i].key, LOWER);
    }
    if (!run->status) merge_sort(run, a, tmp, n, reverse);
    struct ft_jv list = ft_jv_list(run, n);
    for (size_t i = 0; i < n && !run->status; i++) ft_jv_push(run, list, a[i].item);
    return list;
}

static struct ft_jv f_sort(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v);
    if (run->status) return nothing();
    return sort_items(run, items, argument(arguments, 2, "attribute"), -1, ft_jv_truth(argument(arguments, 1, "case_sensitive")),
                      ft_jv_truth(argument(arguments, 0, "reverse")));
}

static struct ft_jv f_dictsort(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    if (v.type != FT_JV_DICT) return ft_jinja_fail(run, "dictsort: a mapping is expected");
    bool value = ft_jv_is(argument(arguments, 1, "by"), "value");
    return sort_items(run, entries(run, v.u.dict, 2), nothing(), value, ft_jv_truth(argument(arguments, 0, "case_sensitive")),
                      ft_jv_truth(argument(arguments, 2, "reverse")));
}

static struct ft_jv f_unique(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0), keys = ft_jv_dict(run),
                 attribute = argument(arguments, 1, "attribute");
    for (size_t i = 0; !run->status && i < items.u.list->count; i++) {
        struct ft_jv item = items.u.list->item[i], key = attribute.type == FT_JV_UNDEFINED ? item : attribute_of(run, item, attribute);
        if (key.type == FT_JV_STRING && !ft_jv_truth(argument(arguments, 0, "case_sensitive"))) key = change_case(run, key, LOWER);
        if (run->status || ft_jv_get(keys.u.dict, key)) continue;
        ft_jv_set(run, keys.u.dict, key, ft_jv_none());
        ft_jv_push(run, list, item);
    }
    return list;
}

static struct ft_jv extreme(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments, int sign) {
    struct ft_jv items = ft_jv_items(run, v), attribute = argument(arguments, 1, "attribute"), best = ft_jv_undefined("min or max", 10), best_key = best;
    for (size_t i = 0; !run->status && i < items.u.list->count; i++) {
        struct ft_jv item = items.u.list->item[i], key = attribute.type == FT_JV_UNDEFINED ? item : attribute_of(run, item, attribute);
        if (i && ft_jv_compare(run, key, best_key) * sign <= 0) continue;
        best = item;
        best_key = key;
    }
    return best;
}
static struct ft_jv f_max(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) { return extreme(run, v, a, 1); }
static struct ft_jv f_min(struct ft_jinja_run *run, struct ft_jv v, arguments_t *a) { return extreme(run, v, a, -1); }

static struct ft_jv f_sum(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), attribute = argument(arguments, 0, "attribute"), sum = argument(arguments, 1, "start");
    if (sum.type == FT_JV_UNDEFINED) sum = ft_jv_int(0);
    for (size_t i = 0; !run->status && i < items.u.list->count; i++) {
        struct ft_jv item = items.u.list->item[i];
        sum = ft_jinja_binary(run, '+', sum, attribute.type == FT_JV_UNDEFINED ? item : attribute_of(run, item, attribute));
    }
    return sum;
}

static struct ft_jv f_int(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run;
    char text[32] = "", *end = text;
    if (v.type == FT_JV_INT || v.type == FT_JV_BOOL) return ft_jv_int(ft_jv_integer(v));
    if (v.type == FT_JV_STRING) {
        v = strip(v, nothing(), 3);
        if (v.size && v.size < sizeof text) memcpy(text, v.u.text, v.size);
        long long integer = strtoll(text, &end, 10);
        if (*text && !*end) return ft_jv_int(integer);
        v = ft_jv_float(strtod(text, &end));
        if (!*text || *end) v = nothing();
    }
    if (v.type == FT_JV_FLOAT && fabs(v.u.number) < 9e18) return ft_jv_int((int64_t)v.u.number);
    return ft_jv_int(int_argument(arguments, 0, "default", 0));
}

static struct ft_jv f_float(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)run;
    char text[64] = "", *end = text;
    if (ft_jv_is_number(v)) return ft_jv_float(ft_jv_number(v));
    if (v.type == FT_JV_STRING) {
        v = strip(v, nothing(), 3);
        if (v.size && v.size < sizeof text) memcpy(text, v.u.text, v.size);
        double number = strtod(text, &end);
        if (*text && !*end) return ft_jv_float(number);
    }
    struct ft_jv other = argument(arguments, 0, "default");
    return ft_jv_float(ft_jv_is_number(other) ? ft_jv_number(other) : 0);
}

static struct ft_jv f_abs(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    if (v.type == FT_JV_FLOAT) return ft_jv_float(fabs(v.u.number));
    if (!ft_jv_is_number(v)) return ft_jinja_fail(run, "abs: a number is expected");
    return ft_jv_integer(v) < 0 ? ft_jinja_binary(run, '-', ft_jv_int(0), v) : v;
}

/* To nearest, ties to even, as Python's round. */
static struct ft_jv f_round(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    if (!ft_jv_is_number(v)) return ft_jinja_fail(run, "round: a number is expected");
    int64_t digits = int_argument(arguments, 0, "precision", 0);
    struct ft_jv method = argument(arguments, 1, "method");
    char text[512];
    if (digits < 0 || digits > 20 || fabs(ft_jv_number(v)) > 1e300) return ft_jinja_fail(run, "round: more than 20 digits");
    double scale = pow(10, (double)digits), x = ft_jv_number(v);
    if (ft_jv_is(method, "ceil")) return ft_jv_float(ceil(x * scale) / scale);
    if (ft_jv_is(method, "floor")) return ft_jv_float(floor(x * scale) / scale);
    (void)snprintf(text, sizeof text, "%.*f", (int)digits, x);
    return ft_jv_float(strtod(text, NULL));
}

static struct ft_jv f_indent(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv width = argument(arguments, 0, "width");
    bool first = ft_jv_truth(argument(arguments, 1, "first")), blank = ft_jv_truth(argument(arguments, 2, "blank"));
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    v = want_text(run, v);
    if (run->status) return nothing();
    int64_t spaces = width.type == FT_JV_INT ? width.u.integer : 4;
    if (spaces > 1000) return ft_jinja_fail(run, "indent: more than 1000");
    for (const char *p = v.u.text, *end = p + v.size; p <= end && !run->status;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        bool wanted = (p > v.u.text ? blank || stop > p : first);
        for (int64_t i = 0; wanted && width.type != FT_JV_STRING && i < spaces; i++) put(run, &out, " ", 1);
        if (wanted && width.type == FT_JV_STRING) put(run, &out, width.u.text, width.size);
        put(run, &out, p, (size_t)(stop - p));
        if (newline) put(run, &out, "\n", 1);
        p = stop + 1;
    }
    return text_of(run, &out);
}

static struct ft_jv f_escape(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    v = want_text(run, v);
    for (uint32_t i = 0; !run->status && i < v.size; i++) {
        char c = v.u.text[i];
        const char *name = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '\'' ? "&#39;" : c == '"' ? "&#34;" : NULL;
        put(run, &out, name ? name : &c, name ? strlen(name) : 1);
    }
    return text_of(run, &out);
}

static struct ft_jv f_wordcount(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    (void)arguments;
    struct ft_jv words = split_spaces(run, want_text(run, v), -1);
    return run->status ? nothing() : ft_jv_int((int64_t)words.u.list->count);
}

static struct ft_jv f_attr(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    return ft_jinja_lookup(run, v, argument(arguments, 0, "name"), false);
}

static struct ft_jv f_batch(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv items = ft_jv_items(run, v), list = ft_jv_list(run, 0), row = nothing(), fill = argument(arguments, 1, "fill_with");
    int64_t size = int_argument(arguments, 0, "linecount", 0);
    if (run->status) return nothing();
    if (size < 1) return ft_jinja_fail(run, "batch: a size is expected");
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        if ((int64_t)i % size == 0) ft_jv_push(run, list, row = ft_jv_list(run, 0));
        ft_jv_push(run, row, items.u.list->item[i]);
    }
    while (row.type == FT_JV_LIST && fill.type != FT_JV_UNDEFINED && (int64_t)row.u.list->count < size && !run->status)
        ft_jv_push(run, row, fill);
    return list;
}

static const struct {
    const char *name;
    filter_function *run;
} filters[] = {{"abs", f_abs},         {"attr", f_attr},         {"batch", f_batch},   {"capitalize", f_capitalize}, {"count", f_length},
               {"d", f_default},       {"default", f_default},   {"dictsort", f_dictsort}, {"e", f_escape},          {"escape", f_escape},
               {"first", f_first},     {"float", f_float},       {"indent", f_indent}, {"int", f_int},               {"items", f_items},
               {"join", f_join},       {"last", f_last},         {"length", f_length}, {"list", f_list},             {"lower", f_lower},
               {"map", f_map},         {"max", f_max},           {"min", f_min},       {"reject", f_reject},         {"rejectattr", f_rejectattr},
               {"replace", f_replace}, {"reverse", f_reverse},   {"round", f_round},   {"safe", f_safe},             {"select", f_select},
               {"selectattr", f_selectattr}, {"sort", f_sort},   {"string", f_string}, {"sum", f_sum},               {"title", f_title},
               {"tojson", f_tojson},   {"trim", f_trim},         {"unique", f_unique}, {"upper", f_upper},           {"wordcount", f_wordcount}};

static filter_function *find_filter(struct ft_jv name) {
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (ft_jv_is(name, filters[i].name)) return filters[i].run;
    return NULL;
}

bool ft_jinja_has_filter(struct ft_jv name) { return find_filter(name) != NULL; }

struct ft_jv ft_jinja_filter(struct ft_jinja_run *run, struct ft_jv name, struct ft_jv value, arguments_t *arguments) {
    filter_function *filter = run->status ? NULL : find_filter(name);
    return filter ? filter(run, value, arguments) : nothing();
}
