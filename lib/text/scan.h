/* SPDX-License-Identifier: MIT
 *
 * A forward-only reader for the two big parts of a tokenizer.json, its vocabulary and its merges: hundreds of
 * thousands of entries that need no tree. The rest of the file goes through ft/json.h. As strict: no control characters, no lone
 * surrogates; the caller checks that all of the text is UTF-8. Unlike there, "\u0000" is a character. Private to lib/text.
 */
#ifndef FT_TEXT_SCAN_H
#define FT_TEXT_SCAN_H

#include "ft/memory.h"

#include <stddef.h>

struct ft_scan {
    const char *p, *end;
    const char *start, *name; /* for messages: the whole text, and the file's name */
};

/* The next character behind white space, not consumed; '\0' at the end. */
static inline char ft_scan_peek(struct ft_scan *scan) {
    while (scan->p < scan->end && (*scan->p == ' ' || *scan->p == '\n' || *scan->p == '\t' || *scan->p == '\r')) scan->p++;
    return scan->p < scan->end ? *scan->p : '\0';
}
/* Consumes white space and then `c`, or fails. */
enum ft_status ft_scan_expect(struct ft_scan *scan, char c, struct ft_error *error);
/* Between the elements of a list: consumes ',' (*more true) or `close` (*more false). */
enum ft_status ft_scan_more(struct ft_scan *scan, char close, bool *more, struct ft_error *error);
/* A string's text: a part of the file when it has no escapes, else the buffer's contents, which it replaces. Not
 * NUL-terminated. */
enum ft_status ft_scan_string(struct ft_scan *scan, struct ft_buffer *buffer, const char **text, size_t *length,
                              struct ft_error *error);
enum ft_status ft_scan_u32(struct ft_scan *scan, uint32_t *value, struct ft_error *error);
/* A number as the reference reads it: digits up to 2^64, then one multiplication or division by a power of ten, which is
 * not always the nearest double. Scores are compared, so the last bit counts. */
enum ft_status ft_scan_score(struct ft_scan *scan, double *value, struct ft_error *error);
/* Moves behind a value of any kind. Only strings and brackets are looked at: the caller must have the value
 * parsed by somebody. */
enum ft_status ft_scan_skip(struct ft_scan *scan, struct ft_error *error);
/* FT_FORMAT "name:line:column: expected WHAT". */
enum ft_status ft_scan_fail(const struct ft_scan *scan, const char *what, struct ft_error *error);

#endif
