/* SPDX-License-Identifier: MIT
 * Tokenizers: ids and texts as Hugging Face's tokenizers computed them (tests/oracle/tokenizer.py
 * --fixtures), what goes on after other text, long runs, and broken files.
 */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/file.h"
#include "ft/json.h"
#include "ft/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct ft_error error;

struct subject {
    struct ft_tokenizer *tokenizer;
    struct ft_encoder *encoder;
    struct ft_ids ids;
    struct ft_buffer text;
};

static bool subject_open(struct subject *s, const char *name) {
    *s = (struct subject){0};
    bool good = !ft_tokenizer_load(&s->tokenizer, fixture("tokenizer/%s.json", name), &error) &&
                !ft_encoder_new(&s->encoder, s->tokenizer, &error);
    if (!good) ok(false, "%s loads: %s", name, error.message);
    return good;
}

static void subject_close(struct subject *s) {
    ft_encoder_free(s->encoder);
    ft_tokenizer_free(s->tokenizer);
    ft_ids_release(&s->ids);
    ft_buffer_release(&s->text);
}

static bool encodes(struct subject *s, const char *text, size_t length, unsigned flags) {
    char *exact = malloc(length ? length : 1); /* so that a sanitizer sees a read past the end */
    if (!exact) return false;
    memcpy(exact, text, length);
    s->ids.count = 0;
    bool good = !ft_encode(s->encoder, exact, length, flags, &s->ids, &error);
    free(exact);
    return good;
}

static bool decodes_to(struct subject *s, unsigned flags, const char *want) {
    ft_buffer_clear(&s->text);
    if (ft_decode(s->tokenizer, s->ids.id, s->ids.count, flags, &s->text, &error)) return false;
    return strcmp(s->text.data ? s->text.data : "", want) == 0;
}

/* --- what the reference says ---------------------------------------------------------------------------- */

static bool same_ids(const struct subject *s, const struct ft_json *json, const struct cJSON *list) {
    size_t i = 0;
    for (const struct cJSON *node = ft_json_first(list); node; node = ft_json_next(node), i++) {
        uint64_t id;
        if (i == s->ids.count || ft_json_u64(json, node, 0, UINT32_MAX, &id, &error) || id != s->ids.id[i])
            return false;
    }
    return i == s->ids.count;
}

static bool case_holds(struct subject *s, const struct ft_json *json) {
    const char *text = NULL, *decoded = NULL, *skipped = NULL;
    const struct cJSON *ids = NULL;
    if (ft_json_get_string(json, json->root, "text", FT_JSON_REQUIRED, &text, &error) ||
        ft_json_get_string(json, json->root, "decoded", FT_JSON_REQUIRED, &decoded, &error) ||
        ft_json_get_string(json, json->root, "skipped", FT_JSON_REQUIRED, &skipped, &error) ||
        ft_json_get_node(json, json->root, "ids", FT_JSON_REQUIRED, FT_JSON_ARRAY, &ids, &error))
        return false;
    for (int again = 0; again < 2; again++) /* from the cache, too */
        if (!encodes(s, text, strlen(text), FT_ENCODE_SPECIALS) || !same_ids(s, json, ids)) return false;
    return decodes_to(s, 0, decoded) && decodes_to(s, FT_DECODE_SKIP_SPECIAL, skipped);
}

static void test_reference(const char *name) {
    struct subject s;
    struct ft_lines *lines;
    const char *line;
    size_t size, cases = 0, wrong = 0;
    uint64_t first = 0;
    if (!subject_open(&s, name)) return;
    const char *path = fixture("tokenizer/%s.jsonl", name);
    if (ft_lines_open(&lines, path, 0, &error)) {
        ok(false, "%s", error.message);
        return;
    }
    while (!ft_lines_next(lines, &line, &size, &error) && line) {
        struct ft_json json;
        bool good =
            !ft_json_parse(&json, line, size, path, ft_lines_number(lines), &error) && case_holds(&s, &json);
        if (!good && !wrong++) first = ft_lines_number(lines);
        cases++;
        ft_json_release(&json);
    }
    ok(cases > 50 && !wrong, "%s: ids and texts of %zu cases (%zu wrong, the first on line %llu)", name,
       cases, wrong, (unsigned long long)first);
    ft_lines_close(lines);
    subject_close(&s);
}

