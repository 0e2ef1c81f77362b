/* SPDX-License-Identifier: MIT */
#include "ft/dtype.h"

float ft_f16_widen(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 31) return ft_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent) return ft_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float magnitude = (float)fraction * 0x1p-24f; /* subnormal: exact */
    return ft_from_bits(sign | ft_to_bits(magnitude));
}

uint16_t ft_f16_narrow(float f) {
    uint32_t u = ft_to_bits(f), magnitude = u & 0x7fffffffu;
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000u);
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
    if (magnitude >= 0x38800000u) {                                  /* normal in f16 */
        uint32_t rebased = magnitude - 0x38000000u;
        return (uint16_t)(sign | (rebased + 0xfffu + (rebased >> 13 & 1u)) >> 13);
    }
    if (magnitude < 0x33000000u) return sign; /* below half of the least subnormal (2^-25 itself ties to 0) */
    uint32_t shift = 126u - (magnitude >> 23), mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t half = 1u << (shift - 1), result = mantissa >> shift, rest = mantissa & ((1u << shift) - 1);
    if (rest > half || (rest == half && (result & 1u))) result++;
    return (uint16_t)(sign | result);
}

void ft_widen(float *out, const void *in, enum ft_dtype dtype, size_t count) {
    const unsigned char *p = in;
    if (dtype == FT_F32) {
        memcpy(out, in, count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        out[i] = dtype == FT_BF16 ? ft_bf16_widen(h) : ft_f16_widen(h);
    }
}

void ft_narrow(void *out, enum ft_dtype dtype, const float *in, size_t count) {
    unsigned char *p = out;
    if (dtype == FT_F32) {
        memcpy(out, in, count * sizeof *in);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t h = dtype == FT_BF16 ? ft_bf16_narrow(in[i]) : ft_f16_narrow(in[i]);
        memcpy(p + 2 * i, &h, sizeof h);
    }
}
