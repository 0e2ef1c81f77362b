/* SPDX-License-Identifier: MIT
 *
 * Where the files that tests read are, found from where this header was: tests work wherever the compiler's
 * path to the sources holds. A result is good until the next call.
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include <stdarg.h>
#include <stdio.h>

/* A file of the repository. */
static inline const char *source_path(const char *rest) {
    static const char file[] = __FILE__, here[] = "tests/unit/fixture.h";
    static char path[512];
    snprintf(path, sizeof path, "%.*s%s", (int)(sizeof file - sizeof here), file, rest);
    return path;
}

/* A file or directory in tests/oracle/fixtures. */
__attribute__((format(printf, 1, 2))) static inline const char *fixture(const char *format, ...) {
    static char path[1024];
    va_list args;
    int size = snprintf(path, sizeof path / 2, "%s", source_path("tests/oracle/fixtures/"));
    va_start(args, format);
    vsnprintf(path + size, sizeof path - (size_t)size, format, args);
    va_end(args);
    return path;
}

#endif
