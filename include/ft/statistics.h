/* SPDX-License-Identifier: MIT
 *
 * What an evaluation may claim: intervals for one system and a paired comparison of two on the same records.
 * Binary64 without libm and with counter-based randomness, so a report has the same bytes everywhere.
 */
#ifndef FT_STATISTICS_H
#define FT_STATISTICS_H

#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

struct ft_interval {
    double low, high;
};

/* 95 % score interval of a proportion (Wilson 1927): sound at 0 and 1, where the bootstrap is not. */
struct ft_interval ft_wilson(uint64_t successes, uint64_t count);

/* One quantity measured on the same n records for two systems: system s has the value
 * sum(numerator[s]) / sum(denominator). With a denominator of ones it is a mean; with token weights, a
 * token-weighted mean. */
struct ft_paired {
    const double *numerator[2]; /* [n] each: base, tuned */
    const double *denominator;  /* [n], >= 0, not all 0 */

    /* results */
    double value[2];
    struct ft_interval interval[2];     /* 95 %, percentile bootstrap over records */
    double difference;                  /* value[1] - value[0] */
    struct ft_interval difference_interval; /* 95 %, paired percentile bootstrap (the same records drawn for both) */
    double p_value; /* two-sided sign-flip permutation test of the summed differences: (1 + hits) / (1 + resamples) */
};

/* Fills the results of `count` quantities over the same n >= 1 records; resample r draws the same records for all of them
 * (ft_rng: FT_RNG_BOOTSTRAP, step r, tensor 0; the permutation test uses tensor 1). */
enum ft_status ft_compare_paired(struct ft_paired *quantity, size_t count, size_t n, uint64_t seed, size_t resamples,
                                 struct ft_error *error);

#endif
