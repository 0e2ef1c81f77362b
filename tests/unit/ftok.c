/* SPDX-License-Identifier: MIT
 * Token streams: what is written is what is read, and any cut or altered byte is noticed. */
#include "../tap/tap.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/ftok.h"
#include "ft/tree.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ft_error error;

#define TOKENIZER "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DATA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const uint32_t ids[] = {1, 5, 9, 31999, 0, 7};
static const float binary[] = {0, 0, 1, 1, 0, 1}, graded[] = {0, 0.5f, 1, 2, 0, 0.25f}, none[] = {0, 0, 0, 0, 0, 0};

static const struct ft_ftok_record records[] = {
    {ids, binary, 6, {1, 2, 3}, "cancel_order", NULL, 1},
    {ids, graded, 6, {4}, NULL, "caf\xc3\xa9", 2},
    {ids, none, 1, {5}, "", "g", 0},
    {ids, binary, 3, {6}, NULL, NULL, UINT64_MAX},
};
enum { N_RECORDS = sizeof records / sizeof *records };

static enum ft_status write_stream(const char *path, const struct ft_ftok_record *list, size_t count,
                                   const char *data) {
    struct ft_json metadata;
    struct ft_output *output;
    struct ft_ftok_writer *writer = NULL;
    enum ft_status status = ft_json_new(&metadata, FT_JSON_OBJECT, &error);
    ft_json_set_string(&metadata, metadata.root, "loss", "completion");
    ft_json_set_u64(&metadata, metadata.root, "max_tokens", 512);
    struct ft_ftok_header header = {.vocab_size = 32000, .tokenizer = TOKENIZER, .metadata = metadata.root};
    if (!status) status = ft_output_open(&output, path, 0, &error);
    if (status) return status;
    status = ft_ftok_writer_new(&writer, output, &header, &error);
    for (size_t i = 0; i < count && !status; i++) status = ft_ftok_put(writer, &list[i], &error);
    if (!status) status = ft_ftok_finish(writer, data, &error);
    ft_ftok_writer_free(writer);
    ft_json_release(&metadata);
    if (!status) return ft_output_commit(output, &error);
    ft_output_abort(output);
    return status;
}

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static bool same(const struct ft_ftok_record *a, const struct ft_ftok_record *b) {
    return a->count == b->count && memcmp(a->ids, b->ids, a->count * 4) == 0 &&
           memcmp(a->weights, b->weights, a->count * 4) == 0 && memcmp(a->source, b->source, 32) == 0 &&
           same_text(a->label, b->label) && same_text(a->group, b->group) && a->line == b->line;
}

static void test_round_trip(void) {
    char hex[65] = "";
    ok(!write_stream("s.ftok", records, N_RECORDS, DATA), "written (%s)", error.message);
    ft_sha256_file("s.ftok", hex, NULL, &error);
    ok(strcmp(hex, "161a32e081dba2eb917e835c7f5a8a901f6094bd9d2f6256875e747be72d204a") == 0,
       "the bytes of a stream never change: %s", hex);

    struct ft_ftok_reader *reader = NULL;
    if (!ok(!ft_ftok_open(&reader, "s.ftok", &error), "opened")) return;
    const struct ft_ftok_header *header = ft_ftok_header(reader);
    uint64_t max_tokens = 0;
    ok(header->vocab_size == 32000 && strcmp(header->tokenizer, TOKENIZER) == 0 && !header->template &&
       !header->data &&
           !ft_json_get_u64(ft_ftok_header_json(reader), header->metadata, "max_tokens", FT_JSON_REQUIRED, 0,
                            9999, &max_tokens, &error) &&
           max_tokens == 512,
       "the header reads back");
    const struct ft_ftok_record *record;
    size_t good = 0;
    while (!ft_ftok_next(reader, &record, &error) && record) {
        good += good < N_RECORDS && same(record, &records[good]);
        if (ft_ftok_number(reader) != good) break;
    }
    ok(good == N_RECORDS && !record, "the records read back");
    ok(strcmp(ft_ftok_digest(reader), hex) == 0 && same_text(ft_ftok_data(reader), DATA),
       "digests of stream and data");
    ok(!ft_ftok_next(reader, &record, &error) && !record, "the end stays the end");
    ft_ftok_close(reader);
}

