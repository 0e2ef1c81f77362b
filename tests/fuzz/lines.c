/* SPDX-License-Identifier: MIT
 * Lines, plain or unpacked by zstd: each ends in NUL, holds no newline and keeps to the cap. */
#include "fuzz.h"

#include "ft/file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { CAP = 1000 };
    struct ft_error error = {0};
    struct ft_lines *lines;
    const char *line = NULL;
    size_t length;
    uint64_t count = 0;
    struct fuzz_file file = fuzz_open(data, size);
    if (!ft_lines_open(&lines, file.path, CAP, &error)) {
        while (count < 100000 && !ft_lines_next(lines, &line, &length, &error) && line) {
            MUST(length <= CAP && line[length] == '\0' && !memchr(line, '\n', length));
            MUST(ft_lines_number(lines) == ++count);
        }
        char hex[65];
        ft_lines_digest(lines, hex);
        ft_lines_close(lines);
    }
    fuzz_close(&file);
    return 0;
}
