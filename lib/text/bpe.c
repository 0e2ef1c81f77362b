/* SPDX-License-Identifier: MIT */
#include "bpe.h"

#include "bpe_merge.h"
#include "ft/json.h"
#include "ft/memory.h"
#include "unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META "\xe2\x96\x81" /* U+2581, SentencePiece's space */

enum { META_SIZE = 3, AFFIX_MAX = 64 };

/* --- reading --------------------------------------------------------------------------------------------- */

static enum ft_status copy_affix(char **out, const struct ft_json *json, const struct cJSON *model, const char *key,
                                 struct ft_error *error) {
    const char *text = NULL;
    enum ft_status status = ft_json_get_string(json, model, key, FT_JSON_OPTIONAL, &text, error);
    if (status || !text || !*text) return status;
    if (strlen(text) > AFFIX_MAX) return ft_json_fail(json, model, error, "\"%s\" is longer than %d bytes", key, AFFIX_MAX);
    if ((status = ft_alloc(out, strlen(text) + 1, 1, error))) return status;
    memcpy(*out, text, strlen(text));
    return FT_OK;
}

static enum ft_status read_options(struct ft_bpe *bpe, const struct ft_json *json, const struct cJSON *model,
                                   struct ft_error *error) {
    const char *unknown = NULL;
    double dropout = 0;
    enum ft_status status;
    if ((status = ft_json_get_string(json, model, "unk_token", FT_JSON_OPTIONAL, &unknown, error)) ||
        (status = ft_json_get_double(json, model, "dropout", FT_JSON_OPTIONAL, &dropout, error)) ||
        (status = ft_json_get_bool(json, model, "fuse_unk", FT_JSON_OPTIONAL, &bpe->fuse_unknown, error)) ||
        (status = ft_json_get_bool(json, model, "byte_fallback", FT_JSON_OPTIONAL, &bpe->byte_fallback, error)) ||
        (status = ft_json_get_bool(json, model, "ignore_merges", FT_JSON_OPTIONAL, &bpe->ignore_merges, error)) ||
        (status = copy_affix(&bpe->prefix, json, model, "continuing_subword_prefix", error)) ||
        (status = copy_affix(&bpe->suffix, json, model, "end_of_word_suffix", error)))
        return status;
    if (dropout != 0)
        return ft_fail(error, FT_UNSUPPORTED, "%s: model.dropout is %g: the same text would give other ids each time; set it to null",
                       json->name, dropout);
    if (unknown) bpe->unknown = ft_vocab_find(bpe->vocab, unknown, strlen(unknown));
    return FT_OK;
}

static void find_bytes(struct ft_bpe *bpe) {
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        size_t size = ft_utf8_put(text, ft_byte_character((uint8_t)b));
        bpe->byte_id[b] = bpe->bytes ? ft_vocab_find(bpe->vocab, text, size) : FT_TOKEN_NONE;
        size = (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        bpe->fallback_id[b] = bpe->byte_fallback ? ft_vocab_find(bpe->vocab, text, size) : FT_TOKEN_NONE;
    }
}

static enum ft_status grow_merges(struct ft_bpe *bpe, size_t merges, struct ft_error *error) {
    struct ft_bpe old = *bpe;
    enum ft_status status = ft_arena_init(&bpe->memory, ft_arena_cost(merges, sizeof *bpe->merge), error);
    if (status) {
        bpe->memory = old.memory;
        return status;
    }
    bpe->merge = ft_arena_take(&bpe->memory, merges, sizeof *bpe->merge);
    memset(bpe->merge, 0xff, merges * sizeof *bpe->merge);
    bpe->merges = merges;
    for (size_t i = 0; i < old.merges; i++)
        if (old.merge[i].left != FT_TOKEN_NONE) *ft_bpe_slot(bpe, old.merge[i].left, old.merge[i].right) = old.merge[i];
    ft_arena_release(&old.memory);
    return FT_OK;
}

/* A part of a text, on its way to the vocabulary. */
struct slice {
    const char *text;
    size_t length;
};

static enum ft_status no_token(const struct ft_scan *scan, size_t rank, struct slice token, struct ft_error *error) {
    return ft_fail(error, FT_FORMAT, "%s: merge %zu needs the token \"%.*s\", which the vocabulary does not have", scan->name,
                   rank, token.length < 60 ? (int)token.length : 60, token.text);
}

/* Merges come in the order of what they make, nearly always, so it is the token behind the last one's: a comparison
 * instead of a search. */
static uint32_t find_product(const struct ft_bpe *bpe, struct slice product, uint32_t last) {
    size_t length;
    const char *text = last == FT_TOKEN_NONE ? NULL : ft_vocab_text(bpe->vocab, last + 1, &length);
    if (text && length == product.length && memcmp(text, product.text, length) == 0) return last + 1;
    return ft_vocab_find(bpe->vocab, product.text, product.length);
}

