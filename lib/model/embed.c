/* SPDX-License-Identifier: MIT
 * Embeddings, and their table's adapter: row t gains u[t] B^T with u[t][r] = A[r][id] * scale. */
#include "pass.h"

#include "ft/rows.h"

/* Granite and Gemma scale the whole embedding, the adapter's part with it. */
static float scale_of(const struct ft_pass *pass) {
    return pass->model->embedding_adapter.scale * pass->model->config.embedding_scale;
}

static void gather(const struct ft_pass *pass, float *u) {
    const struct ft_embedding_adapter *adapter = &pass->model->embedding_adapter;
    const float *a = adapter->a->value, scale = scale_of(pass);
    size_t rank = adapter->rank, vocab = adapter->a->cols;
    for (size_t t = 0; t < pass->rows; t++)
        for (size_t r = 0; r < rank; r++) u[t * rank + r] = a[r * vocab + pass->ids[t]] * scale;
}

void ft_pass_embed(const struct ft_pass *pass, float *x) {
    const struct ft_model *model = pass->model;
    const struct ft_embedding_adapter *adapter = &model->embedding_adapter;
    struct ft_operand table = ft_parameter_operand(model->embedding), position = {0};
    size_t C = model->config.hidden, rank = adapter->rank;
    if (model->position) position = ft_parameter_operand(model->position);
    float scale = model->config.embedding_scale;
    if (pass->table)
        ft_embed_packed(pass->exec, pass->rows, pass->ids, pass->table, scale, pass->position, position.data,
                        position.dtype, x);
    else
        ft_embed(pass->exec, pass->rows, C, pass->ids, table.data, table.dtype, scale, pass->position, position.data,
                 position.dtype, x);
    if (!adapter->a) return;
    gather(pass, pass->work.u_embed);
    ft_gemm(pass->exec, &(struct ft_product){.m = pass->rows,
                                             .n = C,
                                             .k = rank,
                                             .a = {pass->work.u_embed, FT_F32, rank, 1},
                                             .b = {adapter->b->value, FT_F32, 1, rank},
                                             .c = x,
                                             .ldc = C,
                                             .accumulate = true});
}

void ft_pass_embed_adapter_backward(const struct ft_pass *pass, const float *d) {
    const struct ft_embedding_adapter *adapter = &pass->model->embedding_adapter;
    size_t C = pass->model->config.hidden, rank = adapter->rank;
    float *u = pass->work.u_embed, *du = pass->work.du;
    if (!adapter->a || !adapter->a->trained) return;
    gather(pass, u);
    ft_gemm(pass->exec, &(struct ft_product){.m = C, /* dB += d^T u */
                                             .n = rank,
                                             .k = pass->rows,
                                             .a = {d, FT_F32, 1, C},
                                             .b = {u, FT_F32, rank, 1},
                                             .c = adapter->b->grad,
                                             .ldc = rank,
                                             .accumulate = true});
    ft_gemm(pass->exec, &(struct ft_product){.m = pass->rows, /* du = d B * scale */
                                             .n = rank,
                                             .k = C,
                                             .a = {d, FT_F32, C, 1},
                                             .b = {adapter->b->value, FT_F32, rank, 1},
                                             .c = du,
                                             .ldc = rank,
                                             .scale = scale_of(pass)});
    size_t vocab = adapter->a->cols;
    for (size_t t = 0; t < pass->rows; t++)
        for (size_t r = 0; r < rank; r++) adapter->a->grad[r * vocab + pass->ids[t]] += du[t * rank + r];
}
