/* SPDX-License-Identifier: MIT */
#include "ft/version.h"

#include "ft/cpu.h"

#include <stdio.h>

const char *ft_source_digest(void) { return FT_SOURCE_DIGEST; }

void ft_version_print(const char *program) {
    enum ft_isa isa = FT_ISA_SCALAR;
    (void)ft_isa_select(&isa, NULL);
    printf("%s %s (numerics %s, isa %s, source %.12s)\n", program, FT_VERSION, FT_NUMERICS, ft_isa_name(isa),
           ft_source_digest());
}
