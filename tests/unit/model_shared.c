/* SPDX-License-Identifier: MIT
 * Prompts that documents share: which they are, that computing them once changes no loss, that gradients are
 * those of the documents, and that no bit depends on micro-batches, threads or the instruction set. */
#include "../tap/tap.h"

#include "ft/prefix.h"
#include "model_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- which ---------------------------------------------------------------------------------------------- */

enum { PROMPTS = 40, PROMPT_MAX = 4000 };

struct prompts {
    uint32_t ids[PROMPTS][PROMPT_MAX];
    struct ft_prompt_rows rows[PROMPTS];
};

/* Document d: `common` tokens as all documents of this kind have them, then its own up to `length`. */
static void write_prompt(struct prompts *p, size_t d, uint32_t kind, size_t common, size_t length) {
    for (size_t i = 0; i < length; i++)
        p->ids[d][i] = i < common ? kind * 10000 + (uint32_t)i : 900000 + (uint32_t)d;
    p->rows[d] = (struct ft_prompt_rows){p->ids[d], length};
}

static bool shares(const struct ft_prefixes *x, size_t d, size_t length) {
    return ft_prefixes_shared(x, d) == length;
}

static void test_find(void) {
    static struct prompts p;
    struct ft_prefixes x;
    if (!ok(!ft_prefixes_init(&x, PROMPTS, NULL), "memory for prefixes")) return;
    ft_prefixes_find(&x, p.rows, 0);
    ok(x.count == 0 && x.rows == 0, "no documents, no prefixes");
    for (size_t d = 0; d < 8; d++) write_prompt(&p, d, 1, 100, 120 + d);
    ft_prefixes_find(&x, p.rows, 1);
    ok(x.count == 0, "one document shares nothing");
    ft_prefixes_find(&x, p.rows, 8);
    ok(x.count == 1 && x.rows == 100 && x.item[0].document == 0 && shares(&x, 0, 100) && shares(&x, 7, 100),
       "what all have in common");
    for (size_t d = 0; d < 8; d++) write_prompt(&p, d, 1, 15, 40);
    ft_prefixes_find(&x, p.rows, 8);
    ok(x.count == 0, "too few tokens in common");
    for (size_t d = 0; d < 2; d++) write_prompt(&p, d, 1, 63, 70);
    ft_prefixes_find(&x, p.rows, 2);
    ok(x.count == 0, "too little saved");
    for (size_t d = 0; d < 2; d++) write_prompt(&p, d, 1, 64, 64);
    ft_prefixes_find(&x, p.rows, 2);
    ok(x.count == 1 && x.rows == 64, "two equal prompts, just worth it");

    /* kinds begin alike for 20 tokens, and have 200 in common within a kind */
    for (size_t d = 0; d < 12; d++) {
        write_prompt(&p, d, 1 + (uint32_t)d % 3, 200, 210);
        for (uint32_t i = 0; i < 20; i++) p.ids[d][i] = i;
    }
    write_prompt(&p, 12, 7, 500, 500); /* like none */
    ft_prefixes_find(&x, p.rows, 13);
    ok(x.count == 3 && x.rows == 600 && x.item[2].document == 2 && x.item[2].first == 400 &&
           shares(&x, 11, 200) && shares(&x, 12, 0),
       "kinds that begin alike share more each on its own");
    for (size_t d = 0; d < 12; d++) write_prompt(&p, d, 1, d < 2 ? 170 : 160, 300);
    ft_prefixes_find(&x, p.rows, 12);
    ok(x.count == 1 && shares(&x, 0, 160) && shares(&x, 11, 160),
       "a pair with a little more in common stays with the others");

    for (size_t d = 0; d < 8; d++) write_prompt(&p, d, 1 + (uint32_t)d / 2, 900, 901);
    ft_prefixes_find(&x, p.rows, 8);
    ok(x.count == 2 && x.rows == 1800 && shares(&x, 2, 900) && shares(&x, 4, 0),
       "as many as fit, in the order of documents");
    for (size_t d = 0; d < 2; d++) write_prompt(&p, d, 1, 3000, 3001);
    ft_prefixes_find(&x, p.rows, 8);
    ok(x.count == 1 && x.rows == 3000 && shares(&x, 2, 0), "the first is taken however long");
    ft_prefixes_release(&x);
    ok(ft_prefixes_init(&x, SIZE_MAX / 8, NULL) == FT_NOMEM, "absurdly many documents");

    static const float weights[] = {0, 0, 0, 1, 0, 2, 0};
    size_t prompt;
    ok(ft_document_rows(weights, 7, &prompt) == 5 && prompt == 2,
       "rows end before the last supervised token");
    ok(ft_document_rows(weights, 3, &prompt) == 0 && prompt == 0, "nothing supervised, no rows");
    ok(ft_document_rows(weights, 0, &prompt) == 0 && ft_document_rows(weights, 1, &prompt) == 0,
       "no tokens, no rows");
}

