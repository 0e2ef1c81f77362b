/* SPDX-License-Identifier: MIT
 * Batches through the pass: which rows are computed, the head and the loss, the embeddings' gradients. */
#include "ft/session.h"

#include "dora.h"
#include "ft/prefix.h"
#include "linear.h"
#include "packed.h"
#include "pass.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Logits of at most so many bytes at a time, which caches still help with, in whole blocks of rows as products have them
 * on most machines; no part of the numbers. */
#define HEAD_BYTES ((size_t)44 << 20)
#define HEAD_ROWS_MIN 32u
#define HEAD_ROWS_BLOCK 216u
#define HEAD_ROWS_MAX (3 * HEAD_ROWS_BLOCK)

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

/* --- sizes and memory --------------------------------------------------------------------------------- */

static bool backward_reaches(const struct ft_session *session, size_t l) {
    return session->lowest < ft_model_point(l + 1, FT_POINT_NORM1);
}

/* Activations of T rows, P of them selected, in every layer; returns them (NULL while adding up). Layers that no backward
 * pass reaches use one set in turn; so do all with `recompute`, but for the inputs of those that it does reach. */
static struct ft_activations *lay_layers(const struct ft_session *session, struct ft_layout *layout, size_t T, size_t P) {
    struct ft_activations shared = {0};
    size_t layers = session->model->config.layers;
    bool recompute = session->limits.recompute;
    struct ft_activations *all = ft_layout_take(layout, layers, sizeof *all);
    if (!backward_reaches(session, 0)) shared.x = ft_layout_floats(layout, T, session->model->config.hidden);
    if (recompute || !backward_reaches(session, 0))
        ft_pass_lay_activations(layout, session->model, FT_ANY_LAYER, T, P, recompute, &shared);
    for (size_t l = 0; l < layers; l++) {
        struct ft_activations kept = shared;
        if (backward_reaches(session, l)) kept.x = ft_layout_floats(layout, T, session->model->config.hidden);
        if (backward_reaches(session, l) && !recompute)
            ft_pass_lay_activations(layout, session->model, l, T, P, true, &kept);
        if (all) all[l] = kept;
    }
    return all;
}

/* Keys and values of one layer's prompts. */
static struct ft_cache_layer lay_keys(const struct ft_session *session, struct ft_layout *layout) {
    size_t width = session->model->config.kv_heads * session->model->config.head_dim, rows = session->limits.prompts;
    float *k = ft_layout_floats(layout, rows, width);
    return (struct ft_cache_layer){.k = k, .v = ft_layout_floats(layout, rows, width)};
}

/* All documents of the step read the prompts' keys, so every layer keeps its own. */
static void lay_prompts(struct ft_session *session, struct ft_layout *layout) {
    size_t rows = session->limits.prompts, layers = session->model->config.layers, documents = rows / FT_PREFIX_MIN;
    session->prompt_rows = ft_layout_take(layout, session->limits.step_documents, sizeof *session->prompt_rows);
    if (!rows) return;
    session->prompt_layers = lay_layers(session, layout, rows, 0);
    session->prompt_keys = ft_layout_take(layout, layers, sizeof *session->prompt_keys);
    session->prompt_gradient = ft_layout_take(layout, layers, sizeof *session->prompt_gradient);
    for (size_t l = 0; l < layers; l++) {
        bool own = backward_reaches(session, l) && !session->limits.recompute;
        struct ft_cache_layer keys = {0}, gradient = {0};
        if (!own) keys = lay_keys(session, layout);
        if (backward_reaches(session, l)) gradient = lay_keys(session, layout);
        if (!session->prompt_layers) continue;
        struct ft_activations *a = &session->prompt_layers[l];
        if (!own) a->k = keys.k, a->v = keys.v;
        session->prompt_keys[l] = (struct ft_cache_layer){a->k, a->v};
        session->prompt_gradient[l] = gradient;
    }
    session->prompt_ids = ft_layout_take(layout, rows, sizeof *session->prompt_ids);
    session->prompt_position = ft_layout_take(layout, rows, sizeof *session->prompt_position);
    session->prompt_document = ft_layout_take(layout, documents, sizeof *session->prompt_document);
    session->prompt_select = ft_layout_take(layout, documents, sizeof *session->prompt_select);
}

