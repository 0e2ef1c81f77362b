/* SPDX-License-Identifier: MIT
 *
 * Reading. Names and metadata point into the shards' parsed headers, data into their mappings; both live as
 * long as the ft_safetensors. */
#include "ft/safetensors.h"

#include "ft/file.h"
#include "ft/json.h"
#include "ft/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX UINT64_C(100000000)  /* the format's own limit */
#define OFFSET_MAX (UINT64_C(1) << 62)  /* so that sums of two cannot overflow */
#define TENSORS_MAX ((size_t)1 << 22)

struct shard {
    char *path;
    struct ft_map map;
    struct ft_json header;
};

struct ft_safetensors {
    struct ft_json index; /* root NULL: a single file */
    struct shard *shards;
    size_t n_shards, shards_capacity;
    struct ft_tensor *tensors;
    size_t count, capacity;
};

/* Every element type of the format, so that a tensor we cannot compute with can at least be named and
 * skipped. */
static const struct stored_type {
    const char *name;
    unsigned bits;
} stored_types[] = {
    {"F32", 32}, {"BF16", 16}, {"F16", 16},    {"BOOL", 8},    {"U8", 8},      {"I8", 8},       {"I16", 16},
    {"U16", 16}, {"I32", 32},  {"U32", 32},    {"I64", 64},    {"U64", 64},    {"F64", 64},     {"C64", 64},
    {"F4", 4},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},
};

static const struct stored_type *find_stored(const char *name) {
    for (size_t i = 0; i < sizeof stored_types / sizeof *stored_types; i++)
        if (strcmp(stored_types[i].name, name) == 0) return &stored_types[i];
    return NULL;
}

/* --- one tensor's entry --------------------------------------------------------------------------------- */

static enum ft_status read_dtype(const struct ft_json *json, const struct cJSON *entry,
                                 struct ft_tensor *tensor, unsigned *bits, struct ft_error *error) {
    enum ft_status status = ft_json_get_string(json, entry, "dtype", FT_JSON_REQUIRED, &tensor->stored,
                                               error);
    if (status) return status;
    const struct stored_type *type = find_stored(tensor->stored);
    if (!type) return ft_json_fail(json, entry, error, "unknown element type \"%.40s\"", tensor->stored);
    *bits = type->bits;
    size_t rank = (size_t)(type - stored_types);
    tensor->readable = rank < 3;
    tensor->dtype = rank == 0 ? FT_F32 : rank == 1 ? FT_BF16 : FT_F16;
    return FT_OK;
}

/* The number of elements, too. A zero anywhere makes an empty tensor whatever the other dimensions are. */
static enum ft_status read_shape(const struct ft_json *json, const struct cJSON *entry,
                                 struct ft_tensor *tensor, struct ft_error *error) {
    const struct cJSON *shape;
    enum ft_status status = ft_json_get_node(json, entry, "shape", FT_JSON_REQUIRED, FT_JSON_ARRAY, &shape,
                                             error);
    if (status) return status;
    bool empty = false, overflow = false;
    tensor->elements = 1;
    for (const struct cJSON *d = ft_json_first(shape); d && !status; d = ft_json_next(d)) {
        if (tensor->rank == FT_TENSOR_RANK)
            return ft_json_fail(json, shape, error, "more than %u dimensions", FT_TENSOR_RANK);
        uint64_t *size = &tensor->shape[tensor->rank++];
        status = ft_json_u64(json, d, 0, OFFSET_MAX, size, error);
        if (status) return status;
        empty = empty || *size == 0;
        overflow = overflow || !ft_size_mul(tensor->elements, (size_t)*size, &tensor->elements);
    }
    if (empty) tensor->elements = 0;
    else if (overflow) return ft_json_fail(json, shape, error, "more elements than can be");
    return status;
}

struct extent {
    uint64_t begin, end;
};

static enum ft_status read_extent(const struct ft_json *json, const struct cJSON *entry,
                                  struct extent *extent, struct ft_error *error) {
    const struct cJSON *offsets;
    enum ft_status status =
        ft_json_get_node(json, entry, "data_offsets", FT_JSON_REQUIRED, FT_JSON_ARRAY, &offsets, error);
    if (status) return status;
    const struct cJSON *begin = ft_json_first(offsets), *end = begin ? ft_json_next(begin) : NULL;
    if (!end || ft_json_next(end)) return ft_json_fail(json, offsets, error, "expected two offsets");
    status = ft_json_u64(json, begin, 0, OFFSET_MAX, &extent->begin, error);
    return status ? status : ft_json_u64(json, end, extent->begin, OFFSET_MAX, &extent->end, error);
}

