/* SPDX-License-Identifier: MIT
 *
 * Speed of the matrix-vector product, which decoding is made of, against plain reading of the same memory. Each
 * case goes through enough matrices that they come from memory, alternately with the reading; a figure is the
 * best of its runs. Usage: decode [SECONDS [THREADS]]
 */
#include "ft/gemm.h"
#include "ft/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BYTES = 192 << 20, STREAMS = 8 /* read side by side: faster than one after the other */ };

static unsigned threads;

/* One thread: its processor time, so that other load on the machine counts less. */
static double now(void) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- reading --------------------------------------------------------------------------------------------- */

struct reading {
    const unsigned char *memory;
    size_t each;
    uint64_t sum[FT_POOL_MAX];
};

static void read_task(void *arg, size_t index, unsigned worker) {
    struct reading *r = arg;
    size_t stream = r->each / STREAMS;
    const unsigned char *p = r->memory + index * r->each;
    uint64_t sum[8] = {0};
    for (size_t i = 0; i + 64 <= stream; i += 64)
        for (size_t s = 0; s < STREAMS; s++)
            for (size_t l = 0; l < 8; l++) {
                uint64_t word;
                memcpy(&word, p + s * stream + i + 8 * l, sizeof word);
                sum[l] += word;
            }
    for (size_t l = 0; l < 8; l++) r->sum[worker] += sum[l];
}

static double read_once(struct ft_exec *exec, const unsigned char *memory) {
    static struct reading reading;
    size_t tasks = 4 * ft_exec_threads(exec);
    reading.memory = memory;
    reading.each = BYTES / tasks;
    double start = now();
    ft_pool_run(ft_exec_pool(exec), tasks, read_task, &reading);
    return now() - start;
}

/* --- products -------------------------------------------------------------------------------------------- */

struct shape {
    const char *name;
    size_t n, k;
    bool across;
};

static const struct shape shapes[] = {
    {"S1 qkv", 2304, 768, true}, {"S1 fc2", 768, 3072, true}, {"S1 head", 50257, 768, false},
    {"S2 q", 576, 576, false},   {"S2 kv", 192, 576, false},  {"S2 gate", 1536, 576, false},
    {"S2 down", 576, 1536, false}, {"S2 head", 49152, 576, false}, {"S4 q", 2048, 2048, false},
    {"S4 down", 2048, 8192, false},
};

/* Seconds for one pass over the memory. */
static double multiply_once(struct ft_exec *exec, const struct shape *s, enum ft_dtype dtype, const unsigned char *memory,
                            const float *x, float *y) {
    size_t bytes = s->n * s->k * ft_dtype_size(dtype), count = 0;
    double start = now();
    for (size_t at = 0; at + bytes <= BYTES; at += bytes, count++) {
        struct ft_operand b = {memory + at, dtype, s->across ? s->n : 1, s->across ? 1 : s->k};
        ft_gemm(exec, &(struct ft_product){.m = 1, .n = s->n, .k = s->k, .a = {x, FT_F32, s->k, 1}, .b = b, .c = y, .ldc = s->n});
    }
    return (now() - start) * ((double)BYTES / (double)(count * bytes));
}

static void compare(struct ft_exec *exec, const struct shape *s, enum ft_dtype dtype, double seconds,
                    const unsigned char *memory, const float *x, float *y) {
    static const char *const names[] = {"f32", "bf16", "f16"};
    double read = 1e9, multiply = 1e9;
    for (double end = now() + seconds; now() < end;) {
        double t = read_once(exec, memory);
        if (t < read) read = t;
        t = multiply_once(exec, s, dtype, memory, x, y);
        if (t < multiply) multiply = t;
    }
    printf("%-8s %6zu x %5zu %-5s %6.1f GB/s, reading %6.1f: %3.0f %%\n", s->name, s->n, s->k, names[dtype],
           1e-9 * BYTES / multiply, 1e-9 * BYTES / read, 100 * read / multiply);
    fflush(stdout);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1.0;
    threads = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
    struct ft_exec *exec;
    struct ft_arena arena;
    struct ft_error error = {0};
    if (ft_exec_new(&exec, threads, &error) || ft_arena_init(&arena, BYTES + (1 << 20), &error))
        return fprintf(stderr, "%s\n", error.message), 2;
    unsigned char *memory = ft_arena_take(&arena, BYTES, 1);
    float *x = ft_arena_take(&arena, 8192, sizeof *x), *y = ft_arena_take(&arena, 65536, sizeof *y);
    for (size_t i = 0; i < BYTES; i++) memory[i] = (unsigned char)((i * 2654435761u >> 13) & 0xbf); /* no NaN */
    for (size_t i = 0; i < 8192; i++) x[i] = (float)(i % 7) * 0.1f;
    printf("%s, %u threads\n", ft_isa_name(ft_exec_isa(exec)), ft_exec_threads(exec));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int dtype = 0; dtype < 3; dtype++) compare(exec, &shapes[i], (enum ft_dtype)dtype, seconds, memory, x, y);
    ft_arena_release(&arena);
    ft_exec_free(exec);
    return 0;
}
