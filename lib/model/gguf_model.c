/* SPDX-License-Identifier: MIT */
#include "gguf_model.h"

#include "ft/card.h"
#include "ft/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- architectures ---------------------------------------------------------------------------------------- */

static const struct ft_gguf_arch architectures[] = {
    {.name = "llama", .model_type = "llama", .class = "LlamaForCausalLM", .pairs = true, .biases = true},
    {.name = "llama", .model_type = "mistral", .class = "MistralForCausalLM", .pairs = true},
    {.name = "qwen2", .model_type = "qwen2", .class = "Qwen2ForCausalLM"},
    {.name = "qwen3", .model_type = "qwen3", .class = "Qwen3ForCausalLM"},
    {.name = "granite", .model_type = "granite", .class = "GraniteForCausalLM", .pairs = true, .biases = true},
    {.name = "smollm3", .model_type = "smollm3", .class = "SmolLM3ForCausalLM", .pairs = true},
    {.name = "olmo2", .model_type = "olmo2", .class = "Olmo2ForCausalLM", .norms_after = true},
    {.name = "phi3", .model_type = "phi3", .class = "Phi3ForCausalLM", .partial = true},
    {.name = "gemma", .model_type = "gemma", .class = "GemmaForCausalLM", .one_more = true},
    {.name = "gemma2", .model_type = "gemma2", .class = "Gemma2ForCausalLM", .one_more = true, .norms_after = true},
    {.name = "gemma3", .model_type = "gemma3_text", .class = "Gemma3ForCausalLM", .one_more = true, .norms_after = true},
    {.name = "gpt2", .model_type = "gpt2", .class = "GPT2LMHeadModel", .gpt2 = true},
    {.name = "gptneox", .model_type = "gpt_neox", .class = "GPTNeoXForCausalLM", .neox = true},
};
#define ARCHITECTURES (sizeof architectures / sizeof *architectures)

const struct ft_gguf_arch *ft_gguf_arch_named(const char *name) {
    for (size_t i = 0; i < ARCHITECTURES; i++)
        if (strcmp(architectures[i].name, name) == 0) return &architectures[i];
    return NULL;
}

const struct ft_gguf_arch *ft_gguf_arch_of(const char *model_type) {
    for (size_t i = 0; i < ARCHITECTURES; i++)
        if (strcmp(architectures[i].model_type, model_type) == 0) return &architectures[i];
    return NULL;
}

enum ft_status ft_gguf_arch_read(const struct ft_gguf *gguf, const struct ft_gguf_arch **arch, struct ft_error *error) {
    struct ft_gguf_text text, kind = {"model", 5};
    char name[32] = "";
    enum ft_status status = ft_gguf_get_text(gguf, "general.type", FT_JSON_OPTIONAL, &kind, error);
    if (!status && (kind.length != 5 || memcmp(kind.text, "model", 5) != 0))
        status = ft_fail(error, FT_USAGE, "%s: holds no model but '%.*s' (general.type)", ft_gguf_path(gguf),
                         (int)(kind.length < 64 ? kind.length : 64), kind.text);
    if (!status) status = ft_gguf_get_text(gguf, "general.architecture", FT_JSON_REQUIRED, &text, error);
    if (status) return status;
    if (text.length < sizeof name) memcpy(name, text.text, text.length);
    *arch = ft_gguf_arch_named(name);
    if (*arch) return FT_OK;
    return ft_fail(error, FT_UNSUPPORTED, "%s: general.architecture: '%.*s' is not implemented", ft_gguf_path(gguf),
                   (int)(text.length < 64 ? text.length : 64), text.text);
}

/* --- names of tensors ------------------------------------------------------------------------------------- */

/* '#' stands for the layer. */
struct pair {
    const char *huggingface, *gguf;
};

