/* SPDX-License-Identifier: MIT
 *
 * Packing with AVX2, for gemm_avx2.c and gemm_avx512.c: the two layouts that matter, elements adjacent along
 * x (copied) and along k (transposed in 8 x 8 blocks), from F32, BF16 and F16. All else is left to pack_plain.
 */
#ifndef FT_KERNEL_GEMM_PACK_AVX_H
#define FT_KERNEL_GEMM_PACK_AVX_H

#include "gemm_pack.h"
#include "simd_x86.h"

static inline __m256 pack_load8(const unsigned char *p, enum ft_dtype dtype) {
    if (dtype == FT_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (dtype == FT_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

static inline void transpose8(__m256 r[8]) {
    __m256 t[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    __m256 u[8];
    for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* Rows x .. x+rows-1 (at most 8), adjacent along k, into columns x.. of the panel. Each store writes 8 numbers:
 * what is beyond the panel's width is written again by a later store, or is slack at the end. */
FT_INLINE void pack_transposed(float *out, size_t width, size_t rows, size_t terms, const unsigned char *in,
                               enum ft_dtype dtype, size_t x_step) {
    const size_t size = ft_dtype_size(dtype);
    size_t k = 0;
    for (; k + 8 <= terms; k += 8) {
        __m256 r[8];
        for (size_t x = 0; x < 8; x++)
            r[x] = x < rows ? pack_load8(in + (x * x_step + k) * size, dtype) : _mm256_setzero_ps();
        transpose8(r);
        for (size_t i = 0; i < 8; i++) _mm256_storeu_ps(out + (k + i) * width, r[i]);
    }
    for (; k < terms; k++)
        for (size_t x = 0; x < 8; x++)
            out[k * width + x] = x < rows ? pack_load(in + (x * x_step + k) * size, dtype) : 0.0f;
}

/* Elements adjacent along x. */
FT_INLINE void pack_copied(float *out, size_t width, size_t count, size_t terms, const unsigned char *in,
                           enum ft_dtype dtype, size_t k_step) {
    const size_t size = ft_dtype_size(dtype);
    for (size_t k = 0; k < terms; k++, out += width) {
        const unsigned char *row = in + k * k_step * size;
        size_t x = 0;
        for (; x + 8 <= count; x += 8) _mm256_storeu_ps(out + x, pack_load8(row + x * size, dtype));
        if (dtype == FT_F32 && count - x == 6) { /* a panel of A */
            memcpy(out + x, row + x * size, 6 * sizeof *out);
            x = count;
        }
        for (; x < count; x++) out[x] = pack_load(row + x * size, dtype);
        for (; x < width; x++) out[x] = 0.0f;
    }
}

/* Descending x: what a store writes beyond the width are first columns, which are written after. */
FT_INLINE void pack_kind(float *out, size_t width, size_t count, size_t terms, const unsigned char *in,
                         enum ft_dtype dtype, size_t x_step, size_t k_step) {
    const size_t size = ft_dtype_size(dtype);
    if (x_step == 1) {
        pack_copied(out, width, count, terms, in, dtype, k_step);
    } else if (k_step == 1) {
        for (size_t x = (width + 7) / 8 * 8; x != 0;) {
            x -= 8;
            size_t rows = count <= x ? 0 : count - x < 8 ? count - x : 8;
            pack_transposed(out + x, width, rows, terms, in + x * x_step * size, dtype, x_step);
        }
    } else {
        pack_plain(out, width, count, terms, in, dtype, x_step, k_step);
    }
}

static inline void pack_avx(float *out, size_t width, size_t count, size_t terms, const void *in,
                            enum ft_dtype dtype, size_t x_step, size_t k_step) {
    switch (dtype) { /* so that each kind gets loops of its own */
    case FT_F32: pack_kind(out, width, count, terms, in, FT_F32, x_step, k_step); break;
    case FT_BF16: pack_kind(out, width, count, terms, in, FT_BF16, x_step, k_step); break;
    case FT_F16: pack_kind(out, width, count, terms, in, FT_F16, x_step, k_step); break;
    }
}

#endif
