/* SPDX-License-Identifier: MIT
 *
 * The tile with a "vector" of one number: the C library's fmaf, which is exact everywhere.
 */
#include "gemm_pack.h"

#include <math.h>

typedef float vec;
enum { VL = 1, PACKED_ROWS = 4, TILE_ROWS = 4, TILE_VECTORS = 4, TILE_MAX_VECTORS = 4 };

static inline vec v_zero(void) { return 0.0f; }
static inline vec v_load(const float *p) { return *p; }
static inline vec v_set1(const float *p) { return *p; }
static inline vec v_load_bf16(const uint16_t *p) { return ft_bf16_widen(*p); }
static inline void v_store(float *p, vec x) { *p = x; }
static inline vec v_fma(vec a, vec b, vec c) { return fmaf(a, b, c); }
static inline vec v_mul(vec a, vec b) { return a * b; }
static inline vec v_add(vec a, vec b) { return a + b; }

#include "gemm_tile.h"

TILE(packed_1, 1, 4, A_PACKED, B_F32)
TILE(packed_2, 2, 4, A_PACKED, B_F32)
TILE(packed_3, 3, 4, A_PACKED, B_F32)
TILE(packed_4, 4, 4, A_PACKED, B_F32)
TILE(strided_1, 1, 4, A_STRIDED, B_F32)
TILE(strided_2, 2, 4, A_STRIDED, B_F32)
TILE(strided_3, 3, 4, A_STRIDED, B_F32)
TILE(strided_4, 4, 4, A_STRIDED, B_F32)
TILE(bf16_1, 1, 4, A_STRIDED, B_BF16)
TILE(bf16_2, 2, 4, A_STRIDED, B_BF16)
TILE(bf16_3, 3, 4, A_STRIDED, B_BF16)
TILE(bf16_4, 4, 4, A_STRIDED, B_BF16)
TILE(narrow_1, 1, 1, A_STRIDED, B_F32)
TILE(narrow_2, 2, 1, A_STRIDED, B_F32)
TILE(narrow_3, 3, 1, A_STRIDED, B_F32)
TILE(narrow_4, 4, 1, A_STRIDED, B_F32)

static ft_tile_fn *const packed[] = {NULL, packed_1, packed_2, packed_3, packed_4};
static ft_tile_fn *const strided[] = {NULL, strided_1, strided_2, strided_3, strided_4};
static ft_tile_fn *const bf16[] = {NULL, bf16_1, bf16_2, bf16_3, bf16_4};
static ft_tile_fn *const narrow[] = {NULL, narrow_1, narrow_2, narrow_3, narrow_4};

static void pack(float *out, size_t width, size_t count, size_t terms, const void *in, enum ft_dtype dtype,
                 size_t x_step, size_t k_step) {
    pack_plain(out, width, count, terms, in, dtype, x_step, k_step);
}

static void widen(float *out, const uint16_t *in, size_t count) { widen_plain(out, in, count); }

const struct ft_gemm_isa ft_gemm_scalar = {
    .mr = 4, .nr = 4, .narrow_mr = 4, .narrow_nr = 1, .kc = 256, .mc = 64, .strip = 256,
    .packed = packed, .strided = strided, .strided_bf16 = bf16, .bf16_rows = 4, .narrow = narrow,
    .wide = strided, .wide_bf16 = bf16, .wide_panels = {0, 1, 1, 1}, .pack = pack, .widen = widen,
};
