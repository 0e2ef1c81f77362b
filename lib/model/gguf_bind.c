/* SPDX-License-Identifier: MIT
 *
 * A model's parameters out of a GGUF file. Hugging Face's files are the model's own layout; llama.cpp's converters
 * permute, transpose and shift some tensors, which is undone here. */
#include "gguf_model.h"

#include "model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct binding {
    struct ft_parameter *parameter;
    const struct ft_gguf_tensor *tensor;
    enum ft_gguf_change change;
};

struct job {
    struct ft_model *model;
    const struct ft_gguf_arch *arch;
    struct binding *bindings; /* [model->count] */
};

static bool has_shape(const struct binding *b) {
    const struct ft_parameter *p = b->parameter;
    const struct ft_gguf_tensor *t = b->tensor;
    if (p->rank != t->rank) return false;
    if (p->rank == 1) return t->shape[0] == p->cols;
    size_t rows = b->change == FT_GGUF_TRANSPOSED ? p->cols : p->rows, cols = b->change == FT_GGUF_TRANSPOSED ? p->rows : p->cols;
    return t->shape[0] == rows && t->shape[1] == cols;
}

static enum ft_status find_one(const struct job *job, struct binding *b, struct ft_error *error) {
    const struct ft_gguf *gguf = job->model->gguf;
    char name[FT_GGUF_NAME];
    if (!ft_gguf_tensor_name(job->arch, b->parameter->name, name))
        return ft_fail(error, FT_UNSUPPORTED, "%s: GGUF has no name for the tensor %s", ft_gguf_path(gguf), b->parameter->name);
    b->tensor = ft_gguf_tensor(gguf, name);
    if (!b->tensor) return ft_fail(error, FT_FORMAT, "%s: the tensor %s is missing", ft_gguf_path(gguf), name);
    b->change = ft_gguf_change_of(job->arch, name, b->tensor->rank);
    if (has_shape(b)) return FT_OK;
    return ft_fail(error, FT_FORMAT, "%s: the tensor %s is of %u dimensions, %zu elements; its values say %zu x %zu",
                   ft_gguf_path(gguf), name, b->tensor->rank, b->tensor->elements, b->parameter->rows, b->parameter->cols);
}

static int by_tensor(const void *a, const void *b) {
    const struct ft_gguf_tensor *x = *(const struct ft_gguf_tensor *const *)a, *y = *(const struct ft_gguf_tensor *const *)b;
    return x < y ? -1 : x > y; /* of one array */
}

/* Every tensor of the file is bound, or known to say what values or another tensor say already. */
static enum ft_status refuse_unexpected(const struct job *job, struct ft_error *error) {
    const struct ft_gguf *gguf = job->model->gguf;
    const struct ft_gguf_tensor **bound;
    enum ft_status status = ft_alloc(&bound, job->model->count, sizeof *bound, error);
    if (status) return status;
    for (size_t i = 0; i < job->model->count; i++) bound[i] = job->bindings[i].tensor;
    qsort(bound, job->model->count, sizeof *bound, by_tensor);
    for (size_t i = 0; i < ft_gguf_tensors(gguf) && !status; i++) {
        const struct ft_gguf_tensor *tensor = ft_gguf_tensor_at(gguf, i);
        if (bsearch(&tensor, bound, job->model->count, sizeof *bound, by_tensor)) continue;
        bool copy = job->model->config.tied && strcmp(tensor->name, "output.weight") == 0;
        if (copy || strcmp(tensor->name, "rope_freqs.weight") == 0) continue; /* gguf_config.c has compared them */
        status = ft_fail(error, FT_FORMAT, "%s: unexpected tensor '%s': a %s model of these values has none of that name",
                         ft_gguf_path(gguf), tensor->name, job->arch->name);
    }
    free(bound);
    return status;
}

/* --- elements --------------------------------------------------------------------------------------------- */

static enum ft_dtype dtype_of(const struct binding *b) {
    if (b->change == FT_GGUF_ONE_MORE) return FT_F32;
    return b->tensor->type == FT_GGML_F16 ? FT_F16 : b->tensor->type == FT_GGML_BF16 ? FT_BF16 : FT_F32;
}

static bool stays(const struct binding *b) {
    return b->change == FT_GGUF_AS_IT_IS && ft_ggml_layout((uint32_t)b->tensor->type)->block == 1;
}

