/* SPDX-License-Identifier: MIT
 *
 * Reading. A cursor walks the mapped file once; every count is bounded by the bytes left before anything is
 * allocated for it. Names are copied, to end with a NUL; values stay where they lie. */
#include "ft/gguf.h"

#include "ft/file.h"
#include "ft/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT_MAX ((uint64_t)1 << 16)
#define VALUES_MAX ((size_t)1 << 16)
#define TENSORS_MAX ((size_t)1 << 20)
#define KEY_MAX ((uint64_t)65535) /* the format's own */
#define NAME_MAX_BYTES ((uint64_t)63)

struct ft_gguf {
    char *path;
    struct ft_map map;
    char *names; /* keys and tensor names, each with its NUL */
    struct ft_gguf_value *values;
    struct ft_gguf_tensor *tensors;
    size_t n_values, n_tensors;
};

/* Where reading has come to. `name` is room in gguf->names. */
struct cursor {
    const char *path;
    const unsigned char *start, *p, *end;
    char *name;
};

static size_t left(const struct cursor *c) { return (size_t)(c->end - c->p); }

static enum ft_status cut(const struct cursor *c, const char *what, struct ft_error *error) {
    return ft_fail(error, FT_FORMAT, "%s: cut off within %.200s, at byte %zu; get a whole copy", c->path, what,
                   (size_t)(c->p - c->start));
}

static enum ft_status take_u32(struct cursor *c, const char *what, uint32_t *out, struct ft_error *error) {
    if (left(c) < 4) return cut(c, what, error);
    *out = ft_load32(c->p);
    c->p += 4;
    return FT_OK;
}

static enum ft_status take_u64(struct cursor *c, const char *what, uint64_t *out, struct ft_error *error) {
    if (left(c) < 8) return cut(c, what, error);
    *out = ft_load64(c->p);
    c->p += 8;
    return FT_OK;
}

/* A string's bytes where they lie, UTF-8. */
static enum ft_status take_text(struct cursor *c, const char *what, uint64_t max, struct ft_gguf_text *out,
                                struct ft_error *error) {
    uint64_t length;
    enum ft_status status = take_u64(c, what, &length, error);
    if (status) return status;
    if (length > left(c))
        return ft_fail(error, FT_FORMAT, "%s: %.200s at byte %zu would have %" PRIu64 " bytes, but %zu are left", c->path,
                       what, (size_t)(c->p - c->start), length, left(c));
    if (length > max)
        return ft_fail(error, FT_FORMAT, "%s: %.200s at byte %zu has %" PRIu64 " bytes; at most %" PRIu64 " are allowed",
                       c->path, what, (size_t)(c->p - c->start), length, max);
    *out = (struct ft_gguf_text){(const char *)c->p, (size_t)length};
    if (!ft_utf8_valid(out->text, out->length))
        return ft_fail(error, FT_FORMAT, "%s: %.200s at byte %zu is not UTF-8", c->path, what,
                       (size_t)(c->p - c->start));
    c->p += length;
    return FT_OK;
}

/* A key or a tensor's name, copied: not empty, nothing unprintable. */
static enum ft_status take_name(struct cursor *c, const char *what, uint64_t max, const char **out,
                                struct ft_error *error) {
    struct ft_gguf_text text;
    enum ft_status status = take_text(c, what, max, &text, error);
    if (status) return status;
    bool good = text.length > 0;
    for (size_t i = 0; i < text.length; i++) good = good && (unsigned char)text.text[i] > 32 && text.text[i] != 127;
    if (!good)
        return ft_fail(error, FT_FORMAT, "%s: %s before byte %zu is empty or has control characters or spaces",
                       c->path, what, (size_t)(c->p - c->start));
    memcpy(c->name, text.text, text.length); /* names were sized by the file's: it holds more bytes than they */
    c->name[text.length] = 0;
    *out = c->name;
    c->name += text.length + 1;
    return FT_OK;
}

/* --- values ----------------------------------------------------------------------------------------------- */

