/* SPDX-License-Identifier: MIT */
#include "normalizer.h"

#include "ft/json.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { STEPS_MAX = 64, DEPTH_MAX = 8 };

/* --- reading --------------------------------------------------------------------------------------------- */

static enum ft_status copy_string(char **out, const char *text, struct ft_error *error) {
    enum ft_status status = ft_alloc(out, strlen(text) + 1, 1, error);
    if (!status) memcpy(*out, text, strlen(text));
    return status;
}

static const struct {
    const char *name;
    enum ft_normalize_type type;
} names[] = {
    {"NFC", FT_NORMALIZE_NFC},
    {"NFD", FT_NORMALIZE_NFD},
    {"NFKC", FT_NORMALIZE_NFKC},
    {"NFKD", FT_NORMALIZE_NFKD},
    {"Lowercase", FT_NORMALIZE_LOWERCASE},
    {"Strip", FT_NORMALIZE_STRIP},
    {"StripAccents", FT_NORMALIZE_STRIP_ACCENTS},
    {"Replace", FT_NORMALIZE_REPLACE},
    {"Prepend", FT_NORMALIZE_PREPEND},
    {"ByteLevel", FT_NORMALIZE_BYTE_LEVEL},
};

static enum ft_status read_step(struct ft_normalizer_step *step, const struct ft_json *json, const struct cJSON *node,
                                struct ft_error *error) {
    const char *type = NULL, *text = NULL;
    enum ft_status status = ft_json_get_string(json, node, "type", FT_JSON_REQUIRED, &type, error);
    if (status) return status;
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(names[i].name, type) != 0) i++;
    if (i == sizeof names / sizeof *names)
        return ft_fail(error, FT_UNSUPPORTED, "%s: the normalizer \"%s\" is not supported", json->name, type);
    step->type = names[i].type;
    const struct cJSON *pattern = NULL;
    switch (step->type) {
    case FT_NORMALIZE_STRIP:
        step->left = step->right = true;
        status = ft_json_get_bool(json, node, "strip_left", FT_JSON_OPTIONAL, &step->left, error);
        if (!status) status = ft_json_get_bool(json, node, "strip_right", FT_JSON_OPTIONAL, &step->right, error);
        return status;
    case FT_NORMALIZE_PREPEND:
        status = ft_json_get_string(json, node, "prepend", FT_JSON_REQUIRED, &text, error);
        return status ? status : copy_string(&step->content, text, error);
    case FT_NORMALIZE_REPLACE:
        status = ft_json_get_node(json, node, "pattern", FT_JSON_REQUIRED, FT_JSON_OBJECT, &pattern, error);
        if (!status) status = ft_pattern_json(&step->pattern, json, pattern, error);
        if (!status) status = ft_json_get_string(json, node, "content", FT_JSON_REQUIRED, &text, error);
        return status ? status : copy_string(&step->content, text, error);
    default: return FT_OK;
    }
}

static enum ft_status read_node(struct ft_normalizer *normalizer, const struct ft_json *json, const struct cJSON *node,
                                unsigned depth, struct ft_error *error) {
    const char *type = NULL;
    enum ft_status status = ft_json_get_string(json, node, "type", FT_JSON_REQUIRED, &type, error);
    if (status) return status;
    if (strcmp(type, "Sequence") == 0) {
        const struct cJSON *list = NULL;
        if (depth == DEPTH_MAX) return ft_json_fail(json, node, error, "normalizers nest too deeply");
        status = ft_json_get_node(json, node, "normalizers", FT_JSON_REQUIRED, FT_JSON_ARRAY, &list, error);
        if (status) return status;
        for (node = ft_json_first(list); node && !status; node = ft_json_next(node))
            status = read_node(normalizer, json, node, depth + 1, error);
        return status;
    }
    status = ft_grow(&normalizer->step, &normalizer->capacity, normalizer->count + 1, sizeof *normalizer->step, STEPS_MAX,
                     "normalizers", error);
    if (status) return status;
    struct ft_normalizer_step *step = &normalizer->step[normalizer->count++];
    *step = (struct ft_normalizer_step){0};
    return read_step(step, json, node, error);
}

