/* SPDX-License-Identifier: MIT
 *
 * SentencePiece's precompiled normalization rules: texts of up to a grapheme and what stands for them, in a double-array trie
 * (darts-clone's layout: units of a label, a leaf flag and an offset) followed by the replacements. Private to lib/text.
 */
#ifndef FT_TEXT_CHARSMAP_H
#define FT_TEXT_CHARSMAP_H

#include "ft/memory.h"

struct ft_charsmap {
    uint32_t *unit; /* the trie */
    size_t units;
    char *text;     /* NUL-terminated replacements, one after the other; UTF-8 */
    size_t length;  /* of all of them, without the last NUL */
};

/* base64: "precompiled_charsmap" as a tokenizer.json holds it. FT_FORMAT when it is cut or not UTF-8. */
enum ft_status ft_charsmap_read(struct ft_charsmap *map, const char *base64, struct ft_error *error);
void ft_charsmap_release(struct ft_charsmap *map);

/* Appends text[0..length) with its graphemes, or else their characters, replaced. */
enum ft_status ft_charsmap_apply(const struct ft_charsmap *map, const char *text, size_t length, struct ft_buffer *out,
                                 struct ft_error *error);

#endif
