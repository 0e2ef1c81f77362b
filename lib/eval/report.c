/* SPDX-License-Identifier: MIT */
#include "ft/report.h"

#include "ft/elementary.h"
#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

/* --- metrics --------------------------------------------------------------------------------------------- */

struct builder {
    struct ft_report *report;
    struct ft_score_row *const *rows;
    size_t n, used; /* records; columns of report->numbers in use */
    size_t systems;
};

static double *take_column(struct builder *b) { return b->report->numbers + b->n * b->used++; }

static struct ft_metric *add_metric(struct builder *b, const char *name, bool higher_is_better, bool binary) {
    struct ft_metric *m = &b->report->metric[b->report->metrics++];
    snprintf(m->name, sizeof m->name, "%s", name);
    m->higher_is_better = higher_is_better;
    m->binary = binary;
    return m;
}

/* Sets numerators by reading(row, which) for each system (system 0 twice when there is one) and the denominator. */
static void fill(struct builder *b, struct ft_metric *m, double (*top)(const struct ft_score_row *, size_t), size_t which,
                 double (*bottom)(const struct ft_score_row *)) {
    double *denominator = take_column(b);
    for (size_t i = 0; i < b->n; i++) denominator[i] = bottom(&b->rows[0][i]);
    m->paired.denominator = denominator;
    for (size_t s = 0; s < 2; s++) {
        double *numerator = take_column(b);
        const struct ft_score_row *rows = b->rows[s < b->systems ? s : 0];
        for (size_t i = 0; i < b->n; i++) numerator[i] = top(&rows[i], which);
        m->paired.numerator[s] = numerator;
    }
}

static double row_loss(const struct ft_score_row *r, size_t which) { (void)which; return r->loss; }
static double row_correct(const struct ft_score_row *r, size_t which) { (void)which; return (double)r->correct; }
static double row_exact(const struct ft_score_row *r, size_t which) { (void)which; return r->exact; }
static double row_json(const struct ft_score_row *r, size_t which) { (void)which; return r->json; }
static double row_stopped(const struct ft_score_row *r, size_t which) { (void)which; return r->stopped; }
static double row_field(const struct ft_score_row *r, size_t which) { return r->field[which]; }
static double of_weight(const struct ft_score_row *r) { return r->weight; }
static double of_tokens(const struct ft_score_row *r) { return (double)r->tokens; }
static double of_one(const struct ft_score_row *r) { (void)r; return 1.0; }

static void add_metrics(struct builder *b, const struct ft_score *score, bool generated) {
    fill(b, add_metric(b, "loss", false, false), row_loss, 0, of_weight);
    fill(b, add_metric(b, "token_accuracy", true, false), row_correct, 0, of_tokens);
    if (!generated) return;
    fill(b, add_metric(b, "exact_match", true, true), row_exact, 0, of_one);
    for (size_t f = 0; f < score->n_fields; f++) {
        char name[64];
        snprintf(name, sizeof name, "field:%.50s", score->fields[f]);
        fill(b, add_metric(b, name, true, true), row_field, f, of_one);
    }
    if (score->n_fields) fill(b, add_metric(b, "json_valid", true, true), row_json, 0, of_one);
    fill(b, add_metric(b, "stopped", true, true), row_stopped, 0, of_one);
}

