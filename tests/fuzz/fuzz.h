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
#include <sys/mman.h>
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

#endif
