/* SPDX-License-Identifier: MIT
 *
 * JSON, strict (RFC 8259): cJSON builds the tree after a scan of our own has refused what cJSON lets through
 * or gets wrong: duplicate keys, invalid UTF-8, NUL (also escaped), lone surrogates, control characters,
 * depth above a cap, numbers that are not numbers or not finite, anything after the value. Every number keeps
 * its text, so integers are exact to 64 bits. Errors name the file, and line and column or the path of keys
 * ("model.vocab"), and what was expected.
 *
 * Nodes are `const struct cJSON *`; they belong to their document. Use the functions below, not cJSON's.
 */
#ifndef FT_JSON_H
#define FT_JSON_H

#include "ft/error.h"
#include "ft/memory.h"

#include <stddef.h>
#include <stdint.h>

struct cJSON;

enum ft_json_type { FT_JSON_NULL, FT_JSON_BOOL, FT_JSON_NUMBER, FT_JSON_STRING, FT_JSON_ARRAY, FT_JSON_OBJECT };

#define FT_JSON_DEPTH 128u                 /* deepest nesting accepted */
#define FT_JSON_MAX ((size_t)256 << 20)    /* largest file ft_json_read takes unless told less */

struct ft_json {
    struct cJSON *root;
    const char *name; /* in messages; borrowed: must outlive the document */
    uint64_t line;    /* of the text's first line in that file; 0: the text is the whole file */
    bool failed;      /* building ran out of memory */
};

/* Parses text[0..size) (need not be NUL-terminated). For a line of JSONL give its number. Release when done.
 * */
enum ft_status ft_json_parse(struct ft_json *json, const char *text, size_t size, const char *name,
                             uint64_t line, struct ft_error *error);
/* The whole file at path, at most `max` bytes (0: FT_JSON_MAX). `path` is borrowed as the name. */
enum ft_status ft_json_read(struct ft_json *json, const char *path, size_t max, struct ft_error *error);
void ft_json_release(struct ft_json *json); /* a zero document is fine */

enum ft_json_type ft_json_type(const struct cJSON *node);
const char *ft_json_type_name(enum ft_json_type type); /* "an object", ... */
size_t ft_json_count(const struct cJSON *node);         /* entries of an array or object; walks them */
const struct cJSON *ft_json_first(const struct cJSON *node); /* first entry or NULL; for loops with ft_json_next */
const struct cJSON *ft_json_next(const struct cJSON *node);
const char *ft_json_key(const struct cJSON *node);           /* of an object's entry */
const struct cJSON *ft_json_find(const struct cJSON *object, const char *key); /* NULL: absent. Linear in the entries */