static const struct value_type {
    const char *name;
    size_t bytes; /* 0: not of one size */
} value_types[FT_GGUF_TYPES] = {
    {"u8", 1}, {"i8", 1}, {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0},
    {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

static enum ft_status bad_type(const struct cursor *c, const char *key, uint32_t type, struct ft_error *error) {
    return ft_fail(error, FT_FORMAT, "%s: %.200s: %" PRIu32 " is no type of a value", c->path, key, type);
}

/* Booleans are one byte, 0 or 1: anything else would be two different values to two readers. */
static enum ft_status check_bools(const struct cursor *c, const struct ft_gguf_value *value, struct ft_error *error) {
    for (size_t i = 0; i < value->bytes; i++)
        if (value->data[i] > 1)
            return ft_fail(error, FT_FORMAT, "%s: %.200s: a boolean is %d", c->path, value->key, value->data[i]);
    return FT_OK;
}

static enum ft_status take_elements(struct cursor *c, struct ft_gguf_value *value, struct ft_error *error) {
    size_t size = value_types[value->type].bytes, least = size ? size : 8; /* a string has its length at least */
    value->data = c->p;
    if (value->count > left(c) / least)
        return ft_fail(error, FT_FORMAT, "%s: %.200s: %" PRIu64 " elements of type %s cannot be in the %zu bytes left",
                       c->path, value->key, value->count, value_types[value->type].name, left(c));
    if (size) {
        c->p += (size_t)value->count * size;
    } else {
        for (uint64_t i = 0; i < value->count; i++) {
            struct ft_gguf_text text;
            enum ft_status status = take_text(c, value->key, UINT64_MAX, &text, error);
            if (status) return status;
        }
    }
    value->bytes = (size_t)(c->p - value->data);
    return value->type == FT_GGUF_BOOL ? check_bools(c, value, error) : FT_OK;
}

static enum ft_status take_value(struct cursor *c, struct ft_gguf_value *value, struct ft_error *error) {
    uint32_t type = 0;
    *value = (struct ft_gguf_value){.count = 1};
    enum ft_status status = take_name(c, "a key", KEY_MAX, &value->key, error);
    if (!status) status = take_u32(c, value->key, &type, error);
    if (!status && type == FT_GGUF_ARRAY) {
        value->array = true;
        status = take_u32(c, value->key, &type, error);
        if (!status) status = take_u64(c, value->key, &value->count, error);
        if (!status && type == FT_GGUF_ARRAY)
            status = ft_fail(error, FT_UNSUPPORTED, "%s: %.200s: arrays of arrays are not supported", c->path,
                             value->key);
    }
    if (status) return status;
    if (type >= FT_GGUF_TYPES) return bad_type(c, value->key, type, error);
    value->type = (enum ft_gguf_type)type;
    return take_elements(c, value, error);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct ft_gguf_value *)a)->key, ((const struct ft_gguf_value *)b)->key);
}

static enum ft_status take_values(struct ft_gguf *gguf, struct cursor *c, uint64_t count, struct ft_error *error) {
    enum ft_status status = ft_alloc(&gguf->values, (size_t)count, sizeof *gguf->values, error);
    for (; gguf->n_values < count && !status; gguf->n_values++)
        status = take_value(c, &gguf->values[gguf->n_values], error);
    if (status) return status;
    qsort(gguf->values, gguf->n_values, sizeof *gguf->values, by_key);
    for (size_t i = 1; i < gguf->n_values; i++)
        if (by_key(&gguf->values[i - 1], &gguf->values[i]) == 0)
            return ft_fail(error, FT_FORMAT, "%s: the key %.200s is given twice", c->path, gguf->values[i].key);
    return FT_OK;
}

/* --- tensors ---------------------------------------------------------------------------------------------- */

