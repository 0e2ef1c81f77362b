/* SPDX-License-Identifier: MIT
 *
 * Tensors on their way into a GGUF file: widened, fused, put in llama.cpp's order, narrowed a row at a time. */
#include "ft/export.h"

#include "ft/rows.h"
#include "gguf_meta.h"
#include "model.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One tensor of the file: a parameter of the model's, or A or B of an adapted module. */
struct item {
    const struct ft_parameter *parameter;
    enum ft_gguf_change change;
    size_t heads, head_dim;
    float factor; /* of every element */
    char name[FT_GGUF_NAME];
};

struct job {
    struct ft_exec *exec;
    const struct ft_model *model;
    const struct ft_export *how;
    const struct ft_gguf_arch *arch;
    struct ft_gguf_meta meta;
    struct item *items;
    struct ft_gguf_tensor_out *tensors;
    size_t count;
    float *divisors;     /* of rotary frequencies, or NULL */
    struct ft_parameter divisor_parameter;
    float *values, *row; /* room for the largest tensor, for the longest row */
    unsigned char *narrow;
};

bool ft_export_type(const char *name, enum ft_ggml *type) {
    static const enum ft_ggml types[] = {FT_GGML_F32, FT_GGML_F16, FT_GGML_BF16, FT_GGML_Q8_0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *known = ft_ggml_layout((uint32_t)types[i])->name;
        size_t k = 0;
        while (name[k] && tolower((unsigned char)known[k]) == name[k]) k++;
        if (name[k] || known[k]) continue;
        *type = types[i];
        return true;
    }
    return false;
}

/* --- one tensor ------------------------------------------------------------------------------------------- */

/* Row `r` of the file's tensor, of `cols` elements, out of the values in Hugging Face's layout. */
static const float *file_row(const struct job *job, const struct item *item, size_t r, size_t cols) {
    const struct ft_parameter *p = item->parameter;
    if (item->change == FT_GGUF_TRANSPOSED) {
        for (size_t i = 0; i < cols; i++) job->row[i] = job->values[i * p->cols + r];
        return job->row;
    }
    return job->values + ft_gguf_row(item->change, r, item->heads, item->head_dim) * cols;
}

static void adjust(const struct job *job, const struct item *item) {
    if (item->factor != 1)
        for (size_t i = 0; i < item->parameter->elements; i++) job->values[i] *= item->factor;
    if (item->change == FT_GGUF_ONE_MORE)
        for (size_t i = 0; i < item->parameter->elements; i++) job->values[i] += 1;
}

/* Values too large for f16: the scale of a block of Q8_0 is one, too. */
static bool fits(const struct job *job, enum ft_ggml type, size_t count) {
    float *back = job->row + count; /* the second half of the room */
    ft_ggml_widen(back, job->narrow, type, count);
    return ft_all_finite(job->exec, count, back);
}

static enum ft_status write_tensor(void *arg, const struct ft_gguf_tensor_out *tensor, size_t index,
                                   struct ft_output *output, struct ft_error *error) {
    const struct job *job = arg;
    const struct item *item = &job->items[index];
    bool moved = item->change == FT_GGUF_PAIRED || item->change == FT_GGUF_BY_PART; /* a bias moves by elements */
    size_t rows = tensor->rank == 2 ? (size_t)tensor->shape[0] : moved ? item->parameter->cols : 1;
    size_t cols = item->parameter->elements / rows;
    const struct ft_ggml_layout *layout = ft_ggml_layout((uint32_t)tensor->type);
    enum ft_status status =
        ft_save_gather(job->exec, job->model, item->parameter, job->how->fuse, job->values, error);
    if (!status) adjust(job, item);
    for (size_t r = 0; r < rows && !status; r++) {
        ft_ggml_narrow(job->narrow, file_row(job, item, r, cols), tensor->type, cols);
        if (!fits(job, tensor->type, cols))
            status = ft_fail(error, FT_NONFINITE, "the tensor '%s' has weights too large for %s: write it as f32",
                             item->parameter->name, layout->name);
        else status = ft_output_write(output, job->narrow, cols / layout->block * layout->bytes, error);
    }
    return status;
}

