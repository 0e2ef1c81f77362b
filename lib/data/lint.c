/* SPDX-License-Identifier: MIT */
#include "ft/lint.h"

#include "ft/memory.h"
#include "ft/printable.h"
#include "lint_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX ((size_t)1 << 31)
#define MESSAGE_MAX 512u

/* Labels with fewer records than this, or this many times fewer than the most frequent one, are hard to
 * learn. */
enum { LABEL_FEW = 10, LABEL_IMBALANCE = 10 };

enum ft_status ft_lint_new(struct ft_lint **out, const struct ft_lint_options *options,
                           struct ft_error *error) {
    struct ft_lint *lint;
    enum ft_status status = ft_alloc(&lint, 1, sizeof *lint, error);
    if (status) return status;
    lint->options = *options;
    status = ft_boilerplate_new(&lint->boilerplate, error);
    if (status)
        ft_lint_free(lint);
    else
        *out = lint;
    return status;
}

static void free_file(struct lint_file *file) {
    if (!file) return;
    free(file->name);
    free(file->label);
    free(file->characters.value);
    free(file->tokens.value);
    free(file);
}

void ft_lint_free(struct ft_lint *lint) {
    if (!lint) return;
    for (size_t i = 0; i < lint->files; i++)
        free_file(lint->file[i]);
    for (size_t i = 0; i < lint->verdicts; i++) {
        for (size_t k = 0; k < lint->verdict[i].kept; k++)
            free(lint->verdict[i].finding[k].message);
        free(lint->verdict[i].finding);
    }
    free(lint->file);
    free(lint->verdict);
    free(lint->row);
    free(lint->signature);
    free(lint->present);
    free(lint->item);
    free(lint->order);
    ft_names_release(&lint->labels);
    ft_boilerplate_free(lint->boilerplate);
    ft_buffer_release(&lint->scratch);
    free(lint);
}

enum ft_status ft_lint_file(struct ft_lint *lint, const char *name, struct ft_error *error) {
    if (lint->files == FT_LINT_FILES)
        return ft_fail(error, FT_USAGE, "more than %u files at once", FT_LINT_FILES);
    enum ft_status status = ft_grow(&lint->file, &lint->file_capacity, lint->files + 1, sizeof *lint->file,
                                    FT_LINT_FILES, "files", error);
    struct lint_file *file = NULL;
    if (!status) status = ft_alloc(&file, 1, sizeof *file, error);
    if (!status) status = ft_alloc(&file->name, strlen(name) + 1, 1, error);
    if (status) {
        free(file);
        return status;
    }
    memcpy(file->name, name, strlen(name) + 1);
    lint->file[lint->files++] = file;
    return FT_OK;
}

static struct lint_file *present_file(struct ft_lint *lint) {
    return lint->file[lint->files - 1];
}

/* --- findings ------------------------------------------------------------------------------------------ */

static enum ft_status find_verdict(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                                   struct verdict **out, struct ft_error *error) {
    for (size_t i = 0; i < lint->verdicts; i++)
        if (strcmp(lint->verdict[i].code, code) == 0) {
            *out = &lint->verdict[i];
            return FT_OK;
        }
    enum ft_status status = ft_grow(&lint->verdict, &lint->verdict_capacity, lint->verdicts + 1,
                                    sizeof *lint->verdict, 256, "kinds of findings", error);
    if (status) return status;
    *out = &lint->verdict[lint->verdicts++];
    **out = (struct verdict){.code = code, .severity = severity};
    return FT_OK;
}

