/* SPDX-License-Identifier: MIT
 *
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011), ft-num-1 rule 9. A number is
 * a pure function of (seed, purpose, step, tensor, index): there is no state to save, and the order of
 * evaluation cannot matter. The key is the first two words of Philox under the seed of the counter (purpose,
 * 0, 0, 0).
 */
#ifndef FT_RNG_H
#define FT_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Numbers are part of the recipe's meaning: append, never renumber. */
enum ft_rng_purpose {
    FT_RNG_INIT = 1, /* initial weights; tensor: low 32 bits of the XXH3 of its name */
    FT_RNG_SHUFFLE,  /* order of records; step: epoch */
    FT_RNG_DROPOUT,
    FT_RNG_SAMPLE, /* generation; step: record, index: position */
    FT_RNG_BOOTSTRAP,
    FT_RNG_SPLIT,
    FT_RNG_NOISE, /* NEFTune */
    FT_RNG_TEST,
};

struct ft_rng {
    uint32_t key[2];
};

struct ft_rng ft_rng_new(uint64_t seed, enum ft_rng_purpose purpose);

/* The bare bijection: ten rounds over the counter. */
void ft_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Four words of counter (index low, index high, tensor, step). */
void ft_rng_u32x4(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index, uint32_t out[4]);

/* Number `index` of a sequence in which each counter gives four: word index % 4 of counter index / 4. */
uint32_t ft_rng_u32(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index);
/* Two words of counter `index` as one. Sequences of ft_rng_u64 and ft_rng_u32 overlap: use one kind per
 * (step, tensor). */
uint64_t ft_rng_u64(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index);

/* Uniform in [0, 1): the top 24 bits of ft_rng_u32, exact in binary32. */
float ft_rng_uniform(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index);
/* Uniform in [0, 1): the top 53 bits of ft_rng_u64, exact in binary64. */
double ft_rng_uniform_double(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index);

/* Uniform in [0, bound), bound > 0, without modulo bias (Lemire 2019): from ft_rng_u64's counter `index`, and
 * where that is rejected from index + k * 2^56, k = 1, 2, ...; index must be below 2^56. */
uint64_t ft_rng_bounded(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint64_t index,
                        uint64_t bound);

/* Fisher-Yates over items[0..count): item i (from count - 1 down to 1) swaps with bounded(index i, i + 1). */
void ft_rng_shuffle(const struct ft_rng *rng, uint32_t step, uint32_t tensor, uint32_t *items, size_t count);

#endif
