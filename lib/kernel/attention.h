/* SPDX-License-Identifier: MIT
 *
 * Private to attention: the unit of work, one document and one key/value head with its group of query heads.
 * Units write disjoint outputs.
 */
#ifndef FT_KERNEL_ATTENTION_H
#define FT_KERNEL_ATTENTION_H

#include "ft/attention.h"

struct ft_kernels;

/* Query rows whose scores are kept at once; no part of the numbers. */
#define FT_ATTENTION_BLOCK 48u

/* Position within the document of its i-th query, and the first key that a query there sees. */
size_t ft_attention_position(const struct ft_attention_document *doc, size_t i);
size_t ft_attention_first(const struct ft_attention *at, size_t position);

/* One unit, per instruction set; kernels: the row kernels of the same. scratch: ft_attention_scratch of one thread. */
struct ft_attention_isa {
    void (*forward)(const struct ft_attention *at, const struct ft_kernels *kernels,
                    const struct ft_attention_document *doc, size_t g, const float *q, const float *k, const float *v,
                    float *o, float *row_max, float *row_sum, float *scratch);
    void (*backward)(const struct ft_attention *at, const struct ft_kernels *kernels,
                     const struct ft_attention_document *doc, size_t g, const float *q, const float *k, const float *v,
                     const float *o, const float *row_max, const float *row_sum, const float *d_o, float *dq, float *dk,
                     float *dv, float *scratch);
};

extern const struct ft_attention_isa ft_attention_scalar; /* the specification */
#if defined(__x86_64__)
extern const struct ft_attention_isa ft_attention_avx2, ft_attention_avx512;
#elif defined(__aarch64__)
extern const struct ft_attention_isa ft_attention_neon;
#endif

#endif
