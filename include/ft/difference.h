/* SPDX-License-Identifier: MIT
 *
 * How far two models' next-token distributions are apart on the same token sequences: what a merge or an export
 * changed.
 */
#ifndef FT_DIFFERENCE_H
#define FT_DIFFERENCE_H

#include "ft/exec.h"
#include "ft/model.h"

#include <stddef.h>
#include <stdint.h>

struct ft_difference {
    double max_logit;   /* largest |logit a - logit b| */
    double mean_kl;     /* mean over positions of KL(a || b), nats */
    double max_kl;
    double agreement;   /* share of positions with the same most probable token */
    size_t positions;
};

/* Sequences are ids[start[i] .. start[i+1]), i < count; each is cut to the models' context. Both models have one vocabulary. */
enum ft_status ft_difference_measure(struct ft_difference *difference, struct ft_exec *exec, struct ft_model *a,
                                     struct ft_model *b, const uint32_t *ids, const size_t *start, size_t count,
                                     struct ft_error *error);

/* `count` ids spread over the vocabulary, the same for every call: a probe when there is no text at hand. */
void ft_difference_probe(uint32_t *ids, size_t count, size_t vocab);

/* ft_difference_measure on the first records of a token stream (probe; of `name`'s vocabulary), or, with probe NULL, on
 * a few short fixed random sequences. */
enum ft_status ft_difference_on(struct ft_difference *difference, struct ft_exec *exec, struct ft_model *a, struct ft_model *b,
                                const char *probe, const char *name, struct ft_error *error);

#endif
