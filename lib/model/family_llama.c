/* SPDX-License-Identifier: MIT
 * Llama (Touvron et al. 2023): RMSNorm, rotary positions, grouped queries, SwiGLU. */
#include "family.h"

#include <math.h>

static enum ft_status read_heads(struct ft_config *config, const struct ft_json *json,
                                 const struct ft_llama_defaults *defaults, struct ft_error *error) {
    static const char kv_key[] = "num_key_value_heads", dim_key[] = "head_dim";
    size_t kv = defaults->kv_heads && !ft_json_find(json->root, kv_key) ? defaults->kv_heads : 0,
           dim = defaults->head_dim;
    enum ft_status status =
        ft_config_size(json, "num_attention_heads", FT_WIDTH_MAX, 0, &config->heads, error);
    if (!status)
        status =
            ft_config_size(json, kv_key, FT_WIDTH_MAX, kv ? kv : config->heads, &config->kv_heads, error);
    bool named =
        ft_json_find(json->root, dim_key) && ft_json_type(ft_json_find(json->root, dim_key)) != FT_JSON_NULL;
    if (!status && !named && !dim && config->hidden % config->heads)
        status = ft_fail(error, FT_FORMAT,
                         "%s: hidden_size %zu is no multiple of %zu heads, and there is no head_dim",
                         json->name, config->hidden, config->heads);
    if (status) return status;
    if (!dim) dim = config->hidden / config->heads;
    return ft_config_size(json, dim_key, FT_WIDTH_MAX, dim ? dim : 1, &config->head_dim, error);
}

enum ft_status ft_config_llama(struct ft_config *config, const struct ft_json *json,
                               const struct ft_llama_defaults *defaults, struct ft_error *error) {
    config->norm = FT_RMSNORM;
    config->gated = true;
    double eps = defaults->eps;
    enum ft_status status = ft_config_size(json, "hidden_size", FT_WIDTH_MAX, 0, &config->hidden, error);
    if (!status) status = ft_config_size(json, "intermediate_size", FT_WIDTH_MAX, 0, &config->ffn, error);
    if (!status) status = ft_config_size(json, "num_hidden_layers", FT_LAYERS_MAX, 0, &config->layers, error);
    if (!status) status = read_heads(config, json, defaults, error);
    if (!status)
        status = ft_config_size(json, "max_position_embeddings", FT_POSITIONS_MAX, defaults->positions,
                                &config->positions, error);
    if (!status) status = ft_config_positive(json, "rms_norm_eps", &eps, error);
    if (!status)
        status = ft_config_activation(json, defaults->activation ? defaults->activation : "hidden_act",
                                      &config->activation, error);
    if (status) return status;
    config->norm_eps = (float)eps;
    config->attention_scale = (float)(1 / sqrt((double)config->head_dim));
    return FT_OK;
}

enum ft_status ft_config_biases(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    bool bias = false;
    enum ft_status status =
        ft_json_get_bool(json, json->root, "attention_bias", FT_JSON_OPTIONAL, &bias, error);
    if (!status)
        status = ft_json_get_bool(json, json->root, "mlp_bias", FT_JSON_OPTIONAL, &config->mlp_bias, error);
    config->qkv_bias = config->o_bias = bias;
    return status;
}

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {.eps = 1e-6, .positions = 2048};
    static const struct ft_rope_rules rope = {.theta = 10000};
    config->activation = FT_SILU;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status) status = ft_config_biases(config, json, error);
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const char *const ft_llama_buffers[] = {".rotary_emb.inv_freq", NULL};

const struct ft_family ft_family_llama = {
    .model_type = "llama",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_LLAMA_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
