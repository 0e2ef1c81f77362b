/* SPDX-License-Identifier: MIT
 *
 * The grammar check that runs before cJSON sees a text. Private to io.
 */
#ifndef FT_JSON_SCAN_H
#define FT_JSON_SCAN_H

#include "ft/json.h"

/* Where the numbers of a text stand, in document order. */
struct ft_json_spans {
    struct ft_json_span {
        size_t at, size;
    } *span;
    size_t count, capacity;
};

/* Checks text[0..size) against RFC 8259 and the limits of ft/json.h, all but duplicate keys. The caller frees
 * spans->span. */
enum ft_status ft_json_scan(const struct ft_json *json, const char *text, size_t size,
                            struct ft_json_spans *spans, struct ft_error *error);

#endif
