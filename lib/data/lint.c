/* SPDX-License-Identifier: MIT
 *
 * Records come in, one after the other, with what each says by itself; and findings are noted.
 */
#include "ft/lint.h"

#include "ft/memory.h"
#include "ft/printable.h"
#include "lint_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX ((size_t)1 << 31)
#define MESSAGE_MAX 512u

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

enum ft_status ft_lint_note_at(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                               unsigned file, uint64_t line, struct ft_error *error, const char *format,
                               ...) {
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

bool ft_lint_keep(const struct ft_lint *lint, size_t index) {
    return lint->row[index].first;
}

bool ft_lint_failed(const struct ft_lint *lint) {
    for (size_t i = 0; i < lint->verdicts; i++)
        if (lint->verdict[i].severity != FT_LINT_NOTE) return true;
    return false;
}
