/* SPDX-License-Identifier: MIT
 *
 * The AVX-512 row kernels through SIMDe, on any machine with AVX2 and FMA. The table below takes the place of the
 * library's choice (lib/kernel/kernels.c, which the linker then leaves in the archive). */
#include "simde_avx512.h"

#include "../../lib/kernel/vec_avx512.h"

#define FT_KERNELS kernels_simde
#include "../../lib/kernel/kernels.h"
extern const struct ft_kernels kernels_simde;
#include "../../lib/kernel/rows_v16.h"

#include "rows_cases.h"

const struct ft_kernels *ft_kernels_of(const struct ft_exec *exec) {
    return ft_exec_isa(exec) == FT_ISA_SCALAR ? &ft_kernels_scalar : &kernels_simde;
}

static bool fused(void) {
    float x[16], y[16], z[16], r[16];
    for (int i = 0; i < 16; i++) x[i] = y[i] = 1.0f + 0x1p-12f, z[i] = -(1.0f + 0x1p-11f);
    v16_store(r, v16_fma(v16_load(x), v16_load(y), v16_load(z)));
    for (int i = 0; i < 16; i++)
        if (r[i] != 0x1p-24f) return false;
    return true;
}

int main(void) {
    if (!ft_isa_available(FT_ISA_AVX2)) return printf("1..0 # SKIP needs AVX2 and FMA\n"), 0;
    ok(fused(), "SIMDe's fma rounds once");
    compare_with_scalar("avx512 through SIMDe", FT_ISA_AVX2, 1);
    return tap_done();
}
