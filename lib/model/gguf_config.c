/* SPDX-License-Identifier: MIT
 *
 * What config.json would be, said by a GGUF file's values: written as text, so that config.c reads and checks both alike.
 */
#include "gguf_model.h"

#include "ft/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_MAX ((uint64_t)1 << 40)

struct writer {
    const struct ft_gguf *gguf;
    const struct ft_gguf_arch *arch;
    struct ft_json json;
    struct ft_error *error;
    enum ft_status status; /* the first failure: nothing is done after it */
};

/* "{architecture}.key" */
static const char *full_key(const struct writer *w, const char *key, char out[96]) {
    snprintf(out, 96, "%s.%s", w->arch->name, key);
    return out;
}

static uint64_t get_u64(struct writer *w, const char *key, enum ft_json_need need, uint64_t fallback) {
    char full[96];
    if (!w->status)
        w->status = ft_gguf_get_u64(w->gguf, full_key(w, key, full), need, 0, NUMBER_MAX, &fallback, w->error);
    return fallback;
}

static double get_double(struct writer *w, const char *key, enum ft_json_need need, double fallback) {
    char full[96];
    if (w->status) return fallback;
    w->status = ft_gguf_get_double(w->gguf, full_key(w, key, full), need, &fallback, w->error);
    if (!w->status && !isfinite(fallback))
        w->status = ft_fail(w->error, FT_FORMAT, "%s: %s is not finite", ft_gguf_path(w->gguf), full);
    return fallback;
}

static bool has_key(const struct writer *w, const char *key) {
    char full[96];
    return ft_gguf_value(w->gguf, full_key(w, key, full)) != NULL;
}

static void copy_u64(struct writer *w, const char *to, const char *from, enum ft_json_need need) {
    if (need == FT_JSON_OPTIONAL && !has_key(w, from)) return;
    uint64_t value = get_u64(w, from, need, 0);
    ft_json_set_u64(&w->json, w->json.root, to, value);
}

/* A binary32 of the file's as the shortest decimal that is it: 1e-5, not 9.999999747378752e-06. */
static void copy_number(struct writer *w, const char *to, const char *from, enum ft_json_need need) {
    if (need == FT_JSON_OPTIONAL && !has_key(w, from)) return;
    double value = get_double(w, from, need, 0);
    if (!w->status && fabs(value) > 3.4028234663852886e38)
        w->status = ft_fail(w->error, FT_FORMAT, "%s: %s.%s is too large", ft_gguf_path(w->gguf), w->arch->name, from);
    if (!w->status) ft_json_set_float(&w->json, w->json.root, to, (float)value);
}

static bool has_tensor(const struct writer *w, const char *name) { return ft_gguf_tensor(w->gguf, name) != NULL; }

/* The head is the embedding table when the file has none of its own, or the same bytes again. */
static bool is_tied(const struct writer *w) {
    const struct ft_gguf_tensor *head = ft_gguf_tensor(w->gguf, "output.weight"),
                                *table = ft_gguf_tensor(w->gguf, "token_embd.weight");
    return !head || (head->type == table->type && head->bytes == table->bytes &&
                     memcmp(head->data, table->data, head->bytes) == 0);
}

static const char *stored_dtype(const struct ft_gguf_tensor *table) {
    return table->type == FT_GGML_F16 ? "float16" : table->type == FT_GGML_BF16 ? "bfloat16" : "float32";
}

/* Ids that end a text: a list when there is more than one. */
static void set_ends(struct writer *w) {
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    uint64_t ids[3];
    size_t count = 0;
    for (size_t i = 0; i < 3 && !w->status; i++) {
        uint64_t id = UINT64_MAX;
        w->status = ft_gguf_get_u64(w->gguf, keys[i], FT_JSON_OPTIONAL, 0, UINT32_MAX, &id, w->error);
        bool known = id == UINT64_MAX;
        for (size_t k = 0; k < count; k++) known = known || ids[k] == id;
        if (!known) ids[count++] = id;
    }
    if (count == 1) ft_json_set_u64(&w->json, w->json.root, "eos_token_id", ids[0]);
    struct cJSON *list = count > 1 ? ft_json_set_array(&w->json, w->json.root, "eos_token_id") : NULL;
    for (size_t i = 0; list && i < count; i++) ft_json_set_u64(&w->json, list, NULL, ids[i]);
}

