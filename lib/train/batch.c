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

size_t ft_micro_next(const struct ft_micro *micro, const uint32_t *tokens, size_t count) {
    if (micro->rows) return micro->rows < count ? micro->rows : count;
    size_t sum = 0, n = 0;
    while (n < count) {
        if (n && tokens[n] > micro->tokens - (sum < micro->tokens ? sum : micro->tokens)) break;
        sum += tokens[n++];
    }
    return n;
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