static const char *foreign_type(uint32_t type) {
    static const char *const names[] = {
        [9] = "Q8_1",     [10] = "Q2_K",   [11] = "Q3_K",    [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS",
        [18] = "IQ3_XXS", [19] = "IQ1_S",  [20] = "IQ4_NL",  [21] = "IQ3_S", [22] = "IQ2_S",   [23] = "IQ4_XS",
        [24] = "I8",      [25] = "I16",    [26] = "I32",     [27] = "I64",   [28] = "F64",     [29] = "IQ1_M",
        [34] = "TQ1_0",   [35] = "TQ2_0",  [39] = "MXFP4",
    };
    return type < sizeof names / sizeof *names ? names[type] : NULL;
}

static enum ft_status refuse_type(const struct cursor *c, const char *name, uint32_t type, struct ft_error *error) {
    const char *known = foreign_type(type);
    if (!known) return ft_fail(error, FT_FORMAT, "%s: %s: %" PRIu32 " is no type of a tensor", c->path, name, type);
    return ft_fail(error, FT_UNSUPPORTED,
                   "%s: %s: the type %s is not implemented; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K "
                   "and Q6_K are",
                   c->path, name, known);
}

/* Dimensions are innermost first in the file. */
static enum ft_status take_shape(struct cursor *c, struct ft_gguf_tensor *tensor, struct ft_error *error) {
    uint32_t rank = 0;
    enum ft_status status = take_u32(c, tensor->name, &rank, error);
    if (!status && (rank < 1 || rank > FT_GGUF_RANK))
        status = ft_fail(error, FT_FORMAT, "%s: %s: %" PRIu32 " dimensions; 1 to %u are allowed", c->path,
                         tensor->name, rank, FT_GGUF_RANK);
    tensor->rank = rank;
    tensor->elements = 1;
    for (uint32_t i = rank; i-- > 0 && !status;) {
        uint64_t *size = &tensor->shape[i];
        status = take_u64(c, tensor->name, size, error);
        if (!status && (*size == 0 || *size > SIZE_MAX / 2 ||
                        !ft_size_mul(tensor->elements, (size_t)*size, &tensor->elements)))
            status = ft_fail(error, FT_FORMAT, "%s: %s: a dimension of %" PRIu64 " cannot be", c->path, tensor->name,
                             *size);
    }
    return status;
}

/* *offset: of its data, from the first's. */
static enum ft_status take_tensor(struct cursor *c, struct ft_gguf_tensor *tensor, uint64_t *offset,
                                  struct ft_error *error) {
    uint32_t type = 0;
    *tensor = (struct ft_gguf_tensor){0};
    enum ft_status status = take_name(c, "a tensor's name", NAME_MAX_BYTES, &tensor->name, error);
    if (!status) status = take_shape(c, tensor, error);
    if (!status) status = take_u32(c, tensor->name, &type, error);
    if (!status) status = take_u64(c, tensor->name, offset, error);
    if (status) return status;
    const struct ft_ggml_layout *layout = ft_ggml_layout(type);
    if (!layout) return refuse_type(c, tensor->name, type, error);
    tensor->type = (enum ft_ggml)type;
    if (tensor->shape[tensor->rank - 1] % layout->block != 0)
        return ft_fail(error, FT_FORMAT, "%s: %s: rows of %" PRIu64 " elements are no whole blocks of %s", c->path,
                       tensor->name, tensor->shape[tensor->rank - 1], layout->name);
    if (!ft_size_mul(tensor->elements / layout->block, layout->bytes, &tensor->bytes) || tensor->bytes > left(c))
        return ft_fail(error, FT_FORMAT, "%s: %s: its %zu elements of %s are more than the file holds; get a whole copy",
                       c->path, tensor->name, tensor->elements, layout->name);
    return FT_OK;
}

static size_t padded(size_t size, size_t alignment) { return (size + alignment - 1) & ~(alignment - 1); }

/* In the order of the file, tensors follow each other, each padded to the alignment, as every writer has them;
 * the last one's padding may be missing. */
static enum ft_status place(struct ft_gguf *gguf, const struct cursor *c, size_t i, uint64_t offset,
                            size_t alignment, size_t *next, struct ft_error *error) {
    struct ft_gguf_tensor *tensor = &gguf->tensors[i];
    if (offset % alignment)
        return ft_fail(error, FT_FORMAT, "%s: %s: its data begin at %" PRIu64 ", which is not aligned to %zu", c->path,
                       tensor->name, offset, alignment);
    if (offset != *next)
        return ft_fail(error, FT_FORMAT, "%s: %s: its data begin at %" PRIu64 ", not where the last tensor ended (%zu)",
                       c->path, tensor->name, offset, *next);
    if (*next > left(c) || tensor->bytes > left(c) - *next)
        return ft_fail(error, FT_FORMAT, "%s: cut off within the tensor %s; get a whole copy", c->path, tensor->name);
    tensor->data = c->p + *next;
    *next = padded(*next + tensor->bytes, alignment); /* both are within the file: no overflow */
    return FT_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct ft_gguf_tensor *)a)->name, ((const struct ft_gguf_tensor *)b)->name);
}

static enum ft_status sort_tensors(struct ft_gguf *gguf, struct ft_error *error) {
    qsort(gguf->tensors, gguf->n_tensors, sizeof *gguf->tensors, by_name);
    for (size_t i = 1; i < gguf->n_tensors; i++)
        if (by_name(&gguf->tensors[i - 1], &gguf->tensors[i]) == 0)
            return ft_fail(error, FT_FORMAT, "%s: the tensor %s is given twice", gguf->path, gguf->tensors[i].name);
    return FT_OK;
}