static void set_common(struct writer *w) {
    struct ft_json *json = &w->json;
    const struct ft_gguf_tensor *table = ft_gguf_tensor(w->gguf, "token_embd.weight");
    if (!table || table->rank != 2) {
        w->status = ft_fail(w->error, FT_FORMAT, "%s: the tensor token_embd.weight is missing or no matrix",
                            ft_gguf_path(w->gguf));
        return;
    }
    uint64_t bos = UINT64_MAX;
    ft_json_set_string(json, ft_json_set_array(json, json->root, "architectures"), NULL, w->arch->class);
    ft_json_set_string(json, json->root, "model_type", w->arch->model_type);
    ft_json_set_u64(json, json->root, "vocab_size", table->shape[0]);
    ft_json_set_bool(json, json->root, "tie_word_embeddings", is_tied(w));
    ft_json_set_string(json, json->root, "torch_dtype", stored_dtype(table));
    w->status = ft_gguf_get_u64(w->gguf, "tokenizer.ggml.bos_token_id", FT_JSON_OPTIONAL, 0, UINT32_MAX, &bos, w->error);
    if (bos != UINT64_MAX) ft_json_set_u64(json, json->root, "bos_token_id", bos);
    /* null, for transformers' own default of a family may lie beyond the vocabulary */
    uint64_t pad = UINT64_MAX;
    if (!w->status)
        w->status = ft_gguf_get_u64(w->gguf, "tokenizer.ggml.padding_token_id", FT_JSON_OPTIONAL, 0, UINT32_MAX, &pad, w->error);
    if (pad != UINT64_MAX) ft_json_set_u64(json, json->root, "pad_token_id", pad);
    else ft_json_set_null(json, json->root, "pad_token_id");
    set_ends(w);
}

/* --- rotary scaling --------------------------------------------------------------------------------------- */

double ft_gguf_llama3_divisor(const struct ft_rope *rope, size_t i) {
    const double pi = 3.14159265358979323846;
    double wave = 2 * pi * pow(rope->theta, (double)(2 * i) / (double)rope->dimensions);
    if (wave < rope->original / rope->high) return 1;
    if (wave > rope->original / rope->low) return rope->factor;
    double smooth = (rope->original / wave - rope->low) / (rope->high - rope->low);
    return 1 / ((1 - smooth) / rope->factor + smooth);
}

/* llama.cpp keeps only the divisors, in a tensor: the scaling is found again by its factor (the largest divisor)
 * and must explain every one of them. */
static void set_llama3(struct writer *w, const struct ft_gguf_tensor *divisors) {
    struct ft_rope rope = {.theta = get_double(w, "rope.freq_base", FT_JSON_OPTIONAL, 10000),
                           .factor = 1, .low = 1, .high = 4, .original = 8192};
    uint64_t heads = get_u64(w, "attention.head_count", FT_JSON_REQUIRED, 1);
    uint64_t usual = get_u64(w, "embedding_length", FT_JSON_REQUIRED, 1) / (heads ? heads : 1);
    uint64_t dimensions = get_u64(w, "rope.dimension_count", FT_JSON_OPTIONAL, usual);
    float stored[256];
    bool good = divisors->type == FT_GGML_F32 && divisors->rank == 1 && divisors->elements <= 256 &&
                divisors->elements * 2 == dimensions && rope.theta >= 1 && rope.theta <= 1e18;
    if (good) ft_ggml_widen(stored, divisors->data, FT_GGML_F32, divisors->elements);
    for (size_t i = 0; good && i < divisors->elements; i++)
        if ((double)stored[i] > rope.factor) rope.factor = (double)stored[i];
    rope.dimensions = (size_t)dimensions;
    for (size_t i = 0; good && i < divisors->elements; i++)
        good = fabs((double)stored[i] / ft_gguf_llama3_divisor(&rope, i) - 1) < 1e-4;
    if (!good && !w->status)
        w->status = ft_fail(w->error, FT_UNSUPPORTED, "%s: rope_freqs.weight is not the scaling of Llama 3",
                            ft_gguf_path(w->gguf));
    if (w->status) return;
    struct cJSON *node = ft_json_set_object(&w->json, w->json.root, "rope_scaling");
    ft_json_set_string(&w->json, node, "rope_type", "llama3");
    ft_json_set_float(&w->json, node, "factor", (float)rope.factor);
    ft_json_set_double(&w->json, node, "low_freq_factor", rope.low);
    ft_json_set_double(&w->json, node, "high_freq_factor", rope.high);
    ft_json_set_u64(&w->json, node, "original_max_position_embeddings", (uint64_t)rope.original);
}

