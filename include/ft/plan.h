/* SPDX-License-Identifier: MIT
 *
 * What a run will take, told before it runs: bytes by category, floating-point operations, an estimate of the time.
 */
#ifndef FT_PLAN_H
#define FT_PLAN_H

#include "ft/trainer.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct ft_plan {
    size_t weights;     /* frozen ones: packed, or the model's files as they are mapped */
    size_t trained;     /* binary32 masters and gradients of what is trained */
    size_t moments;     /* AdamW's two */
    size_t activations, workspace, head, embedding; /* the session's */
    size_t data;        /* token streams, packed steps */
    size_t program;     /* the program, its libraries, scratch of its kernels */
    size_t total;
    size_t parameters, trainable; /* counts */
    uint64_t rows, supervised, per_epoch, steps;
    double flops;       /* of all steps: products and attention, forward and backward */
    double rate;        /* measured: operations a second of a large product on all threads; 0: not measured */
    double seconds;     /* flops / (rate * FT_PLAN_SHARE) */
};

/* What the program takes before it has read anything; measured. */
#define FT_PLAN_PROGRAM ((size_t)5 << 20)

/* The share of the product's rate that whole steps of small models reach. An estimate, not a promise. */
#define FT_PLAN_SHARE 0.6

/* The model has what is trained attached. Measures the machine for some 50 ms. */
enum ft_status ft_plan_make(struct ft_plan *plan, const struct ft_trainer_spec *spec, struct ft_error *error);

/* A table in words, or one JSON object, to `out`. */
enum ft_status ft_plan_print(const struct ft_plan *plan, bool json, FILE *out, struct ft_error *error);

#endif
