/* SPDX-License-Identifier: MIT
 *
 * Values of the template interpreter: made, asked and compared as Python does.
 */
#include "jinja.h"

#include "unicode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 << 10 };

struct ft_jinja_chunk {
    struct ft_jinja_chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char byte[];
};

/* --- the run -------------------------------------------------------------------------------------------- */

void ft_jinja_run_init(struct ft_jinja_run *run, struct ft_error *error) {
    *run = (struct ft_jinja_run){.error = error, .out.max = FT_JINJA_OUTPUT_MAX};
    run->globals = ft_jinja_alloc(run, 1, sizeof *run->globals);
}

void ft_jinja_run_release(struct ft_jinja_run *run) {
    for (struct ft_jinja_chunk *chunk = run->chunk, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(run->span);
    ft_buffer_release(&run->out);
    *run = (struct ft_jinja_run){0};
}

void *ft_jinja_alloc(struct ft_jinja_run *run, size_t count, size_t size) {
    size_t bytes;
    if (!ft_size_mul(count, size, &bytes) || bytes > FT_JINJA_MEMORY_MAX - run->memory) {
        if (!run->status)
            run->status = ft_fail(run->error, FT_LIMIT, "the chat template needs more than %zu MiB",
                                  FT_JINJA_MEMORY_MAX >> 20);
        return NULL;
    }
    bytes = (bytes + 15) / 16 * 16;
    struct ft_jinja_chunk *chunk = run->chunk;
    if (!chunk || bytes > chunk->size - chunk->used) {
        size_t room = bytes > CHUNK ? bytes : CHUNK;
        chunk = calloc(1, sizeof *chunk + room);
        if (!chunk) {
            if (!run->status) run->status = ft_fail(run->error, FT_NOMEM, "out of memory in a chat template");
            return NULL;
        }
        chunk->size = room;
        chunk->next = run->chunk;
        run->chunk = chunk;
    }
    void *memory = chunk->byte + chunk->used;
    chunk->used += bytes;
    run->memory += bytes;
    return memory;
}

struct ft_jv ft_jinja_fail(struct ft_jinja_run *run, const char *format, ...) {
    if (!run->status) {
        char message[800];
        va_list args;
        va_start(args, format);
        (void)vsnprintf(message, sizeof message, format, args);
        va_end(args);
        run->status = ft_fail(run->error, FT_FORMAT, "chat template, line %u: %s", run->line, message);
    }
    return ft_jv_nothing();
}

void ft_jinja_put(struct ft_jinja_run *run, struct ft_buffer *out, const char *text, size_t size) {
    if (!run->status) run->status = ft_buffer_append(out, text, size, run->error);
}

/* --- making --------------------------------------------------------------------------------------------- */

struct ft_jv ft_jv_undefined(const char *name, size_t size) {
    return (struct ft_jv){.type = FT_JV_UNDEFINED, .size = (uint32_t)size, .u.text = name};
}

struct ft_jv ft_jv_word(const char *text) { return ft_jv_borrow(text, strlen(text)); }

struct ft_jv ft_jv_copy(struct ft_jinja_run *run, const char *text, size_t size) {
    char *copy = ft_jinja_alloc(run, size + 1, 1);
    if (!copy) return ft_jv_nothing();
    if (size) memcpy(copy, text, size);
    return ft_jv_borrow(copy, size);
}

struct ft_jv ft_jv_take(struct ft_jinja_run *run, struct ft_buffer *text) {
    struct ft_jv string = ft_jv_copy(run, text->data, text->size);
    ft_buffer_release(text);
    return string;
}

struct ft_jv ft_jv_list(struct ft_jinja_run *run, size_t room) {
    struct ft_jv_list *list = ft_jinja_alloc(run, 1, sizeof *list);
    if (!list) return ft_jv_nothing();
    list->item = room ? ft_jinja_alloc(run, room, sizeof *list->item) : NULL;
    list->capacity = list->item ? room : 0;
    return (struct ft_jv){.type = FT_JV_LIST, .u.list = list};
}

void ft_jv_push(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv item) {
    if (run->status || value.type != FT_JV_LIST) return;
    struct ft_jv_list *list = value.u.list;
    if (list->count == list->capacity) {
        size_t room = list->capacity ? 2 * list->capacity : 8;
        struct ft_jv *grown = ft_jinja_alloc(run, room, sizeof *grown);
        if (!grown) return;
        if (list->count) memcpy(grown, list->item, list->count * sizeof *grown);
        list->item = grown;
        list->capacity = room;
    }
    list->item[list->count++] = item;
}

struct ft_jv ft_jv_dict(struct ft_jinja_run *run) {
    struct ft_jv_dict *dict = ft_jinja_alloc(run, 1, sizeof *dict);
    if (!dict) return ft_jv_nothing();
    return (struct ft_jv){.type = FT_JV_DICT, .u.dict = dict};
}

struct ft_jv *ft_jv_get(const struct ft_jv_dict *dict, struct ft_jv key) {
    for (size_t i = 0; i < dict->count; i++)
        if (ft_jv_equal(dict->entry[i].key, key)) return &dict->entry[i].value;
    return NULL;
}

struct ft_jv *ft_jv_get_word(const struct ft_jv_dict *dict, const char *key) {
    return ft_jv_get(dict, ft_jv_word(key));
}

void ft_jv_set(struct ft_jinja_run *run, struct ft_jv_dict *dict, struct ft_jv key, struct ft_jv value) {
    struct ft_jv *there = run->status ? NULL : ft_jv_get(dict, key);
    if (run->status) return;
    if (there) {
        *there = value;
        return;
    }
    if (dict->count == dict->capacity) {
        size_t room = dict->capacity ? 2 * dict->capacity : 8;
        struct ft_jv_entry *grown = ft_jinja_alloc(run, room, sizeof *grown);
        if (!grown) return;
        if (dict->count) memcpy(grown, dict->entry, dict->count * sizeof *grown);
        dict->entry = grown;
        dict->capacity = room;
    }
    dict->entry[dict->count++] = (struct ft_jv_entry){key, value};
}

static struct ft_jv number_from_json(struct ft_jinja_run *run, const struct ft_json *json,
                                     const struct cJSON *node) {
    int64_t integer;
    double number = 0;
    if (!ft_json_i64(json, node, INT64_MIN, INT64_MAX, &integer, NULL)) return ft_jv_int(integer);
    if (ft_json_double(json, node, &number, run->error)) run->status = FT_FORMAT;
    return ft_jv_float(number);
}

/* The document's depth is capped by ft/json.h. Its strings are borrowed. */
struct ft_jv ft_jv_from_json(struct ft_jinja_run *run, const struct ft_json *json, const struct cJSON *node) {
    const char *text = "";
    bool flag = false;
    struct ft_jv v;
    switch (ft_json_type(node)) {
    case FT_JSON_NULL: return ft_jv_none();
    case FT_JSON_BOOL: (void)ft_json_bool(json, node, &flag, NULL); return ft_jv_bool(flag);
    case FT_JSON_NUMBER: return number_from_json(run, json, node);
    case FT_JSON_STRING: (void)ft_json_string(json, node, &text, NULL); return ft_jv_word(text);
    case FT_JSON_ARRAY:
        v = ft_jv_list(run, 0);
        for (node = ft_json_first(node); node && !run->status; node = ft_json_next(node))
            ft_jv_push(run, v, ft_jv_from_json(run, json, node));
        return v;
    case FT_JSON_OBJECT:
        v = ft_jv_dict(run);
        for (node = ft_json_first(node); node && !run->status; node = ft_json_next(node))
            ft_jv_set(run, v.u.dict, ft_jv_word(ft_json_key(node)), ft_jv_from_json(run, json, node));
        return v;
    }
    return ft_jv_none();
}

/* --- asking --------------------------------------------------------------------------------------------- */

bool ft_jv_is_number(struct ft_jv v) {
    return v.type == FT_JV_BOOL || v.type == FT_JV_INT || v.type == FT_JV_FLOAT;
}

double ft_jv_number(struct ft_jv v) {
    return v.type == FT_JV_FLOAT ? v.u.number : (double)ft_jv_integer(v);
}

int64_t ft_jv_integer(struct ft_jv v) { return v.type == FT_JV_BOOL ? v.u.flag : v.u.integer; }

const char *ft_jv_type_name(struct ft_jv v) {
    static const char *const name[] = {"undefined", "NoneType", "bool", "int",   "float",
                                       "str",       "list",     "dict", "macro", "function"};
    return name[v.type];
}

bool ft_jv_is(struct ft_jv string, const char *word) {
    return string.type == FT_JV_STRING && string.size == strlen(word) &&
           memcmp(string.u.text, word, string.size) == 0;
}

bool ft_jv_truth(struct ft_jv v) {
    switch (v.type) {
    case FT_JV_UNDEFINED:
    case FT_JV_NONE: return false;
    case FT_JV_BOOL: return v.u.flag;
    case FT_JV_INT: return v.u.integer != 0;
    case FT_JV_FLOAT: return v.u.number != 0;
    case FT_JV_STRING: return v.size > 0;
    case FT_JV_LIST: return v.u.list->count > 0;
    case FT_JV_DICT: return v.u.dict->kind != FT_JV_PLAIN || v.u.dict->count > 0;
    case FT_JV_MACRO:
    case FT_JV_BUILTIN: break;
    }
    return true;
}

static bool equal_lists(const struct ft_jv_list *a, const struct ft_jv_list *b) {
    if (a->count != b->count || a->tuple != b->tuple) return false;
    for (size_t i = 0; i < a->count; i++)
        if (!ft_jv_equal(a->item[i], b->item[i])) return false;
    return true;
}

static bool equal_dicts(const struct ft_jv_dict *a, const struct ft_jv_dict *b) {
    if (a == b) return true;
    if (a->count != b->count || a->kind || b->kind) return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct ft_jv *other = ft_jv_get(b, a->entry[i].key);
        if (!other || !ft_jv_equal(a->entry[i].value, *other)) return false;
    }
    return true;
}

