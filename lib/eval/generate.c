/* SPDX-License-Identifier: MIT */
#include "ft/generate.h"

#include "ft/config.h"
#include "ft/decoder.h"
#include "ft/elementary.h"
#include "ft/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { SLOTS_DEFAULT = 16, FEED_TOKENS = 1024 };

struct candidate {
    float logit;
    uint32_t id;
};

struct slot {
    size_t prompt; /* index; SIZE_MAX: free */
    size_t length; /* tokens of prompt and completion */
    uint32_t last; /* to be fed next */
};

struct state {
    const struct ft_generate *job;
    struct ft_completions *out;
    struct ft_decoder *decoder;
    struct slot *slots;
    size_t n_slots, feed, context, vocab;
    struct ft_decoder_piece *pieces;
    float *logits;                 /* [slots, vocab] */
    struct candidate *candidates;  /* [vocab] */
    size_t next, done;             /* prompts taken, completions finished */
};

static int by_logit(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static uint32_t greedy(const float *logits, size_t vocab) {
    uint32_t best = 0;
    for (uint32_t v = 1; v < vocab; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

static uint32_t sample(const struct state *s, const float *logits, uint64_t record, size_t position) {
    const struct ft_sampling *how = &s->job->sampling;
    struct candidate *c = s->candidates;
    for (uint32_t v = 0; v < s->vocab; v++) c[v] = (struct candidate){logits[v], v};
    qsort(c, s->vocab, sizeof *c, by_logit);
    size_t n = how->top_k && how->top_k < s->vocab ? how->top_k : s->vocab;
    double total = 0.0, kept = 0.0;
    for (size_t i = 0; i < n; i++) total += ft_exp(((double)c[i].logit - (double)c[0].logit) / how->temperature);
    size_t used = 0;
    do kept += ft_exp(((double)c[used].logit - (double)c[0].logit) / how->temperature);
    while (++used < n && kept < how->top_p * total);
    struct ft_rng rng = ft_rng_new(how->seed, FT_RNG_SAMPLE);
    double target = ft_rng_uniform_double(&rng, (uint32_t)record, (uint32_t)(record >> 32), position) * kept, run = 0.0;
    for (size_t i = 0; i < used; i++) {
        run += ft_exp(((double)c[i].logit - (double)c[0].logit) / how->temperature);
        if (run > target) return c[i].id;
    }
    return c[used - 1].id;
}

static bool is_stop(const struct ft_generate *job, uint32_t id) {
    for (size_t i = 0; i < job->stops; i++)
        if (job->stop[i] == id) return true;
    return false;
}

static size_t completion_limit(const struct state *s, size_t prompt) {
    const struct ft_prompt *p = &s->job->prompts[prompt];
    size_t room = s->context - p->count;
    return p->max_tokens < room ? p->max_tokens : room;
}

static void finish(struct state *s, struct slot *slot, bool stopped) {
    s->out->item[slot->prompt].stopped = stopped;
    ft_decoder_truncate(s->decoder, (size_t)(slot - s->slots), 0);
    *slot = (struct slot){.prompt = SIZE_MAX};
    s->done++;
    if (s->job->progress) s->job->progress(s->job->arg, s->done);
}

/* Takes one more token for a slot from its logits. */
static enum ft_status extend(struct state *s, struct slot *slot, const float *logits, struct ft_error *error) {
    const struct ft_generate *job = s->job;
    struct ft_completion *c = &s->out->item[slot->prompt];
    uint32_t id = job->sampling.temperature > 0.0
                      ? sample(s, logits, job->first_record + slot->prompt, c->count)
                      : greedy(logits, s->vocab);
    if (!isfinite(logits[id]))
        return ft_fail(error, FT_NONFINITE, "prompt %zu: the model's output is not finite after %zu tokens; check its weights",
                       slot->prompt + 1, slot->length);
    if (is_stop(job, id)) {
        finish(s, slot, true);
        return FT_OK;
    }
    c->ids[c->count++] = id;
    slot->last = id;
    slot->length++;
    if (c->count == completion_limit(s, slot->prompt)) finish(s, slot, false);
    return FT_OK;
}

/* Chooses what the next call of the decoder gets: one token of each running slot, and new prompts as they fit. */
static size_t gather(struct state *s, size_t *which) {
    size_t count = 0, tokens = 0;
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i].prompt == SIZE_MAX) continue;
        which[count] = i;
        s->pieces[count++] = (struct ft_decoder_piece){.slot = i, .ids = &s->slots[i].last, .count = 1};
        tokens++;
    }
    for (size_t i = 0; i < s->n_slots && s->next < s->job->count; i++) {
        if (s->slots[i].prompt != SIZE_MAX) continue;
        const struct ft_prompt *p = &s->job->prompts[s->next];
        if (completion_limit(s, s->next) == 0) { /* nothing asked for */
            s->next++;
            s->done++;
            i--;
            continue;
        }
        if (tokens + p->count > s->feed) break;
        s->slots[i] = (struct slot){.prompt = s->next++, .length = p->count};
        which[count] = i;
        s->pieces[count++] = (struct ft_decoder_piece){.slot = i, .ids = p->ids, .count = p->count};
        tokens += p->count;
    }
    return count;
}

