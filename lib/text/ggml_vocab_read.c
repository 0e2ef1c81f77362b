/* SPDX-License-Identifier: MIT
 *
 * A tokenizer.json as a GGUF file's vocabulary. llama.cpp knows pre-tokenizers by name only: the one that does the same
 * is looked for. SentencePiece's scores are not in a tokenizer.json; minus the rank of the first merge that makes a token
 * puts them in the same order. */
#include "ft/ggml_vocab.h"

#include "ggml_pre.h"
#include "vocab.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_MARK "\xe2\x96\x81" /* U+2581 */

enum { PAD_TEXT = 24 }; /* room for "[PAD<number>]" */

struct reader {
    struct ft_ggml_vocab *vocab;
    const struct ft_json *json;
    const struct cJSON *model;
    struct ft_error *error;
    char *room; /* in vocab->owned */
};

static bool is_type(const struct cJSON *node, const char *type) {
    const struct cJSON *entry = node && ft_json_type(node) == FT_JSON_OBJECT ? ft_json_find(node, "type") : NULL;
    const char *text;
    struct ft_json none = {.name = ""};
    return entry && ft_json_type(entry) == FT_JSON_STRING && !ft_json_string(&none, entry, &text, NULL) &&
           strcmp(text, type) == 0;
}

static bool says(const struct cJSON *object, const char *key, const char *text) {
    const struct cJSON *node = object ? ft_json_find(object, key) : NULL;
    const char *value;
    struct ft_json none = {.name = ""};
    return node && ft_json_type(node) == FT_JSON_STRING && !ft_json_string(&none, node, &value, NULL) &&
           strcmp(value, text) == 0;
}

static bool flag(const struct cJSON *object, const char *key, bool absent) {
    const struct cJSON *node = object ? ft_json_find(object, key) : NULL;
    struct ft_json none = {.name = ""};
    bool value = absent;
    if (node && ft_json_type(node) == FT_JSON_BOOL) (void)ft_json_bool(&none, node, &value, NULL);
    return value;
}

/* The first of a sequence's parts (or the part itself) of this type, NULL when there is none. */
static const struct cJSON *find_part(const struct cJSON *node, const char *list, const char *type) {
    if (is_type(node, type)) return node;
    const struct cJSON *parts = is_type(node, "Sequence") ? ft_json_find(node, list) : NULL;
    if (!parts || ft_json_type(parts) != FT_JSON_ARRAY) return NULL;
    for (const struct cJSON *part = ft_json_first(parts); part; part = ft_json_next(part))
        if (is_type(part, type)) return part;
    return NULL;
}

static size_t count_parts(const struct cJSON *node, const char *list) {
    const struct cJSON *parts = is_type(node, "Sequence") ? ft_json_find(node, list) : NULL;
    return parts ? ft_json_count(parts) : 1;
}

/* --- which tokenizer of llama.cpp's it is ----------------------------------------------------------------- */

static enum ft_status refuse(const struct reader *r, const char *what) {
    return ft_fail(r->error, FT_UNSUPPORTED, "%s: llama.cpp has no tokenizer like this one (%s): GGUF cannot hold it",
                   r->json->name, what);
}

static enum ft_status find_byte_level(struct reader *r, const struct cJSON *pretokenizer) {
    const struct cJSON *bytes = find_part(pretokenizer, "pretokenizers", "ByteLevel"),
                       *digits = find_part(pretokenizer, "pretokenizers", "Digits"),
                       *split = find_part(pretokenizer, "pretokenizers", "Split");
    const char *regex = NULL;
    if (count_parts(pretokenizer, "pretokenizers") != 1u + (digits != NULL) + (split != NULL))
        return refuse(r, "its pre-tokenizer");
    if (flag(bytes, "add_prefix_space", true) || (digits && !flag(digits, "individual_digits", false)) ||
        flag(bytes, "use_regex", true) != !split || (split && (!says(split, "behavior", "Isolated") || flag(split, "invert", false))))
        return refuse(r, "its pre-tokenizer");
    if (split) {
        const struct cJSON *pattern;
        enum ft_status status =
            ft_json_get_node(r->json, split, "pattern", FT_JSON_REQUIRED, FT_JSON_OBJECT, &pattern, r->error);
        if (!status) status = ft_json_get_string(r->json, pattern, "Regex", FT_JSON_OPTIONAL, &regex, r->error);
        if (status) return status;
        if (!regex) return refuse(r, "its pre-tokenizer");
    }
    const struct ft_ggml_pre *pre = ft_ggml_pre_like(digits != NULL, regex, flag(r->model, "ignore_merges", false));
    if (!pre) return refuse(r, "its pre-tokenizer's regular expression");
    r->vocab->model = "gpt2";
    r->vocab->pre = pre->name;
    return FT_OK;
}

