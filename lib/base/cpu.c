/* SPDX-License-Identifier: MIT */
#include "ft/cpu.h"

#include <fenv.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const char *const names[FT_ISA_COUNT] = {"scalar", "avx2", "avx512", "neon"};

const char *ft_isa_name(enum ft_isa isa) { return names[isa]; }

bool ft_isa_available(enum ft_isa isa) {
    if (isa == FT_ISA_SCALAR) return true;
#if defined(__x86_64__)
    __builtin_cpu_init(); /* checks OS support of the register state as well */
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == FT_ISA_AVX2) return avx2;
#if defined(FT_SIMDE)
    if (isa == FT_ISA_AVX512) return avx2; /* what emulates it (make check-avx512) */
#else
    if (isa == FT_ISA_AVX512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
#elif defined(__aarch64__)
    if (isa == FT_ISA_NEON) return true;
#endif
    return false;
}

enum ft_status ft_isa_select(enum ft_isa *isa, struct ft_error *error) {
    const char *forced = getenv("FT_CPU");
    if (!forced || !*forced) {
        *isa = FT_ISA_SCALAR;
        for (int i = 0; i < FT_ISA_COUNT; i++)
            if (ft_isa_available((enum ft_isa)i)) *isa = (enum ft_isa)i;
        return FT_OK;
    }
    for (int i = 0; i < FT_ISA_COUNT; i++) {
        if (strcmp(forced, names[i]) != 0) continue;
        if (!ft_isa_available((enum ft_isa)i))
            return ft_fail(error, FT_USAGE, "FT_CPU=%s: this machine cannot run it; unset FT_CPU to let ft choose", forced);
        *isa = (enum ft_isa)i;
        return FT_OK;
    }
    return ft_fail(error, FT_USAGE, "FT_CPU=%s: unknown; choose one of scalar, avx2, avx512, neon", forced);
}

enum ft_status ft_fpenv_set(struct ft_error *error) {
    (void)fesetround(FE_TONEAREST);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() & ~0xE040u); /* rounding control, flush-to-zero, denormals-are-zero */
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)0));
#endif
    volatile float tiny = 0x1p-126f, half = 0.5f, one = 1.0f, eps = 0x1p-24f;
    volatile float sub = tiny * half, even = one + eps, up = (one + 0x1p-23f) + eps;
    if (sub != 0x1p-127f || sub * 2.0f != tiny || even != 1.0f || up != 1.0f + 0x1p-22f)
        return ft_fail(error, FT_UNSUPPORTED,
                       "this processor's floating point does not round to nearest even with subnormals kept");
    return FT_OK;
}
