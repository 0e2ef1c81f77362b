/* SPDX-License-Identifier: MIT
 *
 * Directory trees: every file below a directory in a fixed order, and removal that a signal handler may call.
 */
#ifndef FT_TREE_H
#define FT_TREE_H

#include "ft/error.h"

#include <stddef.h>

#define FT_TREE_DEPTH 16u /* deepest nesting of directories */

/* Calls visit with the path relative to `directory` ("a/b.txt") of every file below it, in byte order of
 * these paths, and stops at the first failure. Links to files count as files; links to directories, devices,
 * sockets and FIFOs are FT_FORMAT. */
enum ft_status ft_tree_walk(const char *directory,
                            enum ft_status (*visit)(void *arg, const char *name, struct ft_error *),
                            void *arg, struct ft_error *error);

bool ft_tree_is_empty(const char *directory);

/* Removes a file or a whole tree without following links: 0, also when there is none, else -1 with errno set.
 * Async-signal-safe: no memory is allocated. */
int ft_tree_remove(const char *path);

/* Removes from `directory` the temporaries of ft_output and ft_directory whose processes are gone. */
void ft_tree_remove_leftovers(const char *directory);

#endif
