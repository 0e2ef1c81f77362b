/* SPDX-License-Identifier: MIT
 *
 * Attention of every instruction set that this machine runs. */
#include "attention_cases.h"

int main(void) {
    for (int isa = 0; isa < FT_ISA_COUNT; isa++)
        for (unsigned threads = 1; threads <= 3 && ft_isa_available((enum ft_isa)isa); threads++)
            compare_with_specification(ft_isa_name((enum ft_isa)isa), (enum ft_isa)isa, threads);
    return tap_done();
}
