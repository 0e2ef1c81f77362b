/* SPDX-License-Identifier: MIT
 *
 * The binary64 exponential, written as selections and integer operations alone: a loop over it becomes vectors wherever
 * the instruction set has fused multiply-adds, of the same bits by what C says (nothing is contracted).
 */
#ifndef FT_KERNEL_EXP_DOUBLE_H
#define FT_KERNEL_EXP_DOUBLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ROUND_TO_INT 0x1.8p52
#define LOG2E 0x1.71547652b82fep+0
#define LN2_HI 0x1.62e42fefap-1 /* 36 significant bits: n * this is exact */
#define LN2_LO 0x1.cf79abc9e3b3ap-40

/* exp(r) = 1 + (r + r^2 q(r)), |r| <= ln2/2 */
static const double exp_q[] = {
    0x1.0000000000000p-1,  0x1.555555555555ap-3,  0x1.555555555552fp-5,  0x1.111111110f168p-7,
    0x1.6c16c16c27c78p-10, 0x1.a01a01b1e34aap-13, 0x1.a01a014e2ff8ap-16, 0x1.71ddf38c75888p-19,
    0x1.27e5968b13301p-22, 0x1.af66b0e90abf5p-26, 0x1.1e57f34581376p-29};

static inline uint64_t to_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline double from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* c[0] + c[1] x + ...: one fma a coefficient, highest power first. */
static inline double horner(const double *c, size_t n, double x) {
    double y = c[n - 1];
    for (size_t i = n - 1; i-- > 0;) y = __builtin_fma(y, x, c[i]);
    return y;
}

/* 2^n, n in two's complement, -1022 <= n <= 1023 */
static inline double power_of_two(uint64_t n) { return from_bits((n + 1023) << 52); }

static inline double ft_exp_step(double x) {
    double b = x > 710.0 ? 710.0 : x; /* NaN passes both selections */
    b = b < -746.0 ? -746.0 : b;
    double t = __builtin_fma(b, LOG2E, ROUND_TO_INT), n = t - ROUND_TO_INT;
    double r = __builtin_fma(-n, LN2_LO, __builtin_fma(-n, LN2_HI, b));
    double y = 1.0 + __builtin_fma(r * r, horner(exp_q, sizeof exp_q / sizeof *exp_q, r), r);
    /* 2^n in two factors: the second multiplication alone rounds, overflows or meets subnormals. */
    uint64_t k = to_bits(t) - to_bits(ROUND_TO_INT), half = ((k + 2048) >> 1) - 1024; /* floor(n / 2) */
    return y * power_of_two(half) * power_of_two(k - half); /* NaN times whatever that makes of it */
}

#endif
