/* SPDX-License-Identifier: MIT
 * Chat templates: texts as jinja2 renders them (tests/oracle/chat.py), hostile templates, and what of a text
 * the model says.
 */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/chat.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/tree.h"

#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 16 };

static struct ft_error error;
static struct ft_tokenizer *tokenizer;

/* --- rendering ------------------------------------------------------------------------------------------ */

struct conversation {
    struct ft_chat_message message[MESSAGES_MAX];
    size_t count;
};

static void read_messages(struct conversation *c, const struct cJSON *list) {
    c->count = 0;
    for (const struct cJSON *node = ft_json_first(list); node && c->count < MESSAGES_MAX;
         node = ft_json_next(node))
        c->message[c->count++] = (struct ft_chat_message){.role = "", .content = "", .node = node};
}

static bool case_holds(const struct ft_json *json) {
    const char *template = NULL, *want = NULL;
    bool prompt = false;
    struct conversation c;
    struct ft_buffer text = {0};
    struct ft_chat *chat = NULL;
    read_messages(&c, ft_json_find(json->root, "messages"));
    const struct cJSON *tools = ft_json_find(json->root, "tools");
    if (ft_json_type(tools) == FT_JSON_NULL) tools = NULL;
    if (ft_json_get_string(json, json->root, "template", FT_JSON_REQUIRED, &template, &error) ||
        ft_json_get_string(json, json->root, "text", FT_JSON_OPTIONAL, &want, &error) ||
        ft_json_get_bool(json, json->root, "prompt", FT_JSON_REQUIRED, &prompt, &error))
        return false;
    bool good = !ft_chat_new(&chat, tokenizer, template, "2026-11-22", &error) &&
                !ft_chat_render(chat, c.message, c.count, tools, ft_json_find(json->root, "variables"),
                                prompt, &text, &error);
    good = want ? good && strcmp(text.data ? text.data : "", want) == 0 : !good;
    ft_chat_free(chat);
    ft_buffer_release(&text);
    return good;
}

static void test_reference(const char *path) {
    struct ft_lines *lines;
    const char *line;
    size_t size, cases = 0, wrong = 0;
    unsigned long long first = 0;
    if (!ok(!ft_lines_open(&lines, path, 0, &error), "%s is there", path)) return;
    while (!ft_lines_next(lines, &line, &size, &error) && line) {
        struct ft_json json;
        bool good =
            !ft_json_parse(&json, line, size, path, ft_lines_number(lines), &error) && case_holds(&json);
        if (!good && !wrong++) first = ft_lines_number(lines);
        cases++;
        ft_json_release(&json);
    }
    ok(cases && !wrong, "%zu templates give jinja2's text (%zu do not, the first on line %llu)", cases, wrong,
       first);
    ft_lines_close(lines);
}

static void test_hostile(void) {
    static const char *const bad[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        ("{% set ns = namespace(x='xxxxxxxxxx') %}{% for i in range(60) %}"
         "{% set ns.x = ns.x + ns.x %}{% endfor %}"),
        "{{ 'x' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ 10 ** 100 }}",
        "{{ 1 // 0 }}",
        "{{ 1 % 0 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ range(10000000) }}",
        "{{ 'a'|indent(100000) }}",
        "{{ messages.__class__.__mro__.x }}",
        "{{ ''.__class__() }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{{ messages.append(1) }}",
        "{{",
        "{%",
        "{#",
        "{{ 'x",
        "{% raw %}",
        "{{ a.b.c }}",
        "{{ ) }}",
        "{% if true %}",
        "{% endif %}",
        "{{ strftime_now('%Q') }}",
        "\xff",
    };
    struct ft_chat_message message = {.role = "user", .content = "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ft_chat *chat = NULL;
        struct ft_buffer text = {0};
        bool good = !ft_chat_new(&chat, tokenizer, bad[i], "2026-11-22", &error) &&
                    !ft_chat_render(chat, &message, 1, NULL, NULL, false, &text, &error);
        ok(!good && *error.message, "refused: %.90s", error.message);
        ft_chat_free(chat);
        ft_buffer_release(&text);
    }
    char deep[4096] = "";
    memset(deep, '(', sizeof deep - 1);
    memcpy(deep, "{{ ", 3);
    struct ft_chat *chat = NULL;
    ok(ft_chat_new(&chat, tokenizer, deep, NULL, &error) != FT_OK && !chat, "refused: %.90s", error.message);
}

/* --- spans ---------------------------------------------------------------------------------------------- */

#define TURNS "{% for m in messages %}<s>{{ m.role }}\n"
#define END "</s>\n{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"

