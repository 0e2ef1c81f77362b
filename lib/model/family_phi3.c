/* SPDX-License-Identifier: MIT
 * Phi 3 (Abdin et al. 2024): Llama with q, k, v in one module and gate, up in another. */
#include "family.h"

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {.eps = 1e-5, .positions = 4096};
    static const struct ft_rope_rules rope = {
        .theta = 10000, .part_key = "partial_rotary_factor", .part = 1, .yarn_is_longrope = true};
    config->activation = FT_SILU;
    enum ft_status status = ft_config_llama(config, json, &defaults, error);
    if (!status) status = ft_config_window(config, json, 0, error);
    for (size_t l = 0; !status && l < config->layers; l++) config->kind[l].window = config->window > 0;
    return status ? status : ft_config_rope(config, json, &rope, error);
}

const struct ft_family ft_family_phi3 = {
    .model_type = "phi3",
    .prefix = "model.",
    .module =
        {
            FT_LLAMA_OUTSIDE,
            FT_LLAMA_NORMS,
            [FT_ROLE_QKV] = "model.layers.#.self_attn.qkv_proj",
            [FT_ROLE_O] = "model.layers.#.self_attn.o_proj",
            [FT_ROLE_GATE_UP] = "model.layers.#.mlp.gate_up_proj",
            [FT_ROLE_DOWN] = "model.layers.#.mlp.down_proj",
        },
    .buffers = ft_llama_buffers,
    .configure = configure,
};
