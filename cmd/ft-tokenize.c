/* SPDX-License-Identifier: MIT
 * ft-tokenize: records to a token stream with a loss mask; plain text to ids and back. */
#include "ft/card.h"
#include "ft/commit.h"
#include "ft/example.h"
#include "ft/file.h"
#include "ft/ftok.h"
#include "ft/options.h"
#include "ft/pool.h"
#include "ft/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_LINES = 1024, BATCH_BYTES = 4 << 20 };

enum mode { RECORDS, IDS, DECODE };
enum overlong { OVERLONG_ERROR, OVERLONG_DROP, OVERLONG_TRUNCATE };

/* A line on its way: read, through a worker, written. */
struct item {
    struct ft_buffer line, text; /* text: what the modes other than RECORDS print */
    uint64_t number;
    struct ft_record record;
    struct ft_example example;
    enum ft_status status;
    struct ft_error error;
};

/* Lines that are together on their way, and what came of reading on behind them. */
struct batch {
    struct item *item; /* [BATCH_LINES] */
    size_t count;
    enum ft_status status;
    struct ft_error error;
};

struct job {
    const char *model, *format_name, *loss_name, *overlong_name, *output_path, *label, *group, *date;
    size_t max_tokens, show, threads;
    bool ids, decode, json, no_specials;
    enum mode mode;
    enum ft_record_format format;
    enum ft_loss loss;
    enum overlong overlong;

    struct ft_tokenizer *tokenizer;
    struct ft_pool *pool;
    struct worker {
        struct ft_example_encoder *examples;
        struct ft_encoder *encoder;
        struct ft_ids ids;
    } *worker; /* one for each thread */
    struct batch batch[2]; /* one is in the workers' hands while the other is written, then read anew */
    unsigned working;      /* which */
    struct ft_lines *lines;
    const char *name; /* of the file being read */
    bool ended;       /* there is nothing more to read in it */
    struct ft_progress progress;
    enum ft_status status; /* of writing */
    struct ft_error error;

    struct ft_output *output; /* NULL: only --show */
    struct ft_ftok_writer *writer;
    struct ft_sha256 inputs;  /* of several inputs' digests */
    char digest[FT_SHA256_HEX];
    uint64_t records, tokens, learnt, dropped, truncated, shown;
};

/* --- a line, in a worker ----------------------------------------------------------------------------------- */

static enum ft_status at_line(const struct job *job, const struct item *item, struct ft_error *error) {
    return ft_error_context(error, "%s:%" PRIu64, job->name, item->number);
}

/* The line as text: as it is, or as a JSON string. */
static enum ft_status line_text(const struct job *job, struct item *item, struct ft_json *json, const char **text,
                                size_t *length, struct ft_error *error) {
    *text = item->line.data;
    *length = item->line.size;
    if (!job->json) return FT_OK;
    enum ft_status status = ft_json_parse(json, item->line.data, item->line.size, job->name, item->number, error);
    if (!status) status = ft_json_string(json, json->root, text, error);
    if (!status) *length = strlen(*text);
    return status;
}

static enum ft_status print_ids(struct ft_buffer *out, const struct ft_ids *ids, struct ft_error *error) {
    enum ft_status status = ft_buffer_append(out, "[", 1, error);
    for (size_t i = 0; i < ids->count && !status; i++) {
        char digits[16], *p = digits + sizeof digits;
        uint32_t id = ids->id[i];
        do *--p = (char)('0' + id % 10);
        while (id /= 10);
        if (i) *--p = ',';
        status = ft_buffer_append(out, p, (size_t)(digits + sizeof digits - p), error);
    }
    return status ? status : ft_buffer_append(out, "]\n", 2, error);
}

