/* SPDX-License-Identifier: MIT */
#include "unigram.h"

#include "ft/json.h"
#include "unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX
#define WORD_MAX ((size_t)1 << 31) /* bytes of a word */

static const double unknown_penalty = 10;

static void find_bytes(struct ft_unigram *unigram) {
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        size_t size = (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        unigram->byte_id[b] = unigram->byte_fallback ? ft_vocab_find(unigram->vocab, text, size) : FT_TOKEN_NONE;
    }
}

enum ft_status ft_unigram_read(struct ft_unigram *unigram, const struct ft_vocab *vocab, const double *score,
                               const struct ft_json *json, const struct cJSON *model, struct ft_error *error) {
    uint64_t unknown = FT_TOKEN_NONE;
    *unigram = (struct ft_unigram){.vocab = vocab, .score = score};
    enum ft_status status = ft_json_get_u64(json, model, "unk_id", FT_JSON_OPTIONAL, 0, UINT32_MAX, &unknown, error);
    if (!status) status = ft_json_get_bool(json, model, "byte_fallback", FT_JSON_OPTIONAL, &unigram->byte_fallback, error);
    if (status) return status;
    if (unknown != FT_TOKEN_NONE && unknown >= vocab->limit)
        return ft_json_fail(json, model, error, "unk_id is %llu, but the vocabulary has %u tokens", (unsigned long long)unknown,
                            vocab->limit);
    unigram->unknown = (uint32_t)unknown;
    unigram->unknown_score = INFINITY;
    for (uint32_t id = 0; id < vocab->limit; id++)
        if (score[id] < unigram->unknown_score) unigram->unknown_score = score[id];
    unigram->unknown_score -= unknown_penalty;
    find_bytes(unigram);
    status = ft_prefix_trie_build(&unigram->trie, vocab, error);
    return status ? ft_error_context(error, "%s", json->name) : FT_OK;
}

void ft_unigram_release(struct ft_unigram *unigram) { ft_prefix_trie_release(&unigram->trie); }

void ft_unigram_path_release(struct ft_unigram_path *path) {
    free(path->node);
    *path = (struct ft_unigram_path){0};
}

/* --- the best way ---------------------------------------------------------------------------------------- */

static enum ft_status path_start(struct ft_unigram_path *path, size_t length, struct ft_error *error) {
    if (length >= WORD_MAX) return ft_fail(error, FT_LIMIT, "a word of %zu bytes: at most %zu are supported", length, WORD_MAX);
    enum ft_status status =
        ft_grow(&path->node, &path->capacity, length + 1, sizeof *path->node, WORD_MAX + 1, "bytes of a word", error);
    for (size_t i = 0; i <= length && !status; i++) path->node[i] = (struct ft_unigram_node){.start = NOWHERE};
    return status;
}

/* The first of equally good ways stays. */
static inline bool is_better(const struct ft_unigram_node *node, double score) {
    return node->start == NOWHERE || score > node->score;
}

static inline void offer(struct ft_unigram_node *node, double score, size_t start, uint32_t id) {
    if (is_better(node, score)) *node = (struct ft_unigram_node){score, (uint32_t)start, id};
}

/* Enters the tokens that begin at `start` where they end; *single: one of them is the first character alone. */
static void offer_tokens(const struct ft_unigram *unigram, struct ft_unigram_node *node, const char *word, size_t length,
                         size_t start, bool *single) {
    const struct ft_prefix_trie *trie = &unigram->trie;
    size_t character = start + ft_utf8_size(word[start]);
    double before = node[start].score;
    uint32_t at = 0;
    *single = false;
    for (size_t i = start; i < length && (at = ft_prefix_child(trie, at, (uint8_t)word[i]));) {
        uint32_t id = trie->token[at];
        i++;
        if (id == FT_TOKEN_NONE) continue;
        offer(&node[i], unigram->score[id] + before, start, id);
        *single |= i == character;
    }
}

static enum ft_status find_path(const struct ft_unigram *unigram, struct ft_unigram_node *node, const char *word, size_t length,
                                struct ft_error *error) {
    for (size_t start = 0, size; start < length; start += size) {
        bool single;
        size = ft_utf8_size(word[start]);
        offer_tokens(unigram, node, word, length, start, &single);
        if (single) continue;
        double score = unigram->unknown_score + node[start].score;
        if (unigram->unknown == FT_TOKEN_NONE && is_better(&node[start + size], score))
            return ft_fail(error, FT_FORMAT, "the tokenizer has no token for \"%.*s\", and no unknown token", (int)size,
                           word + start);
        offer(&node[start + size], score, start, unigram->unknown);
    }
    return FT_OK;
}

/* Turns the way back into a way forth. */
static void reverse(struct ft_unigram_node *node, size_t length) {
    uint32_t end = (uint32_t)length, id = node[end].id, start = node[end].start;
    while (end) {
        uint32_t next_id = node[start].id, next_start = node[start].start;
        node[start].start = end;
        node[start].id = id;
        end = start;
        id = next_id;
        start = next_start;
    }
}

/* --- ids ------------------------------------------------------------------------------------------------- */

/* What is unknown may still be a token as a whole, or bytes; `to` has room for them. */
static size_t put_unknown(const struct ft_unigram *unigram, const char *text, size_t length, uint32_t *to) {
    to[0] = ft_vocab_find(unigram->vocab, text, length);
    if (to[0] != FT_TOKEN_NONE) return 1;
    bool all = unigram->byte_fallback;
    for (size_t i = 0; i < length && all; i++) all = unigram->byte_id[(uint8_t)text[i]] != FT_TOKEN_NONE;
    for (size_t i = 0; i < length && all; i++) to[i] = unigram->byte_id[(uint8_t)text[i]];
    if (all) return length;
    to[0] = unigram->unknown;
    return 1;
}

enum ft_status ft_unigram_encode(const struct ft_unigram *unigram, struct ft_unigram_path *path, const char *word, size_t length,
                                 struct ft_ids *ids, struct ft_error *error) {
    enum ft_status status = path_start(path, length, error);
    if (!status) status = find_path(unigram, path->node, word, length, error);
    size_t need;
    if (!ft_size_add(ids->count, length, &need)) need = SIZE_MAX;
    if (!status && need > ids->capacity)
        status = ft_grow(&ids->id, &ids->capacity, need, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
    if (status) return status;
    reverse(path->node, length);
    for (size_t at = 0, end; at < length; at = end) {
        const struct ft_unigram_node *node = &path->node[at];
        end = node->start;
        if (node->id != unigram->unknown) {
            ids->id[ids->count++] = node->id;
            continue;
        }
        while (end < length && path->node[end].id == unigram->unknown) end = path->node[end].start; /* neighbours are one */
        ids->count += put_unknown(unigram, word + at, end - at, ids->id + ids->count);
    }
    return FT_OK;
}
