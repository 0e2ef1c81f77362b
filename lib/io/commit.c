/* SPDX-License-Identifier: MIT
 *
 * Temporaries are called ".ft-<pid>-<n>.tmp" and lie beside their target, so that the last rename stays
 * within one file system. Live ones are listed in a table that a signal handler walks: the one mutable global
 * of this layer, because a handler gets no argument. */
#define _GNU_SOURCE /* renameat2, sync_file_range */
#include "ft/commit.h"

#include "ft/file.h"
#include "ft/hash.h"
#include "ft/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFERED = 1 << 16, LIVE_MAX = 64, TRIES = 1000 };

/* --- the table of live temporaries ---------------------------------------------------------------------- */

enum slot_state { SLOT_FREE, SLOT_CLAIMED, SLOT_LIVE };
static struct slot {
    atomic_int state;
    char path[PATH_MAX];
    const char *shown; /* what a directory is going to be called: its owner's, while live */
} live[LIVE_MAX];
static atomic_uint serial;

static struct slot *claim(void) {
    for (size_t i = 0; i < LIVE_MAX; i++) {
        int expected = SLOT_FREE;
        if (atomic_compare_exchange_strong(&live[i].state, &expected, SLOT_CLAIMED)) return &live[i];
    }
    return NULL;
}

static void release(struct slot *slot) { atomic_store(&slot->state, SLOT_FREE); }

/* The name that messages use: a file within the temporary of a directory is called as it will be.
 * Released by free(). */
static char *shown_name(const char *path) {
    struct ft_buffer name = {0};
    for (size_t i = 0; i < LIVE_MAX; i++) {
        size_t length = strlen(live[i].path);
        if (atomic_load(&live[i].state) != SLOT_LIVE || !live[i].shown) continue;
        if (strncmp(path, live[i].path, length) != 0 || path[length] != '/') continue;
        if (!ft_path_join(&name, live[i].shown, path + length + 1, NULL)) return name.data;
        ft_buffer_release(&name);
    }
    return strdup(path);
}

void ft_commit_clean(void) {
    int saved = errno;
    for (size_t i = 0; i < LIVE_MAX; i++)
        if (atomic_load(&live[i].state) == SLOT_LIVE) (void)ft_tree_remove(live[i].path);
    errno = saved;
}

static void on_signal(int number) {
    ft_commit_clean();
    signal(number, SIG_DFL);
    raise(number); /* delivered when this handler returns */
}

void ft_commit_on_signal(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXCPU};
    signal(SIGXFSZ, SIG_IGN); /* past `ulimit -f` a write fails, and the message says where */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action = {.sa_handler = on_signal}, old;
        sigfillset(&action.sa_mask);
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup stays nohup */
            sigaction(numbers[i], &action, NULL);
    }
}

