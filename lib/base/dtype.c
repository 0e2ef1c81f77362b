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

/* One loop for each type, without calls where that is possible: the compiler makes vectors of them. */

static void widen_bf16(float *out, const unsigned char *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t h;
        memcpy(&h, in + 2 * i, sizeof h);
        out[i] = ft_bf16_widen(h);
    }
}

static void widen_f16(float *out, const unsigned char *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t h;
        memcpy(&h, in + 2 * i, sizeof h);
        out[i] = ft_f16_widen(h);
    }
}

void ft_widen(float *out, const void *in, enum ft_dtype dtype, size_t count) {
    if (dtype == FT_F32) memcpy(out, in, count * sizeof *out);
    else if (dtype == FT_BF16) widen_bf16(out, in, count);
    else widen_f16(out, in, count);
}

static void narrow_bf16(unsigned char *out, const float *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t h = ft_bf16_narrow(in[i]);
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

static void narrow_f16(unsigned char *out, const float *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t h = ft_f16_narrow(in[i]);
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

void ft_narrow(void *out, enum ft_dtype dtype, const float *in, size_t count) {
    if (dtype == FT_F32) memcpy(out, in, count * sizeof *in);
    else if (dtype == FT_BF16) narrow_bf16(out, in, count);
    else narrow_f16(out, in, count);
}

static bool finite_halves(const unsigned char *in, size_t count, uint16_t exponent) {
    uint16_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t h;
        memcpy(&h, in + 2 * i, sizeof h);
        bad |= (h & exponent) == exponent;
    }
    return !bad;
}

static bool finite_words(const unsigned char *in, size_t count) {
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t w;
        memcpy(&w, in + 4 * i, sizeof w);
        bad |= (w & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

bool ft_finite(const void *in, enum ft_dtype dtype, size_t count) {
    return dtype == FT_F32 ? finite_words(in, count) : finite_halves(in, count, dtype == FT_BF16 ? 0x7f80 : 0x7c00);
}
