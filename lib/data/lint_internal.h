/* SPDX-License-Identifier: MIT
 *
 * What lint.c (gathering), lint_judge.c (judging) and lint_report.c (saying it) share.
 */
#ifndef FT_DATA_LINT_INTERNAL_H
#define FT_DATA_LINT_INTERNAL_H

#include "ft/lint.h"
#include "names.h"

#define LINT_FORMATS (FT_RECORD_TEXT + 1)
#define LINT_BUCKETS 24u /* of lengths: bucket b holds lengths with b significant bits */

struct finding {
    unsigned file; /* index; FT_LINT_FILES: all */
    uint64_t line;
    char *message; /* owned */
};

/* All findings of one code. */
struct verdict {
    const char *code; /* a literal */
    enum ft_lint_severity severity;
    size_t count;
    struct finding *finding; /* the first ones: [kept] */
    size_t kept, capacity;
};

/* Lengths of one kind in one file. */
struct lengths {
    uint32_t *value; /* sorted at the end */
    size_t count, capacity;
    uint64_t sum;
    size_t bucket[LINT_BUCKETS];
};

/* How many different things there were, within 1 percent: HyperLogLog (Flajolet et al. 2007). */
#define SKETCH_BITS 14u
struct sketch {
    uint8_t rank[1u << SKETCH_BITS];
    uint64_t count; /* with repetitions */
};

struct lint_file {
    char *name;
    size_t records, broken, duplicates, near;
    size_t format[LINT_FORMATS];
    size_t unlabelled;
    size_t *label; /* [lint->labels.count], filled at the end */
    struct lengths characters, tokens;
    uint64_t supervised;
    struct sketch given, answer;
    size_t leak_exact[FT_LINT_FILES], leak_near[FT_LINT_FILES]; /* records that an earlier file has, too */
};

struct lint_row {
    unsigned char content[FT_SHA256_SIZE];
    uint64_t input, line;
    uint32_t label, item;
    uint16_t file;
    bool first; /* of its content in its file */
};

/* One distinct content. */
struct lint_item {
    uint64_t files, near; /* sets of files: where it is, where something similar is */
    uint32_t row;         /* its first record */
    uint32_t like;        /* a similar item in another file, or else in its own; FT_NAME_NONE: none */
};

struct ft_lint {
    struct ft_lint_options options;
    struct lint_file **file; /* [files] */
    size_t files, file_capacity;
    struct lint_row *row; /* [rows] */
    size_t rows, row_capacity;
    struct ft_signature *signature; /* [rows] */
    bool *present;                  /* [rows] */
    size_t signature_capacity, present_capacity, again;
    struct lint_item *item; /* [items] */
    uint32_t *order;        /* [items]: the item's first record */
    size_t items;
    struct ft_names labels;
    struct ft_boilerplate *boilerplate;
    size_t boilerplate_shingles;
    struct verdict *verdict;
    size_t verdicts, verdict_capacity;
    struct ft_buffer scratch;
};

void sketch_add(struct sketch *sketch, const uint64_t *hash, size_t count);
uint64_t sketch_distinct(const struct sketch *sketch);

/* ft_lint_note in any file. */
enum ft_status ft_lint_note_at(struct ft_lint *lint, enum ft_lint_severity severity, const char *code,
                               unsigned file, uint64_t line, struct ft_error *error, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

#endif
