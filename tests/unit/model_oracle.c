/* SPDX-License-Identifier: MIT
 * Against transformers and PEFT: logits, losses and every gradient of tiny models (tests/oracle/model.py
 * wrote what they computed). Also that the decoder's logits give the session's losses to the bit. */
#include "../tap/tap.h"

#include "ft/decoder.h"
#include "ft/lora.h"
#include "ft/rows.h"
#include "ft/safetensors.h"
#include "ft/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX 64
#define DOCUMENTS 4

struct expected {
    struct ft_safetensors *file;
    uint32_t ids[TOKENS_MAX];
    float weights[TOKENS_MAX];
    size_t start[DOCUMENTS + 1], tokens;
    double weight_sum;
};

static const char *fixtures(void) {
    static char path[512];
    const char *file = __FILE__, *slash = strstr(file, "tests/");
    snprintf(path, sizeof path, "%.*stests/oracle/fixtures", slash ? (int)(slash - file) : 0, file);
    return path;
}

static const void *tensor(const struct expected *e, const char *name) {
    const struct ft_tensor *t = ft_safetensors_find(e->file, name);
    return t ? t->data : NULL;
}

static bool read_expected(struct expected *e, const char *path, struct ft_error *error) {
    uint32_t lengths[DOCUMENTS];
    if (ft_safetensors_open(&e->file, path, error)) return false;
    memcpy(lengths, tensor(e, "lengths"), sizeof lengths);
    for (size_t d = 0; d < DOCUMENTS; d++) e->start[d + 1] = e->start[d] + lengths[d];
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

/* Feeds the documents side by side, first some tokens at once, then one by one. */
static void test_logits(const char *name, struct ft_model *model, struct ft_exec *exec,
                        const struct expected *e, float *loss) {
    size_t vocab = ft_model_config(model)->vocab;
    struct ft_error error;
    struct ft_decoder *decoder = NULL;
    struct ft_decoder_limits limits = {.sequences = DOCUMENTS, .length = 16, .feed = 16};
    float *logits = malloc(DOCUMENTS * vocab * sizeof *logits);
    if (!ok(ft_decoder_new(&decoder, model, exec, &limits, &error) == FT_OK, "%s: a decoder", name)) return;
    double largest = 0;
    unsigned failed = 0;
    for (size_t step = 2; step < 16; step++) {
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
            if (at[i] + 1 == e->tokens) continue;
            uint32_t predicted;
            ft_cross_entropy_loss(exec, 1, vocab, logits + i * vocab, vocab, &e->ids[at[i] + 1],
                                  &loss[at[i] + 1], &predicted);
        }
    }
    ok(failed == 0 && largest < 1e-4, "%s: logits are within 1e-4 of transformers' (%.2g)", name, largest);
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
    struct ft_parameter *const *parameters = ft_model_trained(model, &count);
    ft_session_begin_step(session);
    enum ft_status status = ft_session_step(session, &batch, (float)(1 / e->weight_sum), &sum, &error);
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
    ok(compared == count && wanted == count, "%s: the same %zu parameters are trained", name, count);
    ok(worst < 1e-4, "%s: gradients are within 1e-4 of PyTorch's (%.2g%s%s)", name, worst,
       worst > 1e-5 ? ", " : "", worst > 1e-5 ? worst_name : "");
}

static void test_case(const char *name, struct ft_exec *exec) {
    char directory[640], path[700];
    struct ft_error error = {0};
    struct ft_model *model = NULL;
    struct ft_session *session = NULL;
    struct expected e = {0};
    snprintf(directory, sizeof directory, "%s/%s", fixtures(), name);
    snprintf(path, sizeof path, "%s/expected.safetensors", directory);
    bool good = read_expected(&e, path, &error) && !ft_model_open(&model, directory, &error);
    snprintf(path, sizeof path, "%s/adapter", directory);
    if (good)
        good = !(strstr(name, "lora") ? ft_lora_load(model, path, true, NULL, &error)
                                      : ft_model_train_full(model, &error));
    struct ft_session_limits limits = {.tokens = TOKENS_MAX, .documents = DOCUMENTS, .train = true};
    if (good) good = !ft_session_new(&session, model, exec, &limits, &error);
    if (ok(good, "%s: opens%s", name, error.message)) {
        float loss[TOKENS_MAX] = {0};
        test_logits(name, model, exec, &e, loss);
        test_losses(name, session, &e, loss);
        test_gradients(name, model, session, &e);
    }
    ft_session_free(session);
    ft_model_free(model);
    ft_safetensors_close(e.file);
}

int main(void) {
    static const char *const cases[] = {"gpt2",      "llama",      "llama-tied",   "llama-bias",
                                        "gpt2-lora", "llama-lora", "llama-lora-up"};
    struct ft_exec *exec;
    struct ft_error error;
    if (!ok(ft_exec_new(&exec, 2, &error) == FT_OK, "kernels")) return tap_done();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) test_case(cases[i], exec);
    ft_exec_free(exec);
    return tap_done();
}
