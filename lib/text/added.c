/* SPDX-License-Identifier: MIT */
#include "added.h"

#include "ft/json.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

/* --- reading --------------------------------------------------------------------------------------------- */

static enum ft_status read_token(struct ft_added_token *token, const struct ft_json *json, const struct cJSON *node,
                                 struct ft_error *error) {
    const char *content = NULL;
    uint64_t id = 0;
    token->normalized = true;
    enum ft_status status;
    if ((status = ft_json_get_string(json, node, "content", FT_JSON_REQUIRED, &content, error)) ||
        (status = ft_json_get_u64(json, node, "id", FT_JSON_REQUIRED, 0, FT_VOCAB_MAX - 1, &id, error)) ||
        (status = ft_json_get_bool(json, node, "special", FT_JSON_OPTIONAL, &token->special, error)))
        return status;
    token->normalized = !token->special;
    if ((status = ft_json_get_bool(json, node, "single_word", FT_JSON_OPTIONAL, &token->single_word, error)) ||
        (status = ft_json_get_bool(json, node, "lstrip", FT_JSON_OPTIONAL, &token->lstrip, error)) ||
        (status = ft_json_get_bool(json, node, "rstrip", FT_JSON_OPTIONAL, &token->rstrip, error)) ||
        (status = ft_json_get_bool(json, node, "normalized", FT_JSON_OPTIONAL, &token->normalized, error)))
        return status;
    token->id = (uint32_t)id;
    token->length = strlen(content);
    if (!token->length) return ft_json_fail(json, node, error, "an added token without text; take it out");
    if (token->length > FT_ADDED_LENGTH_MAX)
        return ft_json_fail(json, node, error, "an added token of more than %zu bytes", FT_ADDED_LENGTH_MAX);
    if ((status = ft_alloc(&token->content, token->length + 1, 1, error))) return status;
    memcpy(token->content, content, token->length);
    return FT_OK;
}

/* The reference gives ids of its own, whatever the file says: the vocabulary's for a text that is there, else the next free one.
 * A file that says otherwise was made by hand or by mistake, and the model's rows would not fit. */
static enum ft_status check_id(const struct ft_added *added, const struct ft_vocab *vocab, const struct ft_added_token *token,
                               const struct ft_json *json, const struct cJSON *node, struct ft_error *error) {
    uint32_t there = ft_vocab_find(vocab, token->content, token->length);
    if (there != FT_TOKEN_NONE && there != token->id)
        return ft_json_fail(json, node, error, "the added token \"%.60s\" has id %u, but the vocabulary says %u",
                            token->content, token->id, there);
    size_t length;
    const char *other = ft_vocab_text(vocab, token->id, &length);
    if (there == FT_TOKEN_NONE && other)
        return ft_json_fail(json, node, error, "id %u belongs to two tokens, \"%.60s\" and the added \"%.60s\"", token->id,
                            other, token->content);
    const struct ft_added_token *twin = ft_added_find(added, token->id);
    if (twin && strcmp(twin->content, token->content) != 0)
        return ft_json_fail(json, node, error, "id %u belongs to two added tokens, \"%.60s\" and \"%.60s\"", token->id,
                            twin->content, token->content);
    return FT_OK;
}

static enum ft_status index_token(struct ft_added *added, size_t index, struct ft_error *error) {
    const struct ft_added_token *token = &added->token[index];
    size_t before = added->limit, capacity = added->limit;
    enum ft_status status = FT_OK;
    if (token->id >= before) {
        status = ft_grow(&added->by_id, &capacity, (size_t)token->id + 1, sizeof *added->by_id, FT_VOCAB_MAX, "ids", error);
        if (status) return status;
        for (added->limit = capacity; before < capacity; before++) added->by_id[before] = FT_TOKEN_NONE;
    }
    added->by_id[token->id] = (uint32_t)index;
    return ft_vocab_add(&added->by_text, token->content, token->length, token->id, error);
}

enum ft_status ft_added_read(struct ft_added *added, const struct ft_vocab *vocab, const struct ft_json *json,
                             const struct cJSON *list, struct ft_error *error) {
    enum ft_status status = ft_vocab_init(&added->by_text, 64, error);
    if (status || !list || ft_json_type(list) == FT_JSON_NULL) return status;
    if ((status = ft_json_expect(json, list, FT_JSON_ARRAY, error))) return status;
    for (const struct cJSON *node = ft_json_first(list); node && !status; node = ft_json_next(node)) {
        status = ft_grow(&added->token, &added->capacity, added->count + 1, sizeof *added->token, FT_ADDED_MAX,
                         "added tokens", error);
        if (status) return status;
        struct ft_added_token *token = &added->token[added->count];
        *token = (struct ft_added_token){0};
        status = read_token(token, json, node, error);
        bool empty = token->length == 0; /* the reference ignores it */
        if (!status && !empty) status = check_id(added, vocab, token, json, node, error);
        if (status || empty) {
            free(token->content);
            continue;
        }
        if ((status = index_token(added, added->count++, error))) ft_error_context(error, "%s", json->name);
    }
    return status;
}

const struct ft_added_token *ft_added_find(const struct ft_added *added, uint32_t id) {
    if (id >= added->limit || added->by_id[id] == FT_TOKEN_NONE) return NULL;
    return &added->token[added->by_id[id]];
}

void ft_added_release(struct ft_added *added) {
    for (size_t i = 0; i < added->count; i++) {
        free(added->token[i].content);
        free(added->token[i].normal);
    }
    free(added->token);
    free(added->raw.node);
    free(added->normalized.node);
    free(added->by_id);
    ft_vocab_release(&added->by_text);
    *added = (struct ft_added){0};
}

