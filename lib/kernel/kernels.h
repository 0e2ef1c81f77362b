/* SPDX-License-Identifier: MIT
 *
 * Private to lib/kernel: the table of row kernels, one per instruction set. A kernel works on a range
 * [begin, end) of rows, columns or elements, as its comment says, of the arguments of one public function of
 * rows.h; ranges write disjoint outputs, so any partition gives the same bits. ft_kernels_scalar is the
 * specification (rows_scalar.c); the other tables are one source, rows_v16*.h, compiled per ISA.
 */
#ifndef FT_KERNEL_KERNELS_H
#define FT_KERNEL_KERNELS_H

#include "ft/rows.h"

typedef void ft_range_kernel(const void *args, size_t begin, size_t end);

struct ft_norm_args { /* RMSNorm and LayerNorm; mean and b are LayerNorm's */
    size_t T, C;
    const float *x, *w, *b;
    bool plus_one;
    float eps;
    float *y, *mean, *rstd;       /* forward's outputs, backward's inputs (y unused there) */
    const float *dy, *dx_in;      /* backward */
    float *dx_out, *dw, *db;
};

struct ft_rope_args {
    size_t heads, head_dim, half; /* half = rotary / 2 */
    float *x;
    size_t ld;
    const uint32_t *position;
    const float *cosine, *sine;
    bool inverse;
};

struct ft_activation_args {
    enum ft_activation act;
    const float *x, *dy; /* dy: backward */
    float *out;
};

struct ft_gated_args {
    enum ft_activation act;
    size_t F, ld;
    const float *gate, *up, *dh; /* dh: backward */
    float *h, *d_gate, *d_up;
};

struct ft_loss_args {
    size_t V, ld;
    float *logits; /* the loss alone only reads them */
    const uint32_t *target;
    const float *weight;
    float *loss;
    uint32_t *predicted;
};

struct ft_softcap_args {
    float cap;
    const float *y; /* backward */
    float *x;       /* x, or dx */
};

struct ft_elements_args {
    const float *x;
    float *y;
};

struct ft_adamw_args {
    struct ft_adamw step;
    float *p, *m, *v;
    const float *grad;
};

struct ft_kernels {
    ft_range_kernel *rmsnorm_forward, *rmsnorm_backward; /* rows; backward computes dx alone */
    ft_range_kernel *rmsnorm_weight;                     /* columns: dw */
    ft_range_kernel *layernorm_forward, *layernorm_backward;
    ft_range_kernel *layernorm_weight; /* columns: dw, db, each unless NULL */
    ft_range_kernel *rope;             /* rows */
    ft_range_kernel *activation_forward, *activation_backward; /* elements */
    ft_range_kernel *gated_forward, *gated_backward;           /* rows */
    ft_range_kernel *cross_entropy, *cross_entropy_loss;       /* rows */
    ft_range_kernel *softcap_forward, *softcap_backward;       /* elements */
    ft_range_kernel *adamw;                                    /* elements */
    ft_range_kernel *exp, *tanh, *erf, *sigmoid;               /* elements: y = f(x), y may be x */
    void (*exp_double)(double *x, size_t n);                   /* x = exp(x) */

    /* Attention's softmax of one row, in place, by the rules of cross-entropy: m = the maximum as
     * (x > m ? x : m) from -inf, + 0 (so never -0, and NaN is passed over); e = exp(x - m); z = rule-3 sum;
     * row = e / z. n > 0. */
    void (*softmax)(float *row, size_t n, float *max, float *sum);
    /* The same probabilities again from the kept maximum and sum: row = exp(row - max) / sum. */
    void (*softmax_again)(float *row, size_t n, float max, float sum);
};

extern const struct ft_kernels ft_kernels_scalar;
#if defined(__x86_64__)
extern const struct ft_kernels ft_kernels_avx2, ft_kernels_avx512;
#elif defined(__aarch64__)
extern const struct ft_kernels ft_kernels_neon;
#endif

/* The table of the exec's ISA. */
const struct ft_kernels *ft_kernels_of(const struct ft_exec *exec);

/* Cuts [0, count) into ranges of `grain` (the last one shorter) and runs the kernel on each, on all threads. */
void ft_run_ranges(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t count, size_t grain);
/* The same with the grain chosen: rows of `width` elements; columns over `rows` rows; single elements. */
void ft_run_rows(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t rows, size_t width);
void ft_run_columns(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t rows, size_t columns);
void ft_run_elements(struct ft_exec *exec, ft_range_kernel *kernel, const void *args, size_t count);

#endif
