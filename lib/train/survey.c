/* SPDX-License-Identifier: MIT */
#include "survey.h"

#include "ft/memory.h"
#include "ft/prefix.h"

#include <stdlib.h>

/* What a row of a set will be. */
struct outline {
    uint32_t rows, prompt, supervised;
};

struct survey {
    const struct ft_trainer_spec *spec;
    struct ft_session_limits *limits;
    struct ft_prefixes prefixes;
    struct outline *outline;       /* [rows of the set] */
    struct ft_prompt_rows *prompt; /* [batch] */
    uint32_t *length;              /* [batch] tokens that are a document's own */
};

static void raise_to(size_t *most, size_t value) {
    if (value > *most) *most = value;
}

static enum ft_status outline(struct survey *s, const struct ft_ftok_set *set, struct ft_error *error) {
    free(s->outline);
    s->outline = NULL;
    enum ft_status status = ft_alloc(&s->outline, set->rows, sizeof *s->outline, error);
    for (size_t r = 0; r < set->rows && !status; r++) {
        size_t first = set->start[r], tokens = set->start[r + 1] - first, prompt, supervised = 0;
        size_t rows = ft_document_rows(set->weights + first, tokens, &prompt);
        for (size_t t = first; t < first + tokens; t++) supervised += set->weights[t] > 0;
        s->outline[r] = (struct outline){(uint32_t)rows, (uint32_t)prompt, (uint32_t)supervised};
    }
    return status;
}

/* A micro-batch: documents [first, first + count) of the rows. */
static void see_micro(struct survey *s, struct ft_rows rows, size_t first, size_t count) {
    size_t tokens = 0, supervised = 0;
    for (size_t i = first; i < first + count; i++) {
        const struct outline *o = &s->outline[rows.row[i]];
        if (o->rows) tokens += o->rows - ft_prefixes_shared(&s->prefixes, i);
        supervised += o->supervised;
    }
    raise_to(&s->limits->tokens, tokens);
    raise_to(&s->limits->supervised, supervised);
    raise_to(&s->limits->documents, count);
}

static void find_shared(struct survey *s, const struct ft_ftok_set *set, struct ft_rows rows) {
    for (size_t i = 0; i < rows.count; i++)
        s->prompt[i] = (struct ft_prompt_rows){set->ids + set->start[rows.row[i]], s->outline[rows.row[i]].prompt};
    ft_prefixes_find(&s->prefixes, s->prompt, rows.count);
    raise_to(&s->limits->prompts, s->prefixes.rows);
}

/* The rows of a step, or of an evaluation's share of its set. Evaluation shares within each micro-batch alone. */
static void see_rows(struct survey *s, const struct ft_ftok_set *set, struct ft_rows rows, bool train) {
    struct ft_micro micro = ft_micro_of(s->spec->micro_rows);
    size_t all = 0;
    if (train) find_shared(s, set, rows);
    for (size_t i = 0; i < rows.count; i++) {
        size_t tokens = set->start[rows.row[i] + 1] - set->start[rows.row[i]];
        s->length[i] = (uint32_t)(tokens - (train ? ft_prefixes_shared(&s->prefixes, i) : 0));
        all += tokens;
    }
    raise_to(&s->limits->step_tokens, all);
    for (size_t at = 0, count; at < rows.count; at += count) {
        count = ft_micro_next(&micro, s->length + at, rows.count - at);
        struct ft_rows some = {.row = rows.row + at, .count = count};
        if (!train) find_shared(s, set, some);
        see_micro(s, train ? rows : some, train ? at : 0, count);
    }
}

static enum ft_status see_training(struct survey *s, struct ft_error *error) {
    const struct ft_recipe *recipe = s->spec->recipe;
    const struct ft_ftok_set *set = s->spec->train;
    struct ft_batches batches = {0};
    uint64_t per_epoch, steps;
    ft_trainer_length(recipe, set->rows, &per_epoch, &steps);
    enum ft_status status = outline(s, set, error);
    if (!status)
        status = ft_batches_init(&batches, set->rows, (size_t)recipe->batch, recipe->shuffle, recipe->seed, error);
    if (!recipe->shuffle && steps > per_epoch) steps = per_epoch; /* one is like the other */
    for (uint64_t step = 0; step < steps && !status; step++) see_rows(s, set, ft_batches_step(&batches, step), true);
    ft_batches_release(&batches);
    return status;
}

static enum ft_status see_validation(struct survey *s, struct ft_error *error) {
    const struct ft_ftok_set *set = s->spec->valid;
    size_t batch = s->limits->step_documents;
    uint32_t *order = NULL;
    enum ft_status status = outline(s, set, error);
    if (!status) status = ft_alloc(&order, set->rows, sizeof *order, error);
    for (size_t i = 0; i < set->rows && !status; i++) order[i] = (uint32_t)i;
    for (size_t at = 0; at < set->rows && !status; at += batch) {
        size_t left = set->rows - at;
        see_rows(s, set, (struct ft_rows){order + at, left < batch ? left : batch}, false);
    }
    free(order);
    return status;
}

enum ft_status ft_survey(const struct ft_trainer_spec *spec, struct ft_session_limits *limits, struct ft_error *error) {
    struct survey s = {.spec = spec, .limits = limits};
    size_t batch = (size_t)spec->recipe->batch < spec->train->rows ? (size_t)spec->recipe->batch : spec->train->rows;
    *limits = (struct ft_session_limits){.train = true, .longest = spec->train->longest, .step_documents = batch,
                                          .recompute = spec->recompute};
    if (spec->valid) raise_to(&limits->longest, spec->valid->longest);
    enum ft_status status = ft_prefixes_init(&s.prefixes, batch, error);
    if (!status) status = ft_alloc(&s.prompt, batch, sizeof *s.prompt, error);
    if (!status) status = ft_alloc(&s.length, batch, sizeof *s.length, error);
    if (!status) status = see_training(&s, error);
    if (!status && spec->valid) status = see_validation(&s, error);
    if (limits->prompts == 0) limits->prompts = FT_NO_PROMPTS;
    ft_prefixes_release(&s.prefixes);
    free(s.length);
    free(s.prompt);
    free(s.outline);
    return status;
}
