/* SPDX-License-Identifier: MIT */
#include "ft/trainer.h"

#include "ft/memory.h"
#include "ft/schedule.h"
#include "survey.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A step as the session wants it: rows copied one behind the other. */
struct packed {
    size_t *start;
    uint32_t *length; /* tokens that micro-batches are cut by */
    uint32_t *ids;
    float *weights;
};

struct ft_trainer {
    struct ft_trainer_spec spec;
    struct ft_session *session;
    struct ft_parameter *const *tensor;
    size_t tensors;
    struct ft_batches batches;
    struct ft_micro micro;
    struct ft_session_limits limits;
    struct ft_schedule schedule;
    struct ft_arena arena; /* moments and packed rows */
    struct packed packed;
    uint32_t *valid_order; /* 0, 1, ...: rows of the validation set */
    uint64_t done, tokens, supervised;
    double beta_power[2]; /* beta^done */
};

/* --- checks and sizes ------------------------------------------------------------------------------------ */

static enum ft_status row_error(const struct ft_ftok_set *set, const char *name, size_t row, struct ft_error *error) {
    if (set->line[row]) ft_error_context(error, "%s: record %zu (source line %" PRIu64 ")", name, row + 1, set->line[row]);
    else ft_error_context(error, "%s: record %zu", name, row + 1);
    return error->status;
}

enum ft_status ft_trainer_check_set(const struct ft_model *model, const struct ft_ftok_set *set, const char *name,
                                    struct ft_error *error) {
    const struct ft_config *config = ft_model_config(model);
    if (set->rows == 0) return ft_fail(error, FT_FORMAT, "%s: no records: there is nothing to learn", name);
    if (set->vocab_size > config->vocab)
        return ft_fail(error, FT_MISMATCH, "%s: made for a vocabulary of %" PRIu32 " tokens, the model has %zu; make it anew "
                       "with ft-tokenize -m and this model", name, set->vocab_size, config->vocab);
    for (size_t r = 0; r < set->rows; r++) {
        size_t length = set->start[r + 1] - set->start[r], t = set->start[r];
        while (t < set->start[r + 1] && !(set->weights[t] > 0)) t++;
        struct ft_error inner;
        if (t == set->start[r + 1])
            ft_fail(&inner, FT_FORMAT, "no token to learn: every loss weight is 0; remove the record");
        else if (length > config->positions)
            ft_fail(&inner, FT_FORMAT, "%zu tokens, but the model reads at most %zu; use ft-tokenize --max-tokens %zu",
                    length, config->positions, config->positions);
        else continue;
        row_error(set, name, r, &inner);
        if (error) *error = inner;
        return inner.status;
    }
    return FT_OK;
}

void ft_trainer_length(const struct ft_recipe *recipe, size_t rows, uint64_t *per_epoch, uint64_t *steps) {
    uint64_t batch = recipe->batch < rows ? recipe->batch : rows;
    *per_epoch = (rows + batch - 1) / batch;
    *steps = recipe->steps;
    if (*steps) return;
    double wanted = recipe->epochs * (double)*per_epoch; /* < 2^20 * 2^32: exact enough, and far below 2^63 */
    *steps = (uint64_t)wanted;
    if ((double)*steps < wanted) ++*steps;
}

enum ft_status ft_trainer_limits(const struct ft_trainer_spec *spec, struct ft_session_limits *limits,
                                 struct ft_error *error) {
    return ft_survey(spec, limits, error);
}

static size_t trained_elements(const struct ft_model *model) {
    size_t count, sum = 0;
    struct ft_parameter *const *tensor = ft_model_trained(model, &count);
    for (size_t i = 0; i < count; i++) sum += tensor[i]->elements;
    return sum;
}

/* Bytes of m and v, each tensor aligned on its own. */
static size_t moments_size(const struct ft_model *model) {
    size_t count, bytes = 0;
    struct ft_parameter *const *tensor = ft_model_trained(model, &count);
    for (size_t i = 0; i < count; i++) bytes += 2 * ft_arena_cost(tensor[i]->elements, sizeof(float));
    return bytes;
}

