/* SPDX-License-Identifier: MIT
 *
 * What came out, as JSON, and what came out badly, in words.
 */
#include "split_internal.h"

#include "ft/memory.h"

#include <stdlib.h>

#define LABELS_SHOWN 1000u /* more are counted, not listed */

/* counts[part * labels + label]; labels.count + 1 columns, the last for records without one. */
static enum ft_status count_labels(const struct ft_split *split, size_t **counts, struct ft_error *error) {
    size_t columns = split->labels.count + 1;
    enum ft_status status = ft_alloc(counts, FT_SPLIT_PARTS * columns, sizeof **counts, error);
    if (status) return status;
    for (size_t i = 0; i < split->count; i++) {
        const struct split_row *row = &split->row[i];
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