/* Random tokenizers over all components (tests/oracle/tokenizer_random.py --fixture): a line with the
 * tokenizer, one with its cases. */
static size_t wrong_cases(struct subject *s, const struct ft_json *json) {
    const struct cJSON *cases = NULL;
    size_t wrong = 0;
    if (ft_json_get_node(json, json->root, "cases", FT_JSON_REQUIRED, FT_JSON_ARRAY, &cases, &error))
        return 1;
    for (const struct cJSON *node = ft_json_first(cases); node; node = ft_json_next(node)) {
        struct ft_json one = *json;
        one.root = (struct cJSON *)node;
        wrong += !case_holds(s, &one);
    }
    return wrong;
}

static void test_random(void) {
    struct ft_lines *lines;
    const char *path = fixture("tokenizer/random.jsonl"), *line;
    size_t size, count = 0;
    struct subject s = {0};
    if (ft_lines_open(&lines, path, 0, &error)) {
        ok(false, "%s", error.message);
        return;
    }
    while (!ft_lines_next(lines, &line, &size, &error) && line) {
        uint64_t number = ft_lines_number(lines), seed = 0;
        struct ft_json json = {0};
        if (number % 2) {
            s = (struct subject){0};
            if (ft_tokenizer_parse(&s.tokenizer, line, size, path, &error) ||
                ft_encoder_new(&s.encoder, s.tokenizer, &error))
                ok(false, "line %llu: %s", (unsigned long long)number, error.message);
            continue;
        }
        bool good =
            !ft_json_parse(&json, line, size, path, number, &error) &&
            !ft_json_get_u64(&json, json.root, "seed", FT_JSON_REQUIRED, 0, UINT32_MAX, &seed, &error);
        size_t wrong = good && s.encoder ? wrong_cases(&s, &json) : 1;
        if (wrong)
            ok(false, "a random tokenizer: seed %llu, %zu cases differ", (unsigned long long)seed, wrong);
        count++;
        ft_json_release(&json);
        subject_close(&s);
    }
    ok(count == 60, "%zu random tokenizers were compared", count);
    ft_lines_close(lines);
}

/* --- our own rules -------------------------------------------------------------------------------------- */

/* ids(prompt) + ids(completion, CONTINUE) say prompt + completion, with a space where the text has one. */
static void test_continue(const char *name) {
    static const char *const part[][2] = {
        {"Hello", " world"}, {"Hello", "world"}, {"Hello ", "world"}, {"a\n", "b"}, {"Hello", ""}};
    struct subject s;
    if (!subject_open(&s, name)) return;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        char both[64];
        snprintf(both, sizeof both, "%s%s", part[i][0], part[i][1]);
        bool good = encodes(&s, part[i][0], strlen(part[i][0]), 0) &&
                    !ft_encode(s.encoder, part[i][1], strlen(part[i][1]), FT_ENCODE_CONTINUE, &s.ids, &error);
        ok(good && decodes_to(&s, 0, both), "%s: a text goes on after a seam (%zu)", name, i);
    }
    subject_close(&s);
}

/* Processor seconds to encode, the least of three; infinite when it fails. */
static double encoding_seconds(struct subject *s, const char *text, size_t length) {
    double least = INFINITY;
    for (int round = 0; round < 3; round++) {
        clock_t start = clock();
        if (!encodes(s, text, length, 0)) return INFINITY;
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        if (seconds < least) least = seconds;
    }
    return least;
}

static void repeat(const char *unit, char *text, size_t length) {
    size_t n = strlen(unit);
    for (size_t i = 0; i < length; i++) text[i] = unit[i % n];
    text[length] = '\0';
}

#ifdef FT_SANITIZED
enum { TIMES = 10 };
#else
enum { TIMES = 5 };
#endif