static const struct pair llama_names[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.#.input_layernorm", "blk.#.attn_norm"},
    {"model.layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {"model.layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {"model.layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {"model.layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {"model.layers.#.self_attn.qkv_proj", "blk.#.attn_qkv"},
    {"model.layers.#.self_attn.o_proj", "blk.#.attn_output"},
    {"model.layers.#.self_attn.q_norm", "blk.#.attn_q_norm"},
    {"model.layers.#.self_attn.k_norm", "blk.#.attn_k_norm"},
    {"model.layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
    {"model.layers.#.mlp.up_proj", "blk.#.ffn_up"},
    {"model.layers.#.mlp.gate_up_proj", "blk.#.ffn_up"},
    {"model.layers.#.mlp.down_proj", "blk.#.ffn_down"},
    {NULL, NULL},
};

/* Norms behind attention and MLP: OLMo 2's only ones, Gemma 2's and 3's additional ones. */
static const struct pair after_names[] = {
    {"model.layers.#.post_attention_layernorm", "blk.#.post_attention_norm"},
    {"model.layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm"},
    {"model.layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm"},
    {NULL, NULL},
};

static const struct pair gpt2_names[] = {
    {"transformer.wte", "token_embd"},
    {"transformer.wpe", "position_embd"},
    {"transformer.ln_f", "output_norm"},
    {"lm_head", "output"},
    {"transformer.h.#.ln_1", "blk.#.attn_norm"},
    {"transformer.h.#.attn.c_attn", "blk.#.attn_qkv"},
    {"transformer.h.#.attn.c_proj", "blk.#.attn_output"},
    {"transformer.h.#.ln_2", "blk.#.ffn_norm"},
    {"transformer.h.#.mlp.c_fc", "blk.#.ffn_up"},
    {"transformer.h.#.mlp.c_proj", "blk.#.ffn_down"},
    {NULL, NULL},
};

static const struct pair neox_names[] = {
    {"gpt_neox.embed_in", "token_embd"},
    {"gpt_neox.final_layer_norm", "output_norm"},
    {"embed_out", "output"},
    {"gpt_neox.layers.#.input_layernorm", "blk.#.attn_norm"},
    {"gpt_neox.layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {"gpt_neox.layers.#.attention.query_key_value", "blk.#.attn_qkv"},
    {"gpt_neox.layers.#.attention.dense", "blk.#.attn_output"},
    {"gpt_neox.layers.#.mlp.dense_h_to_4h", "blk.#.ffn_up"},
    {"gpt_neox.layers.#.mlp.dense_4h_to_h", "blk.#.ffn_down"},
    {NULL, NULL},
};

/* Matches `name` with a pattern; *digits, *count: the layer's number as written. What follows the pattern (".weight",
 * ".bias") is returned, NULL when it does not match. */
static const char *match(const char *name, const char *pattern, const char **digits, int *count) {
    const char *hash = strchr(pattern, '#');
    size_t head = hash ? (size_t)(hash - pattern) : strlen(pattern);
    if (strncmp(name, pattern, head) != 0) return NULL;
    name += head;
    *count = 0;
    if (hash) {
        size_t tail = strlen(hash + 1);
        *digits = name;
        *count = (int)strspn(name, "0123456789");
        name += *count;
        if (*count == 0 || *count > 6 || strncmp(name, hash + 1, tail) != 0) return NULL;
        name += tail;
    }
    return *name == '.' && !strchr(name + 1, '.') ? name : NULL;
}

static bool translate(const struct pair *pairs, const char *name, char out[FT_GGUF_NAME]) {
    for (; pairs->huggingface; pairs++) {
        const char *digits = "";
        int count;
        const char *rest = match(name, pairs->huggingface, &digits, &count);
        if (!rest) continue;
        const char *hash = strchr(pairs->gguf, '#');
        int head = hash ? (int)(hash - pairs->gguf) : (int)strlen(pairs->gguf);
        int length = snprintf(out, FT_GGUF_NAME, "%.*s%.*s%s%s", head, pairs->gguf, count, digits, hash ? hash + 1 : "",
                              rest);
        return length > 0 && (unsigned)length < FT_GGUF_NAME;
    }
    return false;
}

bool ft_gguf_tensor_name(const struct ft_gguf_arch *arch, const char *huggingface, char name[FT_GGUF_NAME]) {
    char full[256];
    if (arch->neox) return translate(neox_names, huggingface, name);
    if (!arch->gpt2) return (arch->norms_after && translate(after_names, huggingface, name)) ||
                            translate(llama_names, huggingface, name);
    if (translate(gpt2_names, huggingface, name)) return true;
    int length = snprintf(full, sizeof full, "transformer.%s", huggingface); /* some files leave it out */
    return length > 0 && (size_t)length < sizeof full && translate(gpt2_names, full, name);
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

enum ft_gguf_change ft_gguf_change_of(const struct ft_gguf_arch *arch, const char *name, unsigned rank) {
    if (arch->pairs && (strstr(name, ".attn_q.") || strstr(name, ".attn_k."))) return FT_GGUF_PAIRED;
    if (arch->neox && strstr(name, ".attn_qkv.")) return FT_GGUF_BY_PART;
    if (arch->gpt2 && rank == 2 && strncmp(name, "blk.", 4) == 0) return FT_GGUF_TRANSPOSED;
    if (arch->one_more && ends_with(name, "norm.weight")) return FT_GGUF_ONE_MORE;
    return FT_GGUF_AS_IT_IS;
}

/* --- the file --------------------------------------------------------------------------------------------- */

static bool is_gguf_name(const char *name) {
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".gguf") == 0;
}

static bool holds(const char *directory, const char *name) {
    struct ft_buffer path = {0};
    bool found = ft_path_join(&path, directory, name, NULL) == FT_OK && ft_path_exists(path.data);
    ft_buffer_release(&path);
    return found;
}

static enum ft_status locate_in(const char *directory, struct ft_buffer *path, struct ft_error *error) {
    DIR *entries = opendir(directory);
    if (!entries) return ft_fail_errno(error, FT_IO, "%s: cannot be read", directory);
    enum ft_status status = FT_OK;
    const struct dirent *entry;
    size_t found = 0;
    while (!status && (errno = 0, entry = readdir(entries))) {
        if (!is_gguf_name(entry->d_name)) continue;
        if (found++ == 0) status = ft_path_join(path, directory, entry->d_name, error);
        else
            status = ft_fail(error, FT_USAGE, "%s: holds more than one .gguf file: name the one that is meant",
                             directory);
    }
    if (!status && errno) status = ft_fail_errno(error, FT_IO, "%s: cannot be read", directory);
    closedir(entries);
    return status;
}

enum ft_status ft_card_gguf(const char *model, struct ft_buffer *path, struct ft_error *error) {
    if (ft_path_is_directory(model))
        return holds(model, "config.json") || holds(model, "tokenizer.json") ? FT_OK : locate_in(model, path, error);
    return is_gguf_name(model) ? ft_buffer_string(path, model, error) : FT_OK;
}
