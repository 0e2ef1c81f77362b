/* SPDX-License-Identifier: MIT
 *
 * LoRA (Hu et al. 2021) in PEFT's format: adapter_config.json and adapter_model.safetensors with
 * base_model.model.<module>.lora_A.weight [rank, in] and .lora_B.weight [out, rank], binary32. Also what PEFT's
 * adapters have beside: DoRA (Liu et al. 2024) .lora_magnitude_vector [out], the embedding table's
 * .lora_embedding_A [rank, vocab] and .lora_embedding_B [hidden, rank], whole modules trained beside the factors
 * (modules_to_save: .weight, .bias) and biases (.base_layer.bias of adapted modules, else .bias).
 *
 * Names are matched as PEFT matches them. A list has whole names or ends of names behind a dot; an expression
 * (PCRE2's, in the common part of Python's) must match a whole name.
 */
#ifndef FT_LORA_H
#define FT_LORA_H

#include "ft/error.h"
#include "ft/model.h"

#include <stddef.h>
#include <stdint.h>

#define FT_LORA_RANK_MAX 4096u
#define FT_LORA_NAMES_MAX 256u /* entries of a list */

/* lora_only: of the adapted modules. */
enum ft_lora_bias { FT_LORA_BIAS_NONE, FT_LORA_BIAS_ALL, FT_LORA_BIAS_LORA_ONLY };

struct ft_lora_names {
    const char *const *item; /* borrowed */
    size_t count;            /* <= FT_LORA_NAMES_MAX */
};

/* A value for the modules whose name, or its end behind a dot, an expression matches; the first that does decides. */
struct ft_lora_pattern {
    const char *key;
    double value;
};
struct ft_lora_patterns {
    const struct ft_lora_pattern *item; /* borrowed */
    size_t count;                       /* <= FT_LORA_NAMES_MAX */
};

struct ft_lora_spec {
    size_t rank;  /* 1 .. FT_LORA_RANK_MAX */
    double alpha; /* > 0 */
    bool rslora;  /* scale alpha / sqrt(rank), else alpha / rank; computed in binary64, rounded once */
    bool dora;    /* magnitude and direction apart: not for the embedding table */
    struct ft_lora_names targets;   /* empty and no expression: all linear modules except the head */
    const char *target_expression;  /* or NULL */
    struct ft_lora_names excluded;  /* no targets, whatever else says they are */
    const char *excluded_expression;
    struct ft_lora_patterns ranks, alphas; /* where they differ from rank and alpha */
    const size_t *layers;                  /* targets (unless a whole name) in these layers only; */
    size_t layer_count;                    /* 0: in all. Not with an expression */
    struct ft_lora_names layers_patterns;  /* expressions for what stands before the layer's number; empty: anything */
    struct ft_lora_names saved;            /* modules trained in full, as whole copies: ends of names */
    enum ft_lora_bias bias;
    uint64_t seed; /* of A: element i is uniform in +-1/sqrt(in) (kaiming, a = sqrt 5): (2u - 1) *
                      bound in binary32, u = uniform number i of (seed, FT_RNG_INIT, XXH3 of name). Of the embedding
                      table's B in the same way, in +-sqrt(3): variance 1 */
};

/* Adapts the model's target modules, which become all that is trained beside copies and biases: A random, B zero (the
 * embedding table: A zero, B random), magnitudes the norms of the base's weights. A name or key that fits
 * nothing is FT_USAGE naming the nearest. */
enum ft_status ft_lora_attach(struct ft_model *model, const struct ft_lora_spec *spec,
                              struct ft_error *error);

/* Adapts the model by the adapter in a directory; exactly the tensors and shapes that adapter_config.json
 * promises must be there. Whether the base is the right one is for the caller to check first: base receives
 * base_sha256 of adapter_config.json ("" when it has none; 65 bytes; may be NULL). With `train`, the
 * adapter's parameters are trained from where they are; without, they are frozen. */
enum ft_status ft_lora_load(struct ft_model *model, const char *directory, bool train, char *base,
                            struct ft_error *error);
/* base_sha256 alone ("" when it has none), to check before anything is loaded. */
enum ft_status ft_lora_base(const char *directory, char base[65], struct ft_error *error);

/* The adapter's parameters in name order (whether trained or frozen); *count 0 when the model has none. */
struct ft_parameter *const *ft_lora_parameters(const struct ft_model *model, size_t *count);

/* Writes adapter_config.json and adapter_model.safetensors into an existing directory. base_name goes into
 * base_model_name_or_path, base_sha256 (may be NULL) beside it. flags: enum ft_output_flags, for both. sha256
 * (may be NULL) receives the digest of the weights' file. */
enum ft_status ft_lora_save(const struct ft_model *model, const char *directory, const char *base_name,
                            const char *base_sha256, unsigned flags, char sha256[65], struct ft_error *error);

#endif