static void lay_batch(struct ft_session *session, struct ft_layout *layout) {
    size_t T = session->limits.tokens, P = session->limits.supervised, documents = session->limits.documents;
    session->ids = ft_layout_take(layout, T, sizeof *session->ids);
    session->position = ft_layout_take(layout, T, sizeof *session->position);
    session->select = ft_layout_take(layout, P, sizeof *session->select);
    session->select_position = ft_layout_take(layout, P, sizeof *session->select_position);
    session->document = ft_layout_take(layout, documents, sizeof *session->document);
    session->select_document = ft_layout_take(layout, documents, sizeof *session->select_document);
    session->origin = ft_layout_take(layout, documents, sizeof *session->origin);
    session->shared = ft_layout_take(layout, documents, sizeof *session->shared);
    session->chunk = ft_layout_take(layout, documents, sizeof *session->chunk);
}

static size_t choose_head_rows(const struct ft_session *session) {
    size_t rows = HEAD_BYTES / (session->model->config.vocab * sizeof(float));
    if (rows < HEAD_ROWS_MIN) rows = HEAD_ROWS_MIN;
    if (rows > HEAD_ROWS_BLOCK) rows -= rows % HEAD_ROWS_BLOCK;
    if (rows > HEAD_ROWS_MAX) rows = HEAD_ROWS_MAX;
    return rows < session->limits.supervised ? rows : session->limits.supervised;
}

static void lay_head(struct ft_session *session, struct ft_layout *layout) {
    const struct ft_config *config = &session->model->config;
    const struct ft_module *head = session->model->head.module;
    size_t P = session->limits.supervised, rank = head->lora_a ? head->rank : 0;
    session->head_rows = choose_head_rows(session);
    session->x_final = ft_layout_floats(layout, P, config->hidden);
    session->n_final = ft_layout_floats(layout, P, config->hidden);
    session->mean = ft_layout_floats(layout, P, 1);
    session->rstd = ft_layout_floats(layout, P, 1);
    if (session->limits.train) session->d_final = ft_layout_floats(layout, P, config->hidden);
    session->logits = ft_layout_floats(layout, session->head_rows, config->vocab);
    if (session->limits.train && config->logit_softcap != 0)
        session->capped = ft_layout_floats(layout, session->head_rows, config->vocab);
    session->weight = ft_layout_floats(layout, P, 1);
    session->scaled = ft_layout_floats(layout, P, 1);
    session->loss = ft_layout_floats(layout, P, 1);
    session->u_head = ft_layout_floats(layout, session->head_rows, rank);
    session->du_head = ft_layout_floats(layout, session->head_rows, rank);
    if (session->limits.train && head->magnitude)
        session->z_head = ft_layout_floats(layout, session->head_rows, config->vocab);
    session->target = ft_layout_take(layout, P, sizeof *session->target);
    session->predicted = ft_layout_take(layout, P, sizeof *session->predicted);
}

/* Rows of a pass: of a batch, or of the prompts. */
static size_t rows_max(const struct ft_session_limits *limits) {
    return limits->tokens > limits->prompts ? limits->tokens : limits->prompts;
}

/* A step touches at most as many vocabulary rows as it has tokens. */
static void lay_slots(struct ft_session *session, struct ft_layout *layout) {
    const struct ft_config *config = &session->model->config;
    bool tied = session->model->head.module->weight == session->model->embedding;
    if (!session->limits.train || !tied || !session->model->embedding->trained) return;
    size_t tokens = session->limits.step_tokens;
    session->slot_max = tokens && tokens < config->vocab ? tokens : config->vocab;
    session->slots = ft_layout_floats(layout, session->slot_max, config->hidden);
    session->slot_of = ft_layout_take(layout, config->vocab, sizeof *session->slot_of);
    session->id_of = ft_layout_take(layout, session->slot_max, sizeof *session->id_of);
    session->slot_ids = ft_layout_take(layout, rows_max(&session->limits), sizeof *session->slot_ids);
}

