/* SPDX-License-Identifier: MIT
 *
 * Private to the matrix product: one row of A times a B that is read once, where it lies and as it is stored.
 * This is decoding, where memory bandwidth is the limit: nothing is packed, and narrow weights are widened in
 * registers. Chains as everywhere (ft-num-1, rule 2).
 */
#ifndef FT_KERNEL_GEMV_H
#define FT_KERNEL_GEMV_H

#include "gemm.h"

/* chain[j - begin] = the chain of output j over all k, for begin <= j < end. It starts from what chain holds.
 * b(k, j) is at b[k + j * ld] for the functions `down` (k adjacent) and at b[k * ld + j] for `across` (j
 * adjacent), in elements of the function's type. */
typedef void ft_gemv_fn(const float *x, size_t k, const void *b, size_t ld, size_t begin, size_t end, float *chain);

/* For each of `rows` rows of x, ld_x apart, n chains: chain[r * n + j], of binary32 weights at b[k + j * ld]. */
typedef void ft_gemv_heads_fn(const float *x, size_t ld_x, size_t rows, size_t k, const float *b, size_t ld, size_t n,
                              float *chain);

struct ft_gemv_isa {
    ft_gemv_fn *down[3], *across[3]; /* indexed by enum ft_dtype */
    ft_gemv_heads_fn *heads;
};

extern const struct ft_gemv_isa ft_gemv_avx2, ft_gemv_avx512, ft_gemv_neon;

/* NULL: this instruction set has none. */
const struct ft_gemv_isa *ft_gemv_isa(enum ft_isa isa);

/* Runs the product this way and returns true, or leaves it alone when it is of another kind. */
bool ft_gemv(struct ft_exec *exec, const struct ft_product *product);
/* Would it? */
bool ft_gemv_takes(const struct ft_exec *exec, const struct ft_product *product);

#endif
