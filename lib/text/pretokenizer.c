/* SPDX-License-Identifier: MIT */
#include "pretokenizer.h"

#include "ft/json.h"
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 64, DEPTH_MAX = 8 };

#define WORDS_MAX ((size_t)1 << 30)

/* --- reading --------------------------------------------------------------------------------------------- */

static enum ft_status read_behavior(struct ft_pretokenizer_step *step, const struct ft_json *json, const struct cJSON *node,
                                    struct ft_error *error) {
    static const char *const name[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *text = NULL;
    enum ft_status status = ft_json_get_string(json, node, "behavior", FT_JSON_OPTIONAL, &text, error);
    if (status || !text) return status;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (strcmp(text, name[i]) == 0) {
            step->behavior = (enum ft_split_behavior)i;
            return FT_OK;
        }
    return ft_json_fail(json, node, error, "the behavior \"%s\" is not known", text);
}

static enum ft_status read_metaspace(struct ft_pretokenizer_step *step, const struct ft_json *json,
                                     const struct cJSON *node, struct ft_error *error) {
    const char *replacement = "\xe2\x96\x81", *scheme = NULL;
    bool prefix = true;
    step->split = true;
    step->behavior = FT_SPLIT_MERGED_WITH_NEXT;
    enum ft_status status = ft_json_get_string(json, node, "replacement", FT_JSON_OPTIONAL, &replacement, error);
    if (!status) status = ft_json_get_string(json, node, "prepend_scheme", FT_JSON_OPTIONAL, &scheme, error);
    if (!status) status = ft_json_get_bool(json, node, "add_prefix_space", FT_JSON_OPTIONAL, &prefix, error);
    if (!status) status = ft_json_get_bool(json, node, "split", FT_JSON_OPTIONAL, &step->split, error);
    if (status) return status;
    if (!*replacement || strlen(replacement) != ft_utf8_size(*replacement))
        return ft_json_fail(json, node, error, "\"replacement\" must be one character");
    memcpy(step->replacement, replacement, strlen(replacement) + 1);
    if (!scheme) scheme = prefix ? "always" : "never";
    step->prepend = strcmp(scheme, "always") == 0  ? FT_PREPEND_ALWAYS
                    : strcmp(scheme, "first") == 0 ? FT_PREPEND_FIRST
                                                   : FT_PREPEND_NEVER;
    return FT_OK;
}

static enum ft_status read_byte_level(struct ft_pretokenizer_step *step, const struct ft_json *json,
                                      const struct cJSON *node, struct ft_error *error) {
    bool prefix = false;
    step->split = true;
    step->behavior = FT_SPLIT_ISOLATED;
    enum ft_status status = ft_json_get_bool(json, node, "add_prefix_space", FT_JSON_OPTIONAL, &prefix, error);
    if (!status) status = ft_json_get_bool(json, node, "use_regex", FT_JSON_OPTIONAL, &step->split, error);
    step->prepend = prefix ? FT_PREPEND_ALWAYS : FT_PREPEND_NEVER;
    step->known = step->split ? ft_known_regex(ft_gpt2_regex) : FT_KNOWN_NONE;
    return status;
}

static enum ft_status read_split(struct ft_pretokenizer_step *step, const struct ft_json *json, const struct cJSON *node,
                                 struct ft_error *error) {
    const struct cJSON *pattern = NULL;
    const char *regex = NULL;
    enum ft_status status = ft_json_get_node(json, node, "pattern", FT_JSON_REQUIRED, FT_JSON_OBJECT, &pattern, error);
    if (!status) status = ft_json_get_string(json, pattern, "Regex", FT_JSON_OPTIONAL, &regex, error);
    if (!status) status = ft_json_get_bool(json, node, "invert", FT_JSON_OPTIONAL, &step->invert, error);
    if (!status) status = read_behavior(step, json, node, error);
    if (status) return status;
    if (regex) step->known = ft_known_regex(regex);
    return step->known ? FT_OK : ft_pattern_json(&step->pattern, json, pattern, error);
}

static enum ft_status read_digits(struct ft_pretokenizer_step *step, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_error *error) {
    bool individual = false;
    enum ft_status status = ft_json_get_bool(json, node, "individual_digits", FT_JSON_OPTIONAL, &individual, error);
    step->behavior = individual ? FT_SPLIT_ISOLATED : FT_SPLIT_CONTIGUOUS;
    return status;
}

static enum ft_status read_length(struct ft_pretokenizer_step *step, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_error *error) {
    uint64_t length = 5;
    enum ft_status status = ft_json_get_u64(json, node, "length", FT_JSON_OPTIONAL, 1, WORDS_MAX, &length, error);
    step->length = (size_t)length;
    return status;
}

static enum ft_status read_delimiter(struct ft_pretokenizer_step *step, const struct ft_json *json,
                                     const struct cJSON *node, struct ft_error *error) {
    const char *text = NULL;
    enum ft_status status = ft_json_get_string(json, node, "delimiter", FT_JSON_REQUIRED, &text, error);
    if (status) return status;
    if (!*text || strlen(text) != ft_utf8_size(*text))
        return ft_json_fail(json, node, error, "\"delimiter\" must be one character");
    step->behavior = FT_SPLIT_REMOVED;
    return ft_pattern_literal(&step->pattern, text, strlen(text), error);
}

typedef enum ft_status read_function(struct ft_pretokenizer_step *step, const struct ft_json *json,
                                     const struct cJSON *node, struct ft_error *error);

static const struct {
    const char *name;
    enum ft_split_type type;
    enum ft_split_behavior behavior; /* unless `read` says otherwise */
    read_function *read;
} names[] = {
    {"Split", FT_SPLIT_PATTERN, FT_SPLIT_ISOLATED, read_split},
    {"ByteLevel", FT_SPLIT_BYTE_LEVEL, FT_SPLIT_ISOLATED, read_byte_level},
    {"Metaspace", FT_SPLIT_METASPACE, FT_SPLIT_MERGED_WITH_NEXT, read_metaspace},
    {"Digits", FT_SPLIT_DIGITS, FT_SPLIT_CONTIGUOUS, read_digits},
    {"Punctuation", FT_SPLIT_PUNCTUATION, FT_SPLIT_ISOLATED, read_behavior},
    {"Whitespace", FT_SPLIT_WORDS, FT_SPLIT_REMOVED, NULL},
    {"WhitespaceSplit", FT_SPLIT_SPACE, FT_SPLIT_REMOVED, NULL},
    {"CharDelimiterSplit", FT_SPLIT_PATTERN, FT_SPLIT_REMOVED, read_delimiter},
    {"FixedLength", FT_SPLIT_LENGTH, FT_SPLIT_ISOLATED, read_length},
    {"UnicodeScripts", FT_SPLIT_SCRIPTS, FT_SPLIT_ISOLATED, NULL},
};

static enum ft_status add_step(struct ft_pretokenizer *pretokenizer, enum ft_split_type type,
                               enum ft_split_behavior behavior, struct ft_pretokenizer_step **step,
                               struct ft_error *error) {
    enum ft_status status = ft_grow(&pretokenizer->step, &pretokenizer->capacity, pretokenizer->count + 1,
                                    sizeof *pretokenizer->step, STEPS_MAX, "pre-tokenizers", error);
    if (status) return status;
    *step = &pretokenizer->step[pretokenizer->count++];
    **step = (struct ft_pretokenizer_step){.type = type, .behavior = behavior};
    return FT_OK;
}

static enum ft_status read_node(struct ft_pretokenizer *pretokenizer, const struct ft_json *json,
                                const struct cJSON *node, unsigned depth, struct ft_error *error) {
    const char *type = NULL;
    struct ft_pretokenizer_step *step;
    enum ft_status status = ft_json_get_string(json, node, "type", FT_JSON_REQUIRED, &type, error);
    if (status) return status;
    if (strcmp(type, "Sequence") == 0) {
        const struct cJSON *list = NULL;
        if (depth == DEPTH_MAX) return ft_json_fail(json, node, error, "pre-tokenizers nest too deeply");
        status = ft_json_get_node(json, node, "pretokenizers", FT_JSON_REQUIRED, FT_JSON_ARRAY, &list, error);
        if (status) return status;
        for (node = ft_json_first(list); node && !status; node = ft_json_next(node))
            status = read_node(pretokenizer, json, node, depth + 1, error);
        return status;
    }
    if (strcmp(type, "BertPreTokenizer") == 0) {
        status = add_step(pretokenizer, FT_SPLIT_SPACE, FT_SPLIT_REMOVED, &step, error);
        return status ? status : add_step(pretokenizer, FT_SPLIT_PUNCTUATION, FT_SPLIT_ISOLATED, &step, error);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(type, names[i].name) != 0) continue;
        status = add_step(pretokenizer, names[i].type, names[i].behavior, &step, error);
        return status || !names[i].read ? status : names[i].read(step, json, node, error);
    }
    return ft_fail(error, FT_UNSUPPORTED, "%s: the pre-tokenizer \"%s\" is not supported", json->name, type);
}

