/* SPDX-License-Identifier: MIT
 *
 * Sixteen binary32 lanes in AVX2 with FMA: two registers. vec_avx512.h and vec_neon.h have the same names with
 * the same meaning to the bit (NaN payloads aside); what is particular to one ISA stays in its file.
 *   v16 numbers, v16i 32-bit integers (two's complement, wrapping), v16m one truth value a lane.
 *   *_part: the first n < 16 lanes; loading leaves the others +0, storing does not touch them.
 */
#ifndef FT_KERNEL_VEC_AVX2_H
#define FT_KERNEL_VEC_AVX2_H

#include "simd_x86.h"

#include <stddef.h>
#include <stdint.h>

typedef struct { __m256 a, b; } v16;
typedef struct { __m256i a, b; } v16i;
typedef struct { __m256 a, b; } v16m;

static inline v16 v16_set1(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline v16i v16i_set1(int32_t x) { return (v16i){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }

static inline v16 v16_load(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void v16_store(float *p, v16 x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

/* True in lanes below n. */
static inline v16m v16_first(size_t n) {
    __m256i count = _mm256_set1_epi32((int)n), low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
    return (v16m){_mm256_castsi256_ps(_mm256_cmpgt_epi32(count, low)),
                  _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, high))};
}
/* Masked-off lanes are neither read nor written; the second half's address is formed only when it is used. */
static inline v16 v16_load_part(const float *p, size_t n) {
    v16m m = v16_first(n);
    return (v16){_mm256_maskload_ps(p, _mm256_castps_si256(m.a)),
                 n > 8 ? _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.b)) : _mm256_setzero_ps()};
}
/* In halves: a masked store is microcoded on many processors. */
static inline void v16_store_part(float *p, size_t n, v16 x) {
    __m256 v = x.a;
    if (n & 8) {
        _mm256_storeu_ps(p, v);
        p += 8;
        v = x.b;
    }
    __m128 q = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, q);
        p += 4;
        q = _mm256_extractf128_ps(v, 1);
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, q);
        p += 2;
        q = _mm_movehl_ps(q, q);
    }
    if (n & 1) _mm_store_ss(p, q);
}

static inline v16 v16_add(v16 x, v16 y) { return (v16){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static inline v16 v16_sub(v16 x, v16 y) { return (v16){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static inline v16 v16_mul(v16 x, v16 y) { return (v16){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static inline v16 v16_div(v16 x, v16 y) { return (v16){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static inline v16 v16_sqrt(v16 x) { return (v16){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
/* x y + z, -(x y) + z, x y - z: one rounding */
static inline v16 v16_fma(v16 x, v16 y, v16 z) {
    return (v16){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline v16 v16_fnma(v16 x, v16 y, v16 z) {
    return (v16){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
static inline v16 v16_fms(v16 x, v16 y, v16 z) {
    return (v16){_mm256_fmsub_ps(x.a, y.a, z.a), _mm256_fmsub_ps(x.b, y.b, z.b)};
}
/* x > y ? x : y, as vmaxps does it: NaN and equal give y. */
static inline v16 v16_greater(v16 x, v16 y) { return (v16){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
/* x < y ? x : y */
static inline v16 v16_lesser(v16 x, v16 y) { return (v16){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }

static inline v16m v16_gt(v16 x, v16 y) {
    return (v16m){_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ)};
}
static inline v16m v16_le(v16 x, v16 y) {
    return (v16m){_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ)};
}
static inline v16m v16_eq(v16 x, v16 y) {
    return (v16m){_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}
/* m ? x : y */
static inline v16 v16_select(v16m m, v16 x, v16 y) {
    return (v16){_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)};
}
/* Bit l is lane l. */
static inline unsigned v16_mask_bits(v16m m) {
    return (unsigned)_mm256_movemask_ps(m.a) | (unsigned)_mm256_movemask_ps(m.b) << 8;
}

static inline v16i v16_bits(v16 x) { return (v16i){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
static inline v16 v16_from_bits(v16i x) { return (v16){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
static inline v16i v16i_add(v16i x, v16i y) { return (v16i){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
static inline v16i v16i_sub(v16i x, v16i y) { return (v16i){_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
static inline v16i v16i_and(v16i x, v16i y) {
    return (v16i){_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
static inline v16i v16i_or(v16i x, v16i y) { return (v16i){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
static inline v16i v16i_half(v16i x) { return (v16i){_mm256_srai_epi32(x.a, 1), _mm256_srai_epi32(x.b, 1)}; }
static inline v16i v16i_to_exponent(v16i x) { return (v16i){_mm256_slli_epi32(x.a, 23), _mm256_slli_epi32(x.b, 23)}; }

/* Rule 3's tree: l+8, l+4, l+2, l+1. */
static inline float v16_sum(v16 x) {
    __m256 y = _mm256_add_ps(x.a, x.b);
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}
/* The greatest lane; no lane is NaN. */
static inline float v16_max(v16 x) {
    __m256 y = _mm256_max_ps(x.a, x.b);
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_movehdup_ps(z)));
}

#endif
