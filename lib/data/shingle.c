/* SPDX-License-Identifier: MIT */
#include "ft/memory.h"
#include "ft/record.h"
#include "ft/similar.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ (x >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

static const uint64_t WORD_START = UINT64_C(0xcbf29ce484222325),
                      WORD_STEP = UINT64_C(0x100000001b3); /* FNV-1a */
static const uint64_t EDGE =
    UINT64_C(0x9e3779b97f4a7c15); /* stands before the first and after the last word */
static const uint64_t PAIR = UINT64_C(0xd6e8feb86659fd93);

static enum ft_status put(struct ft_shingles *shingles, uint64_t hash, struct ft_error *error) {
    if (shingles->count == FT_SHINGLES_MAX) return FT_OK;
    enum ft_status status = ft_grow(&shingles->hash, &shingles->capacity, shingles->count + 1,
                                    sizeof *shingles->hash, FT_SHINGLES_MAX, "shingles", error);
    if (!status) shingles->hash[shingles->count++] = mix(hash);
    return status;
}

/* --- words --------------------------------------------------------------------------------------------- */

enum kind { GAP, PART, WHOLE }; /* a character ends a word, is part of one, or is a word by itself */

/* Scripts written without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han. */
static bool is_unspaced(utf8proc_int32_t c) {
    return (c >= 0x0e00 && c <= 0x0eff) || (c >= 0x1000 && c <= 0x109f) || (c >= 0x1780 && c <= 0x17ff) ||
           (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0x20000 && c <= 0x3ffff);
}

static enum kind classify(utf8proc_int32_t c) {
    if (c < 0x80) {
        bool part = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        return part ? PART : GAP;
    }
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return is_unspaced(c) ? WHOLE : PART;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
        return WHOLE;
    default:
        return GAP;
    }
}

static utf8proc_int32_t fold(utf8proc_int32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return utf8proc_tolower(c);
}

/* A text in the making: what the last word was, and the present one so far. */
struct walk {
    struct ft_shingles *out;
    uint64_t last, word;
    bool inside, any;
};

static enum ft_status end_word(struct walk *walk, struct ft_error *error) {
    if (!walk->inside) return FT_OK;
    enum ft_status status = put(walk->out, walk->word, error);
    if (!status) status = put(walk->out, walk->last * PAIR + walk->word, error);
    walk->last = walk->word;
    walk->word = WORD_START;
    walk->inside = false;
    walk->any = true;
    return status;
}

static enum ft_status take_character(struct walk *walk, utf8proc_int32_t c, struct ft_error *error) {
    enum kind kind = classify(c);
    enum ft_status status = kind == PART ? FT_OK : end_word(walk, error);
    if (status || kind == GAP) return status;
    walk->word = (walk->word ^ (uint64_t)fold(c)) * WORD_STEP;
    walk->inside = true;
    return kind == WHOLE ? end_word(walk, error) : FT_OK;
}

/* Appends the shingles of one text. Bytes that are not UTF-8 are gaps. */
static enum ft_status add_text(struct ft_shingles *shingles, const char *text, size_t size,
                               struct ft_error *error) {
    struct walk walk = {.out = shingles, .last = EDGE, .word = WORD_START};
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < size && !status;) {
        utf8proc_int32_t c = bytes[i];
        utf8proc_ssize_t step = 1;
        if (c >= 0x80) {
            step = utf8proc_iterate(bytes + i, (utf8proc_ssize_t)(size - i), &c);
            if (step < 1) {
                step = 1;
                c = ' ';
            }
        }
        status = take_character(&walk, c, error);
        i += (size_t)step;
    }
    if (!status) status = end_word(&walk, error);
    if (!status && walk.any) status = put(shingles, walk.last * PAIR + EDGE, error);
    return status;
}

enum ft_status ft_shingles_text(struct ft_shingles *shingles, const char *text, size_t size,
                                struct ft_error *error) {
    shingles->count = 0;
    enum ft_status status = add_text(shingles, text, size, error);
    shingles->given = shingles->count;
    return status;
}

/* --- records ------------------------------------------------------------------------------------------- */

static bool is_given(const char *role) {
    return strcmp(role, "user") == 0 || strcmp(role, "tool") == 0;
}
static bool is_answer(const char *role) {
    return strcmp(role, "assistant") == 0;
}

/* System and developer turns are neither: they are the same in every record, or nearly. */
static enum ft_status add_turns(struct ft_shingles *shingles, const struct ft_record *record,
                                bool (*wanted)(const char *), struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < record->turns && !status; i++)
        if (wanted(record->turn[i].role))
            status = add_text(shingles, record->turn[i].content, strlen(record->turn[i].content), error);
    return status;
}

enum ft_status ft_shingles_record(struct ft_shingles *shingles, const struct ft_record *record,
                                  struct ft_error *error) {
    shingles->count = 0;
    enum ft_status status = record->turns ? add_turns(shingles, record, is_given, error)
                                          : add_text(shingles, record->prompt, strlen(record->prompt), error);
    shingles->given = shingles->count;
    if (status) return status;
    return record->turns ? add_turns(shingles, record, is_answer, error)
                         : add_text(shingles, record->completion, strlen(record->completion), error);
}

