/* SPDX-License-Identifier: MIT
 *
 * Private to the matrix product: element access for the scalar specification.
 */
#ifndef FT_KERNEL_GEMM_H
#define FT_KERNEL_GEMM_H

#include "ft/gemm.h"

/* Element (row, col), widened. */
float ft_operand_at(const struct ft_operand *x, size_t row, size_t col);
/* b(k, j) out of packed memory, widened. */
float ft_packed_at(const struct ft_packed *packed, size_t k, size_t j);

#endif