/* Fills tensor, with data not yet a pointer but checked against the bytes that follow the header. */
static enum ft_status read_entry(const struct shard *shard, const struct cJSON *entry, uint64_t data_size,
                                 const unsigned char *data, struct ft_tensor *tensor,
                                 struct ft_error *error) {
    static const char *const keys[] = {"dtype", "shape", "data_offsets", NULL};
    const struct ft_json *json = &shard->header;
    unsigned bits = 0;
    size_t total_bits;
    struct extent extent = {0, 0};
    *tensor = (struct ft_tensor){.name = ft_json_key(entry), .file = shard->path};
    enum ft_status status = ft_json_expect(json, entry, FT_JSON_OBJECT, error);
    if (!status) status = ft_json_only(json, entry, keys, error);
    if (!status) status = read_dtype(json, entry, tensor, &bits, error);
    if (!status) status = read_shape(json, entry, tensor, error);
    if (!status) status = read_extent(json, entry, &extent, error);
    if (status) return status;
    if (!ft_size_mul(tensor->elements, bits, &total_bits) || total_bits % 8 != 0 ||
        total_bits / 8 != extent.end - extent.begin)
        return ft_json_fail(json, entry, error, "its shape and type do not fill the %llu bytes it is given",
                            (unsigned long long)(extent.end - extent.begin));
    if (extent.end > data_size)
        return ft_json_fail(json, entry, error,
                            "ends at byte %llu of the data, but only %llu are there; get a whole copy",
                            (unsigned long long)extent.end, (unsigned long long)data_size);
    tensor->bytes = total_bits / 8;
    tensor->data = data + extent.begin;
    return FT_OK;
}

/* --- one file ------------------------------------------------------------------------------------------- */

static int by_data(const void *a, const void *b) {
    const struct ft_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The first begins at 0, each begins where the last ended, the last ends with the file. Sorts the tensors by
 * place. */
static enum ft_status check_layout(const struct shard *shard, struct ft_tensor *tensors, size_t count,
                                   const unsigned char *data, size_t size, struct ft_error *error) {
    if (count) qsort(tensors, count, sizeof *tensors, by_data);
    const unsigned char *next = data;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].data != next)
            return ft_fail(error, FT_FORMAT, "%s: %s: %s between tensors, at byte %zu of the data",
                           shard->path, tensors[i].name, tensors[i].data > next ? "a hole" : "an overlap",
                           (size_t)((tensors[i].data < next ? tensors[i].data : next) - data));
        next += tensors[i].bytes;
    }
    if (next == data + size) return FT_OK;
    return ft_fail(error, FT_FORMAT, "%s: %zu bytes follow the last tensor", shard->path,
                   (size_t)(data + size - next));
}

static enum ft_status check_metadata(const struct ft_json *json, const struct cJSON *metadata,
                                     struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, metadata, FT_JSON_OBJECT, error);
    for (const struct cJSON *m = ft_json_first(metadata); m && !status; m = ft_json_next(m))
        status = ft_json_expect(json, m, FT_JSON_STRING, error);
    return status;
}

static enum ft_status read_header(struct shard *shard, uint64_t *length, struct ft_error *error) {
    const struct ft_map *map = &shard->map;
    if (map->size < 8) return ft_fail(error, FT_FORMAT, "%s: not a safetensors file: only %zu bytes; get a whole copy",
                                      shard->path, map->size);
    *length = ft_load64(map->data);
    if (*length > HEADER_MAX)
        return ft_fail(error, FT_FORMAT, "%s: not a safetensors file: its header would have %llu bytes",
                       shard->path, (unsigned long long)*length);
    if (*length > map->size - 8)
        return ft_fail(error, FT_FORMAT, "%s: cut off within its header; get a whole copy", shard->path);
    if (*length == 0 || map->data[8] != '{')
        return ft_fail(error, FT_FORMAT, "%s: not a safetensors file: its header does not begin with {",
                       shard->path);
    return ft_json_parse(&shard->header, (const char *)map->data + 8, (size_t)*length, shard->path, 0, error);
}

