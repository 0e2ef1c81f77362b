/* SPDX-License-Identifier: MIT
 *
 * A GGUF file's values: the way back from config.json (gguf_config.c) and from tokenizer.json. */
#include "gguf_meta.h"

#include "ft/card.h"
#include "ft/config.h"
#include "ft/ggml_vocab.h"
#include "ft/version.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct writer {
    struct ft_gguf_meta *meta;
    const struct ft_gguf_arch *arch;
    const struct ft_json *config;
    const struct ft_config *model; /* the same, understood */
    struct ft_error *error;
    enum ft_status status; /* the first failure: nothing is done after it */
};

static const char *full_key(const struct writer *w, const char *key, char out[96]) {
    snprintf(out, 96, "%s.%s", w->arch->name, key);
    return out;
}

static void set_text(struct ft_gguf_meta *meta, const char *key, const char *text) {
    if (text) ft_gguf_set_text(meta, key, text, strlen(text));
}

static void set_u32(struct writer *w, const char *key, uint64_t value) {
    char full[96];
    ft_gguf_set_u32(w->meta, full_key(w, key, full), (uint32_t)value);
}

static void set_f32(struct writer *w, const char *key, double value) {
    char full[96];
    ft_gguf_set_f32(w->meta, full_key(w, key, full), (float)value);
}

static bool has(const struct writer *w, const char *key) {
    const struct cJSON *node = ft_json_find(w->config->root, key);
    return node && ft_json_type(node) != FT_JSON_NULL;
}

static uint64_t get_u64(struct writer *w, const char *key, uint64_t fallback) {
    if (!w->status)
        w->status = ft_json_get_u64(w->config, w->config->root, key, fallback ? FT_JSON_OPTIONAL : FT_JSON_REQUIRED, 0,
                                    UINT32_MAX, &fallback, w->error);
    return fallback;
}

static double get_double(struct writer *w, const struct cJSON *object, const char *key, double fallback) {
    if (!w->status) w->status = ft_json_get_double(w->config, object, key, FT_JSON_OPTIONAL, &fallback, w->error);
    return fallback;
}

/* --- hyperparameters -------------------------------------------------------------------------------------- */

/* llama3's divisors are a tensor; YaRN's and longrope's numbers are more than GGUF has keys for. */
static void set_rope(struct writer *w) {
    const struct ft_rope *rope = &w->model->rope[0];
    char full[96];
    set_f32(w, "rope.freq_base", rope->theta);
    if (rope->scaling == FT_ROPE_LINEAR) {
        set_text(w->meta, full_key(w, "rope.scaling.type", full), "linear");
        set_f32(w, "rope.scaling.factor", rope->factor);
    } else if (rope->scaling != FT_ROPE_PLAIN && rope->scaling != FT_ROPE_LLAMA3 && !w->status) {
        w->status = ft_fail(w->error, FT_UNSUPPORTED, "%s: this rotary scaling cannot be written to GGUF yet", w->config->name);
    }
}

static void set_llama(struct writer *w) {
    uint64_t hidden = get_u64(w, "hidden_size", 0), heads = get_u64(w, "num_attention_heads", 0);
    uint64_t usual = heads ? hidden / heads : 1, head = has(w, "head_dim") ? get_u64(w, "head_dim", 0) : usual;
    set_u32(w, "context_length", get_u64(w, "max_position_embeddings", 2048));
    set_u32(w, "embedding_length", hidden);
    set_u32(w, "block_count", get_u64(w, "num_hidden_layers", 0));
    set_u32(w, "feed_forward_length", get_u64(w, "intermediate_size", 0));
    set_u32(w, "attention.head_count", heads);
    set_u32(w, "attention.head_count_kv", has(w, "num_key_value_heads") ? get_u64(w, "num_key_value_heads", 0) : heads);
    set_f32(w, "attention.layer_norm_rms_epsilon", get_double(w, w->config->root, "rms_norm_eps", 1e-6));
    set_u32(w, "rope.dimension_count", w->model->rope_count ? w->model->rope[0].dimensions : head);
    if (head != usual || w->arch->one_more) {
        set_u32(w, "attention.key_length", head);
        set_u32(w, "attention.value_length", head);
    }
    set_u32(w, "vocab_size", get_u64(w, "vocab_size", 0));
    set_rope(w);
}

