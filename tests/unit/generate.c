/* SPDX-License-Identifier: MIT
 * Sampling against its definition by sorting, ties and all; completions that depend neither on how many run
 * beside each other, on how many threads and in which groups, nor on a beginning that prompts share. */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/elementary.h"
#include "ft/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- sampling ------------------------------------------------------------------------------------------- */

enum { VOCAB = 997 };

static uint32_t state = 7;

static uint32_t below(uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(state >> 8) * n >> 24);
}

static int in_order(const void *a, const void *b) {
    const struct ft_candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

/* sample.h, word for word: everything sorted. `total` in the order of ids, or in that of the candidates,
 * which is how it was once defined. */
static uint32_t by_sorting(const struct ft_sampling *how, const float *logits, double uniform,
                           bool total_by_id) {
    static struct ft_candidate c[VOCAB];
    static double weight[VOCAB];
    static bool counts[VOCAB];
    for (uint32_t v = 0; v < VOCAB; v++) c[v] = (struct ft_candidate){logits[v], v};
    qsort(c, VOCAB, sizeof *c, in_order);
    size_t n = how->top_k && how->top_k < VOCAB ? how->top_k : VOCAB, used = 0;
    double total = 0, kept = 0, run = 0;
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < n; i++) {
        weight[i] = ft_exp(((double)c[i].logit - (double)c[0].logit) / how->temperature);
        if (!total_by_id) total += weight[i];
        counts[c[i].id] = true;
    }
    for (uint32_t v = 0; v < VOCAB && total_by_id; v++)
        if (counts[v]) total += ft_exp(((double)logits[v] - (double)c[0].logit) / how->temperature);
    do kept += weight[used];
    while (++used < n && (how->top_p == 1.0 || kept < how->top_p * total));
    if (how->top_p == 1.0) kept = total;
    for (size_t i = 0; i < used; i++) {
        run += weight[i];
        if (run > uniform * kept) return c[i].id;
    }
    return c[used - 1].id;
}

static void test_sampling(struct ft_exec *exec) {
    static float logits[VOCAB];
    static struct ft_candidate scratch[VOCAB];
    static const double p[] = {1.0, 0.9, 0.5, 0.01}, temperature[] = {0.3, 1.0, 5.0};
    static const size_t k[] = {0, 1, 2, 40, VOCAB - 1, VOCAB, 5000};
    size_t wrong = 0, other = 0;
    for (uint32_t round = 0; round < 4; round++) {
        uint32_t values = round == 0 ? 5 : round == 1 ? 60 : 1u << 20; /* few: ties everywhere */
        for (size_t v = 0; v < VOCAB; v++) logits[v] = (float)below(values) / (float)values * 12.0f - 6.0f;
        for (size_t i = 0; i < 4 * 3 * 7 * 5; i++) {
            struct ft_sampling how = {temperature[i / 4 % 3], p[i % 4], k[i / 12 % 7], 0};
            double uniform = i % 5 == 0 ? 0.0 : (double)below(1u << 24) * 0x1p-24;
            uint32_t got = ft_sample(exec, &how, logits, VOCAB, uniform, scratch);
            wrong += got != by_sorting(&how, logits, uniform, true);
            other += got != by_sorting(&how, logits, uniform, false);
        }
    }
    ok(wrong == 0, "a sample is what sorting gives, with ties, for any top-k, top-p and temperature");
    ok(other == 0, "and what it was when weights were added in the candidates' order");
    struct ft_sampling how = {1.0, 1.0, 0, 0};
    logits[500] = NAN;
    ok(ft_sample(exec, &how, logits, VOCAB, 0.5, scratch) == 500, "a NaN comes out");
    for (size_t v = 0; v < VOCAB; v++) logits[v] = v == 3 || v == 9 ? 2.0f : -1.0f;
    ok(ft_sample_greedy(logits, VOCAB) == 3, "greedy: the lowest id of equals");
}

static uint32_t one_by_one(const float *logits, size_t vocab) {
    uint32_t best = 0;
    for (uint32_t v = 0; v < vocab; v++) {
        if (!(logits[v] < INFINITY)) return v;
        if (logits[v] > logits[best]) best = v;
    }
    return best;
}

static void test_greedy(void) {
    static const float strange[] = {NAN, INFINITY, -INFINITY};
    static float logits[VOCAB];
    size_t wrong = 0;
    for (uint32_t round = 0; round < 2000; round++) {
        size_t vocab = 1 + below(VOCAB);
        uint32_t values = round % 4 == 0 ? 2 : round % 4 == 1 ? 30 : 1u << 20;
        for (size_t v = 0; v < vocab; v++) logits[v] = (float)below(values) - (float)values / 2;
        if (round % 3 == 0)
            for (uint32_t i = below(3); i < 3; i++) logits[below((uint32_t)vocab)] = strange[below(3)];
        wrong += ft_sample_greedy(logits, vocab) != one_by_one(logits, vocab);
    }
    ok(wrong == 0, "greedy: as if looked at one by one, for any number of logits; what is not finite comes out");
}

