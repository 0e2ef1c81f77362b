/* SPDX-License-Identifier: MIT */
#include "ft/split.h"

#include "ft/memory.h"
#include "names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX ((size_t)1 << 31)
#define DRAW_BITS 40       /* ten hexadecimal digits */
#define LABELS_SHOWN 1000u /* more are counted, not listed */

const char *const ft_split_part_name[FT_SPLIT_PARTS] = {"train", "valid", "test"};

struct row {
    unsigned char content[FT_SHA256_SIZE];
    uint32_t label, group; /* FT_NAME_NONE: none */
    uint32_t item;         /* which distinct content, in order of digests */
    uint8_t part;
};

struct unit {
    uint32_t root;  /* the smallest item in it */
    uint32_t first; /* the record with the smallest key */
    uint32_t records, items;
    uint64_t draw;
    uint8_t part;
};

struct ft_split {
    struct ft_split_options options;
    struct row *row; /* [count] */
    size_t count, row_capacity;
    struct ft_signature *signature; /* [count], unless only exact duplicates count */
    bool *present;                  /* [count] */
    size_t signature_capacity, present_capacity;
    size_t again; /* records given by ft_split_again so far */
    struct ft_names labels, groups;
    unsigned char (*group_key)[FT_SHA256_SIZE]; /* [groups.count] */
    struct ft_boilerplate *boilerplate;
    uint32_t *order;     /* [items]: a record of each distinct content */
    struct ft_sets sets; /* over items */
    struct unit *unit;   /* [facts.units], in order of root */
    struct ft_split_facts facts;
};

/* --- shares -------------------------------------------------------------------------------------------- */

/* One percentage with at most four decimals, in millionths of the whole; moves *text behind it. */
static bool parse_share(const char **text, uint32_t *share) {
    const char *p = *text;
    uint32_t whole = 0, fraction = 0, scale = FT_SPLIT_WHOLE / 100;
    if (*p < '0' || *p > '9') return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        whole = whole * 10 + (uint32_t)(*p - '0');
        if (whole > 100) return false;
    }
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9'; p++) {
            scale /= 10;
            if (!scale) return false;
            fraction += (uint32_t)(*p - '0') * scale;
        }
    }
    *share = whole * (FT_SPLIT_WHOLE / 100) + fraction;
    *text = p;
    return true;
}

enum ft_status ft_split_shares(const char *text, uint32_t share[FT_SPLIT_PARTS], struct ft_error *error) {
    const char *p = text;
    uint64_t sum = 0;
    for (unsigned i = 0; i < FT_SPLIT_PARTS; i++) {
        if (!parse_share(&p, &share[i]) || *p != (i + 1 < FT_SPLIT_PARTS ? '/' : '\0'))
            return ft_fail(error, FT_USAGE,
                           "ratios '%s': three percentages are expected, such as 80/10/10 (train, valid, "
                           "test; at most four decimals)",
                           text);
        p++;
        sum += share[i];
    }
    if (sum != FT_SPLIT_WHOLE)
        return ft_fail(error, FT_USAGE, "ratios '%s' add up to %g, not to 100", text,
                       (double)sum / (FT_SPLIT_WHOLE / 100));
    return FT_OK;
}

/* --- records come in ----------------------------------------------------------------------------------- */

enum ft_status ft_split_new(struct ft_split **out, const struct ft_split_options *options,
                            struct ft_error *error) {
    struct ft_split *split;
    enum ft_status status = ft_alloc(&split, 1, sizeof *split, error);
    if (status) return status;
    split->options = *options;
    status = ft_boilerplate_new(&split->boilerplate, error);
    if (status)
        ft_split_free(split);
    else
        *out = split;
    return status;
}

void ft_split_free(struct ft_split *split) {
    if (!split) return;
    free(split->row);
    free(split->signature);
    free(split->present);
    ft_names_release(&split->labels);
    ft_names_release(&split->groups);
    free(split->group_key);
    ft_boilerplate_free(split->boilerplate);
    free(split->order);
    ft_sets_release(&split->sets);
    free(split->unit);
    free(split);
}

static bool is_fuzzy(const struct ft_split *split) {
    return split->options.similarity < 1.0;
}

