/* SPDX-License-Identifier: MIT
 * What a model, a configuration, an adapter or a batch must not be: each refused with a message that names
 * the thing. And what is written reads back. */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/commit.h"
#include "ft/decoder.h"
#include "ft/file.h"
#include "ft/lora.h"
#include "ft/safetensors.h"
#include "ft/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[256] = "/tmp/ft-model-XXXXXX";
static struct ft_exec *exec;

static const char *at(const char *name) {
    static char path[2][512];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof *path, "%s/%s", scratch, name);
    return path[turn];
}

/* --- config.json -------------------------------------------------------------------------------------- */

#define LLAMA                                                                                                \
    "\"model_type\":\"llama\",\"vocab_size\":16,\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_"    \
    "layers\":1,"                                                                                            \
    "\"num_attention_heads\":2"

static void refuse_config(const char *text, enum ft_status want, const char *names, const char *what) {
    struct ft_error error = {0};
    struct ft_config config;
    const char *path = at("config.json");
    (void)ft_write_file(path, text, strlen(text), 0, NULL);
    enum ft_status status = ft_config_read(&config, path, &error);
    ok(status == want && strstr(error.message, names), "config.json: %s: %s", what, error.message);
}

static void test_config(void) {
    struct ft_config config;
    struct ft_error error;
    const char *good = "{" LLAMA ",\"eos_token_id\":[2,3],\"head_dim\":null,\"rope_scaling\":null}";
    (void)ft_write_file(at("config.json"), good, strlen(good), 0, NULL);
    ok(!ft_config_read(&config, scratch, &error) && config.kv_heads == 2 && config.head_dim == 4 &&
           config.eos_count == 2 && !config.has_bos && config.rope[0].theta == 10000,
       "config.json: defaults, null, several ends, by directory");
    refuse_config("[]", FT_FORMAT, "object", "not an object");
    refuse_config("{}", FT_FORMAT, "model_type", "no model_type");
    refuse_config("{\"model_type\":\"mamba\"}", FT_UNSUPPORTED, "mamba", "another model_type");
    refuse_config("{\"model_type\":\"llama\",\"vocab_size\":16}", FT_FORMAT, "hidden_size", "no hidden_size");
    refuse_config("{" LLAMA ",\"num_key_value_heads\":3}", FT_FORMAT, "2 query heads",
                  "heads that do not divide");
    refuse_config("{" LLAMA ",\"num_key_value_heads\":0}", FT_FORMAT, "num_key_value_heads", "no heads");
    refuse_config("{" LLAMA ",\"head_dim\":3}", FT_FORMAT, "even", "an odd head");
    refuse_config("{" LLAMA ",\"head_dim\":1048576}", FT_LIMIT, "wide", "a head too wide");
    refuse_config("{" LLAMA ",\"hidden_act\":\"mish\"}", FT_UNSUPPORTED, "mish", "another activation");
    refuse_config("{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"warp\"}}", FT_UNSUPPORTED, "warp",
                  "another rope");
    refuse_config("{" LLAMA ",\"rope_interleaved\":true}", FT_UNSUPPORTED, "rope_interleaved",
                  "another layout");
    refuse_config("{" LLAMA ",\"partial_rotary_factor\":0.5}", FT_UNSUPPORTED, "0.5", "half a rope");
    refuse_config("{" LLAMA ",\"rope_parameters\":{\"rope_theta\":-1}}", FT_FORMAT, "rope_theta",
                  "a negative theta");
    refuse_config("{" LLAMA ",\"rms_norm_eps\":0}", FT_FORMAT, "rms_norm_eps", "an eps of 0");
    refuse_config("{" LLAMA ",\"eos_token_id\":16}", FT_FORMAT, "eos_token_id",
                  "an end outside the vocabulary");
    refuse_config("{" LLAMA ",\"torch_dtype\":\"int8\"}", FT_UNSUPPORTED, "int8", "another element type");
    refuse_config("{" LLAMA ",\"quantization_config\":{}}", FT_UNSUPPORTED, "quantized", "quantized weights");
    refuse_config("{" LLAMA ",\"tie_word_embeddings\":1}", FT_FORMAT, "tie_word_embeddings",
                  "a number for a boolean");
    refuse_config("{\"model_type\":\"gpt2\",\"vocab_size\":1000000000}", FT_FORMAT, "vocab_size",
                  "a huge vocabulary");
    refuse_config("{\"model_type\":\"gpt2\",\"vocab_size\":9,\"n_embd\":10,\"n_head\":3}", FT_FORMAT,
                  "n_head", "GPT-2 heads");
    refuse_config("{\"model_type\":\"gpt2\",\"vocab_size\":9,\"scale_attn_by_inverse_layer_idx\":true}",
                  FT_UNSUPPORTED, "scale_attn_by_inverse_layer_idx", "an option of GPT-2");
}

