/* SPDX-License-Identifier: MIT */
#include "ft/difference.h"

#include "ft/ftok.h"

#include "ft/config.h"
#include "ft/decoder.h"
#include "ft/elementary.h"
#include "ft/memory.h"
#include "ft/pool.h"
#include "ft/rng.h"
#include "ft/rows.h"

#include <math.h>
#include <stdlib.h>

void ft_difference_probe(uint32_t *ids, size_t count, size_t vocab) {
    struct ft_rng rng = ft_rng_new(0, FT_RNG_TEST);
    for (size_t i = 0; i < count; i++) ids[i] = (uint32_t)ft_rng_bounded(&rng, 0, 0, i, vocab);
}

static size_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

enum { CHUNK = 256 };

static double log_sum_exp(const struct ft_exec *exec, const float *x, size_t n, double max) {
    double sum = 0.0, e[CHUNK];
    for (size_t i = 0, count; i < n; i += count) {
        count = n - i < CHUNK ? n - i : CHUNK;
        for (size_t j = 0; j < count; j++) e[j] = (double)x[i + j] - max;
        ft_exp_double(exec, count, e);
        for (size_t j = 0; j < count; j++) sum += e[j];
    }
    return max + ft_log(sum);
}

/* --- one position ---------------------------------------------------------------------------------------- */

struct position {
    double max_logit, kl;
    bool agree;
};

static struct position compare(const struct ft_exec *exec, const float *a, const float *b, size_t n) {
    size_t top_a = argmax(a, n), top_b = argmax(b, n);
    double za = log_sum_exp(exec, a, n, a[top_a]), zb = log_sum_exp(exec, b, n, b[top_b]);
    struct position position = {.agree = top_a == top_b};
    double log_p[CHUNK], p[CHUNK];
    for (size_t i = 0, count; i < n; i += count) {
        count = n - i < CHUNK ? n - i : CHUNK;
        for (size_t j = 0; j < count; j++) p[j] = log_p[j] = (double)a[i + j] - za;
        ft_exp_double(exec, count, p);
        for (size_t j = 0; j < count; j++) {
            double difference = fabs((double)a[i + j] - (double)b[i + j]);
            if (difference > position.max_logit) position.max_logit = difference;
            position.kl += p[j] * (log_p[j] - ((double)b[i + j] - zb));
        }
    }
    if (position.kl < 0.0) position.kl = 0.0; /* rounding */
    return position;
}

static void add_position(struct ft_difference *d, const struct position *p) {
    if (p->max_logit > d->max_logit) d->max_logit = p->max_logit;
    if (p->kl > d->max_kl) d->max_kl = p->kl;
    d->mean_kl += p->kl;
    d->agreement += p->agree;
    d->positions++;
}

/* --- many sequences side by side, some tokens of each at a time ---------------------------------------------- */

enum { LANES_MAX = 32, ROWS_MAX = 64, FEEDS_BRIEF = 4, CACHE_BYTES = 128 << 20 };

struct walk {
    struct ft_exec *exec;
    struct ft_decoder *decoder[2];
    float *logits[2]; /* [lanes * stride, vocab] */
    size_t lanes, stride, longest, vocab; /* stride: tokens of each lane at a time */
    struct ft_decoder_piece piece[LANES_MAX];
    size_t row[LANES_MAX]; /* of the piece's first token in logits */
    struct position position[ROWS_MAX];
};

static void compare_row(void *arg, size_t row, unsigned worker) {
    (void)worker;
    struct walk *w = arg;
    w->position[row] = compare(w->exec, w->logits[0] + row * w->vocab, w->logits[1] + row * w->vocab, w->vocab);
}

/* As many as keep the keys and values of both models small. */
static size_t choose_lanes(const struct ft_config *config, size_t longest, size_t count) {
    double each = 2.0 * 2 * sizeof(float) * (double)config->layers * (double)(config->kv_heads * config->head_dim) * (double)longest;
    size_t lanes = each * LANES_MAX <= CACHE_BYTES ? LANES_MAX : (size_t)(CACHE_BYTES / each);
    if (lanes > count) lanes = count;
    return lanes ? lanes : 1;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

/* Tokens from t on of those of the sequences that have some; returns how many sequences do. */
static size_t gather(struct walk *w, const uint32_t *ids, const size_t *start, size_t count, size_t t, size_t *rows) {
    size_t live = 0;
    *rows = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = least(start[i + 1] - start[i], w->longest);
        if (t >= length) continue;
        w->row[live] = *rows;
        w->piece[live] = (struct ft_decoder_piece){.slot = i, .ids = ids + start[i] + t, .count = least(length - t, w->stride)};
        *rows += w->piece[live++].count;
    }
    return live;
}

/* Token by token, and of each all sequences: the sums are of one order whatever the stride. */
static void add_positions(const struct walk *w, struct ft_difference *d, size_t live) {
    for (size_t t = 0; t < w->stride; t++)
        for (size_t i = 0; i < live; i++)
            if (t < w->piece[i].count) add_position(d, &w->position[w->row[i] + t]);
}

