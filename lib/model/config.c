/* SPDX-License-Identifier: MIT */
#include "ft/config.h"

#include "family.h"
#include "ft/card.h"
#include "ft/file.h"
#include "ft/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_MAX ((size_t)1 << 20)

static const struct ft_family *const families[] = {
    &ft_family_gpt2,    &ft_family_llama,    &ft_family_mistral, &ft_family_qwen2,  &ft_family_qwen3,
    &ft_family_phi3,    &ft_family_olmo2,    &ft_family_gemma,   &ft_family_gemma2, &ft_family_gemma3_text,
    &ft_family_granite, &ft_family_gpt_neox, &ft_family_smollm3};
#define FAMILIES (sizeof families / sizeof *families)

enum ft_status ft_config_size(const struct ft_json *json, const char *key, size_t max, size_t fallback,
                              size_t *out, struct ft_error *error) {
    uint64_t value = fallback;
    enum ft_status status = ft_json_get_u64(
        json, json->root, key, fallback ? FT_JSON_OPTIONAL : FT_JSON_REQUIRED, 1, max, &value, error);
    *out = (size_t)value;
    return status;
}

enum ft_status ft_config_positive(const struct ft_json *json, const char *key, double *out,
                                  struct ft_error *error) {
    enum ft_status status = ft_json_get_double(json, json->root, key, FT_JSON_OPTIONAL, out, error);
    if (status) return status;
    if (*out > 0 && (float)*out > 0 && isfinite((float)*out)) return FT_OK;
    return ft_json_fail(json, ft_json_find(json->root, key), error, "must be a positive number");
}

enum ft_status ft_config_activation(const struct ft_json *json, const char *key, enum ft_activation *out,
                                    struct ft_error *error) {
    static const struct {
        const char *name;
        enum ft_activation activation;
    } known[] = {{"silu", FT_SILU},
                 {"swish", FT_SILU},
                 {"gelu", FT_GELU_ERF},
                 {"gelu_new", FT_GELU_TANH},
                 {"gelu_pytorch_tanh", FT_GELU_TANH},
                 {"relu", FT_RELU}};
    const char *name = NULL;
    enum ft_status status = ft_json_get_string(json, json->root, key, FT_JSON_OPTIONAL, &name, error);
    if (status || !name) return status;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        *out = known[i].activation;
        return FT_OK;
    }
    return ft_fail(error, FT_UNSUPPORTED,
                   "%s: %s: the activation function '%.64s' is not implemented; "
                   "silu, gelu, gelu_new and relu are",
                   json->name, key, name);
}

enum ft_status ft_config_only(const struct ft_json *json, const char *key, bool supported,
                              struct ft_error *error) {
    bool value = supported;
    enum ft_status status = ft_json_get_bool(json, json->root, key, FT_JSON_OPTIONAL, &value, error);
    if (status || value == supported) return status;
    return ft_fail(error, FT_UNSUPPORTED, "%s: %s: %s is not implemented", json->name, key,
                   value ? "true" : "false");
}

enum ft_status ft_config_scale(const struct ft_json *json, const char *key, float *out,
                               struct ft_error *error) {
    double value = (double)*out;
    enum ft_status status = ft_config_positive(json, key, &value, error);
    if (!status) *out = (float)value;
    return status;
}

enum ft_status ft_config_softcap(const struct ft_json *json, const char *key, float fallback, float *out,
                                 struct ft_error *error) {
    const struct cJSON *node = ft_json_find(json->root, key);
    *out = node ? 0 : fallback;
    return node && ft_json_type(node) != FT_JSON_NULL ? ft_config_scale(json, key, out, error) : FT_OK;
}

enum ft_status ft_config_window(struct ft_config *config, const struct ft_json *json, size_t fallback,
                                struct ft_error *error) {
    uint64_t window = ft_json_find(json->root, "sliding_window") ? 0 : fallback;
    enum ft_status status = ft_json_get_u64(json, json->root, "sliding_window", FT_JSON_OPTIONAL, 1,
                                            FT_POSITIONS_MAX, &window, error);
    config->window = (size_t)window;
    return status;
}

