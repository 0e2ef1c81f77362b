/* SPDX-License-Identifier: MIT
 *
 * What split.c (records come in), split_decide.c (units and parts) and split_report.c (saying it) share.
 */
#ifndef FT_DATA_SPLIT_INTERNAL_H
#define FT_DATA_SPLIT_INTERNAL_H

#include "ft/split.h"
#include "names.h"

/* A record. */
struct split_row {
    unsigned char content[FT_SHA256_SIZE];
    uint32_t label, group; /* FT_NAME_NONE: none */
    uint32_t item;         /* which distinct content, in order of digests */
    uint8_t part;
};

/* What must not be parted. */
struct split_unit {
    uint32_t root;  /* the smallest item in it */
    uint32_t first; /* the record with the smallest key */
    uint32_t records, items;
    uint64_t draw;
    uint8_t part;
};

struct ft_split {
    struct ft_split_options options;
    struct split_row *row; /* [count] */
    size_t count, row_capacity;
    struct ft_signature *signature; /* [count], unless only exact duplicates count */
    bool *present;                  /* [count] */
    size_t signature_capacity, present_capacity;
    size_t again; /* records given by ft_split_again so far */
    struct ft_names labels, groups;
    unsigned char (*group_key)[FT_SHA256_SIZE]; /* [groups.count] */
    struct ft_boilerplate *boilerplate;
    uint32_t *order;         /* [items]: a record of each distinct content */
    struct ft_sets sets;     /* over items */
    struct split_unit *unit; /* [facts.units], in order of root */
    struct ft_split_facts facts;
};

/* Whether near duplicates count, or exact ones only. */
static inline bool ft_split_is_fuzzy(const struct ft_split *split) { return split->options.similarity < 1.0; }

#endif
