/* SPDX-License-Identifier: MIT
 *
 * Status and error: every library function that can fail returns enum ft_status and, when it is not
 * FT_OK, has filled the caller's struct ft_error. On success the error is left untouched. Only cmd/
 * prints or exits. A message names the file (and line, tensor or record) and the remedy, has no
 * trailing newline and no "error:" prefix.
 */
#ifndef FT_ERROR_H
#define FT_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#define FT_STATUS_LIST(X)                                                                                    \
    X(OK, "success")                                                                                         \
    X(NOMEM, "out of memory")                                                                                \
    X(IO, "input/output failure")                                                                            \
    X(FORMAT, "malformed input")                                                                             \
    X(LIMIT, "a limit was exceeded")                                                                         \
    X(MISMATCH, "two things that must agree do not")                                                         \
    X(UNSUPPORTED, "not supported")                                                                          \
    X(USAGE, "wrong usage")                                                                                  \
    X(NONFINITE, "a number is not finite")                                                                   \
    X(INTERRUPTED, "interrupted")

enum ft_status {
#define FT_STATUS_ENUM(name, text) FT_##name,
    FT_STATUS_LIST(FT_STATUS_ENUM)
#undef FT_STATUS_ENUM
};

struct ft_error {
    enum ft_status status;
    char message[1024]; /* NUL-terminated UTF-8, cut if longer */
};

/* The fixed text of a status, never NULL. */
const char *ft_status_text(enum ft_status status);

/* Fills *error (when not NULL) and returns status, so that `return ft_fail(error, FT_IO, ...)` reads well. */
enum ft_status ft_fail(struct ft_error *error, enum ft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As ft_fail, and appends ": <strerror(errno at entry)>". */
enum ft_status ft_fail_errno(struct ft_error *error, enum ft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts a formatted context and ": " in front of an error that a callee filled; returns error->status. */
enum ft_status ft_error_context(struct ft_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
