/* SPDX-License-Identifier: MIT
 * Against transformers and PEFT: logits, losses and every gradient of tiny models (tests/oracle/model.py,
 * adapter.py and architecture.py wrote what they computed), and the merged model against base + adapter. Also
 * that the decoder's logits give the session's losses to the bit.
 *
 * usage: model_oracle [DIR CASE...]   other fixtures; there, also writes what architecture.py --check reads
 */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/commit.h"
#include "ft/decoder.h"
#include "ft/file.h"
#include "ft/lora.h"
#include "ft/rows.h"
#include "ft/safetensors.h"
#include "ft/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TOKENS_MAX 128
#define DOCUMENTS 4

struct expected {
    struct ft_safetensors *file;
    uint32_t ids[TOKENS_MAX];
    float weights[TOKENS_MAX];
    size_t start[DOCUMENTS + 1], tokens, longest;
    double weight_sum;
};

static const void *tensor(const struct expected *e, const char *name) {
    const struct ft_tensor *t = ft_safetensors_find(e->file, name);
    return t ? t->data : NULL;
}

static bool read_expected(struct expected *e, const char *path, struct ft_error *error) {
    uint32_t lengths[DOCUMENTS];
    if (ft_safetensors_open(&e->file, path, error)) return false;
    memcpy(lengths, tensor(e, "lengths"), sizeof lengths);
    for (size_t d = 0; d < DOCUMENTS; d++) {
        e->start[d + 1] = e->start[d] + lengths[d];
        if (lengths[d] > e->longest) e->longest = lengths[d];
    }
    e->tokens = e->start[DOCUMENTS];
    memcpy(e->ids, tensor(e, "ids"), e->tokens * sizeof *e->ids);
    memcpy(e->weights, tensor(e, "weights"), e->tokens * sizeof *e->weights);
    for (size_t i = 0; i < e->tokens; i++) e->weight_sum += (double)e->weights[i];
    return true;
}

static double largest_difference(const float *a, const unsigned char *b, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        float y;
        memcpy(&y, b + 4 * i, sizeof y);
        double difference = fabs((double)a[i] - (double)y);
        if (!(difference <= largest)) largest = difference;
    }
    return largest;
}

/* ||a - b|| / ||b|| */
static double relative_difference(const float *a, const unsigned char *b, size_t count) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        float y;
        memcpy(&y, b + 4 * i, sizeof y);
        difference += ((double)a[i] - (double)y) * ((double)a[i] - (double)y);
        norm += (double)y * (double)y;
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

/* Feeds the documents side by side, first some tokens at once, then one by one. `all` (may be NULL) receives
 * the logits, row for token, instead of a comparison. */
static void test_logits(const char *name, struct ft_model *model, struct ft_exec *exec,
                        const struct expected *e, float *loss, float *all) {
    size_t vocab = ft_model_config(model)->vocab;
    struct ft_error error;
    struct ft_decoder *decoder = NULL;
    struct ft_decoder_limits limits = {.sequences = DOCUMENTS, .length = e->longest, .feed = 16};
    float *logits = malloc(DOCUMENTS * vocab * sizeof *logits);
    if (!ok(ft_decoder_new(&decoder, model, exec, &limits, &error) == FT_OK, "%s: a decoder", name)) return;
    double largest = 0;
    unsigned failed = 0;
    for (size_t step = 2; step <= e->longest; step++) {
        struct ft_decoder_piece pieces[DOCUMENTS];
        size_t count = 0, at[DOCUMENTS];
        for (size_t d = 0; d < DOCUMENTS; d++) {
            size_t slot = DOCUMENTS - 1 - d, length = e->start[d + 1] - e->start[d],
                   done = ft_decoder_length(decoder, slot);
            if (step > length) continue;
            at[count] = e->start[d] + step - 1;
            pieces[count++] = (struct ft_decoder_piece){slot, e->ids + e->start[d] + done, step - done};
        }
        failed += ft_decoder_feed(decoder, pieces, count, logits, &error) != FT_OK;
        for (size_t i = 0; i < count; i++) {
            const unsigned char *want = (const unsigned char *)tensor(e, "logits") + at[i] * vocab * 4;
            double difference = largest_difference(logits + i * vocab, want, vocab);
            if (!(difference <= largest)) largest = difference;
            if (all) memcpy(all + at[i] * vocab, logits + i * vocab, vocab * sizeof *all);
            if (at[i] + 1 == e->tokens) continue;
            uint32_t predicted;
            ft_cross_entropy_loss(exec, 1, vocab, logits + i * vocab, vocab, &e->ids[at[i] + 1],
                                  &loss[at[i] + 1], &predicted);
        }
    }
    if (all) ok(failed == 0, "%s: logits of an adapter of our own", name);
    else
        ok(failed == 0 && largest < 1e-4, "%s: logits are within 1e-4 of transformers' (%.2g)", name,
           largest);
    ft_decoder_free(decoder);
    free(logits);
}

