/* SPDX-License-Identifier: MIT
 * Shared prompts. Sorted, documents that begin alike are neighbours, and the tree of prompts is that of the lengths
 * that neighbours have in common; one walk over these opens and closes its nodes. */
#include "ft/prefix.h"

#include <assert.h>
#include <string.h>

/* A document in the order of prompts. */
struct ft_prefix_entry {
    const uint32_t *ids;
    uint32_t rows, document;
};

/* A node of the tree whose documents, sorted[first ...], are not all seen yet; saved: by prefixes below it. */
struct ft_prefix_node {
    size_t length, first, saved;
};

/* Documents sorted[first .. end) that would share `length` tokens. */
struct ft_prefix_span {
    size_t first, end, length;
};

size_t ft_document_rows(const float *weights, size_t tokens, size_t *prompt) {
    size_t first = 1, last = tokens;
    while (first < tokens && !(weights[first] > 0)) first++;
    while (last > first && !(weights[last - 1] > 0)) last--;
    *prompt = first < last ? first - 1 : 0;
    return first < last ? last - 1 : 0;
}

/* --- memory ---------------------------------------------------------------------------------------------- */

static bool place(struct ft_prefixes *p, size_t documents, size_t *size) {
    size_t nodes, total = 0;
    if (!ft_size_add(documents, 1, &nodes)) return false;
    const struct {
        void *at;
        size_t count, size;
    } pieces[] = {
        {&p->item, documents, sizeof *p->item},       {&p->of, documents, sizeof *p->of},
        {&p->sorted, documents, sizeof *p->sorted},   {&p->scratch, documents, sizeof *p->scratch},
        {&p->open, nodes, sizeof *p->open},           {&p->span, documents, sizeof *p->span},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (!ft_size_add(total, ft_arena_cost(pieces[i].count, pieces[i].size), &total)) return false;
        if (!p->arena.base) continue;
        void *memory = ft_arena_take(&p->arena, pieces[i].count, pieces[i].size);
        assert(memory);
        memcpy(pieces[i].at, &memory, sizeof memory);
    }
    *size = total;
    return true;
}

size_t ft_prefixes_size(size_t documents) {
    struct ft_prefixes none = {0};
    size_t size;
    return place(&none, documents, &size) ? size : SIZE_MAX;
}

enum ft_status ft_prefixes_init(struct ft_prefixes *prefixes, size_t documents, struct ft_error *error) {
    *prefixes = (struct ft_prefixes){.documents_max = documents};
    size_t size = documents < UINT32_MAX ? ft_prefixes_size(documents) : SIZE_MAX;
    enum ft_status status = ft_arena_init(&prefixes->arena, size, error);
    if (!status) (void)place(prefixes, documents, &size);
    return status;
}

void ft_prefixes_release(struct ft_prefixes *prefixes) {
    ft_arena_release(&prefixes->arena);
    *prefixes = (struct ft_prefixes){0};
}

/* --- neighbours ------------------------------------------------------------------------------------------ */

static size_t in_common(const struct ft_prefix_entry *a, const struct ft_prefix_entry *b) {
    size_t most = a->rows < b->rows ? a->rows : b->rows, n = 0;
    while (n < most && a->ids[n] == b->ids[n]) n++;
    return n;
}

/* Total: by tokens, a prompt before those that go on, then by document. */
static bool precedes(const struct ft_prefix_entry *a, const struct ft_prefix_entry *b) {
    size_t n = in_common(a, b);
    if (n < a->rows && n < b->rows) return a->ids[n] < b->ids[n];
    return a->rows != b->rows ? a->rows < b->rows : a->document < b->document;
}

