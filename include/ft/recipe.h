/* SPDX-License-Identifier: MIT
 *
 * The recipe of a training run, ft-recipe(5): everything besides model and data that decides the bits of the result.
 * It comes from a JSON file, from key=value words, and from defaults that depend on the method; `ft_recipe_save`
 * writes what was resolved. Order of calls: read (optional), set..., resolve, then use; release at the end.
 */
#ifndef FT_RECIPE_H
#define FT_RECIPE_H

#include "ft/error.h"
#include "ft/hash.h"
#include "ft/json.h"
#include "ft/lora.h"
#include "ft/model.h"

#include <stddef.h>
#include <stdint.h>

#define FT_RECIPE_WORDS_MAX 64u
#define FT_RECIPE_KEY_MAX 160u /* bytes of a pattern's key */

enum ft_method { FT_METHOD_LORA, FT_METHOD_FULL };
enum ft_init { FT_INIT_MODEL, FT_INIT_RANDOM };
enum ft_schedule_kind { FT_SCHEDULE_COSINE, FT_SCHEDULE_LINEAR, FT_SCHEDULE_CONSTANT };

/* A list; sorted and distinct where the order means nothing. */
struct ft_recipe_words {
    char *item[FT_RECIPE_WORDS_MAX]; /* owned */
    size_t count;
};

struct ft_recipe {
    enum ft_method method;
    enum ft_init init;
    uint64_t seed;
    double epochs;  /* > 0, or 0 when steps says how long */
    uint64_t steps; /* > 0, or 0 when epochs says how long */
    uint64_t batch; /* rows of an optimizer step */
    bool shuffle;

    double lr; /* at its highest */
    enum ft_schedule_kind schedule;
    double warmup; /* steps when >= 1, else a share of all steps */
    double min_lr; /* share of lr that the schedule ends at */
    double beta1, beta2, eps;
    double weight_decay; /* of matrices; never of norms and biases */
    double clip;         /* greatest 2-norm of the gradient; 0: no bound */
    uint64_t grad_shards;

    uint64_t eval_every; /* steps; 0: after each epoch */
    uint64_t save_every; /* steps; 0: after each evaluation, or each epoch without a validation set */
    uint64_t patience;   /* evaluations without a better loss before the run stops; 0: never stops early */

    uint64_t lora_rank;
    double lora_alpha;
    bool lora_rslora;
    bool lora_dora;
    enum ft_lora_bias lora_bias;
    struct ft_recipe_words lora_targets; /* ["all-linear"] by default; or one regular expression */
    struct ft_recipe_words lora_exclude, lora_layers, lora_save_modules; /* layers: numbers */
    struct ft_recipe_words lora_rank_pattern, lora_alpha_pattern;       /* "key=value" */

    enum ft_save_dtype save_dtype; /* of the model that a full run delivers */
    bool save_state;               /* keep the last checkpoint when the run is complete */

    uint64_t given; /* private: which keys were given */
};

/* An empty recipe: every key at "not given". Release with ft_recipe_release, always. */
void ft_recipe_init(struct ft_recipe *recipe);
void ft_recipe_release(struct ft_recipe *recipe);

/* Takes the keys of a JSON file; "lora": {"rank": 8} and "lora.rank": 8 are the same. An unknown key is FT_FORMAT with the
 * nearest right one, a value out of range FT_FORMAT with the range. */
enum ft_status ft_recipe_read(struct ft_recipe *recipe, const char *path, struct ft_error *error);

/* Takes one "key=value" word; a list is separated by commas. FT_USAGE as above. */
enum ft_status ft_recipe_set(struct ft_recipe *recipe, const char *word, struct ft_error *error);

/* True when lora.targets is a regular expression: some character of it is in no module's name. */
bool ft_recipe_is_expression(const char *target);

/* The adapter that a resolved recipe for LoRA asks for. */
struct ft_recipe_lora {
    struct ft_lora_spec spec; /* borrows from this and from the recipe */
    struct ft_lora_pattern ranks[FT_RECIPE_WORDS_MAX], alphas[FT_RECIPE_WORDS_MAX];
    size_t layers[FT_RECIPE_WORDS_MAX];
    char keys[2 * FT_RECIPE_WORDS_MAX][FT_RECIPE_KEY_MAX];
};
enum ft_status ft_recipe_lora(struct ft_recipe_lora *lora, const struct ft_recipe *recipe, struct ft_error *error);

/* Gives every key that was not given its default, then checks what keys must hold together. */
enum ft_status ft_recipe_resolve(struct ft_recipe *recipe, struct ft_error *error);

/* Adds every key that matters for the method to an object (nested: "lora": {...}). Resolved recipes only. */
void ft_recipe_describe(const struct ft_recipe *recipe, struct ft_json *json, struct cJSON *object);

/* SHA-256 of the canonical JSON of the resolved recipe. */
enum ft_status ft_recipe_digest(const struct ft_recipe *recipe, char hex[FT_SHA256_HEX], struct ft_error *error);

/* Writes the resolved recipe as JSON: sorted keys, two spaces of indent. */
enum ft_status ft_recipe_save(const struct ft_recipe *recipe, const char *path, struct ft_error *error);

#endif
