/* SPDX-License-Identifier: MIT
 * Building a model out of its configuration, and binding it to the tensors of a file. */
#include "model.h"

#include "family.h"
#include "ft/card.h"
#include "ft/file.h"
#include "gguf_model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names -------------------------------------------------------------------------------------------- */

void ft_model_name(char name[FT_NAME_MAX], const char *pattern, size_t layer, const char *suffix) {
    const char *hash = strchr(pattern, '#');
    int length = hash ? snprintf(name, FT_NAME_MAX, "%.*s%zu%s%s", (int)(hash - pattern), pattern, layer,
                                 hash + 1, suffix)
                      : snprintf(name, FT_NAME_MAX, "%s%s", pattern, suffix);
    assert(length > 0 && (size_t)length < FT_NAME_MAX);
    (void)length;
}

int ft_parameter_compare(const void *a, const void *b) {
    const struct ft_parameter *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* --- structure: parameters and modules that the configuration implies --------------------------------- */

static struct ft_parameter *add_parameter(struct ft_model *model, enum ft_role role, size_t layer,
                                          const char *suffix, unsigned rank, size_t rows, size_t cols) {
    size_t i = model->count++;
    ft_model_name(model->names[i], model->config.family->module[role], layer, suffix);
    struct ft_parameter *parameter = &model->storage[i];
    *parameter = (struct ft_parameter){
        .name = model->names[i], .rank = rank, .rows = rows, .cols = cols, .elements = rows * cols};
    model->parameters[i] = parameter;
    return parameter;
}

/* A family without a name for the role has no such norm. */
static void add_norm(struct ft_model *model, enum ft_role role, size_t layer, size_t width,
                     struct ft_norm_weights *norm) {
    if (!model->config.family->module[role]) return;
    norm->weight = add_parameter(model, role, layer, ".weight", 1, 1, width);
    norm->bias =
        model->config.norm == FT_LAYERNORM ? add_parameter(model, role, layer, ".bias", 1, 1, width) : NULL;
}

static struct ft_slice add_module(struct ft_model *model, enum ft_role role, size_t layer, size_t in,
                                  size_t out, bool bias) {
    const struct ft_family *family = model->config.family;
    size_t i = model->module_count++;
    ft_model_name(model->module_names[i], family->module[role], layer, "");
    struct ft_module *module = &model->modules[i];
    *module =
        (struct ft_module){.name = model->module_names[i], .in = in, .out = out, .in_out = family->in_out};
    module->weight =
        add_parameter(model, role, layer, ".weight", 2, module->in_out ? in : out, module->in_out ? out : in);
    if (bias) module->bias = add_parameter(model, role, layer, ".bias", 1, 1, out);
    return (struct ft_slice){.module = module, .out = out};
}

static void add_attention(struct ft_model *model, size_t l) {
    const struct ft_config *config = &model->config;
    struct ft_layer *layer = &model->layers[l];
    size_t q = config->heads * config->head_dim, kv = config->kv_heads * config->head_dim;
    if (config->qkv_by_head) {
        layer->qkv = add_module(model, FT_ROLE_QKV, l, config->hidden, q + 2 * kv, config->qkv_bias);
    } else if (config->family->module[FT_ROLE_QKV]) {
        struct ft_slice all = add_module(model, FT_ROLE_QKV, l, config->hidden, q + 2 * kv, config->qkv_bias);
        layer->q = (struct ft_slice){.module = all.module, .out = q};
        layer->k = (struct ft_slice){.module = all.module, .first = q, .out = kv};
        layer->v = (struct ft_slice){.module = all.module, .first = q + kv, .out = kv};
    } else {
        layer->q = add_module(model, FT_ROLE_Q, l, config->hidden, q, config->qkv_bias);
        layer->k = add_module(model, FT_ROLE_K, l, config->hidden, kv, config->qkv_bias);
        layer->v = add_module(model, FT_ROLE_V, l, config->hidden, kv, config->qkv_bias);
    }
    add_norm(model, FT_ROLE_Q_NORM, l, config->qk_norm_whole ? q : config->head_dim, &layer->q_norm);
    add_norm(model, FT_ROLE_K_NORM, l, config->qk_norm_whole ? kv : config->head_dim, &layer->k_norm);
    layer->o = add_module(model, FT_ROLE_O, l, q, config->hidden, config->o_bias);
}

static void add_feed_forward(struct ft_model *model, size_t l) {
    const struct ft_config *config = &model->config;
    struct ft_layer *layer = &model->layers[l];
    size_t F = config->ffn;
    if (config->family->module[FT_ROLE_GATE_UP]) {
        struct ft_slice both = add_module(model, FT_ROLE_GATE_UP, l, config->hidden, 2 * F, config->mlp_bias);
        layer->gate = (struct ft_slice){.module = both.module, .out = F};
        layer->up = (struct ft_slice){.module = both.module, .first = F, .out = F};
    } else {
        if (config->gated)
            layer->gate = add_module(model, FT_ROLE_GATE, l, config->hidden, F, config->mlp_bias);
        layer->up = add_module(model, FT_ROLE_UP, l, config->hidden, F, config->mlp_bias);
    }
    layer->down = add_module(model, FT_ROLE_DOWN, l, F, config->hidden, config->mlp_bias);
}

static void add_layer(struct ft_model *model, size_t l) {
    const struct ft_config *config = &model->config;
    struct ft_layer *layer = &model->layers[l];
    add_norm(model, FT_ROLE_ATTENTION_NORM, l, config->hidden, &layer->attention_norm);
    add_attention(model, l);
    add_norm(model, FT_ROLE_POST_ATTENTION_NORM, l, config->hidden, &layer->post_attention_norm);
    add_norm(model, FT_ROLE_MLP_NORM, l, config->hidden, &layer->mlp_norm);
    add_feed_forward(model, l);
    add_norm(model, FT_ROLE_POST_MLP_NORM, l, config->hidden, &layer->post_mlp_norm);
}

/* A tied head is a module behind the last one that counts: nothing outside may name or adapt it. */
static void add_head(struct ft_model *model) {
    const struct ft_config *config = &model->config;
    struct ft_module *head = &model->modules[model->module_count];
    if (config->tied) {
        *head = (struct ft_module){.name = config->family->module[FT_ROLE_HEAD],
                                   .in = config->hidden,
                                   .out = config->vocab,
                                   .weight = model->embedding};
        model->head = (struct ft_slice){.module = head, .out = config->vocab};
        return;
    }
    model->head = add_module(model, FT_ROLE_HEAD, 0, config->hidden, config->vocab, false);
    head->in_out = false; /* nn.Linear even where the layers are Conv1D */
    head->weight->rows = config->vocab;
    head->weight->cols = config->hidden;
}

enum { LAYER_PARAMETERS = 26, LAYER_MODULES = 7, OTHER_PARAMETERS = 5 };

static enum ft_status build(struct ft_model *model, struct ft_error *error) {
    const struct ft_config *config = &model->config;
    size_t parameters = config->layers * LAYER_PARAMETERS + OTHER_PARAMETERS,
           modules = config->layers * LAYER_MODULES + 1;
    enum ft_status status = ft_alloc(&model->storage, parameters, sizeof *model->storage, error);
    if (!status) status = ft_alloc(&model->parameters, parameters, sizeof *model->parameters, error);
    if (!status) status = ft_alloc(&model->names, parameters, sizeof *model->names, error);
    if (!status) status = ft_alloc(&model->modules, modules, sizeof *model->modules, error);
    if (!status) status = ft_alloc(&model->module_names, modules, sizeof *model->module_names, error);
    if (!status) status = ft_alloc(&model->layers, config->layers, sizeof *model->layers, error);
    if (status) return status;
    model->embedding =
        add_parameter(model, FT_ROLE_EMBEDDING, 0, ".weight", 2, config->vocab, config->hidden);
    if (config->learned_positions)
        model->position =
            add_parameter(model, FT_ROLE_POSITION, 0, ".weight", 2, config->positions, config->hidden);
    for (size_t l = 0; l < config->layers; l++) add_layer(model, l);
    add_norm(model, FT_ROLE_FINAL_NORM, 0, config->hidden, &model->final_norm);
    add_head(model);
    assert(model->count <= parameters && model->module_count <= modules);
    qsort(model->parameters, model->count, sizeof *model->parameters, ft_parameter_compare);
    return FT_OK;
}

/* --- binding to a file -------------------------------------------------------------------------------- */

static enum ft_status bind_one(struct ft_model *model, struct ft_parameter *parameter,
                               struct ft_error *error) {
    uint64_t matrix[] = {parameter->rows, parameter->cols}, vector[] = {parameter->cols};
    const struct ft_tensor *tensor;
    enum ft_status status = ft_safetensors_need(model->file, parameter->name, parameter->rank,
                                                parameter->rank == 2 ? matrix : vector, &tensor, error);
    if (status) return status;
    parameter->dtype = tensor->dtype;
    parameter->data = tensor->data;
    return FT_OK;
}

/* Some files leave the family's prefix out ("h.0..." for "transformer.h.0..."): then all names do. */
static void drop_prefix(struct ft_model *model) {
    const char *prefix = model->config.family->prefix;
    size_t length = strlen(prefix);
    if (ft_safetensors_find(model->file, model->embedding->name)) return;
    if (!ft_safetensors_find(model->file, model->embedding->name + length)) return;
    for (size_t i = 0; i < model->count; i++)
        if (strncmp(model->parameters[i]->name, prefix, length) == 0) model->parameters[i]->name += length;
    qsort(model->parameters, model->count, sizeof *model->parameters, ft_parameter_compare);
}

static bool is_buffer(const struct ft_family *family, const char *name) {
    size_t length = strlen(name);
    for (const char *const *buffer = family->buffers; *buffer; buffer++) {
        size_t end = strlen(*buffer);
        if (length > end && strcmp(name + length - end, *buffer) == 0) return true;
    }
    return false;
}

/* A tied model's file may repeat the table as the head, but only with the same bytes. */
static bool is_tied_copy(const struct ft_model *model, const struct ft_tensor *tensor) {
    char name[FT_NAME_MAX];
    ft_model_name(name, model->config.family->module[FT_ROLE_HEAD], 0, ".weight");
    const struct ft_parameter *table = model->embedding;
    return model->config.tied && strcmp(tensor->name, name) == 0 && tensor->readable &&
           tensor->dtype == table->dtype && tensor->elements == table->elements &&
           memcmp(tensor->data, table->data, tensor->bytes) == 0;
}

static enum ft_status refuse_unexpected(const struct ft_model *model, struct ft_error *error) {
    for (size_t i = 0; i < ft_safetensors_count(model->file); i++) {
        const struct ft_tensor *tensor = ft_safetensors_at(model->file, i);
        struct ft_parameter key = {.name = tensor->name}, *pointer = &key;
        if (bsearch(&pointer, model->parameters, model->count, sizeof pointer, ft_parameter_compare))
            continue;
        if (is_buffer(model->config.family, tensor->name) || is_tied_copy(model, tensor)) continue;
        return ft_fail(error, FT_FORMAT,
                       "%s: unexpected tensor '%.200s': a %s model of this config.json has none of that name",
                       tensor->file, tensor->name, model->config.model_type);
    }
    return FT_OK;
}

/* Vectors are small and kernels take them in binary32: always widened. */
static enum ft_status widen_vectors(struct ft_model *model, struct ft_error *error) {
    size_t total = 0;
    for (size_t i = 0; i < model->count; i++)
        if (model->storage[i].rank == 1) total += ft_arena_cost(model->storage[i].elements, sizeof(float));
    enum ft_status status = ft_arena_init(&model->vectors, total, error);
    for (size_t i = 0; !status && i < model->count; i++) {
        struct ft_parameter *parameter = &model->storage[i];
        if (parameter->rank != 1) continue;
        parameter->value = ft_arena_take(&model->vectors, parameter->elements, sizeof(float));
        assert(parameter->value);
        ft_parameter_widen(parameter, parameter->value);
    }
    return status;
}

static enum ft_status bind_file(struct ft_model *model, struct ft_error *error) {
    drop_prefix(model);
    for (size_t i = 0; i < model->count; i++) {
        enum ft_status status = bind_one(model, model->parameters[i], error);
        if (status) return status;
    }
    enum ft_status status = refuse_unexpected(model, error);
    return status ? status : widen_vectors(model, error);
}

/* --- the life of a model ------------------------------------------------------------------------------ */

static enum ft_status new_model(struct ft_model **out, const char *path, struct ft_error *error) {
    struct ft_model *model = NULL;
    enum ft_status status = ft_alloc(&model, 1, sizeof *model, error);
    if (status) return status;
    status = ft_alloc(&model->path, strlen(path) + 1, 1, error);
    if (!status) {
        memcpy(model->path, path, strlen(path) + 1);
        status = ft_config_read(&model->config, path, error);
    }
    if (!status) status = build(model, error);
    if (status) ft_model_free(model);
    else *out = model;
    return status;
}

static enum ft_status open_directory(struct ft_model **model, const char *directory, struct ft_error *error) {
    enum ft_status status = FT_OK;
    if (!ft_path_is_directory(directory))
        status = ft_fail(error, ft_path_exists(directory) ? FT_USAGE : FT_IO,
                         "%s: a model is a directory with config.json and model.safetensors, or a .gguf file",
                         directory);
    if (!status) status = new_model(model, directory, error);
    if (!status) status = ft_safetensors_open(&(*model)->file, directory, error);
    return status ? status : bind_file(*model, error);
}

static enum ft_status open_gguf(struct ft_model **model, const char *path, struct ft_error *error) {
    enum ft_status status = new_model(model, path, error);
    if (!status) status = ft_gguf_bind(*model, path, error);
    return status ? status : widen_vectors(*model, error);
}

enum ft_status ft_model_open(struct ft_model **out, const char *path, struct ft_error *error) {
    *out = NULL;
    struct ft_model *model = NULL;
    struct ft_buffer gguf = {0};
    enum ft_status status = ft_card_gguf(path, &gguf, error);
    if (!status)
        status = gguf.size ? open_gguf(&model, gguf.data, error) : open_directory(&model, path, error);
    ft_buffer_release(&gguf);
    if (status) ft_model_free(model);
    else *out = model;
    return status;
}

enum ft_status ft_model_new_random(struct ft_model **out, const char *config, uint64_t seed,
                                   struct ft_error *error) {
    *out = NULL;
    struct ft_model *model = NULL;
    enum ft_status status = new_model(&model, config, error);
    if (!status) status = ft_model_initialise(model, seed, error);
    if (status) ft_model_free(model);
    else *out = model;
    return status;
}

enum ft_status ft_model_new_shapes(struct ft_model **out, const char *config, struct ft_error *error) {
    *out = NULL;
    enum ft_status status = new_model(out, config, error);
    if (status) return status;
    (*out)->shapes_only = true;
    for (size_t i = 0; i < (*out)->count; i++) (*out)->storage[i].dtype = FT_F32;
    return FT_OK;
}

void ft_model_free(struct ft_model *model) {
    if (!model) return;
    ft_adapter_free(model->adapter);
    ft_arena_release(&model->gradients);
    ft_arena_release(&model->masters);
    ft_arena_release(&model->vectors);
    ft_arena_release(&model->imported);
    free(model->layers);
    free(model->module_names);
    free(model->modules);
    free(model->names);
    free(model->parameters);
    free(model->storage);
    ft_safetensors_close(model->file);
    ft_gguf_close(model->gguf);
    free(model->path);
    free(model);
}

const struct ft_config *ft_model_config(const struct ft_model *model) { return &model->config; }
const char *ft_model_path(const struct ft_model *model) { return model->path; }

struct ft_parameter *const *ft_model_parameters(const struct ft_model *model, size_t *count) {
    *count = model->count;
    return model->parameters;
}

struct ft_parameter *const *ft_model_trained(const struct ft_model *model, size_t *count) {
    *count = model->trained_count;
    return model->trained;
}

struct ft_module *ft_model_modules(const struct ft_model *model, size_t *count) {
    *count = model->module_count;
    return model->modules;
}

/* --- places ------------------------------------------------------------------------------------------- */

static void visit_module(struct ft_module *module, void (*visit)(void *, const struct ft_place *), void *arg) {
    struct ft_place place = {.at = &module->weight, .module = module};
    snprintf(place.name, sizeof place.name, "%s", module->name);
    visit(arg, &place);
    place.at = &module->bias;
    place.bias = true;
    if (module->bias) visit(arg, &place);
}

/* A parameter that is no module's: the name is the structure's, whatever the file leaves out. */
static void visit_other(const struct ft_model *model, struct ft_parameter **at, bool bias,
                        void (*visit)(void *, const struct ft_place *), void *arg) {
    struct ft_place place = {.at = at, .bias = bias};
    if (!*at) return;
    assert(*at >= model->storage && *at < model->storage + model->count);
    snprintf(place.name, sizeof place.name, "%s", model->names[*at - model->storage]);
    *strrchr(place.name, '.') = '\0';
    visit(arg, &place);
}

static void visit_norm(const struct ft_model *model, struct ft_norm_weights *norm,
                       void (*visit)(void *, const struct ft_place *), void *arg) {
    visit_other(model, &norm->weight, false, visit, arg);
    visit_other(model, &norm->bias, true, visit, arg);
}

void ft_model_each_place(struct ft_model *model, void (*visit)(void *arg, const struct ft_place *place), void *arg) {
    for (size_t i = 0; i < model->module_count; i++) visit_module(&model->modules[i], visit, arg);
    if (model->config.tied) visit_module(model->head.module, visit, arg);
    for (size_t l = 0; l < model->config.layers; l++) {
        struct ft_layer *layer = &model->layers[l];
        struct ft_norm_weights *norms[] = {&layer->attention_norm, &layer->q_norm, &layer->k_norm,
                                           &layer->post_attention_norm, &layer->mlp_norm, &layer->post_mlp_norm};
        for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) visit_norm(model, norms[i], visit, arg);
    }
    visit_norm(model, &model->final_norm, visit, arg);
    visit_other(model, &model->embedding, false, visit, arg);
    visit_other(model, &model->position, false, visit, arg);
}

