/* SPDX-License-Identifier: MIT */
#include "charsmap.h"

#include "unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* --- reading --------------------------------------------------------------------------------------------- */

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static enum ft_status decode_base64(const char *text, struct ft_buffer *out, struct ft_error *error) {
    size_t length = strlen(text);
    enum ft_status status = ft_buffer_append(out, "", 0, error);
    if (length % 4) return ft_fail(error, FT_FORMAT, "precompiled_charsmap is not base64: %zu characters", length);
    for (size_t i = 0; i < length && !status; i += 4) {
        size_t padding = i + 4 < length ? 0 : (size_t)(text[i + 2] == '=') + (text[i + 3] == '=');
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int digit = k >= 4 - padding ? 0 : base64_digit(text[i + k]);
            if (digit < 0) return ft_fail(error, FT_FORMAT, "precompiled_charsmap is not base64 at character %zu", i + k);
            bits = bits << 6 | (uint32_t)digit;
        }
        const char bytes[] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        status = ft_buffer_append(out, bytes, 3 - padding, error);
    }
    return status;
}

/* A 32-bit size of the trie, the trie, the replacements. */
static enum ft_status split_parts(struct ft_charsmap *map, const struct ft_buffer *bytes, struct ft_error *error) {
    size_t trie = bytes->size < 4 ? 0 : ft_load32(bytes->data);
    if (bytes->size < 4 || trie > bytes->size - 4 || trie % 4 || !trie)
        return ft_fail(error, FT_FORMAT, "precompiled_charsmap is cut or damaged (%zu bytes)", bytes->size);
    map->units = trie / 4;
    map->length = bytes->size - 4 - trie;
    const char *text = bytes->data + 4 + trie;
    if (ft_utf8_valid(text, map->length) < map->length)
        return ft_fail(error, FT_FORMAT, "precompiled_charsmap has replacements that are not UTF-8");
    enum ft_status status = ft_alloc(&map->unit, map->units, sizeof *map->unit, error);
    if (!status) status = ft_alloc(&map->text, map->length + 1, 1, error);
    if (status) return status;
    for (size_t i = 0; i < map->units; i++) map->unit[i] = ft_load32(bytes->data + 4 + 4 * i);
    memcpy(map->text, text, map->length);
    return FT_OK;
}

enum ft_status ft_charsmap_read(struct ft_charsmap *map, const char *base64, struct ft_error *error) {
    struct ft_buffer bytes = {0};
    *map = (struct ft_charsmap){0};
    enum ft_status status = decode_base64(base64, &bytes, error);
    if (!status) status = split_parts(map, &bytes, error);
    ft_buffer_release(&bytes);
    if (status) ft_charsmap_release(map);
    return status;
}

void ft_charsmap_release(struct ft_charsmap *map) {
    free(map->unit);
    free(map->text);
    *map = (struct ft_charsmap){0};
}

/* --- replacing ------------------------------------------------------------------------------------------- */

static size_t offset_of(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6); }

/* The replacement of the shortest rule that text[0..length) begins with (as the reference has it), or NULL. */
static const char *find(const struct ft_charsmap *map, const char *text, size_t length) {
    size_t at = offset_of(map->unit[0]);
    for (size_t i = 0; i < length && text[i]; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (at >= map->units || (map->unit[at] & (1u << 31 | 0xff)) != byte) return NULL;
        bool leaf = map->unit[at] >> 8 & 1;
        at ^= offset_of(map->unit[at]);
        if (!leaf) continue;
        if (at >= map->units) return NULL;
        size_t start = map->unit[at] & ~(1u << 31);
        if (start > map->length || (start < map->length && ((unsigned char)map->text[start] & 0xc0) == 0x80)) return NULL;
        return map->text + start;
    }
    return NULL;
}

static const char *grapheme_end(const char *p, const char *end) {
    utf8proc_int32_t state = 0;
    utf8proc_int32_t before = (utf8proc_int32_t)ft_utf8_next(&p);
    while (p < end) {
        const char *at = p;
        utf8proc_int32_t c = (utf8proc_int32_t)ft_utf8_next(&p);
        if (utf8proc_grapheme_break_stateful(before, c, &state)) return at;
        before = c;
    }
    return end;
}

static enum ft_status replace_characters(const struct ft_charsmap *map, const char *p, const char *end, struct ft_buffer *out,
                                         struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t size; p < end && !status; p += size) {
        size = ft_utf8_size(*p);
        const char *instead = find(map, p, size);
        status = instead ? ft_buffer_string(out, instead, error) : ft_buffer_append(out, p, size, error);
    }
    return status;
}

enum ft_status ft_charsmap_apply(const struct ft_charsmap *map, const char *text, size_t length, struct ft_buffer *out,
                                 struct ft_error *error) {
    enum { LONGEST = 5 }; /* bytes of a grapheme that may be replaced as a whole */
    enum ft_status status = FT_OK;
    for (const char *p = text, *end = text + length, *stop; p < end && !status; p = stop) {
        stop = grapheme_end(p, end);
        const char *instead = stop - p <= LONGEST ? find(map, p, (size_t)(stop - p)) : NULL;
        status = instead ? ft_buffer_string(out, instead, error) : replace_characters(map, p, stop, out, error);
    }
    return status;
}
