/* SPDX-License-Identifier: MIT
 *
 * Loading a tokenizer.json, and asking about its tokens. The vocabulary and the merges are most of the file: they are
 * read straight from the text, and the rest is parsed into a tree with null in their place.
 */
#include "tokenizer_impl.h"

#include "ft/file.h"
#include "ft/json.h"
#include "scan.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

void ft_ids_release(struct ft_ids *ids) {
    free(ids->id);
    *ids = (struct ft_ids){0};
}

/* --- the big parts --------------------------------------------------------------------------------------- */

/* A tokenizer.json taken apart: the vocabulary, and scores, read; where the merges are (p NULL: absent); the rest. */
struct parts {
    struct ft_word_model *model;
    bool has_vocab;
    struct ft_scan merges;
    struct ft_buffer rest;
};

enum { BYTES_A_TOKEN = 48 }; /* a guess, in the whole file: merges take about as much as tokens */

/* "token": id */
static enum ft_status read_entry(struct ft_word_model *model, struct ft_scan *scan, struct ft_buffer *buffer,
                                 struct ft_error *error) {
    const char *text = NULL;
    size_t length = 0;
    uint32_t id = 0;
    enum ft_status status;
    if ((status = ft_scan_string(scan, buffer, &text, &length, error)) || (status = ft_scan_expect(scan, ':', error)) ||
        (status = ft_scan_u32(scan, &id, error)))
        return status;
    status = ft_vocab_add(&model->vocab, text, length, id, error);
    return status ? ft_error_context(error, "%s: model.vocab", scan->name) : FT_OK;
}

/* ["token", score]; ids count up. */
static enum ft_status read_scored(struct ft_word_model *model, struct ft_scan *scan, struct ft_buffer *buffer, size_t *scores,
                                  struct ft_error *error) {
    const char *text = NULL;
    size_t length = 0;
    uint32_t id = model->vocab.count;
    enum ft_status status = ft_grow(&model->score, scores, (size_t)id + 1, sizeof *model->score, FT_VOCAB_MAX, "scores", error);
    if (status || (status = ft_scan_expect(scan, '[', error)) || (status = ft_scan_string(scan, buffer, &text, &length, error)) ||
        (status = ft_scan_expect(scan, ',', error)) || (status = ft_scan_score(scan, &model->score[id], error)) ||
        (status = ft_scan_expect(scan, ']', error)))
        return status;
    status = ft_vocab_add(&model->vocab, text, length, id, error);
    return status ? ft_error_context(error, "%s: model.vocab", scan->name) : FT_OK;
}

/* {"token": id, ...}, or [["token", score], ...]. */
static enum ft_status read_vocab(struct ft_word_model *model, struct ft_scan *scan, struct ft_error *error) {
    struct ft_buffer buffer = {0};
    char open = ft_scan_peek(scan), close = open == '{' ? '}' : ']';
    size_t scores = 0;
    enum ft_status status = ft_vocab_init(&model->vocab, (size_t)(scan->end - scan->p) / BYTES_A_TOKEN, error);
    if (!status) status = ft_buffer_append(&buffer, "", 0, error);
    if (!status && open == '[') status = ft_grow(&model->score, &scores, 1, sizeof *model->score, FT_VOCAB_MAX, "scores", error);
    if (!status) status = ft_scan_expect(scan, open, error);
    bool more = ft_scan_peek(scan) != close;
    if (!status && !more) scan->p++;
    while (more && !status) {
        status = open == '{' ? read_entry(model, scan, &buffer, error) : read_scored(model, scan, &buffer, &scores, error);
        if (!status) status = ft_scan_more(scan, close, &more, error);
    }
    ft_buffer_release(&buffer);
    return status;
}

