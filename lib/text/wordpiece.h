/* SPDX-License-Identifier: MIT
 *
 * WordPiece (Wu et al. 2016, BERT): the longest token that a word begins with, then the longest continuation, ...; a word that
 * cannot be cut so is the unknown token, as a whole. WordLevel: the word is a token. Private to lib/text.
 */
#ifndef FT_TEXT_WORDPIECE_H
#define FT_TEXT_WORDPIECE_H

#include "ft/tokenizer.h"
#include "prefix_trie.h"

struct cJSON;
struct ft_json;

struct ft_wordpiece {
    const struct ft_vocab *vocab;
    bool whole;                 /* WordLevel: no trie */
    struct ft_prefix_trie trie;
    uint32_t inner;             /* the trie's node behind continuing_subword_prefix */
    bool has_inner;             /* false: no token begins with the prefix */
    uint32_t unknown;           /* FT_TOKEN_NONE: none */
    size_t characters_max;      /* longer words are unknown */
};

/* model: the "model" object without its vocabulary. */
enum ft_status ft_wordpiece_read(struct ft_wordpiece *wordpiece, const struct ft_vocab *vocab, bool whole,
                                 const struct ft_json *json, const struct cJSON *model, struct ft_error *error);
void ft_wordpiece_release(struct ft_wordpiece *wordpiece);

/* Appends the ids of a word, valid UTF-8. FT_FORMAT when it is unknown and there is no unknown token. */
enum ft_status ft_wordpiece_encode(const struct ft_wordpiece *wordpiece, const char *word, size_t length, struct ft_ids *ids,
                                   struct ft_error *error);

#endif