static size_t lap(const struct ft_layout *layout, size_t *mark) {
    size_t bytes = layout->bytes - *mark;
    *mark = layout->bytes;
    return bytes;
}

/* Frozen weights are packed here and now; a trained head, which all chunks of a batch read, in every batch. */
static void lay_weights(struct ft_session *session, struct ft_layout *layout, struct ft_session_size *size) {
    struct ft_packed_weights *weights = &session->weights;
    ft_packed_lay(layout, session->exec, session->model, FT_PACK_FROZEN, weights);
    size->replaced = weights->replaced;
    if (weights->head.module->weight->trained)
        ft_packed_lay_slice(layout, session->exec, &weights->head, &session->head_packed);
    session->pass.table = ft_packed_table(session->model, weights);
    if (weights->layers) session->pass.layers = weights->layers;
}

/* Adds up (layout->arena NULL) or takes everything. */
static void lay(struct ft_session *session, struct ft_layout *layout, struct ft_session_size *size) {
    const struct ft_session_limits *limits = &session->limits;
    size_t mark = 0;
    session->layers = lay_layers(session, layout, limits->tokens, limits->supervised);
    lay_prompts(session, layout);
    size->activations = lap(layout, &mark);
    size_t key_rows = limits->tokens > limits->longest ? limits->tokens : limits->longest;
    ft_pass_lay_workspace(layout, session->exec, session->model, rows_max(limits), limits->supervised,
                          limits->longest, limits->prompts ? key_rows : 0, limits->train, &session->pass.work);
    ft_pass_lay_rotary(layout, session->model, session->positions, session->pass.rotary);
    lay_batch(session, layout);
    size_t prefixes = ft_prefixes_size(limits->step_documents);
    size->workspace = lap(layout, &mark) + prefixes;
    lay_weights(session, layout, size);
    size->packed = lap(layout, &mark);
    lay_head(session, layout);
    size->head = lap(layout, &mark);
    lay_slots(session, layout);
    size->embedding = lap(layout, &mark);
    size->total = layout->bytes + prefixes;
}

static enum ft_status prepare(struct ft_session *session, const struct ft_model *model, struct ft_exec *exec,
                              const struct ft_session_limits *limits, struct ft_error *error) {
    struct ft_session_limits l = *limits;
    if (!l.tokens || !l.documents || l.tokens > UINT32_MAX || l.documents > UINT32_MAX)
        return ft_fail(error, FT_LIMIT,
                       "a session needs between 1 and 2^32 - 1 tokens and documents in a batch");
    if (!l.supervised || l.supervised > l.tokens) l.supervised = l.tokens;
    if (!l.longest) l.longest = l.tokens;
    if (l.documents > l.tokens) l.documents = l.tokens;
    if (l.step_documents < l.documents) l.step_documents = l.documents;
    if (l.step_documents == 1) l.prompts = 0;
    else if (!l.prompts) l.prompts = l.longest > FT_PREFIX_TOKENS ? l.longest : FT_PREFIX_TOKENS;
    if (l.prompts == FT_NO_PROMPTS) l.prompts = 0;
    /* the layout code takes the model and exec as they are; what a plan does with them changes nothing */
    *session =
        (struct ft_session){.model = (struct ft_model *)model, .exec = exec, .limits = l, .lowest = SIZE_MAX};
    session->pass.exec = exec;
    session->pass.model = model;
    session->pass.layers = model->layers;
    if (l.train) session->lowest = ft_model_lowest(model);
    session->positions = l.longest < model->config.positions ? l.longest : model->config.positions;
    return FT_OK;
}

enum ft_status ft_session_plan(const struct ft_model *model, struct ft_exec *exec,
                               const struct ft_session_limits *limits, struct ft_session_size *size,
                               struct ft_error *error) {
    struct ft_session session;
    struct ft_layout layout = {0};
    enum ft_status status = prepare(&session, model, exec, limits, error);
    if (status) return status;
    lay(&session, &layout, size);
    if (layout.bytes == SIZE_MAX)
        return ft_fail(error, FT_LIMIT,
                       "the working memory for %zu tokens does not fit into an address space",
                       limits->tokens);
    return FT_OK;
}

