/* SPDX-License-Identifier: MIT */
#include "ft/lint.h"

#include "ft/memory.h"
#include "ft/printable.h"
#include "lint_internal.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { LABELS_SHOWN = 1000, LABELS_PRINTED = 8, BAR = 40 };

static const char *const severity_name[] = {"note", "warning", "error"};

/* Of sorted ones; 0 when there are none. */
static uint32_t quantile(const struct lengths *lengths, unsigned percent) {
    if (!lengths->count) return 0;
    return lengths->value[(lengths->count - 1) * percent / 100];
}

/* --- JSON ---------------------------------------------------------------------------------------------- */

static void put_lengths(struct ft_json *json, struct cJSON *object, const char *key,
                        const struct lengths *lengths) {
    if (!lengths->count) return;
    struct cJSON *node = ft_json_set_object(json, object, key);
    ft_json_set_u64(json, node, "min", quantile(lengths, 0));
    ft_json_set_u64(json, node, "p50", quantile(lengths, 50));
    ft_json_set_u64(json, node, "p95", quantile(lengths, 95));
    ft_json_set_u64(json, node, "p99", quantile(lengths, 99));
    ft_json_set_u64(json, node, "max", quantile(lengths, 100));
    ft_json_set_u64(json, node, "sum", lengths->sum);
    struct cJSON *histogram = ft_json_set_array(json, node, "histogram"); /* [from, records], powers of two */
    for (unsigned b = 0; b < LINT_BUCKETS; b++) {
        if (!lengths->bucket[b]) continue;
        struct cJSON *pair = ft_json_set_array(json, histogram, NULL);
        ft_json_set_u64(json, pair, NULL, b ? UINT64_C(1) << (b - 1) : 0);
        ft_json_set_u64(json, pair, NULL, lengths->bucket[b]);
    }
}

static void put_diversity(struct ft_json *json, struct cJSON *object, const char *key,
                          const struct sketch *sketch) {
    struct cJSON *node = ft_json_set_object(json, object, key);
    ft_json_set_u64(json, node, "ngrams", sketch->count);
    ft_json_set_u64(json, node, "distinct", sketch_distinct(sketch));
}

static void put_leakage(const struct ft_lint *lint, struct ft_json *json, struct cJSON *object, unsigned at) {
    const struct lint_file *file = lint->file[at];
    struct cJSON *list = ft_json_set_array(json, object, "leakage");
    for (unsigned f = 0; f < at; f++) {
        struct cJSON *node = ft_json_set_object(json, list, NULL);
        ft_json_set_string(json, node, "from", lint->file[f]->name);
        ft_json_set_u64(json, node, "exact", file->leak_exact[f]);
        ft_json_set_u64(json, node, "near", file->leak_near[f]);
    }
}

static void put_file(const struct ft_lint *lint, struct ft_json *json, struct cJSON *list, unsigned at,
                     const uint32_t *by_name) {
    const struct lint_file *file = lint->file[at];
    struct cJSON *object = ft_json_set_object(json, list, NULL);
    ft_json_set_string(json, object, "name", file->name);
    ft_json_set_u64(json, object, "records", file->records);
    ft_json_set_u64(json, object, "broken", file->broken);
    ft_json_set_u64(json, object, "exact_duplicates", file->duplicates);
    ft_json_set_u64(json, object, "near_duplicates", file->near);
    struct cJSON *formats = ft_json_set_object(json, object, "formats");
    for (unsigned i = 0; i < LINT_FORMATS; i++)
        if (file->format[i])
            ft_json_set_u64(json, formats, ft_record_format_name((enum ft_record_format)i), file->format[i]);
    put_lengths(json, object, "characters", &file->characters);
    put_lengths(json, object, "tokens", &file->tokens);
    if (lint->options.counted) ft_json_set_u64(json, object, "supervised_tokens", file->supervised);
    struct cJSON *diversity = ft_json_set_object(json, object, "diversity");
    put_diversity(json, diversity, "given", &file->given);
    put_diversity(json, diversity, "answer", &file->answer);
    put_leakage(lint, json, object, at);
    ft_json_set_u64(json, object, "unlabelled", file->unlabelled);
    if (lint->labels.count > LABELS_SHOWN) return;
    struct cJSON *labels = ft_json_set_object(json, object, "labels");
    for (size_t l = 0; l < lint->labels.count; l++)
        if (file->label[by_name[l]])
            ft_json_set_u64(json, labels, lint->labels.name[by_name[l]], file->label[by_name[l]]);
}

