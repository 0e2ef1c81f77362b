/* SPDX-License-Identifier: MIT */
#include "ft/similar.h"

#include "ft/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BANDS = 25, BAND_BINS = 5, BIN_BITS = 7 };

/* --- signatures ---------------------------------------------------------------------------------------- */

/* Which bin stands in for the empty bin `bin` at the attempt: the same for every record. */
static unsigned stand_in(unsigned bin, unsigned attempt) {
    uint64_t x = ((uint64_t)attempt << 32 | bin) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (unsigned)(x >> (64 - BIN_BITS));
}

bool ft_signature_make(struct ft_signature *signature, const struct ft_shingles *shingles) {
    uint64_t least[FT_SIGNATURE_BINS];
    bool filled[FT_SIGNATURE_BINS] = {false};
    size_t count = shingles->given ? shingles->given : shingles->count;
    *signature = (struct ft_signature){{0}};
    if (!count) return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = shingles->hash[i];
        unsigned bin = (unsigned)(hash >> (64 - BIN_BITS));
        if (!filled[bin] || hash < least[bin]) least[bin] = hash;
        filled[bin] = true;
    }
    for (unsigned bin = 0; bin < FT_SIGNATURE_BINS; bin++) {
        unsigned from = bin;
        for (unsigned attempt = 1; !filled[from]; attempt++)
            from = stand_in(bin, attempt);
        signature->bin[bin] = (uint8_t)least[from];
    }
    return true;
}

/* Two bins that differ look equal once in 256 times: similarity s shows as s + (1 - s)/256. */
unsigned ft_signature_bar(double similarity) {
    double share = similarity + (1.0 - similarity) / 256.0;
    unsigned bar = (unsigned)(share * FT_SIGNATURE_BINS);
    return (double)bar < share * FT_SIGNATURE_BINS ? bar + 1 : bar;
}

unsigned ft_signature_equal(const struct ft_signature *a, const struct ft_signature *b) {
    unsigned equal = 0;
    for (unsigned i = 0; i < FT_SIGNATURE_BINS; i++)
        equal += a->bin[i] == b->bin[i];
    return equal;
}

/* --- search -------------------------------------------------------------------------------------------- */

struct candidate {
    uint64_t band; /* BAND_BINS bytes of the signature */
    uint32_t index;
};

static int by_band(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->band != y->band) return x->band < y->band ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static uint64_t band_of(const struct ft_signature *signature, unsigned band) {
    uint64_t value = 0;
    for (unsigned i = 0; i < BAND_BINS; i++)
        value = value << 8 | signature->bin[band * BAND_BINS + i];
    return value;
}

static size_t place(const struct ft_similar_search *search, size_t item) {
    return search->order ? search->order[item] : item;
}

static void compare(const struct ft_similar_search *search, uint32_t i, uint32_t j) {
    if (!search->want(search->arg, i, j)) return;
    const struct ft_signature *a = &search->signature[place(search, i)],
                              *b = &search->signature[place(search, j)];
    if (ft_signature_equal(a, b) >= search->bar) search->found(search->arg, i, j);
}

/* All candidates of one band: each is compared with the first and the last few before it. */
static void compare_run(const struct ft_similar_search *search, const struct candidate *run, size_t count) {
    for (size_t j = 1; j < count; j++) {
        size_t head = j < FT_SIMILAR_REACH ? j : FT_SIMILAR_REACH;
        size_t tail = j > 2 * FT_SIMILAR_REACH ? j - FT_SIMILAR_REACH : head;
        for (size_t i = 0; i < head; i++)
            compare(search, run[i].index, run[j].index);
        for (size_t i = tail; i < j; i++)
            compare(search, run[i].index, run[j].index);
    }
}

enum ft_status ft_similar_run(const struct ft_similar_search *search, struct ft_error *error) {
    struct candidate *candidate;
    enum ft_status status = ft_alloc(&candidate, search->count, sizeof *candidate, error);
    if (status) return status;
    for (unsigned band = 0; band < BANDS; band++) {
        size_t count = 0;
        for (size_t i = 0; i < search->count; i++) {
            size_t at = place(search, i);
            if (!search->present || search->present[at])
                candidate[count++] = (struct candidate){band_of(&search->signature[at], band), (uint32_t)i};
        }
        qsort(candidate, count, sizeof *candidate, by_band);
        for (size_t i = 0, end; i < count; i = end) {
            for (end = i + 1; end < count && candidate[end].band == candidate[i].band; end++) {
            }
            compare_run(search, candidate + i, end - i);
        }
    }
    free(candidate);
    return FT_OK;
}

/* --- disjoint sets ------------------------------------------------------------------------------------- */

enum ft_status ft_sets_init(struct ft_sets *sets, size_t count, struct ft_error *error) {
    *sets = (struct ft_sets){0};
    enum ft_status status = ft_alloc(&sets->parent, count, sizeof *sets->parent, error);
    if (status) return status;
    sets->count = count;
    for (size_t i = 0; i < count; i++)
        sets->parent[i] = (uint32_t)i;
    return FT_OK;
}

uint32_t ft_sets_find(struct ft_sets *sets, uint32_t i) {
    assert(i < sets->count);
    while (sets->parent[i] != i) {
        sets->parent[i] = sets->parent[sets->parent[i]]; /* halve the path */
        i = sets->parent[i];
    }
    return i;
}

void ft_sets_join(struct ft_sets *sets, uint32_t i, uint32_t j) {
    i = ft_sets_find(sets, i);
    j = ft_sets_find(sets, j);
    if (i < j)
        sets->parent[j] = i;
    else
        sets->parent[i] = j;
}

void ft_sets_release(struct ft_sets *sets) {
    free(sets->parent);
    *sets = (struct ft_sets){0};
}
