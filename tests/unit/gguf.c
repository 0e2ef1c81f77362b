/* SPDX-License-Identifier: MIT
 * GGUF: blocks against the gguf package's (tests/oracle/gguf_blocks.py), what is written read back. Hostile
 * files are in tests/cli/gguf.t. */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/dtype.h"
#include "ft/file.h"
#include "ft/gguf.h"
#include "ft/hash.h"
#include "ft/tree.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ft_error error;

/* --- blocks --------------------------------------------------------------------------------------------- */

static unsigned hex_digit(char c) { return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10); }

static size_t read_bytes(const char *hex, unsigned char *out) {
    size_t n = 0;
    for (; hex[0] && hex[1]; hex += 2) out[n++] = (unsigned char)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
    return n;
}

static size_t read_floats(const char *hex, float *out) {
    size_t n = 0;
    for (; strlen(hex) >= 8; hex += 8) {
        uint32_t bits = 0;
        for (int i = 0; i < 8; i++) bits = bits << 4 | hex_digit(hex[i]);
        out[n++] = ft_from_bits(bits);
    }
    return n;
}

static int find_type(const char *name) {
    for (uint32_t t = 0; t < 64; t++)
        if (ft_ggml_layout(t) && strcmp(ft_ggml_layout(t)->name, name) == 0) return (int)t;
    return -1;
}

static bool block_agrees(const char *what, enum ft_ggml type, const char *bytes_hex, const char *floats_hex) {
    static unsigned char bytes[1024], narrow[1024];
    static float floats[512], wide[512];
    size_t size = read_bytes(bytes_hex, bytes), count = read_floats(floats_hex, floats);
    if (count / ft_ggml_layout(type)->block * ft_ggml_layout(type)->bytes != size) return false;
    if (strcmp(what, "widen") == 0) {
        unsigned char shifted[1025];
        memcpy(shifted + 1, bytes, size); /* not aligned */
        ft_ggml_widen(wide, shifted + 1, type, count);
        return memcmp(wide, floats, count * sizeof *wide) == 0;
    }
    ft_ggml_narrow(narrow, floats, type, count);
    return memcmp(narrow, bytes, size) == 0;
}

static void test_blocks(void) {
    struct ft_lines *lines = NULL;
    const char *line;
    size_t size, seen = 0;
    if (!ok(!ft_lines_open(&lines, fixture("gguf-blocks.txt"), 0, &error), "the blocks are there (%s)",
            error.message))
        return;
    while (!ft_lines_next(lines, &line, &size, &error) && line) {
        static char what[8], name[8], bytes[1024], floats[4096];
        if (line[0] == '#') continue;
        int type =
            sscanf(line, "%7s %7s %1023s %4095s", what, name, bytes, floats) == 4 ? find_type(name) : -1;
        ok(type >= 0 && block_agrees(what, (enum ft_ggml)type, bytes, floats), "%s %s, line %d", what, name,
           (int)ft_lines_number(lines));
        seen++;
    }
    ft_lines_close(lines);
    ok(seen == 52, "every block was compared");
}

/* --- a file there and back ------------------------------------------------------------------------------ */

static const struct ft_gguf_tensor_out tensors[] = {
    {"b.weight", FT_GGML_F32, 2, {2, 3}},
    {"a.weight", FT_GGML_Q8_0, 2, {3, 32}},
    {"v", FT_GGML_BF16, 1, {5}},
};

