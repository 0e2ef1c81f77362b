/* SPDX-License-Identifier: MIT
 * ft-lint: the data doctor. */
#include "ft/card.h"
#include "ft/commit.h"
#include "ft/config.h"
#include "ft/example.h"
#include "ft/file.h"
#include "ft/lint.h"
#include "ft/options.h"
#include "ft/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct job {
    struct ft_lint_options options;
    const char *model, *fix, *format_name, *label, *group;
    enum ft_record_format format;
    bool json;
    size_t shown;
    struct ft_lint *lint;
    struct ft_tokenizer *tokenizer; /* with a model */
    struct ft_example_encoder *encoder;
    struct ft_example example;
    FILE *copy; /* of standard input, which is wanted twice */
    /* For --fix: what became of each line, and which of its records come first. */
    bool *usable;
    size_t lines, line_capacity;
};

/* One file being read. */
struct reader {
    struct job *job;
    const char *name;
    struct ft_lines *lines;
    const char *line;
    size_t size;
    struct ft_record record;
    struct ft_shingles shingles;
};

static void reader_close(struct reader *reader) {
    ft_lines_close(reader->lines);
    ft_record_release(&reader->record);
    ft_shingles_release(&reader->shingles);
}

/* From here on standard input is a copy that can be read again; tmpfile removes itself, however this process
 * ends. */
static enum ft_status copy_stdin(struct job *job, struct ft_error *error) {
    static char block[1 << 16];
    job->copy = tmpfile();
    if (!job->copy) return ft_fail_errno(error, FT_IO, "no temporary file for standard input");
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;)
        if (fwrite(block, 1, n, job->copy) != n)
            return ft_fail_errno(error, FT_IO, "the copy of standard input");
    if (ferror(stdin)) return ft_fail_errno(error, FT_IO, "standard input");
    if (fflush(job->copy)) return ft_fail_errno(error, FT_IO, "the copy of standard input");
    if (dup2(fileno(job->copy), STDIN_FILENO) < 0)
        return ft_fail_errno(error, FT_IO, "the copy of standard input");
    return FT_OK;
}

static enum ft_status reader_open(struct reader *reader, struct job *job, const char *path,
                                  struct ft_error *error) {
    *reader = (struct reader){.job = job, .name = ft_path_shown(path)};
    bool is_stdin = strcmp(path, "-") == 0;
    enum ft_status status = is_stdin && !job->copy ? copy_stdin(job, error) : FT_OK;
    if (!status && is_stdin && lseek(STDIN_FILENO, 0, SEEK_SET) < 0)
        status = ft_fail_errno(error, FT_IO, "the copy of standard input");
    return status ? status : ft_lines_open(&reader->lines, path, 0, error);
}

/* The next line, without a byte order mark. */
static enum ft_status reader_next(struct reader *reader, bool *marked, struct ft_error *error) {
    enum ft_status status = ft_lines_next(reader->lines, &reader->line, &reader->size, error);
    *marked = !status && reader->line && ft_lines_number(reader->lines) == 1 && reader->size >= 3 &&
              memcmp(reader->line, "\xef\xbb\xbf", 3) == 0;
    if (*marked) {
        reader->line += 3;
        reader->size -= 3;
    }
    return status;
}

static enum ft_status parse(struct reader *reader, struct ft_error *error) {
    const struct job *job = reader->job;
    struct ft_record_keys keys = {.label = job->label, .group = job->group};
    enum ft_status status =
        ft_record_parse_keys(&reader->record, job->format, &keys, reader->line, reader->size, reader->name,
                             ft_lines_number(reader->lines), error);
    if (status) return status;
    return ft_shingles_record(&reader->shingles, &reader->record, error);
}

/* --- the first look ------------------------------------------------------------------------------------ */

