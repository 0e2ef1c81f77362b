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
    FT_ROLE_QKV, /* one module whose outputs are q, then k, then v */
    FT_ROLE_O,
    FT_ROLE_MLP_NORM,
    FT_ROLE_GATE,
    FT_ROLE_UP,
    FT_ROLE_DOWN,
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

extern const struct ft_family ft_family_gpt2, ft_family_llama;

/* --- for configure ------------------------------------------------------------------------------------ */

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
/* rope_theta, from either generation of keys; scaling of any kind but "default" is FT_UNSUPPORTED. */
enum ft_status ft_config_rope(struct ft_config *config, const struct ft_json *json, struct ft_error *error);

#define FT_WIDTH_MAX ((size_t)1 << 20) /* hidden, ffn, positions, ... */
#define FT_LAYERS_MAX ((size_t)1 << 10)
#define FT_VOCAB_MAX ((size_t)1 << 24)

#endif
