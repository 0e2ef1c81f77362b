/* SPDX-License-Identifier: MIT */
#include "ft/error.h"

#include "ft/printable.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *ft_status_text(enum ft_status status) {
    static const char *const text[] = {
#define FT_STATUS_TEXT(name, words) words,
        FT_STATUS_LIST(FT_STATUS_TEXT)
#undef FT_STATUS_TEXT
    };
    size_t i = (size_t)status;
    return i < sizeof text / sizeof *text ? text[i] : "unknown status";
}

__attribute__((format(printf, 3, 0)))
static void fill(struct ft_error *error, enum ft_status status, const char *format, va_list args) {
    error->status = status;
    (void)vsnprintf(error->message, sizeof error->message, format, args);
    ft_make_printable(error->message);
}

enum ft_status ft_fail(struct ft_error *error, enum ft_status status, const char *format, ...) {
    if (error) {
        va_list args;
        va_start(args, format);
        fill(error, status, format, args);
        va_end(args);
    }
    return status;
}

enum ft_status ft_fail_errno(struct ft_error *error, enum ft_status status, const char *format, ...) {
    int saved = errno;
    if (error) {
        va_list args;
        va_start(args, format);
        fill(error, status, format, args);
        va_end(args);
        char reason[128];
        if (strerror_r(saved, reason, sizeof reason) != 0) snprintf(reason, sizeof reason, "errno %d", saved);
        size_t used = strlen(error->message);
        (void)snprintf(error->message + used, sizeof error->message - used, ": %s", reason);
    }
    return status;
}

enum ft_status ft_error_context(struct ft_error *error, const char *format, ...) {
    char inner[sizeof error->message];
    memcpy(inner, error->message, sizeof inner);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    ft_make_printable(error->message);
    size_t used = strlen(error->message);
    (void)snprintf(error->message + used, sizeof error->message - used, ": %s", inner);
    return error->status;
}
