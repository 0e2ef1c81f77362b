/* SPDX-License-Identifier: MIT
 * Writing a model's present weights, with or without its adapter fused in. */
#include "dora.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/json.h"
#include "ft/pool.h"
#include "ft/rows.h"
#include "model.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct save_job {
    struct ft_exec *exec;
    const struct ft_model *model;
    const struct ft_save *save;
    const struct ft_parameter **parameters; /* [count]: those of this file */
    struct ft_tensor_out *tensors;          /* of them, in their order */
    size_t count;
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

static bool is_adapted_table(const struct ft_model *model, const struct ft_parameter *parameter) {
    return model->embedding_adapter.a && model->embedding == parameter;
}

/* True when the bytes in memory are those to be written. */
static bool as_they_are(const struct save_job *job, const struct ft_parameter *parameter) {
    if (job->save->fuse && (adapted_by(job->model, parameter) || is_adapted_table(job->model, parameter) ||
                            ft_model_present(job->model, parameter) != parameter))
        return false;
    return ft_parameter_operand(parameter).dtype == saved_dtype(job->save, parameter);
}

static struct ft_operand transposed(struct ft_operand operand) {
    return (struct ft_operand){operand.data, operand.dtype, operand.col_stride, operand.row_stride};
}

/* values = (chain over the rank of b * a) * scale + W, in the tensor's own orientation. */
static void fuse(struct ft_exec *exec, const struct ft_module *module, const struct ft_parameter *parameter,
                 float *values) {
    struct ft_operand a = ft_parameter_operand(module->lora_a), b = ft_parameter_operand(module->lora_b);
    struct ft_product product = {.m = module->out,
                                 .n = module->in,
                                 .k = module->rank,
                                 .a = b,
                                 .b = a,
                                 .c = values,
                                 .ldc = parameter->cols,
                                 .scale = module->scale};
    if (module->in_out) { /* [in, out] = A^T B^T */
        product.m = module->in;
        product.n = module->out;
        product.a = transposed(a);
        product.b = transposed(b);
    }
    ft_gemm(exec, &product);
}

/* values [vocab, hidden] = (chain over the rank of a * b) * scale. */
static void fuse_table(struct ft_exec *exec, const struct ft_embedding_adapter *adapter,
                       const struct ft_parameter *parameter, float *values) {
    ft_gemm(exec, &(struct ft_product){.m = parameter->rows,
                                       .n = parameter->cols,
                                       .k = adapter->rank,
                                       .a = transposed(ft_parameter_operand(adapter->a)),
                                       .b = transposed(ft_parameter_operand(adapter->b)),
                                       .c = values,
                                       .ldc = parameter->cols,
                                       .scale = adapter->scale});
}

/* Each output's weights times its gain. */
static void apply_gain(const struct ft_module *module, const struct ft_parameter *parameter, float *values) {
    for (size_t r = 0; r < parameter->rows; r++)
        for (size_t c = 0; c < parameter->cols; c++)
            values[r * parameter->cols + c] *= module->gain[module->in_out ? c : r];
}

/* --- elements of one tensor, shared out among threads ------------------------------------------------------ */

enum { CHUNK = 1024, CHUNKS = 16 }; /* elements at a time, and such chunks of a task */

/* A tensor's elements in memory of one type, and as binary32. */
struct elements {
    const unsigned char *stored; /* what is widened */
    unsigned char *narrow;       /* or what is narrowed to */
    enum ft_dtype dtype;
    float *values;
    size_t count;
    atomic_bool infinite;
};

static void run_elements(struct ft_exec *exec, struct elements *e, void (*task)(void *, size_t, unsigned)) {
    ft_pool_run(ft_exec_pool(exec), e->count / (CHUNK * CHUNKS) + 1, task, e);
}

/* [begin, end) of a task */
static size_t range_end(const struct elements *e, size_t begin) {
    return e->count - begin < CHUNK * CHUNKS ? e->count : begin + CHUNK * CHUNKS;
}

static void widen_task(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct elements *e = arg;
    size_t begin = index * CHUNK * CHUNKS;
    ft_widen(e->values + begin, e->stored + begin * ft_dtype_size(e->dtype), e->dtype, range_end(e, begin) - begin);
}

static void add_task(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct elements *e = arg;
    float chunk[CHUNK];
    for (size_t i = index * CHUNK * CHUNKS, end = range_end(e, i); i < end; i += CHUNK) {
        size_t count = end - i < CHUNK ? end - i : CHUNK;
        ft_widen(chunk, e->stored + i * ft_dtype_size(e->dtype), e->dtype, count);
        for (size_t j = 0; j < count; j++) e->values[i + j] += chunk[j];
    }
}

static void narrow_task(void *arg, size_t index, unsigned worker) {
    (void)worker;
    struct elements *e = arg;
    size_t begin = index * CHUNK * CHUNKS, count = range_end(e, begin) - begin;
    unsigned char *out = e->narrow + begin * ft_dtype_size(e->dtype);
    ft_narrow(out, e->dtype, e->values + begin, count);
    if (!ft_finite(out, e->dtype, count)) atomic_store(&e->infinite, true);
}

