/* SPDX-License-Identifier: MIT */
#include "normalizer.h"

#include "ft/json.h"
#include "normal_form.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

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
    {"Nmt", FT_NORMALIZE_NMT},
    {"Precompiled", FT_NORMALIZE_PRECOMPILED},
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
    case FT_NORMALIZE_PRECOMPILED:
        status = ft_json_get_string(json, node, "precompiled_charsmap", FT_JSON_REQUIRED, &text, error);
        if (!status && (status = ft_charsmap_read(&step->charsmap, text, error))) ft_error_context(error, "%s", json->name);
        return status;
    default: return FT_OK;
    }
}

static enum ft_status add_step(struct ft_normalizer *normalizer, enum ft_normalize_type type, struct ft_error *error) {
    enum ft_status status = ft_grow(&normalizer->step, &normalizer->capacity, normalizer->count + 1, sizeof *normalizer->step,
                                    STEPS_MAX, "normalizers", error);
    if (!status) normalizer->step[normalizer->count++] = (struct ft_normalizer_step){.type = type};
    return status;
}

/* BertNormalizer: its options are steps of their own here. */
static enum ft_status read_bert(struct ft_normalizer *normalizer, const struct ft_json *json, const struct cJSON *node,
                                struct ft_error *error) {
    bool clean = true, chinese = true, lower = true, accents;
    enum ft_status status;
    if ((status = ft_json_get_bool(json, node, "clean_text", FT_JSON_OPTIONAL, &clean, error)) ||
        (status = ft_json_get_bool(json, node, "handle_chinese_chars", FT_JSON_OPTIONAL, &chinese, error)) ||
        (status = ft_json_get_bool(json, node, "lowercase", FT_JSON_OPTIONAL, &lower, error)))
        return status;
    accents = lower;
    if ((status = ft_json_get_bool(json, node, "strip_accents", FT_JSON_OPTIONAL, &accents, error))) return status;
    const struct {
        bool wanted;
        enum ft_normalize_type type;
    } step[] = {{clean, FT_NORMALIZE_BERT_CLEAN},
                {chinese, FT_NORMALIZE_BERT_CHINESE},
                {accents, FT_NORMALIZE_NFD},
                {accents, FT_NORMALIZE_BERT_ACCENTS},
                {lower, FT_NORMALIZE_LOWERCASE}};
    for (size_t i = 0; i < sizeof step / sizeof *step && !status; i++)
        if (step[i].wanted) status = add_step(normalizer, step[i].type, error);
    return status;
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
    if (strcmp(type, "BertNormalizer") == 0) return read_bert(normalizer, json, node, error);
    if ((status = add_step(normalizer, FT_NORMALIZE_STRIP, error))) return status;
    return read_step(&normalizer->step[normalizer->count - 1], json, node, error);
}

enum ft_status ft_normalizer_read(struct ft_normalizer *normalizer, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_error *error) {
    if (!node || ft_json_type(node) == FT_JSON_NULL) return FT_OK;
    return read_node(normalizer, json, node, 0, error);
}

void ft_normalizer_release(struct ft_normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->count; i++) {
        ft_pattern_release(&normalizer->step[i].pattern);
        ft_charsmap_release(&normalizer->step[i].charsmap);
        free(normalizer->step[i].content);
    }
    free(normalizer->step);
    *normalizer = (struct ft_normalizer){0};
}

/* --- steps ----------------------------------------------------------------------------------------------- */

static enum ft_status put(struct ft_buffer *out, uint32_t c, struct ft_error *error) {
    char utf8[4];
    return ft_buffer_append(out, utf8, ft_utf8_put(utf8, c), error);
}

/* Characters that are as good as removed. */
#define REMOVED UINT32_MAX

/* What Google's neural machine translation did to control characters and spaces (the reference's set). */
static uint32_t nmt(uint32_t c) {
    if (c < 9 || c == 0xb || (c >= 0xe && c < 0x20) || c == 0x7f || c == 0x8f || c == 0x9f) return c ? REMOVED : c;
    bool space = c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 ||
                 c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
    return space ? ' ' : c;
}

static uint32_t bert_clean(uint32_t c) {
    if (ft_has_trait(c, FT_TRAIT_BERT_CONTROL)) return REMOVED;
    return ft_is_space(c) ? ' ' : c;
}

