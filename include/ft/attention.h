/* SPDX-License-Identifier: MIT
 *
 * Causal grouped-query attention, bounded by document (ft-num-1, rules 2, 3, 5). For the query at position p
 * of its document, head h, key/value head g = h / (n_head / n_kv), keys j ascending over the visible range
 * [first, p] with first = (window && p + 1 > window) ? p + 1 - window : 0:
 *
 *     s[j] = (chain over d of fma(q[d], k[j][d])) * scale            then, if softcap: softcap*tanh(s/softcap)
 *     m    = max over j of s[j], NaN passed over, plus +0 (so that the order cannot decide the sign of a zero)
 *     e[j] = exp(s[j] - m);  z = sum of e[j] by rule 3 (16 lanes, lane = (j - first) mod 16);  p[j] = e[j] / z
 *     o[d] = chain over j of fma(p[j], v[j][d]), from +0
 *
 * Backward, with D = rule-3 sum over d (lanes d mod 16) of fma-lane products d_o[d] * o[d]:
 *     dp[j] = chain over d of fma(d_o[d], v[j][d]);  ds[j] = p[j] * (dp[j] - D)
 *     (softcap: ds[j] *= 1 - (s/softcap)^2);  ds[j] = ds[j] * scale
 *     dq[d] = chain over visible j of fma(ds[j], k[j][d])
 *     dk[j][d] = one chain over (head of the group ascending, then query ascending) of fma(ds, q[d])
 *     dv[j][d] = likewise of fma(p, d_o[d])
 * No online rescaling, no probabilities kept: backward recomputes s and p from row_max and row_sum, so memory
 * is linear in length. Only pairs (query, visible key) enter chains.
 */
#ifndef FT_ATTENTION_H
#define FT_ATTENTION_H

#include "ft/exec.h"

#include <stddef.h>
#include <stdint.h>

/* One document: its keys/values are rows [key_row, key_row + key_count) of k and v (positions 0, 1, ...), its
 * queries rows [query_row, query_row + query_count) of q and o. query_position[i] is the position, within the
 * document, of the query in row query_row + i, strictly ascending and < key_count; NULL means that the queries are the last
 * query_count positions. So the same call serves training (all queries), a last layer that needs only
 * supervised rows, and decoding from a cache (one query). */
struct ft_attention_document {
    size_t key_row, key_count, query_row, query_count;
    const uint32_t *query_position;
};

struct ft_attention {
    size_t n_head, n_kv, head_dim;   /* n_kv divides n_head */
    float scale;                     /* usually 1/sqrt(head_dim) */
    float softcap;                   /* 0: none */
    size_t window;                   /* keys visible, the query's own included; 0: all */
    size_t n_document;
    const struct ft_attention_document *document;
    size_t ld_q, ld_kv, ld_o;        /* row strides in elements: q and dq; k, v, dk and dv; o and d_o */
};

/* Scratch bytes that forward or backward needs for documents of at most max_keys keys (all threads together). */
size_t ft_attention_scratch(const struct ft_exec *exec, const struct ft_attention *attention, size_t max_keys);

/* q: rows x [n_head, head_dim]; k, v: rows x [n_kv, head_dim]; o as q. row_max and row_sum: [query rows, n_head],
 * written for backward; may be NULL when there will be none. scratch: FT_ALIGN-aligned. */
void ft_attention_forward(struct ft_exec *exec, const struct ft_attention *attention, const float *q, const float *k,
                          const float *v, float *o, float *row_max, float *row_sum, void *scratch);

/* Writes dq for every query row and dk, dv for every key row of the documents (overwriting; a key that no
 * query sees gets +0). o is the forward output, d_o the gradient with respect to it. */
void ft_attention_backward(struct ft_exec *exec, const struct ft_attention *attention, const float *q, const float *k,
                           const float *v, const float *o, const float *row_max, const float *row_sum,
                           const float *d_o, float *dq, float *dk, float *dv, void *scratch);

/* The specification, scalar; scratch of its own on the heap, for tests. */
void ft_attention_forward_reference(const struct ft_attention *attention, const float *q, const float *k,
                                    const float *v, float *o, float *row_max, float *row_sum);
void ft_attention_backward_reference(const struct ft_attention *attention, const float *q, const float *k,
                                     const float *v, const float *o, const float *row_max, const float *row_sum,
                                     const float *d_o, float *dq, float *dk, float *dv);

#endif
