/* SPDX-License-Identifier: MIT
 *
 * The AVX-512 tiles through SIMDe, on any machine with AVX2 and FMA: the table below takes the place of the
 * library's choice (lib/kernel/gemm_isa.c, which the linker then leaves in the archive). That SIMDe's multiply-add
 * is fused is tested by rows_avx512_simde.c, and would show here at once.
 */
#include "simde_avx512.h"

#define FT_GEMM_TABLE gemm_simde
#include "../../lib/kernel/gemm.h"
extern const struct ft_gemm_isa gemm_simde;
#include "../../lib/kernel/gemm_avx512.h"

#include "gemm_cases.h"

const struct ft_gemm_isa *ft_gemm_isa(enum ft_isa isa) {
    return isa == FT_ISA_SCALAR ? &ft_gemm_scalar : &gemm_simde;
}

int main(void) {
    if (!ft_isa_available(FT_ISA_AVX2)) return printf("1..0 # SKIP needs AVX2 and FMA\n"), 0;
    compare_with_specification("avx512 through SIMDe", FT_ISA_AVX2, 2);
    return tap_done();
}
