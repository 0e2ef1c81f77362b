/* SPDX-License-Identifier: MIT */
#include "ft/gemm.h"

#include "gemm.h"

#include <math.h>

float ft_operand_at(const struct ft_operand *x, size_t row, size_t col) {
    const unsigned char *p = x->data;
    p += (row * x->row_stride + col * x->col_stride) * ft_dtype_size(x->dtype);
    float value;
    ft_widen(&value, p, x->dtype, 1);
    return value;
}

/* b(k, j) out of packed memory: panels of `width` columns, each k x width, the last one padded. */
static float packed_at(const struct ft_packed *packed, size_t k, size_t j) {
    struct ft_operand panel = {packed->data, packed->dtype, packed->width, 1};
    return ft_operand_at(&panel, j / packed->width * packed->k + k, j % packed->width);
}

static float element(const struct ft_product *p, size_t i, size_t j) {
    float c = p->accumulate ? p->c[i * p->ldc + j] : 0.0f;
    for (size_t k = 0; k < p->k; k++) {
        float b = !p->packed             ? ft_operand_at(&p->b, k, j)
                  : p->packed_transposed ? packed_at(p->packed, j, k)
                                         : packed_at(p->packed, k, j);
        c = fmaf(ft_operand_at(&p->a, i, k), b, c);
    }
    for (size_t k = 0; k < p->more.k; k++)
        c = fmaf(ft_operand_at(&p->more.a, i, k), ft_operand_at(&p->more.b, k, j), c);
    if (p->scale != 0.0f && p->scale != 1.0f) c *= p->scale;
    if (p->bias) c += p->bias[j];
    if (p->add) c += p->add[i * p->ld_add + j];
    return c;
}

void ft_gemm_reference(const struct ft_product *p) {
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++) p->c[i * p->ldc + j] = element(p, i, j);
}
