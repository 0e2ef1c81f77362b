/* SPDX-License-Identifier: MIT
 * Adapters in PEFT's files. */
#include "adapter.h"
#include "ft/file.h"
#include "ft/hash.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_FILE "adapter_config.json"
#define WEIGHTS_FILE "adapter_model.safetensors"

/* A specification and what its lists point to: strings are the document's. */
struct adapter_file {
    struct ft_json json;
    struct ft_buffer path;
    struct ft_lora_spec spec;
    const char *targets[FT_LORA_NAMES_MAX], *excluded[FT_LORA_NAMES_MAX], *saved[FT_LORA_NAMES_MAX],
        *layers_patterns[FT_LORA_NAMES_MAX];
    struct ft_lora_pattern ranks[FT_LORA_NAMES_MAX], alphas[FT_LORA_NAMES_MAX];
    size_t layers[FT_LAYERS_MAX];
};

/* --- adapter_config.json ------------------------------------------------------------------------------ */

static enum ft_status refuse_option(const struct ft_json *json, const char *key, struct ft_error *error) {
    return ft_fail(error, FT_UNSUPPORTED, "%s: %.64s is used, which is not implemented", json->name, key);
}

static bool is_set(const struct ft_json *json, const struct cJSON *node) {
    bool value = true;
    switch (ft_json_type(node)) {
    case FT_JSON_NULL: return false;
    case FT_JSON_BOOL: return !ft_json_bool(json, node, &value, NULL) && value;
    case FT_JSON_ARRAY:
    case FT_JSON_OBJECT: return ft_json_count(node) > 0;
    case FT_JSON_NUMBER:
    case FT_JSON_STRING: break;
    }
    return true;
}

/* Options that are neither implemented nor without influence on the arithmetic must be absent, null, false or empty. */
static enum ft_status refuse_options(const struct ft_json *json, struct ft_error *error) {
    static const char *const keys[] = {
        /* read below */
        "alpha_pattern", "base_sha256", "bias", "exclude_modules", "layers_pattern", "layers_to_transform", "lora_alpha",
        "modules_to_save", "peft_type", "r", "rank_pattern", "target_modules", "use_dora", "use_rslora",
        "init_lora_weights",
        /* of no influence on what a loaded adapter computes */
        "auto_mapping", "base_model_name_or_path", "eva_config", "fan_in_fan_out", "inference_mode",
        "loftq_config", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config",
        "task_type"};
    for (const struct cJSON *node = ft_json_first(json->root); node; node = ft_json_next(node)) {
        size_t i = 0, count = sizeof keys / sizeof *keys;
        while (i < count && strcmp(ft_json_key(node), keys[i]) != 0) i++;
        if (i == count && is_set(json, node)) return refuse_option(json, ft_json_key(node), error);
    }
    const char *type = "LORA";
    enum ft_status status = ft_json_get_string(json, json->root, "peft_type", FT_JSON_REQUIRED, &type, error);
    if (!status && strcmp(type, "LORA") != 0)
        status =
            ft_fail(error, FT_UNSUPPORTED, "%s: the peft_type '%.64s' is not implemented", json->name, type);
    return status;
}

/* Some ways to start change the base's weights, which nothing in the adapter says again. */
static enum ft_status check_start(const struct ft_json *json, struct ft_error *error) {
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal"};
    const struct cJSON *node = ft_json_find(json->root, "init_lora_weights");
    const char *word;
    if (!node || ft_json_type(node) == FT_JSON_NULL || ft_json_type(node) == FT_JSON_BOOL) return FT_OK;
    enum ft_status status = ft_json_string(json, node, &word, error);
    if (status) return status;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strcmp(word, harmless[i]) == 0) return FT_OK;
    return ft_fail(error, FT_UNSUPPORTED, "%s: init_lora_weights '%.64s' changes the base, which is not implemented", json->name,
                   word);
}

/* The value of a key; NULL: absent or null. */
static const struct cJSON *find(const struct ft_json *json, const char *key) {
    const struct cJSON *node = ft_json_find(json->root, key);
    return node && ft_json_type(node) != FT_JSON_NULL ? node : NULL;
}

