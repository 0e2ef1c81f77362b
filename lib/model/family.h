/* SPDX-License-Identifier: MIT
 *
 * A family: what one model_type calls its tensors, and how its config.json maps to struct ft_config. One
 * constant of this type per lib/model/family_*.c, listed in config.c.
 */
#ifndef FT_MODEL_FAMILY_H
#define FT_MODEL_FAMILY_H

#include "ft/config.h"
#include "ft/json.h"

/* What a tensor or module is for. Those from FT_ROLE_LAYER on exist once a layer. */
enum ft_role {
    FT_ROLE_EMBEDDING,
    FT_ROLE_POSITION,
    FT_ROLE_FINAL_NORM,
    FT_ROLE_HEAD,
    FT_ROLE_LAYER,
    FT_ROLE_ATTENTION_NORM = FT_ROLE_LAYER,
    FT_ROLE_Q,
    FT_ROLE_K,
    FT_ROLE_V,
    FT_ROLE_QKV,    /* one module whose outputs are q, then k, then v */
    FT_ROLE_Q_NORM, /* of q and k before rotation */
    FT_ROLE_K_NORM,
    FT_ROLE_O,
    FT_ROLE_POST_ATTENTION_NORM, /* of what attention adds to the residual stream */
    FT_ROLE_MLP_NORM,
    FT_ROLE_GATE,
    FT_ROLE_UP,
    FT_ROLE_GATE_UP, /* one module whose outputs are gate, then up */
    FT_ROLE_DOWN,
    FT_ROLE_POST_MLP_NORM,
    FT_ROLE_COUNT,
};

struct ft_family {
    const char *model_type;
    const char *prefix; /* of every name but the head's; some files leave it out */
    const char
        *module[FT_ROLE_COUNT]; /* name in transformers' class, '#' standing for the layer; NULL: none */
    bool in_out;                /* weights of linear layers are [in, out] */
    bool small_residual;        /* random initialisation divides o and down by sqrt(2 layers) */
    const char *const *buffers; /* NULL-terminated: tensors that end so are no parameters; '.' first */
    enum ft_status (*configure)(struct ft_config *config, const struct ft_json *json, struct ft_error *error);
};

extern const struct ft_family ft_family_gpt2, ft_family_llama, ft_family_mistral, ft_family_qwen2,
    ft_family_qwen3, ft_family_phi3, ft_family_olmo2, ft_family_gemma, ft_family_gemma2,
    ft_family_gemma3_text, ft_family_granite, ft_family_gpt_neox, ft_family_smollm3;

/* clang-format off */
/* Names that most families took over from Llama. */
#define FT_LLAMA_OUTSIDE                               \
    [FT_ROLE_EMBEDDING] = "model.embed_tokens",        \
    [FT_ROLE_FINAL_NORM] = "model.norm",               \
    [FT_ROLE_HEAD] = "lm_head"
#define FT_LLAMA_LINEAR                                \
    [FT_ROLE_Q] = "model.layers.#.self_attn.q_proj",   \
    [FT_ROLE_K] = "model.layers.#.self_attn.k_proj",   \
    [FT_ROLE_V] = "model.layers.#.self_attn.v_proj",   \
    [FT_ROLE_O] = "model.layers.#.self_attn.o_proj",   \
    [FT_ROLE_GATE] = "model.layers.#.mlp.gate_proj",   \
    [FT_ROLE_UP] = "model.layers.#.mlp.up_proj",       \
    [FT_ROLE_DOWN] = "model.layers.#.mlp.down_proj"
#define FT_LLAMA_NORMS                                               \
    [FT_ROLE_ATTENTION_NORM] = "model.layers.#.input_layernorm",     \
    [FT_ROLE_MLP_NORM] = "model.layers.#.post_attention_layernorm"

extern const char *const ft_llama_buffers[];

#define FT_QK_NORMS                                              \
    [FT_ROLE_Q_NORM] = "model.layers.#.self_attn.q_norm",        \
    [FT_ROLE_K_NORM] = "model.layers.#.self_attn.k_norm"
/* Gemma 2's four: before and behind each of attention and feed-forward. */
#define FT_GEMMA2_NORMS                                                          \
    [FT_ROLE_ATTENTION_NORM] = "model.layers.#.input_layernorm",                 \
    [FT_ROLE_POST_ATTENTION_NORM] = "model.layers.#.post_attention_layernorm",   \
    [FT_ROLE_MLP_NORM] = "model.layers.#.pre_feedforward_layernorm",             \
    [FT_ROLE_POST_MLP_NORM] = "model.layers.#.post_feedforward_layernorm"
