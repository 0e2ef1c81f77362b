/* SPDX-License-Identifier: MIT */
#include "ft/lora.h"

#include "ft/file.h"
#include "ft/hash.h"
#include "ft/json.h"
#include "ft/options.h"
#include "ft/rng.h"
#include "model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANK_MAX 4096u
#define TARGETS_MAX 256u
#define CONFIG_FILE "adapter_config.json"
#define WEIGHTS_FILE "adapter_model.safetensors"
#define NAME_PREFIX "base_model.model."

void ft_adapter_free(struct ft_adapter *adapter) {
    if (!adapter) return;
    ft_arena_release(&adapter->memory);
    free(adapter->targets);
    free(adapter->names);
    free(adapter->parameters);
    free(adapter->storage);
    free(adapter);
}

/* --- which modules ------------------------------------------------------------------------------------ */

static const char *last_component(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* PEFT's rule: the whole name, or its end after a dot. */
static bool matches(const char *name, const char *target) {
    size_t length = strlen(name), end = strlen(target);
    if (length == end) return strcmp(name, target) == 0;
    return length > end && name[length - end - 1] == '.' && strcmp(name + length - end, target) == 0;
}

static bool is_target(const struct ft_model *model, const struct ft_module *module,
                      const struct ft_lora_spec *spec) {
    if (!spec->targets) return module != model->head.module;
    for (size_t i = 0; i < spec->target_count; i++)
        if (matches(module->name, spec->targets[i])) return true;
    return false;
}

static enum ft_status refuse_target(const struct ft_model *model, const char *target,
                                    struct ft_error *error) {
    const char *known[TARGETS_MAX] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < model->module_count && count + 1 < TARGETS_MAX; i++)
        known[count++] = last_component(model->modules[i].name);
    const char *nearest = ft_nearest(target, known);
    return ft_fail(error, FT_USAGE, "%s: no linear module '%.100s' to adapt%s%s%s", model->path, target,
                   nearest ? " (did you mean '" : "", nearest ? nearest : "", nearest ? "'?)" : "");
}

static enum ft_status check_spec(const struct ft_model *model, const struct ft_lora_spec *spec,
                                 struct ft_error *error) {
    if (spec->rank < 1 || spec->rank > RANK_MAX)
        return ft_fail(error, FT_USAGE, "the rank of an adapter must be between 1 and %u, not %zu", RANK_MAX,
                       spec->rank);
    if (!(spec->alpha > 0 && isfinite((float)spec->alpha)))
        return ft_fail(error, FT_USAGE, "the alpha of an adapter must be a positive number, not %g",
                       spec->alpha);
    if (spec->targets && spec->target_count == 0)
        return ft_fail(error, FT_USAGE, "an adapter needs at least one target");
    for (size_t i = 0; spec->targets && i < spec->target_count; i++) {
        bool found = false;
        for (size_t j = 0; !found && j < model->module_count; j++)
            found = matches(model->modules[j].name, spec->targets[i]);
        if (!found) return refuse_target(model, spec->targets[i], error);
    }
    return FT_OK;
}

static int compare_names(const void *a, const void *b) { return strcmp(a, b); }

/* What adapter_config.json will list: the targets given, or the last components of all; sorted, each once. */
static enum ft_status list_targets(struct ft_adapter *adapter, const struct ft_model *model,
                                   const struct ft_lora_spec *spec, struct ft_error *error) {
    size_t max = spec->targets ? spec->target_count : model->module_count, count = 0;
    enum ft_status status = ft_alloc(&adapter->targets, max, sizeof *adapter->targets, error);
    if (status) return status;
    for (size_t i = 0; i < max; i++) {
        if (!spec->targets && &model->modules[i] == model->head.module) continue;
        const char *name = spec->targets ? spec->targets[i] : last_component(model->modules[i].name);
        size_t seen = 0;
        while (seen < count && strcmp(adapter->targets[seen], name) != 0) seen++;
        if (seen == count)
            snprintf(adapter->targets[count++], FT_NAME_MAX, "%s", name); /* as short as a module's */
    }
    adapter->target_count = count;
    qsort(adapter->targets, count, sizeof *adapter->targets, compare_names);
    return FT_OK;
}

/* --- structure ---------------------------------------------------------------------------------------- */