static enum ft_status read_alignment(const struct ft_gguf *gguf, size_t *alignment, struct ft_error *error) {
    uint64_t value = 32;
    enum ft_status status =
        ft_gguf_get_u64(gguf, "general.alignment", FT_JSON_OPTIONAL, 1, ALIGNMENT_MAX, &value, error);
    if (status) return status;
    *alignment = (size_t)value;
    if (value & (value - 1))
        return ft_fail(error, FT_FORMAT, "%s: general.alignment: %" PRIu64 " is no power of two", gguf->path, value);
    return FT_OK;
}

/* Data begin behind the last description, aligned within the file. */
static enum ft_status place_all(struct ft_gguf *gguf, struct cursor *c, const uint64_t *offsets,
                                struct ft_error *error) {
    size_t alignment = 0, next = 0;
    enum ft_status status = read_alignment(gguf, &alignment, error);
    if (status) return status;
    size_t begin = padded((size_t)(c->p - c->start), alignment), size = gguf->map.size;
    if (begin > size && gguf->n_tensors) return cut(c, "its header", error);
    c->p = c->start + (begin < size ? begin : size);
    for (size_t i = 0; i < gguf->n_tensors && !status; i++)
        status = place(gguf, c, i, offsets[i], alignment, &next, error);
    if (!status && left(c) > next)
        status = ft_fail(error, FT_FORMAT, "%s: %zu bytes follow the last tensor", c->path, left(c) - next);
    return status;
}

static enum ft_status take_tensors(struct ft_gguf *gguf, struct cursor *c, uint64_t count, struct ft_error *error) {
    uint64_t *offsets = NULL;
    enum ft_status status = ft_alloc(&gguf->tensors, (size_t)count, sizeof *gguf->tensors, error);
    if (!status) status = ft_alloc(&offsets, (size_t)count, sizeof *offsets, error);
    for (; gguf->n_tensors < count && !status; gguf->n_tensors++)
        status = take_tensor(c, &gguf->tensors[gguf->n_tensors], &offsets[gguf->n_tensors], error);
    if (!status) status = place_all(gguf, c, offsets, error);
    free(offsets);
    return status ? status : sort_tensors(gguf, error);
}

/* --- the file --------------------------------------------------------------------------------------------- */

static enum ft_status check_version(const struct cursor *c, uint32_t version, struct ft_error *error) {
    if (version == 3) return FT_OK;
    if (version == UINT32_C(3) << 24)
        return ft_fail(error, FT_UNSUPPORTED, "%s: a big-endian GGUF; only little-endian ones are read", c->path);
    return ft_fail(error, FT_UNSUPPORTED, "%s: GGUF version %" PRIu32 "; 3 is read: convert it with llama.cpp's tools",
                   c->path, version);
}

/* Each of both within what the bytes left could hold at the very least. */
static enum ft_status check_counts(const struct cursor *c, uint64_t values, uint64_t tensors, struct ft_error *error) {
    enum { VALUE = 8 + 1 + 4 + 1 };              /* a key of one letter, a type, a byte */
    enum { TENSOR = 8 + 1 + 4 + 8 + 4 + 8 };     /* a name of one letter, one dimension, a type, an offset */
    if (values > VALUES_MAX || values > left(c) / VALUE)
        return ft_fail(error, FT_FORMAT, "%s: %" PRIu64 " values are too many for a file of %zu bytes", c->path, values,
                       (size_t)(c->end - c->start));
    if (tensors > TENSORS_MAX || tensors > left(c) / TENSOR)
        return ft_fail(error, FT_FORMAT, "%s: %" PRIu64 " tensors are too many for a file of %zu bytes", c->path,
                       tensors, (size_t)(c->end - c->start));
    return FT_OK;
}

/* Room for every name with its NUL. In the file each has 8 bytes of length before it, so what is left is enough;
 * the names' own limits are less for a file of many gigabytes. */
static size_t names_size(const struct cursor *c, uint64_t values, uint64_t tensors) {
    uint64_t most = values * (KEY_MAX + 1) + tensors * (NAME_MAX_BYTES + 1) + 1;
    return most < left(c) ? (size_t)most : left(c) + 1;
}

