/* SPDX-License-Identifier: MIT
 *
 * The directory of a training run: what is in it, who may go on with it, and the loop that fills it.
 *
 *     run.json        digests of model, data and recipe: the run's identity, the first file written
 *     recipe.json     the recipe as resolved
 *     metrics.jsonl   see metrics.h
 *     checkpoint/     see checkpoint.h
 *     adapter_model.safetensors, adapter_config.json      of a LoRA run, when it is complete
 *     model.safetensors, config.json, tokenizer files     of a full run: the directory is then a model
 *     provenance.json, SHA256SUMS                         last: a run with SHA256SUMS is complete
 *
 * Order of calls: ft_run_look; make the model and the trainer; ft_run_open; ft_run_train; when it says that all
 * steps are done ft_run_deliver, and provenance by the caller; ft_run_close.
 */
#ifndef FT_RUN_H
#define FT_RUN_H

#include "ft/checkpoint.h"
#include "ft/trainer.h"

#include <signal.h>
#include <stdint.h>

/* All borrowed. Digests are hexadecimal SHA-256. */
struct ft_run_spec {
    const char *path;  /* the run */
    const char *model; /* the base model's directory */
    const char *model_sha256, *train_sha256, *valid_sha256; /* valid NULL: none */
    const struct ft_recipe *recipe;
    bool resume; /* go on with an unfinished run of the same identity */
    bool force;  /* replace a run of another identity, or (without resume) any run */
};

enum ft_run_found { FT_RUN_START, FT_RUN_RESUME, FT_RUN_COMPLETE };

/* Looks at the run's directory and decides; changes nothing. FT_USAGE or FT_MISMATCH with the remedy when the directory
 * is somebody else's, or of another model, data set or recipe. FT_RUN_COMPLETE: the same run has been done already. */
enum ft_status ft_run_look(const struct ft_run_spec *spec, enum ft_run_found *found, struct ft_error *error);

/* What is worth telling while it runs; each may be NULL. */
struct ft_run_events {
    void (*step)(void *arg, const struct ft_step *step, uint64_t steps);
    void (*evaluated)(void *arg, uint64_t step, const struct ft_loss_sum *sum, bool best);
    void *arg;
};

struct ft_run;

/* Takes the directory's lock (one process a run), then makes the directory, or brings trainer and metrics to the last checkpoint. Damage found on the way is an error that
 * leaves the directory as it was. */
enum ft_status ft_run_open(struct ft_run **run, const struct ft_run_spec *spec, enum ft_run_found found,
                           struct ft_trainer *trainer, struct ft_model *model, struct ft_exec *exec,
                           struct ft_error *error);
void ft_run_close(struct ft_run *run); /* NULL is fine */

/* Steps until the end, early stopping, *stop != 0, or `until` steps in all are done (0: no such bound); leaves a
 * checkpoint in each case. *done: no step is left. */
enum ft_status ft_run_train(struct ft_run *run, const volatile sig_atomic_t *stop, uint64_t until,
                            const struct ft_run_events *events, bool *done, struct ft_error *error);

/* Writes the best weights (the last ones without a validation set) as adapter or model. What is left to make the run
 * complete are provenance.json and SHA256SUMS. */
enum ft_status ft_run_deliver(struct ft_run *run, struct ft_error *error);

/* After ft_run_deliver: how many of the trained numbers, as delivered, differ from what the run began with, of how many.
 * Few mean that updates round away or never came. LoRA's A begins at random, so only B counts; false when there is
 * nothing to compare with (random weights). */
bool ft_run_moved(const struct ft_run *run, uint64_t *moved, uint64_t *of);

const struct ft_checkpoint *ft_run_state(const struct ft_run *run);

#endif