enum ft_status ft_session_new(struct ft_session **out, struct ft_model *model, struct ft_exec *exec,
                              const struct ft_session_limits *limits, struct ft_error *error) {
    *out = NULL;
    struct ft_session_size size;
    struct ft_session *session = NULL;
    enum ft_status status = ft_session_plan(model, exec, limits, &size, error);
    if (!status) status = ft_alloc(&session, 1, sizeof *session, error);
    if (!status) status = prepare(session, model, exec, limits, error);
    if (!status) status = ft_prefixes_init(&session->prefixes, session->limits.step_documents, error);
    if (!status)
        status = ft_arena_init(&session->arena, size.total - ft_prefixes_size(session->limits.step_documents), error);
    if (status) {
        if (session) ft_prefixes_release(&session->prefixes);
        free(session);
        return status;
    }
    struct ft_layout layout = {.arena = &session->arena};
    lay(session, &layout, &size);
    assert(session->arena.used == session->arena.size);
    ft_dora_refresh(exec, model, session->pass.work.dora);
    *out = session;
    return FT_OK;
}

void ft_session_free(struct ft_session *session) {
    if (!session) return;
    ft_prefixes_release(&session->prefixes);
    ft_arena_release(&session->arena);
    free(session);
}

/* --- a batch becomes rows ----------------------------------------------------------------------------- */

/* Rows of a document and of its prompt. */
static size_t count_rows(const struct ft_batch *batch, size_t d, size_t *prompt) {
    return ft_document_rows(batch->weights + batch->start[d], batch->start[d + 1] - batch->start[d], prompt);
}

static enum ft_status check_document(const struct ft_session *session, const struct ft_batch *batch, size_t d,
                                     struct ft_error *error) {
    if (batch->start[d + 1] < batch->start[d])
        return ft_fail(error, FT_USAGE, "document %zu of a batch ends before it starts", d);
    for (size_t i = batch->start[d]; i < batch->start[d + 1]; i++) {
        if (batch->ids[i] >= session->model->config.vocab)
            return ft_fail(error, FT_USAGE,
                           "document %zu of a batch: token %u is not below the vocabulary's size %zu", d,
                           batch->ids[i], session->model->config.vocab);
        float weight = batch->weights[i];
        if (!(weight >= 0 && isfinite(weight)) || (i == batch->start[d] && weight != 0))
            return ft_fail(error, FT_USAGE,
                           "document %zu of a batch: token %zu cannot have the loss weight %g", d,
                           i - batch->start[d], (double)weight);
    }
    return FT_OK;
}

static enum ft_status refuse_length(const struct ft_session *session, size_t d, size_t rows, struct ft_error *error) {
    const char *what = session->positions < session->limits.longest ? "the model's positions" : "the session's limit";
    return ft_fail(error, FT_USAGE, "document %zu of a batch has %zu tokens, more than %s of %zu", d, rows + 1, what,
                   session->positions);
}

/* What document number `next` of the step shares, and then the one after it comes next. */
static struct ft_shared_keys take_shared(struct ft_session *session) {
    uint32_t of = session->prefixes.of[session->next++];
    const struct ft_prefix *prefix = of ? &session->prefixes.item[of - 1] : NULL;
    return prefix ? (struct ft_shared_keys){prefix->first, prefix->length} : (struct ft_shared_keys){0};
}