bool ft_jv_equal(struct ft_jv a, struct ft_jv b) {
    if (ft_jv_is_number(a) && ft_jv_is_number(b)) {
        if (a.type != FT_JV_FLOAT && b.type != FT_JV_FLOAT) return ft_jv_integer(a) == ft_jv_integer(b);
        return ft_jv_number(a) == ft_jv_number(b);
    }
    if (a.type != b.type) return false;
    switch (a.type) {
    case FT_JV_UNDEFINED:
    case FT_JV_NONE: return true;
    case FT_JV_STRING: return a.size == b.size && memcmp(a.u.text, b.u.text, a.size) == 0;
    case FT_JV_LIST: return equal_lists(a.u.list, b.u.list);
    case FT_JV_DICT: return equal_dicts(a.u.dict, b.u.dict);
    default: return a.u.macro == b.u.macro;
    }
}

int ft_jv_compare(struct ft_jinja_run *run, struct ft_jv a, struct ft_jv b) {
    if (ft_jv_is_number(a) && ft_jv_is_number(b)) {
        if (a.type != FT_JV_FLOAT && b.type != FT_JV_FLOAT)
            return (ft_jv_integer(a) > ft_jv_integer(b)) - (ft_jv_integer(a) < ft_jv_integer(b));
        return (ft_jv_number(a) > ft_jv_number(b)) - (ft_jv_number(a) < ft_jv_number(b));
    }
    if (a.type == FT_JV_STRING && b.type == FT_JV_STRING) { /* UTF-8 sorts as its characters do */
        int order = memcmp(a.u.text, b.u.text, a.size < b.size ? a.size : b.size);
        return order ? (order > 0) - (order < 0) : (a.size > b.size) - (a.size < b.size);
    }
    if (a.type == FT_JV_LIST && b.type == FT_JV_LIST) {
        size_t n = a.u.list->count < b.u.list->count ? a.u.list->count : b.u.list->count;
        for (size_t i = 0; i < n; i++)
            if (!ft_jv_equal(a.u.list->item[i], b.u.list->item[i]))
                return ft_jv_compare(run, a.u.list->item[i], b.u.list->item[i]);
        return (a.u.list->count > b.u.list->count) - (a.u.list->count < b.u.list->count);
    }
    (void)ft_jinja_fail(run, "%s and %s have no order", ft_jv_type_name(a), ft_jv_type_name(b));
    return 0;
}

