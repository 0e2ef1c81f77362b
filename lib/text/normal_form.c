/* SPDX-License-Identifier: MIT */
#include "normal_form.h"

#include "unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static enum ft_status put(struct ft_buffer *out, uint32_t c, struct ft_error *error) {
    char utf8[4];
    return ft_buffer_append(out, utf8, ft_utf8_put(utf8, c), error);
}

/* --- which characters are stable ------------------------------------------------------------------------- */

/* Characters that combine or decompose in Unicode 16, but were not assigned in the version whose normal forms the reference
 * computes (Unicode 9): to it they are plain characters that nothing combines with. */
static const uint32_t inert[][2] = {
    {0x7fd, 0x7fd}, {0x897, 0x89f}, {0x8ca, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c}, {0xd3b, 0xd3c},
    {0xeba, 0xeba}, {0x1715, 0x1715}, {0x1abf, 0x1ace}, {0x1df6, 0x1dfa}, {0x32ff, 0x32ff},
    {0xa7f2, 0xa7f4}, {0xa82c, 0xa82c}, {0xab69, 0xab69}, {0x105c9, 0x105c9}, {0x105d2, 0x105d2},
    {0x105da, 0x105da}, {0x105e4, 0x105e4}, {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba},
    {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11382, 0x11385}, {0x1138b, 0x1138b},
    {0x1138e, 0x1138e}, {0x11390, 0x11391}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113c8},
    {0x113ce, 0x113d0}, {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11935, 0x11935}, {0x11938, 0x11938},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x1611e, 0x1611e}, {0x16121, 0x16129}, {0x1612f, 0x1612f}, {0x16d63, 0x16d63}, {0x16d67, 0x16d6a},
    {0x16ff0, 0x16ff1}, {0x1ccd6, 0x1ccf9}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}, {0x1f16c, 0x1f16c},
    {0x1fbf0, 0x1fbf9},
};

static bool is_inert(uint32_t c) {
    size_t low = 0, high = sizeof inert / sizeof *inert;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > inert[middle][1]) low = middle + 1;
        else high = middle;
    }
    return low < sizeof inert / sizeof *inert && c >= inert[low][0];
}

/* Below it, a character is its own normal form and never combines with the one before it. */
static uint32_t first_unstable(enum ft_normal_form form) {
    return form == FT_NFC ? 0x300 : form == FT_NFD ? 0xc0 : 0xa0;
}

/* The end of the run of stable or inert characters from p; a stable one that is followed by an unstable one belongs to the
 * latter's part, because they may combine. */
static const char *stable_end(const char *p, const char *end, uint32_t limit) {
    const char *before = p;
    while (p < end) {
        const char *at = p;
        uint32_t c = ft_utf8_next(&p);
        if (c < limit) before = at;
        else if (is_inert(c)) before = p;
        else return before;
    }
    return end;
}

/* The end of the unstable part: an inert character, or the second of two stable ones in a row. */
static const char *unstable_end(const char *p, const char *end, uint32_t limit) {
    unsigned stable = 0;
    while (p < end) {
        const char *at = p;
        uint32_t c = ft_utf8_next(&p);
        stable = c < limit ? stable + 1 : 0;
        if (stable == 2 || is_inert(c)) return at;
    }
    return end;
}

/* --- forms ----------------------------------------------------------------------------------------------- */

enum { EXPANSION_MAX = 32, INSERTION_MAX = 16 };
#define CODES_MAX ((size_t)1 << 30)

/* Characters on their way. */
struct codes {
    utf8proc_int32_t *code, *sorted; /* sorted: scratch of order_long */
    size_t count, capacity, sorted_capacity;
};

static enum ft_status decompose(struct codes *codes, const char *p, const char *end, utf8proc_option_t options,
                                struct ft_error *error) {
    codes->count = 0;
    while (p < end) {
        int boundary = 0;
        enum ft_status status = ft_grow(&codes->code, &codes->capacity, codes->count + EXPANSION_MAX, sizeof *codes->code,
                                        CODES_MAX, "characters to normalize", error);
        if (status) return status;
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)ft_utf8_next(&p), codes->code + codes->count,
                                                     EXPANSION_MAX, options, &boundary);
        if (n < 0 || n > EXPANSION_MAX)
            return ft_fail(error, FT_FORMAT, "a text cannot be normalized: %s", utf8proc_errmsg(n < 0 ? n : UTF8PROC_ERROR_OVERFLOW));
        codes->count += (size_t)n;
    }
    return FT_OK;
}