static struct ft_parameter *add_parameter(struct ft_adapter *adapter, const struct ft_module *module,
                                          const char *suffix, size_t rows, size_t cols, bool train) {
    size_t i = adapter->count++;
    int length = snprintf(adapter->names[i], FT_NAME_MAX, NAME_PREFIX "%s%s", module->name, suffix);
    assert(length > 0 && (size_t)length < FT_NAME_MAX);
    (void)length;
    struct ft_parameter *parameter = &adapter->storage[i];
    *parameter = (struct ft_parameter){.name = adapter->names[i],
                                       .rank = 2,
                                       .rows = rows,
                                       .cols = cols,
                                       .elements = rows * cols,
                                       .dtype = FT_F32,
                                       .trained = train};
    parameter->data = parameter->value = ft_arena_take(&adapter->memory, parameter->elements, sizeof(float));
    if (train) parameter->grad = ft_arena_take(&adapter->memory, parameter->elements, sizeof(float));
    assert(parameter->value && (parameter->grad || !train));
    adapter->parameters[i] = parameter;
    return parameter;
}

size_t ft_lora_size(const struct ft_model *model, const struct ft_lora_spec *spec, bool train) {
    size_t total = 0, copies = train ? 2 : 1;
    for (size_t i = 0; i < model->module_count; i++) {
        const struct ft_module *module = &model->modules[i];
        if (!is_target(model, module, spec))
            continue; /* a module is at most 2^24 wide, a rank 2^12: no overflow */
        total += copies * (ft_arena_cost(spec->rank * module->in, sizeof(float)) +
                           ft_arena_cost(spec->rank * module->out, sizeof(float)));
    }
    return total;
}

static float scale_of(const struct ft_lora_spec *spec) {
    double rank = (double)spec->rank;
    return (float)(spec->alpha / (spec->rslora ? sqrt(rank) : rank));
}

static void adapt_modules(struct ft_model *model, struct ft_adapter *adapter, const struct ft_lora_spec *spec,
                          bool train) {
    for (size_t i = 0; i < model->module_count; i++) {
        struct ft_module *module = &model->modules[i];
        if (!is_target(model, module, spec)) continue;
        module->lora_a = add_parameter(adapter, module, ".lora_A.weight", spec->rank, module->in, train);
        module->lora_b = add_parameter(adapter, module, ".lora_B.weight", module->out, spec->rank, train);
        module->rank = spec->rank;
        module->scale = scale_of(spec);
    }
    qsort(adapter->parameters, adapter->count, sizeof *adapter->parameters, ft_parameter_compare);
    model->adapter = adapter;
    if (!train) return;
    model->trained = adapter->parameters;
    model->trained_count = adapter->count;
}

/* Gives the model an adapter of zeros. */
static enum ft_status adapt(struct ft_model *model, const struct ft_lora_spec *spec, bool train,
                            struct ft_error *error) {
    if (model->trained || model->adapter)
        return ft_fail(error, FT_USAGE, "%s: the model is trained or adapted already", model->path);
    struct ft_adapter *adapter = NULL;
    size_t max = 2 * model->module_count;
    enum ft_status status = check_spec(model, spec, error);
    if (!status) status = ft_alloc(&adapter, 1, sizeof *adapter, error);
    if (status) return status;
    adapter->rank = spec->rank;
    adapter->alpha = spec->alpha;
    adapter->rslora = spec->rslora;
    status = ft_alloc(&adapter->storage, max, sizeof *adapter->storage, error);
    if (!status) status = ft_alloc(&adapter->parameters, max, sizeof *adapter->parameters, error);
    if (!status) status = ft_alloc(&adapter->names, max, sizeof *adapter->names, error);
    if (!status) status = list_targets(adapter, model, spec, error);
    if (!status) status = ft_arena_init(&adapter->memory, ft_lora_size(model, spec, train), error);
    if (status) ft_adapter_free(adapter);
    else adapt_modules(model, adapter, spec, train);
    return status;
}

/* Takes an adapter off again, when its weights cannot be had. */
static void unadapt(struct ft_model *model) {
    for (size_t i = 0; i < model->module_count; i++)
        model->modules[i].lora_a = model->modules[i].lora_b = NULL;
    model->trained = NULL;
    model->trained_count = 0;
    ft_adapter_free(model->adapter);
    model->adapter = NULL;
}

/* --- a new one ---------------------------------------------------------------------------------------- */

static void fill_uniform(struct ft_parameter *a, const struct ft_rng *rng) {
    uint32_t stream = (uint32_t)ft_xxh3(a->name, strlen(a->name));
    float bound = (float)(1 / sqrt((double)a->cols));
    for (size_t i = 0; i < a->elements; i++) {
        float u = ft_rng_uniform(rng, 0, stream, i);
        a->value[i] = (2 * u - 1) * bound;
    }
}

