/* SPDX-License-Identifier: MIT */
#include "ft/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };

const char *ft_path_shown(const char *path) { return strcmp(path, "-") == 0 ? "standard input" : path; }

bool ft_path_exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

bool ft_path_is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum ft_status ft_path_join(struct ft_buffer *buffer, const char *directory, const char *name,
                            struct ft_error *error) {
    enum ft_status status = ft_buffer_string(buffer, directory, error);
    if (!status && buffer->size && buffer->data[buffer->size - 1] != '/')
        status = ft_buffer_string(buffer, "/", error);
    return status ? status : ft_buffer_string(buffer, name, error);
}

static enum ft_status map_descriptor(struct ft_map *map, int fd, const char *path, struct ft_error *error) {
    struct stat info;
    if (fstat(fd, &info) != 0) return ft_fail_errno(error, FT_IO, "%s: cannot be read", path);
    if (S_ISDIR(info.st_mode)) return ft_fail(error, FT_USAGE, "%s: is a directory; name a file in it", path);
    if (!S_ISREG(info.st_mode)) return ft_fail(error, FT_USAGE, "%s: is not a regular file", path);
    if ((uintmax_t)info.st_size > SIZE_MAX / 2)
        return ft_fail(error, FT_LIMIT, "%s: is too large to map", path);
    *map = (struct ft_map){.size = (size_t)info.st_size};
    if (map->size == 0) return FT_OK; /* mmap refuses a length of 0 */
    void *data = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) return ft_fail_errno(error, FT_IO, "%s: cannot be mapped", path);
    map->data = data;
    return FT_OK;
}

enum ft_status ft_map_open(struct ft_map *map, const char *path, struct ft_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not make us wait: it is refused */
    if (fd < 0) return ft_fail_errno(error, FT_IO, "%s: cannot be read", path);
    enum ft_status status = map_descriptor(map, fd, path, error);
    close(fd);
    return status;
}

void ft_map_close(struct ft_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct ft_map){0};
}

void ft_map_forget(const void *data, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page, end = ((uintptr_t)data + size) / page * page;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* of a file: nothing is lost */
}

enum ft_status ft_read_all(struct ft_buffer *buffer, const char *path, size_t max, struct ft_error *error) {
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ft_fail_errno(error, FT_IO, "%s: cannot be read", path);
    char chunk[CHUNK];
    enum ft_status status = FT_OK;
    size_t total = 0;
    while (!status) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = ft_fail_errno(error, FT_IO, "%s: cannot be read", ft_path_shown(path));
        else if ((size_t)got > max - total)
            status = ft_fail(error, FT_LIMIT, "%s: is larger than the limit of %zu bytes",
                             ft_path_shown(path), max);
        else status = ft_buffer_append(buffer, chunk, (size_t)got, error);
        if (!status) total += (size_t)got;
    }
    if (!standard) close(fd);
    return status;
}
