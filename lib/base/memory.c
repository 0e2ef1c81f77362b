/* SPDX-License-Identifier: MIT */
#include "ft/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum ft_status ft_alloc(void *out, size_t count, size_t size, struct ft_error *error) {
    size_t bytes;
    void *memory = NULL;
    if (ft_size_mul(count, size, &bytes)) memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory) return ft_fail(error, FT_NOMEM, "out of memory: %zu x %zu bytes are not to be had", count, size);
    memcpy(out, &memory, sizeof memory);
    return FT_OK;
}

enum ft_status ft_grow(void *array, size_t *capacity, size_t need, size_t size, size_t cap, const char *what,
                       struct ft_error *error) {
    if (need <= *capacity) return FT_OK;
    if (need > cap) return ft_fail(error, FT_LIMIT, "%s: more than the limit of %zu", what, cap);
    size_t want = *capacity ? *capacity : 16;
    while (want < need && want <= cap / 2) want *= 2;
    if (want < need || want > cap) want = cap;
    size_t bytes;
    void *old, *memory = NULL;
    memcpy(&old, array, sizeof old);
    if (ft_size_mul(want, size, &bytes)) memory = realloc(old, bytes);
    if (!memory) return ft_fail(error, FT_NOMEM, "out of memory: %zu %s", want, what);
    memcpy(array, &memory, sizeof memory);
    *capacity = want;
    return FT_OK;
}

enum ft_status ft_arena_init(struct ft_arena *arena, size_t size, struct ft_error *error) {
    *arena = (struct ft_arena){0};
    if (size == 0) return FT_OK;
    void *base = MAP_FAILED;
    if (size != SIZE_MAX)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return ft_fail(error, FT_NOMEM, "out of memory: %zu MiB in one piece are not to be had", size >> 20);
#ifdef MADV_HUGEPAGE
    (void)madvise(base, size, MADV_HUGEPAGE); /* a wish: page faults are dear on virtual machines */
#endif
    *arena = (struct ft_arena){.base = base, .size = size};
    return FT_OK;
}

size_t ft_arena_cost(size_t count, size_t size) {
    size_t bytes;
    if (!ft_size_mul(count, size, &bytes) || bytes > SIZE_MAX - FT_ALIGN) return SIZE_MAX;
    return (bytes + FT_ALIGN - 1) / FT_ALIGN * FT_ALIGN;
}

void *ft_arena_take(struct ft_arena *arena, size_t count, size_t size) {
    size_t cost = ft_arena_cost(count, size);
    if (cost > arena->size - arena->used) return NULL;
    void *memory = arena->base + arena->used;
    arena->used += cost;
    return memory;
}

void ft_arena_release(struct ft_arena *arena) {
    if (arena->base) munmap(arena->base, arena->size);
    *arena = (struct ft_arena){0};
}

static enum ft_status reserve(struct ft_buffer *buffer, size_t extra, struct ft_error *error) {
    size_t max = buffer->max ? buffer->max : FT_BUFFER_MAX, need;
    if (!ft_size_add(buffer->size, extra, &need) || need > max)
        return ft_fail(error, FT_LIMIT, "a text grows beyond its limit of %zu bytes", max);
    return ft_grow(&buffer->data, &buffer->capacity, need + 1, 1, max + 1, "bytes of text", error);
}

enum ft_status ft_buffer_append(struct ft_buffer *buffer, const void *bytes, size_t count, struct ft_error *error) {
    enum ft_status status = reserve(buffer, count, error);
    if (status) return status;
    if (count) memcpy(buffer->data + buffer->size, bytes, count);
    buffer->size += count;
    buffer->data[buffer->size] = '\0';
    return FT_OK;
}

enum ft_status ft_buffer_string(struct ft_buffer *buffer, const char *text, struct ft_error *error) {
    return ft_buffer_append(buffer, text, strlen(text), error);
}

enum ft_status ft_buffer_printf(struct ft_buffer *buffer, struct ft_error *error, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    enum ft_status status = length < 0 ? ft_fail(error, FT_FORMAT, "text cannot be formatted")
                                       : reserve(buffer, (size_t)length, error);
    if (!status) {
        (void)vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
    return status;
}

void ft_buffer_clear(struct ft_buffer *buffer) {
    buffer->size = 0;
    if (buffer->data) buffer->data[0] = '\0';
}

void ft_buffer_release(struct ft_buffer *buffer) {
    free(buffer->data);
    *buffer = (struct ft_buffer){.max = buffer->max};
}
