/* SPDX-License-Identifier: MIT
 *
 * All tokens of a vocabulary as a trie over bytes: the tokens that a text begins with, in one walk. Nodes are numbered
 * level by level, so that a node's children lie side by side. Built once, then only read. Private to lib/text.
 */
#ifndef FT_TEXT_PREFIX_TRIE_H
#define FT_TEXT_PREFIX_TRIE_H

#include "vocab.h"

#define FT_PREFIX_LENGTH_MAX ((size_t)4096) /* bytes of a token: bounds what one walk can cost */

struct ft_prefix_trie {
    uint8_t *label;   /* [nodes]: the byte that leads to the node, ascending among siblings */
    uint32_t *child;  /* [nodes + 1]: node n's children are [child[n], child[n + 1]) */
    uint32_t *token;  /* [nodes]: the token that ends here, or FT_TOKEN_NONE */
    uint32_t first[256]; /* the root's child for a byte; 0: none */
    size_t nodes;     /* the root is node 0 */
};

enum ft_status ft_prefix_trie_build(struct ft_prefix_trie *trie, const struct ft_vocab *vocab, struct ft_error *error);
void ft_prefix_trie_release(struct ft_prefix_trie *trie);

/* The child of `node` for a byte, or 0. */
static inline uint32_t ft_prefix_child(const struct ft_prefix_trie *trie, uint32_t node, uint8_t byte) {
    enum { LINEAR = 8 };
    if (!node) return trie->first[byte];
    uint32_t low = trie->child[node], high = trie->child[node + 1];
    while (high - low > LINEAR) {
        uint32_t middle = low + (high - low) / 2;
        if (trie->label[middle] > byte) high = middle;
        else low = middle;
    }
    for (; low < high; low++)
        if (trie->label[low] == byte) return low;
    return 0;
}

#endif
