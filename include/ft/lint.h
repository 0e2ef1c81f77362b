/* SPDX-License-Identifier: MIT
 *
 * The data doctor's findings over one or more files: what is wrong line by line, duplicates and
 * near-duplicates, leakage between files, contradictions, balance, lengths, diversity, and a verdict on the
 * size. It reads nothing itself. Order of calls:
 *
 *     ft_lint_new; for each file: ft_lint_file, then for each line ft_lint_add or ft_lint_broken;
 *     ft_lint_rescan; if that says so, every record that ft_lint_add got once more, in order, to
 * ft_lint_again; ft_lint_finish; ft_lint_json, ft_lint_print, ft_lint_keep, ft_lint_failed
 */
#ifndef FT_LINT_H
#define FT_LINT_H

#include "ft/json.h"
#include "ft/record.h"
#include "ft/similar.h"

#define FT_LINT_FILES 64u
#define FT_LINT_FEW 100u     /* records: fewer warn */
#define FT_LINT_ADVISED 500u /* fewer are noted */

enum ft_lint_severity { FT_LINT_NOTE, FT_LINT_WARNING, FT_LINT_ERROR };

struct ft_lint_options {
    double similarity;   /* near-duplicates are at least so similar */
    size_t max_tokens;   /* records with more tokens are findings; 0: no bound */
    bool counted;        /* ft_lint_add is given numbers of tokens */
    uint64_t parameters; /* of the model, for the estimate of work; 0: unknown */
    unsigned shown;      /* findings of one code that are kept with line and message; all are counted */
};

struct ft_lint;

enum ft_status ft_lint_new(struct ft_lint **lint, const struct ft_lint_options *options,
                           struct ft_error *error);
void ft_lint_free(struct ft_lint *lint); /* NULL is fine */

/* Begins a file; FT_USAGE beyond FT_LINT_FILES. The name is copied. */
enum ft_status ft_lint_file(struct ft_lint *lint, const char *name, struct ft_error *error);

struct ft_lint_counts {
    size_t tokens, supervised; /* when options.counted; 0 otherwise */
};
enum ft_status ft_lint_add(struct ft_lint *lint, const struct ft_record *record,
                           const struct ft_shingles *shingles, const struct ft_lint_counts *counts,
                           struct ft_error *error);
/* A line that is no record; message without the file's name. */
enum ft_status ft_lint_broken(struct ft_lint *lint, enum ft_record_problem problem, uint64_t line,
                              const char *message, struct ft_error *error);
/* Any other finding in the present file; line 0: the file as a whole. code is a literal. */
enum ft_status ft_lint_note(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                            uint64_t line, struct ft_error *error, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

enum ft_status ft_lint_rescan(struct ft_lint *lint, bool *needed, struct ft_error *error);
enum ft_status ft_lint_again(struct ft_lint *lint, struct ft_shingles *shingles, struct ft_error *error);
enum ft_status ft_lint_finish(struct ft_lint *lint, struct ft_error *error);

/* Whether record `index` (in order of ft_lint_add) is the first of its content in its file. */
bool ft_lint_keep(const struct ft_lint *lint, size_t index);

bool ft_lint_failed(const struct ft_lint *lint); /* there are warnings or errors */
enum ft_status ft_lint_json(const struct ft_lint *lint, struct ft_json *json, struct cJSON *object,
                            struct ft_error *error);
enum ft_status ft_lint_print(const struct ft_lint *lint, struct ft_buffer *text, struct ft_error *error);

#endif