static enum ft_status source(void *arg, const struct ft_gguf_tensor_out *tensor, size_t index,
                             struct ft_output *output, struct ft_error *e) {
    float values[96];
    unsigned char bytes[400];
    size_t count = 1;
    (void)arg;
    for (unsigned i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
    for (size_t i = 0; i < count; i++) values[i] = (float)(i % 7) - (float)index;
    ft_ggml_narrow(bytes, values, tensor->type, count);
    const struct ft_ggml_layout *layout = ft_ggml_layout((uint32_t)tensor->type);
    return ft_output_write(output, bytes, count / layout->block * layout->bytes, e);
}

static void fill(struct ft_gguf_meta *meta) {
    ft_gguf_set_text(meta, "general.architecture", "llama", 5);
    ft_gguf_set_u32(meta, "llama.block_count", 2);
    ft_gguf_set_f32(meta, "llama.rope.freq_base", 1e4f);
    ft_gguf_set_bool(meta, "tokenizer.ggml.add_bos_token", true);
    ft_gguf_begin_array(meta, "tokenizer.ggml.tokens", FT_GGUF_STRING, 2);
    ft_gguf_add_text(meta, "a", 1);
    ft_gguf_add_text(meta, "", 0);
    ft_gguf_begin_array(meta, "tokenizer.ggml.token_type", FT_GGUF_I32, 2);
    ft_gguf_add_i32(meta, 1);
    ft_gguf_add_i32(meta, -3);
}

static void test_values(const struct ft_gguf *gguf) {
    struct ft_gguf_text text = {0};
    const struct ft_gguf_value *tokens = NULL, *types = NULL;
    uint64_t number = 0;
    double base = 0;
    bool flag = false;
    ok(ft_gguf_values(gguf) == 6 && strcmp(ft_gguf_value_at(gguf, 0)->key, "general.architecture") == 0,
       "values are in order of keys");
    ok(!ft_gguf_get_text(gguf, "general.architecture", FT_JSON_REQUIRED, &text, &error) && text.length == 5 &&
           memcmp(text.text, "llama", 5) == 0, "a string");
    ok(!ft_gguf_get_u64(gguf, "llama.block_count", FT_JSON_REQUIRED, 1, 9, &number, &error) && number == 2,
       "an integer");
    ok(!ft_gguf_get_double(gguf, "llama.rope.freq_base", FT_JSON_REQUIRED, &base, &error) && base == 1e4,
       "a number");
    ok(!ft_gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", FT_JSON_REQUIRED, &flag, &error) && flag,
       "a boolean");
    ok(!ft_gguf_get_array(gguf, "tokenizer.ggml.tokens", FT_JSON_REQUIRED, FT_GGUF_STRING, &tokens, &error) &&
           tokens->count == 2, "an array of strings");
    const unsigned char *cursor = tokens->data;
    ok(ft_gguf_next_text(&cursor).length == 1 && ft_gguf_next_text(&cursor).length == 0 &&
           cursor == tokens->data + tokens->bytes, "and its strings");
    ok(!ft_gguf_get_array(gguf, "tokenizer.ggml.token_type", FT_JSON_REQUIRED, FT_GGUF_I32, &types, &error) &&
           ft_gguf_integer(types, 0, &number) && number == 1 && !ft_gguf_integer(types, 1, &number),
       "integers, a negative one refused");

    static const struct {
        const char *key, *says;
    } wrong[] = {{"x.none", "missing"},
                 {"general.architecture", "integer"},
                 {"tokenizer.ggml.tokens", "array"},
                 {"llama.block_count", "between"},
                 {"llama.rope.freq_base", "integer"},
                 {"tokenizer.ggml.add_bos_token", "integer"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ok(ft_gguf_get_u64(gguf, wrong[i].key, FT_JSON_REQUIRED, 3, 9, &number, &error) == FT_FORMAT &&
               strstr(error.message, wrong[i].says) && strstr(error.message, "w.gguf"), "%s", error.message);
    ok(!ft_gguf_get_u64(gguf, "x.none", FT_JSON_OPTIONAL, 3, 9, &number, &error),
       "an optional key may be absent");
}

static void test_tensors(const struct ft_gguf *gguf) {
    const struct ft_gguf_tensor *a = ft_gguf_tensor(gguf, "a.weight"), *b = ft_gguf_tensor(gguf, "b.weight");
    float wide[96];
    ok(ft_gguf_tensors(gguf) == 3 && ft_gguf_tensor_at(gguf, 0) == a && !ft_gguf_tensor(gguf, "c"),
       "tensors by name");
    ok(a && a->type == FT_GGML_Q8_0 && a->rank == 2 && a->shape[0] == 3 && a->shape[1] == 32 &&
           a->elements == 96 && a->bytes == 102,
       "a tensor's description");
    if (!a || !b) return;
    ft_ggml_widen(wide, a->data, a->type, a->elements);
    bool near = true;
    for (size_t i = 0; i < 96; i++)
        near = near && wide[i] - ((float)(i % 7) - 1) < 0.02f && wide[i] - ((float)(i % 7) - 1) > -0.02f;
    ok(near, "8 bits are near what was written");
    ft_ggml_widen(wide, b->data, b->type, b->elements);
    ok(wide[0] == 0 && wide[5] == 5, "32 bits are what was written");
    ok((size_t)(a->data - b->data) == 32, "each is aligned");
}

static void test_round_trip(void) {
    struct ft_gguf_meta meta = {.count = 0};
    struct ft_gguf *gguf = NULL;
    char hex[65] = "", file[65] = "-";
    fill(&meta);
    ok(!ft_gguf_write("w.gguf", &meta, tensors, 3, source, NULL, 0, hex, &error), "written (%s)",
       error.message);
    ft_sha256_file("w.gguf", file, NULL, &error);
    ok(strcmp(hex, file) == 0, "the digest is the file's");
    if (ok(!ft_gguf_open(&gguf, "w.gguf", &error), "read (%s)", error.message)) {
        test_values(gguf);
        test_tensors(gguf);
        ft_gguf_close(gguf);
    }
    ok(!ft_gguf_write("e.gguf", &(struct ft_gguf_meta){.count = 0}, NULL, 0, source, NULL, 0, NULL, &error) &&
           !ft_gguf_open(&gguf, "e.gguf", &error), "nothing but a header");
    ft_gguf_close(gguf);
    struct ft_gguf_tensor_out odd = {"odd", FT_GGML_Q8_0, 2, {2, 33}};
    ok(ft_gguf_write("x.gguf", &meta, &odd, 1, source, NULL, 0, NULL, &error) == FT_USAGE &&
           !ft_path_exists("x.gguf"),
       "%s", error.message);
    ft_gguf_meta_release(&meta);
}

/* Whatever byte is changed, and wherever the file is cut, the reader answers or refuses. */
static void test_damage(void) {
    struct ft_buffer whole = {0}, broken = {0};
    size_t opened = 0, tried = 0;
    ft_read_all(&whole, "w.gguf", 1 << 20, &error);
    for (size_t i = 0; i < 2 * whole.size; i++) {
        struct ft_gguf *gguf = NULL;
        size_t at = i / 2;
        ft_buffer_clear(&broken);
        ft_buffer_append(&broken, whole.data, i % 2 ? at : whole.size, &error);
        if (i % 2 == 0) broken.data[at] = (char)(broken.data[at] ^ (1 << at % 8));
        ft_write_file("d.gguf", broken.data, broken.size, FT_OUTPUT_NOSYNC, &error);
        error = (struct ft_error){0};
        tried++;
        if (!ft_gguf_open(&gguf, "d.gguf", &error)) {
            ft_gguf_close(gguf);
            opened++;
        } else if (!strstr(error.message, "d.gguf") && error.status != FT_NOMEM) {
            ok(false, "%s", error.message);
        }
    }
    ok(tried > 1000 && opened < tried, "%zu damaged files: an answer or a message naming the file", tried);
    ft_buffer_release(&whole);
    ft_buffer_release(&broken);
}

int main(void) {
    test_blocks();
    char directory[] = "/tmp/ft-gguf-XXXXXX";
    if (!mkdtemp(directory) || chdir(directory) != 0) return 2;
    test_round_trip();
    test_damage();
    ft_tree_remove(directory);
    return tap_done();
}
