/* SPDX-License-Identifier: MIT
 *
 * Writing, byte for byte as Hugging Face's library (0.4 to 0.8) does: tensors by element type, widest first,
 * then by name; a compact header, padded with spaces to a multiple of 8. */
#include "ft/safetensors.h"

#include "ft/json.h"
#include "ft/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX ((size_t)100000000)

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are written as they lie in memory");

/* A place in the file's order, with what sorting and checking need. */
struct placed {
    const struct ft_tensor_out *tensor;
    size_t index, bytes;
};

static const char *stored_name(enum ft_dtype dtype) {
    return dtype == FT_F32 ? "F32" : dtype == FT_BF16 ? "BF16" : "F16";
}

static int file_order(const void *a, const void *b) {
    const struct ft_tensor_out *x = ((const struct placed *)a)->tensor, *y = ((const struct placed *)b)->tensor;
    if (x->dtype != y->dtype) return x->dtype < y->dtype ? -1 : 1; /* enum ft_dtype has the file's order */
    return strcmp(x->name, y->name);
}

static int name_order(const void *a, const void *b) {
    return strcmp((*(const struct ft_tensor_out *const *)a)->name,
                  (*(const struct ft_tensor_out *const *)b)->name);
}

static enum ft_status check_names(const char *path, const struct ft_tensor_out *tensors, size_t count,
                                  struct ft_error *error) {
    const struct ft_tensor_out **sorted;
    enum ft_status status = ft_alloc(&sorted, count, sizeof *sorted, error);
    if (status) return status;
    for (size_t i = 0; i < count; i++) sorted[i] = &tensors[i];
    if (count) qsort(sorted, count, sizeof *sorted, name_order);
    for (size_t i = 0; i < count && !status; i++) {
        bool twice = i > 0 && strcmp(sorted[i - 1]->name, sorted[i]->name) == 0;
        if (twice || strcmp(sorted[i]->name, "__metadata__") == 0)
            status = ft_fail(error, FT_USAGE, "%s: the tensor name %s is %s", path, sorted[i]->name,
                             twice ? "given twice" : "reserved");
    }
    free(sorted);
    return status;
}

static bool size_of(const struct ft_tensor_out *tensor, size_t *bytes) {
    *bytes = ft_dtype_size(tensor->dtype);
    for (unsigned i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] > SIZE_MAX || !ft_size_mul(*bytes, (size_t)tensor->shape[i],
                                                        bytes)) return false;
    return true;
}

static enum ft_status place(const char *path, const struct ft_tensor_out *tensors, size_t count,
                            struct placed *placed, struct ft_error *error) {
    for (size_t i = 0; i < count; i++) {
        placed[i] = (struct placed){.tensor = &tensors[i], .index = i};
        if (tensors[i].rank > FT_TENSOR_RANK || !size_of(&tensors[i], &placed[i].bytes))
            return ft_fail(error, FT_USAGE, "%s: the tensor %s has an impossible shape", path,
                           tensors[i].name);
    }
    if (count) qsort(placed, count, sizeof *placed, file_order);
    return FT_OK;
}

static enum ft_status describe(struct ft_buffer *header, const struct placed *p, size_t begin,
                               struct ft_error *error) {
    const struct ft_tensor_out *tensor = p->tensor;
    enum ft_status status = ft_buffer_string(header, ",", error);
    if (!status) status = ft_json_quote(header, tensor->name, strlen(tensor->name), error);
    if (!status)
        status = ft_buffer_printf(header, error, ":{\"dtype\":\"%s\",\"shape\":[",
                                  stored_name(tensor->dtype));
    for (unsigned i = 0; i < tensor->rank && !status; i++)
        status = ft_buffer_printf(header, error, "%s%llu", i ? "," : "",
                                  (unsigned long long)tensor->shape[i]);
    if (!status)
        status = ft_buffer_printf(header, error, "],\"data_offsets\":[%zu,%zu]}", begin, begin + p->bytes);
    return status;
}

/* The whole header with its length in front. */
static enum ft_status build_header(struct ft_buffer *header, const struct placed *placed, size_t count,
                                   struct ft_error *error) {
    size_t begin = 0;
    enum ft_status status = ft_buffer_append(header, "\0\0\0\0\0\0\0", 8, error);
    if (!status) status = ft_buffer_string(header, "{\"__metadata__\":{\"format\":\"pt\"}", error);
    for (size_t i = 0; i < count && !status; i++) {
        status = describe(header, &placed[i], begin, error);
        if (!status && !ft_size_add(begin, placed[i].bytes, &begin))
            status = ft_fail(error, FT_LIMIT, "more tensor data than a file can hold");
    }
    if (!status) status = ft_buffer_string(header, "}", error);
    while (!status && header->size % 8 != 0) status = ft_buffer_string(header, " ", error);
    if (!status) ft_store64(header->data, header->size - 8);
    return status;
}

static enum ft_status write_tensor(const char *path, const struct placed *p, ft_tensor_source *source,
                                   void *arg, struct ft_output *output, struct ft_error *error) {
    if (p->tensor->data) return ft_output_write(output, p->tensor->data, p->bytes, error);
    if (p->bytes == 0) return FT_OK;
    if (!source) return ft_fail(error, FT_USAGE, "%s: the tensor %s has no data", path, p->tensor->name);
    uint64_t before = ft_output_size(output);
    enum ft_status status = source(arg, p->tensor, p->index, output, error);
    uint64_t written = ft_output_size(output) - before;
    if (!status && written != p->bytes)
        status = ft_fail(error, FT_USAGE, "%s: the tensor %s has %zu bytes, but %llu were written", path,
                         p->tensor->name, p->bytes, (unsigned long long)written);
    return status;
}

static enum ft_status write_file(const char *path, const struct ft_buffer *header,
                                 const struct placed *placed, size_t count, ft_tensor_source *source,
                                 void *arg, unsigned flags, char *sha256, struct ft_error *error) {
    struct ft_output *output;
    enum ft_status status = ft_output_open(&output, path, flags | (sha256 ? FT_OUTPUT_HASH : 0u), error);
    if (status) return status;
    status = ft_output_write(output, header->data, header->size, error);
    for (size_t i = 0; i < count && !status; i++)
        status = write_tensor(path, &placed[i], source, arg, output, error);
    if (status) {
        ft_output_abort(output);
        return status;
    }
    if (sha256) ft_output_digest(output, sha256);
    return ft_output_commit(output, error);
}

enum ft_status ft_safetensors_write(const char *path, const struct ft_tensor_out *tensors, size_t count,
                                    ft_tensor_source *source, void *arg, unsigned flags, char sha256[65],
                                    struct ft_error *error) {
    struct ft_buffer header = {.max = HEADER_MAX + 8};
    struct placed *placed = NULL;
    enum ft_status status = check_names(path, tensors, count, error);
    if (!status) status = ft_alloc(&placed, count, sizeof *placed, error);
    if (!status) status = place(path, tensors, count, placed, error);
    if (!status) status = build_header(&header, placed, count, error);
    if (!status) status = write_file(path, &header, placed, count, source, arg, flags, sha256, error);
    ft_buffer_release(&header);
    free(placed);
    return status;
}
