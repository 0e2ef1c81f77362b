/* SPDX-License-Identifier: MIT
 *
 * Binary64 functions for tables, schedules and statistics. Not hot, but for the exponential (exp_double.h): clarity
 * first. */
#include "exp_double.h"
#include "ft/elementary.h"

#define TWO_OVER_PI 0x1.45f306dc9c883p-1
#define HALF_PI_HI 0x1.921fb54442d18p+0
#define HALF_PI_LO 0x1.1a62633145c07p-54

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* log((1+s)/(1-s)) = 2s + s z q(z), z = s^2 */
static const double log_q[] = {0x1.5555555555593p-1, 0x1.999999997f996p-2, 0x1.24924942334abp-2, 0x1.c71c51ce3fb74p-3,
                               0x1.74664c062b9fdp-3, 0x1.39a050ce93e4bp-3, 0x1.2f147f6d45e94p-3};
/* sin(r) = r + r z q(z), cos(r) = 1 - z/2 + z^2 q(z), z = r^2, |r| <= pi/4 */
static const double sin_q[] = {-0x1.5555555555549p-3, 0x1.111111110f894p-7,  -0x1.a01a019c126f0p-13,
                               0x1.71de35770abfap-19, -0x1.ae5e64e4dab11p-26, 0x1.5d926eac9c2dcp-33};
static const double cos_q[] = {0x1.555555555554cp-5,   -0x1.6c16c16c15213p-10, 0x1.a01a019cbd4a2p-16,
                               -0x1.27e4f810a5a8ap-22, 0x1.1ee9ef9929fdcp-29,  -0x1.8fb0274db64c1p-37};

double ft_exp(double x) { return ft_exp_step(x); }

double ft_log(double x) {
    if (x == 0.0) return -__builtin_inf();
    if (x < 0.0) return __builtin_nan("");
    if (!(x < __builtin_inf())) return x; /* +inf, NaN */
    int exponent = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p52;
        exponent = -52;
    }
    /* x = 2^exponent (1+f) with sqrt(1/2) <= 1+f < sqrt(2) */
    uint64_t u = to_bits(x);
    int e = (int)(u >> 52) - 1023;
    double m = from_bits((u & 0xfffffffffffffu) | (uint64_t)1023 << 52);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        e++;
    }
    double f = m - 1.0, k = exponent + e;
    double s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f;
    double rest = s * (half_square + z * horner(log_q, COUNT(log_q), z));
    return k * LN2_HI - ((half_square - (rest + k * LN2_LO)) - f);
}

/* x = quadrant pi/2 + (r + low), |r| <= pi/4. */
static int reduce(double x, double *r, double *low) {
    double t = __builtin_fma(x, TWO_OVER_PI, ROUND_TO_INT), n = t - ROUND_TO_INT;
    double product = n * HALF_PI_HI, error = __builtin_fma(n, HALF_PI_HI, -product);
    double high = x - product, correction = __builtin_fma(n, HALF_PI_LO, error);
    *r = high - correction;
    *low = (high - *r) - correction;
    return (int)(to_bits(t) & 3u);
}

static double sine(double r, double low) {
    double z = r * r;
    return r + __builtin_fma(r * z, horner(sin_q, COUNT(sin_q), z), low * (1.0 - 0.5 * z));
}

static double cosine(double r, double low) {
    double z = r * r, half = 0.5 * z, w = 1.0 - half;
    return w + (((1.0 - w) - half) + (z * z * horner(cos_q, COUNT(cos_q), z) - r * low));
}

double ft_sin(double x) {
    double r, low;
    int quadrant = reduce(x, &r, &low);
    double y = quadrant & 1 ? cosine(r, low) : sine(r, low);
    return quadrant & 2 ? -y : y;
}

double ft_cos(double x) {
    double r, low;
    int quadrant = reduce(x, &r, &low);
    double y = quadrant & 1 ? sine(r, low) : cosine(r, low);
    return quadrant == 1 || quadrant == 2 ? -y : y;
}