/* Consumes a key and its colon; its text as written, without the quotes. */
static enum ft_status scan_key(struct ft_scan *scan, const char **key, size_t *length, struct ft_error *error) {
    if (ft_scan_peek(scan) != '"') return ft_scan_fail(scan, "expected a key", error);
    *key = scan->p + 1;
    enum ft_status status = ft_scan_skip(scan, error);
    *length = (size_t)(scan->p - *key) - 1;
    return status ? status : ft_scan_expect(scan, ':', error);
}

static bool is_key(const char *key, size_t length, const char *name) {
    return length == strlen(name) && memcmp(key, name, length) == 0;
}

/* Copies the text from *from up to the value at scan->p, and puts null for the value. */
static enum ft_status put_null(struct ft_scan *scan, const char *from, struct ft_buffer *rest, struct ft_error *error) {
    (void)ft_scan_peek(scan);
    enum ft_status status = ft_buffer_append(rest, from, (size_t)(scan->p - from), error);
    return status ? status : ft_buffer_string(rest, "null", error);
}

static enum ft_status take_vocab(struct ft_scan *scan, const char **from, struct parts *parts, struct ft_error *error) {
    enum ft_status status = put_null(scan, *from, &parts->rest, error);
    if (!status) status = read_vocab(parts->model, scan, error);
    parts->has_vocab = true;
    *from = scan->p;
    return status;
}

static enum ft_status take_merges(struct ft_scan *scan, const char **from, struct parts *parts, struct ft_error *error) {
    enum ft_status status = put_null(scan, *from, &parts->rest, error);
    parts->merges = *scan;
    if (!status) status = ft_scan_skip(scan, error);
    *from = parts->merges.end = scan->p;
    return status;
}

/* Walks over the entries of an object; those of "model" in turn. */
static enum ft_status split_object(struct ft_scan *scan, bool model, const char **from, struct parts *parts,
                                   struct ft_error *error) {
    bool more = true;
    enum ft_status status = ft_scan_expect(scan, '{', error);
    if (!status && ft_scan_peek(scan) == '}') more = false, scan->p++;
    while (more && !status) {
        const char *key = NULL;
        size_t length = 0;
        if ((status = scan_key(scan, &key, &length, error))) break;
        char value = ft_scan_peek(scan);
        if (!model && is_key(key, length, "model") && value == '{') status = split_object(scan, true, from, parts, error);
        else if (model && is_key(key, length, "vocab") && !parts->has_vocab && (value == '{' || value == '['))
            status = take_vocab(scan, from, parts, error);
        else if (model && is_key(key, length, "merges") && !parts->merges.p && value == '[')
            status = take_merges(scan, from, parts, error);
        else status = ft_scan_skip(scan, error);
        if (!status) status = ft_scan_more(scan, '}', &more, error);
    }
    return status;
}

static enum ft_status split_parts(const char *json, size_t size, const char *name, struct parts *parts,
                                  struct ft_error *error) {
    struct ft_scan scan = {json, json + size, json, name};
    const char *from = json;
    enum ft_status status = split_object(&scan, false, &from, parts, error);
    return status ? status : ft_buffer_append(&parts->rest, from, (size_t)(scan.end - from), error);
}

/* --- the rest -------------------------------------------------------------------------------------------- */

static enum ft_status read_model(struct ft_tokenizer *t, const struct ft_json *json, struct parts *parts,
                                 struct ft_error *error) {
    const struct cJSON *model = NULL;
    enum ft_status status = ft_json_get_node(json, json->root, "model", FT_JSON_REQUIRED, FT_JSON_OBJECT, &model, error);
    return status ? status : ft_word_model_read(&t->model, &t->pretokenizer.bytes, json, model, &parts->merges, error);
}

