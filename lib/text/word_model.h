/* SPDX-License-Identifier: MIT
 *
 * What turns a word into ids: one of the four models that a tokenizer.json can have, behind a cache. Private to lib/text.
 */
#ifndef FT_TEXT_WORD_MODEL_H
#define FT_TEXT_WORD_MODEL_H

#include "bpe.h"
#include "unigram.h"
#include "wordpiece.h"

enum ft_model_type { FT_MODEL_BPE, FT_MODEL_WORDPIECE, FT_MODEL_WORDLEVEL, FT_MODEL_UNIGRAM };

struct ft_word_model {
    enum ft_model_type type;
    struct ft_vocab vocab;
    double *score; /* [vocab.limit], UNIGRAM */
    union {
        struct ft_bpe bpe;
        struct ft_wordpiece wordpiece; /* WORDLEVEL, too */
        struct ft_unigram unigram;
    } u;
};

/* Reads the rest of a model whose vocabulary, and scores, are there already. node: the "model" object without vocabulary and merges.
 * merges: p NULL when there are none. *bytes: the pre-tokenizer leaves words as raw bytes for the model to map; false on return when
 * the model does not do that. */
enum ft_status ft_word_model_read(struct ft_word_model *model, bool *bytes, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_scan *merges, struct ft_error *error);
void ft_word_model_release(struct ft_word_model *model);

/* One thread's cache and scratch. */
struct ft_word_state;
enum ft_status ft_word_state_new(struct ft_word_state **state, const struct ft_word_model *model, struct ft_error *error);
void ft_word_state_free(struct ft_word_state *state); /* NULL is fine */

/* Appends the ids of a word, which is not empty. */
enum ft_status ft_word_encode(struct ft_word_state *state, const char *word, size_t length, struct ft_ids *ids,
                              struct ft_error *error);

#endif
