/* SPDX-License-Identifier: MIT
 *
 * Kernels over rows of activations: norms, rotary embedding, activation functions, softmax cross-entropy,
 * embedding, and the optimizer's element-wise work. T rows (tokens), C columns (channels); matrices are
 * row-major and dense unless a stride is given.
 *
 * Rule 3 sum of x[0..C): 16 lanes, lane l adds elements l, l+16, ... ascending (absent elements leave a lane
 * untouched; lanes start at +0), then lane[l] += lane[l+8], l+4, l+2, l+1. "lane-fma" means that lanes
 * accumulate with fma(x, y, lane).
 * A gradient with respect to a vector shared by all rows (norm weight, bias) is one chain per column over rows
 * ascending that continues the present value, so micro-batches cannot change it (rule 2).
 */
#ifndef FT_ROWS_H
#define FT_ROWS_H

#include "ft/dtype.h"
#include "ft/exec.h"
#include "ft/gemm.h"

#include <stddef.h>
#include <stdint.h>

/* RMSNorm (Zhang and Sennrich 2019): ms = rule-3 lane-fma sum of x*x; rstd = 1 / sqrt(ms / C + eps);
 * y = (x * rstd) * g,  g = w, or 1 + w with plus_one (Gemma). rstd: [T] out. y may not alias x. */
void ft_rmsnorm_forward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, bool plus_one,
                        float eps, float *y, float *rstd);
/* n = x*rstd; gy = dy*g; d = rule-3 lane-fma sum of gy*n, / C;  dx = fma(-n, d, gy) * rstd.
 * dx_out = dx, or dx_in + dx when dx_in is not NULL (dx_in may be dx_out: the residual gradient). dy may be
 * dx_out only when dx_in is not.
 * dw[c] = chain over rows fma(dy, n, dw[c]); NULL skips it. */
void ft_rmsnorm_backward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, bool plus_one,
                         const float *rstd, const float *dy, const float *dx_in, float *dx_out, float *dw);

/* LayerNorm: mean = rule-3 sum / C; var = rule-3 lane-fma sum of (x-mean)^2, / C; rstd = 1/sqrt(var + eps);
 * y = fma((x - mean) * rstd, w, b); b may be NULL (then y = n * w). mean, rstd: [T] out. */
void ft_layernorm_forward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, const float *b,
                          float eps, float *y, float *mean, float *rstd);
/* n = (x-mean)*rstd; gy = dy*w; a = rule-3 sum of gy, / C; d = rule-3 lane-fma sum of gy*n, / C;
 * dx = fma(-n, d, gy - a) * rstd; dw, db chains as above (each may be NULL). */
void ft_layernorm_backward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, const float *mean,
                           const float *rstd, const float *dy, const float *dx_in, float *dx_out, float *dw, float *db);

/* Rotary embedding, rotate-half layout, in place on the first `rotary` dimensions (even) of each of `heads` heads
 * of size head_dim; row t starts at x + t*ld and has position position[t]. cosine, sine: [positions, rotary/2].
 * Forward: (x0, x1) <- (fma(x0, c, -(x1*s)), fma(x1, c, x0*s)); inverse (backward) uses -s. */
void ft_rope(struct ft_exec *exec, size_t T, size_t heads, size_t head_dim, size_t rotary, float *x, size_t ld,
             const uint32_t *position, const float *cosine, const float *sine, bool inverse);

/* Activation functions and their gated forms. sigmoid(x) = 1 / (1 + exp(-x)); silu = x * sigmoid(x);
 * gelu tanh: .5x(1 + tanh(sqrt(2/pi)(x + .044715x^3))); gelu erf: .5x(1 + erf(x/sqrt(2))). The exact order of
 * operations is in ft-numerics(7) and in the scalar specification. */
enum ft_activation { FT_SILU, FT_GELU_TANH, FT_GELU_ERF, FT_RELU };

/* y = act(x), element-wise over n; y may be x. */
void ft_activation_forward(struct ft_exec *exec, enum ft_activation act, size_t n, const float *x, float *y);
/* dx = dy * act'(x); dx may be dy. */
void ft_activation_backward(struct ft_exec *exec, enum ft_activation act, size_t n, const float *x, const float *dy,
                            float *dx);
/* h = act(gate) * up. Rows of F elements; gate, up with row stride ld (they may be two halves of one buffer); h dense. */
void ft_gated_forward(struct ft_exec *exec, enum ft_activation act, size_t T, size_t F, const float *gate,
                      const float *up, size_t ld, float *h);
/* d_gate = dh * up * act'(gate); d_up = dh * act(gate); row stride ld for gate, up, d_gate, d_up, which may overwrite
 * gate and up. When h is not NULL, it is written too (h is not kept by forward but recomputed for dW of the next layer). */