static unsigned combining_class(utf8proc_int32_t c) { return (unsigned)utf8proc_get_property(c)->combining_class; }

/* Marks by their class, those of a class in their order. */
static void order_short(utf8proc_int32_t *code, size_t count) {
    for (size_t i = 1; i < count; i++) {
        utf8proc_int32_t c = code[i];
        size_t k = i;
        for (; k > 0 && combining_class(code[k - 1]) > combining_class(c); k--) code[k] = code[k - 1];
        code[k] = c;
    }
}

/* Likewise, by counting: a run of marks may be as long as the text. */
static enum ft_status order_long(struct codes *codes, utf8proc_int32_t *code, size_t count, struct ft_error *error) {
    size_t start[257] = {0};
    enum ft_status status = ft_grow(&codes->sorted, &codes->sorted_capacity, count, sizeof *codes->sorted, CODES_MAX,
                                    "combining characters", error);
    if (status) return status;
    for (size_t i = 0; i < count; i++) start[(combining_class(code[i]) & 0xff) + 1]++;
    for (size_t k = 1; k < 257; k++) start[k] += start[k - 1];
    for (size_t i = 0; i < count; i++) codes->sorted[start[combining_class(code[i]) & 0xff]++] = code[i];
    memcpy(code, codes->sorted, count * sizeof *code);
    return FT_OK;
}

static enum ft_status order(struct codes *codes, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0, end; i < codes->count && !status; i = end) {
        for (end = i; end < codes->count && combining_class(codes->code[end]);) end++;
        if (end - i > INSERTION_MAX) status = order_long(codes, codes->code + i, end - i, error);
        else if (end - i > 1) order_short(codes->code + i, end - i);
        if (end == i) end++;
    }
    return status;
}

static enum ft_status normalize_part(struct codes *codes, enum ft_normal_form form, const char *p, const char *end,
                                     struct ft_buffer *out, struct ft_error *error) {
    unsigned compat = form == FT_NFKC || form == FT_NFKD ? UTF8PROC_COMPAT : 0;
    bool compose = form == FT_NFC || form == FT_NFKC;
    enum ft_status status =
        decompose(codes, p, end, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | compat), error);
    if (!status) status = order(codes, error);
    if (!status && compose && codes->count) {
        utf8proc_ssize_t n = utf8proc_normalize_utf32(codes->code, (utf8proc_ssize_t)codes->count,
                                                      (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        if (n < 0) return ft_fail(error, FT_FORMAT, "a text cannot be normalized: %s", utf8proc_errmsg(n));
        codes->count = (size_t)n;
    }
    for (size_t i = 0; i < codes->count && !status; i++) status = put(out, (uint32_t)codes->code[i], error);
    return status;
}

enum ft_status ft_normal_form(enum ft_normal_form form, const char *text, size_t length, struct ft_buffer *out,
                              struct ft_error *error) {
    struct codes codes = {0};
    uint32_t limit = first_unstable(form);
    enum ft_status status = FT_OK;
    for (const char *p = text, *end = text + length, *stop; p < end && !status; p = stop) {
        const char *unstable = stable_end(p, end, limit);
        status = ft_buffer_append(out, p, (size_t)(unstable - p), error);
        stop = unstable_end(unstable, end, limit);
        if (!status) status = normalize_part(&codes, form, unstable, stop, out, error);
    }
    free(codes.code);
    free(codes.sorted);
    return status;
}

/* --- lower case ------------------------------------------------------------------------------------------ */

/* Unicode 17's pairs that utf8proc may not know, and a lower case that is two characters. */
static const struct {
    uint32_t first, last;
    int32_t distance;
} newer[] = {
    {0x1c89, 0x1c89, 1},    {0xa7cb, 0xa7cb, 0x264 - 0xa7cb}, {0xa7cc, 0xa7cc, 1},       {0xa7ce, 0xa7ce, 1},
    {0xa7d2, 0xa7d2, 1},    {0xa7d4, 0xa7d4, 1},              {0xa7da, 0xa7da, 1},       {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
    {0x10d50, 0x10d65, 32}, {0x16ea0, 0x16eb8, 27},
};

enum ft_status ft_lower_case(uint32_t c, struct ft_buffer *out, struct ft_error *error) {
    if (c == 0x130) return ft_buffer_append(out, "i\xcc\x87", 3, error);
    for (size_t i = 0; c >= newer[0].first && i < sizeof newer / sizeof *newer; i++)
        if (c >= newer[i].first && c <= newer[i].last) return put(out, (uint32_t)((int32_t)c + newer[i].distance), error);
    return put(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), error);
}
