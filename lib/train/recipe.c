/* SPDX-License-Identifier: MIT
 *
 * One table of keys drives reading, checking, defaults and writing, so that they cannot disagree. */
#include "ft/recipe.h"

#include "ft/commit.h"
#include "ft/memory.h"
#include "ft/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECIPE_FILE_MAX = 1 << 20, RECIPE_WORD_MAX = 4096 };

enum value_type { CHOICE, COUNT, NUMBER, BOOL, LIST, PATTERN };
/* LORA_GIVEN: not written where it has its default, so that recipes older than the key keep their digest. */
enum applies { ALWAYS, LORA_ONLY, LORA_GIVEN, FULL_ONLY };

struct key {
    const char *name;
    enum value_type type;
    enum applies applies;
    size_t offset;
    double min, max;          /* COUNT, NUMBER */
    bool above_min, below_max; /* the bound itself is refused */
    const char *const *choices; /* CHOICE: in the order of the enum */
    double lora_default, full_default; /* CHOICE: the index; BOOL: 0 or 1 */
};

static const char *const methods[] = {"lora", "full", NULL};
static const char *const inits[] = {"model", "random", NULL};
static const char *const schedules[] = {"cosine", "linear", "constant", NULL};
static const char *const biases[] = {"none", "all", "lora_only", NULL};
static const char *const save_dtypes[] = {"model", "f32", "bf16", "f16", NULL};

#define AT(member) offsetof(struct ft_recipe, member)
#define ENUM(key, member, words, value) {key, CHOICE, ALWAYS, AT(member), 0, 0, false, false, words, value, value}

/* Counts stay below 2^53, so that every JSON reader holds them exactly. */
static const double most = 9007199254740992.0;

static const struct key keys[] = {
    ENUM("method", method, methods, FT_METHOD_LORA),
    ENUM("init", init, inits, FT_INIT_MODEL),
    {"seed", COUNT, ALWAYS, AT(seed), 0, most, false, true, NULL, 1, 1},
    {"epochs", NUMBER, ALWAYS, AT(epochs), 0, 1e6, true, false, NULL, 3, 3},
    {"steps", COUNT, ALWAYS, AT(steps), 1, 4294967295.0, false, false, NULL, 0, 0},
    {"batch", COUNT, ALWAYS, AT(batch), 1, 1 << 24, false, false, NULL, 16, 16},
    {"shuffle", BOOL, ALWAYS, AT(shuffle), 0, 1, false, false, NULL, 1, 1},
    {"lr", NUMBER, ALWAYS, AT(lr), 0, 1e3, false, false, NULL, 1e-3, 1e-4},
    ENUM("schedule", schedule, schedules, FT_SCHEDULE_COSINE),
    {"warmup", NUMBER, ALWAYS, AT(warmup), 0, 4294967295.0, false, false, NULL, 0.03, 0.03},
    {"min_lr", NUMBER, ALWAYS, AT(min_lr), 0, 1, false, false, NULL, 0, 0},
    {"beta1", NUMBER, ALWAYS, AT(beta1), 0, 1, false, true, NULL, 0.9, 0.9},
    {"beta2", NUMBER, ALWAYS, AT(beta2), 0, 1, false, true, NULL, 0.999, 0.999},
    {"eps", NUMBER, ALWAYS, AT(eps), 1e-30, 1, false, false, NULL, 1e-8, 1e-8},
    {"weight_decay", NUMBER, ALWAYS, AT(weight_decay), 0, 1e3, false, false, NULL, 0, 0.01},
    {"clip", NUMBER, ALWAYS, AT(clip), 0, 1e30, false, false, NULL, 1, 1},
    {"grad_shards", COUNT, ALWAYS, AT(grad_shards), 1, 1 << 20, false, false, NULL, 1, 1},
    {"eval_every", COUNT, ALWAYS, AT(eval_every), 0, 4294967295.0, false, false, NULL, 0, 0},
    {"save_every", COUNT, ALWAYS, AT(save_every), 0, 4294967295.0, false, false, NULL, 0, 0},
    {"patience", COUNT, ALWAYS, AT(patience), 0, 4294967295.0, false, false, NULL, 0, 0},
    {"lora.rank", COUNT, LORA_ONLY, AT(lora_rank), 1, 4096, false, false, NULL, 16, 16},
    {"lora.alpha", NUMBER, LORA_ONLY, AT(lora_alpha), 0, 1e6, true, false, NULL, 32, 32},
    {"lora.rslora", BOOL, LORA_ONLY, AT(lora_rslora), 0, 1, false, false, NULL, 0, 0},
    {"lora.dora", BOOL, LORA_GIVEN, AT(lora_dora), 0, 1, false, false, NULL, 0, 0},
    {"lora.targets", LIST, LORA_ONLY, AT(lora_targets), 0, 0, false, false, NULL, 0, 0},
    {"lora.exclude", LIST, LORA_GIVEN, AT(lora_exclude), 0, 0, false, false, NULL, 0, 0},
    {"lora.layers", LIST, LORA_GIVEN, AT(lora_layers), 0, 0, false, false, NULL, 0, 0},
    {"lora.rank_pattern", PATTERN, LORA_GIVEN, AT(lora_rank_pattern), 1, 4096, false, false, NULL, 0, 0},
    {"lora.alpha_pattern", PATTERN, LORA_GIVEN, AT(lora_alpha_pattern), 0, 1e6, true, false, NULL, 0, 0},
    {"lora.save_modules", LIST, LORA_GIVEN, AT(lora_save_modules), 0, 0, false, false, NULL, 0, 0},
    {"lora.bias", CHOICE, LORA_GIVEN, AT(lora_bias), 0, 0, false, false, biases, FT_LORA_BIAS_NONE, FT_LORA_BIAS_NONE},
    {"save.dtype", CHOICE, FULL_ONLY, AT(save_dtype), 0, 0, false, false, save_dtypes, FT_SAVE_F32, FT_SAVE_F32},
    {"save.state", BOOL, ALWAYS, AT(save_state), 0, 1, false, false, NULL, 1, 1},
};
enum { KEYS = sizeof keys / sizeof *keys };
_Static_assert(KEYS <= 64, "the mask of given keys has 64 bits");

