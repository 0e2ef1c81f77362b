/* SPDX-License-Identifier: MIT
 *
 * One line on standard error that is redrawn, only on a terminal: label, share done, rate, time left.
 * NO_COLOR and TERM=dumb are respected. Nothing it shows goes into an artifact.
 */
#ifndef FT_PROGRESS_H
#define FT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct ft_progress {
    const char *label, *unit; /* "training", "tok" */
    uint64_t total;           /* 0: not known */
    double start, drawn;      /* seconds, monotonic */
    uint64_t first;
    bool on, shown;
};

void ft_progress_start(struct ft_progress *progress, const char *label, const char *unit, uint64_t total);
/* When resuming: units done before this process, left out of the rate. */
void ft_progress_resume(struct ft_progress *progress, uint64_t done);
/* Redraws at most ten times a second; `note` (may be NULL) is appended, e.g. "loss 1.234". */
void ft_progress_update(struct ft_progress *progress, uint64_t done, const char *note);
/* Erases the line, so that ordinary messages can follow. */
void ft_progress_end(struct ft_progress *progress);

/* Seconds of the monotonic clock. */
double ft_seconds(void);

#endif
