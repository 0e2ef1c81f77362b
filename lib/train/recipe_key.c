/* SPDX-License-Identifier: MIT
 *
 * The table of a recipe's keys, and one value of each kind, checked and stored.
 */
#include "recipe_key.h"

#include "ft/memory.h"
#include "ft/options.h"

#include <stdlib.h>
#include <string.h>

static const char *const methods[] = {"lora", "full", NULL};
static const char *const inits[] = {"model", "random", NULL};
static const char *const schedules[] = {"cosine", "linear", "constant", NULL};
static const char *const biases[] = {"none", "all", "lora_only", NULL};
static const char *const save_dtypes[] = {"model", "f32", "bf16", "f16", NULL};

#define AT(member) offsetof(struct ft_recipe, member)
#define ENUM(key, member, words, value)                                                                      \
    { key, FT_KEY_CHOICE, FT_KEY_ALWAYS, AT(member), 0, 0, false, false, words, value, value }

const struct ft_recipe_key ft_recipe_key[] = {
    ENUM("method", method, methods, FT_METHOD_LORA),
    ENUM("init", init, inits, FT_INIT_MODEL),
    {"seed", FT_KEY_COUNT, FT_KEY_ALWAYS, AT(seed), 0, FT_RECIPE_COUNT_END, false, true, NULL, 1, 1},
    {"epochs", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(epochs), 0, 1e6, true, false, NULL, 3, 3},
    {"steps", FT_KEY_COUNT, FT_KEY_ALWAYS, AT(steps), 1, 4294967295.0, false, false, NULL, 0, 0},
    {"batch", FT_KEY_COUNT, FT_KEY_ALWAYS, AT(batch), 1, 1 << 24, false, false, NULL, 16, 16},
    {"shuffle", FT_KEY_BOOL, FT_KEY_ALWAYS, AT(shuffle), 0, 1, false, false, NULL, 1, 1},
    {"lr", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(lr), 0, 1e3, false, false, NULL, 1e-3, 1e-4},
    ENUM("schedule", schedule, schedules, FT_SCHEDULE_COSINE),
    {"warmup", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(warmup), 0, 4294967295.0, false, false, NULL, 0.03, 0.03},
    {"min_lr", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(min_lr), 0, 1, false, false, NULL, 0, 0},
    {"beta1", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(beta1), 0, 1, false, true, NULL, 0.9, 0.9},
    {"beta2", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(beta2), 0, 1, false, true, NULL, 0.999, 0.999},
    {"eps", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(eps), 1e-30, 1, false, false, NULL, 1e-8, 1e-8},
    {"weight_decay", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(weight_decay), 0, 1e3, false, false, NULL, 0, 0.01},
    {"clip", FT_KEY_NUMBER, FT_KEY_ALWAYS, AT(clip), 0, 1e30, false, false, NULL, 1, 1},
    {"grad_shards", FT_KEY_COUNT, FT_KEY_ALWAYS, AT(grad_shards), 1, 1 << 20, false, false, NULL, 1, 1},
    {"eval_every", FT_KEY_COUNT, FT_KEY_ALWAYS, AT(eval_every), 0, 4294967295.0, false, false, NULL, 0, 0},
    {"save_every", FT_KEY_COUNT, FT_KEY_ALWAYS, AT(save_every), 0, 4294967295.0, false, false, NULL, 0, 0},
    {"patience", FT_KEY_COUNT, FT_KEY_ALWAYS, AT(patience), 0, 4294967295.0, false, false, NULL, 0, 0},
    {"lora.rank", FT_KEY_COUNT, FT_KEY_LORA_ONLY, AT(lora_rank), 1, 4096, false, false, NULL, 16, 16},
    {"lora.alpha", FT_KEY_NUMBER, FT_KEY_LORA_ONLY, AT(lora_alpha), 0, 1e6, true, false, NULL, 32, 32},
    {"lora.rslora", FT_KEY_BOOL, FT_KEY_LORA_ONLY, AT(lora_rslora), 0, 1, false, false, NULL, 0, 0},
    {"lora.dora", FT_KEY_BOOL, FT_KEY_LORA_GIVEN, AT(lora_dora), 0, 1, false, false, NULL, 0, 0},
    {"lora.targets", FT_KEY_LIST, FT_KEY_LORA_ONLY, AT(lora_targets), 0, 0, false, false, NULL, 0, 0},
    {"lora.exclude", FT_KEY_LIST, FT_KEY_LORA_GIVEN, AT(lora_exclude), 0, 0, false, false, NULL, 0, 0},
    {"lora.layers", FT_KEY_LIST, FT_KEY_LORA_GIVEN, AT(lora_layers), 0, 0, false, false, NULL, 0, 0},
    {"lora.rank_pattern", FT_KEY_PATTERN, FT_KEY_LORA_GIVEN, AT(lora_rank_pattern), 1, 4096, false, false,
     NULL, 0, 0},
    {"lora.alpha_pattern", FT_KEY_PATTERN, FT_KEY_LORA_GIVEN, AT(lora_alpha_pattern), 0, 1e6, true, false,
     NULL, 0, 0},
    {"lora.save_modules", FT_KEY_LIST, FT_KEY_LORA_GIVEN, AT(lora_save_modules), 0, 0, false, false, NULL,
     0, 0},
    {"lora.bias", FT_KEY_CHOICE, FT_KEY_LORA_GIVEN, AT(lora_bias), 0, 0, false, false, biases,
     FT_LORA_BIAS_NONE, FT_LORA_BIAS_NONE},
    {"save.dtype", FT_KEY_CHOICE, FT_KEY_FULL_ONLY, AT(save_dtype), 0, 0, false, false, save_dtypes,
     FT_SAVE_F32, FT_SAVE_F32},
    {"save.state", FT_KEY_BOOL, FT_KEY_ALWAYS, AT(save_state), 0, 1, false, false, NULL, 1, 1},
};
enum { KEYS = sizeof ft_recipe_key / sizeof *ft_recipe_key };
_Static_assert(KEYS <= 64, "the mask of given keys has 64 bits");
const size_t ft_recipe_keys = KEYS;