/* Makes a temporary file or directory beside `target`, and a slot that names it. *fd is set for files. */
static enum ft_status make_temporary(struct slot **out, int *fd, const char *target, const char *shown,
                                     struct ft_error *error) {
    struct slot *slot = claim();
    if (!slot) return ft_fail(error, FT_LIMIT, "%s: more than %d outputs are open at once", shown, LIVE_MAX);
    const char *slash = strrchr(target, '/');
    int directory = slash ? (int)(slash - target) + 1 : 0;
    int made = -1;
    for (int i = 0; i < TRIES && made < 0; i++) {
        int length = snprintf(slot->path, sizeof slot->path, "%.*s.ft-%ld-%u.tmp", directory, target,
                              (long)getpid(), atomic_fetch_add(&serial, 1));
        if (length < 0 || (size_t)length >= sizeof slot->path) errno = ENAMETOOLONG;
        else if (fd) made = *fd = open(slot->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        else made = mkdir(slot->path, 0777);
        if (made < 0 && errno != EEXIST) break; /* a leftover of a killed process of our number */
    }
    if (made < 0) {
        release(slot);
        return errno == ENOENT ? ft_fail(error, FT_IO,
                                         "%s: its directory does not exist; make it with mkdir -p", shown)
                               : ft_fail_errno(error, FT_IO, "%s: cannot be written", shown);
    }
    slot->shown = NULL;
    atomic_store(&slot->state, SLOT_LIVE);
    *out = slot;
    return FT_OK;
}

/* --- files ---------------------------------------------------------------------------------------------- */

struct ft_output {
    char *path;   /* as the caller named it */
    char *shown;  /* for messages */
    char *target; /* links resolved: a rename must not replace the link */
    int fd;
    unsigned flags;
    struct slot *temporary; /* NULL: written in place */
    uint64_t size;
    struct ft_sha256 hash;
    size_t pending;
    unsigned char buffer[BUFFERED];
};

static void output_free(struct ft_output *output) {
    if (output->fd > STDERR_FILENO) close(output->fd);
    if (output->temporary) {
        unlink(output->temporary->path);
        release(output->temporary);
    }
    free(output->path);
    free(output->shown);
    free(output->target);
    free(output);
}

static enum ft_status open_target(struct ft_output *output, struct ft_error *error) {
    if (strcmp(output->path, "-") == 0) {
        output->fd = STDOUT_FILENO;
        return FT_OK;
    }
    struct stat info;
    bool exists = stat(output->path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return ft_fail(error, FT_USAGE, "%s: is a directory; name a file", output->shown);
    if (exists && !S_ISREG(info.st_mode)) { /* /dev/null, a FIFO */
        output->fd = open(output->path, O_WRONLY | O_CLOEXEC);
        return output->fd < 0 ? ft_fail_errno(error, FT_IO, "%s: cannot be written", output->shown) : FT_OK;
    }
    output->target = exists ? realpath(output->path, NULL) : strdup(output->path);
    if (!output->target) return ft_fail_errno(error, FT_IO, "%s: cannot be written", output->shown);
    return make_temporary(&output->temporary, &output->fd, output->target, output->shown, error);
}

enum ft_status ft_output_open(struct ft_output **out, const char *path, unsigned flags,
                              struct ft_error *error) {
    struct ft_output *output;
    if (!*path) return ft_fail(error, FT_USAGE, "the output file has an empty name");
    enum ft_status status = ft_alloc(&output, 1, sizeof *output, error);
    if (status) return status;
    output->fd = -1;
    output->flags = flags;
    ft_sha256_init(&output->hash);
    output->path = strdup(path);
    output->shown = shown_name(path);
    status = output->path && output->shown ? open_target(output, error)
                                           : ft_fail(error, FT_NOMEM, "out of memory");
    if (status) output_free(output);
    else *out = output;
    return status;
}

static enum ft_status write_all(struct ft_output *output, const unsigned char *bytes, size_t count,
                                struct ft_error *error) {
    while (count) {
        ssize_t done = write(output->fd, bytes, count);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0)
            return ft_fail_errno(error, FT_IO, "%s: cannot be written",
                                 output->fd == STDOUT_FILENO ? "standard output" : output->shown);
        bytes += done;
        count -= (size_t)done;
    }
    return FT_OK;
}

static enum ft_status flush(struct ft_output *output, struct ft_error *error) {
    size_t count = output->pending;
    output->pending = 0;
    return write_all(output, output->buffer, count, error);
}

enum ft_status ft_output_write(struct ft_output *output, const void *bytes, size_t count,
                               struct ft_error *error) {
    enum ft_status status = FT_OK;
    if (output->flags & FT_OUTPUT_HASH) ft_sha256_update(&output->hash, bytes, count);
    output->size += count;
    if (count > BUFFERED - output->pending) status = flush(output, error);
    if (status) return status;
    if (count >= BUFFERED) return write_all(output, bytes, count, error);
    if (count) memcpy(output->buffer + output->pending, bytes, count);
    output->pending += count;
    return FT_OK;
}

enum ft_status ft_output_string(struct ft_output *output, const char *text, struct ft_error *error) {
    return ft_output_write(output, text, strlen(text), error);
}

uint64_t ft_output_size(const struct ft_output *output) { return output->size; }

void ft_output_digest(const struct ft_output *output, char hex[65]) {
    struct ft_sha256 copy = output->hash;
    unsigned char digest[FT_SHA256_SIZE];
    ft_sha256_final(&copy, digest);
    ft_hex(digest, sizeof digest, hex);
}

static bool same_contents(const char *a, const char *b) {
    struct ft_map x = {0}, y = {0};
    bool same = !ft_map_open(&x, a, NULL) && !ft_map_open(&y, b, NULL) && x.size == y.size &&
                (x.size == 0 || memcmp(x.data, y.data, x.size) == 0);
    ft_map_close(&x);
    ft_map_close(&y);
    return same;
}

/* So that new names survive a power failure; a file system that cannot sync a directory loses only that. */
static void sync_directory(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

static void sync_parent(const char *target) {
    char parent[PATH_MAX];
    const char *slash = strrchr(target, '/');
    int length = slash ? (int)(slash - target) + 1 : 1;
    if ((size_t)length >= sizeof parent) return;
    snprintf(parent, sizeof parent, "%.*s", length, slash ? target : ".");
    sync_directory(parent);
}

static enum ft_status close_output(struct ft_output *output, struct ft_error *error) {
    bool file = output->temporary != NULL;
    if (file && !(output->flags & FT_OUTPUT_NOSYNC) && fsync(output->fd) != 0)
        return ft_fail_errno(error, FT_IO, "%s: cannot be written", output->shown);
    if (output->fd == STDOUT_FILENO) return FT_OK;
    int result = close(output->fd);
    output->fd = -1;
    return result == 0 ? FT_OK : ft_fail_errno(error, FT_IO, "%s: cannot be written", output->shown);
}

enum ft_status ft_output_commit(struct ft_output *output, struct ft_error *error) {
    enum ft_status status = flush(output, error);
    if (!status) status = close_output(output, error);
    if (!status && output->temporary) {
        const char *temporary = output->temporary->path;
        bool keep = output->flags & FT_OUTPUT_KEEP && same_contents(temporary, output->target);
        if (!keep && rename(temporary, output->target) != 0)
            status = ft_fail_errno(error, FT_IO, "%s: cannot be put in place", output->shown);
        else if (!keep && !(output->flags & FT_OUTPUT_NOSYNC)) sync_parent(output->target);
    }
    output_free(output);
    return status;
}

void ft_output_abort(struct ft_output *output) {
    if (output) output_free(output);
}

enum ft_status ft_write_file(const char *path, const void *bytes, size_t count, unsigned flags,
                             struct ft_error *error) {
    struct ft_output *output;
    enum ft_status status = ft_output_open(&output, path, flags, error);
    if (status) return status;
    status = ft_output_write(output, bytes, count, error);
    if (!status) return ft_output_commit(output, error);
    ft_output_abort(output);
    return status;
}

/* --- directories ---------------------------------------------------------------------------------------- */

struct ft_directory {
    char *path;   /* as named, without trailing slashes */
    char *target; /* links resolved */
    struct slot *temporary;
};

static void directory_free(struct ft_directory *directory) {
    if (directory->temporary) {
        (void)ft_tree_remove(directory->temporary->path);
        release(directory->temporary);
    }
    free(directory->path);
    free(directory->target);
    free(directory);
}

static bool has(const char *directory, const char *name) {
    struct ft_buffer path = {0};
    bool there = !ft_path_join(&path, directory, name, NULL) && ft_path_exists(path.data);
    ft_buffer_release(&path);
    return there;
}

/* Only what ft made, or nothing at all, may be replaced. */
static enum ft_status check_replaceable(const char *path, struct ft_error *error) {
    if (!ft_path_exists(path)) return FT_OK;
    if (!ft_path_is_directory(path))
        return ft_fail(error, FT_USAGE, "%s: exists and is not a directory", path);
    if (has(path, "SHA256SUMS") || has(path, "provenance.json") || ft_tree_is_empty(path)) return FT_OK;
    return ft_fail(error, FT_USAGE, "%s: exists and was not made by ft; name another directory or remove it",
                   path);
}

static enum ft_status resolve(struct ft_directory *directory, const char *path, struct ft_error *error) {
    directory->path = strdup(path);
    if (!directory->path) return ft_fail(error, FT_NOMEM, "out of memory");
    for (size_t n = strlen(directory->path); n > 1 &&
         directory->path[n - 1] == '/'; n--) directory->path[n - 1] = '\0';
    enum ft_status status = check_replaceable(directory->path, error);
    if (status) return status;
    directory->target = realpath(directory->path, NULL);
    if (!directory->target) directory->target = strdup(directory->path);
    return directory->target ? FT_OK : ft_fail(error, FT_NOMEM, "out of memory");
}

enum ft_status ft_directory_begin(struct ft_directory **out, const char *path, struct ft_error *error) {
    if (!*path) return ft_fail(error, FT_USAGE, "the output directory has an empty name");
    struct ft_directory *directory;
    enum ft_status status = ft_alloc(&directory, 1, sizeof *directory, error);
    if (status) return status;
    status = resolve(directory, path, error);
    if (!status)
        status = make_temporary(&directory->temporary, NULL, directory->target, directory->path, error);
    if (status) directory_free(directory);
    else directory->temporary->shown = directory->path, *out = directory;
    return status;
}

const char *ft_directory_path(const struct ft_directory *directory) { return directory->temporary->path; }

struct comparison {
    const char *old, *new;
};

/* A file that is the same as its predecessor takes over its times. */
static enum ft_status keep_times(void *arg, const char *name, struct ft_error *error) {
    const struct comparison *pair = arg;
    struct ft_buffer old = {0}, new = {0};
    struct stat info;
    enum ft_status status = ft_path_join(&old, pair->old, name, error);
    if (!status) status = ft_path_join(&new, pair->new, name, error);
    if (!status && stat(old.data, &info) == 0 && same_contents(old.data, new.data)) {
        const struct timespec times[2] = {info.st_atim, info.st_mtim};
        (void)utimensat(AT_FDCWD, new.data, times, 0); /* only spares make some work */
    }
    ft_buffer_release(&old);
    ft_buffer_release(&new);
    return status;
}

/* What is in a file, before its name is there. */
static enum ft_status sync_file(const char *path, const char *directory, const char *name, struct ft_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), result = fd < 0 ? -1 : fsync(fd);
    enum ft_status status = result ? ft_fail_errno(error, FT_IO, "%s/%s: cannot be written", directory, name) : FT_OK;
    if (fd >= 0) close(fd);
    if (!status) sync_parent(path);
    return status;
}

static enum ft_status sync_one(void *arg, const char *name, struct ft_error *error) {
    const struct ft_directory *directory = arg;
    struct ft_buffer path = {0};
    enum ft_status status = ft_path_join(&path, directory->temporary->path, name, error);
    if (!status) status = sync_file(path.data, directory->path, name, error);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status flush_one(void *arg, const char *name, struct ft_error *error) {
    struct ft_buffer path = {0};
    enum ft_status status = ft_path_join(&path, arg, name, error);
    int fd = status ? -1 : open(path.data, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        close(fd);
    }
    ft_buffer_release(&path);
    return status;
}

void ft_directory_flush(const char *path) { (void)ft_tree_walk(path, flush_one, (void *)path, NULL); }

/* Afterwards the old directory, if there was one, lies under the temporary's name. */
static int exchange(const char *temporary, const char *target) {
    if (!ft_path_exists(target)) return rename(temporary, target);
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, target, RENAME_EXCHANGE) == 0) return 0;
    char aside[PATH_MAX]; /* file systems without exchange: a moment in which neither is there */
    int length = snprintf(aside, sizeof aside, "%s.old", temporary);
    if (length < 0 || (size_t)length >= sizeof aside) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (rename(target, aside) != 0) return -1;
    if (rename(temporary, target) == 0) return rename(aside, temporary);
    int saved = errno;
    (void)rename(aside, target);
    errno = saved;
    return -1;
}

