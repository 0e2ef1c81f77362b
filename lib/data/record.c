/* SPDX-License-Identifier: MIT */
#include "ft/record.h"

#include "ft/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const format_name[] = {"auto", "messages", "prompt", "instruction", "text", NULL};

const char *ft_record_format_name(enum ft_record_format format) {
    return format_name[format];
}

enum ft_status ft_record_format_parse(const char *name, enum ft_record_format *format,
                                      struct ft_error *error) {
    for (unsigned i = 0; format_name[i]; i++)
        if (strcmp(format_name[i], name) == 0) {
            *format = (enum ft_record_format)i;
            return FT_OK;
        }
    return ft_fail(error, FT_USAGE,
                   "format '%s': one of auto, messages, prompt, instruction, text is expected", name);
}

static const char *const problem_code[] = {"fine",
#define PROBLEM_CODE(name, code, text) code,
                                           FT_RECORD_PROBLEM_LIST(PROBLEM_CODE)
#undef PROBLEM_CODE
};
static const char *const problem_text[] = {"nothing is wrong",
#define PROBLEM_TEXT(name, code, text) text,
                                           FT_RECORD_PROBLEM_LIST(PROBLEM_TEXT)
#undef PROBLEM_TEXT
};

const char *ft_record_problem_code(enum ft_record_problem problem) {
    return problem_code[problem];
}
const char *ft_record_problem_text(enum ft_record_problem problem) {
    return problem_text[problem];
}

/* --- problems ------------------------------------------------------------------------------------------ */