/* A text's spaces become U+2581, by a normalizer or by the pre-tokenizer Metaspace. */
static enum ft_status find_sentencepiece(struct reader *r, const struct cJSON *normalizer, const struct cJSON *pretokenizer) {
    const struct cJSON *replace = find_part(normalizer, "normalizers", "Replace"),
                       *prepend = find_part(normalizer, "normalizers", "Prepend"),
                       *meta = find_part(pretokenizer, "pretokenizers", "Metaspace");
    if (!meta && !(replace && says(replace, "content", SPACE_MARK))) return refuse(r, "neither byte-level nor SentencePiece");
    r->vocab->space_prefix = (prepend && says(prepend, "prepend", SPACE_MARK)) ||
                             (meta && !says(meta, "prepend_scheme", "never") && flag(meta, "add_prefix_space", true));
    r->vocab->model = "llama";
    r->vocab->pre = "default";
    return FT_OK;
}

static enum ft_status find_kind(struct reader *r) {
    const struct cJSON *root = r->json->root, *pretokenizer = ft_json_find(root, "pre_tokenizer");
    const char *type = "BPE";
    enum ft_status status =
        ft_json_get_node(r->json, root, "model", FT_JSON_REQUIRED, FT_JSON_OBJECT, &r->model, r->error);
    if (!status) status = ft_json_get_string(r->json, r->model, "type", FT_JSON_OPTIONAL, &type, r->error);
    if (status) return status;
    if (strcmp(type, "BPE") != 0) return refuse(r, type);
    if (find_part(pretokenizer, "pretokenizers", "ByteLevel")) return find_byte_level(r, pretokenizer);
    return find_sentencepiece(r, ft_json_find(root, "normalizer"), pretokenizer);
}

/* --- tokens ----------------------------------------------------------------------------------------------- */

static enum ft_status put_token(struct reader *r, const struct cJSON *node, const char *text, uint64_t id, int type) {
    if (id >= r->vocab->tokens)
        return ft_json_fail(r->json, node, r->error, "the id %" PRIu64 " is beyond the model's %zu tokens", id, r->vocab->tokens);
    r->vocab->token[id] = (struct ft_ggml_text){text, strlen(text)};
    r->vocab->type[id] = (unsigned char)type;
    return FT_OK;
}

static bool is_byte(const char *text) {
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>' && strspn(text + 3, "0123456789ABCDEF") == 2;
}

static enum ft_status read_tokens(struct reader *r) {
    const struct cJSON *list;
    bool bytes = flag(r->model, "byte_fallback", false);
    enum ft_status status =
        ft_json_get_node(r->json, r->model, "vocab", FT_JSON_REQUIRED, FT_JSON_OBJECT, &list, r->error);
    for (const struct cJSON *e = status ? NULL : ft_json_first(list); e && !status; e = ft_json_next(e)) {
        uint64_t id;
        status = ft_json_u64(r->json, e, 0, UINT32_MAX, &id, r->error);
        if (!status)
            status = put_token(r, e, ft_json_key(e), id, bytes && is_byte(ft_json_key(e)) ? FT_GGML_BYTE : FT_GGML_NORMAL);
    }
    return status;
}

