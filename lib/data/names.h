/* SPDX-License-Identifier: MIT
 *
 * Strings to small numbers, in order of first appearance: labels and groups. Zero-initialise.
 */
#ifndef FT_DATA_NAMES_H
#define FT_DATA_NAMES_H

#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

#define FT_NAME_NONE UINT32_MAX

struct ft_names {
    char **name; /* [count], owned */
    size_t count, capacity;
    uint32_t *slot; /* open addressing: FT_NAME_NONE is free; slots is a power of two */
    size_t slots;
};

/* The number of `name`, given anew when it was not seen; NULL gives FT_NAME_NONE. */
enum ft_status ft_names_put(struct ft_names *names, const char *name, uint32_t *id, struct ft_error *error);
/* order[0..count): ids in byte order of their names. *order is the caller's, by free(). */
enum ft_status ft_names_sorted(const struct ft_names *names, uint32_t **order, struct ft_error *error);
void ft_names_release(struct ft_names *names);

#endif