/* --- losses and gradients ------------------------------------------------------------------------------- */

enum { DOCUMENTS = 12 };

static struct documents docs;

/* Two kinds of prompt, 17 and 16 tokens, and two documents that share nothing. */
static void make_documents(void) {
    uint32_t state = 5;
    for (size_t d = 0; d < DOCUMENTS; d++) {
        size_t shared = d % 5 == 4 ? 0
                      : d % 2      ? 17
                                   : 16,
               own = 1 + noise(&state) % 4, answer = 1 + noise(&state) % 3;
        uint32_t kind = (uint32_t)(d % 2), *ids = docs.ids + docs.start[d];
        float *weights = docs.weights + docs.start[d];
        add_document(&docs, shared + own + answer);
        for (size_t i = 0; i < shared + own + answer; i++) {
            uint32_t id = noise(&state) % 67, common = ((uint32_t)i * 7 + kind * 3) % 67;
            ids[i] = i < shared ? common : i == shared ? (uint32_t)d : id;
            weights[i] = i < shared + own ? 0 : (float)(1 + i % 2) / 2;
        }
    }
    weigh_documents(&docs);
}

static struct ft_model *open_fixture(const char *name, enum method method) {
    static const char *const qv[] = {"q_proj", "v_proj"};
    struct ft_lora_spec spec = {.rank = 3, .alpha = 5, .seed = 3};
    if (strcmp(name, "llama-tied") == 0) spec.targets = (struct ft_lora_names){qv, 2};
    return open_model(name, method, &spec);
}

/* The golden digests: a change is a change of ft-num-1. */
static const struct {
    const char *name;
    enum method method;
    const char *digest;
} golden[] = {
    {"llama", FULL, "af944cc200cdcf09"},      {"llama", LORA, "676b752ccc9d9803"},
    {"llama-tied", FULL, "81703dd3839df0f0"}, {"llama-tied", LORA, "8952d127d1c2b1aa"},
    {"gpt2", FULL, "4a630fd4f0bd5475"},       {"gpt2", LORA, "dc54dfe542d1590c"},
};

static void test_steps(size_t g) {
    char hex[FT_SHA256_HEX];
    struct ft_error error = {0};
    struct ft_model *model = open_fixture(golden[g].name, golden[g].method);
    const char *what = golden[g].method == FULL ? "full" : "LoRA";
    static const size_t micros[] = {DOCUMENTS, 1, 5, 3};
    if (!ok(model != NULL, "%s, %s: opens", golden[g].name, what)) return;
    for (int isa = FT_ISA_SCALAR; isa < FT_ISA_COUNT; isa++) {
        for (unsigned n = 0; n < 4; n++) {
            struct ft_exec *exec;
            struct ft_session *session = NULL;
            struct ft_session_limits limits = {.tokens = n == 3 ? 96 : TOKENS_MAX,
                                               .documents = DOCUMENTS,
                                               .longest = 40,
                                               .prompts = n == 2 ? 33 : 0,
                                               .train = true,
                                               .recompute = n == 1};
            struct ft_loss_sum sum = {0}, again = {0};
            if (!ft_isa_available((enum ft_isa)isa) ||
                ft_exec_new_isa(&exec, n % 3 + 1, (enum ft_isa)isa, NULL))
                continue;
            enum ft_status status = ft_session_new(&session, model, exec, &limits, &error);
            if (!status) status = take_step(session, &docs, 0, DOCUMENTS, micros[n], &sum, &error);
            if (!status)
                status = take_step(session, &docs, 0, DOCUMENTS, micros[n], &again,
                                   &error); /* must not see the first */
            ok(!status && ft_session_shared(session, 0) == 16 && ft_session_shared(session, 1) == 17 &&
                   ft_session_shared(session, 4) == 0, "%s, %s: prompts are shared", golden[g].name, what);
            digest_step(model, &again, hex);
            ok(!status && strncmp(hex, golden[g].digest, 16) == 0,
               "%s, %s: %s, %zu documents at a time: %.16s", golden[g].name, what,
               ft_isa_name((enum ft_isa)isa), micros[n], status ? error.message : hex);
            ft_session_free(session);
            ft_exec_free(exec);
        }
    }
    ft_model_free(model);
}

