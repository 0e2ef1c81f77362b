/* SPDX-License-Identifier: MIT */
#include "names.h"

#include "ft/hash.h"
#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX ((size_t)1 << 31)

static size_t find_slot(const struct ft_names *names, const char *name) {
    size_t i = ft_xxh3(name, strlen(name)) & (names->slots - 1);
    while (names->slot[i] != FT_NAME_NONE && strcmp(names->name[names->slot[i]], name) != 0)
        i = (i + 1) & (names->slots - 1);
    return i;
}

/* At most half of the slots are taken. */
static enum ft_status make_room(struct ft_names *names, struct ft_error *error) {
    if (names->slots && names->count < names->slots / 2) return FT_OK;
    size_t slots = names->slots ? names->slots * 2 : 64;
    uint32_t *slot;
    enum ft_status status = ft_alloc(&slot, slots, sizeof *slot, error);
    if (status) return status;
    memset(slot, 0xff, slots * sizeof *slot);
    free(names->slot);
    names->slot = slot;
    names->slots = slots;
    for (size_t i = 0; i < names->count; i++)
        slot[find_slot(names, names->name[i])] = (uint32_t)i;
    return FT_OK;
}

enum ft_status ft_names_put(struct ft_names *names, const char *name, uint32_t *id, struct ft_error *error) {
    *id = FT_NAME_NONE;
    if (!name) return FT_OK;
    enum ft_status status = make_room(names, error);
    if (status) return status;
    size_t at = find_slot(names, name);
    if (names->slot[at] == FT_NAME_NONE) {
        status = ft_grow(&names->name, &names->capacity, names->count + 1, sizeof *names->name, NAMES_MAX,
                         "names", error);
        if (status) return status;
        size_t size = strlen(name) + 1;
        char *copy;
        status = ft_alloc(&copy, size, 1, error);
        if (status) return status;
        memcpy(copy, name, size);
        names->name[names->count] = copy;
        names->slot[at] = (uint32_t)names->count++;
    }
    *id = names->slot[at];
    return FT_OK;
}

struct named {
    const char *name;
    uint32_t id;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

enum ft_status ft_names_sorted(const struct ft_names *names, uint32_t **order, struct ft_error *error) {
    struct named *pair = NULL;
    enum ft_status status = ft_alloc(&pair, names->count, sizeof *pair, error);
    if (!status) status = ft_alloc(order, names->count, sizeof **order, error);
    if (!status) {
        for (size_t i = 0; i < names->count; i++)
            pair[i] = (struct named){names->name[i], (uint32_t)i};
        qsort(pair, names->count, sizeof *pair, by_name);
        for (size_t i = 0; i < names->count; i++)
            (*order)[i] = pair[i].id;
    }
    free(pair);
    return status;
}

void ft_names_release(struct ft_names *names) {
    for (size_t i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    free(names->slot);
    *names = (struct ft_names){0};
}
