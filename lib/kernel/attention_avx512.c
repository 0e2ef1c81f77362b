/* SPDX-License-Identifier: MIT */
#include "vec_avx512.h"

#define FT_ATTENTION_TABLE ft_attention_avx512
#include "attention_v16.h"