static void *member(struct ft_recipe *recipe, const struct key *key) { return (char *)recipe + key->offset; }
static const void *member_of(const struct ft_recipe *recipe, const struct key *key) {
    return (const char *)recipe + key->offset;
}

static const struct key *find_key(const char *name, size_t length) {
    for (size_t i = 0; i < KEYS; i++)
        if (strlen(keys[i].name) == length && memcmp(keys[i].name, name, length) == 0) return &keys[i];
    return NULL;
}

static bool is_given(const struct ft_recipe *recipe, const char *name) {
    const struct key *key = find_key(name, strlen(name));
    return recipe->given >> (key - keys) & 1u;
}

/* "; did you mean lora.rank?" or where to find the list, for unknown keys. */
static enum ft_status unknown_key(const char *name, struct ft_error *error) {
    const char *names[KEYS + 1];
    for (size_t i = 0; i < KEYS; i++) names[i] = keys[i].name;
    names[KEYS] = NULL;
    const char *near = ft_nearest(name, names);
    if (near) return ft_fail(error, FT_FORMAT, "%.64s: no such recipe key; did you mean %s?", name, near);
    return ft_fail(error, FT_FORMAT, "%.64s: no such recipe key; ft-recipe(5) lists them", name);
}

void ft_recipe_init(struct ft_recipe *recipe) { *recipe = (struct ft_recipe){0}; }

static void clear_words(struct ft_recipe_words *words) {
    for (size_t i = 0; i < words->count; i++) free(words->item[i]);
    words->count = 0;
}

void ft_recipe_release(struct ft_recipe *recipe) {
    for (size_t i = 0; i < KEYS; i++)
        if (keys[i].type == LIST || keys[i].type == PATTERN) clear_words(member(recipe, &keys[i]));
    *recipe = (struct ft_recipe){0};
}

/* --- one value ------------------------------------------------------------------------------------------- */