enum ft_status ft_pretokenizer_read(struct ft_pretokenizer *pretokenizer, const struct ft_json *json,
                                    const struct cJSON *node, struct ft_error *error) {
    if (!node || ft_json_type(node) == FT_JSON_NULL) return FT_OK;
    enum ft_status status = read_node(pretokenizer, json, node, 0, error);
    if (!status && pretokenizer->count)
        pretokenizer->bytes = pretokenizer->step[pretokenizer->count - 1].type == FT_SPLIT_BYTE_LEVEL;
    return status;
}

void ft_pretokenizer_release(struct ft_pretokenizer *pretokenizer) {
    for (size_t i = 0; i < pretokenizer->count; i++) ft_pattern_release(&pretokenizer->step[i].pattern);
    free(pretokenizer->step);
    *pretokenizer = (struct ft_pretokenizer){0};
}

void ft_words_release(struct ft_words *words) {
    free(words->word);
    ft_buffer_release(&words->own);
    *words = (struct ft_words){.own.max = words->own.max};
}

/* --- cutting --------------------------------------------------------------------------------------------- */

static enum ft_status emit(struct ft_words *words, size_t start, size_t end, struct ft_error *error) {
    if (start == end) return FT_OK;
    if (words->count == words->capacity) {
        enum ft_status status = ft_grow(&words->word, &words->capacity, words->count + 1, sizeof *words->word, WORDS_MAX,
                                        "words", error);
        if (status) return status;
    }
    words->word[words->count++] = (struct ft_word){start, end - start};
    return FT_OK;
}