/* The message of a failed parse without "file:line: code: ", which the report says by itself. */
static const char *bare_message(const struct reader *reader, const char *message) {
    char prefix[64];
    size_t name = strlen(reader->name);
    snprintf(prefix, sizeof prefix, ":%llu: ", (unsigned long long)ft_lines_number(reader->lines));
    if (strncmp(message, reader->name, name) == 0 && strncmp(message + name, prefix, strlen(prefix)) == 0)
        message += name + strlen(prefix);
    const char *code = ft_record_problem_code(reader->record.problem);
    size_t size = strlen(code);
    return strncmp(message, code, size) == 0 && strncmp(message + size, ": ", 2) == 0 ? message + size + 2
                                                                                      : message;
}

static enum ft_status mark_line(struct job *job, bool usable, struct ft_error *error) {
    enum ft_status status = ft_grow(&job->usable, &job->line_capacity, job->lines + 1, sizeof *job->usable,
                                    (size_t)1 << 31, "lines", error);
    if (!status) job->usable[job->lines++] = usable;
    return status;
}

/* Tokens of the present record as ft-tokenize makes them; one that it would refuse is a finding. */
static enum ft_status count_tokens(struct reader *reader, struct ft_lint_counts *counts,
                                   struct ft_error *error) {
    struct job *job = reader->job;
    struct ft_example *example = &job->example;
    uint32_t bos;
    enum ft_status status = ft_example_encode(job->encoder, &reader->record, example, error);
    if (status == FT_FORMAT || status == FT_UNSUPPORTED)
        return ft_lint_note(job->lint, FT_LINT_ERROR, "not_tokenizable", reader->record.line, error, "%s",
                            bare_message(reader, error->message));
    if (status) return status;
    counts->tokens = example->ids.count;
    for (size_t i = 0; i < example->ids.count; i++)
        counts->supervised += example->weight[i] > 0.0f;
    if (ft_tokenizer_bos(job->tokenizer, &bos) && example->ids.count > 1 && example->ids.id[0] == bos &&
        example->ids.id[1] == bos)
        return ft_lint_note(job->lint, FT_LINT_WARNING, "doubled_bos", reader->record.line, error,
                            "the text brings a second token that begins a sequence");
    return FT_OK;
}

static enum ft_status look(struct reader *reader, struct ft_error *error) {
    struct job *job = reader->job;
    struct ft_lint_counts counts = {0};
    enum ft_status status = parse(reader, error);
    bool broken = status == FT_FORMAT && reader->record.problem != FT_RECORD_FINE;
    if (broken)
        status = ft_lint_broken(job->lint, reader->record.problem, ft_lines_number(reader->lines),
                                bare_message(reader, error->message), error);
    else if (!status && job->encoder)
        status = count_tokens(reader, &counts, error);
    if (!status && !broken)
        status = ft_lint_add(job->lint, &reader->record, &reader->shingles, &counts, error);
    if (!status && job->fix) status = mark_line(job, !broken, error);
    return status;
}

static enum ft_status look_at_file(struct job *job, const char *path, struct ft_error *error) {
    struct reader reader;
    struct ft_progress progress;
    uint64_t returned = 0;
    bool marked;
    enum ft_status status = reader_open(&reader, job, path, error);
    if (!status) status = ft_lint_file(job->lint, reader.name, error);
    ft_progress_start(&progress, reader.name, "lines", 0);
    while (!status) {
        status = reader_next(&reader, &marked, error);
        if (status || !reader.line) break;
        returned += ft_lines_returned(reader.lines);
        if (marked)
            status =
                ft_lint_note(job->lint, FT_LINT_WARNING, "byte_order_mark", 1, error,
                             "the file begins with a byte order mark, which is no JSON; --fix takes it off");
        if (!status) status = look(&reader, error);
        ft_progress_update(&progress, ft_lines_number(reader.lines), NULL);
    }
    ft_progress_end(&progress);
    if (!status && returned)
        status = ft_lint_note(job->lint, FT_LINT_NOTE, "carriage_returns", 0, error,
                              "%llu lines end in a carriage return, as Windows has it; --fix takes it off",
                              (unsigned long long)returned);
    reader_close(&reader);
    return status;
}

/* --- the second look, and --fix ------------------------------------------------------------------------ */

