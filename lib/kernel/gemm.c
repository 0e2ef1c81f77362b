/* SPDX-License-Identifier: MIT */
#include "gemm.h"

#include "ft/memory.h"

size_t ft_packed_size(const struct ft_exec *exec, size_t k, size_t n, enum ft_dtype dtype) {
    (void)exec;
    return ft_arena_cost(k * n, ft_dtype_size(dtype));
}

float ft_packed_at(const struct ft_packed *packed, size_t k, size_t j) {
    struct ft_operand b = {packed->data, packed->dtype, packed->n, 1};
    return ft_operand_at(&b, k, j);
}

struct packing {
    struct ft_packed *packed;
    const struct ft_operand *b;
};

static void pack_row(void *arg, size_t k, unsigned worker) {
    (void)worker;
    const struct packing *job = arg;
    size_t n = job->packed->n, size = ft_dtype_size(job->packed->dtype);
    unsigned char *out = (unsigned char *)job->packed->data + k * n * size;
    for (size_t j = 0; j < n; j++) {
        const unsigned char *in = job->b->data;
        in += (k * job->b->row_stride + j * job->b->col_stride) * ft_dtype_size(job->b->dtype);
        if (job->packed->dtype == FT_F32) ft_widen((float *)(void *)(out + 4 * j), in, job->b->dtype, 1);
        else memcpy(out + 2 * j, in, 2);
    }
}

void ft_pack(struct ft_exec *exec, struct ft_packed *packed, const struct ft_operand *b) {
    struct packing job = {packed, b};
    ft_pool_run(ft_exec_pool(exec), packed->k, pack_row, &job);
}

static void multiply_row(void *arg, size_t i, unsigned worker) {
    (void)worker;
    struct ft_product row = *(const struct ft_product *)arg;
    row.a.data = (const unsigned char *)row.a.data + i * row.a.row_stride * ft_dtype_size(row.a.dtype);
    row.c += i * row.ldc;
    if (row.add) row.add += i * row.ld_add;
    row.m = 1;
    ft_gemm_reference(&row);
}

void ft_gemm(struct ft_exec *exec, const struct ft_product *product) {
    struct ft_product copy = *product;
    ft_pool_run(ft_exec_pool(exec), product->m, multiply_row, &copy);
}
