/* SPDX-License-Identifier: MIT
 * Where every buffer of a pass lies, and how large it is. */
#include "dora.h"
#include "pass.h"

#include <assert.h>

void *ft_layout_take(struct ft_layout *layout, size_t count, size_t size) {
    if (!ft_size_add(layout->bytes, ft_arena_cost(count, size), &layout->bytes)) layout->bytes = SIZE_MAX;
    if (!layout->arena) return NULL;
    void *memory = ft_arena_take(layout->arena, count, size);
    assert(memory);
    return memory;
}

float *ft_layout_floats(struct ft_layout *layout, size_t rows, size_t cols) {
    size_t count;
    if (!ft_size_mul(rows, cols, &count)) count = SIZE_MAX;
    return ft_layout_take(layout, count, sizeof(float));
}

void ft_layout_go(struct ft_layout *layout, size_t mark) {
    if (layout->bytes == SIZE_MAX) return;
    if (layout->arena) layout->arena->used = layout->arena->used - layout->bytes + mark;
    layout->bytes = mark;
}

static size_t rank_of(struct ft_slice slice) {
    return slice.module && slice.module->lora_a ? slice.module->rank : 0;
}

static struct ft_slice projected(const struct ft_layer *layer, enum ft_projection u) {
    const struct ft_slice slices[FT_U_COUNT] = {
        [FT_U_Q] = layer->q,       [FT_U_K] = layer->k,   [FT_U_V] = layer->v,       [FT_U_O] = layer->o,
        [FT_U_GATE] = layer->gate, [FT_U_UP] = layer->up, [FT_U_DOWN] = layer->down,
    };
    return u <= FT_U_V && layer->qkv.module ? layer->qkv : slices[u];
}

/* u of layer l's adapted modules, or of those that are adapted in any layer. q, k and v of one fused module share one; so
 * do gate and up. */
static void lay_projections(struct ft_layout *layout, const struct ft_model *model, size_t l, size_t T, size_t R,
                            float **u) {
    const struct ft_layer *first = &model->layers[0];
    bool fused = first->q.module == first->k.module, fused_mlp = first->gate.module == first->up.module;
    for (enum ft_projection p = 0; p < FT_U_COUNT; p++) {
        if ((fused && (p == FT_U_K || p == FT_U_V)) || (fused_mlp && p == FT_U_UP)) continue;
        size_t rank = 0, rows = p == FT_U_K || p == FT_U_V || (fused && p == FT_U_Q) ? T : R;
        for (size_t i = 0; i < model->config.layers; i++) {
            size_t here = rank_of(projected(&model->layers[i], p));
            if ((l == i || l == FT_ANY_LAYER) && here > rank) rank = here;
        }
        u[p] = rank ? ft_layout_floats(layout, rows, rank) : NULL;
    }
    if (fused) u[FT_U_K] = u[FT_U_V] = u[FT_U_Q];
    if (fused_mlp) u[FT_U_UP] = u[FT_U_GATE];
}

/* Numbers that a norm over `width` of each of R rows keeps; 0 without such a norm. */
static size_t norm_rows(const struct ft_norm_weights *norm, size_t R, size_t width) {
    return norm->weight ? R * (width / norm->weight->cols) : 0;
}

/* Of the norms that some families have: their inputs and 1 / root mean square. */
static void lay_norms(struct ft_layout *layout, const struct ft_layer *layer, size_t T, size_t R, size_t q,
                      size_t kv, size_t hidden, struct ft_activations *a) {
    a->q_rstd = ft_layout_floats(layout, norm_rows(&layer->q_norm, R, q), 1);
    a->k_rstd = ft_layout_floats(layout, norm_rows(&layer->k_norm, T, kv), 1);
    a->q_in = layer->q_norm.weight ? ft_layout_floats(layout, R, q) : NULL;
    a->k_in = layer->k_norm.weight ? ft_layout_floats(layout, T, kv) : NULL;
    a->o_rstd = ft_layout_floats(layout, norm_rows(&layer->post_attention_norm, R, hidden), 1);
    a->down_rstd = ft_layout_floats(layout, norm_rows(&layer->post_mlp_norm, R, hidden), 1);
    a->o = layer->post_attention_norm.weight ? ft_layout_floats(layout, R, hidden) : NULL;
    a->down = layer->post_mlp_norm.weight ? ft_layout_floats(layout, R, hidden) : NULL;
}

