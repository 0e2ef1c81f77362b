/* SPDX-License-Identifier: MIT
 *
 * The element types of ggml. A block's layout is what ggml-common.h declares: scales first, unless said
 * otherwise. A scale is f16 (11 significant bits), a sub-scale has at most 8, an element at most 6: their
 * product fits binary32's 24 bits, so it is exact and the order of multiplications does not matter. */
#include "ft/gguf.h"

#include "ft/dtype.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const struct ft_ggml_layout layouts[] = {
    [FT_GGML_F32] = {"F32", 1, 4},        [FT_GGML_F16] = {"F16", 1, 2},        [FT_GGML_Q4_0] = {"Q4_0", 32, 18},
    [FT_GGML_Q4_1] = {"Q4_1", 32, 20},    [FT_GGML_Q5_0] = {"Q5_0", 32, 22},    [FT_GGML_Q5_1] = {"Q5_1", 32, 24},
    [FT_GGML_Q8_0] = {"Q8_0", 32, 34},    [FT_GGML_Q4_K] = {"Q4_K", 256, 144},  [FT_GGML_Q5_K] = {"Q5_K", 256, 176},
    [FT_GGML_Q6_K] = {"Q6_K", 256, 210},  [FT_GGML_BF16] = {"BF16", 1, 2},
};

const struct ft_ggml_layout *ft_ggml_layout(uint32_t type) {
    return type < sizeof layouts / sizeof *layouts && layouts[type].name ? &layouts[type] : NULL;
}

static float load_f16(const unsigned char *p) { return ft_f16_widen(ft_load16(p)); }

/* --- 32 elements with one scale --------------------------------------------------------------------------- */

/* f16 d; 16 bytes: the low halves are elements 0..15, the high ones 16..31, each less 8. */
static void widen_q4_0(float *out, const unsigned char *in) {
    float d = load_f16(in);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)((in[2 + i] & 15) - 8) * d;
        out[i + 16] = (float)((in[2 + i] >> 4) - 8) * d;
    }
}

/* f16 d, m; 16 bytes as above: element * d + m. */
static void widen_q4_1(float *out, const unsigned char *in) {
    float d = load_f16(in), m = load_f16(in + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)(in[4 + i] & 15) * d + m;
        out[i + 16] = (float)(in[4 + i] >> 4) * d + m;
    }
}

/* Element i of 5 bits: four in `low` as above, the fifth is bit i of `high`. */
static int five_bits(const unsigned char *low, uint32_t high, int i) {
    int four = i < 16 ? low[i] & 15 : low[i - 16] >> 4;
    return four | (int)(high >> i & 1) << 4;
}

/* f16 d; u32 of fifth bits; 16 bytes; each less 16. */
static void widen_q5_0(float *out, const unsigned char *in) {
    float d = load_f16(in);
    uint32_t high = ft_load32(in + 2);
    for (int i = 0; i < 32; i++) out[i] = (float)(five_bits(in + 6, high, i) - 16) * d;
}

static void widen_q5_1(float *out, const unsigned char *in) {
    float d = load_f16(in), m = load_f16(in + 2);
    uint32_t high = ft_load32(in + 4);
    for (int i = 0; i < 32; i++) out[i] = (float)five_bits(in + 8, high, i) * d + m;
}

static void widen_q8_0(float *out, const unsigned char *in) {
    float d = load_f16(in);
    for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)in[2 + i] * d;
}

/* --- 256 elements with sub-scales ------------------------------------------------------------------------- */

/* Sub-block j's 6-bit scale and minimum out of 12 bytes: the first four of each have a byte with two bits to
 * spare, which hold the upper bits of the last four. */
static void scale_and_minimum(const unsigned char *in, int j, float *scale, float *minimum) {
    if (j < 4) {
        *scale = (float)(in[j] & 63);
        *minimum = (float)(in[j + 4] & 63);
    } else {
        *scale = (float)((in[j + 4] & 15) | (in[j - 4] >> 6) << 4);
        *minimum = (float)((in[j + 4] >> 4) | (in[j] >> 6) << 4);
    }
}

/* f16 d, dmin; 12 bytes of scales; `fifth` 32 bytes (NULL: elements have 4 bits); 128 bytes of low halves. Eight
 * sub-blocks of 32: a pair shares 32 bytes, and bit j of the fifth bits' bytes is sub-block j's. */
