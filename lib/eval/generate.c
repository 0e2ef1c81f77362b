/* SPDX-License-Identifier: MIT */
#include "ft/generate.h"

#include "ft/config.h"
#include "ft/decoder.h"
#include "ft/memory.h"
#include "ft/pool.h"
#include "ft/rng.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
    FEED_TOKENS = 1024,
    SHARED_LEAST = 8, /* tokens at the beginning of all prompts that are worth a slot of their own */
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
    size_t *order; /* [prompts] in which they are taken */
    bool *ready;   /* [prompts] completions that are finished */
    size_t shared; /* first tokens of all prompts, computed once in the decoder's slot n_slots */
    struct ft_decoder_piece *pieces; /* [slots] of the present feed */
    size_t *which;                   /* [slots] each piece's slot */
    uint32_t *chosen;                /* [slots] the token that follows each piece */
    float *logits;                   /* [slots, vocab] */
    struct ft_candidate *candidates; /* [threads, vocab]; NULL when nothing is sampled */
    size_t next, done, told;         /* prompts taken, completions finished, completions handed out */
};

/* The token that follows piece `index`. Its random number belongs to the record and the position in it, not to the
 * slot, the feed or the thread. */
static void choose(void *arg, size_t index, unsigned worker) {
    struct state *s = arg;
    const struct ft_sampling *how = &s->job->sampling;
    const float *logits = s->logits + index * s->vocab;
    if (!(how->temperature > 0.0)) {
        s->chosen[index] = ft_sample_greedy(logits, s->vocab);
        return;
    }
    size_t prompt = s->slots[s->which[index]].prompt, position = s->out->item[prompt].count;
    uint64_t record = s->job->first_record + prompt;
    struct ft_rng rng = ft_rng_new(how->seed, FT_RNG_SAMPLE);
    double uniform = ft_rng_uniform_double(&rng, (uint32_t)record, (uint32_t)(record >> 32), position);
    s->chosen[index] = ft_sample(s->job->exec, how, logits, s->vocab, uniform, s->candidates + worker * s->vocab);
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
    s->ready[slot->prompt] = true;
    ft_decoder_truncate(s->decoder, (size_t)(slot - s->slots), 0);
    *slot = (struct slot){.prompt = SIZE_MAX};
    s->done++;
    if (s->job->progress) s->job->progress(s->job->arg, s->done);
}

/* Hands out what is finished, as far as nothing before it is missing. */
static enum ft_status tell(struct state *s, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (; s->told < s->job->count && s->ready[s->told] && !status; s->told++)
        if (s->job->completed) status = s->job->completed(s->job->arg, s->told, &s->out->item[s->told], error);
    return status;
}

/* One more token for the slot of piece `index`. */
static enum ft_status extend(struct state *s, size_t index, struct ft_error *error) {
    const struct ft_generate *job = s->job;
    struct slot *slot = &s->slots[s->which[index]];
    struct ft_completion *c = &s->out->item[slot->prompt];
    uint32_t id = s->chosen[index];
    if (!isfinite(s->logits[index * s->vocab + id]))
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
static size_t gather(struct state *s) {
    size_t count = 0, tokens = 0;
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i].prompt == SIZE_MAX) continue;
        s->which[count] = i;
        s->pieces[count++] = (struct ft_decoder_piece){.slot = i, .ids = &s->slots[i].last, .count = 1};
        tokens++;
    }
    for (size_t i = 0; i < s->n_slots && s->next < s->job->count; i++) {
        if (s->slots[i].prompt != SIZE_MAX) continue;
        size_t prompt = s->order[s->next];
        const struct ft_prompt *p = &s->job->prompts[prompt];
        if (completion_limit(s, prompt) == 0) { /* nothing asked for */
            s->next++;
            s->done++;
            s->ready[prompt] = true;
            i--;
            continue;
        }
        size_t rest = p->count - s->shared;
        if (tokens + rest > s->feed) break;
        s->next++;
        if (s->shared) ft_decoder_copy(s->decoder, s->n_slots, i, s->shared);
        s->slots[i] = (struct slot){.prompt = prompt, .length = p->count};
        s->which[count] = i;
        s->pieces[count++] = (struct ft_decoder_piece){.slot = i, .ids = p->ids + s->shared, .count = rest};
        tokens += rest;
    }
    return count;
}

static enum ft_status feed_shared(struct state *s, struct ft_error *error) {
    struct ft_decoder_piece piece = {.slot = s->n_slots, .ids = s->job->prompts[0].ids, .count = s->shared};
    return s->shared ? ft_decoder_feed(s->decoder, &piece, 1, s->logits, error) : FT_OK;
}

static enum ft_status run(struct state *s, struct ft_error *error) {
    enum ft_status status = feed_shared(s, error);
    while (!status && s->done < s->job->count) {
        size_t count = gather(s);
        status = ft_decoder_feed(s->decoder, s->pieces, count, s->logits, error); /* 0: only empty ones were left */
        if (!status) ft_pool_run(ft_exec_pool(s->job->exec), count, choose, s);
        for (size_t i = 0; i < count && !status; i++) status = extend(s, i, error);
        if (!status) status = tell(s, error);
    }
    return status;
}

struct turn {
    size_t group, expected, tokens, prompt;
};

static int longest_first(const void *a, const void *b) {
    const struct turn *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->expected != y->expected) return x->expected < y->expected ? 1 : -1;
    if (x->tokens != y->tokens) return x->tokens < y->tokens ? 1 : -1;
    return x->prompt > y->prompt ? 1 : -1;
}

