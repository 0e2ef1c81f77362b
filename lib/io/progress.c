/* SPDX-License-Identifier: MIT */
#include "ft/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double ft_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void ft_progress_start(struct ft_progress *progress, const char *label, const char *unit, uint64_t total) {
    const char *term = getenv("TERM");
    *progress = (struct ft_progress){.label = label, .unit = unit, .total = total};
    progress->on = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    progress->start = ft_seconds();
}

void ft_progress_resume(struct ft_progress *progress, uint64_t done) { progress->first = done; }

static void print_rate(double rate, const char *unit) {
    if (rate >= 1e6) fprintf(stderr, "  %.1fM %s/s", rate * 1e-6, unit);
    else if (rate >= 1e4) fprintf(stderr, "  %.1fk %s/s", rate * 1e-3, unit);
    else fprintf(stderr, "  %.4g %s/s", rate, unit);
}

static void print_left(double seconds) {
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (s >= 3600) fprintf(stderr, "  %lu:%02lu:%02lu left", s / 3600, s / 60 % 60, s % 60);
    else fprintf(stderr, "  %lu:%02lu left", s / 60, s % 60);
}

void ft_progress_update(struct ft_progress *progress, uint64_t done, const char *note) {
    if (!progress->on) return;
    double now = ft_seconds(), spent = now - progress->start;
    if (now - progress->drawn < 0.1) return;
    progress->drawn = now;
    progress->shown = true;
    fprintf(stderr, "\r%s", progress->label);
    if (progress->total) fprintf(stderr, " %3.0f %%", 100.0 * (double)done / (double)progress->total);
    else fprintf(stderr, " %llu %s", (unsigned long long)done, progress->unit);
    double rate = spent > 0 ? (double)(done - progress->first) / spent : 0;
    if (rate > 0) print_rate(rate, progress->unit);
    if (rate > 0 && progress->total > done) print_left((double)(progress->total - done) / rate);
    fprintf(stderr, "%s%s\033[K", note ? "  " : "", note ? note : "");
    fflush(stderr);
}

void ft_progress_end(struct ft_progress *progress) {
    if (!progress->shown) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->shown = false;
}
