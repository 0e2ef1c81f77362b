/* SPDX-License-Identifier: MIT
 *
 * A sandboxed interpreter for Jinja as chat templates use it: Hugging Face's environment (trim_blocks,
 * lstrip_blocks, loop controls, {% generation %}, tojson without HTML escapes). A template sees only the
 * values it is given; time, memory, depth and output are capped. Private to lib/text; users render through
 * ft/chat.h.
 *
 * Values live in the run's arena until it is released. Strings are UTF-8, and positions in them count
 * characters.
 *
 * The files, each calling those below it:
 *
 *     jinja_statement.c, _expression.c, _lexer.c   make the tree (jinja_parser.h)
 *     jinja_eval.c                                 walks it
 *     jinja_filter.c, _sequence.c, _test.c         filters and tests (jinja_builtin.h)
 *     jinja_operator.c                             arithmetic, comparisons, elements, slices
 *     jinja_function.c, _text.c                    functions and methods (jinja_builtin.h)
 *     jinja_print.c                                values as text
 *     jinja_value.c                                values and the memory of a run
 */
#ifndef FT_TEXT_JINJA_H
#define FT_TEXT_JINJA_H

#include "ft/json.h"
#include "ft/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef FT_JINJA_STEPS_MAX /* fuzzing has less patience */
#define FT_JINJA_STEPS_MAX 50000000u                   /* evaluated nodes of all renderings of a record */
#endif
#define FT_JINJA_MEMORY_MAX ((size_t)128 << 20)        /* bytes of values a run */
#define FT_JINJA_OUTPUT_MAX ((size_t)64 << 20)         /* bytes of text a run */
#define FT_JINJA_DEPTH_MAX 150u                        /* nesting of expressions, blocks, macros */

/* --- values --------------------------------------------------------------------------------------------- */

enum ft_jv_type {
    FT_JV_UNDEFINED,
    FT_JV_NONE,
    FT_JV_BOOL,
    FT_JV_INT,
    FT_JV_FLOAT,
    FT_JV_STRING,
    FT_JV_LIST,  /* tuple: prints with parentheses */
    FT_JV_DICT,  /* also namespaces and loop variables, which have a kind */
    FT_JV_MACRO,
    FT_JV_BUILTIN, /* a global function, or a method bound to its object */
};

struct ft_jinja_node;
struct ft_jinja_run;
struct ft_jv_list;
struct ft_jv_dict;
struct ft_jv_macro;
struct ft_jv_bound;

struct ft_jv {
    enum ft_jv_type type;
    uint32_t size;       /* STRING: bytes. UNDEFINED: of its name */
    union {
        bool flag;
        int64_t integer;
        double number;
        const char *text; /* STRING; UNDEFINED: its name, for messages */
        struct ft_jv_list *list;
        struct ft_jv_dict *dict;
        struct ft_jv_macro *macro;
        struct ft_jv_bound *bound;
    } u;
};

struct ft_jv_list {
    struct ft_jv *item;
    size_t count, capacity;
    bool tuple;
};

enum ft_jv_dict_kind { FT_JV_PLAIN, FT_JV_NAMESPACE, FT_JV_LOOP };

struct ft_jv_dict {
    struct ft_jv_entry {
        struct ft_jv key, value;
    } *entry;
    size_t count, capacity;
    enum ft_jv_dict_kind kind;
};

struct ft_jv_macro {
    const struct ft_jinja_node *node;
    struct ft_jinja_scope *scope; /* where it was defined */
};

/* The arguments of a call, a filter or a test. */
struct ft_jinja_arguments {
    struct ft_jv *item; /* positional */
    size_t count;
    struct ft_jv_dict *named; /* NULL: none */
};

struct ft_jv_bound {
    struct ft_jv self;
    const char *name;
};

struct ft_jinja_scope {
    struct ft_jv_dict names;
    struct ft_jinja_scope *parent; /* NULL: the globals */
};

/* Text between {% generation %} and {% endgeneration %} in the output. */
struct ft_jinja_span {
    size_t start, end;
};

struct ft_jinja_run {
    struct ft_error *error;
    enum ft_status status; /* once it is not FT_OK, everything returns at once */
    unsigned line;         /* of the template, where evaluation is */
    const char *date;      /* "YYYY-MM-DD" for strftime_now; NULL: there is none */
    struct ft_buffer out;
    struct ft_jinja_span *span;
    size_t spans, span_capacity;
    struct ft_jinja_scope *globals;
    uint64_t steps;
    unsigned depth;
    enum { FT_JINJA_ON, FT_JINJA_BREAK, FT_JINJA_CONTINUE } flow;
    struct ft_jinja_chunk *chunk; /* the arena */
    size_t memory;
};