static void test_losses(const char *name, struct ft_session *session, const struct expected *e,
                        const float *decoder_loss) {
    struct ft_error error;
    struct ft_batch batch = {.documents = DOCUMENTS, .start = e->start, .ids = e->ids, .weights = e->weights};
    struct ft_loss_sum sum = {0};
    float loss[TOKENS_MAX];
    const unsigned char *want = tensor(e, "losses");
    if (!ok(ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) == FT_OK, "%s: evaluates", name))
        return;
    size_t p = 0, same = 0;
    double largest = 0;
    for (size_t i = 0; i < e->tokens; i++) {
        if (!(e->weights[i] > 0)) continue;
        /* the decoder starts with two tokens at once: no logits for the first prediction */
        bool first = false;
        for (size_t d = 0; d < DOCUMENTS; d++) first = first || i == e->start[d] + 1;
        same += first || memcmp(&loss[p], &decoder_loss[i], 4) == 0;
        double difference = largest_difference(&loss[p++], want + 4 * i, 1);
        if (!(difference <= largest)) largest = difference;
    }
    ok(p == sum.tokens && largest < 1e-4, "%s: losses are within 1e-4 of PyTorch's (%.2g)", name, largest);
    ok(p > 0 && same == p, "%s: the decoder's logits give the same losses to the bit", name);
    ok(fabs(sum.weight - e->weight_sum) < 1e-12, "%s: the sum of weights is told", name);
}

static void test_gradients(const char *name, struct ft_model *model, struct ft_session *session,
                           const struct expected *e) {
    struct ft_error error = {0};
    struct ft_batch batch = {.documents = DOCUMENTS, .start = e->start, .ids = e->ids, .weights = e->weights};
    struct ft_loss_sum sum = {0};
    size_t count, compared = 0;
    bool some = strncmp(name, "rope-", 5) == 0; /* only those that the angles reach were written */
    struct ft_parameter *const *parameters = ft_model_trained(model, &count);
    enum ft_status status = ft_session_begin_step(session, &batch, &error);
    if (!status) status = ft_session_step(session, &batch, (float)(1 / e->weight_sum), &sum, &error);
    ft_session_end_step(session);
    if (!ok(status == FT_OK, "%s: takes a step%s", name, error.message)) return;
    double worst = 0;
    const char *worst_name = "";
    for (size_t i = 0; i < count; i++) {
        char key[256];
        snprintf(key, sizeof key, "grad.%s", parameters[i]->name);
        const struct ft_tensor *want = ft_safetensors_find(e->file, key);
        if (!want || want->elements != parameters[i]->elements) continue;
        compared++;
        double difference = relative_difference(parameters[i]->grad, want->data, want->elements);
        if (!(difference <= worst)) worst = difference, worst_name = parameters[i]->name;
    }
    size_t wanted = 0;
    for (size_t i = 0; i < ft_safetensors_count(e->file); i++)
        wanted += strncmp(ft_safetensors_at(e->file, i)->name, "grad.", 5) == 0;
    ok(compared == wanted && compared > 0 && (some || wanted == count),
       "%s: the same %zu parameters are trained", name, compared);
    ok(worst < 1e-4, "%s: gradients are within 1e-4 of PyTorch's (%.2g%s%s)", name, worst,
       worst > 1e-5 ? ", " : "", worst > 1e-5 ? worst_name : "");
}

