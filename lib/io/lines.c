/* SPDX-License-Identifier: MIT
 *
 * Text lies in one buffer; lines are handed out in place, the newline overwritten by NUL. When no newline is
 * left, the rest moves to the front and more is read (or unpacked) behind it, the buffer doubling up to the cap. */
#include "ft/file.h"
#include "ft/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { PACKED = 1 << 17 };

struct ft_lines {
    char *name;
    int fd;
    size_t max_line;
    uint64_t number;
    struct ft_sha256 hash;

    unsigned char *packed; /* as read; PACKED bytes */
    size_t packed_at, packed_end;
    bool input_ended;
    ZSTD_DCtx *zstd; /* NULL: plain text */
    bool inside_frame;
    bool returned; /* the line given last ended in "\r\n" */

    char *text;
    size_t begin, scanned, end, capacity; /* begin <= scanned <= end; no newline in [begin, scanned) */
};

/* Reads more input behind packed[packed_end) until `least` bytes lie there or the input ends. */
static enum ft_status read_packed(struct ft_lines *lines, size_t least, struct ft_error *error) {
    if (lines->packed_at == lines->packed_end) lines->packed_at = lines->packed_end = 0;
    while (!lines->input_ended && lines->packed_end - lines->packed_at < least) {
        ssize_t got = read(lines->fd, lines->packed + lines->packed_end, PACKED - lines->packed_end);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return ft_fail_errno(error, FT_IO, "%s: cannot be read", lines->name);
        if (got == 0) lines->input_ended = true;
        ft_sha256_update(&lines->hash, lines->packed + lines->packed_end, (size_t)got);
        lines->packed_end += (size_t)got;
    }
    return FT_OK;
}

static enum ft_status recognise(struct ft_lines *lines, struct ft_error *error) {
    enum ft_status status = read_packed(lines, 4, error);
    if (status) return status;
    size_t have = lines->packed_end;
    if (have >= 2 && lines->packed[0] == 0x1f && lines->packed[1] == 0x8b)
        return ft_fail(error, FT_UNSUPPORTED, "%s: is packed by gzip; give it through `zcat`, or pack it with zstd",
                       lines->name);
    if (have < 4 || ft_load32(lines->packed) != ZSTD_MAGICNUMBER) return FT_OK;
    lines->zstd = ZSTD_createDCtx();
    if (!lines->zstd) return ft_fail(error, FT_NOMEM, "out of memory for zstd");
    return FT_OK;
}

enum ft_status ft_lines_open(struct ft_lines **out, const char *path, size_t max_line, struct ft_error *error) {
    struct ft_lines *lines;
    enum ft_status status = ft_alloc(&lines, 1, sizeof *lines, error);
    if (status) return status;
    lines->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    lines->max_line = max_line ? max_line : FT_LINE_MAX;
    lines->name = strdup(ft_path_shown(path));
    ft_sha256_init(&lines->hash);
    if (lines->fd < 0) status = ft_fail_errno(error, FT_IO, "%s: cannot be read", path);
    else if (!lines->name) status = ft_fail(error, FT_NOMEM, "out of memory");
    else status = ft_alloc(&lines->packed, PACKED, 1, error);
    if (!status) status = recognise(lines, error);
    if (status) ft_lines_close(lines);
    else *out = lines;
    return status;
}

static enum ft_status unpack(struct ft_lines *lines, struct ft_error *error) {
    ZSTD_outBuffer out = {lines->text, lines->capacity - 1, lines->end};
    while (out.pos == lines->end) {
        enum ft_status status = read_packed(lines, 1, error);
        if (status) return status;
        if (lines->packed_at == lines->packed_end && !lines->inside_frame) return FT_OK;
        ZSTD_inBuffer in = {lines->packed, lines->packed_end, lines->packed_at};
        size_t result = ZSTD_decompressStream(lines->zstd, &out, &in);
        if (ZSTD_isError(result))
            return ft_fail(error, FT_FORMAT, "%s: after line %llu: zstd data are damaged (%s)", lines->name,
                           (unsigned long long)lines->number, ZSTD_getErrorName(result));
        lines->inside_frame = result != 0;
        if (lines->input_ended && in.pos == in.size && out.pos == lines->end && result != 0)
            return ft_fail(error, FT_FORMAT, "%s: after line %llu: zstd data are cut off; get a whole copy",
                           lines->name, (unsigned long long)lines->number);
        lines->packed_at = in.pos;
    }
    lines->end = out.pos;
    return FT_OK;
}

