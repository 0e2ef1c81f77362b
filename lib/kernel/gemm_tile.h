/* SPDX-License-Identifier: MIT
 *
 * The register tile, written once over vectors. gemm_<isa>.c defines `vec`, VL (floats in one), PACKED_ROWS
 * (rows of a packed panel of A), TILE_ROWS and TILE_MAX_VECTORS (the most that any tile here has),
 * TILE_VECTORS (vectors in a packed panel) and v_zero, v_load, v_store, v_set1, v_fma, v_mul, v_add,
 * v_load_bf16, then includes this, then instantiates tile() with constants: everything is inlined and
 * unrolled, and `acc` becomes registers. Vectors run over columns, never over k.
 */
#ifndef FT_KERNEL_GEMM_TILE_H
#define FT_KERNEL_GEMM_TILE_H

#include "gemm.h"

#if defined(__clang__)
#define FT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FT_UNROLL _Pragma("GCC unroll 32")
#endif
enum { AHEAD = 512 /* bytes of a panel of B, by which the tiles that stream it fetch early: 2 KiB cost 10 % in binary32 */ };
enum tile_a { A_PACKED, A_STRIDED };
enum tile_b { B_F32, B_BF16 };

/* Vector v of row k of B. Panels of TILE_VECTORS vectors each. */
FT_INLINE vec load_b(const struct ft_tile *t, enum tile_b kind, size_t step, size_t k, size_t v) {
    size_t at = k * step + v / TILE_VECTORS * t->b_panel + v % TILE_VECTORS * VL;
    return kind == B_BF16 ? v_load_bf16((const uint16_t *)t->b + at) : v_load((const float *)t->b + at);
}

/* Four terms of each of several panels, AHEAD bytes before they are needed; after the last term of these
 * panels come the first ones of those behind them, which the next tile takes. */
FT_INLINE void fetch_ahead(const struct ft_tile *t, const size_t panels, enum tile_b kind, size_t step, size_t k) {
    const size_t size = kind == B_BF16 ? sizeof(uint16_t) : sizeof(float), ahead = k + AHEAD / (TILE_VECTORS * VL * size);
    uintptr_t at = (uintptr_t)t->b + (ahead < t->k ? ahead * step : panels * t->b_panel + (ahead - t->k) * step) * size;
    FT_UNROLL for (size_t p = 0; p < panels; p++)
        FT_UNROLL for (size_t byte = 0; byte < 4 * TILE_VECTORS * VL * size; byte += 64)
            __builtin_prefetch((const void *)(at + p * t->b_panel * size + byte), 0, 3);
}

FT_INLINE void finish(const struct ft_tile *t, const size_t rows, const size_t vectors,
                      vec acc[TILE_ROWS][TILE_MAX_VECTORS]) {
    if (t->scale != 1.0f) {
        vec scale = v_set1(&t->scale);
        FT_UNROLL for (size_t i = 0; i < rows; i++)
            FT_UNROLL for (size_t v = 0; v < vectors; v++) acc[i][v] = v_mul(acc[i][v], scale);
    }
    if (t->bias) {
        FT_UNROLL for (size_t i = 0; i < rows; i++)
            FT_UNROLL for (size_t v = 0; v < vectors; v++) acc[i][v] = v_add(acc[i][v], v_load(t->bias + v * VL));
    }
    if (t->add) {
        FT_UNROLL for (size_t i = 0; i < rows; i++)
            FT_UNROLL for (size_t v = 0; v < vectors; v++)
                acc[i][v] = v_add(acc[i][v], v_load(t->add + i * t->ld_add + v * VL));
    }
    FT_UNROLL for (size_t i = 0; i < rows; i++)
        FT_UNROLL for (size_t v = 0; v < vectors; v++) v_store(t->out + i * t->ld_out + v * VL, acc[i][v]);
}

/* The terms of one k. A's row i is at a[i]. */
FT_INLINE void term(const struct ft_tile *t, const size_t rows, const size_t vectors, const enum tile_b b_kind,
                    const float *const a[TILE_ROWS], size_t a_at, size_t b_step, size_t k,
                    vec acc[TILE_ROWS][TILE_MAX_VECTORS]) {
    if (rows < vectors) { /* few rows: hold A, stream B */
        FT_UNINITIALIZED vec x[TILE_ROWS];
        FT_UNROLL for (size_t i = 0; i < rows; i++) x[i] = v_set1(a[i] + a_at);
        FT_UNROLL for (size_t v = 0; v < vectors; v++) {
            vec b = load_b(t, b_kind, b_step, k, v);
            FT_UNROLL for (size_t i = 0; i < rows; i++) acc[i][v] = v_fma(x[i], b, acc[i][v]);
        }
    } else {
        FT_UNINITIALIZED vec b[TILE_MAX_VECTORS];
        FT_UNROLL for (size_t v = 0; v < vectors; v++) b[v] = load_b(t, b_kind, b_step, k, v);
        FT_UNROLL for (size_t i = 0; i < rows; i++) {
            vec x = v_set1(a[i] + a_at);
            FT_UNROLL for (size_t v = 0; v < vectors; v++) acc[i][v] = v_fma(x, b[v], acc[i][v]);
        }
    }
}

FT_INLINE void tile(const struct ft_tile *t, const size_t rows, const size_t vectors, const enum tile_a a_kind,
                    const enum tile_b b_kind) {
    FT_UNINITIALIZED vec acc[TILE_ROWS][TILE_MAX_VECTORS];
    FT_UNROLL for (size_t i = 0; i < rows; i++)
        FT_UNROLL for (size_t v = 0; v < vectors; v++)
            acc[i][v] = t->in ? v_load(t->in + i * t->ld_in + v * VL) : v_zero();

    const size_t a_row = a_kind == A_PACKED ? 1 : t->a_row, a_step = a_kind == A_PACKED ? PACKED_ROWS : t->a_step;
    const size_t b_step = a_kind == A_PACKED ? TILE_VECTORS * VL : t->b_step, terms = t->k;
    FT_UNINITIALIZED const float *a[TILE_ROWS];
    FT_UNROLL for (size_t i = 0; i < rows; i++) a[i] = t->a + i * a_row;

    /* The driver goes down a column of tiles: the next one's part of C arrives while this one computes. */
    FT_UNROLL for (size_t i = 0; i < rows; i++) __builtin_prefetch(t->out + (rows + i) * t->ld_out, 1);
    if (t->in && t->in != t->out)
        FT_UNROLL for (size_t i = 0; i < rows; i++) __builtin_prefetch(t->in + (rows + i) * t->ld_in, 0);

    size_t k = 0;
    for (; k + 4 <= terms; k += 4) {
        if (vectors > TILE_VECTORS) fetch_ahead(t, vectors / TILE_VECTORS, b_kind, b_step, k);
        FT_UNROLL for (size_t u = 0; u < 4; u++)
            term(t, rows, vectors, b_kind, a, (k + u) * a_step, b_step, k + u, acc);
    }
    for (; k < terms; k++) term(t, rows, vectors, b_kind, a, k * a_step, b_step, k, acc);
    finish(t, rows, vectors, acc);
}

/* One function per row count: TILE(packed_6, 6, TILE_VECTORS, A_PACKED, B_F32) */
#define TILE(name, rows, vectors, a_kind, b_kind) \
    static void name(const struct ft_tile *t) { tile(t, rows, vectors, a_kind, b_kind); }

#endif
