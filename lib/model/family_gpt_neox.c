/* SPDX-License-Identifier: MIT
 * GPT-NeoX (Black et al. 2022; Pythia): LayerNorm and biases, attention and feed-forward side by side, part
 * of each head rotated, one module whose outputs are q, k and v of a head, then of the next. */
#include "family.h"

#include <math.h>

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_rope_rules rope = {
        .theta_key = "rotary_emb_base", .theta = 10000, .part_key = "rotary_pct", .part = 0.25};
    config->norm = FT_LAYERNORM;
    config->activation = FT_GELU_ERF;
    config->qkv_by_head = config->parallel = config->qkv_bias = config->mlp_bias = true;
    double eps = 1e-5;
    enum ft_status status = ft_config_size(json, "hidden_size", FT_WIDTH_MAX / 4, 0, &config->hidden, error);
    if (!status) status = ft_config_size(json, "intermediate_size", FT_WIDTH_MAX, 0, &config->ffn, error);
    if (!status) status = ft_config_size(json, "num_hidden_layers", FT_LAYERS_MAX, 0, &config->layers, error);
    if (!status) status = ft_config_size(json, "num_attention_heads", FT_WIDTH_MAX, 0, &config->heads, error);
    if (!status)
        status = ft_config_size(json, "max_position_embeddings", FT_POSITIONS_MAX, 2048, &config->positions,
                                error);
    if (!status) status = ft_config_positive(json, "layer_norm_eps", &eps, error);
    if (!status) status = ft_config_activation(json, "hidden_act", &config->activation, error);
    if (!status)
        status = ft_json_get_bool(json, json->root, "use_parallel_residual", FT_JSON_OPTIONAL,
                                  &config->parallel, error);
    if (!status)
        status =
            ft_json_get_bool(json, json->root, "attention_bias", FT_JSON_OPTIONAL, &config->qkv_bias, error);
    if (!status && config->hidden % config->heads)
        status = ft_fail(error, FT_FORMAT, "%s: hidden_size %zu is no multiple of %zu heads", json->name,
                         config->hidden, config->heads);
    if (status) return status;
    config->o_bias = config->qkv_bias;
    config->kv_heads = config->heads;
    config->head_dim = config->hidden / config->heads;
    config->norm_eps = (float)eps;
    config->attention_scale = (float)(1 / sqrt((double)config->head_dim));
    return ft_config_rope(config, json, &rope, error);
}

static const char *const buffers[] = {".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq",
                                      NULL};

const struct ft_family ft_family_gpt_neox = {
    .model_type = "gpt_neox",
    .prefix = "gpt_neox.",
    .module =
        {
            [FT_ROLE_EMBEDDING] = "gpt_neox.embed_in",
            [FT_ROLE_FINAL_NORM] = "gpt_neox.final_layer_norm",
            [FT_ROLE_HEAD] = "embed_out",
            [FT_ROLE_ATTENTION_NORM] = "gpt_neox.layers.#.input_layernorm",
            [FT_ROLE_QKV] = "gpt_neox.layers.#.attention.query_key_value",
            [FT_ROLE_O] = "gpt_neox.layers.#.attention.dense",
            [FT_ROLE_MLP_NORM] = "gpt_neox.layers.#.post_attention_layernorm",
            [FT_ROLE_UP] = "gpt_neox.layers.#.mlp.dense_h_to_4h",
            [FT_ROLE_DOWN] = "gpt_neox.layers.#.mlp.dense_4h_to_h",
        },
    .buffers = buffers,
    .configure = configure,
};
