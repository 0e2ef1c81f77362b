/* SPDX-License-Identifier: MIT
 *
 * The files beside tokenizer.json. Which token begins and which ends a text is said in up to four of them, by name or by
 * id; the first that says it counts, and every id of a list stops generation.
 */
#include "tokenizer_impl.h"

#include "ft/file.h"
#include "ft/json.h"

#include <stdlib.h>
#include <string.h>

enum { EOS_MAX = 64, TEMPLATE_MAX = 4 << 20, CONFIG_MAX = 64 << 20 };

const char *const ft_named_token[FT_NAMED_TOKENS] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                     "pad_token", "cls_token", "mask_token"};

struct config {
    struct ft_json json;
    char *path;
};

/* An absent file leaves config->json.root NULL. */
static enum ft_status config_open(struct config *config, const char *directory, const char *name, struct ft_error *error) {
    struct ft_buffer path = {0};
    *config = (struct config){0};
    enum ft_status status = ft_path_join(&path, directory, name, error);
    if (!status && ft_path_exists(path.data)) {
        status = ft_json_read(&config->json, path.data, CONFIG_MAX, error);
        if (!status) status = ft_json_expect(&config->json, config->json.root, FT_JSON_OBJECT, error);
    }
    config->path = path.data; /* the document borrows it */
    return status;
}

static void config_close(struct config *config) {
    ft_json_release(&config->json);
    free(config->path);
}

static enum ft_status keep_text(char **out, const char *text, struct ft_error *error) {
    enum ft_status status = ft_alloc(out, strlen(text) + 1, 1, error);
    if (!status) memcpy(*out, text, strlen(text));
    return status;
}

static enum ft_status add_eos(struct ft_tokenizer *t, uint32_t id, struct ft_error *error) {
    for (size_t i = 0; i < t->eos.count; i++)
        if (t->eos.id[i] == id) return FT_OK;
    enum ft_status status =
        ft_grow(&t->eos.id, &t->eos.capacity, t->eos.count + 1, sizeof *t->eos.id, EOS_MAX, "stop tokens", error);
    if (!status) t->eos.id[t->eos.count++] = id;
    return status;
}

/* "bos_token": "<s>" or {"content": "<s>", ...}; null and absent say nothing. */
static enum ft_status named_token(const struct ft_tokenizer *t, const struct config *config, const char *key, uint32_t *id,
                                  struct ft_error *error) {
    const struct cJSON *node = config->json.root ? ft_json_find(config->json.root, key) : NULL;
    const char *text = NULL;
    *id = FT_TOKEN_NONE;
    if (!node || ft_json_type(node) == FT_JSON_NULL) return FT_OK;
    enum ft_status status = ft_json_type(node) == FT_JSON_OBJECT
                                ? ft_json_get_string(&config->json, node, "content", FT_JSON_REQUIRED, &text, error)
                                : ft_json_string(&config->json, node, &text, error);
    if (status) return status;
    if (!ft_tokenizer_find(t, text, strlen(text), id))
        return ft_json_fail(&config->json, node, error, "\"%s\" is not a token of tokenizer.json", text);
    return FT_OK;
}

/* The texts, for templates: a token that tokenizer.json does not have is still a text. */
static enum ft_status read_texts(struct ft_tokenizer *t, const struct config *config, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < FT_NAMED_TOKENS && !status; i++) {
        const struct cJSON *node = config->json.root ? ft_json_find(config->json.root, ft_named_token[i]) : NULL;
        const char *text = NULL;
        if (t->named[i] || !node || ft_json_type(node) == FT_JSON_NULL) continue;
        if (ft_json_type(node) == FT_JSON_OBJECT) node = ft_json_find(node, "content");
        if (!node || ft_json_type(node) != FT_JSON_STRING) continue;
        status = ft_json_string(&config->json, node, &text, error);
        if (!status) status = keep_text(&t->named[i], text, error);
    }
    return status;
}

static enum ft_status read_named(struct ft_tokenizer *t, const struct config *config, struct ft_error *error) {
    uint32_t bos, eos;
    enum ft_status status = named_token(t, config, "bos_token", &bos, error);
    if (!status) status = named_token(t, config, "eos_token", &eos, error);
    if (!status) status = read_texts(t, config, error);
    if (status) return status;
    if (t->bos == FT_TOKEN_NONE) t->bos = bos;
    return t->eos.count || eos == FT_TOKEN_NONE ? FT_OK : add_eos(t, eos, error);
}

