/* SPDX-License-Identifier: MIT
 *
 * Part of rows_v16.h: softmax and cross-entropy. Three passes over a row that stays in the second cache:
 * maximum, exponentials and their sum, division. */
#ifndef FT_KERNEL_ROWS_V16_LOSS_H
#define FT_KERNEL_ROWS_V16_LOSS_H

#include "ft/elementary.h"

static float maximum(const float *x, size_t n) {
    const v16 lowest = v16_set1(-__builtin_inff());
    v16 m[4] = {lowest, lowest, lowest, lowest}; /* four chains: the order of a maximum does not matter */
    size_t i = 0;
    for (; n - i >= 64; i += 64)
        for (size_t k = 0; k < 4; k++) m[k] = v16_greater(v16_load(x + i + 16 * k), m[k]);
    for (; n - i >= 16; i += 16) m[0] = v16_greater(v16_load(x + i), m[0]);
    if (i < n) m[0] = v16_greater(v16_select(v16_first(n - i), v16_load_part(x + i, n - i), lowest), m[0]);
    return v16_max(v16_greater(v16_greater(m[0], m[1]), v16_greater(m[2], m[3]))) + 0.0f;
}

/* The first index of m; 0 when there is none (all NaN). */
static uint32_t first_index(const float *x, size_t n, float m) {
    const v16 wanted = v16_set1(m);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        unsigned found = v16_mask_bits(v16_eq(v16_load(x + i), wanted));
        if (found) return (uint32_t)i + (uint32_t)__builtin_ctz(found);
    }
    for (; i < n; i++)
        if (x[i] == m) return (uint32_t)i;
    return 0;
}

struct softmax_row {
    const float *x;
    float *out; /* NULL: only the sum is wanted */
    v16 max, sum, weight;
};

STEP exponential_step(void *state, size_t i, size_t n) {
    struct softmax_row *r = state;
    v16 e = v16_exp(v16_sub(load(r->x + i, n), r->max));
    r->sum = keep(n, v16_add(r->sum, e), r->sum);
    if (r->out) store(r->out + i, n, e);
}

static float exponentials(const float *x, size_t n, float m, float *e) {
    struct softmax_row r = {.x = x, .out = e, .max = v16_set1(m), .sum = zero()};
    for_each(0, n, exponential_step, &r);
    return v16_sum(r.sum);
}

STEP divide_step(void *state, size_t i, size_t n) {
    const struct softmax_row *r = state;
    store(r->out + i, n, v16_div(load(r->x + i, n), r->sum));
}

STEP divide_weight_step(void *state, size_t i, size_t n) {
    const struct softmax_row *r = state;
    store(r->out + i, n, v16_mul(v16_div(load(r->x + i, n), r->sum), r->weight));
}

static void loss_row(const struct ft_loss_args *a, size_t t, bool gradient) {
    float *x = a->logits + t * a->ld, m = maximum(x, a->V), target = x[a->target[t]];
    if (a->predicted) a->predicted[t] = first_index(x, a->V, m);
    float z = exponentials(x, a->V, m, gradient ? x : NULL);
    a->loss[t] = ft_logf(z) - (target - m);
    if (!gradient) return;
    float at_target = (x[a->target[t]] / z - 1.0f) * a->weight[t];
    struct softmax_row r = {.x = x, .out = x, .sum = v16_set1(z), .weight = v16_set1(a->weight[t])};
    for_each(0, a->V, divide_weight_step, &r);
    x[a->target[t]] = at_target;
}

static void cross_entropy(const void *args, size_t begin, size_t end) {
    for (size_t t = begin; t < end; t++) loss_row(args, t, true);
}

static void cross_entropy_loss(const void *args, size_t begin, size_t end) {
    for (size_t t = begin; t < end; t++) loss_row(args, t, false);
}

static void softmax(float *row, size_t n, float *max, float *sum) {
    *max = maximum(row, n);
    *sum = exponentials(row, n, *max, row);
    struct softmax_row r = {.x = row, .out = row, .sum = v16_set1(*sum)};
    for_each(0, n, divide_step, &r);
}

STEP again_step(void *state, size_t i, size_t n) {
    const struct softmax_row *r = state;
    store(r->out + i, n, v16_div(v16_exp(v16_sub(load(r->x + i, n), r->max)), r->sum));
}

static void softmax_again(float *row, size_t n, float max, float sum) {
    struct softmax_row r = {.x = row, .out = row, .max = v16_set1(max), .sum = v16_set1(sum)};
    for_each(0, n, again_step, &r);
}

#endif