static enum ft_status put_finding(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                                  unsigned file, uint64_t line, const char *message, struct ft_error *error) {
    struct verdict *verdict;
    enum ft_status status = find_verdict(lint, severity, code, &verdict, error);
    if (status) return status;
    verdict->count++;
    if (verdict->kept >= lint->options.shown) return FT_OK;
    status = ft_grow(&verdict->finding, &verdict->capacity, verdict->kept + 1, sizeof *verdict->finding,
                     SIZE_MAX / 64, "findings", error);
    char *copy = NULL;
    if (!status) status = ft_alloc(&copy, strlen(message) + 1, 1, error);
    if (status) return status;
    memcpy(copy, message, strlen(message) + 1);
    ft_make_printable(copy);
    verdict->finding[verdict->kept++] = (struct finding){file, line, copy};
    return FT_OK;
}

static enum ft_status note_at(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                              unsigned file, uint64_t line, struct ft_error *error, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

static enum ft_status note_at(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                              unsigned file, uint64_t line, struct ft_error *error, const char *format, ...) {
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return put_finding(lint, severity, code, file, line, message, error);
}

enum ft_status ft_lint_note(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                            uint64_t line, struct ft_error *error, const char *format, ...) {
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return put_finding(lint, severity, code, (unsigned)lint->files - 1, line, message, error);
}

enum ft_status ft_lint_broken(struct ft_lint *lint, enum ft_record_problem problem, uint64_t line,
                              const char *message, struct ft_error *error) {
    present_file(lint)->broken++;
    return ft_lint_note(lint, FT_LINT_ERROR, ft_record_problem_code(problem), line, error, "%s", message);
}

/* --- one record ---------------------------------------------------------------------------------------- */

static enum ft_status put_length(struct lengths *lengths, size_t length, struct ft_error *error) {
    enum ft_status status = ft_grow(&lengths->value, &lengths->capacity, lengths->count + 1,
                                    sizeof *lengths->value, ROWS_MAX, "lengths", error);
    if (status) return status;
    uint32_t value = length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;
    unsigned bits = value ? 32u - (unsigned)__builtin_clz(value) : 0u;
    lengths->value[lengths->count++] = value;
    lengths->sum += value;
    lengths->bucket[bits < LINT_BUCKETS ? bits : LINT_BUCKETS - 1]++;
    return FT_OK;
}

/* Code points of valid UTF-8. */
static size_t count_characters(const char *text) {
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static size_t record_characters(const struct ft_record *record) {
    size_t count = 0;
    for (size_t i = 0; i < record->turns; i++)
        count += count_characters(record->turn[i].content);
    return record->turns ? count : count_characters(record->prompt) + count_characters(record->completion);
}

/* How many turns stand before the last answer. */
static size_t turns_before_answer(const struct ft_record *record) {
    size_t last = record->turns;
    while (last && strcmp(record->turn[last - 1].role, "assistant") != 0)
        last--;
    return last ? last - 1 : 0;
}

/* A digest of what the model is given before its last answer; 0: nothing, so that answers cannot contradict.
 */
static uint64_t input_of(const struct ft_record *record) {
    struct ft_sha256 hash;
    unsigned char digest[FT_SHA256_SIZE];
    size_t turns = record->turns ? turns_before_answer(record) : 0;
    if (record->turns ? !turns : !*record->prompt) return 0;
    ft_sha256_init(&hash);
    for (size_t i = 0; i < turns; i++) {
        ft_sha256_update(&hash, record->turn[i].role, strlen(record->turn[i].role) + 1);
        ft_sha256_update(&hash, record->turn[i].content, strlen(record->turn[i].content) + 1);
    }
    if (!turns) ft_sha256_update(&hash, record->prompt, strlen(record->prompt));
    ft_sha256_final(&hash, digest);
    return ft_load64(digest) | 1u;
}

static bool has_text(const struct ft_record *record, const char *needle) {
    for (size_t i = 0; i < record->turns; i++)
        if (strstr(record->turn[i].content, needle)) return true;
    return !record->turns && (strstr(record->prompt, needle) || strstr(record->completion, needle));
}

static bool ends_blank(const char *text) {
    size_t size = strlen(text);
    return size && strchr(" \t\n", text[size - 1]);
}

/* Findings that need this record alone. */
static enum ft_status look_at(struct ft_lint *lint, const struct ft_record *record,
                              const struct ft_lint_counts *counts, struct ft_error *error) {
    enum ft_status status = FT_OK;
    size_t bound = lint->options.max_tokens;
    if (has_text(record, "\xef\xbf\xbd"))
        status = ft_lint_note(lint, FT_LINT_WARNING, "replacement_character", record->line, error,
                              "U+FFFD in the text: it went through a wrong encoding");
    if (!status && !record->turns && ends_blank(record->prompt) && record->completion[0] == ' ')
        status = ft_lint_note(lint, FT_LINT_WARNING, "doubled_space", record->line, error,
                              "the prompt ends in a blank and the completion begins with one");
    if (!status && lint->options.counted && bound && counts->tokens > bound)
        status = ft_lint_note(
            lint, FT_LINT_WARNING, "overlong", record->line, error,
            "%zu tokens, more than %zu: ft-tokenize will refuse it unless --overlong says otherwise",
            counts->tokens, bound);
    return status;
}

static enum ft_status measure(struct ft_lint *lint, const struct ft_record *record,
                              const struct ft_shingles *shingles, const struct ft_lint_counts *counts,
                              struct ft_error *error) {
    struct lint_file *file = present_file(lint);
    enum ft_status status = put_length(&file->characters, record_characters(record), error);
    if (!status && lint->options.counted) status = put_length(&file->tokens, counts->tokens, error);
    file->supervised += counts->supervised;
    file->records++;
    file->format[record->format]++;
    file->unlabelled += record->label == NULL;
    if (shingles->given) sketch_add(&file->given, shingles->hash, shingles->given);
    if (shingles->count > shingles->given)
        sketch_add(&file->answer, shingles->hash + shingles->given, shingles->count - shingles->given);
    return status;
}

enum ft_status ft_lint_add(struct ft_lint *lint, const struct ft_record *record,
                           const struct ft_shingles *shingles, const struct ft_lint_counts *counts,
                           struct ft_error *error) {
    size_t n = lint->rows;
    enum ft_status status =
        ft_grow(&lint->row, &lint->row_capacity, n + 1, sizeof *lint->row, ROWS_MAX, "records", error);
    if (!status)
        status = ft_grow(&lint->signature, &lint->signature_capacity, n + 1, sizeof *lint->signature,
                         ROWS_MAX, "records", error);
    if (!status)
        status = ft_grow(&lint->present, &lint->present_capacity, n + 1, sizeof *lint->present, ROWS_MAX,
                         "records", error);
    if (status) return status;
    struct lint_row *row = &lint->row[n];
    *row = (struct lint_row){
        .input = input_of(record), .line = record->line, .file = (uint16_t)(lint->files - 1)};
    status = ft_record_content(record, row->content, error);
    if (!status) status = ft_names_put(&lint->labels, record->label, &row->label, error);
    if (!status) status = ft_boilerplate_add(lint->boilerplate, row->content, shingles, error);
    if (!status) status = measure(lint, record, shingles, counts, error);
    if (!status) status = look_at(lint, record, counts, error);
    if (status) return status;
    lint->present[n] = ft_signature_make(&lint->signature[n], shingles);
    lint->rows++;
    return FT_OK;
}

enum ft_status ft_lint_rescan(struct ft_lint *lint, bool *needed, struct ft_error *error) {
    enum ft_status status = ft_boilerplate_finish(lint->boilerplate, &lint->boilerplate_shingles, error);
    *needed = !status && lint->boilerplate_shingles;
    return status;
}

enum ft_status ft_lint_again(struct ft_lint *lint, struct ft_shingles *shingles, struct ft_error *error) {
    if (lint->again == lint->rows) return ft_fail(error, FT_MISMATCH, "the data grew while they were read");
    ft_boilerplate_strip(lint->boilerplate, shingles);
    lint->present[lint->again] = ft_signature_make(&lint->signature[lint->again], shingles);
    lint->again++;
    return FT_OK;
}

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
            return note_at(lint, FT_LINT_WARNING, "exact_duplicate", row->file, row->line, error,
                           "the same as an earlier record, and as %s:%llu", place(lint, item->row),
                           (unsigned long long)other->line);
        return note_at(lint, FT_LINT_WARNING, "exact_duplicate", row->file, row->line, error,
                       "the same as line %llu", (unsigned long long)other->line);
    }
    if (item->files & earlier)
        return note_at(lint, FT_LINT_WARNING, "leakage", row->file, row->line, error, "is also in %s:%llu",
                       place(lint, item->row), (unsigned long long)other->line);
    if (item->near & own) file->near++;
    if (!(item->near & earlier)) return FT_OK;
    const struct lint_row *like = &lint->row[lint->item[item->like].row];
    return note_at(lint, FT_LINT_WARNING, "near_leakage", row->file, row->line, error,
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
        status = note_at(lint, labels ? FT_LINT_WARNING : FT_LINT_NOTE,
                         labels ? "contradicting_label" : "several_answers", row->file, row->line, error,
                         "the same input as %s:%llu, but another %s", place(lint, asked[first].row),
                         (unsigned long long)other->line, labels ? "label" : "answer");
    }
    free(asked);
    return status;
}

