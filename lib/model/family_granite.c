/* SPDX-License-Identifier: MIT
 * Granite 3 (Granite Team 2024): Llama with multipliers of embeddings, residual branches, scores and logits.
 */
#include "family.h"

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {.eps = 1e-6, .positions = 2048};
    static const struct ft_rope_rules rope = {.theta = 10000};
    float divisor = 1;
    config->activation = FT_SILU;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status) status = ft_config_biases(config, json, error);
    config->attention_scale = 1;
    if (!status) status = ft_config_scale(json, "embedding_multiplier", &config->embedding_scale, error);
    if (!status) status = ft_config_scale(json, "residual_multiplier", &config->residual_scale, error);
    if (!status) status = ft_config_scale(json, "attention_multiplier", &config->attention_scale, error);
    if (!status) status = ft_config_scale(json, "logits_scaling", &divisor, error);
    config->logit_scale = 1 / divisor;
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_granite = {
    .model_type = "granite",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_LLAMA_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
