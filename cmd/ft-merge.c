/* SPDX-License-Identifier: MIT
 *
 * ft-merge: makes the model that is handed on: an adapter fused into its base, or a fully tuned model rounded to the
 * base's element type. Measures what the rounding changed. */
#include "ft/card.h"
#include "ft/commit.h"
#include "ft/config.h"
#include "ft/difference.h"
#include "ft/export.h"
#include "ft/file.h"
#include "ft/hash.h"
#include "ft/json.h"
#include "ft/memory.h"
#include "ft/options.h"
#include "ft/provenance.h"
#include "ft/system.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *model, *adapter, *output, *dtype, *probe, *gguf, *gguf_type, *gguf_adapter;
    double tolerance; /* NaN: by element type */
    size_t threads, shard_bytes;
};

/* What was opened, and what the outputs turned out to be. */
struct work {
    const struct settings *settings;
    struct ft_exec *exec;
    struct ft_model *model; /* the base with the adapter attached, or a tuned model */
    struct ft_model_digest *digest; /* of the base, on its way into `base` */
    bool tuned;
    enum ft_save_dtype dtype;
    enum ft_ggml gguf_type;
    struct ft_difference difference, gguf_difference;
    char base[FT_SHA256_HEX], adapter[FT_SHA256_HEX], probe[FT_SHA256_HEX], gguf[FT_SHA256_HEX], gguf_adapter[FT_SHA256_HEX];
    struct ft_buffer gguf_part, gguf_adapter_part; /* where the files lie until everything is done */
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

/* Waits for the base's digest; the first time, checks what was opened against it. */
static enum ft_status settle_base(struct work *w, struct ft_error *error) {
    const struct settings *s = w->settings;
    if (!w->digest) return FT_OK;
    enum ft_status status = ft_model_digest_end(&w->digest, w->base, error);
    if (status || !s->adapter) return status;
    if (!w->tuned) return ft_system_check_base(s->model, w->base, s->adapter, error);
    if (strcmp(w->adapter, w->base) != 0) return FT_OK;
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

static enum ft_status check_difference(const struct settings *s, const struct ft_difference *d, double limit, const char *what,
                                       const char *option, struct ft_error *error) {
    if (!isnan(s->tolerance)) limit = s->tolerance;
    if (d->mean_kl <= limit) return FT_OK;
    return ft_fail(error, FT_MISMATCH, "the %s is %.3g nats away from what was trained, more than %.3g; store it as %s f32, or allow it with --tolerance",
                   what, d->mean_kl, limit, option);
}

/* Opens what was written and measures it against what was to be. */
static enum ft_status measure(const struct work *w, const char *path, struct ft_difference *difference, enum ft_dtype *stored,
                              struct ft_error *error) {
    struct ft_model *merged = NULL;
    size_t count;
    enum ft_status status = ft_model_open(&merged, path, error);
    if (!status)
        status = ft_difference_on(difference, w->exec, w->model, merged, w->settings->probe, w->settings->model, error);
    if (!status) *stored = ft_model_parameters(merged, &count)[0]->dtype;
    ft_model_free(merged);
    return status;
}

/* --- a Hugging Face directory ---------------------------------------------------------------------------- */

static void set_difference(struct ft_json *json, struct cJSON *object, const struct ft_difference *d) {
    ft_json_set_double(json, object, "max_logit_difference", d->max_logit);
    ft_json_set_double(json, object, "mean_kl", d->mean_kl);
    ft_json_set_double(json, object, "max_kl", d->max_kl);
    ft_json_set_double(json, object, "agreement", d->agreement);
    ft_json_set_u64(json, object, "positions", d->positions);
}

static enum ft_status write_measure(const struct work *w, const char *directory, struct ft_error *error) {
    struct ft_json json;
    struct ft_buffer path = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    ft_json_set_string(&json, json.root, "format", "ft-merge-1");
    ft_json_set_string(&json, json.root, "method", "fuse");
    set_difference(&json, json.root, &w->difference);
    if (w->settings->gguf) {
        struct cJSON *gguf = ft_json_set_object(&json, json.root, "gguf");
        ft_json_set_string(&json, gguf, "sha256", w->gguf);
        ft_json_set_string(&json, gguf, "type", ft_ggml_layout((uint32_t)w->gguf_type)->name);
        set_difference(&json, gguf, &w->gguf_difference);
    }
    if (w->settings->gguf_adapter)
        ft_json_set_string(&json, ft_json_set_object(&json, json.root, "gguf_adapter"), "sha256", w->gguf_adapter);
    status = ft_path_join(&path, directory, "merge.json", error);
    if (!status) status = ft_json_save(&json, path.data, FT_JSON_SORTED | FT_JSON_PRETTY, FT_OUTPUT_NOSYNC, error);
    ft_json_release(&json);
    ft_buffer_release(&path);
    return status;
}

/* Writes the weights and their card into `directory`, opens it again and measures it against what was trained, while it is
 * hashed. */
static enum ft_status merge_into(struct work *w, struct ft_provenance *provenance, const char *directory, struct ft_error *error) {
    const struct settings *s = w->settings;
    struct ft_save save = {.dtype = w->dtype, .fuse = true, .flags = FT_OUTPUT_NOSYNC};
    enum ft_dtype stored = FT_F32;
    enum ft_status status = ft_model_save_shards(w->exec, w->model, &save, directory, s->shard_bytes, error);
    if (!status) status = ft_card_copy(s->model, directory, w->dtype, FT_OUTPUT_NOSYNC, error);
    if (!status) status = settle_base(w, error);
    if (!status) ft_provenance_hash_early(provenance, directory);
    if (!status) status = measure(w, directory, &w->difference, &stored, error);
    if (!status) status = check_difference(s, &w->difference, tolerance_for(stored), "merged model", "--dtype", error);
    return status ? status : write_measure(w, directory, error);
}

/* What it was made of. */
static enum ft_status describe(const struct work *w, struct ft_provenance *provenance, struct ft_error *error) {
    const struct settings *s = w->settings;
    struct cJSON *parameters = ft_provenance_parameters(provenance);
    ft_json_set_string(ft_provenance_json(provenance), parameters, "method", "fuse");
    ft_json_set_string(ft_provenance_json(provenance), parameters, "dtype", s->dtype);
    enum ft_status status = ft_provenance_add_model(provenance, "model", s->model, w->base, error);
    if (!status && s->adapter) status = ft_provenance_add_model(provenance, w->tuned ? "tuned" : "adapter", s->adapter, w->adapter, error);
    return status || !s->probe ? status : ft_provenance_add_digest(provenance, "probe", s->probe, w->probe, error);
}

static enum ft_status write_directory(struct work *w, struct ft_error *error) {
    const struct settings *s = w->settings;
    struct ft_provenance *provenance = NULL;
    struct ft_directory *directory = NULL;
    enum ft_status status = ft_provenance_new(&provenance, "merge", error);
    if (!status) status = ft_directory_begin(&directory, s->output, error);
    if (!status) {
        const char *path = ft_directory_path(directory);
        status = merge_into(w, provenance, path, error);
        if (!status) status = describe(w, provenance, error);
        if (!status) status = ft_provenance_finish(provenance, path, error);
        if (!status) status = ft_directory_commit(directory, error);
        else ft_directory_abort(directory);
    }
    ft_provenance_free(provenance);
    return status;
}

/* --- GGUF files ------------------------------------------------------------------------------------------ */

static enum ft_status write_gguf(struct work *w, struct ft_error *error) {
    static const char *const types[] = {[FT_F32] = "f32", [FT_BF16] = "bf16", [FT_F16] = "f16"};
    const struct settings *s = w->settings;
    struct ft_export how = {.card = s->model, .fuse = true, .base_sha256 = w->base};
    enum ft_dtype stored = FT_F32;
    size_t count;
    enum ft_status status = s->gguf || s->gguf_adapter ? settle_base(w, error) : FT_OK;
    if (status) return status;
    const char *type = s->gguf_type ? s->gguf_type : types[ft_model_parameters(w->model, &count)[0]->dtype];
    if (!ft_export_type(type, &w->gguf_type))
        return ft_fail(error, FT_USAGE, "--gguf-type %s: choose f32, f16, bf16 or q8_0", type);
    how.type = w->gguf_type;
    if (s->adapter) how.adapter_sha256 = w->adapter;
    if (s->gguf_adapter) {
        status = ft_buffer_printf(&w->gguf_adapter_part, error, "%s.part.gguf", s->gguf_adapter);
        if (!status) status = ft_export_adapter(w->exec, w->model, &how, w->gguf_adapter_part.data, w->gguf_adapter, error);
    }
    if (status || !s->gguf) return status;
    status = ft_buffer_printf(&w->gguf_part, error, "%s.part.gguf", s->gguf);
    if (!status) status = ft_export_model(w->exec, w->model, &how, w->gguf_part.data, w->gguf, error);
    if (!status) status = measure(w, w->gguf_part.data, &w->gguf_difference, &stored, error);
    double limit = tolerance_for(how.type == FT_GGML_F32 ? FT_F32 : FT_F16);
    return status ? status : check_difference(s, &w->gguf_difference, limit, "GGUF file", "--gguf-type", error);
}

static enum ft_status put_in_place(const struct ft_buffer *part, const char *path, struct ft_error *error) {
    if (!path || rename(part->data, path) == 0) return FT_OK;
    return ft_fail_errno(error, FT_IO, "%s: cannot be put in place", path);
}

/* --- the whole ------------------------------------------------------------------------------------------- */

static void tell(const char *path, const struct ft_difference *d) {
    fprintf(stderr, "%s: merged; against what was trained: largest logit difference %.3g, mean KL %.3g nats, same top token at %.1f%% of %zu positions\n",
            path, d->max_logit, d->mean_kl, 100.0 * d->agreement, d->positions);
}

static enum ft_status open_all(struct work *w, struct ft_error *error) {
    const struct settings *s = w->settings;
    enum ft_status status = parse_dtype(s->dtype, &w->dtype, error);
    if (!status) status = ft_exec_new(&w->exec, (unsigned)s->threads, error);
    if (!status && s->probe) status = ft_sha256_file(s->probe, w->probe, NULL, error);
    if (!status) status = ft_model_digest_begin(&w->digest, s->model, error);
    if (!status) status = ft_system_open(&w->model, w->exec, s->model, NULL, s->adapter, error);
    if (status || !s->adapter) return status;
    w->tuned = !ft_system_is_adapter(s->adapter);
    status = ft_model_digest(s->adapter, w->adapter, error);
    if (w->tuned && !status) status = settle_base(w, error);
    if (w->tuned && !status && s->gguf_adapter)
        status = ft_fail(error, FT_USAGE, "%s: no adapter there: --gguf-adapter has nothing to write", s->adapter);
    if (w->tuned && !status && w->dtype == FT_SAVE_AS_LOADED) status = base_dtype(s->model, &w->dtype, error);
    return status;
}

static enum ft_status run(const struct settings *s, struct ft_error *error) {
    struct work w = {.settings = s};
    enum ft_status status = open_all(&w, error);
    struct ft_error why = {0};
    if (status && settle_base(&w, &why) == FT_MISMATCH) *error = why; /* what is not fit to be opened together, in plain words */
    if (!status) status = write_gguf(&w, error);
    if (!status && s->output) status = write_directory(&w, error);
    if (!status) status = put_in_place(&w.gguf_part, s->gguf, error);
    if (!status) status = put_in_place(&w.gguf_adapter_part, s->gguf_adapter, error);
    if (status && w.gguf_part.size) (void)unlink(w.gguf_part.data);
    if (status && w.gguf_adapter_part.size) (void)unlink(w.gguf_adapter_part.data);
    if (!status && s->output) tell(s->output, &w.difference);
    if (!status && s->gguf) tell(s->gguf, &w.gguf_difference);
    (void)ft_model_digest_end(&w.digest, w.base, &why);
    ft_buffer_release(&w.gguf_part);
    ft_buffer_release(&w.gguf_adapter_part);
    ft_model_free(w.model);
    ft_exec_free(w.exec);
    return status;
}

static bool is_gguf_name(const char *path) {
    size_t length = path ? strlen(path) : 0;
    return !path || (length > 5 && strcmp(path + length - 5, ".gguf") == 0);
}

static enum ft_status check(const struct settings *s, struct ft_error *error) {
    if (!s->model) return ft_fail(error, FT_USAGE, "-m MODEL is missing (ft-merge --help)");
    if (!s->output && !s->gguf && !s->gguf_adapter)
        return ft_fail(error, FT_USAGE, "-o DIR, --gguf FILE or --gguf-adapter FILE is missing (ft-merge --help)");
    if (s->gguf_adapter && !s->adapter) return ft_fail(error, FT_USAGE, "--gguf-adapter needs -a ADAPTER");
    if (!is_gguf_name(s->gguf) || !is_gguf_name(s->gguf_adapter))
        return ft_fail(error, FT_USAGE, "%s: the name of a GGUF file ends in .gguf", is_gguf_name(s->gguf) ? s->gguf_adapter : s->gguf);
    if (s->tolerance < 0.0) return ft_fail(error, FT_USAGE, "--tolerance: 0 or more nats are expected");
    return FT_OK;
}

int main(int argc, char **argv) {
    struct settings s = {.dtype = "base", .tolerance = NAN, .shard_bytes = FT_SHARD_BYTES};
    const struct ft_option options[] = {
        {'m', "model", FT_OPTION_STRING, &s.model, "MODEL", "the base: a directory or a .gguf file", 0, 0},
        {'a', "adapter", FT_OPTION_STRING, &s.adapter, "DIR", "the adapter to fuse, or the run of a full fine-tuning (default: none, the base is converted)", 0, 0},
        {'o', "output", FT_OPTION_STRING, &s.output, "DIR", "where the merged model goes, as a Hugging Face directory", 0, 0},
        {0, "dtype", FT_OPTION_STRING, &s.dtype, "base|f32|bf16|f16", "element type of the merged weights (default: the base's)", 0, 0},
        {0, "gguf", FT_OPTION_STRING, &s.gguf, "FILE.gguf", "write the merged model as a GGUF file, too, or alone", 0, 0},
        {0, "gguf-type", FT_OPTION_STRING, &s.gguf_type, "f32|f16|bf16|q8_0", "element type of GGUF files (default: the base's)", 0, 0},
        {0, "gguf-adapter", FT_OPTION_STRING, &s.gguf_adapter, "FILE.gguf", "write the adapter alone as a GGUF file", 0, 0},
        {0, "shard-bytes", FT_OPTION_SIZE, &s.shard_bytes, "N", "largest file of weights (default 5000000000); more are split with an index", 1, 0},
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
        if (first != argc) ft_fail(&error, FT_USAGE, "unexpected operand '%s'", argv[first]);
        else if (check(&s, &error)) break;
        else if (run(&s, &error) == FT_OK) return 0;
    }
    fprintf(stderr, "ft-merge: %s\n", error.message);
    return 2;
}
