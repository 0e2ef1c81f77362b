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
    size_t width = norm->weight ? norm->weight->cols : config->hidden;
    if (!norm->weight) { /* y = x */
        if (dx_in != dx) memcpy(dx, dx_in ? dx_in : dy, rows * width * sizeof *dx);
        if (dx_in) ft_add(pass->exec, rows * width, dy, dx);
    } else if (config->norm == FT_RMSNORM)
        ft_rmsnorm_backward(pass->exec, rows, width, x, norm->weight->value, config->norm_plus_one, rstd, dy,
                            dx_in, dx, norm->weight->grad);
    else
        ft_layernorm_backward(pass->exec, rows, width, x, norm->weight->value, mean, rstd, dy, dx_in, dx,
                              norm->weight->grad, norm->bias->grad);
}

/* y = x W^T + u B^T + b, all of it: gradients of what is trained, and, unless dx is NULL, dx = (more ? dx :
 * 0) + dy W + du A. */
static void backward_linear(const struct ft_pass *pass, struct ft_slice slice, size_t rows, const float *x,
                            const float *u, const float *dy, bool more, float *dx) {
    const struct ft_module *module = slice.module;
    float *du = pass->work.du, *z = pass->work.z;
    if (module->magnitude) {
        ft_linear_backward_magnitude(pass->exec, slice, rows, x, u, dy, z, z);
        dy = z;
    }
    bool adapted = ft_module_adapted(module) && (dx || module->lora_a->trained);
    if (adapted) ft_module_backward_project(pass->exec, slice, rows, dy, false, true, du);
    if (dx) ft_linear_backward_input(pass->exec, slice, rows, dy, adapted ? du : NULL, more, dx);
    ft_linear_backward_weights(pass->exec, slice, rows, x, u, dy);
    if (adapted) ft_module_backward_a(pass->exec, module, rows, x, du);
}