/* --- tensors ------------------------------------------------------------------------------------------ */

enum change { NONE, MISSING, EXTRA, BUFFER, SHAPE, TIED_COPY, TIED_OTHER, NOT_A_NUMBER, NO_PREFIX };

/* Writes the random model of a fixture's config into scratch, changed. */
static void write_model(const char *name, enum change change) {
    struct ft_model *model = NULL;
    struct ft_error error;
    char config[700];
    struct ft_buffer text = {0};
    snprintf(config, sizeof config, "%s/config.json", fixture("%s", name));
    (void)ft_read_all(&text, config, (size_t)1 << 20, &error);
    (void)ft_write_file(at("config.json"), text.data, text.size, 0, &error);
    ft_buffer_release(&text);
    if (ft_model_new_random(&model, scratch, 5, &error)) return;
    size_t count, kept = 0;
    struct ft_parameter *const *parameters = ft_model_parameters(model, &count);
    struct ft_tensor_out *out = calloc(count + 1, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        struct ft_parameter *p = parameters[i];
        bool norm = strstr(p->name, "norm.weight") || strstr(p->name, "ln_f.weight");
        if (change == MISSING && norm) continue;
        if (change == NOT_A_NUMBER && norm) p->value[3] = NAN;
        out[kept] =
            (struct ft_tensor_out){.name = p->name, .dtype = FT_F32, .rank = p->rank, .data = p->value};
        if (change == NO_PREFIX) out[kept].name = strchr(p->name, '.') + 1;
        if (p->rank == 2) out[kept].shape[0] = p->rows;
        out[kept].shape[p->rank - 1] = p->cols;
        if (change == SHAPE && norm)
            out[kept].rank = 2, out[kept].shape[1] = out[kept].shape[0], out[kept].shape[0] = 1;
        kept++;
    }
    struct ft_parameter *first = parameters[0];
    struct ft_tensor_out more = {
        .dtype = FT_F32, .rank = 1, .shape = {first->elements}, .data = first->value};
    if (change == EXTRA) more.name = "surplus";
    if (change == BUFFER) more.name = "model.layers.0.self_attn.rotary_emb.inv_freq";
    if (change == TIED_COPY || change == TIED_OTHER) {
        more = out[0]; /* model.embed_tokens.weight is the first in name order */
        more.name = "lm_head.weight";
        if (change == TIED_OTHER) more.data = calloc(first->elements, 4);
    }
    if (more.name) out[kept++] = more;
    (void)ft_safetensors_write(at("model.safetensors"), out, kept, NULL, NULL, 0, NULL, &error);
    if (change == TIED_OTHER) free((void *)(uintptr_t)more.data);
    free(out);
    ft_model_free(model);
}

static void open_changed(const char *name, enum change change, enum ft_status want, const char *names,
                         const char *what) {
    struct ft_model *model = NULL;
    struct ft_error error = {0};
    write_model(name, change);
    enum ft_status status = ft_model_open(&model, scratch, &error);
    if (!status) status = ft_model_check_finite(exec, model, &error);
    ok(status == want && (status == FT_OK || strstr(error.message, names)), "tensors: %s%s%s", what,
       status ? ": " : "", error.message);
    ft_model_free(model);
}

static void test_tensors(void) {
    struct ft_model *model;
    struct ft_error error;
    ok(ft_model_open(&model, at("nowhere"), &error) == FT_IO && !model, "a model that is not there: %s",
       error.message);
    open_changed("llama", NONE, FT_OK, "", "as they should be");
    open_changed("llama", MISSING, FT_FORMAT, "norm.weight", "one is missing");
    open_changed("llama", EXTRA, FT_FORMAT, "surplus", "one too many");
    open_changed("llama", BUFFER, FT_OK, "", "a buffer is no surplus");
    open_changed("llama", SHAPE, FT_FORMAT, "norm.weight", "a shape");
    open_changed("llama", NOT_A_NUMBER, FT_NONFINITE, "norm.weight", "a NaN");
    open_changed("llama-tied", TIED_COPY, FT_OK, "", "a tied head may be there again");
    open_changed("llama-tied", TIED_OTHER, FT_FORMAT, "lm_head.weight", "but not another one");
    open_changed("gpt2", NO_PREFIX, FT_OK, "", "GPT-2 without the prefix");
}

