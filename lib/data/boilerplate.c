/* SPDX-License-Identifier: MIT */
#include "ft/memory.h"
#include "ft/similar.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLE_MAX = 2048, RECORD_MAX = 4096 }; /* records, and shingles looked at of each */

struct sample {
    unsigned char digest[FT_SHA256_SIZE];
    uint64_t *hash; /* [count], sorted, distinct */
    size_t count;
};

struct ft_boilerplate {
    struct sample *sample;
    size_t samples;
    uint64_t limit; /* digests whose first 8 bytes are above it are not in the sample: it only ever sinks */
    uint64_t *shingle; /* [count], sorted: the result */
    size_t count;
};

enum ft_status ft_boilerplate_new(struct ft_boilerplate **out, struct ft_error *error) {
    struct ft_boilerplate *boilerplate;
    enum ft_status status = ft_alloc(&boilerplate, 1, sizeof *boilerplate, error);
    if (status) return status;
    boilerplate->limit = UINT64_MAX;
    status = ft_alloc(&boilerplate->sample, SAMPLE_MAX, sizeof *boilerplate->sample, error);
    if (status)
        free(boilerplate);
    else
        *out = boilerplate;
    return status;
}

void ft_boilerplate_free(struct ft_boilerplate *boilerplate) {
    if (!boilerplate) return;
    for (size_t i = 0; i < boilerplate->samples; i++)
        free(boilerplate->sample[i].hash);
    free(boilerplate->sample);
    free(boilerplate->shingle);
    free(boilerplate);
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts hash[0..count) and drops repetitions; returns how many are left. */
static size_t distinct(uint64_t *hash, size_t count) {
    qsort(hash, count, sizeof *hash, by_value);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!kept || hash[kept - 1] != hash[i]) hash[kept++] = hash[i];
    return kept;
}

/* Halves the limit until there is room. Which records stay depends on the set of digests only. */
static void sink(struct ft_boilerplate *b) {
    while (b->samples == SAMPLE_MAX) {
        b->limit /= 2;
        size_t kept = 0;
        for (size_t i = 0; i < b->samples; i++) {
            if (ft_load64(b->sample[i].digest) <= b->limit)
                b->sample[kept++] = b->sample[i];
            else
                free(b->sample[i].hash);
        }
        b->samples = kept;
        if (!b->limit) break;
    }
}

enum ft_status ft_boilerplate_add(struct ft_boilerplate *boilerplate,
                                  const unsigned char digest[FT_SHA256_SIZE],
                                  const struct ft_shingles *shingles, struct ft_error *error) {
    if (ft_load64(digest) > boilerplate->limit || boilerplate->samples == SAMPLE_MAX) return FT_OK;
    for (size_t i = 0; i < boilerplate->samples; i++)
        if (memcmp(boilerplate->sample[i].digest, digest, FT_SHA256_SIZE) == 0) return FT_OK;
    struct sample *sample = &boilerplate->sample[boilerplate->samples];
    size_t count = shingles->count < RECORD_MAX ? shingles->count : RECORD_MAX;
    enum ft_status status = ft_alloc(&sample->hash, count, sizeof *sample->hash, error);
    if (status) return status;
    if (count) memcpy(sample->hash, shingles->hash, count * sizeof *sample->hash);
    memcpy(sample->digest, digest, FT_SHA256_SIZE);
    sample->count = distinct(sample->hash, count);
    boilerplate->samples++;
    sink(boilerplate);
    return FT_OK;
}

enum ft_status ft_boilerplate_finish(struct ft_boilerplate *b, size_t *count, struct ft_error *error) {
    *count = 0;
    if (b->samples < FT_BOILERPLATE_LEAST) return FT_OK;
    size_t total = 0;
    for (size_t i = 0; i < b->samples; i++)
        total += b->sample[i].count;
    enum ft_status status = ft_alloc(&b->shingle, total, sizeof *b->shingle, error);
    if (status) return status;
    size_t at = 0;
    for (size_t i = 0; i < b->samples; i++) {
        if (b->sample[i].count)
            memcpy(b->shingle + at, b->sample[i].hash, b->sample[i].count * sizeof *b->shingle);
        at += b->sample[i].count;
    }
    qsort(b->shingle, total, sizeof *b->shingle, by_value);
    for (size_t i = 0, end; i < total; i = end) {
        for (end = i + 1; end < total && b->shingle[end] == b->shingle[i]; end++) {
        }
        if (end - i > b->samples / 2) b->shingle[b->count++] = b->shingle[i];
    }
    *count = b->count;
    return FT_OK;
}

static bool is_boilerplate(const struct ft_boilerplate *b, uint64_t hash) {
    return bsearch(&hash, b->shingle, b->count, sizeof hash, by_value) != NULL;
}

/* Moves what is kept of hash[from..to) to hash + kept; returns the new end. */
static size_t strip_range(const struct ft_boilerplate *b, uint64_t *hash, size_t from, size_t to,
                          size_t kept) {
    for (size_t i = from; i < to; i++)
        if (!is_boilerplate(b, hash[i])) hash[kept++] = hash[i];
    return kept;
}

void ft_boilerplate_strip(const struct ft_boilerplate *boilerplate, struct ft_shingles *shingles) {
    if (!boilerplate->count) return;
    bool left = false;
    for (size_t i = 0; i < shingles->count && !left; i++)
        left = !is_boilerplate(boilerplate, shingles->hash[i]);
    if (!left) return;
    size_t given = strip_range(boilerplate, shingles->hash, 0, shingles->given, 0);
    shingles->count = strip_range(boilerplate, shingles->hash, shingles->given, shingles->count, given);
    shingles->given = given;
}
