/* SPDX-License-Identifier: MIT
 *
 * A corpus has few distinct pre-tokens, so the work is done on them with their counts: each merge rewrites the
 * pre-tokens that hold the pair and corrects the counts of the pairs around it. The next pair is found by a
 * scan of the pair table, which for vocabularies of some thousand entries costs less than a heap's upkeep. */
#include "ft/bpe_train.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Contractions, words with the space before them, single digits, punctuation runs, white space. */
static const char pattern[] = "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum { WORD_BYTES_MAX = 256, VOCAB_MAX = 1 << 20 };
static const size_t words_max = (size_t)1 << 26;

struct word {
    size_t start; /* into trainer->symbols */
    uint32_t length;
    uint64_t count;
};

struct pair {
    uint64_t key;  /* left << 32 | right; empty slots of the table have key UINT64_MAX */
    int64_t count; /* occurrences, weighted by word counts */
};

struct ft_bpe_trainer {
    pcre2_code *code;
    pcre2_match_data *match;
    struct word *words;
    size_t n_words, words_capacity;
    uint32_t *symbols; /* bytes 0..255, then merges 256.. */
    size_t n_symbols, symbols_capacity;
    uint32_t *slots; /* open addressing: word index + 1 */
    size_t n_slots;  /* power of two */
    struct pair *pairs;
    size_t n_pairs, n_pair_slots;
};

struct merge {
    uint32_t left, right;
};

enum ft_status ft_bpe_trainer_new(struct ft_bpe_trainer **out, struct ft_error *error) {
    struct ft_bpe_trainer *t = NULL;
    enum ft_status status = ft_alloc(&t, 1, sizeof *t, error);
    if (status) return status;
    int code;
    size_t where;
    t->n_slots = 1 << 16;
    t->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &where, NULL);
    t->match = t->code ? pcre2_match_data_create_from_pattern(t->code, NULL) : NULL;
    if (!t->match) status = ft_fail(error, FT_NOMEM, "out of memory for the pre-tokenizer's expression");
    else status = ft_alloc(&t->slots, t->n_slots, sizeof *t->slots, error);
    if (status) {
        ft_bpe_trainer_free(t);
        return status;
    }
    (void)pcre2_jit_compile(t->code, PCRE2_JIT_COMPLETE); /* without JIT it is only slower */
    *out = t;
    return FT_OK;
}

void ft_bpe_trainer_free(struct ft_bpe_trainer *t) {
    if (!t) return;
    pcre2_match_data_free(t->match);
    pcre2_code_free(t->code);
    free(t->words);
    free(t->symbols);
    free(t->slots);
    free(t->pairs);
    free(t);
}

static bool word_equals(const struct ft_bpe_trainer *t, const struct word *w, const char *bytes, size_t length) {
    if (w->length != length) return false;
    for (size_t i = 0; i < length; i++)
        if (t->symbols[w->start + i] != (unsigned char)bytes[i]) return false;
    return true;
}

static uint64_t hash_symbols(const uint32_t *symbols, size_t length) {
    unsigned char bytes[WORD_BYTES_MAX];
    for (size_t i = 0; i < length; i++) bytes[i] = (unsigned char)symbols[i];
    return XXH3_64bits(bytes, length);
}

static enum ft_status grow_slots(struct ft_bpe_trainer *t, struct ft_error *error) {
    uint32_t *slots = NULL;
    size_t n = t->n_slots * 2;
    enum ft_status status = ft_alloc(&slots, n, sizeof *slots, error);
    if (status) return status;
    for (size_t i = 0; i < t->n_words; i++) {
        size_t at = hash_symbols(t->symbols + t->words[i].start, t->words[i].length) & (n - 1);
        while (slots[at]) at = (at + 1) & (n - 1);
        slots[at] = (uint32_t)i + 1;
    }
    free(t->slots);
    t->slots = slots;
    t->n_slots = n;
    return FT_OK;
}

/* Counts one pre-token of at most WORD_BYTES_MAX bytes. */
static enum ft_status count_word(struct ft_bpe_trainer *t, const char *bytes, size_t length, struct ft_error *error) {
    enum ft_status status;
    if (t->n_words * 2 >= t->n_slots && (status = grow_slots(t, error))) return status;
    size_t at = XXH3_64bits(bytes, length) & (t->n_slots - 1);
    for (; t->slots[at]; at = (at + 1) & (t->n_slots - 1)) {
        struct word *w = &t->words[t->slots[at] - 1];
        if (!word_equals(t, w, bytes, length)) continue;
        w->count++;
        return FT_OK;
    }
    status = ft_grow(&t->words, &t->words_capacity, t->n_words + 1, sizeof *t->words, words_max, "distinct words",
                     error);
    if (!status)
        status = ft_grow(&t->symbols, &t->symbols_capacity, t->n_symbols + length, sizeof *t->symbols, words_max * 8,
                         "bytes of distinct words", error);
    if (status) return status;
    t->words[t->n_words] = (struct word){.start = t->n_symbols, .length = (uint32_t)length, .count = 1};
    for (size_t i = 0; i < length; i++) t->symbols[t->n_symbols++] = (unsigned char)bytes[i];
    t->slots[at] = (uint32_t)++t->n_words;
    return FT_OK;
}

