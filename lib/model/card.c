/* SPDX-License-Identifier: MIT */
#include "ft/card.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/json.h"
#include "ft/memory.h"

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

static enum ft_status rewrite_config(const struct paths *p, const char *dtype, unsigned flags,
                                     struct ft_error *error) {
    struct ft_json config = {0};
    enum ft_status status = ft_json_read(&config, p->from.data, CONFIG_MAX, error);
    if (!status) status = ft_json_expect(&config, config.root, FT_JSON_OBJECT, error);
    if (!status) {
        ft_json_set_string(&config, config.root, ft_json_find(config.root, "dtype") ? "dtype" : "torch_dtype",
                           dtype);
        status = ft_json_save(&config, p->to.data, FT_JSON_PRETTY, flags, error);
    }
    ft_json_release(&config);
    return status;
}

enum ft_status ft_card_copy(const char *from, const char *to, enum ft_save_dtype dtype, unsigned flags,
                            struct ft_error *error) {
    static const char *const names[] = {
        [FT_SAVE_F32] = "float32", [FT_SAVE_BF16] = "bfloat16", [FT_SAVE_F16] = "float16"};
    struct paths p = {0};
    enum ft_status status = set_paths(&p, from, to, "config.json", error);
    if (!status)
        status = dtype == FT_SAVE_AS_LOADED ? copy(&p, flags, error)
                                            : rewrite_config(&p, names[dtype], flags, error);
    for (size_t i = 0; companions[i] && !status; i++) {
        status = set_paths(&p, from, to, companions[i], error);
        if (!status && ft_path_exists(p.from.data)) status = copy(&p, flags, error);
    }
    ft_buffer_release(&p.from);
    ft_buffer_release(&p.to);
    return status;
}