/* --- writing and reading back ------------------------------------------------------------------------- */

static bool same_parameters(const struct ft_model *a, const struct ft_model *b) {
    size_t count, other;
    struct ft_parameter *const *x = ft_model_parameters(a, &count), *const *y =
                                                                        ft_model_parameters(b, &other);
    bool same = count == other;
    for (size_t i = 0; same && i < count; i++) {
        struct ft_operand p = ft_parameter_operand(x[i]), q = ft_parameter_operand(y[i]);
        same = p.dtype == q.dtype && strcmp(x[i]->name, y[i]->name) == 0 &&
               memcmp(p.data, q.data, x[i]->elements * ft_dtype_size(p.dtype)) == 0;
    }
    return same;
}

static void test_save(const char *name) {
    struct ft_model *model = NULL, *again = NULL;
    struct ft_error error = {0};
    char first[65] = "", second[65] = "";
    write_model(name, NONE);
    struct ft_save save = {.dtype = FT_SAVE_AS_LOADED};
    bool good = !ft_model_open(&model, fixture("%s", name), &error) &&
                !ft_model_save(exec, model, &save, at("model.safetensors"), first, &error) &&
                !ft_model_open(&again, scratch, &error);
    ok(good && same_parameters(model, again), "%s: a saved model reads back%s", name, error.message);
    ft_model_free(again);
    again = NULL;
    good = good && !ft_model_train_full(model, &error) &&
           !ft_model_save(exec, model, &save, at("b.safetensors"), second, &error);
    ok(good && strcmp(first, second) == 0, "%s: binary32 masters go back to the file's type unchanged%s",
       name, error.message);
    size_t count;
    ft_model_trained(model, &count)[0]->value[0] = 3e38f;
    save.dtype = FT_SAVE_F16;
    ok(ft_model_save(exec, model, &save, at("b.safetensors"), NULL, &error) == FT_NONFINITE &&
           strstr(error.message, "too large"),
       "%s: a weight that 16 bits cannot hold: %s", name, error.message);
    ft_model_free(model);
}

/* Next-token logits after a few tokens. */
static bool logits_of(struct ft_model *model, float *logits) {
    static const uint32_t ids[] = {5, 9, 33, 60, 7};
    struct ft_decoder *decoder = NULL;
    struct ft_decoder_limits limits = {.sequences = 1, .length = 8, .feed = 8};
    struct ft_decoder_piece piece = {0, ids, 5};
    bool good = !ft_decoder_new(&decoder, model, exec, &limits, NULL) &&
                !ft_decoder_feed(decoder, &piece, 1, logits, NULL);
    ft_decoder_free(decoder);
    return good;
}

/* The same numbers stored in another way give the same bits. */
static void test_types(const char *name) {
    static const enum ft_save_dtype narrow[] = {FT_SAVE_BF16, FT_SAVE_F16};
    for (size_t i = 0; i < 2; i++) {
        struct ft_model *model = NULL;
        struct ft_error error = {0};
        struct ft_save save = {.dtype = narrow[i]};
        float stored_narrow[67], stored_wide[67];
        write_model(name, NONE);
        bool good = !ft_model_open(&model, scratch, &error) &&
                    !ft_model_save(exec, model, &save, at("b.safetensors"), NULL, &error) &&
                    !rename(at("b.safetensors"), at("model.safetensors"));
        ft_model_free(model);
        model = NULL;
        save.dtype = FT_SAVE_F32;
        good = good && !ft_model_open(&model, scratch, &error) && logits_of(model, stored_narrow) &&
               !ft_model_save(exec, model, &save, at("b.safetensors"), NULL, &error) &&
               !rename(at("b.safetensors"), at("model.safetensors"));
        ft_model_free(model);
        model = NULL;
        good = good && !ft_model_open(&model, scratch, &error) && logits_of(model, stored_wide);
        ft_model_free(model);
        ok(good && memcmp(stored_narrow, stored_wide, sizeof stored_wide) == 0,
           "%s: %s weights compute as the same numbers in binary32%s", name, i ? "f16" : "bf16",
           error.message);
    }
}

