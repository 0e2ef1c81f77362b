/* SPDX-License-Identifier: MIT
 * The training layer below the model: recipe, schedule, rows of a step, checkpoints. */
#include "../tap/tap.h"

#include "ft/batch.h"
#include "ft/checkpoint.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/memory.h"
#include "ft/recipe.h"
#include "ft/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- recipe ---------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/ft-unit-train-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_text(const char *path, const char *text) {
    struct ft_error error;
    if (ft_write_file(path, text, strlen(text), 0, &error)) printf("Bail out! %s\n", error.message);
}

static bool resolve_words(struct ft_recipe *r, const char *const *words, struct ft_error *error) {
    ft_recipe_init(r);
    for (; *words; words++)
        if (ft_recipe_set(r, *words, error)) return false;
    return ft_recipe_resolve(r, error) == FT_OK;
}

static void test_recipe_defaults(void) {
    struct ft_error error = {0};
    struct ft_recipe lora, full;
    ok(resolve_words(&lora, (const char *const[]){NULL}, &error) && lora.method == FT_METHOD_LORA && lora.lora_rank == 16 &&
           lora.lora_alpha == 32 && lora.weight_decay == 0 && lora.lora_targets.count == 1 &&
           strcmp(lora.lora_targets.item[0], "all-linear") == 0,
       "an empty recipe is LoRA, rank 16, alpha 32, on all linear maps");
    ok(resolve_words(&full, (const char *const[]){"method=full", NULL}, &error) && full.lr * 10 == lora.lr,
       "LoRA's default learning rate is ten times that of full fine-tuning");
    ft_recipe_release(&full);
    ok(resolve_words(&full, (const char *const[]){"init=random", NULL}, &error) && full.method == FT_METHOD_FULL,
       "random weights mean full training");
    ft_recipe_release(&lora);
    ft_recipe_release(&full);
}

static void refuses(const char *const *words, const char *message, const char *name) {
    struct ft_error error = {0};
    struct ft_recipe r;
    bool taken = resolve_words(&r, words, &error);
    ok(!taken && strstr(error.message, message), "%s: %s", name, taken ? "was taken" : error.message);
    ft_recipe_release(&r);
}

static void test_recipe_refusals(void) {
    refuses((const char *const[]){"lora.rnak=8", NULL}, "did you mean lora.rank?", "an unknown key names its neighbour");
    refuses((const char *const[]){"lr=-1", NULL}, "outside", "a negative rate is refused");
    refuses((const char *const[]){"lr=nan", NULL}, "not a number", "NaN is refused");
    refuses((const char *const[]){"lr", NULL}, "key=value", "a word without value is refused");
    refuses((const char *const[]){"schedule=cosinus", NULL}, "cosine, linear, constant", "choices are listed");
    refuses((const char *const[]){"batch=0", NULL}, "outside", "an empty batch is refused");
    refuses((const char *const[]){"batch=1.5", NULL}, "whole number", "half a row is refused");
    refuses((const char *const[]){"beta2=1", NULL}, "outside", "beta2 = 1 is refused");
    refuses((const char *const[]){"grad_shards=2", NULL}, "only 1", "grad_shards is not there yet, and says so");
    refuses((const char *const[]){"method=full", "lora.rank=8", NULL}, "no meaning", "LoRA keys need LoRA");
    refuses((const char *const[]){"method=lora", "init=random", NULL}, "LoRA adapts", "LoRA needs a trained model");
    refuses((const char *const[]){"lora.targets=a,,b", NULL}, "empty name", "an empty target is refused");
    refuses((const char *const[]){"lora.save_modules=.*norm", NULL}, "must stand alone", "no expression in lora.save_modules");
    refuses((const char *const[]){"lora.layers=1,x", NULL}, "lora.layers", "a layer is a number");
    refuses((const char *const[]){"lora.rank_pattern=q_proj", NULL}, "name=value", "a pattern has a value");
    refuses((const char *const[]){"lora.rank_pattern=q_proj=0", NULL}, "outside", "a pattern's rank has bounds");
    refuses((const char *const[]){"lora.bias=both", NULL}, "none, all, lora_only", "biases to choose from");
}

