/* SPDX-License-Identifier: MIT */
#include "ft/difference.h"

#include "ft/ftok.h"

#include "ft/config.h"
#include "ft/decoder.h"
#include "ft/elementary.h"
#include "ft/memory.h"
#include "ft/rng.h"

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

static double log_sum_exp(const float *x, size_t n, double max) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += ft_exp((double)x[i] - max);
    return max + ft_log(sum);
}

static void compare(struct ft_difference *d, const float *a, const float *b, size_t n) {
    size_t top_a = argmax(a, n), top_b = argmax(b, n);
    double za = log_sum_exp(a, n, a[top_a]), zb = log_sum_exp(b, n, b[top_b]), kl = 0.0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]), log_p = (double)a[i] - za;
        if (difference > d->max_logit) d->max_logit = difference;
        kl += ft_exp(log_p) * (log_p - ((double)b[i] - zb));
    }
    if (kl < 0.0) kl = 0.0; /* rounding */
    if (kl > d->max_kl) d->max_kl = kl;
    d->mean_kl += kl;
    d->agreement += top_a == top_b;
    d->positions++;
}

static enum ft_status walk(struct ft_difference *d, struct ft_decoder *decoder[2], float *logits[2], size_t vocab,
                           const uint32_t *ids, size_t count, struct ft_error *error) {
    for (int s = 0; s < 2; s++) ft_decoder_truncate(decoder[s], 0, 0);
    for (size_t t = 0; t < count; t++) {
        struct ft_decoder_piece piece = {.slot = 0, .ids = ids + t, .count = 1};
        for (int s = 0; s < 2; s++) {
            enum ft_status status = ft_decoder_feed(decoder[s], &piece, 1, logits[s], error);
            if (status) return status;
        }
        compare(d, logits[0], logits[1], vocab);
    }
    return FT_OK;
}

enum ft_status ft_difference_measure(struct ft_difference *difference, struct ft_exec *exec, struct ft_model *a,
                                     struct ft_model *b, const uint32_t *ids, const size_t *start, size_t count,
                                     struct ft_error *error) {
    struct ft_model *model[2] = {a, b};
    struct ft_decoder *decoder[2] = {NULL, NULL};
    float *logits[2] = {NULL, NULL};
    struct ft_difference d = {0};
    size_t vocab = ft_model_config(a)->vocab, context = ft_model_config(a)->positions, longest = 1;
    for (size_t i = 0; i < count; i++)
        if (start[i + 1] - start[i] > longest) longest = start[i + 1] - start[i];
    if (longest > context) longest = context;
    struct ft_decoder_limits limits = {.sequences = 1, .length = longest, .feed = 1};
    enum ft_status status = FT_OK;
    for (int s = 0; s < 2 && !status; s++) {
        status = ft_decoder_new(&decoder[s], model[s], exec, &limits, error);
        if (!status) status = ft_alloc(&logits[s], vocab, sizeof *logits[s], error);
    }
    for (size_t i = 0; i < count && !status; i++) {
        size_t length = start[i + 1] - start[i];
        status = walk(&d, decoder, logits, vocab, ids + start[i], length < longest ? length : longest, error);
    }
    if (!status && d.positions) {
        d.mean_kl /= (double)d.positions;
        d.agreement /= (double)d.positions;
        *difference = d;
    } else if (!status) {
        status = ft_fail(error, FT_FORMAT, "no tokens to compare the models on");
    }
    for (int s = 0; s < 2; s++) {
        ft_decoder_free(decoder[s]);
        free(logits[s]);
    }
    return status;
}

enum { PROBE_TOKENS = 64, PROBE_RECORDS = 32 };

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
    uint32_t ids[PROBE_TOKENS];
    size_t start[] = {0, context < PROBE_TOKENS ? context : PROBE_TOKENS};
    ft_difference_probe(ids, start[1], ft_model_config(a)->vocab);
    return ft_difference_measure(difference, exec, a, b, ids, start, 1, error);
}
