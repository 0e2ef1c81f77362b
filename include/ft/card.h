/* SPDX-License-Identifier: MIT
 *
 * What a model directory holds beside its weights: config.json and the tokenizer's files.
 */
#ifndef FT_CARD_H
#define FT_CARD_H

#include "ft/model.h"

/* Copies config.json and, where they exist, tokenizer.json, tokenizer_config.json, special_tokens_map.json,
 * chat_template.jinja and generation_config.json from one model directory to another. dtype is what the weights beside
 * them are stored in: with FT_SAVE_AS_LOADED the bytes of config.json are kept, else its dtype (torch_dtype) says so.
 * flags: enum ft_output_flags. */
enum ft_status ft_card_copy(const char *from, const char *to, enum ft_save_dtype dtype, unsigned flags, struct ft_error *error);

#endif