static enum ft_status encode_line(const struct job *job, struct worker *worker, struct item *item, struct ft_error *error) {
    struct ft_json json = {0};
    const char *text;
    size_t length;
    worker->ids.count = 0;
    enum ft_status status = line_text(job, item, &json, &text, &length, error);
    if (!status && ft_encode(worker->encoder, text, length, job->no_specials ? 0 : FT_ENCODE_SPECIALS, &worker->ids, error))
        status = at_line(job, item, error);
    ft_json_release(&json);
    return status ? status : print_ids(&item->text, &worker->ids, error);
}

static enum ft_status read_ids(const struct job *job, const struct ft_json *json, struct ft_ids *ids, struct ft_error *error) {
    enum ft_status status = ft_json_expect(json, json->root, FT_JSON_ARRAY, error);
    if (status) return status;
    ids->count = 0;
    for (const struct cJSON *node = ft_json_first(json->root); node && !status; node = ft_json_next(node)) {
        uint64_t id;
        status = ft_json_u64(json, node, 0, ft_tokenizer_size(job->tokenizer) - 1, &id, error);
        if (!status)
            status = ft_grow(&ids->id, &ids->capacity, ids->count + 1, sizeof *ids->id, SIZE_MAX / 8, "ids", error);
        if (!status) ids->id[ids->count++] = (uint32_t)id;
    }
    return status;
}

static enum ft_status decode_line(const struct job *job, struct worker *worker, struct item *item, struct ft_error *error) {
    struct ft_json json = {0};
    struct ft_buffer text = {0}, *out = job->json ? &text : &item->text;
    unsigned flags = job->no_specials ? FT_DECODE_SKIP_SPECIAL : 0;
    enum ft_status status = ft_json_parse(&json, item->line.data, item->line.size, job->name, item->number, error);
    if (!status) status = read_ids(job, &json, &worker->ids, error);
    if (!status) status = ft_decode(job->tokenizer, worker->ids.id, worker->ids.count, flags, out, error);
    if (!status && job->json) status = ft_json_quote(&item->text, text.data ? text.data : "", text.size, error);
    if (!status) status = ft_buffer_append(&item->text, "\n", 1, error);
    ft_json_release(&json);
    ft_buffer_release(&text);
    return status;
}

static enum ft_status record_line(const struct job *job, struct worker *worker, struct item *item, struct ft_error *error) {
    struct ft_record_keys keys = {.label = job->label, .group = job->group};
    enum ft_status status = ft_record_parse_keys(&item->record, job->format, &keys, item->line.data, item->line.size, job->name,
                                                 item->number, error);
    return status ? status : ft_example_encode(worker->examples, &item->record, &item->example, error);
}

static void work(struct job *job, struct item *item, unsigned thread) {
    struct worker *worker = &job->worker[thread];
    ft_buffer_clear(&item->text);
    item->status = job->mode == IDS      ? encode_line(job, worker, item, &item->error)
                   : job->mode == DECODE ? decode_line(job, worker, item, &item->error)
                                         : record_line(job, worker, item, &item->error);
}

/* --- writing, in the order of the lines -------------------------------------------------------------------- */

/* One line a token: its place, its id, the weight of its loss, its text. */
static enum ft_status show(struct job *job, const struct item *item, struct ft_error *error) {
    struct ft_buffer quoted = {0};
    const struct ft_example *example = &item->example;
    enum ft_status status = FT_OK;
    job->shown++;
    printf("%s:%" PRIu64 ": %zu tokens, %zu before the first answer\n", job->name, item->number, example->ids.count,
           example->prompt);
    for (size_t i = 0; i < example->ids.count && !status; i++) {
        size_t length;
        const char *token = ft_tokenizer_token(job->tokenizer, example->ids.id[i], &length);
        ft_buffer_clear(&quoted);
        status = ft_json_quote(&quoted, token, length, error);
        if (!status) printf("%6zu %7" PRIu32 " %6g  %s\n", i, example->ids.id[i], (double)example->weight[i], quoted.data);
    }
    ft_buffer_release(&quoted);
    return status;
}