static enum ft_status read_tensors(struct ft_safetensors *st, const struct shard *shard, uint64_t header,
                                   struct ft_error *error) {
    const unsigned char *data = shard->map.data + 8 + header;
    size_t size = shard->map.size - 8 - (size_t)header, first = st->count;
    enum ft_status status = FT_OK;
    for (const struct cJSON *e = ft_json_first(shard->header.root); e && !status; e = ft_json_next(e)) {
        if (strcmp(ft_json_key(e), "__metadata__") == 0) {
            status = check_metadata(&shard->header, e, error);
            continue;
        }
        status = ft_grow(&st->tensors, &st->capacity, st->count + 1, sizeof *st->tensors, TENSORS_MAX,
                         "tensors", error);
        if (!status) status = read_entry(shard, e, size, data, &st->tensors[st->count], error);
        if (!status) st->count++;
    }
    return status ? status : check_layout(shard, st->tensors + first, st->count - first, data, size, error);
}

/* Takes over path, also on failure. */
static enum ft_status add_shard(struct ft_safetensors *st, char *path, struct ft_error *error) {
    enum ft_status status = path ? ft_grow(&st->shards, &st->shards_capacity, st->n_shards + 1,
                                           sizeof *st->shards, TENSORS_MAX, "files of a model", error)
                                 : ft_fail(error, FT_NOMEM, "out of memory");
    if (status) {
        free(path);
        return status;
    }
    struct shard *shard = &st->shards[st->n_shards++];
    uint64_t header = 0;
    *shard = (struct shard){.path = path};
    status = ft_map_open(&shard->map, path, error);
    if (!status) status = read_header(shard, &header, error);
    return status ? status : read_tensors(st, shard, header, error);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct ft_tensor *)a)->name, ((const struct ft_tensor *)b)->name);
}

static enum ft_status sort_names(struct ft_safetensors *st, struct ft_error *error) {
    if (st->count) qsort(st->tensors, st->count, sizeof *st->tensors, by_name);
    for (size_t i = 1; i < st->count; i++)
        if (strcmp(st->tensors[i - 1].name, st->tensors[i].name) == 0)
            return ft_fail(error, FT_FORMAT, "%s: the tensor %s is in %s, too", st->tensors[i].file,
                           st->tensors[i].name, st->tensors[i - 1].file);
    for (size_t i = 0; i < st->count; i++)
        if (st->tensors[i].bytes == 0) st->tensors[i].data = NULL;
    return FT_OK;
}

/* --- a sharded model ------------------------------------------------------------------------------------ */

static char *beside(const char *index, const char *name) {
    const char *slash = strrchr(index, '/');
    size_t directory = slash ? (size_t)(slash - index) + 1 : 0, length = strlen(name);
    char *path = malloc(directory + length + 1);
    if (path) {
        memcpy(path, index, directory);
        memcpy(path + directory, name, length + 1);
    }
    return path;
}

static bool is_plain_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static const char *file_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool has_shard(const struct ft_safetensors *st, const char *name) {
    for (size_t i = 0; i < st->n_shards; i++)
        if (strcmp(file_of(st->shards[i].path), name) == 0) return true;
    return false;
}

/* Index and shards must agree in both directions. */
static enum ft_status check_index(const struct ft_safetensors *st, const struct cJSON *map,
                                  struct ft_error *error) {
    size_t listed = 0;
    for (const struct cJSON *e = ft_json_first(map); e; e = ft_json_next(e), listed++) {
        const char *file = NULL;
        enum ft_status status = ft_json_string(&st->index, e, &file, error);
        if (status) return status;
        const struct ft_tensor *tensor = ft_safetensors_find(st, ft_json_key(e));
        if (!tensor || strcmp(file_of(tensor->file), file) != 0)
            return ft_json_fail(&st->index, e, error, "the tensor is not in %s", file);
    }
    if (listed == st->count) return FT_OK;
    for (size_t i = 0; i < st->count; i++)
        if (!ft_json_find(map, st->tensors[i].name))
            return ft_fail(error, FT_FORMAT, "%s: does not list the tensor %s of %s", st->index.name,
                           st->tensors[i].name, st->tensors[i].file);
    return FT_OK;
}

static enum ft_status open_index(struct ft_safetensors *st, const char *path, struct ft_error *error) {
    const struct cJSON *map;
    enum ft_status status = ft_json_read(&st->index, path, 0, error);
    if (!status)
        status = ft_json_get_node(&st->index, st->index.root, "weight_map", FT_JSON_REQUIRED, FT_JSON_OBJECT,
                                  &map, error);
    if (status) return status;
    for (const struct cJSON *e = ft_json_first(map); e && !status; e = ft_json_next(e)) {
        const char *name = NULL;
        status = ft_json_string(&st->index, e, &name, error);
        if (status || has_shard(st, name)) continue;
        if (!is_plain_name(name))
            return ft_json_fail(&st->index, e, error, "\"%.100s\" is not the name of a file beside the index",
                                name);
        status = add_shard(st, beside(path, name), error);
    }
    if (!status) status = sort_names(st, error);
    return status ? status : check_index(st, map, error);
}

