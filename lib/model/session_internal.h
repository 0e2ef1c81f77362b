/* SPDX-License-Identifier: MIT
 *
 * The inside of a session, shared by its files: session_memory.c lays out and sizes everything, session_rows.c makes rows
 * of documents and of the prompts they share, session_head.c has logits and losses, session.c runs the passes.
 */
#ifndef FT_MODEL_SESSION_INTERNAL_H
#define FT_MODEL_SESSION_INTERNAL_H

#include "ft/prefix.h"
#include "ft/session.h"
#include "packed.h"
#include "pass.h"

struct ft_session {
    struct ft_model *model;
    struct ft_exec *exec;
    struct ft_session_limits limits;
    struct ft_arena arena;
    size_t lowest;    /* ft_model_lowest, SIZE_MAX without training */
    size_t positions; /* in the rotary tables */
    struct ft_pass pass;
    struct ft_activations *layers; /* [layers]; those below the lowest trained one share one set */
    /* the rows of the batch */
    uint32_t *ids, *position, *select, *select_position;      /* [tokens], [tokens], [supervised] x 2 */
    struct ft_attention_document *document, *select_document; /* [documents] */
    uint32_t *origin; /* [documents] index in the batch, for messages */
    struct ft_shared_keys *shared;        /* [documents] */
    struct ft_attention_document *chunk;  /* [documents] */
    /* the prompts that documents of a step share */
    struct ft_prefixes prefixes;
    struct ft_prompt_rows *prompt_rows; /* [step_documents] */
    size_t begun, next;                 /* documents of the step; the one that comes next */
    struct ft_pass prompts;
    struct ft_activations *prompt_layers;           /* [layers] k and v each its own; else as `layers` */
    struct ft_cache_layer *prompt_keys, *prompt_gradient; /* [layers] */
    uint32_t *prompt_ids, *prompt_position;         /* [prompts] */
    struct ft_attention_document *prompt_document, *prompt_select; /* [prompts / FT_PREFIX_MIN] the latter: no queries */
    /* the head; one entry a supervised token */
    float *x_final, *n_final, *mean, *rstd; /* [supervised, C] x 2, [supervised] x 2 */
    float *d_final;                         /* [supervised, C] gradient of n_final */
    float *logits;                          /* [head_rows, vocab] */
    float *capped;                          /* [head_rows, vocab] a copy for the cap's backward pass, if any */
    size_t head_rows;
    float *weight, *scaled, *loss, *u_head, *du_head; /* [supervised] x 3, [head_rows, rank] x 2 */
    float *z_head;                          /* [head_rows, vocab] of a head with magnitudes */
    struct ft_packed_weights weights;
    struct ft_packed head_packed;           /* of a head that is trained: packed again in every batch */
    uint32_t *target, *predicted;
    /* tied embeddings: the step's sums by slot */
    float *slots;              /* [slot_max, C] */
    uint32_t *slot_of, *id_of; /* [vocab] slot + 1 or 0; [slot_max] */
    uint32_t *slot_ids;        /* [tokens] */
    size_t slot_max, slot_count;
};

/* The final norm; the head is the point behind it. */
static inline size_t ft_session_final_point(const struct ft_session *session) {
    return ft_model_point(session->model->config.layers, FT_POINT_NORM1);
}

static inline bool ft_session_reaches(const struct ft_session *session, size_t l) {
    return session->lowest < ft_model_point(l + 1, FT_POINT_NORM1);
}

/* Checks a step's documents and finds what they share; its rows are those of session->prompts then. FT_USAGE when the
 * step breaks the limits or a rule of ft/session.h. */
enum ft_status ft_session_take_prompts(struct ft_session *session, const struct ft_batch *step, struct ft_error *error);
/* The next documents of the step as the rows of session->pass. FT_USAGE likewise. */
enum ft_status ft_session_take_batch(struct ft_session *session, const struct ft_batch *batch, struct ft_error *error);

/* Logits, losses and predictions of the selected rows from n_final; with `backward` also d_final and the head's
 * gradients. */
void ft_session_run_head(struct ft_session *session, bool backward);
/* Adds the losses of run_head to *sum (may be NULL); FT_NONFINITE when one is not finite. */
enum ft_status ft_session_sum_losses(const struct ft_session *session, struct ft_loss_sum *sum, struct ft_error *error);

#endif
