/* SPDX-License-Identifier: MIT
 *
 * Deciding which records train, which validate and which test. What must not be parted forms a unit: exact
 * and near duplicates and, when asked for, records of one group. A unit's key is the smallest of its records'
 * keys (a record's key is the SHA-256 of its content, or of its group), its draw the first 10 hexadecimal
 * digits of
 *
 *     SHA-256("ft-split-1 <seed> <key in hexadecimal>")
 *
 * over 16^10, a number in [0, 1). Without stratification the draw is compared with the shares, so a record's
 * part is a function of seed and content alone: order cannot matter, and appending moves no record but those
 * of units that a new record joins. With stratification the units of one label are sorted by draw and cut by
 * their numbers, which balances every label; appending then may move, at each cut of that label, as many old
 * records as were added, plus those of one unit.
 *
 * Order of calls: new; add every record; rescan; if that says so, again every record in the same order;
 * decide; then ft_split_part of each and ft_split_report.
 */
#ifndef FT_SPLIT_H
#define FT_SPLIT_H

#include "ft/json.h"
#include "ft/similar.h"

#define FT_SPLIT_PARTS 3u
#define FT_SPLIT_WHOLE 1000000u

extern const char *const ft_split_part_name[FT_SPLIT_PARTS]; /* "train", "valid", "test" */

struct ft_split_options {
    uint64_t seed;
    uint32_t share[FT_SPLIT_PARTS]; /* in millionths, together FT_SPLIT_WHOLE */
    double similarity; /* near-duplicates stay together from here on, 0.5 to 1; 1: only exact ones */
    const char *group, *stratify; /* the keys, for messages; NULL: not asked for */
};

/* "80/10/10": three percentages with at most four decimals that add up to 100; FT_USAGE otherwise. */
enum ft_status ft_split_shares(const char *text, uint32_t share[FT_SPLIT_PARTS], struct ft_error *error);

struct ft_split;

enum ft_status ft_split_new(struct ft_split **split, const struct ft_split_options *options,
                            struct ft_error *error);
void ft_split_free(struct ft_split *split); /* NULL is fine */

/* label and group are copied; NULL: none. A record without group (when they are grouped) is a group of its
 * own. */
enum ft_status ft_split_add(struct ft_split *split, const unsigned char content[FT_SHA256_SIZE],
                            const struct ft_shingles *shingles, const char *label, const char *group,
                            struct ft_error *error);

/* Call once after the last record. *needed: boilerplate was found, and every record's shingles are wanted a
 * second time, by ft_split_again, whose shingles are changed. */
enum ft_status ft_split_rescan(struct ft_split *split, bool *needed, struct ft_error *error);
enum ft_status ft_split_again(struct ft_split *split, struct ft_shingles *shingles, struct ft_error *error);

/* FT_FORMAT when there are no records, or none has a group (label) although they are asked for. */
enum ft_status ft_split_decide(struct ft_split *split, struct ft_error *error);

size_t ft_split_count(const struct ft_split *split);
unsigned ft_split_part(const struct ft_split *split, size_t record); /* an index into ft_split_part_name */

/* What came out. Labels are ids into ft_split_label. */
struct ft_split_facts {
    size_t records, distinct, units; /* distinct contents */
    size_t duplicates;               /* records - distinct */
    size_t near_links;               /* pairs by which near-duplicates were joined */
    size_t crossing;                 /* near-duplicate pairs found in different parts afterwards: 0 */
    size_t clusters, clustered,
        largest;        /* units of several distinct contents, their records, records of the largest unit */
    size_t boilerplate; /* shingles left out */
    size_t groups, ungrouped, labels, unlabelled;
    size_t part_records[FT_SPLIT_PARTS], part_units[FT_SPLIT_PARTS];
};
void ft_split_facts(const struct ft_split *split, struct ft_split_facts *facts);

/* Fills `object` with all of that: counts, shares, clusters, and for each part its distribution of labels
 * (when there are no more than 1000). */
enum ft_status ft_split_report(const struct ft_split *split, struct ft_json *json, struct cJSON *object,
                               struct ft_error *error);

/* Words for the user, one line each, about what came out badly: an empty part, a label missing from a part, a
 * unit that is too large for the shares to hold. */
enum ft_status ft_split_warnings(const struct ft_split *split, struct ft_buffer *lines,
                                 struct ft_error *error);

#endif