static void test_load(void) {
    struct ft_ftok_set set;
    if (!ok(!ft_ftok_load(&set, "s.ftok", 0, &error), "loaded")) return;
    ok(set.rows == N_RECORDS && set.start[N_RECORDS] == 16 && set.longest == 6 && set.supervised == 8,
       "its sums");
    bool good = true;
    for (size_t i = 0; i < set.rows; i++) {
        struct ft_ftok_record row = {set.ids + set.start[i], set.weights + set.start[i], set.start[i + 1] - set.start[i],
                                     {0}, set.label[i], set.group[i], set.line[i]};
        memcpy(row.source, set.source[i], 32);
        good = good && same(&row, &records[i]);
    }
    ok(good && strcmp(set.data, DATA) == 0 && set.template[0] == '\0' && set.vocab_size == 32000, "its rows");
    ft_ftok_set_release(&set);
    ok(ft_ftok_load(&set, "s.ftok", 15, &error) == FT_LIMIT, "%s", error.message);
    ok(!write_stream("empty.ftok", NULL, 0, NULL) && !ft_ftok_load(&set, "empty.ftok", 0, &error) &&
       set.rows == 0 &&
           set.data[0] == '\0',
       "a stream without records");
    ft_ftok_set_release(&set);
}

static void test_pipe(void) {
    ok(mkfifo("pipe", 0600) == 0, "a pipe");
    fflush(stdout); /* ThreadSanitizer's _exit would print it a second time */
    pid_t child = fork();
    if (child == 0) _exit(write_stream("pipe", records, N_RECORDS, NULL) ? 1 : 0);
    struct ft_ftok_set set;
    ok(!ft_ftok_load(&set, "pipe", 0, &error) && set.rows == N_RECORDS, "through a pipe");
    ft_ftok_set_release(&set);
    waitpid(child, NULL, 0);
    unlink("pipe");
}

static void test_long_record(void) {
    enum { N = 200000 };
    uint32_t *many = malloc(N * sizeof *many);
    float *weights = malloc(N * sizeof *weights);
    for (uint32_t i = 0; i < N; i++) many[i] = i % 32000, weights[i] = (float)(i % 3) * 0.5f;
    struct ft_ftok_record list[] = {{many, weights, N, {0}, NULL, NULL, 1}, {many, weights, 5, {0}, NULL, NULL, 2}};
    struct ft_ftok_set set;
    ok(!write_stream("long.ftok", list, 2, NULL) && !ft_ftok_load(&set, "long.ftok", 0, &error) &&
       set.longest == N &&
           memcmp(set.ids, many, N * sizeof *many) == 0 && memcmp(set.weights, weights,
                                                                  N * sizeof *weights) == 0,
       "a record longer than every buffer");
    ft_ftok_set_release(&set);
    free(many);
    free(weights);
}

