/* SPDX-License-Identifier: MIT
 *
 * The keys of a recipe: one table (recipe_key.c) drives reading and defaults (recipe.c) and writing
 * (recipe_write.c), so that they cannot disagree. A recipe's values lie at the offsets that the keys say.
 */
#ifndef FT_TRAIN_RECIPE_KEY_H
#define FT_TRAIN_RECIPE_KEY_H

#include "ft/recipe.h"

/* Counts stay below 2^53, so that every JSON reader holds them exactly. */
#define FT_RECIPE_COUNT_END 9007199254740992.0

/* LIST, PATTERN: words; a pattern's are "key=value". */
enum ft_key_type { FT_KEY_CHOICE, FT_KEY_COUNT, FT_KEY_NUMBER, FT_KEY_BOOL, FT_KEY_LIST, FT_KEY_PATTERN };
/* LORA_GIVEN: not written where it has its default, so that recipes older than the key keep their digest. */
enum ft_key_applies { FT_KEY_ALWAYS, FT_KEY_LORA_ONLY, FT_KEY_LORA_GIVEN, FT_KEY_FULL_ONLY };

struct ft_recipe_key {
    const char *name;
    enum ft_key_type type;
    enum ft_key_applies applies;
    size_t offset;              /* of its value in struct ft_recipe */
    double min, max;            /* COUNT, NUMBER */
    bool above_min, below_max;  /* the bound itself is refused */
    const char *const *choices; /* CHOICE: in the order of the enum */
    double lora_default, full_default; /* CHOICE: the index; BOOL: 0 or 1 */
};

extern const struct ft_recipe_key ft_recipe_key[]; /* "method" first: defaults depend on it */
extern const size_t ft_recipe_keys;

/* Where a recipe has the key's value: an enum or unsigned, uint64_t, double, bool, struct ft_recipe_words. */
static inline void *ft_recipe_member(struct ft_recipe *recipe, const struct ft_recipe_key *key) {
    return (char *)recipe + key->offset;
}
static inline const void *ft_recipe_member_of(const struct ft_recipe *recipe,
                                              const struct ft_recipe_key *key) {
    return (const char *)recipe + key->offset;
}

/* By name; NULL: there is none. */
const struct ft_recipe_key *ft_recipe_find_key(const char *name, size_t length);

/* FT_FORMAT, with the nearest name or where to find the list. */
enum ft_status ft_recipe_unknown_key(const char *name, struct ft_error *error);

/* Whether the key means something for the recipe's method. */
bool ft_recipe_applies(const struct ft_recipe *recipe, const struct ft_recipe_key *key);

/* Each stores one value, or is FT_FORMAT with what would be right. */
enum ft_status ft_recipe_store_number(struct ft_recipe *recipe, const struct ft_recipe_key *key, double value,
                                      struct ft_error *error);
enum ft_status ft_recipe_store_choice(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                      const char *word, struct ft_error *error);
/* Separated by commas, unless all of it is one regular expression. */
enum ft_status ft_recipe_store_words(struct ft_recipe *recipe, const struct ft_recipe_key *key,
                                     const char *words, struct ft_error *error);
/* One more word of a list or pattern. */
enum ft_status ft_recipe_add_word(struct ft_recipe *recipe, const struct ft_recipe_key *key, const char *word,
                                  size_t length, struct ft_error *error);
void ft_recipe_clear_words(struct ft_recipe_words *words);

/* "key=value" taken apart, the key into `room`; it may have '=' in it. */
enum ft_status ft_recipe_split_pattern(const struct ft_recipe_key *key, const char *word,
                                       char room[FT_RECIPE_KEY_MAX], struct ft_lora_pattern *pattern,
                                       struct ft_error *error);

#endif
