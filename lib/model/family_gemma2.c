/* SPDX-License-Identifier: MIT
 * Gemma 2 (Gemma Team 2024): Gemma with norms behind attention and feed-forward too, scores and logits capped
 * by tanh, and a window in every other layer. */
#include "family.h"

#include <math.h>

enum ft_status ft_config_gemma2(struct ft_config *config, const struct ft_json *json, float softcap,
                                struct ft_error *error) {
    float divisor = 256;
    enum ft_status status = ft_config_scale(json, "query_pre_attn_scalar", &divisor, error);
    config->attention_scale = (float)(1 / sqrt((double)divisor));
    if (!status)
        status = ft_config_softcap(json, "final_logit_softcapping", softcap, &config->logit_softcap, error);
    return status ? status : ft_config_window(config, json, 4096, error);
}

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {
        .eps = 1e-6, .positions = 8192, .kv_heads = 4, .head_dim = 256, .activation = "hidden_activation"};
    static const struct ft_rope_rules rope = {.theta = 10000};
    enum ft_status status = ft_config_gemma(config, json, &defaults, error);
    if (!status) status = ft_config_gemma2(config, json, 30, error);
    if (!status)
        status = ft_config_softcap(json, "attn_logit_softcapping", 50, &config->attention_softcap, error);
    for (size_t l = 0; !status && l < config->layers; l++)
        config->kind[l].window = config->window && l % 2 == 0;
    if (!status) status = ft_config_layer_types(config, json, error);
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_gemma2 = {
    .model_type = "gemma2",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_GEMMA2_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