enum { AHEAD = 16 }; /* merges that are read before the first of them is looked up: memory is slow to answer */

/* A merge as it was read. */
struct staged {
    struct ft_buffer text[2]; /* where its parts lie unless they lie in the file */
    struct slice left, right;
    uint64_t left_hash, right_hash; /* of ft_vocab_expect */
};

struct merge_reader {
    struct ft_bpe *bpe;
    struct ft_scan *scan;
    struct staged staged[AHEAD]; /* merge r in number r % AHEAD */
    size_t read;                 /* merges, of which bpe->ranks are in the table */
    struct ft_buffer joined;
    uint32_t last; /* what the merge before made */
};

/* A later merge of the same pair replaces the earlier one, as in the reference. */
static enum ft_status add_merge(struct merge_reader *r, struct ft_error *error) {
    struct ft_bpe *bpe = r->bpe;
    const struct staged *from = &r->staged[bpe->ranks % AHEAD];
    struct slice left = from->left, right = from->right;
    struct ft_bpe_merge merge = {.left = ft_vocab_find_expected(bpe->vocab, from->left_hash, left.text, left.length),
                                 .right = ft_vocab_find_expected(bpe->vocab, from->right_hash, right.text, right.length),
                                 .rank = bpe->ranks};
    if (merge.left == FT_TOKEN_NONE) return no_token(r->scan, bpe->ranks, left, error);
    if (merge.right == FT_TOKEN_NONE) return no_token(r->scan, bpe->ranks, right, error);
    size_t skip = bpe->prefix ? strlen(bpe->prefix) : 0;
    if (skip > right.length) skip = right.length;
    enum ft_status status = ft_grow(&r->joined.data, &r->joined.capacity, left.length + right.length + 1, 1, FT_BUFFER_MAX,
                                    "bytes of a token", error);
    if (status) return status;
    memcpy(r->joined.data, left.text, left.length);
    memcpy(r->joined.data + left.length, right.text + skip, right.length - skip);
    struct slice product = {r->joined.data, left.length + right.length - skip};
    merge.id = r->last = find_product(bpe, product, r->last);
    if (merge.id == FT_TOKEN_NONE) return no_token(r->scan, bpe->ranks, product, error);
    if (merge.id == merge.left || merge.id == merge.right)
        return ft_fail(error, FT_FORMAT, "%s: merge %u adds nothing to one of its parts", r->scan->name, bpe->ranks);
    if (2 * ((size_t)bpe->ranks + 1) > bpe->merges && (status = grow_merges(bpe, 2 * bpe->merges, error))) return status;
    *ft_bpe_slot(bpe, merge.left, merge.right) = merge;
    bpe->ranks++;
    return FT_OK;
}

/* "a b" or ["a", "b"]. */
static enum ft_status read_parts(struct ft_scan *scan, struct staged *to, struct ft_error *error) {
    struct slice *left = &to->left, *right = &to->right;
    enum ft_status status;
    for (int i = 0; i < 2; i++)
        if ((status = ft_buffer_append(&to->text[i], "", 0, error))) return status;
    if (ft_scan_peek(scan) == '[') {
        if ((status = ft_scan_expect(scan, '[', error)) ||
            (status = ft_scan_string(scan, &to->text[0], &left->text, &left->length, error)) ||
            (status = ft_scan_expect(scan, ',', error)) ||
            (status = ft_scan_string(scan, &to->text[1], &right->text, &right->length, error)))
            return status;
        return ft_scan_expect(scan, ']', error);
    }
    if ((status = ft_scan_string(scan, &to->text[0], &left->text, &left->length, error))) return status;
    const char *end = left->text + left->length, *space = memchr(left->text, ' ', left->length);
    if (!space || memchr(space + 1, ' ', (size_t)(end - space - 1)))
        return ft_scan_fail(scan, "a merge is two tokens with one space between them", error);
    left->length = (size_t)(space - left->text);
    *right = (struct slice){space + 1, (size_t)(end - space - 1)};
    return FT_OK;
}

static enum ft_status read_merge(struct merge_reader *r, bool *more, struct ft_error *error) {
    struct staged *to = &r->staged[r->read % AHEAD];
    if (r->read >= FT_VOCAB_MAX) return ft_fail(error, FT_LIMIT, "%s: too many merges", r->scan->name);
    enum ft_status status = read_parts(r->scan, to, error);
    if (status) return status;
    to->left_hash = ft_vocab_expect(r->bpe->vocab, to->left.text, to->left.length);
    to->right_hash = ft_vocab_expect(r->bpe->vocab, to->right.text, to->right.length);
    r->read++;
    return ft_scan_more(r->scan, ']', more, error);
}