static void set_gpt2(struct writer *w) {
    uint64_t hidden = get_u64(w, "n_embd", 768);
    set_u32(w, "context_length", get_u64(w, "n_positions", 1024));
    set_u32(w, "embedding_length", hidden);
    set_u32(w, "block_count", get_u64(w, "n_layer", 12));
    set_u32(w, "feed_forward_length", get_u64(w, "n_inner", 4 * hidden));
    set_u32(w, "attention.head_count", get_u64(w, "n_head", 12));
    set_f32(w, "attention.layer_norm_epsilon", get_double(w, w->config->root, "layer_norm_epsilon", 1e-5));
}

static void set_neox(struct writer *w) {
    char full[96];
    set_u32(w, "context_length", w->model->positions);
    set_u32(w, "embedding_length", w->model->hidden);
    set_u32(w, "block_count", w->model->layers);
    set_u32(w, "feed_forward_length", w->model->ffn);
    set_u32(w, "attention.head_count", w->model->heads);
    set_u32(w, "rope.dimension_count", w->model->rope[0].dimensions);
    set_f32(w, "rope.freq_base", w->model->rope[0].theta);
    set_f32(w, "attention.layer_norm_epsilon", (double)w->model->norm_eps);
    ft_gguf_set_bool(w->meta, full_key(w, "use_parallel_residual", full), w->model->parallel);
}

/* --- what llama.cpp takes for granted --------------------------------------------------------------------- */

static bool is(const struct writer *w, const char *model_type) { return strcmp(w->arch->model_type, model_type) == 0; }

static void refuse(struct writer *w, const char *what) {
    if (!w->status)
        w->status = ft_fail(w->error, FT_UNSUPPORTED, "%s: %s: GGUF cannot say so", w->config->name, what);
}

/* Which layers have a window is known by the architecture: every other one, all but every sixth, all or none. */
static bool usual_window(const struct writer *w, size_t l) {
    if (is(w, "gemma2")) return l % 2 == 0;
    if (is(w, "gemma3_text")) return (l + 1) % 6 != 0;
    return is(w, "phi3");
}

static void check_layers(struct writer *w) {
    const struct ft_config *model = w->model;
    bool short_window = model->window && model->window < model->positions;
    for (size_t l = 0; l < model->layers; l++) {
        bool windowed = model->kind[l].window && short_window;
        if (windowed != (usual_window(w, l) && short_window)) refuse(w, "sliding windows in other layers than usual");
        bool rotated = model->learned_positions || model->kind[l].rope < model->rope_count;
        if (rotated != (!is(w, "smollm3") || (l + 1) % 4 != 0)) refuse(w, "rotation in other layers than usual");
    }
    if (is(w, "gpt2") ? model->activation != FT_GELU_TANH
        : w->arch->neox ? model->activation != FT_GELU_ERF && model->activation != FT_GELU_TANH
        : w->arch->one_more ? model->activation != FT_GELU_TANH : model->activation != FT_SILU)
        refuse(w, "another activation function than usual");
}

static void set_gemma(struct writer *w) {
    const struct ft_config *model = w->model;
    bool largest = model->layers == (is(w, "gemma2") ? 46u : 62u) && !is(w, "gemma");
    double divisor = largest ? (double)(model->hidden / model->heads) : (double)model->head_dim;
    if (fabs((double)model->attention_scale * sqrt(divisor) - 1) > 1e-6) refuse(w, "query_pre_attn_scalar");
    if (is(w, "gemma")) return;
    if (model->window) set_u32(w, "attention.sliding_window", model->window);
    if (model->attention_softcap != 0) set_f32(w, "attn_logit_softcapping", (double)model->attention_softcap);
    if (model->logit_softcap != 0) set_f32(w, "final_logit_softcapping", (double)model->logit_softcap);
    if (is(w, "gemma3_text") && (model->rope[1].theta != 10000 || model->rope[1].scaling != FT_ROPE_PLAIN))
        refuse(w, "the rotation of local layers");
}

