/* SPDX-License-Identifier: MIT
 * Qwen 2 (Yang et al. 2024): Llama with biases of q, k and v, and a window in the upper layers if wanted. */
#include "family.h"

enum ft_status ft_config_qwen_windows(struct ft_config *config, const struct ft_json *json,
                                      struct ft_error *error) {
    bool use = false;
    uint64_t first = 28;
    enum ft_status status =
        ft_json_get_bool(json, json->root, "use_sliding_window", FT_JSON_OPTIONAL, &use, error);
    if (!status) status = ft_config_window(config, json, 4096, error);
    if (!status)
        status = ft_json_get_u64(json, json->root, "max_window_layers", FT_JSON_OPTIONAL, 0, UINT32_MAX,
                                 &first, error);
    if (status) return status;
    if (!use) config->window = 0;
    for (size_t l = 0; l < config->layers; l++) config->kind[l].window = config->window && l >= first;
    return ft_config_layer_types(config, json, error);
}

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {.eps = 1e-6, .positions = 32768, .kv_heads = 32};
    static const struct ft_rope_rules rope = {.theta = 10000};
    config->activation = FT_SILU;
    config->qkv_bias = true;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status) status = ft_config_qwen_windows(config, json, error);
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_qwen2 = {
    .model_type = "qwen2",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_LLAMA_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
