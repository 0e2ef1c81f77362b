/* SPDX-License-Identifier: MIT
 *
 * A resolved recipe as JSON, and its digest. */
#include "recipe_key.h"

#include "ft/commit.h"
#include "ft/memory.h"

#include <math.h>
#include <string.h>

enum { RECIPE_TEXT_MAX = 1 << 20 };

static void describe_list(const struct ft_recipe_words *words, struct ft_json *json, struct cJSON *object,
                          const char *name) {
    if (words->count == 1 && ft_recipe_is_expression(words->item[0])) {
        ft_json_set_string(json, object, name, words->item[0]);
        return;
    }
    struct cJSON *list = ft_json_set_array(json, object, name);
    for (size_t i = 0; i < words->count; i++) ft_json_set_string(json, list, NULL, words->item[i]);
}

/* A resolved recipe's patterns have the right form. */
static void describe_pattern(const struct ft_recipe_key *key, const struct ft_recipe_words *words,
                             struct ft_json *json, struct cJSON *object, const char *name) {
    struct cJSON *map = ft_json_set_object(json, object, name);
    for (size_t i = 0; i < words->count; i++) {
        struct ft_lora_pattern pattern;
        char room[FT_RECIPE_KEY_MAX];
        if (ft_recipe_split_pattern(key, words->item[i], room, &pattern, NULL)) continue;
        if (pattern.value == floor(pattern.value)) ft_json_set_u64(json, map, room, (uint64_t)pattern.value);
        else ft_json_set_double(json, map, room, pattern.value);
    }
}

static void describe_key(const struct ft_recipe *recipe, const struct ft_recipe_key *key,
                         struct ft_json *json, struct cJSON *object, const char *name) {
    const void *at = ft_recipe_member_of(recipe, key);
    switch (key->type) {
    case FT_KEY_CHOICE: ft_json_set_string(json, object, name, key->choices[*(const unsigned *)at]); break;
    case FT_KEY_BOOL: ft_json_set_bool(json, object, name, *(const bool *)at); break;
    case FT_KEY_COUNT: ft_json_set_u64(json, object, name, *(const uint64_t *)at); break;
    case FT_KEY_NUMBER: ft_json_set_double(json, object, name, *(const double *)at); break;
    case FT_KEY_LIST: describe_list(at, json, object, name); break;
    case FT_KEY_PATTERN: describe_pattern(key, at, json, object, name); break;
    }
}

static bool has_default(const struct ft_recipe *recipe, const struct ft_recipe_key *key) {
    const void *at = ft_recipe_member_of(recipe, key);
    if (key->type == FT_KEY_LIST || key->type == FT_KEY_PATTERN)
        return ((const struct ft_recipe_words *)at)->count == 0;
    if (key->type == FT_KEY_BOOL) return *(const bool *)at == (key->lora_default != 0);
    return key->type == FT_KEY_CHOICE && *(const unsigned *)at == (unsigned)key->lora_default;
}

void ft_recipe_describe(const struct ft_recipe *recipe, struct ft_json *json, struct cJSON *object) {
    struct cJSON *lora = recipe->method == FT_METHOD_LORA ? ft_json_set_object(json, object, "lora") : NULL;
    struct cJSON *save = ft_json_set_object(json, object, "save");
    for (size_t i = 0; i < ft_recipe_keys; i++) {
        const struct ft_recipe_key *key = &ft_recipe_key[i];
        if (!ft_recipe_applies(recipe, key)) continue;
        if (key->applies == FT_KEY_LORA_GIVEN && has_default(recipe, key)) continue;
        if (strcmp(key->name, recipe->steps ? "epochs" : "steps") == 0) continue;
        const char *dot = strchr(key->name, '.');
        struct cJSON *parent = !dot ? object : key->name[0] == 'l' ? lora : save;
        describe_key(recipe, key, json, parent, dot ? dot + 1 : key->name);
    }
}

enum ft_status ft_recipe_digest(const struct ft_recipe *recipe, char hex[FT_SHA256_HEX],
                                struct ft_error *error) {
    struct ft_json json = {0};
    struct ft_buffer text = {.max = RECIPE_TEXT_MAX};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (!status) {
        ft_recipe_describe(recipe, &json, json.root);
        status = ft_json_print(&json, json.root, FT_JSON_SORTED, &text, error);
    }
    if (!status) ft_sha256_hex(text.data, text.size, hex);
    ft_buffer_release(&text);
    ft_json_release(&json);
    return status;
}

enum ft_status ft_recipe_save(const struct ft_recipe *recipe, const char *path, struct ft_error *error) {
    struct ft_json json = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (!status) {
        ft_recipe_describe(recipe, &json, json.root);
        status = ft_json_save(&json, path, FT_JSON_SORTED | FT_JSON_PRETTY, FT_OUTPUT_KEEP, error);
    }
    ft_json_release(&json);
    return status;
}
