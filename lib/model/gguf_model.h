/* SPDX-License-Identifier: MIT
 *
 * Between GGUF's names and Hugging Face's: which model_type an architecture is, what its config.json would say,
 * which tensor is which, and how its elements lie. Private to lib/model.
 */
#ifndef FT_MODEL_GGUF_MODEL_H
#define FT_MODEL_GGUF_MODEL_H

#include "ft/gguf.h"
#include "ft/json.h"

/* An architecture of llama.cpp's as a model_type of transformers'. */
struct ft_gguf_arch {
    const char *name, *model_type, *class;
    bool pairs;      /* q and k are stored for rotation of neighbouring elements: rows permuted */
    bool one_more;   /* norms are stored as w + 1 */
    bool norms_after; /* post_attention_layernorm is behind the attention, not before the MLP */
    bool biases;     /* attention_bias and mlp_bias say whether there are any */
    bool partial;    /* rope.dimension_count may be less than a head's dimension */
    bool gpt2;       /* GPT-2's names and Conv1D's transposed weights */
    bool neox;       /* GPT-NeoX's names and interleaved q, k, v */
};

/* By either name; NULL when not implemented. */
const struct ft_gguf_arch *ft_gguf_arch_named(const char *name);
const struct ft_gguf_arch *ft_gguf_arch_of(const char *model_type);

/* The file's architecture. */
enum ft_status ft_gguf_arch_read(const struct ft_gguf *gguf, const struct ft_gguf_arch **arch, struct ft_error *error);

/* Appends what config.json would be. */
enum ft_status ft_gguf_config(const struct ft_gguf *gguf, struct ft_buffer *json, struct ft_error *error);

/* GGUF's name of a tensor of Hugging Face's; false when there is none. */
#define FT_GGUF_NAME 64u
bool ft_gguf_tensor_name(const struct ft_gguf_arch *arch, const char *huggingface, char name[FT_GGUF_NAME]);

struct ft_rope;
/* What the scaling "llama3" divides frequency i by (transformers' modeling_rope_utils). */
double ft_gguf_llama3_divisor(const struct ft_rope *rope, size_t i);

/* How the elements of a tensor of llama.cpp's differ from Hugging Face's. */
enum ft_gguf_change {
    FT_GGUF_AS_IT_IS,
    FT_GGUF_PAIRED,     /* rows of a head of d: 0, d/2, 1, d/2 + 1, ... of Hugging Face's */
    FT_GGUF_TRANSPOSED, /* [out, in] of Conv1D's [in, out] */
    FT_GGUF_ONE_MORE,   /* w + 1 */
    FT_GGUF_BY_PART,    /* rows of all heads' q, then k, then v; Hugging Face's are head by head */
};
/* Of the tensor that GGUF calls so. */
enum ft_gguf_change ft_gguf_change_of(const struct ft_gguf_arch *arch, const char *name, unsigned rank);

/* Row `row` of a tensor of the file is this row of Hugging Face's; d is a head's dimension. */
static inline size_t ft_gguf_row(enum ft_gguf_change change, size_t row, size_t heads, size_t d) {
    if (change == FT_GGUF_PAIRED) return row / d * d + row % d % 2 * (d / 2) + row % d / 2;
    if (change == FT_GGUF_BY_PART) return row / d % heads * 3 * d + row / (heads * d) * d + row % d;
    return row;
}

struct ft_model;

/* Binds the parameters of a new model to a file's tensors: exactly those must be there. What is quantised, or lies
 * otherwise than in Hugging Face's files, is widened or copied; the rest stays in the mapping, which the model
 * takes over. */
enum ft_status ft_gguf_bind(struct ft_model *model, const char *path, struct ft_error *error);

/* Appends the texts of tokenizer.json and tokenizer_config.json. */
enum ft_status ft_gguf_tokenizer(const struct ft_gguf *gguf, struct ft_buffer *tokenizer, struct ft_buffer *config,
                                 struct ft_error *error);

#endif
