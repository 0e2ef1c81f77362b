/* SPDX-License-Identifier: MIT
 *
 * Values of the template interpreter as text: Python's str, repr and json.dumps.
 */
#include "jinja.h"

#include "unicode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH = 100 };

/* --- str and repr --------------------------------------------------------------------------------------- */

static void put_word(struct ft_jinja_run *run, struct ft_buffer *out, const char *text) {
    ft_jinja_put(run, out, text, strlen(text));
}

static void put_number(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v) {
    char text[FT_NUMBER_TEXT > 32 ? FT_NUMBER_TEXT : 32];
    if (v.type == FT_JV_INT) (void)snprintf(text, sizeof text, "%" PRId64, v.u.integer);
    else ft_format_double(text, v.u.number);
    put_word(run, out, text);
}

/* Python's repr of a string: single quotes unless that needs escapes and double ones do not. */
static void repr_string(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v) {
    bool single = memchr(v.u.text, '\'', v.size), twice = memchr(v.u.text, '"', v.size);
    char quote = single && !twice ? '"' : '\'', text[16];
    ft_jinja_put(run, out, &quote, 1);
    for (const char *p = v.u.text, *end = p + v.size, *at; p < end;) {
        at = p;
        uint32_t c = ft_utf8_next(&p);
        const char *simple = c == '\n' ? "\\n"
                           : c == '\r' ? "\\r"
                           : c == '\t' ? "\\t"
                           : c == '\\' ? "\\\\"
                                       : NULL;
        bool space = ft_is_space(c) && c != ' ';
        if (simple) put_word(run, out, simple);
        else if (c == (uint32_t)quote) {
            put_word(run, out, "\\");
            ft_jinja_put(run, out, &quote, 1);
        } else if (c < 0x20 || (c >= 0x7f && c < 0xa1) || c == 0xad || space ||
                   (c >= 0x200b && c <= 0x200f) || (c >= 0xe000 && c <= 0xf8ff)) {
            (void)snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
            put_word(run, out, text);
        } else {
            ft_jinja_put(run, out, at, (size_t)(p - at));
        }
    }
    ft_jinja_put(run, out, &quote, 1);
}

static void repr_items(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v) {
    const struct ft_jv_list *list = v.u.list;
    put_word(run, out, list->tuple ? "(" : "[");
    for (size_t i = 0; i < list->count && !run->status; i++) {
        if (i) put_word(run, out, ", ");
        ft_jv_repr(run, out, list->item[i]);
    }
    put_word(run, out, !list->tuple ? "]" : list->count == 1 ? ",)" : ")");
}

static void repr_dict(struct ft_jinja_run *run, struct ft_buffer *out, const struct ft_jv_dict *dict) {
    put_word(run, out, "{");
    for (size_t i = 0; i < dict->count && !run->status; i++) {
        if (i) put_word(run, out, ", ");
        ft_jv_repr(run, out, dict->entry[i].key);
        put_word(run, out, ": ");
        ft_jv_repr(run, out, dict->entry[i].value);
    }
    put_word(run, out, "}");
}

void ft_jv_repr(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v) {
    if (run->status) return;
    if (++run->depth > FT_JINJA_DEPTH_MAX) (void)ft_jinja_fail(run, "a value nests too deeply");
    switch (v.type) {
    case FT_JV_UNDEFINED: put_word(run, out, "Undefined"); break;
    case FT_JV_NONE: put_word(run, out, "None"); break;
    case FT_JV_BOOL: put_word(run, out, v.u.flag ? "True" : "False"); break;
    case FT_JV_INT:
    case FT_JV_FLOAT: put_number(run, out, v); break;
    case FT_JV_STRING: repr_string(run, out, v); break;
    case FT_JV_LIST: repr_items(run, out, v); break;
    case FT_JV_DICT:
        if (v.u.dict->kind) (void)ft_jinja_fail(run, "this object cannot be printed");
        else repr_dict(run, out, v.u.dict);
        break;
    case FT_JV_MACRO:
    case FT_JV_BUILTIN: (void)ft_jinja_fail(run, "a function cannot be printed"); break;
    }
    run->depth--;
}

void ft_jv_print(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v) {
    if (v.type == FT_JV_STRING) ft_jinja_put(run, out, v.u.text, v.size);
    else if (v.type != FT_JV_UNDEFINED) ft_jv_repr(run, out, v);
}