static enum ft_status store_number(struct ft_recipe *recipe, const struct key *key, double value,
                                   struct ft_error *error) {
    bool low = key->above_min ? value <= key->min : value < key->min;
    bool high = key->below_max ? value >= key->max : value > key->max;
    if (low || high)
        return ft_fail(error, FT_FORMAT, "%s: %.17g is outside %s%.10g, %.10g%s", key->name, value,
                       key->above_min ? "(" : "[", key->min, key->max, key->below_max ? ")" : "]");
    if (key->type == COUNT) *(uint64_t *)member(recipe, key) = (uint64_t)value;
    else *(double *)member(recipe, key) = value;
    return FT_OK;
}

static enum ft_status store_choice(struct ft_recipe *recipe, const struct key *key, const char *word,
                                   struct ft_error *error) {
    for (unsigned i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], word) == 0) {
            *(unsigned *)member(recipe, key) = i; /* an enum without negative values is an unsigned */
            return FT_OK;
        }
    char list[256] = "";
    for (unsigned i = 0; key->choices[i]; i++) {
        strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, key->choices[i], sizeof list - strlen(list) - 1);
    }
    return ft_fail(error, FT_FORMAT, "%s: '%.64s' is unknown; choose one of %s", key->name, word, list);
}

bool ft_recipe_is_expression(const char *target) { return strpbrk(target, "*+?()[]{}|\\^$") != NULL; }

/* Where a word belongs: sorted, so that order in the recipe cannot matter; but the first pattern that matches decides, so
 * patterns stay as they are. True when it is there already. */
static bool find_word(const struct ft_recipe_words *words, const struct key *key, const char *word, size_t length, size_t *at) {
    for (*at = 0; *at < words->count; ++*at) {
        int order = strncmp(words->item[*at], word, length);
        if (order == 0 && words->item[*at][length] == '\0') return true;
        if (order >= 0 && key->type == LIST) break;
    }
    return false;
}

static enum ft_status add_word(struct ft_recipe *recipe, const struct key *key, const char *word, size_t length,
                               struct ft_error *error) {
    struct ft_recipe_words *words = member(recipe, key);
    size_t at;
    if (length == 0) return ft_fail(error, FT_FORMAT, "%s: an empty name", key->name);
    if (words->count == FT_RECIPE_WORDS_MAX)
        return ft_fail(error, FT_FORMAT, "%s: more than %u names", key->name, FT_RECIPE_WORDS_MAX);
    if (find_word(words, key, word, length, &at)) return FT_OK;
    char *copy = NULL;
    if (ft_alloc(&copy, length + 1, 1, error)) return FT_NOMEM;
    memcpy(copy, word, length);
    memmove(&words->item[at + 1], &words->item[at], (words->count - at) * sizeof *words->item);
    words->item[at] = copy;
    words->count++;
    return FT_OK;
}

/* Separated by commas, unless all of it is one regular expression. */
static enum ft_status store_words(struct ft_recipe *recipe, const struct key *key, const char *words, struct ft_error *error) {
    clear_words(member(recipe, key));
    if (key->type == LIST && ft_recipe_is_expression(words)) return add_word(recipe, key, words, strlen(words), error);
    for (const char *p = words;;) {
        size_t length = strcspn(p, ",");
        enum ft_status status = add_word(recipe, key, p, length, error);
        if (status || !p[length]) return status;
        p += length + 1;
    }
}

/* "key=value" taken apart, the key into `room`; it may have '=' in it. */
static enum ft_status split_pattern(const struct key *key, const char *word, char room[FT_RECIPE_KEY_MAX],
                                    struct ft_lora_pattern *pattern, struct ft_error *error) {
    const char *equals = strrchr(word, '=');
    if (!equals || equals == word || equals - word >= FT_RECIPE_KEY_MAX)
        return ft_fail(error, FT_FORMAT, "%s: '%.64s' is not name=value", key->name, word);
    double value;
    enum ft_status status = ft_parse_double(equals + 1, key->name, &value, error);
    if (status) return status;
    bool low = key->above_min ? value <= key->min : value < key->min;
    if (low || value > key->max)
        return ft_fail(error, FT_FORMAT, "%s: %.17g is outside %s%.10g, %.10g]", key->name, value, key->above_min ? "(" : "[",
                       key->min, key->max);
    memcpy(room, word, (size_t)(equals - word));
    room[equals - word] = '\0';
    pattern->key = room;
    pattern->value = value;
    return FT_OK;
}

