/* SPDX-License-Identifier: MIT
 * ft-split: records or token streams into train, valid and test. */
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/ftok.h"
#include "ft/options.h"
#include "ft/printable.h"
#include "ft/progress.h"
#include "ft/provenance.h"
#include "ft/record.h"
#include "ft/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct job {
    struct ft_split_options options;
    const char *ratios, *group, *stratify, *input, *output;
    const char *path; /* what is read, several times: the input, or a copy of it when it is a stream */
    struct ft_buffer spool, scratch;
    bool tokens; /* the input is a token stream */
    char digest[FT_SHA256_HEX];
    char tokenizer[FT_SHA256_HEX],
        data[FT_SHA256_HEX]; /* of a token stream: what it was made from; "" when it does not say */
    struct ft_split *split;
    struct ft_directory *directory;
};

/* --- reading, one record after the other --------------------------------------------------------------- */

struct reader {
    struct job *job;
    struct ft_lines *lines;
    struct ft_ftok_reader *stream;
    const char *line; /* the present record: a line, or tokens */
    size_t size;
    const struct ft_ftok_record *row;
    struct ft_record record;
    struct ft_shingles shingles;
};

static enum ft_status reader_open(struct reader *reader, struct job *job, struct ft_error *error) {
    *reader = (struct reader){.job = job};
    return job->tokens ? ft_ftok_open(&reader->stream, job->path, error)
                       : ft_lines_open(&reader->lines, job->path, 0, error);
}

static void reader_close(struct reader *reader) {
    ft_lines_close(reader->lines);
    ft_ftok_close(reader->stream);
    ft_record_release(&reader->record);
    ft_shingles_release(&reader->shingles);
}

static void note_origin(struct job *job, const struct ft_ftok_reader *stream) {
    const struct ft_ftok_header *header = ft_ftok_header(stream);
    const char *data = header->data ? header->data : ft_ftok_data(stream);
    memcpy(job->tokenizer, header->tokenizer, sizeof job->tokenizer);
    if (data) memcpy(job->data, data, sizeof job->data);
}

/* At the end, the bytes read must be those of the first time. */
static enum ft_status reader_check(struct reader *reader, struct ft_error *error) {
    char digest[FT_SHA256_HEX];
    if (reader->stream) {
        memcpy(digest, ft_ftok_digest(reader->stream), sizeof digest);
        note_origin(reader->job, reader->stream);
    } else
        ft_lines_digest(reader->lines, digest);
    if (!*reader->job->digest) memcpy(reader->job->digest, digest, sizeof digest);
    if (strcmp(reader->job->digest, digest) == 0) return FT_OK;
    return ft_fail(error, FT_MISMATCH, "%s: changed while it was read; try again when nobody writes it",
                   ft_path_shown(reader->job->input));
}

/* *more is false at the end. */
static enum ft_status reader_next(struct reader *reader, bool *more, struct ft_error *error) {
    enum ft_status status = reader->stream
                                ? ft_ftok_next(reader->stream, &reader->row, error)
                                : ft_lines_next(reader->lines, &reader->line, &reader->size, error);
    *more = !status && (reader->row || reader->line);
    return status || *more ? status : reader_check(reader, error);
}

static enum ft_status parse_line(struct reader *reader, struct ft_error *error) {
    struct ft_record_keys keys = {.label = reader->job->stratify, .group = reader->job->group};
    return ft_record_parse_keys(&reader->record, FT_RECORD_AUTO, &keys, reader->line, reader->size,
                                ft_path_shown(reader->job->input), ft_lines_number(reader->lines), error);
}

/* The present record's shingles. */
static enum ft_status reader_shingles(struct reader *reader, struct ft_error *error) {
    if (reader->row)
        return ft_shingles_tokens(&reader->shingles, reader->row->ids, reader->row->weights,
                                  reader->row->count, error);
    enum ft_status status = parse_line(reader, error);
    return status ? status : ft_shingles_record(&reader->shingles, &reader->record, error);
}

/* In a token stream a key can only be "label" or "group". */
static const char *stream_key(const struct ft_ftok_record *row, const char *key, const char *fallback) {
    return strcmp(key ? key : fallback, "group") == 0 ? row->group : row->label;
}

/* --- the passes ---------------------------------------------------------------------------------------- */

