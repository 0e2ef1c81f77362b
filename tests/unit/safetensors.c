/* SPDX-License-Identifier: MIT
 * safetensors: the writer's bytes against Hugging Face's, the reader against hostile files. */
#include "../tap/tap.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/hash.h"
#include "ft/safetensors.h"
#include "ft/tree.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ft_error error;

static const uint16_t ones_bf16[3] = {0x3f80, 0x3f80, 0x3f80}, ones_f16[2] = {0x3c00, 0x3c00};
static const float six[6] = {0, 1, 2, 3, 4, 5}, one = 1;

static const struct ft_tensor_out tensors[] = {
    {"c", FT_F16, 1, {2}, ones_f16},
    {"caf\xc3\xa9\"x/\t\x7f", FT_F32, 1, {1}, &one},
    {"a", FT_BF16, 1, {3}, ones_bf16},
    {"s", FT_F32, 0, {0}, &one},
    {"b.w", FT_F32, 2, {2, 3}, NULL},
    {"e", FT_F32, 2, {0, 4}, NULL},
};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static enum ft_status source(void *arg, const struct ft_tensor_out *tensor, size_t index,
                             struct ft_output *output, struct ft_error *e) {
    ++*(unsigned *)arg;
    if (index != 4 || strcmp(tensor->name, "b.w") != 0)
        return ft_fail(e, FT_USAGE, "asked for the wrong tensor");
    for (size_t i = 0; i < 6; i++) /* in pieces */
        if (ft_output_write(output, &six[i], sizeof six[i], e)) return e->status;
    return FT_OK;
}

static enum ft_status short_source(void *arg, const struct ft_tensor_out *tensor, size_t index,
                                   struct ft_output *output, struct ft_error *e) {
    (void)arg, (void)tensor, (void)index;
    return ft_output_write(output, six, 20, e);
}

static void test_write(void) {
    unsigned calls = 0;
    char hex[65] = "", file[65] = "";
    ok(!ft_safetensors_write("w.safetensors", tensors, N_TENSORS, source, &calls, 0, hex, &error) &&
       calls == 1, "written (%s)", error.message);
    /* The SHA-256 of what safetensors.torch.save_file 0.8.0 writes for the same tensors. */
    ok(strcmp(hex, "cc98f9c139f310bb7032129b2c61ba08c6d2d13e1e78a48d6cbc34b261513c9f") == 0,
       "byte for byte what Hugging Face's library writes");
    ok(!ft_sha256_file("w.safetensors", file, NULL, &error) && strcmp(hex, file) == 0,
       "the digest is the file's");
    ok(!ft_safetensors_write("none.safetensors", NULL, 0, NULL, NULL, 0, NULL, &error), "no tensors at all");

    struct ft_tensor_out twice[2] = {tensors[0], tensors[0]},
    reserved = {"__metadata__", FT_F32, 0, {0}, &one};
    ok(ft_safetensors_write("x", twice, 2, NULL, NULL, 0, NULL, &error) == FT_USAGE, "%s", error.message);
    ok(ft_safetensors_write("x", &reserved, 1, NULL, NULL, 0, NULL, &error) == FT_USAGE, "%s", error.message);
    ok(ft_safetensors_write("x", &tensors[4], 1, NULL, NULL, 0, NULL, &error) == FT_USAGE, "%s",
       error.message);
    ok(ft_safetensors_write("x", &tensors[4], 1, short_source, NULL, 0, NULL, &error) == FT_USAGE, "%s",
       error.message);
    ok(!ft_path_exists("x"), "failures leave nothing behind");
    ok(ft_safetensors_write("/dev/full", tensors, N_TENSORS, source, &calls, 0, NULL, &error) == FT_IO, "%s",
       error.message);
}

static void test_read(void) {
    struct ft_safetensors *st = NULL;
    if (!ok(!ft_safetensors_open(&st, "w.safetensors", &error), "opened (%s)", error.message)) return;
    ok(ft_safetensors_count(st) == N_TENSORS && strcmp(ft_safetensors_at(st, 0)->name, "a") == 0,
       "tensors by name");
    const struct ft_tensor *t = ft_safetensors_find(st, "b.w");
    ok(t && t->readable && t->dtype == FT_F32 && t->rank == 2 && t->shape[1] == 3 && t->elements == 6 &&
           memcmp(t->data, six, sizeof six) == 0,
       "a tensor and its data");
    t = ft_safetensors_find(st, "e");
    ok(t && t->bytes == 0 && !t->data, "an empty tensor");
    t = ft_safetensors_find(st, "s");
    ok(t && t->rank == 0 && t->elements == 1 && memcmp(t->data, &one, 4) == 0, "a scalar");
    const char *format = ft_safetensors_metadata(st, "format");
    ok(format && strcmp(format, "pt") == 0 && !ft_safetensors_metadata(st, "x"), "metadata");
    const uint64_t good[] = {2, 3}, bad[] = {3, 2};
    ok(!ft_safetensors_need(st, "b.w", 2, good, &t, &error), "a tensor that is needed");
    ok(ft_safetensors_need(st, "b.w", 2, bad, &t, &error) == FT_FORMAT, "%s", error.message);
    ok(ft_safetensors_need(st, "nope", 2, bad, &t, &error) == FT_FORMAT, "%s", error.message);
    ft_safetensors_close(st);
    ok(!ft_safetensors_open(&st, "none.safetensors", &error) && ft_safetensors_count(st) == 0 &&
           !ft_safetensors_find(st, "a"),
       "a file without tensors");
    ft_safetensors_close(st);
}