void ft_shingles_release(struct ft_shingles *shingles) {
    free(shingles->hash);
    *shingles = (struct ft_shingles){0};
}

/* --- tokens -------------------------------------------------------------------------------------------- */

/* Shingles of the tokens whose weight is positive, or of the others. */
static enum ft_status add_tokens(struct ft_shingles *shingles, const uint32_t *ids, const float *weights,
                                 size_t count, bool answer, struct ft_error *error) {
    uint64_t before = EDGE, last = EDGE; /* the two tokens before the present one */
    enum ft_status status = FT_OK;
    size_t taken = 0;
    for (size_t i = 0; i < count && !status; i++) {
        if ((weights[i] > 0.0f) != answer) continue;
        uint64_t token = mix(ids[i] + UINT64_C(1));
        status = put(shingles, (before * PAIR + last) * PAIR + token, error);
        before = last;
        last = token;
        taken++;
    }
    for (int i = 0; i < 2 && taken && !status; i++) {
        status = put(shingles, (before * PAIR + last) * PAIR + EDGE, error);
        before = last;
        last = EDGE;
    }
    return status;
}

/* A first token alone (nothing can predict it, so its weight is 0) is not a prompt. */
static bool has_prompt(const float *weights, size_t count) {
    size_t zero = 0;
    for (size_t i = 0; i < count && zero < 2; i++)
        zero += !(weights[i] > 0.0f);
    return zero >= 2;
}

enum ft_status ft_shingles_tokens(struct ft_shingles *shingles, const uint32_t *ids, const float *weights,
                                  size_t count, struct ft_error *error) {
    shingles->count = 0;
    enum ft_status status =
        has_prompt(weights, count) ? add_tokens(shingles, ids, weights, count, false, error) : FT_OK;
    shingles->given = shingles->count;
    return status ? status : add_tokens(shingles, ids, weights, count, true, error);
}

/* --- content ------------------------------------------------------------------------------------------- */

/* With its length in front, so that no two lists of strings give the same bytes. */
static void hash_string(struct ft_sha256 *hash, const char *text) {
    unsigned char size[8];
    ft_store64(size, strlen(text));
    ft_sha256_update(hash, size, sizeof size);
    ft_sha256_update(hash, text, strlen(text));
}

static void hash_float(struct ft_sha256 *hash, float value) {
    uint32_t bits;
    unsigned char bytes[4];
    memcpy(&bits, &value, sizeof bits);
    ft_store32(bytes, bits);
    ft_sha256_update(hash, bytes, sizeof bytes);
}

/* Calls of tools are part of what is learnt: the value of `key` as canonical JSON. */
static enum ft_status hash_value(struct ft_sha256 *hash, const struct ft_json *json, const struct cJSON *node,
                                 const char *key, struct ft_buffer *scratch, struct ft_error *error) {
    const struct cJSON *value = node ? ft_json_find(node, key) : NULL;
    ft_buffer_clear(scratch);
    enum ft_status status = value ? ft_json_print(json, value, FT_JSON_SORTED, scratch, error) : FT_OK;
    if (!status) hash_string(hash, value ? scratch->data : "");
    return status;
}

static enum ft_status hash_turns(struct ft_sha256 *hash, const struct ft_record *record,
                                 struct ft_error *error) {
    static const char *const calls[] = {"name", "tool_calls", "function_call", "tool_call_id"};
    struct ft_buffer scratch = {0};
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < record->turns && !status; i++) {
        const struct ft_turn *turn = &record->turn[i];
        hash_string(hash, turn->role);
        hash_string(hash, turn->content);
        hash_float(hash, turn->weight);
        for (size_t k = 0; k < sizeof calls / sizeof *calls && !status; k++)
            status = hash_value(hash, &record->json, turn->node, calls[k], &scratch, error);
    }
    ft_buffer_release(&scratch);
    return status;
}

enum ft_status ft_record_content(const struct ft_record *record, unsigned char digest[FT_SHA256_SIZE],
                                 struct ft_error *error) {
    struct ft_sha256 hash;
    ft_sha256_init(&hash);
    hash_string(&hash, record->turns ? "turns" : "pair");
    if (record->turns) {
        enum ft_status status = hash_turns(&hash, record, error);
        if (status) return status;
    } else {
        hash_string(&hash, record->prompt);
        hash_string(&hash, record->completion);
    }
    ft_sha256_final(&hash, digest);
    return FT_OK;
}

void ft_tokens_content(const uint32_t *ids, const float *weights, size_t count,
                       unsigned char digest[FT_SHA256_SIZE]) {
    struct ft_sha256 hash;
    ft_sha256_init(&hash);
    hash_string(&hash, "tokens");
    for (size_t i = 0; i < count; i++) {
        unsigned char id[4];
        ft_store32(id, ids[i]);
        ft_sha256_update(&hash, id, sizeof id);
        hash_float(&hash, weights[i]);
    }
    ft_sha256_final(&hash, digest);
}
