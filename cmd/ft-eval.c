/* SPDX-License-Identifier: MIT
 *
 * ft-eval: base against tuned on a held-out token stream: loss, perplexity, accuracy, and generated answers. */
#include "ft/card.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/ftok.h"
#include "ft/memory.h"
#include "ft/options.h"
#include "ft/progress.h"
#include "ft/provenance.h"
#include "ft/report.h"
#include "ft/score.h"
#include "ft/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    const char *model, *tuned, *output, *tasks;
    struct ft_option_list bars;
    size_t threads, max_tokens, slots, resamples, examples;
    uint64_t seed;
    bool json, generate;
    const char *fields[FT_SCORE_FIELDS];
    size_t n_fields;
};

struct work {
    const struct settings *settings;
    struct ft_exec *exec;
    struct ft_tokenizer *tokenizer;
    struct ft_ftok_set set;
    struct ft_score_row *rows[2];
    struct ft_report report;
    struct ft_directory *directory; /* NULL without -o */
    struct ft_progress progress;
    struct ft_model_digest *digest; /* being computed */
    char model_sha256[FT_SHA256_HEX];
    char *task_words;
};

/* --- tasks and bars -------------------------------------------------------------------------------------- */

/* "loss", "exact", "json", "field:NAME", separated by commas. `words` is cut in place and must live as long. */
static enum ft_status parse_tasks(struct settings *s, char *words, struct ft_error *error) {
    static const char *const known[] = {"loss", "exact", "json", "field:NAME", NULL};
    for (char *word = strtok(words, ","); word; word = strtok(NULL, ",")) {
        if (strcmp(word, "loss") == 0) continue;
        s->generate = true;
        if (strcmp(word, "exact") == 0 || strcmp(word, "json") == 0) continue;
        if (strncmp(word, "field:", 6) == 0 && word[6]) {
            if (s->n_fields == FT_SCORE_FIELDS) return ft_fail(error, FT_USAGE, "--tasks: at most %u fields", FT_SCORE_FIELDS);
            s->fields[s->n_fields++] = word + 6;
            continue;
        }
        const char *near = ft_nearest(word, known);
        return ft_fail(error, FT_USAGE, "--tasks: '%s' is unknown; %s%s (loss, exact, json, field:NAME)", word,
                       near ? "did you mean " : "choose from the list", near ? near : "");
    }
    return FT_OK;
}

/* NAME>=VALUE or NAME<=VALUE. */
struct bar {
    char name[64];
    bool least;
    double limit;
};

static enum ft_status parse_bar(struct bar *out, const char *bar, struct ft_error *error) {
    const char *at = strstr(bar, ">=") ? strstr(bar, ">=") : strstr(bar, "<=");
    if (!at || ft_parse_double(at + 2, "--bar", &out->limit, error))
        return ft_fail(error, FT_USAGE, "--bar '%s': NAME>=VALUE or NAME<=VALUE is expected", bar);
    snprintf(out->name, sizeof out->name, "%.*s", (int)(at - bar), bar);
    out->least = *at == '>';
    return FT_OK;
}

static enum ft_status check_bars(const struct settings *s, struct ft_error *error) {
    struct bar bar;
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < s->bars.count && !status; i++) status = parse_bar(&bar, s->bars.item[i], error);
    return status;
}

/* Before anything is written: every bar names a metric of the report. */
static enum ft_status find_metrics(const struct settings *s, const struct ft_report *report, struct ft_error *error) {
    struct bar bar;
    for (size_t i = 0; i < s->bars.count; i++) {
        enum ft_status status = parse_bar(&bar, s->bars.item[i], error);
        if (status) return status;
        if (!ft_report_find(report, bar.name))
            return ft_fail(error, FT_USAGE, "--bar '%s': there is no metric of this name; the table without --bar lists them",
                           s->bars.item[i]);
    }
    return FT_OK;
}

/* Against the tuned system (the only one, when there is one). */
static bool meets(const struct ft_report *report, const char *text) {
    struct bar bar;
    if (parse_bar(&bar, text, NULL)) return false;
    double value = ft_report_find(report, bar.name)->paired.value[report->two];
    if (bar.least ? value >= bar.limit : value <= bar.limit) return true;
    fprintf(stderr, "ft-eval: bar not met: %s is %.6g, asked for %s\n", bar.name, value, text);
    return false;
}

/* --- scoring --------------------------------------------------------------------------------------------- */

