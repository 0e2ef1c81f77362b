/* SPDX-License-Identifier: MIT */
#include "ft/json.h"

#include "ft/commit.h"
#include "ft/utf8.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- building: a NULL node is one that could not be made ------------------------------------------------ */

enum ft_status ft_json_new(struct ft_json *json, enum ft_json_type type, struct ft_error *error) {
    *json = (struct ft_json){.name = "JSON"};
    json->root = type == FT_JSON_ARRAY ? cJSON_CreateArray() : cJSON_CreateObject();
    return json->root ? FT_OK : ft_fail(error, FT_NOMEM, "out of memory");
}

static struct cJSON *attach(struct ft_json *json, struct cJSON *parent, const char *key, struct cJSON *node) {
    bool good = parent && node;
    if (good && key) {
        if (ft_json_find(parent, key)) cJSON_DeleteItemFromObjectCaseSensitive(parent, key);
        good = cJSON_AddItemToObject(parent, key, node);
    } else if (good) {
        good = cJSON_AddItemToArray(parent, node);
    }
    if (good) return node;
    cJSON_Delete(node);
    json->failed = true;
    return NULL;
}

struct cJSON *ft_json_set_object(struct ft_json *json, struct cJSON *parent, const char *key) {
    return attach(json, parent, key, cJSON_CreateObject());
}

struct cJSON *ft_json_set_array(struct ft_json *json, struct cJSON *parent, const char *key) {
    return attach(json, parent, key, cJSON_CreateArray());
}

void ft_json_set_string(struct ft_json *json, struct cJSON *parent, const char *key, const char *value) {
    attach(json, parent, key, cJSON_CreateString(value));
}

/* As in parsed documents, a number's text is kept, and is what gets printed. */
static void set_number(struct ft_json *json, struct cJSON *parent, const char *key, double value,
                       const char *text) {
    struct cJSON *node = cJSON_CreateNumber(value);
    if (node && !(node->valuestring = strdup(text))) {
        cJSON_Delete(node);
        node = NULL;
    }
    attach(json, parent, key, node);
}

void ft_json_set_u64(struct ft_json *json, struct cJSON *parent, const char *key, uint64_t value) {
    char text[FT_NUMBER_TEXT];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    set_number(json, parent, key, (double)value, text);
}

void ft_json_set_i64(struct ft_json *json, struct cJSON *parent, const char *key, int64_t value) {
    char text[FT_NUMBER_TEXT];
    snprintf(text, sizeof text, "%lld", (long long)value);
    set_number(json, parent, key, (double)value, text);
}

void ft_json_set_double(struct ft_json *json, struct cJSON *parent, const char *key, double value) {
    char text[FT_NUMBER_TEXT];
    assert(isfinite(value));
    ft_format_double(text, value);
    set_number(json, parent, key, value, text);
}

void ft_json_set_float(struct ft_json *json, struct cJSON *parent, const char *key, float value) {
    char text[FT_NUMBER_TEXT];
    assert(isfinite(value));
    ft_format_float(text, value);
    set_number(json, parent, key, (double)value, text);
}

void ft_json_set_bool(struct ft_json *json, struct cJSON *parent, const char *key, bool value) {
    attach(json, parent, key, cJSON_CreateBool(value));
}

void ft_json_set_null(struct ft_json *json, struct cJSON *parent, const char *key) {
    attach(json, parent, key, cJSON_CreateNull());
}

void ft_json_set_copy(struct ft_json *json, struct cJSON *parent, const char *key, const struct cJSON *node) {
    struct cJSON *copy = cJSON_Duplicate(node, 1); /* valuestring, and with it a number's text, too */
    if (copy && copy->string) {
        cJSON_free(copy->string);
        copy->string = NULL;
    }
    attach(json, parent, key, copy);
}

/* --- printing ------------------------------------------------------------------------------------------- */

struct printer {
    unsigned style;
    struct ft_buffer *buffer;
    struct ft_error *error;
};

static enum ft_status print_node(const struct printer *p, const struct cJSON *node, unsigned depth);

static enum ft_status put(const struct printer *p, const char *text) {
    return ft_buffer_string(p->buffer, text, p->error);
}

