/* SPDX-License-Identifier: MIT
 *
 * Reading. A payload is gathered whole in memory that grows only as bytes arrive, its checksum compared, and
 * only then looked into. */
#include "ftok_layout.h"

#include "ft/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct ft_ftok_reader {
    struct ft_source *source;
    struct ft_json json;
    struct ft_ftok_header header;
    struct ft_ftok_record record;
    uint64_t number, tokens;
    bool ended;
    char digest[FT_SHA256_HEX], data[FT_SHA256_HEX];
    struct ft_buffer payload;
    uint32_t *ids;
    float *weights;
    size_t ids_capacity, weights_capacity;
    char *label, *group; /* NUL-terminated copies */
};

static enum ft_status refuse(const struct ft_ftok_reader *reader, const char *what, struct ft_error *error) {
    return ft_fail(error, FT_FORMAT, "%s: record %llu: %s; make the stream anew",
                   ft_source_name(reader->source), (unsigned long long)reader->number + 1, what);
}

static enum ft_status cut(const struct ft_ftok_reader *reader, struct ft_error *error) {
    return ft_fail(error, FT_FORMAT,
                   "%s: cut off after %llu records (the program that wrote it did not finish); "
                   "make the stream anew", ft_source_name(reader->source),
                   (unsigned long long)reader->number);
}

/* The next `count` bytes, appended to reader->payload and consumed. */
static enum ft_status gather(struct ft_ftok_reader *reader, size_t count, struct ft_error *error) {
    while (count) {
        const unsigned char *bytes;
        size_t have;
        enum ft_status status = ft_source_peek(reader->source, 1, &bytes, &have, error);
        if (status) return status;
        if (have == 0) return cut(reader, error);
        if (have > count) have = count;
        status = ft_buffer_append(&reader->payload, bytes, have, error);
        if (status) return status;
        ft_source_skip(reader->source, have);
        count -= have;
    }
    return FT_OK;
}

/* --- the prefix ----------------------------------------------------------------------------------------- */

static enum ft_status get_digest(const struct ft_json *json, const char *key, enum ft_json_need need,
                                 const char **out, struct ft_error *error) {
    unsigned char bytes[FT_SHA256_SIZE];
    enum ft_status status = ft_json_get_string(json, json->root, key, need, out, error);
    if (status || !*out || ft_unhex(*out, bytes, sizeof bytes)) return status;
    return ft_json_fail(json, ft_json_find(json->root, key), error, "expected 64 hexadecimal digits");
}

static enum ft_status read_header(struct ft_ftok_reader *reader, const char *text, size_t size,
                                  struct ft_error *error) {
    static const char *const keys[] = {"data_sha256", "metadata", "template_sha256", "tokenizer_sha256", "vocab_size", NULL};
    struct ft_json *json = &reader->json;
    struct ft_ftok_header *header = &reader->header;
    uint64_t vocab_size = 0;
    enum ft_status status = ft_json_parse(json, text, size, ft_source_name(reader->source), 0, error);
    if (!status) status = ft_json_expect(json, json->root, FT_JSON_OBJECT, error);
    if (!status) status = ft_json_only(json, json->root, keys, error);
    if (!status) status = get_digest(json, "tokenizer_sha256", FT_JSON_REQUIRED, &header->tokenizer, error);
    if (!status) status = get_digest(json, "template_sha256", FT_JSON_OPTIONAL, &header->template, error);
    if (!status) status = get_digest(json, "data_sha256", FT_JSON_OPTIONAL, &header->data, error);
    if (!status)
        status = ft_json_get_u64(json, json->root, "vocab_size", FT_JSON_REQUIRED, 1, UINT32_MAX, &vocab_size,
                                 error);
    if (!status)
        status = ft_json_get_node(json, json->root, "metadata", FT_JSON_REQUIRED, FT_JSON_OBJECT,
                                  &header->metadata, error);
    header->vocab_size = (uint32_t)vocab_size;
    return status;
}

static enum ft_status read_prefix(struct ft_ftok_reader *reader, struct ft_error *error) {
    const char *name = ft_source_name(reader->source);
    bool is;
    enum ft_status status = ft_ftok_detect(reader->source, &is, error);
    if (status) return status;
    if (!is) return ft_fail(error, FT_FORMAT, "%s: not a token stream; make one with ft-tokenize", name);
    status = gather(reader, MAGIC_SIZE + 8, error);
    if (status) return status;
    uint32_t version = ft_load32(reader->payload.data + MAGIC_SIZE), length = ft_load32(reader->payload.data + MAGIC_SIZE + 4);
    if (version != VERSION)
        return ft_fail(error, FT_UNSUPPORTED, "%s: token stream of version %u; this program reads version %u",
                       name, version, (unsigned)VERSION);
    if (length > FT_FTOK_HEADER_MAX)
        return ft_fail(error, FT_LIMIT, "%s: a header of %u bytes is too long", name, length);
    status = gather(reader, (size_t)length + 8, error);
    if (status) return status;
    size_t before = reader->payload.size - 8;
    if (ft_load64(reader->payload.data + before) != ft_xxh3(reader->payload.data, before))
        return ft_fail(error, FT_FORMAT, "%s: the header is damaged; make the stream anew", name);
    return read_header(reader, reader->payload.data + MAGIC_SIZE + 8, length, error);
}

