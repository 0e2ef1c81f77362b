/* SPDX-License-Identifier: MIT
 *
 * Part of rows_v16.h: activation functions, gated products, soft-capping. The kind is a constant in every loop. */
#ifndef FT_KERNEL_ROWS_V16_ACTIVATION_H
#define FT_KERNEL_ROWS_V16_ACTIVATION_H

#include "activation_constants.h"

#define INLINE static inline __attribute__((always_inline))

/* sigmoid(2u) of GELU's tanh form */
INLINE v16 gelu_sigmoid(v16 x, v16 x2) {
    v16 u = v16_mul(x, v16_fma(v16_set1(FT_GELU_C1), x2, v16_set1(FT_GELU_C0)));
    return v16_sigmoid(v16_mul(v16_set1(2.0f), u));
}

INLINE v16 relu(v16 x, v16 positive) { return v16_select(v16_le(x, zero()), zero(), positive); }

INLINE v16 act(enum ft_activation kind, v16 x) {
    const v16 one = v16_set1(1.0f);
    switch (kind) {
    case FT_SILU: return v16_mul(x, v16_sigmoid(x));
    case FT_GELU_TANH: return v16_mul(x, gelu_sigmoid(x, v16_mul(x, x)));
    case FT_GELU_ERF:
        return v16_mul(v16_mul(v16_set1(0.5f), x), v16_add(one, v16_erf(v16_mul(x, v16_set1(FT_SQRT_HALF)))));
    default: return relu(x, x);
    }
}

INLINE v16 act_derivative(enum ft_activation kind, v16 x) {
    const v16 one = v16_set1(1.0f), half = v16_set1(0.5f);
    v16 x2 = v16_mul(x, x), s, u;
    switch (kind) {
    case FT_SILU:
        s = v16_sigmoid(x);
        return v16_mul(s, v16_fma(x, v16_sub(one, s), one));
    case FT_GELU_TANH:
        s = gelu_sigmoid(x, x2);
        u = v16_mul(v16_set1(2.0f), v16_fma(v16_set1(FT_GELU_C1X3), x2, v16_set1(FT_GELU_C0)));
        return v16_fma(v16_mul(x, v16_mul(s, v16_sub(one, s))), u, s);
    case FT_GELU_ERF:
        u = v16_mul(v16_set1(FT_INV_SQRT_2PI), v16_exp(v16_mul(v16_set1(-0.5f), x2)));
        return v16_fma(x, u, v16_mul(half, v16_add(one, v16_erf(v16_mul(x, v16_set1(FT_SQRT_HALF))))));
    default: return relu(x, one);
    }
}