/* Of each group, what takes longest begins first. */
static enum ft_status make_order(struct state *s, struct ft_error *error) {
    struct turn *turn = NULL;
    enum ft_status status = ft_alloc(&s->order, s->job->count, sizeof *s->order, error);
    if (!status) status = ft_alloc(&turn, s->job->count, sizeof *turn, error);
    if (status) return status;
    for (size_t i = 0; i < s->job->count; i++)
        turn[i] = (struct turn){.group = s->job->group ? i / s->job->group : 0, .prompt = i,
                                .expected = s->job->prompts[i].expected, .tokens = s->job->prompts[i].count};
    if (s->job->count) qsort(turn, s->job->count, sizeof *turn, longest_first);
    for (size_t i = 0; i < s->job->count; i++) s->order[i] = turn[i].prompt;
    free(turn);
    return FT_OK;
}

/* Tokens that all prompts begin with; a prompt keeps one to be fed. 0 when that is not worth a slot. */
static size_t shared_tokens(const struct state *s) {
    if (s->n_slots < 2) return 0;
    const struct ft_prompt *first = &s->job->prompts[0];
    size_t shared = first->count - 1;
    for (size_t i = 1; i < s->job->count && shared; i++) {
        const struct ft_prompt *p = &s->job->prompts[i];
        size_t same = 0;
        while (same < shared && same + 1 < p->count && p->ids[same] == first->ids[same]) same++;
        shared = same;
    }
    return shared < SHARED_LEAST ? 0 : shared;
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

/* Tokens of the longest sequence that there may be: at least 1. */
static size_t longest_sequence(const struct state *s) {
    size_t longest = 1;
    for (size_t i = 0; i < s->job->count; i++) {
        size_t length = s->job->prompts[i].count + completion_limit(s, i);
        if (length > longest) longest = length;
    }
    return longest;
}

/* See generate.h. In double: nothing is exact about it, and nothing can overflow. */
static size_t choose_slots(const struct ft_model *model, size_t length) {
    const struct ft_config *config = ft_model_config(model);
    double each = 2.0 * sizeof(float) * (double)config->layers * (double)(config->kv_heads * config->head_dim) * (double)length;
    double most = 0.0;
    size_t count;
    struct ft_parameter *const *parameter = ft_model_parameters(model, &count);
    for (size_t i = 0; i < count; i++) most += (double)parameter[i]->elements * (double)ft_dtype_size(parameter[i]->dtype);
    if (most < FT_GENERATE_CACHE) most = FT_GENERATE_CACHE;
    return most >= each * FT_GENERATE_SLOTS ? FT_GENERATE_SLOTS : most >= each ? (size_t)(most / each) : 1;
}

static enum ft_status take_memory(struct state *s, const struct ft_decoder_limits *limits, struct ft_error *error) {
    size_t cells, scratch;
    size_t threads = s->job->sampling.temperature > 0.0 ? ft_exec_threads(s->job->exec) : 0;
    if (!ft_size_mul(s->n_slots, s->vocab, &cells) || !ft_size_mul(threads, s->vocab, &scratch))
        return ft_fail(error, FT_LIMIT, "the vocabulary is too large");
    enum ft_status status = make_room(s, error);
    if (!status) status = make_order(s, error);
    if (!status) status = ft_decoder_new(&s->decoder, s->job->model, s->job->exec, limits, error);
    if (!status) status = ft_alloc(&s->ready, s->job->count, sizeof *s->ready, error);
    if (!status) status = ft_alloc(&s->slots, s->n_slots, sizeof *s->slots, error);
    if (!status) status = ft_alloc(&s->pieces, s->n_slots, sizeof *s->pieces, error);
    if (!status) status = ft_alloc(&s->which, s->n_slots, sizeof *s->which, error);
    if (!status) status = ft_alloc(&s->chosen, s->n_slots, sizeof *s->chosen, error);
    if (!status) status = ft_alloc(&s->logits, cells, sizeof *s->logits, error);
    if (!status && scratch) status = ft_alloc(&s->candidates, scratch, sizeof *s->candidates, error);
    for (size_t i = 0; i < s->n_slots && !status; i++) s->slots[i].prompt = SIZE_MAX;
    return status;
}

static void release(struct state *s) {
    ft_decoder_free(s->decoder);
    free(s->order);
    free(s->ready);
    free(s->slots);
    free(s->pieces);
    free(s->which);
    free(s->chosen);
    free(s->candidates);
    free(s->logits);
}

enum ft_status ft_generate(const struct ft_generate *job, struct ft_completions *out, struct ft_error *error) {
    const struct ft_config *config = ft_model_config(job->model);
    struct ft_completions result = {0};
    struct state s = {.job = job, .out = &result, .context = config->positions, .vocab = config->vocab};
    size_t longest;
    enum ft_status status = check_prompts(&s, &longest, error);
    if (status) return status;
    size_t length = longest_sequence(&s);
    s.n_slots = job->slots ? job->slots : choose_slots(job->model, length);
    if (s.n_slots > job->count) s.n_slots = job->count ? job->count : 1;
    s.feed = longest + s.n_slots > FEED_TOKENS ? longest + s.n_slots : FEED_TOKENS;
    s.shared = shared_tokens(&s);
    struct ft_decoder_limits limits = {.sequences = s.n_slots + (s.shared > 0), .length = length, .feed = s.feed};
    status = take_memory(&s, &limits, error);
    if (!status) status = run(&s, error);
    release(&s);
    if (status) ft_completions_release(&result);
    else *out = result;
    return status;
}

void ft_completions_release(struct ft_completions *completions) {
    free(completions->item);
    free(completions->ids);
    *completions = (struct ft_completions){0};
}