static size_t packed_size(const struct ft_session_limits *limits, size_t valid_rows) {
    return ft_arena_cost(limits->step_documents + 1, sizeof(size_t)) +
           ft_arena_cost(limits->step_documents, sizeof(uint32_t)) +
           ft_arena_cost(limits->step_tokens, sizeof(uint32_t)) + ft_arena_cost(limits->step_tokens, sizeof(float)) +
           ft_arena_cost(valid_rows, sizeof(uint32_t));
}

void ft_trainer_size(const struct ft_trainer_spec *spec, const struct ft_session_limits *limits, size_t *moments,
                     size_t *data) {
    *moments = 2 * trained_elements(spec->model) * sizeof(float);
    *data = packed_size(limits, spec->valid ? spec->valid->rows : 0) + spec->train->rows * sizeof(uint32_t);
}

/* --- making and restoring -------------------------------------------------------------------------------- */

static enum ft_status take_memory(struct ft_trainer *t, struct ft_error *error) {
    size_t valid_rows = t->spec.valid ? t->spec.valid->rows : 0;
    size_t bytes = moments_size(t->spec.model) + packed_size(&t->limits, valid_rows);
    enum ft_status status = ft_arena_init(&t->arena, bytes, error);
    if (status) return status;
    for (size_t i = 0; i < t->tensors; i++) {
        t->tensor[i]->m = ft_arena_take(&t->arena, t->tensor[i]->elements, sizeof(float));
        t->tensor[i]->v = ft_arena_take(&t->arena, t->tensor[i]->elements, sizeof(float));
    }
    t->packed.start = ft_arena_take(&t->arena, t->limits.step_documents + 1, sizeof(size_t));
    t->packed.length = ft_arena_take(&t->arena, t->limits.step_documents, sizeof(uint32_t));
    t->packed.ids = ft_arena_take(&t->arena, t->limits.step_tokens, sizeof(uint32_t));
    t->packed.weights = ft_arena_take(&t->arena, t->limits.step_tokens, sizeof(float));
    t->valid_order = ft_arena_take(&t->arena, valid_rows, sizeof(uint32_t));
    assert(t->valid_order || valid_rows == 0);
    for (size_t i = 0; i < valid_rows; i++) t->valid_order[i] = (uint32_t)i;
    return FT_OK;
}

enum ft_status ft_trainer_new(struct ft_trainer **out, const struct ft_trainer_spec *spec, struct ft_error *error) {
    struct ft_trainer *t = NULL;
    enum ft_status status = ft_alloc(&t, 1, sizeof *t, error);
    if (status) return status;
    const struct ft_recipe *recipe = spec->recipe;
    uint64_t per_epoch, steps;
    ft_trainer_length(recipe, spec->train->rows, &per_epoch, &steps);
    t->spec = *spec;
    t->micro = ft_micro_of(spec->micro_rows);
    t->schedule = ft_schedule_new(recipe, steps);
    t->tensor = ft_model_trained(spec->model, &t->tensors);
    t->beta_power[0] = t->beta_power[1] = 1;
    status = ft_trainer_limits(spec, &t->limits, error);
    if (!status)
        status = ft_batches_init(&t->batches, spec->train->rows, (size_t)recipe->batch, recipe->shuffle, recipe->seed, error);
    if (!status) status = take_memory(t, error);
    if (!status) status = ft_session_new(&t->session, spec->model, spec->exec, &t->limits, error);
    if (status) ft_trainer_free(t);
    else *out = t;
    return status;
}

void ft_trainer_free(struct ft_trainer *trainer) {
    if (!trainer) return;
    ft_session_free(trainer->session);
    for (size_t i = 0; i < trainer->tensors; i++) trainer->tensor[i]->m = trainer->tensor[i]->v = NULL;
    ft_arena_release(&trainer->arena);
    ft_batches_release(&trainer->batches);
    free(trainer);
}

