/* SPDX-License-Identifier: MIT
 * The io layer: files, lines, atomic outputs, hashes, random numbers. */
#include "../tap/tap.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/hash.h"
#include "ft/rng.h"
#include "ft/tree.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

static struct ft_error error;

static void put(const char *path, const void *bytes, size_t size) {
    if (ft_write_file(path, bytes, size, FT_OUTPUT_NOSYNC, &error)) ok(false, "set-up: %s", error.message);
}

static bool holds(const char *path, const char *text) {
    struct ft_buffer buffer = {0};
    bool same = !ft_read_all(&buffer, path, 1 << 20, NULL) && buffer.size == strlen(text) &&
                (buffer.size == 0 || memcmp(buffer.data, text, buffer.size) == 0);
    ft_buffer_release(&buffer);
    return same;
}

static enum ft_status count_file(void *arg, const char *name, struct ft_error *e) {
    (void)name, (void)e;
    ++*(size_t *)arg;
    return FT_OK;
}

static size_t files_below(const char *directory) {
    size_t count = 0;
    (void)ft_tree_walk(directory, count_file, &count, NULL);
    return count;
}

static void test_map(void) {
    struct ft_map map;
    put("empty", "", 0);
    put("five", "12345", 5);
    ok(ft_map_open(&map, "empty", &error) == FT_OK && map.size == 0, "an empty file can be mapped");
    ft_map_close(&map);
    ok(ft_map_open(&map, "five", &error) == FT_OK && map.size == 5 && memcmp(map.data, "12345", 5) == 0,
       "a file can be mapped");
    ft_map_close(&map);
    ok(ft_map_open(&map, "absent", &error) == FT_IO && strstr(error.message, "absent"), "missing: %s",
       error.message);
    ok(ft_map_open(&map, ".", &error) == FT_USAGE, "a directory: %s", error.message);
    mkfifo("fifo", 0600);
    ok(ft_map_open(&map, "fifo", &error) == FT_USAGE, "a FIFO does not make us wait: %s", error.message);
    struct ft_buffer buffer = {0};
    ok(ft_read_all(&buffer, "five", 5, &error) == FT_OK && buffer.size == 5, "read_all within its limit");
    ok(ft_read_all(&buffer, "five", 4, &error) == FT_LIMIT, "read_all beyond: %s", error.message);
    ok(ft_read_all(&buffer, ".", 4, &error) == FT_IO, "read_all of a directory: %s", error.message);
    ft_buffer_release(&buffer);
}

/* The lines of `path` joined by '|', or NULL. */
static const char *joined(const char *path, size_t cap) {
    static char text[1 << 19];
    struct ft_lines *lines;
    const char *line;
    size_t size, used = 0;
    if (ft_lines_open(&lines, path, cap, &error)) return NULL;
    enum ft_status status;
    while (!(status = ft_lines_next(lines, &line, &size, &error)) && line) {
        memcpy(text + used, line, size);
        used += size;
        text[used++] = '|';
    }
    text[used] = '\0';
    ft_lines_close(lines);
    return status ? NULL : text;
}

static void test_lines(void) {
    const char *got;
    put("lines", "a\n\r\n\nbc\r\nlast", 13);
    ok((got = joined("lines", 0)) && strcmp(got, "a|||bc|last|") == 0, "lines, empty, CRLF and unfinished");
    ok((got = joined("empty", 0)) && *got == '\0', "an empty file has no lines");
    put("long", "123456\n1234567\n", 15);
    ok(joined("long", 7) && !joined("long", 6) && error.status == FT_LIMIT, "a line over the cap: %s",
       error.message);
    put("gzip", "\x1f\x8b\x08\0\0\0", 6);
    ok(!joined("gzip", 0) && error.status == FT_UNSUPPORTED, "gzip: %s", error.message);
    ok(!joined("absent", 0) && error.status == FT_IO, "missing: %s", error.message);
    ok(!joined(".", 0) && error.status == FT_IO, "a directory: %s", error.message);
}

