/* SPDX-License-Identifier: MIT
 *
 * A model: its configuration, its parameters and its linear modules. Frozen weights stay where they are, in
 * the mapped file and in the file's element type; what is trained has binary32 masters and gradients. The
 * arithmetic is in session.h (training, evaluation) and decoder.h (generation).
 *
 * Order of calls: ft_model_open or ft_model_new_random, then at most one of ft_model_train_full and (lora.h)
 * ft_lora_attach or ft_lora_load, then sessions and decoders over it, ft_model_free last.
 */
#ifndef FT_MODEL_H
#define FT_MODEL_H

#include "ft/config.h"
#include "ft/dtype.h"
#include "ft/error.h"
#include "ft/exec.h"
#include "ft/gemm.h"

#include <stddef.h>
#include <stdint.h>

/* One tensor of the model or of an adapter: a matrix of rows x cols, or a vector (rank 1, rows 1). */
struct ft_parameter {
    const char *name; /* as in the file that holds it or will hold it; the model's */
    unsigned rank;    /* 1 or 2 */
    size_t rows, cols, elements;
    enum ft_dtype dtype; /* of data */
    const void *data;    /* the weights as loaded (any alignment), valid while the model lives. A trained
                            parameter's present weights are in `value`, data may be NULL then */
    float *value;        /* binary32: always for vectors, and for whatever is trained; else NULL */
    float *grad;         /* [elements], zeroed, when trained; else NULL */
    float *m, *v;        /* NULL here: for the trainer, who owns what it puts in */
    bool trained;
};

/* A linear map y = x W^T + b, the unit that LoRA adapts. weight is [out, in], or [in, out] with in_out
 * (GPT-2's Conv1D). Adapted: y = x W^T + (scale x A^T) B^T + b with A [rank, in] and B [out, rank]; by DoRA,
 * y = g (x W^T + (scale x A^T) B^T) + b with g = magnitude / norm of that output's row of W + scale B A. */
struct ft_module {
    const char *name; /* in transformers' class, as PEFT names it: "model.layers.0.self_attn.q_proj" */
    size_t in, out;
    bool in_out;
    struct ft_parameter *weight, *bias;   /* bias may be NULL */
    struct ft_parameter *lora_a, *lora_b; /* both NULL: not adapted */
    size_t rank;
    float scale;
    struct ft_parameter *magnitude; /* [out]; NULL: no DoRA */
    float *norm, *gain;             /* [out] as of the last session, decoder or step that began */
};

struct ft_model;

/* path: a directory with config.json and model.safetensors or its sharded index, or a .gguf file (card.h), whose
 * quantised weights are widened to binary32. Checks the exact set of tensors and
 * shapes: what is missing, unexpected (but for buffers known to be harmless), of another shape or element
 * type is an error naming file and tensor. Reads no weights yet. */
enum ft_status ft_model_open(struct ft_model **model, const char *path, struct ft_error *error);

/* A model of random weights in the shapes of a config.json (or the one of a directory): matrices normal with
 * standard deviation initializer_range (GPT-2's residual projections divided by sqrt(2 layers)), biases 0,
 * norm weights 1 (0 where they count from 1), as transformers does. Element i of a tensor is normal number i of the stream (seed,
 * FT_RNG_INIT, XXH3 of its name): counter i / 4 gives words w0..w3; (w0, w1) give numbers 0 and 1, (w2, w3)
 * numbers 2 and 3 by Box-Muller: u = (w0 + .5) / 2^32, a = 2 pi (w1 + .5) / 2^32, sqrt(-2 log u) cos a and
 * ... sin a, all in binary64, times the deviation, rounded to binary32. */
enum ft_status ft_model_new_random(struct ft_model **model, const char *config, uint64_t seed,
                                   struct ft_error *error);

/* The shapes alone, for planning: no memory for weights is taken, now or by ft_model_train_full, so nothing can be
 * computed with it. */
enum ft_status ft_model_new_shapes(struct ft_model **model, const char *config, struct ft_error *error);

void ft_model_free(struct ft_model *model); /* NULL is fine */

const struct ft_config *ft_model_config(const struct ft_model *model);
const char *ft_model_path(const struct ft_model *model); /* as given to open; for messages */

/* The base model's own tensors in name order (bytes), trained or not. */
struct ft_parameter *const *ft_model_parameters(const struct ft_model *model, size_t *count);
/* What is trained, in name order: the base model's tensors or the adapter's; *count 0 when nothing is. */
struct ft_parameter *const *ft_model_trained(const struct ft_model *model, size_t *count);
/* The linear modules in the order of the computation, the head last when it has weights of its own. */
struct ft_module *ft_model_modules(const struct ft_model *model, size_t *count);

/* Every parameter becomes trained: binary32 masters (widened) and zeroed gradients, all memory at once. */
enum ft_status ft_model_train_full(struct ft_model *model, struct ft_error *error);
/* A trained parameter's weights as loaded leave memory; they are read again from the file when looked at. */
void ft_model_forget(const struct ft_model *model, const struct ft_parameter *parameter);
/* Bytes that it takes: masters and gradients. */
size_t ft_model_train_full_size(const struct ft_model *model);

/* FT_NONFINITE naming the first tensor that holds a NaN or an infinity; reads all weights once. */
enum ft_status ft_model_check_finite(struct ft_exec *exec, const struct ft_model *model,
                                     struct ft_error *error);

enum ft_save_dtype { FT_SAVE_AS_LOADED, FT_SAVE_F32, FT_SAVE_BF16, FT_SAVE_F16 };

struct ft_save {
    enum ft_save_dtype dtype;
    bool fuse;      /* add the adapter: W + (B A) * scale in binary32 (chain over the rank, then * scale, then
                       + W, then * that output's gain where there is one), and only then one rounding to the element
                       type; modules saved whole and biases as the adapter has them. FT_UNSUPPORTED where head and
                       embedding are one table and the adapter tells them apart */
    unsigned flags; /* enum ft_output_flags */
};

/* Writes the present weights as one safetensors file at path, under the names they were loaded by, a tensor
 * at a time (never more than one tensor's copy in memory). sha256 (may be NULL) receives the file's digest.
 * A weight that overflows the element type is FT_NONFINITE. */
enum ft_status ft_model_save(struct ft_exec *exec, const struct ft_model *model, const struct ft_save *save,
                             const char *path, char sha256[65], struct ft_error *error);

#define FT_SHARD_BYTES ((size_t)5000000000) /* Hugging Face's "5GB" */

/* The same into an existing directory: model.safetensors, or, when the tensors have more than `most` bytes,
 * model-00001-of-0000n.safetensors, ... of at most so many (a larger tensor has a file of its own), filled in the
 * model's order, and model.safetensors.index.json as transformers writes it. */
enum ft_status ft_model_save_shards(struct ft_exec *exec, const struct ft_model *model, const struct ft_save *save,
                                    const char *directory, size_t most, struct ft_error *error);

/* The present weights as an operand whose element (r, s) is W[r][s] of the tensor as stored. */
struct ft_operand ft_parameter_operand(const struct ft_parameter *parameter);

#endif