/* Normalized added tokens are looked for in normalized text, so their own texts are normalized, too. */
static enum ft_status enter_added(struct ft_tokenizer *t, struct ft_error *error) {
    struct ft_buffer buffer[2] = {0};
    struct ft_matcher matcher = {0};
    enum ft_status status = ft_matcher_init(&matcher, error);
    for (size_t i = 0; i < t->added.count && !status; i++) {
        const struct ft_added_token *token = &t->added.token[i];
        struct ft_normalized n = {token->content, token->length, .at_start = true};
        if (token->normalized) status = ft_normalize(&t->normalizer, &matcher, &n, buffer, error);
        if (!status)
            status = ft_added_enter(&t->added, (uint32_t)i, n.text, n.length, error);
    }
    ft_buffer_release(&buffer[0]);
    ft_buffer_release(&buffer[1]);
    ft_matcher_release(&matcher);
    return status;
}

/* Every id below the highest must have a token: a model's rows are numbered without gaps. */
static enum ft_status check_holes(const struct ft_tokenizer *t, const char *name, struct ft_error *error) {
    for (uint32_t id = 0; id < t->limit; id++)
        if (!ft_tokenizer_token(t, id, NULL))
            return ft_fail(error, FT_FORMAT, "%s: no token has the id %u, but there are ids up to %u: is the file cut or edited?",
                           name, id, t->limit - 1);
    return FT_OK;
}

static enum ft_status check_special(const struct ft_tokenizer *t, const char *name, struct ft_error *error) {
    const struct ft_ids *list[] = {&t->postprocessor.before, &t->postprocessor.after};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < list[k]->count; i++)
            if (!ft_tokenizer_token(t, list[k]->id[i], NULL))
                return ft_fail(error, FT_FORMAT, "%s: the post-processor adds id %u, which is no token", name, list[k]->id[i]);
    return FT_OK;
}

static enum ft_status read_rest(struct ft_tokenizer *t, const struct ft_json *json, struct parts *parts,
                                struct ft_error *error) {
    const struct cJSON *root = json->root;
    const char *version = "1.0";
    enum ft_status status;
    if ((status = ft_json_expect(json, root, FT_JSON_OBJECT, error)) ||
        (status = ft_json_get_string(json, root, "version", FT_JSON_OPTIONAL, &version, error)))
        return status;
    if (strcmp(version, "1.0") != 0)
        return ft_fail(error, FT_UNSUPPORTED, "%s: version \"%s\" is not supported (1.0 is)", json->name, version);
    if ((status = ft_normalizer_read(&t->normalizer, json, ft_json_find(root, "normalizer"), error)) ||
        (status = ft_pretokenizer_read(&t->pretokenizer, json, ft_json_find(root, "pre_tokenizer"), error)) ||
        (status = read_model(t, json, parts, error)) ||
        (status = ft_added_read(&t->added, &t->model.vocab, json, ft_json_find(root, "added_tokens"), error)) ||
        (status = ft_postprocessor_read(&t->postprocessor, json, ft_json_find(root, "post_processor"), error)) ||
        (status = ft_decoder_read(&t->decoder, json, ft_json_find(root, "decoder"), error)))
        return status;
    t->limit = t->model.vocab.limit > t->added.by_text.limit ? t->model.vocab.limit : t->added.by_text.limit;
    if (!t->limit) return ft_fail(error, FT_FORMAT, "%s: there are no tokens", json->name);
    if ((status = enter_added(t, error)) || (status = check_holes(t, json->name, error))) return status;
    return check_special(t, json->name, error);
}

enum ft_status ft_tokenizer_parse(struct ft_tokenizer **tokenizer, const char *json, size_t size, const char *name,
                                  struct ft_error *error) {
    struct ft_tokenizer *t = NULL;
    struct parts parts = {0};
    struct ft_json tree = {0};
    enum ft_status status = ft_alloc(&t, 1, sizeof *t, error);
    if (!status) {
        t->bos = FT_TOKEN_NONE;
        parts.model = &t->model;
        size_t valid = ft_utf8_valid(json, size);
        if (valid < size) status = ft_fail(error, FT_FORMAT, "%s: not UTF-8 at byte %zu", name, valid);
    }
    if (!status) status = split_parts(json, size, name, &parts, error);
    if (!status) status = ft_json_parse(&tree, parts.rest.data, parts.rest.size, name, 0, error);
    if (!status) status = read_rest(t, &tree, &parts, error);
    if (!status) ft_sha256_hex(json, size, t->digest);
    ft_json_release(&tree);
    ft_buffer_release(&parts.rest);
    if (status) ft_tokenizer_free(t);
    else *tokenizer = t;
    return status;
}

