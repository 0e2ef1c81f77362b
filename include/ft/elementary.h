/* SPDX-License-Identifier: MIT
 *
 * Elementary functions of ft-num-1, rule 4: fixed polynomials and integer operations, the same bits on every
 * machine and in every vector variant. The scalar functions are the specification. The bounds below, in units in the
 * last place of the exact result over all inputs, are checked exhaustively by `make check-long`.
 */
#ifndef FT_ELEMENTARY_H
#define FT_ELEMENTARY_H

float ft_expf(float x);     /* 1.0 ulp; overflow gives +inf, underflow goes through subnormals to +0; exp(-inf) = +0 */
float ft_logf(float x);     /* 0.9 ulp; log(+-0) = -inf, negative = NaN, log(+inf) = +inf; subnormals are in range */
float ft_tanhf(float x);    /* 1.4 ulp; odd: tanh(-0) = -0 */
float ft_erff(float x);     /* 1.0 ulp; odd */
float ft_sigmoidf(float x); /* 2.5 ulp; 1/(1 + exp(-x)) without loss of digits in the negative tail */

/* Binary64, for tables, schedules and optimizer scalars: within 1 ulp, deterministic (no libm). */
double ft_exp(double x);
double ft_log(double x);
double ft_sin(double x); /* |x| < 2^30; NaN for infinities. Beyond 2^30 digits are lost, never determinism. */
double ft_cos(double x);

#endif