/* One function a kind, and a switch outside of the loops. */
#define EACH_KIND(name)                                                                          \
    STEP name##_silu(void *state, size_t i, size_t n) { name(FT_SILU, state, i, n); }            \
    STEP name##_gelu_tanh(void *state, size_t i, size_t n) { name(FT_GELU_TANH, state, i, n); }  \
    STEP name##_gelu_erf(void *state, size_t i, size_t n) { name(FT_GELU_ERF, state, i, n); }    \
    STEP name##_relu(void *state, size_t i, size_t n) { name(FT_RELU, state, i, n); }            \
    static void name##_range(enum ft_activation kind, void *state, size_t begin, size_t end) {   \
        switch (kind) {                                                                          \
        case FT_SILU: for_each(begin, end, name##_silu, state); break;                           \
        case FT_GELU_TANH: for_each(begin, end, name##_gelu_tanh, state); break;                 \
        case FT_GELU_ERF: for_each(begin, end, name##_gelu_erf, state); break;                   \
        default: for_each(begin, end, name##_relu, state);                                       \
        }                                                                                        \
    }

STEP forward_step(enum ft_activation kind, const void *state, size_t i, size_t n) {
    const struct ft_activation_args *a = state;
    store(a->out + i, n, act(kind, load(a->x + i, n)));
}
EACH_KIND(forward_step)

STEP backward_step(enum ft_activation kind, const void *state, size_t i, size_t n) {
    const struct ft_activation_args *a = state;
    store(a->out + i, n, v16_mul(load(a->dy + i, n), act_derivative(kind, load(a->x + i, n))));
}
EACH_KIND(backward_step)

static void activation_forward(const void *args, size_t begin, size_t end) {
    struct ft_activation_args a = *(const struct ft_activation_args *)args;
    forward_step_range(a.act, &a, begin, end);
}

static void activation_backward(const void *args, size_t begin, size_t end) {
    struct ft_activation_args a = *(const struct ft_activation_args *)args;
    backward_step_range(a.act, &a, begin, end);
}

STEP gated_forward_step(enum ft_activation kind, const void *state, size_t i, size_t n) {
    const struct ft_gated_args *a = state;
    store(a->h + i, n, v16_mul(act(kind, load(a->gate + i, n)), load(a->up + i, n)));
}
EACH_KIND(gated_forward_step)

STEP gated_backward_step(enum ft_activation kind, const void *state, size_t i, size_t n) {
    const struct ft_gated_args *a = state;
    v16 gate = load(a->gate + i, n), up = load(a->up + i, n), dh = load(a->dh + i, n), y = act(kind, gate);
    store(a->d_gate + i, n, v16_mul(v16_mul(dh, up), act_derivative(kind, gate)));
    store(a->d_up + i, n, v16_mul(dh, y));
    if (a->h) store(a->h + i, n, v16_mul(y, up));
}
EACH_KIND(gated_backward_step)

/* The arguments of row t alone. */
INLINE struct ft_gated_args gated_row(const struct ft_gated_args *a, size_t t) {
    struct ft_gated_args row = {.act = a->act, .gate = a->gate + t * a->ld, .up = a->up + t * a->ld};
    if (a->h) row.h = a->h + t * a->F;
    if (!a->dh) return row;
    row.dh = a->dh + t * a->F;
    row.d_gate = a->d_gate + t * a->ld;
    row.d_up = a->d_up + t * a->ld;
    return row;
}

static void gated_forward(const void *args, size_t begin, size_t end) {
    const struct ft_gated_args *a = args;
    for (size_t t = begin; t < end; t++) {
        struct ft_gated_args row = gated_row(a, t);
        gated_forward_step_range(a->act, &row, 0, a->F);
    }
}

static void gated_backward(const void *args, size_t begin, size_t end) {
    const struct ft_gated_args *a = args;
    for (size_t t = begin; t < end; t++) {
        struct ft_gated_args row = gated_row(a, t);
        gated_backward_step_range(a->act, &row, 0, a->F);
    }
}

STEP softcap_forward_step(void *state, size_t i, size_t n) {
    const struct ft_softcap_args *a = state;
    v16 cap = v16_set1(a->cap);
    store(a->x + i, n, v16_mul(cap, v16_tanh(v16_div(load(a->x + i, n), cap))));
}

static void softcap_forward(const void *args, size_t begin, size_t end) {
    struct ft_softcap_args a = *(const struct ft_softcap_args *)args;
    for_each(begin, end, softcap_forward_step, &a);
}

STEP softcap_backward_step(void *state, size_t i, size_t n) {
    const struct ft_softcap_args *a = state;
    v16 u = v16_div(load(a->y + i, n), v16_set1(a->cap));
    store(a->x + i, n, v16_mul(load(a->x + i, n), v16_sub(v16_set1(1.0f), v16_mul(u, u))));
}

static void softcap_backward(const void *args, size_t begin, size_t end) {
    struct ft_softcap_args a = *(const struct ft_softcap_args *)args;
    for_each(begin, end, softcap_backward_step, &a);
}

#define ELEMENTS(name)                                                        \
    STEP name##_step(void *state, size_t i, size_t n) {                       \
        const struct ft_elements_args *a = state;                             \
        store(a->y + i, n, v16_##name(load(a->x + i, n)));                    \
    }                                                                         \
    static void name##_elements(const void *args, size_t begin, size_t end) { \
        struct ft_elements_args a = *(const struct ft_elements_args *)args;   \
        for_each(begin, end, name##_step, &a);                                \
    }
ELEMENTS(exp)
ELEMENTS(tanh)
ELEMENTS(erf)
ELEMENTS(sigmoid)

#endif