/* FT_FORMAT with "name: path: " in front of the formatted message, for checks of the caller's own. */
enum ft_status ft_json_fail(const struct ft_json *json, const struct cJSON *node, struct ft_error *error,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The value of a node, FT_FORMAT when it is of another type. Strings are UTF-8, without NUL inside, and
 * belong to the document. */
enum ft_status ft_json_string(const struct ft_json *json, const struct cJSON *node, const char **out,
                              struct ft_error *error);
enum ft_status ft_json_bool(const struct ft_json *json, const struct cJSON *node, bool *out,
                            struct ft_error *error);
enum ft_status ft_json_double(const struct ft_json *json, const struct cJSON *node, double *out,
                              struct ft_error *error);
/* Integers must be written as such (an integral value like 1e3 or 2.0 is refused), within [min, max]. */
enum ft_status ft_json_u64(const struct ft_json *json, const struct cJSON *node, uint64_t min, uint64_t max,
                           uint64_t *out, struct ft_error *error);
enum ft_status ft_json_i64(const struct ft_json *json, const struct cJSON *node, int64_t min, int64_t max,
                           int64_t *out, struct ft_error *error);
enum ft_status ft_json_expect(const struct ft_json *json, const struct cJSON *node, enum ft_json_type type,
                              struct ft_error *error);

/* The same for object[key]. FT_JSON_REQUIRED: absent is FT_FORMAT naming the key. FT_JSON_OPTIONAL: absent or
 * null leaves *out as it is (set the default before). */
enum ft_json_need { FT_JSON_OPTIONAL, FT_JSON_REQUIRED };
enum ft_status ft_json_get_string(const struct ft_json *json, const struct cJSON *object, const char *key,
                                  enum ft_json_need need, const char **out, struct ft_error *error);
enum ft_status ft_json_get_bool(const struct ft_json *json, const struct cJSON *object, const char *key,
                                enum ft_json_need need, bool *out, struct ft_error *error);
enum ft_status ft_json_get_double(const struct ft_json *json, const struct cJSON *object, const char *key,
                                  enum ft_json_need need, double *out, struct ft_error *error);
enum ft_status ft_json_get_u64(const struct ft_json *json, const struct cJSON *object, const char *key,
                               enum ft_json_need need, uint64_t min, uint64_t max, uint64_t *out,
                               struct ft_error *error);
/* An array or object. */
enum ft_status ft_json_get_node(const struct ft_json *json, const struct cJSON *object, const char *key,
                                enum ft_json_need need, enum ft_json_type type, const struct cJSON **out,
                                struct ft_error *error);

/* Refuses keys of object that are not in the NULL-terminated list, naming the nearest right one. */
enum ft_status ft_json_only(const struct ft_json *json, const struct cJSON *object, const char *const *keys,
                            struct ft_error *error);

/* --- building -------------------------------------------------------------------------------------------
 * ft_json_new, then set... into parents (key NULL when the parent is an array),
 then ft_json_print. Running out of memory is
 * remembered in the document, NULL parents are skipped,
 and ft_json_print reports it: no check in between. Setting an
 * existing key replaces it. */
enum ft_status ft_json_new(struct ft_json *json, enum ft_json_type type, struct ft_error *error); /* ARRAY or OBJECT */
struct cJSON *ft_json_set_object(struct ft_json *json, struct cJSON *parent, const char *key);
struct cJSON *ft_json_set_array(struct ft_json *json, struct cJSON *parent, const char *key);
void ft_json_set_string(struct ft_json *json, struct cJSON *parent, const char *key, const char *value);
void ft_json_set_u64(struct ft_json *json, struct cJSON *parent, const char *key, uint64_t value);
void ft_json_set_i64(struct ft_json *json, struct cJSON *parent, const char *key, int64_t value);
void ft_json_set_double(struct ft_json *json, struct cJSON *parent, const char *key, double value); /* finite */
void ft_json_set_float(struct ft_json *json, struct cJSON *parent, const char *key, float value);   /* finite */
void ft_json_set_bool(struct ft_json *json, struct cJSON *parent, const char *key, bool value);
void ft_json_set_null(struct ft_json *json, struct cJSON *parent, const char *key);
void ft_json_set_copy(struct ft_json *json, struct cJSON *parent, const char *key, const struct cJSON *node);

/* Styles. Canonical bytes are FT_JSON_SORTED alone: keys in byte order, no spaces, as Python's json.dumps(x,
 * ensure_ascii=False, sort_keys=True, separators=(",", ":")). */
enum ft_json_style {
    FT_JSON_SORTED = 1, /* else in the order they were set */
    FT_JSON_SPACED = 2, /* ", " and ": " */
    FT_JSON_PRETTY = 4, /* two spaces of indent, newline at the end */
};
enum ft_status ft_json_print(const struct ft_json *json, const struct cJSON *node, unsigned style,
                             struct ft_buffer *buffer, struct ft_error *error);
/* json->root printed to a file through ft_output (flags: enum ft_output_flags), newline at the end. */
enum ft_status ft_json_save(const struct ft_json *json, const char *path, unsigned style, unsigned flags,
                            struct ft_error *error);

/* For streaming output: a quoted string with Python's escapes (\" \\ \n \r \t \b \f \u00XX), other UTF-8 as
 * it is. Bytes that are not UTF-8 become U+FFFD. */
enum ft_status ft_json_quote(struct ft_buffer *buffer, const char *text, size_t size, struct ft_error *error);

/* Shortest text that reads back to the same bits, in Python's repr form ("1.0", "1e-05"); "nan", "inf",
 * "-inf" else. */
#define FT_NUMBER_TEXT 32u
void ft_format_double(char text[FT_NUMBER_TEXT], double value);
void ft_format_float(char text[FT_NUMBER_TEXT], float value);

#endif
