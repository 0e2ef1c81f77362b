/* SPDX-License-Identifier: MIT
 *
 * Prompts that documents of an optimizer step have in common (a system prompt, an instruction): found once, so that
 * their rows are computed once. Which documents share what is part of ft-num-1 (ft-numerics(7), rule 7), because it
 * orders the chains of gradients; it is a function of the step's documents alone:
 *
 *  - A document's prompt is its rows before the first one that predicts a supervised token.
 *  - Documents whose prompts begin alike are a node of the tree that all prompts make: n documents, L tokens in common.
 *    Sharing them saves (n - 1) L rows, or nothing when that is below FT_PREFIX_SAVES or L below FT_PREFIX_MIN.
 *  - From the leaves up, a node becomes one prefix, and those below it none, when it saves something and no less than
 *    the prefixes below it together.
 *  - In the order of their first documents, prefixes are taken while their tokens are FT_PREFIX_TOKENS at most; one
 *    that does not fit is passed over, but the first is always taken.
 */
#ifndef FT_PREFIX_H
#define FT_PREFIX_H

#include "ft/error.h"
#include "ft/memory.h"

#include <stddef.h>
#include <stdint.h>

enum { FT_PREFIX_MIN = 16, FT_PREFIX_SAVES = 64, FT_PREFIX_TOKENS = 2048 };

struct ft_prompt_rows {
    const uint32_t *ids; /* borrowed */
    size_t rows;         /* of the prompt; 0: none */
};

struct ft_prefix {
    size_t document, length; /* the first document that has it; tokens */
    size_t first;            /* its first row among those of all prefixes, which lie one behind the other */
};

struct ft_prefixes {
    size_t count, rows;     /* of prefixes; of all their tokens */
    struct ft_prefix *item; /* in the order of their first documents */
    uint32_t *of;           /* of[d]: 1 + index of document d's prefix, or 0 */
    size_t documents_max;
    struct ft_prefix_entry *sorted, *scratch; /* private, as what follows */
    struct ft_prefix_node *open;
    struct ft_prefix_span *span;
    struct ft_arena arena;
};

/* Memory for up to `documents` (at most 2^32 - 2); release with ft_prefixes_release (zeroed is fine). */
enum ft_status ft_prefixes_init(struct ft_prefixes *prefixes, size_t documents, struct ft_error *error);
void ft_prefixes_release(struct ft_prefixes *prefixes);
/* Bytes that it takes; SIZE_MAX on overflow. */
size_t ft_prefixes_size(size_t documents);

/* Finds the prefixes of `documents` prompts. Allocates nothing. */
void ft_prefixes_find(struct ft_prefixes *prefixes, const struct ft_prompt_rows *prompt, size_t documents);

/* Rows that document d shares. */
static inline size_t ft_prefixes_shared(const struct ft_prefixes *prefixes, size_t d) {
    return prefixes->of[d] ? prefixes->item[prefixes->of[d] - 1].length : 0;
}

/* Rows of a document, 0 when it predicts nothing supervised; *prompt: those of its prompt. */
size_t ft_document_rows(const float *weights, size_t tokens, size_t *prompt);

#endif