static void set_named_scaling(struct writer *w, struct ft_gguf_text type) {
    char name[16] = "";
    if (type.length < sizeof name) memcpy(name, type.text, type.length);
    if (strcmp(name, "none") == 0) return;
    if (strcmp(name, "linear") != 0 && strcmp(name, "yarn") != 0) {
        w->status = ft_fail(w->error, FT_UNSUPPORTED, "%s: the rotary scaling '%.*s' is not implemented",
                            ft_gguf_path(w->gguf), (int)(type.length < 64 ? type.length : 64), type.text);
        return;
    }
    double factor = get_double(w, "rope.scaling.factor", FT_JSON_REQUIRED, 1);
    if (w->status) return;
    struct cJSON *rope = ft_json_set_object(&w->json, w->json.root, "rope_scaling");
    ft_json_set_string(&w->json, rope, "rope_type", name);
    ft_json_set_double(&w->json, rope, "factor", factor);
    uint64_t original = get_u64(w, "rope.scaling.original_context_length", FT_JSON_OPTIONAL, 0);
    if (original) ft_json_set_u64(&w->json, rope, "original_max_position_embeddings", original);
}

static void set_rope(struct writer *w) {
    char full[96];
    struct ft_gguf_text type = {"none", 4};
    const struct ft_gguf_tensor *divisors = ft_gguf_tensor(w->gguf, "rope_freqs.weight");
    copy_number(w, "rope_theta", "rope.freq_base", FT_JSON_OPTIONAL);
    if (divisors) {
        set_llama3(w, divisors);
        return;
    }
    if (!w->status)
        w->status = ft_gguf_get_text(w->gguf, full_key(w, "rope.scaling.type", full), FT_JSON_OPTIONAL, &type, w->error);
    if (!w->status) set_named_scaling(w, type);
}

/* --- families --------------------------------------------------------------------------------------------- */

static bool is(const struct writer *w, const char *model_type) { return strcmp(w->arch->model_type, model_type) == 0; }

/* What Gemma's scores are divided by the root of is not in the file: llama.cpp knows the one model of each generation
 * where it is not the head's dimension. */
static void set_gemma(struct writer *w) {
    struct ft_json *json = &w->json;
    uint64_t layers = get_u64(w, "block_count", FT_JSON_REQUIRED, 1), heads = get_u64(w, "attention.head_count", FT_JSON_REQUIRED, 1);
    bool largest = layers == (is(w, "gemma2") ? 46 : 62);
    uint64_t divisor = largest && heads ? get_u64(w, "embedding_length", FT_JSON_REQUIRED, 1) / heads
                                        : get_u64(w, "attention.key_length", FT_JSON_REQUIRED, 1);
    ft_json_set_string(json, json->root, "hidden_activation", "gelu_pytorch_tanh");
    if (is(w, "gemma")) return;
    ft_json_set_u64(json, json->root, "query_pre_attn_scalar", divisor);
    if (is(w, "gemma2")) copy_number(w, "attn_logit_softcapping", "attn_logit_softcapping", FT_JSON_OPTIONAL);
    copy_number(w, "final_logit_softcapping", "final_logit_softcapping", FT_JSON_OPTIONAL);
}

/* What only one family has. */
static void set_special(struct writer *w) {
    struct ft_json *json = &w->json;
    if (w->arch->one_more) set_gemma(w);
    if (is(w, "granite")) {
        copy_number(w, "embedding_multiplier", "embedding_scale", FT_JSON_OPTIONAL);
        copy_number(w, "residual_multiplier", "residual_scale", FT_JSON_OPTIONAL);
        copy_number(w, "attention_multiplier", "attention.scale", FT_JSON_OPTIONAL);
        copy_number(w, "logits_scaling", "logit_scale", FT_JSON_OPTIONAL);
    }
    if (is(w, "smollm3")) ft_json_set_u64(json, json->root, "no_rope_layer_interval", 4); /* as llama.cpp knows */
    if (is(w, "phi3")) {
        uint64_t heads = get_u64(w, "attention.head_count", FT_JSON_REQUIRED, 1);
        uint64_t head = get_u64(w, "embedding_length", FT_JSON_REQUIRED, 1) / (heads ? heads : 1);
        double part = (double)get_u64(w, "rope.dimension_count", FT_JSON_OPTIONAL, head) / (double)(head ? head : 1);
        ft_json_set_double(json, json->root, "partial_rotary_factor", part);
    }
}

