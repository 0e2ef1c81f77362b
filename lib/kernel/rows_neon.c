/* SPDX-License-Identifier: MIT */
#include "vec_neon.h"

#define FT_KERNELS ft_kernels_neon
#include "rows_v16.h"
