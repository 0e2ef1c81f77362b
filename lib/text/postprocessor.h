/* SPDX-License-Identifier: MIT
 *
 * Post-processors: the special tokens around a text. What the kinds differ in otherwise concerns offsets and pairs of
 * texts, which ft does not use. Private to lib/text.
 */
#ifndef FT_TEXT_POSTPROCESSOR_H
#define FT_TEXT_POSTPROCESSOR_H

#include "ft/tokenizer.h"

struct cJSON;
struct ft_json;

struct ft_postprocessor {
    struct ft_ids before, after;
    bool apart; /* while reading: a template has added tokens */
};

enum ft_status ft_postprocessor_read(struct ft_postprocessor *postprocessor, const struct ft_json *json,
                                     const struct cJSON *node, struct ft_error *error);
void ft_postprocessor_release(struct ft_postprocessor *postprocessor);

#endif