static enum ft_status add_record(struct reader *reader, struct ft_error *error) {
    unsigned char content[FT_SHA256_SIZE];
    const char *label, *group;
    enum ft_status status = reader_shingles(reader, error);
    if (status) return status;
    if (reader->row) {
        ft_tokens_content(reader->row->ids, reader->row->weights, reader->row->count, content);
        label = stream_key(reader->row, reader->job->stratify, "label");
        group = stream_key(reader->row, reader->job->group, "group");
    } else {
        status = ft_record_content(&reader->record, content, error);
        label = reader->record.label;
        group = reader->record.group;
    }
    return status ? status
                  : ft_split_add(reader->job->split, content, &reader->shingles, label, group, error);
}

static enum ft_status add_again(struct reader *reader, struct ft_error *error) {
    enum ft_status status = reader_shingles(reader, error);
    return status ? status : ft_split_again(reader->job->split, &reader->shingles, error);
}

static enum ft_status scan(struct job *job, const char *what,
                           enum ft_status (*visit)(struct reader *, struct ft_error *),
                           struct ft_error *error) {
    struct reader reader;
    struct ft_progress progress;
    bool more = true;
    enum ft_status status = reader_open(&reader, job, error);
    ft_progress_start(&progress, what, "records", ft_split_count(job->split));
    for (uint64_t done = 0; !status && more; done++) {
        status = reader_next(&reader, &more, error);
        if (!status && more) status = visit(&reader, error);
        ft_progress_update(&progress, done, NULL);
    }
    ft_progress_end(&progress);
    reader_close(&reader);
    return status;
}

/* --- writing ------------------------------------------------------------------------------------------- */

struct part {
    struct ft_output *output;
    struct ft_ftok_writer *writer;
};

static enum ft_status part_open(struct part *part, struct job *job, const struct reader *reader,
                                const char *name, struct ft_error *error) {
    char file[16];
    snprintf(file, sizeof file, "%s.%s", name, job->tokens ? "ftok" : "jsonl");
    ft_buffer_clear(&job->scratch);
    enum ft_status status = ft_path_join(&job->scratch, ft_directory_path(job->directory), file, error);
    if (!status) status = ft_output_open(&part->output, job->scratch.data, FT_OUTPUT_NOSYNC, error);
    if (!status && job->tokens)
        status = ft_ftok_writer_new(&part->writer, part->output, ft_ftok_header(reader->stream), error);
    return status;
}

static enum ft_status part_put(struct part *part, const struct reader *reader, struct ft_error *error) {
    if (reader->row) return ft_ftok_put(part->writer, reader->row, error);
    enum ft_status status = ft_output_write(part->output, reader->line, reader->size, error);
    return status ? status : ft_output_write(part->output, "\n", 1, error);
}

/* Frees the part, too. */
static enum ft_status part_close(struct part *part, const struct reader *reader, enum ft_status status,
                                 struct ft_error *error) {
    if (!status && part->writer) status = ft_ftok_finish(part->writer, ft_ftok_data(reader->stream), error);
    ft_ftok_writer_free(part->writer);
    if (status)
        ft_output_abort(part->output);
    else if (part->output)
        status = ft_output_commit(part->output, error);
    *part = (struct part){0};
    return status;
}

static enum ft_status write_parts(struct job *job, struct ft_error *error) {
    struct reader reader;
    struct part part[FT_SPLIT_PARTS] = {{0}};
    bool more = true;
    enum ft_status status = reader_open(&reader, job, error);
    for (unsigned i = 0; i < FT_SPLIT_PARTS && !status; i++)
        if (job->options.share[i]) status = part_open(&part[i], job, &reader, ft_split_part_name[i], error);
    for (size_t record = 0; !status; record++) {
        status = reader_next(&reader, &more, error);
        if (status || !more) break;
        if (record == ft_split_count(job->split))
            status = ft_fail(error, FT_MISMATCH, "%s: grew while it was read", ft_path_shown(job->input));
        else
            status = part_put(&part[ft_split_part(job->split, record)], &reader, error);
    }
    for (unsigned i = 0; i < FT_SPLIT_PARTS; i++)
        status = part_close(&part[i], &reader, status, error);
    reader_close(&reader);
    return status;
}

static void describe(const struct job *job, struct ft_json *json, struct cJSON *object) {
    struct cJSON *ratios = ft_json_set_array(json, object, "ratios");
    for (unsigned i = 0; i < FT_SPLIT_PARTS; i++)
        ft_json_set_double(json, ratios, NULL, job->options.share[i] / (FT_SPLIT_WHOLE / 100.0));
    ft_json_set_u64(json, object, "seed", job->options.seed);
    ft_json_set_double(json, object, "similarity", job->options.similarity);
    if (job->group) ft_json_set_string(json, object, "group", job->group);
    if (job->stratify) ft_json_set_string(json, object, "stratify", job->stratify);
}