enum ft_status ft_normalizer_read(struct ft_normalizer *normalizer, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_error *error) {
    if (!node || ft_json_type(node) == FT_JSON_NULL) return FT_OK;
    return read_node(normalizer, json, node, 0, error);
}

void ft_normalizer_release(struct ft_normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->count; i++) {
        ft_pattern_release(&normalizer->step[i].pattern);
        free(normalizer->step[i].content);
    }
    free(normalizer->step);
    *normalizer = (struct ft_normalizer){0};
}

/* --- Unicode normal forms -------------------------------------------------------------------------------- */

/* Below it, a character is its own normal form and never combines with the one before it. */
static uint32_t first_unstable(enum ft_normalize_type type) {
    return type == FT_NORMALIZE_NFC ? 0x300 : type == FT_NORMALIZE_NFD ? 0xc0 : 0xa0;
}

/* The end of the run of stable characters from p; a stable one that is followed by an unstable one belongs to the
 * latter's part, because they may combine. */
static const char *stable_end(const char *p, const char *end, uint32_t limit) {
    const char *start = p, *before = p;
    while (p < end) {
        const char *at = p;
        if (ft_utf8_next(&p) >= limit) return at == start ? at : before;
        before = at;
    }
    return end;
}

/* The end of the unstable part: the start of two stable characters in a row, of which the first stays with the part. */
static const char *unstable_end(const char *p, const char *end, uint32_t limit) {
    unsigned stable = 0;
    while (p < end) {
        const char *at = p;
        stable = ft_utf8_next(&p) < limit ? stable + 1 : 0;
        if (stable == 2) return at;
    }
    return end;
}

static enum ft_status normal_form(enum ft_normalize_type type, const char *text, size_t length, struct ft_buffer *out,
                                  struct ft_error *error) {
    unsigned compat = type == FT_NORMALIZE_NFKC || type == FT_NORMALIZE_NFKD ? UTF8PROC_COMPAT : 0;
    unsigned compose = type == FT_NORMALIZE_NFC || type == FT_NORMALIZE_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    uint32_t limit = first_unstable(type);
    const char *p = text, *end = text + length;
    enum ft_status status = FT_OK;
    while (p < end && !status) {
        const char *stop = stable_end(p, end, limit);
        status = ft_buffer_append(out, p, (size_t)(stop - p), error);
        p = stop;
        if (p == end || status) break;
        stop = unstable_end(p, end, limit);
        utf8proc_uint8_t *form = NULL;
        utf8proc_ssize_t size = utf8proc_map((const utf8proc_uint8_t *)p, stop - p, &form,
                                             (utf8proc_option_t)(UTF8PROC_STABLE | compat | compose));
        if (size < 0) return ft_fail(error, FT_NOMEM, "a text cannot be normalized: %s", utf8proc_errmsg(size));
        status = ft_buffer_append(out, form, (size_t)size, error);
        free(form);
        p = stop;
    }
    return status;
}

/* --- the other steps ------------------------------------------------------------------------------------- */

static enum ft_status put(struct ft_buffer *out, uint32_t c, struct ft_error *error) {
    char utf8[4];
    return ft_buffer_append(out, utf8, ft_utf8_put(utf8, c), error);
}

/* One character at a time: lower case, no accents, GPT-2's byte characters. */
static enum ft_status each_character(enum ft_normalize_type type, const char *text, size_t length, struct ft_buffer *out,
                                     struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (const char *p = text, *end = text + length; p < end && !status;) {
        const char *at = p;
        uint32_t c = ft_utf8_next(&p);
        if (type == FT_NORMALIZE_BYTE_LEVEL) {
            for (; at < p && !status; at++) status = put(out, ft_byte_character((uint8_t)*at), error);
        } else if (type == FT_NORMALIZE_LOWERCASE) {
            status = put(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), error);
            if (c == 0x130 && !status) status = put(out, 0x307, error); /* the one with a lower case of two characters */
        } else if (!ft_is_mark(c)) {
            status = ft_buffer_append(out, at, (size_t)(p - at), error);
        }
    }
    return status;
}