static enum ft_status run(struct state *s, size_t *which, struct ft_error *error) {
    while (s->done < s->job->count) {
        size_t count = gather(s, which);
        if (count == 0) continue; /* only empty completions were left */
        enum ft_status status = ft_decoder_feed(s->decoder, s->pieces, count, s->logits, error);
        for (size_t i = 0; i < count && !status; i++)
            status = extend(s, &s->slots[which[i]], s->logits + i * s->vocab, error);
        if (status) return status;
    }
    return FT_OK;
}

/* Room for every completion, in one block. */
static enum ft_status make_room(struct state *s, struct ft_error *error) {
    size_t total = 0;
    for (size_t i = 0; i < s->job->count; i++)
        if (!ft_size_add(total, completion_limit(s, i), &total)) return ft_fail(error, FT_LIMIT, "too many tokens asked for");
    enum ft_status status = ft_alloc(&s->out->item, s->job->count, sizeof *s->out->item, error);
    if (!status) status = ft_alloc(&s->out->ids, total, sizeof *s->out->ids, error);
    uint32_t *ids = s->out->ids;
    for (size_t i = 0; i < s->job->count && !status; i++) {
        s->out->item[i].ids = ids;
        ids += completion_limit(s, i);
    }
    s->out->count = s->job->count;
    return status;
}

static enum ft_status check_prompts(struct state *s, size_t *longest, struct ft_error *error) {
    *longest = 1;
    for (size_t i = 0; i < s->job->count; i++) {
        size_t n = s->job->prompts[i].count;
        if (n == 0) return ft_fail(error, FT_FORMAT, "prompt %zu has no tokens", i + 1);
        if (n >= s->context)
            return ft_fail(error, FT_LIMIT, "prompt %zu has %zu tokens: the model's context of %zu leaves no room for a completion; shorten it",
                           i + 1, n, s->context);
        if (n > *longest) *longest = n;
    }
    return FT_OK;
}

enum ft_status ft_generate(const struct ft_generate *job, struct ft_completions *out, struct ft_error *error) {
    const struct ft_config *config = ft_model_config(job->model);
    struct ft_completions result = {0};
    struct state s = {.job = job, .out = &result, .context = config->positions, .vocab = config->vocab};
    size_t longest, *which = NULL, reach = 0;
    enum ft_status status = check_prompts(&s, &longest, error);
    if (status) return status;
    for (size_t i = 0; i < job->count; i++) {
        size_t length = job->prompts[i].count + completion_limit(&s, i);
        if (length > reach) reach = length;
    }
    s.n_slots = job->slots ? job->slots : SLOTS_DEFAULT;
    if (s.n_slots > job->count) s.n_slots = job->count ? job->count : 1;
    s.feed = longest + s.n_slots > FEED_TOKENS ? longest + s.n_slots : FEED_TOKENS;
    struct ft_decoder_limits limits = {.sequences = s.n_slots, .length = reach ? reach : 1, .feed = s.feed};
    size_t cells;
    status = make_room(&s, error);
    if (!status) status = ft_decoder_new(&s.decoder, job->model, job->exec, &limits, error);
    if (!status) status = ft_alloc(&s.slots, s.n_slots, sizeof *s.slots, error);
    if (!status) status = ft_alloc(&s.pieces, s.n_slots, sizeof *s.pieces, error);
    if (!status) status = ft_alloc(&which, s.n_slots, sizeof *which, error);
    if (!status) status = ft_alloc(&s.candidates, s.vocab, sizeof *s.candidates, error);
    if (!status && !ft_size_mul(s.n_slots, s.vocab, &cells)) status = ft_fail(error, FT_LIMIT, "the vocabulary is too large");
    if (!status) status = ft_alloc(&s.logits, cells, sizeof *s.logits, error);
    for (size_t i = 0; i < s.n_slots && !status; i++) s.slots[i].prompt = SIZE_MAX;
    if (!status) status = run(&s, which, error);
    ft_decoder_free(s.decoder);
    free(s.slots);
    free(s.pieces);
    free(which);
    free(s.candidates);
    free(s.logits);
    if (status) ft_completions_release(&result);
    else *out = result;
    return status;
}

void ft_completions_release(struct ft_completions *completions) {
    free(completions->item);
    free(completions->ids);
    *completions = (struct ft_completions){0};
}