static void show(void *arg, size_t done) {
    struct work *w = arg;
    ft_progress_update(&w->progress, done, NULL);
}

static enum ft_status score_system(struct work *w, size_t system, const char *tuned, struct ft_error *error) {
    const struct settings *s = w->settings;
    struct ft_score score = {.exec = w->exec, .set = &w->set, .tokenizer = w->tokenizer, .max_tokens = s->max_tokens,
                             .slots = s->slots, .fields = s->fields, .n_fields = s->n_fields, .progress = show, .arg = w};
    const char *name = system == 0 && s->tuned ? "base" : s->tuned ? "tuned" : "model";
    char label[64];
    enum ft_status status = ft_system_open(&score.model, w->exec, s->model, w->model_sha256, tuned, error);
    if (!status) status = ft_alloc(&w->rows[system], w->set.rows, sizeof *w->rows[system], error);
    if (!status) {
        snprintf(label, sizeof label, "%s: loss", name);
        ft_progress_start(&w->progress, label, "records", w->set.rows);
        status = ft_score_losses(&score, w->rows[system], error);
        ft_progress_end(&w->progress);
    }
    if (!status && s->generate) {
        snprintf(label, sizeof label, "%s: answers", name);
        ft_progress_start(&w->progress, label, "records", w->set.rows);
        status = ft_score_answers(&score, w->rows[system], error);
        ft_progress_end(&w->progress);
    }
    ft_model_free(score.model);
    return status;
}

/* --- output ---------------------------------------------------------------------------------------------- */

/* One line a record: digest of its source, losses, answers. */
static enum ft_status write_records(const struct work *w, const char *path, struct ft_error *error) {
    static const char *const names[] = {"base", "tuned"};
    struct ft_output *output = NULL;
    enum ft_status status = ft_output_open(&output, path, FT_OUTPUT_NOSYNC, error);
    for (size_t i = 0; i < w->set.rows && !status; i++) {
        struct ft_json json;
        struct ft_buffer line = {0};
        char hex[FT_SHA256_HEX];
        status = ft_json_new(&json, FT_JSON_OBJECT, error);
        if (status) break;
        ft_hex(w->set.source[i], FT_SHA256_SIZE, hex);
        ft_json_set_string(&json, json.root, "source_sha256", hex);
        for (int s = 0; s < 2; s++) {
            const struct ft_score_row *row = w->rows[s] ? &w->rows[s][i] : NULL;
            if (!row) continue;
            struct cJSON *system = ft_json_set_object(&json, json.root, names[s]);
            ft_json_set_double(&json, system, "loss", row->loss / row->weight);
            ft_json_set_u64(&json, system, "tokens", row->tokens);
            ft_json_set_u64(&json, system, "correct", row->correct);
            if (!row->answer) continue;
            ft_json_set_string(&json, system, "answer", row->answer);
            ft_json_set_bool(&json, system, "exact", row->exact);
            ft_json_set_bool(&json, system, "stopped", row->stopped);
        }
        status = ft_json_print(&json, json.root, FT_JSON_SORTED, &line, error);
        if (!status) status = ft_buffer_string(&line, "\n", error);
        if (!status) status = ft_output_write(output, line.data, line.size, error);
        ft_buffer_release(&line);
        ft_json_release(&json);
    }
    if (!status) return ft_output_commit(output, error);
    ft_output_abort(output);
    return status;
}

static enum ft_status report_document(const struct work *w, struct ft_json *json, struct ft_error *error) {
    enum ft_status status = ft_json_new(json, FT_JSON_OBJECT, error);
    if (status) return status;
    ft_report_json(&w->report, json);
    ft_json_set_string(json, json->root, "model_sha256", w->model_sha256);
    ft_json_set_string(json, json->root, "test_sha256", w->set.sha256);
    return FT_OK;
}

static enum ft_status in_directory(struct ft_buffer *path, const struct ft_directory *d, const char *name, struct ft_error *error) {
    ft_buffer_clear(path);
    return ft_path_join(path, ft_directory_path(d), name, error);
}

