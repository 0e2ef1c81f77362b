/* SPDX-License-Identifier: MIT
 *
 * Writing so that a file or a directory appears whole or not at all: a temporary beside the target, every
 * write and close checked, fsync, rename last, mode 0666 & ~umask. A full disk is FT_IO with the path. Order
 * of calls: open, write..., commit; abort instead of commit leaves nothing behind (and after a failed commit,
 * too).
 */
#ifndef FT_COMMIT_H
#define FT_COMMIT_H

#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

struct ft_output;

enum ft_output_flags {
    FT_OUTPUT_HASH = 1, /* SHA-256 is computed while writing: ft_output_digest */
    FT_OUTPUT_KEEP = 2, /* an existing file with the same bytes is left alone, its time too */
    FT_OUTPUT_NOSYNC = 4, /* no fsync: for files inside a directory that ft_directory_commit syncs, and for scratch */
};

/* "-" writes to standard output directly (FT_OUTPUT_KEEP is then without effect). A device or a pipe as
 * target is written in place, too. *output is freed by commit or abort. */
enum ft_status ft_output_open(struct ft_output **output, const char *path, unsigned flags,
                              struct ft_error *error);
enum ft_status ft_output_write(struct ft_output *output, const void *bytes, size_t count,
                               struct ft_error *error);
enum ft_status ft_output_string(struct ft_output *output, const char *text, struct ft_error *error);
uint64_t ft_output_size(const struct ft_output *output); /* bytes written so far */

/* Hexadecimal SHA-256 of what was written so far (FT_OUTPUT_HASH). */
void ft_output_digest(const struct ft_output *output, char hex[65]);

/* Puts the file in place and frees the output, on failure too (the target is then as it was). */
enum ft_status ft_output_commit(struct ft_output *output, struct ft_error *error);
void ft_output_abort(struct ft_output *output); /* NULL is fine */

/* open, write, commit in one. */
enum ft_status ft_write_file(const char *path, const void *bytes, size_t count, unsigned flags,
                             struct ft_error *error);

/* A directory that appears at once. An existing one is replaced when it is empty or one of ours (it holds
 * SHA256SUMS or provenance.json); anything else there is FT_USAGE, before any work is done. Files in it that
 * did not change keep their times. */
struct ft_directory;

enum ft_status ft_directory_begin(struct ft_directory **directory, const char *path, struct ft_error *error);
const char *ft_directory_path(const struct ft_directory *directory); /* write the files here */
/* Frees the directory, on failure too. */
enum ft_status ft_directory_commit(struct ft_directory *directory, struct ft_error *error);
void ft_directory_abort(struct ft_directory *directory); /* removes the temporary; NULL is fine */
/* Lets the kernel begin to write what lies in the directory at `path` by now, so that a commit waits less. A hint: nothing
 * is promised by it, and it cannot fail. */
void ft_directory_flush(const char *path);

/* A directory that lives while a run lasts (checkpoints, metrics): made when absent, with parents; files in
 * it go through ft_output. Temporaries that killed processes left in it are removed. */
enum ft_status ft_directory_make(const char *path, struct ft_error *error);

/* From now on signals that end a program (of the terminal, of a pipe that nobody reads, of the processor's time)
 * remove every live temporary and then end the process by that signal; past a file size limit a write fails.
 * For cmd/. */
void ft_commit_on_signal(void);
/* The same removal for programs with their own handlers; async-signal-safe. */
void ft_commit_clean(void);

#endif
