/* SPDX-License-Identifier: MIT
 *
 * Private to the driver of the matrix product: a product while it runs, and blocks of it. gemm.c makes the
 * plan, gemm_tasks.c shares it out, gemm_block.c computes a block by register tiles, gemm_packed.c packs B.
 */
#ifndef FT_KERNEL_GEMM_JOB_H
#define FT_KERNEL_GEMM_JOB_H

#include "exec_internal.h"
#include "gemm.h"

#include <stdatomic.h>

enum {
    FT_GEMM_CUTS = 64,
    FT_GEMM_A_TERMS = 2048, /* of a packed block of A */
    FT_GEMM_PANELS = 4,     /* panels of B that a task packs */
    FT_GEMM_TOGETHER = 4,   /* products side by side */
};

/* A product while it runs; m0..k1 are the present chunk of it, everything else belongs to the whole. */
struct ft_gemm_job {
    struct ft_exec *exec;
    const struct ft_gemm_isa *isa;
    struct ft_product p;
    size_t c_row, c_col, bias_row, bias_col; /* strides; exchanged when the product runs transposed */
    ft_tile_fn *const *tiles;
    size_t mr, nr, kc;
    bool pack_a, b_in_place; /* b_in_place: row-major, read where it lies but for its last columns */
    size_t m0, m1, n0, n1, k0, k1;
    size_t row_tiles, m_blocks, panels;   /* of the chunk; blocks of rows are near enough equal */
    size_t whole;                         /* blocks of rows that are one task each; the tasks of the others end at */
    size_t pieces, cut[FT_GEMM_CUTS + 1]; /* panels cut[1], cut[2], ..., cut[pieces] */
    float *partial;                       /* chain (i, j) between chunks: partial[(i - m0) * ld_partial + j - n0] */
    size_t ld_partial;
    float *shared;                        /* B, packed */
    uint64_t rows;                        /* A, as ft_rows_held names it */
    size_t pack_tasks, tasks; /* those that pack B, which the others wait for, and the others */
    atomic_size_t packed;
};

FT_INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }
FT_INLINE size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }
FT_INLINE size_t round_up(size_t a, size_t b) { return ceil_div(a, b) * b; }

FT_INLINE const unsigned char *operand_pointer(const struct ft_operand *x, size_t row, size_t col) {
    return (const unsigned char *)x->data + (row * x->row_stride + col * x->col_stride) * ft_dtype_size(x->dtype);
}

/* May kernels read it where it lies? */
FT_INLINE bool in_place(const struct ft_operand *x) {
    return x->dtype == FT_F32 && (uintptr_t)x->data % sizeof(float) == 0;
}

/* Rows [i0, i1) x columns [j0, j1), terms [k0, k1), or all terms of the product's `more`. */
struct ft_gemm_block {
    size_t i0, i1, j0, j1, k0, k1;
    bool more;
};

/* Packs A's rows of the block, all terms of the chunk, into the thread's scratch. */
void ft_gemm_pack_a(const struct ft_gemm_job *job, const struct ft_gemm_block *block, unsigned worker);
/* Computes the block; the thread's scratch holds its rows of A if the job packs them, and B is ready. */
void ft_gemm_run_block(const struct ft_gemm_job *job, const struct ft_gemm_block *block, unsigned worker);

/* Where panels of B go: rows of `terms` each, the first row and column being (k_origin, j_origin). */
struct ft_packing {
    const struct ft_gemm_isa *isa;
    const struct ft_operand *b;
    float *out;
    size_t nr, n, terms, k_origin, j_origin;
};
/* Packs b(k, j) for k in [k0, k1) and the panels that begin in [j0, j1). */
void ft_gemm_pack_b(const struct ft_packing *packing, size_t k0, size_t k1, size_t j0, size_t j1);

/* Runs the jobs' chunks on the threads. pack: B's part of them is not in `shared` yet, where there is one. */
void ft_gemm_run_chunks(struct ft_gemm_job *job, size_t count, bool pack);

#endif
