/* SPDX-License-Identifier: MIT
 *
 * metrics.jsonl: one JSON object a line, in trainer_state's names, appended as the run goes and cut back to the last
 * checkpoint when it resumes. Holds no time: the same run writes the same bytes. One process at a time: the run's lock.
 */
#ifndef FT_METRICS_H
#define FT_METRICS_H

#include "ft/error.h"
#include "ft/hash.h"
#include "ft/memory.h"
#include "ft/trainer.h"

#include <stdint.h>

struct ft_metrics {
    int file; /* descriptor */
    struct ft_buffer path, line;
    struct ft_sha256 hash; /* of all bytes so far */
    uint64_t size;
};

/* Checks that the first `size` bytes of the file have this digest; changes nothing. */
enum ft_status ft_metrics_check(const char *path, uint64_t size, const char *sha256, struct ft_error *error);

/* Opens or makes the file and cuts it to its first `size` bytes. Close with ft_metrics_close when it was FT_OK. */
enum ft_status ft_metrics_open(struct ft_metrics *metrics, const char *path, uint64_t size, struct ft_error *error);
void ft_metrics_close(struct ft_metrics *metrics);

/* {"step", "epoch", "loss", "learning_rate", "grad_norm", "num_input_tokens_seen", "num_supervised_tokens_seen"} */
enum ft_status ft_metrics_step(struct ft_metrics *metrics, const struct ft_step *step, struct ft_error *error);
/* {"step", "epoch", "eval_loss", "eval_accuracy", "eval_tokens", "eval_loss_sum", "eval_weight_sum"}: numerator and
 * denominator are published. */
enum ft_status ft_metrics_evaluation(struct ft_metrics *metrics, uint64_t step, double epoch,
                                     const struct ft_loss_sum *sum, struct ft_error *error);

/* Brings the file to the disk and says what it is so far. */
enum ft_status ft_metrics_sync(struct ft_metrics *metrics, uint64_t *size, char sha256[FT_SHA256_HEX],
                               struct ft_error *error);

#endif
