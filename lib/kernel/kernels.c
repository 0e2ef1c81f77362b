/* SPDX-License-Identifier: MIT */
#include "kernels.h"

const struct ft_kernels *ft_kernels_of(const struct ft_exec *exec) {
    switch (ft_exec_isa(exec)) {
#if defined(__x86_64__)
    case FT_ISA_AVX2: return &ft_kernels_avx2;
    case FT_ISA_AVX512: return &ft_kernels_avx512;
#elif defined(__aarch64__)
    case FT_ISA_NEON: return &ft_kernels_neon;
#endif
    default: return &ft_kernels_scalar;
    }
}
