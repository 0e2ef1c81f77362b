/* SPDX-License-Identifier: MIT */
#include "ftok_layout.h"

#include "ft/utf8.h"

#include <stdlib.h>
#include <string.h>

struct ft_ftok_writer {
    struct ft_output *output;
    uint32_t vocab_size;
    uint64_t records, tokens;
    struct ft_sha256 hash;
    struct ft_buffer payload;
};

static enum ft_status put_bytes(struct ft_ftok_writer *writer, const void *bytes, size_t count,
                                struct ft_error *error) {
    ft_sha256_update(&writer->hash, bytes, count);
    return ft_output_write(writer->output, bytes, count, error);
}

static enum ft_status append32(struct ft_buffer *buffer, uint32_t value, struct ft_error *error) {
    unsigned char bytes[4];
    ft_store32(bytes, value);
    return ft_buffer_append(buffer, bytes, sizeof bytes, error);
}

static enum ft_status append64(struct ft_buffer *buffer, uint64_t value, struct ft_error *error) {
    unsigned char bytes[8];
    ft_store64(bytes, value);
    return ft_buffer_append(buffer, bytes, sizeof bytes, error);
}

/* --- the prefix ----------------------------------------------------------------------------------------- */

static enum ft_status check_digest(const char *digest, const char *what, struct ft_error *error) {
    unsigned char bytes[FT_SHA256_SIZE];
    if (!digest || ft_unhex(digest, bytes, sizeof bytes)) return FT_OK;
    return ft_fail(error, FT_USAGE, "token stream: the digest of the %s is not 64 hexadecimal digits", what);
}

static enum ft_status print_header(struct ft_buffer *text, const struct ft_ftok_header *header,
                                   struct ft_error *error) {
    struct ft_json json;
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    if (header->data) ft_json_set_string(&json, json.root, "data_sha256", header->data);
    if (header->metadata) ft_json_set_copy(&json, json.root, "metadata", header->metadata);
    else ft_json_set_object(&json, json.root, "metadata");
    if (header->template) ft_json_set_string(&json, json.root, "template_sha256", header->template);
    ft_json_set_string(&json, json.root, "tokenizer_sha256", header->tokenizer);
    ft_json_set_u64(&json, json.root, "vocab_size", header->vocab_size);
    status = ft_json_print(&json, json.root, FT_JSON_SORTED, text, error);
    ft_json_release(&json);
    return status;
}

static enum ft_status put_prefix(struct ft_ftok_writer *writer, const struct ft_ftok_header *header,
                                 struct ft_error *error) {
    struct ft_buffer text = {.max = FT_FTOK_HEADER_MAX}, prefix = {0};
    enum ft_status status = print_header(&text, header, error);
    if (!status) status = ft_buffer_append(&prefix, FT_FTOK_MAGIC, MAGIC_SIZE, error);
    if (!status) status = append32(&prefix, VERSION, error);
    if (!status) status = append32(&prefix, (uint32_t)text.size, error);
    if (!status) status = ft_buffer_append(&prefix, text.data, text.size, error);
    if (!status) status = append64(&prefix, ft_xxh3(prefix.data, prefix.size), error);
    if (!status) status = put_bytes(writer, prefix.data, prefix.size, error);
    ft_buffer_release(&text);
    ft_buffer_release(&prefix);
    return status;
}

enum ft_status ft_ftok_writer_new(struct ft_ftok_writer **out, struct ft_output *output,
                                  const struct ft_ftok_header *header, struct ft_error *error) {
    if (!header->tokenizer || !header->vocab_size)
        return ft_fail(error, FT_USAGE, "a token stream needs its tokenizer's digest and vocabulary size");
    enum ft_status status = check_digest(header->tokenizer, "tokenizer", error);
    if (!status) status = check_digest(header->template, "template", error);
    if (!status) status = check_digest(header->data, "data", error);
    struct ft_ftok_writer *writer;
    if (!status) status = ft_alloc(&writer, 1, sizeof *writer, error);
    if (status) return status;
    writer->output = output;
    writer->vocab_size = header->vocab_size;
    writer->payload.max = PAYLOAD_MAX;
    ft_sha256_init(&writer->hash);
    status = put_prefix(writer, header, error);
    if (status) ft_ftok_writer_free(writer);
    else *out = writer;
    return status;
}

/* --- a record ------------------------------------------------------------------------------------------- */

static bool all_binary(const float *weights, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (weights[i] != 0 && weights[i] != 1) return false;
    return true;
}

