/* SPDX-License-Identifier: MIT
 *
 * The AVX-512 matrix-vector product through SIMDe: the table below takes the place of the library's choice
 * (lib/kernel/gemv_isa.c, which the linker then leaves in the archive).
 */
#include "simde_avx512.h"

#define GEMV_UNROLL
#define FT_GEMV_TABLE gemv_simde
#include "../../lib/kernel/gemv.h"
extern const struct ft_gemv_isa gemv_simde;
#include "../../lib/kernel/gemv_avx512.h"

#include "gemm_cases.h"

const struct ft_gemv_isa *ft_gemv_isa(enum ft_isa isa) { return isa == FT_ISA_SCALAR ? NULL : &gemv_simde; }

int main(void) {
    if (!ft_isa_available(FT_ISA_AVX2)) return printf("1..0 # SKIP needs AVX2 and FMA\n"), 0;
    compare_with_specification("avx512 through SIMDe", FT_ISA_AVX2, 2);
    return tap_done();
}
