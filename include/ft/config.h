/* SPDX-License-Identifier: MIT
 *
 * config.json of a Hugging Face decoder model, reduced to the differences that the one transformer of
 * session.h understands. Each model_type is a small file lib/model/family_*.c that fills this structure and
 * names the tensors. What is not implemented (a model_type, an activation, a kind of rotary scaling) is
 * FT_UNSUPPORTED naming it, never a guess.
 */
#ifndef FT_CONFIG_H
#define FT_CONFIG_H

#include "ft/dtype.h"
#include "ft/error.h"
#include "ft/rows.h"

#include <stddef.h>
#include <stdint.h>

struct ft_family; /* how a model_type names its tensors: private to lib/model */

enum ft_norm { FT_RMSNORM, FT_LAYERNORM };

#define FT_EOS_MAX 16u

struct ft_config {
    const struct ft_family *family;
    char model_type[32];
    size_t vocab, hidden, layers, heads, kv_heads, head_dim, ffn;
    size_t positions;  /* longest document: max_position_embeddings, n_positions */
    enum ft_norm norm; /* FT_LAYERNORM has biases */
    float norm_eps;
    enum ft_activation activation;
    bool gated; /* SwiGLU: act(gate) * up; else act(up) */
    bool qkv_bias, o_bias, mlp_bias;
    bool learned_positions; /* a position table is added to the embeddings; else rotary */
    double rope_theta;
    size_t window;            /* keys visible to a query, its own included; 0: all */
    bool tied;                /* the head is the embedding table */
    float attention_scale;    /* of the scores before softmax */
    double initializer_range; /* standard deviation for random initialisation */
    enum ft_dtype dtype;      /* torch_dtype or dtype; F32 when absent */
    bool has_bos;
    uint32_t bos;
    size_t eos_count; /* tokens that end a generation; 0: none is named */
    uint32_t eos[FT_EOS_MAX];
};

/* Reads a config.json, or the one in the directory `path`. Every number is bounded and the relations that the
 * transformer needs (heads divide, dimensions agree) are checked; messages name file and key. */
enum ft_status ft_config_read(struct ft_config *config, const char *path, struct ft_error *error);

#endif
