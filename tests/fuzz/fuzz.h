/* SPDX-License-Identifier: MIT
 *
 * What fuzz targets share. A target is tests/fuzz/NAME.c with LLVMFuzzerTestOneInput, seeds are in
 * tests/fuzz/corpus/NAME. `make fuzz` builds them with clang's libFuzzer and runs each for a while; `make
 * check` replays the seeds through replay.c, with any compiler.
 */
#ifndef FT_FUZZ_H
#define FT_FUZZ_H

#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of the parser's own that does not hold is a finding, like a bad access. */
#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                    \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* The bytes as a file in memory, for parsers that take a path. Close with fuzz_close. */
struct fuzz_file {
    int fd;
    char path[40];
};

static inline struct fuzz_file fuzz_open(const void *data, size_t size) {
    struct fuzz_file file = {.fd = memfd_create("fuzz", MFD_CLOEXEC)};
    MUST(file.fd >= 0 && write(file.fd, data, size) == (ssize_t)size && lseek(file.fd, 0, SEEK_SET) == 0);
    snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    return file;
}

static inline void fuzz_close(struct fuzz_file *file) { close(file->fd); }

/* An input that stands for several texts has them separated by a byte 0xff, which no UTF-8 has. */
struct fuzz_part {
    const uint8_t *data;
    size_t size;
};

/* Cuts the next part off *rest. */
static inline struct fuzz_part fuzz_take(struct fuzz_part *rest) {
    const uint8_t *end = rest->size ? memchr(rest->data, 0xff, rest->size) : NULL;
    struct fuzz_part part = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
    size_t used = part.size + (end != NULL);
    *rest = (struct fuzz_part){rest->data + used, rest->size - used};
    return part;
}

/* A directory for parsers that want one, removed with the few known names in it when the process ends. In
 * memory where the system has such a place. */
static char fuzz_folder[32];
static const char *const *fuzz_names; /* NULL-terminated, in order of removal */

static inline void fuzz_path(char path[96], const char *name) {
    snprintf(path, 96, "%s/%s", fuzz_folder, name);
}

static inline void fuzz_sweep(void) {
    char path[96];
    for (const char *const *name = fuzz_names; *name; name++) {
        fuzz_path(path, *name);
        remove(path);
    }
    remove(fuzz_folder);
}

static inline const char *fuzz_directory(const char *const *names) {
    if (fuzz_names) return fuzz_folder;
    strcpy(fuzz_folder, "/dev/shm/ft-fuzz-XXXXXX");
    if (!mkdtemp(fuzz_folder)) {
        strcpy(fuzz_folder, "/tmp/ft-fuzz-XXXXXX");
        MUST(mkdtemp(fuzz_folder));
    }
    fuzz_names = names;
    MUST(atexit(fuzz_sweep) == 0);
    return fuzz_folder;
}

/* A file in fuzz_directory. */
static inline void fuzz_write(const char *name, const void *data, size_t size) {
    char path[96];
    fuzz_path(path, name);
    FILE *file = fopen(path, "wb");
    MUST(file && (size == 0 || fwrite(data, 1, size, file) == size) && fclose(file) == 0);
}

#endif
