/* SPDX-License-Identifier: MIT
 *
 * Which records hang together, as units, and which part each unit goes to (ft/split.h).
 */
#include "split_internal.h"

#include "ft/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAW_BITS 40 /* ten hexadecimal digits */

/* --- units --------------------------------------------------------------------------------------------- */

struct keyed {
    const unsigned char *content;
    uint32_t record;
};

static int by_content(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    int c = memcmp(x->content, y->content, FT_SHA256_SIZE);
    return c ? c : (x->record > y->record) - (x->record < y->record);
}

/* Numbers the distinct contents in order of their digests, so that nothing below depends on the input's
 * order. */
static enum ft_status find_items(struct ft_split *split, struct ft_error *error) {
    struct keyed *keyed = NULL;
    enum ft_status status = ft_alloc(&keyed, split->count, sizeof *keyed, error);
    if (!status) status = ft_alloc(&split->order, split->count, sizeof *split->order, error);
    if (status) goto done;
    for (size_t i = 0; i < split->count; i++)
        keyed[i] = (struct keyed){split->row[i].content, (uint32_t)i};
    qsort(keyed, split->count, sizeof *keyed, by_content);
    size_t items = 0;
    for (size_t i = 0; i < split->count; i++) {
        if (!i || memcmp(keyed[i].content, keyed[i - 1].content, FT_SHA256_SIZE) != 0)
            split->order[items++] = keyed[i].record;
        split->row[keyed[i].record].item = (uint32_t)(items - 1);
    }
    split->facts.distinct = items;
done:
    free(keyed);
    return status;
}

static enum ft_status join_groups(struct ft_split *split, struct ft_error *error) {
    uint32_t *first = NULL;
    enum ft_status status = ft_alloc(&first, split->groups.count, sizeof *first, error);
    if (!status) status = ft_alloc(&split->group_key, split->groups.count, sizeof *split->group_key, error);
    if (status) goto done;
    for (size_t g = 0; g < split->groups.count; g++) {
        struct ft_sha256 hash;
        ft_sha256_init(&hash);
        ft_sha256_update(&hash, "group ", strlen("group "));
        ft_sha256_update(&hash, split->groups.name[g], strlen(split->groups.name[g]));
        ft_sha256_final(&hash, split->group_key[g]);
        first[g] = FT_NAME_NONE;
    }
    for (size_t i = 0; i < split->count; i++) {
        struct split_row *row = &split->row[i];
        if (row->group == FT_NAME_NONE) continue;
        if (first[row->group] == FT_NAME_NONE)
            first[row->group] = row->item;
        else
            ft_sets_join(&split->sets, first[row->group], row->item);
    }
done:
    free(first);
    return status;
}

static bool are_apart(void *arg, uint32_t i, uint32_t j) {
    struct ft_split *split = arg;
    return ft_sets_find(&split->sets, i) != ft_sets_find(&split->sets, j);
}

static void join_pair(void *arg, uint32_t i, uint32_t j) {
    struct ft_split *split = arg;
    ft_sets_join(&split->sets, i, j);
    split->facts.near_links++;
}

static bool are_parted(void *arg, uint32_t i, uint32_t j) {
    const struct ft_split *split = arg;
    return split->row[split->order[i]].part != split->row[split->order[j]].part;
}

static void count_crossing(void *arg, uint32_t i, uint32_t j) {
    struct ft_split *split = arg;
    (void)i, (void)j;
    split->facts.crossing++;
}

static enum ft_status search(struct ft_split *split, bool (*want)(void *, uint32_t, uint32_t),
                             void (*found)(void *, uint32_t, uint32_t), struct ft_error *error) {
    if (!ft_split_is_fuzzy(split)) return FT_OK;
    struct ft_similar_search run = {.signature = split->signature,
                                    .present = split->present,
                                    .order = split->order,
                                    .count = split->facts.distinct,
                                    .bar = ft_signature_bar(split->options.similarity),
                                    .want = want,
                                    .found = found,
                                    .arg = split};
    return ft_similar_run(&run, error);
}

static const unsigned char *key_of(const struct ft_split *split, uint32_t record) {
    const struct split_row *row = &split->row[record];
    return row->group == FT_NAME_NONE ? row->content : split->group_key[row->group];
}

static const char *label_of(const struct ft_split *split, uint32_t record) {
    uint32_t label = split->row[record].label;
    return label == FT_NAME_NONE ? "" : split->labels.name[label];
}

/* A total order up to records that are equal in all that counts. */
static int compare_records(const struct ft_split *split, uint32_t a, uint32_t b) {
    int c = memcmp(key_of(split, a), key_of(split, b), FT_SHA256_SIZE);
    if (!c) c = memcmp(split->row[a].content, split->row[b].content, FT_SHA256_SIZE);
    return c ? c : strcmp(label_of(split, a), label_of(split, b));
}

static uint64_t draw_of(const struct ft_split *split, uint32_t record) {
    char text[128], hex[2 * FT_SHA256_SIZE + 1];
    unsigned char digest[FT_SHA256_SIZE];
    ft_hex(key_of(split, record), FT_SHA256_SIZE, hex);
    int size = snprintf(text, sizeof text, "ft-split-1 %" PRIu64 " %s", split->options.seed, hex);
    ft_sha256(text, (size_t)size, digest);
    uint64_t draw = 0;
    for (unsigned i = 0; i < DRAW_BITS / 8; i++)
        draw = draw << 8 | digest[i];
    return draw;
}

