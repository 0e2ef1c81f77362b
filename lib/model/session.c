/* SPDX-License-Identifier: MIT
 * Batches through the pass: forward, backward, and the embeddings' gradients. */
#include "session_internal.h"

#include "dora.h"
#include "ft/rows.h"

#include <assert.h>
#include <string.h>

/* --- forward ------------------------------------------------------------------------------------------ */

static void forward_layers(const struct ft_pass *pass, struct ft_activations *layers, float *y) {
    size_t count = pass->model->config.layers;
    ft_pass_embed(pass, layers[0].x);
    for (size_t l = 0; l < count; l++)
        ft_pass_layer_forward(pass, l, &layers[l], l + 1 < count ? layers[l + 1].x : y);
}

static void forward(struct ft_session *session) {
    const struct ft_pass *pass = &session->pass;
    forward_layers(pass, session->layers, session->x_final);
    ft_norm_forward(pass, &session->model->final_norm, pass->selected, session->x_final, session->n_final,
                    session->mean, session->rstd);
}

static void clear_prompt_gradients(const struct ft_session *session) {
    const struct ft_config *config = &session->model->config;
    size_t bytes = session->prefixes.rows * config->kv_heads * config->head_dim * sizeof(float);
    for (size_t l = 0; l < config->layers; l++) {
        if (!ft_session_reaches(session, l)) continue;
        memset(session->prompt_gradient[l].k, 0, bytes);
        memset(session->prompt_gradient[l].v, 0, bytes);
    }
}

/* Finds what the documents share and computes it. Batches are of these documents, in order, from now on. */
static enum ft_status begin(struct ft_session *session, const struct ft_batch *step, struct ft_error *error) {
    if (session->model->trained_count) ft_dora_refresh(session->exec, session->model, session->pass.work.dora);
    enum ft_status status = ft_session_take_prompts(session, step, error);
    if (status || !session->prefixes.rows) return status;
    forward_layers(&session->prompts, session->prompt_layers, session->x_final);
    if (session->limits.train) clear_prompt_gradients(session);
    return FT_OK;
}

enum ft_status ft_session_evaluate(struct ft_session *session, const struct ft_batch *batch, float *loss,
                                   uint32_t *predicted, struct ft_loss_sum *sum, struct ft_error *error) {
    enum ft_status status = begin(session, batch, error);
    if (!status) status = ft_session_take_batch(session, batch, error);
    size_t P = session->pass.selected;
    if (status || P == 0) return status;
    forward(session);
    ft_session_run_head(session, false);
    status = ft_session_sum_losses(session, sum, error);
    if (status) return status;
    if (loss) memcpy(loss, session->loss, P * sizeof *loss);
    if (predicted) memcpy(predicted, session->predicted, P * sizeof *predicted);
    return FT_OK;
}

/* --- backward ----------------------------------------------------------------------------------------- */

/* A pass's tokens as slots, new ones given out in order of appearance. */
static void assign_slots(struct ft_session *session, const struct ft_pass *pass) {
    for (size_t t = 0; t < pass->rows; t++) {
        uint32_t id = pass->ids[t];
        if (!session->slot_of[id]) {
            assert(session->slot_count < session->slot_max); /* step_tokens was a promise */
            session->id_of[session->slot_count++] = id;
            session->slot_of[id] = (uint32_t)session->slot_count;
        }
        session->slot_ids[t] = session->slot_of[id] - 1;
    }
}

static void table_backward(struct ft_session *session, const struct ft_pass *pass) {
    const struct ft_model *model = session->model;
    const uint32_t *rows = pass->ids;
    float *table = model->embedding->grad;
    if (session->slots) {
        assign_slots(session, pass);
        rows = session->slot_ids;
        table = session->slots;
    }
    ft_embed_backward(pass->exec, pass->rows, model->config.hidden, rows, pass->work.d, model->config.embedding_scale,
                      table);
}

static void embedding_backward(struct ft_session *session, const struct ft_pass *pass) {
    const struct ft_model *model = session->model;
    const float *d = pass->work.d;
    if (model->embedding->trained) table_backward(session, pass);
    ft_pass_embed_adapter_backward(pass, d);
    if (model->position && model->position->trained)
        ft_embed_backward(pass->exec, pass->rows, model->config.hidden, pass->position, d, 1,
                          model->position->grad);
}

static void backward_layers(struct ft_session *session, const struct ft_pass *pass, struct ft_activations *layers) {
    size_t count = session->model->config.layers;
    for (size_t l = count; l-- > 0 && ft_session_reaches(session, l);) {
        if (session->limits.recompute && l + 1 < count) ft_pass_layer_forward(pass, l, &layers[l], NULL);
        ft_pass_layer_backward(pass, l, session->lowest, &layers[l]);
    }
    if (session->lowest == 0) embedding_backward(session, pass);
}

static void backward(struct ft_session *session) {
    const struct ft_pass *pass = &session->pass;
    size_t layers = session->model->config.layers;
    if (session->lowest > ft_session_final_point(session)) return;
    float *d = ft_pass_selects(pass, layers - 1) ? pass->work.d_select : pass->work.d;
    ft_norm_backward(pass, &session->model->final_norm, pass->selected, session->x_final, session->mean,
                     session->rstd, session->d_final, NULL, d);
    backward_layers(session, pass, session->layers);
}

enum ft_status ft_session_begin_step(struct ft_session *session, const struct ft_batch *step, struct ft_error *error) {
    assert(session->limits.train);
    for (size_t i = 0; i < session->model->trained_count; i++) {
        struct ft_parameter *parameter = session->model->trained[i];
        memset(parameter->grad, 0, parameter->elements * sizeof *parameter->grad);
    }
    return begin(session, step, error);
}

enum ft_status ft_session_step(struct ft_session *session, const struct ft_batch *batch, float inv_weight_sum,
                               struct ft_loss_sum *sum, struct ft_error *error) {
    assert(session->limits.train);
    enum ft_status status = ft_session_take_batch(session, batch, error);
    if (status || session->pass.selected == 0) return status;
    for (size_t p = 0; p < session->pass.selected; p++)
        session->scaled[p] = session->weight[p] * inv_weight_sum;
    forward(session);
    ft_session_run_head(session, true);
    status = ft_session_sum_losses(session, sum, error);
    if (!status) backward(session);
    return status;
}

/* The rows of shared prompts are the step's last. Their gradient comes through keys and values alone. */
static void backward_prompts(struct ft_session *session) {
    if (session->prefixes.rows && session->lowest <= ft_session_final_point(session))
        backward_layers(session, &session->prompts, session->prompt_layers);
}

void ft_session_end_step(struct ft_session *session) {
    backward_prompts(session);
    size_t C = session->model->config.hidden;
    for (size_t slot = 0; slot < session->slot_count; slot++) {
        uint32_t id = session->id_of[slot];
        ft_add(session->exec, C, session->slots + slot * C, session->model->embedding->grad + id * C);
        session->slot_of[id] = 0;
    }
    if (session->slot_count) memset(session->slots, 0, session->slot_count * C * sizeof *session->slots);
    session->slot_count = 0;
}
