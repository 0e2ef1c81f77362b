/* SPDX-License-Identifier: MIT
 *
 * The matrix-vector product, written once over vectors of VL outputs. gemv_<isa>.c defines `vec`, VL, GROUPS,
 * ABREAST and the functions below, then includes this. A lane is 128 bits of a vector; ld is in elements.
 *   v_load, v_store, v_set1 (of a number), v_fma (x y + z)
 *   v_lanes          lane q: sixteen bytes at p + q step
 *   v_lanes_f16      lane q: four binary16 at p + q step, widened
 *   v_transpose4     the 4 x 4 words in each lane of four vectors
 *   v_low, v_high    bf16 in the low or high half of each word, widened
 *   v_load_bf16, v_load_f16   VL adjacent numbers, widened
 * So with v[r] = v_lanes(first row + r rows, 4 rows), r < 4, transposed, v[c] holds word c of each of VL rows,
 * in their order.
 */
#ifndef FT_KERNEL_GEMV_ROWS_H
#define FT_KERNEL_GEMV_ROWS_H

#include "gemv.h"

#if defined(GEMV_UNROLL) /* a test's, where emulated intrinsics would take minutes to compile */
#elif defined(__clang__)
#define GEMV_UNROLL _Pragma("clang loop unroll(full)")
#else
#define GEMV_UNROLL _Pragma("GCC unroll 32")
#endif

FT_INLINE size_t gemv_size(enum ft_dtype dtype) { return dtype == FT_F32 ? 4 : 2; }

FT_INLINE float gemv_widen(const unsigned char *p, enum ft_dtype dtype) {
    float value;
    uint16_t half;
    if (dtype == FT_F32) {
        memcpy(&value, p, sizeof value);
        return value;
    }
    memcpy(&half, p, sizeof half);
    return dtype == FT_BF16 ? ft_bf16_widen(half) : ft_f16_widen(half);
}

/* --- k adjacent: each output's weights are a row, read forward -------------------------------------------
 * VL rows at a time go a line of 64 bytes ahead, then the next VL rows: so many lines fit the ways of the
 * first-level cache even when rows are a power of two apart. GROUPS of them hide each other's latency. */

enum { GEMV_LINE = 64, GEMV_AHEAD = 8 * GEMV_LINE };

/* Short rows of 16-bit numbers: ABREAST groups by turns, because one's shuffles are too many to overlap with the next one's,
 * and the rows that follow are fetched in the order of memory (AVX2: 10 to 20 % faster; longer rows and binary32 5 to 20 %
 * slower). */
enum { GEMV_SHORT = 2048 /* bytes */ };

/* Sixteen bytes (of f16: eight) of each of VL rows: four terms, of bf16 eight. */
FT_INLINE vec gemv_terms(vec chain, const float *x, const unsigned char *b, size_t row, enum ft_dtype dtype) {
    FT_UNINITIALIZED vec v[4];
    GEMV_UNROLL for (size_t r = 0; r < 4; r++)
        v[r] = dtype == FT_F16 ? v_lanes_f16(b + r * row, 4 * row) : v_lanes(b + r * row, 4 * row);
    v_transpose4(v);
    GEMV_UNROLL for (size_t c = 0; c < 4; c++) {
        if (dtype == FT_BF16) {
            chain = v_fma(v_set1(x[2 * c]), v_low(v[c]), chain);
            chain = v_fma(v_set1(x[2 * c + 1]), v_high(v[c]), chain);
        } else {
            chain = v_fma(v_set1(x[c]), v[c], chain);
        }
    }
    return chain;
}

/* One term, for the last ones of a row. */
FT_INLINE vec gemv_term(vec chain, float x, const unsigned char *b, size_t row, enum ft_dtype dtype) {
    float column[VL];
    for (size_t r = 0; r < VL; r++) column[r] = gemv_widen(b + r * row, dtype);
    return v_fma(v_set1(x), v_load(column), chain);
}

/* What is needed GEMV_AHEAD bytes later: further on in these rows, or at the beginning of those that follow. */
FT_INLINE void gemv_fetch(const unsigned char *b, size_t at, size_t row, const size_t rows) {
    size_t ahead = at + GEMV_AHEAD;
    const unsigned char *p = ahead < row ? b + ahead : b + rows * row + (ahead - row);
    for (size_t r = 0; r < rows; r++) __builtin_prefetch(p + r * row, 0, 3);
}

/* The same for short rows, a line's share of the rows that follow. */
FT_INLINE void gemv_fetch_forward(const unsigned char *b, size_t at, size_t row, const size_t rows) {
    const unsigned char *p = b + rows * row + at * rows;
    for (size_t r = 0; r < rows; r++) __builtin_prefetch(p + r * GEMV_LINE, 0, 2);
}