/* --- the trie -------------------------------------------------------------------------------------------- */

static enum ft_status new_node(struct ft_trie *trie, uint8_t byte, uint32_t sibling, uint32_t *out, struct ft_error *error) {
    if (!trie->count) trie->count = 1; /* index 0 means none */
    enum ft_status status = ft_grow(&trie->node, &trie->capacity, trie->count + 1, sizeof *trie->node, UINT32_MAX / 2,
                                    "nodes of added tokens", error);
    if (status) return status;
    trie->node[trie->count] = (struct ft_trie_node){.sibling = sibling, .token = FT_TOKEN_NONE, .byte = byte};
    *out = (uint32_t)trie->count++;
    return FT_OK;
}

static uint32_t child_of(const struct ft_trie *trie, uint32_t node, uint8_t byte) {
    uint32_t child = trie->node[node].child;
    while (child && trie->node[child].byte != byte) child = trie->node[child].sibling;
    return child;
}

static enum ft_status enter(struct ft_trie *trie, const char *text, size_t length, uint32_t token, struct ft_error *error) {
    uint32_t at = 0;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        uint32_t next = i ? child_of(trie, at, byte) : trie->first[byte];
        if (!next) {
            enum ft_status status = new_node(trie, byte, i ? trie->node[at].child : 0, &next, error);
            if (status) return status;
            if (i) trie->node[at].child = next;
            else trie->first[byte] = next;
        }
        at = next;
    }
    if (at && trie->node[at].token == FT_TOKEN_NONE) trie->node[at].token = token;
    return FT_OK;
}

enum ft_status ft_added_enter(struct ft_added *added, size_t index, const char *text, size_t length, struct ft_error *error) {
    struct ft_added_token *token = &added->token[index];
    if (length != token->length || memcmp(text, token->content, length) != 0) {
        enum ft_status status = ft_alloc(&token->normal, length + 1, 1, error);
        if (status) return status;
        memcpy(token->normal, text, length);
        token->normal_length = length;
    }
    return enter(token->normalized ? &added->normalized : &added->raw, text, length, (uint32_t)index, error);
}

/* The longest token at `p`: its index and length, or FT_TOKEN_NONE. */
static uint32_t longest(const struct ft_trie *trie, const char *p, const char *end, size_t *length) {
    uint32_t found = FT_TOKEN_NONE;
    const char *q = p;
    for (uint32_t at = trie->first[(uint8_t)*q++]; at; at = child_of(trie, at, (uint8_t)*q++)) {
        if (trie->node[at].token != FT_TOKEN_NONE) {
            found = trie->node[at].token;
            *length = (size_t)(q - p);
        }
        if (q == end) break;
    }
    return found;
}

static bool next_in_trie(const struct ft_trie *trie, const char *text, size_t length, size_t *search, size_t *start,
                         uint32_t *token) {
    for (size_t i = *search; i < length; i++) {
        if (!trie->first[(uint8_t)text[i]]) continue;
        size_t size = 0;
        *token = longest(trie, text + i, text + length, &size);
        if (*token == FT_TOKEN_NONE) continue;
        *start = i;
        *search = i + size;
        return true;
    }
    *search = length;
    return false;
}

/* --- the walk -------------------------------------------------------------------------------------------- */

static bool is_single_word(const char *text, size_t length, size_t start, size_t end) {
    if (start) {
        const char *p = text + start;
        if (ft_is_word(ft_utf8_previous(&p))) return false;
    }
    const char *p = text + end;
    return end == length || !ft_is_word(ft_utf8_next(&p));
}

static size_t spaces_before(const char *text, size_t start) {
    while (start) {
        const char *p = text + start;
        if (!ft_is_space(ft_utf8_previous(&p))) break;
        start = (size_t)(p - text);
    }
    return start;
}

static size_t spaces_after(const char *text, size_t end, size_t length) {
    while (end < length) {
        const char *p = text + end;
        if (!ft_is_space(ft_utf8_next(&p))) break;
        end = (size_t)(p - text);
    }
    return end;
}

/* Finds walk->next. A token that strips takes the white space beside it along, as far as no earlier token had it. */
static bool find_next(const struct ft_added *added, const struct ft_trie *trie, const char *text, size_t length,
                      struct ft_added_walk *walk) {
    size_t start;
    uint32_t index;
    while (next_in_trie(trie, text, length, &walk->search, &start, &index)) {
        const struct ft_added_token *token = &added->token[index];
        size_t end = walk->search;
        if (token->single_word && !is_single_word(text, length, start, end)) continue;
        if (token->lstrip) start = spaces_before(text, start);
        if (token->lstrip && start < walk->done) start = walk->done;
        if (token->rstrip) end = spaces_after(text, end, length);
        walk->next = token;
        walk->next_start = start;
        walk->next_end = end;
        return true;
    }
    return false;
}

bool ft_added_next(const struct ft_added *added, const struct ft_trie *trie, const char *text, size_t length,
                   struct ft_added_walk *walk) {
    if (!walk->next && trie->count) (void)find_next(added, trie, text, length, walk);
    walk->token = NULL;
    walk->start = walk->done;
    if (walk->next && walk->next_start <= walk->done) {
        walk->start = walk->next_start;
        walk->end = walk->done = walk->next_end;
        walk->token = walk->next;
        walk->next = NULL;
        return true;
    }
    walk->end = walk->done = walk->next ? walk->next_start : length;
    return walk->start < walk->end;
}