static void set_llama(struct writer *w) {
    struct ft_json *json = &w->json;
    copy_u64(w, "hidden_size", "embedding_length", FT_JSON_REQUIRED);
    copy_u64(w, "intermediate_size", "feed_forward_length", FT_JSON_REQUIRED);
    copy_u64(w, "num_hidden_layers", "block_count", FT_JSON_REQUIRED);
    copy_u64(w, "num_attention_heads", "attention.head_count", FT_JSON_REQUIRED);
    copy_u64(w, "num_key_value_heads", has_key(w, "attention.head_count_kv") ? "attention.head_count_kv"
                                                                            : "attention.head_count", FT_JSON_REQUIRED);
    if (!w->arch->partial)
        copy_u64(w, "head_dim", has_key(w, "attention.key_length") ? "attention.key_length" : "rope.dimension_count",
                 FT_JSON_OPTIONAL);
    copy_u64(w, "max_position_embeddings", "context_length", FT_JSON_REQUIRED);
    copy_number(w, "rms_norm_eps", "attention.layer_norm_rms_epsilon", FT_JSON_REQUIRED);
    ft_json_set_string(json, json->root, "hidden_act", w->arch->one_more ? "gelu_pytorch_tanh" : "silu");
    if (has_key(w, "attention.sliding_window")) {
        ft_json_set_string(json, json->root, "model_type", is(w, "llama") ? "mistral" : w->arch->model_type);
        copy_u64(w, "sliding_window", "attention.sliding_window", FT_JSON_REQUIRED);
    }
    if (w->arch->biases) {
        ft_json_set_bool(json, json->root, "attention_bias", has_tensor(w, "blk.0.attn_q.bias"));
        ft_json_set_bool(json, json->root, "mlp_bias", has_tensor(w, "blk.0.ffn_up.bias"));
    }
    set_rope(w);
    set_special(w);
}

static void set_gpt2(struct writer *w) {
    copy_u64(w, "n_embd", "embedding_length", FT_JSON_REQUIRED);
    copy_u64(w, "n_inner", "feed_forward_length", FT_JSON_REQUIRED);
    copy_u64(w, "n_layer", "block_count", FT_JSON_REQUIRED);
    copy_u64(w, "n_head", "attention.head_count", FT_JSON_REQUIRED);
    copy_u64(w, "n_positions", "context_length", FT_JSON_REQUIRED);
    copy_number(w, "layer_norm_epsilon", "attention.layer_norm_epsilon", FT_JSON_REQUIRED);
    ft_json_set_string(&w->json, w->json.root, "activation_function", "gelu_new");
}

static void set_neox(struct writer *w) {
    struct ft_json *json = &w->json;
    char full[96];
    bool parallel = true;
    copy_u64(w, "hidden_size", "embedding_length", FT_JSON_REQUIRED);
    copy_u64(w, "intermediate_size", "feed_forward_length", FT_JSON_REQUIRED);
    copy_u64(w, "num_hidden_layers", "block_count", FT_JSON_REQUIRED);
    copy_u64(w, "num_attention_heads", "attention.head_count", FT_JSON_REQUIRED);
    copy_u64(w, "max_position_embeddings", "context_length", FT_JSON_REQUIRED);
    copy_number(w, "layer_norm_eps", "attention.layer_norm_epsilon", FT_JSON_REQUIRED);
    copy_number(w, "rotary_emb_base", "rope.freq_base", FT_JSON_OPTIONAL);
    uint64_t heads = get_u64(w, "attention.head_count", FT_JSON_REQUIRED, 1);
    uint64_t head = get_u64(w, "embedding_length", FT_JSON_REQUIRED, 1) / (heads ? heads : 1);
    double part = (double)get_u64(w, "rope.dimension_count", FT_JSON_OPTIONAL, head) / (double)(head ? head : 1);
    ft_json_set_double(json, json->root, "rotary_pct", part);
    if (!w->status)
        w->status = ft_gguf_get_bool(w->gguf, full_key(w, "use_parallel_residual", full), FT_JSON_OPTIONAL, &parallel, w->error);
    ft_json_set_bool(json, json->root, "use_parallel_residual", parallel);
    ft_json_set_string(json, json->root, "hidden_act", "gelu");
    ft_json_set_bool(json, json->root, "attention_bias", has_tensor(w, "blk.0.attn_qkv.bias"));
}

enum ft_status ft_gguf_config(const struct ft_gguf *gguf, struct ft_buffer *json, struct ft_error *error) {
    struct writer w = {.gguf = gguf, .error = error};
    enum ft_status status = ft_gguf_arch_read(gguf, &w.arch, error);
    if (!status) status = ft_json_new(&w.json, FT_JSON_OBJECT, error);
    if (status) return status;
    set_common(&w);
    if (!w.status) (w.arch->gpt2 ? set_gpt2 : w.arch->neox ? set_neox : set_llama)(&w);
    status = w.status;
    if (!status) status = ft_json_print(&w.json, w.json.root, FT_JSON_PRETTY, json, error);
    ft_json_release(&w.json);
    return status;
}