static bool is_chinese(uint32_t c) {
    static const uint32_t range[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},   {0x20000, 0x2a6df},
                                        {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
    for (size_t i = 0; c >= range[0][0] && i < sizeof range / sizeof *range; i++)
        if (c >= range[i][0] && c <= range[i][1]) return true;
    return false;
}

static enum ft_status bytes_as_characters(const char *p, const char *end, struct ft_buffer *out, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (; p < end && !status; p++) status = put(out, ft_byte_character((uint8_t)*p), error);
    return status;
}

/* Appends what becomes of the character text[0..size). */
static enum ft_status map_character(enum ft_normalize_type type, uint32_t c, const char *text, size_t size,
                                    struct ft_buffer *out, struct ft_error *error) {
    enum ft_status status;
    switch (type) {
    case FT_NORMALIZE_LOWERCASE: return ft_lower_case(c, out, error);
    case FT_NORMALIZE_BYTE_LEVEL: return bytes_as_characters(text, text + size, out, error);
    case FT_NORMALIZE_STRIP_ACCENTS: return ft_has_trait(c, FT_TRAIT_ACCENT) ? FT_OK : ft_buffer_append(out, text, size, error);
    case FT_NORMALIZE_BERT_ACCENTS:
        return ft_has_trait(c, FT_TRAIT_BERT_ACCENT) ? FT_OK : ft_buffer_append(out, text, size, error);
    case FT_NORMALIZE_BERT_CHINESE:
        if (!is_chinese(c)) return ft_buffer_append(out, text, size, error);
        if ((status = put(out, ' ', error)) || (status = ft_buffer_append(out, text, size, error))) return status;
        return put(out, ' ', error);
    default: c = type == FT_NORMALIZE_NMT ? nmt(c) : bert_clean(c); return c == REMOVED ? FT_OK : put(out, c, error);
    }
}

static enum ft_status map_characters(enum ft_normalize_type type, struct ft_normalized *n, struct ft_buffer *out,
                                     struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (const char *p = n->text, *end = p + n->length; p < end && !status;) {
        const char *at = p;
        uint32_t c = ft_utf8_next(&p);
        status = map_character(type, c, at, (size_t)(p - at), out, error);
        if (at == n->text && !out->size) n->whole = false;
    }
    return status;
}

static void strip(const struct ft_normalizer_step *step, struct ft_normalized *n) {
    const char *p = n->text, *end = p + n->length;
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
    if (p != n->text) n->whole = false;
    n->text = p;
    n->length = (size_t)(end - p);
}

static enum ft_status replace(const struct ft_normalizer_step *step, struct ft_matcher *matcher, struct ft_normalized *n,
                              struct ft_buffer *out, struct ft_error *error) {
    struct ft_match match = {0};
    size_t done = 0, content = strlen(step->content);
    bool found;
    enum ft_status status;
    if (!n->length) return FT_OK;
    while (!(status = ft_pattern_next(&step->pattern, matcher, n->text, n->length, &match, &found, error)) && found) {
        if ((status = ft_buffer_append(out, n->text + done, match.start - done, error)) ||
            (status = ft_buffer_append(out, step->content, content, error)))
            return status;
        /* what replaces several characters stands where the last of them was */
        if (!match.start && match.end > (content ? ft_utf8_size(*n->text) : 0)) n->whole = false;
        done = match.end;
    }
    return status ? status : ft_buffer_append(out, n->text + done, n->length - done, error);
}

static enum ft_status prepend(const struct ft_normalizer_step *step, const struct ft_normalized *n, struct ft_buffer *out,
                              struct ft_error *error) {
    enum ft_status status = n->at_start && n->length ? ft_buffer_string(out, step->content, error) : FT_OK;
    return status ? status : ft_buffer_append(out, n->text, n->length, error);
}

static bool is_ascii(const char *text, size_t length) {
    unsigned char all = 0;
    for (size_t i = 0; i < length; i++) all |= (unsigned char)text[i];
    return all < 0x80;
}

/* The step leaves such a text as it is. */
static bool changes_nothing(const struct ft_normalizer_step *step, const struct ft_normalized *n) {
    switch (step->type) {
    case FT_NORMALIZE_NFC:
    case FT_NORMALIZE_NFD:
    case FT_NORMALIZE_NFKC:
    case FT_NORMALIZE_NFKD:
    case FT_NORMALIZE_STRIP_ACCENTS:
    case FT_NORMALIZE_BERT_ACCENTS:
    case FT_NORMALIZE_BERT_CHINESE: return is_ascii(n->text, n->length);
    case FT_NORMALIZE_PREPEND: return !n->at_start;
    default: return false;
    }
}

static enum ft_status run_step(const struct ft_normalizer_step *step, struct ft_matcher *matcher, struct ft_normalized *n,
                               struct ft_buffer *out, struct ft_error *error) {
    switch (step->type) {
    case FT_NORMALIZE_NFC: return ft_normal_form(FT_NFC, n->text, n->length, out, error);
    case FT_NORMALIZE_NFD: return ft_normal_form(FT_NFD, n->text, n->length, out, error);
    case FT_NORMALIZE_NFKC: return ft_normal_form(FT_NFKC, n->text, n->length, out, error);
    case FT_NORMALIZE_NFKD: return ft_normal_form(FT_NFKD, n->text, n->length, out, error);
    case FT_NORMALIZE_PRECOMPILED: return ft_charsmap_apply(&step->charsmap, n->text, n->length, out, error);
    case FT_NORMALIZE_PREPEND: return prepend(step, n, out, error);
    case FT_NORMALIZE_REPLACE: return replace(step, matcher, n, out, error);
    default: return map_characters(step->type, n, out, error);
    }
}

enum ft_status ft_normalize(const struct ft_normalizer *normalizer, struct ft_matcher *matcher, struct ft_normalized *n,
                            struct ft_buffer buffer[2], struct ft_error *error) {
    unsigned turn = 0;
    n->whole = true;
    for (size_t i = 0; i < normalizer->count; i++) {
        const struct ft_normalizer_step *step = &normalizer->step[i];
        if (step->type == FT_NORMALIZE_STRIP) {
            strip(step, n);
            continue;
        }
        if (changes_nothing(step, n)) continue;
        struct ft_buffer *to = &buffer[turn];
        ft_buffer_clear(to);
        enum ft_status status = run_step(step, matcher, n, to, error);
        if (status) return status;
        n->text = to->data ? to->data : "";
        n->length = to->size;
        turn ^= 1;
    }
    return FT_OK;
}