static enum ft_status look_again(struct job *job, const char *path, struct ft_error *error) {
    struct reader reader;
    bool marked;
    enum ft_status status = reader_open(&reader, job, path, error);
    while (!status) {
        status = reader_next(&reader, &marked, error);
        if (status || !reader.line) break;
        status = parse(&reader, error);
        if (status == FT_FORMAT && reader.record.problem != FT_RECORD_FINE)
            status = FT_OK;
        else if (!status)
            status = ft_lint_again(job->lint, &reader.shingles, error);
    }
    reader_close(&reader);
    return status;
}

static enum ft_status copy_good_lines(struct job *job, struct reader *reader, struct ft_output *output,
                                      struct ft_error *error) {
    enum ft_status status = FT_OK;
    bool marked;
    for (size_t line = 0, record = 0; !status; line++) {
        status = reader_next(reader, &marked, error);
        if (status || !reader->line) break;
        if (line >= job->lines)
            return ft_fail(error, FT_MISMATCH, "%s: grew while it was read", reader->name);
        if (!job->usable[line] || !ft_lint_keep(job->lint, record++)) continue;
        status = ft_output_write(output, reader->line, reader->size, error);
        if (!status) status = ft_output_write(output, "\n", 1, error);
    }
    return status;
}

static enum ft_status fix(struct job *job, const char *path, struct ft_error *error) {
    struct reader reader;
    struct ft_output *output = NULL;
    enum ft_status status = reader_open(&reader, job, path, error);
    if (!status) status = ft_output_open(&output, job->fix, FT_OUTPUT_KEEP, error);
    if (!status) status = copy_good_lines(job, &reader, output, error);
    reader_close(&reader);
    if (status) ft_output_abort(output);
    return status ? status : ft_output_commit(output, error);
}

/* --- the whole ----------------------------------------------------------------------------------------- */

static enum ft_status report(const struct job *job, struct ft_error *error) {
    struct ft_buffer text = {0};
    struct ft_json json = {0};
    enum ft_status status;
    if (job->json) {
        status = ft_json_new(&json, FT_JSON_OBJECT, error);
        if (!status) status = ft_lint_json(job->lint, &json, json.root, error);
        if (!status) status = ft_json_print(&json, json.root, FT_JSON_SORTED | FT_JSON_PRETTY, &text, error);
    } else {
        status = ft_lint_print(job->lint, &text, error);
    }
    if (!status && fwrite(text.data, 1, text.size, stdout) != text.size)
        status = ft_fail_errno(error, FT_IO, "standard output");
    ft_json_release(&json);
    ft_buffer_release(&text);
    return status;
}

/* What the model says about size: its longest document, and its number of parameters. A bare tokenizer.json
 * says neither. */
static enum ft_status size_up(struct job *job, struct ft_error *error) {
    struct ft_config config;
    struct ft_buffer gguf = {0};
    enum ft_status status = ft_card_gguf(job->model, &gguf, error);
    bool bare = !gguf.size && !ft_path_is_directory(job->model);
    ft_buffer_release(&gguf);
    if (status || bare) return status;
    status = ft_config_read(&config, job->model, error);
    if (!status) status = ft_card_elements(job->model, &job->options.parameters, error);
    if (!status && !job->options.max_tokens) job->options.max_tokens = config.positions;
    return status;
}

static enum ft_status load_model(struct job *job, struct ft_error *error) {
    if (!job->model) return FT_OK;
    job->options.counted = true;
    enum ft_status status = ft_card_tokenizer(&job->tokenizer, job->model, error);
    if (!status) status = ft_example_encoder_new(&job->encoder, job->tokenizer, FT_LOSS_COMPLETION, error);
    return status ? status : size_up(job, error);
}

static void release(struct job *job) {
    ft_lint_free(job->lint);
    ft_example_release(&job->example);
    ft_example_encoder_free(job->encoder);
    ft_tokenizer_free(job->tokenizer);
    free(job->usable);
    if (job->copy) fclose(job->copy);
}

