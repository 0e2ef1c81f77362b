/* SPDX-License-Identifier: MIT
 *
 * Text to token ids and back, as a Hugging Face tokenizer.json says it: normalizer, pre-tokenizer, model, added
 * tokens, post-processor, decoder. The same ids as Hugging Face's `tokenizers` for every text, at n log n cost or
 * better. A tokenizer is immutable once loaded and may be shared by threads; what encoding needs (caches, scratch) is
 * in an encoder, one for each thread.
 *
 * Text is UTF-8 with a length; NUL is a character like any other. A part of a tokenizer.json that is not
 * implemented is FT_UNSUPPORTED and named, never guessed.
 */
#ifndef FT_TOKENIZER_H
#define FT_TOKENIZER_H

#include "ft/error.h"
#include "ft/memory.h"

#include <stddef.h>
#include <stdint.h>

struct ft_tokenizer;

/* path: a tokenizer.json, or a directory that has one. From a directory, tokenizer_config.json,
 * special_tokens_map.json, generation_config.json, config.json and chat_template.jinja are read, too, where they
 * exist: they name the BOS and EOS tokens and the chat template. Free with ft_tokenizer_free. */
enum ft_status ft_tokenizer_load(struct ft_tokenizer **tokenizer, const char *path, struct ft_error *error);

/* The text of a tokenizer.json in memory; `name` stands for it in messages. */
enum ft_status ft_tokenizer_parse(struct ft_tokenizer **tokenizer, const char *json, size_t size, const char *name,
                                  struct ft_error *error);

/* Tells a parsed tokenizer what the files beside it would: the text of a tokenizer_config.json or config.json. What was
 * said first counts. */
enum ft_status ft_tokenizer_configure(struct ft_tokenizer *tokenizer, const char *json, size_t size, const char *name,
                                      struct ft_error *error);

void ft_tokenizer_free(struct ft_tokenizer *tokenizer); /* NULL is fine */

/* SHA-256 of tokenizer.json, 64 hexadecimal digits. */
const char *ft_tokenizer_digest(const struct ft_tokenizer *tokenizer);

/* One above the highest id. A model's embedding has at least so many rows. */
uint32_t ft_tokenizer_size(const struct ft_tokenizer *tokenizer);

/* The token's text as tokenizer.json spells it ("\u0120the"), NUL-terminated; NULL when no token has this id. length may be
 * NULL. */
const char *ft_tokenizer_token(const struct ft_tokenizer *tokenizer, uint32_t id, size_t *length);

/* The id of the token spelled so; false when there is none. */
bool ft_tokenizer_find(const struct ft_tokenizer *tokenizer, const char *token, size_t length, uint32_t *id);

/* True for added tokens marked special: control tokens that ft_decode can skip. */
bool ft_tokenizer_is_special(const struct ft_tokenizer *tokenizer, uint32_t id);

/* The model's beginning-of-sequence token; false when none is declared. */
bool ft_tokenizer_bos(const struct ft_tokenizer *tokenizer, uint32_t *id);

/* The stop tokens: the first is the one that training appends (tokenizer_config.json's eos_token, else
 * special_tokens_map.json's, else generation_config.json's or config.json's first eos_token_id); generation stops at any. NULL and 0
 * when none is declared. */
const uint32_t *ft_tokenizer_eos(const struct ft_tokenizer *tokenizer, size_t *count);

/* The chat template (Jinja), NUL-terminated, or NULL. */
const char *ft_tokenizer_template(const struct ft_tokenizer *tokenizer);

/* A growable list of ids. Zero-initialise; free(ids.id) releases it. */
struct ft_ids {
    uint32_t *id;
    size_t count, capacity;
};
void ft_ids_release(struct ft_ids *ids);

struct ft_encoder;

/* An encoder for one thread at a time. The tokenizer must outlive it. Free with ft_encoder_free. */
enum ft_status ft_encoder_new(struct ft_encoder **encoder, const struct ft_tokenizer *tokenizer, struct ft_error *error);
void ft_encoder_free(struct ft_encoder *encoder); /* NULL is fine */

enum ft_encode_flags {
    FT_ENCODE_BEGIN = 1,    /* with the special tokens that the post-processor puts before a text (BOS, ...) */
    FT_ENCODE_END = 2,      /* with those it puts behind */
    FT_ENCODE_SPECIALS = 3, /* both */
    FT_ENCODE_CONTINUE = 4, /* the text goes on after other text: no space or "\u2581" is put before it, as some
                             * tokenizers do at the start of a text; so ids(prompt) + ids(completion, CONTINUE)
                             * decode to prompt + completion */
};

/* Appends the ids of text[0..length) to ids. FT_FORMAT when the text is not UTF-8 or has a character that the tokenizer
 * can not express, with its byte offset. */
enum ft_status ft_encode(struct ft_encoder *encoder, const char *text, size_t length, unsigned flags, struct ft_ids *ids,
                         struct ft_error *error);

enum ft_decode_flags {
    FT_DECODE_SKIP_SPECIAL = 1, /* leave out special tokens */
};

/* Appends the text of ids[0..count) to `text`: valid UTF-8, bytes that are not become U+FFFD. Ids without a token are left
 * out. */
enum ft_status ft_decode(const struct ft_tokenizer *tokenizer, const uint32_t *ids, size_t count, unsigned flags,
                         struct ft_buffer *text, struct ft_error *error);

#endif