/* Every key of the adapter, in JSON and in words, and back. */
static void test_recipe_adapter(void) {
    struct ft_error error = {0};
    struct ft_recipe a, b;
    static struct ft_recipe_lora lora;
    char da[FT_SHA256_HEX], db[FT_SHA256_HEX];
    write_text(in_folder("r.json"), "{\"lora\": {\"dora\": true, \"bias\": \"all\", \"layers\": [3, 1], \"save_modules\": [\"norm\"], "
                                    "\"rank_pattern\": {\"q_proj\": 4}, \"alpha_pattern\": {\"v_.*\": 2.5}}}");
    ft_recipe_init(&a);
    bool good = !ft_recipe_read(&a, in_folder("r.json"), &error) &&
                !ft_recipe_set(&a, "lora.targets=.*\\.[0-9]{1,2}\\.mlp.*", &error) &&
                !ft_recipe_set(&a, "lora.exclude=down_proj,up_proj", &error) && !ft_recipe_resolve(&a, &error) &&
                !ft_recipe_lora(&lora, &a, &error);
    const struct ft_lora_spec *spec = &lora.spec;
    ok(good && spec->dora && spec->bias == FT_LORA_BIAS_ALL && spec->layer_count == 2 && spec->saved.count == 1 &&
           strcmp(spec->target_expression, ".*\\.[0-9]{1,2}\\.mlp.*") == 0 && spec->excluded.count == 2 &&
           strcmp(spec->ranks.item[0].key, "q_proj") == 0 && spec->ranks.item[0].value == 4 &&
           spec->alphas.item[0].value == 2.5,
       "a recipe asks for an adapter: an expression, patterns, layers, biases %s", error.message);
    char path[300];
    snprintf(path, sizeof path, "%s", in_folder("resolved.json"));
    ft_recipe_init(&b);
    good = !ft_recipe_save(&a, path, &error) && !ft_recipe_read(&b, path, &error) && !ft_recipe_resolve(&b, &error) &&
           !ft_recipe_digest(&a, da, &error) && !ft_recipe_digest(&b, db, &error);
    ok(good && strcmp(da, db) == 0, "it is read back as it was %s", good ? "" : error.message);
    ft_recipe_release(&a);
    ft_recipe_release(&b);
}