static enum ft_status fill_directory(struct work *w, struct ft_directory *d, struct ft_provenance *provenance, struct ft_error *error) {
    struct ft_score score = {.set = &w->set, .tokenizer = w->tokenizer, .fields = w->settings->fields, .n_fields = w->settings->n_fields};
    struct ft_buffer path = {0}, html = {0};
    struct ft_json json = {0};
    enum ft_status status = report_document(w, &json, error);
    if (!status) status = in_directory(&path, d, "report.json", error);
    if (!status) status = ft_json_save(&json, path.data, FT_JSON_SORTED | FT_JSON_PRETTY, FT_OUTPUT_NOSYNC, error);
    if (!status) status = ft_report_html(&w->report, &score, w->rows, w->settings->examples, &html, error);
    if (!status) status = in_directory(&path, d, "report.html", error);
    if (!status) status = ft_write_file(path.data, html.data, html.size, FT_OUTPUT_NOSYNC, error);
    if (!status) status = in_directory(&path, d, "records.jsonl", error);
    if (!status) status = write_records(w, path.data, error);
    if (!status) status = ft_provenance_finish(provenance, ft_directory_path(d), error);
    ft_json_release(&json);
    ft_buffer_release(&html);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status write_directory(struct work *w, const char *test, struct ft_error *error) {
    const struct settings *s = w->settings;
    struct ft_provenance *provenance = NULL;
    enum ft_status status = ft_provenance_new(&provenance, "eval", error);
    if (!status) status = ft_provenance_add_model(provenance, "model", s->model, w->model_sha256, error);
    if (!status && s->tuned)
        status = ft_provenance_add_model(provenance, ft_system_is_adapter(s->tuned) ? "adapter" : "tuned", s->tuned, NULL, error);
    if (!status) status = ft_provenance_add_digest(provenance, "test", strcmp(test, "-") ? test : "stdin", w->set.sha256, error);
    if (!status) {
        struct ft_json *json = ft_provenance_json(provenance);
        struct cJSON *parameters = ft_provenance_parameters(provenance);
        struct cJSON *fields = ft_json_set_array(json, parameters, "fields");
        for (size_t i = 0; i < s->n_fields; i++) ft_json_set_string(json, fields, NULL, s->fields[i]);
        ft_json_set_bool(json, parameters, "generate", s->generate);
        ft_json_set_u64(json, parameters, "max_tokens", s->max_tokens);
        ft_json_set_u64(json, parameters, "resamples", s->resamples);
        ft_json_set_u64(json, parameters, "seed", s->seed);
        status = fill_directory(w, w->directory, provenance, error);
    }
    if (!status) {
        status = ft_directory_commit(w->directory, error);
        w->directory = NULL;
    }
    ft_provenance_free(provenance);
    return status;
}

static enum ft_status print_result(const struct work *w, struct ft_error *error) {
    enum ft_status status = FT_OK;
    if (w->settings->json) {
        struct ft_json json = {0};
        struct ft_buffer text = {0};
        status = report_document(w, &json, error);
        if (!status) status = ft_json_print(&json, json.root, FT_JSON_SORTED | FT_JSON_PRETTY, &text, error);
        if (!status) fwrite(text.data, 1, text.size, stdout);
        ft_json_release(&json);
        ft_buffer_release(&text);
    } else {
        ft_report_table(&w->report, stdout);
    }
    if (!status && (fflush(stdout) != 0 || ferror(stdout))) status = ft_fail_errno(error, FT_IO, "standard output");
    return status;
}

/* --- the whole ------------------------------------------------------------------------------------------- */

static enum ft_status prepare(struct work *w, struct settings *s, const char *test, struct ft_error *error) {
    enum ft_status status = FT_OK;
    if (s->tasks) {
        w->task_words = strdup(s->tasks);
        status = w->task_words ? parse_tasks(s, w->task_words, error) : ft_fail(error, FT_NOMEM, "out of memory");
    }
    if (!status) status = ft_exec_new(&w->exec, (unsigned)s->threads, error);
    if (!status) status = ft_card_tokenizer(&w->tokenizer, s->model, error);
    if (!status) status = ft_ftok_load(&w->set, test, 0, error);
    if (status) return status;
    if (w->set.rows == 0) return ft_fail(error, FT_FORMAT, "%s: no records to evaluate", ft_path_shown(test));
    if (strcmp(w->set.tokenizer, ft_tokenizer_digest(w->tokenizer)) != 0)
        return ft_fail(error, FT_MISMATCH, "%s was made with the tokenizer %.12s..., but %s has %.12s...; tokenize again with -m %s",
                       ft_path_shown(test), w->set.tokenizer, s->model, ft_tokenizer_digest(w->tokenizer), s->model);
    if (!s->tasks) s->generate = ft_score_promptable(&w->set) == w->set.rows;
    return FT_OK;
}

static enum ft_status run(struct settings *s, const char *test, bool *met, struct ft_error *error) {
    struct work w = {.settings = s};
    enum ft_status status = check_bars(s, error);
    if (!status) status = ft_model_digest_begin(&w.digest, s->model, error);
    if (!status) status = prepare(&w, s, test, error);
    if (!status && s->output) status = ft_directory_begin(&w.directory, s->output, error); /* refused before the long work */
    if (!status) status = score_system(&w, 0, NULL, error); /* needs no digest */
    enum ft_status digest = ft_model_digest_end(&w.digest, w.model_sha256, status ? &(struct ft_error){0} : error);
    if (!status) status = digest;
    if (!status && s->tuned) status = score_system(&w, 1, s->tuned, error);
    if (!status) {
        struct ft_score score = {.set = &w.set, .tokenizer = w.tokenizer, .fields = s->fields, .n_fields = s->n_fields};
        status = ft_report_build(&w.report, &score, w.rows, s->generate, s->seed, s->resamples, error);
    }
    if (!status) status = find_metrics(s, &w.report, error);
    if (!status && s->output) status = write_directory(&w, test, error);
    if (!status) status = print_result(&w, error);
    for (size_t i = 0; i < s->bars.count && !status; i++) *met &= meets(&w.report, s->bars.item[i]);
    ft_directory_abort(w.directory);
    ft_report_release(&w.report);
    for (int i = 0; i < 2; i++) {
        ft_score_rows_release(w.rows[i], w.set.rows);
        free(w.rows[i]);
    }
    ft_ftok_set_release(&w.set);
    ft_tokenizer_free(w.tokenizer);
    ft_exec_free(w.exec);
    free(w.task_words);
    return status;
}

int main(int argc, char **argv) {
    struct settings s = {.resamples = 10000, .seed = 1, .examples = 50};
    const struct ft_option options[] = {
        {'m', "model", FT_OPTION_STRING, &s.model, "DIR", "the base model", 0, 0},
        {'a', "adapter", FT_OPTION_STRING, &s.tuned, "DIR", "what ft-train wrote: an adapter or a fully tuned model", 0, 0},
        {'t', "tasks", FT_OPTION_STRING, &s.tasks, "LIST", "loss, exact, json, field:NAME with commas (default loss,exact)", 0, 0},
        {'o', "output", FT_OPTION_STRING, &s.output, "DIR", "write report.json, report.html, records.jsonl there", 0, 0},
        {0, "bar", FT_OPTION_LIST, &s.bars, "NAME>=X", "exit with 1 unless the tuned model reaches it, may be repeated", 0, 0},
        {0, "max-tokens", FT_OPTION_SIZE, &s.max_tokens, "N", "of an answer (default: longest reference + 16)", 1, 1 << 20},
        {0, "batch", FT_OPTION_SIZE, &s.slots, "N", "answers generated at once (default: up to 64, by their memory; no effect on results)", 1, 1024},
        {0, "resamples", FT_OPTION_SIZE, &s.resamples, "N", "of bootstrap and permutation test (default 10000)", 100, 1000000},
        {0, "seed", FT_OPTION_U64, &s.seed, "N", "of the resampling (default 1)", 0, 0},
        {0, "examples", FT_OPTION_SIZE, &s.examples, "N", "records shown on the page (default 50)", 0, 1000000},
        {0, "threads", FT_OPTION_SIZE, &s.threads, "N", "threads (default: all processors; no effect on results)", 1, FT_POOL_MAX},
        {0, "json", FT_OPTION_FLAG, &s.json, NULL, "print report.json instead of the table", 0, 0},
        {0},
    };
    const struct ft_command command = {"ft-eval", "TEST.ftok|-", "Measure base against tuned on held-out records",
                                       "Exit status: 0 success, 1 a --bar is not met, 2 wrong usage or failure.", options};
    struct ft_error error = {0};
    int first;
    bool met = true;
    switch (ft_options_parse(&command, argc, argv, &first, &error)) {
    case FT_OPTIONS_DONE: return fflush(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD: break;
    case FT_OPTIONS_RUN:
        ft_commit_on_signal();
        if (!s.model) ft_fail(&error, FT_USAGE, "no model: give its directory with -m");
        else if (argc - first != 1) ft_fail(&error, FT_USAGE, "give one token stream to evaluate on (ft-eval --help)");
        else if (run(&s, argv[first], &met, &error) == FT_OK) return met ? 0 : 1;
    }
    fprintf(stderr, "ft-eval: %s\n", error.message);
    return 2;
}