enum ft_status ft_bpe_trainer_add(struct ft_bpe_trainer *t, const char *text, size_t length, struct ft_error *error) {
    size_t at = 0;
    while (at < length) {
        int n = pcre2_match(t->code, (PCRE2_SPTR)text, length, at, 0, t->match, NULL);
        if (n == PCRE2_ERROR_NOMATCH) return FT_OK;
        if (n < 0) return ft_fail(error, FT_FORMAT, "the text is not valid UTF-8 after byte %zu", at);
        const size_t *span = pcre2_get_ovector_pointer(t->match);
        for (size_t from = span[0]; from < span[1]; from += WORD_BYTES_MAX) {
            size_t rest = span[1] - from;
            enum ft_status status = count_word(t, text + from, rest < WORD_BYTES_MAX ? rest : WORD_BYTES_MAX, error);
            if (status) return status;
        }
        at = span[1];
    }
    return FT_OK;
}

static size_t find_pair(const struct ft_bpe_trainer *t, uint64_t key) {
    size_t at = XXH3_64bits(&key, sizeof key) & (t->n_pair_slots - 1);
    while (t->pairs[at].key != UINT64_MAX && t->pairs[at].key != key) at = (at + 1) & (t->n_pair_slots - 1);
    return at;
}

static enum ft_status resize_pairs(struct ft_bpe_trainer *t, size_t slots, struct ft_error *error) {
    struct pair *old = t->pairs, *fresh = NULL;
    size_t n_old = t->n_pair_slots;
    enum ft_status status = ft_alloc(&fresh, slots, sizeof *fresh, error);
    if (status) return status;
    t->pairs = fresh;
    t->n_pair_slots = slots;
    for (size_t i = 0; i < slots; i++) fresh[i].key = UINT64_MAX;
    for (size_t i = 0; i < n_old; i++)
        if (old[i].key != UINT64_MAX) fresh[find_pair(t, old[i].key)] = old[i];
    free(old);
    return FT_OK;
}

static enum ft_status add_pair(struct ft_bpe_trainer *t, uint32_t left, uint32_t right, int64_t count,
                               struct ft_error *error) {
    if (t->n_pairs * 2 >= t->n_pair_slots) {
        enum ft_status status = resize_pairs(t, t->n_pair_slots ? t->n_pair_slots * 2 : 1 << 16, error);
        if (status) return status;
    }
    uint64_t key = (uint64_t)left << 32 | right;
    size_t at = find_pair(t, key);
    if (t->pairs[at].key == UINT64_MAX) {
        t->pairs[at] = (struct pair){.key = key};
        t->n_pairs++;
    }
    t->pairs[at].count += count;
    return FT_OK;
}

static enum ft_status count_pairs(struct ft_bpe_trainer *t, const struct word *w, int64_t sign,
                                  struct ft_error *error) {
    const uint32_t *s = t->symbols + w->start;
    for (uint32_t i = 0; i + 1 < w->length; i++) {
        enum ft_status status = add_pair(t, s[i], s[i + 1], sign * (int64_t)w->count, error);
        if (status) return status;
    }
    return FT_OK;
}

/* Most frequent pair, ties to the smaller key; count 0 when there is none. */
static struct pair best_pair(const struct ft_bpe_trainer *t) {
    struct pair best = {.key = UINT64_MAX};
    for (size_t i = 0; i < t->n_pair_slots; i++) {
        const struct pair *p = &t->pairs[i];
        if (p->key == UINT64_MAX) continue;
        if (p->count > best.count || (p->count == best.count && p->key < best.key)) best = *p;
    }
    return best;
}

static bool holds(const uint32_t *s, uint32_t length, uint32_t left, uint32_t right) {
    for (uint32_t i = 0; i + 1 < length; i++)
        if (s[i] == left && s[i + 1] == right) return true;
    return false;
}

static enum ft_status merge_everywhere(struct ft_bpe_trainer *t, struct merge pair, uint32_t id,
                                       struct ft_error *error) {
    for (size_t k = 0; k < t->n_words; k++) {
        struct word *w = &t->words[k];
        uint32_t *s = t->symbols + w->start;
        if (!holds(s, w->length, pair.left, pair.right)) continue;
        enum ft_status status = count_pairs(t, w, -1, error);
        if (status) return status;
        uint32_t to = 0;
        for (uint32_t i = 0; i < w->length; to++) {
            bool hit = i + 1 < w->length && s[i] == pair.left && s[i + 1] == pair.right;
            s[to] = hit ? id : s[i];
            i += hit ? 2 : 1;
        }
        w->length = to;
        status = count_pairs(t, w, +1, error);
        if (status) return status;
    }
    return FT_OK;
}

/* --- writing tokenizer.json ------------------------------------------------------------------------------ */