static enum ft_status load_file(struct ft_tokenizer **tokenizer, const char *path, struct ft_error *error) {
    struct ft_map map;
    enum ft_status status = ft_map_open(&map, path, error);
    if (status) return status;
    status = ft_tokenizer_parse(tokenizer, map.size ? (const char *)map.data : "", map.size, path, error);
    ft_map_close(&map);
    return status;
}

enum ft_status ft_tokenizer_load(struct ft_tokenizer **tokenizer, const char *path, struct ft_error *error) {
    if (!ft_path_is_directory(path)) return load_file(tokenizer, path, error);
    struct ft_buffer file = {0};
    struct ft_tokenizer *t = NULL;
    enum ft_status status = ft_path_join(&file, path, "tokenizer.json", error);
    if (!status && !ft_path_exists(file.data))
        status = ft_fail(error, FT_USAGE, "%s: there is no tokenizer.json; a Hugging Face model directory has one", path);
    if (!status) status = load_file(&t, file.data, error);
    if (!status) status = ft_tokenizer_read_config(t, path, error);
    ft_buffer_release(&file);
    if (status) ft_tokenizer_free(t);
    else *tokenizer = t;
    return status;
}

void ft_tokenizer_free(struct ft_tokenizer *t) {
    if (!t) return;
    ft_decoder_release(&t->decoder);
    ft_postprocessor_release(&t->postprocessor);
    ft_pretokenizer_release(&t->pretokenizer);
    ft_normalizer_release(&t->normalizer);
    ft_added_release(&t->added);
    ft_word_model_release(&t->model);
    ft_ids_release(&t->eos);
    free(t->template);
    for (size_t i = 0; i < FT_NAMED_TOKENS; i++) free(t->named[i]);
    free(t);
}

/* --- questions ------------------------------------------------------------------------------------------- */

const char *ft_tokenizer_digest(const struct ft_tokenizer *t) { return t->digest; }

uint32_t ft_tokenizer_size(const struct ft_tokenizer *t) { return t->limit; }

const char *ft_tokenizer_token(const struct ft_tokenizer *t, uint32_t id, size_t *length) {
    const struct ft_added_token *token = ft_added_find(&t->added, id);
    if (!token) return ft_vocab_text(&t->model.vocab, id, length);
    if (length) *length = token->length;
    return token->content;
}

bool ft_tokenizer_find(const struct ft_tokenizer *t, const char *token, size_t length, uint32_t *id) {
    *id = ft_vocab_find(&t->added.by_text, token, length);
    if (*id == FT_TOKEN_NONE) *id = ft_vocab_find(&t->model.vocab, token, length);
    return *id != FT_TOKEN_NONE;
}

bool ft_tokenizer_is_special(const struct ft_tokenizer *t, uint32_t id) {
    const struct ft_added_token *token = ft_added_find(&t->added, id);
    return token && token->special;
}

bool ft_tokenizer_bos(const struct ft_tokenizer *t, uint32_t *id) {
    if (t->bos != FT_TOKEN_NONE) *id = t->bos;
    return t->bos != FT_TOKEN_NONE;
}

const uint32_t *ft_tokenizer_eos(const struct ft_tokenizer *t, size_t *count) {
    *count = t->eos.count;
    return t->eos.count ? t->eos.id : NULL;
}

const char *ft_tokenizer_template(const struct ft_tokenizer *t) { return t->template; }