static enum ft_status read_layer_type(struct ft_config *config, const struct ft_json *json,
                                      const struct cJSON *entry, size_t l, struct ft_error *error) {
    const char *type;
    enum ft_status status = ft_json_string(json, entry, &type, error);
    if (status) return status;
    config->kind[l].window = strcmp(type, "sliding_attention") == 0;
    if (config->kind[l].window || strcmp(type, "full_attention") == 0) return FT_OK;
    return ft_fail(error, FT_UNSUPPORTED,
                   "%s: layer_types: '%.64s' is not implemented; "
                   "full_attention and sliding_attention are",
                   json->name, type);
}

enum ft_status ft_config_layer_types(struct ft_config *config, const struct ft_json *json,
                                     struct ft_error *error) {
    const struct cJSON *list = NULL;
    enum ft_status status =
        ft_json_get_node(json, json->root, "layer_types", FT_JSON_OPTIONAL, FT_JSON_ARRAY, &list, error);
    if (!status && list && ft_json_count(list) != config->layers)
        status = ft_json_fail(json, list, error, "has %zu entries for %zu layers", ft_json_count(list),
                              config->layers);
    const struct cJSON *entry = !status && list ? ft_json_first(list) : NULL;
    for (size_t l = 0; !status && entry; entry = ft_json_next(entry))
        status = read_layer_type(config, json, entry, l++, error);
    for (size_t l = 0; !status && l < config->layers; l++)
        if (config->kind[l].window && !config->window)
            status = ft_fail(error, FT_FORMAT,
                             "%s: layer %zu has a sliding window, but sliding_window is off", json->name, l);
    return status;
}

static enum ft_status refuse_family(const struct ft_json *json, const char *type, struct ft_error *error) {
    char known[FAMILIES * 16] = "";
    for (size_t i = 0, length = 0; i < FAMILIES; i++) {
        const char *between = i == 0 ? "" : i + 1 < FAMILIES ? ", " : " and ";
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", between,
                                   families[i]->model_type);
    }
    return ft_fail(error, FT_UNSUPPORTED, "%s: the model_type '%.64s' is not implemented; %s are", json->name,
                   type, known);
}

static enum ft_status find_family(struct ft_config *config, const struct ft_json *json,
                                  struct ft_error *error) {
    const char *type = NULL;
    enum ft_status status =
        ft_json_get_string(json, json->root, "model_type", FT_JSON_REQUIRED, &type, error);
    if (status) return status;
    for (size_t i = 0; i < FAMILIES; i++)
        if (strcmp(families[i]->model_type, type) == 0) config->family = families[i];
    if (!config->family) return refuse_family(json, type, error);
    memcpy(config->model_type, type, strlen(type) + 1); /* short: it is one of ours */
    return FT_OK;
}

static enum ft_status read_dtype(struct ft_config *config, const struct ft_json *json,
                                 struct ft_error *error) {
    const char *name = "float32";
    enum ft_status status =
        ft_json_get_string(json, json->root, "torch_dtype", FT_JSON_OPTIONAL, &name, error);
    if (!status) status = ft_json_get_string(json, json->root, "dtype", FT_JSON_OPTIONAL, &name, error);
    if (status) return status;
    if (strcmp(name, "float32") == 0) config->dtype = FT_F32;
    else if (strcmp(name, "bfloat16") == 0) config->dtype = FT_BF16;
    else if (strcmp(name, "float16") == 0) config->dtype = FT_F16;
    else
        return ft_fail(error, FT_UNSUPPORTED,
                       "%s: the element type '%.64s' is not implemented; "
                       "float32, bfloat16 and float16 are",
                       json->name, name);
    return FT_OK;
}

/* A token id, or with `list` a list of them (Llama 3 ends on several). Ids beyond the vocabulary occur in the
 * wild, as pads: refused here, because a generation would never end on one. */