static double largest_difference(const float *a, const float *b, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    return largest;
}

static void test_adapter(const char *lora) {
    struct ft_model *model = NULL, *again = NULL;
    struct ft_error error = {0};
    char adapter[700], base[65] = "", digest[65] = "", repeated[65] = "";
    float adapted[67], loaded[67], fused[67], plain[67];
    write_model(lora, NONE); /* config.json */
    snprintf(adapter, sizeof adapter, "%s/adapter", fixture("%s", lora));
    bool good = !ft_model_open(&again, fixture("%s", lora), &error) && logits_of(again, plain);
    ft_model_free(again);
    good = good && !ft_model_open(&model, fixture("%s", lora), &error) &&
           !ft_lora_load(model, adapter, false, base, &error);
    ok(good && base[0] == '\0' && logits_of(model, adapted), "%s: an adapter of PEFT's loads%s", lora,
       error.message);
    ok(largest_difference(plain, adapted, 67) > 1e-3, "%s: and changes the logits", lora);

    char names[65];
    memset(names, 'a', 64);
    names[64] = '\0';
    good = !ft_lora_save(model, scratch, "base", names, 0, digest, &error);
    again = NULL;
    good = good && !ft_model_open(&again, fixture("%s", lora), &error) &&
           !ft_lora_load(again, scratch, true, base, &error) && logits_of(again, loaded);
    ok(good && strcmp(base, names) == 0 && memcmp(adapted, loaded, sizeof adapted) == 0,
       "%s: saved, it reads back to the bit and names its base%s", lora, error.message);
    ok(!ft_lora_save(again, scratch, "base", names, 0, repeated, &error) && strcmp(digest, repeated) == 0,
       "%s: and is written as the same bytes again", lora);
    ft_model_free(again);

    again = NULL;
    struct ft_save save = {.dtype = FT_SAVE_F32, .fuse = true};
    good = !ft_model_save(exec, model, &save, at("model.safetensors"), NULL, &error) &&
           !ft_model_open(&again, scratch, &error) && logits_of(again, fused);
    double difference = largest_difference(adapted, fused, 67);
    ok(good && difference < 1e-5, "%s: fused, the model gives the same logits (%.2g)%s", lora, difference,
       error.message);
    ft_model_free(again);
    ft_model_free(model);
}

static void refuse_adapter(const char *key, const char *value, enum ft_status want, const char *names) {
    struct ft_model *model = NULL;
    struct ft_error error = {0};
    struct ft_lora_spec spec = {.rank = 2, .alpha = 4, .seed = 1};
    struct ft_buffer text = {0};
    bool good = !ft_model_open(&model, fixture("llama"), &error) && !ft_lora_attach(model, &spec, &error) &&
                !ft_lora_save(model, scratch, "base", NULL, 0, NULL, &error) &&
                !ft_read_all(&text, at("adapter_config.json"), (size_t)1 << 20, &error);
    ft_model_free(model);
    model = NULL;
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    char *from = good ? strstr(text.data, quoted) : NULL;
    struct ft_buffer changed = {0};
    if (from) {
        char *end = strchr(from, '\n');
        if (end[-1] == '[') end = strchr(strchr(from, ']'), '\n');
        (void)ft_buffer_append(&changed, text.data, (size_t)(from - text.data), NULL);
        bool last = end[1] == '}';
        (void)ft_buffer_printf(&changed, NULL, "%s %s%s%s", quoted, value, last ? "" : ",", end);
        (void)ft_write_file(at("adapter_config.json"), changed.data, changed.size, 0, NULL);
    }
    good = from && !ft_model_open(&model, fixture("llama"), &error);
    enum ft_status status = good ? ft_lora_load(model, scratch, false, NULL, &error) : FT_OK;
    size_t count = 0;
    (void)ft_lora_parameters(model, &count);
    ok(status == want && strstr(error.message, names) && count == 0, "adapter: %s %s: %s", key, value,
       error.message);
    ft_buffer_release(&changed);
    ft_buffer_release(&text);
    ft_model_free(model);
}