/* Appends document d's own rows and its supervised tokens. */
static enum ft_status add_document(struct ft_session *session, const struct ft_batch *batch, size_t d,
                                   struct ft_error *error) {
    struct ft_pass *pass = &session->pass;
    const struct ft_session_limits *limits = &session->limits;
    size_t prompt, rows = count_rows(batch, d, &prompt), first = batch->start[d];
    struct ft_shared_keys shared = take_shared(session);
    if (rows == 0) return FT_OK;
    if (rows > session->positions) return refuse_length(session, d, rows, error);
    if (rows - shared.count > limits->tokens - pass->rows || pass->documents == limits->documents)
        return ft_fail(error, FT_USAGE, "a batch exceeds the session's %zu tokens or %zu documents",
                       limits->tokens, limits->documents);
    size_t key_row = pass->rows, query_row = pass->selected;
    for (size_t i = shared.count; i < rows; i++) {
        size_t row = pass->rows++, p = pass->selected;
        session->ids[row] = batch->ids[first + i];
        session->position[row] = (uint32_t)i;
        if (!(batch->weights[first + i + 1] > 0)) continue;
        if (p == limits->supervised)
            return ft_fail(error, FT_USAGE, "a batch exceeds the session's %zu supervised tokens",
                           limits->supervised);
        session->select[p] = (uint32_t)row;
        session->select_position[p] = (uint32_t)i;
        session->target[p] = batch->ids[first + i + 1];
        session->weight[p] = batch->weights[first + i + 1];
        pass->selected++;
    }
    size_t own = pass->rows - key_row;
    if (shared.count) pass->shared = session->shared;
    session->shared[pass->documents] = shared;
    session->origin[pass->documents] = (uint32_t)d;
    session->document[pass->documents] = (struct ft_attention_document){
        .key_row = key_row, .key_count = own, .query_row = key_row, .query_count = own};
    session->select_document[pass->documents++] =
        (struct ft_attention_document){.key_row = key_row,
                                       .key_count = own,
                                       .query_row = query_row,
                                       .query_count = pass->selected - query_row,
                                       .query_position = session->select_position + query_row};
    return FT_OK;
}

static enum ft_status take_batch(struct ft_session *session, const struct ft_batch *batch,
                                 struct ft_error *error) {
    struct ft_pass *pass = &session->pass;
    pass->rows = pass->selected = pass->documents = 0;
    pass->ids = session->ids;
    pass->position = session->position;
    pass->select = session->select;
    pass->select_position = session->select_position;
    pass->document = session->document;
    pass->select_document = session->select_document;
    pass->shared = NULL;
    pass->prompt = session->prompt_keys;
    pass->prompt_gradient = session->prompt_gradient;
    pass->chunk = session->chunk;
    if (batch->documents > session->begun - session->next)
        return ft_fail(error, FT_USAGE, "a batch has documents that the step was not begun with");
    for (size_t d = 0; d < batch->documents; d++) {
        enum ft_status status = check_document(session, batch, d, error);
        if (!status) status = add_document(session, batch, d, error);
        if (status) return status;
    }
    return FT_OK;
}

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

/* --- shared prompts ----------------------------------------------------------------------------------- */

/* The rows of the step's shared prompts, a document each; nothing of them is supervised. */
static void take_prompts(struct ft_session *session, const struct ft_batch *step) {
    struct ft_pass *pass = &session->prompts;
    *pass = session->pass;
    pass->rows = session->prefixes.rows;
    pass->selected = 0;
    pass->ids = session->prompt_ids;
    pass->position = session->prompt_position;
    pass->documents = session->prefixes.count;
    pass->document = session->prompt_document;
    pass->select_document = session->prompt_select;
    pass->shared = NULL;
    pass->prompt_gradient = session->prompt_gradient;
    pass->is_prompt = true;
    for (size_t i = 0; i < session->prefixes.count; i++) {
        const struct ft_prefix *prefix = &session->prefixes.item[i];
        size_t first = prefix->first, rows = prefix->length;
        memcpy(session->prompt_ids + first, step->ids + step->start[prefix->document], rows * sizeof *step->ids);
        for (size_t t = 0; t < rows; t++) session->prompt_position[first + t] = (uint32_t)t;
        session->prompt_document[i] = session->prompt_select[i] = (struct ft_attention_document){
            .key_row = first, .key_count = rows, .query_row = first, .query_count = rows};
        session->prompt_select[i].query_row = session->prompt_select[i].query_count = 0;
    }
}

