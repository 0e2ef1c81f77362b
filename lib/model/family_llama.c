/* SPDX-License-Identifier: MIT
 * Llama (Touvron et al. 2023): RMSNorm, rotary positions, grouped queries, SwiGLU. */
#include "family.h"

#include <math.h>

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    config->norm = FT_RMSNORM;
    config->gated = true;
    config->activation = FT_SILU;
    config->tied = false;
    double eps = 1e-6;
    bool attention_bias = false;
    enum ft_status status = ft_config_size(json, "hidden_size", FT_WIDTH_MAX, 0, &config->hidden, error);
    if (!status) status = ft_config_size(json, "intermediate_size", FT_WIDTH_MAX, 0, &config->ffn, error);
    if (!status) status = ft_config_size(json, "num_hidden_layers", FT_LAYERS_MAX, 0, &config->layers, error);
    if (!status) status = ft_config_size(json, "num_attention_heads", FT_WIDTH_MAX, 0, &config->heads, error);
    if (!status)
        status = ft_config_size(json, "num_key_value_heads", FT_WIDTH_MAX, config->heads, &config->kv_heads,
                                error);
    bool named = ft_json_find(json->root, "head_dim") &&
                 ft_json_type(ft_json_find(json->root, "head_dim")) != FT_JSON_NULL;
    if (!status && !named && config->hidden % config->heads)
        status = ft_fail(error, FT_FORMAT,
                         "%s: hidden_size %zu is no multiple of %zu heads, and there is no head_dim",
                         json->name, config->hidden, config->heads);
    if (!status) {
        size_t usual = config->hidden / config->heads;
        status = ft_config_size(json, "head_dim", FT_WIDTH_MAX, usual ? usual : 1, &config->head_dim, error);
    }
    if (!status)
        status =
            ft_config_size(json, "max_position_embeddings", (size_t)1 << 30, 2048, &config->positions, error);
    if (!status) status = ft_config_positive(json, "rms_norm_eps", &eps, error);
    if (!status) status = ft_config_activation(json, "hidden_act", &config->activation, error);
    if (!status)
        status =
            ft_json_get_bool(json, json->root, "attention_bias", FT_JSON_OPTIONAL, &attention_bias, error);
    if (!status)
        status = ft_json_get_bool(json, json->root, "mlp_bias", FT_JSON_OPTIONAL, &config->mlp_bias, error);
    if (!status) status = ft_config_rope(config, json, error);
    if (status) return status;
    config->norm_eps = (float)eps;
    config->qkv_bias = config->o_bias = attention_bias;
    config->attention_scale = (float)(1 / sqrt((double)config->head_dim));
    return FT_OK;
}

static const char *const buffers[] = {".rotary_emb.inv_freq", NULL};

const struct ft_family ft_family_llama = {
    .model_type = "llama",
    .prefix = "model.",
    .module =
        {
            [FT_ROLE_EMBEDDING] = "model.embed_tokens",
            [FT_ROLE_FINAL_NORM] = "model.norm",
            [FT_ROLE_HEAD] = "lm_head",
            [FT_ROLE_ATTENTION_NORM] = "model.layers.#.input_layernorm",
            [FT_ROLE_Q] = "model.layers.#.self_attn.q_proj",
            [FT_ROLE_K] = "model.layers.#.self_attn.k_proj",
            [FT_ROLE_V] = "model.layers.#.self_attn.v_proj",
            [FT_ROLE_O] = "model.layers.#.self_attn.o_proj",
            [FT_ROLE_MLP_NORM] = "model.layers.#.post_attention_layernorm",
            [FT_ROLE_GATE] = "model.layers.#.mlp.gate_proj",
            [FT_ROLE_UP] = "model.layers.#.mlp.up_proj",
            [FT_ROLE_DOWN] = "model.layers.#.mlp.down_proj",
        },
    .buffers = buffers,
    .configure = configure,
};