/* A case: its folder, and the file of what to expect there. */
struct fixture {
    const char *name, *directory, *file;
    bool adapted, write; /* write: leave what architecture.py --check reads */
};

static const char *inside(const struct fixture *f, const char *file) {
    static char path[2][800];
    static unsigned which;
    which = !which;
    snprintf(path[which], sizeof path[which], "%s/%s", f->directory, file);
    return path[which];
}

/* A file without its adapter: the merged model, in binary32, computes what base + adapter do. */
static void test_merged(const struct fixture *f, struct ft_model *adapted, struct ft_exec *exec,
                        const struct expected *e) {
    struct ft_error error = {0};
    struct ft_model *model = NULL;
    struct ft_save save = {.dtype = FT_SAVE_F32, .fuse = true};
    char folder[] = "/tmp/ft-oracle-XXXXXX", at[700], name[100];
    float loss[TOKENS_MAX] = {0};
    snprintf(at, sizeof at, "%s", f->write ? inside(f, "merged") : mkdtemp(folder));
    struct fixture merged = {.directory = at};
    if (f->write) mkdir(at, 0777);
    struct ft_buffer config = {0};
    bool good =
        !ft_read_all(&config, inside(f, "config.json"), 1 << 20, &error) &&
        !ft_write_file(inside(&merged, "config.json"), config.data, config.size, FT_OUTPUT_NOSYNC, &error) &&
        !ft_model_save(exec, adapted, &save, inside(&merged, "model.safetensors"), NULL, &error) &&
        !ft_model_open(&model, at, &error);
    snprintf(name, sizeof name, "%s, merged", f->name);
    if (strncmp(f->name, "tied-", 5) == 0) /* one table cannot be both head and embedding any more */
        ok(!good && strstr(error.message, "cannot be merged"), "%s: %s", name, error.message);
    else if (ok(good, "%s: opens%s", name, error.message)) test_logits(name, model, exec, e, loss, NULL);
    ft_buffer_release(&config);
    ft_model_free(model);
    if (f->write) return;
    remove(inside(&merged, "config.json"));
    remove(inside(&merged, "model.safetensors"));
    remove(at);
}

/* An adapter of our own (or what PEFT wrote, where the case is about that) after some steps, and the logits
 * with it. */
static void write_trained(const struct fixture *f, struct ft_exec *exec, const struct expected *e) {
    struct ft_error error = {0};
    struct ft_model *model = NULL;
    struct ft_session *session = NULL;
    struct ft_lora_spec spec = {.rank = 3, .alpha = 7, .seed = 5};
    struct ft_session_limits limits = {.tokens = TOKENS_MAX, .documents = DOCUMENTS, .train = true};
    struct ft_batch batch = {.documents = DOCUMENTS, .start = e->start, .ids = e->ids, .weights = e->weights};
    mkdir(inside(f, "trained"), 0777);
    bool peft = strstr(f->directory, "-lora") != NULL;
    bool good = !ft_model_open(&model, f->directory, &error) &&
                !(peft ? ft_lora_load(model, inside(f, "adapter"), true, NULL, &error)
                       : ft_lora_attach(model, &spec, &error)) &&
                !ft_session_new(&session, model, exec, &limits, &error);
    for (unsigned step = 0; good && step < 20; step++) {
        struct ft_loss_sum sum = {0};
        size_t count;
        struct ft_parameter *const *trained = ft_model_trained(model, &count);
        good = !ft_session_begin_step(session, &batch, &error) &&
               !ft_session_step(session, &batch, (float)(1 / e->weight_sum), &sum, &error);
        ft_session_end_step(session);
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < trained[i]->elements; j++)
                trained[i]->value[j] -= 0.3f * trained[i]->grad[j];
    }
    size_t vocab = good ? ft_model_config(model)->vocab : 1;
    float loss[TOKENS_MAX] = {0}, *logits = calloc(TOKENS_MAX * vocab, sizeof *logits);
    if (good) test_logits(f->name, model, exec, e, loss, logits);
    struct ft_tensor_out out = {
        .name = "logits", .dtype = FT_F32, .rank = 2, .shape = {e->tokens, vocab}, .data = logits};
    good = good && !ft_lora_save(model, inside(f, "trained"), "base", NULL, FT_OUTPUT_NOSYNC, NULL, &error) &&
           !ft_safetensors_write(inside(f, "trained/logits.safetensors"), &out, 1, NULL, NULL,
                                 FT_OUTPUT_NOSYNC, NULL, &error);
    ok(good, "%s: an adapter is trained and saved%s", f->name, error.message);
    free(logits);
    ft_session_free(session);
    ft_model_free(model);
}