static enum ft_status run(struct job *job, char **paths, size_t count, struct ft_error *error) {
    bool again = false;
    enum ft_status status = load_model(job, error);
    if (!status) status = ft_lint_new(&job->lint, &job->options, error);
    for (size_t i = 0; i < count && !status; i++)
        status = look_at_file(job, paths[i], error);
    if (!status) status = ft_lint_rescan(job->lint, &again, error);
    for (size_t i = 0; i < count && !status && again; i++)
        status = look_again(job, paths[i], error);
    if (!status) status = ft_lint_finish(job->lint, error);
    if (!status && job->fix) status = fix(job, paths[0], error);
    return status ? status : report(job, error);
}

static enum ft_status check_usage(struct job *job, char **paths, size_t count, struct ft_error *error) {
    size_t streams = 0;
    for (size_t i = 0; i < count; i++)
        streams += strcmp(paths[i], "-") == 0;
    if (streams > 1) return ft_fail(error, FT_USAGE, "standard input can be read once only");
    if (job->fix && count != 1)
        return ft_fail(error, FT_USAGE, "--fix takes one file of data; %zu were given", count);
    if (job->options.max_tokens && !job->model)
        return ft_fail(error, FT_USAGE, "--max-tokens needs a model: -m DIR");
    if (job->fix && job->json && strcmp(job->fix, "-") == 0)
        return ft_fail(error, FT_USAGE, "--fix - and --json would both write to standard output");
    if (!(job->options.similarity >= 0.5 && job->options.similarity <= 1.0))
        return ft_fail(error, FT_USAGE, "--similarity: %g is outside 0.5 to 1", job->options.similarity);
    job->options.shown = (unsigned)job->shown;
    return ft_record_format_parse(job->format_name, &job->format, error);
}

int main(int argc, char **argv) {
    struct job job = {.options = {.similarity = 0.8}, .format_name = "auto", .shown = 5};
    const struct ft_option options[] = {
        {'m', "model", FT_OPTION_STRING, &job.model, "DIR",
         "count tokens as this model (or tokenizer.json) has them", 0, 0},
        {0, "max-tokens", FT_OPTION_SIZE, &job.options.max_tokens, "N",
         "longer records are findings (the model's bound)", 0, 0},
        {0, "json", FT_OPTION_FLAG, &job.json, NULL, "the report as JSON", 0, 0},
        {0, "fix", FT_OPTION_STRING, &job.fix, "FILE",
         "write the data there, without broken lines, exact duplicates, carriage returns and byte order mark",
         0, 0},
        {0, "format", FT_OPTION_STRING, &job.format_name, "auto|messages|prompt|instruction|text",
         "what records must be (auto)", 0, 0},
        {0, "label", FT_OPTION_STRING, &job.label, "KEY", "the key of the label (label)", 0, 0},
        {0, "similarity", FT_OPTION_DOUBLE, &job.options.similarity, "S",
         "near-duplicates are at least so similar (0.8)", 0, 0},
        {0, "show", FT_OPTION_SIZE, &job.shown, "N", "findings shown of each kind (5)", 0, 1000000},
        {0}};
    const struct ft_command command = {
        "ft-lint", "[DATA|-]...",
        "Examines training data: give training, validation and test files together, in this order",
        "Exit status: 0 nothing to complain about, 1 there are findings (notes do not count), 2 wrong usage "
        "or failure.",
        options};
    struct ft_error error;
    char *standard_input[] = {"-"};
    int operand;
    switch (ft_options_parse(&command, argc, argv, &operand, &error)) {
    case FT_OPTIONS_DONE:
        return fclose(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD:
        goto bad;
    case FT_OPTIONS_RUN:
        break;
    }
    char **paths = operand < argc ? argv + operand : standard_input;
    size_t count = operand < argc ? (size_t)(argc - operand) : 1;
    enum ft_status status = check_usage(&job, paths, count, &error);
    if (status) goto bad;
    ft_commit_on_signal();
    status = run(&job, paths, count, &error);
    bool failed = !status && ft_lint_failed(job.lint);
    release(&job);
    if (!status && fclose(stdout)) status = ft_fail_errno(&error, FT_IO, "standard output");
    if (!status) return failed;
bad:
    fprintf(stderr, "ft-lint: %s\n", error.message);
    return 2;
}
