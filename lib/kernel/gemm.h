/* SPDX-License-Identifier: MIT
 *
 * Private to the matrix product: what an instruction set supplies (register tiles and packing) to the driver
 * in gemm.c, which is the same for all. Also used by attention, whose products are chains of the same kind.
 */
#ifndef FT_KERNEL_GEMM_H
#define FT_KERNEL_GEMM_H

#include "ft/gemm.h"

#define FT_INLINE static inline __attribute__((always_inline))
/* The build zeroes automatic variables; these would be memory traffic in every tile. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define FT_UNINITIALIZED __attribute__((uninitialized))
#endif
#endif
#ifndef FT_UNINITIALIZED
#define FT_UNINITIALIZED
#endif

/* One register tile: out(i, j) = in(i, j) followed by `k` terms a(i, 0) b(0, j), a(i, 1) b(1, j), ...; then
 * scale, bias, add where asked for. Row count and width belong to the function. */
struct ft_tile {
    size_t k;
    const float *a;         /* a(i, k) at a[i * a_row + k * a_step]; the packed kernels know both strides */
    size_t a_row, a_step;
    const void *b;          /* b(k, j) at b[k * b_step + j], F32 or BF16 as the function says */
    size_t b_step, b_panel; /* b_panel: from one panel to the next, for the functions that take several */
    const float *in;        /* NULL: chains start from +0 */
    size_t ld_in;
    float *out;
    size_t ld_out;
    float scale;            /* 1: none */
    const float *bias;      /* NULL: none */
    const float *add;       /* NULL: none; may be out */
    size_t ld_add;
};
typedef void ft_tile_fn(const struct ft_tile *tile);

enum { FT_WIDE_ROWS = 3, FT_TILE_FLOATS = 14 * 32 };

/* Tables of functions are indexed by the number of rows, 1 up to the maximum; entry 0 is not used. */
struct ft_gemm_isa {
    size_t mr, nr;                        /* the largest tile; a packed panel of B is nr columns wide */
    size_t narrow_mr, narrow_nr;          /* tile for a product of few columns */
    size_t kc, mc, strip;                 /* a panel of B (kc x nr) in L1, blocks of A (mc x kc) and C (mc x strip) in L2 */
    ft_tile_fn *const *packed;            /* a_row 1, a_step mr, b_step nr */
    ft_tile_fn *const *strided;           /* A where it lies */
    ft_tile_fn *const *strided_bf16;      /* the same, B in BF16: up to bf16_rows, which is at most mr */
    size_t bf16_rows;
    ft_tile_fn *const *narrow;            /* A where it lies, narrow_nr columns */
    ft_tile_fn *const *wide, *const *wide_bf16; /* up to FT_WIDE_ROWS rows, several panels: decoding */
    size_t wide_panels[FT_WIDE_ROWS + 1];
    /* out[k * width + x] = in(x, k) for x < count, k < terms, widened; +0 for count <= x < width. Element
     * (x, k) is at in[x * x_step + k * k_step]. With k_step 1 it may write FT_PACK_SLACK numbers beyond the end, else
     * nothing: pieces of a panel then come in any order. */
    void (*pack)(float *out, size_t width, size_t count, size_t terms, const void *in, enum ft_dtype dtype,
                 size_t x_step, size_t k_step);
    void (*widen)(float *out, const uint16_t *in, size_t count); /* bf16 */
};

enum { FT_PACK_SLACK = 16 };

extern const struct ft_gemm_isa ft_gemm_scalar, ft_gemm_avx2, ft_gemm_avx512, ft_gemm_neon;

/* The table of an instruction set that ft_isa_available. */
const struct ft_gemm_isa *ft_gemm_isa(enum ft_isa isa);
/* Numbers of scratch that a thread of the driver needs. */
size_t ft_gemm_scratch(const struct ft_gemm_isa *isa);

/* Element (row, col), widened. */
float ft_operand_at(const struct ft_operand *x, size_t row, size_t col);

#endif