static void set_special(struct writer *w) {
    const struct ft_config *model = w->model;
    check_layers(w);
    if (w->arch->one_more) set_gemma(w);
    if (is(w, "phi3") && model->window) set_u32(w, "attention.sliding_window", model->window);
    if (!is(w, "granite")) return;
    set_f32(w, "embedding_scale", (double)model->embedding_scale);
    set_f32(w, "residual_scale", (double)model->residual_scale);
    set_f32(w, "attention.scale", (double)model->attention_scale);
    set_f32(w, "logit_scale", get_double(w, w->config->root, "logits_scaling", 1));
}

/* --- tokenizer -------------------------------------------------------------------------------------------- */

static void set_texts(struct ft_gguf_meta *meta, const char *key, const struct ft_ggml_text *texts, size_t count) {
    ft_gguf_begin_array(meta, key, FT_GGUF_STRING, count);
    for (size_t i = 0; i < count; i++) ft_gguf_add_text(meta, texts[i].text, texts[i].length);
}

static void set_id(struct ft_gguf_meta *meta, const char *key, uint32_t id) {
    if (id != FT_GGML_NONE) ft_gguf_set_u32(meta, key, id);
}

static void set_vocabulary(struct ft_gguf_meta *meta, const struct ft_ggml_vocab *vocab) {
    bool sentencepiece = vocab->score != NULL;
    set_text(meta, "tokenizer.ggml.model", vocab->model);
    set_text(meta, "tokenizer.ggml.pre", vocab->pre);
    set_texts(meta, "tokenizer.ggml.tokens", vocab->token, vocab->tokens);
    if (sentencepiece) {
        ft_gguf_begin_array(meta, "tokenizer.ggml.scores", FT_GGUF_F32, vocab->tokens);
        for (size_t i = 0; i < vocab->tokens; i++) ft_gguf_add_f32(meta, vocab->score[i]);
    }
    ft_gguf_begin_array(meta, "tokenizer.ggml.token_type", FT_GGUF_I32, vocab->tokens);
    for (size_t i = 0; i < vocab->tokens; i++) ft_gguf_add_i32(meta, vocab->type[i]);
    if (!sentencepiece) set_texts(meta, "tokenizer.ggml.merges", vocab->merge, vocab->merges);
    set_id(meta, "tokenizer.ggml.bos_token_id", vocab->bos);
    set_id(meta, "tokenizer.ggml.eos_token_id", vocab->eos);
    set_id(meta, "tokenizer.ggml.unknown_token_id", vocab->unknown);
    if (sentencepiece) ft_gguf_set_bool(meta, "tokenizer.ggml.add_space_prefix", vocab->space_prefix);
    ft_gguf_set_bool(meta, "tokenizer.ggml.add_bos_token", vocab->add_bos > 0);
    if (vocab->chat_template.text)
        ft_gguf_set_text(meta, "tokenizer.chat_template", vocab->chat_template.text, vocab->chat_template.length);
}

/* What tokenizer.json alone does not say. BOS is added when the tokenizer adds it to an empty text. */
static enum ft_status ask_tokenizer(const struct ft_tokenizer *tokenizer, struct ft_ggml_vocab *vocab, struct ft_error *error) {
    struct ft_encoder *encoder = NULL;
    struct ft_ids ids = {0};
    size_t stops;
    const uint32_t *stop = ft_tokenizer_eos(tokenizer, &stops);
    const char *template = ft_tokenizer_template(tokenizer);
    if (stops) vocab->eos = stop[0];
    if (template) vocab->chat_template = (struct ft_ggml_text){template, strlen(template)};
    enum ft_status status = ft_encoder_new(&encoder, tokenizer, error);
    if (!status) status = ft_encode(encoder, "", 0, FT_ENCODE_BEGIN, &ids, error);
    bool has_bos = ft_tokenizer_bos(tokenizer, &vocab->bos);
    vocab->add_bos = !status && ids.count > 0;
    if (vocab->add_bos && !has_bos) vocab->bos = ids.id[0];
    ft_ids_release(&ids);
    ft_encoder_free(encoder);
    return status;
}

