/* SPDX-License-Identifier: MIT
 * Records: every format, every problem's code, labels and groups, what counts as the same content. */
#include "../tap/tap.h"

#include "ft/record.h"
#include "ft/similar.h"

#include <string.h>

static struct ft_error error;
static struct ft_record record;

static enum ft_status parse(const char *line) {
    return ft_record_parse(&record, FT_RECORD_AUTO, line, strlen(line), "d.jsonl", 7, &error);
}

static void test_formats(void) {
    ok(!parse("{\"prompt\":\"a\",\"completion\":\"b\"}") && record.format == FT_RECORD_PROMPT &&
           !strcmp(record.prompt, "a") && !strcmp(record.completion, "b") && record.turns == 0,
       "prompt and completion");
    ok(!parse("{\"text\":\"t\"}") && record.format == FT_RECORD_TEXT && !*record.prompt &&
           !strcmp(record.completion, "t"),
       "text");
    ok(!parse("{\"instruction\":\"do\",\"input\":\"x\",\"output\":\"y\"}") &&
           record.format == FT_RECORD_INSTRUCTION &&
           strstr(record.prompt, "### Input:\nx\n\n### Response:\n") && !strcmp(record.completion, "y"),
       "instruction with input");
    ok(!parse("{\"instruction\":\"do\",\"input\":\"\",\"output\":\"y\"}") && !strstr(record.prompt, "Input"),
       "an empty input is none");
    ok(!parse("{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"u\"},"
              "{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0.5}]}") &&
           record.turns == 3 && record.turn[0].weight == 0 && record.turn[1].weight == 0 &&
           record.turn[2].weight == 0.5f,
       "messages: only the assistant's are learnt, by their weight");
    ok(!parse("{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":null,"
              "\"tool_calls\":[{}]}]}") &&
           !*record.turn[1].content,
       "null content beside calls of tools");
    ok(!parse("{\"prompt\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":"
              "\"old\"},{\"role\":\"user\","
              "\"content\":\"v\"}],\"completion\":[{\"role\":\"assistant\",\"content\":\"new\"}]}") &&
           record.turns == 4 && record.turn[1].weight == 0 && record.turn[3].weight == 1,
       "a prompt as messages is not learnt");
    ok(!parse("{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"train\":false},{\"role\":"
              "\"assistant\",\"content\":\"b\","
              "\"train\":true}]}") &&
           record.turn[0].weight == 0 && record.turn[1].weight == 1,
       "train: false");
}

static void test_problems(void) {
    static const struct {
        const char *line;
        enum ft_record_problem problem;
    } bad[] = {
        {"[1]", FT_RECORD_DATA_TYPE},
        {"\"x\"", FT_RECORD_DATA_TYPE},
        {"{\"messages\":[]}", FT_RECORD_MISSING_MESSAGES_LIST},
        {"{\"messages\":\"x\"}", FT_RECORD_MISSING_MESSAGES_LIST},
        {"{\"messages\":[1]}", FT_RECORD_DATA_TYPE},
        {"{\"messages\":[{\"content\":\"x\"}]}", FT_RECORD_MESSAGE_MISSING_KEY},
        {"{\"messages\":[{\"role\":\"user\"}]}", FT_RECORD_MESSAGE_MISSING_KEY},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"colour\":1}]}",
         FT_RECORD_MESSAGE_UNRECOGNIZED_KEY},
        {"{\"messages\":[{\"role\":\"bot\",\"content\":\"x\"}]}", FT_RECORD_UNRECOGNIZED_ROLE},
        {"{\"messages\":[{\"role\":1,\"content\":\"x\"}]}", FT_RECORD_UNRECOGNIZED_ROLE},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}", FT_RECORD_MISSING_CONTENT},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[1]}]}", FT_RECORD_MISSING_CONTENT},
        {"{\"messages\":[{\"role\":\"user\",\"content\":null}]}", FT_RECORD_MISSING_CONTENT},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         FT_RECORD_EXAMPLE_MISSING_ASSISTANT_MESSAGE},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0}]}", FT_RECORD_NO_TARGET},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"weight\":-1}]}", FT_RECORD_WRONG_TYPE},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"train\":1}]}", FT_RECORD_WRONG_TYPE},
        {"{\"prompt\":\"a\"}", FT_RECORD_MISSING_KEY},
        {"{\"prompt\":\"a\",\"completion\":\"\"}", FT_RECORD_NO_TARGET},
        {"{\"prompt\":\"a\",\"completion\":3}", FT_RECORD_WRONG_TYPE},
        {"{\"prompt\":[],\"completion\":\"a\"}", FT_RECORD_WRONG_TYPE},
        {"{\"prompt\":[],\"completion\":[]}", FT_RECORD_EXAMPLE_MISSING_ASSISTANT_MESSAGE},
        {"{\"instruction\":\"a\",\"input\":\"b\"}", FT_RECORD_MISSING_KEY},
        {"{\"text\":\"\"}", FT_RECORD_NO_TARGET},
        {"{\"text\":null}", FT_RECORD_WRONG_TYPE},
        {"{\"words\":\"x\"}", FT_RECORD_UNKNOWN_FORMAT},
        {"{}", FT_RECORD_UNKNOWN_FORMAT},
        {"", FT_RECORD_EMPTY_LINE},
        {" \t", FT_RECORD_EMPTY_LINE},
        {"{\"text\":\"x\"", FT_RECORD_INVALID_JSON},
        {"{\"text\":\"x\",\"text\":\"y\"}", FT_RECORD_INVALID_JSON},
        {"{\"text\":\"\xff\"}", FT_RECORD_INVALID_JSON},
        {"{\"text\":\"\\u0000\"}", FT_RECORD_INVALID_JSON},
        {"{'text':'x'}", FT_RECORD_INVALID_JSON},
        {"{\"text\":\"x\"} {}", FT_RECORD_INVALID_JSON},
        {"{\"text\":\"x\",\"label\":1.5}", FT_RECORD_WRONG_TYPE},
        {"{\"text\":\"x\",\"label\":1e3}", FT_RECORD_WRONG_TYPE},
        {"{\"text\":\"x\",\"group\":[1]}", FT_RECORD_WRONG_TYPE},
        {"{\"text\":\"x\",\"tools\":{}}", FT_RECORD_WRONG_TYPE},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum ft_status status = parse(bad[i].line);
        ok(status == FT_FORMAT && record.problem == bad[i].problem, "%s: %s",
           ft_record_problem_code(bad[i].problem), error.message);
    }
    ok(ft_record_parse(&record, FT_RECORD_PROMPT, "{\"text\":\"x\"}", 12, "d", 1, &error) == FT_FORMAT &&
           record.problem == FT_RECORD_MISSING_KEY,
       "a format that was asked for is insisted on");
}

