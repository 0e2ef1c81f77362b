/* SPDX-License-Identifier: MIT */
#include "ft/score.h"

#include "ft/config.h"
#include "ft/generate.h"
#include "ft/json.h"
#include "ft/memory.h"
#include "ft/session.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_TOKENS = 2048, ANSWER_MARGIN = 16 };

/* --- spans ----------------------------------------------------------------------------------------------- */

struct span {
    size_t prompt;         /* tokens before the last supervised span */
    size_t start, end;     /* the span in set->ids, its stop token left out */
};

static bool is_stop(const struct ft_tokenizer *tokenizer, uint32_t id) {
    size_t count;
    const uint32_t *eos = ft_tokenizer_eos(tokenizer, &count);
    for (size_t i = 0; i < count; i++)
        if (eos[i] == id) return true;
    return false;
}

static struct span last_span(const struct ft_ftok_set *set, size_t row) {
    size_t first = set->start[row], end = set->start[row + 1];
    while (end > first && !(set->weights[end - 1] > 0.0f)) end--;
    size_t start = end;
    while (start > first && set->weights[start - 1] > 0.0f) start--;
    return (struct span){.prompt = start - first, .start = start, .end = end};
}

static struct span answer_span(const struct ft_score *score, size_t row) {
    struct span span = last_span(score->set, row);
    if (span.end > span.start && is_stop(score->tokenizer, score->set->ids[span.end - 1])) span.end--;
    return span;
}

/* A plain text's span begins at its second token (nothing predicts the first), so one token is no prompt. */
size_t ft_score_promptable(const struct ft_ftok_set *set) {
    size_t count = 0;
    for (size_t row = 0; row < set->rows; row++) count += last_span(set, row).prompt > 1;
    return count;
}

enum ft_status ft_score_reference(const struct ft_score *score, size_t row, struct ft_buffer *text, struct ft_error *error) {
    struct span span = answer_span(score, row);
    return ft_decode(score->tokenizer, score->set->ids + span.start, span.end - span.start, FT_DECODE_SKIP_SPECIAL, text,
                     error);
}

enum ft_status ft_score_prompt(const struct ft_score *score, size_t row, struct ft_buffer *text, struct ft_error *error) {
    struct span span = answer_span(score, row);
    return ft_decode(score->tokenizer, score->set->ids + score->set->start[row], span.prompt, 0, text, error);
}

/* --- loss ------------------------------------------------------------------------------------------------ */

/* Rows from `first` on that fit one batch: at least one. */
static size_t batch_rows(const struct ft_ftok_set *set, size_t first) {
    size_t last = first + 1;
    while (last < set->rows && set->start[last + 1] - set->start[first] <= BATCH_TOKENS) last++;
    return last - first;
}

static void add_losses(const struct ft_ftok_set *set, size_t first, size_t count, const float *loss,
                       const uint32_t *predicted, struct ft_score_row *rows) {
    size_t k = 0;
    for (size_t row = first; row < first + count; row++) {
        for (size_t i = set->start[row]; i < set->start[row + 1]; i++) {
            if (!(set->weights[i] > 0.0f)) continue;
            rows[row].loss += (double)set->weights[i] * (double)loss[k];
            rows[row].weight += (double)set->weights[i];
            rows[row].tokens++;
            rows[row].correct += predicted[k++] == set->ids[i];
        }
    }
}

enum ft_status ft_score_losses(const struct ft_score *score, struct ft_score_row *rows, struct ft_error *error) {
    const struct ft_ftok_set *set = score->set;
    size_t tokens = set->longest > BATCH_TOKENS ? set->longest : BATCH_TOKENS;
    struct ft_session_limits limits = {.tokens = tokens, .documents = tokens, .longest = set->longest};
    struct ft_session *session = NULL;
    float *loss = NULL;
    uint32_t *predicted = NULL;
    enum ft_status status = ft_session_new(&session, score->model, score->exec, &limits, error);
    if (!status) status = ft_alloc(&loss, tokens, sizeof *loss, error);
    if (!status) status = ft_alloc(&predicted, tokens, sizeof *predicted, error);
    for (size_t row = 0, count; row < set->rows && !status; row += count) {
        count = batch_rows(set, row);
        struct ft_batch batch = {.documents = count, .start = set->start + row, .ids = set->ids, .weights = set->weights};
        status = ft_session_evaluate(session, &batch, loss, predicted, NULL, error);
        if (status) ft_error_context(error, "records %zu to %zu", row + 1, row + count);
        else add_losses(set, row, count, loss, predicted, rows);
        if (score->progress) score->progress(score->arg, row + count);
    }
    free(loss);
    free(predicted);
    ft_session_free(session);
    return status;
}

