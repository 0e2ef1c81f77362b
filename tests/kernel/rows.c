/* SPDX-License-Identifier: MIT
 * Row kernels: every instruction set this machine runs, on several threads, against the scalar specification. */
#include "rows_cases.h"

int main(void) {
    for (int i = 0; i < FT_ISA_COUNT; i++) {
        enum ft_isa isa = (enum ft_isa)i;
        for (unsigned threads = 1; threads <= 3 && ft_isa_available(isa); threads++)
            if (isa != FT_ISA_SCALAR || threads > 1) compare_with_scalar(ft_isa_name(isa), isa, threads);
    }
    return tap_done();
}
