/* SPDX-License-Identifier: MIT
 *
 * UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef FT_UTF8_H
#define FT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

static inline bool ft_utf8_continues(unsigned char c) { return (c & 0xc0) == 0x80; }

/* Bytes of the character at p, of which `left` >= 1 are there; 0 when it is not UTF-8. */
static inline size_t ft_utf8_length(const unsigned char *p, size_t left) {
    unsigned char c = p[0];
    if (c < 0x80) return 1;
    if (c < 0xc2 || c > 0xf4) return 0;
    size_t length = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (left < length) return 0;
    for (size_t i = 1; i < length; i++)
        if (!ft_utf8_continues(p[i])) return 0;
    if (c == 0xe0 && p[1] < 0xa0) return 0; /* overlong */
    if (c == 0xed && p[1] > 0x9f) return 0; /* surrogates */
    if (c == 0xf0 && p[1] < 0x90) return 0; /* overlong */
    if (c == 0xf4 && p[1] > 0x8f) return 0; /* above U+10FFFF */
    return length;
}

/* True when text[0..size) is UTF-8 throughout. */
static inline bool ft_utf8_valid(const char *text, size_t size) {
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0, length; i < size; i += length)
        if (!(length = ft_utf8_length(p + i, size - i))) return false;
    return true;
}

#endif