static void test_recipe_files(void) {
    struct ft_error error = {0};
    struct ft_recipe a, b;
    char da[FT_SHA256_HEX], db[FT_SHA256_HEX];
    write_text(in_folder("r.json"), "{\"lora\": {\"rank\": 8, \"targets\": [\"v_proj\", \"q_proj\", \"v_proj\"]}, \"lr\": 2e-3}");
    ft_recipe_init(&a);
    bool good = !ft_recipe_read(&a, in_folder("r.json"), &error) && !ft_recipe_set(&a, "steps=7", &error) &&
                !ft_recipe_resolve(&a, &error);
    ok(good && a.lora_rank == 8 && a.lora_targets.count == 2 && strcmp(a.lora_targets.item[0], "q_proj") == 0 && a.steps == 7 &&
           a.epochs == 0, "a file and words make one recipe, targets sorted and distinct");
    char path[300];
    snprintf(path, sizeof path, "%s", in_folder("resolved.json"));
    ft_recipe_init(&b);
    good = !ft_recipe_save(&a, path, &error) && !ft_recipe_read(&b, path, &error) && !ft_recipe_resolve(&b, &error) &&
           !ft_recipe_digest(&a, da, &error) && !ft_recipe_digest(&b, db, &error);
    ok(good && strcmp(da, db) == 0, "a resolved recipe read back is the same recipe %s", good ? "" : error.message);
    ft_recipe_release(&a);
    ft_recipe_release(&b);
    static const char *const bad[][2] = {
        {"[]", "an object"}, {"{\"lr\": \"1\"}", "lr"}, {"{\"batch\": 2.5}", "batch"}, {"{\"lr\": 1, \"lr\": 2}", "lr"},
        {"{\"lora\": {\"lora\": {}}}", "lora.lora"}, {"{\"steps\": 1, \"epochs\": 1}", "both"}, {"{\"seed\": 1e400}", "r.json"},
        {"{\"lora.targets\": []}", "empty"}, {"{\"epoch\": 1}", "did you mean epochs?"}, {"{", "r.json"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(in_folder("r.json"), bad[i][0]);
        ft_recipe_init(&a);
        error = (struct ft_error){0};
        bool taken = !ft_recipe_read(&a, in_folder("r.json"), &error) && !ft_recipe_resolve(&a, &error);
        ok(!taken && strstr(error.message, bad[i][1]), "%s is refused: %s", bad[i][0], error.message);
        ft_recipe_release(&a);
    }
}

/* --- schedule -------------------------------------------------------------------------------------------- */

static void test_schedule(void) {
    struct ft_error error;
    struct ft_recipe r;
    resolve_words(&r, (const char *const[]){"lr=1", "warmup=4", "min_lr=0.1", NULL}, &error);
    struct ft_schedule s = ft_schedule_new(&r, 12);
    ok(ft_schedule_lr(&s, 0) == 0.25 && ft_schedule_lr(&s, 3) == 1 && ft_schedule_lr(&s, 4) == 1,
       "warm-up rises to the full rate with its last step");
    double worst = 0;
    for (uint64_t i = 4; i < 12; i++) {
        double x = (double)(i - 4) / 8, wanted = 0.1 + 0.9 * 0.5 * (1 + cos(3.14159265358979323846 * x));
        worst = fmax(worst, fabs(ft_schedule_lr(&s, i) - wanted));
    }
    ok(worst < 1e-15, "cosine falls as the formula says (%g)", worst);
    r.schedule = FT_SCHEDULE_LINEAR;
    s = ft_schedule_new(&r, 12);
    ok(fabs(ft_schedule_lr(&s, 8) - 0.55) < 1e-15, "linear is half way in the middle");
    r.warmup = 0.25;
    ok(ft_schedule_new(&r, 10).warmup == 3 && ft_schedule_new(&r, 1).warmup == 1, "a share of warm-up is rounded up");
    r.warmup = 100;
    s = ft_schedule_new(&r, 10);
    ok(s.warmup == 10 && ft_schedule_lr(&s, 9) == 1, "warm-up may fill the run");
    ok(ft_power(0.9, 3) == 0.9 * 0.9 * 0.9 && ft_power(0.5, UINT64_MAX) == 0, "powers by repeated multiplication end");
    ok(ft_clip_scale(2, 1) == 0.5f && ft_clip_scale(0.5, 1) == 1 && ft_clip_scale(9, 0) == 1, "clipping scales down only");
    ft_recipe_release(&r);
}

/* --- rows ------------------------------------------------------------------------------------------------ */

static void test_batches(void) {
    struct ft_error error;
    struct ft_batches a, b;
    if (ft_batches_init(&a, 10, 4, true, 7, &error) || ft_batches_init(&b, 10, 4, true, 7, &error)) return;
    ok(ft_batches_per_epoch(&a) == 3 && ft_batches_step(&a, 2).count == 2, "the last step of an epoch takes the rest");
    unsigned seen[10] = {0}, same = 0, other = 0;
    for (uint64_t s = 0; s < 3; s++) {
        struct ft_rows rows = ft_batches_step(&a, s);
        for (size_t i = 0; i < rows.count; i++) seen[rows.row[i]]++;
    }
    for (size_t i = 0; i < 10; i++) same += seen[i] == 1;
    ok(same == 10, "an epoch visits every row once");
    uint32_t later[4];
    memcpy(later, ft_batches_step(&a, 7).row, sizeof later);
    ok(memcmp(ft_batches_step(&b, 7).row, later, sizeof later) == 0, "the rows of a step do not depend on what came before");
    for (size_t i = 0; i < 4; i++) other += ft_batches_step(&a, 1).row[i] != later[i];
    ok(other > 0, "another epoch has another order");
    ft_batches_release(&a);
    ft_batches_release(&b);
}

static void test_micro(void) {
    size_t start[] = {0, 5, 8, 18, 19, 21};
    static const uint32_t tokens[] = {5, 3, 10, 1, 2};
    float weights[21];
    for (size_t i = 0; i < 21; i++) weights[i] = i % 2 ? 0.5f : 0;
    struct ft_ftok_set set = {.rows = 5, .start = start, .weights = weights, .longest = 10};
    uint32_t order[] = {0, 1, 2, 3, 4};
    struct ft_rows all = {.row = order, .count = 5};
    struct ft_micro by_tokens = {.tokens = 8}, by_rows = {.rows = 2};
    ok(ft_micro_next(&by_tokens, tokens, 5) == 2, "a budget takes the rows that fit");
    ok(ft_micro_next(&by_tokens, tokens + 2, 3) == 1, "a row above the budget goes alone");
    ok(ft_micro_next(&by_rows, tokens + 4, 1) == 1, "the last micro-batch may be smaller");
    struct ft_row_sums sums = ft_rows_sum(&set, all);
    ok(sums.tokens == 21 && sums.supervised == 10 && sums.weight == 5, "weights are summed over the rows of a step");
}

/* --- checkpoints ----------------------------------------------------------------------------------------- */

enum { ELEMENTS = 6 };
static float memory[2][3][ELEMENTS];
static struct ft_parameter tensor[2] = {
    {.name = "a.weight", .rank = 2, .rows = 2, .cols = 3, .elements = ELEMENTS},
    {.name = "b", .rank = 1, .rows = 1, .cols = 4, .elements = 4},
};
static struct ft_parameter *const tensors[2] = {&tensor[0], &tensor[1]};

static void fill(float from) {
    for (size_t t = 0; t < 2; t++) {
        tensor[t].value = memory[t][0], tensor[t].m = memory[t][1], tensor[t].v = memory[t][2];
        for (size_t p = 0; p < 3; p++)
            for (size_t i = 0; i < ELEMENTS; i++) memory[t][p][i] = from == 0 ? 0 : from++;
    }
}

static void damage(const char *name, long offset, unsigned char flip) {
    FILE *file = fopen(in_folder(name), "r+b");
    if (!file) return;
    fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET);
    int c = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(c ^ flip, file);
    fclose(file);
}

