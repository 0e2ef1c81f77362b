/* SPDX-License-Identifier: MIT */
#include "ft/card.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/json.h"
#include "ft/memory.h"
#include "ft/safetensors.h"
#include "gguf_model.h"

enum { CONFIG_MAX = 1 << 20, FILE_MAX = 1 << 28 };

static const char *const companions[] = {"tokenizer.json",          "tokenizer_config.json",
                                         "special_tokens_map.json", "chat_template.jinja",
                                         "generation_config.json",  NULL};

struct paths {
    struct ft_buffer from, to;
};

static enum ft_status set_paths(struct paths *p, const char *from, const char *to, const char *name,
                                struct ft_error *error) {
    ft_buffer_clear(&p->from);
    ft_buffer_clear(&p->to);
    enum ft_status status = ft_path_join(&p->from, from, name, error);
    return status ? status : ft_path_join(&p->to, to, name, error);
}

static enum ft_status copy(const struct paths *p, unsigned flags, struct ft_error *error) {
    struct ft_buffer bytes = {.max = FILE_MAX};
    enum ft_status status = ft_read_all(&bytes, p->from.data, FILE_MAX, error);
    if (!status) status = ft_write_file(p->to.data, bytes.data, bytes.size, flags, error);
    ft_buffer_release(&bytes);
    return status;
}

/* The text of config.json with another element type, or as it is. */
static enum ft_status put_config(const char *text, size_t size, const char *name, enum ft_save_dtype dtype,
                                 const char *to, unsigned flags, struct ft_error *error) {
    static const char *const names[] = {
        [FT_SAVE_F32] = "float32", [FT_SAVE_BF16] = "bfloat16", [FT_SAVE_F16] = "float16"};
    if (dtype == FT_SAVE_AS_LOADED) return ft_write_file(to, text, size, flags, error);
    struct ft_json config = {0};
    enum ft_status status = ft_json_parse(&config, text, size, name, 0, error);
    if (!status) status = ft_json_expect(&config, config.root, FT_JSON_OBJECT, error);
    if (!status) {
        ft_json_set_string(&config, config.root, ft_json_find(config.root, "dtype") ? "dtype" : "torch_dtype",
                           names[dtype]);
        status = ft_json_save(&config, to, FT_JSON_PRETTY, flags, error);
    }
    ft_json_release(&config);
    return status;
}

/* --- a GGUF file's ---------------------------------------------------------------------------------------- */

/* What a GGUF file's values say, as texts of Hugging Face's files. */
struct made {
    struct ft_buffer config, tokenizer, tokenizer_config;
};

static void release_made(struct made *made) {
    ft_buffer_release(&made->config);
    ft_buffer_release(&made->tokenizer);
    ft_buffer_release(&made->tokenizer_config);
}

static enum ft_status make(struct made *made, const char *path, struct ft_error *error) {
    struct ft_gguf *gguf = NULL;
    enum ft_status status = ft_gguf_open(&gguf, path, error);
    if (!status) status = ft_gguf_config(gguf, &made->config, error);
    if (!status) status = ft_gguf_tokenizer(gguf, &made->tokenizer, &made->tokenizer_config, error);
    ft_gguf_close(gguf);
    return status;
}

static enum ft_status copy_made(const char *path, const char *to, enum ft_save_dtype dtype, unsigned flags,
                                struct ft_error *error) {
    struct made made = {0};
    struct ft_buffer name = {0};
    enum ft_status status = make(&made, path, error);
    if (!status) status = ft_path_join(&name, to, "config.json", error);
    if (!status) status = put_config(made.config.data, made.config.size, path, dtype, name.data, flags, error);
    ft_buffer_clear(&name);
    if (!status) status = ft_path_join(&name, to, "tokenizer.json", error);
    if (!status) status = ft_write_file(name.data, made.tokenizer.data, made.tokenizer.size, flags, error);
    ft_buffer_clear(&name);
    if (!status) status = ft_path_join(&name, to, "tokenizer_config.json", error);
    if (!status)
        status = ft_write_file(name.data, made.tokenizer_config.data, made.tokenizer_config.size, flags, error);
    ft_buffer_release(&name);
    release_made(&made);
    return status;
}

static enum ft_status parse_made(struct ft_tokenizer **tokenizer, const char *path, struct ft_error *error) {
    struct made made = {0};
    struct ft_tokenizer *t = NULL;
    enum ft_status status = make(&made, path, error);
    if (!status) status = ft_tokenizer_parse(&t, made.tokenizer.data, made.tokenizer.size, path, error);
    if (!status)
        status = ft_tokenizer_configure(t, made.tokenizer_config.data, made.tokenizer_config.size, path, error);
    if (!status) status = ft_tokenizer_configure(t, made.config.data, made.config.size, path, error);
    release_made(&made);
    if (status) ft_tokenizer_free(t);
    else *tokenizer = t;
    return status;
}

