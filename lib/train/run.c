/* SPDX-License-Identifier: MIT */
#include "ft/run.h"

#include "ft/card.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/json.h"
#include "ft/lora.h"
#include "ft/memory.h"
#include "ft/metrics.h"
#include "ft/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { CARD_MAX = 1 << 16 };

static const char complete_mark[] = "SHA256SUMS";

/* What a model directory holds beside config.json and weights. */
static const char *const tokenizer_files[] = {"tokenizer.json",       "tokenizer_config.json", "special_tokens_map.json",
                                              "chat_template.jinja", "generation_config.json", NULL};

/* Everything else that a run may have written, in the order of removal: first what says that it is complete. */
static const char *const run_files[] = {
    "SHA256SUMS", "provenance.json", "adapter_config.json", "adapter_model.safetensors", "config.json",
    "model.safetensors", "metrics.jsonl", "recipe.json", "timing.json", NULL};

struct ft_run {
    struct ft_run_spec spec;
    struct ft_trainer *trainer;
    struct ft_model *model;
    struct ft_exec *exec;
    struct ft_metrics metrics;
    bool metrics_open;
    struct ft_checkpoint state;
    int lock; /* descriptor of the directory, or -1 */
};

/* --- identity -------------------------------------------------------------------------------------------- */

/* The document of run.json; its canonical bytes' SHA-256 is the identity. */
static enum ft_status make_card(const struct ft_run_spec *spec, struct ft_json *card, char identity[FT_SHA256_HEX],
                                struct ft_error *error) {
    char recipe[FT_SHA256_HEX];
    struct ft_buffer text = {.max = CARD_MAX};
    enum ft_status status = ft_recipe_digest(spec->recipe, recipe, error);
    if (!status) status = ft_json_new(card, FT_JSON_OBJECT, error);
    if (!status) {
        ft_json_set_string(card, card->root, "model", spec->model_sha256);
        ft_json_set_string(card, card->root, "numerics", FT_NUMERICS);
        ft_json_set_string(card, card->root, "recipe", recipe);
        ft_json_set_string(card, card->root, "train", spec->train_sha256);
        ft_json_set_string(card, card->root, "valid", spec->valid_sha256 ? spec->valid_sha256 : "");
        status = ft_json_print(card, card->root, FT_JSON_SORTED, &text, error);
    }
    if (!status) ft_sha256_hex(text.data, text.size, identity);
    ft_buffer_release(&text);
    return status;
}

static enum ft_status path_in(struct ft_buffer *path, const char *run, const char *name, struct ft_error *error) {
    ft_buffer_clear(path);
    return ft_path_join(path, run, name, error);
}

static bool has(const char *run, const char *name) {
    struct ft_buffer path = {0};
    bool there = !path_in(&path, run, name, NULL) && ft_path_exists(path.data);
    ft_buffer_release(&path);
    return there;
}

