/* SPDX-License-Identifier: MIT
 *
 * Checking evidence: every file of a directory against its SHA256SUMS, provenance.json against both, and each
 * recorded input against the other things given, so that a chain can be walked from a result back to its
 * leaves.
 */
#ifndef FT_VERIFY_H
#define FT_VERIFY_H

#include "ft/error.h"

#include <stddef.h>

struct ft_verify {
    const char *const *paths; /* directories and files, in any order */
    size_t count;
    bool complete;                               /* an input that is not among the paths is a mismatch */
    void (*say)(void *arg, const char *line);    /* progress for people, one line each; NULL: silence */
    void *arg;
};

/* FT_OK when everything agrees. FT_MISMATCH with the first thing that does not, named. FT_FORMAT, FT_IO for
 * evidence that cannot be read, FT_USAGE when nothing given holds any evidence. A path without evidence is a
 * leaf: it must be an input of another. */
enum ft_status ft_verify(const struct ft_verify *verify, struct ft_error *error);

#endif
