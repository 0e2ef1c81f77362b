/* SPDX-License-Identifier: MIT
 * GPT-2 (Radford et al. 2019): LayerNorm, learned positions, one module for q, k and v, weights [in, out]. */
#include "family.h"

#include <math.h>

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    config->norm = FT_LAYERNORM;
    config->activation = FT_GELU_TANH;
    config->learned_positions = true;
    config->qkv_bias = config->o_bias = config->mlp_bias = true;
    config->tied = true;
    double eps = 1e-5;
    bool scaled = true;
    enum ft_status status = ft_config_size(json, "n_embd", FT_WIDTH_MAX / 4, 768, &config->hidden, error);
    if (!status)
        status = ft_config_size(json, "n_inner", FT_WIDTH_MAX, 4 * config->hidden, &config->ffn, error);
    if (!status) status = ft_config_size(json, "n_layer", FT_LAYERS_MAX, 12, &config->layers, error);
    if (!status) status = ft_config_size(json, "n_head", FT_WIDTH_MAX, 12, &config->heads, error);
    if (!status) status = ft_config_size(json, "n_positions", FT_WIDTH_MAX, 1024, &config->positions, error);
    if (!status) status = ft_config_positive(json, "layer_norm_epsilon", &eps, error);
    if (!status) status = ft_config_activation(json, "activation_function", &config->activation, error);
    if (!status)
        status = ft_json_get_bool(json, json->root, "scale_attn_weights", FT_JSON_OPTIONAL, &scaled, error);
    if (!status) status = ft_config_only(json, "scale_attn_by_inverse_layer_idx", false, error);
    if (!status) status = ft_config_only(json, "add_cross_attention", false, error);
    if (!status && config->hidden % config->heads)
        status = ft_fail(error, FT_FORMAT, "%s: n_embd %zu is no multiple of n_head %zu", json->name,
                         config->hidden, config->heads);
    if (status) return status;
    config->kv_heads = config->heads;
    config->head_dim = config->hidden / config->heads;
    config->norm_eps = (float)eps;
    config->attention_scale = scaled ? (float)(1 / sqrt((double)config->head_dim)) : 1;
    return FT_OK;
}

static const char *const buffers[] = {".attn.bias", ".attn.masked_bias", NULL};

const struct ft_family ft_family_gpt2 = {
    .model_type = "gpt2",
    .prefix = "transformer.",
    .module =
        {
            [FT_ROLE_EMBEDDING] = "transformer.wte",
            [FT_ROLE_POSITION] = "transformer.wpe",
            [FT_ROLE_FINAL_NORM] = "transformer.ln_f",
            [FT_ROLE_HEAD] = "lm_head",
            [FT_ROLE_ATTENTION_NORM] = "transformer.h.#.ln_1",
            [FT_ROLE_QKV] = "transformer.h.#.attn.c_attn",
            [FT_ROLE_O] = "transformer.h.#.attn.c_proj",
            [FT_ROLE_MLP_NORM] = "transformer.h.#.ln_2",
            [FT_ROLE_UP] = "transformer.h.#.mlp.c_fc",
            [FT_ROLE_DOWN] = "transformer.h.#.mlp.c_proj",
        },
    .in_out = true,
    .small_residual = true,
    .buffers = buffers,
    .configure = configure,
};
