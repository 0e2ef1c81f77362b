/* SPDX-License-Identifier: MIT
 * Writing a model's present weights, with or without its adapter fused in. */
#include "ft/commit.h"
#include "ft/rows.h"
#include "model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct save_job {
    struct ft_exec *exec;
    const struct ft_model *model;
    const struct ft_save *save;
    struct ft_tensor_out *tensors; /* in the order of model->parameters */
    float *values;                 /* room for the largest tensor that needs converting */
    void *narrow;
};

/* The adapted module whose weight this is, or NULL. */
static const struct ft_module *adapted_by(const struct ft_model *model,
                                          const struct ft_parameter *parameter) {
    for (size_t i = 0; i < model->module_count; i++)
        if (model->modules[i].weight == parameter && model->modules[i].lora_a) return &model->modules[i];
    return NULL;
}

static enum ft_dtype saved_dtype(const struct ft_save *save, const struct ft_parameter *parameter) {
    switch (save->dtype) {
    case FT_SAVE_F32: return FT_F32;
    case FT_SAVE_BF16: return FT_BF16;
    case FT_SAVE_F16: return FT_F16;
    case FT_SAVE_AS_LOADED: break;
    }
    return parameter->dtype;
}

/* True when the bytes in memory are those to be written. */
static bool as_they_are(const struct save_job *job, const struct ft_parameter *parameter) {
    if (job->save->fuse && adapted_by(job->model, parameter)) return false;
    return ft_parameter_operand(parameter).dtype == saved_dtype(job->save, parameter);
}

/* values = (chain over the rank of b * a) * scale + W, in the tensor's own orientation. */
static void fuse(const struct save_job *job, const struct ft_module *module,
                 const struct ft_parameter *parameter) {
    struct ft_operand a = ft_parameter_operand(module->lora_a), b = ft_parameter_operand(module->lora_b);
    struct ft_product product = {.m = module->out,
                                 .n = module->in,
                                 .k = module->rank,
                                 .a = b,
                                 .b = a,
                                 .c = job->values,
                                 .ldc = parameter->cols,
                                 .scale = module->scale};
    if (module->in_out) { /* [in, out] = A^T B^T */
        product.m = module->in;
        product.n = module->out;
        product.a = (struct ft_operand){a.data, a.dtype, a.col_stride, a.row_stride};
        product.b = (struct ft_operand){b.data, b.dtype, b.col_stride, b.row_stride};
    }
    ft_gemm(job->exec, &product);
}

/* values += W, W in any type: a chunk at a time. */
static void add_weights(const struct save_job *job, const struct ft_parameter *parameter) {
    float chunk[1024];
    struct ft_operand w = ft_parameter_operand(parameter);
    for (size_t i = 0; i < parameter->elements; i += 1024) {
        size_t left = parameter->elements - i, count = left < 1024 ? left : 1024;
        ft_widen(chunk, (const unsigned char *)w.data + i * ft_dtype_size(w.dtype), w.dtype, count);
        for (size_t j = 0; j < count; j++) job->values[i + j] += chunk[j];
    }
}

static void gather_values(const struct save_job *job, const struct ft_parameter *parameter) {
    const struct ft_module *module = job->save->fuse ? adapted_by(job->model, parameter) : NULL;
    struct ft_operand w = ft_parameter_operand(parameter);
    if (!module) {
        ft_widen(job->values, w.data, w.dtype, parameter->elements);
        return;
    }
    fuse(job, module, parameter);
    add_weights(job, parameter);
}

static bool narrow_finite(const struct save_job *job, enum ft_dtype dtype, size_t count) {
    ft_narrow(job->narrow, dtype, job->values, count);
    ft_widen(job->values, job->narrow, dtype, count);
    return ft_all_finite(job->exec, count, job->values);
}

static enum ft_status write_tensor(void *arg, const struct ft_tensor_out *tensor, size_t index,
                                   struct ft_output *output, struct ft_error *error) {
    const struct save_job *job = arg;
    const struct ft_parameter *parameter = job->model->parameters[index];
    gather_values(job, parameter);
    if (!ft_all_finite(job->exec, parameter->elements, job->values))
        return ft_fail(error, FT_NONFINITE, "the tensor '%s' holds a NaN or an infinity", parameter->name);
    if (tensor->dtype == FT_F32)
        return ft_output_write(output, job->values, parameter->elements * sizeof *job->values, error);
    if (!narrow_finite(job, tensor->dtype, parameter->elements))
        return ft_fail(error, FT_NONFINITE,
                       "the tensor '%s' has weights too large for its 16 bits: save as float32",
                       parameter->name);
    return ft_output_write(output, job->narrow, parameter->elements * ft_dtype_size(tensor->dtype), error);
}

/* Fills in the list; returns the elements of the largest tensor that cannot be written as it is. */
static size_t describe(struct save_job *job) {
    size_t largest = 0;
    for (size_t i = 0; i < job->model->count; i++) {
        const struct ft_parameter *parameter = job->model->parameters[i];
        bool plain = as_they_are(job, parameter);
        job->tensors[i] = (struct ft_tensor_out){
            .name = parameter->name, .dtype = saved_dtype(job->save, parameter), .rank = parameter->rank};
        if (parameter->rank == 2) job->tensors[i].shape[0] = parameter->rows;
        job->tensors[i].shape[parameter->rank - 1] = parameter->cols;
        if (plain) job->tensors[i].data = ft_parameter_operand(parameter).data;
        else if (parameter->elements > largest) largest = parameter->elements;
    }
    return largest;
}

enum ft_status ft_model_save(struct ft_exec *exec, const struct ft_model *model, const struct ft_save *save,
                             const char *path, char sha256[65], struct ft_error *error) {
    struct save_job job = {.exec = exec, .model = model, .save = save};
    enum ft_status status = ft_alloc(&job.tensors, model->count, sizeof *job.tensors, error);
    if (status) return status;
    size_t largest = describe(&job);
    struct ft_arena arena = {0};
    status = ft_arena_init(&arena, ft_arena_cost(largest, sizeof(float)) + ft_arena_cost(largest, 2), error);
    if (!status) {
        job.values = ft_arena_take(&arena, largest, sizeof(float));
        job.narrow = ft_arena_take(&arena, largest, 2);
        status = ft_safetensors_write(path, job.tensors, model->count, write_tensor, &job, save->flags,
                                      sha256, error);
    }
    ft_arena_release(&arena);
    free(job.tensors);
    return status;
}