static enum ft_status make_units(struct ft_split *split, uint32_t **unit_of, struct ft_error *error) {
    struct ft_split_facts *facts = &split->facts;
    enum ft_status status = ft_alloc(unit_of, facts->distinct, sizeof **unit_of, error);
    if (status) return status;
    for (size_t i = 0; i < facts->distinct; i++)
        if (ft_sets_find(&split->sets, (uint32_t)i) == i) (*unit_of)[i] = (uint32_t)facts->units++;
    for (size_t i = 0; i < facts->distinct; i++)
        (*unit_of)[i] = (*unit_of)[ft_sets_find(&split->sets, (uint32_t)i)];
    status = ft_alloc(&split->unit, facts->units, sizeof *split->unit, error);
    if (status) return status;
    for (size_t i = 0; i < split->count; i++) {
        struct split_unit *unit = &split->unit[(*unit_of)[split->row[i].item]];
        if (!unit->records || compare_records(split, (uint32_t)i, unit->first) < 0) unit->first = (uint32_t)i;
        unit->records++;
    }
    for (size_t i = 0; i < facts->distinct; i++)
        split->unit[(*unit_of)[i]].items++;
    for (size_t i = 0; i < facts->units; i++)
        split->unit[i].draw = draw_of(split, split->unit[i].first);
    return FT_OK;
}

/* --- parts --------------------------------------------------------------------------------------------- */

/* The part that holds the point `numerator / denominator` of [0, 1); both below 2^43. */
static uint8_t part_at(const struct ft_split *split, uint64_t numerator, uint64_t denominator) {
    uint64_t end = 0;
    for (uint8_t part = 0; part + 1u < FT_SPLIT_PARTS; part++) {
        end += split->options.share[part];
        if (numerator * FT_SPLIT_WHOLE < end * denominator) return part;
    }
    /* The last part may have no share: then this is the last one that has. */
    uint8_t last = FT_SPLIT_PARTS - 1;
    while (last && !split->options.share[last])
        last--;
    return last;
}

static void draw_parts(struct ft_split *split) {
    for (size_t i = 0; i < split->facts.units; i++)
        split->unit[i].part = part_at(split, split->unit[i].draw, UINT64_C(1) << DRAW_BITS);
}

struct ranked {
    uint32_t label;
    uint64_t draw;
    const unsigned char *key;
    struct split_unit *unit;
};

static int by_rank(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return memcmp(x->key, y->key, FT_SHA256_SIZE);
}

/* Cuts the units of one label, in order of their draws, where their records reach the shares; a unit goes
 * where its middle lies. */
static void cut_stratum(struct ft_split *split, struct ranked *ranked, size_t count) {
    uint64_t total = 0, before = 0;
    for (size_t i = 0; i < count; i++)
        total += ranked[i].unit->records;
    for (size_t i = 0; i < count; i++) {
        struct split_unit *unit = ranked[i].unit;
        unit->part = part_at(split, 2 * before + unit->records, 2 * total);
        before += unit->records;
    }
}

static enum ft_status stratify_parts(struct ft_split *split, struct ft_error *error) {
    struct ranked *ranked;
    size_t units = split->facts.units;
    enum ft_status status = ft_alloc(&ranked, units, sizeof *ranked, error);
    if (status) return status;
    for (size_t i = 0; i < units; i++) {
        struct split_unit *unit = &split->unit[i];
        ranked[i] =
            (struct ranked){split->row[unit->first].label, unit->draw, key_of(split, unit->first), unit};
    }
    qsort(ranked, units, sizeof *ranked, by_rank);
    for (size_t i = 0, end; i < units; i = end) {
        for (end = i + 1; end < units && ranked[end].label == ranked[i].label; end++) {
        }
        cut_stratum(split, ranked + i, end - i);
    }
    free(ranked);
    return FT_OK;
}

static void gather_facts(struct ft_split *split, const uint32_t *unit_of) {
    struct ft_split_facts *facts = &split->facts;
    facts->records = split->count;
    facts->duplicates = split->count - facts->distinct;
    facts->labels = split->labels.count;
    facts->groups = split->groups.count;
    for (size_t i = 0; i < split->count; i++) {
        struct split_row *row = &split->row[i];
        row->part = split->unit[unit_of[row->item]].part;
        facts->part_records[row->part]++;
        facts->unlabelled += row->label == FT_NAME_NONE;
        facts->ungrouped += row->group == FT_NAME_NONE;
    }
    for (size_t i = 0; i < facts->units; i++) {
        const struct split_unit *unit = &split->unit[i];
        facts->part_units[unit->part]++;
        if (unit->records > facts->largest) facts->largest = unit->records;
        if (unit->items > 1) {
            facts->clusters++;
            facts->clustered += unit->records;
        }
    }
}

enum ft_status ft_split_decide(struct ft_split *split, struct ft_error *error) {
    uint32_t *unit_of = NULL;
    if (!split->count) return ft_fail(error, FT_FORMAT, "there are no records to split");
    if (split->facts.boilerplate && split->again != split->count)
        return ft_fail(error, FT_MISMATCH, "the input has fewer records than it had when it was read before");
    if (split->options.group && !split->groups.count)
        return ft_fail(error, FT_FORMAT, "no record has the key \"%s\" that --group names",
                       split->options.group);
    if (split->options.stratify && !split->labels.count)
        return ft_fail(error, FT_FORMAT, "no record has the key \"%s\" that --stratify names",
                       split->options.stratify);
    enum ft_status status = find_items(split, error);
    if (!status) status = ft_sets_init(&split->sets, split->facts.distinct, error);
    if (!status) status = join_groups(split, error);
    if (!status) status = search(split, are_apart, join_pair, error);
    if (!status) status = make_units(split, &unit_of, error);
    if (!status && split->options.stratify)
        status = stratify_parts(split, error);
    else if (!status)
        draw_parts(split);
    if (!status) {
        gather_facts(split, unit_of);
        status = search(split, are_parted, count_crossing, error);
    }
    free(unit_of);
    return status;
}