static void test_adapter_errors(void) {
    refuse_adapter("r", "3", FT_FORMAT, "lora_A");
    refuse_adapter("r", "0", FT_FORMAT, "r");
    refuse_adapter("peft_type", "\"IA3\"", FT_UNSUPPORTED, "IA3");
    refuse_adapter("use_rslora", "1", FT_FORMAT, "use_rslora");
    refuse_adapter("lora_alpha", "-1", FT_USAGE, "alpha");
    refuse_adapter("bias", "\"some\"", FT_FORMAT, "some");
    refuse_adapter("bias", "7", FT_FORMAT, "bias");
    refuse_adapter("rank_pattern", "{\"q_proj\": 4}", FT_FORMAT, "q_proj.lora_A");
    refuse_adapter("rank_pattern", "{\"q_proj\": 0}", FT_USAGE, "rank");
    refuse_adapter("rank_pattern", "{\"q_proj\": 1e300}", FT_USAGE, "rank");
    refuse_adapter("rank_pattern", "{\"q_(proj\": 2}", FT_USAGE, "q_(proj");
    refuse_adapter("rank_pattern", "[4]", FT_FORMAT, "rank_pattern");
    refuse_adapter("alpha_pattern", "{\"q_proj\": -2}", FT_USAGE, "alpha");
    refuse_adapter("modules_to_save", "[\"lm_head\"]", FT_FORMAT, "lm_head.weight");
    refuse_adapter("modules_to_save", "[\"lm_heat\"]", FT_USAGE, "lm_head");
    refuse_adapter("modules_to_save", "\"lm_head\"", FT_FORMAT, "modules_to_save");
    refuse_adapter("use_dora", "true", FT_FORMAT, "lora_magnitude_vector");
    refuse_adapter("layers_to_transform", "[1]", FT_FORMAT, "unexpected tensor");
    refuse_adapter("layers_to_transform", "[99]", FT_USAGE, "no module");
    refuse_adapter("layers_to_transform", "[-1]", FT_FORMAT, "layers_to_transform");
    refuse_adapter("layers_to_transform", "[1], \"exclude_modules\": [\"q_proj\"]", FT_FORMAT,
                   "unexpected tensor");
    refuse_adapter("revision", "null, \"exclude_modules\": \".*[\"", FT_USAGE, "regular expression");
    refuse_adapter("revision", "null, \"exclude_modules\": \".*\"", FT_USAGE, "no module");
    refuse_adapter("revision", "null, \"lora_bias\": true", FT_UNSUPPORTED, "lora_bias");
    refuse_adapter("revision", "null, \"target_parameters\": [\"x\"]", FT_UNSUPPORTED, "target_parameters");
    refuse_adapter("revision", "null, \"some_new_option\": 3", FT_UNSUPPORTED, "some_new_option");
    refuse_adapter("init_lora_weights", "\"pissa\"", FT_UNSUPPORTED, "pissa");
    refuse_adapter("target_modules", "\".*q_proj\"", FT_FORMAT, "unexpected tensor");
    refuse_adapter("target_modules", "\".*q_proj(\"", FT_USAGE, "regular expression");
    refuse_adapter("target_modules", "\"proj\"", FT_USAGE, "no module");
    refuse_adapter("target_modules", "\".*norm\"", FT_UNSUPPORTED, "norm");
    refuse_adapter("target_modules", "\"(([a-z_]?)*[.]?)*[XYZ]\"", FT_LIMIT, "gave up");
    refuse_adapter("target_modules", "[]", FT_FORMAT, "empty");
    refuse_adapter("target_modules", "null", FT_FORMAT, "missing");
    refuse_adapter("target_modules", "\".*embed_tokens\"", FT_FORMAT, "lora_embedding_A");
    refuse_adapter("target_modules", "[\"q_proj\"]", FT_FORMAT, "unexpected tensor");
    refuse_adapter("target_modules", "[\"c_attn\"]", FT_USAGE, "c_attn");
    struct ft_model *model = NULL;
    struct ft_error error = {0};
    static const char *const wrong[] = {"qproj"};
    struct ft_lora_spec spec = {.rank = 2, .alpha = 4, .targets = {wrong, 1}};
    if (ft_model_open(&model, fixture("llama"), &error)) return;
    ok(ft_lora_attach(model, &spec, &error) == FT_USAGE && strstr(error.message, "q_proj"),
       "a target that is none: %s", error.message);
    spec = (struct ft_lora_spec){.rank = 2, .alpha = 4};
    ok(!ft_lora_attach(model, &spec, &error) && ft_lora_attach(model, &spec, &error) == FT_USAGE,
       "two adapters: %s", error.message);
    ft_model_free(model);
}