static enum ft_status new_line(const struct printer *p, unsigned depth) {
    if (!(p->style & FT_JSON_PRETTY)) return FT_OK;
    enum ft_status status = put(p, "\n");
    for (unsigned i = 0; i < depth && !status; i++) status = put(p, "  ");
    return status;
}

static enum ft_status print_entry(const struct printer *p, const struct cJSON *entry, bool first,
                                  unsigned depth) {
    enum ft_status status = FT_OK;
    if (!first) status = put(p, p->style & FT_JSON_SPACED && !(p->style & FT_JSON_PRETTY) ? ", " : ",");
    if (!status) status = new_line(p, depth);
    if (!status && entry->string) {
        status = ft_json_quote(p->buffer, entry->string, strlen(entry->string), p->error);
        if (!status) status = put(p, p->style & (FT_JSON_SPACED | FT_JSON_PRETTY) ? ": " : ":");
    }
    return status ? status : print_node(p, entry, depth);
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(const struct cJSON *const *)a)->string, (*(const struct cJSON *const *)b)->string);
}

static enum ft_status print_sorted(const struct printer *p, const struct cJSON *object, unsigned depth) {
    size_t count = ft_json_count(object), i = 0;
    const struct cJSON **entry;
    enum ft_status status = ft_alloc(&entry, count, sizeof *entry, p->error);
    if (status) return status;
    for (const struct cJSON *e = object->child; e; e = e->next) entry[i++] = e;
    qsort(entry, count, sizeof *entry, by_key);
    for (i = 0; i < count && !status; i++) status = print_entry(p, entry[i], i == 0, depth);
    free(entry);
    return status;
}

static enum ft_status print_container(const struct printer *p, const struct cJSON *node, bool object,
                                      unsigned depth) {
    if (depth > FT_JSON_DEPTH)
        return ft_fail(p->error, FT_LIMIT, "JSON nested deeper than %u levels", FT_JSON_DEPTH);
    enum ft_status status = put(p, object ? "{" : "[");
    if (!status && object && p->style & FT_JSON_SORTED) status = print_sorted(p, node, depth);
    else
        for (const struct cJSON *e = node->child; e && !status; e = e->next)
            status = print_entry(p, e, e == node->child, depth);
    if (!status && node->child) status = new_line(p, depth - 1);
    return status ? status : put(p, object ? "}" : "]");
}

static enum ft_status print_node(const struct printer *p, const struct cJSON *node, unsigned depth) {
    switch (ft_json_type(node)) {
    case FT_JSON_NULL: return put(p, "null");
    case FT_JSON_BOOL: return put(p, (node->type & 0xff) == cJSON_True ? "true" : "false");
    case FT_JSON_NUMBER: return put(p, node->valuestring);
    case FT_JSON_STRING: return ft_json_quote(p->buffer, node->valuestring, strlen(node->valuestring),
                                              p->error);
    case FT_JSON_ARRAY: return print_container(p, node, false, depth + 1);
    case FT_JSON_OBJECT: return print_container(p, node, true, depth + 1);
    }
    return FT_OK;
}

enum ft_status ft_json_print(const struct ft_json *json, const struct cJSON *node, unsigned style,
                             struct ft_buffer *buffer, struct ft_error *error) {
    if (json->failed) return ft_fail(error, FT_NOMEM, "out of memory for JSON");
    struct printer p = {style, buffer, error};
    enum ft_status status = print_node(&p, node, 0);
    if (!status && style & FT_JSON_PRETTY) status = put(&p, "\n");
    return status;
}

enum ft_status ft_json_save(const struct ft_json *json, const char *path, unsigned style, unsigned flags,
                            struct ft_error *error) {
    struct ft_buffer text = {0};
    enum ft_status status = ft_json_print(json, json->root, style, &text, error);
    if (!status && !(style & FT_JSON_PRETTY)) status = ft_buffer_string(&text, "\n", error);
    if (!status) status = ft_write_file(path, text.data, text.size, flags, error);
    ft_buffer_release(&text);
    return status;
}

/* --- text ----------------------------------------------------------------------------------------------- */

