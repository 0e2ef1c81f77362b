/* SPDX-License-Identifier: MIT
 *
 * A number's node keeps its text in valuestring, which cJSON leaves unused for numbers and frees with the
 * node. */
#include "ft/json.h"

#include "ft/file.h"
#include "ft/options.h"
#include "json_scan.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum ft_json_type ft_json_type(const struct cJSON *node) {
    switch (node->type & 0xff) {
    case cJSON_True:
    case cJSON_False: return FT_JSON_BOOL;
    case cJSON_Number: return FT_JSON_NUMBER;
    case cJSON_String: return FT_JSON_STRING;
    case cJSON_Array: return FT_JSON_ARRAY;
    case cJSON_Object: return FT_JSON_OBJECT;
    default: return FT_JSON_NULL;
    }
}

const char *ft_json_type_name(enum ft_json_type type) {
    static const char *const name[] = {"null", "true or false", "a number", "a string", "an array", "an object"};
    return name[type];
}

const struct cJSON *ft_json_first(const struct cJSON *node) {
    enum ft_json_type type = ft_json_type(node);
    return type == FT_JSON_ARRAY || type == FT_JSON_OBJECT ? node->child : NULL;
}

const struct cJSON *ft_json_next(const struct cJSON *node) { return node->next; }

const char *ft_json_key(const struct cJSON *node) { return node->string; }

size_t ft_json_count(const struct cJSON *node) {
    size_t count = 0;
    for (const struct cJSON *entry = ft_json_first(node); entry; entry = entry->next) count++;
    return count;
}

const struct cJSON *ft_json_find(const struct cJSON *object, const char *key) {
    if (ft_json_type(object) != FT_JSON_OBJECT) return NULL;
    for (const struct cJSON *entry = object->child; entry; entry = entry->next)
        if (strcmp(entry->string, key) == 0) return entry;
    return NULL;
}

/* --- errors: where a node stands is searched for only when somebody must be told ------------------------ */

struct path {
    char text[256];
    size_t size;
};

static void path_cut(struct path *path, size_t size) { path->text[path->size = size] = '\0'; }

static void path_push(struct path *path, const struct cJSON *entry, size_t index) {
    size_t room = sizeof path->text - path->size;
    char *end = path->text + path->size;
    int length = entry->string ? snprintf(end, room, "%s%s", path->size ? "." : "", entry->string)
                               : snprintf(end, room, "[%zu]", index);
    path->size += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room - 1;
}

static bool path_find(struct path *path, const struct cJSON *from, const struct cJSON *node) {
    if (from == node) return true;
    size_t size = path->size, index = 0;
    for (const struct cJSON *entry = ft_json_first(from); entry; entry = entry->next) {
        path_push(path, entry, index++);
        if (path_find(path, entry, node)) return true;
        path_cut(path, size);
    }
    return false;
}

