/* SPDX-License-Identifier: MIT */
#include "linear.h"

#include "dora.h"
#include "ft/rows.h"

#include <assert.h>
#include <string.h>

static struct ft_operand dense(const float *data, size_t ld) {
    return (struct ft_operand){.data = data, .dtype = FT_F32, .row_stride = ld, .col_stride = 1};
}

static struct ft_operand transposed(struct ft_operand operand) {
    size_t stride = operand.row_stride;
    operand.row_stride = operand.col_stride;
    operand.col_stride = stride;
    return operand;
}

/* The slice's weights as out x in: element (o, i). */
static struct ft_operand slice_weights(struct ft_slice slice) {
    struct ft_operand w = ft_parameter_operand(slice.module->weight);
    if (slice.module->in_out) w = transposed(w);
    w.data = (const unsigned char *)w.data + slice.first * w.row_stride * ft_dtype_size(w.dtype);
    return w;
}

struct ft_operand ft_linear_operand(struct ft_slice slice) { return transposed(slice_weights(slice)); }

/* The slice's rows of B as out x rank. */
static struct ft_operand slice_b(struct ft_slice slice) {
    const struct ft_module *module = slice.module;
    return dense(module->lora_b->value + slice.first * module->rank, module->rank);
}

static struct ft_product projection(const struct ft_module *module, size_t rows, const float *x, float *u) {
    return (struct ft_product){.m = rows,
                               .n = module->rank,
                               .k = module->in,
                               .a = dense(x, module->in),
                               .b = transposed(dense(module->lora_a->value, module->in)),
                               .c = u,
                               .ldc = module->rank,
                               .scale = module->scale};
}

void ft_module_project(struct ft_exec *exec, const struct ft_module *module, size_t rows, const float *x,
                       float *u) {
    struct ft_product product = projection(module, rows, x, u);
    ft_gemm(exec, &product);
}

void ft_linear_project_all(struct ft_exec *exec, const struct ft_linear *map, size_t count) {
    struct ft_product product[FT_LINEAR_MAPS] = {0};
    size_t products = 0;
    assert(count <= FT_LINEAR_MAPS);
    for (size_t i = 0; i < count; i++) {
        bool done = !ft_module_adapted(map[i].slice.module);
        for (size_t j = 0; j < i; j++) done |= map[j].u == map[i].u;
        if (!done) product[products++] = projection(map[i].slice.module, map[i].rows, map[i].x, map[i].u);
    }
    ft_gemm_all(exec, product, products);
}

/* y = x W^T (+ u B^T) (+ bias) (+ add) */
static struct ft_product map_of(struct ft_slice slice, size_t rows, const float *x, const float *u, const float *bias,
                                const float *add, float *y) {
    const struct ft_module *module = slice.module;
    struct ft_product product = {.m = rows,
                                 .n = slice.out,
                                 .k = module->in,
                                 .a = dense(x, module->in),
                                 .b = ft_linear_operand(slice),
                                 .packed = slice.packed,
                                 .c = y,
                                 .ldc = slice.out,
                                 .bias = bias,
                                 .add = add,
                                 .ld_add = slice.out};
    if (ft_module_adapted(module)) /* the chain goes on over the rank */
        product.more = (struct ft_terms){module->rank, dense(u, module->rank), transposed(slice_b(slice))};
    return product;
}

static const float *bias_of(struct ft_slice slice) {
    return slice.module->bias ? slice.module->bias->value + slice.first : NULL;
}

void ft_linear_forward(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *x,
                       const float *u, const float *add, float *y) {
    const struct ft_module *module = slice.module;
    bool scaled = module->magnitude != NULL; /* then bias and add come after the gain */
    assert(!scaled || add != y);
    struct ft_product product =
        map_of(slice, rows, x, u, scaled ? NULL : bias_of(slice), scaled ? NULL : add, y);
    ft_gemm(exec, &product);
    if (scaled) ft_dora_apply(exec, rows, slice.out, module->gain + slice.first, bias_of(slice), add, y);
}

void ft_linear_forward_all(struct ft_exec *exec, const struct ft_linear *map, size_t count) {
    struct ft_product product[FT_LINEAR_MAPS] = {0};
    assert(count <= FT_LINEAR_MAPS);
    for (size_t i = 0; i < count; i++)
        product[i] = map_of(map[i].slice, map[i].rows, map[i].x, map[i].u,
                            map[i].slice.module->magnitude ? NULL : bias_of(map[i].slice), NULL, map[i].y);
    ft_gemm_all(exec, product, count);
    for (size_t i = 0; i < count; i++) {
        struct ft_slice slice = map[i].slice;
        if (slice.module->magnitude)
            ft_dora_apply(exec, map[i].rows, slice.out, slice.module->gain + slice.first, bias_of(slice), NULL, map[i].y);
    }
}

