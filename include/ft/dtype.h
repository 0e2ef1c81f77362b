/* SPDX-License-Identifier: MIT
 *
 * Element types of stored tensors and exact conversions. Arithmetic is always binary32; bf16 and f16 are
 * storage only: widened exactly, narrowed to nearest even by integer code (ft-numerics(7), rule 1).
 */
#ifndef FT_DTYPE_H
#define FT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum ft_dtype { FT_F32, FT_BF16, FT_F16 };

static inline size_t ft_dtype_size(enum ft_dtype dtype) { return dtype == FT_F32 ? 4 : 2; }

static inline float ft_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static inline uint32_t ft_to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float ft_bf16_widen(uint16_t h) { return ft_from_bits((uint32_t)h << 16); }

/* Nearest even; NaN stays NaN (quiet). */
static inline uint16_t ft_bf16_narrow(float f) {
    uint32_t u = ft_to_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

float ft_f16_widen(uint16_t h);
uint16_t ft_f16_narrow(float f); /* nearest even; overflow gives infinity, NaN stays NaN */

/* Widens `count` elements of any alignment to binary32. */
void ft_widen(float *out, const void *in, enum ft_dtype dtype, size_t count);
/* Narrows `count` binary32 numbers; `out` may have any alignment. */
void ft_narrow(void *out, enum ft_dtype dtype, const float *in, size_t count);
/* Whether none of `count` elements of any alignment is an infinity or a NaN: an exponent of ones only. */
bool ft_finite(const void *in, enum ft_dtype dtype, size_t count);

#endif
