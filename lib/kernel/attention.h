/* SPDX-License-Identifier: MIT
 *
 * Private to attention. The scalar units are the specification: one document and one key/value head with its
 * group of query heads. The fast way (attention.c) puts 16 queries beside each other: matrix products are the
 * register tiles of gemm.h, what lies between them is a table of functions per instruction set.
 */
#ifndef FT_KERNEL_ATTENTION_H
#define FT_KERNEL_ATTENTION_H

#include "ft/attention.h"

/* Position within the document of its i-th query, and the first key that a query there sees. */
static inline size_t ft_attention_position(const struct ft_attention_document *doc, size_t i) {
    return doc->query_position ? doc->query_position[i] : doc->key_count - doc->query_count + i;
}
static inline size_t ft_attention_first(const struct ft_attention *at, size_t position) {
    return at->window && position + 1 > at->window ? position + 1 - at->window : 0;
}

/* Scalar. scratch: doc->key_count numbers. */
void ft_attention_forward_unit(const struct ft_attention *at, const struct ft_attention_document *doc, size_t g,
                               const float *q, const float *k, const float *v, float *o, float *row_max,
                               float *row_sum, float *scratch);
void ft_attention_backward_unit(const struct ft_attention *at, const struct ft_attention_document *doc, size_t g,
                                const float *q, const float *k, const float *v, const float *o, const float *row_max,
                                const float *row_sum, const float *d_o, float *dq, float *dk, float *dv,
                                float *scratch);

enum { FT_LANES = 16 };

/* Up to 16 queries of one head. Scores are s[j * ld + lane], j = 0 .. keys-1 counted from the block's first key. */
struct ft_attention_lanes {
    size_t count, keys;
    size_t first[FT_LANES], last[FT_LANES]; /* visible keys of each query, ascending over lanes */
    float softcap, scale;
    float max[FT_LANES], sum[FT_LANES];
    float d[FT_LANES]; /* backward: D of ft/attention.h */
};

struct ft_attention_isa {
    /* Scaled scores to probabilities; writes max and sum. What a query does not see is left undefined. */
    void (*softmax)(struct ft_attention_lanes *lanes, float *s, size_t ld);
    /* s: scaled scores to probabilities, by the max and sum of the forward pass; dp to ds. */
    void (*gradient)(const struct ft_attention_lanes *lanes, float *s, float *dp, size_t ld);
    /* c[n] goes on with fma(a[j * a_step], b[j * ldb + n]) for j < terms: the ragged ends of a product. */
    void (*row)(float *c, const float *a, size_t a_step, const float *b, size_t ldb, size_t terms, size_t columns);
    /* Rule 3 with fused lanes. */
    float (*dot)(const float *x, const float *y, size_t n);
};

extern const struct ft_attention_isa ft_attention_avx2, ft_attention_avx512, ft_attention_neon;

/* NULL for the scalar one, which runs the specification. */
const struct ft_attention_isa *ft_attention_isa(enum ft_isa isa);

#endif
