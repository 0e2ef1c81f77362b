/* SPDX-License-Identifier: MIT
 *
 * Training and evaluation of a model on micro-batches. A session is all working memory for batches up to
 * stated limits, sized first and taken whole; a step allocates nothing. The numbers are those of
 * ft-numerics(7); what of them depends on this module:
 *
 *  - Rows. Row t of a document is its token t as input; it predicts token t + 1. Rows behind the last one
 *    that predicts a supervised token (weight > 0) are not computed at all; a document without one is
 *    skipped. In the last layer, after keys and values, only predicting rows go on: queries, attention,
 *    everything after and the logits exist for those alone.
 *  - Shared prompts. Rows of a prompt that documents of a step share (prefix.h) are computed once, with the bits
 *    that each document alone would give. They are the step's last rows; the gradient of a shared key or value is
 *    the chain of additions, from +0, over the documents in order and then the prompt's own queries.
 *  - Products. A gradient of a weight is one chain over the rows of the optimizer step, ascending, that
 *    continues through micro-batches (rows as above: those for which the product's input exists). A gradient
 *    with respect to an input that several modules share (q, k, v; gate, up) is one chain: modules in that
 *    order, each over its outputs ascending, then over its LoRA rank ascending (a fused q,k,v: outputs q, k,
 *    v, then rank).
 *  - Forward: y = chain over inputs, continued over the rank by u[r] * B[o][r] with u = (x A^T) * scale; then
 *    + bias; then + residual. Backward: du = (chain over outputs of dy * B) * scale.
 *  - Head: logits, loss and gradient in chunks of rows; the chunk size is no part of the numbers.
 *  - Embeddings: the gradient of a vocabulary row is the chain of additions, from +0, over the step's rows
 *    ascending. When the table is also the head, that sum is added to the head's gradient once, in
 *    ft_session_end_step, for the vocabulary rows that occur.
 *  - The weight of a supervised token in the gradient is weight * inv_weight_sum in binary32; the caller
 *    computes inv_weight_sum for the whole step: binary64 sum in row order, 1 / sum rounded to binary32.
 *
 * Order of calls in an optimizer step: ft_session_begin_step with all documents; ft_session_step for each
 * micro-batch (whole documents, in row order); ft_session_end_step. Then the gradients in the parameters are complete, and the
 * caller updates the values.
 */
#ifndef FT_SESSION_H
#define FT_SESSION_H

#include "ft/error.h"
#include "ft/exec.h"
#include "ft/model.h"

#include <stddef.h>
#include <stdint.h>

/* Packed rows: document d is tokens [start[d], start[d+1]), at positions 0, 1, ... weights[i]: of predicting
 * token i from those before it in its document; 0 for the first token of a document; finite, >= 0. */
struct ft_batch {
    size_t documents;
    const size_t *start; /* [documents + 1], start[0] may be > 0: offsets into ids and weights */
    const uint32_t *ids; /* each below the vocabulary's size */
    const float *weights;
};

#define FT_NO_PROMPTS SIZE_MAX /* limits.prompts: it is known that nothing is shared */

struct ft_session_limits {
    size_t tokens;      /* of a batch; those of shared prompts do not count */
    size_t documents;   /* of a batch */
    size_t supervised;  /* of a batch; 0: as many as tokens */
    size_t longest;     /* tokens of a document; 0: as many as tokens */
    size_t step_tokens; /* of an optimizer step, if known: bounds memory for tied embeddings; 0: unknown */
    size_t step_documents; /* of an optimizer step; 0: as many as documents */
    size_t prompts;        /* tokens of a step's shared prompts; 0: as many as prefix.h allows */
    bool train;         /* false: ft_session_evaluate only */
    bool recompute; /* keep of each layer its input alone, and compute the rest again in the backward pass: the same
                       bits, less memory, another forward pass */
};

/* Bytes by category, for --plan. */
struct ft_session_size {
    size_t activations; /* kept from forward to backward */
    size_t workspace;   /* everything else that a layer needs, or the head for a chunk of rows: they take turns */
    size_t head;        /* last hidden states, losses */
    size_t embedding;   /* tied embeddings' gradient of a step */
    size_t packed;      /* weights packed for products */
    size_t replaced;    /* bytes of frozen weights that need not stay as their file has them, being packed */
    size_t total;
};

struct ft_session;

/* FT_LIMIT when a size overflows. */
enum ft_status ft_session_plan(const struct ft_model *model, struct ft_exec *exec,
                               const struct ft_session_limits *limits, struct ft_session_size *size,
                               struct ft_error *error);

/* The model (with what is trained already decided) and exec must outlive the session. */
enum ft_status ft_session_new(struct ft_session **session, struct ft_model *model, struct ft_exec *exec,
                              const struct ft_session_limits *limits, struct ft_error *error);
void ft_session_free(struct ft_session *session); /* NULL is fine */

/* Binary64 sums in token order. */
struct ft_loss_sum {
    double loss;      /* sum of weight * loss */
    double weight;    /* sum of weights */
    uint64_t tokens;  /* supervised tokens */
    uint64_t correct; /* of those, predicted[i] == ids[i] */
};

/* Zeroes the gradients; finds and computes the prompts that the step's documents share. `step` is all of them, and
 * must stay where it is until the end. FT_USAGE as below. */
enum ft_status ft_session_begin_step(struct ft_session *session, const struct ft_batch *step, struct ft_error *error);

/* Tokens of document d of the present step that are in a shared prompt. */
size_t ft_session_shared(const struct ft_session *session, size_t d);

/* Forward and backward of one micro-batch, the next documents of the step: adds to the gradients of the trained
 * parameters and to *sum. FT_USAGE when the batch breaks the limits or a rule above, FT_NONFINITE when a loss is not finite (naming
 * document and token; gradients are then unusable). */
enum ft_status ft_session_step(struct ft_session *session, const struct ft_batch *batch, float inv_weight_sum,
                               struct ft_loss_sum *sum, struct ft_error *error);

/* The backward pass of shared prompts, and what is merged once an optimizer step. */
void ft_session_end_step(struct ft_session *session);

/* Forward only, and never within an optimizer step. Adds to *sum (may be NULL). loss and predicted (each may be NULL) receive the loss and the
 * most probable token for each supervised token of the batch, in token order. */
enum ft_status ft_session_evaluate(struct ft_session *session, const struct ft_batch *batch, float *loss,
                                   uint32_t *predicted, struct ft_loss_sum *sum, struct ft_error *error);

#endif