static void widen_k(float *out, const unsigned char *in, const unsigned char *fifth, const unsigned char *low) {
    float d = load_f16(in), dmin = load_f16(in + 2);
    for (int j = 0; j < 8; j++) {
        float scale, minimum;
        scale_and_minimum(in + 4, j, &scale, &minimum);
        float step = d * scale, least = dmin * minimum;
        for (int i = 0; i < 32; i++) {
            int byte = low[j / 2 * 32 + i], value = j % 2 ? byte >> 4 : byte & 15;
            if (fifth) value |= (fifth[i] >> j & 1) << 4;
            out[j * 32 + i] = step * (float)value - least;
        }
    }
}

static void widen_q4_k(float *out, const unsigned char *in) { widen_k(out, in, NULL, in + 16); }
static void widen_q5_k(float *out, const unsigned char *in) { widen_k(out, in, in + 16, in + 48); }

/* 128 bytes of low halves, 64 of upper two bits, 16 signed scales, f16 d at the end. Each half of 128 elements
 * has four runs of 32: runs 0 and 2 share the low bytes' halves, as do 1 and 3; a byte of upper bits serves the
 * four. A scale is for 16. */
static void widen_q6_k(float *out, const unsigned char *in) {
    const unsigned char *low = in, *high = in + 128, *scales = in + 192;
    float d = load_f16(in + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, run = i / 32 % 4, at = i % 32;
        int byte = low[half * 64 + run % 2 * 32 + at], four = run < 2 ? byte & 15 : byte >> 4;
        int value = (four | (high[half * 32 + at] >> 2 * run & 3) << 4) - 32;
        out[i] = d * (float)(int8_t)scales[i / 16] * (float)value;
    }
}

/* --- rows ------------------------------------------------------------------------------------------------- */

void ft_ggml_widen(float *out, const void *in, enum ft_ggml type, size_t count) {
    static void (*const widen[])(float *, const unsigned char *) = {
        [FT_GGML_Q4_0] = widen_q4_0, [FT_GGML_Q4_1] = widen_q4_1, [FT_GGML_Q5_0] = widen_q5_0,
        [FT_GGML_Q5_1] = widen_q5_1, [FT_GGML_Q8_0] = widen_q8_0, [FT_GGML_Q4_K] = widen_q4_k,
        [FT_GGML_Q5_K] = widen_q5_k, [FT_GGML_Q6_K] = widen_q6_k,
    };
    const struct ft_ggml_layout *layout = &layouts[type];
    switch (type) {
    case FT_GGML_F32: ft_widen(out, in, FT_F32, count); return;
    case FT_GGML_F16: ft_widen(out, in, FT_F16, count); return;
    case FT_GGML_BF16: ft_widen(out, in, FT_BF16, count); return;
    default: break;
    }
    assert(count % layout->block == 0);
    for (size_t i = 0; i < count / layout->block; i++)
        widen[type](out + i * layout->block, (const unsigned char *)in + i * layout->bytes);
}

/* A value beyond f16 makes the scale infinite: elements are then those of the unrounded scale, as in ggml. */
static void narrow_q8_0(unsigned char *out, const float *in) {
    float most = 0;
    for (int i = 0; i < 32; i++) most = fabsf(in[i]) > most ? fabsf(in[i]) : most;
    float d = most / 127, inverse = d != 0 ? 1 / d : 0;
    uint16_t scale = ft_f16_narrow(d);
    out[0] = (unsigned char)scale;
    out[1] = (unsigned char)(scale >> 8);
    for (int i = 0; i < 32; i++) {
        float x = roundf(in[i] * inverse);
        out[2 + i] = (unsigned char)(int8_t)(x >= -127 && x <= 127 ? x : 0); /* 0: a NaN, or 1/d overflowed */
    }
}

void ft_ggml_narrow(void *out, const float *in, enum ft_ggml type, size_t count) {
    switch (type) {
    case FT_GGML_F32: ft_narrow(out, FT_F32, in, count); return;
    case FT_GGML_F16: ft_narrow(out, FT_F16, in, count); return;
    case FT_GGML_BF16: ft_narrow(out, FT_BF16, in, count); return;
    default: assert(type == FT_GGML_Q8_0 && count % 32 == 0);
    }
    for (size_t i = 0; i < count / 32; i++) narrow_q8_0((unsigned char *)out + i * 34, in + i * 32);
}