/* --- files --------------------------------------------------------------------------------------------- */

static int by_length(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t lengths_quantile(const struct lengths *lengths, unsigned percent) {
    if (!lengths->count) return 0;
    return lengths->value[(lengths->count - 1) * percent / 100];
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
        status = note_at(lint, FT_LINT_WARNING, "missing_label", at, 0, error,
                         "%zu of %zu records have no label", file->unlabelled, file->records);
    if (!status && used == 1)
        status = note_at(lint, FT_LINT_WARNING, "single_label", at, 0, error,
                         "all records have the label '%.100s'", rare);
    if (!status && few && at == 0)
        status = note_at(lint, FT_LINT_WARNING, "rare_label", at, 0, error,
                         "%zu of %zu labels have fewer than %d records (the rarest is '%.100s': %zu)", few,
                         used, LABEL_FEW, rare, least);
    if (!status && most / least >= LABEL_IMBALANCE)
        status =
            note_at(lint, FT_LINT_WARNING, "label_imbalance", at, 0, error,
                    "the most frequent label has %zu records, the rarest ('%.100s') %zu", most, rare, least);
    return status;
}

/* The first file is what will be trained on, or is split for it; later ones may well be small. */
static enum ft_status judge_size(struct ft_lint *lint, unsigned at, struct ft_error *error) {
    const struct lint_file *file = lint->file[at];
    if (!file->records)
        return note_at(lint, FT_LINT_ERROR, "no_records", at, 0, error, "there is no usable record");
    if (at) return FT_OK;
    size_t distinct = file->records - file->duplicates;
    if (distinct < FT_LINT_FEW)
        return note_at(lint, FT_LINT_WARNING, "too_few_records", at, 0, error,
                       "%zu different records; fewer than %u seldom change a model for the better, %u to %u "
                       "is the advised "
                       "minimum",
                       distinct, FT_LINT_FEW, FT_LINT_FEW, FT_LINT_ADVISED);
    if (distinct < FT_LINT_ADVISED)
        return note_at(lint, FT_LINT_NOTE, "few_records", at, 0, error,
                       "%zu different records: enough to begin with; more than %u are better", distinct,
                       FT_LINT_ADVISED);
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
            status =
                note_at(lint, FT_LINT_NOTE, "near_duplicates", f, 0, error,
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

bool ft_lint_keep(const struct ft_lint *lint, size_t index) {
    return lint->row[index].first;
}

bool ft_lint_failed(const struct ft_lint *lint) {
    for (size_t i = 0; i < lint->verdicts; i++)
        if (lint->verdict[i].severity != FT_LINT_NOTE) return true;
    return false;
}
