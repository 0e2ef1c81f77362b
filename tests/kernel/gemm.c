/* SPDX-License-Identifier: MIT
 *
 * The matrix product of every instruction set that this machine runs, at 1, 2, 3 and 12 threads.
 */
#include "gemm_cases.h"

int main(void) {
    for (int isa = 0; isa < FT_ISA_COUNT; isa++)
        for (unsigned threads = 1; threads <= 12 && ft_isa_available((enum ft_isa)isa); threads += threads < 3 ? 1 : 9)
            compare_with_specification(ft_isa_name((enum ft_isa)isa), (enum ft_isa)isa, threads);
    return tap_done();
}