static enum ft_status read_all(struct ft_gguf *gguf, struct ft_error *error) {
    const struct ft_map *map = &gguf->map;
    struct cursor c = {gguf->path, map->data, map->data, map->data + map->size, NULL};
    uint32_t version = 0;
    uint64_t tensors = 0, values = 0;
    if (map->size < 8 || memcmp(map->data, "GGUF", 4) != 0)
        return ft_fail(error, FT_FORMAT, "%s: not a GGUF file: it does not begin with GGUF and a version", gguf->path);
    c.p += 4;
    enum ft_status status = take_u32(&c, "its version", &version, error);
    if (!status) status = check_version(&c, version, error);
    if (!status) status = take_u64(&c, "its header", &tensors, error);
    if (!status) status = take_u64(&c, "its header", &values, error);
    if (!status) status = check_counts(&c, values, tensors, error);
    if (!status) status = ft_alloc(&gguf->names, names_size(&c, values, tensors), 1, error);
    c.name = gguf->names;
    if (!status) status = take_values(gguf, &c, values, error);
    if (!status) status = take_tensors(gguf, &c, tensors, error);
    return status;
}

enum ft_status ft_gguf_open(struct ft_gguf **out, const char *path, struct ft_error *error) {
    struct ft_gguf *gguf;
    enum ft_status status = ft_alloc(&gguf, 1, sizeof *gguf, error);
    if (status) return status;
    status = ft_alloc(&gguf->path, strlen(path) + 1, 1, error);
    if (!status) {
        memcpy(gguf->path, path, strlen(path));
        status = ft_map_open(&gguf->map, path, error);
    }
    if (!status) status = read_all(gguf, error);
    if (status) ft_gguf_close(gguf);
    else *out = gguf;
    return status;
}

void ft_gguf_close(struct ft_gguf *gguf) {
    if (!gguf) return;
    free(gguf->tensors);
    free(gguf->values);
    free(gguf->names);
    ft_map_close(&gguf->map);
    free(gguf->path);
    free(gguf);
}

/* --- questions -------------------------------------------------------------------------------------------- */

const char *ft_gguf_path(const struct ft_gguf *gguf) { return gguf->path; }
size_t ft_gguf_values(const struct ft_gguf *gguf) { return gguf->n_values; }
size_t ft_gguf_tensors(const struct ft_gguf *gguf) { return gguf->n_tensors; }

const struct ft_gguf_value *ft_gguf_value_at(const struct ft_gguf *gguf, size_t i) { return &gguf->values[i]; }
const struct ft_gguf_tensor *ft_gguf_tensor_at(const struct ft_gguf *gguf, size_t i) { return &gguf->tensors[i]; }

const struct ft_gguf_value *ft_gguf_value(const struct ft_gguf *gguf, const char *key) {
    const struct ft_gguf_value wanted = {.key = key};
    return gguf->n_values ? bsearch(&wanted, gguf->values, gguf->n_values, sizeof wanted, by_key) : NULL;
}

const struct ft_gguf_tensor *ft_gguf_tensor(const struct ft_gguf *gguf, const char *name) {
    const struct ft_gguf_tensor wanted = {.name = name};
    return gguf->n_tensors ? bsearch(&wanted, gguf->tensors, gguf->n_tensors, sizeof wanted, by_name) : NULL;
}

struct ft_gguf_text ft_gguf_next_text(const unsigned char **cursor) {
    struct ft_gguf_text text = {(const char *)*cursor + 8, (size_t)ft_load64(*cursor)};
    *cursor += 8 + text.length;
    return text;
}

bool ft_gguf_integer(const struct ft_gguf_value *value, size_t i, uint64_t *out) {
    const unsigned char *p = value->data + i * value_types[value->type].bytes;
    int64_t signed_value = 0;
    switch (value->type) {
    case FT_GGUF_U8:
    case FT_GGUF_BOOL: *out = *p; return true;
    case FT_GGUF_U16: *out = ft_load16(p); return true;
    case FT_GGUF_U32: *out = ft_load32(p); return true;
    case FT_GGUF_U64: *out = ft_load64(p); return true;
    case FT_GGUF_I8: signed_value = (int8_t)*p; break;
    case FT_GGUF_I16: signed_value = (int16_t)ft_load16(p); break;
    case FT_GGUF_I32: signed_value = (int32_t)ft_load32(p); break;
    case FT_GGUF_I64: signed_value = (int64_t)ft_load64(p); break;
    default: return false;
    }
    *out = (uint64_t)signed_value;
    return signed_value >= 0;
}

bool ft_gguf_number(const struct ft_gguf_value *value, size_t i, double *out) {
    const unsigned char *p = value->data + i * value_types[value->type].bytes;
    uint64_t bits;
    if (value->type == FT_GGUF_F32) {
        uint32_t word = ft_load32(p);
        float number;
        memcpy(&number, &word, sizeof number);
        *out = (double)number;
        return true;
    }
    if (value->type != FT_GGUF_F64) return false;
    bits = ft_load64(p);
    memcpy(out, &bits, sizeof *out);
    return true;
}