/* A file of this header, its length in front (or `length` when not 0), and `data` bytes behind. */
static void put_file(const char *path, const char *header, uint64_t length, size_t data) {
    struct ft_buffer buffer = {0};
    char front[8];
    static const char zeros[4096];
    ft_store64(front, length ? length : strlen(header));
    ft_buffer_append(&buffer, front, 8, NULL);
    ft_buffer_string(&buffer, header, NULL);
    ft_buffer_append(&buffer, zeros, data, NULL);
    if (ft_write_file(path, buffer.data, buffer.size, FT_OUTPUT_NOSYNC, &error)) ok(false, "set-up");
    ft_buffer_release(&buffer);
}

#define ENTRY(type, shape, begin, end) \
    "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void test_hostile(void) {
    static const struct {
        const char *what, *header;
        uint64_t length;
        size_t data;
    } bad[] = {
        {"a huge header", "{}", UINT64_MAX, 0},
        {"a header over the limit", "{}", 100000001, 0},
        {"a cut header", "{}", 3, 0},
        {"an array for a header", "[]", 0, 0},
        {"space before the header", " {}", 0, 0},
        {"a cut JSON", "{\"a\":", 0, 0},
        {"garbage behind the JSON", "{}x", 0, 0},
        {"NUL padding", "{}\1", 0, 0},
        {"bytes behind nothing", "{}", 0, 1},
        {"a tensor that is a number", "{\"a\":1}", 0, 0},
        {"no dtype", "{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 0, 4},
        {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 0, 4},
        {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, 4},
        {"an unknown key", "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":0}}", 0, 4},
        {"an unknown type", "{\"a\":" ENTRY("F33", "[]", "0", "4") "}", 0, 4},
        {"a negative dimension", "{\"a\":" ENTRY("F32", "[-1]", "0", "4") "}", 0, 4},
        {"a fractional dimension", "{\"a\":" ENTRY("F32", "[1.0]", "0", "4") "}", 0, 4},
        {"too many dimensions", "{\"a\":" ENTRY("F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 0, 4},
        {"an overflowing shape", "{\"a\":" ENTRY("F32", "[4294967296,4294967296]", "0", "0") "}", 0, 0},
        {"an overflowing size", "{\"a\":" ENTRY("F32", "[4611686018427387904]", "0", "0") "}", 0, 0},
        {"a size that is not the shape's", "{\"a\":" ENTRY("F32", "[2]", "0", "4") "}", 0, 4},
        {"offsets in the wrong order", "{\"a\":" ENTRY("F32", "[1]", "4", "0") "}", 0, 4},
        {"three offsets", "{\"a\":" ENTRY("F32", "[1]", "0,4", "4") "}", 0, 4},
        {"one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0]}}", 0, 4},
        {"an offset above 2^53", "{\"a\":" ENTRY("F32", "[1]", "9007199254740993", "9007199254740997") "}", 0, 4},
        {"an offset above 2^64", "{\"a\":" ENTRY("F32", "[1]", "18446744073709551616", "18446744073709551620") "}", 0, 4},
        {"data that are cut", "{\"a\":" ENTRY("F32", "[2]", "0", "8") "}", 0, 7},
        {"data that are too long", "{\"a\":" ENTRY("F32", "[2]", "0", "8") "}", 0, 9},
        {"a hole at the front", "{\"a\":" ENTRY("F32", "[1]", "4", "8") "}", 0, 8},
        {"a hole between", "{\"a\":" ENTRY("F32", "[1]", "0", "4") ",\"b\":" ENTRY("F32", "[1]", "8", "12") "}", 0, 12},
        {"an overlap", "{\"a\":" ENTRY("F32", "[2]", "0", "8") ",\"b\":" ENTRY("F32", "[1]", "4", "8") "}", 0, 8},
        {"the same bytes twice", "{\"a\":" ENTRY("F32", "[1]", "0", "4") ",\"b\":" ENTRY("F32", "[1]", "0", "4") "}", 0, 4},
        {"a name twice", "{\"a\":" ENTRY("F32", "[1]", "0", "4") ",\"a\":" ENTRY("F32", "[1]", "4", "8") "}", 0, 8},
        {"metadata that are no strings", "{\"__metadata__\":{\"a\":1}}", 0, 0},
        {"metadata that are no object", "{\"__metadata__\":[]}", 0, 0},
        {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, 0},
        {"a name that is not UTF-8", "{\"\xff\":" ENTRY("F32", "[1]", "0", "4") "}", 0, 4},
        {"half a byte", "{\"a\":" ENTRY("F4", "[1]", "0", "0") "}", 0, 0},
    };
    struct ft_safetensors *st = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_file("h.safetensors", bad[i].header, bad[i].length, bad[i].data);
        ok(ft_safetensors_open(&st, "h.safetensors", &error) == FT_FORMAT &&
           strstr(error.message, "h.safetensors"), "%s: %s", bad[i].what, error.message);
    }
    ft_write_file("h.safetensors", "1234567", 7, 0, NULL);
    ok(ft_safetensors_open(&st, "h.safetensors", &error) == FT_FORMAT, "seven bytes: %s", error.message);
    ft_write_file("h.safetensors", "", 0, 0, NULL);
    ok(ft_safetensors_open(&st, "h.safetensors", &error) == FT_FORMAT, "an empty file: %s", error.message);
    ok(ft_safetensors_open(&st, "absent.safetensors", &error) == FT_IO, "%s", error.message);
    ok(ft_safetensors_open(&st, ".", &error) == FT_IO, "%s", error.message);
}

