/* SPDX-License-Identifier: MIT
 * The transformer, forward. */
#include "pass.h"

#include "ft/rows.h"
#include "linear.h"

#include <string.h>

bool ft_pass_selects(const struct ft_pass *pass, size_t l) {
    return l + 1 == pass->model->config.layers && pass->selected < pass->rows;
}

void ft_norm_forward(const struct ft_pass *pass, const struct ft_norm_weights *norm, size_t rows,
                     const float *x, float *y, float *mean, float *rstd) {
    const struct ft_config *config = &pass->model->config;
    if (!norm->weight) memcpy(y, x, rows * config->hidden * sizeof *y);
    else if (config->norm == FT_RMSNORM)
        ft_rmsnorm_forward(pass->exec, rows, norm->weight->cols, x, norm->weight->value,
                           config->norm_plus_one, config->norm_eps, y, rstd);
    else
        ft_layernorm_forward(pass->exec, rows, norm->weight->cols, x, norm->weight->value, norm->bias->value,
                             config->norm_eps, y, mean, rstd);
}

/* Projects into u (the module's own buffer) when the module is adapted. */
static const float *project(const struct ft_pass *pass, struct ft_slice slice, size_t rows, const float *x,
                            float *u) {
    if (ft_module_adapted(slice.module)) ft_module_project(pass->exec, slice.module, rows, x, u);
    return u;
}

void ft_pass_rotate(const struct ft_pass *pass, size_t l, size_t rows, size_t heads, const uint32_t *position,
                    bool inverse, float *x) {
    const struct ft_config *config = &pass->model->config;
    size_t D = config->head_dim, which = config->kind[l].rope;
    if (which >= config->rope_count) return;
    ft_rope(pass->exec, rows, heads, D, config->rope[which].dimensions, x, heads * D, position,
            pass->rotary[which].cosine, pass->rotary[which].sine, inverse);
}

/* --- outputs by head ---------------------------------------------------------------------------------- */

enum { MOVE_ROWS = 64 }; /* of a task */

struct move {
    const struct ft_pass *pass;
    enum ft_heads_move move;
    size_t which, rows;
    const uint32_t *row;
    float *part;
};

static void move_rows(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct move *m = arg;
    const struct ft_config *config = &m->pass->model->config;
    size_t H = config->heads, D = config->head_dim, end = (index + 1) * MOVE_ROWS;
    for (size_t i = index * MOVE_ROWS; i < end && i < m->rows; i++) {
        float *fused = m->pass->work.qkv + ((m->row ? m->row[i] : i) * H * 3 + m->which) * D,
              *part = m->part + i * H * D;
        for (size_t h = 0; h < H; h++, fused += 3 * D, part += D)
            if (m->move == FT_HEADS_OUT) memcpy(part, fused, D * sizeof *part);
            else memcpy(fused, part, D * sizeof *part);
    }
}

void ft_pass_move_heads(const struct ft_pass *pass, enum ft_heads_move move, size_t which, size_t rows,
                        const uint32_t *row, float *part) {
    struct move m = {pass, move, which, rows, row, part};
    ft_pool_run(ft_exec_pool(pass->exec), (rows + MOVE_ROWS - 1) / MOVE_ROWS, move_rows, &m);
}

/* All rows of q come out of the one product; those that go on are kept. */
static void project_by_head(const struct ft_pass *pass, size_t l, float *q, float *k, float *v, float *u) {
    struct ft_slice qkv = pass->layers[l].qkv;
    bool select = ft_pass_selects(pass, l);
    size_t T = pass->rows;
    ft_linear_forward(pass->exec, qkv, T, pass->work.n, project(pass, qkv, T, pass->work.n, u), NULL,
                      pass->work.qkv);
    ft_pass_move_heads(pass, FT_HEADS_OUT, 0, select ? pass->selected : T, select ? pass->select : NULL, q);
    ft_pass_move_heads(pass, FT_HEADS_OUT, 1, T, NULL, k);
    ft_pass_move_heads(pass, FT_HEADS_OUT, 2, T, NULL, v);
}

/* --- attention ---------------------------------------------------------------------------------------- */

/* q [R], k and v [T] from the normed rows n [T]. */
static void project_each(const struct ft_pass *pass, size_t l, float *q, float *k, struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const float *n = pass->work.n, *n_q = n;
    bool select = ft_pass_selects(pass, l), fused = layer->q.module == layer->k.module;
    size_t T = pass->rows, R = select ? pass->selected : T;
    if (select) {
        ft_gather_rows(pass->exec, R, pass->model->config.hidden, pass->select, n, pass->work.n_select);
        n_q = pass->work.n_select;
    }
    struct ft_linear map[] = {{layer->k, T, n, a->u[FT_U_K], k}, /* first: its u is q's and v's too where they are fused */
                              {layer->v, T, n, a->u[FT_U_V], a->v},
                              {layer->q, R, n_q, a->u[FT_U_Q], q}};
    ft_linear_project_all(pass->exec, map, 3);
    if (fused && select && ft_module_adapted(layer->q.module)) {
        ft_gather_rows(pass->exec, R, layer->q.module->rank, pass->select, a->u[FT_U_K], pass->work.u_select);
        map[2].u = pass->work.u_select;
    }
    ft_linear_forward_all(pass->exec, map, 3);
}