/* --- JSON ------------------------------------------------------------------------------------------------ */

/* {"q_proj": 8} for a pattern. */
static enum ft_status add_entry(struct ft_recipe *recipe, const struct key *key, const struct ft_json *json,
                                const struct cJSON *node, struct ft_error *error) {
    struct ft_buffer text = {.max = RECIPE_WORD_MAX};
    double value = 0;
    char number[FT_NUMBER_TEXT];
    enum ft_status status = ft_json_double(json, node, &value, error);
    ft_format_double(number, value);
    if (!status) status = ft_buffer_printf(&text, error, "%s=%s", ft_json_key(node), number);
    if (!status) status = add_word(recipe, key, text.data, text.size, error);
    ft_buffer_release(&text);
    return status;
}

static enum ft_status add_item(struct ft_recipe *recipe, const struct key *key, const struct ft_json *json,
                               const struct cJSON *node, struct ft_error *error) {
    const char *word;
    uint64_t number;
    char text[32];
    if (key->type == PATTERN) return add_entry(recipe, key, json, node, error);
    if (ft_json_type(node) == FT_JSON_NUMBER) { /* a layer */
        enum ft_status status = ft_json_u64(json, node, 0, FT_LAYERS_MAX, &number, error);
        if (status) return status;
        snprintf(text, sizeof text, "%llu", (unsigned long long)number);
        return add_word(recipe, key, text, strlen(text), error);
    }
    enum ft_status status = ft_json_string(json, node, &word, error);
    return status ? status : add_word(recipe, key, word, strlen(word), error);
}

/* An array (of a pattern: an object), or a string as after -s. */
static enum ft_status store_list(struct ft_recipe *recipe, const struct key *key, const struct ft_json *json,
                                 const struct cJSON *node, struct ft_error *error) {
    struct ft_recipe_words *words = member(recipe, key);
    const char *word;
    enum ft_status status;
    if (ft_json_type(node) == FT_JSON_STRING) {
        status = ft_json_string(json, node, &word, error);
        return status ? status : store_words(recipe, key, word, error);
    }
    status = ft_json_expect(json, node, key->type == PATTERN ? FT_JSON_OBJECT : FT_JSON_ARRAY, error);
    clear_words(words);
    for (const struct cJSON *item = status ? NULL : ft_json_first(node); item && !status; item = ft_json_next(item))
        status = add_item(recipe, key, json, item, error);
    if (!status && words->count == 0) status = ft_json_fail(json, node, error, "an empty list");
    return status;
}

static enum ft_status store_node(struct ft_recipe *recipe, const struct key *key, const struct ft_json *json,
                                 const struct cJSON *node, struct ft_error *error) {
    enum ft_status status;
    const char *word;
    double number;
    uint64_t count;
    switch (key->type) {
    case BOOL: return ft_json_bool(json, node, member(recipe, key), error);
    case NUMBER:
        status = ft_json_double(json, node, &number, error);
        return status ? status : store_number(recipe, key, number, error);
    case COUNT:
        status = ft_json_u64(json, node, 0, (uint64_t)most - 1, &count, error);
        return status ? status : store_number(recipe, key, (double)count, error);
    case CHOICE:
        status = ft_json_string(json, node, &word, error);
        return status ? status : store_choice(recipe, key, word, error);
    case LIST:
    case PATTERN: break;
    }
    return store_list(recipe, key, json, node, error);
}