static void strip(const struct ft_normalizer_step *step, const char **text, size_t *length) {
    const char *p = *text, *end = p + *length;
    while (step->left && p < end) {
        const char *next = p;
        if (!ft_is_space(ft_utf8_next(&next))) break;
        p = next;
    }
    while (step->right && end > p) {
        const char *previous = end;
        if (!ft_is_space(ft_utf8_previous(&previous))) break;
        end = previous;
    }
    *text = p;
    *length = (size_t)(end - p);
}

static enum ft_status replace(const struct ft_normalizer_step *step, struct ft_matcher *matcher, const char *text,
                              size_t length, struct ft_buffer *out, struct ft_error *error) {
    struct ft_match match = {0};
    size_t done = 0, content = strlen(step->content);
    bool found;
    enum ft_status status;
    if (!length) return FT_OK;
    while (!(status = ft_pattern_next(&step->pattern, matcher, text, length, &match, &found, error)) && found) {
        if ((status = ft_buffer_append(out, text + done, match.start - done, error)) ||
            (status = ft_buffer_append(out, step->content, content, error)))
            return status;
        done = match.end;
    }
    return status ? status : ft_buffer_append(out, text + done, length - done, error);
}

static bool is_ascii(const char *text, size_t length) {
    unsigned char all = 0;
    for (size_t i = 0; i < length; i++) all |= (unsigned char)text[i];
    return all < 0x80;
}

/* *changed false: the step leaves the text as it is, and nothing was written to out. */
static enum ft_status run_step(const struct ft_normalizer_step *step, struct ft_matcher *matcher, bool at_start,
                               const char *text, size_t length, struct ft_buffer *out, bool *changed,
                               struct ft_error *error) {
    enum ft_status status;
    *changed = true;
    switch (step->type) {
    case FT_NORMALIZE_NFC:
    case FT_NORMALIZE_NFD:
    case FT_NORMALIZE_NFKC:
    case FT_NORMALIZE_NFKD:
        *changed = !is_ascii(text, length);
        return *changed ? normal_form(step->type, text, length, out, error) : FT_OK;
    case FT_NORMALIZE_STRIP_ACCENTS:
        *changed = !is_ascii(text, length);
        return *changed ? each_character(step->type, text, length, out, error) : FT_OK;
    case FT_NORMALIZE_LOWERCASE:
    case FT_NORMALIZE_BYTE_LEVEL: return each_character(step->type, text, length, out, error);
    case FT_NORMALIZE_PREPEND:
        *changed = at_start && length > 0;
        if (!*changed) return FT_OK;
        status = ft_buffer_string(out, step->content, error);
        return status ? status : ft_buffer_append(out, text, length, error);
    case FT_NORMALIZE_REPLACE: return replace(step, matcher, text, length, out, error);
    case FT_NORMALIZE_STRIP: break; /* done in place by the caller */
    }
    *changed = false;
    return FT_OK;
}

enum ft_status ft_normalize(const struct ft_normalizer *normalizer, struct ft_matcher *matcher, bool at_start, const char *text,
                            size_t length, struct ft_buffer buffer[2], const char **out, size_t *out_length,
                            struct ft_error *error) {
    unsigned turn = 0;
    for (size_t i = 0; i < normalizer->count; i++) {
        const struct ft_normalizer_step *step = &normalizer->step[i];
        if (step->type == FT_NORMALIZE_STRIP) {
            strip(step, &text, &length);
            continue;
        }
        struct ft_buffer *to = &buffer[turn];
        ft_buffer_clear(to);
        bool changed;
        enum ft_status status = run_step(step, matcher, at_start, text, length, to, &changed, error);
        if (status) return status;
        if (!changed) continue;
        text = to->data ? to->data : "";
        length = to->size;
        turn ^= 1;
    }
    *out = text;
    *out_length = length;
    return FT_OK;
}
