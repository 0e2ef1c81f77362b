/* SPDX-License-Identifier: MIT
 *
 * What one system (a model, with or without an adapter) does on every record of a held-out set: loss of the
 * supervised tokens, and, by greedy generation from the record's prompt, the answer and how it compares with
 * the reference. The prompt is everything before the last supervised span, the reference is that span without
 * its stop token, so a conversation is judged on its last answer given the true history.
 */
#ifndef FT_SCORE_H
#define FT_SCORE_H

#include "ft/exec.h"
#include "ft/ftok.h"
#include "ft/model.h"
#include "ft/tokenizer.h"

#define FT_SCORE_FIELDS 8u

struct ft_score_row {
    double loss, weight;      /* sums over supervised tokens of weight * loss and of weight */
    uint64_t tokens, correct; /* supervised tokens; of those, predicted exactly */
    char *answer;             /* generated text, NULL when nothing was generated */
    bool exact;               /* equals the reference but for white space at the ends, and stopped by itself */
    bool stopped;             /* a stop token ended it */
    bool json;                /* strict JSON (json.h) */
    bool field[FT_SCORE_FIELDS]; /* answer and reference are JSON objects with an equal value under the name */
};

struct ft_score {
    struct ft_model *model;
    struct ft_exec *exec;
    const struct ft_ftok_set *set;
    const struct ft_tokenizer *tokenizer;
    size_t max_tokens; /* of an answer; 0: 16 more than the longest reference */
    size_t slots;      /* sequences generated at once; 0: chosen */
    const char *const *fields;
    size_t n_fields;
    void (*progress)(void *arg, size_t done);
    void *arg;
};

/* Rows that have a prompt before their last supervised span: only those can be generated from. */
size_t ft_score_promptable(const struct ft_ftok_set *set);

/* rows: [set->rows], zero-initialised by the caller; adds the loss part. */
enum ft_status ft_score_losses(const struct ft_score *score, struct ft_score_row *rows, struct ft_error *error);
/* Adds the generated part; every row must have a prompt (FT_FORMAT naming the record). */
enum ft_status ft_score_answers(const struct ft_score *score, struct ft_score_row *rows, struct ft_error *error);
/* The reference text of a row, appended to *text. */
enum ft_status ft_score_reference(const struct ft_score *score, size_t row, struct ft_buffer *text, struct ft_error *error);
/* The prompt's text, special tokens shown. */
enum ft_status ft_score_prompt(const struct ft_score *score, size_t row, struct ft_buffer *text, struct ft_error *error);

void ft_score_rows_release(struct ft_score_row *rows, size_t count); /* frees the answers */

#endif
