/* SPDX-License-Identifier: MIT
 *
 * A recipe is read, set key by key, and resolved. */
#include "recipe_key.h"

#include "ft/memory.h"
#include "ft/options.h"
#include "ft/utf8.h"

#include <stdio.h>
#include <string.h>

enum { RECIPE_FILE_MAX = 1 << 20, RECIPE_WORD_MAX = 4096 };

void ft_recipe_init(struct ft_recipe *recipe) { *recipe = (struct ft_recipe){0}; }

void ft_recipe_release(struct ft_recipe *recipe) {
    for (size_t i = 0; i < ft_recipe_keys; i++)
        if (ft_recipe_key[i].type == FT_KEY_LIST || ft_recipe_key[i].type == FT_KEY_PATTERN)
            ft_recipe_clear_words(ft_recipe_member(recipe, &ft_recipe_key[i]));
    *recipe = (struct ft_recipe){0};
}

static bool is_given(const struct ft_recipe *recipe, const char *name) {
    const struct ft_recipe_key *key = ft_recipe_find_key(name, strlen(name));
    return recipe->given >> (key - ft_recipe_key) & 1u;
}

/* --- JSON ----------------------------------------------------------------------------------------------- */

/* {"q_proj": 8} for a pattern. */
static enum ft_status add_entry(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                const struct ft_json *json, const struct cJSON *node,
                                struct ft_error *error) {
    struct ft_buffer text = {.max = RECIPE_WORD_MAX};
    double value = 0;
    char number[FT_NUMBER_TEXT];
    enum ft_status status = ft_json_double(json, node, &value, error);
    ft_format_double(number, value);
    if (!status) status = ft_buffer_printf(&text, error, "%s=%s", ft_json_key(node), number);
    if (!status) status = ft_recipe_add_word(recipe, key, text.data, text.size, error);
    ft_buffer_release(&text);
    return status;
}

static enum ft_status add_item(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                               const struct ft_json *json, const struct cJSON *node, struct ft_error *error) {
    const char *word;
    uint64_t number;
    char text[32];
    if (key->type == FT_KEY_PATTERN) return add_entry(recipe, key, json, node, error);
    if (ft_json_type(node) == FT_JSON_NUMBER) { /* a layer */
        enum ft_status status = ft_json_u64(json, node, 0, FT_LAYERS_MAX, &number, error);
        if (status) return status;
        snprintf(text, sizeof text, "%llu", (unsigned long long)number);
        return ft_recipe_add_word(recipe, key, text, strlen(text), error);
    }
    enum ft_status status = ft_json_string(json, node, &word, error);
    return status ? status : ft_recipe_add_word(recipe, key, word, strlen(word), error);
}

/* An array (of a pattern: an object), or a string as after -s. */
static enum ft_status store_list(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                 const struct ft_json *json, const struct cJSON *node,
                                 struct ft_error *error) {
    struct ft_recipe_words *words = ft_recipe_member(recipe, key);
    const char *word;
    enum ft_status status;
    if (ft_json_type(node) == FT_JSON_STRING) {
        status = ft_json_string(json, node, &word, error);
        return status ? status : ft_recipe_store_words(recipe, key, word, error);
    }
    status = ft_json_expect(json, node, key->type == FT_KEY_PATTERN ? FT_JSON_OBJECT : FT_JSON_ARRAY, error);
    ft_recipe_clear_words(words);
    for (const struct cJSON *item = status ? NULL : ft_json_first(node); item && !status;
         item = ft_json_next(item))
        status = add_item(recipe, key, json, item, error);
    if (!status && words->count == 0) status = ft_json_fail(json, node, error, "an empty list");
    return status;
}

static enum ft_status store_node(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                 const struct ft_json *json, const struct cJSON *node,
                                 struct ft_error *error) {
    enum ft_status status;
    const char *word;
    double number;
    uint64_t count;
    switch (key->type) {
    case FT_KEY_BOOL: return ft_json_bool(json, node, ft_recipe_member(recipe, key), error);
    case FT_KEY_NUMBER:
        status = ft_json_double(json, node, &number, error);
        return status ? status : ft_recipe_store_number(recipe, key, number, error);
    case FT_KEY_COUNT:
        status = ft_json_u64(json, node, 0, (uint64_t)FT_RECIPE_COUNT_END - 1, &count, error);
        return status ? status : ft_recipe_store_number(recipe, key, (double)count, error);
    case FT_KEY_CHOICE:
        status = ft_json_string(json, node, &word, error);
        return status ? status : ft_recipe_store_choice(recipe, key, word, error);
    case FT_KEY_LIST:
    case FT_KEY_PATTERN: break;
    }
    return store_list(recipe, key, json, node, error);
}

