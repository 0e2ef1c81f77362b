/* SPDX-License-Identifier: MIT
 *
 * A record as a model learns it: ids, and a weight of the loss for each. The rules, which generation follows, too:
 *
 * - A record is a row of segments: what the model is given and what it shall say. Each is tokenized by itself, so no token
 *   reaches across a seam, and the ids before a seam are exactly those that generation begins with.
 * - The first segment has the special tokens that the tokenizer puts before a text (BOS), unless its own text
 *   begins with the same token. Nothing is put before later ones, no space either (FT_ENCODE_CONTINUE).
 * - A segment that the model shall say ends in the first stop token of ft_tokenizer_eos, which is learnt with it.
 * - Prompt and completion are two segments. A text is one that the model shall say.
 * - Messages, for a model with a chat template, are rendered by it, and ft/chat.h says what the model says. The text gets no special
 *   tokens but those the template writes.
 * - Messages, for a model without chat template, are laid out so: "system: S\n", "user: U\n" and so on are given, as is
 *   "assistant:"; the model shall say " A" and the stop token; "\n" follows, given again. What comes after the last message
 *   with a weight is left out.
 */
#ifndef FT_EXAMPLE_H
#define FT_EXAMPLE_H

#include "ft/record.h"
#include "ft/tokenizer.h"

enum ft_loss {
    FT_LOSS_COMPLETION, /* what the model shall say is learnt, by the record's weights */
    FT_LOSS_ALL,        /* everything is, with weight 1 where the record does not say otherwise */
};

/* Weight i is that of predicting id i from those before it; weight 0 is 0. */
struct ft_example {
    struct ft_ids ids;
    float *weight; /* [ids.count] */
    size_t weight_capacity;
    size_t prompt; /* ids before the first segment that the model shall say */
};
void ft_example_release(struct ft_example *example); /* leaves a usable zero example */

/* One for a thread. The tokenizer must outlive it. */
struct ft_example_encoder;
enum ft_status ft_example_encoder_new(struct ft_example_encoder **encoder, const struct ft_tokenizer *tokenizer,
                                      enum ft_loss loss, struct ft_error *error);
void ft_example_encoder_free(struct ft_example_encoder *encoder); /* NULL is fine */

/* "YYYY-MM-DD" for chat templates that write the day's date (borrowed); without it, they are refused. */
void ft_example_encoder_date(struct ft_example_encoder *encoder, const char *date);

/* Replaces *example (zero-initialise it once). Errors name the record's file and line: no stop token is declared, the chat template
 * refuses the messages, nothing left to learn. */
enum ft_status ft_example_encode(struct ft_example_encoder *encoder, const struct ft_record *record,
                                 struct ft_example *example, struct ft_error *error);

/* The ids that generation begins with, put into the empty list `ids`. The same ids as ft_example_encode gives before the answer. */
enum ft_status ft_example_prompt(struct ft_example_encoder *encoder, const char *prompt, struct ft_ids *ids,
                                 struct ft_error *error);
/* The same of the first `turns` (> 0) messages of a record, which an answer is wanted to. */
enum ft_status ft_example_prompt_turns(struct ft_example_encoder *encoder, const struct ft_record *record, size_t turns,
                                       struct ft_ids *ids, struct ft_error *error);

#endif
