/* SPDX-License-Identifier: MIT
 *
 * FT_GEMV_TABLE names the table that this defines (a test compiles it once more, over emulated intrinsics). */
#include "gemv.h"
#include "simd_x86.h"

typedef __m512 vec;
enum { VL = 16, GROUPS = 2, ABREAST = 2 };

FT_INLINE vec v_load(const float *p) { return _mm512_loadu_ps(p); }
FT_INLINE void v_store(float *p, vec x) { _mm512_storeu_ps(p, x); }
FT_INLINE vec v_set1(float x) { return _mm512_set1_ps(x); }
FT_INLINE vec v_fma(vec x, vec y, vec z) { return _mm512_fmadd_ps(x, y, z); }

FT_INLINE vec v_lanes(const unsigned char *p, size_t step) {
    vec v = _mm512_castps128_ps512(_mm_loadu_ps((const float *)(const void *)p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(const void *)(p + step)), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(const void *)(p + 2 * step)), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(const void *)(p + 3 * step)), 3);
}
FT_INLINE __m256 two_lanes_f16(const unsigned char *p, size_t step) {
    return _mm256_cvtph_ps(_mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)p),
                                              _mm_loadl_epi64((const __m128i *)(const void *)(p + step))));
}
FT_INLINE vec v_lanes_f16(const unsigned char *p, size_t step) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(two_lanes_f16(p, step)), two_lanes_f16(p + 2 * step, step), 1);
}
FT_INLINE void v_transpose4(vec *v) {
    __m512d ab0 = _mm512_castps_pd(_mm512_unpacklo_ps(v[0], v[1])), ab1 = _mm512_castps_pd(_mm512_unpackhi_ps(v[0], v[1]));
    __m512d cd0 = _mm512_castps_pd(_mm512_unpacklo_ps(v[2], v[3])), cd1 = _mm512_castps_pd(_mm512_unpackhi_ps(v[2], v[3]));
    v[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab0, cd0));
    v[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab0, cd0));
    v[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab1, cd1));
    v[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab1, cd1));
}

FT_INLINE vec v_low(vec x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 16)); }
FT_INLINE vec v_high(vec x) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int32_t)0xffff0000u)));
}
FT_INLINE vec v_load_bf16(const uint16_t *p) {
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}
FT_INLINE vec v_load_f16(const uint16_t *p) {
    __m256 low = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m256 high = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

#include "gemv_rows.h"

const struct ft_gemv_isa FT_GEMV_TABLE = GEMV_TABLE;
