/* SPDX-License-Identifier: MIT
 *
 * Alone in its file, so that a test can put another table in its place.
 */
#include "gemv.h"

const struct ft_gemv_isa *ft_gemv_isa(enum ft_isa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case FT_ISA_AVX2: return &ft_gemv_avx2;
    case FT_ISA_AVX512: return &ft_gemv_avx512;
#elif defined(__aarch64__)
    case FT_ISA_NEON: return &ft_gemv_neon;
#endif
    default: return NULL;
    }
}