/* --- parameters --------------------------------------------------------------------------------------- */

void ft_parameter_widen(const struct ft_parameter *parameter, float *out) {
    ft_widen(out, parameter->data, parameter->dtype, parameter->elements);
}

struct ft_operand ft_parameter_operand(const struct ft_parameter *parameter) {
    return (struct ft_operand){.data = parameter->value ? parameter->value : parameter->data,
                               .dtype = parameter->value ? FT_F32 : parameter->dtype,
                               .row_stride = parameter->cols,
                               .col_stride = 1};
}

static bool add_cost(size_t *total, const struct ft_parameter *parameter) {
    return ft_size_add(*total, ft_arena_cost(parameter->elements, sizeof(float)), total);
}

/* False when the sizes overflow. Vectors, and everything of a random model, have their masters already. */
static bool full_sizes(const struct ft_model *model, size_t *masters, size_t *gradients) {
    *masters = *gradients = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (!model->storage[i].value && !add_cost(masters, &model->storage[i])) return false;
        if (!add_cost(gradients, &model->storage[i])) return false;
    }
    return true;
}

size_t ft_model_train_full_size(const struct ft_model *model) {
    size_t masters, gradients, total;
    return full_sizes(model, &masters, &gradients) && ft_size_add(masters, gradients, &total) ? total
                                                                                              : SIZE_MAX;
}

