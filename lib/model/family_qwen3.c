/* SPDX-License-Identifier: MIT
 * Qwen 3 (Yang et al. 2025): Llama with heads of a width of their own and norms of q and k, head by head. */
#include "family.h"

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {
        .eps = 1e-6, .positions = 32768, .kv_heads = 32, .head_dim = 128};
    static const struct ft_rope_rules rope = {.theta = 10000};
    config->activation = FT_SILU;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status)
        status =
            ft_json_get_bool(json, json->root, "attention_bias", FT_JSON_OPTIONAL, &config->qkv_bias, error);
    config->o_bias = config->qkv_bias;
    if (!status) status = ft_config_qwen_windows(config, json, error);
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_qwen3 = {
    .model_type = "qwen3",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_LLAMA_NORMS, FT_QK_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
