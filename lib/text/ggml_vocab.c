/* SPDX-License-Identifier: MIT
 *
 * A GGUF file's vocabulary as tokenizer.json: what transformers makes of the same model. */
#include "ft/ggml_vocab.h"

#include "ggml_pre.h"
#include "unicode.h"
#include "vocab.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A word is at most so long: trying every cut of a longer one would take quadratic time. */
enum { WORD_MAX = 512 };

#define SPACE_MARK "\xe2\x96\x81" /* U+2581 */

/* What is being written, and where. */
struct writer {
    const struct ft_ggml_vocab *vocab;
    const char *name;
    struct ft_buffer *out;
    struct ft_error *error;
};

static enum ft_status put(struct writer *w, const char *text) { return ft_buffer_string(w->out, text, w->error); }

static enum ft_status quote(struct writer *w, struct ft_ggml_text text) {
    return ft_json_quote(w->out, text.text, text.length, w->error);
}

static int type_of(const struct ft_ggml_vocab *vocab, size_t id) {
    if (vocab->type) return vocab->type[id];
    bool control = id == vocab->bos || id == vocab->eos || id == vocab->pad || id == vocab->unknown;
    return control ? FT_GGML_CONTROL : FT_GGML_NORMAL;
}

/* --- merges out of scores --------------------------------------------------------------------------------- */

struct merge {
    float score; /* of the product */
    uint32_t left, right, left_chars, right_chars;
    size_t order; /* in which it was found: what decides between equals */
};

struct merges {
    struct merge *merge;
    size_t count, capacity;
};