/* GPT-2's bytes_to_unicode: printable Latin-1 stands for itself, the other bytes for U+0100 and up. */
static void byte_names(char name[256][4]) {
    unsigned next = 256;
    for (unsigned b = 0; b < 256; b++) {
        bool itself = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        unsigned c = itself ? b : next++;
        if (c < 128) snprintf(name[b], 4, "%c", (char)c);
        else snprintf(name[b], 4, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 63)));
    }
}

struct json_writer {
    struct ft_buffer *out, name;
    const struct merge *merges;
    char bytes[256][4];
    struct ft_error *error;
    enum ft_status status; /* sticky: the first failure stops all later writing */
};

static void put(struct json_writer *w, const char *text) {
    if (!w->status) w->status = ft_buffer_string(w->out, text, w->error);
}

static void put_number(struct json_writer *w, size_t number) {
    if (!w->status) w->status = ft_buffer_printf(w->out, w->error, "%zu", number);
}

/* Text that holds no control characters, as the content of a JSON string. */
static void put_escaped(struct json_writer *w, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') put(w, "\\");
        if (!w->status) w->status = ft_buffer_append(w->out, text, 1, w->error);
    }
}

static void spell(struct json_writer *w, uint32_t symbol) {
    if (symbol >= 256) {
        spell(w, w->merges[symbol - 256].left);
        spell(w, w->merges[symbol - 256].right);
    } else if (!w->status) {
        w->status = ft_buffer_string(&w->name, w->bytes[symbol], w->error);
    }
}

static void put_symbol(struct json_writer *w, uint32_t symbol) {
    ft_buffer_clear(&w->name);
    spell(w, symbol);
    put(w, "\"");
    if (!w->status) put_escaped(w, w->name.data);
    put(w, "\"");
}

static void put_pipeline(struct json_writer *w) {
    put(w, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
           "\"pattern\":{\"Regex\":\"");
    put_escaped(w, pattern);
    put(w, "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
           "\"trim_offsets\":true,\"use_regex\":false}]},\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\","
           "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\","
           "\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
           "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{");
}

static enum ft_status write_json(struct ft_buffer *out, const struct merge *merges, size_t n_merges,
                                 const char *const *special, struct ft_error *error) {
    struct json_writer w = {.out = out, .merges = merges, .error = error};
    size_t id = 0;
    byte_names(w.bytes);
    put(&w, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (size_t i = 0; special[i]; i++) {
        put(&w, i ? ",{\"id\":" : "{\"id\":");
        put_number(&w, i);
        put(&w, ",\"content\":\"");
        put_escaped(&w, special[i]);
        put(&w, "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}");
    }
    put_pipeline(&w);
    for (; special[id]; id++) {
        put(&w, "\"");
        put_escaped(&w, special[id]);
        put(&w, "\":");
        put_number(&w, id);
        put(&w, ",");
    }
    for (uint32_t symbol = 0; symbol < 256 + n_merges; symbol++) {
        if (symbol) put(&w, ",");
        put_symbol(&w, symbol);
        put(&w, ":");
        put_number(&w, id++);
    }
    put(&w, "},\"merges\":[");
    for (size_t i = 0; i < n_merges; i++) {
        put(&w, i ? ",[" : "[");
        put_symbol(&w, merges[i].left);
        put(&w, ",");
        put_symbol(&w, merges[i].right);
        put(&w, "]");
    }
    put(&w, "]}}\n");
    ft_buffer_release(&w.name);
    return w.status;
}

bool ft_bpe_trainer_empty(const struct ft_bpe_trainer *t) { return t->n_words == 0; }

enum ft_status ft_bpe_trainer_finish(struct ft_bpe_trainer *t, size_t vocab, const char *const *special,
                                     struct ft_buffer *json, size_t *size, struct ft_error *error) {
    size_t n_special = 0, n_merges = 0;
    while (special[n_special]) n_special++;
    if (vocab < 256 + n_special || vocab > VOCAB_MAX)
        return ft_fail(error, FT_USAGE, "a vocabulary of %zu entries: choose %zu (bytes and special tokens) to %d",
                       vocab, 256 + n_special, VOCAB_MAX);
    for (size_t i = 0; i < n_special; i++)
        for (size_t j = 0; j <= i; j++)
            if (!*special[i] || (j < i && strcmp(special[i], special[j]) == 0))
                return ft_fail(error, FT_USAGE, "the special token '%.64s' is %s", special[i], *special[i] ? "given twice" : "empty");
    size_t want = vocab - 256 - n_special;
    struct merge *merges = NULL;
    enum ft_status status = ft_alloc(&merges, want, sizeof *merges, error);
    for (size_t i = 0; i < t->n_words && !status; i++) status = count_pairs(t, &t->words[i], +1, error);
    while (!status && n_merges < want) {
        struct pair best = best_pair(t);
        if (best.count < 2) break;
        merges[n_merges] = (struct merge){(uint32_t)(best.key >> 32), (uint32_t)best.key};
        status = merge_everywhere(t, merges[n_merges], (uint32_t)(256 + n_merges), error);
        n_merges++;
    }
    if (!status) status = write_json(json, merges, n_merges, special, error);
    if (!status) *size = n_special + 256 + n_merges;
    free(merges);
    return status;
}
