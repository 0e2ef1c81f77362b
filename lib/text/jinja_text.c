/* SPDX-License-Identifier: MIT
 *
 * Texts of templates: what Python's str does with them, as methods and for filters and tests.
 */
#include "jinja_builtin.h"

#include "unicode.h"

#include <string.h>
#include <utf8proc.h>

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

struct ft_jv ft_jinja_strip(struct ft_jv v, struct ft_jv set, unsigned sides) {
    const char *p = v.u.text, *end = p + v.size;
    bool spaces = set.type != FT_JV_STRING;
    while (sides & FT_JINJA_LEFT && p < end) {
        const char *q = p;
        uint32_t c = ft_utf8_next(&q);
        if (!(spaces ? ft_is_space(c) || (c >= 0x1c && c <= 0x1f) : in_set(c, set))) break;
        p = q;
    }
    while (sides & FT_JINJA_RIGHT && end > p) {
        const char *q = end;
        uint32_t c = ft_utf8_previous(&q);
        if (!(spaces ? ft_is_space(c) || (c >= 0x1c && c <= 0x1f) : in_set(c, set))) break;
        end = q;
    }
    return ft_jv_borrow(p, (size_t)(end - p));
}

struct ft_jv ft_jinja_words(struct ft_jinja_run *run, struct ft_jv v, int64_t most) {
    struct ft_jv list = ft_jv_list(run, 0), rest = ft_jinja_strip(v, ft_jv_nothing(), FT_JINJA_LEFT);
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
        ft_jv_push(run, list, q == end ? ft_jinja_strip(word, ft_jv_nothing(), FT_JINJA_RIGHT) : word);
        rest = ft_jinja_strip(ft_jv_borrow(q, (size_t)(end - q)), ft_jv_nothing(), FT_JINJA_LEFT);
    }
    return list;
}

