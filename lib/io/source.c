/* SPDX-License-Identifier: MIT */
#include "ft/source.h"

#include "ft/file.h"
#include "ft/hash.h"
#include "ft/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAPACITY = 2 * FT_SOURCE_PEEK };

struct ft_source {
    char *name;
    int fd;
    bool ended;
    struct ft_sha256 hash;
    size_t at, end;
    unsigned char bytes[CAPACITY];
};

enum ft_status ft_source_open(struct ft_source **out, const char *path, struct ft_error *error) {
    struct ft_source *source;
    enum ft_status status = ft_alloc(&source, 1, sizeof *source, error);
    if (status) return status;
    source->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    source->name = strdup(ft_path_shown(path));
    ft_sha256_init(&source->hash);
    if (source->fd < 0) status = ft_fail_errno(error, FT_IO, "%s: cannot be read", path);
    else if (!source->name) status = ft_fail(error, FT_NOMEM, "out of memory");
    if (status) ft_source_close(source);
    else *out = source;
    return status;
}

void ft_source_close(struct ft_source *source) {
    if (!source) return;
    if (source->fd > STDERR_FILENO) close(source->fd);
    free(source->name);
    free(source);
}

const char *ft_source_name(const struct ft_source *source) { return source->name; }

enum ft_status ft_source_peek(struct ft_source *source, size_t least, const unsigned char **bytes,
                              size_t *count, struct ft_error *error) {
    assert(least <= FT_SOURCE_PEEK);
    if (source->end - source->at < least && source->at > 0) {
        memmove(source->bytes, source->bytes + source->at, source->end - source->at);
        source->end -= source->at;
        source->at = 0;
    }
    while (source->end - source->at < least && !source->ended) {
        ssize_t got = read(source->fd, source->bytes + source->end, CAPACITY - source->end);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return ft_fail_errno(error, FT_IO, "%s: cannot be read", source->name);
        source->ended = got == 0;
        source->end += (size_t)got;
    }
    *bytes = source->bytes + source->at;
    *count = source->end - source->at;
    return FT_OK;
}

void ft_source_skip(struct ft_source *source, size_t count) {
    assert(count <= source->end - source->at);
    ft_sha256_update(&source->hash, source->bytes + source->at, count);
    source->at += count;
}

void ft_source_sha256(const struct ft_source *source, char hex[65]) {
    struct ft_sha256 copy = source->hash;
    unsigned char digest[FT_SHA256_SIZE];
    ft_sha256_final(&copy, digest);
    ft_hex(digest, sizeof digest, hex);
}