enum ft_status ft_json_fail(const struct ft_json *json, const struct cJSON *node, struct ft_error *error,
                            const char *format, ...) {
    if (!error) return FT_FORMAT;
    char what[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    struct path path = {.size = 0};
    if (node && json->root) path_find(&path, json->root, node);
    char line[24] = "";
    if (json->line) snprintf(line, sizeof line, ":%llu", (unsigned long long)json->line);
    return ft_fail(error, FT_FORMAT, "%s%s: %s%s%s", json->name, line, path.text, path.size ? ": " : "",
                   what);
}

/* --- reading -------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
    return strcmp((*(const struct cJSON *const *)a)->string, (*(const struct cJSON *const *)b)->string);
}

static enum ft_status refuse_duplicates(const struct ft_json *json, const struct cJSON *object,
                                        struct ft_error *error) {
    size_t count = ft_json_count(object), i = 0;
    const struct cJSON **sorted, *twice = NULL;
    enum ft_status status = ft_alloc(&sorted, count, sizeof *sorted, error);
    if (status) return status;
    for (const struct cJSON *entry = object->child; entry; entry = entry->next) sorted[i++] = entry;
    qsort(sorted, count, sizeof *sorted, by_key);
    for (i = 1; i < count && !twice; i++)
        if (strcmp(sorted[i - 1]->string, sorted[i]->string) == 0) twice = sorted[i];
    free(sorted);
    return twice ? ft_json_fail(json, object, error, "the key \"%.100s\" is there twice",
                                twice->string) : FT_OK;
}

/* Goes over the tree in document order, giving each number its text and checking what only the tree shows. */
static enum ft_status complete(struct ft_json *json, struct cJSON *node, const char *text,
                               const struct ft_json_span **span, struct ft_error *error) {
    enum ft_status status = FT_OK;
    if (ft_json_type(node) == FT_JSON_NUMBER) {
        const struct ft_json_span *here = (*span)++;
        node->valuestring = strndup(text + here->at, here->size);
        if (!node->valuestring) return ft_fail(error, FT_NOMEM, "out of memory");
        if (!isfinite(node->valuedouble))
            return ft_json_fail(json, node, error, "the number %s is too large", node->valuestring);
    }
    for (struct cJSON *entry = node->child; entry && !status; entry = entry->next)
        status = complete(json, entry, text, span, error);
    if (!status && ft_json_type(node) == FT_JSON_OBJECT && node->child && node->child->next)
        status = refuse_duplicates(json, node, error);
    return status;
}

enum ft_status ft_json_parse(struct ft_json *json, const char *text, size_t size, const char *name,
                             uint64_t line, struct ft_error *error) {
    *json = (struct ft_json){.name = name, .line = line};
    struct ft_json_spans spans = {0};
    enum ft_status status = ft_json_scan(json, text, size, &spans, error);
    if (!status) {
        json->root = cJSON_ParseWithLengthOpts(text, size, NULL, 0);
        const struct ft_json_span *span = spans.span;
        if (!json->root) status = ft_fail(error, FT_NOMEM, "%s: out of memory", name);
        else status = complete(json, json->root, text, &span, error);
    }
    free(spans.span);
    if (status) ft_json_release(json);
    return status;
}

enum ft_status ft_json_read(struct ft_json *json, const char *path, size_t max, struct ft_error *error) {
    struct ft_buffer text = {.max = max ? max : FT_JSON_MAX};
    *json = (struct ft_json){0};
    enum ft_status status = ft_read_all(&text, path, text.max, error);
    if (!status) status = ft_json_parse(json, text.size ? text.data : "", text.size, ft_path_shown(path), 0,
                                        error);
    ft_buffer_release(&text);
    return status;
}

void ft_json_release(struct ft_json *json) {
    cJSON_Delete(json->root);
    json->root = NULL;
}

/* --- typed access --------------------------------------------------------------------------------------- */

enum ft_status ft_json_expect(const struct ft_json *json, const struct cJSON *node, enum ft_json_type type,
                              struct ft_error *error) {
    enum ft_json_type found = ft_json_type(node);
    if (found == type) return FT_OK;
    return ft_json_fail(json, node, error, "expected %s, found %s", ft_json_type_name(type),
                        ft_json_type_name(found));
}

enum ft_status ft_json_string(const struct ft_json *json, const struct cJSON *node, const char **out,
                              struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, node, FT_JSON_STRING, error);
    if (!status) *out = node->valuestring;
    return status;
}

enum ft_status ft_json_bool(const struct ft_json *json, const struct cJSON *node, bool *out,
                            struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, node, FT_JSON_BOOL, error);
    if (!status) *out = (node->type & 0xff) == cJSON_True;
    return status;
}

enum ft_status ft_json_double(const struct ft_json *json, const struct cJSON *node, double *out,
                              struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, node, FT_JSON_NUMBER, error);
    if (!status) *out = node->valuedouble;
    return status;
}

/* All decimal digits, without overflow. */
static bool parse_digits(const char *text, uint64_t *out) {
    uint64_t value = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) return false;
    }
    *out = value;
    return true;
}