/* VL * groups chains, whose rows begin at b; abreast: as short rows are read. */
FT_INLINE void gemv_rows(const float *x, size_t k, const unsigned char *b, size_t row, const size_t groups, const bool abreast,
                         enum ft_dtype dtype, float *chain) {
    const size_t size = gemv_size(dtype), step = dtype == FT_BF16 ? 8 : 4, line = GEMV_LINE / size, steps = line / step;
    FT_UNINITIALIZED vec c[GROUPS];
    GEMV_UNROLL for (size_t g = 0; g < groups; g++) c[g] = v_load(chain + VL * g);
    size_t i = 0;
    for (; i + line <= k; i += line) {
        if (abreast) gemv_fetch_forward(b, i * size, row, VL * groups);
        else gemv_fetch(b, i * size, row, VL * groups);
        GEMV_UNROLL for (size_t n = 0; n < groups * steps; n++) {
            const size_t g = abreast ? n % groups : n / steps, u = (abreast ? n / groups : n % steps) * step;
            c[g] = gemv_terms(c[g], x + i + u, b + VL * g * row + (i + u) * size, row, dtype);
        }
    }
    for (; i + step <= k; i += step)
        GEMV_UNROLL for (size_t g = 0; g < groups; g++)
            c[g] = gemv_terms(c[g], x + i, b + VL * g * row + i * size, row, dtype);
    for (; i < k; i++)
        GEMV_UNROLL for (size_t g = 0; g < groups; g++)
            c[g] = gemv_term(c[g], x[i], b + VL * g * row + i * size, row, dtype);
    GEMV_UNROLL for (size_t g = 0; g < groups; g++) v_store(chain + VL * g, c[g]);
}

/* Fewer than VL outputs, [j, end): with those before them where there are enough, which are computed in vain. */
FT_INLINE void gemv_rest(const float *x, size_t k, const unsigned char *b, size_t row, size_t j, size_t end,
                         enum ft_dtype dtype, float *chain) {
    size_t count = end - j;
    if (end < VL) {
        for (; j < end; j++, chain++)
            for (size_t i = 0; i < k; i++)
                *chain = __builtin_fmaf(x[i], gemv_widen(b + j * row + i * gemv_size(dtype), dtype), *chain);
        return;
    }
    float aside[VL] = {0};
    memcpy(aside + VL - count, chain, count * sizeof *chain);
    gemv_rows(x, k, b + (end - VL) * row, row, 1, false, dtype, aside);
    memcpy(chain, aside + VL - count, count * sizeof *chain);
}

FT_INLINE void gemv_down(const float *x, size_t k, const void *b, size_t ld, size_t begin, size_t end, enum ft_dtype dtype,
                         float *chain) {
    const size_t row = ld * gemv_size(dtype);
    const unsigned char *rows = b;
    size_t j = begin;
    if (dtype != FT_F32 && row <= GEMV_SHORT)
        for (; j + VL * ABREAST <= end; j += VL * ABREAST)
            gemv_rows(x, k, rows + j * row, row, ABREAST, true, dtype, chain + (j - begin));
    for (; j + VL * GROUPS <= end; j += VL * GROUPS)
        gemv_rows(x, k, rows + j * row, row, GROUPS, false, dtype, chain + (j - begin));
    for (; j + VL <= end; j += VL) gemv_rows(x, k, rows + j * row, row, 1, false, dtype, chain + (j - begin));
    if (j < end) gemv_rest(x, k, rows, row, j, end, dtype, chain + (j - begin));
}

/* --- the same for several rows of x, which share what is read and turned of B ------------------------------ */

enum { GEMV_TOGETHER = 4 };

/* VL * groups chains of each of `rows` rows. */
FT_INLINE void gemv_share(const float *x, size_t ld_x, const size_t rows, size_t k, const unsigned char *b, size_t row,
                          const size_t groups, float *chain, size_t ld_chain) {
    FT_UNINITIALIZED vec c[GEMV_TOGETHER][2];
    GEMV_UNROLL for (size_t r = 0; r < rows; r++)
        GEMV_UNROLL for (size_t g = 0; g < groups; g++) c[r][g] = v_load(chain + r * ld_chain + VL * g);
    size_t i = 0;
    for (; i + 4 <= k; i += 4) {
        if (i * sizeof(float) % GEMV_LINE == 0) /* the rows that follow */
            for (size_t s = 0; s < VL * groups; s++)
                __builtin_prefetch((const void *)((uintptr_t)b + (VL * groups + s) * row + i * sizeof(float)), 0, 3);
        GEMV_UNROLL for (size_t g = 0; g < groups; g++) {
            FT_UNINITIALIZED vec v[4];
            GEMV_UNROLL for (size_t s = 0; s < 4; s++)
                v[s] = v_lanes(b + (VL * g + s) * row + i * sizeof(float), 4 * row);
            v_transpose4(v);
            GEMV_UNROLL for (size_t t = 0; t < 4; t++)
                GEMV_UNROLL for (size_t r = 0; r < rows; r++) c[r][g] = v_fma(v_set1(x[r * ld_x + i + t]), v[t], c[r][g]);
        }
    }
    for (; i < k; i++)
        GEMV_UNROLL for (size_t g = 0; g < groups; g++)
            GEMV_UNROLL for (size_t r = 0; r < rows; r++)
                c[r][g] = gemv_term(c[r][g], x[r * ld_x + i], b + VL * g * row + i * sizeof(float), row, FT_F32);
    GEMV_UNROLL for (size_t r = 0; r < rows; r++)
        GEMV_UNROLL for (size_t g = 0; g < groups; g++) v_store(chain + r * ld_chain + VL * g, c[r][g]);
}

