/* SPDX-License-Identifier: MIT */
#include "ft/batch.h"

#include "ft/memory.h"

#include <stdlib.h>

static void arrange(struct ft_batches *batches, uint64_t epoch) {
    for (size_t i = 0; i < batches->rows; i++) batches->order[i] = (uint32_t)i;
    if (batches->shuffle) ft_rng_shuffle(&batches->rng, (uint32_t)epoch, 0, batches->order, batches->rows);
    batches->epoch = epoch;
}

enum ft_status ft_batches_init(struct ft_batches *batches, size_t rows, size_t batch, bool shuffle, uint64_t seed,
                               struct ft_error *error) {
    if (rows > UINT32_MAX) return ft_fail(error, FT_LIMIT, "%zu rows: at most 2^32 - 1 are supported", rows);
    *batches = (struct ft_batches){
        .rows = rows,
        .batch = batch < rows ? batch : rows,
        .shuffle = shuffle,
        .rng = ft_rng_new(seed, FT_RNG_SHUFFLE),
    };
    enum ft_status status = ft_alloc(&batches->order, rows, sizeof *batches->order, error);
    if (!status) arrange(batches, 0);
    return status;
}

void ft_batches_release(struct ft_batches *batches) {
    free(batches->order);
    *batches = (struct ft_batches){0};
}

uint64_t ft_batches_per_epoch(const struct ft_batches *batches) {
    return (batches->rows + batches->batch - 1) / batches->batch;
}

struct ft_rows ft_batches_step(struct ft_batches *batches, uint64_t step) {
    uint64_t per_epoch = ft_batches_per_epoch(batches), epoch = step / per_epoch;
    if (epoch != batches->epoch) arrange(batches, epoch);
    size_t first = (size_t)(step % per_epoch) * batches->batch, left = batches->rows - first;
    return (struct ft_rows){.row = batches->order + first, .count = left < batches->batch ? left : batches->batch};
}

static size_t row_tokens(const struct ft_ftok_set *set, size_t row) { return set->start[row + 1] - set->start[row]; }

size_t ft_micro_next(const struct ft_micro *micro, const struct ft_ftok_set *set, struct ft_rows rest) {
    if (micro->rows) return micro->rows < rest.count ? micro->rows : rest.count;
    size_t tokens = 0, n = 0;
    while (n < rest.count) {
        size_t more = row_tokens(set, rest.row[n]);
        if (n && more > micro->tokens - (tokens < micro->tokens ? tokens : micro->tokens)) break;
        tokens += more;
        n++;
    }
    return n;
}

static int longer_first(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x < y) - (x > y);
}

/* Tokens of the `rows` longest rows of a set. */
static enum ft_status longest(const struct ft_ftok_set *set, size_t rows, size_t *tokens, struct ft_error *error) {
    size_t *length = NULL;
    enum ft_status status = ft_alloc(&length, set->rows, sizeof *length, error);
    if (status) return status;
    for (size_t i = 0; i < set->rows; i++) length[i] = row_tokens(set, i);
    qsort(length, set->rows, sizeof *length, longer_first);
    *tokens = 0;
    for (size_t i = 0; i < rows && i < set->rows; i++) *tokens += length[i];
    free(length);
    return FT_OK;
}

/* The same two bounds for one set. */
static enum ft_status bound_one(const struct ft_micro *micro, size_t batch, const struct ft_ftok_set *set,
                                size_t *tokens, size_t *rows, struct ft_error *error) {
    size_t n = micro->rows && micro->rows < batch ? micro->rows : batch, most;
    if (n > set->rows) n = set->rows;
    enum ft_status status = longest(set, n, &most, error);
    if (status) return status;
    if (!micro->rows) { /* a budget; a row that is longer goes alone */
        size_t budget = micro->tokens > set->longest ? micro->tokens : set->longest;
        if (most > budget) most = budget;
    }
    if (most > *tokens) *tokens = most;
    if (n > *rows) *rows = n;
    return FT_OK;
}

enum ft_status ft_micro_bound(const struct ft_micro *micro, size_t batch, const struct ft_ftok_set *train,
                              const struct ft_ftok_set *valid, size_t *tokens, size_t *rows, struct ft_error *error) {
    *tokens = *rows = 0;
    enum ft_status status = bound_one(micro, batch, train, tokens, rows, error);
    /* Validation cuts its rows by the same rule, from as many rows as a step has. */
    if (!status && valid) status = bound_one(micro, batch, valid, tokens, rows, error);
    return status;
}

struct ft_row_sums ft_rows_sum(const struct ft_ftok_set *set, struct ft_rows rows) {
    struct ft_row_sums sums = {0};
    for (size_t i = 0; i < rows.count; i++)
        for (size_t t = set->start[rows.row[i]]; t < set->start[rows.row[i] + 1]; t++) {
            sums.weight += (double)set->weights[t];
            sums.supervised += set->weights[t] > 0;
            sums.tokens++;
        }
    return sums;
}
