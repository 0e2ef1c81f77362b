/* SPDX-License-Identifier: MIT
 *
 * The adapter that a recipe asks for. */
#include "recipe_key.h"

#include "ft/options.h"

#include <string.h>

static enum ft_status take_patterns(const struct ft_recipe *recipe, const char *name,
                                    char (*room)[FT_RECIPE_KEY_MAX], struct ft_lora_pattern *item,
                                    struct ft_lora_patterns *patterns, struct ft_error *error) {
    const struct ft_recipe_key *key = ft_recipe_find_key(name, strlen(name));
    const struct ft_recipe_words *words = ft_recipe_member_of(recipe, key);
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < words->count && !status; i++)
        status = ft_recipe_split_pattern(key, words->item[i], room[i], &item[i], error);
    *patterns = (struct ft_lora_patterns){item, words->count};
    return status;
}

static enum ft_status take_layers(const struct ft_recipe_words *words, size_t *layers,
                                  struct ft_error *error) {
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
static enum ft_status take_names(const char *key, const struct ft_recipe_words *words,
                                 struct ft_lora_names *names, const char **expression,
                                 struct ft_error *error) {
    for (size_t i = 0; i < words->count; i++) {
        if (!ft_recipe_is_expression(words->item[i])) continue;
        if (!expression || words->count > 1)
            return ft_fail(error, FT_FORMAT,
                           "%s: '%.64s' is a regular expression, which must stand alone, not in a list, and "
                           "for targets and exclude only",
                           key, words->item[i]);
        *expression = words->item[i];
        return FT_OK;
    }
    *names = (struct ft_lora_names){(const char *const *)words->item, words->count};
    return FT_OK;
}

enum ft_status ft_recipe_lora(struct ft_recipe_lora *lora, const struct ft_recipe *recipe,
                              struct ft_error *error) {
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
        status = take_names("lora.exclude", &recipe->lora_exclude, &spec->excluded,
                            &spec->excluded_expression, error);
    if (!status)
        status = take_names("lora.save_modules", &recipe->lora_save_modules, &spec->saved, NULL, error);
    if (!status) status = take_layers(&recipe->lora_layers, lora->layers, error);
    if (!status)
        status = take_patterns(recipe, "lora.rank_pattern", lora->keys, lora->ranks, &spec->ranks, error);
    if (!status)
        status = take_patterns(recipe, "lora.alpha_pattern", lora->keys + FT_RECIPE_WORDS_MAX, lora->alphas,
                               &spec->alphas, error);
    return status;
}