static enum ft_status read_object(struct ft_recipe *recipe, const struct ft_json *json,
                                  const struct cJSON *object, const char *prefix, uint64_t *seen,
                                  struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (const struct cJSON *node = ft_json_first(object); node && !status; node = ft_json_next(node)) {
        struct ft_buffer name = {.max = RECIPE_WORD_MAX};
        status = ft_buffer_printf(&name, error, "%s%s", prefix, ft_json_key(node));
        const struct ft_recipe_key *key = status ? NULL : ft_recipe_find_key(name.data, name.size);
        if (key) {
            uint64_t bit = (uint64_t)1 << (key - ft_recipe_key);
            if (*seen & bit) status = ft_json_fail(json, node, error, "%s is given twice", key->name);
            else status = store_node(recipe, key, json, node, error);
            *seen |= bit;
            recipe->given |= bit;
        } else if (!status && !*prefix && ft_json_type(node) == FT_JSON_OBJECT &&
                   (strcmp(name.data, "lora") == 0 || strcmp(name.data, "save") == 0)) {
            status = ft_buffer_string(&name, ".", error);
            if (!status) status = read_object(recipe, json, node, name.data, seen, error);
        } else if (!status) {
            status = ft_recipe_unknown_key(name.data, error);
        }
        ft_buffer_release(&name);
    }
    return status;
}

enum ft_status ft_recipe_read(struct ft_recipe *recipe, const char *path, struct ft_error *error) {
    struct ft_json json = {0};
    enum ft_status status = ft_json_read(&json, path, RECIPE_FILE_MAX, error);
    if (status) return status;
    status = ft_json_expect(&json, json.root, FT_JSON_OBJECT, error);
    if (!status) {
        struct ft_error inner = {0};
        uint64_t seen = 0; /* "lora.rank" may be written as {"lora": {"rank": ...}}, too */
        status = read_object(recipe, &json, json.root, "", &seen, &inner);
        if (status) {
            *error = inner;
            if (strncmp(inner.message, path, strlen(path)) != 0) status = ft_error_context(error, "%s", path);
        }
    }
    ft_json_release(&json);
    return status;
}

/* --- key=value ------------------------------------------------------------------------------------------ */

static enum ft_status store_word(struct ft_recipe *recipe, const struct ft_recipe_key *key, const char *word,
                                 struct ft_error *error) {
    uint64_t count;
    double number;
    enum ft_status status;
    switch (key->type) {
    case FT_KEY_CHOICE: return ft_recipe_store_choice(recipe, key, word, error);
    case FT_KEY_LIST:
    case FT_KEY_PATTERN: return ft_recipe_store_words(recipe, key, word, error);
    case FT_KEY_BOOL:
        if (strcmp(word, "true") != 0 && strcmp(word, "false") != 0)
            return ft_fail(error, FT_USAGE, "%s: '%.64s' is neither true nor false", key->name, word);
        *(bool *)ft_recipe_member(recipe, key) = word[0] == 't';
        return FT_OK;
    case FT_KEY_COUNT:
        status = ft_parse_u64(word, key->name, &count, error);
        return status ? status : ft_recipe_store_number(recipe, key, (double)count, error);
    case FT_KEY_NUMBER: break;
    }
    status = ft_parse_double(word, key->name, &number, error);
    return status ? status : ft_recipe_store_number(recipe, key, number, error);
}