static void test_fixture(const struct fixture *f, struct ft_exec *exec) {
    struct ft_error error = {0};
    struct ft_model *model = NULL;
    struct ft_session *session = NULL;
    struct expected e = {0};
    bool good = read_expected(&e, inside(f, f->file), &error) && !ft_model_open(&model, f->directory, &error);
    if (good)
        good = !(f->adapted ? ft_lora_load(model, inside(f, "adapter"), true, NULL, &error)
                            : ft_model_train_full(model, &error));
    struct ft_session_limits limits = {.tokens = TOKENS_MAX, .documents = DOCUMENTS, .train = true};
    if (good) good = !ft_session_new(&session, model, exec, &limits, &error);
    if (ok(good, "%s: opens%s", f->name, error.message)) {
        float loss[TOKENS_MAX] = {0};
        test_logits(f->name, model, exec, &e, loss, NULL);
        test_losses(f->name, session, &e, loss);
        test_gradients(f->name, model, session, &e);
        if (f->adapted) test_merged(f, model, exec, &e);
        if (f->adapted && f->write) write_trained(f, exec, &e);
    }
    ft_session_free(session);
    ft_model_free(model);
    ft_safetensors_close(e.file);
}

/* A case of model.py is the whole model or an adapter; one of architecture.py may be both. */
static void test_case(const char *name, const char *given, struct ft_exec *exec) {
    char directory[640], adapted[100];
    if (given) snprintf(directory, sizeof directory, "%s/%s", given, name);
    else snprintf(directory, sizeof directory, "%s", fixture("%s", name));
    struct fixture f = {.name = name,
                        .directory = directory,
                        .file = "expected.safetensors",
                        .adapted = strstr(name, "-lora") != NULL,
                        .write = given != NULL};
    test_fixture(&f, exec);
    if (!ft_path_exists(inside(&f, "lora.safetensors"))) return;
    snprintf(adapted, sizeof adapted, "%s by LoRA", name);
    f.name = adapted;
    f.file = "lora.safetensors";
    f.adapted = true;
    test_fixture(&f, exec);
}

int main(int argc, char **argv) {
    static const char *const cases[] = {
        "gpt2",          "llama",         "llama-tied",   "llama-bias",  "gpt2-lora",      "llama-lora",
        "llama-lora-up", "qwen2",         "qwen3",        "mistral",     "phi3",           "olmo2",
        "gemma",         "gemma2",        "gemma3_text",  "granite",     "gpt_neox",       "gpt_neox-serial",
        "smollm3",       "rope-linear",   "rope-dynamic", "rope-llama3", "rope-yarn",      "rope-yarn-scale",
        "rope-longrope", "patterns-lora", "layers-lora",  "dora-lora",   "gpt2-dora-lora", "saved-lora",
        "embedding-lora"};
    struct ft_exec *exec;
    struct ft_error error;
    if (!ok(ft_exec_new(&exec, 2, &error) == FT_OK, "kernels")) return tap_done();
    for (int i = 2; i < argc; i++) test_case(argv[i], argv[1], exec);
    for (size_t i = 0; argc < 3 && i < sizeof cases / sizeof *cases; i++) test_case(cases[i], NULL, exec);
    ft_exec_free(exec);
    return tap_done();
}
