/* SPDX-License-Identifier: MIT
 *
 * Short words seen before and their ids, one cache line each, found by their hash; a newcomer takes the place over. One
 * thread's. Private to lib/text.
 */
#ifndef FT_TEXT_WORD_CACHE_H
#define FT_TEXT_WORD_CACHE_H

#include "ft/tokenizer.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FT_WORD_CACHE_SLOTS = 1 << 15, FT_WORD_CACHE_BYTES = 30, FT_WORD_CACHE_IDS = 8 };

struct ft_word_slot {
    uint8_t length, count; /* length 0: free */
    char word[FT_WORD_CACHE_BYTES];
    uint32_t id[FT_WORD_CACHE_IDS];
};

/* The slot where a word of 1 to FT_WORD_CACHE_BYTES bytes is or would be. */
static inline struct ft_word_slot *ft_word_cache_at(struct ft_word_slot *cache, const char *word, size_t length) {
    return &cache[XXH3_64bits(word, length) & (FT_WORD_CACHE_SLOTS - 1)];
}

static inline bool ft_word_cache_has(const struct ft_word_slot *slot, const char *word, size_t length) {
    return slot->length == length && memcmp(slot->word, word, length) == 0;
}

static inline void ft_word_cache_put(struct ft_word_slot *slot, const char *word, size_t length, const uint32_t *id,
                                     size_t count) {
    if (count > FT_WORD_CACHE_IDS) return;
    slot->length = (uint8_t)length;
    slot->count = (uint8_t)count;
    memcpy(slot->word, word, length);
    memcpy(slot->id, id, count * sizeof *id);
}

#endif
