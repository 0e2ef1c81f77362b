/* SPDX-License-Identifier: MIT
 * Against PyTorch and PEFT: the loss curve of 100 AdamW steps with warm-up, cosine, weight decay and clipping
 * (tests/oracle/train.py wrote what they computed). */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/lora.h"
#include "ft/safetensors.h"
#include "ft/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 64, STEPS = 100 };

/* A fixture as the set that ft_ftok_load would have made. */
struct fixture {
    struct ft_safetensors *file;
    struct ft_ftok_set set;
    size_t start[ROWS_MAX + 1];
    uint64_t line[ROWS_MAX];
    const unsigned char *losses;
};

static void *copy_of(const struct ft_tensor *tensor) {
    void *copy = malloc(tensor->bytes);
    if (copy) memcpy(copy, tensor->data, tensor->bytes);
    return copy;
}

static bool read_fixture(struct fixture *f, const char *name, struct ft_error *error) {
    if (ft_safetensors_open(&f->file, fixture("train-%s.safetensors", name), error)) return false;
    const struct ft_tensor *lengths = ft_safetensors_find(f->file, "lengths");
    uint32_t length[ROWS_MAX];
    memcpy(length, lengths->data, lengths->bytes);
    f->set =
        (struct ft_ftok_set){.rows = lengths->elements, .start = f->start, .line = f->line, .vocab_size = 67};
    for (size_t r = 0; r < f->set.rows; r++) {
        f->start[r + 1] = f->start[r] + length[r];
        if (length[r] > f->set.longest) f->set.longest = length[r];
    }
    f->set.ids = copy_of(ft_safetensors_find(f->file, "ids"));
    f->set.weights = copy_of(ft_safetensors_find(f->file, "weights"));
    f->losses = ft_safetensors_find(f->file, "losses")->data;
    return f->set.ids && f->set.weights;
}

static bool make_recipe(struct ft_recipe *recipe, bool lora, struct ft_error *error) {
    static const char *const words[] = {"shuffle=false", "batch=6",          "steps=100",
                                        "warmup=10",     "weight_decay=0.1", "clip=1"};
    ft_recipe_init(recipe);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (ft_recipe_set(recipe, words[i], error)) return false;
    return !ft_recipe_set(recipe, lora ? "method=lora" : "method=full", error) &&
           !ft_recipe_set(recipe, lora ? "lr=1e-2" : "lr=3e-3", error) && !ft_recipe_resolve(recipe, error);
}

static bool make_model(struct ft_model **model, const char *name, bool lora, struct ft_error *error) {
    if (ft_model_open(model, fixture("%s", name), error)) return false;
    if (!lora) return !ft_model_train_full(*model, error);
    return !ft_lora_load(*model, fixture("%s/adapter", name), true, NULL, error);
}

static void compare(struct ft_trainer *trainer, const struct fixture *f, const char *name) {
    struct ft_error error;
    double worst = 0;
    float first = 0, last = 0;
    for (size_t i = 0; i < STEPS; i++) {
        struct ft_step step;
        if (ft_trainer_step(trainer, &step, &error)) {
            ok(false, "%s: step %zu: %s", name, i + 1, error.message);
            return;
        }
        memcpy(&last, f->losses + 4 * i, sizeof last);
        if (i == 0) first = last;
        worst = fmax(worst, fabs(step.loss - (double)last));
    }
    ok(worst < 1e-3, "%s: 100 losses within 1e-3 of PyTorch's, %.3f to %.3f (largest difference %.1e)", name,
       (double)first, (double)last, worst);
}

static void test_curve(struct ft_exec *exec, const char *name) {
    bool lora = strstr(name, "lora");
    struct ft_error error = {0};
    struct fixture f = {0};
    struct ft_recipe recipe;
    struct ft_model *model = NULL;
    struct ft_trainer *trainer = NULL;
    bool good = read_fixture(&f, name, &error) && make_recipe(&recipe, lora, &error) &&
                make_model(&model, name, lora, &error);
    struct ft_trainer_spec spec = {.recipe = &recipe,
                                   .model = model,
                                   .exec = exec,
                                   .train = &f.set,
                                   .train_name = name,
                                   .micro_rows = 4};
    if (good && !ft_trainer_new(&trainer, &spec, &error)) compare(trainer, &f, name);
    else ok(false, "%s: %s", name, error.message);
    ft_trainer_free(trainer);
    ft_model_free(model);
    ft_recipe_release(&recipe);
    free(f.set.ids);
    free(f.set.weights);
    ft_safetensors_close(f.file);
}

int main(void) {
    static const char *const cases[] = {"gpt2", "llama-tied", "gpt2-lora", "llama-lora"};
    struct ft_error error;
    struct ft_exec *exec = NULL;
    if (ft_exec_new(&exec, 2, &error)) return 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) test_curve(exec, cases[i]);
    ft_exec_free(exec);
    return tap_done();
}
