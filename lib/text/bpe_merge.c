/* SPDX-License-Identifier: MIT */
#include "bpe_merge.h"

#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

/* Up to here scanning all pairs for each merge is the fastest way. */
enum { SHORT_WORD = 48 };

#define NONE UINT32_MAX
#define WORD_MAX ((size_t)1 << 31) /* symbols in a word */

/* --- short words ----------------------------------------------------------------------------------------- */

static uint32_t pair_rank(const struct ft_bpe *bpe, uint32_t left, uint32_t right, uint32_t *id) {
    const struct ft_bpe_merge *merge = ft_bpe_find(bpe, left, right);
    if (!merge) return NONE;
    *id = merge->id;
    return merge->rank;
}

static void merge_short(const struct ft_bpe *bpe, uint32_t *symbol, size_t *count) {
    uint32_t rank[SHORT_WORD], product[SHORT_WORD];
    size_t n = *count;
    for (size_t i = 0; i + 1 < n; i++) rank[i] = pair_rank(bpe, symbol[i], symbol[i + 1], &product[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NONE) break;
        symbol[best] = product[best];
        n--;
        for (size_t i = best + 1; i < n; i++) symbol[i] = symbol[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) rank[i] = rank[i + 1], product[i] = product[i + 1];
        if (best + 1 < n) rank[best] = pair_rank(bpe, symbol[best], symbol[best + 1], &product[best]);
        if (best > 0) rank[best - 1] = pair_rank(bpe, symbol[best - 1], symbol[best], &product[best - 1]);
    }
    *count = n;
}

/* --- long words ------------------------------------------------------------------------------------------ */

static enum ft_status queue_init(struct ft_bpe_queue *queue, uint32_t ranks, struct ft_error *error) {
    enum ft_status status = FT_OK;
    size_t words = ranks;
    for (int l = 0; l < 3 && !status; l++) {
        words = words / 64 + 1;
        queue->words[l] = words;
        status = ft_alloc(&queue->level[l], words, sizeof(uint64_t), error);
    }
    if (!status) status = ft_alloc(&queue->head, (size_t)ranks + 1, sizeof *queue->head, error);
    if (!status) memset(queue->head, 0xff, ((size_t)ranks + 1) * sizeof *queue->head);
    return status;
}

/* Each pair has one entry at the start, each merge makes two; each of them is taken once. */
static enum ft_status queue_reserve(struct ft_bpe_queue *queue, size_t count, struct ft_error *error) {
    if (count <= queue->capacity) return FT_OK;
    if (count > WORD_MAX) return ft_fail(error, FT_LIMIT, "a word of %zu symbols: at most %zu are supported", count, WORD_MAX);
    size_t want = count < WORD_MAX / 2 ? 2 * count : count;
    struct {
        void *array;
        size_t count, size;
    } part[] = {{&queue->next, 1, sizeof *queue->next},   {&queue->previous, 1, sizeof *queue->previous},
                {&queue->rank, 1, sizeof *queue->rank},   {&queue->frame, 1, sizeof *queue->frame},
                {&queue->work, 3, sizeof *queue->work},   {&queue->entry, 3, sizeof *queue->entry}};
    queue->capacity = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        void *old;
        memcpy(&old, part[i].array, sizeof old);
        free(old);
        memset(part[i].array, 0, sizeof old);
        enum ft_status status = ft_alloc(part[i].array, part[i].count * want, part[i].size, error);
        if (status) return status;
    }
    queue->capacity = want;
    return FT_OK;
}

void ft_bpe_queue_release(struct ft_bpe_queue *queue) {
    free(queue->head);
    for (int l = 0; l < 3; l++) free(queue->level[l]);
    free(queue->entry);
    free(queue->next);
    free(queue->previous);
    free(queue->rank);
    free(queue->work);
    free(queue->frame);
    *queue = (struct ft_bpe_queue){0};
}

static void push(struct ft_bpe_queue *queue, uint32_t position, uint32_t rank) {
    queue->entry[queue->entries] = (struct ft_bpe_entry){position, queue->head[rank]};
    queue->head[rank] = (uint32_t)queue->entries++;
    size_t bit = rank;
    for (int l = 0; l < 3; l++, bit /= 64) queue->level[l][bit / 64] |= (uint64_t)1 << bit % 64;
}

/* The lowest rank that has entries, or NONE. */
static uint32_t lowest(const struct ft_bpe_queue *queue) {
    size_t word = 0;
    while (word < queue->words[2] && !queue->level[2][word]) word++;
    if (word == queue->words[2]) return NONE;
    for (int l = 2; l >= 0; l--) word = word * 64 + (size_t)__builtin_ctzll(queue->level[l][word]);
    return (uint32_t)word;
}