enum ft_status ft_lora_attach(struct ft_model *model, const struct ft_lora_spec *spec,
                              struct ft_error *error) {
    enum ft_status status = adapt(model, spec, true, error);
    if (status) return status;
    struct ft_rng rng = ft_rng_new(spec->seed, FT_RNG_INIT);
    for (size_t i = 0; i < model->module_count; i++)
        if (model->modules[i].lora_a) fill_uniform(model->modules[i].lora_a, &rng);
    return FT_OK;
}

struct ft_parameter *const *ft_lora_parameters(const struct ft_model *model, size_t *count) {
    *count = model->adapter ? model->adapter->count : 0;
    return model->adapter ? model->adapter->parameters : NULL;
}

/* --- from a directory --------------------------------------------------------------------------------- */

struct adapter_file {
    struct ft_json json;
    struct ft_buffer path;
    struct ft_lora_spec spec;
    const char *targets[TARGETS_MAX];
};

static enum ft_status refuse_option(const struct ft_json *json, const char *key, struct ft_error *error) {
    return ft_fail(error, FT_UNSUPPORTED, "%s: %s is used, which is not implemented", json->name, key);
}

/* Options that change the arithmetic in ways that are not implemented must be absent, null, false or empty.
 */
static enum ft_status refuse_options(const struct ft_json *json, struct ft_error *error) {
    static const char *const keys[] = {"use_dora",
                                       "rank_pattern",
                                       "alpha_pattern",
                                       "modules_to_save",
                                       "layers_to_transform",
                                       "lora_bias",
                                       "megatron_config",
                                       "trainable_token_indices",
                                       "exclude_modules",
                                       "target_parameters",
                                       "use_qalora",
                                       "alora_invocation_tokens",
                                       "corda_config",
                                       "eva_config",
                                       "layer_replication"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct cJSON *node = ft_json_find(json->root, keys[i]);
        bool value = false;
        if (!node || ft_json_type(node) == FT_JSON_NULL) continue;
        if (ft_json_type(node) == FT_JSON_BOOL) (void)ft_json_bool(json, node, &value, NULL);
        else if (ft_json_type(node) == FT_JSON_OBJECT || ft_json_type(node) == FT_JSON_ARRAY)
            value = ft_json_count(node) > 0;
        else value = true;
        if (value) return refuse_option(json, keys[i], error);
    }
    const char *bias = "none", *type = "LORA";
    enum ft_status status = ft_json_get_string(json, json->root, "bias", FT_JSON_OPTIONAL, &bias, error);
    if (!status) status = ft_json_get_string(json, json->root, "peft_type", FT_JSON_REQUIRED, &type, error);
    if (!status && strcmp(bias, "none") != 0) status = refuse_option(json, "bias", error);
    if (!status && strcmp(type, "LORA") != 0)
        status =
            ft_fail(error, FT_UNSUPPORTED, "%s: the peft_type '%.64s' is not implemented", json->name, type);
    return status;
}

static enum ft_status read_targets(struct adapter_file *file, struct ft_error *error) {
    const struct ft_json *json = &file->json;
    const struct cJSON *node = ft_json_find(json->root, "target_modules");
    if (!node) return ft_json_fail(json, json->root, error, "target_modules is missing");
    if (ft_json_type(node) == FT_JSON_STRING) {
        const char *text;
        enum ft_status status = ft_json_string(json, node, &text, error);
        if (status || strcmp(text, "all-linear") == 0) return status; /* targets NULL says so */
        return ft_fail(error, FT_UNSUPPORTED,
                       "%s: target_modules as a regular expression is not implemented: list the names",
                       json->name);
    }
    enum ft_status status = ft_json_expect(json, node, FT_JSON_ARRAY, error);
    for (const struct cJSON *entry = status ? NULL : ft_json_first(node); entry && !status;
         entry = ft_json_next(entry)) {
        if (file->spec.target_count == TARGETS_MAX)
            return ft_json_fail(json, node, error, "more than %u modules", TARGETS_MAX);
        status = ft_json_string(json, entry, &file->targets[file->spec.target_count++], error);
    }
    file->spec.targets = file->targets;
    return status;
}