/* What is wrong with a merge comes before what is wrong with those behind it. */
static enum ft_status read_list(struct merge_reader *r, struct ft_error *error) {
    enum ft_status status = ft_scan_expect(r->scan, '[', error), added = FT_OK;
    bool more = !status && ft_scan_peek(r->scan) != ']';
    while (more && !status && !added) {
        struct ft_error later;
        status = read_merge(r, &more, &later);
        bool last = status || !more;
        while (!added && r->bpe->ranks < r->read && (last || r->read - r->bpe->ranks == AHEAD)) added = add_merge(r, error);
        if (status && !added) *error = later;
    }
    return added ? added : status;
}

static enum ft_status read_merges(struct ft_bpe *bpe, struct ft_scan *scan, struct ft_error *error) {
    struct merge_reader r = {.bpe = bpe, .scan = scan, .last = FT_TOKEN_NONE};
    size_t slots = 64;
    while (scan->p && slots < 2 * (size_t)bpe->vocab->count) slots *= 2; /* about as many merges as tokens */
    enum ft_status status = grow_merges(bpe, slots, error);
    if (!status && scan->p) status = read_list(&r, error);
    for (size_t i = 0; i < AHEAD; i++) {
        ft_buffer_release(&r.staged[i].text[0]);
        ft_buffer_release(&r.staged[i].text[1]);
    }
    ft_buffer_release(&r.joined);
    return status;
}

/* Without a token that has U+2581 behind another character, no merge crosses such a place, and a long text is as good
 * as its words. */
static bool can_cut(const struct ft_bpe *bpe) {
    if (bpe->bytes || bpe->prefix || bpe->suffix || bpe->ignore_merges) return false;
    if (ft_vocab_find(bpe->vocab, META, META_SIZE) == FT_TOKEN_NONE) return false;
    for (size_t i = 0; i < bpe->merges; i++) {
        size_t length;
        const char *text = bpe->merge[i].left == FT_TOKEN_NONE ? NULL : ft_vocab_text(bpe->vocab, bpe->merge[i].id, &length);
        if (!text) continue;
        bool other = false; /* a character that is not U+2581 was there */
        for (const char *p = text; p < text + length; p += ft_utf8_size(*p)) {
            bool meta = ft_utf8_size(*p) == META_SIZE && memcmp(p, META, META_SIZE) == 0;
            if (meta && other) return false;
            other |= !meta;
        }
    }
    return true;
}

enum ft_status ft_bpe_read(struct ft_bpe *bpe, const struct ft_vocab *vocab, bool bytes, const struct ft_json *json,
                           const struct cJSON *model, struct ft_scan *merges, struct ft_error *error) {
    *bpe = (struct ft_bpe){.vocab = vocab, .unknown = FT_TOKEN_NONE, .bytes = bytes};
    enum ft_status status = read_options(bpe, json, model, error);
    if (!status) status = read_merges(bpe, merges, error);
    if (status) return status;
    find_bytes(bpe);
    bpe->cut_at_meta = can_cut(bpe);
    return FT_OK;
}

void ft_bpe_release(struct ft_bpe *bpe) {
    ft_arena_release(&bpe->memory);
    free(bpe->prefix);
    free(bpe->suffix);
    *bpe = (struct ft_bpe){0};
}

/* --- encoding -------------------------------------------------------------------------------------------- */

void ft_bpe_state_release(struct ft_bpe_state *state) {
    ft_bpe_queue_release(&state->queue);
    ft_buffer_release(&state->text);
}

/* A word on its way from text to symbols; ids are appended to a list that has room for them. */
struct symbols {
    const struct ft_bpe *bpe;
    uint32_t *id;
    size_t count;
    bool unknown; /* one is pending: it comes when the next known symbol does */
};

static void add_known(struct symbols *symbols, uint32_t id) {
    if (symbols->unknown) symbols->id[symbols->count++] = symbols->bpe->unknown;
    symbols->unknown = false;
    symbols->id[symbols->count++] = id;
}

/* Falls back on the bytes' tokens, all or none; these do not release a pending unknown, as in the reference. */
static bool add_bytes(struct symbols *symbols, const char *text, size_t length) {
    const uint32_t *fallback_id = symbols->bpe->fallback_id;
    if (!symbols->bpe->byte_fallback) return false;
    for (size_t i = 0; i < length; i++)
        if (fallback_id[(uint8_t)text[i]] == FT_TOKEN_NONE) return false;
    for (size_t i = 0; i < length; i++) symbols->id[symbols->count++] = fallback_id[(uint8_t)text[i]];
    return true;
}

