/* SPDX-License-Identifier: MIT
 *
 * Packing in plain C, compiled once per instruction set; a variant may do the common cases itself.
 */
#ifndef FT_KERNEL_GEMM_PACK_H
#define FT_KERNEL_GEMM_PACK_H

#include "gemm.h"

static inline float pack_load(const unsigned char *p, enum ft_dtype dtype) {
    if (dtype == FT_F32) {
        float value;
        memcpy(&value, p, sizeof value);
        return value;
    }
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return dtype == FT_BF16 ? ft_bf16_widen(half) : ft_f16_widen(half);
}

static inline void pack_plain(float *out, size_t width, size_t count, size_t terms, const void *in,
                              enum ft_dtype dtype, size_t x_step, size_t k_step) {
    const unsigned char *p = in;
    const size_t size = ft_dtype_size(dtype);
    for (size_t k = 0; k < terms; k++) {
        const unsigned char *row = p + k * k_step * size;
        for (size_t x = 0; x < count; x++) out[x] = pack_load(row + x * x_step * size, dtype);
        for (size_t x = count; x < width; x++) out[x] = 0.0f;
        out += width;
    }
}

static inline void widen_plain(float *out, const uint16_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = ft_bf16_widen(in[i]);
}

#endif