static bool is_class(enum ft_split_type type, uint32_t c) {
    if (type == FT_SPLIT_SPACE) return ft_is_space(c);
    return ft_has_trait(c, type == FT_SPLIT_DIGITS ? FT_TRAIT_NUMERIC : FT_TRAIT_PUNCTUATION);
}

/* The next match at or behind match->from, as ft_pattern_next. */
static enum ft_status next_match(const struct ft_pretokenizer_step *step, struct ft_matcher *matcher, const char *text,
                                 size_t length, struct ft_match *match, bool *found, struct ft_error *error) {
    *found = false;
    if (step->known) {
        if (match->from == length) return FT_OK;
        match->start = match->from;
        match->end = match->from = (size_t)(ft_known_end(step->known, text + match->from, text + length) - text);
        *found = true;
        return FT_OK;
    }
    if (step->type == FT_SPLIT_PATTERN || step->type == FT_SPLIT_BYTE_LEVEL)
        return ft_pattern_next(&step->pattern, matcher, text, length, match, found, error);
    for (const char *p = text + match->from, *end = text + length; p < end && !*found;) {
        const char *at = p;
        if (step->type == FT_SPLIT_METASPACE) {
            size_t size = ft_utf8_size(*p);
            p += size;
            *found = memcmp(at, step->replacement, size) == 0;
        } else {
            *found = is_class(step->type, ft_utf8_next(&p));
        }
        match->start = (size_t)(at - text);
        match->end = match->from = (size_t)(p - text);
    }
    return FT_OK;
}