/* The gradients of a step against the sum of those of its documents, each a step of its own, in binary64. */
static void test_gradients(const char *name, enum method method, struct ft_exec *exec) {
    struct ft_model *model = open_fixture(name, method);
    struct ft_session *session = NULL;
    struct ft_session_limits limits = {.tokens = TOKENS_MAX, .documents = DOCUMENTS, .train = true};
    struct ft_error error = {0};
    struct ft_loss_sum sum = {0}, alone = {0};
    if (!ok(model && !ft_session_new(&session, model, exec, &limits, &error), "%s: a session", name)) return;
    size_t count, total = 0, at;
    struct ft_parameter *const *trained = ft_model_trained(model, &count);
    for (size_t i = 0; i < count; i++) total += trained[i]->elements;
    double *want = calloc(total, sizeof *want), square = 0, error_square = 0;
    enum ft_status status = want ? FT_OK : FT_NOMEM;
    for (size_t d = 0; d < DOCUMENTS && !status; d++) {
        status = take_step(session, &docs, d, d + 1, 1, &alone, &error);
        at = 0;
        for (size_t i = 0; i < count; i++)
            for (size_t e = 0; e < trained[i]->elements; e++) want[at++] += (double)trained[i]->grad[e];
    }
    if (!status) status = take_step(session, &docs, 0, DOCUMENTS, 4, &sum, &error);
    at = 0;
    for (size_t i = 0; i < count && !status; i++)
        for (size_t e = 0; e < trained[i]->elements; e++, at++) {
            double off = (double)trained[i]->grad[e] - want[at];
            square += want[at] * want[at];
            error_square += off * off;
        }
    ok(!status && sum.loss == alone.loss, "%s: the same losses, to the bit", name);
    ok(!status && square > 0 && sqrt(error_square / square) < 2e-6,
       "%s: gradients are the documents' (off by %.1e)", name, sqrt(error_square / square));
    free(want);
    ft_session_free(session);
    ft_model_free(model);
}

static void test_evaluation(const char *name, struct ft_exec *exec) {
    struct ft_model *model = open_fixture(name, LORA);
    struct ft_session *session = NULL;
    struct ft_session_limits limits = {.tokens = TOKENS_MAX, .documents = DOCUMENTS};
    float together[TOKENS_MAX], alone[TOKENS_MAX];
    struct ft_error error = {0};
    struct ft_loss_sum sum = {0}, one = {0};
    if (!ok(model && !ft_session_new(&session, model, exec, &limits, &error), "%s: a session to evaluate",
            name))
        return;
    struct ft_batch batch = batch_of(&docs, 0, DOCUMENTS);
    enum ft_status status = ft_session_evaluate(session, &batch, together, NULL, &sum, &error);
    ok(!status && ft_session_shared(session, 0) == 16, "%s: evaluation shares, too", name);
    for (size_t d = 0; d < DOCUMENTS && !status; d++) {
        batch = batch_of(&docs, d, 1);
        status = ft_session_evaluate(session, &batch, alone + one.tokens, NULL, &one, &error);
    }
    ok(!status && sum.tokens == one.tokens &&
           memcmp(together, alone, (size_t)sum.tokens * sizeof *alone) == 0,
       "%s: losses are those of each document alone, to the bit", name);
    ft_session_free(session);
    ft_model_free(model);
}

int main(void) {
    struct ft_exec *exec;
    test_find();
    make_documents();
    for (size_t g = 0; g < sizeof golden / sizeof *golden; g++) test_steps(g);
    if (!ok(ft_exec_new(&exec, 2, NULL) == FT_OK, "kernels")) return tap_done();
    test_gradients("llama", FULL, exec);
    test_gradients("llama-tied", FULL, exec);
    test_gradients("llama-tied", LORA, exec);
    test_gradients("gpt2", FULL, exec);
    test_gradients("gpt2", LORA, exec);
    test_evaluation("llama", exec);
    test_evaluation("gpt2", exec);
    static const char *const others[] = {"mistral",     "qwen3",   "phi3",     "olmo2",  "gemma2",
                                         "gemma3_text", "granite", "gpt_neox", "smollm3"};
    for (size_t i = 0; i < TOKENS_MAX; i++) docs.ids[i] %= 37; /* their vocabulary; what is alike stays so */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        test_gradients(others[i], FULL, exec);
        test_gradients(others[i], LORA, exec);
        test_evaluation(others[i], exec);
    }
    ft_exec_free(exec);
    return tap_done();
}
