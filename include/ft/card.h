/* SPDX-License-Identifier: MIT
 *
 * What a model holds beside its weights: config.json and the tokenizer's files, of a Hugging Face directory or out of
 * a GGUF file. MODEL, wherever a program takes one, is either: a directory with config.json, a .gguf file, or a
 * directory that holds one .gguf file and no config.json.
 */
#ifndef FT_CARD_H
#define FT_CARD_H

#include "ft/memory.h"
#include "ft/model.h"
#include "ft/tokenizer.h"

/* Appends the path of the .gguf file that `model` is, and nothing when it is none. Two in one directory are
 * FT_USAGE. */
enum ft_status ft_card_gguf(const char *model, struct ft_buffer *path, struct ft_error *error);

/* ft_tokenizer_load for a MODEL of either kind (or a tokenizer.json). Free with ft_tokenizer_free. */
enum ft_status ft_card_tokenizer(struct ft_tokenizer **tokenizer, const char *model, struct ft_error *error);

/* Appends the text of config.json. */
enum ft_status ft_card_config(const char *model, struct ft_buffer *json, struct ft_error *error);

/* Appends the text of tokenizer.json. */
enum ft_status ft_card_tokenizer_json(const char *model, struct ft_buffer *json, struct ft_error *error);

/* The elements of all its tensors, without reading them. */
enum ft_status ft_card_elements(const char *model, uint64_t *elements, struct ft_error *error);

/* Puts a model's card into a directory: config.json and, where they exist, tokenizer.json, tokenizer_config.json,
 * special_tokens_map.json, chat_template.jinja and generation_config.json; of a GGUF file the first three, made of its
 * values. dtype is what the weights beside them are stored in: with FT_SAVE_AS_LOADED the bytes of config.json are
 * kept, else its dtype (torch_dtype) says so. flags: enum ft_output_flags. */
enum ft_status ft_card_copy(const char *from, const char *to, enum ft_save_dtype dtype, unsigned flags,
                            struct ft_error *error);

#endif
