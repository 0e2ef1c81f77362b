/* SPDX-License-Identifier: MIT
 *
 * Packing with AVX2, for gemm_avx2.c and gemm_avx512.c: the two layouts that matter, elements adjacent along
 * x (copied) and along k (transposed in 8 x 8 blocks), from F32, BF16 and F16. All else is left to pack_plain.
 */
#ifndef FT_KERNEL_GEMM_PACK_AVX_H
#define FT_KERNEL_GEMM_PACK_AVX_H

#include "gemm_pack.h"
#include "simd_x86.h"

FT_INLINE __m256 pack_load8(const unsigned char *p, enum ft_dtype dtype) {
    if (dtype == FT_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (dtype == FT_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* Rows a..h to columns, 8 columns stored `width` apart. */
FT_INLINE void store_transposed(float *out, size_t width, __m256 a, __m256 b, __m256 c, __m256 d, __m256 e, __m256 f,
                                __m256 g, __m256 h) {
    __m256 ab0 = _mm256_unpacklo_ps(a, b), ab1 = _mm256_unpackhi_ps(a, b);
    __m256 cd0 = _mm256_unpacklo_ps(c, d), cd1 = _mm256_unpackhi_ps(c, d);
    __m256 ef0 = _mm256_unpacklo_ps(e, f), ef1 = _mm256_unpackhi_ps(e, f);
    __m256 gh0 = _mm256_unpacklo_ps(g, h), gh1 = _mm256_unpackhi_ps(g, h);
    __m256 low0 = _mm256_shuffle_ps(ab0, cd0, 0x44), low1 = _mm256_shuffle_ps(ab0, cd0, 0xee);
    __m256 low2 = _mm256_shuffle_ps(ab1, cd1, 0x44), low3 = _mm256_shuffle_ps(ab1, cd1, 0xee);
    __m256 high0 = _mm256_shuffle_ps(ef0, gh0, 0x44), high1 = _mm256_shuffle_ps(ef0, gh0, 0xee);
    __m256 high2 = _mm256_shuffle_ps(ef1, gh1, 0x44), high3 = _mm256_shuffle_ps(ef1, gh1, 0xee);
    _mm256_storeu_ps(out, _mm256_permute2f128_ps(low0, high0, 0x20));
    _mm256_storeu_ps(out + width, _mm256_permute2f128_ps(low1, high1, 0x20));
    _mm256_storeu_ps(out + 2 * width, _mm256_permute2f128_ps(low2, high2, 0x20));
    _mm256_storeu_ps(out + 3 * width, _mm256_permute2f128_ps(low3, high3, 0x20));
    _mm256_storeu_ps(out + 4 * width, _mm256_permute2f128_ps(low0, high0, 0x31));
    _mm256_storeu_ps(out + 5 * width, _mm256_permute2f128_ps(low1, high1, 0x31));
    _mm256_storeu_ps(out + 6 * width, _mm256_permute2f128_ps(low2, high2, 0x31));
    _mm256_storeu_ps(out + 7 * width, _mm256_permute2f128_ps(low3, high3, 0x31));
}

/* Row x of 8, +0 beyond `rows`. */
FT_INLINE __m256 pack_row(const unsigned char *in, enum ft_dtype dtype, size_t bytes, size_t x, size_t rows) {
    return x < rows ? pack_load8(in + x * bytes, dtype) : _mm256_setzero_ps();
}

/* At most 8 rows, adjacent along k, into 8 columns of the panel. Where these are beyond the panel's width, a
 * later store writes them again, or they are slack at the end. */
FT_INLINE void pack_transposed(float *out, size_t width, const size_t rows, size_t terms, const unsigned char *in,
                               enum ft_dtype dtype, size_t x_step) {
    const size_t size = ft_dtype_size(dtype), bytes = x_step * size;
    size_t k = 0;
    for (; k + 8 <= terms; k += 8) {
        const unsigned char *p = in + k * size;
        store_transposed(out + k * width, width, pack_row(p, dtype, bytes, 0, rows), pack_row(p, dtype, bytes, 1, rows),
                         pack_row(p, dtype, bytes, 2, rows), pack_row(p, dtype, bytes, 3, rows),
                         pack_row(p, dtype, bytes, 4, rows), pack_row(p, dtype, bytes, 5, rows),
                         pack_row(p, dtype, bytes, 6, rows), pack_row(p, dtype, bytes, 7, rows));
    }
    for (; k < terms; k++)
        for (size_t x = 0; x < 8; x++)
            out[k * width + x] = x < rows ? pack_load(in + (x * x_step + k) * size, dtype) : 0.0f;
}

/* 8 x 8 numbers of 16 bits in each half, transposed. */
FT_INLINE void transpose_halves(__m256i r[8]) {
    __m256i a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            b[4 * i + 2 * j] = _mm256_unpacklo_epi32(a[4 * i + j], a[4 * i + j + 2]);
            b[4 * i + 2 * j + 1] = _mm256_unpackhi_epi32(a[4 * i + j], a[4 * i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        r[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 4]);
        r[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 4]);
    }
}

/* 16 rows of bf16, adjacent along k, into 16 columns of the panel. A half of a register holds the rows that belong into
 * the same half of the widened pair: 0-3 and 8-11, or 4-7 and 12-15. terms: a multiple of 8. */
FT_INLINE void pack_transposed_16(float *out, size_t width, size_t terms, const unsigned char *in, size_t x_step) {
    const uint16_t *p = (const void *)in;
    const __m256i zero = _mm256_setzero_si256();
    for (size_t k = 0; k < terms; k += 8, p += 8, out += 8 * width) {
        __m256i r[8];
        for (size_t i = 0; i < 8; i++) {
            const uint16_t *low = p + (i < 4 ? i : i + 4) * x_step, *high = low + 4 * x_step;
            r[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
                                           _mm_loadu_si128((const __m128i *)(const void *)high), 1);
        }
        transpose_halves(r);
        for (size_t i = 0; i < 8; i++) {
            _mm256_storeu_ps(out + i * width, _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, r[i])));
            _mm256_storeu_ps(out + i * width + 8, _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, r[i])));
        }
    }
}

