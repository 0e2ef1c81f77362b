/* SPDX-License-Identifier: MIT
 *
 * Chat templates: messages to the text that a model was trained on, by the Jinja template that comes with it, rendered as
 * Hugging Face's transformers does; and which parts of that text the model itself says.
 *
 * A template sees messages, tools, documents (none), add_generation_prompt, the special tokens that the tokenizer's configuration names
 * (bos_token, ...), and for strftime_now the date that the caller gives: nothing of the machine. Time, memory and output
 * are capped.
 *
 * What the model says in an assistant's message begins where the text ends that it is given to generate from (the messages
 * before, with add_generation_prompt), and ends with the first stop token of ft_tokenizer_eos. A template with
 * {% generation %} says it itself; the stop token that follows such a block belongs to it. So reasoning that the template puts before an
 * answer and calls of tools are part of it, and the mask agrees with what generation sees.
 */
#ifndef FT_CHAT_H
#define FT_CHAT_H

#include "ft/json.h"
#include "ft/tokenizer.h"

struct ft_chat; /* immutable: threads may share it */

/* template NULL: the tokenizer's, FT_USAGE when it has none. date: "YYYY-MM-DD" or NULL. The tokenizer must outlive it; the date
 * is borrowed. Free with ft_chat_free. */
enum ft_status ft_chat_new(struct ft_chat **chat, const struct ft_tokenizer *tokenizer, const char *template,
                           const char *date, struct ft_error *error);
void ft_chat_free(struct ft_chat *chat); /* NULL is fine */

struct ft_chat_message {
    const char *role, *content;
    const struct cJSON *node; /* the whole message ("weight" and "train" are left out), or NULL: role and content */
    bool wanted;              /* ft_chat_spans: an assistant's message whose span is asked for */
};

/* Appends the rendered text. tools: an array, or NULL. variables (may be NULL): an object of further names for the template. */
enum ft_status ft_chat_render(const struct ft_chat *chat, const struct ft_chat_message *message, size_t messages,
                              const struct cJSON *tools, const struct cJSON *variables, bool generation_prompt,
                              struct ft_buffer *text, struct ft_error *error);

/* What the model says in message `message`: text[start, end). */
struct ft_chat_span {
    size_t message, start, end;
};

/* Appends the rendered text of all messages and fills span[0..wanted messages), ascending and not overlapping. FT_FORMAT when a span cannot
 * be told: the template writes the messages before it otherwise once an answer follows, or ends an answer with a token that
 * is no stop token of the model's. */
enum ft_status ft_chat_spans(const struct ft_chat *chat, const struct ft_chat_message *message, size_t messages,
                             const struct cJSON *tools, struct ft_buffer *text, struct ft_chat_span *span, struct ft_error *error);

#endif
