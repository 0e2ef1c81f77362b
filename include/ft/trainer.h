/* SPDX-License-Identifier: MIT
 *
 * Optimizer steps over a token stream: forward and backward by micro-batches, gradient norm, clipping, AdamW, and
 * validation over a whole set. All memory is taken by ft_trainer_new; a step allocates nothing and touches no file.
 *
 * A step, in this order (ft-num-1, rules 6 and 8): weight = 1 / (sum of the loss weights of the step's rows); micro-batches
 * in row order; per tensor in name order the sum of squares of its gradient, binary64, added up; norm = sqrt; scale =
 * clip / norm if norm > clip; AdamW on every tensor with the step's learning rate. Weight decay applies to matrices (rank
 * 2: linear maps, embeddings, LoRA's A and B), not to vectors (norms, biases).
 */
#ifndef FT_TRAINER_H
#define FT_TRAINER_H

#include "ft/batch.h"
#include "ft/exec.h"
#include "ft/ftok.h"
#include "ft/model.h"
#include "ft/recipe.h"
#include "ft/session.h"

#include <stddef.h>
#include <stdint.h>

/* All borrowed: they must outlive the trainer. The model has what is trained already attached. */
struct ft_trainer_spec {
    const struct ft_recipe *recipe; /* resolved */
    struct ft_model *model;
    struct ft_exec *exec;
    const struct ft_ftok_set *train, *valid; /* valid NULL: no validation */
    const char *train_name, *valid_name;     /* in messages */
    size_t micro_rows;                       /* rows of a micro-batch; 0: by FT_MICRO_TOKENS */
    bool recompute;                          /* struct ft_session_limits */
};

struct ft_trainer;

/* FT_FORMAT naming file and record for a row that has nothing to learn or is longer than the model reads. */
enum ft_status ft_trainer_check_set(const struct ft_model *model, const struct ft_ftok_set *set, const char *name,
                                    struct ft_error *error);

/* How long the run is, in optimizer steps: of an epoch and altogether. */
void ft_trainer_length(const struct ft_recipe *recipe, size_t rows, uint64_t *per_epoch, uint64_t *steps);

/* The limits of the session that a trainer will make: just what the run's batches need. */
enum ft_status ft_trainer_limits(const struct ft_trainer_spec *spec, struct ft_session_limits *limits,
                                 struct ft_error *error);
/* Bytes of moments and of packed steps, for these limits. */
void ft_trainer_size(const struct ft_trainer_spec *spec, const struct ft_session_limits *limits, size_t *moments,
                     size_t *data);

enum ft_status ft_trainer_new(struct ft_trainer **trainer, const struct ft_trainer_spec *spec, struct ft_error *error);
void ft_trainer_free(struct ft_trainer *trainer); /* NULL is fine */

uint64_t ft_trainer_steps(const struct ft_trainer *trainer);     /* of the whole run */
uint64_t ft_trainer_per_epoch(const struct ft_trainer *trainer); /* of an epoch */
uint64_t ft_trainer_done(const struct ft_trainer *trainer);      /* steps taken */

/* What is trained, in name order, with value, m and v. */
struct ft_parameter *const *ft_trainer_tensors(const struct ft_trainer *trainer, size_t *count);

/* Goes to where `done` steps have been taken, after values and moments were put into the tensors. */
void ft_trainer_restore(struct ft_trainer *trainer, uint64_t done, uint64_t tokens, uint64_t supervised);

struct ft_step {
    uint64_t step;  /* steps taken, this one included */
    double epoch;   /* epochs done, this step included */
    double loss;    /* mean over the step's supervised tokens, weighted */
    double lr, grad_norm;
    uint64_t tokens, supervised; /* seen since the start of the run */
};

/* Takes the next step. FT_NONFINITE naming step, row or tensor; the run cannot go on then. */
enum ft_status ft_trainer_step(struct ft_trainer *trainer, struct ft_step *step, struct ft_error *error);

/* Sums over the whole validation set. */
enum ft_status ft_trainer_evaluate(struct ft_trainer *trainer, struct ft_loss_sum *sum, struct ft_error *error);

#endif