void ft_jinja_run_init(struct ft_jinja_run *run, struct ft_error *error);
void ft_jinja_run_release(struct ft_jinja_run *run);

/* Zeroed memory of the run; NULL and run->status set when there is no more. */
void *ft_jinja_alloc(struct ft_jinja_run *run, size_t count, size_t size);
/* Fails the run: FT_FORMAT with "chat template, line N: ". Returns undefined. */
struct ft_jv ft_jinja_fail(struct ft_jinja_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends, unless the run has failed. */
void ft_jinja_put(struct ft_jinja_run *run, struct ft_buffer *out, const char *text, size_t size);

static inline struct ft_jv ft_jv_none(void) { return (struct ft_jv){.type = FT_JV_NONE}; }
static inline struct ft_jv ft_jv_bool(bool flag) {
    return (struct ft_jv){.type = FT_JV_BOOL, .u.flag = flag};
}
static inline struct ft_jv ft_jv_int(int64_t i) { return (struct ft_jv){.type = FT_JV_INT, .u.integer = i}; }
static inline struct ft_jv ft_jv_float(double f) {
    return (struct ft_jv){.type = FT_JV_FLOAT, .u.number = f};
}
/* The text is borrowed. */
static inline struct ft_jv ft_jv_borrow(const char *text, size_t size) {
    return (struct ft_jv){.type = FT_JV_STRING, .size = (uint32_t)size, .u.text = text};
}
struct ft_jv ft_jv_undefined(const char *name, size_t size);
/* Undefined, of no name: what is returned once the run has failed. */
static inline struct ft_jv ft_jv_nothing(void) { return ft_jv_undefined("", 0); }
struct ft_jv ft_jv_copy(struct ft_jinja_run *run, const char *text, size_t size);
struct ft_jv ft_jv_take(struct ft_jinja_run *run, struct ft_buffer *text); /* a copy; releases the buffer */
struct ft_jv ft_jv_word(const char *text); /* NUL-terminated, borrowed */
struct ft_jv ft_jv_list(struct ft_jinja_run *run, size_t room);
void ft_jv_push(struct ft_jinja_run *run, struct ft_jv list, struct ft_jv item);
struct ft_jv ft_jv_dict(struct ft_jinja_run *run);
void ft_jv_set(struct ft_jinja_run *run, struct ft_jv_dict *dict, struct ft_jv key, struct ft_jv value);
struct ft_jv *ft_jv_get(const struct ft_jv_dict *dict, struct ft_jv key); /* NULL: absent */
struct ft_jv *ft_jv_get_word(const struct ft_jv_dict *dict, const char *key);
struct ft_jv ft_jv_from_json(struct ft_jinja_run *run, const struct ft_json *json, const struct cJSON *node);

bool ft_jv_truth(struct ft_jv v);
bool ft_jv_equal(struct ft_jv a, struct ft_jv b);
/* -1, 0, 1; fails the run when they have no order. */
int ft_jv_compare(struct ft_jinja_run *run, struct ft_jv a, struct ft_jv b);
bool ft_jv_is_number(struct ft_jv v); /* bool, int or float */
double ft_jv_number(struct ft_jv v);
int64_t ft_jv_integer(struct ft_jv v); /* of bool and int */
const char *ft_jv_type_name(struct ft_jv v); /* as Python calls it */
size_t ft_jv_characters(struct ft_jv string);
/* What str() and repr() give in Python, appended. */
void ft_jv_print(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v);
void ft_jv_repr(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v);
struct ft_jv ft_jv_string(struct ft_jinja_run *run, struct ft_jv v);
/* json.dumps(v, ensure_ascii=False); indent 0: on one line. */
void ft_jv_json(struct ft_jinja_run *run, struct ft_buffer *out, struct ft_jv v, unsigned indent,
                bool sorted);
/* The items that a loop goes over: characters, list items, keys. */
struct ft_jv ft_jv_items(struct ft_jinja_run *run, struct ft_jv v);
/* A list of (key, value). */
struct ft_jv ft_jv_pairs(struct ft_jinja_run *run, const struct ft_jv_dict *dict);
bool ft_jv_is(struct ft_jv string, const char *word);

/* --- templates ------------------------------------------------------------------------------------------ */

enum ft_jinja_type {
    /* expressions */
    FT_JINJA_LITERAL,   /* value */
    FT_JINJA_NAME,      /* value: its name */
    FT_JINJA_LIST,      /* a, siblings by next; FT_JINJA_TUPLE likewise */
    FT_JINJA_TUPLE,
    FT_JINJA_DICT,      /* a: key, value, key, value, ... */
    FT_JINJA_UNARY,     /* op, a */
    FT_JINJA_BINARY,    /* op, a, b */
    FT_JINJA_COMPARE,   /* a, then b: FT_JINJA_OPERAND with op and a, siblings */
    FT_JINJA_OPERAND,
    FT_JINJA_CONDITION, /* b ? a : c (c may be NULL) */
    FT_JINJA_ATTRIBUTE, /* a.value */
    FT_JINJA_ITEM,      /* a[b] */
    FT_JINJA_SLICE,     /* [a:b:c], each may be NULL */
    FT_JINJA_CALL,      /* a(b...) */
    FT_JINJA_FILTER,    /* a|value(b...); a NULL: of a block */
    FT_JINJA_TEST,      /* a is value(b...); op: negated */
    FT_JINJA_NAMED,     /* value = a, in arguments and parameters */
    /* statements */
    FT_JINJA_TEXT,      /* value */
    FT_JINJA_OUTPUT,    /* {{ a }} */
    FT_JINJA_IF,        /* a, body, otherwise */
    FT_JINJA_FOR,       /* for a in b if c: body, otherwise */
    FT_JINJA_SET,       /* a = b */
    FT_JINJA_SET_BLOCK, /* a = body, through filter b */
    FT_JINJA_MACRO,     /* value(a...): body */
    FT_JINJA_CALL_BLOCK, /* b(caller = macro(a...): body) */
    FT_JINJA_FILTER_BLOCK, /* b: filter; body */
    FT_JINJA_WITH,      /* a: FT_JINJA_NAMED...; body */
    FT_JINJA_GENERATION, /* body */
    FT_JINJA_STOP,      /* op: 'b' break, 'c' continue */
};

/* Operators: the character, or for those of two: '*' '*' is 'P', '/' '/' is 'D', == 'e', != 'n', <= 'l',
 * >= 'g', in 'i', not in 'I', and '&', or '|', not '!'. */
struct ft_jinja_node {
    enum ft_jinja_type type;
    unsigned char op;
    unsigned line;
    struct ft_jv value;
    struct ft_jinja_node *a, *b, *c, *body, *otherwise, *next;
};

struct ft_jinja {
    char *source; /* a copy */
    struct ft_jinja_run memory; /* nodes and constants */
    struct ft_jinja_node *body;
};

/* Compiles a template. Errors: FT_FORMAT with the line, also for what is not there (include, import, ...). */
enum ft_status ft_jinja_compile(struct ft_jinja *jinja, const char *source, size_t size,
                                struct ft_error *error);
void ft_jinja_release(struct ft_jinja *jinja);

/* Renders into run->out with run->globals' names. */
enum ft_status ft_jinja_render(const struct ft_jinja *jinja, struct ft_jinja_run *run);

/* --- operators ------------------------------------------------------------------------------------------ */

/* value[key]; item: as a['b'], else as a.b, where methods come first. */
struct ft_jv ft_jinja_lookup(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv key, bool item);
struct ft_jv ft_jinja_slice(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv from, struct ft_jv to,
                            struct ft_jv step);
/* op: as in struct ft_jinja_node. */
struct ft_jv ft_jinja_binary(struct ft_jinja_run *run, unsigned char op, struct ft_jv a, struct ft_jv b);
bool ft_jinja_relation(struct ft_jinja_run *run, unsigned char op, struct ft_jv a, struct ft_jv b);

/* --- builtins, for the evaluator ------------------------------------------------------------------------ */

bool ft_jinja_has_filter(struct ft_jv name);
bool ft_jinja_has_test(struct ft_jv name);
struct ft_jv ft_jinja_filter(struct ft_jinja_run *run, struct ft_jv name, struct ft_jv value,
                             const struct ft_jinja_arguments *arguments);
bool ft_jinja_test(struct ft_jinja_run *run, struct ft_jv name, struct ft_jv value,
                   const struct ft_jinja_arguments *arguments);
/* value.name as a method bound to value, or undefined. */
struct ft_jv ft_jinja_method(struct ft_jinja_run *run, struct ft_jv value, struct ft_jv name);
/* A global function by name, or undefined. */
struct ft_jv ft_jinja_global(struct ft_jinja_run *run, struct ft_jv name);
struct ft_jv ft_jinja_call_builtin(struct ft_jinja_run *run, const struct ft_jv_bound *bound,
                                   const struct ft_jinja_arguments *arguments);

#endif
