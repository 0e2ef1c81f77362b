/* SPDX-License-Identifier: MIT
 *
 * What changes from step to step in the optimizer: learning rate and AdamW's bias corrections. Binary64 throughout,
 * without libm, rounded to binary32 once (ft-num-1, rules 4 and 8).
 */
#ifndef FT_SCHEDULE_H
#define FT_SCHEDULE_H

#include "ft/recipe.h"
#include "ft/rows.h"

#include <stdint.h>

struct ft_schedule {
    enum ft_schedule_kind kind;
    uint64_t steps;  /* of the whole run */
    uint64_t warmup; /* steps, at most `steps` */
    double lr, min_lr; /* min_lr as a share of lr */
};

/* warmup: steps when >= 1, else that share of `steps`, rounded up. */
struct ft_schedule ft_schedule_new(const struct ft_recipe *recipe, uint64_t steps);

/* The rate of step s = 0, 1, ... For s < warmup: lr * (s + 1) / warmup. Then with x = (s - warmup) / (steps - warmup):
 * cosine lr * (min + (1 - min) * (1 + cos(pi x)) / 2), linear lr * (min + (1 - min) * (1 - x)), constant lr. */
double ft_schedule_lr(const struct ft_schedule *schedule, uint64_t step);

/* base^exponent by repeated multiplication, never pow(). */
double ft_power(double base, uint64_t exponent);

/* The numbers of step s = 0, 1, ...: lr and the decay of matrices (weight_decay * lr; the caller clears lr_decay for
 * vectors). beta_power[2] are beta1^(s+1) and beta2^(s+1) (ft_power, or the former ones times beta). grad_scale 1. */
struct ft_adamw ft_adamw_step(const struct ft_recipe *recipe, double lr, const double beta_power[2]);

/* The factor that brings a gradient of this 2-norm down to `clip`: 1 when clip is 0 or the norm is not above it. */
float ft_clip_scale(double norm, double clip);

#endif
