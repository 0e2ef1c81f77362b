/* SPDX-License-Identifier: MIT
 *
 * Private to attention: the unit of work, one document and one key/value head with its group of query heads.
 * Units write disjoint outputs.
 */
#ifndef FT_KERNEL_ATTENTION_H
#define FT_KERNEL_ATTENTION_H

#include "ft/attention.h"

/* Position within the document of its i-th query, and the first key that a query there sees. */
size_t ft_attention_position(const struct ft_attention_document *doc, size_t i);
size_t ft_attention_first(const struct ft_attention *at, size_t position);

/* Scalar. scratch: doc->key_count numbers. */
void ft_attention_forward_unit(const struct ft_attention *at, const struct ft_attention_document *doc, size_t g,
                               const float *q, const float *k, const float *v, float *o, float *row_max,
                               float *row_sum, float *scratch);
void ft_attention_backward_unit(const struct ft_attention *at, const struct ft_attention_document *doc, size_t g,
                                const float *q, const float *k, const float *v, const float *o, const float *row_max,
                                const float *row_sum, const float *d_o, float *dq, float *dk, float *dv,
                                float *scratch);

#endif