enum ft_status ft_ftok_detect(struct ft_source *source, bool *is, struct ft_error *error) {
    const unsigned char *bytes;
    size_t count;
    enum ft_status status = ft_source_peek(source, MAGIC_SIZE, &bytes, &count, error);
    if (!status) *is = count >= MAGIC_SIZE && memcmp(bytes, FT_FTOK_MAGIC, MAGIC_SIZE) == 0;
    return status;
}

enum ft_status ft_ftok_from(struct ft_ftok_reader **out, struct ft_source *source, struct ft_error *error) {
    struct ft_ftok_reader *reader;
    enum ft_status status = ft_alloc(&reader, 1, sizeof *reader, error);
    if (status) {
        ft_source_close(source);
        return status;
    }
    reader->source = source;
    reader->payload.max = PAYLOAD_MAX;
    status = read_prefix(reader, error);
    if (status) ft_ftok_close(reader);
    else *out = reader;
    return status;
}

enum ft_status ft_ftok_open(struct ft_ftok_reader **reader, const char *path, struct ft_error *error) {
    struct ft_source *source;
    enum ft_status status = ft_source_open(&source, path, error);
    return status ? status : ft_ftok_from(reader, source, error);
}

void ft_ftok_close(struct ft_ftok_reader *reader) {
    if (!reader) return;
    ft_source_close(reader->source);
    ft_json_release(&reader->json);
    ft_buffer_release(&reader->payload);
    free(reader->ids);
    free(reader->weights);
    free(reader->label);
    free(reader->group);
    free(reader);
}

/* --- a record ------------------------------------------------------------------------------------------- */

/* What is left of a payload. take returns NULL when fewer than `count` bytes are. */
struct cursor {
    const char *at;
    size_t left;
};

static const char *take(struct cursor *cursor, size_t count) {
    if (cursor->left < count) return NULL;
    const char *bytes = cursor->at;
    cursor->at += count;
    cursor->left -= count;
    return bytes;
}

static bool take32(struct cursor *cursor, uint32_t *value) {
    const char *bytes = take(cursor, 4);
    if (bytes) *value = ft_load32(bytes);
    return bytes != NULL;
}

static enum ft_status read_ids(struct ft_ftok_reader *reader, struct cursor *cursor, struct ft_error *error) {
    uint32_t n;
    if (!take32(cursor, &n) || n > cursor->left / 4) return refuse(reader, "shorter than its tokens", error);
    enum ft_status status =
        ft_grow(&reader->ids, &reader->ids_capacity, n, sizeof *reader->ids, FT_FTOK_RECORD_MAX,
                "tokens in a record", error);
    if (!status)
        status = ft_grow(&reader->weights, &reader->weights_capacity, n, sizeof *reader->weights,
                         FT_FTOK_RECORD_MAX, "tokens in a record", error);
    if (status) return status;
    const char *bytes = take(cursor, 4 * (size_t)n);
    for (size_t i = 0; i < n; i++) reader->ids[i] = ft_load32(bytes + 4 * i);
    reader->record.count = n;
    return FT_OK;
}

static enum ft_status read_runs(struct ft_ftok_reader *reader, struct cursor *cursor,
                                struct ft_error *error) {
    uint32_t runs, length;
    size_t filled = 0, count = reader->record.count;
    if (!take32(cursor, &runs)) return refuse(reader, "no loss weights", error);
    for (uint32_t r = 0; r < runs; r++) {
        if (!take32(cursor, &length) || length > count - filled || (length == 0 && r > 0))
            return refuse(reader, "its loss weights do not fit its tokens", error);
        for (uint32_t i = 0; i < length; i++) reader->weights[filled++] = (float)(r & 1);
    }
    return filled == count ? FT_OK : refuse(reader, "its loss weights do not fit its tokens", error);
}

static enum ft_status read_weights(struct ft_ftok_reader *reader, struct cursor *cursor,
                                   struct ft_error *error) {
    size_t count = reader->record.count;
    const char *bytes = take(cursor, 4 * count);
    if (!bytes) return refuse(reader, "its loss weights do not fit its tokens", error);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = ft_load32(bytes + 4 * i);
        memcpy(&reader->weights[i], &bits, sizeof bits);
    }
    return FT_OK;
}

/* *text becomes a copy, or NULL when there is none. */
static enum ft_status read_text(struct ft_ftok_reader *reader, struct cursor *cursor, bool present,
                                char **text, struct ft_error *error) {
    free(*text);
    *text = NULL;
    if (!present) return FT_OK;
    uint32_t size;
    const char *bytes = NULL;
    if (take32(cursor, &size) && size <= FT_FTOK_STRING_MAX) bytes = take(cursor, size);
    if (!bytes || memchr(bytes, 0, size) || !ft_utf8_valid(bytes, size))
        return refuse(reader, "its label or group is not a text", error);
    *text = strndup(bytes, size);
    return *text ? FT_OK : ft_fail(error, FT_NOMEM, "out of memory");
}