/* *value NULL without failure: an optional key that is absent. */
static enum ft_status single(const struct ft_gguf *gguf, const char *key, enum ft_json_need need, const char *expected,
                             const struct ft_gguf_value **value, struct ft_error *error) {
    *value = ft_gguf_value(gguf, key);
    if (!*value && need == FT_JSON_REQUIRED)
        return ft_fail(error, FT_FORMAT, "%s: %s is missing", gguf->path, key);
    if (*value && (*value)->array)
        return ft_fail(error, FT_FORMAT, "%s: %s is an array; expected %s", gguf->path, key, expected);
    return FT_OK;
}

static enum ft_status wrong_type(const struct ft_gguf *gguf, const struct ft_gguf_value *value, const char *expected,
                                 struct ft_error *error) {
    return ft_fail(error, FT_FORMAT, "%s: %s is of type %s; expected %s", gguf->path, value->key,
                   value_types[value->type].name, expected);
}

enum ft_status ft_gguf_get_u64(const struct ft_gguf *gguf, const char *key, enum ft_json_need need, uint64_t min,
                               uint64_t max, uint64_t *out, struct ft_error *error) {
    const struct ft_gguf_value *value;
    uint64_t number = 0;
    enum ft_status status = single(gguf, key, need, "an integer", &value, error);
    if (status || !value) return status;
    bool whole = value->type != FT_GGUF_BOOL && ft_gguf_integer(value, 0, &number);
    if (!whole && (value->type == FT_GGUF_BOOL || value->type == FT_GGUF_STRING || value->type == FT_GGUF_F32 ||
                   value->type == FT_GGUF_F64))
        return wrong_type(gguf, value, "an integer", error);
    if (!whole || number < min || number > max)
        return ft_fail(error, FT_FORMAT, "%s: %s is not between %" PRIu64 " and %" PRIu64, gguf->path, key, min, max);
    *out = number;
    return FT_OK;
}

enum ft_status ft_gguf_get_double(const struct ft_gguf *gguf, const char *key, enum ft_json_need need, double *out,
                                  struct ft_error *error) {
    const struct ft_gguf_value *value;
    enum ft_status status = single(gguf, key, need, "a number", &value, error);
    if (status || !value) return status;
    return ft_gguf_number(value, 0, out) ? FT_OK : wrong_type(gguf, value, "f32 or f64", error);
}

enum ft_status ft_gguf_get_bool(const struct ft_gguf *gguf, const char *key, enum ft_json_need need, bool *out,
                                struct ft_error *error) {
    const struct ft_gguf_value *value;
    enum ft_status status = single(gguf, key, need, "a boolean", &value, error);
    if (status || !value) return status;
    if (value->type != FT_GGUF_BOOL) return wrong_type(gguf, value, "bool", error);
    *out = value->data[0] != 0;
    return FT_OK;
}

enum ft_status ft_gguf_get_text(const struct ft_gguf *gguf, const char *key, enum ft_json_need need,
                                struct ft_gguf_text *out, struct ft_error *error) {
    const struct ft_gguf_value *value;
    enum ft_status status = single(gguf, key, need, "a string", &value, error);
    if (status || !value) return status;
    if (value->type != FT_GGUF_STRING) return wrong_type(gguf, value, "string", error);
    const unsigned char *cursor = value->data;
    struct ft_gguf_text text = ft_gguf_next_text(&cursor);
    if (memchr(text.text, 0, text.length))
        return ft_fail(error, FT_FORMAT, "%s: %s has a NUL byte in it", gguf->path, key);
    *out = text;
    return FT_OK;
}

enum ft_status ft_gguf_get_array(const struct ft_gguf *gguf, const char *key, enum ft_json_need need,
                                 enum ft_gguf_type type, const struct ft_gguf_value **out, struct ft_error *error) {
    const struct ft_gguf_value *value = ft_gguf_value(gguf, key);
    *out = value;
    if (!value && need == FT_JSON_OPTIONAL) return FT_OK;
    if (!value) return ft_fail(error, FT_FORMAT, "%s: %s is missing", gguf->path, key);
    if (value->array && value->type == type) return FT_OK;
    return ft_fail(error, FT_FORMAT, "%s: %s is %s %s; expected an array of %s", gguf->path, key,
                   value->array ? "an array of" : "a single", value_types[value->type].name, value_types[type].name);
}
