/* SPDX-License-Identifier: MIT
 *
 * ft-merge: makes the model that is handed on: an adapter fused into its base, or a fully tuned model rounded to the
 * base's element type. Measures what the rounding changed. */
#include "ft/card.h"
#include "ft/commit.h"
#include "ft/config.h"
#include "ft/difference.h"
#include "ft/file.h"
#include "ft/ftok.h"
#include "ft/json.h"
#include "ft/memory.h"
#include "ft/options.h"
#include "ft/provenance.h"
#include "ft/system.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBE_TOKENS = 64, PROBE_RECORDS = 32 };

struct settings {
    const char *model, *adapter, *output, *dtype, *probe;
    double tolerance; /* NaN: by element type */
    size_t threads;
};

static enum ft_status parse_dtype(const char *name, enum ft_save_dtype *dtype, struct ft_error *error) {
    static const char *const names[] = {"base", "f32", "bf16", "f16"};
    static const enum ft_save_dtype values[] = {FT_SAVE_AS_LOADED, FT_SAVE_F32, FT_SAVE_BF16, FT_SAVE_F16};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *dtype = values[i];
        return FT_OK;
    }
    return ft_fail(error, FT_USAGE, "--dtype %s: choose base, f32, bf16 or f16", name);
}

static enum ft_status check_tuned(const struct settings *s, const char *base, struct ft_error *error) {
    char digest[FT_SHA256_HEX];
    enum ft_status status = ft_model_digest(s->adapter, digest, error);
    if (status || strcmp(digest, base) != 0) return status;
    return ft_fail(error, FT_USAGE, "%s: no adapter there, and its weights are the base's own; give what ft-train wrote", s->adapter);
}

/* What "as the base has it" means for a tuned model, whose own weights are the trainer's. */
static enum ft_status base_dtype(const char *directory, enum ft_save_dtype *dtype, struct ft_error *error) {
    struct ft_model *base;
    size_t count;
    enum ft_status status = ft_model_open(&base, directory, error);
    if (status) return status;
    enum ft_dtype stored = ft_model_parameters(base, &count)[0]->dtype;
    *dtype = stored == FT_BF16 ? FT_SAVE_BF16 : stored == FT_F16 ? FT_SAVE_F16 : FT_SAVE_F32;
    ft_model_free(base);
    return FT_OK;
}

/* One rounding to bf16 or f16 moves logits visibly; binary32 must not. Nats of mean KL. */
static double tolerance_for(enum ft_dtype stored) { return stored == FT_F32 ? 1e-6 : 1e-2; }

static enum ft_status measure(const struct settings *s, struct ft_exec *exec, struct ft_model *adapted, struct ft_model *merged,
                              struct ft_difference *difference, struct ft_error *error) {
    size_t vocab = ft_model_config(adapted)->vocab, context = ft_model_config(adapted)->positions;
    if (s->probe) {
        struct ft_ftok_set set = {0};
        enum ft_status status = ft_ftok_load(&set, s->probe, 0, error);
        if (status) return status;
        size_t count = set.rows < PROBE_RECORDS ? set.rows : PROBE_RECORDS;
        if (set.vocab_size > vocab)
            status = ft_fail(error, FT_MISMATCH, "%s: made for a vocabulary of %u, the model has %zu; run ft-tokenize -m %s",
                             s->probe, set.vocab_size, vocab, s->model);
        if (!status) status = ft_difference_measure(difference, exec, adapted, merged, set.ids, set.start, count, error);
        ft_ftok_set_release(&set);
        return status;
    }
    uint32_t ids[PROBE_TOKENS];
    size_t start[] = {0, context < PROBE_TOKENS ? context : PROBE_TOKENS};
    ft_difference_probe(ids, start[1], vocab);
    return ft_difference_measure(difference, exec, adapted, merged, ids, start, 1, error);
}

static enum ft_status write_measure(const char *directory, const struct ft_difference *d, struct ft_error *error) {
    struct ft_json json;
    struct ft_buffer path = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    ft_json_set_string(&json, json.root, "format", "ft-merge-1");
    ft_json_set_string(&json, json.root, "method", "fuse");
    ft_json_set_double(&json, json.root, "max_logit_difference", d->max_logit);
    ft_json_set_double(&json, json.root, "mean_kl", d->mean_kl);
    ft_json_set_double(&json, json.root, "max_kl", d->max_kl);
    ft_json_set_double(&json, json.root, "agreement", d->agreement);
    ft_json_set_u64(&json, json.root, "positions", d->positions);
    status = ft_path_join(&path, directory, "merge.json", error);
    if (!status) status = ft_json_save(&json, path.data, FT_JSON_SORTED | FT_JSON_PRETTY, FT_OUTPUT_NOSYNC, error);
    ft_json_release(&json);
    ft_buffer_release(&path);
    return status;
}