/* exp of the loss and of its bounds: a monotone change of scale, so intervals and p-value carry over. */
static void add_perplexity(struct builder *b) {
    struct ft_metric loss = b->report->metric[0], *m = add_metric(b, "perplexity", false, false);
    m->paired = loss.paired;
    for (int s = 0; s < 2; s++) {
        m->paired.value[s] = ft_exp(loss.paired.value[s]);
        m->paired.interval[s] = (struct ft_interval){ft_exp(loss.paired.interval[s].low), ft_exp(loss.paired.interval[s].high)};
    }
    m->paired.difference = m->paired.value[1] - m->paired.value[0];
    /* the difference of exponentials has no interval of its own here; the loss has */
    m->paired.difference_interval = (struct ft_interval){0.0, 0.0};
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Share of the most frequent reference text (of the first field's value when fields are asked for). */
static enum ft_status find_chance(const struct ft_score *score, double *chance, struct ft_error *error) {
    size_t n = score->set->rows, best = 0;
    char **text = NULL;
    enum ft_status status = ft_alloc(&text, n, sizeof *text, error);
    for (size_t i = 0; i < n && !status; i++) {
        struct ft_buffer reference = {0}, value = {0};
        status = ft_score_reference(score, i, &reference, error);
        const char *shown = reference.data ? reference.data : "";
        struct ft_json json = {0};
        if (!status && score->n_fields && ft_json_parse(&json, shown, strlen(shown), "reference", 1, NULL) == FT_OK) {
            const struct cJSON *field = ft_json_type(json.root) == FT_JSON_OBJECT ? ft_json_find(json.root, score->fields[0]) : NULL;
            if (field && ft_json_print(&json, field, FT_JSON_SORTED, &value, NULL) == FT_OK) shown = value.data;
        }
        if (!status && !(text[i] = strdup(shown))) status = ft_fail(error, FT_NOMEM, "out of memory for the references");
        ft_json_release(&json);
        ft_buffer_release(&reference);
        ft_buffer_release(&value);
    }
    if (!status) {
        qsort(text, n, sizeof *text, by_text);
        for (size_t i = 0, run = 0; i < n; i++) {
            run = i && strcmp(text[i], text[i - 1]) == 0 ? run + 1 : 1;
            if (run > best) best = run;
        }
        *chance = (double)best / (double)n;
    }
    for (size_t i = 0; text && i < n; i++) free(text[i]);
    free(text);
    return status;
}

/* --- verdict --------------------------------------------------------------------------------------------- */

/* The metric that decides: the first field, else exact match, else the loss. */
static const struct ft_metric *deciding(const struct ft_report *r) {
    for (size_t i = 0; i < r->metrics; i++)
        if (strncmp(r->metric[i].name, "field:", 6) == 0) return &r->metric[i];
    const struct ft_metric *exact = ft_report_find(r, "exact_match");
    return exact ? exact : &r->metric[0];
}

static void judge(struct ft_report *r) {
    const struct ft_metric *m = deciding(r);
    const struct ft_paired *p = &m->paired;
    if (!r->two) {
        snprintf(r->verdict, sizeof r->verdict, "One system: %s is %.4g on %zu records.", m->name, p->value[0], r->records);
        return;
    }
    double gain = m->higher_is_better ? p->difference : -p->difference;
    bool sure = p->p_value < 0.05;
    const char *small = r->records < 100 ? " Fewer than 100 records: a larger test set would say more." : "";
    if (sure && gain > 0)
        snprintf(r->verdict, sizeof r->verdict, "Tuning helped: %s went from %.4g to %.4g (difference %+.4g, 95%% interval %+.4g to %+.4g, p = %.2g).%s",
                 m->name, p->value[0], p->value[1], p->difference, p->difference_interval.low, p->difference_interval.high, p->p_value, small);
    else if (sure)
        snprintf(r->verdict, sizeof r->verdict, "Tuning hurt: %s went from %.4g to %.4g (p = %.2g). Do not use this model.%s", m->name,
                 p->value[0], p->value[1], p->p_value, small);
    else
        snprintf(r->verdict, sizeof r->verdict, "No difference shown: %s is %.4g without and %.4g with tuning (p = %.2g).%s", m->name,
                 p->value[0], p->value[1], p->p_value, small);
}

enum ft_status ft_report_build(struct ft_report *report, const struct ft_score *score, struct ft_score_row *const rows[2],
                               bool generated, uint64_t seed, size_t resamples, struct ft_error *error) {
    struct ft_report r = {.records = score->set->rows, .two = rows[1] != NULL, .supervised = score->set->supervised,
                          .seed = seed, .resamples = resamples, .chance = -1.0};
    struct builder b = {.report = &r, .rows = rows, .n = r.records, .systems = r.two ? 2 : 1};
    size_t cells;
    enum ft_status status = ft_size_mul(r.records, 3 * (size_t)FT_METRICS_MAX, &cells)
                                ? ft_alloc(&r.numbers, cells, sizeof *r.numbers, error)
                                : ft_fail(error, FT_LIMIT, "too many records");
    if (!status) {
        add_metrics(&b, score, generated);
        struct ft_paired paired[FT_METRICS_MAX];
        for (size_t i = 0; i < r.metrics; i++) paired[i] = r.metric[i].paired;
        status = ft_compare_paired(paired, r.metrics, r.records, seed, resamples, error);
        for (size_t i = 0; i < r.metrics; i++) r.metric[i].paired = paired[i];
    }
    for (size_t i = 0; i < r.metrics && !status; i++) {
        struct ft_paired *p = &r.metric[i].paired;
        for (int s = 0; s < 2 && r.metric[i].binary; s++) {
            uint64_t hits = 0;
            for (size_t k = 0; k < r.records; k++) hits += p->numerator[s][k] > 0.0;
            p->interval[s] = ft_wilson(hits, r.records);
        }
    }
    if (!status && generated) status = find_chance(score, &r.chance, error);
    if (status) {
        free(r.numbers);
        return status;
    }
    add_perplexity(&b);
    judge(&r);
    *report = r;
    return FT_OK;
}

void ft_report_release(struct ft_report *report) {
    free(report->numbers);
    *report = (struct ft_report){0};
}

const struct ft_metric *ft_report_find(const struct ft_report *report, const char *name) {
    for (size_t i = 0; i < report->metrics; i++)
        if (strcmp(report->metric[i].name, name) == 0) return &report->metric[i];
    return NULL;
}

/* --- forms ----------------------------------------------------------------------------------------------- */

static void put_interval(struct ft_json *json, struct cJSON *parent, const char *key, struct ft_interval interval) {
    struct cJSON *pair = ft_json_set_array(json, parent, key);
    ft_json_set_double(json, pair, NULL, interval.low);
    ft_json_set_double(json, pair, NULL, interval.high);
}

static void put_system(const struct ft_report *r, struct ft_json *json, struct cJSON *results, size_t s, const char *name) {
    struct cJSON *system = ft_json_set_object(json, results, name);
    for (size_t i = 0; i < r->metrics; i++) {
        struct cJSON *value = ft_json_set_object(json, system, r->metric[i].name);
        const struct ft_paired *p = &r->metric[i].paired;
        double top = 0.0, bottom = 0.0;
        for (size_t k = 0; k < r->records; k++) {
            top += p->numerator[s][k];
            bottom += p->denominator[k];
        }
        ft_json_set_double(json, value, "value", p->value[s]);
        put_interval(json, value, "interval_95", p->interval[s]);
        ft_json_set_double(json, value, "numerator", top);
        ft_json_set_double(json, value, "denominator", bottom);
    }
}

void ft_report_json(const struct ft_report *r, struct ft_json *json) {
    struct cJSON *root = json->root;
    ft_json_set_string(json, root, "format", "ft-report-1");
    ft_json_set_u64(json, root, "records", r->records);
    ft_json_set_u64(json, root, "supervised_tokens", r->supervised);
    ft_json_set_u64(json, root, "seed", r->seed);
    ft_json_set_u64(json, root, "resamples", r->resamples);
    if (r->chance >= 0.0) ft_json_set_double(json, root, "most_frequent_reference", r->chance);
    struct cJSON *results = ft_json_set_object(json, root, "results");
    put_system(r, json, results, 0, "base");
    if (r->two) {
        put_system(r, json, results, 1, "tuned");
        struct cJSON *comparison = ft_json_set_object(json, root, "comparison");
        for (size_t i = 0; i < r->metrics; i++) {
            const struct ft_metric *m = &r->metric[i];
            struct cJSON *entry = ft_json_set_object(json, comparison, m->name);
            ft_json_set_double(json, entry, "difference", m->paired.difference);
            if (m->paired.difference_interval.low < m->paired.difference_interval.high)
                put_interval(json, entry, "interval_95", m->paired.difference_interval);
            ft_json_set_double(json, entry, "p_value", m->paired.p_value);
            ft_json_set_bool(json, entry, "higher_is_better", m->higher_is_better);
        }
    }
    ft_json_set_string(json, root, "verdict", r->verdict);
}

static void cell(char text[64], const struct ft_metric *m, int s) {
    const struct ft_paired *p = &m->paired;
    double scale = m->binary || strcmp(m->name, "token_accuracy") == 0 ? 100.0 : 1.0;
    const char *format = scale > 1.0 ? "%.1f%% [%.1f, %.1f]" : "%.4g [%.4g, %.4g]";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, 64, format, p->value[s] * scale, p->interval[s].low * scale, p->interval[s].high * scale);
#pragma GCC diagnostic pop
}

static void delta(char text[64], const struct ft_metric *m) {
    bool percent = m->binary || strcmp(m->name, "token_accuracy") == 0;
    snprintf(text, 64, percent ? "%+.1f points" : "%+.4g", m->paired.difference * (percent ? 100.0 : 1.0));
}

void ft_report_table(const struct ft_report *r, FILE *out) {
    fprintf(out, "%zu records, %llu supervised tokens; 95%% intervals, paired over records\n\n", r->records,
            (unsigned long long)r->supervised);
    fprintf(out, r->two ? "%-16s %-26s %-26s %-14s %s\n" : "%-16s %s\n", "metric", r->two ? "base" : "value", "tuned", "difference", "p");
    for (size_t i = 0; i < r->metrics; i++) {
        const struct ft_metric *m = &r->metric[i];
        char base[64], tuned[64], change[64];
        cell(base, m, 0);
        cell(tuned, m, 1);
        delta(change, m);
        if (r->two) fprintf(out, "%-16s %-26s %-26s %-14s %.2g\n", m->name, base, tuned, change, m->paired.p_value);
        else fprintf(out, "%-16s %s\n", m->name, base);
    }
    if (r->chance >= 0.0) fprintf(out, "\nalways giving the most frequent answer would be right in %.1f%%\n", 100.0 * r->chance);
    fprintf(out, "%s\n", r->verdict);
}