static void clear_prompt_gradients(const struct ft_session *session) {
    const struct ft_config *config = &session->model->config;
    size_t bytes = session->prefixes.rows * config->kv_heads * config->head_dim * sizeof(float);
    for (size_t l = 0; l < config->layers; l++) {
        if (!backward_reaches(session, l)) continue;
        memset(session->prompt_gradient[l].k, 0, bytes);
        memset(session->prompt_gradient[l].v, 0, bytes);
    }
}

/* Finds what the documents share and computes it. Batches are of these documents, in order, from now on. */
static enum ft_status begin(struct ft_session *session, const struct ft_batch *step, struct ft_error *error) {
    session->begun = session->next = 0;
    if (session->model->trained_count) ft_dora_refresh(session->exec, session->model, session->pass.work.dora);
    if (step->documents > session->limits.step_documents)
        return ft_fail(error, FT_USAGE, "a step exceeds the session's %zu documents", session->limits.step_documents);
    for (size_t d = 0; d < step->documents; d++) {
        struct ft_prompt_rows *prompt = &session->prompt_rows[d];
        enum ft_status status = check_document(session, step, d, error);
        if (status) return status;
        size_t rows = count_rows(step, d, &prompt->rows);
        if (rows > session->positions) return refuse_length(session, d, rows, error);
        prompt->ids = step->ids + step->start[d];
    }
    ft_prefixes_find(&session->prefixes, session->prompt_rows, step->documents);
    if (session->prefixes.rows > session->limits.prompts)
        return ft_fail(error, FT_USAGE, "a step exceeds the session's %zu tokens of shared prompts",
                       session->limits.prompts);
    session->begun = step->documents;
    if (!session->prefixes.rows) return FT_OK;
    take_prompts(session, step);
    forward_layers(&session->prompts, session->prompt_layers, session->x_final);
    if (session->limits.train) clear_prompt_gradients(session);
    return FT_OK;
}

size_t ft_session_shared(const struct ft_session *session, size_t d) {
    return ft_prefixes_shared(&session->prefixes, d);
}

/* --- the head ----------------------------------------------------------------------------------------- */

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

static void run_head(struct ft_session *session, bool backward) {
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

static enum ft_status sum_losses(const struct ft_session *session, struct ft_loss_sum *sum,
                                 struct ft_error *error) {
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

enum ft_status ft_session_evaluate(struct ft_session *session, const struct ft_batch *batch, float *loss,
                                   uint32_t *predicted, struct ft_loss_sum *sum, struct ft_error *error) {
    enum ft_status status = begin(session, batch, error);
    if (!status) status = take_batch(session, batch, error);
    size_t P = session->pass.selected;
    if (status || P == 0) return status;
    forward(session);
    run_head(session, false);
    status = sum_losses(session, sum, error);
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

static size_t final_point(const struct ft_session *session) {
    return ft_model_point(session->model->config.layers, FT_POINT_NORM1);
}

static void backward_layers(struct ft_session *session, const struct ft_pass *pass, struct ft_activations *layers) {
    size_t count = session->model->config.layers;
    for (size_t l = count; l-- > 0 && backward_reaches(session, l);) {
        if (session->limits.recompute && l + 1 < count) ft_pass_layer_forward(pass, l, &layers[l], NULL);
        ft_pass_layer_backward(pass, l, session->lowest, &layers[l]);
    }
    if (session->lowest == 0) embedding_backward(session, pass);
}

static void backward(struct ft_session *session) {
    const struct ft_pass *pass = &session->pass;
    size_t layers = session->model->config.layers;
    if (session->lowest > final_point(session)) return;
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
    enum ft_status status = take_batch(session, batch, error);
    if (status || session->pass.selected == 0) return status;
    for (size_t p = 0; p < session->pass.selected; p++)
        session->scaled[p] = session->weight[p] * inv_weight_sum;
    forward(session);
    run_head(session, true);
    status = sum_losses(session, sum, error);
    if (!status) backward(session);
    return status;
}

/* The rows of shared prompts are the step's last. Their gradient comes through keys and values alone. */
static void backward_prompts(struct ft_session *session) {
    if (session->prefixes.rows && session->lowest <= final_point(session))
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