static enum ft_status walk(struct walk *w, struct ft_difference *d, const uint32_t *ids, const size_t *start, size_t count,
                           struct ft_error *error) {
    for (size_t i = 0; i < count; i++)
        for (int s = 0; s < 2; s++) ft_decoder_truncate(w->decoder[s], i, 0);
    for (size_t t = 0, live, rows; (live = gather(w, ids, start, count, t, &rows)) > 0; t += w->stride) {
        for (int s = 0; s < 2; s++) {
            enum ft_status status = ft_decoder_feed(w->decoder[s], w->piece, live, w->logits[s], error);
            if (status) return status;
        }
        ft_pool_run(ft_exec_pool(w->exec), rows, compare_row, w);
        add_positions(w, d, live);
    }
    return FT_OK;
}

/* feeds: how often the weights will be read */
static enum ft_status take_memory(struct walk *w, struct ft_model *model[2], size_t feeds, struct ft_error *error) {
    struct ft_decoder_limits limits = {.sequences = w->lanes, .length = w->longest, .feed = w->lanes * w->stride,
                                       .frugal = true, .brief = feeds <= FEEDS_BRIEF, .every = true};
    enum ft_status status = FT_OK;
    size_t cells;
    if (!ft_size_mul(w->lanes * w->stride, w->vocab, &cells)) return ft_fail(error, FT_LIMIT, "the vocabulary is too large");
    for (int s = 0; s < 2 && !status; s++) {
        status = ft_decoder_new(&w->decoder[s], model[s], w->exec, &limits, error);
        if (!status) status = ft_alloc(&w->logits[s], cells, sizeof *w->logits[s], error);
    }
    return status;
}

enum ft_status ft_difference_measure(struct ft_difference *difference, struct ft_exec *exec, struct ft_model *a,
                                     struct ft_model *b, const uint32_t *ids, const size_t *start, size_t count,
                                     struct ft_error *error) {
    const struct ft_config *config = ft_model_config(a);
    struct walk w = {.exec = exec, .vocab = config->vocab, .longest = 1};
    struct ft_difference d = {0};
    for (size_t i = 0; i < count; i++)
        if (start[i + 1] - start[i] > w.longest) w.longest = start[i + 1] - start[i];
    w.longest = least(w.longest, config->positions);
    w.lanes = choose_lanes(config, w.longest, count);
    w.stride = least(ROWS_MAX / w.lanes, w.longest);
    size_t feeds = ceil_div(count, w.lanes) * ceil_div(w.longest, w.stride);
    enum ft_status status = take_memory(&w, (struct ft_model *[2]){a, b}, feeds, error);
    for (size_t i = 0; i < count && !status; i += w.lanes)
        status = walk(&w, &d, ids, start + i, least(w.lanes, count - i), error);
    if (!status && d.positions) {
        d.mean_kl /= (double)d.positions;
        d.agreement /= (double)d.positions;
        *difference = d;
    } else if (!status) {
        status = ft_fail(error, FT_FORMAT, "no tokens to compare the models on");
    }
    for (int s = 0; s < 2; s++) {
        ft_decoder_free(w.decoder[s]);
        free(w.logits[s]);
    }
    return status;
}

enum { PROBE_SEQUENCES = 8, PROBE_LENGTH = 8, PROBE_RECORDS = 32 };

static enum ft_status measure_on(struct ft_difference *difference, struct ft_exec *exec, struct ft_model *a, struct ft_model *b,
                                 const struct ft_ftok_set *set, const char *probe, const char *name, struct ft_error *error) {
    size_t vocab = ft_model_config(a)->vocab, count = set->rows < PROBE_RECORDS ? set->rows : PROBE_RECORDS;
    if (set->vocab_size > vocab)
        return ft_fail(error, FT_MISMATCH, "%s: made for a vocabulary of %u, the model has %zu; run ft-tokenize -m %s", probe,
                       set->vocab_size, vocab, name);
    return ft_difference_measure(difference, exec, a, b, set->ids, set->start, count, error);
}

enum ft_status ft_difference_on(struct ft_difference *difference, struct ft_exec *exec, struct ft_model *a, struct ft_model *b,
                                const char *probe, const char *name, struct ft_error *error) {
    size_t context = ft_model_config(a)->positions;
    if (probe) {
        struct ft_ftok_set set = {0};
        enum ft_status status = ft_ftok_load(&set, probe, 0, error);
        if (!status) status = measure_on(difference, exec, a, b, &set, probe, name, error);
        ft_ftok_set_release(&set);
        return status;
    }
    uint32_t ids[PROBE_SEQUENCES * PROBE_LENGTH];
    size_t start[PROBE_SEQUENCES + 1];
    for (size_t i = 0; i <= PROBE_SEQUENCES; i++) start[i] = i * least(PROBE_LENGTH, context);
    ft_difference_probe(ids, start[PROBE_SEQUENCES], ft_model_config(a)->vocab);
    return ft_difference_measure(difference, exec, a, b, ids, start, PROBE_SEQUENCES, error);
}