static enum ft_status read_added(struct reader *r) {
    const struct cJSON *list = NULL;
    enum ft_status status =
        ft_json_get_node(r->json, r->json->root, "added_tokens", FT_JSON_OPTIONAL, FT_JSON_ARRAY, &list, r->error);
    for (const struct cJSON *e = !status && list ? ft_json_first(list) : NULL; e && !status; e = ft_json_next(e)) {
        const char *content = NULL;
        uint64_t id = 0;
        status = ft_json_get_string(r->json, e, "content", FT_JSON_REQUIRED, &content, r->error);
        if (!status) status = ft_json_get_u64(r->json, e, "id", FT_JSON_REQUIRED, 0, UINT32_MAX, &id, r->error);
        if (!status) status = put_token(r, e, content, id, flag(e, "special", false) ? FT_GGML_CONTROL : FT_GGML_USER);
    }
    return status;
}

/* Rows of the model that the tokenizer does not reach. */
static void fill_holes(struct reader *r) {
    for (size_t id = 0; id < r->vocab->tokens; id++) {
        if (r->vocab->token[id].text) continue;
        int length = snprintf(r->room, PAD_TEXT, "[PAD%zu]", id);
        r->vocab->token[id] = (struct ft_ggml_text){r->room, (size_t)length};
        r->vocab->type[id] = FT_GGML_UNUSED;
        r->room += length + 1;
    }
}

static enum ft_status read_unknown(struct reader *r) {
    const char *text = NULL;
    enum ft_status status = ft_json_get_string(r->json, r->model, "unk_token", FT_JSON_OPTIONAL, &text, r->error);
    r->vocab->unknown = FT_GGML_NONE;
    for (size_t id = 0; text && id < r->vocab->tokens; id++) {
        if (strcmp(r->vocab->token[id].text, text) != 0) continue; /* every text ends with a NUL */
        r->vocab->unknown = (uint32_t)id;
        if (strcmp(r->vocab->model, "llama") == 0) r->vocab->type[id] = FT_GGML_UNKNOWN;
        break;
    }
    return status;
}

/* --- merges ----------------------------------------------------------------------------------------------- */

/* "a b" as it is; ["a", "b"] joined by a space. */
static enum ft_status read_merge(struct reader *r, const struct cJSON *node, struct ft_ggml_text *out) {
    const char *text[2];
    if (ft_json_type(node) == FT_JSON_STRING) {
        enum ft_status status = ft_json_string(r->json, node, &text[0], r->error);
        if (!status) *out = (struct ft_ggml_text){text[0], strlen(text[0])};
        return status;
    }
    enum ft_status status = ft_json_expect(r->json, node, FT_JSON_ARRAY, r->error);
    if (!status && ft_json_count(node) != 2) status = ft_json_fail(r->json, node, r->error, "expected two tokens");
    if (!status) status = ft_json_string(r->json, ft_json_first(node), &text[0], r->error);
    if (!status) status = ft_json_string(r->json, ft_json_next(ft_json_first(node)), &text[1], r->error);
    if (status) return status;
    if (strchr(text[0], ' ') || strchr(text[1], ' ')) return refuse(r, "a merge of tokens with spaces");
    size_t length = strlen(text[0]);
    *out = (struct ft_ggml_text){r->room, length + 1 + strlen(text[1])};
    memcpy(r->room, text[0], length);
    r->room[length] = ' ';
    memcpy(r->room + length + 1, text[1], out->length - length); /* and the NUL */
    r->room += out->length + 1;
    return FT_OK;
}

static enum ft_status read_merges(struct reader *r, const struct cJSON *list) {
    enum ft_status status = ft_alloc(&r->vocab->merge, ft_json_count(list), sizeof *r->vocab->merge, r->error);
    for (const struct cJSON *e = status ? NULL : ft_json_first(list); e && !status; e = ft_json_next(e))
        status = read_merge(r, e, &r->vocab->merge[r->vocab->merges++]);
    return status;
}