static enum ft_status write_report(struct job *job, struct ft_error *error) {
    struct ft_json json;
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    ft_json_set_string(&json, json.root, "format", "ft-split-1");
    describe(job, &json, json.root);
    status = ft_split_report(job->split, &json, json.root, error);
    ft_buffer_clear(&job->scratch);
    if (!status) status = ft_path_join(&job->scratch, ft_directory_path(job->directory), "split.json", error);
    if (!status)
        status =
            ft_json_save(&json, job->scratch.data, FT_JSON_SORTED | FT_JSON_PRETTY, FT_OUTPUT_NOSYNC, error);
    ft_json_release(&json);
    return status;
}

/* A token stream that came through a pipe lies nowhere: what can be checked later is what it was made from.
 */
static enum ft_status add_inputs(struct job *job, struct ft_provenance *provenance, struct ft_error *error) {
    if (job->path == job->input)
        return ft_provenance_add_digest(provenance, "data", job->input, job->digest, error);
    if (!*job->data) return ft_provenance_add_digest(provenance, "data", "stream", job->digest, error);
    ft_json_set_string(ft_provenance_json(provenance), ft_provenance_internal(provenance), "stream_sha256",
                       job->digest);
    enum ft_status status = ft_provenance_add_digest(provenance, "data", "records", job->data, error);
    return status
               ? status
               : ft_provenance_add_digest(provenance, "tokenizer", "tokenizer.json", job->tokenizer, error);
}

static enum ft_status write_provenance(struct job *job, struct ft_error *error) {
    struct ft_provenance *provenance;
    enum ft_status status = ft_provenance_new(&provenance, "split", error);
    if (status) return status;
    describe(job, ft_provenance_json(provenance), ft_provenance_parameters(provenance));
    status = add_inputs(job, provenance, error);
    if (!status) status = ft_provenance_finish(provenance, ft_directory_path(job->directory), error);
    ft_provenance_free(provenance);
    return status;
}

/* --- the whole ----------------------------------------------------------------------------------------- */

/* A stream can be read once only: keep its bytes beside the parts until they are written. */
static enum ft_status spool(struct job *job, struct ft_error *error) {
    struct ft_source *source = NULL;
    struct ft_output *copy = NULL;
    const unsigned char *bytes;
    size_t count = 1;
    enum ft_status status =
        ft_path_join(&job->spool, ft_directory_path(job->directory), "input.spool", error);
    if (!status) status = ft_source_open(&source, job->input, error);
    if (!status) status = ft_output_open(&copy, job->spool.data, FT_OUTPUT_NOSYNC, error);
    while (!status && count) {
        status = ft_source_peek(source, 1, &bytes, &count, error);
        if (!status && count) status = ft_output_write(copy, bytes, count, error);
        if (!status) ft_source_skip(source, count);
    }
    ft_source_close(source);
    if (status)
        ft_output_abort(copy);
    else
        status = ft_output_commit(copy, error);
    job->path = job->spool.data;
    return status;
}

static enum ft_status detect(struct job *job, struct ft_error *error) {
    struct ft_source *source = NULL;
    enum ft_status status = ft_source_open(&source, job->path, error);
    if (!status) status = ft_ftok_detect(source, &job->tokens, error);
    ft_source_close(source);
    return status;
}

static enum ft_status prepare(struct job *job, struct ft_error *error) {
    struct stat info;
    enum ft_status status = ft_directory_begin(&job->directory, job->output, error);
    if (status) return status;
    job->path = job->input;
    if (strcmp(job->input, "-") != 0 && stat(job->input, &info) != 0)
        return ft_fail_errno(error, FT_IO, "%s: cannot be read", job->input);
    bool stream = strcmp(job->input, "-") == 0 || (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode));
    if (stream) status = spool(job, error);
    if (!status) status = detect(job, error);
    const char *keys[] = {job->group, job->stratify};
    for (unsigned i = 0; i < 2 && !status && job->tokens; i++)
        if (keys[i] && strcmp(keys[i], "label") != 0 && strcmp(keys[i], "group") != 0)
            status =
                ft_fail(error, FT_USAGE,
                        "a token stream has the keys \"label\" and \"group\" only, not \"%s\"; split the "
                        "JSONL file instead",
                        keys[i]);
    return status;
}

