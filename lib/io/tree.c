/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* syscall */
#include "ft/tree.h"

#include "ft/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- walking -------------------------------------------------------------------------------------------- */

#define FILES_MAX ((size_t)1 << 20)

struct list {
    char **name;
    size_t count, capacity;
};

static void list_free(struct list *list) {
    for (size_t i = 0; i < list->count; i++) free(list->name[i]);
    free(list->name);
}

static enum ft_status list_add(struct list *list, const char *name, struct ft_error *error) {
    enum ft_status status = ft_grow(&list->name, &list->capacity, list->count + 1, sizeof *list->name,
                                    FILES_MAX, "files below a directory", error);
    if (status) return status;
    list->name[list->count] = strdup(name);
    if (!list->name[list->count]) return ft_fail(error, FT_NOMEM, "out of memory");
    list->count++;
    return FT_OK;
}

static enum ft_status collect(struct list *list, const char *root, const char *below, unsigned depth,
                              struct ft_error *error);

static enum ft_status collect_entry(struct list *list, const char *root, const char *name, unsigned depth,
                                    struct ft_error *error) {
    struct ft_buffer path = {0};
    struct stat info, link;
    enum ft_status status = ft_buffer_printf(&path, error, "%s/%s", root, name);
    if (!status && (stat(path.data, &info) != 0 || lstat(path.data, &link) != 0))
        status = ft_fail_errno(error, FT_IO, "%s: cannot be read", path.data);
    if (!status) {
        if (S_ISREG(info.st_mode)) status = list_add(list, name, error);
        else if (S_ISDIR(info.st_mode) && S_ISDIR(link.st_mode))
            status = collect(list, root, name, depth + 1, error);
        else status = ft_fail(error, FT_FORMAT, "%s: is neither a file nor a directory", path.data);
    }
    ft_buffer_release(&path);
    return status;
}

static enum ft_status collect(struct list *list, const char *root, const char *below, unsigned depth,
                              struct ft_error *error) {
    if (depth > FT_TREE_DEPTH)
        return ft_fail(error, FT_LIMIT, "%s/%s: directories are nested too deep", root, below);
    struct ft_buffer path = {0}, name = {0};
    enum ft_status status = ft_buffer_printf(&path, error, "%s/%s", root, below);
    DIR *directory = status ? NULL : opendir(path.data);
    if (!status && !directory) status = ft_fail_errno(error, FT_IO, "%s: cannot be read", path.data);
    while (!status) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry && errno) status = ft_fail_errno(error, FT_IO, "%s: cannot be read", path.data);
        if (!entry) break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        ft_buffer_clear(&name);
        status = ft_buffer_printf(&name, error, "%s%s%s", below, *below ? "/" : "", entry->d_name);
        if (!status) status = collect_entry(list, root, name.data, depth, error);
    }
    if (directory) closedir(directory);
    ft_buffer_release(&path);
    ft_buffer_release(&name);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

enum ft_status ft_tree_walk(const char *directory,
                            enum ft_status (*visit)(void *, const char *, struct ft_error *),
                            void *arg, struct ft_error *error) {
    struct list list = {0};
    enum ft_status status = collect(&list, directory, "", 0, error);
    if (!status && list.count) qsort(list.name, list.count, sizeof *list.name, by_name);
    for (size_t i = 0; !status && i < list.count; i++) status = visit(arg, list.name[i], error);
    list_free(&list);
    return status;
}

bool ft_tree_is_empty(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) return false;
    size_t entries = 0;
    while (readdir(directory)) entries++;
    closedir(directory);
    return entries == 2; /* "." and ".." */
}

void ft_tree_remove_leftovers(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) return;
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        long pid;
        unsigned serial;
        int length = 0;
        if (sscanf(entry->d_name, ".ft-%ld-%u.tmp%n", &pid, &serial, &length) != 2) continue;
        if (length == 0 || entry->d_name[length]) continue;
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
        struct ft_buffer name = {0};
        if (!ft_buffer_printf(&name, NULL, "%s/%s", path, entry->d_name)) (void)ft_tree_remove(name.data);
        ft_buffer_release(&name);
    }
    closedir(directory);
}

/* --- removing ------------------------------------------------------------------------------------------- */

/* readdir allocates, which a signal handler must not do; so this asks the kernel directly. */
struct kernel_dirent { /* struct linux_dirent64, see getdents(2) */
    uint64_t ino, off;
    uint16_t length;
    uint8_t type;
    char name[];
};

static int remove_at(int parent, const char *name, unsigned depth);

/* One reading of the directory: the number of entries it found, or -1. */
static long remove_entries(int fd, unsigned depth) {
    _Alignas(8) char block[2048];
    long found = 0, got;
    if (lseek(fd, 0, SEEK_SET) != 0) return -1;
    while ((got = syscall(SYS_getdents64, fd, block, sizeof block)) > 0) {
        for (long at = 0; at < got;) {
            const struct kernel_dirent *entry = (const void *)(block + at);
            at += entry->length;
            const char *name = entry->name;
            if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
            if (remove_at(fd, name, depth + 1) != 0) return -1;
            found++;
        }
    }
    return got < 0 ? -1 : found;
}

static int remove_at(int parent, const char *name, unsigned depth) {
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return -1; /* POSIX lets unlink of a directory say either */
    if (depth > FT_TREE_DEPTH) return -1;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    long found;
    while ((found = remove_entries(fd, depth)) > 0) {} /* removal may make a reading skip entries */
    int saved = errno;
    close(fd);
    errno = saved;
    return found < 0 ? -1 : unlinkat(parent, name, AT_REMOVEDIR);
}

int ft_tree_remove(const char *path) { return remove_at(AT_FDCWD, path, 0); }
