/* SPDX-License-Identifier: MIT
 *
 * The binary32 functions are written as the vector variants compute them: no branches, only selections, so
 * that both read alike line by line (elementary_v16.h). fma appears only where it is written.
 */
#include "ft/elementary.h"

#include "elementary_constants.h"
#include "ft/dtype.h"

#include <stdbool.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* c[0] + c[1] x + ...: one fma a coefficient, highest power first. */
static float horner(const float *c, size_t n, float x) {
    float y = c[n - 1];
    for (size_t i = n - 1; i-- > 0;) y = __builtin_fmaf(y, x, c[i]);
    return y;
}

static float with_sign_of(float magnitude, float x) {
    return ft_from_bits(ft_to_bits(magnitude) | (ft_to_bits(x) & 0x80000000u));
}
static float magnitude_of(float x) { return ft_from_bits(ft_to_bits(x) & 0x7fffffffu); }

/* 2^n for -126 <= n <= 127 */
static float power_of_two(int32_t n) { return ft_from_bits((uint32_t)(n + 127) << 23); }

/* Floor of n / 2^bits without relying on >> of negative numbers. */
static int32_t shift_right(int32_t n, unsigned bits) {
    return n >= 0 ? (int32_t)((uint32_t)n >> bits) : (int32_t)~(~(uint32_t)n >> bits);
}

float ft_expf(float x) {
    x = x > FT_EXP_MAX ? FT_EXP_MAX : x; /* NaN passes both selections */
    x = x < FT_EXP_MIN ? FT_EXP_MIN : x;
    float t = __builtin_fmaf(x, FT_LOG2E, FT_ROUND_TO_INT);
    float n = t - FT_ROUND_TO_INT;
    float r = __builtin_fmaf(-n, FT_LN2_LO, __builtin_fmaf(-n, FT_LN2_HI, x));
    float y = 1.0f + __builtin_fmaf(r * r, horner(ft_exp_q, COUNT(ft_exp_q), r), r);
    /* 2^n in two factors: the second multiplication alone rounds, overflows or meets subnormals. */
    uint32_t k = ft_to_bits(t) - ft_to_bits(FT_ROUND_TO_INT);
    k = x == x ? k : 0;
    int32_t half = shift_right((int32_t)k, 1);
    return y * power_of_two(half) * power_of_two((int32_t)k - half);
}

float ft_logf(float x) {
    bool subnormal = x < 0x1p-126f;
    uint32_t u = ft_to_bits(subnormal ? x * 0x1p23f : x);
    uint32_t exponent = (uint32_t)shift_right((int32_t)(u - FT_SQRT_HALF_BITS), 23);
    float f = ft_from_bits(u - (exponent << 23)) - 1.0f; /* exact */
    float e = (float)(int32_t)exponent - (subnormal ? 23.0f : 0.0f);

    float q = __builtin_fmaf(horner(ft_log_q, COUNT(ft_log_q), f), f, -0.5f);
    float low = __builtin_fmaf(e, FT_LN2_LO, (f * f) * q);
    float big = e * FT_LN2_HI; /* exact, and zero or larger than f: so the sum's rounding error is, too */
    float sum = big + f;
    float y = sum + ((f - (sum - big)) + low);

    y = x == 0.0f ? -__builtin_inff() : y;
    y = x < 0.0f ? __builtin_nanf("") : y;
    return x < __builtin_inff() ? y : x; /* +inf and NaN are their own logarithms */
}

float ft_tanhf(float x) {
    float a = magnitude_of(x), z = a * a;
    float small = __builtin_fmaf(a * z, horner(ft_tanh_q, COUNT(ft_tanh_q), z), a);
    float large = 1.0f - 2.0f / (ft_expf(a + a) + 1.0f);
    return with_sign_of(a > FT_TANH_SMALL ? large : small, x);
}

float ft_erff(float x) {
    float a = magnitude_of(x), z = a * a;
    float small = __builtin_fmaf(a, horner(ft_erf_q, COUNT(ft_erf_q), z), a);
    float b = a > FT_ERF_MAX ? FT_ERF_MAX : a;
    float large = 1.0f - ft_expf(-__builtin_fmaf(b, horner(ft_erf_r, COUNT(ft_erf_r), b), b));
    return with_sign_of(a > 1.0f ? large : small, x);
}

/* exp of a negative number only, so that neither tail loses its digits. */
float ft_sigmoidf(float x) {
    float e = ft_expf(-magnitude_of(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
