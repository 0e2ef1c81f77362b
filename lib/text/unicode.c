/* SPDX-License-Identifier: MIT */
#include "unicode.h"

#include <string.h>

/* Bytes of the character at p, with `left` bytes to come; 0 when it is not valid. *bad is then how many bytes
 * belong to the maximal part that is to be replaced. */
static size_t character_size(const unsigned char *p, size_t left, size_t *bad) {
    *bad = 1;
    unsigned char lead = p[0], low = 0x80, high = 0xbf;
    size_t size;
    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) size = 2;
    else if (lead >= 0xe0 && lead <= 0xef) size = 3;
    else if (lead >= 0xf0 && lead <= 0xf4) size = 4;
    else return 0;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    for (size_t i = 1; i < size; i++, low = 0x80, high = 0xbf) {
        if (i >= left || p[i] < low || p[i] > high) return 0;
        *bad = i + 1;
    }
    return size;
}

size_t ft_utf8_valid(const char *text, size_t length) {
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0, bad;
    while (i < length) {
        uint64_t word;
        while (length - i >= sizeof word) {
            memcpy(&word, p + i, sizeof word);
            if (word & 0x8080808080808080u) break;
            i += sizeof word;
        }
        if (i == length) break;
        size_t size = character_size(p + i, length - i, &bad);
        if (!size) break;
        i += size;
    }
    return i;
}

size_t ft_utf8_put(char out[4], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(c | (0xf00u >> size & 0xf0u));
    return size;
}

enum ft_status ft_utf8_lossy(struct ft_buffer *buffer, const char *bytes, size_t count, struct ft_error *error) {
    enum ft_status status = FT_OK;
    while (count && !status) {
        size_t good = ft_utf8_valid(bytes, count), bad = 0;
        status = ft_buffer_append(buffer, bytes, good, error);
        bytes += good;
        count -= good;
        if (status || !count) break;
        (void)character_size((const unsigned char *)bytes, count, &bad);
        status = ft_buffer_append(buffer, "\xef\xbf\xbd", 3, error);
        bytes += bad;
        count -= bad;
    }
    return status;
}

bool ft_is_word(uint32_t c) {
    enum ft_character_class k = ft_class(c);
    return k == FT_CLASS_LETTER || k == FT_CLASS_DIGIT || k == FT_CLASS_LETTER_NUMBER || k == FT_CLASS_NONSPACING ||
           k == FT_CLASS_MARK || k == FT_CLASS_CONNECTOR || c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
           (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
    /* the last four: letters in circles and squares, Other_Alphabetic outside of letters and marks */
}

unsigned ft_script(uint32_t c) {
    size_t low = 0, high = ft_script_ranges; /* the range is in [low, high) */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (c < ft_script_range[middle].first) high = middle;
        else low = middle;
    }
    return ft_script_range[low].script;
}

/* Printable bytes stand for themselves; the 68 others follow from U+0100 in their order (OpenAI's GPT-2 encoder.py). */
static bool is_printable(uint32_t b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255); }

uint32_t ft_byte_character(uint8_t byte) {
    if (is_printable(byte)) return byte;
    if (byte <= 32) return 256u + byte;
    return byte <= 160 ? 256u + 33 + (byte - 127u) : 256u + 67;
}

int ft_character_byte(uint32_t c) {
    if (c < 256) return is_printable(c) ? (int)c : -1;
    if (c <= 256 + 32) return (int)c - 256;
    if (c < 256 + 67) return (int)c - 256 - 33 + 127;
    return c == 256 + 67 ? 173 : -1;
}
