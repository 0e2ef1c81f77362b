/* SPDX-License-Identifier: MIT
 * The head: logits in chunks of rows, losses, and back. */
#include "session_internal.h"

#include "ft/rows.h"
#include "linear.h"

#include <math.h>
#include <string.h>

/* Logits of supervised tokens [first, first + rows). */
static void head_forward(struct ft_session *session, size_t first, size_t rows) {
    struct ft_slice head = session->weights.head;
    const float *n = session->n_final + first * session->model->config.hidden;
    if (ft_module_adapted(head.module))
        ft_module_project(session->exec, head.module, rows, n, session->u_head);
    ft_linear_forward(session->exec, head, rows, n, session->u_head, NULL, session->logits);
    ft_pass_finish_logits(&session->pass, rows, session->logits);
}

/* From the gradient of finished logits to that of the head's outputs, in place. */
static void logits_backward(struct ft_session *session, size_t rows) {
    const struct ft_config *config = &session->model->config;
    size_t n = rows * config->vocab;
    if (session->capped)
        ft_softcap_backward(session->exec, n, config->logit_softcap, session->capped, session->logits);
    if (config->logit_scale != 1) ft_scale(session->exec, n, config->logit_scale, session->logits);
}

/* From the gradient of the logits (in their place) to d_final and the head's gradients. */
static void head_backward(struct ft_session *session, size_t first, size_t rows) {
    struct ft_exec *exec = session->exec;
    struct ft_slice head = session->weights.head;
    size_t C = session->model->config.hidden,
           head_point = ft_model_point(session->model->config.layers, FT_POINT_NORM1) + 1;
    const float *n = session->n_final + first * C, *d_logits = session->logits;
    float *dn = session->lowest < head_point ? session->d_final + first * C : NULL;
    if (head.module->magnitude) {
        ft_linear_backward_magnitude(exec, head, rows, n, session->u_head, d_logits, session->z_head, session->z_head);
        d_logits = session->z_head;
    }
    float *du = ft_module_adapted(head.module) ? session->du_head : NULL;
    if (du) ft_module_backward_project(exec, head, rows, d_logits, false, true, du);
    if (dn) ft_linear_backward_input(exec, head, rows, d_logits, du, false, dn);
    ft_linear_backward_weights(exec, head, rows, n, session->u_head, d_logits);
    if (du) ft_module_backward_a(exec, head.module, rows, n, du);
}

void ft_session_run_head(struct ft_session *session, bool backward) {
    size_t V = session->model->config.vocab, P = session->pass.selected;
    if (session->head_packed.data) ft_packed_refresh(session->exec, session->weights.head, &session->head_packed);
    for (size_t first = 0; first < P; first += session->head_rows) {
        size_t rows = P - first < session->head_rows ? P - first : session->head_rows;
        float *loss = session->loss + first;
        const uint32_t *target = session->target + first;
        uint32_t *predicted = session->predicted + first;
        head_forward(session, first, rows);
        if (backward) {
            if (session->capped) memcpy(session->capped, session->logits, rows * V * sizeof *session->logits);
            ft_cross_entropy(session->exec, rows, V, session->logits, V, target, session->scaled + first,
                             loss, predicted);
            logits_backward(session, rows);
            head_backward(session, first, rows);
        } else {
            ft_cross_entropy_loss(session->exec, rows, V, session->logits, V, target, loss, predicted);
        }
    }
}

enum ft_status ft_session_sum_losses(const struct ft_session *session, struct ft_loss_sum *sum, struct ft_error *error) {
    size_t document = 0;
    for (size_t p = 0; p < session->pass.selected; p++) {
        const struct ft_attention_document *selected = session->select_document;
        while (p >= selected[document].query_row + selected[document].query_count) document++;
        if (!isfinite(session->loss[p]))
            return ft_fail(error, FT_NONFINITE,
                           "the loss of token %u of document %u of a batch is not finite",
                           session->select_position[p] + 1, session->origin[document]);
        if (!sum) continue;
        sum->loss += (double)session->weight[p] * (double)session->loss[p];
        sum->weight += (double)session->weight[p];
        sum->tokens++;
        sum->correct += session->predicted[p] == session->target[p];
    }
    return FT_OK;
}