/* --- the file --------------------------------------------------------------------------------------------- */

/* llama.cpp computes with vectors and learned positions in binary32 only. */
static enum ft_ggml type_of(const struct job *job, const struct item *item, size_t cols) {
    if (item->parameter->rank == 1 || strncmp(item->name, "position_embd.", 14) == 0) return FT_GGML_F32;
    return cols % ft_ggml_layout((uint32_t)job->how->type)->block ? FT_GGML_F16 : job->how->type;
}

static void describe(const struct job *job, size_t i) {
    const struct item *item = &job->items[i];
    const struct ft_parameter *p = item->parameter;
    bool turned = item->change == FT_GGUF_TRANSPOSED;
    size_t cols = turned ? p->rows : p->cols;
    job->tensors[i] = (struct ft_gguf_tensor_out){.name = item->name, .type = type_of(job, item, cols), .rank = p->rank};
    if (p->rank == 2) job->tensors[i].shape[0] = turned ? p->cols : p->rows;
    job->tensors[i].shape[p->rank - 1] = cols;
}

static enum ft_status write_file(struct job *job, const char *path, char sha256[65], struct ft_error *error) {
    size_t largest = 0, longest = 0;
    struct ft_arena arena = {0};
    for (size_t i = 0; i < job->count; i++) {
        const struct ft_parameter *p = job->items[i].parameter;
        describe(job, i);
        if (p->elements > largest) largest = p->elements;
        if (p->rows > longest) longest = p->rows;
        if (p->cols > longest) longest = p->cols;
    }
    enum ft_status status = ft_arena_init(
        &arena, ft_arena_cost(largest, sizeof(float)) + ft_arena_cost(2 * longest, sizeof(float)) + ft_arena_cost(longest, 4), error);
    if (!status) {
        job->values = ft_arena_take(&arena, largest, sizeof(float));
        job->row = ft_arena_take(&arena, 2 * longest, sizeof(float));
        job->narrow = ft_arena_take(&arena, longest, 4);
        status = ft_gguf_write(path, &job->meta, job->tensors, job->count, write_tensor, job, job->how->flags, sha256, error);
    }
    ft_arena_release(&arena);
    return status;
}

static enum ft_status make_room(struct job *job, size_t count, struct ft_error *error) {
    enum ft_status status = ft_alloc(&job->items, count, sizeof *job->items, error);
    return status ? status : ft_alloc(&job->tensors, count, sizeof *job->tensors, error);
}

static void release(struct job *job) {
    free(job->divisors);
    free(job->tensors);
    free(job->items);
    ft_gguf_meta_release(&job->meta);
}

static enum ft_status no_name(const struct job *job, const char *name, struct ft_error *error) {
    return ft_fail(error, FT_UNSUPPORTED, "%s: GGUF has no name for the tensor %s", ft_model_path(job->model), name);
}

/* --- a model ---------------------------------------------------------------------------------------------- */

static enum ft_status add_parameter(struct job *job, const struct ft_parameter *parameter, const char *as,
                                    struct ft_error *error) {
    struct item *item = &job->items[job->count++];
    const struct ft_config *config = &job->model->config;
    *item = (struct item){.parameter = parameter, .factor = 1, .heads = config->heads, .head_dim = config->head_dim};
    if (!ft_gguf_tensor_name(job->arch, as, item->name)) return no_name(job, as, error);
    item->change = ft_gguf_change_of(job->arch, item->name, parameter->rank);
    return FT_OK;
}

/* llama.cpp has the scaling of Llama 3 as a tensor of divisors. */
static enum ft_status add_divisors(struct job *job, struct ft_error *error) {
    const struct ft_rope *rope = &job->model->config.rope[0];
    if (job->model->config.rope_count == 0 || rope->scaling != FT_ROPE_LLAMA3) return FT_OK;
    size_t count = rope->dimensions / 2;
    enum ft_status status = ft_alloc(&job->divisors, count, sizeof *job->divisors, error);
    if (status) return status;
    for (size_t i = 0; i < count; i++) job->divisors[i] = (float)ft_gguf_llama3_divisor(rope, i);
    job->divisor_parameter = (struct ft_parameter){
        .name = "rope_freqs.weight", .rank = 1, .rows = 1, .cols = count, .elements = count, .dtype = FT_F32, .data = job->divisors};
    job->items[job->count++] = (struct item){.parameter = &job->divisor_parameter, .factor = 1, .name = "rope_freqs.weight"};
    return FT_OK;
}

