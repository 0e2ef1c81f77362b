/* SPDX-License-Identifier: MIT
 *
 * A file, a pipe or "-" as a stream of bytes that can be looked at before it is consumed. Lines (ft/file.h)
 * and token streams (ft/ftok.h) read from one, so a program can look first which of the two it was given.
 */
#ifndef FT_SOURCE_H
#define FT_SOURCE_H

#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

struct ft_source;

#define FT_SOURCE_PEEK ((size_t)1 << 16) /* the most that can be looked at */

enum ft_status ft_source_open(struct ft_source **source, const char *path, struct ft_error *error);
void ft_source_close(struct ft_source *source); /* NULL is fine */
const char *ft_source_name(const struct ft_source *source); /* for messages */

/* The next bytes without consuming them: at least `least` (<= FT_SOURCE_PEEK) of them unless the input ends
 * before. *bytes stays valid until the next call. */
enum ft_status ft_source_peek(struct ft_source *source, size_t least, const unsigned char **bytes,
                              size_t *count, struct ft_error *error);

/* Consumes `count` bytes, no more than the last peek gave. */
void ft_source_skip(struct ft_source *source, size_t count);

/* Hexadecimal SHA-256 of all bytes consumed so far. */
void ft_source_sha256(const struct ft_source *source, char hex[65]);

#endif
