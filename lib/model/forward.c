/* SPDX-License-Identifier: MIT
 * The transformer, forward. */
#include "pass.h"

#include "ft/rows.h"
#include "linear.h"

bool ft_pass_selects(const struct ft_pass *pass, size_t l) {
    return l + 1 == pass->model->config.layers && pass->selected < pass->rows;
}

void ft_pass_embed(const struct ft_pass *pass, float *x) {
    const struct ft_model *model = pass->model;
    struct ft_operand table = ft_parameter_operand(model->embedding), position = {0};
    if (model->position) position = ft_parameter_operand(model->position);
    ft_embed(pass->exec, pass->rows, model->config.hidden, pass->ids, table.data, table.dtype, 1,
             pass->position, position.data, position.dtype, x);
}

void ft_norm_forward(const struct ft_pass *pass, const struct ft_norm_weights *norm, size_t rows,
                     const float *x, float *y, float *mean, float *rstd) {
    const struct ft_config *config = &pass->model->config;
    if (config->norm == FT_RMSNORM)
        ft_rmsnorm_forward(pass->exec, rows, config->hidden, x, norm->weight->value, false, config->norm_eps,
                           y, rstd);
    else
        ft_layernorm_forward(pass->exec, rows, config->hidden, x, norm->weight->value, norm->bias->value,
                             config->norm_eps, y, mean, rstd);
}

/* Projects into u (the module's own buffer) when the module is adapted. */
static const float *project(const struct ft_pass *pass, struct ft_slice slice, size_t rows, const float *x,
                            float *u) {
    if (ft_module_adapted(slice.module)) ft_module_project(pass->exec, slice.module, rows, x, u);
    return u;
}

/* u of q for the R rows. A fused module's u exists for all T rows already, because k and v need them. */
static const float *project_q(const struct ft_pass *pass, const struct ft_layer *layer, bool select, size_t R,
                              const float *n, struct ft_activations *a) {
    if (layer->q.module != layer->k.module) return project(pass, layer->q, R, n, a->u[FT_U_Q]);
    if (!select || !ft_module_adapted(layer->q.module)) return a->u[FT_U_K];
    ft_gather_rows(pass->exec, R, layer->q.module->rank, pass->select, a->u[FT_U_K], pass->work.u_select);
    return pass->work.u_select;
}

void ft_pass_rotate(const struct ft_pass *pass, size_t l, size_t rows, size_t heads, const uint32_t *position,
                    bool inverse, float *x) {
    const struct ft_config *config = &pass->model->config;
    size_t D = config->head_dim, which = config->kind[l].rope;
    if (which >= config->rope_count) return;
    ft_rope(pass->exec, rows, heads, D, config->rope[which].dimensions, x, heads * D, position,
            pass->rotary[which].cosine, pass->rotary[which].sine, inverse);
}

/* q [R], k and v [T] from the normed rows n [T]. */
static void project_attention(const struct ft_pass *pass, size_t l, struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const struct ft_config *config = &pass->model->config;
    const float *n = pass->work.n, *n_q = n;
    bool select = ft_pass_selects(pass, l);
    size_t T = pass->rows, R = select ? pass->selected : T;
    if (select) {
        ft_gather_rows(pass->exec, R, config->hidden, pass->select, n, pass->work.n_select);
        n_q = pass->work.n_select;
    }
    const float *u_k = project(pass, layer->k, T, n, a->u[FT_U_K]), *u_v = u_k;
    if (layer->v.module != layer->k.module) u_v = project(pass, layer->v, T, n, a->u[FT_U_V]);
    const float *u_q = project_q(pass, layer, select, R, n_q, a);
    ft_linear_forward(pass->exec, layer->q, R, n_q, u_q, NULL, a->q);
    ft_linear_forward(pass->exec, layer->k, T, n, u_k, NULL, a->k);
    ft_linear_forward(pass->exec, layer->v, T, n, u_v, NULL, a->v);
    ft_pass_rotate(pass, l, R, config->heads, select ? pass->select_position : pass->position, false, a->q);
    ft_pass_rotate(pass, l, T, config->kv_heads, pass->position, false, a->k);
}

/* h [R, F] from gate and up, which stay. */
static void activate(const struct ft_pass *pass, size_t R, const struct ft_activations *a) {
    const struct ft_config *config = &pass->model->config;
    if (config->gated)
        ft_gated_forward(pass->exec, config->activation, R, config->ffn, a->gate, a->up, config->ffn,
                         pass->work.h);
    else ft_activation_forward(pass->exec, config->activation, R * config->ffn, a->up, pass->work.h);
}

static void feed_forward(const struct ft_pass *pass, size_t l, size_t R, struct ft_activations *a, float *y) {
    const struct ft_layer *layer = &pass->layers[l];
    const float *n = pass->work.n;
    if (layer->gate.module)
        ft_linear_forward(pass->exec, layer->gate, R, n, project(pass, layer->gate, R, n, a->u[FT_U_GATE]),
                          NULL, a->gate);
    ft_linear_forward(pass->exec, layer->up, R, n, project(pass, layer->up, R, n, a->u[FT_U_UP]), NULL,
                      a->up);
    activate(pass, R, a);
    const float *u = project(pass, layer->down, R, pass->work.h, a->u[FT_U_DOWN]);
    ft_linear_forward(pass->exec, layer->down, R, pass->work.h, u, a->x_mid, y);
}

void ft_pass_layer_forward(const struct ft_pass *pass, size_t l, struct ft_activations *a, float *y) {
    const struct ft_layer *layer = &pass->layers[l];
    bool select = ft_pass_selects(pass, l);
    size_t R = select ? pass->selected : pass->rows;
    const float *x = a->x; /* the rows of a->x that go on */
    ft_norm_forward(pass, &layer->attention_norm, pass->rows, a->x, pass->work.n, a->mean1, a->rstd1);
    project_attention(pass, l, a);
    ft_pass_attend(pass, l, a);
    if (select) {
        ft_gather_rows(pass->exec, R, pass->model->config.hidden, pass->select, a->x, pass->work.x_select);
        x = pass->work.x_select;
    }
    const float *u = project(pass, layer->o, R, a->attended, a->u[FT_U_O]);
    ft_linear_forward(pass->exec, layer->o, R, a->attended, u, x, a->x_mid);
    ft_norm_forward(pass, &layer->mlp_norm, R, a->x_mid, pass->work.n, a->mean2, a->rstd2);
    feed_forward(pass, l, R, a, y);
}