void ft_model_forget(const struct ft_model *model, const struct ft_parameter *parameter) {
    if (model->file && parameter->trained && parameter->data != parameter->value)
        ft_map_forget(parameter->data, parameter->elements * ft_dtype_size(parameter->dtype));
}

static enum ft_status take_full(struct ft_model *model, struct ft_error *error) {
    size_t masters, gradients;
    if (!full_sizes(model, &masters, &gradients))
        return ft_fail(error, FT_LIMIT, "%s: the weights do not fit into memory", model->path);
    enum ft_status status = masters ? ft_arena_init(&model->masters, masters, error) : FT_OK;
    if (!status) status = ft_arena_init(&model->gradients, gradients, error);
    for (size_t i = 0; i < model->count && !status; i++) {
        struct ft_parameter *parameter = model->parameters[i];
        if (!parameter->value) {
            parameter->value = ft_arena_take(&model->masters, parameter->elements, sizeof(float));
            assert(parameter->value);
            ft_parameter_widen(parameter, parameter->value);
        }
        parameter->grad = ft_arena_take(&model->gradients, parameter->elements, sizeof(float));
        assert(parameter->grad);
        parameter->trained = true;
        ft_model_forget(model, parameter);
    }
    return status;
}

enum ft_status ft_model_train_full(struct ft_model *model, struct ft_error *error) {
    assert(!model->trained && !model->adapter);
    enum ft_status status = model->shapes_only ? FT_OK : take_full(model, error);
    if (status) return status;
    for (size_t i = 0; i < model->count; i++) model->parameters[i]->trained = true;
    model->trained = model->parameters;
    model->trained_count = model->count;
    return FT_OK;
}

