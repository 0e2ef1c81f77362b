/* SPDX-License-Identifier: MIT */
#include "vec_avx512.h"

#define FT_KERNELS ft_kernels_avx512
#include "rows_v16.h"
