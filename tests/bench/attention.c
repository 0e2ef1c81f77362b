/* SPDX-License-Identifier: MIT
 *
 * Speed of attention on the shapes of real models: share of the FLOPs that visible pairs need. Usage: attention
 * [SECONDS]
 */
#include "ft/attention.h"
#include "ft/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const struct shape {
    const char *name;
    size_t documents, keys, queries, n_head, n_kv, head_dim;
} shapes[] = {
    {"S1", 4, 256, 256, 12, 12, 64},        {"S2", 4, 256, 256, 9, 3, 64},  {"S3", 8, 256, 256, 6, 6, 48},
    {"S4", 1, 512, 512, 32, 8, 64},         {"260K", 40, 50, 50, 8, 4, 8},  {"long", 1, 4096, 4096, 3, 1, 64},
    {"decode S1", 1, 512, 1, 12, 12, 64},   {"decode S4", 1, 512, 1, 32, 8, 64},
};

static void run(const struct shape *s, double seconds, unsigned threads) {
    struct ft_exec *exec;
    struct ft_error error;
    if (ft_exec_new(&exec, threads, &error)) exit(2);
    struct ft_attention_document *doc = calloc(s->documents, sizeof *doc);
    for (size_t i = 0; i < s->documents; i++)
        doc[i] = (struct ft_attention_document){i * s->keys, s->keys, i * s->queries, s->queries, NULL};
    size_t rows_k = s->documents * s->keys, rows_q = s->documents * s->queries, kv = s->n_kv * s->head_dim, d = s->n_head * s->head_dim;
    struct ft_attention at = {.n_head = s->n_head, .n_kv = s->n_kv, .head_dim = s->head_dim, .n_document = s->documents,
                              .scale = 1.0f / sqrtf((float)s->head_dim), .document = doc, .ld_q = d, .ld_kv = kv, .ld_o = d};
    struct ft_arena arena;
    size_t scratch = ft_attention_scratch(exec, &at, s->keys);
    if (ft_arena_init(&arena, 4 * (5 * rows_k * kv + 5 * rows_q * d) + scratch + 65536, &error)) exit(2);
    float *q = ft_arena_take(&arena, rows_q * d, 4), *o = ft_arena_take(&arena, rows_q * d, 4);
    float *d_o = ft_arena_take(&arena, rows_q * d, 4), *dq = ft_arena_take(&arena, rows_q * d, 4);
    float *k = ft_arena_take(&arena, rows_k * kv, 4), *v = ft_arena_take(&arena, rows_k * kv, 4);
    float *dk = ft_arena_take(&arena, rows_k * kv, 4), *dv = ft_arena_take(&arena, rows_k * kv, 4);
    float *max = ft_arena_take(&arena, rows_q * s->n_head, 4), *sum = ft_arena_take(&arena, rows_q * s->n_head, 4);
    void *memory = ft_arena_take(&arena, scratch, 1);
    for (size_t i = 0; i < rows_q * d; i++) q[i] = (float)(i * 2654435761u % 1024) / 512 - 1, d_o[i] = (float)(i * 40503u % 1024) / 512 - 1;
    for (size_t i = 0; i < rows_k * kv; i++) k[i] = (float)(i * 97u % 1024) / 512 - 1, v[i] = (float)(i * 1013u % 1024) / 512 - 1;
    double pairs = 0, forward = 1e9, backward = 1e9;
    for (size_t i = 0; i < s->queries; i++) pairs += (double)(s->keys - s->queries + i + 1);
    pairs *= (double)(s->documents * s->n_head * s->head_dim);
    int inner = 1 + (int)(2e6 / pairs);
    double begin = now();
    for (int round = 0; round < 5 || now() - begin < seconds; round++) {
        double t = now();
        for (int i = 0; i < inner; i++) ft_attention_forward(exec, &at, q, k, v, o, max, sum, memory);
        forward = fmin(forward, (now() - t) / inner);
        t = now();
        for (int i = 0; i < inner; i++) ft_attention_backward(exec, &at, q, k, v, o, max, sum, d_o, dq, dk, dv, memory);
        backward = fmin(backward, (now() - t) / inner);
    }
    printf("%-10s %u threads: forward %8.3f ms %6.1f GFLOP/s, backward %8.3f ms %6.1f GFLOP/s (processor time)\n", s->name, threads,
           forward * 1e3, 4 * pairs / forward * 1e-9, backward * 1e3, 10 * pairs / backward * 1e-9);
    fflush(stdout);
    ft_arena_release(&arena);
    free(doc);
    ft_exec_free(exec);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.3;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) run(&shapes[i], seconds, 1);
    return 0;
}
