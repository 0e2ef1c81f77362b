/* SPDX-License-Identifier: MIT
 *
 * Memory: checked sizes, zeroed allocation, and an arena that is sized once and never grows.
 * Order of calls for an arena: add up with ft_size_add/ft_size_mul, ft_arena_init, ft_arena_take..., release.
 */
#ifndef FT_MEMORY_H
#define FT_MEMORY_H

#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

/* Alignment of everything that kernels touch: one cache line, one AVX-512 register. */
#define FT_ALIGN 64u

/* *out = a + b or a * b; false on overflow, *out then undefined. */
static inline bool ft_size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool ft_size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }

/* count * size zeroed bytes, FT_NOMEM with the size named on failure. *out owns them; free with free(). */
enum ft_status ft_alloc(void *out, size_t count, size_t size, struct ft_error *error);

/* Grows *array (of elements of `size` bytes, capacity *capacity) so that it holds `need` elements, doubling.
 * Refuses more than `cap` elements with FT_LIMIT, naming `what`. New elements are not initialised. */
enum ft_status ft_grow(void *array, size_t *capacity, size_t need, size_t size, size_t cap, const char *what,
                       struct ft_error *error);

/* One block of zeroed, FT_ALIGN-aligned memory, taken whole at the start, asking for huge pages. */
struct ft_arena {
    unsigned char *base;
    size_t size, used;
};

/* Maps `size` bytes (0 is legal). The pages are touched lazily by the kernel. */
enum ft_status ft_arena_init(struct ft_arena *arena, size_t size, struct ft_error *error);

/* The next count*size bytes, aligned to FT_ALIGN, or NULL when they do not fit: a sizing bug, so callers
 * that computed the size assert. */
void *ft_arena_take(struct ft_arena *arena, size_t count, size_t size);

/* What ft_arena_take(count, size) will consume, for sizing; SIZE_MAX on overflow. */
size_t ft_arena_cost(size_t count, size_t size);

void ft_arena_release(struct ft_arena *arena);

/* Growable byte buffer with a stated maximum, always NUL-terminated after the contents. Zero-initialise,
 * set `max` (0 means FT_BUFFER_MAX). */
#define FT_BUFFER_MAX ((size_t)1 << 30)
struct ft_buffer {
    char *data; /* NULL while empty */
    size_t size, capacity, max;
};

enum ft_status ft_buffer_append(struct ft_buffer *buffer, const void *bytes, size_t count, struct ft_error *error);
enum ft_status ft_buffer_string(struct ft_buffer *buffer, const char *text, struct ft_error *error);
enum ft_status ft_buffer_printf(struct ft_buffer *buffer, struct ft_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ft_buffer_clear(struct ft_buffer *buffer);   /* empties, keeps the memory */
void ft_buffer_release(struct ft_buffer *buffer); /* frees, leaves a usable empty buffer with the same max */

/* Little-endian loads and stores at any alignment. */
static inline uint16_t ft_load16(const void *p) {
    const unsigned char *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t ft_load32(const void *p) {
    const unsigned char *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint64_t ft_load64(const void *p) {
    return (uint64_t)ft_load32(p) | (uint64_t)ft_load32((const unsigned char *)p + 4) << 32;
}
static inline void ft_store32(void *p, uint32_t v) {
    unsigned char *b = p;
    for (int i = 0; i < 4; i++) b[i] = (unsigned char)(v >> (8 * i));
}
static inline void ft_store64(void *p, uint64_t v) {
    unsigned char *b = p;
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)(v >> (8 * i));
}

#endif