static enum ft_status describe_tokenizer(struct ft_gguf_meta *meta, const char *card, size_t size, struct ft_error *error) {
    struct ft_tokenizer *tokenizer = NULL;
    struct ft_ggml_vocab vocab = {.tokens = 0};
    struct ft_buffer json = {0};
    enum ft_status status = ft_card_tokenizer(&tokenizer, card, error);
    if (!status) status = ft_card_tokenizer_json(card, &json, error);
    if (!status) status = ft_ggml_vocab_read(&vocab, json.data, json.size, card, size, error);
    if (!status) status = ask_tokenizer(tokenizer, &vocab, error);
    if (!status) set_vocabulary(meta, &vocab);
    ft_ggml_vocab_release(&vocab);
    ft_buffer_release(&json);
    ft_tokenizer_free(tokenizer);
    return status;
}

/* --- the public face -------------------------------------------------------------------------------------- */

/* llama.cpp's numbers of what most matrices are (llama_ftype). */
static uint32_t file_type(enum ft_ggml type) {
    return type == FT_GGML_F32 ? 0 : type == FT_GGML_F16 ? 1 : type == FT_GGML_Q8_0 ? 7 : 32;
}

static void set_general(struct ft_gguf_meta *meta, const struct ft_export *how, const char *arch, const char *kind) {
    set_text(meta, "general.architecture", arch);
    set_text(meta, "general.type", kind);
    set_text(meta, "general.name", how->name);
    ft_gguf_set_u32(meta, "general.file_type", file_type(how->type));
    ft_gguf_set_u32(meta, "general.quantization_version", 2);
    set_text(meta, "ft.numerics", FT_NUMERICS);
    set_text(meta, "ft.base.sha256", how->base_sha256);
    set_text(meta, "ft.adapter.sha256", how->adapter_sha256);
}

static enum ft_status find_arch(const struct ft_model *model, const struct ft_gguf_arch **arch, struct ft_error *error) {
    const char *type = ft_model_config(model)->model_type;
    *arch = ft_gguf_arch_of(type);
    if (*arch) return FT_OK;
    return ft_fail(error, FT_UNSUPPORTED, "%s: a model of the type %s cannot be written as GGUF yet", ft_model_path(model), type);
}

enum ft_status ft_gguf_describe_model(struct ft_gguf_meta *meta, const struct ft_export *how, const struct ft_model *model,
                                      const struct ft_gguf_arch **arch, struct ft_error *error) {
    struct ft_buffer text = {0};
    struct ft_json config = {0};
    enum ft_status status = find_arch(model, arch, error);
    if (!status) status = ft_card_config(how->card, &text, error);
    if (!status) status = ft_json_parse(&config, text.data, text.size, how->card, 0, error);
    if (!status) {
        struct writer w = {.meta = meta, .arch = *arch, .config = &config, .model = ft_model_config(model), .error = error};
        set_general(meta, how, (*arch)->name, "model");
        ((*arch)->gpt2 ? set_gpt2 : (*arch)->neox ? set_neox : set_llama)(&w);
        set_special(&w);
        status = w.status;
    }
    if (!status) status = describe_tokenizer(meta, how->card, ft_model_config(model)->vocab, error);
    ft_json_release(&config);
    ft_buffer_release(&text);
    return status;
}

enum ft_status ft_gguf_describe_adapter(struct ft_gguf_meta *meta, const struct ft_export *how,
                                        const struct ft_model *model, float alpha, const struct ft_gguf_arch **arch,
                                        struct ft_error *error) {
    enum ft_status status = find_arch(model, arch, error);
    if (status) return status;
    set_general(meta, how, (*arch)->name, "adapter");
    set_text(meta, "adapter.type", "lora");
    ft_gguf_set_f32(meta, "adapter.lora.alpha", alpha);
    return FT_OK;
}