static void put_verdict(const struct ft_lint *lint, struct ft_json *json, struct cJSON *list,
                        const struct verdict *verdict) {
    struct cJSON *object = ft_json_set_object(json, list, NULL);
    ft_json_set_string(json, object, "code", verdict->code);
    ft_json_set_string(json, object, "severity", severity_name[verdict->severity]);
    ft_json_set_u64(json, object, "count", verdict->count);
    struct cJSON *where = ft_json_set_array(json, object, "findings");
    for (size_t i = 0; i < verdict->kept; i++) {
        const struct finding *finding = &verdict->finding[i];
        struct cJSON *node = ft_json_set_object(json, where, NULL);
        if (finding->file < lint->files)
            ft_json_set_string(json, node, "file", lint->file[finding->file]->name);
        if (finding->line) ft_json_set_u64(json, node, "line", finding->line);
        ft_json_set_string(json, node, "message", finding->message);
    }
}

enum ft_status ft_lint_json(const struct ft_lint *lint, struct ft_json *json, struct cJSON *object,
                            struct ft_error *error) {
    uint32_t *by_name = NULL;
    enum ft_status status = ft_names_sorted(&lint->labels, &by_name, error);
    if (status) return status;
    ft_json_set_string(json, object, "format", "ft-lint-1");
    ft_json_set_bool(json, object, "failed", ft_lint_failed(lint));
    ft_json_set_double(json, object, "similarity", lint->options.similarity);
    ft_json_set_u64(json, object, "boilerplate_shingles", lint->boilerplate_shingles);
    struct cJSON *files = ft_json_set_array(json, object, "files");
    for (unsigned f = 0; f < lint->files; f++)
        put_file(lint, json, files, f, by_name);
    struct cJSON *verdicts = ft_json_set_array(json, object, "findings");
    for (size_t i = 0; i < lint->verdicts; i++)
        put_verdict(lint, json, verdicts, &lint->verdict[i]);
    free(by_name);
    return FT_OK;
}

/* --- text ---------------------------------------------------------------------------------------------- */

/* Every function here appends to the text and remembers the first failure. */
struct page {
    const struct ft_lint *lint;
    struct ft_buffer *text;
    struct ft_error *error;
    enum ft_status status;
};

#define SAY(page, ...)                                                                                       \
    do {                                                                                                     \
        if (!(page)->status) (page)->status = ft_buffer_printf((page)->text, (page)->error, __VA_ARGS__);    \
    } while (0)

static void say_lengths(struct page *page, const char *what, const struct lengths *lengths) {
    size_t most = 0;
    if (!lengths->count) return;
    SAY(page, "  %-11s median %u, 95 %% up to %u, longest %u; %llu in all\n", what,
        quantile(lengths, 50), quantile(lengths, 95), quantile(lengths, 100),
        (unsigned long long)lengths->sum);
    for (unsigned b = 0; b < LINT_BUCKETS; b++)
        most = lengths->bucket[b] > most ? lengths->bucket[b] : most;
    for (unsigned b = 0; b < LINT_BUCKETS; b++) {
        if (!lengths->bucket[b]) continue;
        unsigned long long from = b ? 1ull << (b - 1) : 0, to = b ? (1ull << b) - 1 : 0;
        int bar = (int)((lengths->bucket[b] * BAR + most - 1) / most);
        SAY(page, "    %8llu-%-8llu %-*.*s %zu\n", from, to, BAR, bar,
            "########################################", lengths->bucket[b]);
    }
}

static void say_diversity(struct page *page, const char *what, const struct sketch *sketch) {
    if (!sketch->count) return;
    uint64_t distinct = sketch_distinct(sketch);
    SAY(page, "  %-11s %llu of %llu words and pairs of words are different (%.1f %%)\n", what,
        (unsigned long long)distinct, (unsigned long long)sketch->count,
        100.0 * (double)distinct / (double)sketch->count);
}

struct counted {
    const char *name;
    size_t count;
};