/* An id that tokenizer.json does not have is the model's affair (a padded vocabulary, a test's toy): it cannot be used. */
static enum ft_status read_ids(struct ft_tokenizer *t, const struct config *config, struct ft_error *error) {
    const struct cJSON *root = config->json.root, *bos = root ? ft_json_find(root, "bos_token_id") : NULL,
                       *eos = root ? ft_json_find(root, "eos_token_id") : NULL;
    uint64_t id;
    enum ft_status status = FT_OK;
    if (bos && ft_json_type(bos) == FT_JSON_NUMBER && t->bos == FT_TOKEN_NONE) {
        status = ft_json_u64(&config->json, bos, 0, UINT32_MAX, &id, error);
        if (!status && id < t->limit) t->bos = (uint32_t)id;
    }
    bool list = eos && ft_json_type(eos) == FT_JSON_ARRAY;
    if (!eos || ft_json_type(eos) == FT_JSON_NULL) return status;
    for (const struct cJSON *node = list ? ft_json_first(eos) : eos; node && !status;
         node = list ? ft_json_next(node) : NULL) {
        status = ft_json_u64(&config->json, node, 0, UINT32_MAX, &id, error);
        if (!status && id < t->limit) status = add_eos(t, (uint32_t)id, error);
    }
    return status;
}

/* --- the chat template ----------------------------------------------------------------------------------- */

static enum ft_status keep_template(struct ft_tokenizer *t, const char *text, struct ft_error *error) {
    if (strlen(text) <= TEMPLATE_MAX) return keep_text(&t->template, text, error);
    return ft_fail(error, FT_LIMIT, "a chat template of %zu bytes; at most %d are supported", strlen(text), TEMPLATE_MAX);
}

/* A string, or a list of {"name", "template"} of which "default" counts. */
static enum ft_status template_node(struct ft_tokenizer *t, const struct config *config, struct ft_error *error) {
    const struct cJSON *node = config->json.root ? ft_json_find(config->json.root, "chat_template") : NULL;
    const char *text = NULL, *name = NULL;
    enum ft_status status = FT_OK;
    if (!node || ft_json_type(node) == FT_JSON_NULL) return FT_OK;
    if (ft_json_type(node) != FT_JSON_ARRAY) {
        status = ft_json_string(&config->json, node, &text, error);
        return status ? status : keep_template(t, text, error);
    }
    for (node = ft_json_first(node); node && !status; node = ft_json_next(node)) {
        status = ft_json_get_string(&config->json, node, "name", FT_JSON_REQUIRED, &name, error);
        if (!status) status = ft_json_get_string(&config->json, node, "template", FT_JSON_REQUIRED, &text, error);
        if (!status && strcmp(name, "default") == 0) return keep_template(t, text, error);
    }
    return status;
}

static enum ft_status template_file(struct ft_tokenizer *t, const char *directory, struct ft_error *error) {
    struct ft_buffer path = {0}, text = {0};
    enum ft_status status = ft_path_join(&path, directory, "chat_template.jinja", error);
    if (!status && ft_path_exists(path.data)) {
        status = ft_read_all(&text, path.data, TEMPLATE_MAX, error);
        if (!status && text.data && strlen(text.data) != text.size)
            status = ft_fail(error, FT_FORMAT, "%s: there is a NUL byte in it", path.data);
        if (!status) status = keep_template(t, text.data ? text.data : "", error);
    }
    ft_buffer_release(&path);
    ft_buffer_release(&text);
    return status;
}

enum ft_status ft_tokenizer_read_config(struct ft_tokenizer *t, const char *directory, struct ft_error *error) {
    static const char *const name[] = {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"};
    enum ft_status status = template_file(t, directory, error);
    for (int i = 0; i < 4 && !status; i++) {
        struct config config;
        status = config_open(&config, directory, name[i], error);
        if (!status) status = (i < 2 ? read_named : read_ids)(t, &config, error);
        if (!status && i == 0 && !t->template) status = template_node(t, &config, error);
        config_close(&config);
    }
    return status;
}

enum ft_status ft_tokenizer_configure(struct ft_tokenizer *t, const char *text, size_t size, const char *name,
                                      struct ft_error *error) {
    struct config config = {.path = NULL};
    enum ft_status status = ft_json_parse(&config.json, text, size, name, 0, error);
    if (!status) status = ft_json_expect(&config.json, config.json.root, FT_JSON_OBJECT, error);
    if (!status) status = read_named(t, &config, error);
    if (!status) status = read_ids(t, &config, error);
    if (!status && !t->template) status = template_node(t, &config, error);
    config_close(&config);
    return status;
}