static enum ft_status fail(struct ft_record *record, enum ft_record_problem problem, struct ft_error *error,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "data.jsonl:7: missing_content: <message>" */
static enum ft_status fail(struct ft_record *record, enum ft_record_problem problem, struct ft_error *error,
                           const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    record->problem = problem;
    return ft_fail(error, FT_FORMAT, "%s:%" PRIu64 ": %s: %s", record->json.name, record->line,
                   problem_code[problem], message);
}

static const char *found(const struct cJSON *node) {
    return node ? ft_json_type_name(ft_json_type(node)) : "nothing";
}

static bool is(const struct cJSON *node, enum ft_json_type type) {
    return node && ft_json_type(node) == type;
}

/* The value of a key that must hold a text; `missing` is the problem when it is not there. */
static enum ft_status need_text(struct ft_record *record, const struct cJSON *object, const char *key,
                                const char **out, struct ft_error *error) {
    const struct cJSON *node = ft_json_find(object, key);
    if (!node) return fail(record, FT_RECORD_MISSING_KEY, error, "the key \"%s\" is missing", key);
    if (!is(node, FT_JSON_STRING))
        return fail(record, FT_RECORD_WRONG_TYPE, error, "\"%s\" must be a string, not %s", key, found(node));
    return ft_json_string(&record->json, node, out, error);
}

/* --- messages ------------------------------------------------------------------------------------------ */

static bool is_listed(const char *word, const char *const *list) {
    while (*list && strcmp(word, *list) != 0)
        list++;
    return *list != NULL;
}

static bool has_calls(const struct cJSON *message) {
    const struct cJSON *calls = ft_json_find(message, "tool_calls");
    return is(ft_json_find(message, "function_call"), FT_JSON_OBJECT) ||
           (is(calls, FT_JSON_ARRAY) && ft_json_first(calls));
}

static enum ft_status check_keys(struct ft_record *record, const struct cJSON *message, size_t number,
                                 struct ft_error *error) {
    static const char *const keys[] = {"role",    "content",           "name",         "weight",
                                       "train",   "tool_calls",        "tool_call_id", "function_call",
                                       "refusal", "reasoning_content", "thinking",     NULL};
    if (!is(message, FT_JSON_OBJECT))
        return fail(record, FT_RECORD_DATA_TYPE, error, "message %zu must be an object, not %s", number,
                    found(message));
    if (!ft_json_find(message, "role") || (!ft_json_find(message, "content") && !has_calls(message)))
        return fail(record, FT_RECORD_MESSAGE_MISSING_KEY, error, "message %zu has no \"%s\"", number,
                    ft_json_find(message, "role") ? "content" : "role");
    for (const struct cJSON *entry = ft_json_first(message); entry; entry = ft_json_next(entry))
        if (!is_listed(ft_json_key(entry), keys))
            return fail(record, FT_RECORD_MESSAGE_UNRECOGNIZED_KEY, error,
                        "message %zu has a key \"%.100s\" that nobody reads", number, ft_json_key(entry));
    return FT_OK;
}

/* "weight": a number >= 0; "train": a boolean. */
static enum ft_status read_weight(struct ft_record *record, const struct cJSON *message, size_t number,
                                  float *weight, struct ft_error *error) {
    const struct cJSON *node = ft_json_find(message, "weight"), *train = ft_json_find(message, "train");
    double value = 1.0;
    bool flag = true;
    if (node && (!is(node, FT_JSON_NUMBER) || ft_json_double(&record->json, node, &value, error) ||
                 !(value >= 0.0) || value > 1e6))
        return fail(record, FT_RECORD_WRONG_TYPE, error,
                    "message %zu: \"weight\" must be a number from 0 to 1000000", number);
    if (train && (!is(train, FT_JSON_BOOL) || ft_json_bool(&record->json, train, &flag, error)))
        return fail(record, FT_RECORD_WRONG_TYPE, error, "message %zu: \"train\" must be true or false",
                    number);
    *weight = flag ? (float)value : 0.0f;
    return FT_OK;
}

static enum ft_status read_message(struct ft_record *record, const struct cJSON *message,
                                   struct ft_turn *turn, struct ft_error *error) {
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function", NULL};
    size_t number = record->turns + 1;
    enum ft_status status = check_keys(record, message, number, error);
    if (status) return status;
    const struct cJSON *role = ft_json_find(message, "role"), *content = ft_json_find(message, "content");
    *turn = (struct ft_turn){.content = "", .node = message};
    if (!is(role, FT_JSON_STRING) || ft_json_string(&record->json, role, &turn->role, error) ||
        !is_listed(turn->role, roles))
        return fail(record, FT_RECORD_UNRECOGNIZED_ROLE, error,
                    "message %zu: the role %s%.40s%s is none of system, developer, "
                    "user, assistant, tool, function",
                    number, turn->role ? "\"" : "", turn->role ? turn->role : "", turn->role ? "\"" : "");
    bool called = has_calls(message), empty = !content || is(content, FT_JSON_NULL);
    if (!empty && !is(content, FT_JSON_STRING))
        return fail(record, FT_RECORD_MISSING_CONTENT, error,
                    "message %zu: \"content\" must be a string, not %s", number, found(content));
    if (!empty) status = ft_json_string(&record->json, content, &turn->content, error);
    if (status) return status;
    if (!*turn->content && !called)
        return fail(record, FT_RECORD_MISSING_CONTENT, error, "message %zu: the content is empty", number);
    status = read_weight(record, message, number, &turn->weight, error);
    if (strcmp(turn->role, "assistant") != 0) turn->weight = 0.0f;
    return status;
}

/* Appends the messages of a list; learnt false: none of them is a target. */
static enum ft_status read_messages(struct ft_record *record, const struct cJSON *list, bool learnt,
                                    struct ft_error *error) {
    for (const struct cJSON *message = ft_json_first(list); message; message = ft_json_next(message)) {
        enum ft_status status = ft_grow(&record->turn, &record->turn_capacity, record->turns + 1,
                                        sizeof *record->turn, (size_t)1 << 20, "messages", error);
        if (!status) status = read_message(record, message, &record->turn[record->turns], error);
        if (status) return status;
        if (!learnt) record->turn[record->turns].weight = 0.0f;
        record->turns++;
    }
    return FT_OK;
}

/* At least one answer from turn `first` on, and one with a weight. */
static enum ft_status check_target(struct ft_record *record, size_t first, struct ft_error *error) {
    bool answered = false, weighted = false;
    for (size_t i = first; i < record->turns; i++) {
        answered = answered || strcmp(record->turn[i].role, "assistant") == 0;
        weighted = weighted || record->turn[i].weight > 0.0f;
    }
    if (!answered)
        return fail(record, FT_RECORD_EXAMPLE_MISSING_ASSISTANT_MESSAGE, error,
                    "there is no message of the assistant to learn");
    return weighted ? FT_OK
                    : fail(record, FT_RECORD_NO_TARGET, error, "every message of the assistant has weight 0");
}

/* --- the formats --------------------------------------------------------------------------------------- */

static enum ft_status read_conversation(struct ft_record *record, const struct cJSON *object,
                                        struct ft_error *error) {
    const struct cJSON *list = ft_json_find(object, "messages");
    if (!is(list, FT_JSON_ARRAY) || !ft_json_first(list))
        return fail(record, FT_RECORD_MISSING_MESSAGES_LIST, error,
                    "\"messages\" must be a list of messages, not %s",
                    is(list, FT_JSON_ARRAY) ? "an empty one" : found(list));
    enum ft_status status = read_messages(record, list, true, error);
    return status ? status : check_target(record, 0, error);
}

static enum ft_status check_completion(struct ft_record *record, const char *key, struct ft_error *error) {
    return *record->completion
               ? FT_OK
               : fail(record, FT_RECORD_NO_TARGET, error, "\"%s\" is empty: nothing to learn", key);
}

static enum ft_status read_prompt(struct ft_record *record, const struct cJSON *object,
                                  struct ft_error *error) {
    const struct cJSON *prompt = ft_json_find(object, "prompt"),
                       *completion = ft_json_find(object, "completion");
    if (is(prompt, FT_JSON_ARRAY) && is(completion, FT_JSON_ARRAY)) {
        enum ft_status status = read_messages(record, prompt, false, error);
        size_t first = record->turns;
        if (!status) status = read_messages(record, completion, true, error);
        return status ? status : check_target(record, first, error);
    }
    enum ft_status status = need_text(record, object, "prompt", &record->prompt, error);
    if (!status) status = need_text(record, object, "completion", &record->completion, error);
    return status ? status : check_completion(record, "completion", error);
}

/* The layout of Stanford Alpaca, which models tuned on such data know. */
static enum ft_status read_instruction(struct ft_record *record, const struct cJSON *object,
                                       struct ft_error *error) {
    const char *instruction, *input = "";
    enum ft_status status = need_text(record, object, "instruction", &instruction, error);
    if (!status) status = need_text(record, object, "output", &record->completion, error);
    const struct cJSON *node = ft_json_find(object, "input");
    if (!status && node && !is(node, FT_JSON_NULL))
        status = need_text(record, object, "input", &input, error);
    if (status) return status;
    if (*input)
        status = ft_buffer_printf(
            &record->scratch, error,
            "Below is an instruction that describes a task, paired with an input "
            "that provides further context. Write a response that appropriately completes the request."
            "\n\n### Instruction:\n%s\n\n### Input:\n%s\n\n### Response:\n",
            instruction, input);
    else
        status = ft_buffer_printf(
            &record->scratch, error,
            "Below is an instruction that describes a task. Write a response that "
            "appropriately completes the request.\n\n### Instruction:\n%s\n\n### Response:\n",
            instruction);
    if (status) return status;
    record->prompt = record->scratch.data;
    return check_completion(record, "output", error);
}

static enum ft_status read_text(struct ft_record *record, const struct cJSON *object,
                                struct ft_error *error) {
    record->prompt = "";
    enum ft_status status = need_text(record, object, "text", &record->completion, error);
    return status ? status : check_completion(record, "text", error);
}

static enum ft_status read_format(struct ft_record *record, const struct cJSON *object,
                                  struct ft_error *error) {
    if (record->format == FT_RECORD_AUTO) {
        static const char *const keys[] = {"messages", "prompt", "instruction", "text"};
        for (unsigned i = 0; i < 4 && record->format == FT_RECORD_AUTO; i++)
            if (ft_json_find(object, keys[i]))
                record->format = (enum ft_record_format)(FT_RECORD_MESSAGES + i);
    }
    switch (record->format) {
    case FT_RECORD_MESSAGES:
        return read_conversation(record, object, error);
    case FT_RECORD_PROMPT:
        return read_prompt(record, object, error);
    case FT_RECORD_INSTRUCTION:
        return read_instruction(record, object, error);
    case FT_RECORD_TEXT:
        return read_text(record, object, error);
    case FT_RECORD_AUTO:
        break;
    }
    return fail(record, FT_RECORD_UNKNOWN_FORMAT, error,
                "none of the keys \"messages\", \"prompt\", \"instruction\", \"text\" "
                "is there");
}

/* --- label, group, tools, digest ----------------------------------------------------------------------- */

/* object[path], where a dot goes into an object unless the whole path is a key. */
static const struct cJSON *find_path(const struct cJSON *object, const char *path, struct ft_buffer *scratch,
                                     enum ft_status *status, struct ft_error *error) {
    for (const char *dot; is(object, FT_JSON_OBJECT); path = dot + 1) {
        const struct cJSON *node = ft_json_find(object, path);
        dot = strchr(path, '.');
        if (node || !dot) return node;
        ft_buffer_clear(scratch);
        *status = ft_buffer_append(scratch, path, (size_t)(dot - path), error);
        if (*status) return NULL;
        object = ft_json_find(object, scratch->data);
    }
    return NULL;
}

static enum ft_status read_tag(struct ft_record *record, const struct cJSON *object, const char *path,
                               struct ft_buffer *text, const char **out, struct ft_error *error) {
    enum ft_status status = FT_OK;
    *out = NULL;
    const struct cJSON *node = find_path(object, path, text, &status, error);
    if (status || !node || is(node, FT_JSON_NULL)) return status;
    if (is(node, FT_JSON_STRING)) return ft_json_string(&record->json, node, out, error);
    ft_buffer_clear(text);
    status = ft_json_print(&record->json, node, FT_JSON_SORTED, text, error);
    if (status) return status;
    bool whole = is(node, FT_JSON_NUMBER) && strspn(text->data, "-0123456789") == text->size;
    if (!whole && !is(node, FT_JSON_BOOL))
        return fail(record, FT_RECORD_WRONG_TYPE, error,
                    "\"%.100s\" must be a string, a whole number, true or false, not %s", path, found(node));
    *out = text->data;
    return FT_OK;
}

static enum ft_status read_tools(struct ft_record *record, const struct cJSON *object,
                                 struct ft_error *error) {
    const struct cJSON *tools = ft_json_find(object, "tools");
    if (!tools || is(tools, FT_JSON_NULL)) return FT_OK;
    if (!is(tools, FT_JSON_ARRAY))
        return fail(record, FT_RECORD_WRONG_TYPE, error, "\"tools\" must be a list, not %s", found(tools));
    record->tools = tools;
    return FT_OK;
}

static enum ft_status read_digest(struct ft_record *record, const struct cJSON *object,
                                  struct ft_error *error) {
    struct ft_buffer canonical = {0};
    enum ft_status status = ft_json_print(&record->json, object, FT_JSON_SORTED, &canonical, error);
    if (!status) ft_sha256(canonical.data, canonical.size, record->sha256);
    ft_buffer_release(&canonical);
    return status;
}

/* --- the whole ----------------------------------------------------------------------------------------- */

/* Keeps the memory of lists and buffers. */
static void clear(struct ft_record *record) {
    ft_json_release(&record->json);
    ft_buffer_clear(&record->scratch);
    ft_buffer_clear(&record->label_text);
    ft_buffer_clear(&record->group_text);
    *record = (struct ft_record){.turn = record->turn,
                                 .turn_capacity = record->turn_capacity,
                                 .scratch = record->scratch,
                                 .label_text = record->label_text,
                                 .group_text = record->group_text};
}

static bool is_blank(const char *line, size_t size) {
    size_t i = 0;
    while (i < size && strchr(" \t\r\n", line[i]) && line[i])
        i++;
    return i == size;
}

enum ft_status ft_record_parse_keys(struct ft_record *record, enum ft_record_format format,
                                    const struct ft_record_keys *keys, const char *line, size_t size,
                                    const char *name, uint64_t number, struct ft_error *error) {
    clear(record);
    record->format = format;
    record->line = number;
    record->json.name = name;
    if (is_blank(line, size))
        return fail(record, FT_RECORD_EMPTY_LINE, error, "the line is empty; ft-lint --fix takes it out");
    enum ft_status status = ft_json_parse(&record->json, line, size, name, number, error);
    if (status == FT_FORMAT || status == FT_LIMIT) {
        record->problem = FT_RECORD_INVALID_JSON;
        return FT_FORMAT;
    }
    if (status) return status;
    const struct cJSON *object = record->json.root;
    if (!is(object, FT_JSON_OBJECT))
        return fail(record, FT_RECORD_DATA_TYPE, error, "the record must be a JSON object, not %s",
                    found(object));
    status = read_tools(record, object, error); /* first: a prompt alone has them, too */
    if (!status) status = read_format(record, object, error);
    if (!status)
        status = read_tag(record, object, keys->label ? keys->label : "label", &record->label_text,
                          &record->label, error);
    if (!status)
        status = read_tag(record, object, keys->group ? keys->group : "group", &record->group_text,
                          &record->group, error);
    return status ? status : read_digest(record, object, error);
}

enum ft_status ft_record_parse(struct ft_record *record, enum ft_record_format format, const char *line,
                               size_t size, const char *name, uint64_t number, struct ft_error *error) {
    return ft_record_parse_keys(record, format, &(struct ft_record_keys){0}, line, size, name, number, error);
}

void ft_record_release(struct ft_record *record) {
    ft_json_release(&record->json);
    free(record->turn);
    ft_buffer_release(&record->scratch);
    ft_buffer_release(&record->label_text);
    ft_buffer_release(&record->group_text);
    *record = (struct ft_record){0};
}
