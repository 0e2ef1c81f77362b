/* SPDX-License-Identifier: MIT
 *
 * Reading: whole files by mmap or into memory, and lines from files, pipes and zstd streams. A path of "-" is
 * standard input, called "standard input" in messages. Nothing here trusts what it reads.
 */
#ifndef FT_FILE_H
#define FT_FILE_H

#include "ft/error.h"
#include "ft/memory.h"
#include "ft/source.h"

#include <stddef.h>
#include <stdint.h>

/* A whole regular file, read-only. data is NULL for an empty file. A file cut by somebody else while mapped
 * ends the process by SIGBUS: outputs of ours are replaced by rename, never cut. */
struct ft_map {
    const unsigned char *data;
    size_t size;
};

/* FT_IO when the file is missing or unreadable, FT_USAGE when it is a directory or not a regular file. */
enum ft_status ft_map_open(struct ft_map *map, const char *path, struct ft_error *error);
void ft_map_close(struct ft_map *map); /* a zero map is fine */

/* Pages that lie wholly in a part of a map need not stay in memory; they are read again when looked at. */
void ft_map_forget(const void *data, size_t size);

/* Appends the whole of `path` (file, pipe or "-") to buffer; more than `max` bytes is FT_LIMIT. zstd data are
 * not unpacked. */
enum ft_status ft_read_all(struct ft_buffer *buffer, const char *path, size_t max, struct ft_error *error);

/* True when something of any kind exists at path. */
bool ft_path_exists(const char *path);
bool ft_path_is_directory(const char *path);

/* "<directory>/<name>" appended to an empty or cleared buffer; a trailing slash is not doubled. */
enum ft_status ft_path_join(struct ft_buffer *buffer, const char *directory, const char *name,
                            struct ft_error *error);

/* "standard input" for "-", else path. */
const char *ft_path_shown(const char *path);

/* Lines of text, from a file, a pipe or "-"; zstd data are recognised by their magic number and unpacked. */
struct ft_lines;

#define FT_LINE_MAX ((size_t)64 << 20) /* the usual cap */

/* max_line 0 means FT_LINE_MAX. Close with ft_lines_close. */
enum ft_status ft_lines_open(struct ft_lines **lines, const char *path, size_t max_line,
                             struct ft_error *error);

/* The same from a source, which the lines take over, on failure too. */
enum ft_status ft_lines_from(struct ft_lines **lines, struct ft_source *source, size_t max_line,
                             struct ft_error *error);

/* The next line without its "\n" or "\r\n", NUL-terminated, valid until the next call; *line is NULL at the
 * end. A last line without newline counts. A line may hold NUL bytes: *size says where it ends. A longer line
 * than the cap is FT_LIMIT. */
enum ft_status ft_lines_next(struct ft_lines *lines, const char **line, size_t *size, struct ft_error *error);

uint64_t ft_lines_number(const struct ft_lines *lines); /* of the line given last, from 1 */
bool ft_lines_returned(const struct ft_lines *lines);   /* it ended in a carriage return, which was taken off */
const char *ft_lines_name(const struct ft_lines *lines);

/* SHA-256 of the bytes consumed so far, as they came (packed, when packed): the whole input's after the end.
 * 64 hex digits and NUL. */
void ft_lines_digest(const struct ft_lines *lines, char hex[65]);

void ft_lines_close(struct ft_lines *lines); /* NULL is fine */

#endif