/* values = W, or values += W, W in any type. */
static void take_weights(struct ft_exec *exec, const struct ft_parameter *parameter, bool add, float *values) {
    struct ft_operand w = ft_parameter_operand(parameter);
    struct elements e = {.stored = w.data, .dtype = w.dtype, .values = values, .count = parameter->elements};
    run_elements(exec, &e, add ? add_task : widen_task);
}

/* 16 bits of each; false when one does not fit into them. */
static bool narrow_finite(const struct save_job *job, enum ft_dtype dtype, size_t count) {
    struct elements e = {.narrow = job->narrow, .dtype = dtype, .values = job->values, .count = count};
    run_elements(job->exec, &e, narrow_task);
    return !e.infinite;
}

/* --- a tensor as it is written ------------------------------------------------------------------------------ */

enum ft_status ft_save_gather(struct ft_exec *exec, const struct ft_model *model, const struct ft_parameter *base,
                              bool fused, float *values, struct ft_error *error) {
    const struct ft_parameter *parameter = fused ? ft_model_present(model, base) : base;
    const struct ft_module *module = fused ? adapted_by(model, parameter) : NULL;
    bool table = fused && is_adapted_table(model, parameter);
    if (module || table) {
        if (module) fuse(exec, module, parameter, values);
        else fuse_table(exec, &model->embedding_adapter, parameter, values);
        take_weights(exec, parameter, true, values);
        if (module && module->magnitude) apply_gain(module, parameter, values);
    } else take_weights(exec, parameter, false, values);
    if (ft_all_finite(exec, parameter->elements, values)) return FT_OK;
    return ft_fail(error, FT_NONFINITE, "the tensor '%s' holds a NaN or an infinity", parameter->name);
}

static enum ft_status write_tensor(void *arg, const struct ft_tensor_out *tensor, size_t index,
                                   struct ft_output *output, struct ft_error *error) {
    const struct save_job *job = arg;
    const struct ft_parameter *parameter = job->parameters[index];
    enum ft_status status = ft_save_gather(job->exec, job->model, parameter, job->save->fuse, job->values, error);
    if (status) return status;
    if (tensor->dtype == FT_F32)
        return ft_output_write(output, job->values, parameter->elements * sizeof *job->values, error);
    if (!narrow_finite(job, tensor->dtype, parameter->elements))
        return ft_fail(error, FT_NONFINITE,
                       "the tensor '%s' has weights too large for its 16 bits: save as float32",
                       parameter->name);
    return ft_output_write(output, job->narrow, parameter->elements * ft_dtype_size(tensor->dtype), error);
}

static struct ft_tensor_out describe_one(const struct save_job *job, const struct ft_parameter *parameter) {
    struct ft_tensor_out tensor = {
        .name = parameter->name, .dtype = saved_dtype(job->save, parameter), .rank = parameter->rank};
    if (parameter->rank == 2) tensor.shape[0] = parameter->rows;
    tensor.shape[parameter->rank - 1] = parameter->cols;
    if (as_they_are(job, parameter)) tensor.data = ft_parameter_operand(parameter).data;
    return tensor;
}

/* Fills in the list; returns the elements of the largest tensor that cannot be written as it is. */
static size_t describe(struct save_job *job) {
    size_t largest = 0;
    for (size_t i = 0; i < job->count; i++) {
        job->tensors[i] = describe_one(job, job->parameters[i]);
        if (!job->tensors[i].data && job->parameters[i]->elements > largest) largest = job->parameters[i]->elements;
    }
    return largest;
}

/* One file of job->parameters. */
static enum ft_status save_file(struct save_job *job, const char *path, char sha256[65], struct ft_error *error) {
    struct ft_arena arena = {0};
    size_t largest = describe(job);
    enum ft_status status =
        ft_arena_init(&arena, ft_arena_cost(largest, sizeof(float)) + ft_arena_cost(largest, 2), error);
    if (!status) {
        job->values = ft_arena_take(&arena, largest, sizeof(float));
        job->narrow = ft_arena_take(&arena, largest, 2);
        status = ft_safetensors_write(path, job->tensors, job->count, write_tensor, job, job->save->flags, sha256,
                                      error);
    }
    ft_arena_release(&arena);
    return status;
}

/* One tensor cannot say what head and embedding became each. */
static enum ft_status check_tied(const struct ft_model *model, struct ft_error *error) {
    bool one = model->head.module->weight == model->embedding && !model->embedding_adapter.a;
    if (!model->config.tied || one) return FT_OK;
    return ft_fail(error, FT_UNSUPPORTED,
                   "%s: the head is the embedding table, but the adapter changes only one of them: it cannot be merged",
                   model->path);
}

