/* SPDX-License-Identifier: MIT
 *
 * What can be said once all records are there: duplicates, leakage between files, contradictions, labels,
 * sizes.
 */
#include "lint_internal.h"

#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

/* Labels with fewer records than this, or this many times fewer than the most frequent one, are hard to
 * learn. */
enum { LABEL_FEW = 10, LABEL_IMBALANCE = 10 };

/* --- all records: duplicates and leakage --------------------------------------------------------------- */

struct keyed {
    const unsigned char *content;
    uint32_t row;
};

static int by_content(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    int c = memcmp(x->content, y->content, FT_SHA256_SIZE);
    return c ? c : (x->row > y->row) - (x->row < y->row);
}

static enum ft_status find_items(struct ft_lint *lint, struct ft_error *error) {
    struct keyed *keyed = NULL;
    enum ft_status status = ft_alloc(&keyed, lint->rows, sizeof *keyed, error);
    if (!status) status = ft_alloc(&lint->item, lint->rows, sizeof *lint->item, error);
    if (!status) status = ft_alloc(&lint->order, lint->rows, sizeof *lint->order, error);
    if (status) goto done;
    for (size_t i = 0; i < lint->rows; i++)
        keyed[i] = (struct keyed){lint->row[i].content, (uint32_t)i};
    qsort(keyed, lint->rows, sizeof *keyed, by_content);
    for (size_t i = 0; i < lint->rows; i++) {
        struct lint_row *row = &lint->row[keyed[i].row];
        if (!i || memcmp(keyed[i].content, keyed[i - 1].content, FT_SHA256_SIZE) != 0) {
            lint->order[lint->items] = keyed[i].row;
            lint->item[lint->items++] = (struct lint_item){.row = keyed[i].row, .like = FT_NAME_NONE};
        }
        struct lint_item *item = &lint->item[lint->items - 1];
        row->item = (uint32_t)(lint->items - 1);
        row->first = !(item->files >> row->file & 1);
        item->files |= UINT64_C(1) << row->file;
    }
done:
    free(keyed);
    return status;
}

static bool is_news(void *arg, uint32_t i, uint32_t j) {
    const struct ft_lint *lint = arg;
    const struct lint_item *a = &lint->item[i], *b = &lint->item[j];
    return (b->files & ~a->near) || (a->files & ~b->near);
}

static void set_like(struct lint_item *item, const struct lint_item *other, uint32_t index) {
    bool elsewhere = other->files & ~item->files;
    if (item->like == FT_NAME_NONE || (elsewhere && !(item->near & ~item->files))) item->like = index;
}

static void mark_near(void *arg, uint32_t i, uint32_t j) {
    struct ft_lint *lint = arg;
    struct lint_item *a = &lint->item[i], *b = &lint->item[j];
    set_like(a, b, j);
    set_like(b, a, i);
    a->near |= b->files;
    b->near |= a->files;
}

static const char *place(const struct ft_lint *lint, uint32_t row) {
    return lint->file[lint->row[row].file]->name;
}

/* What the record at `row` has to do with others. */
static enum ft_status judge_row(struct ft_lint *lint, uint32_t at, struct ft_error *error) {
    struct lint_row *row = &lint->row[at];
    struct lint_file *file = lint->file[row->file];
    const struct lint_item *item = &lint->item[row->item];
    uint64_t own = UINT64_C(1) << row->file, earlier = own - 1;
    for (unsigned f = 0; f < row->file; f++) {
        if (item->files >> f & 1)
            file->leak_exact[f]++;
        else if (item->near >> f & 1)
            file->leak_near[f]++;
    }
    const struct lint_row *other = &lint->row[item->row];
    if (!row->first) {
        file->duplicates++;
        if (other->file != row->file)
            return ft_lint_note_at(lint, FT_LINT_WARNING, "exact_duplicate", row->file, row->line, error,
                                   "the same as an earlier record, and as %s:%llu", place(lint, item->row),
                                   (unsigned long long)other->line);
        return ft_lint_note_at(lint, FT_LINT_WARNING, "exact_duplicate", row->file, row->line, error,
                               "the same as line %llu", (unsigned long long)other->line);
    }
    if (item->files & earlier)
        return ft_lint_note_at(lint, FT_LINT_WARNING, "leakage", row->file, row->line, error,
                               "is also in %s:%llu", place(lint, item->row), (unsigned long long)other->line);
    if (item->near & own) file->near++;
    if (!(item->near & earlier)) return FT_OK;
    const struct lint_row *like = &lint->row[lint->item[item->like].row];
    return ft_lint_note_at(lint, FT_LINT_WARNING, "near_leakage", row->file, row->line, error,
                           "nearly the same is in %s:%llu", place(lint, lint->item[item->like].row),
                           (unsigned long long)like->line);
}

static enum ft_status judge_rows(struct ft_lint *lint, struct ft_error *error) {
    struct ft_similar_search search = {.signature = lint->signature,
                                       .present = lint->present,
                                       .order = lint->order,
                                       .count = lint->items,
                                       .bar = ft_signature_bar(lint->options.similarity),
                                       .want = is_news,
                                       .found = mark_near,
                                       .arg = lint};
    enum ft_status status = ft_similar_run(&search, error);
    for (size_t i = 0; i < lint->rows && !status; i++)
        status = judge_row(lint, (uint32_t)i, error);
    return status;
}

/* --- contradictions ------------------------------------------------------------------------------------ */

struct asked {
    uint64_t input;
    uint32_t row;
};