/* Row `from` of the tensor, whose rows have `cols` elements, at `to`, in dtype_of. */
static void take_row(const struct binding *b, size_t cols, size_t from, unsigned char *to) {
    const struct ft_ggml_layout *layout = ft_ggml_layout((uint32_t)b->tensor->type);
    const unsigned char *row = b->tensor->data + from * (cols / layout->block * layout->bytes);
    if (dtype_of(b) == FT_F32) ft_ggml_widen((float *)(void *)to, row, b->tensor->type, cols);
    else memcpy(to, row, cols * 2);
}

/* A bias has one element a row. */
static void reorder(const struct job *job, const struct binding *b, unsigned char *to) {
    const struct ft_config *config = &job->model->config;
    size_t cols = b->parameter->rank == 1 ? 1 : b->parameter->cols, stride = cols * ft_dtype_size(dtype_of(b));
    for (size_t row = 0; row < b->parameter->elements / cols; row++)
        take_row(b, cols, row, to + ft_gguf_row(b->change, row, config->heads, config->head_dim) * stride);
}

/* `row` holds one of the file's rows. */
static void transpose(const struct binding *b, unsigned char *row, unsigned char *to) {
    size_t in = b->parameter->rows, out = b->parameter->cols, size = ft_dtype_size(dtype_of(b));
    for (size_t o = 0; o < out; o++) {
        take_row(b, in, o, row);
        for (size_t i = 0; i < in; i++) memcpy(to + (i * out + o) * size, row + i * size, size);
    }
}

static void one_less(const struct binding *b, float *to) {
    ft_ggml_widen(to, b->tensor->data, b->tensor->type, b->tensor->elements);
    for (size_t i = 0; i < b->tensor->elements; i++) to[i] -= 1;
}

static void convert(const struct job *job, const struct binding *b, unsigned char *row, unsigned char *to) {
    switch (b->change) {
    case FT_GGUF_AS_IT_IS: ft_ggml_widen((float *)(void *)to, b->tensor->data, b->tensor->type, b->tensor->elements); break;
    case FT_GGUF_PAIRED:
    case FT_GGUF_BY_PART: reorder(job, b, to); break;
    case FT_GGUF_TRANSPOSED: transpose(b, row, to); break;
    case FT_GGUF_ONE_MORE: one_less(b, (float *)(void *)to); break;
    }
}

static enum ft_status convert_all(const struct job *job, struct ft_error *error) {
    struct ft_model *model = job->model;
    size_t total = 0, longest = 0;
    unsigned char *row = NULL;
    bool fits = true;
    for (size_t i = 0; i < model->count; i++) {
        const struct binding *b = &job->bindings[i];
        size_t cost = stays(b) ? 0 : ft_arena_cost(b->parameter->elements, ft_dtype_size(dtype_of(b)));
        fits = fits && ft_size_add(total, cost, &total);
        if (b->change == FT_GGUF_TRANSPOSED && b->parameter->rows > longest) longest = b->parameter->rows;
    }
    if (!fits) return ft_fail(error, FT_LIMIT, "%s: the weights do not fit into memory", model->path);
    enum ft_status status = ft_arena_init(&model->imported, total, error);
    if (!status) status = ft_alloc(&row, longest, sizeof(float), error);
    for (size_t i = 0; i < model->count && !status; i++) {
        const struct binding *b = &job->bindings[i];
        b->parameter->dtype = dtype_of(b);
        b->parameter->data = b->tensor->data;
        if (stays(b)) continue;
        unsigned char *to = ft_arena_take(&model->imported, b->parameter->elements, ft_dtype_size(dtype_of(b)));
        assert(to);
        convert(job, b, row, to);
        b->parameter->data = to;
    }
    free(row);
    return status;
}

enum ft_status ft_gguf_bind(struct ft_model *model, const char *path, struct ft_error *error) {
    struct job job = {.model = model};
    enum ft_status status = ft_gguf_open(&model->gguf, path, error);
    if (!status) status = ft_gguf_arch_read(model->gguf, &job.arch, error);
    if (!status) status = ft_alloc(&job.bindings, model->count, sizeof *job.bindings, error);
    for (size_t i = 0; i < model->count && !status; i++) {
        job.bindings[i].parameter = &model->storage[i];
        status = find_one(&job, &job.bindings[i], error);
    }
    if (!status) status = refuse_unexpected(&job, error);
    if (!status) status = convert_all(&job, error);
    free(job.bindings);
    return status;
}
