/* SPDX-License-Identifier: MIT
 *
 * The row kernels on vectors of sixteen lanes: the same operations in the same order as rows_scalar.c, element
 * i of a sum in lane i mod 16. Compiled once per ISA by rows_avx2.c and its like, which include one of vec_*.h
 * and define FT_KERNELS, the name of the table.
 *
 * A loop over columns is written as a step on n <= 16 elements, called with the constant 16 for whole vectors,
 * so that loads and stores fold to plain ones, and once with the rest.
 */
#ifndef FT_KERNEL_ROWS_V16_H
#define FT_KERNEL_ROWS_V16_H

#include "elementary_v16.h"
#include "exp_double.h"
#include "kernels.h"

#define STEP static inline __attribute__((always_inline)) void

STEP for_each(size_t begin, size_t end, void (*step)(void *state, size_t i, size_t n), void *state) {
    size_t i = begin;
    for (; end - i >= 16; i += 16) step(state, i, 16);
    if (i < end) step(state, i, end - i);
}

static inline v16 load(const float *p, size_t n) { return n == 16 ? v16_load(p) : v16_load_part(p, n); }
static inline void store(float *p, size_t n, v16 x) {
    if (n == 16) v16_store(p, x);
    else v16_store_part(p, n, x);
}
/* Lanes of absent elements keep what they had. */
static inline v16 keep(size_t n, v16 fresh, v16 old) { return n == 16 ? fresh : v16_select(v16_first(n), fresh, old); }
static inline v16 zero(void) { return v16_set1(0.0f); }

#include "rows_v16_activation.h"
#include "rows_v16_loss.h"
#include "rows_v16_norm.h"

/* --- rotary embedding ------------------------------------------------------------------------------------- */

/* n pairs of one head by the angles (c, s). */
static inline void rotate(float *x0, float *x1, size_t n, v16 c, v16 s) {
    v16 u = load(x0, n), v = load(x1, n);
    store(x0, n, v16_fms(u, c, v16_mul(v, s)));
    store(x1, n, v16_fma(v, c, v16_mul(u, s)));
}

/* Pairs [i, i+n) of all heads of a row: the angles are loaded once. */
STEP rotate_heads(const struct ft_rope_args *a, size_t t, size_t i, size_t n) {
    size_t angle = a->position[t] * a->half + i;
    v16 c = load(a->cosine + angle, n), s = load(a->sine + angle, n);
    if (a->inverse) s = v16_negate(s);
    float *x0 = a->x + t * a->ld + i;
    for (size_t h = 0; h < a->heads; h++, x0 += a->head_dim) rotate(x0, x0 + a->half, n, c, s);
}

static void rope(const void *args, size_t begin, size_t end) {
    const struct ft_rope_args *a = args;
    for (size_t t = begin; t < end; t++) {
        size_t i = 0;
        for (; a->half - i >= 16; i += 16) rotate_heads(a, t, i, 16);
        if (i < a->half) rotate_heads(a, t, i, a->half - i);
    }
}

/* --- optimizer -------------------------------------------------------------------------------------------- */

STEP adamw_step(const struct ft_adamw_args *a, bool decay, size_t i, size_t n) {
    const struct ft_adamw *s = &a->step;
    v16 g = v16_mul(load(a->grad + i, n), v16_set1(s->grad_scale));
    v16 m = v16_fma(v16_set1(s->beta1), load(a->m + i, n), v16_mul(v16_set1(s->one_minus_beta1), g));
    v16 v = v16_fma(v16_set1(s->beta2), load(a->v + i, n), v16_mul(v16_mul(v16_set1(s->one_minus_beta2), g), g));
    v16 mh = v16_mul(m, v16_set1(s->inv_bias1)), vh = v16_mul(v, v16_set1(s->inv_bias2)), p = load(a->p + i, n);
    if (decay) p = v16_sub(p, v16_mul(p, v16_set1(s->lr_decay)));
    v16 step = v16_div(v16_mul(v16_set1(s->lr), mh), v16_add(v16_sqrt(vh), v16_set1(s->eps)));
    store(a->p + i, n, v16_sub(p, step));
    store(a->m + i, n, m);
    store(a->v + i, n, v);
}
STEP adamw_decay(void *state, size_t i, size_t n) { adamw_step(state, true, i, n); }
STEP adamw_plain(void *state, size_t i, size_t n) { adamw_step(state, false, i, n); }

static void adamw(const void *args, size_t begin, size_t end) {
    struct ft_adamw_args a = *(const struct ft_adamw_args *)args; /* a copy that no store can alias */
    if (a.step.lr_decay != 0.0f) for_each(begin, end, adamw_decay, &a);
    else for_each(begin, end, adamw_plain, &a);
}

/* --- binary64 --------------------------------------------------------------------------------------------- */

static void exp_double(double *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = ft_exp_step(x[i]);
}

const struct ft_kernels FT_KERNELS = {
    .rmsnorm_forward = rmsnorm_forward,
    .rmsnorm_backward = rmsnorm_backward,
    .rmsnorm_weight = rmsnorm_weight,
    .layernorm_forward = layernorm_forward,
    .layernorm_backward = layernorm_backward,
    .layernorm_weight = layernorm_weight,
    .rope = rope,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .gated_forward = gated_forward,
    .gated_backward = gated_backward,
    .cross_entropy = cross_entropy,
    .cross_entropy_loss = cross_entropy_loss,
    .softcap_forward = softcap_forward,
    .softcap_backward = softcap_backward,
    .adamw = adamw,
    .softmax = softmax,
    .softmax_again = softmax_again,
    .exp = exp_elements,
    .exp_double = exp_double,
    .tanh = tanh_elements,
    .erf = erf_elements,
    .sigmoid = sigmoid_elements,
};

#endif