static enum ft_status add_unknown(struct symbols *symbols, const char *text, size_t length, struct ft_error *error) {
    if (symbols->bpe->unknown == FT_TOKEN_NONE)
        return ft_fail(error, FT_FORMAT, "the tokenizer has no token for \"%.*s\", and no unknown token", (int)length, text);
    if (symbols->unknown && !symbols->bpe->fuse_unknown) symbols->id[symbols->count++] = symbols->bpe->unknown;
    symbols->unknown = true;
    return FT_OK;
}

/* One character, with its affixes, which the vocabulary may not have. */
static enum ft_status add_character(struct symbols *symbols, const char *text, size_t length, bool first, bool last,
                                    struct ft_error *error) {
    const struct ft_bpe *bpe = symbols->bpe;
    char with[2 * AFFIX_MAX + 8];
    if ((bpe->prefix && !first) || (bpe->suffix && last)) {
        int n = snprintf(with, sizeof with, "%s%.*s%s", bpe->prefix && !first ? bpe->prefix : "", (int)length, text,
                         bpe->suffix && last ? bpe->suffix : "");
        text = with;
        length = (size_t)n;
    }
    uint32_t id = ft_vocab_find(bpe->vocab, text, length);
    if (id != FT_TOKEN_NONE) {
        add_known(symbols, id);
        return FT_OK;
    }
    return add_bytes(symbols, text, length) ? FT_OK : add_unknown(symbols, text, length, error);
}

static enum ft_status add_text(struct symbols *symbols, const char *text, size_t length, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (const char *p = text, *end = text + length, *next; p < end && !status; p = next) {
        next = p + ft_utf8_size(*p);
        status = add_character(symbols, p, (size_t)(next - p), p == text, next == end, error);
    }
    if (symbols->unknown) symbols->id[symbols->count++] = symbols->bpe->unknown;
    return status;
}

/* The usual byte-level case: a token for each byte, no affixes. */
static bool add_raw(struct symbols *symbols, const char *word, size_t length) {
    const uint32_t *byte_id = symbols->bpe->byte_id;
    if (symbols->bpe->prefix || symbols->bpe->suffix) return false;
    for (size_t i = 0; i < length; i++) {
        symbols->id[i] = byte_id[(uint8_t)word[i]];
        if (symbols->id[i] == FT_TOKEN_NONE) return false;
    }
    symbols->count = length;
    return true;
}

static enum ft_status byte_text(struct ft_buffer *text, const char *word, size_t length, struct ft_error *error) {
    enum ft_status status = FT_OK;
    ft_buffer_clear(text);
    for (size_t i = 0; i < length && !status; i++) {
        char utf8[4];
        status = ft_buffer_append(text, utf8, ft_utf8_put(utf8, ft_byte_character((uint8_t)word[i])), error);
    }
    return status;
}

static enum ft_status reserve(struct ft_ids *ids, size_t extra, struct ft_error *error) {
    size_t need;
    if (!ft_size_add(ids->count, extra, &need)) need = SIZE_MAX;
    return need <= ids->capacity ? FT_OK
                                 : ft_grow(&ids->id, &ids->capacity, need, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
}

enum ft_status ft_bpe_encode(const struct ft_bpe *bpe, struct ft_bpe_state *state, const char *word, size_t length,
                             struct ft_ids *ids, struct ft_error *error) {
    size_t affixes = (bpe->prefix ? strlen(bpe->prefix) : 0) + (bpe->suffix ? strlen(bpe->suffix) : 0);
    enum ft_status status = reserve(ids, 2 * length * (1 + affixes) + 1, error);
    if (status) return status;
    struct symbols symbols = {.bpe = bpe, .id = ids->id + ids->count};
    bool raw = bpe->bytes && add_raw(&symbols, word, length);
    if (bpe->bytes && (!raw || bpe->ignore_merges)) {
        if ((status = byte_text(&state->text, word, length, error))) return status;
        word = state->text.data;
        length = state->text.size;
    }
    uint32_t whole = bpe->ignore_merges ? ft_vocab_find(bpe->vocab, word, length) : FT_TOKEN_NONE;
    if (whole != FT_TOKEN_NONE) {
        symbols.id[0] = whole;
        symbols.count = 1;
    } else {
        if (!raw) {
            symbols.count = 0;
            status = add_text(&symbols, word, length, error);
        }
        if (!status) status = ft_bpe_merge(bpe, &state->queue, symbols.id, &symbols.count, error);
    }
    if (!status) ids->count += symbols.count;
    return status;
}

const char *ft_bpe_part_end(const char *p, const char *end) {
    while (end - p >= META_SIZE && memcmp(p, META, META_SIZE) == 0) p += META_SIZE;
    while (p < end && (p = memchr(p, META[0], (size_t)(end - p)))) {
        if (end - p >= META_SIZE && memcmp(p, META, META_SIZE) == 0) return p;
        p++;
    }
    return end;
}
