/* SPDX-License-Identifier: MIT
 *
 * Which instruction set the kernels use, and the floating-point environment they rely on. The choice never
 * changes a bit of any result (ft-numerics(7)); it changes only the time.
 */
#ifndef FT_CPU_H
#define FT_CPU_H

#include "ft/error.h"

enum ft_isa { FT_ISA_SCALAR, FT_ISA_AVX2, FT_ISA_AVX512, FT_ISA_NEON, FT_ISA_COUNT };

/* "scalar", "avx2", "avx512", "neon" */
const char *ft_isa_name(enum ft_isa isa);

/* True when this build has the variant and this machine and its operating system run it. */
bool ft_isa_available(enum ft_isa isa);

/* The best available one, or the one named by the environment variable FT_CPU: FT_USAGE with the choices
 * listed when that is unknown or not available here. */
enum ft_status ft_isa_select(enum ft_isa *isa, struct ft_error *error);

/* Sets round-to-nearest-even with subnormals kept (no FTZ, DAZ) in the calling thread, and checks that
 * arithmetic behaves so. The pool calls it in every thread. */
enum ft_status ft_fpenv_set(struct ft_error *error);

#endif