static int by_input(const void *a, const void *b) {
    const struct asked *x = a, *y = b;
    if (x->input != y->input) return x->input < y->input ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Records with the same input as an earlier one and another answer. Not wrong for a writer of jokes, so a
 * note. */
static enum ft_status find_contradictions(struct ft_lint *lint, struct ft_error *error) {
    struct asked *asked;
    enum ft_status status = ft_alloc(&asked, lint->rows, sizeof *asked, error);
    if (status) return status;
    for (size_t i = 0; i < lint->rows; i++)
        asked[i] = (struct asked){lint->row[i].input, (uint32_t)i};
    qsort(asked, lint->rows, sizeof *asked, by_input);
    for (size_t i = 1, first = 0; i < lint->rows && !status; i++) {
        if (asked[i].input != asked[first].input) first = i;
        const struct lint_row *row = &lint->row[asked[i].row], *other = &lint->row[asked[first].row];
        if (first == i || !row->input || row->item == other->item) continue;
        bool labels =
            row->label != FT_NAME_NONE && other->label != FT_NAME_NONE && row->label != other->label;
        status = ft_lint_note_at(
            lint, labels ? FT_LINT_WARNING : FT_LINT_NOTE, labels ? "contradicting_label" : "several_answers",
            row->file, row->line, error, "the same input as %s:%llu, but another %s",
            place(lint, asked[first].row), (unsigned long long)other->line, labels ? "label" : "answer");
    }
    free(asked);
    return status;
}

/* --- files --------------------------------------------------------------------------------------------- */

static int by_length(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static enum ft_status judge_labels(struct ft_lint *lint, unsigned at, struct ft_error *error) {
    struct lint_file *file = lint->file[at];
    size_t used = 0, few = 0, most = 0, least = SIZE_MAX;
    const char *rare = "";
    enum ft_status status = FT_OK;
    for (size_t l = 0; l < lint->labels.count; l++) {
        size_t n = file->label[l];
        if (!n) continue;
        used++;
        few += n < LABEL_FEW;
        most = n > most ? n : most;
        if (n < least) {
            least = n;
            rare = lint->labels.name[l];
        }
    }
    if (!used || used > file->records / 2) return FT_OK; /* ids or free text rather than classes */
    if (file->unlabelled)
        status = ft_lint_note_at(lint, FT_LINT_WARNING, "missing_label", at, 0, error,
                                 "%zu of %zu records have no label", file->unlabelled, file->records);
    if (!status && used == 1)
        status = ft_lint_note_at(lint, FT_LINT_WARNING, "single_label", at, 0, error,
                                 "all records have the label '%.100s'", rare);
    if (!status && few && at == 0)
        status = ft_lint_note_at(lint, FT_LINT_WARNING, "rare_label", at, 0, error,
                                 "%zu of %zu labels have fewer than %d records (the rarest is '%.100s': %zu)",
                                 few, used, LABEL_FEW, rare, least);
    if (!status && most / least >= LABEL_IMBALANCE)
        status = ft_lint_note_at(lint, FT_LINT_WARNING, "label_imbalance", at, 0, error,
                                 "the most frequent label has %zu records, the rarest ('%.100s') %zu", most,
                                 rare, least);
    return status;
}

/* The first file is what will be trained on, or is split for it; later ones may well be small. */
static enum ft_status judge_size(struct ft_lint *lint, unsigned at, struct ft_error *error) {
    const struct lint_file *file = lint->file[at];
    if (!file->records)
        return ft_lint_note_at(lint, FT_LINT_ERROR, "no_records", at, 0, error, "there is no usable record");
    if (at) return FT_OK;
    size_t distinct = file->records - file->duplicates;
    if (distinct < FT_LINT_FEW)
        return ft_lint_note_at(
            lint, FT_LINT_WARNING, "too_few_records", at, 0, error,
            "%zu different records; fewer than %u seldom change a model for the better, %u to %u is the "
            "advised minimum",
            distinct, FT_LINT_FEW, FT_LINT_FEW, FT_LINT_ADVISED);
    if (distinct < FT_LINT_ADVISED)
        return ft_lint_note_at(lint, FT_LINT_NOTE, "few_records", at, 0, error,
                               "%zu different records: enough to begin with; more than %u are better",
                               distinct, FT_LINT_ADVISED);
    return FT_OK;
}

static enum ft_status judge_files(struct ft_lint *lint, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t f = 0; f < lint->files && !status; f++)
        status = ft_alloc(&lint->file[f]->label, lint->labels.count, sizeof *lint->file[f]->label, error);
    for (size_t i = 0; i < lint->rows && !status; i++)
        if (lint->row[i].label != FT_NAME_NONE) lint->file[lint->row[i].file]->label[lint->row[i].label]++;
    for (unsigned f = 0; f < lint->files && !status; f++) {
        struct lint_file *file = lint->file[f];
        if (file->characters.count)
            qsort(file->characters.value, file->characters.count, sizeof(uint32_t), by_length);
        if (file->tokens.count) qsort(file->tokens.value, file->tokens.count, sizeof(uint32_t), by_length);
        status = judge_size(lint, f, error);
        if (!status) status = judge_labels(lint, f, error);
        if (!status && file->near)
            status = ft_lint_note_at(
                lint, FT_LINT_NOTE, "near_duplicates", f, 0, error,
                "%zu of %zu records have a near-duplicate in the file; ft-split keeps them together",
                file->near, file->records);
    }
    return status;
}

enum ft_status ft_lint_finish(struct ft_lint *lint, struct ft_error *error) {
    if (lint->boilerplate_shingles && lint->again != lint->rows)
        return ft_fail(error, FT_MISMATCH, "the data shrank while they were read");
    enum ft_status status = find_items(lint, error);
    if (!status) status = judge_rows(lint, error);
    if (!status) status = find_contradictions(lint, error);
    return status ? status : judge_files(lint, error);
}
