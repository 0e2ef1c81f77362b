/* SPDX-License-Identifier: MIT
 * Gemma 3 (Gemma Team 2025), its text model: Gemma 2 with norms of q and k in place of capped scores; five
 * layers with a window and frequencies of their own to one without. */
#include "family.h"

/* Parameters of each kind of layer inside rope_parameters, or at the top: rope_theta, rope_scaling and
 * rope_local_base_freq. */
static enum ft_status read_ropes(struct ft_config *config, const struct ft_json *json,
                                 struct ft_error *error) {
    static const struct ft_rope_rules rules[] = {{.theta = 1e6},
                                                 {.theta_key = "rope_local_base_freq", .theta = 1e4}};
    static const char *const kinds[] = {"full_attention", "sliding_attention"};
    const struct cJSON *both = NULL, *node[2] = {NULL, NULL};
    enum ft_status status =
        ft_json_get_node(json, json->root, "rope_parameters", FT_JSON_OPTIONAL, FT_JSON_OBJECT, &both, error);
    if (!status && both)
        status = ft_json_only(json, both, (const char *const[]){kinds[0], kinds[1], NULL}, error);
    for (size_t i = 0; !status && both && i < 2; i++)
        status = ft_json_get_node(json, both, kinds[i], FT_JSON_OPTIONAL, FT_JSON_OBJECT, &node[i], error);
    if (!status)
        status = ft_json_get_node(json, json->root, "rope_scaling", FT_JSON_OPTIONAL, FT_JSON_OBJECT,
                                  &node[0], error);
    for (size_t i = 0; !status && i < 2; i++)
        status = ft_config_rope_read(config, json, node[i], &rules[i], &config->rope[i], error);
    config->rope_count = 2;
    for (size_t l = 0; l < config->layers; l++) config->kind[l].rope = config->kind[l].window;
    return status;
}

static enum ft_status configure(struct ft_config *config, const struct ft_json *json,
                                struct ft_error *error) {
    static const struct ft_llama_defaults defaults = {
        .eps = 1e-6, .positions = 131072, .kv_heads = 4, .head_dim = 256, .activation = "hidden_activation"};
    size_t pattern = 6;
    float unused = 0;
    enum ft_status status = ft_config_gemma(config, json, &defaults, error);
    if (!status) status = ft_config_gemma2(config, json, 0, error);
    if (!status) status = ft_config_softcap(json, "attn_logit_softcapping", 0, &unused, error);
    if (!status && unused != 0)
        status = ft_fail(error, FT_UNSUPPORTED,
                         "%s: attn_logit_softcapping: %g is not implemented for gemma3_text", json->name,
                         (double)unused);
    if (!status)
        status = ft_config_size(json, "sliding_window_pattern", FT_LAYERS_MAX, pattern, &pattern, error);
    for (size_t l = 0; !status && l < config->layers; l++) config->kind[l].window = (l + 1) % pattern != 0;
    if (!status) status = ft_config_layer_types(config, json, error);
    return status ? status : read_ropes(config, json, error);
}

const struct ft_family ft_family_gemma3_text = {
    .model_type = "gemma3_text",
    .prefix = "model.",
    .module = {FT_LLAMA_OUTSIDE, FT_LLAMA_LINEAR, FT_GEMMA2_NORMS, FT_QK_NORMS},
    .buffers = ft_llama_buffers,
    .configure = configure,
};