static enum ft_status read_payload(struct ft_ftok_reader *reader, struct ft_error *error) {
    struct cursor cursor = {reader->payload.data, reader->payload.size};
    struct ft_ftok_record *record = &reader->record;
    const char *flags = take(&cursor, 1), *source = take(&cursor, FT_SHA256_SIZE);
    if (!source || *flags & ~FLAGS_ALL) return refuse(reader, "not a record of this version", error);
    memcpy(record->source, source, FT_SHA256_SIZE);
    enum ft_status status = read_ids(reader, &cursor, error);
    if (!status) status = (*flags & FLAG_WEIGHTS ? read_weights : read_runs)(reader, &cursor, error);
    if (!status) status = read_text(reader, &cursor, *flags & FLAG_LABEL, &reader->label, error);
    if (!status) status = read_text(reader, &cursor, *flags & FLAG_GROUP, &reader->group, error);
    if (status) return status;
    record->line = 0;
    if (*flags & FLAG_LINE) {
        const char *line = take(&cursor, 8);
        if (!line) return refuse(reader, "its line number is missing", error);
        record->line = ft_load64(line);
    }
    if (cursor.left) return refuse(reader, "bytes behind its end", error);
    record->ids = reader->ids;
    record->weights = reader->weights;
    record->label = reader->label;
    record->group = reader->group;
    const char *problem = ft_ftok_problem(record, reader->header.vocab_size);
    return problem ? refuse(reader, problem, error) : FT_OK;
}

static enum ft_status read_record(struct ft_ftok_reader *reader, size_t length, struct ft_error *error) {
    if (length > PAYLOAD_MAX) return refuse(reader, "longer than a record can be", error);
    enum ft_status status = gather(reader, 8, error);
    if (status) return status;
    uint64_t sum = ft_load64(reader->payload.data);
    ft_buffer_clear(&reader->payload);
    status = gather(reader, length, error);
    if (status) return status;
    if (sum != ft_xxh3(reader->payload.data, length))
        return refuse(reader, "altered (its checksum differs)", error);
    status = read_payload(reader, error);
    if (status) return status;
    reader->number++;
    reader->tokens += reader->record.count;
    return FT_OK;
}

/* --- the trailer ---------------------------------------------------------------------------------------- */

static bool all_zero(const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i]) return false;
    return true;
}

static enum ft_status read_trailer(struct ft_ftok_reader *reader, struct ft_error *error) {
    char sum[FT_SHA256_HEX], stored[FT_SHA256_HEX];
    const char *name = ft_source_name(reader->source);
    enum ft_status status = gather(reader, TRAILER_SIZE - FT_SHA256_SIZE, error);
    if (status) return status;
    ft_source_sha256(reader->source, sum);
    status = gather(reader, FT_SHA256_SIZE, error);
    if (status) return status;
    const char *trailer = reader->payload.data, *data = trailer + 16;
    ft_hex((const unsigned char *)data + FT_SHA256_SIZE, FT_SHA256_SIZE, stored);
    if (ft_load64(trailer) != reader->number || ft_load64(trailer + 8) != reader->tokens ||
        strcmp(sum, stored) != 0)
        return ft_fail(error, FT_FORMAT,
                       "%s: altered: its %llu records are not those it was closed with; make the stream anew",
                       name, (unsigned long long)reader->number);
    if (!all_zero(data, FT_SHA256_SIZE)) ft_hex((const unsigned char *)data, FT_SHA256_SIZE, reader->data);
    ft_source_sha256(reader->source, reader->digest);
    const unsigned char *bytes;
    size_t more;
    status = ft_source_peek(reader->source, 1, &bytes, &more, error);
    if (status) return status;
    if (more)
        return ft_fail(error, FT_FORMAT,
                       "%s: more bytes follow the end of the stream; streams cannot be joined with cat",
                       name);
    reader->ended = true;
    return FT_OK;
}

enum ft_status ft_ftok_next(struct ft_ftok_reader *reader, const struct ft_ftok_record **record,
                            struct ft_error *error) {
    *record = NULL;
    if (reader->ended) return FT_OK;
    ft_buffer_clear(&reader->payload);
    enum ft_status status = gather(reader, 4, error);
    if (status) return status;
    size_t length = ft_load32(reader->payload.data);
    ft_buffer_clear(&reader->payload);
    if (length == 0) return read_trailer(reader, error);
    status = read_record(reader, length, error);
    if (!status) *record = &reader->record;
    return status;
}

const struct ft_ftok_header *ft_ftok_header(const struct ft_ftok_reader *reader) { return &reader->header; }

const struct ft_json *ft_ftok_header_json(const struct ft_ftok_reader *reader) { return &reader->json; }

uint64_t ft_ftok_number(const struct ft_ftok_reader *reader) { return reader->number; }

const char *ft_ftok_digest(const struct ft_ftok_reader *reader) {
    assert(reader->ended);
    return reader->digest;
}

const char *ft_ftok_data(const struct ft_ftok_reader *reader) {
    assert(reader->ended);
    return reader->data[0] ? reader->data : NULL;
}