static int by_position(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Moves a rank's list to the frame's end, then has the frame ascend. Entries whose pair has changed meanwhile are left
 * out. */
static void take(struct ft_bpe_queue *queue, struct ft_bpe_frame *frame) {
    uint32_t *work = queue->work + frame->end;
    size_t n = 0;
    for (uint32_t e = queue->head[frame->rank]; e != NONE; e = queue->entry[e].next)
        if (queue->rank[queue->entry[e].position] == frame->rank) work[n++] = queue->entry[e].position;
    queue->head[frame->rank] = NONE;
    size_t bit = frame->rank;
    for (int l = 0; l < 3; l++, bit /= 64) {
        queue->level[l][bit / 64] &= ~((uint64_t)1 << bit % 64);
        if (queue->level[l][bit / 64]) break;
    }
    for (size_t i = 0; i < n / 2; i++) { /* last in, first out: nearly descending */
        uint32_t swap = work[i];
        work[i] = work[n - 1 - i];
        work[n - 1 - i] = swap;
    }
    frame->end += n;
    bool sorted = true;
    for (size_t i = frame->at + 1; i < frame->end && sorted; i++) sorted = queue->work[i - 1] <= queue->work[i];
    if (!sorted) qsort(queue->work + frame->at, frame->end - frame->at, sizeof *queue->work, by_position);
}

/* Looks the pair at `position` up anew; returns its rank. */
static uint32_t pair_at(const struct ft_bpe *bpe, struct ft_bpe_queue *queue, const uint32_t *symbol, uint32_t position) {
    uint32_t after = queue->next[position];
    const struct ft_bpe_merge *merge = after == NONE ? NULL : ft_bpe_find(bpe, symbol[position], symbol[after]);
    uint32_t rank = merge ? merge->rank : NONE;
    if (rank != NONE && rank != queue->rank[position]) push(queue, position, rank);
    queue->rank[position] = rank;
    return rank;
}

/* Merges the pair at `position`; returns the lowest rank of the pairs that arose. */
static uint32_t merge_at(const struct ft_bpe *bpe, struct ft_bpe_queue *queue, uint32_t *symbol, uint32_t position) {
    uint32_t gone = queue->next[position];
    symbol[position] = ft_bpe_find(bpe, symbol[position], symbol[gone])->id;
    queue->rank[position] = queue->rank[gone] = NONE;
    queue->next[position] = queue->next[gone];
    if (queue->next[position] != NONE) queue->previous[queue->next[position]] = position;
    uint32_t a = pair_at(bpe, queue, symbol, position), b = NONE;
    if (queue->previous[position] != NONE) b = pair_at(bpe, queue, symbol, queue->previous[position]);
    return a < b ? a : b;
}

/* Rank by rank, from left to right. When a merge gives rise to a pair of a lower rank, that goes first, and the rest of
 * the frame waits (vocabularies with merges for every way to cut a token do that). A merge never gives rise to
 * its own rank, because a product is neither of its parts. */
static void merge_all(const struct ft_bpe *bpe, struct ft_bpe_queue *queue, uint32_t *symbol) {
    size_t depth = 0, end = 0;
    struct ft_bpe_frame *frame = queue->frame;
    for (;;) {
        uint32_t rank = lowest(queue);
        if (depth && rank >= frame[depth - 1].rank) {
            if (rank == frame[depth - 1].rank) take(queue, &frame[depth - 1]);
        } else if (rank == NONE) {
            return;
        } else {
            frame[depth] = (struct ft_bpe_frame){rank, end, end};
            take(queue, &frame[depth++]);
        }
        struct ft_bpe_frame *top = &frame[depth - 1];
        for (uint32_t arisen = NONE; top->at < top->end && arisen > top->rank; top->at++)
            if (queue->rank[queue->work[top->at]] == top->rank) arisen = merge_at(bpe, queue, symbol, queue->work[top->at]);
        end = top->end;
        if (top->at == top->end) {
            depth--;
            end = depth ? frame[depth - 1].end : 0;
        }
    }
}

static enum ft_status merge_long(const struct ft_bpe *bpe, struct ft_bpe_queue *queue, uint32_t *symbol, size_t *count,
                                 struct ft_error *error) {
    size_t n = *count, out = 0;
    enum ft_status status = queue->head ? FT_OK : queue_init(queue, bpe->ranks, error);
    if (!status) status = queue_reserve(queue, n, error);
    if (status) return status;
    queue->entries = 0;
    for (size_t i = 0; i < n; i++) {
        queue->next[i] = i + 1 < n ? (uint32_t)i + 1 : NONE;
        queue->previous[i] = i ? (uint32_t)i - 1 : NONE;
        queue->rank[i] = NONE;
    }
    for (size_t i = 0; i < n; i++) (void)pair_at(bpe, queue, symbol, (uint32_t)i);
    merge_all(bpe, queue, symbol);
    for (uint32_t i = 0; i != NONE; i = queue->next[i]) symbol[out++] = symbol[i];
    *count = out;
    return FT_OK;
}

enum ft_status ft_bpe_merge(const struct ft_bpe *bpe, struct ft_bpe_queue *queue, uint32_t *symbol, size_t *count,
                            struct ft_error *error) {
    if (*count < 2) return FT_OK;
    if (*count > SHORT_WORD) return merge_long(bpe, queue, symbol, count, error);
    merge_short(bpe, symbol, count);
    return FT_OK;
}