/* A list, or where there is a place for it, a single string. */
static enum ft_status read_names(const struct ft_json *json, const char *key, const char **room, struct ft_lora_names *names,
                                 const char **string, struct ft_error *error) {
    const struct cJSON *node = find(json, key);
    if (!node) return FT_OK;
    if (string && ft_json_type(node) == FT_JSON_STRING) return ft_json_string(json, node, string, error);
    enum ft_status status = ft_json_expect(json, node, FT_JSON_ARRAY, error);
    for (const struct cJSON *entry = status ? NULL : ft_json_first(node); entry && !status; entry = ft_json_next(entry)) {
        if (names->count == FT_LORA_NAMES_MAX)
            return ft_json_fail(json, node, error, "more than %u modules", FT_LORA_NAMES_MAX);
        status = ft_json_string(json, entry, &room[names->count], error);
        if (!status && !*room[names->count]) status = ft_json_fail(json, entry, error, "an empty name");
        names->count++;
    }
    names->item = room;
    return status;
}

static enum ft_status read_targets(struct adapter_file *file, struct ft_error *error) {
    const struct ft_json *json = &file->json;
    struct ft_lora_spec *spec = &file->spec;
    if (!find(json, "target_modules")) return ft_json_fail(json, json->root, error, "target_modules is missing");
    enum ft_status status =
        read_names(json, "target_modules", file->targets, &spec->targets, &spec->target_expression, error);
    if (status) return status;
    if (!spec->target_expression && !spec->targets.count)
        return ft_json_fail(json, json->root, error, "target_modules is empty");
    if (spec->target_expression && strcmp(spec->target_expression, "all-linear") == 0) spec->target_expression = NULL;
    return FT_OK;
}

static enum ft_status read_patterns(const struct ft_json *json, const char *key, struct ft_lora_pattern *room,
                                    struct ft_lora_patterns *patterns, struct ft_error *error) {
    const struct cJSON *node = find(json, key);
    if (!node) return FT_OK;
    enum ft_status status = ft_json_expect(json, node, FT_JSON_OBJECT, error);
    for (const struct cJSON *entry = status ? NULL : ft_json_first(node); entry && !status; entry = ft_json_next(entry)) {
        if (patterns->count == FT_LORA_NAMES_MAX)
            return ft_json_fail(json, node, error, "more than %u patterns", FT_LORA_NAMES_MAX);
        struct ft_lora_pattern *pattern = &room[patterns->count++];
        pattern->key = ft_json_key(entry);
        status = ft_json_double(json, entry, &pattern->value, error);
    }
    patterns->item = room;
    return status;
}

static enum ft_status read_layer(struct adapter_file *file, const struct cJSON *node, struct ft_error *error) {
    uint64_t layer;
    if (file->spec.layer_count == FT_LAYERS_MAX) return ft_json_fail(&file->json, node, error, "too many layers");
    enum ft_status status = ft_json_u64(&file->json, node, 0, FT_LAYERS_MAX - 1, &layer, error);
    if (!status) file->layers[file->spec.layer_count++] = (size_t)layer;
    return status;
}

/* A number or a list of them. */
static enum ft_status read_layers(struct adapter_file *file, struct ft_error *error) {
    const struct cJSON *node = find(&file->json, "layers_to_transform");
    enum ft_status status = FT_OK;
    file->spec.layers = file->layers;
    if (!node) return FT_OK;
    if (ft_json_type(node) == FT_JSON_NUMBER) return read_layer(file, node, error);
    status = ft_json_expect(&file->json, node, FT_JSON_ARRAY, error);
    for (const struct cJSON *entry = status ? NULL : ft_json_first(node); entry && !status; entry = ft_json_next(entry))
        status = read_layer(file, entry, error);
    return status;
}

static enum ft_status read_layers_pattern(struct adapter_file *file, struct ft_error *error) {
    struct ft_lora_names *names = &file->spec.layers_patterns;
    const char *one = NULL;
    enum ft_status status = read_names(&file->json, "layers_pattern", file->layers_patterns, names, &one, error);
    if (status || !one || !*one) return status;
    file->layers_patterns[0] = one;
    *names = (struct ft_lora_names){file->layers_patterns, 1};
    return FT_OK;
}

static enum ft_status read_bias(struct adapter_file *file, struct ft_error *error) {
    static const char *const words[] = {"none", "all", "lora_only"};
    const char *bias = "none";
    enum ft_status status = ft_json_get_string(&file->json, file->json.root, "bias", FT_JSON_OPTIONAL, &bias, error);
    if (status) return status;
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(bias, words[i]) == 0) {
            file->spec.bias = (enum ft_lora_bias)i;
            return FT_OK;
        }
    return ft_json_fail(&file->json, ft_json_find(file->json.root, "bias"), error, "'%.32s' is not none, all or lora_only",
                        bias);
}

