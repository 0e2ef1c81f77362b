/* SPDX-License-Identifier: MIT
 *
 * The elementary functions of elementary.c on sixteen lanes, operation by operation. Include one of vec_*.h
 * before this. */
#ifndef FT_KERNEL_ELEMENTARY_V16_H
#define FT_KERNEL_ELEMENTARY_V16_H

#include "elementary_constants.h"

static inline v16 v16_horner(const float *c, size_t n, v16 x) {
    v16 y = v16_set1(c[n - 1]);
    for (size_t i = n - 1; i-- > 0;) y = v16_fma(y, x, v16_set1(c[i]));
    return y;
}
#define V16_HORNER(c, x) v16_horner(c, sizeof(c) / sizeof((c)[0]), x)

static inline v16 v16_abs(v16 x) { return v16_from_bits(v16i_and(v16_bits(x), v16i_set1(0x7fffffff))); }
static inline v16 v16_with_sign_of(v16 magnitude, v16 x) {
    return v16_from_bits(v16i_or(v16_bits(magnitude), v16i_and(v16_bits(x), v16i_set1(INT32_MIN))));
}
static inline v16 v16_negate(v16 x) {
    return v16_from_bits(v16i_add(v16_bits(x), v16i_set1(INT32_MIN))); /* wraps: flips the sign alone */
}
static inline v16 v16_power_of_two(v16i n) { return v16_from_bits(v16i_to_exponent(v16i_add(n, v16i_set1(127)))); }

static inline v16 v16_exp(v16 x) {
    const v16 round = v16_set1(FT_ROUND_TO_INT);
    x = v16_lesser(v16_set1(FT_EXP_MAX), x); /* NaN passes: it is the second operand */
    x = v16_greater(v16_set1(FT_EXP_MIN), x);
    v16 t = v16_fma(x, v16_set1(FT_LOG2E), round);
    v16 n = v16_sub(t, round);
    v16 r = v16_fnma(n, v16_set1(FT_LN2_LO), v16_fnma(n, v16_set1(FT_LN2_HI), x));
    v16 y = v16_add(v16_set1(1.0f), v16_fma(v16_mul(r, r), V16_HORNER(ft_exp_q, r), r));
    v16i k = v16i_sub(v16_bits(t), v16_bits(round)), half = v16i_half(k);
    return v16_mul(v16_mul(y, v16_power_of_two(half)), v16_power_of_two(v16i_sub(k, half)));
}

static inline v16 v16_tanh(v16 x) {
    const v16 one = v16_set1(1.0f);
    v16 a = v16_abs(x), z = v16_mul(a, a);
    v16 small = v16_fma(v16_mul(a, z), V16_HORNER(ft_tanh_q, z), a);
    v16 large = v16_sub(one, v16_div(v16_set1(2.0f), v16_add(v16_exp(v16_add(a, a)), one)));
    return v16_with_sign_of(v16_select(v16_gt(a, v16_set1(FT_TANH_SMALL)), large, small), x);
}

static inline v16 v16_erf(v16 x) {
    const v16 one = v16_set1(1.0f);
    v16 a = v16_abs(x), z = v16_mul(a, a);
    v16 small = v16_fma(a, V16_HORNER(ft_erf_q, z), a);
    v16 b = v16_lesser(v16_set1(FT_ERF_MAX), a);
    v16 large = v16_sub(one, v16_exp(v16_negate(v16_fma(b, V16_HORNER(ft_erf_r, b), b))));
    return v16_with_sign_of(v16_select(v16_gt(a, one), large, small), x);
}

static inline v16 v16_sigmoid(v16 x) {
    const v16 one = v16_set1(1.0f);
    v16 e = v16_exp(v16_negate(v16_abs(x)));
    return v16_div(v16_select(v16_gt(v16_set1(0.0f), x), e, one), v16_add(one, e));
}

#endif