static void test_odd_but_legal(void) {
    struct ft_safetensors *st = NULL;
    const struct ft_tensor *t;
    put_file("o.safetensors",
             "{\"b\":" ENTRY("F32", "[1]", "5", "9") ",\"a\":" ENTRY("BOOL", "[5]", "0", "5") ",\"z\":" ENTRY(
                 "F64", "[0,4611686018427387904]", "5", "5") "}   ",
             0, 9);
    ok(!ft_safetensors_open(&st, "o.safetensors", &error) && (t = ft_safetensors_find(st, "b")) &&
       t->bytes == 4, "unpadded header, unaligned data, any order, empty tensors (%s)", error.message);
    const uint64_t five[] = {5};
    ok(ft_safetensors_need(st, "a", 1, five, &t, &error) == FT_UNSUPPORTED, "%s", error.message);
    ft_safetensors_close(st);
}

static void put_text(const char *path, const char *text) {
    if (ft_write_file(path, text, strlen(text), FT_OUTPUT_NOSYNC, &error)) ok(false, "set-up");
}

static void test_shards(void) {
    static const char *const index = "m/model.safetensors.index.json";
    struct ft_safetensors *st = NULL;
    ft_directory_make("m", NULL);
    put_file("m/one.safetensors", "{\"a\":" ENTRY("F32", "[1]", "0", "4") ",\"c\":" ENTRY("F32", "[1]", "4",
                                                                                          "8") "}", 0, 8);
    put_file("m/two.safetensors", "{\"b\":" ENTRY("F32", "[1]", "0", "4") "}", 0, 4);
    put_text(index, "{\"metadata\":{\"total_size\":12},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":"
                    "\"two.safetensors\",\"c\":\"one.safetensors\"}}");
    ok(!ft_safetensors_open(&st, "m", &error) && ft_safetensors_count(st) == 3 &&
           strcmp(ft_safetensors_at(st, 1)->file, "m/two.safetensors") == 0,
       "a sharded model (%s)", error.message);
    ft_safetensors_close(st);
    static const char *const bad[] = {
        "{}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":\"../m/one.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"..\"}}",
        "{\"weight_map\":{\"a\":\"\"}}",
        "{\"weight_map\":{\"a\":\"one.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"one.safetensors\",\"d\":\"one.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\",\"c\":\"one.safetensors\"}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(index, bad[i]);
        ok(ft_safetensors_open(&st, "m", &error) == FT_FORMAT, "%s", error.message);
    }
    put_text(index, "{\"weight_map\":{\"a\":\"three.safetensors\"}}");
    ok(ft_safetensors_open(&st, "m", &error) == FT_IO, "%s", error.message);
    put_file("m/two.safetensors", "{\"a\":" ENTRY("F32", "[1]", "0", "4") "}", 0, 4);
    put_text(index,
             "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\",\"c\":\"one.safetensors\"}}");
    ok(ft_safetensors_open(&st, "m", &error) == FT_FORMAT, "%s", error.message);
}

static void test_real(const char *shared) {
    struct ft_buffer path = {0};
    if (shared) ft_path_join(&path, shared, "models/stories260K", NULL);
    struct ft_safetensors *st = NULL;
    if (!shared || !ft_path_is_directory(path.data)) ok(true, "stories260K # SKIP no shared folder here");
    else ok(!ft_safetensors_open(&st, path.data, &error) && ft_safetensors_count(st) > 10,
            "stories260K opens");
    ft_safetensors_close(st);
    ft_buffer_release(&path);
}

int main(void) {
    char directory[] = "/tmp/ft-safetensors-XXXXXX";
    const char *named = getenv("FT_SHARED");
    char *shared = realpath(named ? named : "../shared", NULL);
    if (!mkdtemp(directory) || chdir(directory) != 0) return 1;
    test_write();
    test_read();
    test_hostile();
    test_odd_but_legal();
    test_shards();
    test_real(shared);
    free(shared);
    if (chdir("/") != 0 || ft_tree_remove(directory) != 0) return 1;
    return tap_done();
}