static void test_tags(void) {
    ok(!parse("{\"text\":\"x\",\"label\":\"a\",\"group\":-3}") && !strcmp(record.label, "a") &&
           !strcmp(record.group, "-3"),
       "a label and a whole number as group");
    ok(!parse("{\"text\":\"x\",\"label\":true}") && !strcmp(record.label, "true") && !record.group,
       "true as label");
    ok(!parse("{\"text\":\"x\",\"label\":null}") && !record.label, "null is none");
    static const char line[] = "{\"text\":\"x\",\"meta\":{\"user\":{\"id\":12}},\"a.b\":\"c\"}";
    struct ft_record_keys keys = {.label = "a.b", .group = "meta.user.id"};
    ok(!ft_record_parse_keys(&record, FT_RECORD_AUTO, &keys, line, strlen(line), "d", 1, &error) &&
           !strcmp(record.label, "c") && !strcmp(record.group, "12"),
       "dotted paths, and keys with a dot");
    keys.label = "text.x";
    ok(!ft_record_parse_keys(&record, FT_RECORD_AUTO, &keys, line, strlen(line), "d", 1, &error) &&
           !record.label,
       "a path through a string leads nowhere");
}

static void content_of(const char *line, unsigned char digest[FT_SHA256_SIZE]) {
    memset(digest, 0, FT_SHA256_SIZE);
    if (parse(line) || ft_record_content(&record, digest, &error)) ok(false, "%s", error.message);
}

static void test_content(void) {
    unsigned char a[FT_SHA256_SIZE], b[FT_SHA256_SIZE], first[FT_SHA256_SIZE];
    content_of("{\"prompt\":\"p\",\"completion\":\"c\",\"label\":\"x\",\"id\":1}", a);
    memcpy(first, record.sha256, sizeof first);
    content_of("{\"completion\":\"c\",\"id\":2,\"prompt\":\"p\"}", b);
    ok(!memcmp(a, b, sizeof a) && memcmp(first, record.sha256, sizeof first),
       "ids, labels and the order of keys are not content");
    content_of("{\"prompt\":\"pc\",\"completion\":\"c\"}", a);
    content_of("{\"prompt\":\"p\",\"completion\":\"cc\"}", b);
    ok(memcmp(a, b, sizeof a) != 0, "the seam is content");
    content_of("{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"}]}", a);
    content_of("{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"weight\":2}]}", b);
    ok(memcmp(a, b, sizeof a) != 0, "weights are content");
    content_of(
        "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[{\"x\":1,\"y\":2}]}]}", a);
    content_of(
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"y\":2,\"x\":1}],\"content\":\"a\"}]}", b);
    ok(!memcmp(a, b, sizeof a), "calls of tools are content, whatever their order of keys");
}

int main(void) {
    test_formats();
    test_problems();
    test_tags();
    test_content();
    ft_record_release(&record);
    return tap_done();
}