const struct ft_recipe_key *ft_recipe_find_key(const char *name, size_t length) {
    for (size_t i = 0; i < KEYS; i++)
        if (strlen(ft_recipe_key[i].name) == length && memcmp(ft_recipe_key[i].name, name, length) == 0)
            return &ft_recipe_key[i];
    return NULL;
}

enum ft_status ft_recipe_unknown_key(const char *name, struct ft_error *error) {
    const char *names[KEYS + 1];
    for (size_t i = 0; i < KEYS; i++) names[i] = ft_recipe_key[i].name;
    names[KEYS] = NULL;
    const char *near = ft_nearest(name, names);
    if (near) return ft_fail(error, FT_FORMAT, "%.64s: no such recipe key; did you mean %s?", name, near);
    return ft_fail(error, FT_FORMAT, "%.64s: no such recipe key; ft-recipe(5) lists them", name);
}

bool ft_recipe_applies(const struct ft_recipe *recipe, const struct ft_recipe_key *key) {
    if (key->applies == FT_KEY_LORA_ONLY || key->applies == FT_KEY_LORA_GIVEN)
        return recipe->method == FT_METHOD_LORA;
    if (key->applies == FT_KEY_FULL_ONLY) return recipe->method == FT_METHOD_FULL;
    return true;
}

/* --- one value ------------------------------------------------------------------------------------------ */

void ft_recipe_clear_words(struct ft_recipe_words *words) {
    for (size_t i = 0; i < words->count; i++) free(words->item[i]);
    words->count = 0;
}

enum ft_status ft_recipe_store_number(struct ft_recipe *recipe, const struct ft_recipe_key *key, double value,
                                      struct ft_error *error) {
    bool low = key->above_min ? value <= key->min : value < key->min;
    bool high = key->below_max ? value >= key->max : value > key->max;
    if (low || high)
        return ft_fail(error, FT_FORMAT, "%s: %.17g is outside %s%.10g, %.10g%s", key->name, value,
                       key->above_min ? "(" : "[", key->min, key->max, key->below_max ? ")" : "]");
    if (key->type == FT_KEY_COUNT) *(uint64_t *)ft_recipe_member(recipe, key) = (uint64_t)value;
    else *(double *)ft_recipe_member(recipe, key) = value;
    return FT_OK;
}

enum ft_status ft_recipe_store_choice(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                      const char *word, struct ft_error *error) {
    for (unsigned i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], word) == 0) { /* an enum without negative values is an unsigned */
            *(unsigned *)ft_recipe_member(recipe, key) = i;
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

/* Where a word belongs: sorted, so that order in the recipe cannot matter; but the first pattern that matches
 * decides, so patterns stay as they are. True when it is there already. */
static bool find_word(const struct ft_recipe_words *words, const struct ft_recipe_key *key, const char *word,
                      size_t length, size_t *at) {
    for (*at = 0; *at < words->count; ++*at) {
        int order = strncmp(words->item[*at], word, length);
        if (order == 0 && words->item[*at][length] == '\0') return true;
        if (order >= 0 && key->type == FT_KEY_LIST) break;
    }
    return false;
}

enum ft_status ft_recipe_add_word(struct ft_recipe *recipe, const struct ft_recipe_key *key, const char *word,
                                  size_t length, struct ft_error *error) {
    struct ft_recipe_words *words = ft_recipe_member(recipe, key);
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

enum ft_status ft_recipe_store_words(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                     const char *words, struct ft_error *error) {
    ft_recipe_clear_words(ft_recipe_member(recipe, key));
    if (key->type == FT_KEY_LIST && ft_recipe_is_expression(words))
        return ft_recipe_add_word(recipe, key, words, strlen(words), error);
    for (const char *p = words;;) {
        size_t length = strcspn(p, ",");
        enum ft_status status = ft_recipe_add_word(recipe, key, p, length, error);
        if (status || !p[length]) return status;
        p += length + 1;
    }
}

enum ft_status ft_recipe_split_pattern(const struct ft_recipe_key *key, const char *word,
                                       char room[FT_RECIPE_KEY_MAX], struct ft_lora_pattern *pattern,
                                       struct ft_error *error) {
    const char *equals = strrchr(word, '=');
    if (!equals || equals == word || equals - word >= FT_RECIPE_KEY_MAX)
        return ft_fail(error, FT_FORMAT, "%s: '%.64s' is not name=value", key->name, word);
    double value;
    enum ft_status status = ft_parse_double(equals + 1, key->name, &value, error);
    if (status) return status;
    bool low = key->above_min ? value <= key->min : value < key->min;
    if (low || value > key->max)
        return ft_fail(error, FT_FORMAT, "%s: %.17g is outside %s%.10g, %.10g]", key->name, value,
                       key->above_min ? "(" : "[", key->min, key->max);
    memcpy(room, word, (size_t)(equals - word));
    room[equals - word] = '\0';
    pattern->key = room;
    pattern->value = value;
    return FT_OK;
}