/* Writes the weights and their card into `directory`, opens it again and measures it against base + adapter. */
static enum ft_status merge_into(const struct settings *s, const char *directory, enum ft_save_dtype dtype, struct ft_exec *exec,
                                 struct ft_model *adapted, struct ft_difference *difference, struct ft_error *error) {
    struct ft_buffer path = {0};
    struct ft_model *merged = NULL;
    struct ft_save save = {.dtype = dtype, .fuse = true, .flags = FT_OUTPUT_NOSYNC};
    enum ft_status status = ft_path_join(&path, directory, "model.safetensors", error);
    if (!status) status = ft_model_save(exec, adapted, &save, path.data, NULL, error);
    if (!status) status = ft_card_copy(s->model, directory, dtype, FT_OUTPUT_NOSYNC, error);
    if (!status) status = ft_model_open(&merged, directory, error);
    if (!status) status = measure(s, exec, adapted, merged, difference, error);
    if (!status) {
        size_t count;
        struct ft_parameter *const *parameter = ft_model_parameters(merged, &count);
        double limit = isnan(s->tolerance) ? tolerance_for(parameter[0]->dtype) : s->tolerance;
        if (!(difference->mean_kl <= limit))
            status = ft_fail(error, FT_MISMATCH, "the merged model is %.3g nats away from what was trained, more than %.3g; store it as --dtype f32, or allow it with --tolerance",
                             difference->mean_kl, limit);
    }
    if (!status) status = write_measure(directory, difference, error);
    ft_model_free(merged);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status run(const struct settings *s, struct ft_error *error) {
    struct ft_exec *exec = NULL;
    struct ft_model *adapted = NULL;
    struct ft_provenance *provenance = NULL;
    struct ft_directory *directory = NULL;
    struct ft_difference difference = {0};
    enum ft_save_dtype dtype = FT_SAVE_AS_LOADED;
    char base[FT_SHA256_HEX];
    enum ft_status status = parse_dtype(s->dtype, &dtype, error);
    if (!status) status = ft_exec_new(&exec, (unsigned)s->threads, error);
    if (!status) status = ft_model_digest(s->model, base, error);
    if (!status) status = ft_system_open(&adapted, exec, s->model, base, s->adapter, error);
    bool tuned = !status && !ft_system_is_adapter(s->adapter);
    if (tuned) status = check_tuned(s, base, error);
    if (tuned && !status && dtype == FT_SAVE_AS_LOADED) status = base_dtype(s->model, &dtype, error);
    if (!status) status = ft_provenance_new(&provenance, "merge", error);
    if (!status) status = ft_provenance_add_model(provenance, "model", s->model, error);
    if (!status) status = ft_provenance_add_model(provenance, tuned ? "tuned" : "adapter", s->adapter, error);
    if (!status && s->probe) status = ft_provenance_add_file(provenance, "probe", s->probe, error);
    if (!status) {
        ft_json_set_string(ft_provenance_json(provenance), ft_provenance_parameters(provenance), "method", "fuse");
        ft_json_set_string(ft_provenance_json(provenance), ft_provenance_parameters(provenance), "dtype", s->dtype);
        status = ft_directory_begin(&directory, s->output, error);
    }
    if (!status) {
        const char *path = ft_directory_path(directory);
        status = merge_into(s, path, dtype, exec, adapted, &difference, error);
        if (!status) status = ft_provenance_finish(provenance, path, error);
        if (!status) status = ft_directory_commit(directory, error);
        else ft_directory_abort(directory);
    }
    if (!status)
        fprintf(stderr, "%s: merged; against what was trained: largest logit difference %.3g, mean KL %.3g nats, same top token at %.1f%% of %zu positions\n",
                s->output, difference.max_logit, difference.mean_kl, 100.0 * difference.agreement, difference.positions);
    ft_provenance_free(provenance);
    ft_model_free(adapted);
    ft_exec_free(exec);
    return status;
}

int main(int argc, char **argv) {
    struct settings s = {.dtype = "base", .tolerance = NAN};
    const struct ft_option options[] = {
        {'m', "model", FT_OPTION_STRING, &s.model, "DIR", "the base model", 0, 0},
        {'a', "adapter", FT_OPTION_STRING, &s.adapter, "DIR", "the adapter to fuse, or the run of a full fine-tuning", 0, 0},
        {'o', "output", FT_OPTION_STRING, &s.output, "DIR", "where the merged model goes", 0, 0},
        {0, "dtype", FT_OPTION_STRING, &s.dtype, "base|f32|bf16|f16", "element type of the merged weights (default: the base's)", 0, 0},
        {0, "probe", FT_OPTION_STRING, &s.probe, "FILE.ftok", "measure the difference on these records (default: a fixed random sequence)", 0, 0},
        {0, "tolerance", FT_OPTION_DOUBLE, &s.tolerance, "NATS", "largest mean KL allowed (default 1e-6 for f32, 1e-2 for others)", 0, 0},
        {0, "threads", FT_OPTION_SIZE, &s.threads, "N", "threads (default: all processors; no effect on results)", 1, FT_POOL_MAX},
        {0},
    };
    const struct ft_command command = {"ft-merge", "", "Make a run's model: fuse the adapter into its base, round once",
                                       "Exit status: 0 success, 2 wrong usage or failure.", options};
    struct ft_error error = {0};
    int first;
    switch (ft_options_parse(&command, argc, argv, &first, &error)) {
    case FT_OPTIONS_DONE: return fflush(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD: break;
    case FT_OPTIONS_RUN:
        ft_commit_on_signal();
        if (!s.model || !s.adapter || !s.output)
            ft_fail(&error, FT_USAGE, "%s is missing (ft-merge --help)", !s.model ? "-m MODEL" : !s.adapter ? "-a ADAPTER" : "-o DIR");
        else if (first != argc) ft_fail(&error, FT_USAGE, "unexpected operand '%s'", argv[first]);
        else if (s.tolerance < 0.0) ft_fail(&error, FT_USAGE, "--tolerance: 0 or more nats are expected");
        else if (run(&s, &error) == FT_OK) return 0;
    }
    fprintf(stderr, "ft-merge: %s\n", error.message);
    return 2;
}