/* --- completions ----------------------------------------------------------------------------------------- */

enum { PROMPTS = 23, PROMPT_MAX = 20 };

static uint32_t tokens[PROMPTS][PROMPT_MAX];
static struct ft_prompt prompts[PROMPTS];

/* The first 10 tokens of all are the same. */
static void make_prompts(size_t shared) {
    for (size_t i = 0; i < PROMPTS; i++) {
        for (size_t t = 0; t < PROMPT_MAX; t++)
            tokens[i][t] = t < shared ? (uint32_t)(t * 5 % 67) : below(67);
        prompts[i] = (struct ft_prompt){
            .ids = tokens[i], .count = 11 + i % 4, .max_tokens = 2 + i * 3 % 7, .expected = i % 3};
    }
    prompts[4].max_tokens = 0;
}

struct told {
    size_t next;
    bool in_order;
};

static enum ft_status told(void *arg, size_t prompt, const struct ft_completion *completion, struct ft_error *error) {
    struct told *t = arg;
    (void)error;
    t->in_order &= prompt == t->next++ && (completion->count > 0 || completion->stopped || !prompts[prompt].max_tokens);
    return FT_OK;
}

/* A number for all completions; 0 on failure. */
static uint64_t complete(struct ft_model *model, struct ft_exec *exec, size_t slots, size_t group, double temperature) {
    struct ft_completions out;
    struct ft_error error = {0};
    struct told t = {.in_order = true};
    const uint32_t stop[] = {1, 2, 3};
    struct ft_generate job = {.model = model, .exec = exec, .prompts = prompts, .count = PROMPTS, .stop = stop, .stops = 3,
                              .sampling = {temperature, 0.9, 20, 5}, .slots = slots, .group = group,
                              .completed = told, .arg = &t};
    if (ft_generate(&job, &out, &error)) return printf("# %s\n", error.message), 0;
    uint64_t digest = 1469598103934665603u;
    for (size_t i = 0; i < out.count; i++) {
        for (size_t k = 0; k < out.item[i].count; k++) digest = (digest ^ out.item[i].ids[k]) * 1099511628211u;
        digest = (digest ^ (out.item[i].count << 1 | out.item[i].stopped)) * 1099511628211u;
    }
    ft_completions_release(&out);
    return t.in_order && t.next == PROMPTS ? digest : 0;
}

/* The first that is not as alone on one thread; NULL: none. */
static const char *differs(struct ft_model *model, struct ft_exec *const exec[2], double temperature) {
    static const size_t batch[] = {1, 3, 16, PROMPTS, 0}, group[] = {0, 1, 5};
    static char words[80];
    uint64_t alone = complete(model, exec[0], 1, 1, temperature);
    if (!alone) return "alone: not complete, or not in order";
    for (int t = 0; t < 2; t++)
        for (size_t b = 0; b < sizeof batch / sizeof *batch; b++)
            for (size_t g = 0; g < sizeof group / sizeof *group; g++) {
                if (complete(model, exec[t], batch[b], group[g], temperature) == alone) continue;
                snprintf(words, sizeof words, "%d threads, batch %zu, groups of %zu", t + 1, batch[b], group[g]);
                return words;
            }
    return NULL;
}

static void test_completions(const char *name) {
    struct ft_model *model = NULL;
    struct ft_exec *exec[2] = {0};
    struct ft_error error;
    if (!ok(!ft_model_open(&model, fixture("%s", name), &error) && !ft_exec_new(&exec[0], 1, &error) &&
                !ft_exec_new(&exec[1], 2, &error),
            "%s: opened", name))
        return;
    for (size_t shared = 0; shared <= 10; shared += 10) {
        make_prompts(shared);
        for (int t = 0; t < 2; t++) {
            const char *wrong = differs(model, exec, t ? 1.5 : 0.0);
            ok(!wrong, "%s: %s completions of prompts that share %zu tokens are those of one at a time%s%s", name,
               t ? "sampled" : "greedy", shared, wrong ? ": but " : "", wrong ? wrong : "");
        }
    }
    ft_model_free(model);
    ft_exec_free(exec[0]);
    ft_exec_free(exec[1]);
}

int main(void) {
    struct ft_exec *exec = NULL;
    if (ok(!ft_exec_new(&exec, 1, NULL), "one thread")) test_sampling(exec);
    ft_exec_free(exec);
    test_greedy();
    test_completions("llama-tied");
    test_completions("gpt2");
    return tap_done();
}
