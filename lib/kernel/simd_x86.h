/* SPDX-License-Identifier: MIT
 *
 * Intel intrinsics: the compiler's, or with FT_SIMDE a portable emulation (libsimde-dev), by which tests run a
 * variant that the machine does not have.
 */
#ifndef FT_KERNEL_SIMD_X86_H
#define FT_KERNEL_SIMD_X86_H

#ifdef FT_SIMDE
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#else
#include <immintrin.h>
#endif

#endif
