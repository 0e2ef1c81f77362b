/* SPDX-License-Identifier: MIT
 *
 * The specification of attention in scalar code: one query and one head at a time, in the order of
 * ft/attention.h.
 */
#include "attention.h"

#include "ft/elementary.h"

#include <math.h>
#include <stdlib.h>

enum { LANES = 16 };

static float lane_tree(float lane[LANES]) {
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t l = 0; l < width; l++) lane[l] += lane[l + width];
    return lane[0];
}

static float dot_chain(const float *x, const float *y, size_t n) {
    float chain = 0.0f;
    for (size_t d = 0; d < n; d++) chain = fmaf(x[d], y[d], chain);
    return chain;
}

static float dot_lanes(const float *x, const float *y, size_t n) {
    float lane[LANES] = {0};
    for (size_t d = 0; d < n; d++) lane[d % LANES] = fmaf(x[d], y[d], lane[d % LANES]);
    return lane_tree(lane);
}

/* One query's row of one head: where it is and what it sees. */
struct row {
    size_t first, last; /* visible keys [first, last] */
    size_t q, o, stat;  /* element offsets of its vectors and of its row_max, row_sum */
};

static struct row locate(const struct ft_attention *at, const struct ft_attention_document *doc, size_t i, size_t h) {
    size_t p = ft_attention_position(doc, i), r = doc->query_row + i;
    return (struct row){.first = ft_attention_first(at, p), .last = p, .q = r * at->ld_q + h * at->head_dim,
                        .o = r * at->ld_o + h * at->head_dim, .stat = r * at->n_head + h};
}

static void scores(const struct ft_attention *at, const float *q, const float *k, const struct row *row, float *s) {
    for (size_t j = row->first; j <= row->last; j++) {
        float x = dot_chain(q, k + j * at->ld_kv, at->head_dim) * at->scale;
        s[j] = at->softcap != 0.0f ? at->softcap * ft_tanhf(x / at->softcap) : x;
    }
}

static float maximum(const float *s, const struct row *row) {
    float m = -INFINITY;
    for (size_t j = row->first; j <= row->last; j++) m = s[j] > m ? s[j] : m;
    return m + 0.0f;
}

/* s[j] = exp(s[j] - m); returns the rule-3 sum. */
static float exponentials(float *s, const struct row *row, float m) {
    float lane[LANES] = {0};
    for (size_t j = row->first; j <= row->last; j++) {
        s[j] = ft_expf(s[j] - m);
        lane[(j - row->first) % LANES] += s[j];
    }
    return lane_tree(lane);
}

static void forward_row(const struct ft_attention *at, const struct row *row, const float *q, const float *k,
                        const float *v, float *o, float *row_max, float *row_sum, float *s) {
    scores(at, q + row->q, k, row, s);
    float m = maximum(s, row), z = exponentials(s, row, m);
    for (size_t d = 0; d < at->head_dim; d++) {
        float chain = 0.0f;
        for (size_t j = row->first; j <= row->last; j++) chain = fmaf(s[j] / z, v[j * at->ld_kv + d], chain);
        o[row->o + d] = chain;
    }
    if (row_max) row_max[row->stat] = m;
    if (row_sum) row_sum[row->stat] = z;
}

static size_t kv_offset(const struct ft_attention *at, const struct ft_attention_document *doc, size_t g) {
    return doc->key_row * at->ld_kv + g * at->head_dim;
}

void ft_attention_forward_unit(const struct ft_attention *at, const struct ft_attention_document *doc, size_t g,
                               const float *q, const float *k, const float *v, float *o, float *row_max,
                               float *row_sum, float *scratch) {
    size_t group = at->n_head / at->n_kv, kv = kv_offset(at, doc, g);
    for (size_t h = g * group; h < (g + 1) * group; h++)
        for (size_t i = 0; i < doc->query_count; i++) {
            struct row row = locate(at, doc, i, h);
            forward_row(at, &row, q, k + kv, v + kv, o, row_max, row_sum, scratch);
        }
}

static void backward_row(const struct ft_attention *at, const struct row *row, const float *q, const float *k,
                         const float *v, const float *o, float m, float z, const float *d_o, float *dq, float *dk,
                         float *dv, float *s) {
    float D = dot_lanes(d_o, o, at->head_dim);
    scores(at, q, k, row, s);
    for (size_t d = 0; d < at->head_dim; d++) dq[d] = 0.0f;
    for (size_t j = row->first; j <= row->last; j++) {
        size_t at_key = j * at->ld_kv;
        float p = ft_expf(s[j] - m) / z;
        float ds = p * (dot_chain(d_o, v + at_key, at->head_dim) - D);
        if (at->softcap != 0.0f) {
            float t = s[j] / at->softcap, square = t * t;
            ds *= 1.0f - square;
        }
        ds *= at->scale;
        for (size_t d = 0; d < at->head_dim; d++) {
            dq[d] = fmaf(ds, k[at_key + d], dq[d]);
            dk[at_key + d] = fmaf(ds, q[d], dk[at_key + d]);
            dv[at_key + d] = fmaf(p, d_o[d], dv[at_key + d]);
        }
    }
}

void ft_attention_backward_unit(const struct ft_attention *at, const struct ft_attention_document *doc, size_t g,
                                const float *q, const float *k, const float *v, const float *o, const float *row_max,
                                const float *row_sum, const float *d_o, float *dq, float *dk, float *dv,
                                float *scratch) {
    size_t group = at->n_head / at->n_kv, kv = kv_offset(at, doc, g);
    for (size_t j = 0; j < doc->key_count; j++)
        for (size_t d = 0; d < at->head_dim; d++) dk[kv + j * at->ld_kv + d] = dv[kv + j * at->ld_kv + d] = 0.0f;
    for (size_t h = g * group; h < (g + 1) * group; h++)
        for (size_t i = 0; i < doc->query_count; i++) {
            struct row row = locate(at, doc, i, h);
            backward_row(at, &row, q + row.q, k + kv, v + kv, o + row.o, row_max[row.stat], row_sum[row.stat],
                         d_o + row.o, dq + row.q, dk + kv, dv + kv, scratch);
        }
}

static float *heap_scores(const struct ft_attention *at) {
    size_t most = 1;
    for (size_t n = 0; n < at->n_document; n++)
        if (at->document[n].key_count > most) most = at->document[n].key_count;
    float *s = calloc(most, sizeof *s);
    if (!s) abort(); /* tests only */
    return s;
}

void ft_attention_forward_reference(const struct ft_attention *at, const float *q, const float *k, const float *v,
                                    float *o, float *row_max, float *row_sum) {
    float *s = heap_scores(at);
    for (size_t n = 0; n < at->n_document; n++)
        for (size_t g = 0; g < at->n_kv; g++)
            ft_attention_forward_unit(at, &at->document[n], g, q, k, v, o, row_max, row_sum, s);
    free(s);
}

void ft_attention_backward_reference(const struct ft_attention *at, const float *q, const float *k, const float *v,
                                     const float *o, const float *row_max, const float *row_sum, const float *d_o,
                                     float *dq, float *dk, float *dv) {
    float *s = heap_scores(at);
    for (size_t n = 0; n < at->n_document; n++)
        for (size_t g = 0; g < at->n_kv; g++)
            ft_attention_backward_unit(at, &at->document[n], g, q, k, v, o, row_max, row_sum, d_o, dq, dk, dv, s);
    free(s);
}
