/* SPDX-License-Identifier: MIT
 * Documents become rows: those of a batch, and those of the prompts that a step's documents share. */
#include "session_internal.h"

#include <math.h>
#include <string.h>

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

enum ft_status ft_session_take_batch(struct ft_session *session, const struct ft_batch *batch, struct ft_error *error) {
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

enum ft_status ft_session_take_prompts(struct ft_session *session, const struct ft_batch *step, struct ft_error *error) {
    session->begun = session->next = 0;
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
    if (session->prefixes.rows) take_prompts(session, step);
    return FT_OK;
}

size_t ft_session_shared(const struct ft_session *session, size_t d) {
    return ft_prefixes_shared(&session->prefixes, d);
}
