/* SPDX-License-Identifier: MIT */
#include "gemv.h"

#include <arm_neon.h>

typedef float32x4_t vec;
enum { VL = 4, GROUPS = 6, ABREAST = 4 };

FT_INLINE vec v_load(const float *p) { return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p)); } /* any alignment */
FT_INLINE void v_store(float *p, vec x) { vst1q_f32(p, x); }
FT_INLINE vec v_set1(float x) { return vdupq_n_f32(x); }
FT_INLINE vec v_fma(vec x, vec y, vec z) { return vfmaq_f32(z, x, y); }

FT_INLINE vec v_lanes(const unsigned char *p, size_t step) {
    (void)step;
    return vreinterpretq_f32_u8(vld1q_u8(p));
}
FT_INLINE vec v_lanes_f16(const unsigned char *p, size_t step) {
    (void)step;
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
FT_INLINE void v_transpose4(vec *v) {
    float64x2_t ab0 = vreinterpretq_f64_f32(vzip1q_f32(v[0], v[1])), ab1 = vreinterpretq_f64_f32(vzip2q_f32(v[0], v[1]));
    float64x2_t cd0 = vreinterpretq_f64_f32(vzip1q_f32(v[2], v[3])), cd1 = vreinterpretq_f64_f32(vzip2q_f32(v[2], v[3]));
    v[0] = vreinterpretq_f32_f64(vzip1q_f64(ab0, cd0));
    v[1] = vreinterpretq_f32_f64(vzip2q_f64(ab0, cd0));
    v[2] = vreinterpretq_f32_f64(vzip1q_f64(ab1, cd1));
    v[3] = vreinterpretq_f32_f64(vzip2q_f64(ab1, cd1));
}

FT_INLINE vec v_low(vec x) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(x), 16)); }
FT_INLINE vec v_high(vec x) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(0xffff0000u)));
}
FT_INLINE vec v_load_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8((const uint8_t *)p)), 16));
}
FT_INLINE vec v_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)p))); }

#include "gemv_rows.h"

const struct ft_gemv_isa ft_gemv_neon = GEMV_TABLE;
