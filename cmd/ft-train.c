/* SPDX-License-Identifier: MIT
 *
 * ft-train: fine-tunes a model on a token stream, or trains one from nothing. */
#include "ft/card.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/lora.h"
#include "ft/memory.h"
#include "ft/options.h"
#include "ft/plan.h"
#include "ft/progress.h"
#include "ft/provenance.h"
#include "ft/run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS_TIMED = 256 };

struct options {
    const char *model, *train, *valid, *recipe, *init, *output;
    struct ft_option_list set;
    size_t threads, micro_batch, until;
    bool resume, force, recompute, plan, quiet, json;
};

/* Everything that lives as long as the program works. */
struct work {
    struct options options;
    struct ft_buffer train_path, valid_path;
    struct ft_recipe recipe;
    struct ft_ftok_set train, valid;
    bool has_valid;
    struct ft_model_digest *digest; /* being computed */
    char model_sha256[FT_SHA256_HEX];
    struct ft_exec *exec;
    struct ft_model *model;
    struct ft_trainer *trainer;
    struct ft_run *run;
    struct ft_progress progress;
    double started, last_loss;
    double step_ended, step_seconds[STEPS_TIMED]; /* of the last ones */
    uint64_t steps_timed;
};

static volatile sig_atomic_t stop;

/* The first signal asks for a checkpoint; a second one does not wait for it. */
static void on_signal(int number) {
    if (stop) {
        ft_commit_clean();
        signal(number, SIG_DFL);
        raise(number);
    }
    stop = number;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    ft_commit_on_signal(); /* for the others */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue; /* nohup */
        sigaction(numbers[i], &action, NULL);
    }
}

/* --- inputs ---------------------------------------------------------------------------------------------- */

static enum ft_status read_recipe(struct work *w, struct ft_error *error) {
    const struct options *o = &w->options;
    enum ft_status status = o->recipe ? ft_recipe_read(&w->recipe, o->recipe, error) : FT_OK;
    for (size_t i = 0; i < o->set.count && !status; i++) status = ft_recipe_set(&w->recipe, o->set.item[i], error);
    if (!status && o->init) {
        char word[64];
        snprintf(word, sizeof word, "init=%.48s", o->init);
        status = ft_recipe_set(&w->recipe, word, error);
    }
    return status ? status : ft_recipe_resolve(&w->recipe, error);
}

/* A directory made by ft-split stands for the stream of that name in it. */
static enum ft_status stream_path(struct ft_buffer *path, const char *given, const char *name, struct ft_error *error) {
    if (strcmp(given, "-") != 0 && ft_path_is_directory(given)) return ft_path_join(path, given, name, error);
    return ft_buffer_string(path, given, error);
}

static enum ft_status find_streams(struct work *w, struct ft_error *error) {
    const struct options *o = &w->options;
    enum ft_status status = stream_path(&w->train_path, o->train, "train.ftok", error);
    if (status) return status;
    if (o->valid) return stream_path(&w->valid_path, o->valid, "valid.ftok", error);
    if (!ft_path_is_directory(o->train)) return FT_OK;
    status = ft_path_join(&w->valid_path, o->train, "valid.ftok", error);
    if (!status && !ft_path_exists(w->valid_path.data)) ft_buffer_release(&w->valid_path);
    return status;
}

static enum ft_status check_tokenizer(const struct work *w, const struct ft_ftok_set *set, const char *name,
                                      struct ft_error *error) {
    struct ft_buffer json = {0};
    char hex[FT_SHA256_HEX];
    enum ft_status status = ft_card_tokenizer_json(w->options.model, &json, error);
    if (status) return status;
    ft_sha256_hex(json.data, json.size, hex);
    ft_buffer_release(&json);
    if (strcmp(hex, set->tokenizer) == 0) return FT_OK;
    return ft_fail(error, FT_MISMATCH, "%s: made with another tokenizer (%.12s...) than that of %s (%.12s...); "
                   "run ft-tokenize -m %s", name, set->tokenizer, w->options.model, hex, w->options.model);
}

static enum ft_status load_stream(struct work *w, struct ft_ftok_set *set, const char *path, struct ft_error *error) {
    enum ft_status status = ft_ftok_load(set, path, 0, error);
    return status ? status : check_tokenizer(w, set, ft_path_shown(path), error);
}

