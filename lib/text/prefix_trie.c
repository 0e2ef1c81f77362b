/* SPDX-License-Identifier: MIT */
#include "prefix_trie.h"

#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

struct key {
    const char *text;
    uint32_t length, id;
};

/* While the trie grows: the tokens, sorted, and for each node which of them go through it. */
struct builder {
    struct key *key;
    size_t keys, bytes;
    struct {
        uint32_t low, high;
    } *through; /* [nodes] */
};

static int compare(const void *a, const void *b) {
    const struct key *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

static enum ft_status collect(struct builder *builder, const struct ft_vocab *vocab, struct ft_error *error) {
    enum ft_status status = ft_alloc(&builder->key, (size_t)vocab->count + 1, sizeof *builder->key, error);
    for (uint32_t id = 0; id < vocab->limit && !status; id++) {
        size_t length;
        const char *text = ft_vocab_text(vocab, id, &length);
        if (!text || !length) continue;
        if (length > FT_PREFIX_LENGTH_MAX)
            return ft_fail(error, FT_LIMIT, "token %u has %zu bytes; at most %zu are supported", id, length, FT_PREFIX_LENGTH_MAX);
        builder->key[builder->keys++] = (struct key){text, (uint32_t)length, id};
        builder->bytes += length;
    }
    if (!status) qsort(builder->key, builder->keys, sizeof *builder->key, compare);
    return status;
}

static enum ft_status reserve(struct ft_prefix_trie *trie, struct builder *builder, struct ft_error *error) {
    size_t nodes = builder->bytes + 1; /* no byte makes more than one */
    enum ft_status status;
    if (nodes >= UINT32_MAX) return ft_fail(error, FT_LIMIT, "the vocabulary has %zu bytes, which are too many", builder->bytes);
    if ((status = ft_alloc(&trie->label, nodes, sizeof *trie->label, error)) ||
        (status = ft_alloc(&trie->child, nodes + 1, sizeof *trie->child, error)) ||
        (status = ft_alloc(&trie->token, nodes, sizeof *trie->token, error)))
        return status;
    return ft_alloc(&builder->through, nodes, sizeof *builder->through, error);
}

/* Appends the children of `node`, whose tokens have `depth` bytes in common. */
static void grow(struct ft_prefix_trie *trie, struct builder *builder, size_t node, size_t depth) {
    uint32_t low = builder->through[node].low, high = builder->through[node].high;
    trie->child[node] = (uint32_t)trie->nodes;
    trie->token[node] = FT_TOKEN_NONE;
    if (low < high && builder->key[low].length == depth) trie->token[node] = builder->key[low++].id;
    for (uint32_t end; low < high; low = end) {
        uint8_t byte = (uint8_t)builder->key[low].text[depth];
        for (end = low + 1; end < high && (uint8_t)builder->key[end].text[depth] == byte;) end++;
        trie->label[trie->nodes] = byte;
        if (!node) trie->first[byte] = (uint32_t)trie->nodes;
        builder->through[trie->nodes].low = low;
        builder->through[trie->nodes++].high = end;
    }
}

enum ft_status ft_prefix_trie_build(struct ft_prefix_trie *trie, const struct ft_vocab *vocab, struct ft_error *error) {
    struct builder builder = {0};
    enum ft_status status = collect(&builder, vocab, error);
    if (!status) status = reserve(trie, &builder, error);
    if (!status) {
        builder.through[0].high = (uint32_t)builder.keys;
        trie->nodes = 1;
        for (size_t node = 0, depth = 0, level = 1; node < trie->nodes; node++) {
            if (node == level) depth++, level = trie->nodes; /* the level before is done, so this one ends here */
            grow(trie, &builder, node, depth);
        }
        trie->child[trie->nodes] = (uint32_t)trie->nodes;
    }
    free(builder.key);
    free(builder.through);
    return status;
}

void ft_prefix_trie_release(struct ft_prefix_trie *trie) {
    free(trie->label);
    free(trie->child);
    free(trie->token);
    *trie = (struct ft_prefix_trie){0};
}
