/* SPDX-License-Identifier: MIT
 *
 * One training example as users write it: a line of JSONL in one of four formats.
 *
 *   messages     {"messages": [{"role": R, "content": TEXT, "weight"?: W, "train"?: BOOL}, ...], "tools"?: [...]}
 *                R: system, developer, user, assistant, tool, function
 *   prompt       {"prompt": TEXT, "completion": TEXT}, or both as lists of messages
 *   instruction  {"instruction": TEXT, "input"?: TEXT, "output": TEXT} (Alpaca)
 *   text         {"text": TEXT}
 *
 * Any of them may carry "label" and "group" (a string, a whole number or true/false), which splitting and evaluation use, and
 * "id". What a message's problem is called follows OpenAI's validation codes.
 *
 * A record ends in one of two shapes: turns (messages), or a prompt (maybe empty) and a completion.
 */
#ifndef FT_RECORD_H
#define FT_RECORD_H

#include "ft/error.h"
#include "ft/hash.h"
#include "ft/json.h"

#include <stddef.h>
#include <stdint.h>

enum ft_record_format {
    FT_RECORD_AUTO, /* by the keys, for each record: messages, prompt, instruction, text */
    FT_RECORD_MESSAGES,
    FT_RECORD_PROMPT,
    FT_RECORD_INSTRUCTION,
    FT_RECORD_TEXT,
};

/* "auto", "messages", ... */
const char *ft_record_format_name(enum ft_record_format format);
/* FT_USAGE naming the choices. */
enum ft_status ft_record_format_parse(const char *name, enum ft_record_format *format, struct ft_error *error);

/* Codes, and what they mean. The first seven are OpenAI's. */
#define FT_RECORD_PROBLEM_LIST(X)                                                                                      \
    X(DATA_TYPE, "data_type", "the record is not a JSON object")                                                       \
    X(MISSING_MESSAGES_LIST, "missing_messages_list", "\"messages\" is missing, empty or not a list")                  \
    X(MESSAGE_MISSING_KEY, "message_missing_key", "a message lacks \"role\" or \"content\"")                           \
    X(MESSAGE_UNRECOGNIZED_KEY, "message_unrecognized_key", "a message has a key that nobody reads")                   \
    X(UNRECOGNIZED_ROLE, "unrecognized_role", "a role is none of system, developer, user, assistant, tool, function")  \
    X(MISSING_CONTENT, "missing_content", "a message's content is missing or not a text")                              \
    X(EXAMPLE_MISSING_ASSISTANT_MESSAGE, "example_missing_assistant_message", "no message of an assistant to learn")   \
    X(INVALID_JSON, "invalid_json", "the line is not strict JSON in UTF-8")                                            \
    X(EMPTY_LINE, "empty_line", "the line is empty")                                                                   \
    X(UNKNOWN_FORMAT, "unknown_format", "the record has none of the known formats")                                    \
    X(MISSING_KEY, "missing_key", "a key of the format is missing")                                                    \
    X(WRONG_TYPE, "wrong_type", "a value has the wrong type")                                                          \
    X(NO_TARGET, "no_target", "the part to learn is empty, or every weight is 0")

enum ft_record_problem {
    FT_RECORD_FINE,
#define FT_RECORD_PROBLEM_ENUM(name, code, text) FT_RECORD_##name,
    FT_RECORD_PROBLEM_LIST(FT_RECORD_PROBLEM_ENUM)
#undef FT_RECORD_PROBLEM_ENUM
        FT_RECORD_PROBLEM_COUNT,
};

const char *ft_record_problem_code(enum ft_record_problem problem); /* "data_type", ...; "fine" */
const char *ft_record_problem_text(enum ft_record_problem problem);

struct ft_turn {
    const char *role;         /* one of the six */
    const char *content;      /* "" when the message has null beside tool_calls or function_call */
    float weight;             /* of the loss: 0 for all but the assistant's; "weight", or "train" as 0 or 1; default 1 */
    const struct cJSON *node; /* the whole message, for chat templates (name, tool_calls, ...) */
};

struct ft_record {
    enum ft_record_format format; /* what it was, never AUTO */
    struct ft_turn *turn;         /* [turns]; turns > 0 when the record is made of messages */
    size_t turns, turn_capacity;
    const char *prompt, *completion; /* when turns is 0; prompt "" for text */
    const struct cJSON *tools;       /* an array, or NULL */
    const char *label, *group;       /* NULL: none */
    unsigned char sha256[FT_SHA256_SIZE]; /* of the canonical record: all its keys, sorted, no spaces */
    uint64_t line;                   /* from 1 */
    enum ft_record_problem problem;  /* the first one found, when ft_record_parse failed on the record's account */
    struct ft_json json;             /* owns every string above */
    struct ft_buffer scratch, label_text, group_text; /* the rest of them */
};

/* Reads line[0..size) as a record, replacing what *record held (zero-initialise it before the first call; its memory is
 * reused). `name` (the file's, borrowed) and `number` stand in messages: "data.jsonl:7: missing_content: ...". On FT_FORMAT
 * record->problem says what was wrong. */
enum ft_status ft_record_parse(struct ft_record *record, enum ft_record_format format, const char *line, size_t size,
                               const char *name, uint64_t number, struct ft_error *error);

/* As ft_record_parse with two keys named: where the label and the group stand (NULL: "label", "group"); a dotted
 * path ("metadata.user") goes into objects. */
struct ft_record_keys {
    const char *label, *group;
};
enum ft_status ft_record_parse_keys(struct ft_record *record, enum ft_record_format format,
                                    const struct ft_record_keys *keys, const char *line, size_t size, const char *name,
                                    uint64_t number, struct ft_error *error);

void ft_record_release(struct ft_record *record); /* leaves a usable zero record */

#endif