enum ft_status ft_save_begin(struct ft_exec *exec, const struct ft_model *model, bool fused, struct ft_error *error) {
    struct ft_arena scratch = {0};
    size_t count = ft_dora_scratch(model);
    enum ft_status status = fused ? check_tied(model, error) : FT_OK;
    if (status || !fused || !count) return status;
    status = ft_arena_init(&scratch, ft_arena_cost(count, sizeof(float)), error);
    if (!status) ft_dora_refresh(exec, model, ft_arena_take(&scratch, count, sizeof(float)));
    ft_arena_release(&scratch);
    return status;
}

static enum ft_status prepare(struct save_job *job, struct ft_error *error) {
    enum ft_status status = ft_save_begin(job->exec, job->model, job->save->fuse, error);
    if (!status) status = ft_alloc(&job->tensors, job->model->count, sizeof *job->tensors, error);
    return status ? status : ft_alloc(&job->parameters, job->model->count, sizeof *job->parameters, error);
}

static void release(struct save_job *job) {
    free(job->parameters);
    free(job->tensors);
}

enum ft_status ft_model_save(struct ft_exec *exec, const struct ft_model *model, const struct ft_save *save,
                             const char *path, char sha256[65], struct ft_error *error) {
    struct save_job job = {.exec = exec, .model = model, .save = save, .count = model->count};
    enum ft_status status = prepare(&job, error);
    for (size_t i = 0; i < model->count && !status; i++) job.parameters[i] = model->parameters[i];
    if (!status) status = save_file(&job, path, sha256, error);
    release(&job);
    return status;
}

/* --- shards ----------------------------------------------------------------------------------------------- */

static size_t bytes_of(const struct save_job *job, const struct ft_parameter *parameter) {
    return parameter->elements * ft_dtype_size(saved_dtype(job->save, parameter));
}

/* The first parameter (in the model's order) that does not fit into the shard that begins at `first`. */
static size_t shard_end(const struct save_job *job, size_t first, size_t most) {
    size_t end = first, bytes = 0;
    while (end < job->model->count) {
        size_t more = bytes_of(job, &job->model->storage[end]);
        if (end > first && (bytes > most || more > most - bytes)) break; /* one that is larger has its own */
        bytes += more;
        end++;
    }
    return end;
}

static void shard_name(char name[64], size_t i, size_t count) {
    snprintf(name, 64, "model-%05zu-of-%05zu.safetensors", i + 1, count);
}

/* As transformers writes it. */
static enum ft_status save_index(const struct save_job *job, const char *directory, size_t most, size_t shards,
                                 struct ft_error *error) {
    struct ft_json json = {0};
    struct ft_buffer path = {0};
    uint64_t total = 0, elements = 0;
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    struct cJSON *metadata = ft_json_set_object(&json, json.root, "metadata"),
                 *map = ft_json_set_object(&json, json.root, "weight_map");
    for (size_t shard = 0, first = 0; shard < shards; shard++) {
        char name[64];
        shard_name(name, shard, shards);
        for (size_t end = shard_end(job, first, most); first < end; first++) {
            ft_json_set_string(&json, map, job->model->storage[first].name, name);
            total += bytes_of(job, &job->model->storage[first]);
            elements += job->model->storage[first].elements;
        }
    }
    ft_json_set_u64(&json, metadata, "total_parameters", elements);
    ft_json_set_u64(&json, metadata, "total_size", total);
    status = ft_path_join(&path, directory, "model.safetensors.index.json", error);
    if (!status) status = ft_json_save(&json, path.data, FT_JSON_SORTED | FT_JSON_PRETTY, job->save->flags, error);
    ft_buffer_release(&path);
    ft_json_release(&json);
    return status;
}

static enum ft_status save_shards(struct save_job *job, const char *directory, size_t most, size_t shards,
                                  struct ft_error *error) {
    struct ft_buffer path = {0};
    enum ft_status status = FT_OK;
    for (size_t shard = 0, first = 0; shard < shards && !status; shard++) {
        char name[64] = "model.safetensors";
        if (shards > 1) shard_name(name, shard, shards);
        job->count = 0;
        for (size_t end = shard_end(job, first, most); first < end; first++)
            job->parameters[job->count++] = &job->model->storage[first];
        ft_buffer_clear(&path);
        status = ft_path_join(&path, directory, name, error);
        if (!status) status = save_file(job, path.data, NULL, error);
    }
    if (!status && shards > 1) status = save_index(job, directory, most, shards, error);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_model_save_shards(struct ft_exec *exec, const struct ft_model *model, const struct ft_save *save,
                                    const char *directory, size_t most, struct ft_error *error) {
    struct save_job job = {.exec = exec, .model = model, .save = save};
    size_t shards = 0;
    for (size_t first = 0; first < model->count; shards++) first = shard_end(&job, first, most);
    enum ft_status status = prepare(&job, error);
    if (!status) status = save_shards(&job, directory, most, shards, error);
    release(&job);
    return status;
}