/* transformers' order: by score, then the longer left part, then the longer right one. */
static int by_score(const void *a, const void *b) {
    const struct merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars) return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars) return x->right_chars > y->right_chars ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_parts(const void *a, const void *b) {
    const struct merge *x = a, *y = b;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static uint32_t characters(const char *text, size_t length) {
    uint32_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* Every cut of a token into two tokens. */
static enum ft_status cut_token(struct merges *merges, const struct ft_vocab *all, struct ft_ggml_text token,
                                float score, struct ft_error *error) {
    size_t first = merges->count;
    for (size_t at = 1; at < token.length; at++) {
        if (((unsigned char)token.text[at] & 0xc0) == 0x80) continue;
        uint32_t left = ft_vocab_find(all, token.text, at);
        uint32_t right = left == FT_TOKEN_NONE ? left : ft_vocab_find(all, token.text + at, token.length - at);
        if (right == FT_TOKEN_NONE) continue;
        enum ft_status status = ft_grow(&merges->merge, &merges->capacity, merges->count + 1, sizeof *merges->merge,
                                        (size_t)1 << 26, "merges", error);
        if (status) return status;
        merges->merge[merges->count++] = (struct merge){.score = score,
                                                        .left = left,
                                                        .right = right,
                                                        .left_chars = characters(token.text, at),
                                                        .right_chars = characters(token.text + at, token.length - at)};
    }
    if (merges->count > first) qsort(merges->merge + first, merges->count - first, sizeof *merges->merge, by_parts);
    for (size_t i = first; i < merges->count; i++) merges->merge[i].order = i;
    return FT_OK;
}

static enum ft_status find_merges(const struct ft_ggml_vocab *vocab, const char *name, struct merges *merges,
                                  struct ft_error *error) {
    struct ft_vocab all = {0};
    enum ft_status status = ft_vocab_init(&all, vocab->tokens, error);
    for (size_t id = 0; id < vocab->tokens && !status; id++) {
        status = ft_vocab_add(&all, vocab->token[id].text, vocab->token[id].length, (uint32_t)id, error);
        if (status) ft_error_context(error, "%s: tokenizer.ggml.tokens", name);
    }
    for (size_t id = 0; id < vocab->tokens && !status; id++) {
        struct ft_ggml_text token = vocab->token[id];
        if (type_of(vocab, id) != FT_GGML_NORMAL) continue;
        if (!isfinite(vocab->score[id]))
            status = ft_fail(error, FT_FORMAT, "%s: tokenizer.ggml.scores: token %zu has no finite score", name, id);
        else if (token.length > WORD_MAX)
            status = ft_fail(error, FT_LIMIT, "%s: tokenizer.ggml.tokens: token %zu has %zu bytes; at most %d are allowed",
                             name, id, token.length, WORD_MAX);
        else status = cut_token(merges, &all, token, vocab->score[id], error);
    }
    ft_vocab_release(&all);
    if (!status && merges->count) qsort(merges->merge, merges->count, sizeof *merges->merge, by_score);
    return status;
}

static enum ft_status put_scored_merges(struct writer *w) {
    struct merges merges = {0};
    enum ft_status status = find_merges(w->vocab, w->name, &merges, w->error);
    for (size_t i = 0; i < merges.count && !status; i++) {
        status = put(w, i ? ",[" : "[");
        if (!status) status = quote(w, w->vocab->token[merges.merge[i].left]);
        if (!status) status = put(w, ",");
        if (!status) status = quote(w, w->vocab->token[merges.merge[i].right]);
        if (!status) status = put(w, "]");
    }
    free(merges.merge);
    return status;
}

/* --- tokenizer.json --------------------------------------------------------------------------------------- */

static enum ft_status put_added(struct writer *w) {
    bool first = true;
    enum ft_status status = put(w, "\"added_tokens\":[");
    for (size_t id = 0; id < w->vocab->tokens && !status; id++) {
        int type = type_of(w->vocab, id);
        if (type != FT_GGML_CONTROL && type != FT_GGML_USER && type != FT_GGML_UNKNOWN) continue;
        if (w->vocab->token[id].length == 0) continue; /* nothing to look for in a text */
        status = ft_buffer_printf(w->out, w->error, "%s{\"id\":%zu,\"content\":", first ? "" : ",", id);
        if (!status) status = quote(w, w->vocab->token[id]);
        if (!status)
            status = ft_buffer_printf(w->out, w->error,
                                      ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                                      "\"special\":%s}",
                                      type == FT_GGML_USER ? "false" : "true");
        first = false;
    }
    return status ? status : put(w, "],");
}

static enum ft_status put_vocabulary(struct writer *w) {
    enum ft_status status = put(w, "\"vocab\":{");
    for (size_t id = 0; id < w->vocab->tokens && !status; id++) {
        if (id) status = put(w, ",");
        if (!status) status = quote(w, w->vocab->token[id]);
        if (!status) status = ft_buffer_printf(w->out, w->error, ":%zu", id);
    }
    return status ? status : put(w, "},\"merges\":[");
}

/* BOS before a text, EOS behind it; `bare` is written when there is neither. */
static enum ft_status put_post_processor(struct writer *w, bool begins, const char *bare) {
    const struct ft_ggml_vocab *vocab = w->vocab;
    uint32_t id[2] = {vocab->bos, vocab->eos};
    bool add[2] = {vocab->add_bos < 0 ? begins : vocab->add_bos > 0, vocab->add_eos > 0};
    enum ft_status status = FT_OK;
    for (int i = 0; i < 2; i++)
        if (add[i] && id[i] == FT_GGML_NONE)
            return ft_fail(w->error, FT_FORMAT, "%s: tokenizer.ggml.add_%s_token is set, but there is no such token",
                           w->name, i ? "eos" : "bos");
    if (!add[0] && !add[1]) return put(w, bare);
    if ((status = put(w, "\"post_processor\":{\"type\":\"TemplateProcessing\""))) return status;
    for (int pair = 0; pair < 2 && !status; pair++) { /* A, then A B */
        const char *separator = "";
        status = put(w, pair ? "],\"pair\":[" : ",\"single\":[");
        for (int sequence = 0; sequence <= pair && !status; sequence++)
            for (int i = 0; i < 3 && !status; i++) { /* BOS, text, EOS */
                if (i != 1 && !add[i / 2]) continue;
                status = put(w, separator);
                if (!status) status = put(w, i == 1 ? "{\"Sequence\":{\"id\":" : "{\"SpecialToken\":{\"id\":");
                if (!status) status = i == 1 ? put(w, sequence ? "\"B\"" : "\"A\"") : quote(w, vocab->token[id[i / 2]]);
                if (!status) status = ft_buffer_printf(w->out, w->error, ",\"type_id\":%d}}", sequence);
                separator = ",";
            }
    }
    if (!status) status = put(w, "],\"special_tokens\":{");
    for (int i = 0; i < 2 && !status; i++) {
        if (!add[i] || (i && add[0] && id[0] == id[1])) continue;
        if (i && add[0]) status = put(w, ",");
        if (!status) status = quote(w, vocab->token[id[i]]);
        if (!status) status = put(w, ":{\"id\":");
        if (!status) status = quote(w, vocab->token[id[i]]);
        if (!status) status = ft_buffer_printf(w->out, w->error, ",\"ids\":[%" PRIu32 "],\"tokens\":[", id[i]);
        if (!status) status = quote(w, vocab->token[id[i]]);
        if (!status) status = put(w, "]}");
    }
    return status ? status : put(w, "}},");
}

#define BYTE_LEVEL(regex) "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" regex "}"

static enum ft_status put_pretokenizer(struct writer *w, const struct ft_ggml_pre *pre) {
    enum ft_status status = put(w, pre->nfc ? "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":"
                                            : "\"normalizer\":null,\"pre_tokenizer\":");
    if (status) return status;
    if (pre->digits)
        return put(w, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
                      BYTE_LEVEL("true") "]},");
    if (!pre->split) return put(w, BYTE_LEVEL("true") ",");
    status = put(w, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":");
    if (!status) status = quote(w, (struct ft_ggml_text){pre->split, strlen(pre->split)});
    return status ? status : put(w, "},\"behavior\":\"Isolated\",\"invert\":false}," BYTE_LEVEL("false") "]},");
}

/* "left right" with one space that is neither first nor last: a token may not hold one (a space is U+0120). */
static enum ft_status check_merge(struct writer *w, size_t i) {
    struct ft_ggml_text merge = w->vocab->merge[i];
    const char *space = memchr(merge.text, ' ', merge.length);
    if (space && space > merge.text && space + 1 < merge.text + merge.length) return FT_OK;
    return ft_fail(w->error, FT_FORMAT, "%s: tokenizer.ggml.merges: entry %zu is not two tokens with a space between",
                   w->name, i);
}

static enum ft_status find_pre(struct writer *w, const struct ft_ggml_pre **pre) {
    const struct ft_ggml_vocab *vocab = w->vocab;
    bool said = *vocab->pre && strcmp(vocab->pre, "default") != 0;
    *pre = ft_ggml_pre_named(said || strcmp(vocab->architecture, "gpt2") != 0 ? vocab->pre : "gpt-2");
    if (*pre) return FT_OK;
    if (!said)
        return ft_fail(w->error, FT_UNSUPPORTED, "%s: tokenizer.ggml.pre does not say how text is cut into words: "
                       "convert the model again with a newer llama.cpp", w->name);
    return ft_fail(w->error, FT_UNSUPPORTED, "%s: tokenizer.ggml.pre: the pre-tokenizer '%.64s' is not implemented",
                   w->name, vocab->pre);
}

static enum ft_status put_byte_level(struct writer *w, const struct ft_ggml_pre *pre) {
    enum ft_status status = FT_OK;
    if (!w->vocab->merges)
        status = ft_fail(w->error, FT_FORMAT, "%s: tokenizer.ggml.merges is missing", w->name);
    if (!status) status = put_pretokenizer(w, pre);
    if (!status) status = put_post_processor(w, pre->begins, "\"post_processor\":" BYTE_LEVEL("true") ",");
    if (!status)
        status = ft_buffer_printf(w->out, w->error,
                                  "\"decoder\":" BYTE_LEVEL("true") ",\"model\":{\"type\":\"BPE\",\"dropout\":null,"
                                  "\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                                  "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":%s,",
                                  pre->whole_words ? "true" : "false");
    if (!status) status = put_vocabulary(w);
    for (size_t i = 0; i < w->vocab->merges && !status; i++) {
        status = check_merge(w, i);
        if (!status && i) status = put(w, ",");
        if (!status) status = quote(w, w->vocab->merge[i]);
    }
    return status;
}

static bool has_bytes(const struct ft_ggml_vocab *vocab) {
    for (size_t id = 0; id < vocab->tokens; id++)
        if (type_of(vocab, id) == FT_GGML_BYTE) return true;
    return false;
}

static enum ft_status put_sentencepiece(struct writer *w) {
    const struct ft_ggml_vocab *vocab = w->vocab;
    if (!vocab->score) return ft_fail(w->error, FT_FORMAT, "%s: tokenizer.ggml.scores is missing", w->name);
    enum ft_status status =
        put(w, vocab->space_prefix
                   ? "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" SPACE_MARK
                     "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE_MARK "\"}]},"
                   : "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE_MARK "\"},");
    if (!status) status = put(w, "\"pre_tokenizer\":null,");
    if (!status) status = put_post_processor(w, true, "\"post_processor\":null,");
    if (!status)
        status = put(w, "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SPACE_MARK
                        "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}");
    if (!status && vocab->space_prefix) status = put(w, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    if (!status) status = put(w, "]},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (!status) status = vocab->unknown == FT_GGML_NONE ? put(w, "null") : quote(w, vocab->token[vocab->unknown]);
    if (!status)
        status = ft_buffer_printf(w->out, w->error,
                                  ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,"
                                  "\"byte_fallback\":%s,\"ignore_merges\":false,",
                                  has_bytes(vocab) ? "true" : "false");
    if (!status) status = put_vocabulary(w);
    return status ? status : put_scored_merges(w);
}

/* --- tokenizer_config.json -------------------------------------------------------------------------------- */

static enum ft_status put_named(struct writer *w, const char *key, uint32_t id) {
    if (id == FT_GGML_NONE) return FT_OK;
    enum ft_status status = ft_buffer_printf(w->out, w->error, ",\n  \"%s\": ", key);
    return status ? status : quote(w, w->vocab->token[id]);
}

static enum ft_status put_config(struct writer *w, bool begins) {
    const struct ft_ggml_vocab *vocab = w->vocab;
    bool bos = vocab->add_bos < 0 ? begins : vocab->add_bos > 0, eos = vocab->add_eos > 0;
    enum ft_status status = ft_buffer_printf(w->out, w->error, "{\n  \"add_bos_token\": %s,\n  \"add_eos_token\": %s",
                                             bos ? "true" : "false", eos ? "true" : "false");
    if (!status) status = put_named(w, "bos_token", vocab->bos);
    if (!status && vocab->chat_template.text) {
        status = put(w, ",\n  \"chat_template\": ");
        if (!status) status = quote(w, vocab->chat_template);
    }
    if (!status) status = put(w, ",\n  \"clean_up_tokenization_spaces\": false");
    if (!status) status = put_named(w, "eos_token", vocab->eos);
    if (!status) status = put_named(w, "pad_token", vocab->pad);
    if (!status) status = put(w, ",\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"");
    if (!status) status = put_named(w, "unk_token", vocab->unknown);
    return status ? status : put(w, "\n}\n");
}

/* --- the public face -------------------------------------------------------------------------------------- */

static enum ft_status check_ids(const struct writer *w) {
    const struct ft_ggml_vocab *vocab = w->vocab;
    const struct {
        const char *key;
        uint32_t id;
    } ids[] = {{"bos", vocab->bos}, {"eos", vocab->eos}, {"unknown", vocab->unknown}, {"padding", vocab->pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id != FT_GGML_NONE && ids[i].id >= vocab->tokens)
            return ft_fail(w->error, FT_FORMAT, "%s: tokenizer.ggml.%s_token_id is %" PRIu32 ", but there are %zu tokens",
                           w->name, ids[i].key, ids[i].id, vocab->tokens);
    return FT_OK;
}

/* Strict JSON cannot hold one. */
static enum ft_status check_texts(const struct writer *w) {
    for (size_t id = 0; id < w->vocab->tokens; id++)
        if (memchr(w->vocab->token[id].text, 0, w->vocab->token[id].length))
            return ft_fail(w->error, FT_UNSUPPORTED, "%s: tokenizer.ggml.tokens: token %zu has a NUL byte in it", w->name, id);
    return FT_OK;
}

enum ft_status ft_ggml_vocab_write(const struct ft_ggml_vocab *vocab, const char *name, struct ft_buffer *tokenizer,
                                   struct ft_buffer *config, struct ft_error *error) {
    struct writer w = {vocab, name, tokenizer, error};
    bool byte_level = strcmp(vocab->model, "gpt2") == 0;
    if (!byte_level && strcmp(vocab->model, "llama") != 0)
        return ft_fail(error, FT_UNSUPPORTED, "%s: tokenizer.ggml.model: the tokenizer '%.64s' is not implemented; gpt2 and llama are",
                       name, vocab->model);
    const struct ft_ggml_pre *pre = NULL;
    enum ft_status status = check_ids(&w);
    if (!status) status = check_texts(&w);
    if (!status && byte_level) status = find_pre(&w, &pre);
    if (!status) status = put(&w, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    if (!status) status = put_added(&w);
    if (!status) status = byte_level ? put_byte_level(&w, pre) : put_sentencepiece(&w);
    if (!status) status = put(&w, "]}}");
    w.out = config;
    return status ? status : put_config(&w, pre ? pre->begins : true);
}

void ft_ggml_vocab_release(struct ft_ggml_vocab *vocab) {
    free(vocab->token);
    free(vocab->merge);
    free(vocab->type);
    free(vocab->score);
    free(vocab->owned);
    ft_json_release(&vocab->document);
    *vocab = (struct ft_ggml_vocab){.tokens = 0};
}