static void test_writer_refuses(void) {
    const float first[] = {1, 1}, negative[] = {0, -1}, nan[] = {0, (float)NAN}, inf[] = {0, (float)INFINITY};
    const uint32_t large[] = {1, 32000};
    const struct ft_ftok_record bad[] = {
        {ids, binary, 0, {0}, NULL, NULL, 0},     {ids, first, 2, {0}, NULL, NULL, 0},
        {ids, negative, 2, {0}, NULL, NULL, 0},   {ids, nan, 2, {0}, NULL, NULL, 0},
        {ids, inf, 2, {0}, NULL, NULL, 0},        {large, binary, 2, {0}, NULL, NULL, 0},
        {ids, binary, 2, {0}, "\xff", NULL, 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(write_stream("x.ftok", &bad[i], 1, NULL) == FT_USAGE, "not written: %s", error.message);
    ok(write_stream("x.ftok", records, 1, "xyz") == FT_USAGE, "not written: %s", error.message);
    ok(!ft_path_exists("x.ftok"), "and nothing is left");
    ok(write_stream("/dev/full", records, N_RECORDS, NULL) == FT_IO, "%s", error.message);
}

static char *slurp(const char *path, size_t *size) {
    struct ft_buffer buffer = {0};
    if (ft_read_all(&buffer, path, 1 << 20, &error)) return NULL;
    *size = buffer.size;
    return buffer.data;
}

/* What loading bytes[0..size) as a file gives. */
static enum ft_status load_bytes(const char *bytes, size_t size) {
    struct ft_ftok_set set;
    if (ft_write_file("v.ftok", bytes, size, FT_OUTPUT_NOSYNC, &error)) return FT_OK;
    enum ft_status status = ft_ftok_load(&set, "v.ftok", 0, &error);
    if (!status) ft_ftok_set_release(&set);
    return status;
}

static void test_damage(void) {
    size_t size = 0, missed = 0;
    char *bytes = slurp("s.ftok", &size);
    for (size_t i = 0; i < size; i++) missed += load_bytes(bytes, i) != FT_FORMAT;
    ok(missed == 0, "every cut is noticed (%zu lengths)", size);
    missed = 0;
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 1;
        enum ft_status status = load_bytes(bytes, size);
        missed += status != FT_FORMAT && status != FT_UNSUPPORTED && status != FT_LIMIT;
        bytes[i] ^= 1;
    }
    ok(missed == 0, "every altered byte is noticed");
    ok(load_bytes(bytes, size - 1) == FT_FORMAT, "%s", error.message);
    ok(load_bytes("{\"messages\":[]}\n", 16) == FT_FORMAT, "%s", error.message);
    char *twice = malloc(2 * size);
    memcpy(twice, bytes, size);
    memcpy(twice + size, bytes, size);
    ok(load_bytes(twice, 2 * size) == FT_FORMAT, "%s", error.message);
    free(twice);
    bytes[8] = 2;
    ok(load_bytes(bytes, size) == FT_UNSUPPORTED, "%s", error.message);
    free(bytes);
}

/* --- hostile streams: right checksums, wrong contents --------------------------------------------------- */

static void add32(struct ft_buffer *buffer, uint32_t value) {
    char bytes[4];
    ft_store32(bytes, value);
    ft_buffer_append(buffer, bytes, 4, NULL);
}

static void add64(struct ft_buffer *buffer, uint64_t value) {
    add32(buffer, (uint32_t)value);
    add32(buffer, (uint32_t)(value >> 32));
}

static enum ft_status load_crafted(const char *header, const void *payload, size_t size, uint32_t length) {
    struct ft_buffer stream = {0};
    ft_buffer_append(&stream, "\x89" "FTOK\r\n\x1a", 8, NULL);
    add32(&stream, 1);
    add32(&stream, (uint32_t)strlen(header));
    ft_buffer_string(&stream, header, NULL);
    add64(&stream, ft_xxh3(stream.data, stream.size));
    if (payload) {
        add32(&stream, length ? length : (uint32_t)size);
        add64(&stream, ft_xxh3(payload, size));
        ft_buffer_append(&stream, payload, size, NULL);
    }
    unsigned char sum[32] = {0};
    add32(&stream, 0);
    add64(&stream, payload != NULL);
    add64(&stream, 1);
    ft_buffer_append(&stream, sum, 32, NULL);
    ft_sha256(stream.data, stream.size, sum);
    ft_buffer_append(&stream, sum, 32, NULL);
    enum ft_status status = load_bytes(stream.data, stream.size);
    ft_buffer_release(&stream);
    return status;
}

#define HEADER "{\"metadata\":{},\"tokenizer_sha256\":\"" TOKENIZER "\",\"vocab_size\":10}"
#define SOURCE "ssssssssssssssssssssssssssssssss"

static void test_hostile(void) {
    static const char *const headers[] = {
        "", "[]", "{}", "{\"metadata\":{},\"tokenizer_sha256\":\"" TOKENIZER "\"}",
        "{\"metadata\":[],\"tokenizer_sha256\":\"" TOKENIZER "\",\"vocab_size\":10}",
        "{\"metadata\":{},\"tokenizer_sha256\":\"abc\",\"vocab_size\":10}",
        "{\"metadata\":{},\"tokenizer_sha256\":\"" TOKENIZER "\",\"vocab_size\":0}",
        "{\"metadata\":{},\"tokenizer_sha256\":\"" TOKENIZER "\",\"vocab_size\":4294967296}",
        "{\"metadata\":{},\"tokenizer_sha256\":\"" TOKENIZER "\",\"vocab_size\":10,\"more\":1}",
        "{\"data_sha256\":\"\",\"metadata\":{},\"tokenizer_sha256\":\"" TOKENIZER "\",\"vocab_size\":10}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        ok(load_crafted(headers[i], NULL, 0, 0) == FT_FORMAT, "%s", error.message);

#define P(text) text, sizeof text - 1
    static const struct {
        const char *what, *bytes;
        size_t size;
    } bad[] = {
        {"an unknown flag", P("\x10" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0")},
        {"only flags", P("\0")},
        {"no tokens", P("\0" SOURCE "\0\0\0\0" "\0\0\0\0")},
        {"more tokens than bytes", P("\0" SOURCE "\xff\xff\xff\xff" "\1\0\0\0")},
        {"a token beyond the vocabulary", P("\0" SOURCE "\1\0\0\0" "\12\0\0\0" "\1\0\0\0" "\1\0\0\0")},
        {"no runs", P("\0" SOURCE "\1\0\0\0" "\1\0\0\0")},
        {"too few runs", P("\0" SOURCE "\1\0\0\0" "\1\0\0\0" "\0\0\0\0")},
        {"a run that is too long", P("\0" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\2\0\0\0")},
        {"endless empty runs", P("\0" SOURCE "\1\0\0\0" "\1\0\0\0" "\xff\xff\xff\xff" "\0\0\0\0" "\0\0\0\0")},
        {"a weight on the first token", P("\0" SOURCE "\1\0\0\0" "\1\0\0\0" "\2\0\0\0" "\0\0\0\0" "\1\0\0\0")},
        {"a cut weight", P("\x08" SOURCE "\1\0\0\0" "\1\0\0\0" "\0\0")},
        {"a NaN weight", P("\x08" SOURCE "\2\0\0\0" "\1\0\0\0\1\0\0\0" "\0\0\0\0" "\0\0\xc0\x7f")},
        {"a label longer than the record", P("\1" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\xff\0\0\0" "a")},
        {"a label that is not UTF-8", P("\1" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\xff")},
        {"a label with NUL", P("\1" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\0")},
        {"half a line number", P("\4" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0")},
        {"bytes behind the end", P("\0" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\0")},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(load_crafted(HEADER, bad[i].bytes, bad[i].size, 0) == FT_FORMAT, "%s: %s", bad[i].what,
           error.message);
    static const char good[] = "\0" SOURCE "\1\0\0\0" "\1\0\0\0" "\1\0\0\0" "\1\0\0";
    ok(load_crafted(HEADER, good, sizeof good, 0) == FT_OK, "the same without a fault is read");
    ok(load_crafted(HEADER, good, sizeof good, UINT32_MAX) == FT_FORMAT, "a huge length: %s", error.message);
    ok(load_crafted(HEADER, good, sizeof good, 1 << 24) == FT_FORMAT, "a length beyond the end: %s",
       error.message);
#undef P
}

static void test_detect(void) {
    struct ft_source *source;
    struct ft_ftok_reader *reader;
    struct ft_lines *lines;
    bool is = false;
    ok(!ft_source_open(&source, "s.ftok", &error) && !ft_ftok_detect(source, &is, &error) && is &&
           !ft_ftok_from(&reader, source, &error),
       "a stream is recognised, then read");
    ft_ftok_close(reader);
    ft_write_file("t.jsonl", "{}\n", 3, 0, NULL);
    const char *line = NULL;
    size_t size = 0;
    ok(!ft_source_open(&source, "t.jsonl", &error) && !ft_ftok_detect(source, &is, &error) && !is &&
           !ft_lines_from(&lines, source, 0, &error) && !ft_lines_next(lines, &line, &size,
                                                                       &error) && size == 2,
       "lines are told apart, then read");
    ft_lines_close(lines);
}

int main(void) {
    char directory[] = "/tmp/ft-ftok-XXXXXX";
    if (!mkdtemp(directory) || chdir(directory) != 0) return 1;
    test_round_trip();
    test_load();
    fflush(stdout);
    test_pipe();
    test_long_record();
    test_writer_refuses();
    test_damage();
    test_hostile();
    test_detect();
    if (chdir("/") != 0 || ft_tree_remove(directory) != 0) return 1;
    return tap_done();
}