void ft_gated_backward(struct ft_exec *exec, enum ft_activation act, size_t T, size_t F, const float *gate,
                       const float *up, size_t ld, const float *dh, float *d_gate, float *d_up, float *h);

/* Softmax cross-entropy over V classes, one row a supervised token, in place: logits become gradients.
 * m = max; e = exp(x - m); z = rule-3 sum of e; loss = (log(z) - (x[target] - m)) in binary32;
 * gradient[v] = (e[v] / z - (v == target)) * weight[t].
 * loss[t]: unweighted, in binary32. predicted[t]: first index of the maximum (NULL skips it).
 * logits NaN or a non-finite row gives a non-finite loss, which the caller must check. */
void ft_cross_entropy(struct ft_exec *exec, size_t T, size_t V, float *logits, size_t ld, const uint32_t *target,
                      const float *weight, float *loss, uint32_t *predicted);
/* The same loss without gradients (evaluation): logits are left as they are. */
void ft_cross_entropy_loss(struct ft_exec *exec, size_t T, size_t V, const float *logits, size_t ld,
                           const uint32_t *target, float *loss, uint32_t *predicted);

/* softcap: x = cap * tanh(x / cap), in place; backward: dx *= 1 - (y/cap)^2 with y the capped value. */
void ft_softcap_forward(struct ft_exec *exec, size_t n, float cap, float *x);
void ft_softcap_backward(struct ft_exec *exec, size_t n, float cap, const float *y, float *dx);

/* y[t] = (row id[t] of table, V x C of dtype, widened) * scale (scale 1: none), + position_table[position[t]] (NULL: none). */
void ft_embed(struct ft_exec *exec, size_t T, size_t C, const uint32_t *id, const void *table, enum ft_dtype dtype, float scale,
              const uint32_t *position, const void *position_table, enum ft_dtype position_dtype, float *y);
/* The same from a table of binary32 or bf16 that was packed as the head of a tied model: k = C, n = V. */
void ft_embed_packed(struct ft_exec *exec, size_t T, const uint32_t *id, const struct ft_packed *table, float scale,
                     const uint32_t *position, const void *position_table, enum ft_dtype position_dtype, float *y);
/* d_table[id[t]] += dy[t] * scale for t ascending: one chain of additions a row of the table (scale 1: plain addition),
 * continuing the present value. Threads own disjoint sets of columns. */
void ft_embed_backward(struct ft_exec *exec, size_t T, size_t C, const uint32_t *id, const float *dy, float scale,
                       float *d_table);

/* y[i] = x[row[i]] and y[row[i]] = x[i] for `count` rows of C elements. */
void ft_gather_rows(struct ft_exec *exec, size_t count, size_t C, const uint32_t *row, const float *x, float *y);
void ft_scatter_rows(struct ft_exec *exec, size_t count, size_t C, const uint32_t *row, const float *x, float *y);

/* y[c] = chain over rows of (y[c] + x[t][c]), rows at stride ld: bias gradients. */
void ft_column_sum(struct ft_exec *exec, size_t T, size_t C, const float *x, size_t ld, float *y);
/* y += x; y = x * a; element-wise. */
void ft_add(struct ft_exec *exec, size_t n, const float *x, float *y);
void ft_scale(struct ft_exec *exec, size_t n, float a, float *x);

/* x = ft_exp(x), element-wise in binary64; by the calling thread alone, for tasks that use it. */
void ft_exp_double(const struct ft_exec *exec, size_t n, double *x);

/* Sum of squares in binary64: 16 lanes of fma in binary64 over the whole vector as in rule 3, in chunks of 65536
 * elements whose sums are added in order (so chunks may run on any thread). For the gradient norm. */
double ft_sum_squares(struct ft_exec *exec, size_t n, const float *x);

/* True when all n numbers are finite. */
bool ft_all_finite(struct ft_exec *exec, size_t n, const float *x);

/* AdamW (Loshchilov and Hutter 2019), one pass: g = grad * grad_scale;
 *   m = fma(beta1, m, (1-beta1)*g);  v = fma(beta2, v, ((1-beta2)*g)*g)
 *   mh = m * inv_bias1;  vh = v * inv_bias2;  p = p - p*lr_decay (only if lr_decay != 0);  p = p - (lr * mh) / (sqrt(vh) + eps)
 * inv_bias = 1/(1 - beta^t), lr_decay = lr*weight_decay, all computed by the caller in binary64 by repeated
 * multiplication and rounded once. one_minus_beta likewise rounded from binary64. */
struct ft_adamw {
    float lr, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, inv_bias1, inv_bias2, lr_decay, grad_scale;
};
void ft_adamw(struct ft_exec *exec, const struct ft_adamw *step, size_t n, float *p, const float *grad, float *m, float *v);

#endif