/* The support example's messages, as they lie there: some 2 MB of English. */
static void read_prose(char *text, size_t length) {
    FILE *file = fopen(source_path("pipelines/support/data.jsonl"), "r");
    size_t got = file ? fread(text, 1, length, file) : 0;
    if (file) fclose(file);
    ok(got == length, "a megabyte of prose is there");
    memset(text + got, 'x', length - got);
    text[length] = '\0';
}

/* Long words take another way through the merges than short ones, with the same result: a run that is cut
 * into short words by nothing must decode to itself, and cost a byte at most five times what prose costs,
 * however long. */
static void test_long(const char *name) {
    static const char *const unit[] = {"x",    " ",         "ab", "\xe4\xb8\x80", "\xf0\x9f\x98\x80",
                                       "aaab", "the quick "};
    enum { LENGTH = 1 << 20 };
    struct subject s;
    char *text = malloc(LENGTH + 1);
    if (!text || !subject_open(&s, name)) return;
    read_prose(text, LENGTH);
    double usual = encoding_seconds(&s, text, LENGTH);
    for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
        size_t length = LENGTH / strlen(unit[u]) * strlen(unit[u]);
        repeat(unit[u], text, length);
        double seconds = encoding_seconds(&s, text, length);
        ok(isfinite(seconds) && decodes_to(&s, 0, text), "%s: a megabyte of \"%s\" comes back", name,
           unit[u]);
        if (!ok(seconds <= TIMES * usual + 0.01, "%s: in no more than %d times the time of prose", name,
                TIMES))
            printf("# %.3f s, prose %.3f s\n", seconds, usual);
    }
    free(text);
    subject_close(&s);
}

/* The same tokenizer with its expression spelt so that it is not recognised. */
static bool open_by_machine(struct subject *s, const char *name) {
    static const char from[] = "|\\\\s+\"", to[] = "|\\\\s+|(?!)\"";
    struct ft_buffer json = {0}, changed = {0};
    const char *path = fixture("tokenizer/%s.json", name);
    *s = (struct subject){0};
    bool good = !ft_read_all(&json, path, 1 << 20, &error);
    const char *at = good ? strstr(json.data, from) : NULL;
    good = at && !ft_buffer_append(&changed, json.data, (size_t)(at - json.data), &error) &&
           !ft_buffer_string(&changed, to, &error) &&
           !ft_buffer_string(&changed, at + strlen(from), &error) &&
           !ft_tokenizer_parse(&s->tokenizer, changed.data, changed.size, path, &error) &&
           !ft_encoder_new(&s->encoder, s->tokenizer, &error);
    ft_buffer_release(&json);
    ft_buffer_release(&changed);
    return good;
}

/* Random texts over all that the expressions tell apart. */
static void test_known(const char *name) {
    static const char *const part[] = {
        " ", " ", "  ", "\n", "\r", "\t", "a", "B", "sS", "'", "'s", "'LL", "'\xc5\xbf", "1", "22",
        "\xc2\xbd", "!", "_", "\xc3\xa9", "\xe4\xbd\xa0", "\xcc\x81", "\xc2\xa0", "\xe3\x80\x80",
        "\xc2\x85", "\xf0\x9f\x98\x80"};
    struct subject hand, machine;
    if (!subject_open(&hand, name)) return;
    bool good = open_by_machine(&machine, name);
    size_t wrong = 0;
    uint32_t state = 1;
    for (size_t i = 0; good && i < 20000; i++) {
        char text[128] = "";
        size_t length = 0;
        for (size_t k = 0, n = 1 + i % 16; k < n; k++) {
            state = state * 1664525u + 1013904223u;
            const char *p = part[(state >> 16) % (sizeof part / sizeof *part)];
            memcpy(text + length, p, strlen(p));
            length += strlen(p);
        }
        good = encodes(&hand, text, length, 0) && encodes(&machine, text, length, 0);
        wrong += !good || hand.ids.count != machine.ids.count ||
                 memcmp(hand.ids.id, machine.ids.id, hand.ids.count * sizeof *hand.ids.id) != 0;
    }
    ok(good && !wrong, "%s: its expression by hand and by machine (%zu of 20000 texts differ)", name, wrong);
    subject_close(&hand);
    subject_close(&machine);
}

