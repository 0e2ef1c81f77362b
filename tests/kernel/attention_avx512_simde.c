/* SPDX-License-Identifier: MIT
 *
 * The AVX-512 functions of attention through SIMDe, on any machine with AVX2 and FMA; the table takes the place of
 * the library's choice (lib/kernel/attention_isa.c). The tiles are the machine's own.
 */
#include "simde_avx512.h"

#include "../../lib/kernel/vec_avx512.h"

#define FT_ATTENTION_TABLE attention_simde
#include "../../lib/kernel/attention.h"
extern const struct ft_attention_isa attention_simde;
#include "../../lib/kernel/attention_v16.h"

#include "attention_cases.h"

const struct ft_attention_isa *ft_attention_isa(enum ft_isa isa) {
    return isa == FT_ISA_SCALAR ? NULL : &attention_simde;
}

int main(void) {
    if (!ft_isa_available(FT_ISA_AVX2)) return printf("1..0 # SKIP needs AVX2 and FMA\n"), 0;
    compare_with_specification("avx512 through SIMDe", FT_ISA_AVX2, 3);
    return tap_done();
}