static enum ft_status copy_plain(struct ft_lines *lines, struct ft_error *error) {
    enum ft_status status = read_packed(lines, 1, error);
    if (status) return status;
    size_t room = lines->capacity - 1 - lines->end, have = lines->packed_end - lines->packed_at;
    size_t count = have < room ? have : room;
    if (count) memcpy(lines->text + lines->end, lines->packed + lines->packed_at, count);
    lines->packed_at += count;
    lines->end += count;
    return FT_OK;
}

/* Puts more text behind `end`; nothing was added when the input is over. One byte stays free for a NUL. */
static enum ft_status fill(struct ft_lines *lines, struct ft_error *error) {
    size_t held = lines->end - lines->begin;
    if (held && lines->begin) memmove(lines->text, lines->text + lines->begin, held);
    lines->scanned -= lines->begin;
    lines->begin = 0;
    lines->end = held;
    if (held > lines->max_line + 2)
        return ft_fail(error, FT_LIMIT, "%s: line %llu is longer than %zu bytes", lines->name,
                       (unsigned long long)lines->number + 1, lines->max_line);
    enum ft_status status = FT_OK;
    if (lines->capacity < held + PACKED / 2)
        status = ft_grow(&lines->text, &lines->capacity, held + PACKED, 1, SIZE_MAX / 2, "bytes of a line", error);
    if (status) return status;
    return lines->zstd ? unpack(lines, error) : copy_plain(lines, error);
}

/* Hands out [begin, stop) and goes on at `next`. */
static enum ft_status give(struct ft_lines *lines, size_t stop, size_t next, const char **line, size_t *size,
                           struct ft_error *error) {
    char *first = lines->text + lines->begin;
    size_t count = stop - lines->begin;
    lines->returned = count && first[count - 1] == '\r';
    count -= lines->returned;
    lines->number++;
    if (count > lines->max_line)
        return ft_fail(error, FT_LIMIT, "%s: line %llu is longer than %zu bytes", lines->name,
                       (unsigned long long)lines->number, lines->max_line);
    first[count] = '\0';
    lines->begin = lines->scanned = next;
    *line = first;
    *size = count;
    return FT_OK;
}

enum ft_status ft_lines_next(struct ft_lines *lines, const char **line, size_t *size, struct ft_error *error) {
    for (;;) {
        const char *newline = NULL;
        if (lines->end > lines->scanned)
            newline = memchr(lines->text + lines->scanned, '\n', lines->end - lines->scanned);
        if (newline) {
            size_t stop = (size_t)(newline - lines->text);
            return give(lines, stop, stop + 1, line, size, error);
        }
        lines->scanned = lines->end;
        size_t before = lines->end - lines->begin;
        enum ft_status status = fill(lines, error);
        if (status) return status;
        if (lines->end > before) continue;
        if (before) return give(lines, lines->end, lines->end, line, size, error);
        *line = NULL;
        *size = 0;
        return FT_OK;
    }
}

uint64_t ft_lines_number(const struct ft_lines *lines) { return lines->number; }

bool ft_lines_returned(const struct ft_lines *lines) { return lines->returned; }

const char *ft_lines_name(const struct ft_lines *lines) { return lines->name; }

void ft_lines_digest(const struct ft_lines *lines, char hex[65]) {
    struct ft_sha256 copy = lines->hash;
    unsigned char digest[FT_SHA256_SIZE];
    ft_sha256_final(&copy, digest);
    ft_hex(digest, sizeof digest, hex);
}

void ft_lines_close(struct ft_lines *lines) {
    if (!lines) return;
    if (lines->fd > STDERR_FILENO) close(lines->fd);
    ZSTD_freeDCtx(lines->zstd);
    free(lines->packed);
    free(lines->text);
    free(lines->name);
    free(lines);
}
