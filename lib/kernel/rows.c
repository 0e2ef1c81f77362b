/* SPDX-License-Identifier: MIT
 *
 * The public functions of rows.h that have a variant per ISA: fill in the arguments, choose rows, columns or
 * elements, run the ranges. */
#include "kernels.h"

#include "ft/pool.h"

/* Work for one task: large against the microsecond that waking a thread takes, small against a cache. */
enum { TASK_ELEMENTS = 1 << 14, LANES = 16, MAX_COLUMNS = 1024 };

struct ranges {
    ft_range_kernel *kernel;
    const void *args;
    size_t count, grain;
};

static void range_task(void *arg, size_t i, unsigned worker) {
    (void)worker;
    const struct ranges *r = arg;
    size_t begin = i * r->grain, rest = r->count - begin;
    r->kernel(r->args, begin, begin + (rest < r->grain ? rest : r->grain));
}

void ft_run_ranges(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t count, size_t grain) {
    struct ranges r = {kernel, args, count, grain};
    size_t tasks = count / grain + (count % grain != 0);
    ft_pool_run(ft_exec_pool(exec), tasks, range_task, &r);
}

void ft_run_rows(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t rows, size_t width) {
    ft_run_ranges(exec, kernel, args, rows, width < TASK_ELEMENTS ? TASK_ELEMENTS / (width + 1) + 1 : 1);
}

/* Ranges are whole vectors wide, at least one a thread when the work is worth it, and few enough columns for
 * the running sums to stay in the first cache while the rows stream past. */
void ft_run_columns(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t rows, size_t columns) {
    size_t threads = rows < TASK_ELEMENTS / (columns + 1) ? 1 : ft_exec_threads(exec);
    size_t grain = (columns / threads + LANES) / LANES * LANES;
    ft_run_ranges(exec, kernel, args, columns, grain < MAX_COLUMNS ? grain : MAX_COLUMNS);
}

void ft_run_elements(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t count) {
    ft_run_ranges(exec, kernel, args, count, TASK_ELEMENTS);
}

void ft_rmsnorm_forward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, bool plus_one,
                        float eps, float *y, float *rstd) {
    struct ft_norm_args a = {.T = T, .C = C, .x = x, .w = w, .plus_one = plus_one, .eps = eps, .y = y, .rstd = rstd};
    ft_run_rows(exec, ft_kernels_of(exec)->rmsnorm_forward, &a, T, C);
}

/* The weight's gradient first: dx_out may overwrite dy. */
void ft_rmsnorm_backward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, bool plus_one,
                         const float *rstd, const float *dy, const float *dx_in, float *dx_out, float *dw) {
    struct ft_norm_args a = {.T = T, .C = C, .x = x, .w = w, .plus_one = plus_one, .rstd = (float *)rstd, .dy = dy,
                             .dx_in = dx_in, .dx_out = dx_out, .dw = dw};
    if (dw) ft_run_columns(exec, ft_kernels_of(exec)->rmsnorm_weight, &a, T, C);
    ft_run_rows(exec, ft_kernels_of(exec)->rmsnorm_backward, &a, T, C);
}

void ft_layernorm_forward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, const float *b,
                          float eps, float *y, float *mean, float *rstd) {
    struct ft_norm_args a = {.T = T, .C = C, .x = x, .w = w, .b = b, .eps = eps, .y = y, .mean = mean, .rstd = rstd};
    ft_run_rows(exec, ft_kernels_of(exec)->layernorm_forward, &a, T, C);
}

void ft_layernorm_backward(struct ft_exec *exec, size_t T, size_t C, const float *x, const float *w, const float *mean,
                           const float *rstd, const float *dy, const float *dx_in, float *dx_out, float *dw, float *db) {
    struct ft_norm_args a = {.T = T, .C = C, .x = x, .w = w, .mean = (float *)mean, .rstd = (float *)rstd, .dy = dy,
                             .dx_in = dx_in, .dx_out = dx_out, .dw = dw, .db = db};
    if (dw || db) ft_run_columns(exec, ft_kernels_of(exec)->layernorm_weight, &a, T, C);
    ft_run_rows(exec, ft_kernels_of(exec)->layernorm_backward, &a, T, C);
}

