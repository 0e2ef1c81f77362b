/* SPDX-License-Identifier: MIT
 *
 * Matrix products in the order of ft-num-1, rule 2:
 *
 *     chain(i,j) = start; for k = 0 .. K-1 ascending: chain = fma(a(i,k), b(k,j), chain)
 *     c[i][j]    = chain            (then, each only if asked for and each rounded once:)
 *     c[i][j]    = c * scale;  c[i][j] = c + bias[j];  c[i][j] = c + add[i][j]
 *
 * start is +0, or the present c[i][j] with `accumulate`. Exactly K terms enter a chain: no padding term, so
 * signed zeros, infinities and NaNs come out as in the scalar loop. M, N or K may be 0. A chain may go on over a
 * second pair of operands (`more`), as a linear map's does over its adapter: c is then written once.
 */
#ifndef FT_GEMM_H
#define FT_GEMM_H

#include "ft/dtype.h"
#include "ft/exec.h"

/* A matrix anywhere in memory: element (r, s) is at data[r * row_stride + s * col_stride] (in elements; any
 * byte alignment). The transpose of X is X with the strides exchanged. bf16 and f16 are widened exactly. */
struct ft_operand {
    const void *data;
    enum ft_dtype dtype;
    size_t row_stride, col_stride;
};

/* b(k,j) packed once for many products (frozen weights, weights within a step). The layout is private and
 * belongs to the ISA of the exec that packed it. */
struct ft_packed {
    void *data; /* caller's memory, FT_ALIGN-aligned, ft_packed_size bytes */
    size_t k, n;
    enum ft_dtype dtype; /* F32, or BF16: kept narrow, widened in the kernel (exact) */
    size_t width;        /* columns of a panel; written by ft_pack, read by the specification only */
};

/* Bytes needed to pack a k x n matrix at this dtype. */
size_t ft_packed_size(const struct ft_exec *exec, size_t k, size_t n, enum ft_dtype dtype);
/* Packs b(k,j) into packed->data (already set by the caller, with k, n, dtype). BF16 needs a BF16 source. */
void ft_pack(struct ft_exec *exec, struct ft_packed *packed, const struct ft_operand *b);

/* Terms k + 0, k + 1, ... of a product's chains. */
struct ft_terms {
    size_t k; /* 0: none */
    struct ft_operand a, b; /* m x k, k x n */
};

struct ft_product {
    size_t m, n, k;
    struct ft_operand a;            /* m x k */
    struct ft_operand b;            /* k x n; ignored when packed is set */
    const struct ft_packed *packed; /* or NULL */
    bool packed_transposed;         /* b(k,j) is element (j,k) of what was packed: one packing for W and W^T */
    struct ft_terms more;
    float *c;                       /* m x n, row-major, must not overlap a, b, bias */
    size_t ldc;                     /* elements from one row of c to the next */
    bool accumulate;
    float scale;      /* 0 or 1: none */
    const float *bias; /* [n] or NULL */
    const float *add;  /* m x n with row stride ld_add, or NULL; may be c itself (the old c is added last), not with
                          `more` */
    size_t ld_add;
};

/* A row-major binary32 b of a product with so few rows is read where it lies, not packed. */
#define FT_GEMM_IN_PLACE ((size_t)16)

/* Runs one product on all threads. Allocates nothing, cannot fail. */
void ft_gemm(struct ft_exec *exec, const struct ft_product *product);
/* Runs products none of whose c is anything of another: where they fit, side by side, so that threads wait for each other
 * once and rows of an a that several have are packed once. The same bits as one after the other. */
void ft_gemm_all(struct ft_exec *exec, const struct ft_product *product, size_t count);

/* The specification: a plain scalar loop with fmaf, for tests and for reading. */
void ft_gemm_reference(const struct ft_product *product);

#endif