/* q and k of `rows` rows, `width` numbers each, through their norm if there is one. */
static void norm_heads(const struct ft_pass *pass, const struct ft_norm_weights *norm, size_t rows,
                       size_t width, const float *in, float *out, float *rstd) {
    if (norm->weight) ft_norm_forward(pass, norm, rows * (width / norm->weight->cols), in, out, NULL, rstd);
}

static void project_attention(const struct ft_pass *pass, size_t l, struct ft_activations *a) {
    const struct ft_layer *layer = &pass->layers[l];
    const struct ft_config *config = &pass->model->config;
    bool select = ft_pass_selects(pass, l);
    size_t T = pass->rows, R = select ? pass->selected : T, D = config->head_dim;
    float *q = a->q_in ? a->q_in : a->q, *k = a->k_in ? a->k_in : a->k;
    if (layer->qkv.module) project_by_head(pass, l, q, k, a->v, a->u[FT_U_K]);
    else project_each(pass, l, q, k, a);
    norm_heads(pass, &layer->q_norm, R, config->heads * D, q, a->q, a->q_rstd);
    norm_heads(pass, &layer->k_norm, T, config->kv_heads * D, k, a->k, a->k_rstd);
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

/* --- a layer ------------------------------------------------------------------------------------------ */

bool ft_pass_has_branch(const struct ft_model *model) {
    return model->config.residual_scale != 1 || model->layers[0].post_attention_norm.weight ||
           model->layers[0].post_mlp_norm.weight;
}

const float *ft_pass_selected(const struct ft_pass *pass, size_t l, const float *x) {
    if (!ft_pass_selects(pass, l)) return x;
    ft_gather_rows(pass->exec, pass->selected, pass->model->config.hidden, pass->select, x,
                   pass->work.x_select);
    return pass->work.x_select;
}

/* y = x + (h W^T through the norm and times the scale that some families have there). `out` keeps h W^T for
 * that norm's backward pass; with y NULL nothing else is wanted. */
static void add_branch(const struct ft_pass *pass, struct ft_slice slice, const struct ft_norm_weights *post,
                       size_t R, const float *h, const float *u, float *out, float *rstd, const float *x,
                       float *y) {
    size_t n = R * pass->model->config.hidden;
    float *branch = pass->work.branch;
    if (!branch) {
        ft_linear_forward(pass->exec, slice, R, h, u, x, y);
        return;
    }
    ft_linear_forward(pass->exec, slice, R, h, u, NULL, post->weight ? out : branch);
    if (post->weight) ft_norm_forward(pass, post, R, out, branch, NULL, rstd);
    if (!y) return;
    if (pass->model->config.residual_scale != 1)
        ft_scale(pass->exec, n, pass->model->config.residual_scale, branch);
    memcpy(y, x, n * sizeof *y);
    ft_add(pass->exec, n, branch, y);
}

static void feed_forward(const struct ft_pass *pass, size_t l, size_t R, struct ft_activations *a, float *y) {
    const struct ft_layer *layer = &pass->layers[l];
    const float *n = pass->work.n;
    struct ft_linear map[] = {{layer->up, R, n, a->u[FT_U_UP], a->up}, {layer->gate, R, n, a->u[FT_U_GATE], a->gate}};
    size_t maps = layer->gate.module ? 2 : 1;
    ft_linear_project_all(pass->exec, map, maps);
    ft_linear_forward_all(pass->exec, map, maps);
    bool needs_down = y || layer->post_mlp_norm.weight;
    if (!needs_down && !ft_module_adapted(layer->down.module)) return;
    activate(pass, R, a);
    const float *u = project(pass, layer->down, R, pass->work.h, a->u[FT_U_DOWN]);
    if (needs_down)
        add_branch(pass, layer->down, &layer->post_mlp_norm, R, pass->work.h, u, a->down, a->down_rstd, a->x_mid,
                   y);
}

void ft_pass_layer_forward(const struct ft_pass *pass, size_t l, struct ft_activations *a, float *y) {
    const struct ft_layer *layer = &pass->layers[l];
    size_t R = ft_pass_selects(pass, l) ? pass->selected : pass->rows;
    ft_norm_forward(pass, &layer->attention_norm, pass->rows, a->x, pass->work.n, a->mean1, a->rstd1);
    project_attention(pass, l, a);
    ft_pass_attend(pass, l, a);
    const float *x = ft_pass_selected(pass, l, a->x),
                *u = project(pass, layer->o, R, a->attended, a->u[FT_U_O]);
    add_branch(pass, layer->o, &layer->post_attention_norm, R, a->attended, u, a->o, a->o_rstd, x, a->x_mid);
    ft_norm_forward(pass, &layer->mlp_norm, R, pass->model->config.parallel ? x : a->x_mid, pass->work.n,
                    a->mean2, a->rstd2);
    feed_forward(pass, l, R, a, y);
}

void ft_pass_finish_logits(const struct ft_pass *pass, size_t rows, float *logits) {
    const struct ft_config *config = &pass->model->config;
    size_t n = rows * config->vocab;
    if (config->logit_scale != 1) ft_scale(pass->exec, n, config->logit_scale, logits);
    if (config->logit_softcap != 0) ft_softcap_forward(pass->exec, n, config->logit_softcap, logits);
}