enum ft_status ft_export_model(struct ft_exec *exec, const struct ft_model *model, const struct ft_export *how,
                               const char *path, char sha256[65], struct ft_error *error) {
    struct job job = {.exec = exec, .model = model, .how = how};
    enum ft_status status = ft_gguf_describe_model(&job.meta, how, model, &job.arch, error);
    if (!status) status = ft_save_begin(exec, model, how->fuse, error);
    if (!status) status = make_room(&job, model->count + 1, error);
    for (size_t i = 0; i < model->count && !status; i++)
        status = add_parameter(&job, &model->storage[i], model->storage[i].name, error);
    if (!status) status = add_divisors(&job, error);
    if (!status) status = write_file(&job, path, sha256, error);
    release(&job);
    return status;
}

/* --- an adapter ------------------------------------------------------------------------------------------- */

static bool add_suffix(char name[FT_GGUF_NAME], const char *suffix) {
    size_t used = strlen(name);
    int length = snprintf(name + used, FT_GGUF_NAME - used, "%s", suffix);
    return length > 0 && used + (size_t)length < FT_GGUF_NAME;
}

/* A and B of a module: A as it is; B's rows are the module's outputs, so they are paired as the weight's rows are. */
static enum ft_status add_module(struct job *job, const struct ft_module *module, float alpha, struct ft_error *error) {
    struct item *a = &job->items[job->count++], *b = &job->items[job->count++];
    *a = (struct item){.parameter = module->lora_a, .factor = 1};
    if (!ft_gguf_tensor_name(job->arch, module->weight->name, a->name)) return no_name(job, module->weight->name, error);
    enum ft_gguf_change change = ft_gguf_change_of(job->arch, a->name, 2);
    const struct ft_config *config = &job->model->config;
    *b = (struct item){.parameter = module->lora_b, .heads = config->heads, .head_dim = config->head_dim};
    b->factor = (float)((double)module->scale * (double)module->rank / (double)alpha);
    b->change = change == FT_GGUF_TRANSPOSED ? FT_GGUF_AS_IT_IS : change; /* Conv1D's A and B are [r, in] and [out, r] */
    memcpy(b->name, a->name, sizeof b->name);
    if (add_suffix(a->name, ".lora_a") && add_suffix(b->name, ".lora_b")) return FT_OK;
    return no_name(job, module->weight->name, error);
}

/* llama.cpp has no magnitudes, biases or whole modules in adapters. */
static bool only_factors(const struct ft_model *model) {
    bool only = !model->adapter->copy_count && !model->embedding_adapter.a;
    for (size_t i = 0; i < model->module_count; i++) only = only && !model->modules[i].magnitude;
    return only;
}

enum ft_status ft_export_adapter(struct ft_exec *exec, const struct ft_model *model, const struct ft_export *how,
                                 const char *path, char sha256[65], struct ft_error *error) {
    struct job job = {.exec = exec, .model = model, .how = how};
    float alpha = 0;
    assert(model->adapter);
    for (size_t i = 0; i < model->module_count && alpha == 0; i++) /* what most modules have: the first one's */
        if (model->modules[i].lora_a) alpha = (float)((double)model->modules[i].scale * (double)model->modules[i].rank);
    if (!only_factors(model))
        return ft_fail(error, FT_UNSUPPORTED, "a GGUF adapter holds LoRA factors of linear modules only, and this one has more: export the merged model");
    enum ft_status status = ft_gguf_describe_adapter(&job.meta, how, model, alpha, &job.arch, error);
    if (!status) status = make_room(&job, 2 * model->module_count, error);
    for (size_t i = 0; i < model->module_count && !status; i++)
        if (model->modules[i].lora_a) status = add_module(&job, &model->modules[i], alpha, error);
    if (!status) status = write_file(&job, path, sha256, error);
    release(&job);
    return status;
}
