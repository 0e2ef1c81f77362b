/* SPDX-License-Identifier: MIT
 *
 * AVX2 + FMA: 16 registers, a tile of 6 x 16: 12 accumulators, 2 of B, 2 for A.
 */
#include "gemm_pack.h"
#include "gemm_pack_avx.h"

typedef __m256 vec;
enum { VL = 8, PACKED_ROWS = 6, TILE_ROWS = 8, TILE_VECTORS = 2, TILE_MAX_VECTORS = 8 };

static inline vec v_zero(void) { return _mm256_setzero_ps(); }
static inline vec v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline vec v_set1(const float *p) { return _mm256_broadcast_ss(p); }
static inline void v_store(float *p, vec x) { _mm256_storeu_ps(p, x); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_load_bf16(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}

#include "gemm_tile.h"

TILE(packed_1, 1, 2, A_PACKED, B_F32)
TILE(packed_2, 2, 2, A_PACKED, B_F32)
TILE(packed_3, 3, 2, A_PACKED, B_F32)
TILE(packed_4, 4, 2, A_PACKED, B_F32)
TILE(packed_5, 5, 2, A_PACKED, B_F32)
TILE(packed_6, 6, 2, A_PACKED, B_F32)
TILE(strided_1, 1, 2, A_STRIDED, B_F32)
TILE(strided_2, 2, 2, A_STRIDED, B_F32)
TILE(strided_3, 3, 2, A_STRIDED, B_F32)
TILE(strided_4, 4, 2, A_STRIDED, B_F32)
TILE(strided_5, 5, 2, A_STRIDED, B_F32)
TILE(strided_6, 6, 2, A_STRIDED, B_F32)
TILE(bf16_1, 1, 2, A_STRIDED, B_BF16)
TILE(bf16_2, 2, 2, A_STRIDED, B_BF16)
TILE(bf16_3, 3, 2, A_STRIDED, B_BF16)
TILE(bf16_4, 4, 2, A_STRIDED, B_BF16)
TILE(bf16_5, 5, 2, A_STRIDED, B_BF16)
TILE(bf16_6, 6, 2, A_STRIDED, B_BF16)
TILE(narrow_1, 1, 1, A_STRIDED, B_F32)
TILE(narrow_2, 2, 1, A_STRIDED, B_F32)
TILE(narrow_3, 3, 1, A_STRIDED, B_F32)
TILE(narrow_4, 4, 1, A_STRIDED, B_F32)
TILE(narrow_5, 5, 1, A_STRIDED, B_F32)
TILE(narrow_6, 6, 1, A_STRIDED, B_F32)
TILE(narrow_7, 7, 1, A_STRIDED, B_F32)
TILE(narrow_8, 8, 1, A_STRIDED, B_F32)
TILE(wide_1, 1, 8, A_STRIDED, B_F32)
TILE(wide_2, 2, 4, A_STRIDED, B_F32)
TILE(wide_3, 3, 4, A_STRIDED, B_F32)
TILE(wide_bf16_1, 1, 8, A_STRIDED, B_BF16)
TILE(wide_bf16_2, 2, 4, A_STRIDED, B_BF16)
TILE(wide_bf16_3, 3, 4, A_STRIDED, B_BF16)

static ft_tile_fn *const packed[] = {NULL, packed_1, packed_2, packed_3, packed_4, packed_5, packed_6};
static ft_tile_fn *const strided[] = {NULL, strided_1, strided_2, strided_3, strided_4, strided_5, strided_6};
static ft_tile_fn *const bf16[] = {NULL, bf16_1, bf16_2, bf16_3, bf16_4, bf16_5, bf16_6};
static ft_tile_fn *const narrow[] = {NULL,     narrow_1, narrow_2, narrow_3, narrow_4,
                                     narrow_5, narrow_6, narrow_7, narrow_8};
static ft_tile_fn *const wide[] = {NULL, wide_1, wide_2, wide_3};
static ft_tile_fn *const wide_bf16[] = {NULL, wide_bf16_1, wide_bf16_2, wide_bf16_3};

static void pack(float *out, size_t width, size_t count, size_t terms, const void *in, enum ft_dtype dtype,
                 size_t x_step, size_t k_step) {
    pack_avx(out, width, count, terms, in, dtype, x_step, k_step);
}

static void widen(float *out, const uint16_t *in, size_t count) { widen_plain(out, in, count); }

const struct ft_gemm_isa ft_gemm_avx2 = {
    .mr = 6, .nr = 16, .narrow_mr = 8, .narrow_nr = 8, .kc = 288, .mc = 216, .strip = 256,
    .packed = packed, .strided = strided, .strided_bf16 = bf16, .bf16_rows = 6, .narrow = narrow,
    .wide = wide, .wide_bf16 = wide_bf16, .wide_panels = {0, 4, 2, 2}, .pack = pack, .widen = widen,
};