static int by_count(const void *a, const void *b) {
    const struct counted *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void say_labels(struct page *page, const struct lint_file *file) {
    const struct ft_names *labels = &page->lint->labels;
    struct counted *list = NULL;
    size_t used = 0;
    if (!page->status) page->status = ft_alloc(&list, labels->count, sizeof *list, page->error);
    if (page->status) return;
    for (size_t l = 0; l < labels->count; l++)
        if (file->label[l]) list[used++] = (struct counted){labels->name[l], file->label[l]};
    qsort(list, used, sizeof *list, by_count);
    if (used) SAY(page, "  %-11s %zu:", "labels", used);
    for (size_t i = 0; i < used && i < LABELS_PRINTED; i++) {
        /* Of many labels, the most frequent ones and the rarest. */
        size_t at = used > LABELS_PRINTED && i == LABELS_PRINTED - 1 ? used - 1 : i;
        char name[61];
        (void)snprintf(name, sizeof name, "%s", list[at].name);
        ft_make_printable(name);
        SAY(page, "%s %s %zu", at > i ? " ..." : i ? "," : "", name, list[at].count);
    }
    if (used) SAY(page, "\n");
    free(list);
}

static void say_leakage(struct page *page, unsigned at) {
    const struct lint_file *file = page->lint->file[at];
    for (unsigned f = 0; f < at && file->records; f++) {
        size_t all = file->leak_exact[f] + file->leak_near[f];
        SAY(page, "  %-11s %zu exact, %zu near of %zu records (%.1f %%) in %s\n", "leakage",
            file->leak_exact[f], file->leak_near[f], file->records,
            100.0 * (double)all / (double)file->records, page->lint->file[f]->name);
    }
}

static void say_work(struct page *page, const struct lint_file *file) {
    if (!page->lint->options.counted) return;
    double tokens = (double)file->tokens.sum, parameters = (double)page->lint->options.parameters;
    SAY(page, "  %-11s %llu tokens, %llu of them learnt", "an epoch", (unsigned long long)file->tokens.sum,
        (unsigned long long)file->supervised);
    if (parameters > 0.0)
        SAY(page, "; about %.3g GFLOP full, %.3g by LoRA: %.0f s and %.0f s at 100 GFLOP/s",
            6e-9 * parameters * tokens, 4e-9 * parameters * tokens, 6e-11 * parameters * tokens,
            4e-11 * parameters * tokens);
    SAY(page, "\n");
}

static void say_file(struct page *page, unsigned at) {
    const struct lint_file *file = page->lint->file[at];
    SAY(page, "%s: %zu records", file->name, file->records);
    for (unsigned i = 0, first = 1; i < LINT_FORMATS; i++) {
        if (!file->format[i]) continue;
        SAY(page, "%s%s %zu", first ? " (" : ", ", ft_record_format_name((enum ft_record_format)i),
            file->format[i]);
        first = 0;
    }
    SAY(page, "%s, %zu broken lines, %zu exact duplicates, %zu with a near-duplicate\n",
        file->records ? ")" : "", file->broken, file->duplicates, file->near);
    say_lengths(page, "characters", &file->characters);
    say_lengths(page, "tokens", &file->tokens);
    say_labels(page, file);
    say_diversity(page, "given", &file->given);
    say_diversity(page, "answers", &file->answer);
    say_leakage(page, at);
    if (!at) say_work(page, file);
}

static void say_verdict(struct page *page, const struct verdict *verdict) {
    SAY(page, "%s: %s: %zu\n", severity_name[verdict->severity], verdict->code, verdict->count);
    for (size_t i = 0; i < verdict->kept; i++) {
        const struct finding *finding = &verdict->finding[i];
        const char *name =
            finding->file < page->lint->files ? page->lint->file[finding->file]->name : "all files";
        if (finding->line)
            SAY(page, "  %s:%llu: %s\n", name, (unsigned long long)finding->line, finding->message);
        else
            SAY(page, "  %s: %s\n", name, finding->message);
    }
    if (verdict->count > verdict->kept && verdict->kept)
        SAY(page, "  and %zu more\n", verdict->count - verdict->kept);
}

enum ft_status ft_lint_print(const struct ft_lint *lint, struct ft_buffer *text, struct ft_error *error) {
    struct page page = {lint, text, error, FT_OK};
    for (unsigned f = 0; f < lint->files; f++)
        say_file(&page, f);
    for (int severity = FT_LINT_ERROR; severity >= FT_LINT_NOTE; severity--)
        for (size_t i = 0; i < lint->verdicts; i++)
            if ((int)lint->verdict[i].severity == severity) say_verdict(&page, &lint->verdict[i]);
    SAY(&page, "%s\n", ft_lint_failed(lint) ? "There are findings." : "Nothing to complain about.");
    return page.status;
}