void ft_pass_lay_activations(struct ft_layout *layout, const struct ft_model *model, size_t l, size_t T,
                             size_t P, bool backward, struct ft_activations *a) {
    const struct ft_config *config = &model->config;
    size_t R = l + 1 == config->layers ? P : T, q = config->heads * config->head_dim,
           kv = config->kv_heads * config->head_dim;
    bool mean = config->norm == FT_LAYERNORM;
    a->mean1 = mean ? ft_layout_floats(layout, T, 1) : NULL;
    a->rstd1 = ft_layout_floats(layout, T, 1);
    a->q = ft_layout_floats(layout, R, q);
    a->k = ft_layout_floats(layout, T, kv);
    a->v = ft_layout_floats(layout, T, kv);
    a->attended = ft_layout_floats(layout, R, q);
    a->row_max = backward ? ft_layout_floats(layout, R, config->heads) : NULL;
    a->row_sum = backward ? ft_layout_floats(layout, R, config->heads) : NULL;
    a->x_mid = ft_layout_floats(layout, R, config->hidden);
    a->mean2 = mean ? ft_layout_floats(layout, R, 1) : NULL;
    a->rstd2 = ft_layout_floats(layout, R, 1);
    a->gate = config->gated ? ft_layout_floats(layout, R, config->ffn) : NULL;
    a->up = ft_layout_floats(layout, R, config->ffn);
    lay_norms(layout, &model->layers[l == FT_ANY_LAYER ? 0 : l], T, R, q, kv, config->hidden, a);
    lay_projections(layout, model, l, T, R, a->u);
}

static size_t highest_rank(const struct ft_model *model) {
    size_t rank = model->embedding_adapter.rank;
    for (size_t i = 0; i < model->module_count; i++)
        if (model->modules[i].lora_a && model->modules[i].rank > rank) rank = model->modules[i].rank;
    return rank;
}

/* Outputs of the widest module with magnitudes; the head has a buffer of its own. */
static size_t widest_magnitude(const struct ft_model *model) {
    size_t widest = 0;
    for (size_t i = 0; i < model->module_count; i++) {
        const struct ft_module *module = &model->modules[i];
        if (module->magnitude && module != model->head.module && module->out > widest) widest = module->out;
    }
    return widest;
}

size_t ft_pass_lay_workspace(struct ft_layout *layout, struct ft_exec *exec, const struct ft_model *model,
                             size_t T, size_t P, size_t longest, size_t key_rows, bool backward,
                             struct ft_workspace *w) {
    const struct ft_config *config = &model->config;
    size_t C = config->hidden, q = config->heads * config->head_dim, kv = config->kv_heads * config->head_dim;
    size_t rank = highest_rank(model), R = config->layers == 1 ? P : T;
    struct ft_pass pass = {.exec = exec, .model = model};
    struct ft_attention attention = ft_pass_attention(&pass, 0, false);
    w->n = ft_layout_floats(layout, T, C);
    w->n_select = ft_layout_floats(layout, P, C);
    w->x_select = ft_layout_floats(layout, P, C);
    w->u_select = ft_layout_floats(layout, P, rank);
    w->u_embed = ft_layout_floats(layout, T, model->embedding_adapter.rank);
    w->dora = ft_layout_floats(layout, ft_dora_scratch(model), 1);
    bool branch = ft_pass_has_branch(model);
    w->branch = branch ? ft_layout_floats(layout, R, C) : NULL;
    w->qkv = config->qkv_by_head ? ft_layout_floats(layout, T, q + 2 * kv) : NULL;
    w->attention = ft_layout_take(layout, ft_attention_scratch(exec, &attention, longest), 1);
    w->key_rows = key_rows;
    w->keys = ft_layout_floats(layout, key_rows, kv);
    w->values = ft_layout_floats(layout, key_rows, kv);
    size_t passing = layout->bytes;
    w->h = ft_layout_floats(layout, R, config->ffn);
    if (!backward) return passing;
    w->d_keys = ft_layout_floats(layout, key_rows, kv);
    w->d_values = ft_layout_floats(layout, key_rows, kv);
    w->d = ft_layout_floats(layout, T, C);
    w->d_select = ft_layout_floats(layout, P, C);
    w->dn = ft_layout_floats(layout, T, C);
    w->dn_select = ft_layout_floats(layout, P, C);
    w->d_branch = branch ? ft_layout_floats(layout, R, C) : NULL;
    w->d_parallel = config->parallel ? ft_layout_floats(layout, R, C) : NULL;
    w->d_attended = ft_layout_floats(layout, R, q);
    w->dq = ft_layout_floats(layout, R, q);
    w->dk = ft_layout_floats(layout, T, kv);
    w->dv = ft_layout_floats(layout, T, kv);
    w->dh = ft_layout_floats(layout, R, config->ffn);
    w->du = ft_layout_floats(layout, T, rank);
    w->du_select = ft_layout_floats(layout, P, rank);
    w->z = ft_layout_floats(layout, T, widest_magnitude(model));
    return passing;
}
