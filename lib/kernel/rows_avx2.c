/* SPDX-License-Identifier: MIT */
#include "vec_avx2.h"

#define FT_KERNELS ft_kernels_avx2
#include "rows_v16.h"
