/* SPDX-License-Identifier: MIT
 *
 * Part of rows_v16.h: RMSNorm and LayerNorm. */
#ifndef FT_KERNEL_ROWS_V16_NORM_H
#define FT_KERNEL_ROWS_V16_NORM_H

/* One row (mean is 0 for RMSNorm, which never subtracts it) and the two sums that a pass over it makes. */
struct norm_row {
    const float *x, *w, *b, *dy, *dx_in;
    float *out; /* y, or dx */
    v16 mean, rstd, one, sum, dot, average;
    bool plus_one;
};

static inline v16 gain(const struct norm_row *r, size_t i, size_t n) {
    v16 w = load(r->w + i, n);
    return r->plus_one ? v16_add(r->one, w) : w;
}

static inline float sum_over(v16 lanes, size_t C) { return v16_sum(lanes) / (float)C; }

static inline struct norm_row norm_row(const struct ft_norm_args *a, size_t t) {
    struct norm_row r = {.x = a->x + t * a->C, .w = a->w, .b = a->b, .plus_one = a->plus_one,
                         .one = v16_set1(1.0f), .sum = zero(), .dot = zero()};
    if (!a->dy) {
        r.out = a->y + t * a->C;
        return r;
    }
    r.dy = a->dy + t * a->C;
    r.out = a->dx_out + t * a->C;
    r.dx_in = a->dx_in ? a->dx_in + t * a->C : NULL;
    r.rstd = v16_set1(a->rstd[t]);
    if (a->mean) r.mean = v16_set1(a->mean[t]);
    return r;
}

STEP square_step(void *state, size_t i, size_t n) {
    struct norm_row *r = state;
    v16 x = load(r->x + i, n);
    r->dot = keep(n, v16_fma(x, x, r->dot), r->dot);
}

STEP rms_scale_step(void *state, size_t i, size_t n) {
    const struct norm_row *r = state;
    store(r->out + i, n, v16_mul(v16_mul(load(r->x + i, n), r->rstd), gain(r, i, n)));
}

static void rmsnorm_forward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        struct norm_row r = norm_row(a, t);
        for_each(0, a->C, square_step, &r);
        a->rstd[t] = 1.0f / __builtin_sqrtf(sum_over(r.dot, a->C) + a->eps);
        r.rstd = v16_set1(a->rstd[t]);
        for_each(0, a->C, rms_scale_step, &r);
    }
}

/* dx = fma(-n, d, g) rstd, on top of dx_in when there is one */
static inline void store_dx(const struct norm_row *r, size_t i, size_t n, v16 normal, v16 g) {
    v16 dx = v16_mul(v16_fnma(normal, r->dot, g), r->rstd);
    store(r->out + i, n, r->dx_in ? v16_add(load(r->dx_in + i, n), dx) : dx);
}

STEP rms_dot_step(void *state, size_t i, size_t n) {
    struct norm_row *r = state;
    v16 gy = v16_mul(load(r->dy + i, n), gain(r, i, n)), normal = v16_mul(load(r->x + i, n), r->rstd);
    r->dot = keep(n, v16_fma(gy, normal, r->dot), r->dot);
}

STEP rms_dx_step(void *state, size_t i, size_t n) {
    const struct norm_row *r = state;
    v16 gy = v16_mul(load(r->dy + i, n), gain(r, i, n));
    store_dx(r, i, n, v16_mul(load(r->x + i, n), r->rstd), gy);
}

static void rmsnorm_backward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        struct norm_row r = norm_row(a, t);
        for_each(0, a->C, rms_dot_step, &r);
        r.dot = v16_set1(sum_over(r.dot, a->C));
        for_each(0, a->C, rms_dx_step, &r);
    }
}

STEP sum_step(void *state, size_t i, size_t n) {
    struct norm_row *r = state;
    r->sum = keep(n, v16_add(r->sum, load(r->x + i, n)), r->sum);
}

