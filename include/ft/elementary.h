/* SPDX-License-Identifier: MIT
 *
 * Elementary functions of ft-num-1, rule 4: fixed polynomials and integer operations, the same bits on every
 * machine and in every vector variant. These scalar functions are the specification. Error bounds, in units
 * in the last place over all finite inputs, are stated in ft-numerics(7) and tested exhaustively.
 */
#ifndef FT_ELEMENTARY_H
#define FT_ELEMENTARY_H

float ft_expf(float x);  /* overflow gives +inf, underflow goes through subnormals to +0; exp(-inf) = +0 */
float ft_logf(float x);  /* log(0) = -inf, negative = NaN, subnormals exact in range */
float ft_tanhf(float x);
float ft_erff(float x);
float ft_sigmoidf(float x);

/* Binary64, for tables, schedules and optimizer scalars: a few ulp, deterministic (no libm). */
double ft_exp(double x);
double ft_log(double x);
double ft_sin(double x); /* |x| < 2^30 */
double ft_cos(double x);

#endif