/* Applies --max-tokens; *keep false: the record is dropped. */
static enum ft_status cut(struct job *job, struct item *item, bool *keep, struct ft_error *error) {
    struct ft_example *example = &item->example;
    *keep = true;
    if (!job->max_tokens || example->ids.count <= job->max_tokens) return FT_OK;
    if (job->overlong == OVERLONG_ERROR)
        return ft_fail(error, FT_LIMIT, "%s:%" PRIu64 ": %zu tokens are more than --max-tokens %zu; see --overlong drop or truncate",
                       job->name, item->number, example->ids.count, job->max_tokens);
    bool learnt = false;
    for (size_t i = 0; i < job->max_tokens; i++) learnt |= example->weight[i] > 0;
    *keep = job->overlong == OVERLONG_TRUNCATE && learnt;
    if (*keep) job->truncated++;
    else job->dropped++;
    example->ids.count = job->max_tokens;
    return FT_OK;
}

static enum ft_status put_record(struct job *job, struct item *item, struct ft_error *error) {
    const struct ft_example *example = &item->example;
    bool keep;
    enum ft_status status = cut(job, item, &keep, error);
    if (status || !keep) return status;
    if (job->shown < job->show) status = show(job, item, error);
    struct ft_ftok_record row = {.ids = example->ids.id, .weights = example->weight, .count = example->ids.count,
                                 .label = item->record.label, .group = item->record.group, .line = item->number};
    memcpy(row.source, item->record.sha256, sizeof row.source);
    job->records++;
    job->tokens += example->ids.count;
    for (size_t i = 0; i < example->ids.count; i++) job->learnt += example->weight[i] > 0;
    if (!status && job->writer && (status = ft_ftok_put(job->writer, &row, error)) && status != FT_IO)
        status = at_line(job, item, error);
    return status;
}

static enum ft_status put_item(struct job *job, struct item *item, struct ft_error *error) {
    if (item->status) {
        *error = item->error;
        return item->status;
    }
    if (job->mode == RECORDS) return put_record(job, item, error);
    return ft_output_write(job->output, item->text.data, item->text.size, error);
}

static enum ft_status put_batch(struct job *job, const struct batch *batch, struct ft_error *error) {
    for (size_t i = 0; i < batch->count; i++) {
        enum ft_status status = put_item(job, &batch->item[i], error);
        if (status) return status;
    }
    if (batch->status) *error = batch->error;
    return batch->status;
}

/* --- reading ------------------------------------------------------------------------------------------------- */

static enum ft_status take_line(struct job *job, struct batch *batch, size_t *bytes, struct ft_error *error) {
    const char *line;
    size_t size;
    enum ft_status status = ft_lines_next(job->lines, &line, &size, error);
    job->ended = status || !line;
    if (job->ended) return status;
    struct item *item = &batch->item[batch->count];
    item->number = ft_lines_number(job->lines);
    ft_buffer_clear(&item->line);
    status = ft_buffer_append(&item->line, line, size, error);
    job->ended = status != FT_OK;
    if (job->ended) return status;
    batch->count++;
    *bytes += size;
    return FT_OK;
}

static void read_batch(struct job *job, struct batch *batch) {
    size_t bytes = 0;
    batch->count = 0;
    batch->status = FT_OK;
    while (!job->ended && batch->count < BATCH_LINES && bytes < BATCH_BYTES)
        batch->status = take_line(job, batch, &bytes, &batch->error);
    ft_progress_update(&job->progress, ft_lines_number(job->lines), NULL);
}

/* Task 0 writes the batch that workers are done with, and reads the next in its place; the others are lines of the
 * present one. So nobody waits for the one who reads and writes. */
static void step(void *arg, size_t index, unsigned thread) {
    struct job *job = arg;
    if (index > 0) {
        work(job, &job->batch[job->working].item[index - 1], thread);
        return;
    }
    struct batch *idle = &job->batch[!job->working];
    job->status = put_batch(job, idle, &job->error);
    if (!job->status) read_batch(job, idle);
}