FT_INLINE void gemv_few(const float *x, size_t ld_x, const size_t rows, size_t k, const float *b, size_t ld, size_t n,
                        float *chain) {
    const size_t row = ld * sizeof(float);
    const unsigned char *at = (const unsigned char *)b;
    size_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) gemv_share(x, ld_x, rows, k, at + j * row, row, 2, chain + j, n);
    for (; j + VL <= n; j += VL) gemv_share(x, ld_x, rows, k, at + j * row, row, 1, chain + j, n);
    for (size_t r = 0; r < rows && j < n; r++) gemv_rest(x + r * ld_x, k, at, row, j, n, FT_F32, chain + r * n + j);
}

static void gemv_heads(const float *x, size_t ld_x, size_t rows, size_t k, const float *b, size_t ld, size_t n, float *chain) {
    for (; rows >= GEMV_TOGETHER; rows -= GEMV_TOGETHER, x += GEMV_TOGETHER * ld_x, chain += GEMV_TOGETHER * n)
        gemv_few(x, ld_x, GEMV_TOGETHER, k, b, ld, n, chain);
    if (rows == 3) gemv_few(x, ld_x, 3, k, b, ld, n, chain);
    else if (rows == 2) gemv_few(x, ld_x, 2, k, b, ld, n, chain);
    else if (rows == 1) gemv_down(x, k, b, ld, 0, n, FT_F32, chain);
}

/* --- j adjacent: eight rows of B beside each other, the chains between them in memory ---------------------- */

enum { GEMV_TERMS = 8 };

FT_INLINE vec gemv_load(const unsigned char *b, size_t at, enum ft_dtype dtype) {
    const void *p = b + at * gemv_size(dtype);
    return dtype == FT_F32 ? v_load(p) : dtype == FT_F16 ? v_load_f16(p) : v_load_bf16(p);
}

/* `terms` rows of B from b on. */
FT_INLINE void gemv_columns(const float *x, const size_t terms, const unsigned char *b, size_t ld, size_t begin, size_t end,
                            enum ft_dtype dtype, float *chain) {
    size_t j = begin;
    for (; j + VL <= end; j += VL) {
        vec c = v_load(chain + (j - begin));
        GEMV_UNROLL for (size_t t = 0; t < terms; t++) c = v_fma(v_set1(x[t]), gemv_load(b, t * ld + j, dtype), c);
        v_store(chain + (j - begin), c);
    }
    for (; j < end; j++)
        for (size_t t = 0; t < terms; t++)
            chain[j - begin] = __builtin_fmaf(x[t], gemv_widen(b + (t * ld + j) * gemv_size(dtype), dtype), chain[j - begin]);
}

FT_INLINE void gemv_across(const float *x, size_t k, const void *b, size_t ld, size_t begin, size_t end,
                           enum ft_dtype dtype, float *chain) {
    const unsigned char *rows = b;
    const size_t row = ld * gemv_size(dtype);
    size_t i = 0;
    for (; i + GEMV_TERMS <= k; i += GEMV_TERMS)
        gemv_columns(x + i, GEMV_TERMS, rows + i * row, ld, begin, end, dtype, chain);
    for (; i < k; i++) gemv_columns(x + i, 1, rows + i * row, ld, begin, end, dtype, chain);
}

#define GEMV(name, kind, dtype)                                                                                     \
    static void name(const float *x, size_t k, const void *b, size_t ld, size_t begin, size_t end, float *chain) {  \
        kind(x, k, b, ld, begin, end, dtype, chain);                                                                \
    }
GEMV(down_f32, gemv_down, FT_F32)
GEMV(down_bf16, gemv_down, FT_BF16)
GEMV(down_f16, gemv_down, FT_F16)
GEMV(across_f32, gemv_across, FT_F32)
GEMV(across_bf16, gemv_across, FT_BF16)
GEMV(across_f16, gemv_across, FT_F16)

#define GEMV_TABLE {                                                                               \
        .down = {[FT_F32] = down_f32, [FT_BF16] = down_bf16, [FT_F16] = down_f16},                 \
        .across = {[FT_F32] = across_f32, [FT_BF16] = across_bf16, [FT_F16] = across_f16},         \
        .heads = gemv_heads,                                                                       \
    }

#endif
