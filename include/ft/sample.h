/* SPDX-License-Identifier: MIT
 *
 * One token from a row of logits. Greedy: the greatest logit, the lowest id of equals. Sampling, in binary64:
 *
 *     candidates   in order of (logit descending, id ascending); the first top_k of them (0: all) count
 *     weight       exp((logit - greatest logit) / temperature)
 *     total        the sum of the weights of those that count, in ascending id
 *     prefix       with top_p < 1 the shortest one whose weights, added in order, reach top_p * total
 *     token        the first in order whose weights added in order exceed uniform * (weight of the prefix, or
 *                  total with top_p 1), or the prefix's last
 *
 * Only as much of the order is made as is looked at.
 */
#ifndef FT_SAMPLE_H
#define FT_SAMPLE_H

#include "ft/exec.h"

#include <stddef.h>
#include <stdint.h>

struct ft_sampling {
    double temperature; /* 0: greedy */
    double top_p;       /* in (0, 1] */
    size_t top_k;       /* 0: all */
    uint64_t seed;
};

struct ft_candidate {
    float logit;
    uint32_t id;
};

/* A logit that is NaN or +infinity is returned at once, for the caller to find. */
uint32_t ft_sample_greedy(const float *logits, size_t vocab);
/* The same, by the calling thread alone. uniform in [0, 1). scratch: [vocab]. temperature > 0. */
uint32_t ft_sample(const struct ft_exec *exec, const struct ft_sampling *how, const float *logits, size_t vocab,
                   double uniform, struct ft_candidate *scratch);

#endif
