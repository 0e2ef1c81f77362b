/* SPDX-License-Identifier: MIT */
#include "gemv.h"
#include "simd_x86.h"

typedef __m256 vec;
enum { VL = 8, GROUPS = 3, ABREAST = 2 };

FT_INLINE vec v_load(const float *p) { return _mm256_loadu_ps(p); }
FT_INLINE void v_store(float *p, vec x) { _mm256_storeu_ps(p, x); }
FT_INLINE vec v_set1(float x) { return _mm256_set1_ps(x); }
FT_INLINE vec v_fma(vec x, vec y, vec z) { return _mm256_fmadd_ps(x, y, z); }

FT_INLINE vec v_lanes(const unsigned char *p, size_t step) {
    vec low = _mm256_castps128_ps256(_mm_loadu_ps((const float *)(const void *)p));
    return _mm256_insertf128_ps(low, _mm_loadu_ps((const float *)(const void *)(p + step)), 1);
}
FT_INLINE vec v_lanes_f16(const unsigned char *p, size_t step) {
    return _mm256_cvtph_ps(_mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)p),
                                              _mm_loadl_epi64((const __m128i *)(const void *)(p + step))));
}
FT_INLINE void v_transpose4(vec *v) {
    __m256d ab0 = _mm256_castps_pd(_mm256_unpacklo_ps(v[0], v[1])), ab1 = _mm256_castps_pd(_mm256_unpackhi_ps(v[0], v[1]));
    __m256d cd0 = _mm256_castps_pd(_mm256_unpacklo_ps(v[2], v[3])), cd1 = _mm256_castps_pd(_mm256_unpackhi_ps(v[2], v[3]));
    v[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab0, cd0));
    v[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab0, cd0));
    v[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab1, cd1));
    v[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab1, cd1));
}

FT_INLINE vec v_low(vec x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 16)); }
FT_INLINE vec v_high(vec x) {
    return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32((int32_t)0xffff0000u)));
}
FT_INLINE vec v_load_bf16(const uint16_t *p) {
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}
FT_INLINE vec v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }

#include "gemv_rows.h"

const struct ft_gemv_isa ft_gemv_avx2 = GEMV_TABLE;