enum ft_status ft_directory_commit(struct ft_directory *directory, struct ft_error *error) {
    const char *temporary = directory->temporary->path;
    enum ft_status status = check_replaceable(directory->path, error);
    if (!status && ft_path_exists(directory->target)) {
        struct comparison pair = {directory->target, temporary};
        status = ft_tree_walk(temporary, keep_times, &pair, error);
    }
    if (!status) status = ft_tree_walk(temporary, sync_one, directory, error);
    if (!status) {
        if (exchange(temporary, directory->target) != 0)
            status = ft_fail_errno(error, FT_IO, "%s: cannot be put in place", directory->path);
        else sync_parent(directory->target);
    }
    directory_free(directory);
    return status;
}

void ft_directory_abort(struct ft_directory *directory) {
    if (directory) directory_free(directory);
}

static enum ft_status make_one(const char *path, struct ft_error *error) {
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && ft_path_is_directory(path))) return FT_OK;
    if (errno == EEXIST) return ft_fail(error, FT_USAGE, "%s: exists and is not a directory", path);
    return ft_fail_errno(error, FT_IO, "%s: cannot be made", path);
}

enum ft_status ft_directory_make(const char *path, struct ft_error *error) {
    struct ft_buffer prefix = {.max = PATH_MAX};
    enum ft_status status = ft_buffer_string(&prefix, path, error);
    for (size_t i = 1; !status && i < prefix.size; i++) {
        if (prefix.data[i] != '/' || prefix.data[i - 1] == '/') continue;
        prefix.data[i] = '\0';
        status = make_one(prefix.data, error);
        prefix.data[i] = '/';
    }
    if (!status) status = make_one(path, error);
    if (!status) ft_tree_remove_leftovers(path);
    ft_buffer_release(&prefix);
    return status;
}