static enum ft_status add_signature(struct ft_split *split, const unsigned char content[FT_SHA256_SIZE],
                                    const struct ft_shingles *shingles, struct ft_error *error) {
    size_t n = split->count;
    enum ft_status status = ft_grow(&split->signature, &split->signature_capacity, n + 1,
                                    sizeof *split->signature, RECORDS_MAX, "records", error);
    if (!status)
        status = ft_grow(&split->present, &split->present_capacity, n + 1, sizeof *split->present,
                         RECORDS_MAX, "records", error);
    if (!status) status = ft_boilerplate_add(split->boilerplate, content, shingles, error);
    if (!status) split->present[n] = ft_signature_make(&split->signature[n], shingles);
    return status;
}

enum ft_status ft_split_add(struct ft_split *split, const unsigned char content[FT_SHA256_SIZE],
                            const struct ft_shingles *shingles, const char *label, const char *group,
                            struct ft_error *error) {
    enum ft_status status = ft_grow(&split->row, &split->row_capacity, split->count + 1, sizeof *split->row,
                                    RECORDS_MAX, "records", error);
    if (status) return status;
    struct row *row = &split->row[split->count];
    *row = (struct row){.item = 0};
    memcpy(row->content, content, FT_SHA256_SIZE);
    status = ft_names_put(&split->labels, label, &row->label, error);
    if (!status)
        status = ft_names_put(&split->groups, split->options.group ? group : NULL, &row->group, error);
    if (!status && is_fuzzy(split)) status = add_signature(split, content, shingles, error);
    if (!status) split->count++;
    return status;
}

enum ft_status ft_split_rescan(struct ft_split *split, bool *needed, struct ft_error *error) {
    *needed = false;
    if (!is_fuzzy(split)) return FT_OK;
    enum ft_status status = ft_boilerplate_finish(split->boilerplate, &split->facts.boilerplate, error);
    if (!status) *needed = split->facts.boilerplate > 0;
    return status;
}

