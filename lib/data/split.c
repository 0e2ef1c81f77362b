/* SPDX-License-Identifier: MIT
 *
 * Shares are read, records come in, and parts are told.
 */
#include "split_internal.h"

#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX ((size_t)1 << 31)

const char *const ft_split_part_name[FT_SPLIT_PARTS] = {"train", "valid", "test"};

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
    struct split_row *row = &split->row[split->count];
    *row = (struct split_row){.item = 0};
    memcpy(row->content, content, FT_SHA256_SIZE);
    status = ft_names_put(&split->labels, label, &row->label, error);
    if (!status)
        status = ft_names_put(&split->groups, split->options.group ? group : NULL, &row->group, error);
    if (!status && ft_split_is_fuzzy(split)) status = add_signature(split, content, shingles, error);
    if (!status) split->count++;
    return status;
}

enum ft_status ft_split_rescan(struct ft_split *split, bool *needed, struct ft_error *error) {
    *needed = false;
    if (!ft_split_is_fuzzy(split)) return FT_OK;
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

/* --- what was decided ----------------------------------------------------------------------------------- */

size_t ft_split_count(const struct ft_split *split) {
    return split->count;
}
unsigned ft_split_part(const struct ft_split *split, size_t record) {
    return split->row[record].part;
}
void ft_split_facts(const struct ft_split *split, struct ft_split_facts *facts) {
    *facts = split->facts;
}
