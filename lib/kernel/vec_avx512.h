/* SPDX-License-Identifier: MIT
 *
 * Sixteen binary32 lanes in AVX-512 (F, DQ): one register. See vec_avx2.h. */
#ifndef FT_KERNEL_VEC_AVX512_H
#define FT_KERNEL_VEC_AVX512_H

#include "simd_x86.h"

#include <stddef.h>
#include <stdint.h>

typedef __m512 v16;
typedef __m512i v16i;
typedef __mmask16 v16m;

static inline v16 v16_set1(float x) { return _mm512_set1_ps(x); }
static inline v16i v16i_set1(int32_t x) { return _mm512_set1_epi32(x); }

static inline v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v16_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }

static inline v16m v16_first(size_t n) { return (v16m)((1u << n) - 1u); }
static inline v16 v16_load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps(v16_first(n), p); }
static inline void v16_store_part(float *p, size_t n, v16 x) { _mm512_mask_storeu_ps(p, v16_first(n), x); }

static inline v16 v16_add(v16 x, v16 y) { return _mm512_add_ps(x, y); }
static inline v16 v16_sub(v16 x, v16 y) { return _mm512_sub_ps(x, y); }
static inline v16 v16_mul(v16 x, v16 y) { return _mm512_mul_ps(x, y); }
static inline v16 v16_div(v16 x, v16 y) { return _mm512_div_ps(x, y); }
static inline v16 v16_sqrt(v16 x) { return _mm512_sqrt_ps(x); }
static inline v16 v16_fma(v16 x, v16 y, v16 z) { return _mm512_fmadd_ps(x, y, z); }
static inline v16 v16_fnma(v16 x, v16 y, v16 z) { return _mm512_fnmadd_ps(x, y, z); }
static inline v16 v16_fms(v16 x, v16 y, v16 z) { return _mm512_fmsub_ps(x, y, z); }
static inline v16 v16_greater(v16 x, v16 y) { return _mm512_max_ps(x, y); }
static inline v16 v16_lesser(v16 x, v16 y) { return _mm512_min_ps(x, y); }

static inline v16m v16_gt(v16 x, v16 y) { return _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ); }
static inline v16m v16_le(v16 x, v16 y) { return _mm512_cmp_ps_mask(x, y, _CMP_LE_OQ); }
static inline v16m v16_eq(v16 x, v16 y) { return _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ); }
static inline v16 v16_select(v16m m, v16 x, v16 y) { return _mm512_mask_blend_ps(m, y, x); }
static inline unsigned v16_mask_bits(v16m m) { return m; }

static inline v16i v16_bits(v16 x) { return _mm512_castps_si512(x); }
static inline v16 v16_from_bits(v16i x) { return _mm512_castsi512_ps(x); }
static inline v16i v16i_add(v16i x, v16i y) { return _mm512_add_epi32(x, y); }
static inline v16i v16i_sub(v16i x, v16i y) { return _mm512_sub_epi32(x, y); }
static inline v16i v16i_and(v16i x, v16i y) { return _mm512_and_si512(x, y); }
static inline v16i v16i_or(v16i x, v16i y) { return _mm512_or_si512(x, y); }
static inline v16i v16i_half(v16i x) { return _mm512_srai_epi32(x, 1); }
static inline v16i v16i_to_exponent(v16i x) { return _mm512_slli_epi32(x, 23); }

static inline float v16_sum(v16 x) {
    __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}
static inline float v16_max(v16 x) {
    __m256 y = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_movehdup_ps(z)));
}

#endif
