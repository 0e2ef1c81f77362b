/* SPDX-License-Identifier: MIT */
#define FT_GEMM_TABLE ft_gemm_avx512
#include "gemm_avx512.h"