/* Puts together segments, matches and what lies between them, as the behavior wants. */
struct joiner {
    struct ft_words *out;
    enum ft_split_behavior behavior;
    size_t start, end; /* the segment that waits for the next */
    bool match, waiting;
};

static enum ft_status flush(struct joiner *joiner, struct ft_error *error) {
    if (!joiner->waiting) return FT_OK;
    joiner->waiting = false;
    return emit(joiner->out, joiner->start, joiner->end, error);
}

static enum ft_status join(struct joiner *joiner, size_t start, size_t end, bool match, struct ft_error *error) {
    bool merge = false;
    switch (joiner->behavior) {
    case FT_SPLIT_ISOLATED: return emit(joiner->out, start, end, error);
    case FT_SPLIT_REMOVED: return match ? FT_OK : emit(joiner->out, start, end, error);
    case FT_SPLIT_MERGED_WITH_PREVIOUS: merge = match && !joiner->match; break;
    case FT_SPLIT_MERGED_WITH_NEXT: merge = !match && joiner->match; break;
    case FT_SPLIT_CONTIGUOUS: merge = match == joiner->match; break;
    }
    enum ft_status status = FT_OK;
    if (!joiner->waiting || !merge) {
        status = flush(joiner, error);
        joiner->start = start;
    }
    joiner->end = end;
    joiner->match = match;
    joiner->waiting = true;
    return status;
}

/* A known expression matches everywhere, so its matches are the words. */
static enum ft_status split_known(enum ft_known_regex known, size_t start, size_t length, struct ft_words *out,
                                  struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (const char *p = out->text + start, *end = p + length, *next; p < end && !status; p = next) {
        next = ft_known_end(known, p, end);
        status = emit(out, (size_t)(p - out->text), (size_t)(next - out->text), error);
    }
    return status;
}

/* Splits the part [start, start + length) of out->text. */
static enum ft_status split(const struct ft_pretokenizer_step *step, struct ft_matcher *matcher, size_t start, size_t length,
                            struct ft_words *out, struct ft_error *error) {
    if (step->known && step->behavior == FT_SPLIT_ISOLATED) return split_known(step->known, start, length, out, error);
    const char *text = out->text + start;
    struct joiner joiner = {.out = out, .behavior = step->behavior};
    struct ft_match match = {0};
    size_t done = 0;
    bool found;
    enum ft_status status;
    while (!(status = next_match(step, matcher, text, length, &match, &found, error)) && found) {
        if (done != match.start)
            if ((status = join(&joiner, start + done, start + match.start, step->invert, error))) return status;
        if ((status = join(&joiner, start + match.start, start + match.end, !step->invert, error))) return status;
        done = match.end;
    }
    if (!status && done != length) status = join(&joiner, start + done, start + length, step->invert, error);
    return status ? status : flush(&joiner, error);
}

/* Runs of word characters, and runs of what is neither that nor white space. */
static enum ft_status split_words(size_t start, size_t length, struct ft_words *out, struct ft_error *error) {
    const char *base = out->text, *p = base + start, *end = p + length, *from = p;
    unsigned kind = 0; /* of the run since `from`: 0 white space, 1 word, 2 other */
    enum ft_status status = FT_OK;
    while (p < end && !status) {
        const char *at = p;
        uint32_t c = ft_utf8_next(&p);
        unsigned now = ft_is_word(c) ? 1 : ft_is_space(c) ? 0 : 2;
        if (now == kind) continue;
        if (kind) status = emit(out, (size_t)(from - base), (size_t)(at - base), error);
        from = at;
        kind = now;
    }
    return status || !kind ? status : emit(out, (size_t)(from - base), (size_t)(end - base), error);
}