/* --- either ----------------------------------------------------------------------------------------------- */

enum ft_status ft_card_tokenizer(struct ft_tokenizer **tokenizer, const char *model, struct ft_error *error) {
    struct ft_buffer gguf = {0};
    enum ft_status status = ft_card_gguf(model, &gguf, error);
    if (!status)
        status = gguf.size ? parse_made(tokenizer, gguf.data, error) : ft_tokenizer_load(tokenizer, model, error);
    ft_buffer_release(&gguf);
    return status;
}

/* A file of the directory `model`, appended. */
static enum ft_status read_file(const char *model, const char *name, size_t max, struct ft_buffer *text,
                                struct ft_error *error) {
    struct ft_buffer path = {0};
    enum ft_status status = ft_path_join(&path, model, name, error);
    if (!status) status = ft_read_all(text, path.data, max, error);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_card_config(const char *model, struct ft_buffer *json, struct ft_error *error) {
    struct ft_buffer path = {0};
    struct ft_gguf *gguf = NULL;
    enum ft_status status = ft_card_gguf(model, &path, error);
    if (!status && path.size) {
        status = ft_gguf_open(&gguf, path.data, error);
        if (!status) status = ft_gguf_config(gguf, json, error);
        ft_gguf_close(gguf);
    } else if (!status) status = read_file(model, "config.json", CONFIG_MAX, json, error);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_card_tokenizer_json(const char *model, struct ft_buffer *json, struct ft_error *error) {
    struct ft_buffer path = {0};
    struct made made = {0};
    enum ft_status status = ft_card_gguf(model, &path, error);
    if (!status && path.size) {
        status = make(&made, path.data, error);
        if (!status) status = ft_buffer_append(json, made.tokenizer.data, made.tokenizer.size, error);
    } else if (!status) status = read_file(model, "tokenizer.json", FILE_MAX, json, error);
    release_made(&made);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status count_gguf(const char *path, uint64_t *elements, struct ft_error *error) {
    struct ft_gguf *gguf = NULL;
    enum ft_status status = ft_gguf_open(&gguf, path, error);
    for (size_t i = 0; !status && i < ft_gguf_tensors(gguf); i++) *elements += ft_gguf_tensor_at(gguf, i)->elements;
    ft_gguf_close(gguf);
    return status;
}

static enum ft_status count_safetensors(const char *directory, uint64_t *elements, struct ft_error *error) {
    struct ft_safetensors *weights = NULL;
    enum ft_status status = ft_safetensors_open(&weights, directory, error);
    for (size_t i = 0; !status && i < ft_safetensors_count(weights); i++)
        *elements += ft_safetensors_at(weights, i)->elements;
    ft_safetensors_close(weights);
    return status;
}

enum ft_status ft_card_elements(const char *model, uint64_t *elements, struct ft_error *error) {
    struct ft_buffer gguf = {0};
    *elements = 0;
    enum ft_status status = ft_card_gguf(model, &gguf, error);
    if (!status)
        status = gguf.size ? count_gguf(gguf.data, elements, error) : count_safetensors(model, elements, error);
    ft_buffer_release(&gguf);
    return status;
}

static enum ft_status copy_directory(const char *from, const char *to, enum ft_save_dtype dtype, unsigned flags,
                                     struct ft_error *error) {
    struct paths p = {0};
    struct ft_buffer config = {.max = CONFIG_MAX};
    enum ft_status status = set_paths(&p, from, to, "config.json", error);
    if (!status) status = ft_read_all(&config, p.from.data, CONFIG_MAX, error);
    if (!status) status = put_config(config.data, config.size, p.from.data, dtype, p.to.data, flags, error);
    for (size_t i = 0; companions[i] && !status; i++) {
        status = set_paths(&p, from, to, companions[i], error);
        if (!status && ft_path_exists(p.from.data)) status = copy(&p, flags, error);
    }
    ft_buffer_release(&config);
    ft_buffer_release(&p.from);
    ft_buffer_release(&p.to);
    return status;
}

enum ft_status ft_card_copy(const char *from, const char *to, enum ft_save_dtype dtype, unsigned flags,
                            struct ft_error *error) {
    struct ft_buffer gguf = {0};
    enum ft_status status = ft_card_gguf(from, &gguf, error);
    if (!status)
        status = gguf.size ? copy_made(gguf.data, to, dtype, flags, error) : copy_directory(from, to, dtype, flags, error);
    ft_buffer_release(&gguf);
    return status;
}
