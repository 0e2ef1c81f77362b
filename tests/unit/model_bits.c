/* SPDX-License-Identifier: MIT
 * What must not change a bit: the micro-batch, packing, the number of threads, the chunk of the head, the
 * way tokens are fed to a decoder, the instruction set. */
#include "../tap/tap.h"

#include "ft/decoder.h"
#include "model_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCUMENTS = 6, ROWS_MAX = 128 };

static struct documents docs;

static void make_documents(uint32_t vocab) {
    static const size_t lengths[DOCUMENTS] = {23, 5, 17, 1, 24, 12};
    uint32_t state = 99;
    docs.count = 0;
    for (size_t d = 0; d < DOCUMENTS; d++) {
        add_document(&docs, lengths[d]);
        for (size_t i = docs.start[d]; i < docs.start[d + 1]; i++) {
            docs.ids[i] = noise(&state) % vocab;
            docs.weights[i] = i == docs.start[d] ? 0 : (float)((state >> 9) % 4) / 2;
        }
    }
    weigh_documents(&docs);
}

/* And documents in its vocabulary. */
static struct ft_model *open_with_documents(const char *name, enum method method) {
    static const struct ft_lora_spec spec = {.rank = 3, .alpha = 5, .seed = 3};
    struct ft_model *model = open_model(name, method, &spec);
    if (model) make_documents((uint32_t)ft_model_config(model)->vocab);
    return model;
}

/* Gradients of one step cut into micro-batches of `micro` documents. */
static void step_digest(struct ft_model *model, struct ft_exec *exec, size_t micro, size_t supervised,
                        char hex[FT_SHA256_HEX]) {
    struct ft_error error;
    struct ft_session *session = NULL;
    struct ft_session_limits limits = {.tokens = ROWS_MAX,
                                       .documents = DOCUMENTS,
                                       .supervised = supervised,
                                       .train = true,
                                       .recompute = supervised > 0};
    struct ft_loss_sum sum = {0};
    enum ft_status status = ft_session_new(&session, model, exec, &limits, &error);
    for (int round = 0; !status && round < 2; round++) { /* the second step must not see the first */
        sum = (struct ft_loss_sum){0};
        status = take_step(session, &docs, 0, DOCUMENTS, micro, &sum, &error);
    }
    digest_step(model, &sum, hex);
    if (status) snprintf(hex, FT_SHA256_HEX, "%.64s", error.message);
    ft_session_free(session);
}

/* The golden digests: a change is a change of ft-num-1. */
static const struct {
    const char *name;
    enum method method;
    const char *digest;
} golden[] = {
    {"llama", FULL, "f79ea5b35368e42a"},       {"llama", LORA, "81494e64920ef856"},
    {"llama-tied", FULL, "4f57e53a330b3482"},  {"llama-tied", LORA, "897a7bc4d779c87c"},
    {"llama-bias", FULL, "20efd889be857635"},  {"llama-bias", LORA, "26346abf8188b147"},
    {"gpt2", FULL, "fa7abb2da3b38111"},        {"gpt2", LORA, "e603b2912dc9e22b"},
    {"mistral", FULL, "d7c31324237b6052"},     {"mistral", LORA, "386b088a8691fcfb"},
    {"qwen3", FULL, "1a28453b8ea1b43c"},       {"qwen3", LORA, "7eea92c229772430"},
    {"phi3", FULL, "c149916727789191"},        {"phi3", LORA, "86bcf415a35be6d0"},
    {"olmo2", FULL, "7c28a5b52d410e1c"},       {"olmo2", LORA, "64f76e4c55c09cc7"},
    {"gemma2", FULL, "bd2aa8b0f5ce5738"},      {"gemma2", LORA, "9273a84ec2080390"},
    {"gemma3_text", FULL, "20d28bb4a95667a1"}, {"gemma3_text", LORA, "a241f78424d8ce4c"},
    {"granite", FULL, "e164621c09971e33"},     {"granite", LORA, "e8763c31d118e5d0"},
    {"gpt_neox", FULL, "57e7b036cfc34980"},    {"gpt_neox", LORA, "ad7e8f576dccd617"},
    {"smollm3", FULL, "4e0eba7a5c45386b"},     {"smollm3", LORA, "94da785016a8499b"},
};

