/* SPDX-License-Identifier: MIT
 * A recipe file, then (behind 0xff) key=value words, one a line. What resolves is written, and read again is
 * the same recipe. */
#include "fuzz.h"

#include "ft/recipe.h"

static void set_words(struct ft_recipe *recipe, struct fuzz_part text) {
    struct ft_error error = {0};
    while (text.size) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t length = end ? (size_t)(end - text.data) : text.size;
        char *word = strndup((const char *)text.data, length);
        MUST(word);
        if (ft_recipe_set(recipe, word, &error)) MUST(error.message[0]);
        free(word);
        length += end != NULL;
        text = (struct fuzz_part){text.data + length, text.size - length};
    }
}

static void round_trip(const struct ft_recipe *recipe, const char *path) {
    struct ft_error error = {0};
    struct ft_recipe again;
    char before[FT_SHA256_HEX], after[FT_SHA256_HEX];
    ft_recipe_init(&again);
    MUST(!ft_recipe_digest(recipe, before, &error));
    MUST(!ft_recipe_save(recipe, path, &error));
    MUST(!ft_recipe_read(&again, path, &error) && !ft_recipe_resolve(&again, &error));
    MUST(!ft_recipe_digest(&again, after, &error) && strcmp(before, after) == 0);
    ft_recipe_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"recipe.json", NULL};
    struct ft_error error = {0};
    struct ft_recipe recipe;
    struct fuzz_part rest = {data, size}, json = fuzz_take(&rest);
    struct fuzz_file file = fuzz_open(json.data, json.size);
    char path[96];
    fuzz_directory(names);
    fuzz_path(path, names[0]);
    ft_recipe_init(&recipe);
    if (ft_recipe_read(&recipe, file.path, &error)) {
        MUST(error.message[0]);
    } else {
        set_words(&recipe, rest);
        if (!ft_recipe_resolve(&recipe, &error)) round_trip(&recipe, path);
    }
    ft_recipe_release(&recipe);
    fuzz_close(&file);
    return 0;
}
