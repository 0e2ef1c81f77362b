/* SPDX-License-Identifier: MIT
 * Mistral (Jiang et al. 2023): Llama with a sliding window in every layer. */
#include "family.h"

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {.eps = 1e-6, .positions = 131072, .kv_heads = 8};
    static const struct ft_rope_rules rope = {.theta = 10000};
    config->activation = FT_SILU;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status) status = ft_config_window(config, json, 4096, error);
    for (size_t l = 0; !status && l < config->layers; l++) config->kind[l].window = config->window > 0;
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_mistral = {
    .model_type = "mistral",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_LLAMA_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