enum ft_status ft_json_u64(const struct ft_json *json, const struct cJSON *node, uint64_t min, uint64_t max,
                           uint64_t *out, struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, node, FT_JSON_NUMBER, error);
    if (status) return status;
    uint64_t value;
    if (!parse_digits(node->valuestring, &value) || value < min || value > max)
        return ft_json_fail(json, node, error, "expected an integer from %llu to %llu, found %s",
                            (unsigned long long)min, (unsigned long long)max, node->valuestring);
    *out = value;
    return FT_OK;
}

enum ft_status ft_json_i64(const struct ft_json *json, const struct cJSON *node, int64_t min, int64_t max,
                           int64_t *out, struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, node, FT_JSON_NUMBER, error);
    if (status) return status;
    bool negative = node->valuestring[0] == '-';
    uint64_t size;
    if (parse_digits(node->valuestring + negative, &size) && size <= (uint64_t)INT64_MAX + negative) {
        int64_t value = negative ? (int64_t)(0 - size) : (int64_t)size;
        if (value >= min && value <= max) {
            *out = value;
            return FT_OK;
        }
    }
    return ft_json_fail(json, node, error, "expected an integer from %lld to %lld, found %s", (long long)min,
                        (long long)max, node->valuestring);
}

/* *node is NULL when an optional key is absent or null. */
static enum ft_status get(const struct ft_json *json, const struct cJSON *object, const char *key,
                          enum ft_json_need need, const struct cJSON **node, struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, object, FT_JSON_OBJECT, error);
    if (status) return status;
    *node = ft_json_find(object, key);
    if (!*node && need == FT_JSON_REQUIRED)
        return ft_json_fail(json, object, error, "the key \"%s\" is missing", key);
    if (*node && need == FT_JSON_OPTIONAL && ft_json_type(*node) == FT_JSON_NULL) *node = NULL;
    return FT_OK;
}

enum ft_status ft_json_get_string(const struct ft_json *json, const struct cJSON *object, const char *key,
                                  enum ft_json_need need, const char **out, struct ft_error *error) {
    const struct cJSON *node;
    enum ft_status status = get(json, object, key, need, &node, error);
    return status || !node ? status : ft_json_string(json, node, out, error);
}

enum ft_status ft_json_get_bool(const struct ft_json *json, const struct cJSON *object, const char *key,
                                enum ft_json_need need, bool *out, struct ft_error *error) {
    const struct cJSON *node;
    enum ft_status status = get(json, object, key, need, &node, error);
    return status || !node ? status : ft_json_bool(json, node, out, error);
}

enum ft_status ft_json_get_double(const struct ft_json *json, const struct cJSON *object, const char *key,
                                  enum ft_json_need need, double *out, struct ft_error *error) {
    const struct cJSON *node;
    enum ft_status status = get(json, object, key, need, &node, error);
    return status || !node ? status : ft_json_double(json, node, out, error);
}

enum ft_status ft_json_get_u64(const struct ft_json *json, const struct cJSON *object, const char *key,
                               enum ft_json_need need, uint64_t min, uint64_t max, uint64_t *out,
                               struct ft_error *error) {
    const struct cJSON *node;
    enum ft_status status = get(json, object, key, need, &node, error);
    return status || !node ? status : ft_json_u64(json, node, min, max, out, error);
}

enum ft_status ft_json_get_node(const struct ft_json *json, const struct cJSON *object, const char *key,
                                enum ft_json_need need, enum ft_json_type type, const struct cJSON **out,
                                struct ft_error *error) {
    const struct cJSON *node;
    enum ft_status status = get(json, object, key, need, &node, error);
    if (!status && node) status = ft_json_expect(json, node, type, error);
    if (!status && node) *out = node;
    return status;
}

enum ft_status ft_json_only(const struct ft_json *json, const struct cJSON *object, const char *const *keys,
                            struct ft_error *error) {
    for (const struct cJSON *entry = ft_json_first(object); entry; entry = entry->next) {
        const char *const *known = keys;
        while (*known && strcmp(*known, entry->string) != 0) known++;
        if (*known) continue;
        const char *near = ft_nearest(entry->string, keys);
        return ft_json_fail(json, object, error, "unknown key \"%.100s\"%s%s%s", entry->string,
                            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    return FT_OK;
}
