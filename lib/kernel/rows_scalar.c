/* SPDX-License-Identifier: MIT
 *
 * The specification of the row kernels, one element at a time. Every vector variant must give these bits.
 * An fma is one only where it is written. */
#include "activation_constants.h"
#include "kernels.h"

#include "ft/elementary.h"

#define fma32 __builtin_fmaf
#define sqrt32 __builtin_sqrtf

enum { LANES = 16 };

/* Rule 3: element i goes to lane i mod 16; the lanes meet in a fixed tree. */
struct lanes {
    float lane[LANES];
};

static void lanes_add(struct lanes *s, size_t i, float x) { s->lane[i % LANES] += x; }
static void lanes_fma(struct lanes *s, size_t i, float x, float y) {
    s->lane[i % LANES] = fma32(x, y, s->lane[i % LANES]);
}
static float lanes_sum(struct lanes *s) {
    for (size_t step = LANES / 2; step; step /= 2)
        for (size_t l = 0; l < step; l++) s->lane[l] += s->lane[l + step];
    return s->lane[0];
}

/* --- norms ------------------------------------------------------------------------------------------------ */

static float gain(const struct ft_norm_args *a, size_t c) { return a->plus_one ? 1.0f + a->w[c] : a->w[c]; }

static void rmsnorm_forward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        const float *x = a->x + t * a->C;
        struct lanes s = {0};
        for (size_t c = 0; c < a->C; c++) lanes_fma(&s, c, x[c], x[c]);
        float rstd = 1.0f / sqrt32(lanes_sum(&s) / (float)a->C + a->eps);
        for (size_t c = 0; c < a->C; c++) a->y[t * a->C + c] = (x[c] * rstd) * gain(a, c);
        a->rstd[t] = rstd;
    }
}

/* y = n g, n = x rstd */
static void rmsnorm_backward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        const float *x = a->x + t * a->C, *dy = a->dy + t * a->C;
        float rstd = a->rstd[t];
        struct lanes s = {0};
        for (size_t c = 0; c < a->C; c++) lanes_fma(&s, c, dy[c] * gain(a, c), x[c] * rstd);
        float d = lanes_sum(&s) / (float)a->C;
        for (size_t c = 0; c < a->C; c++) {
            size_t i = t * a->C + c;
            float n = x[c] * rstd, gy = dy[c] * gain(a, c);
            float dx = fma32(-n, d, gy) * rstd;
            a->dx_out[i] = a->dx_in ? a->dx_in[i] + dx : dx;
        }
    }
}

static void rmsnorm_weight(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = 0; t < a->T; t++)
        for (size_t c = begin; c < end; c++) {
            size_t i = t * a->C + c;
            a->dw[c] = fma32(a->dy[i], a->x[i] * a->rstd[t], a->dw[c]);
        }
}

static void layernorm_forward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        const float *x = a->x + t * a->C;
        struct lanes s = {0}, v = {0};
        for (size_t c = 0; c < a->C; c++) lanes_add(&s, c, x[c]);
        float mean = lanes_sum(&s) / (float)a->C;
        for (size_t c = 0; c < a->C; c++) lanes_fma(&v, c, x[c] - mean, x[c] - mean);
        float rstd = 1.0f / sqrt32(lanes_sum(&v) / (float)a->C + a->eps);
        for (size_t c = 0; c < a->C; c++) {
            float n = (x[c] - mean) * rstd;
            a->y[t * a->C + c] = a->b ? fma32(n, a->w[c], a->b[c]) : n * a->w[c];
        }
        a->mean[t] = mean;
        a->rstd[t] = rstd;
    }
}

/* y = n w + b, n = (x - mean) rstd */
static void layernorm_backward(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = begin; t < end; t++) {
        const float *x = a->x + t * a->C, *dy = a->dy + t * a->C;
        float mean = a->mean[t], rstd = a->rstd[t];
        struct lanes sum = {0}, dot = {0};
        for (size_t c = 0; c < a->C; c++) {
            float gy = dy[c] * a->w[c];
            lanes_add(&sum, c, gy);
            lanes_fma(&dot, c, gy, (x[c] - mean) * rstd);
        }
        float average = lanes_sum(&sum) / (float)a->C, d = lanes_sum(&dot) / (float)a->C;
        for (size_t c = 0; c < a->C; c++) {
            size_t i = t * a->C + c;
            float n = (x[c] - mean) * rstd, gy = dy[c] * a->w[c];
            float dx = fma32(-n, d, gy - average) * rstd;
            a->dx_out[i] = a->dx_in ? a->dx_in[i] + dx : dx;
        }
    }
}

