/* SPDX-License-Identifier: MIT
 *
 * Unigram language model (Kudo 2018): of all ways to cut a word into tokens, the one with the highest sum of scores; a
 * character that no token has costs 10 more than the worst token. By dynamic programming from left to right, in time linear
 * in the word. Private to lib/text.
 */
#ifndef FT_TEXT_UNIGRAM_H
#define FT_TEXT_UNIGRAM_H

#include "ft/tokenizer.h"
#include "prefix_trie.h"

struct cJSON;
struct ft_json;

struct ft_unigram {
    const struct ft_vocab *vocab;
    const double *score;       /* by id */
    struct ft_prefix_trie trie;
    double unknown_score;
    uint32_t unknown;          /* FT_TOKEN_NONE: none */
    bool byte_fallback;
    uint32_t byte_id[256];     /* with byte_fallback: <0xXX>, or FT_TOKEN_NONE */
};

/* One thread's scratch; zero-initialise. */
struct ft_unigram_path {
    struct ft_unigram_node {
        double score;   /* of the best way that ends here */
        uint32_t start; /* of its last token; UINT32_MAX: no way ends here. Later, where the token that begins here ends */
        uint32_t id;    /* of its last token. Later, of the token that begins here */
    } *node;            /* [capacity], by byte */
    size_t capacity;
};

/* model: the "model" object without its vocabulary; score: of each of its tokens, borrowed as long as the vocabulary. */
enum ft_status ft_unigram_read(struct ft_unigram *unigram, const struct ft_vocab *vocab, const double *score,
                               const struct ft_json *json, const struct cJSON *model, struct ft_error *error);
void ft_unigram_release(struct ft_unigram *unigram);
void ft_unigram_path_release(struct ft_unigram_path *path);

/* Appends the ids of a word, valid UTF-8. FT_FORMAT when it has an unknown character and there is no unknown token. */
enum ft_status ft_unigram_encode(const struct ft_unigram *unigram, struct ft_unigram_path *path, const char *word, size_t length,
                                 struct ft_ids *ids, struct ft_error *error);

#endif
