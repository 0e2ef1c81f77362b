/* SPDX-License-Identifier: MIT
 *
 * Polynomials and split constants of the binary32 elementary functions, shared by the scalar specification
 * (elementary.c) and the vector variants (elementary_v16.h). Minimax fits, each coefficient rounded to
 * binary32 before the next was fitted; lowest power first. Changing one changes the numerics name.
 */
#ifndef FT_KERNEL_ELEMENTARY_CONSTANTS_H
#define FT_KERNEL_ELEMENTARY_CONSTANTS_H

#define FT_ROUND_TO_INT 0x1.8p23f /* t + this - this is t rounded to the nearest integer; its low bits count */
#define FT_LOG2E 0x1.715476p+0f
#define FT_LN2_HI 0x1.62e4p-1f /* 15 significant bits: n * this is exact for |n| < 2^9 */
#define FT_LN2_LO 0x1.7f7d1cp-20f

/* exp(r) = 1 + (r + r^2 q(r)), |r| <= ln2/2. Outside [min, max] the result is +0 or +inf like at the bound. */
#define FT_EXP_MIN -104.0f
#define FT_EXP_MAX 89.0f
static const float ft_exp_q[6] = {0x1.000000p-1f, 0x1.555554p-3f, 0x1.5554e8p-5f,
                                  0x1.111310p-7f, 0x1.6d4cdap-10f, 0x1.9df7f8p-13f};

/* log(1+f) = f + f^2 (-1/2 + f q(f)), sqrt(1/2) <= 1+f < sqrt(2) */
#define FT_SQRT_HALF_BITS 0x3f3504f3u
static const float ft_log_q[9] = {0x1.555548p-2f,  -0x1.000006p-2f, 0x1.99a478p-3f, -0x1.555c4ep-3f, 0x1.233b78p-3f,
                                  -0x1.fc26acp-4f, 0x1.e6c03ep-4f,  -0x1.de1004p-4f, 0x1.1484e8p-4f};

/* tanh(x) = x + x z q(z), z = x^2, |x| <= FT_TANH_SMALL; beyond, 1 - 2/(exp(2|x|) + 1) */
#define FT_TANH_SMALL 0.625f
static const float ft_tanh_q[6] = {-0x1.555554p-2f, 0x1.11107ap-3f,  -0x1.b9f190p-5f,
                                   0x1.63a614p-6f,  -0x1.0c64bap-7f, 0x1.1a453cp-9f};

/* erf(x) = x + x q(x^2), |x| <= 1; beyond, 1 - exp(-(|x| + |x| r(|x|))), |x| cut to FT_ERF_MAX, where it is 1 */
#define FT_ERF_MAX 4.0f
static const float ft_erf_q[7] = {0x1.06eba8p-3f, -0x1.81273ep-2f, 0x1.ce2ce6p-4f, -0x1.b7f71ap-6f,
                                  0x1.53f226p-8f, -0x1.a35186p-11f, 0x1.4772c0p-14f};
static const float ft_erf_r[7] = {0x1.078aeep-3f, 0x1.452088p-1f,   0x1.b40feep-4f, -0x1.886cb2p-6f,
                                  0x1.e901acp-9f, -0x1.68f776p-12f, 0x1.bfd7aep-17f};

#endif
