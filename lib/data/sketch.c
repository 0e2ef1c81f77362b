/* SPDX-License-Identifier: MIT */
#include "lint_internal.h"

#include <math.h>

enum { REGISTERS = 1 << SKETCH_BITS };

/* The hashes are well mixed: the top bits choose a register, the rest gives the rank. */
void sketch_add(struct sketch *sketch, const uint64_t *hash, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t rest = hash[i] << SKETCH_BITS | UINT64_C(1) << (SKETCH_BITS - 1);
        uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
        uint8_t *at = &sketch->rank[hash[i] >> (64 - SKETCH_BITS)];
        if (rank > *at) *at = rank;
    }
    sketch->count += count;
}

uint64_t sketch_distinct(const struct sketch *sketch) {
    double sum = 0.0, estimate;
    unsigned empty = 0;
    for (unsigned i = 0; i < REGISTERS; i++) {
        sum += ldexp(1.0, -(int)sketch->rank[i]);
        empty += sketch->rank[i] == 0;
    }
    estimate = 0.7213 / (1.0 + 1.079 / REGISTERS) * REGISTERS * REGISTERS / sum;
    if (estimate <= 2.5 * REGISTERS && empty)
        estimate = REGISTERS * log((double)REGISTERS / empty); /* linear counting */
    uint64_t distinct = (uint64_t)(estimate + 0.5);
    return distinct < sketch->count ? distinct : sketch->count;
}
