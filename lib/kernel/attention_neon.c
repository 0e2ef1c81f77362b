/* SPDX-License-Identifier: MIT */
#include "vec_neon.h"

#define FT_ATTENTION_TABLE ft_attention_neon
#include "attention_v16.h"