/* y = x + (out through the norm, times the scale): the gradient of `out`, d itself where there is neither. */
static const float *backward_branch(const struct ft_pass *pass, const struct ft_norm_weights *post, size_t R,
                                    const float *out, const float *rstd, const float *d) {
    const struct ft_config *config = &pass->model->config;
    float *d_branch = pass->work.d_branch;
    size_t n = R * config->hidden;
    if (!d_branch) return d;
    memcpy(d_branch, d, n * sizeof *d);
    if (config->residual_scale != 1) ft_scale(pass->exec, n, config->residual_scale, d_branch);
    if (post->weight) ft_norm_backward(pass, post, R, out, NULL, rstd, d_branch, NULL, d_branch);
    return d_branch;
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

/* A slice of a fused module: dy becomes the gradient of the outputs before their gain. */
static void backward_gain(const struct ft_pass *pass, struct ft_slice slice, size_t rows, const float *n,
                          const float *u, float *dy) {
    if (slice.module->magnitude)
        ft_linear_backward_magnitude(pass->exec, slice, rows, n, u, dy, pass->work.z, dy);
}

/* A slice of a fused module, without its adapter's du. */
static void backward_fused(const struct ft_pass *pass, struct ft_slice slice, size_t rows, const float *n,
                           const float *u, const float *dy, bool more, float *dn) {
    if (dn) ft_linear_backward_input(pass->exec, slice, rows, dy, NULL, more, dn);
    ft_linear_backward_weights(pass->exec, slice, rows, n, u, dy);
}

/* gate and up as one module: dn and du are each one chain over the outputs of gate, then of up. */
static void backward_fused_gate_up(const struct ft_pass *pass, const struct ft_layer *layer, size_t R,
                                   const struct ft_activations *a, float *dn) {
    const struct ft_workspace *w = &pass->work;
    const struct ft_module *module = layer->gate.module;
    backward_gain(pass, layer->gate, R, w->n, a->u[FT_U_GATE], a->gate);
    backward_gain(pass, layer->up, R, w->n, a->u[FT_U_GATE], a->up);
    backward_fused(pass, layer->gate, R, w->n, a->u[FT_U_GATE], a->gate, false, dn);
    backward_fused(pass, layer->up, R, w->n, a->u[FT_U_GATE], a->up, true, dn);
    if (!ft_module_adapted(module) || (!dn && !module->lora_a->trained)) return;
    ft_module_backward_project(pass->exec, layer->gate, R, a->gate, false, false, w->du);
    ft_module_backward_project(pass->exec, layer->up, R, a->up, true, true, w->du);
    ft_module_backward_a(pass->exec, module, R, w->n, w->du);
    if (dn) ft_module_backward_input(pass->exec, module, R, w->du, dn);
}

/* gate and up from n = norm(x), x the feed-forward's input. */
static void backward_gate_up(const struct ft_pass *pass, size_t l, bool deeper, size_t R, const float *x,
                             const struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const struct ft_workspace *w = &pass->work;
    float *dn = deeper ? w->dn : NULL;
    ft_norm_forward(pass, &layer->mlp_norm, R, x, w->n, a->mean2, a->rstd2);
    if (layer->gate.module == layer->up.module) {
        backward_fused_gate_up(pass, layer, R, a, dn);
        return;
    }
    if (layer->gate.module) backward_linear(pass, layer->gate, R, w->n, a->u[FT_U_GATE], a->gate, false, dn);
    backward_linear(pass, layer->up, R, w->n, a->u[FT_U_UP], a->up, layer->gate.module != NULL, dn);
}

/* dq and dk, or dq and dk of what went into the norm. */
static void backward_norm_heads(const struct ft_pass *pass, const struct ft_norm_weights *norm, size_t rows,
                                size_t width, const float *in, const float *rstd, float *d) {
    if (norm->weight)
        ft_norm_backward(pass, norm, rows * (width / norm->weight->cols), in, NULL, rstd, d, NULL, d);
}

static void backward_attend(const struct ft_pass *pass, size_t l, struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const struct ft_config *config = &pass->model->config;
    const struct ft_workspace *w = &pass->work;
    bool select = ft_pass_selects(pass, l);
    ft_pass_attend_backward(pass, l, a);
    ft_pass_rotate(pass, l, select ? pass->selected : pass->rows, config->heads,
                   select ? pass->select_position : pass->position, true, w->dq);
    ft_pass_rotate(pass, l, pass->rows, config->kv_heads, pass->position, true, w->dk);
    backward_norm_heads(pass, &layer->q_norm, select ? pass->selected : pass->rows,
                        config->heads * config->head_dim, a->q_in, a->q_rstd, w->dq);
    backward_norm_heads(pass, &layer->k_norm, pass->rows, config->kv_heads * config->head_dim, a->k_in,
                        a->k_rstd, w->dk);
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

/* Outputs by head are one map of all rows; what q contributes in rows that do not go on is +0. */
static void backward_by_head(const struct ft_pass *pass, size_t l, const float *u, float *dn) {
    const struct ft_workspace *w = &pass->work;
    struct ft_slice qkv = pass->layers[l].qkv;
    bool select = ft_pass_selects(pass, l);
    size_t T = pass->rows;
    if (select) memset(w->qkv, 0, T * qkv.out * sizeof *w->qkv);
    ft_pass_move_heads(pass, FT_HEADS_BACK, 0, select ? pass->selected : T, select ? pass->select : NULL,
                       w->dq);
    ft_pass_move_heads(pass, FT_HEADS_BACK, 1, T, NULL, w->dk);
    ft_pass_move_heads(pass, FT_HEADS_BACK, 2, T, NULL, w->dv);
    backward_linear(pass, qkv, T, w->n, u, w->qkv, false, dn);
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
    if (layer->qkv.module) {
        backward_by_head(pass, l, a->u[FT_U_K], dn);
        return;
    }
    if (select) {
        ft_gather_rows(pass->exec, R, C, pass->select, w->n, w->n_select);
        n_q = w->n_select;
        if (fused) u_q = w->u_select; /* still there from the forward pass: no other layer selects */
        if (deeper) dn_q = w->dn_select;
    }
    if (fused) {
        backward_gain(pass, layer->q, R, n_q, u_q, w->dq);
        backward_gain(pass, layer->k, T, w->n, a->u[FT_U_K], w->dk);
        backward_gain(pass, layer->v, T, w->n, a->u[FT_U_V], w->dv);
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
    bool select = ft_pass_selects(pass, l), parallel = pass->model->config.parallel;
    size_t R = select ? pass->selected : pass->rows;
    float *d = select ? w->d_select : w->d;
    bool deeper[FT_POINTS]; /* is the gradient of this point's input wanted? */
    for (size_t p = 0; p < FT_POINTS; p++) deeper[p] = lowest < ft_model_point(l, (enum ft_point)p);

    /* y = x_mid + branch(down(h)) */
    const float *d_down = backward_branch(pass, &layer->post_mlp_norm, R, a->down, a->down_rstd, d);
    if (!deeper[FT_POINT_POST_MLP]) return;
    backward_down(pass, l, deeper[FT_POINT_DOWN], R, a, d_down);
    if (!deeper[FT_POINT_DOWN]) return;
    const float *mlp_x = parallel ? ft_pass_selected(pass, l, a->x) : a->x_mid;
    backward_gate_up(pass, l, deeper[FT_POINT_GATE_UP], R, mlp_x, a);
    if (!deeper[FT_POINT_GATE_UP]) return;
    ft_norm_backward(pass, &layer->mlp_norm, R, mlp_x, a->mean2, a->rstd2, w->dn, parallel ? NULL : d,
                     parallel ? w->d_parallel : d);
    if (!deeper[FT_POINT_NORM2]) return;
    /* x_mid = x + branch(o(attended)) */
    const float *d_o = backward_branch(pass, &layer->post_attention_norm, R, a->o, a->o_rstd, d);
    if (!deeper[FT_POINT_POST_ATTENTION]) return;
    backward_linear(pass, layer->o, R, a->attended, a->u[FT_U_O], d_o, false,
                    deeper[FT_POINT_O] ? w->d_attended : NULL);
    if (!deeper[FT_POINT_O]) return;
    backward_attend(pass, l, a);
    if (!deeper[FT_POINT_QK_NORM]) return;
    backward_project_attention(pass, l, deeper[FT_POINT_QKV], a);
    if (!deeper[FT_POINT_QKV]) return;
    if (parallel) ft_add(pass->exec, R * pass->model->config.hidden, w->d_parallel, d);
    if (select) spread(pass, pass->model->config.hidden, w->d_select, w->d);
    ft_norm_backward(pass, &layer->attention_norm, pass->rows, a->x, a->mean1, a->rstd1, w->dn, w->d, w->d);
}