/* Minus the rank of the first merge that makes a token; below all of them for those that none makes. */
static enum ft_status make_scores(struct reader *r) {
    struct ft_ggml_vocab *vocab = r->vocab;
    struct ft_vocab all = {0};
    struct ft_buffer product = {0};
    enum ft_status status = ft_alloc(&vocab->score, vocab->tokens, sizeof *vocab->score, r->error);
    if (!status) status = ft_vocab_init(&all, vocab->tokens, r->error);
    for (size_t id = 0; id < vocab->tokens && !status; id++) {
        vocab->score[id] = vocab->type[id] == FT_GGML_NORMAL ? -1e6f : 0;
        status = ft_vocab_add(&all, vocab->token[id].text, vocab->token[id].length, (uint32_t)id, r->error);
        if (status) ft_error_context(r->error, "%s", r->json->name);
    }
    for (size_t rank = 0; rank < vocab->merges && !status; rank++) {
        struct ft_ggml_text merge = vocab->merge[rank];
        const char *space = memchr(merge.text, ' ', merge.length);
        if (!space) continue; /* ft_tokenizer_load would have refused it */
        ft_buffer_clear(&product);
        status = ft_buffer_append(&product, merge.text, (size_t)(space - merge.text), r->error);
        if (!status) status = ft_buffer_append(&product, space + 1, merge.length - (size_t)(space + 1 - merge.text), r->error);
        uint32_t id = status ? FT_TOKEN_NONE : ft_vocab_find(&all, product.data, product.size);
        if (id != FT_TOKEN_NONE && vocab->score[id] == -1e6f) vocab->score[id] = -(float)rank;
    }
    free(vocab->merge);
    vocab->merge = NULL;
    vocab->merges = 0;
    ft_buffer_release(&product);
    ft_vocab_release(&all);
    return status;
}

/* --- the whole -------------------------------------------------------------------------------------------- */

/* What joined merges take: no more than their texts, a space and a NUL each. */
static size_t joined_size(const struct cJSON *merges) {
    struct ft_json none = {.name = ""};
    size_t size = 1;
    for (const struct cJSON *e = ft_json_first(merges); e; e = ft_json_next(e)) {
        if (ft_json_type(e) != FT_JSON_ARRAY) continue;
        for (const struct cJSON *part = ft_json_first(e); part; part = ft_json_next(part)) {
            const char *text = "";
            if (ft_json_type(part) == FT_JSON_STRING) (void)ft_json_string(&none, part, &text, NULL);
            size += strlen(text) + 1;
        }
        size++;
    }
    return size;
}

static enum ft_status read_all(struct reader *r) {
    struct ft_ggml_vocab *vocab = r->vocab;
    const struct cJSON *merges = NULL;
    enum ft_status status = find_kind(r);
    if (!status)
        status = ft_json_get_node(r->json, r->model, "merges", FT_JSON_REQUIRED, FT_JSON_ARRAY, &merges, r->error);
    if (!status) status = ft_alloc(&vocab->token, vocab->tokens, sizeof *vocab->token, r->error);
    if (!status) status = ft_alloc(&vocab->type, vocab->tokens, 1, r->error);
    if (!status) status = ft_alloc(&vocab->owned, joined_size(merges) + vocab->tokens * PAD_TEXT, 1, r->error);
    r->room = vocab->owned;
    if (!status) status = read_tokens(r);
    if (!status) status = read_added(r);
    if (status) return status;
    fill_holes(r);
    status = read_unknown(r);
    if (!status) status = read_merges(r, merges);
    return !status && strcmp(vocab->model, "llama") == 0 ? make_scores(r) : status;
}

enum ft_status ft_ggml_vocab_read(struct ft_ggml_vocab *vocab, const char *tokenizer_json, size_t length,
                                  const char *name, size_t size, struct ft_error *error) {
    struct reader r = {.vocab = vocab, .json = &vocab->document, .error = error};
    *vocab = (struct ft_ggml_vocab){.tokens = size, .add_bos = -1, .add_eos = -1, .bos = FT_GGML_NONE,
                                    .eos = FT_GGML_NONE, .unknown = FT_GGML_NONE, .pad = FT_GGML_NONE};
    enum ft_status status = ft_json_parse(&vocab->document, tokenizer_json, length, name, 0, error);
    if (!status) status = ft_json_expect(&vocab->document, vocab->document.root, FT_JSON_OBJECT, error);
    return status ? status : read_all(&r);
}