STEP deviation_step(void *state, size_t i, size_t n) {
    struct norm_row *r = state;
    v16 d = v16_sub(load(r->x + i, n), r->mean);
    r->dot = keep(n, v16_fma(d, d, r->dot), r->dot);
}

static inline v16 layer_normal(const struct norm_row *r, size_t i, size_t n) {
    return v16_mul(v16_sub(load(r->x + i, n), r->mean), r->rstd);
}

STEP layer_scale_step(void *state, size_t i, size_t n) {
    const struct norm_row *r = state;
    v16 normal = layer_normal(r, i, n), w = load(r->w + i, n);
    store(r->out + i, n, r->b ? v16_fma(normal, w, load(r->b + i, n)) : v16_mul(normal, w));
}

static void layernorm_forward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        struct norm_row r = norm_row(a, t);
        for_each(0, a->C, sum_step, &r);
        a->mean[t] = sum_over(r.sum, a->C);
        r.mean = v16_set1(a->mean[t]);
        for_each(0, a->C, deviation_step, &r);
        a->rstd[t] = 1.0f / __builtin_sqrtf(sum_over(r.dot, a->C) + a->eps);
        r.rstd = v16_set1(a->rstd[t]);
        for_each(0, a->C, layer_scale_step, &r);
    }
}

STEP layer_dot_step(void *state, size_t i, size_t n) {
    struct norm_row *r = state;
    v16 gy = v16_mul(load(r->dy + i, n), load(r->w + i, n));
    r->sum = keep(n, v16_add(r->sum, gy), r->sum);
    r->dot = keep(n, v16_fma(gy, layer_normal(r, i, n), r->dot), r->dot);
}

STEP layer_dx_step(void *state, size_t i, size_t n) {
    const struct norm_row *r = state;
    v16 gy = v16_mul(load(r->dy + i, n), load(r->w + i, n));
    store_dx(r, i, n, layer_normal(r, i, n), v16_sub(gy, r->average));
}

static void layernorm_backward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        struct norm_row r = norm_row(a, t);
        for_each(0, a->C, layer_dot_step, &r);
        r.average = v16_set1(sum_over(r.sum, a->C));
        r.dot = v16_set1(sum_over(r.dot, a->C));
        for_each(0, a->C, layer_dx_step, &r);
    }
}

/* Columns: one row's contribution to dw and db; the caller walks the rows in order. */
struct weight_row {
    const float *x, *dy;
    float *dw, *db;
    v16 mean, rstd;
};

STEP rms_weight_step(void *state, size_t i, size_t n) {
    const struct weight_row *r = state;
    v16 normal = v16_mul(load(r->x + i, n), r->rstd);
    store(r->dw + i, n, v16_fma(load(r->dy + i, n), normal, load(r->dw + i, n)));
}

static void rmsnorm_weight(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = 0; t < a->T; t++) {
        struct weight_row r = {.x = a->x + t * a->C, .dy = a->dy + t * a->C, .dw = a->dw,
                               .rstd = v16_set1(a->rstd[t])};
        for_each(begin, end, rms_weight_step, &r);
    }
}

STEP layer_weight_step(void *state, size_t i, size_t n) {
    const struct weight_row *r = state;
    v16 normal = v16_mul(v16_sub(load(r->x + i, n), r->mean), r->rstd), dy = load(r->dy + i, n);
    if (r->dw) store(r->dw + i, n, v16_fma(dy, normal, load(r->dw + i, n)));
    if (r->db) store(r->db + i, n, v16_add(load(r->db + i, n), dy));
}

static void layernorm_weight(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = 0; t < a->T; t++) {
        struct weight_row r = {.x = a->x + t * a->C, .dy = a->dy + t * a->C, .dw = a->dw, .db = a->db,
                               .mean = v16_set1(a->mean[t]), .rstd = v16_set1(a->rstd[t])};
        for_each(begin, end, layer_weight_step, &r);
    }
}

#endif
