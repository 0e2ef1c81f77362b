/* SPDX-License-Identifier: MIT
 *
 * Alone in its file, so that a test can put another table in its place.
 */
#include "attention.h"

const struct ft_attention_isa *ft_attention_isa(enum ft_isa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case FT_ISA_AVX2: return &ft_attention_avx2;
    case FT_ISA_AVX512: return &ft_attention_avx512;
#elif defined(__aarch64__)
    case FT_ISA_NEON: return &ft_attention_neon;
#endif
    default: return NULL;
    }
}
