/* SPDX-License-Identifier: MIT
 *
 * DoRA (Liu et al. 2024), as PEFT computes it: an output's direction is its row of V = W + scale B A over the
 * row's norm, which no gradient goes through; its length is the magnitude. With z = x V^T:
 *     gain = magnitude / norm;  y = z * gain (+ bias) (+ residual)
 *     d_magnitude += chain over rows of dy * (z / norm);  dz = dy * gain
 * A row of zeros has an infinite norm here: its outputs are zero.
 */
#ifndef FT_MODEL_DORA_H
#define FT_MODEL_DORA_H

#include "ft/exec.h"
#include "model.h"

/* norm[o] = sqrt(sum over inputs, in order, of V[o][i]^2 in binary64), rounded; here for B = 0, V = W. */
void ft_dora_norms_of_base(const struct ft_module *module, float *norm);

/* Numbers that ft_dora_refresh needs; 0 when no module has a magnitude. */
size_t ft_dora_scratch(const struct ft_model *model);

/* Norms and gains of all modules from the present A, B and magnitudes. V = (chain over the rank of B A) * scale + W
 * in binary32. */
void ft_dora_refresh(struct ft_exec *exec, const struct ft_model *model, float *scratch);

/* y [rows, out] = y * gain (+ bias) (+ add), gain and bias of these outputs; bias and add may be NULL, add is not y. */
void ft_dora_apply(struct ft_exec *exec, size_t rows, size_t out, const float *gain, const float *bias, const float *add,
                   float *y);

/* z = dy * (z / norm), each [rows, out]. */
void ft_dora_terms(struct ft_exec *exec, size_t rows, size_t out, const float *norm, const float *dy, float *z);

#endif