static enum ft_status read_adapter_config(struct adapter_file *file, const char *directory,
                                          struct ft_error *error) {
    enum ft_status status = ft_path_join(&file->path, directory, CONFIG_FILE, error);
    if (!status) status = ft_json_read(&file->json, file->path.data, (size_t)1 << 20, error);
    if (!status) status = ft_json_expect(&file->json, file->json.root, FT_JSON_OBJECT, error);
    return status;
}

static enum ft_status read_numbers(struct adapter_file *file, struct ft_error *error) {
    const struct ft_json *json = &file->json;
    struct ft_lora_spec *spec = &file->spec;
    uint64_t rank = 0;
    enum ft_status status = ft_json_get_u64(json, json->root, "r", FT_JSON_REQUIRED, 1, FT_LORA_RANK_MAX, &rank, error);
    if (!status) status = ft_json_get_double(json, json->root, "lora_alpha", FT_JSON_REQUIRED, &spec->alpha, error);
    if (!status) status = ft_json_get_bool(json, json->root, "use_rslora", FT_JSON_OPTIONAL, &spec->rslora, error);
    if (!status) status = ft_json_get_bool(json, json->root, "use_dora", FT_JSON_OPTIONAL, &spec->dora, error);
    if (!status) status = read_patterns(json, "rank_pattern", file->ranks, &spec->ranks, error);
    if (!status) status = read_patterns(json, "alpha_pattern", file->alphas, &spec->alphas, error);
    spec->rank = (size_t)rank;
    return status;
}

