/* SPDX-License-Identifier: MIT
 *
 * Functions of rows.h that move or add: the memory is the limit and the compiler's own vectors are enough, so
 * one source serves every ISA. */
#include "kernels.h"

#include <stdatomic.h>

enum { CHUNK = 65536, LANES = 16, BATCH = 64 };

struct embed_args {
    size_t C, T;
    const uint32_t *id, *position;
    const void *table, *position_table;
    const struct ft_packed *packed; /* takes the place of table, or NULL */
    enum ft_dtype dtype, position_dtype;
    float scale;
    const float *dy;
    float *y; /* y, or d_table */
};

static float widened(const void *table, enum ft_dtype dtype, size_t i) {
    float f;
    ft_widen(&f, (const unsigned char *)table + i * ft_dtype_size(dtype), dtype, 1);
    return f;
}

/* Column `id` of packed memory: panels of `width` columns, each k x width. */
static void widen_column(const struct ft_packed *packed, size_t id, float *y) {
    size_t first = id / packed->width * packed->k * packed->width + id % packed->width;
    for (size_t c = 0; c < packed->k; c++) y[c] = widened(packed->data, packed->dtype, first + c * packed->width);
}

static void embed_rows(const void *args, size_t begin, size_t end) {
    const struct embed_args *a = args;
    for (size_t t = begin; t < end; t++) {
        float *y = a->y + t * a->C;
        if (a->packed) widen_column(a->packed, a->id[t], y);
        else ft_widen(y, (const unsigned char *)a->table + a->id[t] * a->C * ft_dtype_size(a->dtype), a->dtype, a->C);
        if (a->scale != 1.0f)
            for (size_t c = 0; c < a->C; c++) y[c] *= a->scale;
        if (!a->position_table) continue;
        size_t row = a->position[t] * a->C;
        for (size_t c = 0; c < a->C; c++) y[c] += widened(a->position_table, a->position_dtype, row + c);
    }
}

void ft_embed(struct ft_exec *exec, size_t T, size_t C, const uint32_t *id, const void *table, enum ft_dtype dtype,
              float scale, const uint32_t *position, const void *position_table, enum ft_dtype position_dtype,
              float *y) {
    struct embed_args a = {.C = C, .id = id, .table = table, .dtype = dtype, .scale = scale, .position = position,
                           .position_table = position_table, .position_dtype = position_dtype, .y = y};
    ft_run_rows(exec, embed_rows, &a, T, C);
}

void ft_embed_packed(struct ft_exec *exec, size_t T, const uint32_t *id, const struct ft_packed *table, float scale,
                     const uint32_t *position, const void *position_table, enum ft_dtype position_dtype, float *y) {
    struct embed_args a = {.C = table->k, .id = id, .packed = table, .scale = scale, .position = position,
                           .position_table = position_table, .position_dtype = position_dtype, .y = y};
    ft_run_rows(exec, embed_rows, &a, T, table->k);
}

static void embed_columns(const void *args, size_t begin, size_t end) {
    const struct embed_args *a = args;
    for (size_t t = 0; t < a->T; t++) {
        const float *dy = a->dy + t * a->C;
        float *row = a->y + a->id[t] * a->C;
        if (a->scale == 1.0f)
            for (size_t c = begin; c < end; c++) row[c] += dy[c];
        else
            for (size_t c = begin; c < end; c++) row[c] += dy[c] * a->scale;
    }
}

void ft_embed_backward(struct ft_exec *exec, size_t T, size_t C, const uint32_t *id, const float *dy, float scale,
                       float *d_table) {
    struct embed_args a = {.T = T, .C = C, .id = id, .dy = dy, .scale = scale, .y = d_table};
    ft_run_columns(exec, embed_columns, &a, T, C);
}

struct move_args {
    size_t T, C, ld;
    const uint32_t *row;
    const float *x;
    float a, *y;
};

static void gather_rows(const void *args, size_t begin, size_t end) {
    const struct move_args *a = args;
    for (size_t i = begin; i < end; i++) memcpy(a->y + i * a->C, a->x + a->row[i] * a->C, a->C * sizeof *a->y);
}

