/* SPDX-License-Identifier: MIT
 *
 * Writing: values are collected in a buffer, tensors are streamed behind their descriptions. */
#include "ft/gguf.h"

#include <assert.h>
#include <string.h>

enum { ALIGNMENT = 32 };

/* --- values ----------------------------------------------------------------------------------------------- */

static void put(struct ft_gguf_meta *meta, const void *bytes, size_t count) {
    if (!meta->failed) meta->failed = ft_buffer_append(&meta->bytes, bytes, count, NULL) != FT_OK;
}

static void put_u32(struct ft_gguf_meta *meta, uint32_t value) {
    unsigned char bytes[4];
    ft_store32(bytes, value);
    put(meta, bytes, sizeof bytes);
}

static void put_u64(struct ft_gguf_meta *meta, uint64_t value) {
    unsigned char bytes[8];
    ft_store64(bytes, value);
    put(meta, bytes, sizeof bytes);
}

static void begin(struct ft_gguf_meta *meta, const char *key, enum ft_gguf_type type) {
    ft_gguf_add_text(meta, key, strlen(key));
    put_u32(meta, (uint32_t)type);
    meta->count++;
}

void ft_gguf_meta_release(struct ft_gguf_meta *meta) {
    ft_buffer_release(&meta->bytes);
    *meta = (struct ft_gguf_meta){.count = 0};
}

void ft_gguf_set_u32(struct ft_gguf_meta *meta, const char *key, uint32_t value) {
    begin(meta, key, FT_GGUF_U32);
    put_u32(meta, value);
}

void ft_gguf_set_f32(struct ft_gguf_meta *meta, const char *key, float value) {
    begin(meta, key, FT_GGUF_F32);
    ft_gguf_add_f32(meta, value);
}

void ft_gguf_set_bool(struct ft_gguf_meta *meta, const char *key, bool value) {
    begin(meta, key, FT_GGUF_BOOL);
    put(meta, value ? "\1" : "\0", 1);
}

void ft_gguf_set_text(struct ft_gguf_meta *meta, const char *key, const char *text, size_t length) {
    begin(meta, key, FT_GGUF_STRING);
    ft_gguf_add_text(meta, text, length);
}

void ft_gguf_begin_array(struct ft_gguf_meta *meta, const char *key, enum ft_gguf_type type, uint64_t count) {
    begin(meta, key, FT_GGUF_ARRAY);
    put_u32(meta, (uint32_t)type);
    put_u64(meta, count);
}

void ft_gguf_add_text(struct ft_gguf_meta *meta, const char *text, size_t length) {
    put_u64(meta, length);
    put(meta, text, length);
}

void ft_gguf_add_f32(struct ft_gguf_meta *meta, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u32(meta, bits);
}

void ft_gguf_add_i32(struct ft_gguf_meta *meta, int32_t value) { put_u32(meta, (uint32_t)value); }

/* --- the file --------------------------------------------------------------------------------------------- */

static bool size_of(const struct ft_gguf_tensor_out *tensor, size_t *bytes) {
    const struct ft_ggml_layout *layout = ft_ggml_layout((uint32_t)tensor->type);
    size_t elements = 1;
    if (!layout || tensor->rank < 1 || tensor->rank > FT_GGUF_RANK || strlen(tensor->name) > 63) return false;
    for (unsigned i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] == 0 || tensor->shape[i] > SIZE_MAX / 2 ||
            !ft_size_mul(elements, (size_t)tensor->shape[i], &elements))
            return false;
    return tensor->shape[tensor->rank - 1] % layout->block == 0 &&
           ft_size_mul(elements / layout->block, layout->bytes, bytes);
}

static void describe(struct ft_gguf_meta *header, const struct ft_gguf_tensor_out *tensor, uint64_t offset) {
    ft_gguf_add_text(header, tensor->name, strlen(tensor->name));
    put_u32(header, tensor->rank);
    for (unsigned i = tensor->rank; i-- > 0;) put_u64(header, tensor->shape[i]); /* innermost first */
    put_u32(header, (uint32_t)tensor->type);
    put_u64(header, offset);
}

static enum ft_status build_header(struct ft_gguf_meta *header, const char *path, const struct ft_gguf_meta *meta,
                                   const struct ft_gguf_tensor_out *tensors, size_t count, struct ft_error *error) {
    uint64_t offset = 0;
    put(header, "GGUF", 4);
    put_u32(header, 3);
    put_u64(header, count);
    put_u64(header, meta->count);
    put(header, meta->bytes.data, meta->bytes.size);
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        if (!size_of(&tensors[i], &bytes))
            return ft_fail(error, FT_USAGE, "%s: the tensor %s cannot be stored in a GGUF file as %s: its rows are no "
                           "whole blocks, or its name has more than 63 bytes", path, tensors[i].name,
                           ft_ggml_layout((uint32_t)tensors[i].type)->name);
        describe(header, &tensors[i], offset);
        offset += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    while (header->bytes.size % ALIGNMENT && !header->failed) put(header, "", 1);
    if (header->failed || meta->failed) return ft_fail(error, FT_NOMEM, "%s: out of memory for its header", path);
    return FT_OK;
}

static enum ft_status write_tensor(const char *path, const struct ft_gguf_tensor_out *tensor, size_t index,
                                   ft_gguf_source *source, void *arg, struct ft_output *output,
                                   struct ft_error *error) {
    static const char zeros[ALIGNMENT];
    size_t bytes = 0;
    bool sized = size_of(tensor, &bytes);
    assert(sized);
    (void)sized;
    uint64_t before = ft_output_size(output);
    enum ft_status status = source(arg, tensor, index, output, error);
    if (!status && ft_output_size(output) - before != bytes)
        status = ft_fail(error, FT_USAGE, "%s: the tensor %s has %zu bytes, but %llu were written", path, tensor->name,
                         bytes, (unsigned long long)(ft_output_size(output) - before));
    return status || bytes % ALIGNMENT == 0 ? status
                                            : ft_output_write(output, zeros, ALIGNMENT - bytes % ALIGNMENT, error);
}

enum ft_status ft_gguf_write(const char *path, const struct ft_gguf_meta *meta,
                             const struct ft_gguf_tensor_out *tensors, size_t count, ft_gguf_source *source,
                             void *arg, unsigned flags, char sha256[65], struct ft_error *error) {
    struct ft_gguf_meta header = {.count = 0};
    struct ft_output *output = NULL;
    enum ft_status status = build_header(&header, path, meta, tensors, count, error);
    if (!status) status = ft_output_open(&output, path, flags | (sha256 ? FT_OUTPUT_HASH : 0u), error);
    if (!status) status = ft_output_write(output, header.bytes.data, header.bytes.size, error);
    for (size_t i = 0; i < count && !status; i++)
        status = write_tensor(path, &tensors[i], i, source, arg, output, error);
    ft_gguf_meta_release(&header);
    if (status) {
        ft_output_abort(output);
        return status;
    }
    if (sha256) ft_output_digest(output, sha256);
    return ft_output_commit(output, error);
}
