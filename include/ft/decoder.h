/* SPDX-License-Identifier: MIT
 *
 * Generation: next-token logits for many sequences at once, with a key-value cache. The logits have the
 * bits of the training forward pass, whatever was fed in one call or in many.
 */
#ifndef FT_DECODER_H
#define FT_DECODER_H

#include "ft/error.h"
#include "ft/exec.h"
#include "ft/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ft_decoder;

struct ft_decoder_limits {
    size_t sequences; /* slots */
    size_t length;    /* tokens of a sequence, prompt and completion; at most the model's positions */
    size_t feed;      /* tokens of one ft_decoder_feed, all sequences together; at least `sequences` */
    bool frugal;      /* keep no packed copy of weights beyond those that their file can give back */
    bool brief;       /* a few feeds are all: keep no packed copy at all */
    bool every;       /* logits after every token of the pieces, not only after the last of each */
};

/* The bytes it will take; SIZE_MAX on overflow. */
size_t ft_decoder_size(const struct ft_model *model, struct ft_exec *exec,
                       const struct ft_decoder_limits *limits);

/* The model and exec must outlive the decoder. The base weights must not change while it
 * lives: it keeps a packed copy (of a single sequence's, what its file can give back, once that pays), unless `brief`. */
enum ft_status ft_decoder_new(struct ft_decoder **decoder, struct ft_model *model, struct ft_exec *exec,
                              const struct ft_decoder_limits *limits, struct ft_error *error);
void ft_decoder_free(struct ft_decoder *decoder); /* NULL is fine */

/* Some more tokens of a slot's sequence, at least one. */
struct ft_decoder_piece {
    size_t slot;
    const uint32_t *ids;
    size_t count;
};

/* Appends the pieces (of distinct slots) to their sequences and computes the logits after the last token of
 * each: logits[i] ([count, vocab], the caller's) belongs to pieces[i]; with `every`, after each token of the first
 * piece, then of the second and so on ([tokens, vocab]). FT_USAGE when a limit is exceeded or
 * an id is out of range: nothing is appended then. */
enum ft_status ft_decoder_feed(struct ft_decoder *decoder, const struct ft_decoder_piece *pieces,
                               size_t count, float *logits, struct ft_error *error);

size_t ft_decoder_length(const struct ft_decoder *decoder, size_t slot);
/* Shortens a slot's sequence to `length` tokens (0: empties it, for the next one). */
void ft_decoder_truncate(struct ft_decoder *decoder, size_t slot, size_t length);
/* Gives the empty slot `to` the first `length` tokens of `from`, without computing them again. */
void ft_decoder_copy(struct ft_decoder *decoder, size_t from, size_t to, size_t length);

#endif
