/* SPDX-License-Identifier: MIT
 *
 * A whole stream in arrays. Labels and groups lie in one block, which moves while it grows: until the end
 * their places are kept as offsets. */
#include "ft/ftok.h"

#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX ((size_t)1 << 32)
#define STRINGS_MAX ((size_t)1 << 40)
#define NO_STRING SIZE_MAX

struct loader {
    struct ft_ftok_set *set;
    size_t max_tokens, tokens;
    size_t start_capacity, ids_capacity, weights_capacity, source_capacity, line_capacity;
    size_t *label, *group; /* offsets into strings, or NO_STRING */
    size_t label_capacity, group_capacity, strings_size, strings_capacity;
};

static enum ft_status grow_rows(struct loader *l, struct ft_error *error) {
    struct ft_ftok_set *set = l->set;
    size_t need = set->rows + 1;
    enum ft_status status =
        ft_grow(&set->start, &l->start_capacity, need + 1, sizeof *set->start, ROWS_MAX, "records", error);
    if (!status) status = ft_grow(&set->source, &l->source_capacity, need, sizeof *set->source, ROWS_MAX,
                                  "records", error);
    if (!status) status = ft_grow(&set->line, &l->line_capacity, need, sizeof *set->line, ROWS_MAX, "records",
                                  error);
    if (!status) status = ft_grow(&l->label, &l->label_capacity, need, sizeof *l->label, ROWS_MAX, "records",
                                  error);
    if (!status) status = ft_grow(&l->group, &l->group_capacity, need, sizeof *l->group, ROWS_MAX, "records",
                                  error);
    return status;
}

static enum ft_status grow_tokens(struct loader *l, size_t count, struct ft_error *error) {
    struct ft_ftok_set *set = l->set;
    size_t need = l->tokens + count;
    enum ft_status status =
        ft_grow(&set->ids, &l->ids_capacity, need, sizeof *set->ids, l->max_tokens, "tokens of a stream",
                error);
    if (!status)
        status = ft_grow(&set->weights, &l->weights_capacity, need, sizeof *set->weights, l->max_tokens,
                         "tokens of a stream", error);
    return status;
}

static enum ft_status add_string(struct loader *l, const char *text, size_t *offset, struct ft_error *error) {
    *offset = NO_STRING;
    if (!text) return FT_OK;
    size_t size = strlen(text) + 1;
    enum ft_status status = ft_grow(&l->set->strings, &l->strings_capacity, l->strings_size + size, 1,
                                    STRINGS_MAX, "bytes of labels", error);
    if (status) return status;
    memcpy(l->set->strings + l->strings_size, text, size);
    *offset = l->strings_size;
    l->strings_size += size;
    return FT_OK;
}

static enum ft_status add(struct loader *l, const struct ft_ftok_record *record, struct ft_error *error) {
    struct ft_ftok_set *set = l->set;
    size_t row = set->rows, count = record->count;
    enum ft_status status = grow_rows(l, error);
    if (!status) status = grow_tokens(l, count, error);
    if (!status) status = add_string(l, record->label, &l->label[row], error);
    if (!status) status = add_string(l, record->group, &l->group[row], error);
    if (status) return status;
    memcpy(set->ids + l->tokens, record->ids, count * sizeof *record->ids);
    memcpy(set->weights + l->tokens, record->weights, count * sizeof *record->weights);
    memcpy(set->source[row], record->source, FT_SHA256_SIZE);
    set->line[row] = record->line;
    set->start[row] = l->tokens;
    set->start[row + 1] = l->tokens += count;
    set->rows = row + 1;
    if (count > set->longest) set->longest = count;
    for (size_t i = 0; i < count; i++) set->supervised += record->weights[i] > 0;
    return FT_OK;
}

static enum ft_status place_strings(const struct loader *l, const size_t *offset, const char ***out,
                                    struct ft_error *error) {
    enum ft_status status = ft_alloc(out, l->set->rows, sizeof **out, error);
    for (size_t i = 0; i < l->set->rows && !status; i++)
        if (offset[i] != NO_STRING) (*out)[i] = l->set->strings + offset[i];
    return status;
}

static void copy_digest(char out[FT_SHA256_HEX], const char *hex) {
    if (hex) memcpy(out, hex, FT_SHA256_HEX);
}

static enum ft_status load_all(struct loader *l, struct ft_ftok_reader *reader, struct ft_error *error) {
    const struct ft_ftok_header *header = ft_ftok_header(reader);
    struct ft_ftok_set *set = l->set;
    const struct ft_ftok_record *record = NULL;
    enum ft_status status = grow_rows(l, error);
    if (!status) set->start[0] = 0;
    do {
        if (!status) status = ft_ftok_next(reader, &record, error);
        if (!status && record) status = add(l, record, error);
    } while (!status && record);
    if (!status) status = place_strings(l, l->label, &set->label, error);
    if (!status) status = place_strings(l, l->group, &set->group, error);
    if (status) return status;
    set->vocab_size = header->vocab_size;
    copy_digest(set->tokenizer, header->tokenizer);
    copy_digest(set->template, header->template);
    copy_digest(set->data, header->data ? header->data : ft_ftok_data(reader));
    copy_digest(set->sha256, ft_ftok_digest(reader));
    return FT_OK;
}

enum ft_status ft_ftok_load(struct ft_ftok_set *set, const char *path, size_t max_tokens,
                            struct ft_error *error) {
    struct ft_ftok_reader *reader;
    *set = (struct ft_ftok_set){0};
    struct loader loader = {.set = set, .max_tokens = max_tokens ? max_tokens : SIZE_MAX / 8};
    enum ft_status status = ft_ftok_open(&reader, path, error);
    if (status) return status;
    status = load_all(&loader, reader, error);
    if (status == FT_LIMIT) ft_error_context(error, "%s", path);
    ft_ftok_close(reader);
    free(loader.label);
    free(loader.group);
    if (status) ft_ftok_set_release(set);
    return status;
}

void ft_ftok_set_release(struct ft_ftok_set *set) {
    free(set->start);
    free(set->ids);
    free(set->weights);
    free(set->source);
    free(set->line);
    free(set->label);
    free(set->group);
    free(set->strings);
    *set = (struct ft_ftok_set){0};
}
