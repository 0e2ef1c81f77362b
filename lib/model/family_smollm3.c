/* SPDX-License-Identifier: MIT
 * SmolLM 3 (Bakouch et al. 2025): Llama without rotation in every fourth layer, where there may be a window.
 */
#include "family.h"

/* no_rope_layers: a 0 for each layer without rotation; else every no_rope_layer_interval-th has none. */
static enum ft_status read_rotated(struct ft_config *config, const struct ft_json *json,
                                   struct ft_error *error) {
    const struct cJSON *list = NULL;
    size_t interval = 4;
    enum ft_status status =
        ft_json_get_node(json, json->root, "no_rope_layers", FT_JSON_OPTIONAL, FT_JSON_ARRAY, &list, error);
    if (!status)
        status = ft_config_size(json, "no_rope_layer_interval", FT_LAYERS_MAX, interval, &interval, error);
    if (!status && list && ft_json_count(list) < config->layers)
        status = ft_json_fail(json, list, error, "has %zu entries for %zu layers", ft_json_count(list),
                              config->layers);
    const struct cJSON *entry = !status && list ? ft_json_first(list) : NULL;
    for (size_t l = 0; !status && l < config->layers; l++) {
        uint64_t rotated = (l + 1) % interval != 0;
        if (entry) status = ft_json_u64(json, entry, 0, 1, &rotated, error);
        if (entry) entry = ft_json_next(entry);
        config->kind[l].rope = rotated ? 0 : 1; /* there is no second set */
    }
    return status;
}

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {.eps = 1e-6, .positions = 32768, .kv_heads = 4};
    static const struct ft_rope_rules rope = {.theta = 2e6};
    bool use = false;
    config->activation = FT_SILU;
    config->tied = true;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status) status = ft_config_biases(config, json, error);
    if (!status) status = read_rotated(config, json, error);
    if (!status)
        status = ft_json_get_bool(json, json->root, "use_sliding_window", FT_JSON_OPTIONAL, &use, error);
    if (!status) status = ft_config_window(config, json, 0, error);
    if (!use) config->window = 0;
    for (size_t l = 0; !status && l < config->layers; l++)
        config->kind[l].window = config->window && config->kind[l].rope;
    if (!status) status = ft_config_layer_types(config, json, error);
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_smollm3 = {
    .model_type = "smollm3",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_LLAMA_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
