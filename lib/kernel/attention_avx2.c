/* SPDX-License-Identifier: MIT */
#include "vec_avx2.h"

#define FT_ATTENTION_TABLE ft_attention_avx2
#include "attention_v16.h"
