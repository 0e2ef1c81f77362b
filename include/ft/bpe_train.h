/* SPDX-License-Identifier: MIT
 *
 * Trains a byte-level BPE vocabulary (Sennrich et al. 2016, on bytes as GPT-2 does) and writes it as a Hugging
 * Face tokenizer.json. Deterministic: the next merge is the most frequent pair, ties go to the smaller pair of
 * ids. Order of calls: new, add..., finish, free.
 */
#ifndef FT_BPE_TRAIN_H
#define FT_BPE_TRAIN_H

#include "ft/memory.h"

struct ft_bpe_trainer;

enum ft_status ft_bpe_trainer_new(struct ft_bpe_trainer **trainer, struct ft_error *error);
void ft_bpe_trainer_free(struct ft_bpe_trainer *trainer); /* NULL is fine */

/* Counts the pre-tokens of one text (UTF-8, `length` bytes). A pair never crosses two pre-tokens or two texts. */
enum ft_status ft_bpe_trainer_add(struct ft_bpe_trainer *trainer, const char *text, size_t length,
                                  struct ft_error *error);

bool ft_bpe_trainer_empty(const struct ft_bpe_trainer *trainer); /* no text was added so far */

/* Learns until the vocabulary (special tokens, 256 bytes, merges) has `vocab` entries, or no pair occurs twice.
 * special: NULL-terminated names, all different, that get the ids 0, 1, ... Appends the tokenizer.json to *json
 * and sets *size to the number of entries. */
enum ft_status ft_bpe_trainer_finish(struct ft_bpe_trainer *trainer, size_t vocab, const char *const *special,
                                     struct ft_buffer *json, size_t *size, struct ft_error *error);

#endif