static struct ft_jv split(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv by = argument(arguments, 0, "sep");
    int64_t most = int_argument(arguments, 1, "maxsplit", -1);
    if (by.type != FT_JV_STRING) return ft_jinja_words(run, v, most);
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
    if (by.type != FT_JV_STRING)
        return ft_jinja_fail(run, "rsplit by white space and a number is not supported");
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

struct ft_jv ft_jinja_replace(struct ft_jinja_run *run, struct ft_jv v, arguments_t *arguments) {
    struct ft_jv old = ft_jv_string(run, argument(arguments, 0, "old")),
                 new = ft_jv_string(run, argument(arguments, 1, "new"));
    int64_t most = int_argument(arguments, 2, "count", -1);
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    if (run->status) return ft_jv_nothing();
    const char *p = v.u.text, *end = p + v.size, *at;
    for (int64_t n = 0; (most < 0 || n < most) && !run->status; n++) {
        if (!(at = find(p, end, old))) break;
        ft_jinja_put(run, &out, p, (size_t)(at - p));
        ft_jinja_put(run, &out, new.u.text, new.size);
        p = at + old.size;
        if (!old.size) { /* between all characters */
            if (p == end) break;
            size_t size = ft_utf8_size(*p);
            ft_jinja_put(run, &out, p, size);
            p += size;
        }
    }
    ft_jinja_put(run, &out, p, (size_t)(end - p));
    return ft_jv_take(run, &out);
}

struct ft_jv ft_jinja_change_case(struct ft_jinja_run *run, struct ft_jv v, enum ft_jinja_letters how) {
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    bool first = true; /* of the text, or of a word */
    for (const char *p = v.u.text, *end = p + v.size; p < end && !run->status;) {
        char utf8[4];
        utf8proc_int32_t c = (utf8proc_int32_t)ft_utf8_next(&p);
        bool up = how == FT_JINJA_UPPER || (how >= FT_JINJA_CAPITALIZE && first);
        if (up && c == 0xdf) ft_jinja_put(run, &out, how == FT_JINJA_UPPER ? "SS" : "Ss", 2);
        else
            ft_jinja_put(run, &out, utf8,
                         ft_utf8_put(utf8, (uint32_t)(up ? utf8proc_toupper(c) : utf8proc_tolower(c))));
        first = how == FT_JINJA_TITLE && !ft_is_letter((uint32_t)c);
    }
    return ft_jv_take(run, &out);
}

struct ft_jv ft_jinja_join(struct ft_jinja_run *run, struct ft_jv items, struct ft_jv by) {
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    for (size_t i = 0; i < items.u.list->count && !run->status; i++) {
        if (i && by.type == FT_JV_STRING) ft_jinja_put(run, &out, by.u.text, by.size);
        ft_jv_print(run, &out, items.u.list->item[i]);
    }
    return ft_jv_take(run, &out);
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

static struct ft_jv find_position(struct ft_jinja_run *run, struct ft_jv v, struct ft_jv what, bool last,
                                  bool must) {
    const char *at = NULL, *end = v.u.text + v.size;
    if (what.type != FT_JV_STRING) return ft_jinja_fail(run, "a text is expected to look for");
    for (const char *p = find(v.u.text, end, what); p; p = last && p < end ? find(p + 1, end, what) : NULL)
        at = p;
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

bool ft_jinja_all_of(struct ft_jv v, const char *name) {
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

const char *const ft_jinja_text_methods[] = {
    "capitalize", "count",    "endswith",  "find",       "index",  "isalnum", "isalpha", "isdigit",
    "islower",    "isnumeric", "isspace",  "isupper",    "join",   "lower",   "lstrip",  "replace",
    "removeprefix", "removesuffix", "rfind", "rsplit",   "rstrip", "split",   "splitlines", "startswith",
    "strip",      "title",    "upper",     "zfill",      NULL};

struct ft_jv ft_jinja_text_method(struct ft_jinja_run *run, struct ft_jv self, const char *name,
                                  arguments_t *arguments) {
    struct ft_jv first = argument(arguments, 0, NULL);
    if (name[0] == 'i' && name[1] == 's') return ft_jv_bool(ft_jinja_all_of(self, name));
    if (strcmp(name, "strip") == 0) return ft_jinja_strip(self, first, FT_JINJA_BOTH);
    if (strcmp(name, "lstrip") == 0) return ft_jinja_strip(self, first, FT_JINJA_LEFT);
    if (strcmp(name, "rstrip") == 0) return ft_jinja_strip(self, first, FT_JINJA_RIGHT);
    if (strcmp(name, "split") == 0) return split(run, self, arguments);
    if (strcmp(name, "rsplit") == 0) return rsplit(run, self, arguments);
    if (strcmp(name, "splitlines") == 0) return splitlines(run, self, arguments);
    if (strcmp(name, "replace") == 0) return ft_jinja_replace(run, self, arguments);
    if (strcmp(name, "startswith") == 0) return ft_jv_bool(has_end(self, first, true));
    if (strcmp(name, "endswith") == 0) return ft_jv_bool(has_end(self, first, false));
    if (strcmp(name, "upper") == 0) return ft_jinja_change_case(run, self, FT_JINJA_UPPER);
    if (strcmp(name, "lower") == 0) return ft_jinja_change_case(run, self, FT_JINJA_LOWER);
    if (strcmp(name, "capitalize") == 0) return ft_jinja_change_case(run, self, FT_JINJA_CAPITALIZE);
    if (strcmp(name, "title") == 0) return ft_jinja_change_case(run, self, FT_JINJA_TITLE);
    if (strcmp(name, "count") == 0) return count_text(self, first);
    if (strcmp(name, "find") == 0) return find_position(run, self, first, false, false);
    if (strcmp(name, "rfind") == 0) return find_position(run, self, first, true, false);
    if (strcmp(name, "index") == 0) return find_position(run, self, first, false, true);
    if (strcmp(name, "removeprefix") == 0)
        return has_end(self, first, true) ? ft_jv_borrow(self.u.text + first.size, self.size - first.size)
                                          : self;
    if (strcmp(name, "removesuffix") == 0)
        return has_end(self, first, false) ? ft_jv_borrow(self.u.text, self.size - first.size) : self;
    if (strcmp(name, "join") == 0) {
        struct ft_jv items = ft_jv_items(run, first);
        return run->status ? ft_jv_nothing() : ft_jinja_join(run, items, self);
    }
    int64_t width = int_argument(arguments, 0, "width", 0) - (int64_t)ft_jv_characters(self); /* zfill */
    struct ft_buffer out = {.max = FT_JINJA_OUTPUT_MAX};
    bool sign = self.size && (*self.u.text == '-' || *self.u.text == '+');
    ft_jinja_put(run, &out, self.u.text, sign);
    for (; width > 0 && !run->status; width--) ft_jinja_put(run, &out, "0", 1);
    ft_jinja_put(run, &out, self.u.text + sign, self.size - sign);
    return ft_jv_take(run, &out);
}