enum ft_status ft_recipe_set(struct ft_recipe *recipe, const char *word, struct ft_error *error) {
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return ft_fail(error, FT_USAGE, "-s %.64s: key=value is expected, e.g. -s lr=1e-3", word);
    if (!ft_utf8_valid(equals, strlen(equals))) /* it will stand in a recipe.json */
        return ft_fail(error, FT_USAGE, "-s %.64s: the value is not UTF-8", word);
    size_t length = (size_t)(equals - word);
    const struct ft_recipe_key *key = ft_recipe_find_key(word, length);
    enum ft_status status;
    if (key) {
        status = store_word(recipe, key, equals + 1, error);
    } else {
        char name[65];
        size_t kept = length < sizeof name - 1 ? length : sizeof name - 1;
        memcpy(name, word, kept);
        name[kept] = '\0';
        status = ft_recipe_unknown_key(name, error);
    }
    if (status) {
        ft_error_context(error, "-s %.64s", word);
        return status;
    }
    recipe->given |= (uint64_t)1 << (key - ft_recipe_key);
    /* the later word decides between the two ways to say how long */
    if (strcmp(key->name, "steps") == 0)
        recipe->given &= ~((uint64_t)1 << (ft_recipe_find_key("epochs", 6) - ft_recipe_key));
    if (strcmp(key->name, "epochs") == 0)
        recipe->given &= ~((uint64_t)1 << (ft_recipe_find_key("steps", 5) - ft_recipe_key));
    return FT_OK;
}

/* --- resolving ------------------------------------------------------------------------------------------ */

static enum ft_status take_default(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                   struct ft_error *error) {
    double value = recipe->method == FT_METHOD_LORA ? key->lora_default : key->full_default;
    switch (key->type) {
    case FT_KEY_CHOICE: *(unsigned *)ft_recipe_member(recipe, key) = (unsigned)value; break;
    case FT_KEY_BOOL: *(bool *)ft_recipe_member(recipe, key) = value != 0; break;
    case FT_KEY_COUNT: *(uint64_t *)ft_recipe_member(recipe, key) = (uint64_t)value; break;
    case FT_KEY_NUMBER: *(double *)ft_recipe_member(recipe, key) = value; break;
    case FT_KEY_LIST:
        ft_recipe_clear_words(ft_recipe_member(recipe, key));
        if (strcmp(key->name, "lora.targets") == 0)
            return ft_recipe_store_words(recipe, key, "all-linear", error);
        break;
    case FT_KEY_PATTERN: ft_recipe_clear_words(ft_recipe_member(recipe, key)); break;
    }
    return FT_OK;
}

static enum ft_status check_together(const struct ft_recipe *recipe, struct ft_error *error) {
    if (is_given(recipe, "steps") && is_given(recipe, "epochs"))
        return ft_fail(error, FT_USAGE, "recipe: steps and epochs are both given; keep one of them");
    if (recipe->method == FT_METHOD_LORA && recipe->init == FT_INIT_RANDOM)
        return ft_fail(error, FT_USAGE,
                       "recipe: LoRA adapts a trained model; with init random use method full");
    if (recipe->grad_shards != 1)
        return ft_fail(error, FT_UNSUPPORTED, "recipe: grad_shards %llu: only 1 is supported so far",
                       (unsigned long long)recipe->grad_shards);
    struct ft_recipe_lora lora;
    if (recipe->method == FT_METHOD_LORA && ft_recipe_lora(&lora, recipe, error)) return FT_USAGE;
    for (size_t i = 0; i < ft_recipe_keys; i++)
        if ((recipe->given >> i & 1u) && !ft_recipe_applies(recipe, &ft_recipe_key[i]))
            return ft_fail(error, FT_USAGE, "recipe: %s has no meaning with method %s; leave it out",
                           ft_recipe_key[i].name, ft_recipe_key[0].choices[recipe->method]);
    return FT_OK;
}

enum ft_status ft_recipe_resolve(struct ft_recipe *recipe, struct ft_error *error) {
    /* From nothing there is nothing to adapt: --init random alone means full training. */
    if (!is_given(recipe, "method"))
        recipe->method =
            is_given(recipe, "init") && recipe->init == FT_INIT_RANDOM ? FT_METHOD_FULL : FT_METHOD_LORA;
    enum ft_status status = FT_OK;
    for (size_t i = 1; i < ft_recipe_keys && !status; i++) {
        if (recipe->given >> i & 1u) continue;
        status = take_default(recipe, &ft_recipe_key[i], error);
    }
    if (status) return status;
    if (is_given(recipe, "steps") && !is_given(recipe, "epochs")) recipe->epochs = 0;
    else if (!is_given(recipe, "steps")) recipe->steps = 0;
    return check_together(recipe, error);
}
