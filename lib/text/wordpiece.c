/* SPDX-License-Identifier: MIT */
#include "wordpiece.h"

#include "ft/json.h"
#include "unicode.h"

#include <string.h>

enum { CHARACTERS_MAX = 100 };

static void find_inner(struct ft_wordpiece *wordpiece, const char *prefix) {
    wordpiece->has_inner = true;
    for (; *prefix && wordpiece->has_inner; prefix++) {
        wordpiece->inner = ft_prefix_child(&wordpiece->trie, wordpiece->inner, (uint8_t)*prefix);
        wordpiece->has_inner = wordpiece->inner != 0;
    }
}

enum ft_status ft_wordpiece_read(struct ft_wordpiece *wordpiece, const struct ft_vocab *vocab, bool whole,
                                 const struct ft_json *json, const struct cJSON *model, struct ft_error *error) {
    const char *unknown = whole ? "<unk>" : "[UNK]", *prefix = "##";
    uint64_t characters = CHARACTERS_MAX;
    *wordpiece = (struct ft_wordpiece){.vocab = vocab, .whole = whole};
    enum ft_status status;
    if ((status = ft_json_get_string(json, model, "unk_token", FT_JSON_OPTIONAL, &unknown, error)) ||
        (status = ft_json_get_string(json, model, "continuing_subword_prefix", FT_JSON_OPTIONAL, &prefix, error)) ||
        (status = ft_json_get_u64(json, model, "max_input_chars_per_word", FT_JSON_OPTIONAL, 0, UINT32_MAX, &characters, error)))
        return status;
    wordpiece->unknown = ft_vocab_find(vocab, unknown, strlen(unknown));
    wordpiece->characters_max = (size_t)characters;
    if (whole) return FT_OK;
    if ((status = ft_prefix_trie_build(&wordpiece->trie, vocab, error))) return ft_error_context(error, "%s", json->name);
    find_inner(wordpiece, prefix);
    return FT_OK;
}

void ft_wordpiece_release(struct ft_wordpiece *wordpiece) { ft_prefix_trie_release(&wordpiece->trie); }

static bool is_too_long(const struct ft_wordpiece *wordpiece, const char *word, size_t length) {
    size_t characters = 0;
    for (size_t i = 0; i < length && characters <= wordpiece->characters_max; i += ft_utf8_size(word[i])) characters++;
    return characters > wordpiece->characters_max;
}

/* The longest token on the way from `node` along the text, and how many bytes that is; FT_TOKEN_NONE. */
static uint32_t longest(const struct ft_prefix_trie *trie, uint32_t node, const char *text, size_t length, size_t *size) {
    uint32_t found = FT_TOKEN_NONE;
    for (size_t i = 0; i < length && (node = ft_prefix_child(trie, node, (uint8_t)text[i])); i++) {
        if (trie->token[node] == FT_TOKEN_NONE) continue;
        found = trie->token[node];
        *size = i + 1;
    }
    return found;
}

static enum ft_status push(struct ft_ids *ids, uint32_t id, struct ft_error *error) {
    enum ft_status status = ft_grow(&ids->id, &ids->capacity, ids->count + 1, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
    if (!status) ids->id[ids->count++] = id;
    return status;
}

static enum ft_status push_unknown(const struct ft_wordpiece *wordpiece, const char *word, size_t length, struct ft_ids *ids,
                                   struct ft_error *error) {
    if (wordpiece->unknown != FT_TOKEN_NONE) return push(ids, wordpiece->unknown, error);
    return ft_fail(error, FT_FORMAT, "the tokenizer has no token for \"%.*s\", and no unknown token",
                   length < 60 ? (int)length : 60, word);
}

enum ft_status ft_wordpiece_encode(const struct ft_wordpiece *wordpiece, const char *word, size_t length, struct ft_ids *ids,
                                   struct ft_error *error) {
    if (wordpiece->whole) {
        uint32_t id = ft_vocab_find(wordpiece->vocab, word, length);
        return id != FT_TOKEN_NONE ? push(ids, id, error) : push_unknown(wordpiece, word, length, ids, error);
    }
    if (is_too_long(wordpiece, word, length)) return push_unknown(wordpiece, word, length, ids, error);
    size_t before = ids->count, size = 0;
    enum ft_status status = FT_OK;
    for (size_t at = 0; at < length && !status; at += size) {
        uint32_t id = FT_TOKEN_NONE;
        if (!at || wordpiece->has_inner)
            id = longest(&wordpiece->trie, at ? wordpiece->inner : 0, word + at, length - at, &size);
        if (id == FT_TOKEN_NONE) {
            ids->count = before;
            return push_unknown(wordpiece, word, length, ids, error);
        }
        status = push(ids, id, error);
    }
    return status;
}
