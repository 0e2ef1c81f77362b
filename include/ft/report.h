/* SPDX-License-Identifier: MIT
 *
 * An evaluation's result: metrics of one system or of two on the same records, with intervals, and its three
 * forms: report.json (ft-report(5)), a table for a terminal, and a page. Every number is a function of the
 * records' scores and the seed.
 */
#ifndef FT_REPORT_H
#define FT_REPORT_H

#include "ft/json.h"
#include "ft/score.h"
#include "ft/statistics.h"

#include <stdio.h>

#define FT_METRICS_MAX (8u + FT_SCORE_FIELDS)

struct ft_metric {
    char name[64];         /* "loss", "token_accuracy", "exact_match", "json_valid", "stopped", "field:intent", "perplexity" */
    bool higher_is_better;
    bool binary;           /* one 0/1 per record: single-system intervals are Wilson's */
    struct ft_paired paired;
};

struct ft_report {
    size_t records;
    bool two;              /* base and tuned; else only system 0 */
    uint64_t supervised;   /* tokens */
    uint64_t seed;
    size_t resamples;
    struct ft_metric metric[FT_METRICS_MAX];
    size_t metrics;
    double chance;         /* share of the most frequent reference: what always giving it would score; < 0: not computed */
    char verdict[512];
    double *numbers;       /* owns the metrics' per-record numbers */
};

/* rows[s]: [set->rows] of system s, rows[1] NULL for one system. generated: the answers were made. Release on success. */
enum ft_status ft_report_build(struct ft_report *report, const struct ft_score *score, struct ft_score_row *const rows[2],
                               bool generated, uint64_t seed, size_t resamples, struct ft_error *error);
void ft_report_release(struct ft_report *report);

/* The metric of this name, or NULL. */
const struct ft_metric *ft_report_find(const struct ft_report *report, const char *name);

/* Adds "records", "results", "comparison", "verdict", ... to json->root. */
void ft_report_json(const struct ft_report *report, struct ft_json *json);
/* A table in plain text. */
void ft_report_table(const struct ft_report *report, FILE *out);
/* A page that needs nothing but itself: the table, bars with intervals, and up to `examples` records side by side. */
enum ft_status ft_report_html(const struct ft_report *report, const struct ft_score *score,
                              struct ft_score_row *const rows[2], size_t examples, struct ft_buffer *html,
                              struct ft_error *error);

#endif