/* --- what needs a gradient ---------------------------------------------------------------------------- */

static bool slice_trained(struct ft_slice slice) {
    const struct ft_module *module = slice.module;
    return module && (module->weight->trained || (module->bias && module->bias->trained) ||
                      (module->lora_a && module->lora_a->trained));
}

static bool norm_trained(const struct ft_norm_weights *norm) {
    return norm->weight && (norm->weight->trained || (norm->bias && norm->bias->trained));
}

static size_t lowest_in_layer(const struct ft_layer *layer) {
    if (norm_trained(&layer->attention_norm)) return FT_POINT_NORM1;
    if (slice_trained(layer->qkv) || slice_trained(layer->q) || slice_trained(layer->k) ||
        slice_trained(layer->v))
        return FT_POINT_QKV;
    if (norm_trained(&layer->q_norm) || norm_trained(&layer->k_norm)) return FT_POINT_QK_NORM;
    if (slice_trained(layer->o)) return FT_POINT_O;
    if (norm_trained(&layer->post_attention_norm)) return FT_POINT_POST_ATTENTION;
    if (norm_trained(&layer->mlp_norm)) return FT_POINT_NORM2;
    if (slice_trained(layer->gate) || slice_trained(layer->up)) return FT_POINT_GATE_UP;
    if (slice_trained(layer->down)) return FT_POINT_DOWN;
    if (norm_trained(&layer->post_mlp_norm)) return FT_POINT_POST_MLP;
    return FT_POINTS;
}