static enum ft_status read_ids(const struct ft_json *json, const char *key, size_t vocab, uint32_t *ids,
                               size_t max, size_t *count, struct ft_error *error) {
    const struct cJSON *node = ft_json_find(json->root, key);
    *count = 0;
    if (!node || ft_json_type(node) == FT_JSON_NULL) return FT_OK;
    bool list = ft_json_type(node) == FT_JSON_ARRAY;
    for (const struct cJSON *entry = list ? ft_json_first(node) : node; entry;
         entry = list ? ft_json_next(entry) : NULL) {
        uint64_t id;
        enum ft_status status = ft_json_u64(json, entry, 0, vocab - 1, &id, error);
        if (status) return status;
        if (*count == max) return ft_json_fail(json, node, error, "more than %zu token ids", max);
        ids[(*count)++] = (uint32_t)id;
    }
    return FT_OK;
}

static enum ft_status read_common(struct ft_config *config, const struct ft_json *json,
                                  struct ft_error *error) {
    size_t bos_count = 0;
    enum ft_status status = ft_config_size(json, "vocab_size", FT_VOCAB_MAX, 0, &config->vocab, error);
    if (!status)
        status =
            ft_json_get_bool(json, json->root, "tie_word_embeddings", FT_JSON_OPTIONAL, &config->tied, error);
    config->initializer_range = 0.02;
    if (!status) status = ft_config_positive(json, "initializer_range", &config->initializer_range, error);
    if (!status) status = read_dtype(config, json, error);
    if (!status) status = read_ids(json, "bos_token_id", config->vocab, &config->bos, 1, &bos_count, error);
    config->has_bos = bos_count > 0;
    if (!status)
        status =
            read_ids(json, "eos_token_id", config->vocab, config->eos, FT_EOS_MAX, &config->eos_count, error);
    if (!status && ft_json_find(json->root, "quantization_config"))
        status = ft_fail(error, FT_UNSUPPORTED,
                         "%s: quantized weights are not implemented; "
                         "get the model in bf16, f16 or f32",
                         json->name);
    return status;
}

static enum ft_status check_relations(const struct ft_config *config, const char *name,
                                      struct ft_error *error) {
    if (config->heads % config->kv_heads)
        return ft_fail(error, FT_FORMAT, "%s: %zu query heads are no multiple of %zu key/value heads", name,
                       config->heads, config->kv_heads);
    size_t width;
    if (!ft_size_mul(config->heads, config->head_dim, &width) || width > FT_WIDTH_MAX)
        return ft_fail(error, FT_LIMIT, "%s: %zu heads of dimension %zu are too wide", name, config->heads,
                       config->head_dim);
    if (config->qkv_by_head && config->kv_heads != config->heads)
        return ft_fail(error, FT_FORMAT, "%s: %zu query heads, but %zu key/value heads", name, config->heads,
                       config->kv_heads);
    return FT_OK;
}

static enum ft_status parse(struct ft_config *config, const struct ft_json *json, struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, json->root, FT_JSON_OBJECT, error);
    if (!status) status = find_family(config, json, error);
    config->embedding_scale = config->residual_scale = config->logit_scale = 1;
    if (!status) status = config->family->configure(config, json, error);
    if (!status) status = read_common(config, json, error);
    if (!status) status = check_relations(config, json->name, error);
    return status;
}

enum ft_status ft_config_read(struct ft_config *config, const char *path, struct ft_error *error) {
    *config = (struct ft_config){0};
    struct ft_buffer file = {0}, made = {0};
    struct ft_json json = {0};
    enum ft_status status = ft_card_gguf(path, &file, error);
    if (!status && file.size) { /* its values stand for a config.json; messages name the file */
        status = ft_card_config(path, &made, error);
        if (!status) status = ft_json_parse(&json, made.data, made.size, file.data, 0, error);
    } else if (!status) {
        status = ft_path_is_directory(path) ? ft_path_join(&file, path, "config.json", error)
                                            : ft_buffer_string(&file, path, error);
        if (!status) status = ft_json_read(&json, file.data, CONFIG_MAX, error);
    }
    if (!status) status = parse(config, &json, error);
    ft_json_release(&json);
    ft_buffer_release(&made);
    ft_buffer_release(&file);
    return status;
}
