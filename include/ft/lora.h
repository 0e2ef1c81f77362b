/* SPDX-License-Identifier: MIT
 *
 * LoRA (Hu et al. 2021) in PEFT's format: adapter_config.json and adapter_model.safetensors with
 * base_model.model.<module>.lora_A.weight [rank, in] and .lora_B.weight [out, rank], binary32.
 */
#ifndef FT_LORA_H
#define FT_LORA_H

#include "ft/error.h"
#include "ft/model.h"

#include <stddef.h>
#include <stdint.h>

struct ft_lora_spec {
    size_t rank;  /* 1 .. 4096 */
    double alpha; /* > 0 */
    bool rslora;  /* scale alpha / sqrt(rank), else alpha / rank; computed in binary64, rounded once */
    const char *const *targets; /* module names or their last components ("q_proj"); NULL: all linear modules
                                   except the head */
    size_t target_count;
    uint64_t seed; /* of A: element i is uniform in +-1/sqrt(in) (kaiming, a = sqrt 5): (2u - 1) *
                      bound in binary32, u = uniform number i of (seed, FT_RNG_INIT, XXH3 of name) */
};

/* Adapts the model's target modules, which become all that is trained: A random, B zero. A target that fits
 * no module is FT_USAGE naming the nearest. */
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

/* Memory of an adapter: values and, when trained, gradients. */
size_t ft_lora_size(const struct ft_model *model, const struct ft_lora_spec *spec, bool train);

/* Writes adapter_config.json and adapter_model.safetensors into an existing directory. base_name goes into
 * base_model_name_or_path, base_sha256 (may be NULL) beside it. flags: enum ft_output_flags, for both. sha256
 * (may be NULL) receives the digest of the weights' file. */
enum ft_status ft_lora_save(const struct ft_model *model, const char *directory, const char *base_name,
                            const char *base_sha256, unsigned flags, char sha256[65], struct ft_error *error);

#endif