static void test_long_lines(void) {
    enum { N = 300000 };
    char *big = malloc(2 * N + 2);
    memset(big, 'x', 2 * N + 2);
    big[N] = '\n';
    put("big", big, 2 * N + 1);
    struct ft_lines *lines;
    const char *line;
    size_t first = 0, second = 0;
    ok(!ft_lines_open(&lines, "big", 0, &error) && !ft_lines_next(lines, &line, &first, &error) &&
           !ft_lines_next(lines, &line, &second, &error) && first == N && second == N && line[N] == '\0' &&
           !ft_lines_next(lines, &line, &second, &error) && !line && ft_lines_number(lines) == 2,
       "lines longer than the buffers");
    char hex[65], whole[65];
    ft_lines_digest(lines, hex);
    ok(!ft_sha256_file("big", whole, NULL, &error) && strcmp(hex, whole) == 0,
       "lines know their input's digest");
    ft_lines_close(lines);
    free(big);
}

static void test_zstd(void) {
    enum { N = 200000 };
    static char text[N], packed[N + 1000], twice[2 * N + 2000];
    for (size_t i = 0; i < N; i++) text[i] = i % 50 == 49 ? '\n' : (char)('a' + i * i % 26);
    size_t size = ZSTD_compress(packed, sizeof packed, text, N, 3);
    memcpy(twice, packed, size);
    memcpy(twice + size, packed, size);
    put("z", packed, size);
    put("zz", twice, 2 * size);
    put("cut", packed, size - 7);
    put("bad", packed, size);
    struct ft_lines *lines;
    const char *line;
    size_t length, count = 0;
    bool good = !ft_lines_open(&lines, "zz", 0, &error);
    while (good && !ft_lines_next(lines, &line, &length, &error) && line)
        good = length == 49 && memcmp(line, text + 50 * (count++ % (N / 50)), 49) == 0;
    ok(good && count == 2 * N / 50, "two zstd frames are unpacked (%zu lines)", count);
    ft_lines_close(lines);
    ok(!joined("cut", 0) && error.status == FT_FORMAT, "cut: %s", error.message);
    memset(packed + size / 2, 0x55, 64);
    put("bad", packed, size);
    ok(!joined("bad", 0) && error.status == FT_FORMAT, "damaged: %s", error.message);
}

static void test_output(void) {
    struct ft_output *output;
    struct stat info;
    umask(027);
    ok(!ft_output_open(&output, "out", FT_OUTPUT_HASH, &error) && !ft_path_exists("out"),
       "nothing is there before commit");
    ok(!ft_output_string(output, "abc", &error), "written");
    char hex[65];
    ft_output_digest(output, hex);
    ok(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0,
       "hashed while writing");
    ok(!ft_output_commit(output, &error) && holds("out", "abc"), "all is there after it");
    ok(stat("out", &info) == 0 && (info.st_mode & 0777) == 0640, "mode 0666 & ~umask");
    umask(022);
    size_t before = files_below(".");
    ok(!ft_output_open(&output, "out", 0, &error) && !ft_output_string(output, "new", &error), "another");
    ft_output_abort(output);
    ok(holds("out", "abc") && files_below(".") == before, "abort leaves the old file and nothing else");

    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    utimensat(AT_FDCWD, "out", old, 0);
    ok(!ft_write_file("out", "abc", 3, FT_OUTPUT_KEEP, &error) && stat("out", &info) == 0 &&
       info.st_mtim.tv_sec == 1000, "the same bytes leave the file and its time alone");
    ok(!ft_write_file("out", "abd", 3, FT_OUTPUT_KEEP, &error) && holds("out", "abd"),
       "other bytes replace it");
    ok(symlink("out", "link") == 0 && !ft_write_file("link", "via", 3, 0, &error) && holds("out", "via") &&
           lstat("link", &info) == 0 && S_ISLNK(info.st_mode),
       "a link is followed, not replaced");
    ok(ft_write_file("/dev/full", "abc", 3, 0, &error) == FT_IO && strstr(error.message, "/dev/full"),
       "full: %s", error.message);
    ok(ft_write_file(".", "abc", 3, 0, &error) == FT_USAGE, "a directory: %s", error.message);
    ok(ft_write_file("no/such/file", "abc", 3, 0, &error) == FT_IO, "no directory: %s", error.message);
    static char large[200001];
    memset(large, 'y', 200000);
    ok(!ft_output_open(&output, "large", 0, &error) && !ft_output_write(output, large, 10, &error) &&
           !ft_output_write(output, large + 10, 199980, &error) && !ft_output_write(output, large, 10,
                                                                                    &error) &&
           ft_output_size(output) == 200000 && !ft_output_commit(output, &error) && holds("large", large),
       "small and large writes mix");
}