static enum ft_status read_object(struct ft_recipe *recipe, const struct ft_json *json, const struct cJSON *object,
                                  const char *prefix, uint64_t *seen, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (const struct cJSON *node = ft_json_first(object); node && !status; node = ft_json_next(node)) {
        struct ft_buffer name = {.max = RECIPE_WORD_MAX};
        status = ft_buffer_printf(&name, error, "%s%s", prefix, ft_json_key(node));
        const struct key *key = status ? NULL : find_key(name.data, name.size);
        if (key) {
            uint64_t bit = (uint64_t)1 << (key - keys);
            if (*seen & bit) status = ft_json_fail(json, node, error, "%s is given twice", key->name);
            else status = store_node(recipe, key, json, node, error);
            *seen |= bit;
            recipe->given |= bit;
        } else if (!status && !*prefix && ft_json_type(node) == FT_JSON_OBJECT &&
                   (strcmp(name.data, "lora") == 0 || strcmp(name.data, "save") == 0)) {
            status = ft_buffer_string(&name, ".", error);
            if (!status) status = read_object(recipe, json, node, name.data, seen, error);
        } else if (!status) {
            status = unknown_key(name.data, error);
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

/* --- key=value ------------------------------------------------------------------------------------------- */

static enum ft_status store_word(struct ft_recipe *recipe, const struct key *key, const char *word,
                                 struct ft_error *error) {
    uint64_t count;
    double number;
    enum ft_status status;
    switch (key->type) {
    case CHOICE: return store_choice(recipe, key, word, error);
    case LIST:
    case PATTERN: return store_words(recipe, key, word, error);
    case BOOL:
        if (strcmp(word, "true") != 0 && strcmp(word, "false") != 0)
            return ft_fail(error, FT_USAGE, "%s: '%.64s' is neither true nor false", key->name, word);
        *(bool *)member(recipe, key) = word[0] == 't';
        return FT_OK;
    case COUNT:
        status = ft_parse_u64(word, key->name, &count, error);
        return status ? status : store_number(recipe, key, (double)count, error);
    case NUMBER: break;
    }
    status = ft_parse_double(word, key->name, &number, error);
    return status ? status : store_number(recipe, key, number, error);
}

enum ft_status ft_recipe_set(struct ft_recipe *recipe, const char *word, struct ft_error *error) {
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return ft_fail(error, FT_USAGE, "-s %.64s: key=value is expected, e.g. -s lr=1e-3", word);
    size_t length = (size_t)(equals - word);
    const struct key *key = find_key(word, length);
    enum ft_status status;
    if (key) {
        status = store_word(recipe, key, equals + 1, error);
    } else {
        char name[65];
        size_t kept = length < sizeof name - 1 ? length : sizeof name - 1;
        memcpy(name, word, kept);
        name[kept] = '\0';
        status = unknown_key(name, error);
    }
    if (status) {
        ft_error_context(error, "-s %.64s", word);
        return status;
    }
    recipe->given |= (uint64_t)1 << (key - keys);
    /* the later word decides between the two ways to say how long */
    if (strcmp(key->name, "steps") == 0) recipe->given &= ~((uint64_t)1 << (find_key("epochs", 6) - keys));
    if (strcmp(key->name, "epochs") == 0) recipe->given &= ~((uint64_t)1 << (find_key("steps", 5) - keys));
    return FT_OK;
}

/* --- the adapter ----------------------------------------------------------------------------------------- */

static enum ft_status take_patterns(const struct ft_recipe *recipe, const char *name, char (*room)[FT_RECIPE_KEY_MAX],
                                    struct ft_lora_pattern *item, struct ft_lora_patterns *patterns, struct ft_error *error) {
    const struct key *key = find_key(name, strlen(name));
    const struct ft_recipe_words *words = member_of(recipe, key);
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < words->count && !status; i++) status = split_pattern(key, words->item[i], room[i], &item[i], error);
    *patterns = (struct ft_lora_patterns){item, words->count};
    return status;
}

static enum ft_status take_layers(const struct ft_recipe_words *words, size_t *layers, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < words->count && !status; i++) {
        uint64_t number;
        status = ft_parse_u64(words->item[i], "lora.layers", &number, error);
        if (!status && number >= FT_LAYERS_MAX)
            status = ft_fail(error, FT_FORMAT, "lora.layers: %s is no layer's number", words->item[i]);
        if (!status) layers[i] = (size_t)number;
    }
    return status;
}

/* A list of names, or one expression. */
static enum ft_status take_names(const char *key, const struct ft_recipe_words *words, struct ft_lora_names *names,
                                 const char **expression, struct ft_error *error) {
    for (size_t i = 0; i < words->count; i++) {
        if (!ft_recipe_is_expression(words->item[i])) continue;
        if (!expression || words->count > 1)
            return ft_fail(error, FT_FORMAT, "%s: '%.64s' is a regular expression, which must stand alone, not in a list, and for targets and exclude only",
                           key, words->item[i]);
        *expression = words->item[i];
        return FT_OK;
    }
    *names = (struct ft_lora_names){(const char *const *)words->item, words->count};
    return FT_OK;
}

enum ft_status ft_recipe_lora(struct ft_recipe_lora *lora, const struct ft_recipe *recipe, struct ft_error *error) {
    struct ft_lora_spec *spec = &lora->spec;
    const struct ft_recipe_words *targets = &recipe->lora_targets;
    *spec = (struct ft_lora_spec){.rank = (size_t)recipe->lora_rank,
                                  .alpha = recipe->lora_alpha,
                                  .rslora = recipe->lora_rslora,
                                  .dora = recipe->lora_dora,
                                  .layers = lora->layers,
                                  .layer_count = recipe->lora_layers.count,
                                  .bias = recipe->lora_bias,
                                  .seed = recipe->seed};
    enum ft_status status = FT_OK;
    if (targets->count != 1 || strcmp(targets->item[0], "all-linear") != 0)
        status = take_names("lora.targets", targets, &spec->targets, &spec->target_expression, error);
    if (!status)
        status = take_names("lora.exclude", &recipe->lora_exclude, &spec->excluded, &spec->excluded_expression, error);
    if (!status) status = take_names("lora.save_modules", &recipe->lora_save_modules, &spec->saved, NULL, error);
    if (!status) status = take_layers(&recipe->lora_layers, lora->layers, error);
    if (!status) status = take_patterns(recipe, "lora.rank_pattern", lora->keys, lora->ranks, &spec->ranks, error);
    if (!status)
        status = take_patterns(recipe, "lora.alpha_pattern", lora->keys + FT_RECIPE_WORDS_MAX, lora->alphas, &spec->alphas, error);
    return status;
}

/* --- resolving ------------------------------------------------------------------------------------------- */

static bool applies(const struct ft_recipe *recipe, const struct key *key) {
    if (key->applies == LORA_ONLY || key->applies == LORA_GIVEN) return recipe->method == FT_METHOD_LORA;
    if (key->applies == FULL_ONLY) return recipe->method == FT_METHOD_FULL;
    return true;
}

static enum ft_status take_default(struct ft_recipe *recipe, const struct key *key, struct ft_error *error) {
    double value = recipe->method == FT_METHOD_LORA ? key->lora_default : key->full_default;
    switch (key->type) {
    case CHOICE: *(unsigned *)member(recipe, key) = (unsigned)value; break;
    case BOOL: *(bool *)member(recipe, key) = value != 0; break;
    case COUNT: *(uint64_t *)member(recipe, key) = (uint64_t)value; break;
    case NUMBER: *(double *)member(recipe, key) = value; break;
    case LIST:
        clear_words(member(recipe, key));
        if (strcmp(key->name, "lora.targets") == 0) return store_words(recipe, key, "all-linear", error);
        break;
    case PATTERN: clear_words(member(recipe, key)); break;
    }
    return FT_OK;
}

static enum ft_status check_together(const struct ft_recipe *recipe, struct ft_error *error) {
    if (is_given(recipe, "steps") && is_given(recipe, "epochs"))
        return ft_fail(error, FT_USAGE, "recipe: steps and epochs are both given; keep one of them");
    if (recipe->method == FT_METHOD_LORA && recipe->init == FT_INIT_RANDOM)
        return ft_fail(error, FT_USAGE, "recipe: LoRA adapts a trained model; with init random use method full");
    if (recipe->grad_shards != 1)
        return ft_fail(error, FT_UNSUPPORTED, "recipe: grad_shards %llu: only 1 is supported so far",
                       (unsigned long long)recipe->grad_shards);
    struct ft_recipe_lora lora;
    if (recipe->method == FT_METHOD_LORA && ft_recipe_lora(&lora, recipe, error)) return FT_USAGE;
    for (size_t i = 0; i < KEYS; i++)
        if ((recipe->given >> i & 1u) && !applies(recipe, &keys[i]))
            return ft_fail(error, FT_USAGE, "recipe: %s has no meaning with method %s; leave it out", keys[i].name,
                           methods[recipe->method]);
    return FT_OK;
}

enum ft_status ft_recipe_resolve(struct ft_recipe *recipe, struct ft_error *error) {
    /* From nothing there is nothing to adapt: --init random alone means full training. */
    if (!is_given(recipe, "method"))
        recipe->method = is_given(recipe, "init") && recipe->init == FT_INIT_RANDOM ? FT_METHOD_FULL : FT_METHOD_LORA;
    enum ft_status status = FT_OK;
    for (size_t i = 1; i < KEYS && !status; i++) {
        if (recipe->given >> i & 1u) continue;
        status = take_default(recipe, &keys[i], error);
    }
    if (status) return status;
    if (is_given(recipe, "steps") && !is_given(recipe, "epochs")) recipe->epochs = 0;
    else if (!is_given(recipe, "steps")) recipe->steps = 0;
    return check_together(recipe, error);
}

/* --- writing --------------------------------------------------------------------------------------------- */

static void describe_list(const struct ft_recipe_words *words, struct ft_json *json, struct cJSON *object, const char *name) {
    if (words->count == 1 && ft_recipe_is_expression(words->item[0])) {
        ft_json_set_string(json, object, name, words->item[0]);
        return;
    }
    struct cJSON *list = ft_json_set_array(json, object, name);
    for (size_t i = 0; i < words->count; i++) ft_json_set_string(json, list, NULL, words->item[i]);
}

/* A resolved recipe's patterns have the right form. */
static void describe_pattern(const struct key *key, const struct ft_recipe_words *words, struct ft_json *json,
                             struct cJSON *object, const char *name) {
    struct cJSON *map = ft_json_set_object(json, object, name);
    for (size_t i = 0; i < words->count; i++) {
        struct ft_lora_pattern pattern;
        char room[FT_RECIPE_KEY_MAX];
        if (split_pattern(key, words->item[i], room, &pattern, NULL)) continue;
        if (pattern.value == floor(pattern.value)) ft_json_set_u64(json, map, room, (uint64_t)pattern.value);
        else ft_json_set_double(json, map, room, pattern.value);
    }
}

static void describe_key(const struct ft_recipe *recipe, const struct key *key, struct ft_json *json,
                         struct cJSON *object, const char *name) {
    const void *at = member_of(recipe, key);
    switch (key->type) {
    case CHOICE: ft_json_set_string(json, object, name, key->choices[*(const unsigned *)at]); break;
    case BOOL: ft_json_set_bool(json, object, name, *(const bool *)at); break;
    case COUNT: ft_json_set_u64(json, object, name, *(const uint64_t *)at); break;
    case NUMBER: ft_json_set_double(json, object, name, *(const double *)at); break;
    case LIST: describe_list(at, json, object, name); break;
    case PATTERN: describe_pattern(key, at, json, object, name); break;
    }
}

static bool has_default(const struct ft_recipe *recipe, const struct key *key) {
    const void *at = member_of(recipe, key);
    if (key->type == LIST || key->type == PATTERN) return ((const struct ft_recipe_words *)at)->count == 0;
    if (key->type == BOOL) return *(const bool *)at == (key->lora_default != 0);
    return key->type == CHOICE && *(const unsigned *)at == (unsigned)key->lora_default;
}

void ft_recipe_describe(const struct ft_recipe *recipe, struct ft_json *json, struct cJSON *object) {
    struct cJSON *lora = recipe->method == FT_METHOD_LORA ? ft_json_set_object(json, object, "lora") : NULL;
    struct cJSON *save = ft_json_set_object(json, object, "save");
    for (size_t i = 0; i < KEYS; i++) {
        const struct key *key = &keys[i];
        if (!applies(recipe, key)) continue;
        if (key->applies == LORA_GIVEN && has_default(recipe, key)) continue;
        if (strcmp(key->name, recipe->steps ? "epochs" : "steps") == 0) continue;
        const char *dot = strchr(key->name, '.');
        struct cJSON *parent = !dot ? object : key->name[0] == 'l' ? lora : save;
        describe_key(recipe, key, json, parent, dot ? dot + 1 : key->name);
    }
}

enum ft_status ft_recipe_digest(const struct ft_recipe *recipe, char hex[FT_SHA256_HEX], struct ft_error *error) {
    struct ft_json json = {0};
    struct ft_buffer text = {.max = RECIPE_FILE_MAX};
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