static void test_steps(const char *name, enum method method, const char *digest) {
    char hex[FT_SHA256_HEX];
    const char *what = method == FULL ? "full" : "LoRA";
    struct ft_model *model = open_with_documents(name, method);
    if (!ok(model != NULL, "%s, %s: opens", name, what)) return;
    for (int isa = FT_ISA_SCALAR; isa < FT_ISA_COUNT; isa++) {
        for (unsigned threads = 1; threads <= 3; threads++) {
            struct ft_exec *exec;
            if (!ft_isa_available((enum ft_isa)isa) ||
                ft_exec_new_isa(&exec, threads, (enum ft_isa)isa, NULL))
                continue;
            step_digest(model, exec, threads == 1 ? DOCUMENTS : threads, 0, hex);
            ok(strncmp(hex, digest, 16) == 0, "%s, %s: %s, %u threads: the golden digest %.16s", name, what,
               ft_isa_name((enum ft_isa)isa), threads, hex);
            if (threads == 2) {
                step_digest(model, exec, 1, 24, hex);
                ok(strncmp(hex, digest, 16) == 0,
                   "%s, %s: %s, one document at a time, a smaller head, layers computed again: the same",
                   name, what, ft_isa_name((enum ft_isa)isa));
            }
            ft_exec_free(exec);
        }
    }
    ft_model_free(model);
}

/* Losses of all documents packed, and of each alone. */
static void test_packing(const char *name, struct ft_exec *exec) {
    struct ft_model *model = open_with_documents(name, LORA);
    struct ft_session *session = NULL;
    struct ft_session_limits limits = {.tokens = ROWS_MAX, .documents = DOCUMENTS};
    float packed[ROWS_MAX], alone[ROWS_MAX];
    uint32_t predicted[ROWS_MAX];
    struct ft_error error = {0};
    struct ft_loss_sum sum = {0};
    if (!ok(model && !ft_session_new(&session, model, exec, &limits, &error), "%s: a session to evaluate",
            name))
        return;
    struct ft_batch batch = batch_of(&docs, 0, DOCUMENTS);
    enum ft_status status = ft_session_evaluate(session, &batch, packed, predicted, &sum, &error);
    size_t total = (size_t)sum.tokens;
    for (size_t d = 0; !status && d < DOCUMENTS; d++) {
        struct ft_loss_sum one = {0};
        batch = batch_of(&docs, DOCUMENTS - 1 - d, 1); /* backwards: what was there before must not matter */
        size_t at = total;
        status = ft_session_evaluate(session, &batch, alone + ROWS_MAX / 2, predicted, &one, &error);
        total -= (size_t)one.tokens;
        memmove(alone + total, alone + ROWS_MAX / 2, (at - total) * sizeof *alone);
    }
    ok(!status && total == 0 && memcmp(packed, alone, (size_t)sum.tokens * sizeof *packed) == 0,
       "%s: packed documents have the losses of each alone", name);
    ft_session_free(session);
    ft_model_free(model);
}