uint64_t ft_trainer_steps(const struct ft_trainer *trainer) { return trainer->schedule.steps; }
uint64_t ft_trainer_per_epoch(const struct ft_trainer *trainer) { return ft_batches_per_epoch(&trainer->batches); }
uint64_t ft_trainer_done(const struct ft_trainer *trainer) { return trainer->done; }

struct ft_parameter *const *ft_trainer_tensors(const struct ft_trainer *trainer, size_t *count) {
    *count = trainer->tensors;
    return trainer->tensor;
}

void ft_trainer_restore(struct ft_trainer *trainer, uint64_t done, uint64_t tokens, uint64_t supervised) {
    trainer->done = done;
    trainer->tokens = tokens;
    trainer->supervised = supervised;
    trainer->beta_power[0] = ft_power(trainer->spec.recipe->beta1, done);
    trainer->beta_power[1] = ft_power(trainer->spec.recipe->beta2, done);
}

/* --- a step ---------------------------------------------------------------------------------------------- */

static struct ft_batch pack(struct packed *packed, const struct ft_ftok_set *set, struct ft_rows rows) {
    size_t at = 0;
    packed->start[0] = 0;
    for (size_t i = 0; i < rows.count; i++) {
        size_t first = set->start[rows.row[i]], length = set->start[rows.row[i] + 1] - first;
        memcpy(packed->ids + at, set->ids + first, length * sizeof *packed->ids);
        memcpy(packed->weights + at, set->weights + first, length * sizeof *packed->weights);
        at += length;
        packed->start[i + 1] = at;
        packed->length[i] = (uint32_t)length;
    }
    return (struct ft_batch){
        .documents = rows.count, .start = packed->start, .ids = packed->ids, .weights = packed->weights};
}

/* A micro-batch had a loss that is not finite: finds the first row at fault by evaluating one row after the other. */
static enum ft_status name_row(struct ft_trainer *t, const struct ft_ftok_set *set, const char *name,
                               struct ft_rows rows, struct ft_error *error) {
    for (size_t i = 0; i < rows.count; i++) {
        struct ft_batch one = pack(&t->packed, set, (struct ft_rows){.row = rows.row + i, .count = 1});
        if (ft_session_evaluate(t->session, &one, NULL, NULL, NULL, NULL) == FT_OK) continue;
        return row_error(set, name, rows.row[i], error);
    }
    return error->status;
}

/* Documents [at, at + count) of what is packed. */
static struct ft_batch part_of(const struct ft_batch *all, size_t at, size_t count) {
    return (struct ft_batch){.documents = count, .start = all->start + at, .ids = all->ids, .weights = all->weights};
}

static enum ft_status accumulate(struct ft_trainer *t, struct ft_rows rows, float inv_weight, struct ft_loss_sum *sum,
                                 struct ft_error *error) {
    struct ft_batch step = pack(&t->packed, t->spec.train, rows);
    enum ft_status status = ft_session_begin_step(t->session, &step, error);
    for (size_t d = 0; d < rows.count && !status; d++) t->packed.length[d] -= (uint32_t)ft_session_shared(t->session, d);
    for (size_t at = 0, count; at < rows.count && !status; at += count) {
        count = ft_micro_next(&t->micro, t->packed.length + at, rows.count - at);
        struct ft_batch batch = part_of(&step, at, count);
        status = ft_session_step(t->session, &batch, inv_weight, sum, error);
        if (status == FT_NONFINITE)
            return name_row(t, t->spec.train, t->spec.train_name, (struct ft_rows){rows.row + at, count}, error);
    }
    if (!status) ft_session_end_step(t->session);
    return status;
}

