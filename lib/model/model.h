/* SPDX-License-Identifier: MIT
 *
 * The inside of struct ft_model, shared by the files of lib/model.
 */
#ifndef FT_MODEL_MODEL_H
#define FT_MODEL_MODEL_H

#include "ft/gguf.h"
#include "ft/json.h"
#include "ft/memory.h"
#include "ft/model.h"
#include "ft/safetensors.h"

#define FT_NAME_MAX 160u /* bytes of a parameter's or module's name: patterns are ours and short */

/* Outputs [first, first + out) of a module: the whole of it, or q, k or v of a fused one. */
struct ft_slice {
    struct ft_module *module; /* NULL: this family has none (gate) */
    size_t first, out;
    const struct ft_packed *packed; /* the weights packed for y = x W^T, or NULL: where they do not change */
};

struct ft_norm_weights {
    struct ft_parameter *weight, *bias; /* bias NULL: none; weight NULL: this family has no such norm */
};

struct ft_layer {
    struct ft_norm_weights attention_norm, q_norm, k_norm, post_attention_norm, mlp_norm, post_mlp_norm;
    struct ft_slice qkv; /* all of a fused module with outputs by head: q, k, v are empty then */
    struct ft_slice q, k, v, o, gate, up, down;
};

/* The adapter of the embedding table E: rows of E + (B A)^T * scale. All NULL: it is not adapted. */
struct ft_embedding_adapter {
    struct ft_parameter *a, *b; /* [rank, vocab], [hidden, rank] */
    size_t rank;
    float scale;
};

/* A base parameter whose place an adapter's own copy has taken. */
struct ft_copy {
    struct ft_parameter **place, *base, *own;
};

/* What an attached adapter owns. */
struct ft_adapter {
    struct ft_parameter *storage, **parameters; /* parameters: in name order */
    char (*names)[FT_NAME_MAX];
    size_t count;
    struct ft_copy *copies;
    size_t copy_count;
    struct ft_json config;  /* adapter_config.json but for what it says of the base */
    struct ft_arena memory; /* values and gradients */
};

struct ft_model {
    struct ft_config config;
    char *path;
    bool shapes_only; /* ft_model_new_shapes */
    struct ft_safetensors *file;                /* NULL: random weights, or a GGUF file's */
    struct ft_gguf *gguf;                       /* NULL: none */
    struct ft_arena imported;                   /* what of it could not stay where it is */
    struct ft_parameter *storage, **parameters; /* parameters: in name order */
    char (*names)[FT_NAME_MAX];
    size_t count;
    struct ft_module *modules; /* in order of computation; the head last */
    char (*module_names)[FT_NAME_MAX];
    size_t module_count; /* without a tied head, which is modules[module_count] then */
    struct ft_parameter *embedding, *position;
    struct ft_norm_weights final_norm;
    struct ft_slice head;
    struct ft_layer *layers;
    struct ft_parameter **trained; /* borrowed: parameters or the adapter's */
    size_t trained_count;
    struct ft_arena vectors, masters, gradients;
    struct ft_adapter *adapter; /* NULL: none */
    struct ft_embedding_adapter embedding_adapter;
};

/* Order of the computation, to tell what needs a gradient: point p's output needs one when something trained
 * lies at p or before it. */
enum ft_point {
    FT_POINT_NORM1,
    FT_POINT_QKV,
    FT_POINT_QK_NORM,
    FT_POINT_O,
    FT_POINT_POST_ATTENTION,
    FT_POINT_NORM2,
    FT_POINT_GATE_UP,
    FT_POINT_DOWN,
    FT_POINT_POST_MLP,
    FT_POINTS
};
static inline size_t ft_model_point(size_t layer, enum ft_point point) {
    return 1 + layer * FT_POINTS + (size_t)point; /* 0: the embeddings */
}
/* The first point with something trained; SIZE_MAX when nothing is. The final norm is at
 * ft_model_point(layers, 0), the head behind it. */
size_t ft_model_lowest(const struct ft_model *model);

/* Widened values (from data) of a matrix or vector into out[elements]. */
void ft_parameter_widen(const struct ft_parameter *parameter, float *out);

/* qsort order of pointers to parameters: bytes of names. */
int ft_parameter_compare(const void *a, const void *b);

/* Writes `pattern` with '#' replaced by `layer`, then `suffix`, into name. */
void ft_model_name(char name[FT_NAME_MAX], const char *pattern, size_t layer, const char *suffix);

/* Fills the values of a new model without a file (data and value are one). */
enum ft_status ft_model_initialise(struct ft_model *model, uint64_t seed, struct ft_error *error);

/* Before ft_save_gather: gains as the adapter is now. FT_UNSUPPORTED where one table would have to be two. */
enum ft_status ft_save_begin(struct ft_exec *exec, const struct ft_model *model, bool fused, struct ft_error *error);
/* values[elements] = the present weights, with the adapter's part when fused; FT_NONFINITE when one is not finite. */
enum ft_status ft_save_gather(struct ft_exec *exec, const struct ft_model *model, const struct ft_parameter *parameter,
                              bool fused, float *values, struct ft_error *error);

void ft_adapter_free(struct ft_adapter *adapter); /* NULL is fine */

/* The parameter as trained: the adapter's copy of a base model's tensor where there is one, else itself. */
const struct ft_parameter *ft_model_present(const struct ft_model *model, const struct ft_parameter *base);

/* A place in the transformer that points to a parameter. */
struct ft_place {
    struct ft_parameter **at;
    char name[FT_NAME_MAX];   /* of its module, as PEFT has it: a tied head's is the head's own */
    struct ft_module *module; /* NULL: a norm or a table */
    bool bias;
};
/* Calls with every place that is not empty, in a fixed order. */
void ft_model_each_place(struct ft_model *model, void (*visit)(void *arg, const struct ft_place *place), void *arg);

#endif
