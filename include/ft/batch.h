/* SPDX-License-Identifier: MIT
 *
 * Which rows of a token stream make which optimizer step, and how a step's rows are cut into micro-batches. The
 * rows of a step and their order are a function of (rows, batch, shuffle, seed, step); the cut into micro-batches is
 * free, because it cannot change a bit (ft-num-1, rules 2 and 6).
 */
#ifndef FT_BATCH_H
#define FT_BATCH_H

#include "ft/ftok.h"
#include "ft/rng.h"

#include <stddef.h>
#include <stdint.h>

/* Rows that go together, in order. */
struct ft_rows {
    const uint32_t *row;
    size_t count;
};

struct ft_batches {
    uint32_t *order; /* [rows], of `epoch`; owned */
    size_t rows, batch;
    uint64_t epoch;
    struct ft_rng rng;
    bool shuffle;
};

/* rows >= 1, batch >= 1. Release with ft_batches_release. */
enum ft_status ft_batches_init(struct ft_batches *batches, size_t rows, size_t batch, bool shuffle, uint64_t seed,
                               struct ft_error *error);
void ft_batches_release(struct ft_batches *batches);

/* ceil(rows / batch): an epoch visits every row once, its last step may be smaller. */
uint64_t ft_batches_per_epoch(const struct ft_batches *batches);

/* Rows of step s = 0, 1, ...; valid until the next call. Allocates nothing. */
struct ft_rows ft_batches_step(struct ft_batches *batches, uint64_t step);

/* How many rows a micro-batch takes: `rows` of them, or, with rows 0, as many as fit in `tokens` (at least one). */
struct ft_micro {
    size_t rows, tokens;
};

/* Tokens of a micro-batch unless the user says how many rows it has: enough to fill the kernels, little enough to keep
 * activations small. */
#define FT_MICRO_TOKENS 2048u

static inline struct ft_micro ft_micro_of(size_t rows) {
    return (struct ft_micro){.rows = rows, .tokens = FT_MICRO_TOKENS};
}

/* How many of the next `count` rows, which have so many tokens each, make the next micro-batch (>= 1 when count >= 1). */
size_t ft_micro_next(const struct ft_micro *micro, const uint32_t *tokens, size_t count);

/* Sum of the loss weights of rows, binary64 in row and token order, and counts of tokens. */
struct ft_row_sums {
    double weight;
    uint64_t tokens, supervised;
};
struct ft_row_sums ft_rows_sum(const struct ft_ftok_set *set, struct ft_rows rows);

#endif
