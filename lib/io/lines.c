/* SPDX-License-Identifier: MIT
 *
 * Text lies in one buffer; lines are handed out in place, the newline overwritten by NUL. When no newline is
 * left, the rest moves to the front and more is copied (or unpacked) behind it, the buffer doubling as
 * needed. */
#include "ft/file.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { ROOM = 1 << 16 }; /* bytes that are free behind the text whenever more is fetched */

struct ft_lines {
    struct ft_source *source;
    size_t max_line;
    uint64_t number;
    ZSTD_DCtx *zstd; /* NULL: plain text */
    bool inside_frame;
    bool returned; /* the line given last ended in "\r\n" */

    char *text;
    size_t begin, scanned, end, capacity; /* begin <= scanned <= end; no newline in [begin, scanned) */
};

static enum ft_status recognise(struct ft_lines *lines, struct ft_error *error) {
    const unsigned char *bytes;
    size_t count;
    enum ft_status status = ft_source_peek(lines->source, 4, &bytes, &count, error);
    if (status) return status;
    if (count >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b)
        return ft_fail(error, FT_UNSUPPORTED,
                       "%s: is packed by gzip; give it through `zcat`, or pack it with zstd",
                       ft_lines_name(lines));
    if (count < 4 || ft_load32(bytes) != ZSTD_MAGICNUMBER) return FT_OK;
    lines->zstd = ZSTD_createDCtx();
    return lines->zstd ? FT_OK : ft_fail(error, FT_NOMEM, "out of memory for zstd");
}

enum ft_status ft_lines_from(struct ft_lines **out, struct ft_source *source, size_t max_line,
                             struct ft_error *error) {
    struct ft_lines *lines;
    enum ft_status status = ft_alloc(&lines, 1, sizeof *lines, error);
    if (status) {
        ft_source_close(source);
        return status;
    }
    *lines = (struct ft_lines){.source = source, .max_line = max_line ? max_line : FT_LINE_MAX};
    status = recognise(lines, error);
    if (status) ft_lines_close(lines);
    else *out = lines;
    return status;
}

enum ft_status ft_lines_open(struct ft_lines **out, const char *path, size_t max_line,
                             struct ft_error *error) {
    struct ft_source *source;
    enum ft_status status = ft_source_open(&source, path, error);
    return status ? status : ft_lines_from(out, source, max_line, error);
}

static enum ft_status damaged(const struct ft_lines *lines, const char *why, struct ft_error *error) {
    return ft_fail(error, FT_FORMAT, "%s: after line %llu: zstd data are damaged (%s); get a whole copy",
                   ft_lines_name(lines), (unsigned long long)lines->number, why);
}

static enum ft_status unpack(struct ft_lines *lines, struct ft_error *error) {
    ZSTD_outBuffer out = {lines->text, lines->capacity - 1, lines->end};
    while (out.pos == lines->end) {
        const unsigned char *bytes;
        size_t count;
        enum ft_status status = ft_source_peek(lines->source, 1, &bytes, &count, error);
        if (status) return status;
        if (count == 0 && !lines->inside_frame) return FT_OK;
        ZSTD_inBuffer in = {bytes, count, 0};
        size_t result = ZSTD_decompressStream(lines->zstd, &out, &in);
        if (ZSTD_isError(result)) return damaged(lines, ZSTD_getErrorName(result), error);
        if (count == 0 && out.pos == lines->end) return damaged(lines, "cut off", error);
        ft_source_skip(lines->source, in.pos);
        lines->inside_frame = result != 0;
    }
    lines->end = out.pos;
    return FT_OK;
}

static enum ft_status copy_plain(struct ft_lines *lines, struct ft_error *error) {
    const unsigned char *bytes;
    size_t room = lines->capacity - 1 - lines->end, count;
    enum ft_status status = ft_source_peek(lines->source, 1, &bytes, &count, error);
    if (status) return status;
    if (count > room) count = room;
    memcpy(lines->text + lines->end, bytes, count);
    ft_source_skip(lines->source, count);
    lines->end += count;
    return FT_OK;
}

static enum ft_status too_long(const struct ft_lines *lines, uint64_t number, struct ft_error *error) {
    return ft_fail(error, FT_LIMIT, "%s: line %llu is longer than %zu bytes", ft_lines_name(lines),
                   (unsigned long long)number, lines->max_line);
}

/* Puts more text behind `end`; nothing was added when the input is over. One byte stays free for a NUL. */
static enum ft_status fill(struct ft_lines *lines, struct ft_error *error) {
    size_t held = lines->end - lines->begin;
    if (held && lines->begin) memmove(lines->text, lines->text + lines->begin, held);
    lines->begin = 0;
    lines->scanned = lines->end = held;
    if (held > lines->max_line + 1) return too_long(lines, lines->number + 1, error); /* 1: a "\r" may be last */
    if (lines->capacity < held + ROOM) {
        enum ft_status status =
            ft_grow(&lines->text, &lines->capacity, held + ROOM, 1, SIZE_MAX / 2, "bytes of a line", error);
        if (status) return status;
    }
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
    if (count > lines->max_line) return too_long(lines, lines->number, error);
    first[count] = '\0';
    lines->begin = lines->scanned = next;
    *line = first;
    *size = count;
    return FT_OK;
}

enum ft_status ft_lines_next(struct ft_lines *lines, const char **line, size_t *size,
                             struct ft_error *error) {
    for (;;) {
        const char *newline = NULL;
        if (lines->end > lines->scanned)
            newline = memchr(lines->text + lines->scanned, '\n', lines->end - lines->scanned);
        if (newline) {
            size_t stop = (size_t)(newline - lines->text);
            return give(lines, stop, stop + 1, line, size, error);
        }
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

const char *ft_lines_name(const struct ft_lines *lines) { return ft_source_name(lines->source); }

void ft_lines_digest(const struct ft_lines *lines, char hex[65]) { ft_source_sha256(lines->source, hex); }

void ft_lines_close(struct ft_lines *lines) {
    if (!lines) return;
    ft_source_close(lines->source);
    ZSTD_freeDCtx(lines->zstd);
    free(lines->text);
    free(lines);
}