static const struct {
    const char *what, *template, *said[2]; /* of the two answers; NULL: refused */
} spans[] = {
    {"each answer to its stop token", TURNS "{{ m.content }}" END, {"b</s>", "d</s>"}},
    {"what the template puts before the last answer is said",
     TURNS "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}" END,
     {"b</s>", "<think></think>d</s>"}},
    {"generation blocks, and the stop token behind",
     TURNS "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}"
           "{{ m.content }}{% endif %}" END,
     {"b</s>", "d</s>"}},
    {"generation blocks with the stop token",
     "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>"
     "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
     {"b</s>", "d</s>"}},
    {"a template that always ends in a prompt",
     TURNS "{{ m.content }}</s>\n{% endfor %}<s>assistant\n{{ '' }}",
     {"b</s>", "d</s>"}},
    {"no stop token at all",
     "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
     "{% if add_generation_prompt %}assistant:{% endif %}",
     {"b\n", "d\n"}},
    {"an earlier answer that changes later",
     TURNS "{{ m.content if loop.last or m.role == 'user' else '' }}{{ messages|length if loop.first }}" END,
     {NULL, NULL}},
    {"answers that end in another special token",
     "{% for m in messages %}{{ m.content }}<unk>{% endfor %}",
     {NULL, NULL}},
    {"fewer blocks than answers",
     "{% for m in messages %}{% if loop.last %}{% generation %}x{% endgeneration %}{% endif %}{% endfor %}",
     {NULL, NULL}},
};

static bool says(const struct ft_buffer *text, const struct ft_chat_span *span, const char *want) {
    return span->end <= text->size && span->end - span->start == strlen(want) &&
           !memcmp(text->data + span->start, want, strlen(want));
}

static void test_spans(void) {
    const struct ft_chat_message message[] = {{"user", "a", NULL, false},
                                              {"assistant", "b", NULL, true},
                                              {"user", "c", NULL, false},
                                              {"assistant", "d", NULL, true}};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        struct ft_chat *chat = NULL;
        struct ft_buffer text = {0};
        struct ft_chat_span span[4];
        bool good = !ft_chat_new(&chat, tokenizer, spans[i].template, NULL, &error) &&
                    !ft_chat_spans(chat, message, 4, NULL, &text, span, &error);
        if (spans[i].said[0])
            ok(good && span[0].message == 1 && span[1].message == 3 &&
                   says(&text, &span[0], spans[i].said[0]) && says(&text, &span[1], spans[i].said[1]),
               "%s%s%s", spans[i].what, good ? "" : ": ", good ? "" : error.message);
        else ok(!good, "%s: %s", spans[i].what, error.message);
        ft_chat_free(chat);
        ft_buffer_release(&text);
    }
}

/* One rendering ends in time; those that find the answers' places share its bound. */
static void test_patience(void) {
#define TEN(x) x x x x x x x x x x
    static const char template[] = "{% for m in messages %}{% for a in range(60000) %}{% if 0 " TEN("or 0 or 0 or 0 or 0 or 0 ")
                                   "%}{% endif %}{% endfor %}{{ m.content }}</s>{% endfor %}";
#undef TEN
    const struct ft_chat_message message[] = {
        {"assistant", "a", NULL, true}, {"assistant", "b", NULL, true}, {"assistant", "c", NULL, true}, {"assistant", "d", NULL, true}};
    struct ft_chat *chat = NULL;
    struct ft_buffer text = {0}, again = {0};
    struct ft_chat_span span[4];
    ok(!ft_chat_new(&chat, tokenizer, template, NULL, &error) &&
           !ft_chat_render(chat, message, 4, NULL, NULL, false, &text, &error) &&
           ft_chat_spans(chat, message, 4, NULL, &again, span, &error) == FT_FORMAT && strstr(error.message, "too long"),
       "a template is given time for a record, not for each of its renderings: %s", error.message);
    ft_chat_free(chat);
    ft_buffer_release(&text);
    ft_buffer_release(&again);
}

/* A model directory made of a fixture's tokenizer and two tokens named. */
static bool load(void) {
    static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";
    struct ft_buffer json = {0}, path = {0};
    char directory[] = "/tmp/ft-chat-XXXXXX";
    bool good = mkdtemp(directory) && !ft_read_all(&json, fixture("tokenizer/spm.json"), 1 << 20, &error) &&
                !ft_path_join(&path, directory, "tokenizer.json", &error) &&
                !ft_write_file(path.data, json.data, json.size, 0, &error);
    ft_buffer_clear(&path);
    good = good && !ft_path_join(&path, directory, "tokenizer_config.json", &error) &&
           !ft_write_file(path.data, config, sizeof config - 1, 0, &error) &&
           !ft_tokenizer_load(&tokenizer, directory, &error);
    (void)ft_tree_remove(directory);
    ft_buffer_release(&json);
    ft_buffer_release(&path);
    return good;
}

int main(int argc, char **argv) {
    if (!ok(load(), "a tokenizer with named tokens loads")) return tap_done();
    test_reference(argc > 1 ? argv[1] : fixture("chat.jsonl"));
    test_hostile();
    test_spans();
    test_patience();
    ft_tokenizer_free(tokenizer);
    return tap_done();
}