/* Merge sort: no memory but what is there. */
static void sort(struct ft_prefixes *p, size_t count) {
    for (size_t run = 1; run < count; run *= 2) {
        for (size_t at = 0; at < count; at += 2 * run) {
            size_t middle = at + run < count ? at + run : count, end = middle + run < count ? middle + run : count;
            for (size_t i = at, j = middle, to = at; to < end; to++)
                p->scratch[to] = j == end || (i < middle && !precedes(&p->sorted[j], &p->sorted[i])) ? p->sorted[i++]
                                                                                                     : p->sorted[j++];
        }
        struct ft_prefix_entry *swap = p->sorted;
        p->sorted = p->scratch;
        p->scratch = swap;
    }
}

/* --- the tree -------------------------------------------------------------------------------------------- */

/* A node is complete: it becomes a span in place of those below it, or leaves them. Returns what it saves. */
static size_t close_node(struct ft_prefixes *p, const struct ft_prefix_node *node, size_t end, size_t *spans) {
    size_t saves = (end - node->first - 1) * node->length;
    if (node->length < FT_PREFIX_MIN || saves < FT_PREFIX_SAVES || saves < node->saved) return node->saved;
    while (*spans && p->span[*spans - 1].first >= node->first) --*spans;
    p->span[(*spans)++] = (struct ft_prefix_span){node->first, end, node->length};
    return saves;
}

/* Documents that share nothing else; they do not overlap. */
static size_t find_spans(struct ft_prefixes *p, size_t count) {
    size_t depth = 1, spans = 0;
    p->open[0] = (struct ft_prefix_node){0};
    for (size_t i = 1; i <= count; i++) {
        size_t common = i < count ? in_common(&p->sorted[i - 1], &p->sorted[i]) : 0, first = i - 1, saved = 0;
        while (p->open[depth - 1].length > common) {
            struct ft_prefix_node node = p->open[--depth];
            node.saved += saved;
            saved = close_node(p, &node, i, &spans);
            first = node.first;
        }
        if (p->open[depth - 1].length == common) p->open[depth - 1].saved += saved;
        else p->open[depth++] = (struct ft_prefix_node){common, first, saved};
    }
    return spans;
}

/* of[d] becomes 1 + index of the document's span. */
static void mark(struct ft_prefixes *p, size_t spans) {
    for (size_t s = 0; s < spans; s++)
        for (size_t i = p->span[s].first; i < p->span[s].end; i++) p->of[p->sorted[i].document] = (uint32_t)s + 1;
}

static bool fits(const struct ft_prefixes *p, size_t length) {
    return p->count == 0 || (length <= FT_PREFIX_TOKENS && p->rows <= FT_PREFIX_TOKENS - length);
}

void ft_prefixes_find(struct ft_prefixes *p, const struct ft_prompt_rows *prompt, size_t documents) {
    enum { UNSEEN = 0, REFUSED = 1 }; /* a span's `first` once it is marked; more: 2 + index of its prefix */
    size_t count = 0;
    assert(documents <= p->documents_max);
    p->count = p->rows = 0;
    for (size_t d = 0; d < documents; d++) {
        p->of[d] = 0;
        if (prompt[d].rows < FT_PREFIX_MIN) continue;
        uint32_t rows = prompt[d].rows < UINT32_MAX ? (uint32_t)prompt[d].rows : UINT32_MAX;
        p->sorted[count++] = (struct ft_prefix_entry){prompt[d].ids, rows, (uint32_t)d};
    }
    if (count < 2) return;
    sort(p, count);
    size_t spans = find_spans(p, count);
    mark(p, spans);
    for (size_t s = 0; s < spans; s++) p->span[s].first = UNSEEN;
    for (size_t d = 0; d < documents; d++) {
        if (!p->of[d]) continue;
        struct ft_prefix_span *span = &p->span[p->of[d] - 1];
        if (span->first == UNSEEN) {
            bool taken = fits(p, span->length);
            if (taken) p->item[p->count++] = (struct ft_prefix){d, span->length, p->rows};
            if (taken) p->rows += span->length;
            span->first = taken ? p->count + 1 : REFUSED;
        }
        p->of[d] = (uint32_t)(span->first - 1);
    }
}
