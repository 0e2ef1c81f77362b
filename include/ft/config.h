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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ft_family; /* how a model_type names its tensors: private to lib/model */

enum ft_norm { FT_RMSNORM, FT_LAYERNORM };

#define FT_EOS_MAX 16u
#define FT_LAYERS_MAX 1024u
#define FT_ROPES_MAX 2u          /* sets of rotary frequencies in one model */
#define FT_ROPE_FACTORS_MAX 256u /* longrope: half a head's dimension at most */

/* How frequencies differ from theta^(-2i / dimensions); rope.c has the formulas. "dynamic" is FT_ROPE_PLAIN:
 * it changes nothing up to the model's positions, and longer documents are refused. */
enum ft_rope_scaling { FT_ROPE_PLAIN, FT_ROPE_LINEAR, FT_ROPE_LLAMA3, FT_ROPE_YARN, FT_ROPE_LONGROPE };

struct ft_rope {
    enum ft_rope_scaling scaling;
    size_t dimensions; /* the first so many of a head are rotated; even */
    double theta;
    double factor;    /* of the context's length; longrope: unused */
    double original;  /* llama3: positions before scaling */
    double low, high; /* llama3: the frequency factors; yarn: between which i the ramp rises */
    float amplitude;  /* of cosine and sine ("attention factor") */
    float divisor[FT_ROPE_FACTORS_MAX]; /* longrope: of frequency i */
};

/* What sets a layer apart from the others of its model. */
struct ft_layer_kind {
    bool window;        /* sees config.window keys, else all */
    unsigned char rope; /* which of config.rope; rope_count or above: no rotation */
};

struct ft_config {
    const struct ft_family *family;
    char model_type[32];
    size_t vocab, hidden, layers, heads, kv_heads, head_dim, ffn;
    size_t positions;  /* longest document: max_position_embeddings, n_positions */
    enum ft_norm norm; /* FT_LAYERNORM has biases */
    float norm_eps;
    bool norm_plus_one; /* RMSNorm multiplies by 1 + weight */
    bool qk_norm_whole; /* norms of q and k, where there are any, go over all heads together */
    enum ft_activation activation;
    bool gated; /* SwiGLU: act(gate) * up; else act(up) */
    bool qkv_bias, o_bias, mlp_bias;
    bool qkv_by_head;       /* the fused module's outputs are q, k, v of a head, then of the next */
    bool parallel;          /* attention and feed-forward both read the layer's input */
    bool learned_positions; /* a position table is added to the embeddings; rope_count is 0 then */
    size_t rope_count;
    struct ft_rope rope[FT_ROPES_MAX];
    size_t window; /* keys visible to a query, its own included, in layers that have a window */
    struct ft_layer_kind kind[FT_LAYERS_MAX]; /* [layers] */
    bool tied;                                /* the head is the embedding table */
    float attention_scale;                    /* of the scores before softmax */
    float attention_softcap;                  /* of the scores: cap * tanh(score / cap); 0: none */
    float logit_softcap;                      /* of the logits, after their scale; 0: none */
    float embedding_scale;                    /* 1: none; so with the next two */
    float residual_scale;                     /* of what a layer's branches add */
    float logit_scale;
    double initializer_range; /* standard deviation for random initialisation */
    enum ft_dtype dtype;      /* torch_dtype or dtype; F32 when absent */
    bool has_bos;
    uint32_t bos;
    size_t eos_count; /* tokens that end a generation; 0: none is named */
    uint32_t eos[FT_EOS_MAX];
};

/* Reads a config.json, the one in the directory `path`, or what a .gguf file says (card.h). Every number is
 * bounded and the relations that the transformer needs (heads divide, dimensions agree) are checked; messages
 * name file and key. */
enum ft_status ft_config_read(struct ft_config *config, const char *path, struct ft_error *error);

#endif
