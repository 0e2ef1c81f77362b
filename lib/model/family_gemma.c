/* SPDX-License-Identifier: MIT
 * Gemma (Gemma Team 2024): gated GELU, norms that multiply by 1 + weight, embeddings scaled by
 * sqrt(hidden_size). The scale is that of binary32: models run in bfloat16 elsewhere round it to three
 * digits. */
#include "family.h"

#include <math.h>

enum ft_status ft_config_gemma(struct ft_config *config, const struct ft_json *json,
                               const struct ft_llama_defaults *defaults, struct ft_error *error) {
    config->activation = FT_GELU_TANH;
    config->tied = true;
    config->norm_plus_one = true;
    enum ft_status status = ft_config_llama(config, json, defaults, error);
    if (!status)
        status =
            ft_json_get_bool(json, json->root, "attention_bias", FT_JSON_OPTIONAL, &config->qkv_bias, error);
    config->o_bias = config->qkv_bias;
    if (!status) status = ft_config_only(json, "use_bidirectional_attention", false, error);
    config->embedding_scale = (float)sqrt((double)config->hidden);
    return status;
}

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {
        .eps = 1e-6, .positions = 8192, .kv_heads = 16, .head_dim = 256};
    static const struct ft_rope_rules rope = {.theta = 10000};
    enum ft_status status = ft_config_gemma(config, json, &defaults, error);
    /* the first releases say "gelu" and mean the other one */
    if (config->activation == FT_GELU_ERF) config->activation = FT_GELU_TANH;
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_gemma = {
    .model_type = "gemma",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_LLAMA_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