static uint64_t decode_digest(struct ft_model *model, struct ft_exec *exec, size_t prefix, size_t slots) {
    struct ft_decoder *decoder = NULL;
    struct ft_decoder_limits limits = {.sequences = slots, .length = 24, .feed = 64};
    float logits[67 * 4];
    size_t row = ft_model_config(model)->vocab * sizeof *logits;
    struct ft_error error;
    uint64_t digest = 0;
    if (ft_decoder_new(&decoder, model, exec, &limits, &error)) return 0;
    struct ft_decoder_piece piece[2] = {{slots - 1, docs.ids, prefix}, {0, docs.ids + 3, prefix}};
    size_t count = slots > 1 ? 2 : 1;
    enum ft_status status = ft_decoder_feed(decoder, piece, count, logits, &error);
    for (size_t t = prefix; !status && t < 24; t++) {
        piece[0] = (struct ft_decoder_piece){slots - 1, docs.ids + t, 1};
        piece[1] = (struct ft_decoder_piece){0, docs.ids + 3 + t, 1};
        status = ft_decoder_feed(decoder, piece, count, logits, &error);
    }
    if (!status && ft_decoder_length(decoder, slots - 1) == 24) digest = ft_xxh3(logits, row);
    status = ft_decoder_feed(decoder, piece, 1, logits, &error);
    if (status != FT_USAGE) digest = 0; /* full */
    ft_decoder_truncate(decoder, slots - 1, 23);
    if (ft_decoder_feed(decoder, piece, 1, logits, &error) || ft_xxh3(logits, row) != digest) digest = 0;
    for (size_t again = 0; again < 2; again++) { /* so often that a single sequence has its weights packed */
        ft_decoder_truncate(decoder, slots - 1, 0);
        for (size_t t = 0; t < 24; t++) {
            piece[0] = (struct ft_decoder_piece){slots - 1, docs.ids + t, 1};
            if (ft_decoder_feed(decoder, piece, 1, logits, &error)) digest = 0;
        }
        if (ft_xxh3(logits, row) != digest) digest = 0;
    }
    ft_decoder_free(decoder);
    return digest;
}

enum { VOCAB = 67, EVERY = 20 };

/* Of the logits after each token of two sequences, `stride` tokens of each at a time. */
static uint64_t every_digest(struct ft_model *model, struct ft_exec *exec, bool brief, size_t stride) {
    struct ft_decoder *decoder = NULL;
    struct ft_decoder_limits limits = {.sequences = 2, .length = EVERY, .feed = 2 * stride, .brief = brief, .every = true};
    size_t vocab = ft_model_config(model)->vocab;
    float logits[2 * EVERY * VOCAB], all[2 * EVERY * VOCAB];
    struct ft_error error;
    if (vocab > VOCAB || ft_decoder_new(&decoder, model, exec, &limits, &error)) return 0;
    enum ft_status status = FT_OK;
    for (size_t t = 0; t < EVERY && !status; t += stride) {
        struct ft_decoder_piece piece[2] = {{0, docs.ids + t, stride}, {1, docs.ids + 3 + t, stride}};
        status = ft_decoder_feed(decoder, piece, 2, logits, &error);
        for (size_t i = 0; i < 2; i++)
            memcpy(all + (i * EVERY + t) * vocab, logits + i * stride * vocab, stride * vocab * sizeof *all);
    }
    ft_decoder_free(decoder);
    return status ? 0 : ft_xxh3(all, 2 * EVERY * vocab * sizeof *all);
}

static void test_decoder(const char *name, struct ft_exec *exec) {
    struct ft_model *model = open_with_documents(name, LORA);
    uint64_t reference = decode_digest(model, exec, 23, 1);
    ok(reference != 0, "%s: a decoder takes a prompt, is full, goes back a token and on again, and from the start", name);
    ok(decode_digest(model, exec, 1, 1) == reference && decode_digest(model, exec, 9, 3) == reference,
       "%s: logits do not depend on how tokens were fed or what other sequences there are", name);
    reference = every_digest(model, exec, false, 1);
    ok(reference != 0 && every_digest(model, exec, false, 4) == reference && every_digest(model, exec, true, 10) == reference,
       "%s: nor do those after every token, with weights packed or where they lie", name);
    ft_model_free(model);
}

int main(void) {
    struct ft_exec *exec;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        test_steps(golden[i].name, golden[i].method, golden[i].digest);
    if (!ok(ft_exec_new(&exec, 2, NULL) == FT_OK, "kernels")) return tap_done();
    test_packing("llama", exec);
    test_packing("gpt2", exec);
    test_decoder("llama-tied", exec);
    test_decoder("gpt2", exec);
    static const char *const others[] = {"mistral", "phi3", "gemma2", "gemma3_text", "gpt_neox", "smollm3"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        test_packing(others[i], exec);
        test_decoder(others[i], exec);
    }
    ft_exec_free(exec);
    return tap_done();
}