void ft_gather_rows(struct ft_exec *exec, size_t count, size_t C, const uint32_t *row, const float *x, float *y) {
    struct move_args a = {.C = C, .row = row, .x = x, .y = y};
    ft_run_rows(exec, gather_rows, &a, count, C);
}

static void scatter_rows(const void *args, size_t begin, size_t end) {
    const struct move_args *a = args;
    for (size_t i = begin; i < end; i++) memcpy(a->y + a->row[i] * a->C, a->x + i * a->C, a->C * sizeof *a->y);
}

void ft_scatter_rows(struct ft_exec *exec, size_t count, size_t C, const uint32_t *row, const float *x, float *y) {
    struct move_args a = {.C = C, .row = row, .x = x, .y = y};
    ft_run_rows(exec, scatter_rows, &a, count, C);
}

static void sum_columns(const void *args, size_t begin, size_t end) {
    const struct move_args *a = args;
    for (size_t t = 0; t < a->T; t++)
        for (size_t c = begin; c < end; c++) a->y[c] += a->x[t * a->ld + c];
}

void ft_column_sum(struct ft_exec *exec, size_t T, size_t C, const float *x, size_t ld, float *y) {
    struct move_args a = {.T = T, .C = C, .ld = ld, .x = x, .y = y};
    ft_run_columns(exec, sum_columns, &a, T, C);
}

static void add_elements(const void *args, size_t begin, size_t end) {
    const struct move_args *a = args;
    for (size_t i = begin; i < end; i++) a->y[i] += a->x[i];
}

void ft_add(struct ft_exec *exec, size_t n, const float *x, float *y) {
    struct move_args a = {.x = x, .y = y};
    ft_run_elements(exec, add_elements, &a, n);
}

static void scale_elements(const void *args, size_t begin, size_t end) {
    const struct move_args *a = args;
    for (size_t i = begin; i < end; i++) a->y[i] *= a->a;
}

void ft_scale(struct ft_exec *exec, size_t n, float factor, float *x) {
    struct move_args a = {.a = factor, .y = x};
    ft_run_elements(exec, scale_elements, &a, n);
}

struct sum_args {
    size_t n;
    const float *x;
    double *sum; /* one a chunk */
};

/* The square of a binary32 number is exact in binary64, so multiply-and-add is fma here. */
static double chunk_squares(const float *x, size_t n) {
    double lane[LANES] = {0};
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
    for (size_t i = whole; i < n; i++) lane[i - whole] += (double)x[i] * (double)x[i];
    for (size_t step = LANES / 2; step; step /= 2)
        for (size_t l = 0; l < step; l++) lane[l] += lane[l + step];
    return lane[0];
}

static void chunks_squares(const void *args, size_t begin, size_t end) {
    const struct sum_args *a = args;
    for (size_t i = begin; i < end; i++) {
        size_t rest = a->n - i * CHUNK;
        a->sum[i] = chunk_squares(a->x + i * CHUNK, rest < CHUNK ? rest : CHUNK);
    }
}

double ft_sum_squares(struct ft_exec *exec, size_t n, const float *x) {
    double total = 0.0, sum[BATCH];
    for (size_t begin = 0; begin < n; begin += (size_t)BATCH * CHUNK) {
        size_t rest = n - begin, count = rest < (size_t)BATCH * CHUNK ? rest : (size_t)BATCH * CHUNK;
        size_t chunks = (count + CHUNK - 1) / CHUNK;
        struct sum_args a = {count, x + begin, sum};
        ft_run_ranges(exec, chunks_squares, &a, chunks, 1);
        for (size_t i = 0; i < chunks; i++) total += sum[i];
    }
    return total;
}

struct finite_args {
    const float *x;
    atomic_bool *found;
};

static void find_nonfinite(const void *args, size_t begin, size_t end) {
    const struct finite_args *a = args;
    unsigned bad = 0;
    for (size_t i = begin; i < end; i++) bad |= (ft_to_bits(a->x[i]) & 0x7f800000u) == 0x7f800000u;
    if (bad) atomic_store_explicit(a->found, true, memory_order_relaxed);
}

bool ft_all_finite(struct ft_exec *exec, size_t n, const float *x) {
    atomic_bool found = false;
    struct finite_args a = {x, &found};
    ft_run_elements(exec, find_nonfinite, &a, n);
    return !atomic_load(&found);
}
