/* SPDX-License-Identifier: MIT
 *
 * AVX-512: 32 registers, a tile of 14 x 32: 28 accumulators, 2 of B; A is a broadcast memory operand.
 * FT_GEMM_TABLE names the table that this defines (a test compiles it once more, over emulated intrinsics).
 */
#include "gemm_pack.h"
#include "gemm_pack_avx.h"

typedef __m512 vec;
enum { VL = 16, PACKED_ROWS = 14, TILE_ROWS = 14, TILE_VECTORS = 2, TILE_MAX_VECTORS = 8 };

static inline vec v_zero(void) { return _mm512_setzero_ps(); }
static inline vec v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline vec v_set1(const float *p) { return _mm512_set1_ps(*p); }
static inline void v_store(float *p, vec x) { _mm512_storeu_ps(p, x); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec v_load_bf16(const uint16_t *p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

#include "gemm_tile.h"

TILE(packed_1, 1, 2, A_PACKED, B_F32)
TILE(packed_2, 2, 2, A_PACKED, B_F32)
TILE(packed_3, 3, 2, A_PACKED, B_F32)
TILE(packed_4, 4, 2, A_PACKED, B_F32)
TILE(packed_5, 5, 2, A_PACKED, B_F32)
TILE(packed_6, 6, 2, A_PACKED, B_F32)
TILE(packed_7, 7, 2, A_PACKED, B_F32)
TILE(packed_8, 8, 2, A_PACKED, B_F32)
TILE(packed_9, 9, 2, A_PACKED, B_F32)
TILE(packed_10, 10, 2, A_PACKED, B_F32)
TILE(packed_11, 11, 2, A_PACKED, B_F32)
TILE(packed_12, 12, 2, A_PACKED, B_F32)
TILE(packed_13, 13, 2, A_PACKED, B_F32)
TILE(packed_14, 14, 2, A_PACKED, B_F32)
TILE(strided_1, 1, 2, A_STRIDED, B_F32)
TILE(strided_2, 2, 2, A_STRIDED, B_F32)
TILE(strided_3, 3, 2, A_STRIDED, B_F32)
TILE(strided_4, 4, 2, A_STRIDED, B_F32)
TILE(strided_5, 5, 2, A_STRIDED, B_F32)
TILE(strided_6, 6, 2, A_STRIDED, B_F32)
TILE(strided_7, 7, 2, A_STRIDED, B_F32)
TILE(strided_8, 8, 2, A_STRIDED, B_F32)
TILE(strided_9, 9, 2, A_STRIDED, B_F32)
TILE(strided_10, 10, 2, A_STRIDED, B_F32)
TILE(strided_11, 11, 2, A_STRIDED, B_F32)
TILE(strided_12, 12, 2, A_STRIDED, B_F32)
TILE(strided_13, 13, 2, A_STRIDED, B_F32)
TILE(strided_14, 14, 2, A_STRIDED, B_F32)
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

static ft_tile_fn *const packed[] = {
    NULL, packed_1, packed_2, packed_3, packed_4, packed_5, packed_6, packed_7, packed_8, packed_9,
    packed_10, packed_11, packed_12, packed_13, packed_14,
};
static ft_tile_fn *const strided[] = {
    NULL, strided_1, strided_2, strided_3, strided_4, strided_5, strided_6, strided_7, strided_8, strided_9,
    strided_10, strided_11, strided_12, strided_13, strided_14,
};
static ft_tile_fn *const bf16[] = {NULL, bf16_1, bf16_2, bf16_3, bf16_4, bf16_5, bf16_6};
static ft_tile_fn *const narrow[] = {
    NULL, narrow_1, narrow_2, narrow_3, narrow_4, narrow_5, narrow_6, narrow_7, narrow_8,
};
static ft_tile_fn *const wide[] = {NULL, wide_1, wide_2, wide_3};
static ft_tile_fn *const wide_bf16[] = {NULL, wide_bf16_1, wide_bf16_2, wide_bf16_3};

static void pack(float *out, size_t width, size_t count, size_t terms, const void *in, enum ft_dtype dtype,
                 size_t x_step, size_t k_step) {
    pack_avx(out, width, count, terms, in, dtype, x_step, k_step);
}

static void widen(float *out, const uint16_t *in, size_t count) { widen_plain(out, in, count); }

const struct ft_gemm_isa FT_GEMM_TABLE = {
    .mr = 14, .nr = 32, .narrow_mr = 8, .narrow_nr = 16, .kc = 320, .mc = 224, .strip = 256,
    .packed = packed, .strided = strided, .strided_bf16 = bf16, .bf16_rows = 6, .narrow = narrow,
    .wide = wide, .wide_bf16 = wide_bf16, .wide_panels = {0, 4, 2, 2}, .pack = pack, .widen = widen,
};