static enum ft_status load_data(struct work *w, struct ft_error *error) {
    enum ft_status status = find_streams(w, error);
    if (!status) status = load_stream(w, &w->train, w->train_path.data, error);
    if (status || !w->valid_path.data) return status;
    status = load_stream(w, &w->valid, w->valid_path.data, error);
    w->has_valid = !status;
    return status;
}

static enum ft_status attach(struct work *w, struct ft_error *error) {
    const struct ft_recipe *r = &w->recipe;
    if (r->method == FT_METHOD_FULL) return ft_model_train_full(w->model, error);
    struct ft_recipe_lora lora;
    enum ft_status status = ft_recipe_lora(&lora, r, error);
    return status ? status : ft_lora_attach(w->model, &lora.spec, error);
}

static enum ft_status load_model(struct work *w, struct ft_error *error) {
    const char *path = w->options.model;
    bool random = w->recipe.init == FT_INIT_RANDOM;
    enum ft_status status = !random           ? ft_model_open(&w->model, path, error)
                            : w->options.plan ? ft_model_new_shapes(&w->model, path, error)
                                              : ft_model_new_random(&w->model, path, w->recipe.seed, error);
    if (!status) status = ft_trainer_check_set(w->model, &w->train, ft_path_shown(w->train_path.data), error);
    if (!status && w->has_valid)
        status = ft_trainer_check_set(w->model, &w->valid, ft_path_shown(w->valid_path.data), error);
    if (!status && !w->options.plan) status = ft_model_check_finite(w->exec, w->model, error);
    return status ? status : attach(w, error);
}

static struct ft_trainer_spec trainer_spec(const struct work *w) {
    return (struct ft_trainer_spec){
        .recipe = &w->recipe,
        .model = w->model,
        .exec = w->exec,
        .train = &w->train,
        .valid = w->has_valid ? &w->valid : NULL,
        .train_name = ft_path_shown(w->train_path.data),
        .valid_name = w->has_valid ? ft_path_shown(w->valid_path.data) : NULL,
        .micro_rows = w->options.micro_batch,
        .recompute = w->options.recompute,
    };
}

static struct ft_run_spec run_spec(const struct work *w) {
    return (struct ft_run_spec){
        .path = w->options.output,
        .model = w->options.model,
        .model_sha256 = w->model_sha256,
        .train_sha256 = w->train.sha256,
        .valid_sha256 = w->has_valid ? w->valid.sha256 : NULL,
        .recipe = &w->recipe,
        .resume = w->options.resume,
        .force = w->options.force,
    };
}

/* --- telling --------------------------------------------------------------------------------------------- */