static void test_text(void) {
    static const char *const bad[] = {"\xff",    "a\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80",
                                      "\xe2\x82"};
    struct subject s;
    if (!subject_open(&s, "spm")) return;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(!encodes(&s, bad[i], strlen(bad[i]), 0) && error.status == FT_FORMAT && s.ids.count == 0,
           "refused: %s", error.message);
    ok(encodes(&s, "a\0b", 3, 0) && !ft_decode(s.tokenizer, s.ids.id, s.ids.count, 0, &s.text, &error) &&
           s.text.size == 3 && !memcmp(s.text.data, "a\0b", 3),
       "NUL is a character");
    uint32_t id;
    size_t length;
    ok(ft_tokenizer_find(s.tokenizer, "</s>", 4, &id) && id == 2 && ft_tokenizer_is_special(s.tokenizer, 2) &&
           !strcmp(ft_tokenizer_token(s.tokenizer, 2, &length), "</s>") && length == 4,
       "tokens by text and by id");
    ok(!ft_tokenizer_find(s.tokenizer, "</S>", 4, &id) && !ft_tokenizer_token(s.tokenizer, 1 << 30, NULL) &&
           !ft_tokenizer_bos(s.tokenizer, &id) && !ft_tokenizer_eos(s.tokenizer, &length) &&
           !ft_tokenizer_template(s.tokenizer) && strlen(ft_tokenizer_digest(s.tokenizer)) == 64,
       "what is not there");
    subject_close(&s);
    if (!subject_open(&s, "metaspace")) return;
    ok(encodes(&s, "\xf0\x93\x80\x80", 4, 0) && s.ids.count == 2 && s.ids.id[1] == 0,
       "an unknown character is the unknown token");
    subject_close(&s);
}

/* --- broken files --------------------------------------------------------------------------------------- */

#define MODEL(body) "{\"model\":{\"type\":\"BPE\"," body "}}"
#define PARTS(parts) "{" parts ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}"