size_t ft_model_lowest(const struct ft_model *model) {
    if (model->embedding->trained || (model->position && model->position->trained)) return 0;
    if (model->embedding_adapter.a && model->embedding_adapter.a->trained) return 0;
    for (size_t l = 0; l < model->config.layers; l++) {
        size_t point = lowest_in_layer(&model->layers[l]);
        if (point < FT_POINTS) return ft_model_point(l, (enum ft_point)point);
    }
    size_t final = ft_model_point(model->config.layers, FT_POINT_NORM1);
    if (norm_trained(&model->final_norm)) return final;
    return slice_trained(model->head) ? final + 1 : SIZE_MAX;
}

/* --- finite weights ----------------------------------------------------------------------------------- */

struct finite_job {
    const struct ft_parameter *const *parameters;
    unsigned char *bad; /* [count] */
};

static void check_parameter(void *arg, size_t i, unsigned worker) {
    (void)worker;
    struct finite_job *job = arg;
    const struct ft_parameter *parameter = job->parameters[i];
    struct ft_operand weights = ft_parameter_operand(parameter);
    job->bad[i] = !ft_finite(weights.data, weights.dtype, parameter->elements);
}

enum ft_status ft_model_check_finite(struct ft_exec *exec, const struct ft_model *model,
                                     struct ft_error *error) {
    struct finite_job job = {.parameters = (const struct ft_parameter *const *)model->parameters};
    enum ft_status status = ft_alloc(&job.bad, model->count, 1, error);
    if (status) return status;
    ft_pool_run(ft_exec_pool(exec), model->count, check_parameter, &job);
    const unsigned char *first = memchr(job.bad, 1, model->count);
    if (first)
        status = ft_fail(error, FT_NONFINITE,
                         "%s: the tensor '%s' holds a NaN or an infinity: the file is damaged; "
                         "get another copy",
                         model->path, model->parameters[first - job.bad]->name);
    free(job.bad);
    return status;
}
