/* SPDX-License-Identifier: MIT
 * Token streams. An input that begins with 'P' is a payload, which gets a prefix, right checksums and a
 * trailer, because no fuzzer guesses XXH3; any other is a stream as it is. What is read is written again to
 * the same records. */
#include "fuzz.h"

#include "ft/ftok.h"
#include "ft/memory.h"

#include <string.h>

static void add32(struct ft_buffer *buffer, uint32_t value) {
    char bytes[4];
    ft_store32(bytes, value);
    ft_buffer_append(buffer, bytes, 4, NULL);
}

static void add64(struct ft_buffer *buffer, uint64_t value) {
    add32(buffer, (uint32_t)value);
    add32(buffer, (uint32_t)(value >> 32));
}

static void wrap(struct ft_buffer *stream, const uint8_t *payload, size_t size) {
    static const char header[] =
        "{\"metadata\":{},\"tokenizer_sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\","
        "\"vocab_size\":1000}";
    unsigned char zeros[32] = {0}, sum[32];
    ft_buffer_append(stream, "\x89" "FTOK\r\n\x1a", 8, NULL);
    add32(stream, 1);
    add32(stream, sizeof header - 1);
    ft_buffer_string(stream, header, NULL);
    add64(stream, ft_xxh3(stream->data, stream->size));
    add32(stream, (uint32_t)size);
    add64(stream, ft_xxh3(payload, size));
    ft_buffer_append(stream, payload, size, NULL);
    add32(stream, 0);
    add64(stream, 1);
    add64(stream, size >= 37 ? ft_load32(payload + 33) : 0);
    ft_buffer_append(stream, zeros, 32, NULL);
    ft_sha256(stream->data, stream->size, sum);
    ft_buffer_append(stream, sum, 32, NULL);
}

static void write_again(const struct ft_ftok_set *set) {
    struct ft_error error;
    struct ft_output *output;
    struct ft_ftok_writer *writer;
    const struct ft_ftok_header header = {.vocab_size = set->vocab_size, .tokenizer = set->tokenizer};
    MUST(!ft_output_open(&output, "/dev/null", 0, &error));
    MUST(!ft_ftok_writer_new(&writer, output, &header, &error));
    for (size_t r = 0; r < set->rows; r++) {
        struct ft_ftok_record record = {set->ids + set->start[r], set->weights + set->start[r],
                                        set->start[r + 1] - set->start[r], {0}, set->label[r], set->group[r],
                                        set->line[r]};
        memcpy(record.source, set->source[r], sizeof record.source);
        MUST(!ft_ftok_put(writer, &record, &error));
    }
    ft_ftok_writer_free(writer);
    ft_output_abort(output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_buffer stream = {0};
    struct ft_ftok_set set;
    if (size && data[0] == 'P') wrap(&stream, data + 1, size - 1);
    else ft_buffer_append(&stream, data, size, NULL);
    struct fuzz_file file = fuzz_open(stream.size ? stream.data : "", stream.size);
    if (ft_ftok_load(&set, file.path, 1 << 20, &error)) {
        MUST(error.message[0]);
    } else {
        write_again(&set);
        ft_ftok_set_release(&set);
    }
    fuzz_close(&file);
    ft_buffer_release(&stream);
    return 0;
}
