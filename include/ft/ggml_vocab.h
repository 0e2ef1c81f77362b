/* SPDX-License-Identifier: MIT
 *
 * The vocabulary that a GGUF file carries (tokenizer.ggml.*) to and from Hugging Face's tokenizer.json and
 * tokenizer_config.json. Kinds: "gpt2" (byte-level BPE with merges; `pre` names the pre-tokenizer) and "llama"
 * (SentencePiece BPE with scores). What is not implemented is FT_UNSUPPORTED and named, never guessed.
 */
#ifndef FT_GGML_VOCAB_H
#define FT_GGML_VOCAB_H

#include "ft/error.h"
#include "ft/json.h"
#include "ft/memory.h"

#include <stddef.h>
#include <stdint.h>

#define FT_GGML_NONE UINT32_MAX

/* tokenizer.ggml.token_type */
enum ft_ggml_token_type {
    FT_GGML_NORMAL = 1,
    FT_GGML_UNKNOWN = 2,
    FT_GGML_CONTROL = 3, /* special */
    FT_GGML_USER = 4,    /* an added token that is not special */
    FT_GGML_UNUSED = 5,
    FT_GGML_BYTE = 6,
};

struct ft_ggml_text {
    const char *text; /* UTF-8, not NUL-terminated */
    size_t length;
};

/* The arrays belong to the vocabulary, the texts are borrowed or within what it owns. */
struct ft_ggml_vocab {
    const char *model, *pre;        /* NUL-terminated; pre may be "" */
    const char *architecture;       /* decides what an empty `pre` means */
    struct ft_ggml_text *token, *merge; /* a merge is "left right" */
    unsigned char *type;            /* [tokens], or NULL: unknown */
    float *score;                   /* [tokens], or NULL */
    size_t tokens, merges;
    bool space_prefix;              /* "llama": a text begins with a space */
    int add_bos, add_eos;           /* 1, 0, or -1: not said */
    uint32_t bos, eos, unknown, pad; /* FT_GGML_NONE: none */
    struct ft_ggml_text chat_template; /* text NULL: none */
    struct ft_json document; /* of ft_ggml_vocab_read, which the texts belong to */
    char *owned;             /* texts that no file has */
};
void ft_ggml_vocab_release(struct ft_ggml_vocab *vocab);

/* Appends the text of tokenizer.json and of tokenizer_config.json. name stands for the file in messages. A
 * "llama" vocabulary's merges are made of its scores, as transformers does. */
enum ft_status ft_ggml_vocab_write(const struct ft_ggml_vocab *vocab, const char *name, struct ft_buffer *tokenizer,
                                   struct ft_buffer *config, struct ft_error *error);

/* The other way: fills model, pre, tokens, types, scores, merges, space_prefix and unknown by the text of a
 * tokenizer.json, for a model of `size` tokens: rows beyond the tokenizer's become unused tokens. FT_UNSUPPORTED when
 * llama.cpp has no tokenizer that does the same. Release, on failure too. */
enum ft_status ft_ggml_vocab_read(struct ft_ggml_vocab *vocab, const char *tokenizer_json, size_t length,
                                  const char *name, size_t size, struct ft_error *error);

#endif