/* c [m, n] += a^T b over rows: the shape of every weight's gradient. */
static void outer(struct ft_exec *exec, size_t rows, size_t m, const float *a, size_t n, const float *b,
                  float *c, size_t ldc) {
    ft_gemm(exec, &(struct ft_product){.m = m,
                                       .n = n,
                                       .k = rows,
                                       .a = transposed(dense(a, m)),
                                       .b = dense(b, n),
                                       .c = c,
                                       .ldc = ldc,
                                       .accumulate = true});
}

void ft_linear_backward_weights(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *x,
                                const float *u, const float *dy) {
    const struct ft_module *module = slice.module;
    if (module->weight->trained && module->in_out)
        outer(exec, rows, module->in, x, slice.out, dy, module->weight->grad + slice.first, module->out);
    else if (module->weight->trained)
        outer(exec, rows, slice.out, dy, module->in, x, module->weight->grad + slice.first * module->in,
              module->in);
    if (module->bias && module->bias->trained && !module->magnitude)
        ft_column_sum(exec, rows, slice.out, dy, slice.out, module->bias->grad + slice.first);
    if (ft_module_adapted(module) && module->lora_b->trained)
        outer(exec, rows, slice.out, dy, module->rank, u, module->lora_b->grad + slice.first * module->rank,
              module->rank);
}

void ft_linear_backward_magnitude(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *x,
                                  const float *u, const float *dy, float *z, float *dz) {
    const struct ft_module *module = slice.module;
    size_t out = slice.out, first = slice.first;
    assert(module->magnitude);
    if (module->bias && module->bias->trained) ft_column_sum(exec, rows, out, dy, out, module->bias->grad + first);
    if (module->magnitude->trained) {
        struct ft_product product = map_of(slice, rows, x, u, NULL, NULL, z);
        ft_gemm(exec, &product);
        ft_dora_terms(exec, rows, out, module->norm + first, dy, z);
        ft_column_sum(exec, rows, out, z, out, module->magnitude->grad + first);
    }
    if (dz != dy) memcpy(dz, dy, rows * out * sizeof *dz);
    ft_dora_apply(exec, rows, out, module->gain + first, NULL, NULL, dz);
}

void ft_module_backward_project(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *dy,
                                bool more, bool last, float *du) {
    const struct ft_module *module = slice.module;
    ft_gemm(exec, &(struct ft_product){.m = rows,
                                       .n = module->rank,
                                       .k = slice.out,
                                       .a = dense(dy, slice.out),
                                       .b = slice_b(slice),
                                       .c = du,
                                       .ldc = module->rank,
                                       .accumulate = more,
                                       .scale = last ? module->scale : 0});
}

void ft_module_backward_a(struct ft_exec *exec, const struct ft_module *module, size_t rows, const float *x,
                          const float *du) {
    if (module->lora_a->trained)
        outer(exec, rows, module->rank, du, module->in, x, module->lora_a->grad, module->in);
}

void ft_linear_backward_input(struct ft_exec *exec, struct ft_slice slice, size_t rows, const float *dy,
                              const float *du, bool more, float *dx) {
    const struct ft_module *module = slice.module;
    struct ft_product product = {.m = rows,
                                 .n = module->in,
                                 .k = slice.out,
                                 .a = dense(dy, slice.out),
                                 .b = slice_weights(slice),
                                 .packed = slice.packed,
                                 .packed_transposed = slice.packed != NULL,
                                 .c = dx,
                                 .ldc = module->in,
                                 .accumulate = more};
    if (du)
        product.more = (struct ft_terms){module->rank, dense(du, module->rank), dense(module->lora_a->value, module->in)};
    ft_gemm(exec, &product);
}

void ft_module_backward_input(struct ft_exec *exec, const struct ft_module *module, size_t rows,
                              const float *du, float *dx) {
    ft_gemm(exec, &(struct ft_product){.m = rows,
                                       .n = module->in,
                                       .k = module->rank,
                                       .a = dense(du, module->rank),
                                       .b = dense(module->lora_a->value, module->in),
                                       .c = dx,
                                       .ldc = module->in,
                                       .accumulate = true});
}