/* From one step's end to the next one's; of the first, which pays for memory, nothing is told. */
static void time_step(struct work *w) {
    double now = ft_seconds();
    if (w->step_ended > 0) w->step_seconds[w->steps_timed++ % STEPS_TIMED] = now - w->step_ended;
    w->step_ended = now;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_step(struct work *w) {
    size_t count = w->steps_timed < STEPS_TIMED ? (size_t)w->steps_timed : STEPS_TIMED;
    qsort(w->step_seconds, count, sizeof *w->step_seconds, compare_doubles);
    return count ? w->step_seconds[count / 2] : 0;
}

static void show_step(void *arg, const struct ft_step *step, uint64_t steps) {
    struct work *w = arg;
    char note[96];
    snprintf(note, sizeof note, "step %" PRIu64 "/%" PRIu64 " loss %.4f", step->step, steps, step->loss);
    w->last_loss = step->loss;
    time_step(w);
    ft_progress_update(&w->progress, step->tokens, note);
}

static void show_evaluation(void *arg, uint64_t step, const struct ft_loss_sum *sum, bool best) {
    struct work *w = arg;
    if (w->options.quiet) return;
    ft_progress_end(&w->progress);
    fprintf(stderr, "ft-train: step %" PRIu64 ": loss %.4f, validation loss %.4f, accuracy %.4f%s\n", step, w->last_loss,
            sum->loss / sum->weight, (double)sum->correct / (double)sum->tokens, best ? " (best)" : "");
}

static void show_start(const struct work *w, enum ft_run_found found) {
    if (w->options.quiet) return;
    size_t count, trained = 0;
    struct ft_parameter *const *tensor = ft_trainer_tensors(w->trainer, &count);
    for (size_t i = 0; i < count; i++) trained += tensor[i]->elements;
    fprintf(stderr, "ft-train: %zu parameters in %zu tensors, %zu rows, %" PRIu64 " tokens to learn, %" PRIu64 " steps\n",
            trained, count, w->train.rows, w->train.supervised, ft_trainer_steps(w->trainer));
    if (found == FT_RUN_RESUME)
        fprintf(stderr, "ft-train: going on after step %" PRIu64 "\n", ft_trainer_done(w->trainer));
}

/* Tokens of the whole run, for the progress line: whole epochs and a share of the last. */
static uint64_t all_tokens(const struct work *w) {
    double epochs = (double)ft_trainer_steps(w->trainer) / (double)ft_trainer_per_epoch(w->trainer);
    return (uint64_t)(epochs * (double)w->train.start[w->train.rows]);
}

/* What took how long stays out of everything that is hashed. */
static enum ft_status write_timing(struct work *w, struct ft_error *error) {
    struct ft_json json = {0};
    struct ft_buffer path = {0};
    double seconds = ft_seconds() - w->started;
    const struct ft_checkpoint *state = ft_run_state(w->run);
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (!status) {
        ft_json_set_double(&json, json.root, "seconds", seconds);
        ft_json_set_double(&json, json.root, "tokens_per_second", (double)(state->tokens - w->progress.first) / seconds);
        if (w->steps_timed) ft_json_set_double(&json, json.root, "median_step_seconds", median_step(w));
        ft_json_set_u64(&json, json.root, "threads", ft_exec_threads(w->exec));
        ft_json_set_string(&json, json.root, "isa", ft_isa_name(ft_exec_isa(w->exec)));
        status = ft_path_join(&path, w->options.output, "timing.json", error);
    }
    if (!status) status = ft_json_save(&json, path.data, FT_JSON_PRETTY, FT_OUTPUT_NOSYNC, error);
    ft_buffer_release(&path);
    ft_json_release(&json);
    return status;
}

static enum ft_status print_summary(const struct work *w, double seconds, struct ft_error *error) {
    const struct ft_checkpoint *state = ft_run_state(w->run);
    struct ft_json json = {0};
    struct ft_buffer text = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (!status) {
        ft_json_set_string(&json, json.root, "run", w->options.output);
        ft_json_set_u64(&json, json.root, "steps", state->step);
        ft_json_set_u64(&json, json.root, "num_input_tokens_seen", state->tokens);
        ft_json_set_bool(&json, json.root, "stopped_early", state->stopped);
        if (state->has_best) ft_json_set_u64(&json, json.root, "best_step", state->best_step);
        if (state->has_best) ft_json_set_double(&json, json.root, "best_eval_loss", state->best_loss);
        uint64_t moved, of;
        if (ft_run_moved(w->run, &moved, &of))
            ft_json_set_double(&json, json.root, "moved", (double)moved / (double)of);
        ft_json_set_double(&json, json.root, "seconds", seconds);
        status = ft_json_print(&json, json.root, FT_JSON_SPACED, &text, error);
    }
    if (!status) puts(text.data);
    ft_buffer_release(&text);
    ft_json_release(&json);
    return status;
}

static enum ft_status show_end(const struct work *w, struct ft_error *error) {
    const struct ft_checkpoint *state = ft_run_state(w->run);
    const char *product = w->recipe.method == FT_METHOD_FULL ? "model" : "adapter";
    double seconds = ft_seconds() - w->started;
    uint64_t moved, of;
    if (!w->options.quiet) {
        fprintf(stderr, "ft-train: ");
        if (state->has_best)
            fprintf(stderr, "best validation loss %.4f at step %" PRIu64 "%s; ", state->best_loss, state->best_step,
                    state->stopped ? " (stopped early)" : "");
        if (ft_run_moved(w->run, &moved, &of)) fprintf(stderr, "%.1f %% of weights moved; ", 100 * (double)moved / (double)of);
        fprintf(stderr, "%s in %s after %.1f s\n", product, w->options.output, seconds);
    }
    return w->options.json ? print_summary(w, seconds, error) : FT_OK;
}

/* The last step: with SHA256SUMS the run is complete. */
static enum ft_status write_provenance(const struct work *w, struct ft_error *error) {
    struct ft_provenance *provenance = NULL;
    enum ft_status status = ft_provenance_new(&provenance, "train", error);
    if (status) return status;
    struct ft_json *json = ft_provenance_json(provenance);
    ft_recipe_describe(&w->recipe, json, ft_json_set_object(json, ft_provenance_parameters(provenance), "recipe"));
    status = ft_provenance_add_model(provenance, "model", w->options.model, w->model_sha256, error);
    if (!status)
        status = ft_provenance_add_digest(provenance, "train", ft_path_shown(w->train_path.data), w->train.sha256, error);
    if (!status && w->has_valid)
        status = ft_provenance_add_digest(provenance, "valid", ft_path_shown(w->valid_path.data), w->valid.sha256, error);
    if (!status) status = ft_provenance_finish(provenance, w->options.output, error);
    ft_provenance_free(provenance);
    return status;
}

/* --- work ------------------------------------------------------------------------------------------------ */

static enum ft_status plan(struct work *w, struct ft_error *error) {
    struct ft_trainer_spec spec = trainer_spec(w);
    struct ft_plan figures;
    enum ft_status status = ft_plan_make(&figures, &spec, error);
    return status ? status : ft_plan_print(&figures, w->options.json, stdout, error);
}

static enum ft_status take_steps(struct work *w, bool *done, struct ft_error *error) {
    struct ft_run_events events = {.step = show_step, .evaluated = show_evaluation, .arg = w};
    w->started = ft_seconds();
    ft_progress_start(&w->progress, "training", "tok", all_tokens(w));
    if (w->options.quiet) w->progress.on = false;
    ft_progress_resume(&w->progress, ft_run_state(w->run)->tokens);
    enum ft_status status = ft_run_train(w->run, &stop, w->options.until, &events, done, error);
    ft_progress_end(&w->progress);
    return status;
}

static enum ft_status train(struct work *w, enum ft_run_found found, struct ft_error *error) {
    struct ft_trainer_spec trainer = trainer_spec(w);
    struct ft_run_spec run = run_spec(w);
    bool done = false;
    enum ft_status status = ft_trainer_new(&w->trainer, &trainer, error);
    if (!status) status = ft_run_open(&w->run, &run, found, w->trainer, w->model, w->exec, error);
    if (status) return status;
    show_start(w, found);
    status = take_steps(w, &done, error);
    if (status) return status;
    if (!done && stop) return FT_INTERRUPTED;
    if (!done) {
        if (!w->options.quiet)
            fprintf(stderr, "ft-train: %s: stopped after step %" PRIu64 "; go on with --resume\n", w->options.output,
                    ft_run_state(w->run)->step);
        return FT_OK;
    }
    status = write_timing(w, error);
    if (!status) status = ft_run_deliver(w->run, error);
    if (!status) status = write_provenance(w, error);
    return status ? status : show_end(w, error);
}

static enum ft_status run(struct work *w, struct ft_error *error) {
    enum ft_run_found found = FT_RUN_START;
    enum ft_status status = read_recipe(w, error);
    if (!status && !w->options.plan) status = ft_model_digest_begin(&w->digest, w->options.model, error);
    if (!status) status = load_data(w, error);
    if (!status && !w->options.plan) {
        status = ft_model_digest_end(&w->digest, w->model_sha256, error);
        struct ft_run_spec spec = run_spec(w);
        if (!status) status = ft_run_look(&spec, &found, error);
    }
    if (status) return status;
    if (found == FT_RUN_COMPLETE) {
        if (!w->options.quiet) fprintf(stderr, "ft-train: %s: this run is complete already\n", w->options.output);
        return FT_OK;
    }
    status = ft_exec_new(&w->exec, (unsigned)w->options.threads, error);
    if (!status) status = load_model(w, error);
    if (status == FT_NOMEM) ft_error_context(error, "%s", w->options.model);
    if (status) return status;
    return w->options.plan ? plan(w, error) : train(w, found, error);
}

static void release(struct work *w) {
    struct ft_error error;
    (void)ft_model_digest_end(&w->digest, w->model_sha256, &error);
    ft_run_close(w->run);
    ft_trainer_free(w->trainer);
    ft_model_free(w->model);
    ft_exec_free(w->exec);
    if (w->has_valid) ft_ftok_set_release(&w->valid);
    ft_ftok_set_release(&w->train);
    ft_recipe_release(&w->recipe);
    ft_buffer_release(&w->valid_path);
    ft_buffer_release(&w->train_path);
}

static enum ft_status check_options(const struct options *o, int operands, struct ft_error *error) {
    if (operands) return ft_fail(error, FT_USAGE, "no operands are expected: the data are given by -t and -v");
    if (!o->model) return ft_fail(error, FT_USAGE, "-m MODEL is missing: the directory of the model to train");
    if (!o->train) return ft_fail(error, FT_USAGE, "-t TRAIN is missing: a token stream made by ft-tokenize");
    if (!o->output && !o->plan) return ft_fail(error, FT_USAGE, "-o RUN is missing: the directory of the run");
    return FT_OK;
}

/* Ends as the signal would have ended the program, so that the caller sees an interruption. */
static void end_by_signal(bool saved) {
    fprintf(stderr, "ft-train: interrupted%s\n", saved ? "; go on with --resume" : "");
    ft_commit_clean();
    signal(stop, SIG_DFL);
    raise(stop);
}

int main(int argc, char **argv) {
    struct work w = {0};
    struct options *o = &w.options;
    const struct ft_option table[] = {
        {'m', "model", FT_OPTION_STRING, &o->model, "MODEL", "the model: a Hugging Face directory or a .gguf file", 0, 0},
        {'t', "train", FT_OPTION_STRING, &o->train, "FILE", "token stream to learn from, or the directory of a split", 0, 0},
        {'v', "valid", FT_OPTION_STRING, &o->valid, "FILE", "token stream to validate on", 0, 0},
        {'r', "recipe", FT_OPTION_STRING, &o->recipe, "FILE", "recipe in JSON", 0, 0},
        {'s', "set", FT_OPTION_LIST, &o->set, "KEY=VALUE", "one key of the recipe; may be repeated", 0, 0},
        {'o', "output", FT_OPTION_STRING, &o->output, "DIR", "directory of the run", 0, 0},
        {0, "init", FT_OPTION_STRING, &o->init, "model|random", "start from the model's weights, or from random ones", 0, 0},
        {0, "resume", FT_OPTION_FLAG, &o->resume, NULL, "go on with an unfinished run (begins one when there is none)", 0, 0},
        {0, "force", FT_OPTION_FLAG, &o->force, NULL, "replace what another run left in the directory", 0, 0},
        {0, "until", FT_OPTION_SIZE, &o->until, "STEP", "stop after this step, with a checkpoint", 1, 0},
        {0, "threads", FT_OPTION_SIZE, &o->threads, "N", "threads (default: all processors)", 1, FT_POOL_MAX},
        {0, "micro-batch", FT_OPTION_SIZE, &o->micro_batch, "N", "rows computed at a time (default: some 2048 tokens)", 1, 0},
        {0, "recompute", FT_OPTION_FLAG, &o->recompute, NULL, "less memory, more work: gradient checkpointing", 0, 0},
        {0, "plan", FT_OPTION_FLAG, &o->plan, NULL, "say what it would take, and stop", 0, 0},
        {0, "json", FT_OPTION_FLAG, &o->json, NULL, "plan or summary as JSON on standard output", 0, 0},
        {'q', "quiet", FT_OPTION_FLAG, &o->quiet, NULL, "no words but errors", 0, 0},
        {0, NULL, FT_OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    const struct ft_command command = {
        .name = "ft-train",
        .operands = "-m MODEL -t TRAIN [-v VALID] -o RUN",
        .summary = "Fine-tunes a model by LoRA or in full; the same inputs and recipe give the same bits",
        .details = "Exit status: 0 success, 2 usage or failure. An interrupted run leaves a checkpoint (--resume).",
        .options = table,
    };
    struct ft_error error = {0};
    int first = 0;
    switch (ft_options_parse(&command, argc, argv, &first, &error)) {
    case FT_OPTIONS_DONE: return fflush(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD: fprintf(stderr, "ft-train: %s\n", error.message); return 2;
    case FT_OPTIONS_RUN: break;
    }
    ft_recipe_init(&w.recipe);
    catch_signals();
    enum ft_status status = check_options(o, argc - first, &error);
    if (!status) status = run(&w, &error);
    bool saved = w.run && ft_run_state(w.run)->step;
    release(&w);
    if (status == FT_INTERRUPTED) end_by_signal(saved);
    if (!status && (fflush(stdout) || ferror(stdout))) status = ft_fail_errno(&error, FT_IO, "standard output");
    if (status) fprintf(stderr, "ft-train: %s\n", error.message);
    return status ? 2 : 0;
}