enum ft_status ft_split_again(struct ft_split *split, struct ft_shingles *shingles, struct ft_error *error) {
    if (split->again == split->count)
        return ft_fail(error, FT_MISMATCH, "the input has more records than it had when it was read before");
    ft_boilerplate_strip(split->boilerplate, shingles);
    split->present[split->again] = ft_signature_make(&split->signature[split->again], shingles);
    split->again++;
    return FT_OK;
}

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
        struct row *row = &split->row[i];
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
    if (!is_fuzzy(split)) return FT_OK;
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
    const struct row *row = &split->row[record];
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
        struct unit *unit = &split->unit[(*unit_of)[split->row[i].item]];
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
    struct unit *unit;
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
        struct unit *unit = ranked[i].unit;
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
        struct unit *unit = &split->unit[i];
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
        struct row *row = &split->row[i];
        row->part = split->unit[unit_of[row->item]].part;
        facts->part_records[row->part]++;
        facts->unlabelled += row->label == FT_NAME_NONE;
        facts->ungrouped += row->group == FT_NAME_NONE;
    }
    for (size_t i = 0; i < facts->units; i++) {
        const struct unit *unit = &split->unit[i];
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

size_t ft_split_count(const struct ft_split *split) {
    return split->count;
}
unsigned ft_split_part(const struct ft_split *split, size_t record) {
    return split->row[record].part;
}
void ft_split_facts(const struct ft_split *split, struct ft_split_facts *facts) {
    *facts = split->facts;
}

/* --- report -------------------------------------------------------------------------------------------- */

/* counts[part * labels + label]; labels.count + 1 columns, the last for records without one. */
static enum ft_status count_labels(const struct ft_split *split, size_t **counts, struct ft_error *error) {
    size_t columns = split->labels.count + 1;
    enum ft_status status = ft_alloc(counts, FT_SPLIT_PARTS * columns, sizeof **counts, error);
    if (status) return status;
    for (size_t i = 0; i < split->count; i++) {
        const struct row *row = &split->row[i];
        size_t column = row->label == FT_NAME_NONE ? columns - 1 : row->label;
        (*counts)[row->part * columns + column]++;
    }
    return FT_OK;
}

static void report_clusters(const struct ft_split_facts *facts, struct ft_json *json, struct cJSON *object) {
    struct cJSON *clusters = ft_json_set_object(json, object, "clusters");
    ft_json_set_u64(json, clusters, "boilerplate_shingles", facts->boilerplate);
    ft_json_set_u64(json, clusters, "exact_duplicates", facts->duplicates);
    ft_json_set_u64(json, clusters, "largest", facts->largest);
    ft_json_set_u64(json, clusters, "near_duplicate_links", facts->near_links);
    ft_json_set_u64(json, clusters, "near_duplicates_across_parts", facts->crossing);
    ft_json_set_u64(json, clusters, "records", facts->clustered);
    ft_json_set_u64(json, clusters, "several_contents", facts->clusters);
}

static void report_part(const struct ft_split *split, unsigned part, const size_t *counts,
                        const uint32_t *by_name, struct ft_json *json, struct cJSON *parts) {
    const struct ft_split_facts *facts = &split->facts;
    struct cJSON *object = ft_json_set_object(json, parts, ft_split_part_name[part]);
    ft_json_set_u64(json, object, "records", facts->part_records[part]);
    ft_json_set_u64(json, object, "units", facts->part_units[part]);
    ft_json_set_double(json, object, "percent",
                       100.0 * (double)facts->part_records[part] / (double)facts->records);
    if (!split->labels.count || split->labels.count > LABELS_SHOWN) return;
    struct cJSON *labels = ft_json_set_object(json, object, "labels");
    for (size_t i = 0; i < split->labels.count; i++)
        ft_json_set_u64(json, labels, split->labels.name[by_name[i]],
                        counts[part * (split->labels.count + 1) + by_name[i]]);
}

enum ft_status ft_split_report(const struct ft_split *split, struct ft_json *json, struct cJSON *object,
                               struct ft_error *error) {
    const struct ft_split_facts *facts = &split->facts;
    size_t *counts = NULL;
    uint32_t *by_name = NULL;
    enum ft_status status = count_labels(split, &counts, error);
    if (!status) status = ft_names_sorted(&split->labels, &by_name, error);
    if (!status) {
        ft_json_set_u64(json, object, "records", facts->records);
        ft_json_set_u64(json, object, "distinct", facts->distinct);
        ft_json_set_u64(json, object, "units", facts->units);
        ft_json_set_u64(json, object, "labels", facts->labels);
        ft_json_set_u64(json, object, "without_label", facts->unlabelled);
        if (split->options.group) {
            ft_json_set_u64(json, object, "groups", facts->groups);
            ft_json_set_u64(json, object, "without_group", facts->ungrouped);
        }
        report_clusters(facts, json, object);
        struct cJSON *parts = ft_json_set_object(json, object, "parts");
        for (unsigned part = 0; part < FT_SPLIT_PARTS; part++)
            if (split->options.share[part]) report_part(split, part, counts, by_name, json, parts);
    }
    free(counts);
    free(by_name);
    return status;
}

/* "label X is in train only": how many labels a part lacks, and one of them. */
static enum ft_status warn_labels(const struct ft_split *split, unsigned part, const size_t *counts,
                                  const uint32_t *by_name, struct ft_buffer *lines, struct ft_error *error) {
    size_t missing = 0;
    const char *example = NULL;
    for (size_t i = 0; i < split->labels.count; i++) {
        if (counts[part * (split->labels.count + 1) + by_name[i]]) continue;
        if (!missing++) example = split->labels.name[by_name[i]];
    }
    if (!missing) return FT_OK;
    return ft_buffer_printf(lines, error, "%s lacks %zu of %zu labels (such as '%.100s')%s\n",
                            ft_split_part_name[part], missing, split->labels.count, example,
                            split->options.stratify ? "" : "; --stratify balances them");
}

enum ft_status ft_split_warnings(const struct ft_split *split, struct ft_buffer *lines,
                                 struct ft_error *error) {
    const struct ft_split_facts *facts = &split->facts;
    size_t *counts = NULL;
    uint32_t *by_name = NULL;
    enum ft_status status = count_labels(split, &counts, error);
    if (!status) status = ft_names_sorted(&split->labels, &by_name, error);
    for (unsigned part = 0; part < FT_SPLIT_PARTS && !status; part++) {
        if (!split->options.share[part]) continue;
        if (!facts->part_records[part])
            status =
                ft_buffer_printf(lines, error, "%s is empty: more data, or another ratio, would fill it\n",
                                 ft_split_part_name[part]);
        else if (split->labels.count > 1)
            status = warn_labels(split, part, counts, by_name, lines, error);
    }
    if (!status && facts->units > 1 && facts->largest > facts->records / 5)
        status =
            ft_buffer_printf(lines, error,
                             "one unit of duplicates%s holds %zu of %zu records, so the ratios are "
                             "missed; see --similarity\n",
                             split->options.group ? " or of a group" : "", facts->largest, facts->records);
    if (!status && facts->units == 1 && facts->records > 1)
        status = ft_buffer_printf(lines, error, "all %zu records hang together and stay in one part\n",
                                  facts->records);
    free(counts);
    free(by_name);
    return status;
}