static enum ft_status append_runs(struct ft_buffer *payload, const float *weights, size_t count,
                                  struct ft_error *error) {
    size_t at = payload->size;
    uint32_t runs = 0;
    float value = 0;
    enum ft_status status = append32(payload, 0, error);
    for (size_t i = 0; i < count && !status; value = 1 - value, runs++) {
        size_t first = i;
        while (i < count && weights[i] == value) i++;
        status = append32(payload, (uint32_t)(i - first), error);
    }
    if (!status) ft_store32(payload->data + at, runs);
    return status;
}

static enum ft_status append_weights(struct ft_buffer *payload, const float *weights, size_t count,
                                     struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < count && !status; i++) {
        uint32_t bits;
        memcpy(&bits, &weights[i], sizeof bits);
        status = append32(payload, weights[i] == 0 ? 0 : bits, error); /* -0 is 0 */
    }
    return status;
}

static enum ft_status append_text(struct ft_buffer *payload, const char *text, struct ft_error *error) {
    if (!text) return FT_OK;
    size_t size = strlen(text);
    if (size > FT_FTOK_STRING_MAX || !ft_utf8_valid(text, size))
        return ft_fail(error, FT_USAGE, "a label or group is longer than %zu bytes or not UTF-8",
                       FT_FTOK_STRING_MAX);
    enum ft_status status = append32(payload, (uint32_t)size, error);
    return status ? status : ft_buffer_append(payload, text, size, error);
}

static enum ft_status build_payload(struct ft_buffer *payload, const struct ft_ftok_record *record,
                                    struct ft_error *error) {
    bool binary = all_binary(record->weights, record->count);
    unsigned char flags = (unsigned char)((record->label ? FLAG_LABEL : 0) | (record->group ? FLAG_GROUP : 0) |
                                          (record->line ? FLAG_LINE : 0) | (binary ? 0 : FLAG_WEIGHTS));
    ft_buffer_clear(payload);
    enum ft_status status = ft_buffer_append(payload, &flags, 1, error);
    if (!status) status = ft_buffer_append(payload, record->source, FT_SHA256_SIZE, error);
    if (!status) status = append32(payload, (uint32_t)record->count, error);
    for (size_t i = 0; i < record->count && !status; i++) status = append32(payload, record->ids[i], error);
    if (!status)
        status = (binary ? append_runs : append_weights)(payload, record->weights, record->count, error);
    if (!status) status = append_text(payload, record->label, error);
    if (!status) status = append_text(payload, record->group, error);
    if (!status && record->line) status = append64(payload, record->line, error);
    return status;
}

enum ft_status ft_ftok_put(struct ft_ftok_writer *writer, const struct ft_ftok_record *record,
                           struct ft_error *error) {
    const char *problem = ft_ftok_problem(record, writer->vocab_size);
    if (problem)
        return ft_fail(error, FT_USAGE, "record %llu cannot be written: %s",
                       (unsigned long long)writer->records + 1, problem);
    struct ft_buffer *payload = &writer->payload;
    enum ft_status status = build_payload(payload, record, error);
    unsigned char front[12];
    if (!status) {
        ft_store32(front, (uint32_t)payload->size);
        ft_store64(front + 4, ft_xxh3(payload->data, payload->size));
        status = put_bytes(writer, front, sizeof front, error);
    }
    if (!status) status = put_bytes(writer, payload->data, payload->size, error);
    if (status) return status;
    writer->records++;
    writer->tokens += record->count;
    return FT_OK;
}

enum ft_status ft_ftok_finish(struct ft_ftok_writer *writer, const char *data, struct ft_error *error) {
    unsigned char trailer[4 + TRAILER_SIZE] = {0};
    unsigned char *sum = trailer + sizeof trailer - FT_SHA256_SIZE;
    ft_store64(trailer + 4, writer->records);
    ft_store64(trailer + 12, writer->tokens);
    enum ft_status status = check_digest(data, "data", error);
    if (status) return status;
    if (data) ft_unhex(data, trailer + 20, FT_SHA256_SIZE);
    ft_sha256_update(&writer->hash, trailer, (size_t)(sum - trailer));
    ft_sha256_final(&writer->hash, sum);
    return ft_output_write(writer->output, trailer, sizeof trailer, error);
}

void ft_ftok_writer_free(struct ft_ftok_writer *writer) {
    if (!writer) return;
    ft_buffer_release(&writer->payload);
    free(writer);
}