/* The escape of a control character, quote or backslash; NULL: it needs none. */
static const char *escape_of(unsigned char c, char scratch[8]) {
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\b': return "\\b";
    case '\f': return "\\f";
    default: break;
    }
    if (c >= 0x20) return NULL;
    snprintf(scratch, 8, "\\u%04x", c);
    return scratch;
}

enum ft_status ft_json_quote(struct ft_buffer *buffer, const char *text, size_t size,
                             struct ft_error *error) {
    const unsigned char *p = (const unsigned char *)text;
    size_t plain = 0, i = 0; /* [plain, i) goes out as it is */
    enum ft_status status = ft_buffer_append(buffer, "\"", 1, error);
    while (i < size && !status) {
        char scratch[8];
        size_t length = ft_utf8_length(p + i, size - i);
        const char *instead = length ? escape_of(p[i], scratch) : "\xef\xbf\xbd";
        if (instead) {
            status = ft_buffer_append(buffer, text + plain, i - plain, error);
            if (!status) status = ft_buffer_string(buffer, instead, error);
            plain = i + (length ? length : 1);
        }
        i += length ? length : 1;
    }
    if (!status) status = ft_buffer_append(buffer, text + plain, size - plain, error);
    return status ? status : ft_buffer_append(buffer, "\"", 1, error);
}

/* Python's repr from digits "d[.]ddd" and a decimal exponent, both taken from a %e text, whatever its radix
 * character. */
static void layout(char out[FT_NUMBER_TEXT], const char *scientific) {
    char digits[20];
    size_t n = 0;
    const char *e = strchr(scientific, 'e');
    for (const char *c = scientific; c < e; c++)
        if (*c >= '0' && *c <= '9' && n < sizeof digits) digits[n++] = *c;
    while (n > 1 && digits[n - 1] == '0') n--;
    int exponent = atoi(e + 1);
    char *o = out;
    if (*scientific == '-') *o++ = '-';
    if (exponent < -4 || exponent >= 16) {
        *o++ = digits[0];
        if (n > 1) *o++ = '.';
        for (size_t i = 1; i < n; i++) *o++ = digits[i];
        sprintf(o, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) {
        *o++ = '0', *o++ = '.';
        for (int i = -1; i > exponent; i--) *o++ = '0';
        for (size_t i = 0; i < n; i++) *o++ = digits[i];
    } else {
        for (size_t i = 0; i < n || i <= (size_t)exponent + 1; i++) {
            if (i == (size_t)exponent + 1) *o++ = '.';
            *o++ = i < n ? digits[i] : '0';
        }
    }
    *o = '\0';
}

static bool format_special(char text[FT_NUMBER_TEXT], double value) {
    if (isfinite(value)) return false;
    strcpy(text, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    return true;
}

/* Adds one to the last digit of a %e text. At a power of two the gap to the number below is half that above, so the
 * shortest text that reads back can be the one above the nearest. */
static void next_above(char *scientific) {
    for (char *c = strchr(scientific, 'e') - 1; c >= scientific; c--) {
        if (*c < '0' || *c > '9') continue;
        *c = *c == '9' ? '0' : (char)(*c + 1);
        if (*c != '0') return;
    }
}

static bool reads_back(const char *text, double value, bool single) {
    return single ? (double)strtof(text, NULL) == value : strtod(text, NULL) == value;
}

static void format_shortest(char text[FT_NUMBER_TEXT], double value, bool single, int precision) {
    char scientific[40];
    for (;; precision++) {
        snprintf(scientific, sizeof scientific, "%.*e", precision, value);
        if (reads_back(scientific, value, single)) break;
        next_above(scientific);
        if (reads_back(scientific, value, single)) break;
    }
    layout(text, scientific);
}

/* 15 digits (6 of a binary32 number) hold every shorter normal number exactly. */
void ft_format_double(char text[FT_NUMBER_TEXT], double value) {
    if (!format_special(text, value)) format_shortest(text, value, false, fabs(value) < 0x1p-1000 ? 0 : 14);
}

void ft_format_float(char text[FT_NUMBER_TEXT], float value) {
    if (!format_special(text, (double)value))
        format_shortest(text, (double)value, true, fabsf(value) < 0x1p-120f ? 0 : 5);
}