static enum ft_status make(struct job *job, struct ft_error *error) {
    bool again = false;
    enum ft_status status = ft_split_new(&job->split, &job->options, error);
    if (!status) status = prepare(job, error);
    if (!status) status = scan(job, "reading", add_record, error);
    if (!status) status = ft_split_rescan(job->split, &again, error);
    if (!status && again) status = scan(job, "comparing", add_again, error);
    if (!status && ft_split_decide(job->split, error))
        status = ft_error_context(error, "%s", ft_path_shown(job->input));
    if (!status) status = write_parts(job, error);
    if (!status && job->spool.data && unlink(job->spool.data) != 0)
        status = ft_fail_errno(error, FT_IO, "%s", job->spool.data);
    if (!status) status = write_report(job, error);
    if (!status) status = write_provenance(job, error);
    if (status)
        ft_directory_abort(job->directory);
    else
        status = ft_directory_commit(job->directory, error);
    job->directory = NULL;
    return status;
}

static void tell(struct job *job) {
    struct ft_split_facts facts;
    struct ft_error error;
    ft_split_facts(job->split, &facts);
    fprintf(stderr, "ft-split: %zu records:", facts.records);
    for (unsigned i = 0; i < FT_SPLIT_PARTS; i++)
        if (job->options.share[i])
            fprintf(stderr, " %s %zu (%.1f %%)", ft_split_part_name[i], facts.part_records[i],
                    100.0 * (double)facts.part_records[i] / (double)facts.records);
    fprintf(stderr, "; %zu exact duplicates; %zu records in %zu clusters; %zu near-duplicates across parts\n",
            facts.duplicates, facts.clustered, facts.clusters, facts.crossing);
    ft_buffer_clear(&job->scratch);
    if (ft_split_warnings(job->split, &job->scratch, &error)) return;
    for (char *line = job->scratch.data; line && *line;) {
        char *end = strchr(line, '\n');
        *end = '\0';
        ft_make_printable(line);
        fprintf(stderr, "ft-split: warning: %s\n", line);
        line = end + 1;
    }
}

int main(int argc, char **argv) {
    struct job job = {.options = {.similarity = 0.8}, .ratios = "80/10/10", .input = "-"};
    const struct ft_option options[] = {
        {'r', "ratios", FT_OPTION_STRING, &job.ratios, "A/B/C",
         "percentages of train, valid and test (80/10/10)", 0, 0},
        {0, "seed", FT_OPTION_U64, &job.options.seed, "N", "another seed gives another split (0)", 0, 0},
        {'g', "group", FT_OPTION_STRING, &job.group, "KEY",
         "records with the same value of KEY stay together", 0, 0},
        {0, "stratify", FT_OPTION_STRING, &job.stratify, "KEY", "each value of KEY is cut by the ratios", 0,
         0},
        {0, "similarity", FT_OPTION_DOUBLE, &job.options.similarity, "S",
         "records at least so similar stay together, 0.5 to 1 (0.8); 1: exact duplicates only", 0, 0},
        {'o', "output", FT_OPTION_STRING, &job.output, "DIR", "the directory to make", 0, 0},
        {0}};
    const struct ft_command command = {
        "ft-split", "[FILE|-]",
        "Splits records (JSONL, zstd or not) or a token stream into train, valid and test",
        "Writes train, valid and test (.jsonl or .ftok; a part of ratio 0 is not written), split.json, "
        "provenance.json and\n"
        "SHA256SUMS. Exit status: 0 done, 2 wrong usage or failure.",
        options};
    struct ft_error error;
    int operand;
    switch (ft_options_parse(&command, argc, argv, &operand, &error)) {
    case FT_OPTIONS_DONE:
        return fclose(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD:
        goto bad;
    case FT_OPTIONS_RUN:
        break;
    }
    if (operand < argc) job.input = argv[operand];
    enum ft_status status = ft_split_shares(job.ratios, job.options.share, &error);
    if (!status && operand + 1 < argc)
        status = ft_fail(&error, FT_USAGE, "more than one input; ft-split --help shows the usage");
    if (!status && !job.output) status = ft_fail(&error, FT_USAGE, "-o DIR is missing");
    if (!status && !(job.options.similarity >= 0.5 && job.options.similarity <= 1.0))
        status = ft_fail(&error, FT_USAGE, "--similarity: %g is outside 0.5 to 1", job.options.similarity);
    if (status) goto bad;
    job.options.group = job.group;
    job.options.stratify = job.stratify;
    ft_commit_on_signal();
    status = make(&job, &error);
    if (!status) tell(&job);
    ft_split_free(job.split);
    ft_buffer_release(&job.spool);
    ft_buffer_release(&job.scratch);
    if (!status) return 0;
bad:
    fprintf(stderr, "ft-split: %s\n", error.message);
    return 2;
}
