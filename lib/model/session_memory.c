/* SPDX-License-Identifier: MIT
 * A session's memory: sized first, then taken whole. */
#include "session_internal.h"

#include "dora.h"

#include <assert.h>
#include <stdlib.h>

/* Logits of at most so many bytes at a time, which caches still help with, in whole blocks of rows as products have them
 * on most machines; no part of the numbers. */
#define HEAD_BYTES ((size_t)44 << 20)
#define HEAD_ROWS_MIN 32u
#define HEAD_ROWS_BLOCK 216u
#define HEAD_ROWS_MAX (3 * HEAD_ROWS_BLOCK)

/* Activations of T rows, P of them selected, in every layer; returns them (NULL while adding up). Layers that no backward
 * pass reaches use one set in turn; so do all with `recompute`, but for the inputs of those that it does reach. */
static struct ft_activations *lay_layers(const struct ft_session *session, struct ft_layout *layout, size_t T, size_t P) {
    struct ft_activations shared = {0};
    size_t layers = session->model->config.layers;
    bool recompute = session->limits.recompute;
    struct ft_activations *all = ft_layout_take(layout, layers, sizeof *all);
    if (!ft_session_reaches(session, 0)) shared.x = ft_layout_floats(layout, T, session->model->config.hidden);
    if (recompute || !ft_session_reaches(session, 0))
        ft_pass_lay_activations(layout, session->model, FT_ANY_LAYER, T, P, recompute, &shared);
    for (size_t l = 0; l < layers; l++) {
        struct ft_activations kept = shared;
        if (ft_session_reaches(session, l)) kept.x = ft_layout_floats(layout, T, session->model->config.hidden);
        if (ft_session_reaches(session, l) && !recompute)
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
        bool own = ft_session_reaches(session, l) && !session->limits.recompute;
        struct ft_cache_layer keys = {0}, gradient = {0};
        if (!own) keys = lay_keys(session, layout);
        if (ft_session_reaches(session, l)) gradient = lay_keys(session, layout);
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
    size_t P = session->limits.supervised, hidden = session->model->config.hidden;
    session->x_final = ft_layout_floats(layout, P, hidden);
    session->n_final = ft_layout_floats(layout, P, hidden);
    session->mean = ft_layout_floats(layout, P, 1);
    session->rstd = ft_layout_floats(layout, P, 1);
    if (session->limits.train) session->d_final = ft_layout_floats(layout, P, hidden);
    session->weight = ft_layout_floats(layout, P, 1);
    session->scaled = ft_layout_floats(layout, P, 1);
    session->loss = ft_layout_floats(layout, P, 1);
    session->target = ft_layout_take(layout, P, sizeof *session->target);
    session->predicted = ft_layout_take(layout, P, sizeof *session->predicted);
}

/* What the head needs for a chunk of rows. */
static void lay_logits(struct ft_session *session, struct ft_layout *layout) {
    const struct ft_config *config = &session->model->config;
    const struct ft_module *head = session->model->head.module;
    size_t rank = head->lora_a ? head->rank : 0, rows = session->head_rows = choose_head_rows(session);
    session->logits = ft_layout_floats(layout, rows, config->vocab);
    if (session->limits.train && config->logit_softcap != 0)
        session->capped = ft_layout_floats(layout, rows, config->vocab);
    session->u_head = ft_layout_floats(layout, rows, rank);
    session->du_head = ft_layout_floats(layout, rows, rank);
    if (session->limits.train && head->magnitude)
        session->z_head = ft_layout_floats(layout, rows, config->vocab);
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
    if (layout->arena) ft_packed_fill(session->exec, session->model, weights);
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
    size_t passing = ft_pass_lay_workspace(layout, session->exec, session->model, rows_max(limits), limits->supervised,
                                           limits->longest, limits->prompts ? key_rows : 0, limits->train,
                                           &session->pass.work);
    size_t end = layout->bytes;
    ft_layout_go(layout, passing); /* the head runs between the layers' forward and backward passes */
    lay_logits(session, layout);
    if (layout->bytes < end) ft_layout_go(layout, end);
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
