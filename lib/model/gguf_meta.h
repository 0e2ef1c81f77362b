/* SPDX-License-Identifier: MIT
 *
 * What a GGUF file says beside its tensors. Private to lib/model.
 */
#ifndef FT_MODEL_GGUF_META_H
#define FT_MODEL_GGUF_META_H

#include "ft/export.h"
#include "gguf_model.h"

/* The values of a model's file: architecture, hyperparameters (of the card's config.json), tokenizer. *arch is found
 * by the model_type. Release meta, on failure too. */
enum ft_status ft_gguf_describe_model(struct ft_gguf_meta *meta, const struct ft_export *how, const struct ft_model *model,
                                      const struct ft_gguf_arch **arch, struct ft_error *error);

/* Those of an adapter's. */
enum ft_status ft_gguf_describe_adapter(struct ft_gguf_meta *meta, const struct ft_export *how,
                                        const struct ft_model *model, float alpha, const struct ft_gguf_arch **arch,
                                        struct ft_error *error);

#endif
