/* SPDX-License-Identifier: MIT
 *
 * The merging of byte-pair encoding, on symbols that are ids already. Private to lib/text.
 */
#ifndef FT_TEXT_BPE_MERGE_H
#define FT_TEXT_BPE_MERGE_H

#include "bpe.h"

/* Where the merge of two neighbours is, or the free slot where it would be. */
static inline struct ft_bpe_merge *ft_bpe_slot(const struct ft_bpe *bpe, uint32_t left, uint32_t right) {
    uint64_t hash = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    for (size_t at = (hash ^ hash >> 32) & (bpe->merges - 1);; at = (at + 1) & (bpe->merges - 1)) {
        struct ft_bpe_merge *merge = &bpe->merge[at];
        if ((merge->left == left && merge->right == right) || merge->left == FT_TOKEN_NONE) return merge;
    }
}

/* The merge of two neighbours, or NULL. */
static inline const struct ft_bpe_merge *ft_bpe_find(const struct ft_bpe *bpe, uint32_t left, uint32_t right) {
    const struct ft_bpe_merge *merge = ft_bpe_slot(bpe, left, right);
    return merge->left == FT_TOKEN_NONE ? NULL : merge;
}

void ft_bpe_queue_release(struct ft_bpe_queue *queue);

/* Merges symbol[0..*count) in place. */
enum ft_status ft_bpe_merge(const struct ft_bpe *bpe, struct ft_bpe_queue *queue, uint32_t *symbol, size_t *count,
                            struct ft_error *error);

#endif