static const struct {
    enum ft_status status;
    const char *json, *what;
} broken[] = {
    {FT_FORMAT, "", "nothing"},
    {FT_FORMAT, "[]", "no object"},
    {FT_FORMAT, "{}", "no model"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0},\"merges\":["), "a cut file"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0"), "a cut vocabulary"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a"), "a cut token"},
    {FT_FORMAT, MODEL("\"merges\":[]"), "no vocabulary"},
    {FT_FORMAT, MODEL("\"vocab\":{},\"merges\":[]"), "no tokens"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0,\"b\":2},\"merges\":[]"), "a hole in the vocabulary"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]"), "an id twice"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]"), "a token twice"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0},\"vocab\":{\"a\":0},\"merges\":[]"), "a vocabulary twice"},
    {FT_LIMIT, MODEL("\"vocab\":{\"a\":4000000000},\"merges\":[]"), "a huge id"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":-1},\"merges\":[]"), "a negative id"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0.5},\"merges\":[]"), "a broken id"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":99999999999},\"merges\":[]"), "an id beyond 32 bits"},
    {FT_FORMAT, MODEL("\"vocab\":{\"\\ud800\":0},\"merges\":[]"), "half a surrogate pair"},
    {FT_FORMAT, MODEL("\"vocab\":{\"\xff\":0},\"merges\":[]"), "a token that is not UTF-8"},
    {FT_FORMAT, MODEL("\"vocab\":{\"\\q\":0},\"merges\":[]"), "an unknown escape"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a\"]"), "a merge of one"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]"), "a merge of three"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a b\"]"), "a merge of an unknown token"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a a\"]"), "a merge into an unknown token"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0,\"\":1},\"merges\":[[\"a\",\"\"]]"), "a merge with nothing"},
    {FT_FORMAT, MODEL("\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]"), "half a merge"},
    {FT_FORMAT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":0}}}", "scores that are none"},
    {FT_FORMAT, "{\"model\":{\"type\":\"WordLevel\",\"vocab\":[[\"a\",0]]}}", "ids that are scores"},
    {FT_FORMAT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"b\"]]}}", "a token without score"},
    {FT_FORMAT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", "an infinite score"},
    {FT_FORMAT, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"a\",-2]]}}",
     "a token with two scores"},
    {FT_FORMAT, "{\"model\":{\"type\":\"Unigram\",\"unk_id\":5,\"vocab\":[[\"a\",-1]]}}",
     "an unknown unk_id"},
    {FT_FORMAT, PARTS("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAA\"}"),
     "a map that is not base64"},
    {FT_FORMAT, PARTS("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}"),
     "a map that is cut"},
    {FT_UNSUPPORTED,
     PARTS("\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"TemplateProcessing\","
           "\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},"
           "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"id\":\"x\",\"ids\":[0]}}},{\"type\":"
           "\"BertProcessing\",\"sep\":[\"a\",0],\"cls\":[\"a\",0]}]}"),
     "tokens behind a template"},
    {FT_UNSUPPORTED, MODEL("\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1"), "dropout"},
    {FT_UNSUPPORTED, "{\"model\":{\"type\":\"Magic\",\"vocab\":{\"a\":0}}}", "an unknown model"},
    {FT_UNSUPPORTED, PARTS("\"version\":\"2.0\""), "an unknown version"},
    {FT_UNSUPPORTED, PARTS("\"normalizer\":{\"type\":\"Magic\"}"), "an unknown normalizer"},
    {FT_UNSUPPORTED, PARTS("\"pre_tokenizer\":{\"type\":\"Magic\"}"), "an unknown pre-tokenizer"},
    {FT_UNSUPPORTED, PARTS("\"post_processor\":{\"type\":\"Magic\"}"), "an unknown post-processor"},
    {FT_UNSUPPORTED, PARTS("\"decoder\":{\"type\":\"Magic\"}"), "an unknown decoder"},
    {FT_UNSUPPORTED,
     PARTS("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}"),
     "a broken expression"},
    {FT_FORMAT,
     PARTS("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Magic\"}"),
     "an unknown behavior"},
    {FT_FORMAT, PARTS("\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\"}"),
     "a split without pattern"},
    {FT_FORMAT, PARTS("\"added_tokens\":[{\"id\":0,\"content\":\"b\"}]"), "an added token with a used id"},
    {FT_FORMAT, PARTS("\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]"),
     "an added token with another id than the vocabulary's"},
    {FT_FORMAT, PARTS("\"added_tokens\":[{\"id\":7,\"content\":\"b\"}]"), "an added token behind a hole"},
    {FT_FORMAT, PARTS("\"added_tokens\":{}"), "added tokens that are no list"},
    {FT_FORMAT,
     PARTS("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
           "{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"id\":\"x\",\"ids\":[9]}}}"),
     "a template of an unknown id"},
    {FT_FORMAT,
     PARTS("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],\"special_tokens\":{}}"),
     "a template without text"},
};

static void test_broken(void) {
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct ft_tokenizer *t = NULL;
        enum ft_status status =
            ft_tokenizer_parse(&t, broken[i].json, strlen(broken[i].json), "t.json", &error);
        ok(status == broken[i].status && !t &&
               (strstr(error.message, "expression") || strstr(error.message, "t.json")),
           "%s: %s", broken[i].what, status ? error.message : "accepted");
        ft_tokenizer_free(t);
    }
}

int main(void) {
    static const char *const name[] = {"gpt2", "llama3", "qwen", "spm", "gemma", "metaspace", "kitchen"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) test_reference(name[i]);
    test_random();
    test_continue("spm");
    test_continue("gpt2");
    test_continue("gemma");
    test_long("gpt2");
    test_long("spm");
    test_long("qwen");
    test_known("llama3");
    test_known("qwen");
    test_text();
    test_broken();
    return tap_done();
}