/* --- batches ------------------------------------------------------------------------------------------ */

static void test_batches(void) {
    struct ft_model *model = NULL;
    struct ft_session *session = NULL;
    struct ft_error error = {0};
    struct ft_session_limits limits = {.tokens = 30, .documents = 2, .supervised = 20};
    if (ft_model_open(&model, fixture("llama"), &error) ||
        ft_session_new(&session, model, exec, &limits, &error))
        return;
    uint32_t ids[64] = {0};
    float weights[64], loss[64];
    for (size_t i = 0; i < 64; i++) weights[i] = 1;
    weights[0] = 0;
    size_t start[] = {0, 0, 0, 0};
    struct ft_batch batch = {.documents = 1, .start = start, .ids = ids, .weights = weights};
    struct ft_loss_sum sum = {0};
    start[1] = 1;
    ok(!ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) && sum.tokens == 0,
       "one token: nothing to predict");
    start[1] = 20;
    ok(!ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) && sum.tokens == 19,
       "19 of 20 tokens are predicted");
    start[1] = 22;
    ok(ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) == FT_USAGE, "too many: %s",
       error.message);
    start[1] = 26;
    ok(ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) == FT_USAGE &&
           strstr(error.message, "positions"),
       "a document beyond the positions: %s", error.message);
    start[1] = 4;
    ids[2] = 67;
    ok(ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) == FT_USAGE &&
           strstr(error.message, "67"),
       "a token outside the vocabulary: %s", error.message);
    ids[2] = 0;
    weights[1] = -1;
    ok(ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) == FT_USAGE, "a negative weight: %s",
       error.message);
    weights[1] = NAN;
    ok(ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) == FT_USAGE,
       "a weight that is no number: %s", error.message);
    weights[1] = 1;
    weights[0] = 1;
    ok(ft_session_evaluate(session, &batch, loss, NULL, &sum, &error) == FT_USAGE,
       "a weight on the first token: %s", error.message);
    ft_session_free(session);
    ft_model_free(model);
}

static void test_plan(void) {
    struct ft_model *model = NULL;
    struct ft_error error = {0};
    struct ft_session_size small, large;
    struct ft_session_limits limits = {.tokens = 64, .documents = 4, .train = true};
    if (ft_model_open(&model, fixture("llama-tied"), &error) || ft_model_train_full(model, &error)) return;
    bool good = !ft_session_plan(model, exec, &limits, &small, &error);
    limits.tokens = 128;
    good = good && !ft_session_plan(model, exec, &limits, &large, &error);
    ok(good &&
           small.total == small.activations + small.workspace + small.packed + small.head + small.embedding &&
           large.activations > small.activations && small.embedding > 0,
       "a plan adds up and grows with the batch");
    limits.tokens = UINT32_MAX;
    ok(!ft_session_plan(model, exec, &limits, &large, &error) && large.total > (size_t)1 << 40,
       "a huge plan is a number");
    limits.tokens = 0;
    ok(ft_session_plan(model, exec, &limits, &large, &error) == FT_LIMIT, "an empty one is refused: %s",
       error.message);
    ft_model_free(model);
}

int main(void) {
    const char *tmp = getenv("TMPDIR");
    if (tmp && strlen(tmp) < 200) snprintf(scratch, sizeof scratch, "%s/ft-model-XXXXXX", tmp);
    if (!ok(mkdtemp(scratch) && !ft_exec_new(&exec, 1, NULL), "scratch directory and kernels"))
        return tap_done();
    test_config();
    test_tensors();
    test_save("llama");
    test_save("gpt2");
    test_types("llama");
    test_types("gpt2");
    test_adapter("llama-lora");
    test_adapter("gpt2-lora");
    test_adapter_errors();
    test_batches();
    test_plan();
    ft_exec_free(exec);
    static const char *const files[] = {"config.json", "model.safetensors", "b.safetensors",
                                        "adapter_config.json", "adapter_model.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) (void)unlink(at(files[i]));
    ok(rmdir(scratch) == 0, "nothing else was left behind");
    return tap_done();
}