static void layernorm_weight(const void *args, size_t begin, size_t end) {
    const struct ft_norm_args *a = args;
    for (size_t t = 0; t < a->T; t++)
        for (size_t c = begin; c < end; c++) {
            size_t i = t * a->C + c;
            if (a->dw) a->dw[c] = fma32(a->dy[i], (a->x[i] - a->mean[t]) * a->rstd[t], a->dw[c]);
            if (a->db) a->db[c] += a->dy[i];
        }
}

/* --- rotary embedding --------------------------------------------------------------------------------------- */

static void rope(const void *args, size_t begin, size_t end) {
    const struct ft_rope_args *a = args;
    for (size_t t = begin; t < end; t++)
        for (size_t h = 0; h < a->heads; h++) {
            float *x0 = a->x + t * a->ld + h * a->head_dim, *x1 = x0 + a->half;
            for (size_t i = 0; i < a->half; i++) {
                size_t angle = a->position[t] * a->half + i;
                float c = a->cosine[angle], s = a->inverse ? -a->sine[angle] : a->sine[angle];
                float u = x0[i], v = x1[i];
                x0[i] = fma32(u, c, -(v * s));
                x1[i] = fma32(v, c, u * s);
            }
        }
}

/* --- activation functions ----------------------------------------------------------------------------------- */

static float act(enum ft_activation kind, float x) {
    float x2 = x * x;
    switch (kind) {
    case FT_SILU: return x * ft_sigmoidf(x);
    /* .5 (1 + tanh u) = sigmoid(2u), which loses no digits for negative u */
    case FT_GELU_TANH: return x * ft_sigmoidf(2.0f * (x * fma32(FT_GELU_C1, x2, FT_GELU_C0)));
    case FT_GELU_ERF: return (0.5f * x) * (1.0f + ft_erff(x * FT_SQRT_HALF));
    default: return x <= 0.0f ? 0.0f : x; /* ReLU; NaN stays */
    }
}

static float act_derivative(enum ft_activation kind, float x) {
    float x2 = x * x, s;
    switch (kind) {
    case FT_SILU: /* s + x s (1 - s) */
        s = ft_sigmoidf(x);
        return s * fma32(x, 1.0f - s, 1.0f);
    case FT_GELU_TANH: /* s + x s (1 - s) (2u)' */
        s = ft_sigmoidf(2.0f * (x * fma32(FT_GELU_C1, x2, FT_GELU_C0)));
        return fma32(x * (s * (1.0f - s)), 2.0f * fma32(FT_GELU_C1X3, x2, FT_GELU_C0), s);
    case FT_GELU_ERF: /* Phi(x) + x phi(x) */
        return fma32(x, FT_INV_SQRT_2PI * ft_expf(-0.5f * x2), 0.5f * (1.0f + ft_erff(x * FT_SQRT_HALF)));
    default: return x <= 0.0f ? 0.0f : 1.0f;
    }
}

static void activation_forward(const void *args, size_t begin, size_t end) {
    const struct ft_activation_args *a = args;
    for (size_t i = begin; i < end; i++) a->out[i] = act(a->act, a->x[i]);
}

static void activation_backward(const void *args, size_t begin, size_t end) {
    const struct ft_activation_args *a = args;
    for (size_t i = begin; i < end; i++) a->out[i] = a->dy[i] * act_derivative(a->act, a->x[i]);
}

static void gated_forward(const void *args, size_t begin, size_t end) {
    const struct ft_gated_args *a = args;
    for (size_t t = begin; t < end; t++)
        for (size_t f = 0; f < a->F; f++)
            a->h[t * a->F + f] = act(a->act, a->gate[t * a->ld + f]) * a->up[t * a->ld + f];
}

static void gated_backward(const void *args, size_t begin, size_t end) {
    const struct ft_gated_args *a = args;
    for (size_t t = begin; t < end; t++)
        for (size_t f = 0; f < a->F; f++) {
            size_t i = t * a->ld + f;
            float gate = a->gate[i], up = a->up[i], dh = a->dh[t * a->F + f], y = act(a->act, gate);
            a->d_gate[i] = (dh * up) * act_derivative(a->act, gate);
            a->d_up[i] = dh * y;
            if (a->h) a->h[t * a->F + f] = y * up;
        }
}

/* --- softmax and cross-entropy ------------------------------------------------------------------------------ */

