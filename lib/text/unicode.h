/* SPDX-License-Identifier: MIT
 *
 * UTF-8 and character classes, as the tokenizers' reference implementation sees them. Private to lib/text.
 */
#ifndef FT_TEXT_UNICODE_H
#define FT_TEXT_UNICODE_H

#include "ft/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of text[0..length) that are valid UTF-8 from the start (no surrogates, nothing overlong): length when all are. */
size_t ft_utf8_valid(const char *text, size_t length);

/* The character at *p of valid UTF-8; moves *p behind it. */
static inline uint32_t ft_utf8_next(const char **p) {
    const unsigned char *b = (const unsigned char *)*p;
    if (b[0] < 0x80) {
        *p += 1;
        return b[0];
    }
    if (b[0] < 0xe0) {
        *p += 2;
        return (uint32_t)(b[0] & 0x1f) << 6 | (b[1] & 0x3f);
    }
    if (b[0] < 0xf0) {
        *p += 3;
        return (uint32_t)(b[0] & 0x0f) << 12 | (uint32_t)(b[1] & 0x3f) << 6 | (b[2] & 0x3f);
    }
    *p += 4;
    return (uint32_t)(b[0] & 0x07) << 18 | (uint32_t)(b[1] & 0x3f) << 12 | (uint32_t)(b[2] & 0x3f) << 6 | (b[3] & 0x3f);
}

/* The character that ends at *p, which is above the start of the text; moves *p to its first byte. */
static inline uint32_t ft_utf8_previous(const char **p) {
    do --*p;
    while ((**p & 0xc0) == 0x80);
    const char *at = *p;
    return ft_utf8_next(&at);
}

/* Bytes of the character whose first byte is `lead`, of valid UTF-8. */
static inline size_t ft_utf8_size(char lead) {
    unsigned char b = (unsigned char)lead;
    return b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

/* Writes the character, returns its bytes (1 to 4). */
size_t ft_utf8_put(char out[4], uint32_t c);

/* Appends bytes, each maximal part that is not UTF-8 replaced by U+FFFD (Unicode 16, chapter 3.9, best practice). */
enum ft_status ft_utf8_lossy(struct ft_buffer *buffer, const char *bytes, size_t count, struct ft_error *error);

/* Unicode 16.0, the version of the reference's expressions; unicode_table.c has them as digits. */
enum ft_character_class {
    FT_CLASS_OTHER,
    FT_CLASS_SPACE,          /* White_Space */
    FT_CLASS_LETTER,         /* L */
    FT_CLASS_DIGIT,          /* Nd */
    FT_CLASS_LETTER_NUMBER,  /* Nl */
    FT_CLASS_OTHER_NUMBER,   /* No */
    FT_CLASS_NONSPACING,     /* Mn */
    FT_CLASS_MARK,           /* Mc, Me */
    FT_CLASS_CONNECTOR,      /* Pc */
    FT_CLASS_PUNCTUATION,    /* P, but Pc */
};
#define FT_CLASS_BLOCK 128u
#define FT_CLASS_LIMIT 0xe0200u /* from here on all are FT_CLASS_OTHER */
extern const unsigned char ft_class_block[FT_CLASS_LIMIT / FT_CLASS_BLOCK];
extern const char ft_class_digits[][FT_CLASS_BLOCK + 1];

static inline enum ft_character_class ft_class(uint32_t c) {
    if (c >= FT_CLASS_LIMIT) return FT_CLASS_OTHER;
    return (enum ft_character_class)(ft_class_digits[ft_class_block[c / FT_CLASS_BLOCK]][c % FT_CLASS_BLOCK] - '0');
}
static inline bool ft_is_space(uint32_t c) { return ft_class(c) == FT_CLASS_SPACE; }
static inline bool ft_is_letter(uint32_t c) { return ft_class(c) == FT_CLASS_LETTER; }
static inline bool ft_is_numeric(uint32_t c) { /* N */
    enum ft_character_class k = ft_class(c);
    return k >= FT_CLASS_DIGIT && k <= FT_CLASS_OTHER_NUMBER;
}
bool ft_is_word(uint32_t c);        /* Alphabetic, Mark, Decimal_Number, Connector_Punctuation, Join_Control */

/* What the reference's other parts do with a character. They know Unicode 8, 9 and 17: unicode_traits.c has their answers. */
enum ft_trait {
    FT_TRAIT_ACCENT = 1,       /* StripAccents removes it */
    FT_TRAIT_BERT_ACCENT = 2,  /* BertNormalizer's strip_accents does */
    FT_TRAIT_BERT_CONTROL = 4, /* BertNormalizer's clean_text does */
    FT_TRAIT_PUNCTUATION = 8,  /* P, and ASCII's symbols */
    FT_TRAIT_NUMERIC = 16,     /* N */
};
#define FT_TRAIT_LIMIT 0x110000u
extern const unsigned char ft_trait_block[FT_TRAIT_LIMIT / FT_CLASS_BLOCK];
extern const char ft_trait_digits[][FT_CLASS_BLOCK + 1];

static inline bool ft_has_trait(uint32_t c, enum ft_trait trait) {
    return (unsigned)(ft_trait_digits[ft_trait_block[c / FT_CLASS_BLOCK]][c % FT_CLASS_BLOCK] - '0') & (unsigned)trait;
}

/* Characters assigned after Unicode 14.0, up to 16.0: what an older library's expressions do not know. */
struct ft_newer_range {
    uint32_t first, last;
    char category[3]; /* "Lo", "Mn", ... */
    bool han;         /* of that script */
};
extern const struct ft_newer_range ft_newer_range[];
extern const size_t ft_newer_ranges;

/* The number of the character's script: 0 belongs to every script, Hiragana and Katakana are Han. */
unsigned ft_script(uint32_t c);
extern const struct ft_script_range {
    uint32_t first; /* up to the next one's */
    uint8_t script;
} ft_script_range[];
extern const size_t ft_script_ranges;

/* GPT-2's map between bytes and printable characters: a byte's character, and a character's byte or -1. */
uint32_t ft_byte_character(uint8_t byte);
int ft_character_byte(uint32_t c);

#endif
