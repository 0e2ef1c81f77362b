/* SPDX-License-Identifier: MIT
 * The transformer, backward: each function undoes one of forward.c, from its outputs' gradients to its
 * inputs'. */
#include "pass.h"

#include "ft/rows.h"
#include "linear.h"

#include <string.h>

void ft_norm_backward(const struct ft_pass *pass, const struct ft_norm_weights *norm, size_t rows,
                      const float *x, const float *mean, const float *rstd, const float *dy,
                      const float *dx_in, float *dx) {
    const struct ft_config *config = &pass->model->config;
    if (config->norm == FT_RMSNORM)
        ft_rmsnorm_backward(pass->exec, rows, config->hidden, x, norm->weight->value, false, rstd, dy, dx_in,
                            dx, norm->weight->grad);
    else
        ft_layernorm_backward(pass->exec, rows, config->hidden, x, norm->weight->value, mean, rstd, dy, dx_in,
                              dx, norm->weight->grad, norm->bias->grad);
}

/* y = x W^T + u B^T + b, all of it: gradients of what is trained, and, unless dx is NULL, dx = (more ? dx :
 * 0) + dy W + du A. */
static void backward_linear(const struct ft_pass *pass, struct ft_slice slice, size_t rows, const float *x,
                            const float *u, const float *dy, bool more, float *dx) {
    const struct ft_module *module = slice.module;
    float *du = pass->work.du;
    if (dx) ft_linear_backward_input(pass->exec, slice, rows, dy, more, dx);
    ft_linear_backward_weights(pass->exec, slice, rows, x, u, dy);
    if (!ft_module_adapted(module) || (!dx && !module->lora_a->trained)) return;
    ft_module_backward_project(pass->exec, slice, rows, dy, false, true, du);
    ft_module_backward_a(pass->exec, module, rows, x, du);
    if (dx) ft_module_backward_input(pass->exec, module, rows, du, dx);
}

/* y = x_mid + down(h), h = act(gate) * up. Leaves the gradients of gate and up in their places. */
static void backward_down(const struct ft_pass *pass, size_t l, bool deeper, size_t R,
                          struct ft_activations *a, const float *d) {
    const struct ft_config *config = &pass->model->config;
    const struct ft_workspace *w = &pass->work;
    struct ft_slice down = pass->layers[l].down;
    enum ft_activation act = config->activation;
    size_t F = config->ffn, n = R * F;
    /* h is computed again, before the gradients take the place of what it is made of */
    if (config->gated) ft_gated_forward(pass->exec, act, R, F, a->gate, a->up, F, w->h);
    else ft_activation_forward(pass->exec, act, n, a->up, w->h);
    backward_linear(pass, down, R, w->h, a->u[FT_U_DOWN], d, false, deeper ? w->dh : NULL);
    if (!deeper) return;
    if (config->gated)
        ft_gated_backward(pass->exec, act, R, F, a->gate, a->up, F, w->dh, a->gate, a->up, NULL);
    else ft_activation_backward(pass->exec, act, n, a->up, w->dh, a->up);
}

/* gate and up from n = norm(x_mid). */
static void backward_gate_up(const struct ft_pass *pass, size_t l, bool deeper, size_t R,
                             const struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const struct ft_workspace *w = &pass->work;
    float *dn = deeper ? w->dn : NULL;
    ft_norm_forward(pass, &layer->mlp_norm, R, a->x_mid, w->n, a->mean2, a->rstd2);
    if (layer->gate.module) backward_linear(pass, layer->gate, R, w->n, a->u[FT_U_GATE], a->gate, false, dn);
    backward_linear(pass, layer->up, R, w->n, a->u[FT_U_UP], a->up, layer->gate.module != NULL, dn);
}

static void backward_attend(const struct ft_pass *pass, size_t l, struct ft_activations *a) {
    const struct ft_config *config = &pass->model->config;
    const struct ft_workspace *w = &pass->work;
    bool select = ft_pass_selects(pass, l);
    ft_pass_attend_backward(pass, l, a);
    ft_pass_rotate(pass, l, select ? pass->selected : pass->rows, config->heads,
                   select ? pass->select_position : pass->position, true, w->dq);
    ft_pass_rotate(pass, l, pass->rows, config->kv_heads, pass->position, true, w->dk);
}

/* x [T, C] = x_select on the selected rows, +0 elsewhere. */
static void spread(const struct ft_pass *pass, size_t columns, const float *x_select, float *x) {
    memset(x, 0, pass->rows * columns * sizeof *x);
    ft_scatter_rows(pass->exec, pass->selected, columns, pass->select, x_select, x);
}