/* --- the public face ------------------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Within a directory, the file that transformers would take. */
static enum ft_status choose(struct ft_buffer *path, const char *given, struct ft_error *error) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    if (!ft_path_is_directory(given)) return ft_buffer_string(path, given, error);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ft_buffer_clear(path);
        enum ft_status status = ft_path_join(path, given, names[i], error);
        if (status || ft_path_exists(path->data)) return status;
    }
    return ft_fail(error, FT_IO, "%s: holds neither model.safetensors nor model.safetensors.index.json; "
                   "other formats (pickles) must be converted first", given);
}

enum ft_status ft_safetensors_open(struct ft_safetensors **out, const char *given, struct ft_error *error) {
    struct ft_safetensors *st;
    struct ft_buffer path = {0};
    enum ft_status status = ft_alloc(&st, 1, sizeof *st, error);
    if (status) return status;
    status = choose(&path, given, error);
    if (!status && ends_with(path.data, ".index.json")) {
        status = open_index(st, path.data, error);
        st->index.name = ""; /* it was borrowed from path */
    } else if (!status) {
        status = add_shard(st, strdup(path.data), error);
        if (!status) status = sort_names(st, error);
    }
    ft_buffer_release(&path);
    if (status) ft_safetensors_close(st);
    else *out = st;
    return status;
}

void ft_safetensors_close(struct ft_safetensors *st) {
    if (!st) return;
    for (size_t i = 0; i < st->n_shards; i++) {
        ft_json_release(&st->shards[i].header);
        ft_map_close(&st->shards[i].map);
        free(st->shards[i].path);
    }
    ft_json_release(&st->index);
    free(st->shards);
    free(st->tensors);
    free(st);
}

size_t ft_safetensors_count(const struct ft_safetensors *st) { return st->count; }

const struct ft_tensor *ft_safetensors_at(const struct ft_safetensors *st, size_t i) {
    return &st->tensors[i];
}

const struct ft_tensor *ft_safetensors_find(const struct ft_safetensors *st, const char *name) {
    const struct ft_tensor key = {.name = name};
    return st->count ? bsearch(&key, st->tensors, st->count, sizeof key, by_name) : NULL;
}

const char *ft_safetensors_metadata(const struct ft_safetensors *st, const char *key) {
    for (size_t i = 0; i < st->n_shards; i++) {
        const struct ft_json *header = &st->shards[i].header;
        const struct cJSON *metadata = ft_json_find(header->root, "__metadata__"), *entry;
        const char *value;
        if (metadata && (entry = ft_json_find(metadata, key)) &&
            !ft_json_string(header, entry, &value, NULL)) return value;
    }
    return NULL;
}

struct shape_text {
    char text[200];
};

static struct shape_text shape_text(unsigned rank, const uint64_t *shape) {
    struct shape_text out = {"["};
    size_t used = 1;
    for (unsigned i = 0; i < rank; i++)
        used += (size_t)snprintf(out.text + used, sizeof out.text - used, "%s%llu", i ? ", " : "",
                                 (unsigned long long)shape[i]); /* at most 8 * 22 */
    snprintf(out.text + used, sizeof out.text - used, "]");
    return out;
}

enum ft_status ft_safetensors_need(const struct ft_safetensors *st, const char *name, unsigned rank,
                                   const uint64_t *shape, const struct ft_tensor **out,
                                   struct ft_error *error) {
    const struct ft_tensor *tensor = ft_safetensors_find(st, name);
    if (!tensor)
        return ft_fail(error, FT_FORMAT, "%s: the tensor %s is missing; is it of this config.json?",
                       st->n_shards ? st->shards[0].path : "model", name);
    if (!tensor->readable)
        return ft_fail(error, FT_UNSUPPORTED, "%s: the tensor %s is stored as %s; F32, BF16 or F16 is needed",
                       tensor->file, name, tensor->stored);
    if (tensor->rank != rank || (rank && memcmp(tensor->shape, shape, rank * sizeof *shape) != 0))
        return ft_fail(error, FT_FORMAT, "%s: the tensor %s has the shape %s, expected %s", tensor->file,
                       name, shape_text(tensor->rank, tensor->shape).text, shape_text(rank, shape).text);
    *out = tensor;
    return FT_OK;
}
