/* SPDX-License-Identifier: MIT
 *
 * What kernels see of an exec: the table of their instruction set and memory that was taken when it was made.
 */
#ifndef FT_KERNEL_EXEC_INTERNAL_H
#define FT_KERNEL_EXEC_INTERNAL_H

#include "ft/exec.h"
#include "ft/memory.h"

struct ft_gemm_isa;

/* Which packed rows of a first factor a thread's scratch holds. */
struct ft_rows_held {
    uint64_t chunk; /* of which chunk of which A; 0: none */
    size_t row;     /* the first of them */
};

struct ft_exec {
    struct ft_pool *pool;
    enum ft_isa isa;
    const struct ft_gemm_isa *gemm;
    struct ft_arena arena;
    float *shared;        /* a product's B, packed by all threads for all */
    float *partial;       /* chains between blocks of K, where C cannot hold them */
    float *scratch;       /* scratch_each numbers for each thread */
    size_t scratch_each;
    struct ft_rows_held *held; /* [threads] */
    uint64_t chunk;            /* chunks of As so far, the present one counted */
};

/* Numbers in `shared` and in `partial`. Pages that no product needed are never touched. */
#define FT_GEMM_SHARED ((size_t)1 << 21)
#define FT_GEMM_PARTIAL ((size_t)1 << 20)

#endif
