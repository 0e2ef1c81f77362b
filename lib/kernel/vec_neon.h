/* SPDX-License-Identifier: MIT
 *
 * Sixteen binary32 lanes in AArch64 Advanced SIMD: four registers. See vec_avx2.h. */
#ifndef FT_KERNEL_VEC_NEON_H
#define FT_KERNEL_VEC_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct { float32x4_t q[4]; } v16;
typedef struct { int32x4_t q[4]; } v16i;
typedef struct { uint32x4_t q[4]; } v16m;

#define V16_EACH(type, expression)                                  \
    type r;                                                         \
    for (int i = 0; i < 4; i++) r.q[i] = (expression);              \
    return r

static inline v16 v16_set1(float x) { V16_EACH(v16, vdupq_n_f32(x)); }
static inline v16i v16i_set1(int32_t x) { V16_EACH(v16i, vdupq_n_s32(x)); }

static inline v16 v16_load(const float *p) { V16_EACH(v16, vld1q_f32(p + 4 * i)); }
static inline void v16_store(float *p, v16 x) {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.q[i]);
}

static inline v16m v16_first(size_t n) {
    const uint32x4_t step = {0, 1, 2, 3};
    V16_EACH(v16m, vcltq_u32(vaddq_u32(step, vdupq_n_u32(4u * (uint32_t)i)), vdupq_n_u32((uint32_t)n)));
}
static inline v16 v16_load_part(const float *p, size_t n) {
    float lanes[16] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return v16_load(lanes);
}
static inline void v16_store_part(float *p, size_t n, v16 x) {
    float lanes[16];
    v16_store(lanes, x);
    memcpy(p, lanes, n * sizeof *p);
}

static inline v16 v16_add(v16 x, v16 y) { V16_EACH(v16, vaddq_f32(x.q[i], y.q[i])); }
static inline v16 v16_sub(v16 x, v16 y) { V16_EACH(v16, vsubq_f32(x.q[i], y.q[i])); }
static inline v16 v16_mul(v16 x, v16 y) { V16_EACH(v16, vmulq_f32(x.q[i], y.q[i])); }
static inline v16 v16_div(v16 x, v16 y) { V16_EACH(v16, vdivq_f32(x.q[i], y.q[i])); }
static inline v16 v16_sqrt(v16 x) { V16_EACH(v16, vsqrtq_f32(x.q[i])); }
static inline v16 v16_fma(v16 x, v16 y, v16 z) { V16_EACH(v16, vfmaq_f32(z.q[i], x.q[i], y.q[i])); }
static inline v16 v16_fnma(v16 x, v16 y, v16 z) { V16_EACH(v16, vfmsq_f32(z.q[i], x.q[i], y.q[i])); }
static inline v16 v16_fms(v16 x, v16 y, v16 z) { V16_EACH(v16, vfmaq_f32(vnegq_f32(z.q[i]), x.q[i], y.q[i])); }
/* vmaxq would return NaN and order the zeros. */
static inline v16 v16_greater(v16 x, v16 y) { V16_EACH(v16, vbslq_f32(vcgtq_f32(x.q[i], y.q[i]), x.q[i], y.q[i])); }
static inline v16 v16_lesser(v16 x, v16 y) { V16_EACH(v16, vbslq_f32(vcltq_f32(x.q[i], y.q[i]), x.q[i], y.q[i])); }

static inline v16m v16_gt(v16 x, v16 y) { V16_EACH(v16m, vcgtq_f32(x.q[i], y.q[i])); }
static inline v16m v16_le(v16 x, v16 y) { V16_EACH(v16m, vcleq_f32(x.q[i], y.q[i])); }
static inline v16m v16_eq(v16 x, v16 y) { V16_EACH(v16m, vceqq_f32(x.q[i], y.q[i])); }
static inline v16 v16_select(v16m m, v16 x, v16 y) { V16_EACH(v16, vbslq_f32(m.q[i], x.q[i], y.q[i])); }
static inline unsigned v16_mask_bits(v16m m) {
    const uint32x4_t weight = {1, 2, 4, 8};
    unsigned bits = 0;
    for (int i = 0; i < 4; i++) bits |= (unsigned)vaddvq_u32(vandq_u32(m.q[i], weight)) << (4 * i);
    return bits;
}

static inline v16i v16_bits(v16 x) { V16_EACH(v16i, vreinterpretq_s32_f32(x.q[i])); }
static inline v16 v16_from_bits(v16i x) { V16_EACH(v16, vreinterpretq_f32_s32(x.q[i])); }
static inline v16i v16i_add(v16i x, v16i y) { V16_EACH(v16i, vaddq_s32(x.q[i], y.q[i])); }
static inline v16i v16i_sub(v16i x, v16i y) { V16_EACH(v16i, vsubq_s32(x.q[i], y.q[i])); }
static inline v16i v16i_and(v16i x, v16i y) { V16_EACH(v16i, vandq_s32(x.q[i], y.q[i])); }
static inline v16i v16i_or(v16i x, v16i y) { V16_EACH(v16i, vorrq_s32(x.q[i], y.q[i])); }
static inline v16i v16i_half(v16i x) { V16_EACH(v16i, vshrq_n_s32(x.q[i], 1)); }
static inline v16i v16i_to_exponent(v16i x) { V16_EACH(v16i, vshlq_n_s32(x.q[i], 23)); }

static inline float v16_sum(v16 x) {
    float32x4_t y = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
    float32x2_t z = vadd_f32(vget_low_f32(y), vget_high_f32(y));
    return vget_lane_f32(z, 0) + vget_lane_f32(z, 1);
}
static inline float v16_max(v16 x) {
    float32x4_t y = vmaxq_f32(vmaxq_f32(x.q[0], x.q[1]), vmaxq_f32(x.q[2], x.q[3]));
    return vmaxvq_f32(y);
}

#endif