static bool is_pending(const struct batch *batch) { return batch->count || batch->status; }

static enum ft_status read_lines(struct job *job, struct ft_error *error) {
    job->ended = false;
    job->batch[!job->working].count = 0;
    read_batch(job, &job->batch[job->working]);
    do {
        ft_pool_run(job->pool, job->batch[job->working].count + 1, step, job);
        job->working = !job->working;
    } while (!job->status && (is_pending(&job->batch[0]) || is_pending(&job->batch[1])));
    if (job->status) *error = job->error;
    return job->status;
}

static enum ft_status read_input(struct job *job, const char *path, struct ft_error *error) {
    enum ft_status status = ft_lines_open(&job->lines, path, 0, error);
    if (status) return status;
    job->name = ft_path_shown(path);
    ft_progress_start(&job->progress, "tokenizing", "lines", 0);
    status = read_lines(job, error);
    ft_progress_end(&job->progress);
    if (!status) ft_lines_digest(job->lines, job->digest);
    ft_lines_close(job->lines);
    return status;
}

/* The digest of one input is its own, that of several the SHA-256 of their digests, one a line. */
static enum ft_status read_inputs(struct job *job, char **path, int count, struct ft_error *error) {
    char *usual[] = {"-"};
    enum ft_status status = FT_OK;
    if (!count) path = usual, count = 1;
    ft_sha256_init(&job->inputs);
    for (int i = 0; i < count && !status; i++) {
        status = read_input(job, path[i], error);
        ft_sha256_update(&job->inputs, job->digest, strlen(job->digest));
        ft_sha256_update(&job->inputs, "\n", 1);
    }
    if (!status && count > 1) {
        unsigned char sum[FT_SHA256_SIZE];
        ft_sha256_final(&job->inputs, sum);
        ft_hex(sum, sizeof sum, job->digest);
    }
    if (!status && job->mode == RECORDS && !job->records)
        status = ft_fail(error, FT_FORMAT, "%s: there are no records%s", job->name, job->dropped ? " short enough" : "");
    return status;
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

static enum ft_status start_stream(struct job *job, struct ft_error *error) {
    struct ft_json json;
    char template[FT_SHA256_HEX];
    const char *text = ft_tokenizer_template(job->tokenizer);
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    ft_json_set_string(&json, json.root, "format", ft_record_format_name(job->format));
    ft_json_set_string(&json, json.root, "loss", job->loss == FT_LOSS_ALL ? "all" : "completion");
    if (job->max_tokens) {
        ft_json_set_u64(&json, json.root, "max_tokens", job->max_tokens);
        ft_json_set_string(&json, json.root, "overlong", job->overlong_name);
    }
    if (job->date) ft_json_set_string(&json, json.root, "date", job->date);
    if (text) ft_sha256_hex(text, strlen(text), template);
    struct ft_ftok_header header = {.vocab_size = ft_tokenizer_size(job->tokenizer),
                                    .tokenizer = ft_tokenizer_digest(job->tokenizer),
                                    .template = text ? template : NULL,
                                    .metadata = json.root};
    status = ft_ftok_writer_new(&job->writer, job->output, &header, error);
    ft_json_release(&json);
    return status;
}

static enum ft_status start(struct job *job, struct ft_error *error) {
    enum ft_status status = ft_card_tokenizer(&job->tokenizer, job->model, error);
    if (!status) status = ft_pool_new(&job->pool, (unsigned)job->threads, error);
    unsigned threads = status ? 0 : ft_pool_threads(job->pool);
    if (!status) status = ft_alloc(&job->worker, threads, sizeof *job->worker, error);
    for (unsigned i = 0; i < 2 && !status; i++)
        status = ft_alloc(&job->batch[i].item, BATCH_LINES, sizeof *job->batch[i].item, error);
    for (unsigned i = 0; i < threads && !status; i++)
        status = job->mode == RECORDS ? ft_example_encoder_new(&job->worker[i].examples, job->tokenizer, job->loss, error)
                                      : ft_encoder_new(&job->worker[i].encoder, job->tokenizer, error);
    for (unsigned i = 0; i < threads && !status && job->mode == RECORDS; i++)
        ft_example_encoder_date(job->worker[i].examples, job->date);
    bool stream = job->output_path || !job->show;
    const char *path = job->output_path ? job->output_path : "-";
    if (!status && job->mode == RECORDS && stream && strcmp(path, "-") == 0 && isatty(STDOUT_FILENO))
        return ft_fail(error, FT_USAGE, "a token stream does not go to a terminal: give -o FILE, a pipe, or --show N");
    if (!status && (stream || job->mode != RECORDS)) status = ft_output_open(&job->output, path, 0, error);
    return status || job->mode != RECORDS || !stream ? status : start_stream(job, error);
}

static enum ft_status finish(struct job *job, struct ft_error *error) {
    enum ft_status status = job->writer ? ft_ftok_finish(job->writer, job->digest, error) : FT_OK;
    struct ft_output *output = job->output;
    if (status || !output) return status;
    job->output = NULL;
    return ft_output_commit(output, error);
}

static void release_items(struct item *item) {
    for (size_t i = 0; item && i < BATCH_LINES; i++) {
        ft_buffer_release(&item[i].line);
        ft_buffer_release(&item[i].text);
        ft_record_release(&item[i].record);
        ft_example_release(&item[i].example);
    }
    free(item);
}

static void release(struct job *job) {
    ft_output_abort(job->output);
    ft_ftok_writer_free(job->writer);
    for (unsigned i = 0; job->worker && i < ft_pool_threads(job->pool); i++) {
        ft_example_encoder_free(job->worker[i].examples);
        ft_encoder_free(job->worker[i].encoder);
        ft_ids_release(&job->worker[i].ids);
    }
    for (unsigned i = 0; i < 2; i++) release_items(job->batch[i].item);
    free(job->worker);
    ft_pool_free(job->pool);
    ft_tokenizer_free(job->tokenizer);
}

static enum ft_status check_options(struct job *job, struct ft_error *error) {
    static const char *const policy[] = {"error", "drop", "truncate"};
    if (!job->model) return ft_fail(error, FT_USAGE, "-m MODEL is missing: a directory with a tokenizer.json");
    if (job->ids && job->decode) return ft_fail(error, FT_USAGE, "--ids and --decode exclude each other");
    job->mode = job->ids ? IDS : job->decode ? DECODE : RECORDS;
    bool all = strcmp(job->loss_name, "all") == 0;
    if (!all && strcmp(job->loss_name, "completion") != 0)
        return ft_fail(error, FT_USAGE, "--loss \"%s\" is neither completion nor all", job->loss_name);
    job->loss = all ? FT_LOSS_ALL : FT_LOSS_COMPLETION;
    int i = 0;
    while (i < 3 && strcmp(policy[i], job->overlong_name) != 0) i++;
    if (i == 3) return ft_fail(error, FT_USAGE, "--overlong \"%s\" is none of error, drop, truncate", job->overlong_name);
    job->overlong = (enum overlong)i;
    if (i && !job->max_tokens) return ft_fail(error, FT_USAGE, "--overlong %s needs --max-tokens N", job->overlong_name);
    if (job->mode == RECORDS && (job->json || job->no_specials))
        return ft_fail(error, FT_USAGE, "%s goes with --ids or --decode", job->json ? "--json" : "--no-specials");
    if (job->mode != RECORDS && job->show) return ft_fail(error, FT_USAGE, "--show does not go with --ids or --decode");
    return ft_record_format_parse(job->format_name, &job->format, error);
}

static void tell(const struct job *job) {
    if (job->mode != RECORDS) return;
    fprintf(stderr, "ft-tokenize: %" PRIu64 " records, %" PRIu64 " tokens, %" PRIu64 " of them learnt", job->records, job->tokens,
            job->learnt);
    if (job->max_tokens)
        fprintf(stderr, "; of more than %zu tokens: %" PRIu64 " dropped, %" PRIu64 " truncated", job->max_tokens, job->dropped,
                job->truncated);
    fputc('\n', stderr);
}

int main(int argc, char **argv) {
    struct job job = {.format_name = "auto", .loss_name = "completion", .overlong_name = "error", .threads = 1};
    const struct ft_option options[] = {
        {'m', "model", FT_OPTION_STRING, &job.model, "DIR", "the model's directory, or a tokenizer.json", 0, 0},
        {0, "format", FT_OPTION_STRING, &job.format_name, "auto|messages|prompt|instruction|text", "of the records (auto)", 0, 0},
        {0, "loss", FT_OPTION_STRING, &job.loss_name, "completion|all", "what is learnt (completion)", 0, 0},
        {0, "max-tokens", FT_OPTION_SIZE, &job.max_tokens, "N", "no record may be longer", 2, FT_FTOK_RECORD_MAX},
        {0, "overlong", FT_OPTION_STRING, &job.overlong_name, "error|drop|truncate", "what happens to one that is (error)", 0, 0},
        {0, "label", FT_OPTION_STRING, &job.label, "KEY", "the record's label (label)", 0, 0},
        {0, "group", FT_OPTION_STRING, &job.group, "KEY", "the record's group (group)", 0, 0},
        {0, "date", FT_OPTION_STRING, &job.date, "YYYY-MM-DD", "for chat templates that write the date", 0, 0},
        {0, "show", FT_OPTION_SIZE, &job.show, "N", "print the first N records, a token a line, with weights", 0, 0},
        {'o', "output", FT_OPTION_STRING, &job.output_path, "FILE", "where the stream goes (standard output)", 0, 0},
        {0, "ids", FT_OPTION_FLAG, &job.ids, NULL, "print each line of plain text as a JSON array of ids", 0, 0},
        {0, "decode", FT_OPTION_FLAG, &job.decode, NULL, "print each JSON array of ids as text", 0, 0},
        {0, "json", FT_OPTION_FLAG, &job.json, NULL, "with --ids, --decode: a line of text is a JSON string", 0, 0},
        {0, "no-specials", FT_OPTION_FLAG, &job.no_specials, NULL, "with --ids, --decode: without special tokens", 0, 0},
        {0, "threads", FT_OPTION_SIZE, &job.threads, "N", "worker threads, 0 for all processors (1)", 0, FT_POOL_MAX},
        {0}};
    const struct ft_command command = {
        "ft-tokenize", "[DATA.jsonl|-]...", "Turns records into tokens with a loss mask, for ft-split, ft-train and ft-eval",
        "Records are messages, prompt and completion, instruction and output (Alpaca), or text; zstd or not.\n"
        "Exit status: 0 done, 2 wrong usage or failure, and then no file is written.",
        options};
    struct ft_error error;
    int operand;
    switch (ft_options_parse(&command, argc, argv, &operand, &error)) {
    case FT_OPTIONS_DONE: return fclose(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD: goto bad;
    case FT_OPTIONS_RUN: break;
    }
    if (check_options(&job, &error)) goto bad;
    ft_commit_on_signal();
    enum ft_status status = start(&job, &error);
    if (!status) status = read_inputs(&job, argv + operand, argc - operand, &error);
    if (!status && fflush(stdout)) status = ft_fail_errno(&error, FT_IO, "standard output: cannot be written");
    if (!status) status = finish(&job, &error); /* after what is shown, so that a failure there leaves no file */
    if (!status) tell(&job);
    release(&job);
    if (!status) return 0;
bad:
    fprintf(stderr, "ft-tokenize: %s\n", error.message);
    return 2;
}
