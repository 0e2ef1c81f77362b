/* SPDX-License-Identifier: MIT */
#define FT_GEMV_TABLE ft_gemv_avx512
#include "gemv.h"
#include "gemv_avx512.h"
