/* SPDX-License-Identifier: MIT */
#include "select.h"

#include "ft/memory.h"

#include <stdlib.h>
#include <string.h>

/* A hostile expression ends with an error, not with the day. */
enum { MATCH_LIMIT = 1000000, DEPTH_LIMIT = 10000, EXPRESSION_MAX = 4096 };

/* --- expressions -------------------------------------------------------------------------------------- */

static enum ft_status compile(const char *before, const char *expression, const char *after, pcre2_code **code,
                              struct ft_error *error) {
    struct ft_buffer text = {.max = EXPRESSION_MAX};
    int reason = 0;
    PCRE2_SIZE offset = 0;
    enum ft_status status = ft_buffer_printf(&text, error, "%s%s%s", before, expression, after);
    if (!status) {
        *code = pcre2_compile((PCRE2_SPTR)text.data, text.size, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &reason,
                              &offset, NULL);
        if (!*code) {
            PCRE2_UCHAR why[128] = "";
            (void)pcre2_get_error_message(reason, why, sizeof why);
            status = ft_fail(error, FT_USAGE, "the regular expression \"%.200s\" cannot be used: %s", expression, (char *)why);
        }
    }
    ft_buffer_release(&text);
    return status;
}

static enum ft_status compile_list(struct ft_expressions *list, const char *before, const char *const *expressions,
                                   size_t count, const char *after, struct ft_error *error) {
    enum ft_status status = ft_alloc(&list->code, count ? count : 1, sizeof *list->code, error);
    for (; !status && list->count < count; list->count += !status)
        status = compile(before, expressions[list->count], after, &list->code[list->count], error);
    return status;
}

/* The keys of patterns hold at the end of a name. */
static enum ft_status compile_patterns(struct ft_expressions *list, const struct ft_lora_patterns *patterns,
                                       struct ft_error *error) {
    const char *keys[FT_LORA_NAMES_MAX];
    for (size_t i = 0; i < patterns->count; i++) keys[i] = patterns->item[i].key;
    return compile_list(list, "(.*\\.)?(", keys, patterns->count, ")", error);
}

static void release_list(struct ft_expressions *list) {
    for (size_t i = 0; i < list->count; i++) pcre2_code_free(list->code[i]);
    free(list->code);
}

static enum ft_status compile_layers(struct ft_selector *selector, struct ft_error *error) {
    static const char *const anything[] = {"[^.]*"};
    const struct ft_lora_names *given = &selector->spec->layers_patterns;
    if (!given->count) return compile_list(&selector->layers, ".*?\\.", anything, 1, "\\.(?P<idx>\\d+)\\.", error);
    return compile_list(&selector->layers, "(?:^|.*?\\.)", given->item, given->count, "\\.(?P<idx>\\d+)\\.", error);
}

enum ft_status ft_selector_init(struct ft_selector *selector, const struct ft_lora_spec *spec, struct ft_error *error) {
    *selector = (struct ft_selector){.spec = spec, .error = error};
    selector->context = pcre2_match_context_create(NULL);
    selector->data = pcre2_match_data_create(64, NULL);
    enum ft_status status = selector->context && selector->data ? FT_OK : ft_fail(error, FT_NOMEM, "out of memory: no room for matching");
    if (!status) {
        (void)pcre2_set_match_limit(selector->context, MATCH_LIMIT);
        (void)pcre2_set_depth_limit(selector->context, DEPTH_LIMIT);
        status = compile_list(&selector->target, "", &spec->target_expression, spec->target_expression != NULL, "", error);
    }
    if (!status)
        status = compile_list(&selector->excluded, "", &spec->excluded_expression, spec->excluded_expression != NULL, "", error);
    if (!status) status = compile_patterns(&selector->ranks, &spec->ranks, error);
    if (!status) status = compile_patterns(&selector->alphas, &spec->alphas, error);
    if (!status) status = compile_layers(selector, error);
    if (!status)
        status = compile_list(&selector->saved, "(^|.*\\.)", spec->saved.item, spec->saved.count, "($|\\..*)", error);
    if (status) ft_selector_release(selector);
    return status;
}