static enum ft_status split_length(size_t count, size_t start, size_t length, struct ft_words *out, struct ft_error *error) {
    size_t end = start + length, from = start, characters = 0;
    enum ft_status status = FT_OK;
    for (size_t at = start; at < end && !status; characters++) {
        if (characters == count) {
            status = emit(out, from, at, error);
            from = at;
            characters = 0;
        }
        at += ft_utf8_size(out->text[at]);
    }
    return status ? status : emit(out, from, end, error);
}

/* Characters that belong to all scripts, and those without one, go with what is before them. What is before the first character
 * of a script is left out, as in the reference. */
static enum ft_status split_scripts(size_t start, size_t length, struct ft_words *out, struct ft_error *error) {
    const char *base = out->text, *p = base + start, *end = p + length, *from = NULL;
    unsigned script = 0; /* of the part since `from` */
    enum ft_status status = FT_OK;
    while (p < end && !status) {
        const char *at = p;
        unsigned now = ft_script(ft_utf8_next(&p));
        if (!now || now == script) continue;
        if (from) status = emit(out, (size_t)(from - base), (size_t)(at - base), error);
        from = at;
        script = now;
    }
    return status || !from ? status : emit(out, (size_t)(from - base), (size_t)(end - base), error);
}

/* --- steps that change the text -------------------------------------------------------------------------- */

static enum ft_status append_character(struct ft_buffer *buffer, uint32_t c, struct ft_error *error) {
    char utf8[4];
    return ft_buffer_append(buffer, utf8, ft_utf8_put(utf8, c), error);
}

static enum ft_status metaspace_text(const struct ft_pretokenizer_step *step, bool prepend, const char *text, size_t length,
                                     struct ft_buffer *own, struct ft_error *error) {
    size_t size = strlen(step->replacement);
    bool there = length && (text[0] == ' ' || (length >= size && memcmp(text, step->replacement, size) == 0));
    enum ft_status status = prepend && !there ? ft_buffer_append(own, step->replacement, size, error) : FT_OK;
    while (length && !status) {
        const char *space = memchr(text, ' ', length);
        size_t plain = space ? (size_t)(space - text) : length;
        status = ft_buffer_append(own, text, plain, error);
        if (!status && space) status = ft_buffer_append(own, step->replacement, size, error);
        plain += space != NULL;
        text += plain;
        length -= plain;
    }
    return status;
}

/* A text-changing step: each word's new text goes to the end of out->own, then is split there. */
static enum ft_status rewrite_word(const struct ft_pretokenizer_step *step, struct ft_matcher *matcher, bool prepend,
                                   const char *text, size_t length, struct ft_words *out, struct ft_error *error) {
    size_t start = out->own.size;
    enum ft_status status = FT_OK;
    if (step->type == FT_SPLIT_METASPACE) {
        status = metaspace_text(step, prepend, text, length, &out->own, error);
    } else {
        if (prepend && text[0] != ' ') status = ft_buffer_append(&out->own, " ", 1, error);
        if (!status) status = ft_buffer_append(&out->own, text, length, error);
    }
    if (status) return status;
    out->text = out->own.data;
    out->length = out->own.size;
    return step->split ? split(step, matcher, start, out->own.size - start, out, error)
                       : emit(out, start, out->own.size, error);
}