/* clang-format on */

/* --- for configure ------------------------------------------------------------------------------------ */

/* What a config.json of Llama's kind may leave out. */
struct ft_llama_defaults {
    double eps;
    size_t positions;
    size_t kv_heads;        /* 0: as many as heads; so does null */
    size_t head_dim;        /* 0: hidden_size / heads */
    const char *activation; /* the key; NULL: hidden_act */
};
/* Sizes, RMSNorm, a gated activation, the scale of attention: what Llama's descendants have in common.
 * Biases, windows and rotary frequencies are left to them. */
enum ft_status ft_config_llama(struct ft_config *config, const struct ft_json *json,
                               const struct ft_llama_defaults *defaults, struct ft_error *error);
/* attention_bias (q, k, v and o) and mlp_bias. */
enum ft_status ft_config_biases(struct ft_config *config, const struct ft_json *json, struct ft_error *error);

/* A positive number; optional: *out holds the default. */
enum ft_status ft_config_scale(const struct ft_json *json, const char *key, float *out,
                               struct ft_error *error);
/* The same, where null is 0: none. */
enum ft_status ft_config_softcap(const struct ft_json *json, const char *key, float fallback, float *out,
                                 struct ft_error *error);
/* What all of Gemma's family have: gated GELU, 1 + w in norms, scaled embeddings, biases if any. Then the
 * keys of Gemma 2 and 3: query_pre_attn_scalar and final_logit_softcapping, `softcap` when absent. */
enum ft_status ft_config_gemma(struct ft_config *config, const struct ft_json *json,
                               const struct ft_llama_defaults *defaults, struct ft_error *error);
enum ft_status ft_config_gemma2(struct ft_config *config, const struct ft_json *json, float softcap,
                                struct ft_error *error);

/* sliding_window, `fallback` when it is absent; null is 0: none. */
enum ft_status ft_config_window(struct ft_config *config, const struct ft_json *json, size_t fallback,
                                struct ft_error *error);
/* Which layers have the window: as layer_types says, or, when it is absent, as config->kind has it. */
enum ft_status ft_config_layer_types(struct ft_config *config, const struct ft_json *json,
                                     struct ft_error *error);

/* Qwen's way: use_sliding_window, sliding_window and max_window_layers, or layer_types. */
enum ft_status ft_config_qwen_windows(struct ft_config *config, const struct ft_json *json,
                                      struct ft_error *error);

/* Where rotary frequencies come from. */
struct ft_rope_rules {
    const char *theta_key; /* NULL: rope_theta */
    double theta;          /* when absent */
    const char *part_key;  /* the key of the rotated share of a head; NULL: it must be all */
    double part;           /* when absent */
    bool yarn_is_longrope; /* as Phi-3 once called it */
};
/* One set for all layers, from either generation of keys: rope_theta and rope_scaling, or rope_parameters.
 * What is not implemented is FT_UNSUPPORTED naming it. Call after sizes are known; may lower
 * config->positions. */
enum ft_status ft_config_rope(struct ft_config *config, const struct ft_json *json,
                              const struct ft_rope_rules *rules, struct ft_error *error);
/* The same from one object of parameters (NULL: none); theta and part are rules'. */
enum ft_status ft_config_rope_read(struct ft_config *config, const struct ft_json *json,
                                   const struct cJSON *node, const struct ft_rope_rules *rules,
                                   struct ft_rope *rope, struct ft_error *error);

/* A size in [1, max]. fallback 0: the key is required; else its default. */
enum ft_status ft_config_size(const struct ft_json *json, const char *key, size_t max, size_t fallback,
                              size_t *out, struct ft_error *error);
/* A positive, finite number; optional: *out holds the default. */
enum ft_status ft_config_positive(const struct ft_json *json, const char *key, double *out,
                                  struct ft_error *error);
/* An activation function by transformers' name; optional: *out holds the default. */
enum ft_status ft_config_activation(const struct ft_json *json, const char *key, enum ft_activation *out,
                                    struct ft_error *error);
/* FT_UNSUPPORTED when the optional boolean `key` is not `supported`. */
enum ft_status ft_config_only(const struct ft_json *json, const char *key, bool supported,
                              struct ft_error *error);
#define FT_WIDTH_MAX ((size_t)1 << 20) /* hidden, ffn, positions, ... */
#define FT_POSITIONS_MAX ((size_t)1 << 30)
#define FT_VOCAB_MAX ((size_t)1 << 24)

#endif
