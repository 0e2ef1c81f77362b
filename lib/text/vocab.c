/* SPDX-License-Identifier: MIT */
#include "vocab.h"

#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static enum ft_status make_slots(struct ft_vocab *vocab, size_t tokens, struct ft_error *error) {
    size_t slots = 64;
    while (slots < 2 * tokens) slots *= 2;
    struct ft_arena memory;
    enum ft_status status = ft_arena_init(&memory, ft_arena_cost(slots, sizeof *vocab->slot), error);
    if (status) return status;
    struct ft_vocab_slot *slot = ft_arena_take(&memory, slots, sizeof *slot);
    memset(slot, 0xff, slots * sizeof *slot);
    for (size_t i = 0; i < vocab->slots; i++) {
        if (vocab->slot[i].id == FT_TOKEN_NONE) continue;
        struct ft_vocab_entry e = vocab->entry[vocab->slot[i].id];
        size_t at = XXH3_64bits(vocab->text + e.offset, e.length) & (slots - 1);
        while (slot[at].id != FT_TOKEN_NONE) at = (at + 1) & (slots - 1);
        slot[at] = vocab->slot[i];
    }
    ft_arena_release(&vocab->memory);
    vocab->memory = memory;
    vocab->slot = slot;
    vocab->slots = slots;
    return FT_OK;
}

enum ft_status ft_vocab_init(struct ft_vocab *vocab, size_t tokens, struct ft_error *error) {
    *vocab = (struct ft_vocab){0};
    return make_slots(vocab, tokens < FT_VOCAB_MAX ? tokens : FT_VOCAB_MAX, error);
}

/* The slot that holds the token, or the free one where it belongs. */
static size_t find_slot(const struct ft_vocab *vocab, uint64_t hash, const char *text, size_t length, uint32_t *tag) {
    *tag = (uint32_t)(hash >> 32);
    for (size_t at = hash & (vocab->slots - 1);; at = (at + 1) & (vocab->slots - 1)) {
        struct ft_vocab_slot slot = vocab->slot[at];
        if (slot.id == FT_TOKEN_NONE) return at;
        if (slot.tag != *tag) continue;
        struct ft_vocab_entry e = vocab->entry[slot.id];
        if (e.length == length && memcmp(vocab->text + e.offset, text, length) == 0) return at;
    }
}

uint32_t ft_vocab_find(const struct ft_vocab *vocab, const char *text, size_t length) {
    return ft_vocab_find_expected(vocab, XXH3_64bits(text, length), text, length);
}

uint64_t ft_vocab_expect(const struct ft_vocab *vocab, const char *text, size_t length) {
    uint64_t hash = XXH3_64bits(text, length);
    if (vocab->slots) __builtin_prefetch(&vocab->slot[hash & (vocab->slots - 1)], 0, 2);
    return hash;
}

uint32_t ft_vocab_find_expected(const struct ft_vocab *vocab, uint64_t hash, const char *text, size_t length) {
    uint32_t tag;
    return vocab->slots ? vocab->slot[find_slot(vocab, hash, text, length, &tag)].id : FT_TOKEN_NONE;
}

const char *ft_vocab_text(const struct ft_vocab *vocab, uint32_t id, size_t *length) {
    if (id >= vocab->limit || vocab->entry[id].offset == FT_TOKEN_NONE) return NULL;
    if (length) *length = vocab->entry[id].length;
    return vocab->text + vocab->entry[id].offset;
}

/* Of a token in a message. */
static int shown(size_t length) { return length < 40 ? (int)length : 40; }

enum ft_status ft_vocab_add(struct ft_vocab *vocab, const char *text, size_t length, uint32_t id, struct ft_error *error) {
    if (id >= FT_VOCAB_MAX)
        return ft_fail(error, FT_LIMIT, "token \"%.*s\" has id %u; ids below %u are supported", shown(length),
                       text, id, FT_VOCAB_MAX);
    enum ft_status status;
    if (2 * ((size_t)vocab->count + 1) > vocab->slots && (status = make_slots(vocab, vocab->slots, error))) return status;
    uint32_t tag;
    size_t at = find_slot(vocab, XXH3_64bits(text, length), text, length, &tag);
    if (vocab->slot[at].id != FT_TOKEN_NONE)
        return ft_fail(error, FT_FORMAT, "token \"%.*s\" occurs twice", shown(length), text);
    if ((status = ft_grow(&vocab->entry, &vocab->entry_capacity, (size_t)id + 1, sizeof *vocab->entry, FT_VOCAB_MAX,
                          "tokens", error)))
        return status;
    for (; vocab->limit <= id; vocab->limit++) vocab->entry[vocab->limit] = (struct ft_vocab_entry){FT_TOKEN_NONE, 0};
    if (vocab->entry[id].offset != FT_TOKEN_NONE)
        return ft_fail(error, FT_FORMAT, "id %u belongs to two tokens, \"%.40s\" and \"%.*s\"", id,
                       vocab->text + vocab->entry[id].offset, shown(length), text);
    if ((status = ft_grow(&vocab->text, &vocab->text_capacity, vocab->text_size + length + 1, 1, UINT32_MAX - 1,
                          "bytes of tokens", error)))
        return status;
    memcpy(vocab->text + vocab->text_size, text, length);
    vocab->text[vocab->text_size + length] = '\0';
    vocab->entry[id] = (struct ft_vocab_entry){(uint32_t)vocab->text_size, (uint32_t)length};
    vocab->text_size += length + 1;
    vocab->slot[at] = (struct ft_vocab_slot){tag, id};
    vocab->count++;
    return FT_OK;
}

void ft_vocab_release(struct ft_vocab *vocab) {
    free(vocab->text);
    free(vocab->entry);
    ft_arena_release(&vocab->memory);
    *vocab = (struct ft_vocab){0};
}