/* Passes over NaN; + 0 so that a maximum of zero has one sign. */
static float maximum(const float *x, size_t n) {
    float m = -__builtin_inff();
    for (size_t i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
    return m + 0.0f;
}

/* The first index of m; 0 when there is none (all NaN). */
static uint32_t first_index(const float *x, size_t n, float m) {
    for (size_t i = 0; i < n; i++)
        if (x[i] == m) return (uint32_t)i;
    return 0;
}

/* Rule-3 sum of exp(x - m), kept in e unless that is NULL. */
static float exponentials(const float *x, size_t n, float m, float *e) {
    struct lanes z = {0};
    for (size_t i = 0; i < n; i++) {
        float y = ft_expf(x[i] - m);
        lanes_add(&z, i, y);
        if (e) e[i] = y;
    }
    return lanes_sum(&z);
}

static void loss_row(const struct ft_loss_args *a, size_t t, bool gradient) {
    float *x = a->logits + t * a->ld, m = maximum(x, a->V), target = x[a->target[t]];
    if (a->predicted) a->predicted[t] = first_index(x, a->V, m);
    float z = exponentials(x, a->V, m, gradient ? x : NULL);
    a->loss[t] = ft_logf(z) - (target - m);
    if (!gradient) return;
    float at_target = (x[a->target[t]] / z - 1.0f) * a->weight[t];
    for (size_t v = 0; v < a->V; v++) x[v] = x[v] / z * a->weight[t];
    x[a->target[t]] = at_target;
}

static void cross_entropy(const void *args, size_t begin, size_t end) {
    for (size_t t = begin; t < end; t++) loss_row(args, t, true);
}

static void cross_entropy_loss(const void *args, size_t begin, size_t end) {
    for (size_t t = begin; t < end; t++) loss_row(args, t, false);
}

static void softmax(float *row, size_t n, float *max, float *sum) {
    *max = maximum(row, n);
    *sum = exponentials(row, n, *max, row);
    for (size_t i = 0; i < n; i++) row[i] /= *sum;
}

static void softmax_again(float *row, size_t n, float max, float sum) {
    for (size_t i = 0; i < n; i++) row[i] = ft_expf(row[i] - max) / sum;
}

/* --- the rest ------------------------------------------------------------------------------------------------- */

static void softcap_forward(const void *args, size_t begin, size_t end) {
    const struct ft_softcap_args *a = args;
    for (size_t i = begin; i < end; i++) a->x[i] = a->cap * ft_tanhf(a->x[i] / a->cap);
}

static void softcap_backward(const void *args, size_t begin, size_t end) {
    const struct ft_softcap_args *a = args;
    for (size_t i = begin; i < end; i++) {
        float u = a->y[i] / a->cap;
        a->x[i] *= 1.0f - u * u;
    }
}

static void adamw(const void *args, size_t begin, size_t end) {
    const struct ft_adamw_args *a = args;
    const struct ft_adamw *s = &a->step;
    for (size_t i = begin; i < end; i++) {
        float g = a->grad[i] * s->grad_scale;
        float m = fma32(s->beta1, a->m[i], s->one_minus_beta1 * g);
        float v = fma32(s->beta2, a->v[i], (s->one_minus_beta2 * g) * g);
        float mh = m * s->inv_bias1, vh = v * s->inv_bias2, p = a->p[i];
        if (s->lr_decay != 0.0f) p = p - p * s->lr_decay;
        a->p[i] = p - (s->lr * mh) / (sqrt32(vh) + s->eps);
        a->m[i] = m;
        a->v[i] = v;
    }
}

static void exp_elements(const void *args, size_t begin, size_t end) {
    const struct ft_elements_args *a = args;
    for (size_t i = begin; i < end; i++) a->y[i] = ft_expf(a->x[i]);
}

static void tanh_elements(const void *args, size_t begin, size_t end) {
    const struct ft_elements_args *a = args;
    for (size_t i = begin; i < end; i++) a->y[i] = ft_tanhf(a->x[i]);
}

static void erf_elements(const void *args, size_t begin, size_t end) {
    const struct ft_elements_args *a = args;
    for (size_t i = begin; i < end; i++) a->y[i] = ft_erff(a->x[i]);
}

static void sigmoid_elements(const void *args, size_t begin, size_t end) {
    const struct ft_elements_args *a = args;
    for (size_t i = begin; i < end; i++) a->y[i] = ft_sigmoidf(a->x[i]);
}

static void exp_double(double *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = ft_exp(x[i]);
}

const struct ft_kernels ft_kernels_scalar = {
    .rmsnorm_forward = rmsnorm_forward,
    .rmsnorm_backward = rmsnorm_backward,
    .rmsnorm_weight = rmsnorm_weight,
    .layernorm_forward = layernorm_forward,
    .layernorm_backward = layernorm_backward,
    .layernorm_weight = layernorm_weight,
    .rope = rope,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .gated_forward = gated_forward,
    .gated_backward = gated_backward,
    .cross_entropy = cross_entropy,
    .cross_entropy_loss = cross_entropy_loss,
    .softcap_forward = softcap_forward,
    .softcap_backward = softcap_backward,
    .adamw = adamw,
    .softmax = softmax,
    .softmax_again = softmax_again,
    .exp = exp_elements,
    .exp_double = exp_double,
    .tanh = tanh_elements,
    .erf = erf_elements,
    .sigmoid = sigmoid_elements,
};
