/* SPDX-License-Identifier: MIT
 *
 * Added tokens: texts that stand for one id whatever the model would make of them. Found before anything else: those
 * not "normalized" in the raw text, the others in the normalized one. Leftmost, and then longest, by a trie over bytes. Private
 * to lib/text.
 */
#ifndef FT_TEXT_ADDED_H
#define FT_TEXT_ADDED_H

#include "ft/memory.h"
#include "vocab.h"

struct cJSON;
struct ft_json;

#define FT_ADDED_MAX ((size_t)1 << 20)     /* tokens */
#define FT_ADDED_LENGTH_MAX ((size_t)4096) /* bytes of one */

struct ft_added_token {
    char *content;
    size_t length;
    char *normal;         /* the normalized content of a normalized token, when that is another; decoders see it instead */
    size_t normal_length;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

struct ft_trie {
    struct ft_trie_node {
        uint32_t child, sibling; /* 0: none (the root is nobody's child) */
        uint32_t token;          /* index of the token that ends here, or FT_TOKEN_NONE */
        uint8_t byte;
    } *node;
    size_t count, capacity;
    uint32_t first[256];         /* the root's child for a byte, or 0 */
};

struct ft_added {
    struct ft_added_token *token;
    size_t count, capacity;
    struct ft_trie raw, normalized;
    struct ft_vocab by_text;     /* content to id */
    uint32_t *by_id;             /* [limit]: index of the token with this id, or FT_TOKEN_NONE */
    size_t limit;
};

/* list: "added_tokens"; NULL or null is an empty list. Ids must be those of the same texts in the vocabulary, or follow on it. */
enum ft_status ft_added_read(struct ft_added *added, const struct ft_vocab *vocab, const struct ft_json *json,
                             const struct cJSON *list, struct ft_error *error);
/* Enters a token into its trie, by its content or, for a normalized token, by the content as normalized. */
enum ft_status ft_added_enter(struct ft_added *added, size_t index, const char *text, size_t length, struct ft_error *error);
/* The token with this id, or NULL. */
const struct ft_added_token *ft_added_find(const struct ft_added *added, uint32_t id);
void ft_added_release(struct ft_added *added);

/* Walks over text[0..length): zero-initialise, then call until false. A part is [start, end) with a token, or NULL for the text
 * between. */
struct ft_added_walk {
    size_t start, end;
    const struct ft_added_token *token;
    size_t search, done;              /* private */
    const struct ft_added_token *next; /* private: found already, at next_start */
    size_t next_start, next_end;
};
bool ft_added_next(const struct ft_added *added, const struct ft_trie *trie, const char *text, size_t length,
                   struct ft_added_walk *walk);

#endif
