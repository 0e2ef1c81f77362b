/* SPDX-License-Identifier: MIT
 *
 * Alone in its file, so that a test can put another table in its place.
 */
#include "gemm.h"

const struct ft_gemm_isa *ft_gemm_isa(enum ft_isa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case FT_ISA_AVX2: return &ft_gemm_avx2;
    case FT_ISA_AVX512: return &ft_gemm_avx512;
#elif defined(__aarch64__)
    case FT_ISA_NEON: return &ft_gemm_neon;
#endif
    default: return &ft_gemm_scalar;
    }
}
