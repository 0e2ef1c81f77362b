/* SPDX-License-Identifier: MIT
 *
 * ft-vocab: learns a byte-level BPE vocabulary from text and writes a Hugging Face tokenizer.json. */
#include "ft/bpe_train.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/json.h"
#include "ft/options.h"
#include "ft/progress.h"

#include <stdio.h>
#include <string.h>

struct settings {
    const char *output;
    size_t size;
    struct ft_option_list special, key;
    bool plain;
};

static bool wanted(const struct settings *s, const char *key) {
    for (size_t i = 0; i < s->key.count; i++)
        if (strcmp(key, s->key.item[i]) == 0) return true;
    return false;
}

/* Every string below `node` whose key is wanted. The depth is bounded by the parser's. */
static enum ft_status add_strings(struct ft_bpe_trainer *trainer, const struct settings *s, const struct ft_json *json,
                                  const struct cJSON *node, struct ft_error *error) {
    for (const struct cJSON *entry = ft_json_first(node); entry; entry = ft_json_next(entry)) {
        enum ft_json_type type = ft_json_type(entry);
        enum ft_status status = FT_OK;
        const char *text;
        if (type == FT_JSON_ARRAY || type == FT_JSON_OBJECT) {
            status = add_strings(trainer, s, json, entry, error);
        } else if (type == FT_JSON_STRING && ft_json_key(entry) && wanted(s, ft_json_key(entry))) {
            status = ft_json_string(json, entry, &text, error);
            if (!status) status = ft_bpe_trainer_add(trainer, text, strlen(text), error);
        }
        if (status) return status;
    }
    return FT_OK;
}

static enum ft_status add_line(struct ft_bpe_trainer *trainer, const struct settings *s, const char *name,
                               uint64_t number, const char *line, size_t size, struct ft_error *error) {
    if (s->plain) {
        enum ft_status status = ft_bpe_trainer_add(trainer, line, size, error);
        return status ? ft_error_context(error, "%s:%llu", name, (unsigned long long)number) : FT_OK;
    }
    if (size == 0) return FT_OK;
    struct ft_json json = {0};
    enum ft_status status = ft_json_parse(&json, line, size, name, number, error);
    if (!status) status = add_strings(trainer, s, &json, json.root, error);
    ft_json_release(&json);
    return status;
}

static enum ft_status add_file(struct ft_bpe_trainer *trainer, const struct settings *s, const char *path,
                               struct ft_error *error) {
    struct ft_lines *lines = NULL;
    struct ft_progress progress;
    const char *line;
    size_t size;
    enum ft_status status = ft_lines_open(&lines, path, 0, error);
    ft_progress_start(&progress, ft_path_shown(path), "lines", 0);
    while (!status && !(status = ft_lines_next(lines, &line, &size, error)) && line) {
        status = add_line(trainer, s, ft_lines_name(lines), ft_lines_number(lines), line, size, error);
        ft_progress_update(&progress, ft_lines_number(lines), NULL);
    }
    ft_progress_end(&progress);
    ft_lines_close(lines);
    return status;
}

static enum ft_status run(const struct settings *s, char **paths, struct ft_error *error) {
    const char *special[FT_OPTION_LIST_MAX + 1] = {0};
    memcpy(special, s->special.item, s->special.count * sizeof *special);
    struct ft_bpe_trainer *trainer = NULL;
    struct ft_buffer json = {0};
    size_t size = 0;
    char *standard_input[] = {(char[]){"-"}, NULL};
    enum ft_status status = ft_bpe_trainer_new(&trainer, error);
    for (char **path = *paths ? paths : standard_input; *path && !status; path++)
        status = add_file(trainer, s, *path, error);
    if (!status && ft_bpe_trainer_empty(trainer))
        status = ft_fail(error, FT_FORMAT, "%s: there is no text to learn from%s", *paths ? ft_path_shown(*paths) : "standard input",
                         s->plain ? "" : " under the wanted keys; name others with --key, or say --plain");
    if (!status) status = ft_bpe_trainer_finish(trainer, s->size, special, &json, &size, error);
    if (!status) status = ft_write_file(s->output, json.data, json.size, FT_OUTPUT_KEEP, error);
    if (!status) {
        fprintf(stderr, "%s: %zu entries\n", strcmp(s->output, "-") ? s->output : "standard output", size);
        if (size < s->size) fprintf(stderr, "ft-vocab: no pair occurs twice any more: fewer than the %zu asked for\n", s->size);
    }
    ft_buffer_release(&json);
    ft_bpe_trainer_free(trainer);
    return status;
}

int main(int argc, char **argv) {
    struct settings s = {.output = "-", .size = 4096};
    const struct ft_option options[] = {
        {'n', "size", FT_OPTION_SIZE, &s.size, "N", "entries of the vocabulary (default 4096)", 257, 1 << 20},
        {'s', "special", FT_OPTION_LIST, &s.special, "TOKEN", "a special token, may be repeated (default <|endoftext|>)", 0, 0},
        {'k', "key", FT_OPTION_LIST, &s.key, "KEY", "learn from strings under this key, may be repeated (default text, content, prompt, completion)", 0, 0},
        {0, "plain", FT_OPTION_FLAG, &s.plain, NULL, "the input is plain text, not JSONL", 0, 0},
        {'o', "output", FT_OPTION_STRING, &s.output, "FILE", "where to write tokenizer.json (default standard output)", 0, 0},
        {0},
    };
    const struct ft_command command = {"ft-vocab", "[FILE|-]...", "Learn a byte-level BPE vocabulary and write a tokenizer.json",
                                       "Exit status: 0 success, 2 wrong usage or failure.", options};
    struct ft_error error = {0};
    int first;
    switch (ft_options_parse(&command, argc, argv, &first, &error)) {
    case FT_OPTIONS_DONE: return fflush(stdout) ? 2 : 0;
    case FT_OPTIONS_BAD: break;
    case FT_OPTIONS_RUN:
        ft_commit_on_signal();
        if (!s.special.count) s.special = (struct ft_option_list){{"<|endoftext|>"}, 1};
        if (!s.key.count) s.key = (struct ft_option_list){{"text", "content", "prompt", "completion"}, 4};
        if (run(&s, argv + first, &error) == FT_OK) return 0;
    }
    fprintf(stderr, "ft-vocab: %s\n", error.message);
    return 2;
}
