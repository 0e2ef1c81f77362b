/* SPDX-License-Identifier: MIT
 *
 * Byte-pair encoding (Sennrich et al. 2016), as tokenizer.json means it: a word becomes characters or bytes, then the
 * neighbouring pair of the lowest rank, and among those the leftmost, is merged until none is left. Short words are
 * merged by scanning, long ones through a list of positions for each rank, in time near linear in the word. Private to
 * lib/text.
 */
#ifndef FT_TEXT_BPE_H
#define FT_TEXT_BPE_H

#include "ft/tokenizer.h"
#include "scan.h"
#include "vocab.h"

struct cJSON;
struct ft_json;

struct ft_bpe_merge {
    uint32_t left, right; /* left FT_TOKEN_NONE: a free slot */
    uint32_t rank, id;    /* of the product */
};

struct ft_bpe {
    const struct ft_vocab *vocab;
    struct ft_bpe_merge *merge; /* open addressing, [merges], a power of two */
    size_t merges;
    struct ft_arena memory;     /* holds them, as the vocabulary's slots */
    uint32_t ranks;             /* one above the highest */
    char *prefix, *suffix;      /* continuing_subword_prefix, end_of_word_suffix; NULL: none */
    uint32_t unknown;           /* FT_TOKEN_NONE: none */
    bool fuse_unknown, byte_fallback, ignore_merges;
    bool bytes;                 /* words are raw bytes and the vocabulary is in byte characters */
    bool cut_at_meta;           /* no token has U+2581 behind another character: a word can be cut there */
    uint32_t byte_id[256];      /* with `bytes`: the token of a byte's character, or FT_TOKEN_NONE */
    uint32_t fallback_id[256];  /* with byte_fallback: <0xXX>, or FT_TOKEN_NONE */
};

/* model: the "model" object without its vocabulary and merges, which are already in vocab and at `merges` (NULL p: none). */
enum ft_status ft_bpe_read(struct ft_bpe *bpe, const struct ft_vocab *vocab, bool bytes, const struct ft_json *json,
                           const struct cJSON *model, struct ft_scan *merges, struct ft_error *error);
void ft_bpe_release(struct ft_bpe *bpe);

/* One thread's scratch; zero-initialise. */
struct ft_bpe_state {
    struct ft_bpe_queue {
        uint32_t *head;            /* [ranks]: first entry of the rank's list */
        uint64_t *level[3];        /* bit r of level 0: rank r has entries; bit i of level l + 1: word i of level l is not 0 */
        size_t words[3];
        struct ft_bpe_entry {
            uint32_t position, next;
        } *entry;                  /* entries in use are [0, entries) */
        size_t entries, entry_capacity;
        uint32_t *next, *previous; /* symbols as a linked list, by position */
        uint32_t *rank;            /* of the pair that starts at a position */
        uint32_t *work;            /* positions taken out of the lists, frame upon frame */
        struct ft_bpe_frame {
            uint32_t rank;
            size_t at, end;        /* work[at..end) is still to do */
        } *frame;
        size_t capacity;           /* symbols that all this is made for */
    } queue;                       /* of long words */
    struct ft_buffer text;         /* a word in byte characters */
};
void ft_bpe_state_release(struct ft_bpe_state *state);

/* Appends the ids of a word (valid UTF-8 unless `bytes`). */
enum ft_status ft_bpe_encode(const struct ft_bpe *bpe, struct ft_bpe_state *state, const char *word, size_t length,
                             struct ft_ids *ids, struct ft_error *error);

/* With cut_at_meta: the end of the part that begins at p, before the first U+2581 behind another character. */
const char *ft_bpe_part_end(const char *p, const char *end);

#endif