/* The first key in which run.json differs from the card of this call; NULL when none does. */
static enum ft_status compare_card(const struct ft_run_spec *spec, const struct ft_json *card, const char **differs,
                                   struct ft_error *error) {
    static const char *const keys[] = {"numerics", "model", "train", "valid", "recipe", NULL};
    struct ft_buffer path = {0};
    struct ft_json found = {0};
    enum ft_status status = path_in(&path, spec->path, "run.json", error);
    if (!status) status = ft_json_read(&found, path.data, CARD_MAX, error);
    if (!status) status = ft_json_expect(&found, found.root, FT_JSON_OBJECT, error);
    if (!status) status = ft_json_only(&found, found.root, keys, error);
    *differs = NULL;
    for (size_t i = 0; keys[i] && !status && !*differs; i++) {
        const char *theirs = NULL, *ours = NULL;
        status = ft_json_get_string(&found, found.root, keys[i], FT_JSON_REQUIRED, &theirs, error);
        if (!status) status = ft_json_get_string(card, card->root, keys[i], FT_JSON_REQUIRED, &ours, error);
        if (!status && strcmp(theirs, ours) != 0) *differs = keys[i];
    }
    if (status == FT_FORMAT) ft_error_context(error, "%s: not a run.json of ft-train; --force replaces it", spec->path);
    ft_json_release(&found);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status refuse_other(const struct ft_run_spec *spec, const char *differs, struct ft_error *error) {
    static const struct {
        const char *key, *words;
    } what[] = {{"model", "another model"}, {"train", "other training data"}, {"valid", "other validation data"},
                {"recipe", "another recipe (see its recipe.json)"}, {"numerics", "another version of the arithmetic"}};
    const char *words = differs;
    for (size_t i = 0; i < sizeof what / sizeof *what; i++)
        if (strcmp(what[i].key, differs) == 0) words = what[i].words;
    return ft_fail(error, FT_MISMATCH, "%s: holds a run with %s; choose another -o, or replace it with --force",
                   spec->path, words);
}

/* --- temporaries and the lock ------------------------------------------------------------------------------ */

/* True when the directory holds nothing but temporaries of ft_output. With `remove` they go: for the holder of the lock,
 * who knows that their writers are dead. */
static bool list_temporaries(const char *run, bool remove) {
    DIR *directory = opendir(run);
    if (!directory) return false;
    bool others = false;
    for (const struct dirent *entry; (entry = readdir(directory));) {
        const char *name = entry->d_name;
        size_t length = strlen(name);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        bool temporary = strncmp(name, ".ft-", 4) == 0 && length > 8 && strcmp(name + length - 4, ".tmp") == 0;
        if (temporary && remove) (void)unlinkat(dirfd(directory), name, 0);
        if (!temporary) others = true;
    }
    closedir(directory);
    return !others;
}

/* A process that was killed holds its lock until the kernel has buried it: that is worth a moment's wait. */
static enum ft_status lock(struct ft_run *run, struct ft_error *error) {
    enum { TRIES = 100 };
    static const struct timespec moment = {.tv_nsec = 50000000};
    run->lock = open(run->spec.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->lock < 0) return ft_fail_errno(error, FT_IO, "%s: cannot be opened", run->spec.path);
    for (int i = 0; flock(run->lock, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK) return FT_OK; /* a file system without locks */
        if (i == TRIES)
            return ft_fail(error, FT_USAGE, "%s: another ft-train is at work here; wait for it or end it", run->spec.path);
        nanosleep(&moment, NULL);
    }
    return FT_OK;
}

/* --- looking --------------------------------------------------------------------------------------------- */

/* A directory with a run.json: ours, but the same run? */
static enum ft_status look_at_run(const struct ft_run_spec *spec, const struct ft_json *card, enum ft_run_found *found,
                                  struct ft_error *error) {
    const char *differs = NULL;
    if (spec->force && !spec->resume) return FT_OK;
    enum ft_status status = compare_card(spec, card, &differs, error);
    if (status && spec->force) return FT_OK;
    if (status) return status;
    if (differs) return spec->force ? FT_OK : refuse_other(spec, differs, error);
    if (has(spec->path, complete_mark)) {
        *found = FT_RUN_COMPLETE;
        return FT_OK;
    }
    if (!ft_checkpoint_exists(spec->path)) return FT_OK; /* killed before its first checkpoint: nothing to lose */
    if (!spec->resume)
        return ft_fail(error, FT_USAGE, "%s: holds an unfinished run; go on with --resume, or begin anew with --force",
                       spec->path);
    *found = FT_RUN_RESUME;
    return FT_OK;
}

enum ft_status ft_run_look(const struct ft_run_spec *spec, enum ft_run_found *found, struct ft_error *error) {
    struct ft_json card = {0};
    char identity[FT_SHA256_HEX];
    *found = FT_RUN_START;
    if (!ft_path_exists(spec->path)) return FT_OK;
    if (!ft_path_is_directory(spec->path))
        return ft_fail(error, FT_USAGE, "%s: not a directory; choose another -o", spec->path);
    if (!has(spec->path, "run.json")) {
        if (list_temporaries(spec->path, false)) return FT_OK; /* maybe of a run that was killed as it wrote run.json */
        return ft_fail(error, FT_USAGE, "%s: not empty, and not a training run; choose another -o", spec->path);
    }
    enum ft_status status = make_card(spec, &card, identity, error);
    if (!status) status = look_at_run(spec, &card, found, error);
    ft_json_release(&card);
    return status;
}

/* --- opening --------------------------------------------------------------------------------------------- */

static enum ft_status remove_file(const char *run, const char *name, struct ft_error *error) {
    struct ft_buffer path = {0};
    enum ft_status status = path_in(&path, run, name, error);
    if (!status && unlink(path.data) != 0 && errno != ENOENT)
        status = ft_fail_errno(error, FT_IO, "%s: cannot be removed", path.data);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status remove_old(const char *run, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; run_files[i] && !status; i++) status = remove_file(run, run_files[i], error);
    for (size_t i = 0; tokenizer_files[i] && !status; i++) status = remove_file(run, tokenizer_files[i], error);
    return status ? status : ft_checkpoint_remove(run, error);
}

/* A new run: an empty directory with run.json and recipe.json. */
static enum ft_status begin(struct ft_run *run, const struct ft_json *card, struct ft_error *error) {
    struct ft_buffer path = {0};
    enum ft_status status = FT_OK;
    (void)list_temporaries(run->spec.path, true);
    if (has(run->spec.path, "run.json")) status = remove_old(run->spec.path, error);
    if (!status) status = path_in(&path, run->spec.path, "run.json", error);
    if (!status) status = ft_json_save(card, path.data, FT_JSON_SORTED, 0, error);
    if (!status) status = path_in(&path, run->spec.path, "recipe.json", error);
    if (!status) status = ft_recipe_save(run->spec.recipe, path.data, error);
    ft_buffer_release(&path);
    return status;
}

/* Brings everything to the last checkpoint; nothing on disk changes before all of it was found good. */
static enum ft_status restore(struct ft_run *run, const char *identity, struct ft_error *error) {
    struct ft_buffer path = {0};
    size_t count;
    struct ft_parameter *const *tensors = ft_trainer_tensors(run->trainer, &count);
    enum ft_status status = ft_checkpoint_peek(run->spec.path, &run->state, error);
    if (!status && strcmp(run->state.identity, identity) != 0)
        status = ft_fail(error, FT_MISMATCH, "%s: the checkpoint is of another run; start anew with --force", run->spec.path);
    if (!status && run->state.step > ft_trainer_steps(run->trainer))
        status = ft_fail(error, FT_FORMAT, "%s: the checkpoint is at step %" PRIu64 " of %" PRIu64
                         "; start anew with --force", run->spec.path, run->state.step, ft_trainer_steps(run->trainer));
    if (!status) status = path_in(&path, run->spec.path, "metrics.jsonl", error);
    if (!status) status = ft_metrics_check(path.data, run->state.metrics_size, run->state.metrics_sha256, error);
    if (!status) status = ft_checkpoint_load(run->spec.path, &run->state, tensors, count, error);
    if (!status) ft_trainer_restore(run->trainer, run->state.step, run->state.tokens, run->state.supervised);
    if (!status) (void)list_temporaries(run->spec.path, true);
    if (!status) status = ft_checkpoint_tidy(run->spec.path, &run->state, error);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_run_open(struct ft_run **out, const struct ft_run_spec *spec, enum ft_run_found found,
                           struct ft_trainer *trainer, struct ft_model *model, struct ft_exec *exec,
                           struct ft_error *error) {
    struct ft_run *run = NULL;
    struct ft_json card = {0};
    struct ft_buffer path = {0};
    char identity[FT_SHA256_HEX];
    enum ft_status status = ft_alloc(&run, 1, sizeof *run, error);
    if (status) return status;
    *run = (struct ft_run){.spec = *spec, .trainer = trainer, .model = model, .exec = exec, .lock = -1};
    status = make_card(spec, &card, identity, error);
    if (!status && found != FT_RUN_RESUME) status = ft_directory_make(spec->path, error);
    if (!status) status = lock(run, error);
    if (!status) status = found == FT_RUN_RESUME ? restore(run, identity, error) : begin(run, &card, error);
    if (!status) status = path_in(&path, spec->path, "metrics.jsonl", error);
    if (!status) status = ft_metrics_open(&run->metrics, path.data, run->state.metrics_size, error);
    run->metrics_open = !status;
    if (!status) memcpy(run->state.identity, identity, sizeof identity);
    ft_buffer_release(&path);
    ft_json_release(&card);
    if (status) ft_run_close(run);
    else *out = run;
    return status;
}

void ft_run_close(struct ft_run *run) {
    if (!run) return;
    if (run->metrics_open) ft_metrics_close(&run->metrics);
    if (run->lock >= 0) close(run->lock);
    free(run);
}

const struct ft_checkpoint *ft_run_state(const struct ft_run *run) { return &run->state; }

/* --- the loop -------------------------------------------------------------------------------------------- */

static enum ft_status save(struct ft_run *run, struct ft_error *error) {
    size_t count;
    struct ft_parameter *const *tensors = ft_trainer_tensors(run->trainer, &count);
    enum ft_status status = ft_metrics_sync(&run->metrics, &run->state.metrics_size, run->state.metrics_sha256, error);
    return status ? status : ft_checkpoint_save(run->spec.path, &run->state, tensors, count, error);
}

/* After an evaluation: keeps the weights when they are the best so far, and counts the evaluations that were not. */
static enum ft_status judge(struct ft_run *run, const struct ft_step *step, double loss, bool *best,
                            struct ft_error *error) {
    struct ft_checkpoint *state = &run->state;
    *best = !state->has_best || loss < state->best_loss;
    if (!*best) {
        state->stale++;
        state->stopped = run->spec.recipe->patience && state->stale >= run->spec.recipe->patience;
        return FT_OK;
    }
    size_t count;
    struct ft_parameter *const *tensors = ft_trainer_tensors(run->trainer, &count);
    enum ft_status status =
        ft_checkpoint_save_best(run->spec.path, step->step, tensors, count, state->best_sha256, error);
    if (status) return status;
    state->has_best = true;
    state->best_step = step->step;
    state->best_loss = loss;
    state->stale = 0;
    return FT_OK;
}

static enum ft_status evaluate(struct ft_run *run, const struct ft_step *step, const struct ft_run_events *events,
                               struct ft_error *error) {
    struct ft_loss_sum sum;
    bool best = false;
    enum ft_status status = ft_trainer_evaluate(run->trainer, &sum, error);
    if (!status) status = ft_metrics_evaluation(&run->metrics, step->step, step->epoch, &sum, error);
    if (!status) status = judge(run, step, sum.loss / sum.weight, &best, error);
    if (!status && events->evaluated) events->evaluated(events->arg, step->step, &sum, best);
    return status;
}

static bool due(uint64_t every, uint64_t otherwise, uint64_t step) { return step % (every ? every : otherwise) == 0; }

/* What follows a step: its line, and where they are due, an evaluation and a checkpoint. */
static enum ft_status after_step(struct ft_run *run, const struct ft_step *step, const struct ft_run_events *events,
                                 bool *saved, struct ft_error *error) {
    const struct ft_recipe *recipe = run->spec.recipe;
    uint64_t per_epoch = ft_trainer_per_epoch(run->trainer), steps = ft_trainer_steps(run->trainer);
    run->state.step = step->step;
    run->state.tokens = step->tokens;
    run->state.supervised = step->supervised;
    enum ft_status status = ft_metrics_step(&run->metrics, step, error);
    if (!status && events->step) events->step(events->arg, step, steps);
    bool last = step->step == steps, evaluates = last || due(recipe->eval_every, per_epoch, step->step);
    if (!status && run->spec.valid_sha256 && evaluates) status = evaluate(run, step, events, error);
    /* a checkpoint follows each evaluation by default, and always where the run ends */
    bool saves = last || run->state.stopped || (recipe->save_every ? step->step % recipe->save_every == 0 : evaluates);
    if (!status && saves) status = save(run, error);
    *saved = saves;
    return status;
}

enum ft_status ft_run_train(struct ft_run *run, const volatile sig_atomic_t *stop, uint64_t until,
                            const struct ft_run_events *events, bool *done, struct ft_error *error) {
    uint64_t steps = ft_trainer_steps(run->trainer);
    bool saved = ft_trainer_done(run->trainer) > 0; /* resumed from what is saved */
    enum ft_status status = FT_OK;
    while (!status && run->state.step < steps && !run->state.stopped && !*stop &&
           !(until && run->state.step >= until)) {
        struct ft_step step;
        status = ft_trainer_step(run->trainer, &step, error);
        if (!status) status = after_step(run, &step, events, &saved, error);
    }
    *done = run->state.step == steps || run->state.stopped;
    if (!status && !saved && run->state.step) status = save(run, error);
    return status;
}

/* --- delivering ------------------------------------------------------------------------------------------ */

/* Puts the best weights into the model. */
static enum ft_status take_best(struct ft_run *run, struct ft_error *error) {
    struct ft_safetensors *best = NULL;
    size_t count;
    struct ft_parameter *const *tensors = ft_trainer_tensors(run->trainer, &count);
    enum ft_status status = ft_checkpoint_open_best(run->spec.path, &run->state, &best, error);
    for (size_t i = 0; i < count && !status; i++) {
        struct ft_parameter *p = tensors[i];
        uint64_t shape[FT_TENSOR_RANK] = {p->rank == 1 ? p->elements : p->rows, p->cols};
        const struct ft_tensor *stored = NULL;
        status = ft_safetensors_need(best, p->name, p->rank, shape, &stored, error);
        if (!status && p->elements) ft_widen(p->value, stored->data, stored->dtype, p->elements);
    }
    ft_safetensors_close(best);
    return status;
}

/* The last component of a path, without slashes behind it: what may be recorded of where an input was. */
static enum ft_status last_component(struct ft_buffer *name, const char *path, struct ft_error *error) {
    size_t end = strlen(path), start;
    while (end > 1 && path[end - 1] == '/') end--;
    for (start = end; start > 0 && path[start - 1] != '/'; start--) continue;
    ft_buffer_clear(name);
    return ft_buffer_append(name, path + start, end - start, error);
}

static enum ft_status deliver_model(struct ft_run *run, struct ft_error *error) {
    struct ft_buffer path = {0};
    struct ft_save how = {.dtype = run->spec.recipe->save_dtype};
    enum ft_status status = path_in(&path, run->spec.path, "model.safetensors", error);
    if (!status) status = ft_model_save(run->exec, run->model, &how, path.data, NULL, error);
    if (!status) status = ft_card_copy(run->spec.model, run->spec.path, how.dtype, FT_OUTPUT_KEEP, error);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status deliver_adapter(struct ft_run *run, struct ft_error *error) {
    struct ft_buffer base = {0};
    enum ft_status status = last_component(&base, run->spec.model, error);
    if (!status)
        status = ft_lora_save(run->model, run->spec.path, base.data, run->spec.model_sha256, 0, NULL, error);
    ft_buffer_release(&base);
    return status;
}

enum ft_status ft_run_deliver(struct ft_run *run, struct ft_error *error) {
    const struct ft_recipe *recipe = run->spec.recipe;
    enum ft_status status = FT_OK;
    if (run->state.has_best && run->state.best_step != run->state.step) status = take_best(run, error);
    if (!status)
        status = recipe->method == FT_METHOD_FULL ? deliver_model(run, error) : deliver_adapter(run, error);
    if (!status && !recipe->save_state) status = ft_checkpoint_remove(run->spec.path, error);
    return status;
}

static uint64_t differing(const void *was, enum ft_dtype from, const float *is, enum ft_dtype to, size_t count) {
    enum { CHUNK = 1024 };
    float before[CHUNK], after[CHUNK];
    uint16_t stored[2 * CHUNK];
    uint64_t moved = 0;
    for (size_t at = 0; at < count; at += CHUNK) {
        size_t n = count - at < CHUNK ? count - at : CHUNK;
        ft_widen(before, (const unsigned char *)was + at * ft_dtype_size(from), from, n);
        ft_narrow(stored, to, is + at, n);
        ft_widen(after, stored, to, n);
        for (size_t i = 0; i < n; i++) moved += before[i] != after[i];
    }
    return moved;
}

bool ft_run_moved(const struct ft_run *run, uint64_t *moved, uint64_t *of) {
    static const enum ft_dtype stored[] = {[FT_SAVE_F32] = FT_F32, [FT_SAVE_BF16] = FT_BF16, [FT_SAVE_F16] = FT_F16};
    const struct ft_recipe *recipe = run->spec.recipe;
    size_t count;
    struct ft_parameter *const *tensors = ft_trainer_tensors(run->trainer, &count);
    *moved = *of = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ft_parameter *p = tensors[i];
        if (recipe->method == FT_METHOD_LORA) {
            if (!strstr(p->name, ".lora_B.")) continue;
            for (size_t k = 0; k < p->elements; k++) *moved += p->value[k] != 0;
        } else {
            if (!p->data || recipe->init == FT_INIT_RANDOM) return false;
            enum ft_dtype to = recipe->save_dtype == FT_SAVE_AS_LOADED ? p->dtype : stored[recipe->save_dtype];
            *moved += differing(p->data, p->dtype, p->value, to, p->elements);
            ft_model_forget(run->model, p);
        }
        *of += p->elements;
    }
    return *of > 0;
}
