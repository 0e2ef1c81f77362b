/* SPDX-License-Identifier: MIT
 *
 * AArch64 Advanced SIMD: 32 registers, a tile of 8 x 12: 24 accumulators, 3 of B.
 */
#include "gemm_pack.h"

#include <arm_neon.h>

typedef float32x4_t vec;
enum { VL = 4, PACKED_ROWS = 8, TILE_ROWS = 8, TILE_VECTORS = 3, TILE_MAX_VECTORS = 6 };

static inline vec v_zero(void) { return vdupq_n_f32(0.0f); }
static inline vec v_load(const float *p) { return vld1q_f32(p); }
static inline vec v_set1(const float *p) { return vld1q_dup_f32(p); }
static inline void v_store(float *p, vec x) { vst1q_f32(p, x); }
static inline vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
static inline vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
static inline vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
static inline vec v_load_bf16(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }

#include "gemm_tile.h"

TILE(packed_1, 1, 3, A_PACKED, B_F32)
TILE(packed_2, 2, 3, A_PACKED, B_F32)
TILE(packed_3, 3, 3, A_PACKED, B_F32)
TILE(packed_4, 4, 3, A_PACKED, B_F32)
TILE(packed_5, 5, 3, A_PACKED, B_F32)
TILE(packed_6, 6, 3, A_PACKED, B_F32)
TILE(packed_7, 7, 3, A_PACKED, B_F32)
TILE(packed_8, 8, 3, A_PACKED, B_F32)
TILE(strided_1, 1, 3, A_STRIDED, B_F32)
TILE(strided_2, 2, 3, A_STRIDED, B_F32)
TILE(strided_3, 3, 3, A_STRIDED, B_F32)
TILE(strided_4, 4, 3, A_STRIDED, B_F32)
TILE(strided_5, 5, 3, A_STRIDED, B_F32)
TILE(strided_6, 6, 3, A_STRIDED, B_F32)
TILE(strided_7, 7, 3, A_STRIDED, B_F32)
TILE(strided_8, 8, 3, A_STRIDED, B_F32)
TILE(bf16_1, 1, 3, A_STRIDED, B_BF16)
TILE(bf16_2, 2, 3, A_STRIDED, B_BF16)
TILE(bf16_3, 3, 3, A_STRIDED, B_BF16)
TILE(bf16_4, 4, 3, A_STRIDED, B_BF16)
TILE(bf16_5, 5, 3, A_STRIDED, B_BF16)
TILE(bf16_6, 6, 3, A_STRIDED, B_BF16)
TILE(bf16_7, 7, 3, A_STRIDED, B_BF16)
TILE(bf16_8, 8, 3, A_STRIDED, B_BF16)
TILE(narrow_1, 1, 1, A_STRIDED, B_F32)
TILE(narrow_2, 2, 1, A_STRIDED, B_F32)
TILE(narrow_3, 3, 1, A_STRIDED, B_F32)
TILE(narrow_4, 4, 1, A_STRIDED, B_F32)
TILE(narrow_5, 5, 1, A_STRIDED, B_F32)
TILE(narrow_6, 6, 1, A_STRIDED, B_F32)
TILE(narrow_7, 7, 1, A_STRIDED, B_F32)
TILE(narrow_8, 8, 1, A_STRIDED, B_F32)
TILE(wide_1, 1, 6, A_STRIDED, B_F32)
TILE(wide_2, 2, 6, A_STRIDED, B_F32)
TILE(wide_3, 3, 6, A_STRIDED, B_F32)
TILE(wide_bf16_1, 1, 6, A_STRIDED, B_BF16)
TILE(wide_bf16_2, 2, 6, A_STRIDED, B_BF16)
TILE(wide_bf16_3, 3, 6, A_STRIDED, B_BF16)

static ft_tile_fn *const packed[] = {
    NULL, packed_1, packed_2, packed_3, packed_4, packed_5, packed_6, packed_7, packed_8,
};
static ft_tile_fn *const strided[] = {
    NULL, strided_1, strided_2, strided_3, strided_4, strided_5, strided_6, strided_7, strided_8,
};
static ft_tile_fn *const bf16[] = {NULL, bf16_1, bf16_2, bf16_3, bf16_4, bf16_5, bf16_6, bf16_7, bf16_8};
static ft_tile_fn *const narrow[] = {
    NULL, narrow_1, narrow_2, narrow_3, narrow_4, narrow_5, narrow_6, narrow_7, narrow_8,
};
static ft_tile_fn *const wide[] = {NULL, wide_1, wide_2, wide_3};
static ft_tile_fn *const wide_bf16[] = {NULL, wide_bf16_1, wide_bf16_2, wide_bf16_3};

static void pack(float *out, size_t width, size_t count, size_t terms, const void *in, enum ft_dtype dtype,
                 size_t x_step, size_t k_step) {
    pack_plain(out, width, count, terms, in, dtype, x_step, k_step);
}

static void widen(float *out, const uint16_t *in, size_t count) { widen_plain(out, in, count); }

const struct ft_gemm_isa ft_gemm_neon = {
    .mr = 8, .nr = 12, .narrow_mr = 8, .narrow_nr = 4, .kc = 320, .mc = 128, .strip = 252,
    .packed = packed, .strided = strided, .strided_bf16 = bf16, .bf16_rows = 8, .narrow = narrow,
    .wide = wide, .wide_bf16 = wide_bf16, .wide_panels = {0, 2, 2, 2}, .pack = pack, .widen = widen,
};
