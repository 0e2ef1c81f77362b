/* SPDX-License-Identifier: MIT
 *
 * AVX-512 intrinsics from SIMDe, and the few that Debian 12's SIMDe lacks, so that the AVX-512 variants can be
 * compared on machines without it. Compile with SIMDE_ENABLE_NATIVE_ALIASES, -mavx2 and -mfma: without them SIMDe's
 * fused multiply-add would be two roundings. */
#ifndef SIMDE_AVX512_H
#define SIMDE_AVX512_H

#define FT_SIMDE
#include "../../lib/kernel/simd_x86.h"

#include <stdint.h>
#include <string.h>

static inline __m512 shim_maskz_loadu_ps(__mmask16 k, const float *p) {
    float lanes[16] = {0};
    for (int i = 0; i < 16; i++)
        if (k >> i & 1) lanes[i] = p[i];
    return _mm512_loadu_ps(lanes);
}
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps shim_maskz_loadu_ps

static inline void shim_mask_storeu_ps(float *p, __mmask16 k, __m512 x) {
    float lanes[16];
    memcpy(lanes, &x, sizeof lanes);
    for (int i = 0; i < 16; i++)
        if (k >> i & 1) p[i] = lanes[i];
}
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps shim_mask_storeu_ps

static inline __m256 shim_extractf32x8_ps(__m512 x, int half) {
    float lanes[16];
    memcpy(lanes, &x, sizeof lanes);
    return _mm256_loadu_ps(lanes + 8 * half);
}
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps shim_extractf32x8_ps

static inline __m512i shim_cvtepu16_epi32(__m256i x) {
    uint16_t halves[16];
    uint32_t lanes[16];
    memcpy(halves, &x, sizeof halves);
    for (int i = 0; i < 16; i++) lanes[i] = halves[i];
    __m512i wide;
    memcpy(&wide, lanes, sizeof wide);
    return wide;
}
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 shim_cvtepu16_epi32

static inline __m512i shim_srai_epi32(__m512i x, unsigned n) {
    int32_t lanes[16];
    memcpy(lanes, &x, sizeof lanes);
    for (int i = 0; i < 16; i++) lanes[i] >>= n;
    memcpy(&x, lanes, sizeof lanes);
    return x;
}
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 shim_srai_epi32

#endif