static enum ft_status read_adapter_config(struct adapter_file *file, const char *directory,
                                          struct ft_error *error) {
    enum ft_status status = ft_path_join(&file->path, directory, CONFIG_FILE, error);
    if (!status) status = ft_json_read(&file->json, file->path.data, (size_t)1 << 20, error);
    if (!status) status = ft_json_expect(&file->json, file->json.root, FT_JSON_OBJECT, error);
    return status;
}

static enum ft_status read_spec(struct adapter_file *file, struct ft_error *error) {
    const struct ft_json *json = &file->json;
    uint64_t rank = 0;
    enum ft_status status = refuse_options(json, error);
    if (!status) status = ft_json_get_u64(json, json->root, "r", FT_JSON_REQUIRED, 1, RANK_MAX, &rank, error);
    if (!status)
        status =
            ft_json_get_double(json, json->root, "lora_alpha", FT_JSON_REQUIRED, &file->spec.alpha, error);
    if (!status)
        status =
            ft_json_get_bool(json, json->root, "use_rslora", FT_JSON_OPTIONAL, &file->spec.rslora, error);
    if (!status) status = read_targets(file, error);
    file->spec.rank = (size_t)rank;
    return status;
}

static enum ft_status copy_base(const struct ft_json *json, char *base, struct ft_error *error) {
    const char *text = "";
    unsigned char digest[FT_SHA256_SIZE];
    enum ft_status status =
        ft_json_get_string(json, json->root, "base_sha256", FT_JSON_OPTIONAL, &text, error);
    if (status) return status;
    if (*text && !ft_unhex(text, digest, FT_SHA256_SIZE))
        return ft_json_fail(json, ft_json_find(json->root, "base_sha256"), error,
                            "must be 64 hexadecimal digits");
    memcpy(base, text, strlen(text) + 1);
    return FT_OK;
}

static void release_file(struct adapter_file *file) {
    ft_json_release(&file->json);
    ft_buffer_release(&file->path);
}

enum ft_status ft_lora_base(const char *directory, char base[65], struct ft_error *error) {
    struct adapter_file file = {0};
    enum ft_status status = read_adapter_config(&file, directory, error);
    if (!status) status = copy_base(&file.json, base, error);
    release_file(&file);
    return status;
}

/* Exactly the adapter's tensors, each of its shape. */
static enum ft_status load_weights(struct ft_adapter *adapter, const struct ft_safetensors *weights,
                                   struct ft_error *error) {
    for (size_t i = 0; i < adapter->count; i++) {
        struct ft_parameter *parameter = adapter->parameters[i];
        uint64_t shape[] = {parameter->rows, parameter->cols};
        const struct ft_tensor *tensor;
        enum ft_status status = ft_safetensors_need(weights, parameter->name, 2, shape, &tensor, error);
        if (status) return status;
        ft_widen(parameter->value, tensor->data, tensor->dtype, parameter->elements);
        for (size_t e = 0; e < parameter->elements; e++)
            if (!isfinite(parameter->value[e]))
                return ft_fail(error, FT_NONFINITE,
                               "%s: the tensor '%s' holds a NaN or an infinity: the file is damaged; "
                               "train it anew",
                               tensor->file, parameter->name);
    }
    for (size_t i = 0; i < ft_safetensors_count(weights); i++) {
        const struct ft_tensor *tensor = ft_safetensors_at(weights, i);
        struct ft_parameter key = {.name = tensor->name}, *pointer = &key;
        if (!bsearch(&pointer, adapter->parameters, adapter->count, sizeof pointer, ft_parameter_compare))
            return ft_fail(error, FT_FORMAT,
                           "%s: unexpected tensor '%.200s': no target of " CONFIG_FILE " has it",
                           tensor->file, tensor->name);
    }
    return FT_OK;
}