/* Bytes become characters, where a step follows that wants to see them. */
static enum ft_status map_bytes(const struct ft_words *in, struct ft_words *out, struct ft_error *error) {
    enum ft_status status = FT_OK;
    out->count = 0;
    ft_buffer_clear(&out->own);
    for (size_t i = 0; i < in->count && !status; i++) {
        size_t start = out->own.size;
        for (size_t k = 0; k < in->word[i].length && !status; k++)
            status = append_character(&out->own, ft_byte_character((uint8_t)in->text[in->word[i].start + k]), error);
        if (!status) status = emit(out, start, out->own.size, error);
    }
    out->text = out->own.data;
    out->length = out->own.size;
    out->first = in->first;
    return status;
}

static bool changes_text(const struct ft_pretokenizer_step *step) {
    return step->type == FT_SPLIT_METASPACE || (step->type == FT_SPLIT_BYTE_LEVEL && step->prepend);
}

static enum ft_status run_word(const struct ft_pretokenizer_step *step, struct ft_matcher *matcher, bool prepend,
                               const struct ft_words *in, size_t i, struct ft_words *out, struct ft_error *error) {
    size_t start = in->word[i].start, length = in->word[i].length;
    if (changes_text(step)) return rewrite_word(step, matcher, prepend, in->text + start, length, out, error);
    if (step->type == FT_SPLIT_WORDS) return split_words(start, length, out, error);
    if (step->type == FT_SPLIT_LENGTH) return split_length(step->length, start, length, out, error);
    if (step->type == FT_SPLIT_SCRIPTS) return split_scripts(start, length, out, error);
    if (step->type == FT_SPLIT_BYTE_LEVEL && !step->split) return emit(out, start, start + length, error);
    return split(step, matcher, start, length, out, error);
}

/* The text goes on from one list to the next; where it lies goes with it. */
static void hand_over(struct ft_words *in, struct ft_words *out) {
    out->text = in->text;
    out->length = in->length;
    if (in->text != in->own.data) return;
    struct ft_buffer swap = in->own;
    in->own = out->own;
    out->own = swap;
}

static enum ft_status run_step(const struct ft_pretokenizer_step *step, struct ft_matcher *matcher, unsigned flags,
                               struct ft_words *in, struct ft_words *out, struct ft_error *error) {
    enum ft_status status = FT_OK;
    out->count = 0;
    if (changes_text(step)) ft_buffer_clear(&out->own);
    else hand_over(in, out);
    for (size_t i = 0; i < in->count && !status; i++) {
        bool first = in->first && i == 0;
        bool prepend = step->prepend == FT_PREPEND_ALWAYS ||
                       (step->prepend == FT_PREPEND_FIRST && first && (flags & FT_PRETOKENIZE_START));
        if (first && (flags & FT_PRETOKENIZE_CONTINUE)) prepend = false;
        status = run_word(step, matcher, prepend, in, i, out, error);
    }
    size_t beginning = changes_text(step) || !in->count ? 0 : in->word[0].start;
    out->first = in->first && out->count && out->word[0].start == beginning;
    return status;
}

enum ft_status ft_pretokenize(const struct ft_pretokenizer *pretokenizer, struct ft_matcher *matcher, unsigned flags,
                              const char *text, size_t length, struct ft_words words[2], const struct ft_words **out,
                              struct ft_error *error) {
    struct ft_words *in = &words[0], *to = &words[1];
    in->text = text;
    in->length = length;
    in->count = 0;
    in->first = !(flags & FT_PRETOKENIZE_CUT);
    enum ft_status status = emit(in, 0, length, error);
    for (size_t i = 0; i < pretokenizer->count && !status; i++) {
        const struct ft_pretokenizer_step *step = &pretokenizer->step[i];
        bool map = step->type == FT_SPLIT_BYTE_LEVEL && !(pretokenizer->bytes && i + 1 == pretokenizer->count);
        for (int pass = 0; pass <= map && !status; pass++) {
            status = pass ? map_bytes(in, to, error) : run_step(step, matcher, flags, in, to, error);
            struct ft_words *swap = in;
            in = to;
            to = swap;
        }
    }
    *out = in;
    return status;
}
