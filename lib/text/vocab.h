/* SPDX-License-Identifier: MIT
 *
 * The model's vocabulary: tokens by id and by text. Texts lie in one arena; the index is an open-addressing hash table
 * of 8-byte slots. Built once, then only read. Private to lib/text.
 */
#ifndef FT_TEXT_VOCAB_H
#define FT_TEXT_VOCAB_H

#include "ft/error.h"
#include "ft/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FT_VOCAB_MAX ((uint32_t)1 << 24)        /* highest id, and number of tokens */
#define FT_TOKEN_NONE UINT32_MAX

struct ft_vocab {
    char *text;          /* all tokens, each NUL-terminated */
    size_t text_size, text_capacity;
    struct ft_vocab_entry {
        uint32_t offset; /* FT_TOKEN_NONE: no token has this id */
        uint32_t length;
    } *entry;            /* [limit], by id */
    size_t entry_capacity;
    uint32_t limit;      /* one above the highest id */
    uint32_t count;      /* tokens */
    struct ft_vocab_slot {
        uint32_t tag;    /* of the hash */
        uint32_t id;     /* FT_TOKEN_NONE: free */
    } *slot;
    size_t slots;        /* a power of two, at least twice the tokens */
    struct ft_arena memory; /* holds them: looked at here and there, so large pages pay */
};

/* Prepares for about `tokens` tokens. */
enum ft_status ft_vocab_init(struct ft_vocab *vocab, size_t tokens, struct ft_error *error);
/* FT_FORMAT when the text or the id is there already. */
enum ft_status ft_vocab_add(struct ft_vocab *vocab, const char *text, size_t length, uint32_t id, struct ft_error *error);
/* The id, or FT_TOKEN_NONE. */
uint32_t ft_vocab_find(const struct ft_vocab *vocab, const char *text, size_t length);
/* The same in two steps, with others between them while memory answers: the hash and a hint to the processor, then the
 * search. */
uint64_t ft_vocab_expect(const struct ft_vocab *vocab, const char *text, size_t length);
uint32_t ft_vocab_find_expected(const struct ft_vocab *vocab, uint64_t hash, const char *text, size_t length);
/* NULL when no token has this id. */
const char *ft_vocab_text(const struct ft_vocab *vocab, uint32_t id, size_t *length);
void ft_vocab_release(struct ft_vocab *vocab);

#endif