/* 2-norm of the whole gradient: binary64 over tensors in name order. */
static enum ft_status gradient_norm(struct ft_trainer *t, double *norm, struct ft_error *error) {
    double sum = 0;
    for (size_t i = 0; i < t->tensors; i++) {
        double squares = ft_sum_squares(t->spec.exec, t->tensor[i]->elements, t->tensor[i]->grad);
        if (!isfinite(squares))
            return ft_fail(error, FT_NONFINITE, "the gradient of %s is not finite", t->tensor[i]->name);
        sum += squares;
    }
    *norm = sqrt(sum);
    return FT_OK;
}

static void update(struct ft_trainer *t, double lr, double norm) {
    const struct ft_recipe *recipe = t->spec.recipe;
    t->beta_power[0] *= recipe->beta1;
    t->beta_power[1] *= recipe->beta2;
    struct ft_adamw matrix = ft_adamw_step(recipe, lr, t->beta_power);
    matrix.grad_scale = ft_clip_scale(norm, recipe->clip);
    struct ft_adamw vector = matrix;
    vector.lr_decay = 0;
    for (size_t i = 0; i < t->tensors; i++) {
        struct ft_parameter *p = t->tensor[i];
        ft_adamw(t->spec.exec, p->rank > 1 ? &matrix : &vector, p->elements, p->value, p->grad, p->m, p->v);
    }
}

static enum ft_status take_step(struct ft_trainer *t, struct ft_step *step, struct ft_error *error) {
    struct ft_rows rows = ft_batches_step(&t->batches, t->done);
    struct ft_row_sums sums = ft_rows_sum(t->spec.train, rows);
    struct ft_loss_sum loss = {0};
    double norm = 0, lr = ft_schedule_lr(&t->schedule, t->done);
    enum ft_status status = accumulate(t, rows, (float)(1.0 / sums.weight), &loss, error);
    if (status) return status;
    status = gradient_norm(t, &norm, error);
    if (status) return status;
    update(t, lr, norm);
    t->done++;
    t->tokens += sums.tokens;
    t->supervised += sums.supervised;
    *step = (struct ft_step){
        .step = t->done,
        .epoch = (double)t->done / (double)ft_batches_per_epoch(&t->batches),
        .loss = loss.loss / loss.weight,
        .lr = lr,
        .grad_norm = norm,
        .tokens = t->tokens,
        .supervised = t->supervised,
    };
    return FT_OK;
}

enum ft_status ft_trainer_step(struct ft_trainer *trainer, struct ft_step *step, struct ft_error *error) {
    enum ft_status status = take_step(trainer, step, error);
    if (status == FT_NONFINITE) {
        ft_error_context(error, "step %" PRIu64, trainer->done + 1);
        size_t used = strlen(error->message);
        static const char advice[] = "; a lower lr or a longer warmup usually helps";
        if (used + sizeof advice <= sizeof error->message) memcpy(error->message + used, advice, sizeof advice);
    }
    return status;
}

enum ft_status ft_trainer_evaluate(struct ft_trainer *t, struct ft_loss_sum *sum, struct ft_error *error) {
    const struct ft_ftok_set *set = t->spec.valid;
    *sum = (struct ft_loss_sum){0};
    for (size_t at = 0; at < set->rows;) {
        size_t left = set->rows - at, most = t->batches.batch < left ? t->batches.batch : left;
        struct ft_rows rows = {.row = t->valid_order + at, .count = most};
        struct ft_batch all = pack(&t->packed, set, rows);
        enum ft_status status = FT_OK;
        for (size_t first = 0, count; first < most && !status; first += count) {
            count = ft_micro_next(&t->micro, t->packed.length + first, most - first);
            struct ft_batch batch = part_of(&all, first, count);
            status = ft_session_evaluate(t->session, &batch, NULL, NULL, sum, error);
            if (status == FT_NONFINITE)
                return name_row(t, set, t->spec.valid_name, (struct ft_rows){rows.row + first, count}, error);
        }
        if (status) return status;
        at += most;
    }
    return FT_OK;
}