/* --- answers --------------------------------------------------------------------------------------------- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Cuts white space off both ends; the result stays NUL-terminated in the buffer. */
static const char *trimmed(struct ft_buffer *text) {
    if (!text->data) return "";
    while (text->size && is_space(text->data[text->size - 1])) text->data[--text->size] = '\0';
    const char *p = text->data;
    while (is_space(*p)) p++;
    return p;
}

/* Compares every wanted field of two texts that may be JSON. */
static void compare_json(const struct ft_score *score, const char *answer, const char *reference, struct ft_score_row *row) {
    struct ft_json got = {0}, want = {0};
    row->json = ft_json_parse(&got, answer, strlen(answer), "answer", 1, NULL) == FT_OK;
    bool both = row->json && ft_json_type(got.root) == FT_JSON_OBJECT &&
                ft_json_parse(&want, reference, strlen(reference), "reference", 1, NULL) == FT_OK &&
                ft_json_type(want.root) == FT_JSON_OBJECT;
    for (size_t f = 0; f < score->n_fields && both; f++) {
        const struct cJSON *a = ft_json_find(got.root, score->fields[f]), *b = ft_json_find(want.root, score->fields[f]);
        struct ft_buffer x = {0}, y = {0};
        row->field[f] = a && b && !ft_json_print(&got, a, FT_JSON_SORTED, &x, NULL) &&
                        !ft_json_print(&want, b, FT_JSON_SORTED, &y, NULL) && x.size == y.size &&
                        memcmp(x.data, y.data, x.size) == 0;
        ft_buffer_release(&x);
        ft_buffer_release(&y);
    }
    ft_json_release(&got);
    ft_json_release(&want);
}

static enum ft_status judge(const struct ft_score *score, size_t index, const struct ft_completion *completion,
                            struct ft_score_row *row, struct ft_error *error) {
    struct ft_buffer answer = {0}, reference = {0};
    enum ft_status status =
        ft_decode(score->tokenizer, completion->ids, completion->count, FT_DECODE_SKIP_SPECIAL, &answer, error);
    if (!status) status = ft_score_reference(score, index, &reference, error);
    if (!status) {
        const char *got = trimmed(&answer), *want = trimmed(&reference);
        row->stopped = completion->stopped;
        row->exact = completion->stopped && strcmp(got, want) == 0;
        compare_json(score, got, want, row);
        row->answer = strdup(got);
        if (!row->answer) status = ft_fail(error, FT_NOMEM, "out of memory for the answers");
    }
    ft_buffer_release(&answer);
    ft_buffer_release(&reference);
    return status;
}

/* Longest reference of the set, in tokens. */
static size_t longest_reference(const struct ft_score *score) {
    size_t longest = 0;
    for (size_t row = 0; row < score->set->rows; row++) {
        struct span span = answer_span(score, row);
        if (span.end - span.start > longest) longest = span.end - span.start;
    }
    return longest;
}

enum ft_status ft_score_answers(const struct ft_score *score, struct ft_score_row *rows, struct ft_error *error) {
    const struct ft_ftok_set *set = score->set;
    struct ft_prompt *prompts = NULL;
    struct ft_completions completions = {0};
    size_t max = score->max_tokens ? score->max_tokens : longest_reference(score) + ANSWER_MARGIN;
    enum ft_status status = ft_alloc(&prompts, set->rows, sizeof *prompts, error);
    for (size_t row = 0; row < set->rows && !status; row++) {
        struct span span = answer_span(score, row);
        if (span.prompt < 1)
            status = ft_fail(error, FT_FORMAT, "record %zu has no prompt to answer; evaluate it with --tasks loss", row + 1);
        prompts[row] = (struct ft_prompt){.ids = set->ids + set->start[row], .count = span.prompt, .max_tokens = max,
                                          .expected = span.end - span.start};
    }
    struct ft_generate job = {.model = score->model, .exec = score->exec, .prompts = prompts, .count = set->rows,
                              .slots = score->slots, .progress = score->progress, .arg = score->arg};
    job.stop = ft_tokenizer_eos(score->tokenizer, &job.stops);
    if (!status) status = ft_generate(&job, &completions, error);
    for (size_t row = 0; row < set->rows && !status; row++)
        status = judge(score, row, &completions.item[row], &rows[row], error);
    ft_completions_release(&completions);
    free(prompts);
    return status;
}

void ft_score_rows_release(struct ft_score_row *rows, size_t count) {
    for (size_t i = 0; rows && i < count; i++) {
        free(rows[i].answer);
        rows[i].answer = NULL;
    }
}
