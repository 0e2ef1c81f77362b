/* SPDX-License-Identifier: MIT
 *
 * The state of an interrupted run, so that going on gives the bytes that an uninterrupted one would have given.
 * A directory `checkpoint` in the run holds
 *
 *     state.json                    numbers, and the digests of the files below and of itself; replaced by rename
 *     state-STEP.safetensors        binary32 weights, first and second moments after STEP steps
 *     best-STEP.safetensors         weights of the best validation loss so far, when there is one
 *
 * New tensor files are written first, then state.json, then what it no longer names is removed: a crash at any moment
 * leaves one state that is whole. Tensors are tables of trained parameters in name order, with value, m and v set. What is read back is checked like any foreign file.
 */
#ifndef FT_CHECKPOINT_H
#define FT_CHECKPOINT_H

#include "ft/error.h"
#include "ft/hash.h"
#include "ft/model.h"
#include "ft/safetensors.h"

#include <stddef.h>
#include <stdint.h>

struct ft_checkpoint {
    char identity[FT_SHA256_HEX]; /* of recipe, model, data and numerics: who may resume */
    uint64_t step;                /* optimizer steps done */
    uint64_t tokens, supervised;  /* seen so far */
    uint64_t metrics_size;        /* of metrics.jsonl at that step */
    char metrics_sha256[FT_SHA256_HEX];
    bool has_best;
    uint64_t best_step;
    double best_loss;
    char best_sha256[FT_SHA256_HEX];
    uint64_t stale;    /* evaluations since the best one */
    bool stopped;      /* patience ran out at this step */
};

/* Writes the best weights so far; they count once ft_checkpoint_save has named them. */
enum ft_status ft_checkpoint_save_best(const char *run, uint64_t step, struct ft_parameter *const *tensors, size_t count,
                                       char sha256[FT_SHA256_HEX], struct ft_error *error);
enum ft_status ft_checkpoint_save(const char *run, const struct ft_checkpoint *checkpoint,
                                  struct ft_parameter *const *tensors, size_t count, struct ft_error *error);

/* True when the run has a state.json. */
bool ft_checkpoint_exists(const char *run);

/* Reads and checks state.json alone. FT_FORMAT naming file and remedy when it is damaged. */
enum ft_status ft_checkpoint_peek(const char *run, struct ft_checkpoint *checkpoint, struct ft_error *error);

/* Reads the tensors of the checkpoint that was peeked into value, m and v: all names, shapes and digests must be right;
 * the best weights' digest is checked as well. On failure the tensors may be partly overwritten. */
enum ft_status ft_checkpoint_load(const char *run, const struct ft_checkpoint *checkpoint, struct ft_parameter *const *tensors,
                                  size_t count, struct ft_error *error);

/* Opens the best weights (a tensor a name, F32), digest checked. Close with ft_safetensors_close. */
enum ft_status ft_checkpoint_open_best(const char *run, const struct ft_checkpoint *checkpoint,
                                       struct ft_safetensors **best, struct ft_error *error);

/* Removes what the checkpoint does not name: leftovers of a crash. */
enum ft_status ft_checkpoint_tidy(const char *run, const struct ft_checkpoint *checkpoint, struct ft_error *error);

/* Removes the whole checkpoint directory. */
enum ft_status ft_checkpoint_remove(const char *run, struct ft_error *error);

#endif