static enum ft_status load_again(struct ft_checkpoint *c, struct ft_error *error) {
    enum ft_status status = ft_checkpoint_peek(folder, c, error);
    return status ? status : ft_checkpoint_load(folder, c, tensors, 2, error);
}

static void test_checkpoint(void) {
    struct ft_error error = {0};
    struct ft_checkpoint c = {.step = 3, .tokens = 99, .metrics_size = 5, .has_best = true, .best_step = 2,
                              .best_loss = 0.1, .stale = 1}, d;
    memset(c.identity, 'a', 64);
    memset(c.metrics_sha256, 'b', 64);
    fill(1);
    bool good = !ft_checkpoint_save_best(folder, 2, tensors, 2, c.best_sha256, &error) &&
                !ft_checkpoint_save(folder, &c, tensors, 2, &error);
    ok(good && ft_checkpoint_exists(folder), "a checkpoint is saved %s", error.message);
    fill(0);
    good = !load_again(&d, &error);
    ok(good && memcmp(&c, &d, sizeof c) == 0 && memory[0][0][0] == 1 && memory[1][2][3] == 34,
       "and read back, numbers and tensors %s", error.message);
    c.step = 4;
    good = !ft_checkpoint_save(folder, &c, tensors, 2, &error);
    ok(good && !ft_path_exists(in_folder("checkpoint/state-3.safetensors")) &&
           ft_path_exists(in_folder("checkpoint/best-2.safetensors")), "the one before goes, the best one stays");
    damage("checkpoint/state-4.safetensors", -1, 1);
    ok(load_again(&d, &error) == FT_FORMAT && strstr(error.message, "--force"), "a flipped bit is found: %s", error.message);
    damage("checkpoint/state-4.safetensors", -1, 1);
    damage("checkpoint/best-2.safetensors", -1, 1);
    ok(load_again(&d, &error) == FT_FORMAT && strstr(error.message, "best-2"), "in the best weights, too");
    damage("checkpoint/best-2.safetensors", -1, 1);
    ok(load_again(&d, &error) == FT_OK, "undone, it is whole again");
    struct ft_parameter other = tensor[0];
    tensor[0].rows = 3, tensor[0].cols = 2;
    ok(load_again(&d, &error) == FT_FORMAT, "another shape is refused: %s", error.message);
    tensor[0] = other;
    for (long at = 0; at < 40; at += 13) {
        damage("checkpoint/state.json", at, 1);
        ok(load_again(&d, &error) == FT_FORMAT, "state.json with byte %ld altered is refused: %.60s", at, error.message);
        damage("checkpoint/state.json", at, 1);
    }
    write_text(in_folder("checkpoint/notes.txt"), "mine");
    ok(!ft_checkpoint_remove(folder, &error) && !ft_checkpoint_exists(folder) &&
           ft_path_exists(in_folder("checkpoint/notes.txt")), "removal takes what is a checkpoint's, no more");
}

int main(void) {
    if (!mkdtemp(folder)) return 2;
    test_recipe_defaults();
    test_recipe_refusals();
    test_recipe_files();
    test_recipe_adapter();
    test_schedule();
    test_batches();
    test_micro();
    test_checkpoint();
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || tap_done();
}