void ft_selector_release(struct ft_selector *selector) {
    release_list(&selector->target);
    release_list(&selector->excluded);
    release_list(&selector->ranks);
    release_list(&selector->alphas);
    release_list(&selector->layers);
    release_list(&selector->saved);
    pcre2_match_data_free(selector->data);
    pcre2_match_context_free(selector->context);
    *selector = (struct ft_selector){0};
}

/* From the start of the name; with `whole`, to its end. */
static bool matches(struct ft_selector *selector, const pcre2_code *code, const char *name, bool whole) {
    if (selector->status) return false;
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED | (whole ? PCRE2_ENDANCHORED : 0);
    int rc = pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, options, selector->data, selector->context);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        selector->status = ft_fail(selector->error, FT_LIMIT, "a regular expression of an adapter gave up at '%s'", name);
    return rc >= 0;
}

/* The first expression that matches; the list's count when none does. */
static size_t first_match(struct ft_selector *selector, const struct ft_expressions *list, const char *name) {
    size_t i = 0;
    while (i < list->count && !matches(selector, list->code[i], name, true)) i++;
    return i;
}

/* --- answers ------------------------------------------------------------------------------------------ */

static bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

bool ft_select_name(const char *module, const char *name) {
    size_t length = strlen(module), tail = strlen(name);
    return ends_with(module, name) && (length == tail || module[length - tail - 1] == '.');
}

static bool is_excluded(struct ft_selector *selector, const char *module) {
    const struct ft_lora_spec *spec = selector->spec;
    for (size_t i = 0; i < spec->excluded.count; i++)
        if (ft_select_name(module, spec->excluded.item[i])) return true;
    return first_match(selector, &selector->excluded, module) < selector->excluded.count ||
           first_match(selector, &selector->saved, module) < selector->saved.count;
}

/* Is the name's first number behind a pattern a layer that was asked for? */
static bool in_layers(struct ft_selector *selector, const char *module) {
    const struct ft_lora_spec *spec = selector->spec;
    PCRE2_UCHAR text[24];
    PCRE2_SIZE size = sizeof text;
    size_t i = 0;
    if (!spec->layer_count) return true;
    while (i < selector->layers.count && !matches(selector, selector->layers.code[i], module, false)) i++;
    if (i == selector->layers.count) return false;
    if (pcre2_substring_copy_byname(selector->data, (PCRE2_SPTR) "idx", text, &size)) return false;
    unsigned long long layer = strtoull((const char *)text, NULL, 10);
    for (size_t l = 0; l < spec->layer_count; l++)
        if (spec->layers[l] == layer) return true;
    return false;
}

bool ft_selector_targets(struct ft_selector *selector, const char *module, bool linear) {
    const struct ft_lora_spec *spec = selector->spec;
    if (is_excluded(selector, module)) return false;
    if (spec->target_expression) return first_match(selector, &selector->target, module) == 0;
    if (!spec->targets.count) return linear && in_layers(selector, module);
    bool found = false;
    for (size_t i = 0; i < spec->targets.count; i++) {
        if (strcmp(module, spec->targets.item[i]) == 0) return true;
        found = found || ft_select_name(module, spec->targets.item[i]);
    }
    return found && in_layers(selector, module);
}

bool ft_selector_saves(const struct ft_selector *selector, const char *module) {
    for (size_t i = 0; i < selector->spec->saved.count; i++)
        if (ends_with(module, selector->spec->saved.item[i])) return true; /* PEFT asks for no dot here */
    return false;
}

size_t ft_selector_rank(struct ft_selector *selector, const char *module) {
    size_t i = first_match(selector, &selector->ranks, module);
    return i < selector->ranks.count ? (size_t)selector->spec->ranks.item[i].value : selector->spec->rank;
}

double ft_selector_alpha(struct ft_selector *selector, const char *module) {
    size_t i = first_match(selector, &selector->alphas, module);
    return i < selector->alphas.count ? selector->spec->alphas.item[i].value : selector->spec->alpha;
}