static enum ft_status load_adapter(struct ft_model *model, const char *directory, struct ft_error *error) {
    struct ft_buffer path = {0};
    struct ft_safetensors *weights = NULL;
    enum ft_status status = ft_path_join(&path, directory, WEIGHTS_FILE, error);
    if (!status) status = ft_safetensors_open(&weights, path.data, error);
    if (!status) status = load_weights(model->adapter, weights, error);
    ft_safetensors_close(weights);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_lora_load(struct ft_model *model, const char *directory, bool train, char *base,
                            struct ft_error *error) {
    struct adapter_file file = {0};
    char text[FT_SHA256_HEX];
    enum ft_status status = read_adapter_config(&file, directory, error);
    if (!status) status = copy_base(&file.json, base ? base : text, error);
    if (!status) status = read_spec(&file, error);
    if (!status) {
        status = adapt(model, &file.spec, train, error);
        if (status) ft_error_context(error, "%s", file.path.data);
    }
    if (!status) {
        status = load_adapter(model, directory, error);
        if (status) unadapt(model);
    }
    release_file(&file);
    return status;
}

/* --- into a directory --------------------------------------------------------------------------------- */

static void set_empty_object(struct ft_json *json, const char *key) {
    (void)ft_json_set_object(json, json->root, key);
}

static void describe(struct ft_json *json, const struct ft_model *model, const char *base_name,
                     const char *base_sha256) {
    const struct ft_adapter *adapter = model->adapter;
    struct cJSON *root = json->root;
    bool in_out = false;
    for (size_t i = 0; i < model->module_count; i++)
        if (model->modules[i].lora_a) in_out = in_out || model->modules[i].in_out;
    set_empty_object(json, "alpha_pattern");
    ft_json_set_string(json, root, "base_model_name_or_path", base_name);
    if (base_sha256) ft_json_set_string(json, root, "base_sha256", base_sha256);
    ft_json_set_string(json, root, "bias", "none");
    ft_json_set_bool(json, root, "fan_in_fan_out", in_out);
    ft_json_set_bool(json, root, "inference_mode", true);
    ft_json_set_bool(json, root, "init_lora_weights", true);
    ft_json_set_null(json, root, "layers_pattern");
    ft_json_set_null(json, root, "layers_to_transform");
    if (adapter->alpha == floor(adapter->alpha) && adapter->alpha < 1e15)
        ft_json_set_u64(json, root, "lora_alpha", (uint64_t)adapter->alpha);
    else ft_json_set_double(json, root, "lora_alpha", adapter->alpha);
    ft_json_set_double(json, root, "lora_dropout", 0);
    ft_json_set_null(json, root, "modules_to_save");
    ft_json_set_string(json, root, "peft_type", "LORA");
    ft_json_set_u64(json, root, "r", adapter->rank);
    set_empty_object(json, "rank_pattern");
    ft_json_set_null(json, root, "revision");
    struct cJSON *targets = ft_json_set_array(json, root, "target_modules");
    for (size_t i = 0; i < adapter->target_count; i++)
        ft_json_set_string(json, targets, NULL, adapter->targets[i]);
    ft_json_set_string(json, root, "task_type", "CAUSAL_LM");
    ft_json_set_bool(json, root, "use_dora", false);
    ft_json_set_bool(json, root, "use_rslora", adapter->rslora);
}

static enum ft_status save_config(const struct ft_model *model, const char *path, const char *base_name,
                                  const char *base_sha256, unsigned flags, struct ft_error *error) {
    struct ft_json json = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    describe(&json, model, base_name, base_sha256);
    status = ft_json_save(&json, path, FT_JSON_SORTED | FT_JSON_PRETTY, flags, error);
    ft_json_release(&json);
    return status;
}

static enum ft_status save_weights(const struct ft_adapter *adapter, const char *path, unsigned flags,
                                   char sha256[65], struct ft_error *error) {
    struct ft_tensor_out *tensors;
    enum ft_status status = ft_alloc(&tensors, adapter->count, sizeof *tensors, error);
    if (status) return status;
    for (size_t i = 0; i < adapter->count; i++) {
        const struct ft_parameter *parameter = adapter->parameters[i];
        tensors[i] = (struct ft_tensor_out){.name = parameter->name,
                                            .dtype = FT_F32,
                                            .rank = 2,
                                            .shape = {parameter->rows, parameter->cols},
                                            .data = parameter->value};
    }
    status = ft_safetensors_write(path, tensors, adapter->count, NULL, NULL, flags, sha256, error);
    free(tensors);
    return status;
}

enum ft_status ft_lora_save(const struct ft_model *model, const char *directory, const char *base_name,
                            const char *base_sha256, unsigned flags, char sha256[65],
                            struct ft_error *error) {
    assert(model->adapter);
    struct ft_buffer path = {0};
    enum ft_status status = ft_path_join(&path, directory, CONFIG_FILE, error);
    if (!status) status = save_config(model, path.data, base_name, base_sha256, flags, error);
    ft_buffer_clear(&path);
    if (!status) status = ft_path_join(&path, directory, WEIGHTS_FILE, error);
    if (!status) status = save_weights(model->adapter, path.data, flags, sha256, error);
    ft_buffer_release(&path);
    return status;
}