size_t ft_jv_characters(struct ft_jv string) {
    size_t n = 0;
    for (uint32_t i = 0; i < string.size; i++) n += (string.u.text[i] & 0xc0) != 0x80;
    return n;
}

struct ft_jv ft_jv_items(struct ft_jinja_run *run, struct ft_jv v) {
    if (v.type == FT_JV_LIST) return v;
    if (v.type == FT_JV_UNDEFINED) return ft_jv_list(run, 0);
    if (v.type != FT_JV_STRING && (v.type != FT_JV_DICT || v.u.dict->kind != FT_JV_PLAIN))
        return ft_jinja_fail(run, "%s cannot be iterated over", ft_jv_type_name(v));
    struct ft_jv list = ft_jv_list(run, v.type == FT_JV_DICT ? v.u.dict->count : 0);
    if (v.type == FT_JV_DICT)
        for (size_t i = 0; i < v.u.dict->count; i++) ft_jv_push(run, list, v.u.dict->entry[i].key);
    else
        for (uint32_t i = 0, n; i < v.size && !run->status; i += n) {
            n = (uint32_t)ft_utf8_size(v.u.text[i]);
            ft_jv_push(run, list, ft_jv_borrow(v.u.text + i, n));
        }
    return list;
}

static struct ft_jv new_pair(struct ft_jinja_run *run, const struct ft_jv_entry *entry) {
    struct ft_jv pair = ft_jv_list(run, 2);
    ft_jv_push(run, pair, entry->key);
    ft_jv_push(run, pair, entry->value);
    if (!run->status) pair.u.list->tuple = true;
    return pair;
}

struct ft_jv ft_jv_pairs(struct ft_jinja_run *run, const struct ft_jv_dict *dict) {
    struct ft_jv list = ft_jv_list(run, dict->count);
    for (size_t i = 0; i < dict->count && !run->status; i++)
        ft_jv_push(run, list, new_pair(run, &dict->entry[i]));
    return list;
}