void ft_rope(struct ft_exec *exec, size_t T, size_t heads, size_t head_dim, size_t rotary, float *x, size_t ld,
             const uint32_t *position, const float *cosine, const float *sine, bool inverse) {
    struct ft_rope_args a = {heads, head_dim, rotary / 2, x, ld, position, cosine, sine, inverse};
    ft_run_rows(exec, ft_kernels_of(exec)->rope, &a, T, heads * rotary);
}

void ft_activation_forward(struct ft_exec *exec, enum ft_activation act, size_t n, const float *x, float *y) {
    struct ft_activation_args a = {.act = act, .x = x, .out = y};
    ft_run_elements(exec, ft_kernels_of(exec)->activation_forward, &a, n);
}

void ft_activation_backward(struct ft_exec *exec, enum ft_activation act, size_t n, const float *x, const float *dy,
                            float *dx) {
    struct ft_activation_args a = {.act = act, .x = x, .dy = dy, .out = dx};
    ft_run_elements(exec, ft_kernels_of(exec)->activation_backward, &a, n);
}

void ft_gated_forward(struct ft_exec *exec, enum ft_activation act, size_t T, size_t F, const float *gate,
                      const float *up, size_t ld, float *h) {
    struct ft_gated_args a = {.act = act, .F = F, .ld = ld, .gate = gate, .up = up, .h = h};
    ft_run_rows(exec, ft_kernels_of(exec)->gated_forward, &a, T, F);
}

void ft_gated_backward(struct ft_exec *exec, enum ft_activation act, size_t T, size_t F, const float *gate,
                       const float *up, size_t ld, const float *dh, float *d_gate, float *d_up, float *h) {
    struct ft_gated_args a = {.act = act, .F = F, .ld = ld, .gate = gate, .up = up, .dh = dh, .h = h,
                              .d_gate = d_gate, .d_up = d_up};
    ft_run_rows(exec, ft_kernels_of(exec)->gated_backward, &a, T, F);
}

void ft_cross_entropy(struct ft_exec *exec, size_t T, size_t V, float *logits, size_t ld, const uint32_t *target,
                      const float *weight, float *loss, uint32_t *predicted) {
    struct ft_loss_args a = {V, ld, logits, target, weight, loss, predicted};
    ft_run_rows(exec, ft_kernels_of(exec)->cross_entropy, &a, T, V);
}

void ft_cross_entropy_loss(struct ft_exec *exec, size_t T, size_t V, const float *logits, size_t ld,
                           const uint32_t *target, float *loss, uint32_t *predicted) {
    struct ft_loss_args a = {V, ld, (float *)logits, target, NULL, loss, predicted};
    ft_run_rows(exec, ft_kernels_of(exec)->cross_entropy_loss, &a, T, V);
}

void ft_softcap_forward(struct ft_exec *exec, size_t n, float cap, float *x) {
    struct ft_softcap_args a = {.cap = cap, .x = x};
    ft_run_elements(exec, ft_kernels_of(exec)->softcap_forward, &a, n);
}

void ft_softcap_backward(struct ft_exec *exec, size_t n, float cap, const float *y, float *dx) {
    struct ft_softcap_args a = {.cap = cap, .y = y, .x = dx};
    ft_run_elements(exec, ft_kernels_of(exec)->softcap_backward, &a, n);
}

void ft_adamw(struct ft_exec *exec, const struct ft_adamw *step, size_t n, float *p, const float *grad, float *m,
              float *v) {
    struct ft_adamw_args a = {*step, p, m, v, grad};
    ft_run_elements(exec, ft_kernels_of(exec)->adamw, &a, n);
}

void ft_exp_double(const struct ft_exec *exec, size_t n, double *x) { ft_kernels_of(exec)->exp_double(x, n); }
