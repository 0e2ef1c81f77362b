/* SPDX-License-Identifier: MIT
 *
 * A preloaded library that makes one call fail. FT_FAULT=KIND:N fails the N-th call (from 1) of a kind: memory (malloc,
 * calloc, realloc, strdup, strndup: ENOMEM), write (write: ENOSPC), sync (fsync: EIO), rename (rename, renameat2: EIO),
 * read (read: EIO), map (mmap of a file: ENOMEM). When the fault strikes, the file named by FT_FAULT_MARK is made. The
 * file named by FT_FAULT_SYNCED gets a line with the number (inode) of everything that is synced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static const char *kind;
static long wanted;
static atomic_long seen;

__attribute__((constructor)) static void start(void) {
    const char *fault = getenv("FT_FAULT"), *colon = fault ? strchr(fault, ':') : NULL;
    if (!colon) return;
    wanted = atol(colon + 1);
    kind = fault;
}

static bool strikes(const char *what, int number) {
    size_t length = strlen(what);
    if (!kind || strncmp(kind, what, length) != 0 || kind[length] != ':') return false;
    if (atomic_fetch_add(&seen, 1) + 1 != wanted) return false;
    const char *mark = getenv("FT_FAULT_MARK");
    if (mark) close((int)syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY, 0600));
    errno = number;
    return true;
}

void *malloc(size_t size) { return strikes("memory", ENOMEM) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return strikes("memory", ENOMEM) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return strikes("memory", ENOMEM) ? NULL : __libc_realloc(old, size); }

/* glibc's own would not come through the malloc above. */
char *strndup(const char *text, size_t size) {
    size_t length = strnlen(text, size);
    char *copy = malloc(length + 1);
    if (!copy) return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}
char *strdup(const char *text) { return strndup(text, strlen(text)); }

ssize_t read(int fd, void *bytes, size_t count) {
    return strikes("read", EIO) ? -1 : syscall(SYS_read, fd, bytes, count);
}
ssize_t write(int fd, const void *bytes, size_t count) {
    return fd != STDERR_FILENO && strikes("write", ENOSPC) ? -1 : syscall(SYS_write, fd, bytes, count);
}
/* What does not fail is not synced either: a test waits for no disk. */
int fsync(int fd) {
    if (strikes("sync", EIO)) return -1;
    const char *list = getenv("FT_FAULT_SYNCED");
    struct stat info;
    int out = list && fstat(fd, &info) == 0 ? (int)syscall(SYS_openat, AT_FDCWD, list, O_CREAT | O_WRONLY | O_APPEND, 0600) : -1;
    if (out >= 0) {
        dprintf(out, "%ju\n", (uintmax_t)info.st_ino);
        close(out);
    }
    return 0;
}
int rename(const char *from, const char *to) {
    return strikes("rename", EIO) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return strikes("rename", EIO) ? -1 : (int)syscall(SYS_renameat2, a, from, b, to, flags);
}
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (fd >= 0 && strikes("map", ENOMEM)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}