static void test_directory(void) {
    struct ft_directory *directory;
    struct ft_buffer path = {0};
    struct stat info;
    ok(!ft_directory_begin(&directory, "dir/", &error) && !ft_path_exists("dir"),
       "no directory before commit");
    ft_path_join(&path, ft_directory_path(directory), "SHA256SUMS", NULL);
    put(path.data, "one", 3);
    ok(!ft_directory_commit(directory, &error) && holds("dir/SHA256SUMS", "one"), "all of it after");
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    utimensat(AT_FDCWD, "dir/SHA256SUMS", old, 0);

    ok(!ft_directory_begin(&directory, "dir", &error), "a directory of ours can be replaced");
    ft_buffer_clear(&path);
    ft_path_join(&path, ft_directory_path(directory), "SHA256SUMS", NULL);
    put(path.data, "one", 3);
    ft_buffer_clear(&path);
    ft_path_join(&path, ft_directory_path(directory), "other", NULL);
    put(path.data, "two", 3);
    ok(!ft_directory_commit(directory, &error) && holds("dir/other", "two") && files_below("dir") == 2,
       "it is replaced");
    ok(stat("dir/SHA256SUMS", &info) == 0 && info.st_mtim.tv_sec == 1000,
       "an unchanged file in it keeps its time");

    size_t before = files_below(".");
    ok(!ft_directory_begin(&directory, "dir", &error), "a third");
    ft_directory_abort(directory);
    ok(files_below(".") == before, "abort leaves things as they were");

    ok(!ft_directory_make("foreign/deep", &error), "parents are made");
    put("foreign/mine.txt", "mine", 4);
    ok(ft_directory_begin(&directory, "foreign", &error) == FT_USAGE && holds("foreign/mine.txt", "mine"),
       "what is not ours is not replaced: %s", error.message);
    ok(ft_directory_begin(&directory, "out", &error) == FT_USAGE, "nor a file: %s", error.message);
    ok(ft_directory_begin(&directory, "no/such", &error) == FT_IO, "no parent: %s", error.message);
    ok(ft_directory_begin(&directory, "", &error) == FT_USAGE, "no name: %s", error.message);
    ok(ft_directory_make("out/x", &error) == FT_USAGE, "a file in the way: %s", error.message);
    ft_buffer_release(&path);
}

/* A process killed by a signal leaves no temporaries; one killed outright leaves some that ft_directory_make
 * removes. */
static void test_signal(int number) {
    ft_tree_remove("victim");
    ft_directory_make("victim", NULL);
    int ready[2];
    if (pipe(ready) != 0) return;
    pid_t child = fork();
    if (child == 0) {
        struct ft_output *output;
        struct ft_directory *directory;
        signal(number, SIG_DFL); /* a suite in the background inherits SIGINT ignored */
        ft_commit_on_signal();
        if (ft_directory_begin(&directory, "victim/made", NULL)) _exit(1);
        struct ft_buffer path = {0};
        ft_buffer_printf(&path, NULL, "%s/deep", ft_directory_path(directory));
        mkdir(path.data, 0777);
        ft_buffer_printf(&path, NULL, "/file");
        put(path.data, "x", 1);
        if (ft_output_open(&output, "victim/file", 0, NULL)) _exit(1);
        if (write(ready[1], "!", 1) != 1) _exit(1);
        for (;;) pause();
    }
    char byte;
    int status = 0;
    close(ready[1]);
    if (read(ready[0], &byte, 1) == 1) kill(child, number);
    waitpid(child, &status, 0);
    close(ready[0]);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == number;
    if (number == SIGKILL) {
        ok(killed && !ft_tree_is_empty("victim"), "kill -9 leaves temporaries");
        ft_directory_make("victim", NULL);
        ok(ft_tree_is_empty("victim"), "and the next run removes them");
    } else {
        ok(killed && ft_tree_is_empty("victim"), "signal %d leaves nothing behind and ends the process",
           number);
    }
}

