/* SPDX-License-Identifier: MIT
 *
 * The bytes of ft-ftok(5), shared by writer and reader. All integers are little-endian.
 *
 *     stream  = prefix frame... trailer
 *     prefix  = magic[8] u32 version  u32 length  JSON[length]  u64 XXH3-64 of all before
 *     frame   = u32 length (> 0)  u64 XXH3-64 of the payload  payload[length]
 *     payload = u8 flags  source[32]  u32 n  u32 id[n]  weights  [label]  [group]  [u64 line]
 *     weights = FLAG_WEIGHTS ? f32 weight[n] : u32 r  u32 run[r]
 *               (run lengths of the weights 0, 1, 0, 1, ...; only the first may be 0)
 *     label, group = u32 length  UTF-8[length]
 *     trailer = u32 0  u64 records  u64 tokens  data[32] (zeros: not known)  SHA-256[32] of all before
 */
#ifndef FT_FTOK_LAYOUT_H
#define FT_FTOK_LAYOUT_H

#include "ft/ftok.h"

#include <math.h>

enum {
    MAGIC_SIZE = 8,
    VERSION = 1,
    FLAG_LABEL = 1,
    FLAG_GROUP = 2,
    FLAG_LINE = 4,
    FLAG_WEIGHTS = 8,
    FLAGS_ALL = 15,
    TRAILER_SIZE = 8 + 8 + FT_SHA256_SIZE + FT_SHA256_SIZE, /* behind the zero length */
};

/* As in PNG: a byte above 127, both kinds of newline, and control-Z, so that a transfer as text is noticed.
 * */
#define FT_FTOK_MAGIC "\x89" "FTOK\r\n\x1a"

/* The largest payload: every token with its own weight, both strings. */
#define PAYLOAD_MAX (1 + FT_SHA256_SIZE + 4 + 8 * FT_FTOK_RECORD_MAX + 4 + 2 * (4 + FT_FTOK_STRING_MAX) + 8)

/* What is wrong with a record, or NULL. */
static inline const char *ft_ftok_problem(const struct ft_ftok_record *record, uint32_t vocab_size) {
    if (record->count == 0) return "it has no tokens";
    if (record->count > FT_FTOK_RECORD_MAX) return "it has too many tokens";
    if (record->weights[0] != 0) return "its first token has a loss weight, but nothing predicts it";
    for (size_t i = 0; i < record->count; i++) {
        if (record->ids[i] >= vocab_size) return "a token id is not below the size of the vocabulary";
        if (!(record->weights[i] >= 0) ||
            isinf(record->weights[i])) return "a loss weight is negative or not finite";
    }
    return NULL;
}

#endif
