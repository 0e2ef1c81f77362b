/* SPDX-License-Identifier: MIT
 *
 * Candidates lie in a heap and leave it in order, which costs V + n log V instead of V log V: n is a handful
 * when the model is sure, or top_k. */
#include "ft/sample.h"

#include "ft/elementary.h"
#include "ft/rows.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

enum { LANES = 16, BLOCK = 8 * LANES, CHUNK = 256 };

/* The greatest of BLOCK logits, or what no logit may be. No lane waits for another. */
static float block_maximum(const float *logits) {
    float best[LANES];
    int strange[LANES] = {0};
    for (size_t l = 0; l < LANES; l++) best[l] = logits[l];
    for (size_t i = 0; i < BLOCK; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            float x = logits[i + l];
            strange[l] |= !(x <= FLT_MAX);
            best[l] = x > best[l] ? x : best[l];
        }
    for (size_t l = 0; l < LANES; l++) {
        if (strange[l]) return INFINITY;
        if (best[l] > best[0]) best[0] = best[l];
    }
    return best[0];
}

/* Only a block that is ahead of all before it is looked through. */
uint32_t ft_sample_greedy(const float *logits, size_t vocab) {
    uint32_t best = 0;
    for (size_t begin = 0, end; begin < vocab; begin = end) {
        end = vocab - begin < BLOCK ? vocab : begin + BLOCK;
        if (end - begin == BLOCK && begin > 0 && !(block_maximum(logits + begin) > logits[best])) continue;
        for (size_t v = begin; v < end; v++) {
            if (!(logits[v] <= FLT_MAX)) return (uint32_t)v;
            if (logits[v] > logits[best]) best = (uint32_t)v;
        }
    }
    return best;
}

static bool precedes(struct ft_candidate x, struct ft_candidate y) {
    return x.logit > y.logit || (x.logit == y.logit && x.id < y.id);
}

/* The first in order at the root. */
struct heap {
    struct ft_candidate *c;
    size_t count;
};

static void sift(const struct heap *heap, size_t i) {
    struct ft_candidate x = heap->c[i];
    for (size_t child; (child = 2 * i + 1) < heap->count; i = child) {
        if (child + 1 < heap->count && precedes(heap->c[child + 1], heap->c[child])) child++;
        if (!precedes(heap->c[child], x)) break;
        heap->c[i] = heap->c[child];
    }
    heap->c[i] = x;
}

static void make_heap(const struct heap *heap) {
    for (size_t i = heap->count / 2; i-- > 0;) sift(heap, i);
}

/* The root goes to the place that becomes free: candidate number n ends at c[V - 1 - n]. */
static struct ft_candidate pop(struct heap *heap) {
    struct ft_candidate first = heap->c[0];
    heap->c[0] = heap->c[--heap->count];
    heap->c[heap->count] = first;
    if (heap->count) sift(heap, 0);
    return first;
}

/* Candidates in order, taken from the heap as they are asked for. */
struct ordered {
    const struct ft_exec *exec;
    struct heap heap;
    size_t vocab, taken;
    double temperature, greatest;
};

static struct ft_candidate candidate(struct ordered *o, size_t n) {
    while (o->taken <= n) {
        pop(&o->heap);
        o->taken++;
    }
    return o->heap.c[o->vocab - 1 - n];
}

static double exponent(const struct ordered *o, float logit) { return ((double)logit - o->greatest) / o->temperature; }
static double weight(const struct ordered *o, float logit) { return ft_exp(exponent(o, logit)); }

/* Weights of the first n, in ascending id. */
static double total_weight(struct ordered *o, const float *logits, size_t n) {
    bool all = n == o->vocab;
    struct ft_candidate last = candidate(o, all ? 0 : n - 1);
    double total = 0.0, weights[CHUNK];
    for (uint32_t v = 0; v < o->vocab;) {
        size_t count = 0;
        for (; v < o->vocab && count < CHUNK; v++)
            if (all || !precedes(last, (struct ft_candidate){logits[v], v})) weights[count++] = exponent(o, logits[v]);
        ft_exp_double(o->exec, count, weights);
        for (size_t i = 0; i < count; i++) total += weights[i];
    }
    return total;
}

uint32_t ft_sample(const struct ft_exec *exec, const struct ft_sampling *how, const float *logits, size_t vocab,
                   double uniform, struct ft_candidate *scratch) {
    struct ordered o = {.exec = exec, .heap = {scratch, vocab}, .vocab = vocab, .temperature = how->temperature};
    for (uint32_t v = 0; v < vocab; v++) {
        if (!(logits[v] <= FLT_MAX)) return v;
        scratch[v] = (struct ft_candidate){logits[v], v};
    }
    make_heap(&o.heap);
    o.greatest = (double)candidate(&o, 0).logit;
    size_t n = how->top_k && how->top_k < vocab ? how->top_k : vocab;
    double total = total_weight(&o, logits, n), kept = total, run = 0.0;
    if (how->top_p < 1.0) {
        size_t used = 0;
        kept = 0.0;
        do kept += weight(&o, candidate(&o, used).logit);
        while (++used < n && kept < how->top_p * total);
        n = used;
    }
    for (size_t i = 0; i < n; i++) {
        run += weight(&o, candidate(&o, i).logit);
        if (run > uniform * kept) return candidate(&o, i).id;
    }
    return candidate(&o, n - 1).id;
}