struct ft_jv ft_jv_string(struct ft_jinja_run *run, struct ft_jv v) {
    if (v.type == FT_JV_STRING) return v;
    struct ft_buffer text = {.max = FT_JINJA_OUTPUT_MAX};
    ft_jv_print(run, &text, v);
    return ft_jv_take(run, &text);
}

/* --- JSON ----------------------------------------------------------------------------------------------- */

static void json_break(struct ft_jinja_run *run, struct ft_buffer *out, unsigned indent, unsigned level) {
    if (!indent) return;
    put_word(run, out, "\n");
    for (unsigned i = 0; i < indent * level; i++) ft_jinja_put(run, out, " ", 1);
}

static int by_key(const void *a, const void *b) {
    const struct ft_jv x = ((const struct ft_jv_entry *)a)->key, y = ((const struct ft_jv_entry *)b)->key;
    int order = memcmp(x.u.text, y.u.text, x.size < y.size ? x.size : y.size);
    return order ? order : (x.size > y.size) - (x.size < y.size);
}

static void json_value(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v, unsigned indent,
                       bool sorted, unsigned level);

static void json_list(struct ft_jinja_run *run, struct ft_buffer *out, const struct ft_jv_list *list,
                      unsigned indent, bool sorted, unsigned level) {
    put_word(run, out, "[");
    for (size_t i = 0; i < list->count && !run->status; i++) {
        if (i) put_word(run, out, indent ? "," : ", ");
        json_break(run, out, indent, level + 1);
        json_value(run, out, list->item[i], indent, sorted, level + 1);
    }
    if (list->count) json_break(run, out, indent, level);
    put_word(run, out, "]");
}

static void json_dict(struct ft_jinja_run *run, struct ft_buffer *out, const struct ft_jv_dict *dict,
                      unsigned indent, bool sorted, unsigned level) {
    const struct ft_jv_entry *entry = dict->entry;
    for (size_t i = 0; i < dict->count; i++)
        if (entry[i].key.type != FT_JV_STRING) {
            (void)ft_jinja_fail(run, "tojson: a key that is no text");
            return;
        }
    if (sorted && dict->count) {
        struct ft_jv_entry *copy = ft_jinja_alloc(run, dict->count, sizeof *copy);
        if (!copy) return;
        memcpy(copy, entry, dict->count * sizeof *copy);
        qsort(copy, dict->count, sizeof *copy, by_key);
        entry = copy;
    }
    put_word(run, out, "{");
    for (size_t i = 0; i < dict->count && !run->status; i++) {
        if (i) put_word(run, out, indent ? "," : ", ");
        json_break(run, out, indent, level + 1);
        run->status = ft_json_quote(out, entry[i].key.u.text, entry[i].key.size, run->error);
        put_word(run, out, ": ");
        json_value(run, out, entry[i].value, indent, sorted, level + 1);
    }
    if (dict->count) json_break(run, out, indent, level);
    put_word(run, out, "}");
}

static void json_value(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v, unsigned indent,
                       bool sorted, unsigned level) {
    if (run->status) return;
    if (level > JSON_DEPTH) {
        (void)ft_jinja_fail(run, "tojson: a value nests too deeply");
        return;
    }
    switch (v.type) {
    case FT_JV_NONE: put_word(run, out, "null"); break;
    case FT_JV_BOOL: put_word(run, out, v.u.flag ? "true" : "false"); break;
    case FT_JV_INT:
    case FT_JV_FLOAT: put_number(run, out, v); break;
    case FT_JV_STRING: run->status = ft_json_quote(out, v.u.text, v.size, run->error); break;
    case FT_JV_LIST: json_list(run, out, v.u.list, indent, sorted, level); break;
    case FT_JV_DICT:
        if (!v.u.dict->kind) {
            json_dict(run, out, v.u.dict, indent, sorted, level);
            break;
        }
        (void)ft_jinja_fail(run, "tojson: this object cannot be written");
        break;
    default: (void)ft_jinja_fail(run, "tojson: %s cannot be written", ft_jv_type_name(v)); break;
    }
}

void ft_jv_json(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v, unsigned indent,
                bool sorted) {
    json_value(run, out, v, indent, sorted, 0);
}
