/* SPDX-License-Identifier: MIT */
#include "ft/statistics.h"

#include "ft/memory.h"
#include "ft/rng.h"

#include <math.h>
#include <stdlib.h>

struct ft_interval ft_wilson(uint64_t successes, uint64_t count) {
    if (count == 0) return (struct ft_interval){0.0, 1.0};
    const double z = 1.959963984540054, n = (double)count, p = (double)successes / n;
    double centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    double half = z * sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n)) / (1.0 + z * z / n);
    double low = centre - half, high = centre + half;
    /* at the ends the formula gives 0 or 1 up to rounding */
    if (successes == 0 || low < 0.0) low = 0.0;
    if (successes == count || high > 1.0) high = 1.0;
    return (struct ft_interval){low, high};
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* 95 % percentile interval of `count` sorted-in-place draws. */
static struct ft_interval percentile(double *draws, size_t count) {
    qsort(draws, count, sizeof *draws, by_value);
    size_t tail = count * 25 / 1000;
    return (struct ft_interval){draws[tail], draws[count - 1 - tail]};
}

static double sum(const double *x, size_t n) {
    double total = 0.0;
    for (size_t i = 0; i < n; i++) total += x[i];
    return total;
}

/* One bootstrap resample: records picked[0..n) with replacement; draws[q][0..3) of column r receive both values
 * and their difference. A resample without weight repeats the sample's own values. */
static void draw_values(const struct ft_paired *quantity, size_t count, const uint32_t *picked, size_t n, double *draws,
                        size_t r, size_t resamples) {
    for (size_t q = 0; q < count; q++) {
        double top[2] = {0.0, 0.0}, bottom = 0.0;
        for (size_t i = 0; i < n; i++) {
            top[0] += quantity[q].numerator[0][picked[i]];
            top[1] += quantity[q].numerator[1][picked[i]];
            bottom += quantity[q].denominator[picked[i]];
        }
        double *column = draws + q * 3 * resamples + r;
        for (int s = 0; s < 2; s++)
            column[(size_t)s * resamples] = bottom > 0.0 ? top[s] / bottom : quantity[q].value[s];
        column[2 * resamples] = column[resamples] - column[0];
    }
}

/* Number of the `resamples` random sign flips whose absolute summed difference is no smaller than the observed one. */
static size_t count_extreme(const struct ft_paired *p, size_t n, const struct ft_rng *rng, size_t resamples,
                            double *difference) {
    for (size_t i = 0; i < n; i++) difference[i] = p->numerator[1][i] - p->numerator[0][i];
    double observed = fabs(sum(difference, n)), slack = observed * 1e-12;
    size_t hits = 0;
    for (size_t r = 0; r < resamples; r++) {
        double total = 0.0;
        uint32_t word[4] = {0};
        for (size_t i = 0; i < n; i++) {
            if (i % 128 == 0) ft_rng_u32x4(rng, (uint32_t)r, 1, i / 128, word);
            bool flip = word[i % 128 / 32] >> (i % 32) & 1u;
            total += flip ? -difference[i] : difference[i];
        }
        hits += fabs(total) >= observed - slack;
    }
    return hits;
}

enum ft_status ft_compare_paired(struct ft_paired *quantity, size_t count, size_t n, uint64_t seed, size_t resamples,
                                 struct ft_error *error) {
    if (n == 0 || n > UINT32_MAX || resamples < 40 || resamples > UINT32_MAX)
        return ft_fail(error, FT_USAGE, "a comparison needs records and at least 40 resamples");
    for (size_t q = 0; q < count; q++) {
        double bottom = sum(quantity[q].denominator, n);
        if (!(bottom > 0.0)) return ft_fail(error, FT_FORMAT, "a quantity has no weight: nothing to compare");
        for (int s = 0; s < 2; s++) quantity[q].value[s] = sum(quantity[q].numerator[s], n) / bottom;
        quantity[q].difference = quantity[q].value[1] - quantity[q].value[0];
    }
    double *draws = NULL, *difference = NULL;
    uint32_t *picked = NULL;
    size_t columns;
    enum ft_status status = ft_size_mul(count * 3, resamples, &columns)
                                ? ft_alloc(&draws, columns, sizeof *draws, error)
                                : ft_fail(error, FT_LIMIT, "too many resamples");
    if (!status) status = ft_alloc(&picked, n, sizeof *picked, error);
    if (!status) status = ft_alloc(&difference, n, sizeof *difference, error);
    struct ft_rng rng = ft_rng_new(seed, FT_RNG_BOOTSTRAP);
    for (size_t r = 0; r < resamples && !status; r++) {
        for (size_t i = 0; i < n; i++) picked[i] = (uint32_t)ft_rng_bounded(&rng, (uint32_t)r, 0, i, n);
        draw_values(quantity, count, picked, n, draws, r, resamples);
    }
    for (size_t q = 0; q < count && !status; q++) {
        double *column = draws + q * 3 * resamples;
        quantity[q].interval[0] = percentile(column, resamples);
        quantity[q].interval[1] = percentile(column + resamples, resamples);
        quantity[q].difference_interval = percentile(column + 2 * resamples, resamples);
        size_t hits = count_extreme(&quantity[q], n, &rng, resamples, difference);
        quantity[q].p_value = (1.0 + (double)hits) / (1.0 + (double)resamples);
    }
    free(draws);
    free(picked);
    free(difference);
    return status;
}
