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

/* Characters that combine or decompose in Unicode 16, but were not assigned in the version whose normal forms the reference
 * computes (Unicode 9): to it they are plain characters that nothing combines with. */
static const uint32_t inert[][2] = {
    {0x7fd, 0x7fd}, {0x897, 0x89f}, {0x8ca, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c}, {0xd3b, 0xd3c},
    {0xeba, 0xeba}, {0x1715, 0x1715}, {0x1abf, 0x1ace}, {0x1df6, 0x1dfa}, {0x32ff, 0x32ff},
    {0xa7f2, 0xa7f4}, {0xa82c, 0xa82c}, {0xab69, 0xab69}, {0x105c9, 0x105c9}, {0x105d2, 0x105d2},
    {0x105da, 0x105da}, {0x105e4, 0x105e4}, {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba},
    {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11382, 0x11385}, {0x1138b, 0x1138b},
    {0x1138e, 0x1138e}, {0x11390, 0x11391}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113c8},
    {0x113ce, 0x113d0}, {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11935, 0x11935}, {0x11938, 0x11938},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x1611e, 0x1611e}, {0x16121, 0x16129}, {0x1612f, 0x1612f}, {0x16d63, 0x16d63}, {0x16d67, 0x16d6a},
    {0x16ff0, 0x16ff1}, {0x1ccd6, 0x1ccf9}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}, {0x1f16c, 0x1f16c},
    {0x1fbf0, 0x1fbf9},
};

static bool is_inert(uint32_t c) {
    size_t low = 0, high = sizeof inert / sizeof *inert;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > inert[middle][1]) low = middle + 1;
        else high = middle;
    }
    return low < sizeof inert / sizeof *inert && c >= inert[low][0];
}

/* Below it, a character is its own normal form and never combines with the one before it. */
static uint32_t first_unstable(enum ft_normalize_type type) {
    return type == FT_NORMALIZE_NFC ? 0x300 : type == FT_NORMALIZE_NFD ? 0xc0 : 0xa0;
}

/* The end of the run of stable or inert characters from p; a stable one that is followed by an unstable one belongs to the
 * latter's part, because they may combine. */
static const char *stable_end(const char *p, const char *end, uint32_t limit) {
    const char *before = p;
    while (p < end) {
        const char *at = p;
        uint32_t c = ft_utf8_next(&p);
        if (c < limit) before = at;
        else if (is_inert(c)) before = p;
        else return before;
    }
    return end;
}

/* The end of the unstable part: an inert character, or the second of two stable ones in a row. */
static const char *unstable_end(const char *p, const char *end, uint32_t limit) {
    unsigned stable = 0;
    while (p < end) {
        const char *at = p;
        uint32_t c = ft_utf8_next(&p);
        stable = c < limit ? stable + 1 : 0;
        if (stable == 2 || is_inert(c)) return at;
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
