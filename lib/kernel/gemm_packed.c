/* SPDX-License-Identifier: MIT
 *
 * Packing the second factor of a matrix product: as it runs, a task at a time, or beforehand.
 */
#include "gemm_job.h"

enum { PACK_ROWS = 64 }; /* at a time across the panels of a task: whole lines of a row-major B */

void ft_gemm_pack_b(const struct ft_packing *job, size_t k0, size_t k1, size_t j0, size_t j1) {
    for (size_t k = k0; k < k1; k += PACK_ROWS)
        for (size_t j = j0; j < j1; j += job->nr)
            job->isa->pack(job->out + (j - job->j_origin) * job->terms + (k - job->k_origin) * job->nr, job->nr,
                           least(job->nr, job->n - j), least(PACK_ROWS, k1 - k), operand_pointer(job->b, k, j),
                           job->b->dtype, job->b->col_stride, job->b->row_stride);
}

size_t ft_packed_size(const struct ft_exec *exec, size_t k, size_t n, enum ft_dtype dtype) {
    size_t columns = round_up(n, exec->gemm->nr), count;
    return ft_size_mul(k, columns, &count) ? ft_arena_cost(count, ft_dtype_size(dtype)) : SIZE_MAX;
}

struct prepacking {
    struct ft_packing packing;
    const struct ft_packed *packed;
};

/* BF16 stays as it is. */
static void copy_panel(const struct ft_packed *packed, const struct ft_operand *b, size_t nr, size_t j) {
    uint16_t *out = (uint16_t *)packed->data + j * packed->k;
    size_t columns = least(nr, packed->n - j);
    for (size_t k = 0; k < packed->k; k++, out += nr) {
        for (size_t x = 0; x < columns; x++) memcpy(out + x, operand_pointer(b, k, j + x), sizeof *out);
        for (size_t x = columns; x < nr; x++) out[x] = 0;
    }
}

static void prepack_task(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct prepacking *job = arg;
    size_t nr = job->packing.nr, j = index * FT_GEMM_PANELS * nr, end = least(j + FT_GEMM_PANELS * nr, job->packed->n);
    if (job->packed->dtype == FT_F32) {
        ft_gemm_pack_b(&job->packing, 0, job->packed->k, j, end);
    } else {
        for (; j < end; j += nr) copy_panel(job->packed, job->packing.b, nr, j);
    }
}

void ft_pack(struct ft_exec *exec, struct ft_packed *packed, const struct ft_operand *b) {
    size_t nr = exec->gemm->nr;
    packed->width = nr;
    struct prepacking job = {{exec->gemm, b, packed->data, nr, packed->n, packed->k, 0, 0}, packed};
    ft_pool_run(ft_exec_pool(exec), ceil_div(packed->n, FT_GEMM_PANELS * nr), prepack_task, &job);
}
