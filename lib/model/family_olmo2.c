/* SPDX-License-Identifier: MIT
 * OLMo 2 (Walsh et al. 2025): norms behind attention and feed-forward instead of before them, and of the
 * whole of q and k. */
#include "family.h"

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {.eps = 1e-5, .positions = 2048};
    static const struct ft_rope_rules rope = {.theta = 10000};
    config->activation = FT_SILU;
    config->qk_norm_whole = true;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status)
        status =
            ft_json_get_bool(json, json->root, "attention_bias", FT_JSON_OPTIONAL, &config->qkv_bias, error);
    config->o_bias = config->qkv_bias;
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_olmo2 = {
    .model_type = "olmo2",
    .prefix = "model.",
    .module =
        {
            FT_LLAMA_OUTSIDE,
            FT_LLAMA_LINEAR,
            FT_QK_NORMS,
            [FT_ROLE_POST_ATTENTION_NORM] = "model.layers.#.post_attention_layernorm",
            [FT_ROLE_POST_MLP_NORM] = "model.layers.#.post_feedforward_layernorm",
        },
    .buffers = ft_llama_buffers,
    .configure = configure,
};