static enum ft_status read_spec(struct adapter_file *file, struct ft_error *error) {
    const struct ft_json *json = &file->json;
    struct ft_lora_spec *spec = &file->spec;
    enum ft_status status = refuse_options(json, error);
    if (!status) status = check_start(json, error);
    if (!status) status = read_numbers(file, error);
    if (!status) status = read_targets(file, error);
    if (!status)
        status = read_names(json, "exclude_modules", file->excluded, &spec->excluded, &spec->excluded_expression, error);
    if (!status) status = read_names(json, "modules_to_save", file->saved, &spec->saved, NULL, error);
    if (!status) status = read_layers(file, error);
    if (!status) status = read_layers_pattern(file, error);
    if (!status) status = read_bias(file, error);
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

/* Too large for a stack, with all its lists. */
static enum ft_status new_file(struct adapter_file **file, const char *directory, struct ft_error *error) {
    enum ft_status status = ft_alloc(file, 1, sizeof **file, error);
    return status ? status : read_adapter_config(*file, directory, error);
}

static void free_file(struct adapter_file *file) {
    if (!file) return;
    ft_json_release(&file->json);
    ft_buffer_release(&file->path);
    free(file);
}

enum ft_status ft_lora_base(const char *directory, char base[65], struct ft_error *error) {
    struct adapter_file *file = NULL;
    enum ft_status status = new_file(&file, directory, error);
    if (!status) status = copy_base(&file->json, base, error);
    free_file(file);
    return status;
}

/* --- adapter_model.safetensors ------------------------------------------------------------------------ */

static enum ft_status load_parameter(struct ft_parameter *parameter, const struct ft_safetensors *weights,
                                     struct ft_error *error) {
    uint64_t matrix[] = {parameter->rows, parameter->cols}, vector[] = {parameter->cols};
    const struct ft_tensor *tensor;
    enum ft_status status = ft_safetensors_need(weights, parameter->name, parameter->rank,
                                                parameter->rank == 2 ? matrix : vector, &tensor, error);
    if (status) return status;
    ft_widen(parameter->value, tensor->data, tensor->dtype, parameter->elements);
    for (size_t e = 0; e < parameter->elements; e++)
        if (!isfinite(parameter->value[e]))
            return ft_fail(error, FT_NONFINITE,
                           "%s: the tensor '%s' holds a NaN or an infinity: the file is damaged; "
                           "train it anew",
                           tensor->file, parameter->name);
    return FT_OK;
}

/* Does the tensor repeat the base's weights? */
static bool repeats(const struct ft_tensor *tensor, const struct ft_parameter *base) {
    enum { CHUNK = 256 };
    float a[CHUNK], b[CHUNK];
    struct ft_operand weights = ft_parameter_operand(base);
    bool same = tensor->readable && tensor->rank == 2 && tensor->shape[0] == base->rows && tensor->shape[1] == base->cols;
    for (size_t i = 0; same && i < base->elements; i += CHUNK) {
        size_t left = base->elements - i, count = left < CHUNK ? left : CHUNK;
        ft_widen(a, tensor->data + i * ft_dtype_size(tensor->dtype), tensor->dtype, count);
        ft_widen(b, (const unsigned char *)weights.data + i * ft_dtype_size(weights.dtype), weights.dtype, count);
        same = memcmp(a, b, count * sizeof *a) == 0;
    }
    return same;
}

/* Beside an adapted table (or head), PEFT stores the base's own weights of both. */
static bool is_base_table(const struct ft_model *model, const struct ft_tensor *tensor) {
    const struct ft_module *head = model->head.module;
    const char *name = tensor->name + strlen(FT_ADAPTER_PREFIX);
    char table[FT_NAME_MAX];
    if (strncmp(tensor->name, FT_ADAPTER_PREFIX, strlen(FT_ADAPTER_PREFIX)) != 0) return false;
    snprintf(table, sizeof table, "%s", model->names[model->embedding - model->storage]);
    *strrchr(table, '.') = '\0';
    size_t length = strlen(table), head_length = strlen(head->name);
    if (model->embedding_adapter.a && strncmp(name, table, length) == 0 && strcmp(name + length, ".base_layer.weight") == 0)
        return repeats(tensor, model->embedding);
    return head->lora_a && strncmp(name, head->name, head_length) == 0 &&
           strcmp(name + head_length, ".base_layer.weight") == 0 && repeats(tensor, head->weight);
}

/* Exactly the adapter's tensors, each of its shape. */
static enum ft_status load_weights(const struct ft_model *model, const struct ft_safetensors *weights,
                                   struct ft_error *error) {
    const struct ft_adapter *adapter = model->adapter;
    for (size_t i = 0; i < adapter->count; i++) {
        enum ft_status status = load_parameter(adapter->parameters[i], weights, error);
        if (status) return status;
    }
    for (size_t i = 0; i < ft_safetensors_count(weights); i++) {
        const struct ft_tensor *tensor = ft_safetensors_at(weights, i);
        struct ft_parameter key = {.name = tensor->name}, *pointer = &key;
        if (!bsearch(&pointer, adapter->parameters, adapter->count, sizeof pointer, ft_parameter_compare) &&
            !is_base_table(model, tensor))
            return ft_fail(error, FT_FORMAT,
                           "%s: unexpected tensor '%.200s': nothing in " CONFIG_FILE " says that it is there, or it is not the base's",
                           tensor->file, tensor->name);
    }
    return FT_OK;
}

static enum ft_status load_adapter(struct ft_model *model, const char *directory, struct ft_error *error) {
    struct ft_buffer path = {0};
    struct ft_safetensors *weights = NULL;
    enum ft_status status = ft_path_join(&path, directory, WEIGHTS_FILE, error);
    if (!status) status = ft_safetensors_open(&weights, path.data, error);
    if (!status) status = load_weights(model, weights, error);
    ft_safetensors_close(weights);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_lora_load(struct ft_model *model, const char *directory, bool train, char *base,
                            struct ft_error *error) {
    struct adapter_file *file = NULL;
    char text[FT_SHA256_HEX];
    enum ft_status status = new_file(&file, directory, error);
    if (!status) status = copy_base(&file->json, base ? base : text, error);
    if (!status) status = read_spec(file, error);
    if (!status) {
        status = ft_lora_adapt(model, &file->spec, train, error);
        if (status) ft_error_context(error, "%s", file->path.data);
    }
    if (!status) {
        status = load_adapter(model, directory, error);
        if (status) ft_lora_unadapt(model);
    }
    free_file(file);
    return status;
}

/* --- into a directory --------------------------------------------------------------------------------- */

static void set_number(struct ft_json *json, struct cJSON *object, const char *key, double value) {
    if (value == floor(value) && value < 1e15) ft_json_set_u64(json, object, key, (uint64_t)value);
    else ft_json_set_double(json, object, key, value);
}

static void set_patterns(struct ft_json *json, const char *key, const struct ft_lora_patterns *patterns) {
    struct cJSON *object = ft_json_set_object(json, json->root, key);
    for (size_t i = 0; i < patterns->count; i++)
        set_number(json, object, patterns->item[i].key, patterns->item[i].value);
}

static int compare_words(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Sorted, each once. words has room for count. */
static void set_words(struct ft_json *json, const char *key, const char **words, size_t count) {
    struct cJSON *array = ft_json_set_array(json, json->root, key);
    qsort(words, count, sizeof *words, compare_words);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(words[i - 1], words[i]) != 0) ft_json_set_string(json, array, NULL, words[i]);
}

/* Null when there are none. */
static void set_names(struct ft_json *json, const char *key, const struct ft_lora_names *names) {
    const char *words[FT_LORA_NAMES_MAX];
    ft_json_set_null(json, json->root, key);
    if (!names->count) return;
    memcpy(words, names->item, names->count * sizeof *words);
    set_words(json, key, words, names->count);
}

/* All linear modules: the last components of their names, each once. */
static void set_all_linear(struct ft_json *json, const struct ft_model *model) {
    const char *words[FT_LORA_NAMES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < model->module_count; i++) {
        const char *dot = strrchr(model->modules[i].name, '.'), *name = dot ? dot + 1 : model->modules[i].name;
        size_t seen = 0;
        if (&model->modules[i] == model->head.module) continue;
        while (seen < count && strcmp(words[seen], name) != 0) seen++;
        if (seen == count && count < FT_LORA_NAMES_MAX) words[count++] = name;
    }
    set_words(json, "target_modules", words, count);
}

void ft_lora_describe(struct ft_json *json, const struct ft_model *model, const struct ft_lora_spec *spec) {
    static const char *const biases[] = {"none", "all", "lora_only"};
    struct cJSON *root = json->root;
    bool in_out = false;
    for (size_t i = 0; i < model->module_count; i++)
        if (model->modules[i].lora_a) in_out = in_out || model->modules[i].in_out;
    set_patterns(json, "alpha_pattern", &spec->alphas);
    ft_json_set_string(json, root, "bias", biases[spec->bias]);
    if (spec->excluded_expression) ft_json_set_string(json, root, "exclude_modules", spec->excluded_expression);
    else if (spec->excluded.count) set_names(json, "exclude_modules", &spec->excluded);
    ft_json_set_bool(json, root, "fan_in_fan_out", in_out);
    ft_json_set_bool(json, root, "inference_mode", true);
    ft_json_set_bool(json, root, "init_lora_weights", true);
    set_names(json, "layers_pattern", &spec->layers_patterns);
    ft_json_set_null(json, root, "layers_to_transform");
    struct cJSON *layers = spec->layer_count ? ft_json_set_array(json, root, "layers_to_transform") : NULL;
    for (size_t i = 0; i < spec->layer_count; i++) ft_json_set_u64(json, layers, NULL, spec->layers[i]);
    set_number(json, root, "lora_alpha", spec->alpha);
    ft_json_set_double(json, root, "lora_dropout", 0);
    set_names(json, "modules_to_save", &spec->saved);
    ft_json_set_string(json, root, "peft_type", "LORA");
    ft_json_set_u64(json, root, "r", spec->rank);
    set_patterns(json, "rank_pattern", &spec->ranks);
    ft_json_set_null(json, root, "revision");
    if (spec->target_expression) ft_json_set_string(json, root, "target_modules", spec->target_expression);
    else if (spec->targets.count) set_names(json, "target_modules", &spec->targets);
    else set_all_linear(json, model);
    ft_json_set_string(json, root, "task_type", "CAUSAL_LM");
    ft_json_set_bool(json, root, "use_dora", spec->dora);
    ft_json_set_bool(json, root, "use_rslora", spec->rslora);
}

static enum ft_status save_config(const struct ft_model *model, const char *path, const char *base_name,
                                  const char *base_sha256, unsigned flags, struct ft_error *error) {
    struct ft_json json = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    const struct ft_json *config = &model->adapter->config;
    for (const struct cJSON *node = ft_json_first(config->root); node; node = ft_json_next(node))
        ft_json_set_copy(&json, json.root, ft_json_key(node), node);
    if (config->failed) json.failed = true;
    ft_json_set_string(&json, json.root, "base_model_name_or_path", base_name);
    if (base_sha256) ft_json_set_string(&json, json.root, "base_sha256", base_sha256);
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
                                            .rank = parameter->rank,
                                            .shape = {parameter->rows, parameter->cols},
                                            .data = parameter->value};
        if (parameter->rank == 1) tensors[i].shape[0] = parameter->cols;
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