/* The adapter of a fused module: du is one chain over the outputs of q (where it has rows), k and v. */
static void backward_fused_adapter(const struct ft_pass *pass, const struct ft_layer *layer, bool select,
                                   float *dn) {
    const struct ft_workspace *w = &pass->work;
    const struct ft_module *module = layer->q.module;
    size_t T = pass->rows, R = select ? pass->selected : T;
    if (!ft_module_adapted(module) || (!dn && !module->lora_a->trained)) return;
    ft_module_backward_project(pass->exec, layer->q, R, w->dq, false, false, select ? w->du_select : w->du);
    if (select) spread(pass, module->rank, w->du_select, w->du);
    ft_module_backward_project(pass->exec, layer->k, T, w->dk, true, false, w->du);
    ft_module_backward_project(pass->exec, layer->v, T, w->dv, true, true, w->du);
    ft_module_backward_a(pass->exec, module, T, w->n, w->du);
    if (dn) ft_module_backward_input(pass->exec, module, T, w->du, dn);
}

/* One of q, k, v of a fused module, without its adapter's du. */
static void backward_fused(const struct ft_pass *pass, struct ft_slice slice, size_t rows, const float *n,
                           const float *u, const float *dy, bool more, float *dn) {
    if (dn) ft_linear_backward_input(pass->exec, slice, rows, dy, more, dn);
    ft_linear_backward_weights(pass->exec, slice, rows, n, u, dy);
}

/* q, k and v from n = norm(x); dn is one chain through q, k and v, in that order. */
static void backward_project_attention(const struct ft_pass *pass, size_t l, bool deeper,
                                       const struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const struct ft_workspace *w = &pass->work;
    bool select = ft_pass_selects(pass, l), fused = layer->q.module == layer->k.module;
    size_t C = pass->model->config.hidden, T = pass->rows, R = select ? pass->selected : T;
    void (*backward)(const struct ft_pass *, struct ft_slice, size_t, const float *, const float *,
                     const float *, bool, float *) = fused ? backward_fused : backward_linear;
    const float *n_q = w->n, *u_q = a->u[FT_U_Q];
    float *dn = deeper ? w->dn : NULL, *dn_q = dn;
    ft_norm_forward(pass, &layer->attention_norm, T, a->x, w->n, a->mean1, a->rstd1);
    if (select) {
        ft_gather_rows(pass->exec, R, C, pass->select, w->n, w->n_select);
        n_q = w->n_select;
        if (fused) u_q = w->u_select; /* still there from the forward pass: no other layer selects */
        if (deeper) dn_q = w->dn_select;
    }
    backward(pass, layer->q, R, n_q, u_q, w->dq, false, dn_q);
    if (select && deeper) spread(pass, C, w->dn_select, w->dn);
    backward(pass, layer->k, T, w->n, a->u[FT_U_K], w->dk, true, dn);
    backward(pass, layer->v, T, w->n, a->u[FT_U_V], w->dv, true, dn);
    if (fused) backward_fused_adapter(pass, layer, select, dn);
}

void ft_pass_layer_backward(const struct ft_pass *pass, size_t l, size_t lowest, struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const struct ft_workspace *w = &pass->work;
    bool select = ft_pass_selects(pass, l);
    size_t R = select ? pass->selected : pass->rows;
    float *d = select ? w->d_select : w->d;
    bool deeper[FT_POINTS]; /* is the gradient of this point's input wanted? */
    for (size_t p = 0; p < FT_POINTS; p++) deeper[p] = lowest < ft_model_point(l, (enum ft_point)p);

    backward_down(pass, l, deeper[FT_POINT_DOWN], R, a, d);
    if (!deeper[FT_POINT_DOWN]) return;
    backward_gate_up(pass, l, deeper[FT_POINT_GATE_UP], R, a);
    if (!deeper[FT_POINT_GATE_UP]) return;
    ft_norm_backward(pass, &layer->mlp_norm, R, a->x_mid, a->mean2, a->rstd2, w->dn, d, d);
    if (!deeper[FT_POINT_NORM2]) return;
    /* x_mid = x + o(attended) */
    backward_linear(pass, layer->o, R, a->attended, a->u[FT_U_O], d, false,
                    deeper[FT_POINT_O] ? w->d_attended : NULL);
    if (!deeper[FT_POINT_O]) return;
    backward_attend(pass, l, a);
    backward_project_attention(pass, l, deeper[FT_POINT_QKV], a);
    if (!deeper[FT_POINT_QKV]) return;
    if (select) spread(pass, pass->model->config.hidden, w->d_select, w->d);
    ft_norm_backward(pass, &layer->attention_norm, pass->rows, a->x, a->mean1, a->rstd1, w->dn, w->d, w->d);
}