static void test_hash(void) {
    char hex[65];
    unsigned char bytes[4];
    ft_sha256_hex("abc", 3, hex);
    ok(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0,
       "SHA-256 of abc");
    ft_sha256_hex("", 0, hex);
    ok(strcmp(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0,
       "SHA-256 of nothing");
    ok(ft_unhex("00ff10ab", bytes, 4) && memcmp(bytes, "\0\xff\x10\xab", 4) == 0, "hexadecimal reads back");
    ok(!ft_unhex("00ff10aB", bytes, 4) && !ft_unhex("00ff10", bytes, 4) && !ft_unhex("00ff10abc", bytes, 4),
       "upper case and wrong lengths are refused");
    ok(ft_xxh3("", 0) == 0x2d06800538d394c2u, "XXH3-64 of nothing");
}

static void test_philox(void) {
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        ft_philox(known[i].counter, known[i].key, out);
        ok(memcmp(out, known[i].want, sizeof out) == 0, "Philox4x32-10, Random123's vector %zu", i);
    }
}

static void test_rng(void) {
    struct ft_rng a = ft_rng_new(1, FT_RNG_TEST), b = ft_rng_new(1, FT_RNG_INIT);
    uint32_t four[4];
    ft_rng_u32x4(&a, 3, 2, 5, four);
    ok(ft_rng_u32(&a, 3, 2, 22) == four[2], "single words are those of the blocks of four");
    ok(ft_rng_u64(&a, 0, 0, 0) != ft_rng_u64(&b, 0, 0, 0), "purposes have keys of their own");
    double sum = 0;
    bool inside = true;
    for (uint64_t i = 0; i < 100000; i++) {
        float u = ft_rng_uniform(&a, 0, 1, i);
        double d = ft_rng_uniform_double(&a, 0, 2, i);
        inside = inside && u >= 0 && u < 1 && d >= 0 && d < 1;
        sum += (double)u + d;
    }
    ok(inside && sum > 99500 && sum < 100500, "uniform numbers are in [0, 1), mean %.4f", sum / 200000);
    unsigned count[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) count[ft_rng_bounded(&a, 1, 0, i, 7)]++;
    bool even = true;
    for (size_t i = 0; i < 7; i++) even = even && count[i] > 9600 && count[i] < 10400;
    ok(even, "bounded numbers are even");
    uint64_t third = UINT64_MAX / 3 * 2, above = 0; /* rejects a third of the words: modulo would favour the lower half */
    for (uint64_t i = 0; i < 10000; i++) above += ft_rng_bounded(&a, 2, 0, i, third) >= third / 2;
    ok(above > 4800 && above < 5200, "and without bias at large bounds (%llu of 10000)",
       (unsigned long long)above);
    uint32_t order[1000], seen[1000] = {0};
    for (uint32_t i = 0; i < 1000; i++) order[i] = i;
    ft_rng_shuffle(&a, 0, 0, order, 1000);
    size_t moved = 0, once = 0;
    for (uint32_t i = 0; i < 1000; i++) moved += order[i] != i, seen[order[i]]++;
    for (uint32_t i = 0; i < 1000; i++) once += seen[i] == 1;
    ok(once == 1000 && moved > 950, "a shuffle is a permutation");
    ok(ft_rng_u64(&a, 1, 2, 3) == UINT64_C(0x9033f3c93d1a59f4), "the numbers of a recipe never change");
}

int main(void) {
    char directory[] = "/tmp/ft-io-XXXXXX";
    if (!mkdtemp(directory) || chdir(directory) != 0) return 1;
    test_map();
    test_lines();
    test_long_lines();
    test_zstd();
    test_output();
    unlink("fifo"); /* ft_tree_walk refuses it */
    test_directory();
    fflush(stdout);
    test_signal(SIGINT);
    fflush(stdout);
    test_signal(SIGTERM);
    fflush(stdout);
    test_signal(SIGKILL);
    test_hash();
    test_philox();
    test_rng();
    if (chdir("/") != 0 || ft_tree_remove(directory) != 0) return 1;
    return tap_done();
}
