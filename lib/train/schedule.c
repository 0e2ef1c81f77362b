/* SPDX-License-Identifier: MIT */
#include "ft/schedule.h"

#include "ft/elementary.h"

static const double pi = 0x1.921fb54442d18p+1;

struct ft_schedule ft_schedule_new(const struct ft_recipe *recipe, uint64_t steps) {
    double warmup = recipe->warmup < 1 ? recipe->warmup * (double)steps : recipe->warmup;
    uint64_t whole = (uint64_t)warmup;
    if ((double)whole < warmup) whole++;
    return (struct ft_schedule){
        .kind = recipe->schedule,
        .steps = steps,
        .warmup = whole < steps ? whole : steps,
        .lr = recipe->lr,
        .min_lr = recipe->min_lr,
    };
}

double ft_schedule_lr(const struct ft_schedule *schedule, uint64_t step) {
    if (step < schedule->warmup) return schedule->lr * ((double)(step + 1) / (double)schedule->warmup);
    if (schedule->kind == FT_SCHEDULE_CONSTANT || schedule->steps == schedule->warmup) return schedule->lr;
    double x = (double)(step - schedule->warmup) / (double)(schedule->steps - schedule->warmup);
    if (x > 1) x = 1;
    double shape = schedule->kind == FT_SCHEDULE_LINEAR ? 1 - x : (1 + ft_cos(pi * x)) * 0.5;
    return schedule->lr * (schedule->min_lr + (1 - schedule->min_lr) * shape);
}

double ft_power(double base, uint64_t exponent) {
    double power = 1;
    /* Underflow to zero is final: the loop need not go on for millions of steps. */
    for (uint64_t i = 0; i < exponent && power != 0; i++) power *= base;
    return power;
}

struct ft_adamw ft_adamw_step(const struct ft_recipe *recipe, double lr, const double beta_power[2]) {
    return (struct ft_adamw){
        .lr = (float)lr,
        .beta1 = (float)recipe->beta1,
        .beta2 = (float)recipe->beta2,
        .one_minus_beta1 = (float)(1 - recipe->beta1),
        .one_minus_beta2 = (float)(1 - recipe->beta2),
        .eps = (float)recipe->eps,
        .inv_bias1 = (float)(1 / (1 - beta_power[0])),
        .inv_bias2 = (float)(1 / (1 - beta_power[1])),
        .lr_decay = (float)(lr * recipe->weight_decay),
        .grad_scale = 1,
    };
}

float ft_clip_scale(double norm, double clip) { return clip > 0 && norm > clip ? (float)(clip / norm) : 1.0f; }