/* Descending x, because of what pack_transposed writes beyond the width. */
FT_INLINE void pack_all_transposed(float *out, size_t width, size_t count, size_t terms, const unsigned char *in,
                                   enum ft_dtype dtype, size_t x_step) {
    size_t x = (width + 7) / 8 * 8;
    if (dtype == FT_BF16 && count == width && width % 16 == 0 && terms % 8 == 0) {
        for (; x != 0; x -= 16) pack_transposed_16(out + x - 16, width, terms, in + (x - 16) * x_step * 2, x_step);
        return;
    }
    while (x != 0) {
        x -= 8;
        size_t rows = count <= x ? 0 : count - x;
        const unsigned char *p = in + (rows ? x * x_step * ft_dtype_size(dtype) : 0);
        if (rows >= 8) pack_transposed(out + x, width, 8, terms, p, dtype, x_step);
        else if (rows == 6) pack_transposed(out + x, width, 6, terms, p, dtype, x_step); /* a panel of A */
        else pack_transposed(out + x, width, rows, terms, p, dtype, x_step);
    }
}

/* Elements adjacent along x, a panel's whole width: 8, 16 or 32 numbers. */
FT_INLINE void pack_copied(float *out, const size_t width, size_t terms, const unsigned char *in, enum ft_dtype dtype,
                           size_t k_step) {
    const size_t size = ft_dtype_size(dtype);
    for (size_t k = 0; k < terms; k++)
        for (size_t x = 0; x < width; x += 8)
            _mm256_storeu_ps(out + k * width + x, pack_load8(in + (k * k_step + x) * size, dtype));
}

/* The same for a panel of A from F32. */
FT_INLINE void pack_copied_rows(float *out, const size_t width, size_t terms, const unsigned char *in, size_t k_step) {
    for (size_t k = 0; k < terms; k++)
        memcpy(out + k * width, in + k * k_step * sizeof *out, width * sizeof *out);
}

FT_INLINE void pack_kind(float *out, size_t width, size_t count, size_t terms, const unsigned char *in,
                         enum ft_dtype dtype, size_t x_step, size_t k_step) {
    bool copied = x_step == 1 && count == width;
    if (copied && width == 8) pack_copied(out, 8, terms, in, dtype, k_step);
    else if (copied && width == 16) pack_copied(out, 16, terms, in, dtype, k_step);
    else if (copied && width == 32) pack_copied(out, 32, terms, in, dtype, k_step);
    else if (copied && width == 6 && dtype == FT_F32) pack_copied_rows(out, 6, terms, in, k_step);
    else if (copied && width == 14 && dtype == FT_F32) pack_copied_rows(out, 14, terms, in, k_step);
    else if (k_step == 1) pack_all_transposed(out, width, count, terms, in, dtype, x_step);
    else pack_plain(out, width, count, terms, in, dtype, x_step, k_step);
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
