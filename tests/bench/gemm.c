/* SPDX-License-Identifier: MIT
 *
 * Speed of the matrix product on the shapes of real models, against the machine's measured FMA peak and, when
 * libopenblas.so.0 is there, OpenBLAS with its best kernel (OPENBLAS_CORETYPE, else set here). Both run
 * alternately on the same memory; a figure is the best of its runs. Usage: gemm [FILTER [SECONDS]]
 */
#define _GNU_SOURCE
#include "ft/gemm.h"
#include "ft/memory.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static unsigned threads = 1;

/* One thread: its processor time, so that other load on the machine counts less. */
static double now(void) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- FMA peak of one thread ------------------------------------------------------------------------------ */

enum { PEAK_ROUNDS = 2000000 };

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float peak_avx2(void) {
    __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f), c[12];
    for (int i = 0; i < 12; i++) c[i] = y;
    for (int r = 0; r < PEAK_ROUNDS; r++) {
        _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) c[i] = _mm256_fmadd_ps(x, c[i], y);
        __asm__ volatile("" : "+x"(x));
    }
    for (int i = 1; i < 12; i++) c[0] = _mm256_add_ps(c[0], c[i]);
    return _mm256_cvtss_f32(c[0]);
}
__attribute__((target("avx512f"))) static float peak_avx512(void) {
    __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f), c[12];
    for (int i = 0; i < 12; i++) c[i] = y;
    for (int r = 0; r < PEAK_ROUNDS; r++) {
        _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) c[i] = _mm512_fmadd_ps(x, c[i], y);
        __asm__ volatile("" : "+v"(x));
    }
    for (int i = 1; i < 12; i++) c[0] = _mm512_add_ps(c[0], c[i]);
    return _mm512_cvtss_f32(c[0]);
}
#endif

/* GFLOP/s of one thread; 0 when this build cannot measure it. */
static double peak(enum ft_isa isa) {
    double best = 0;
    volatile float sink = 0;
    for (int i = 0; i < 5; i++) {
        double lanes = 0, start = now();
#if defined(__x86_64__)
        if (isa == FT_ISA_AVX2) sink = sink + peak_avx2(), lanes = 8;
        if (isa == FT_ISA_AVX512) sink = sink + peak_avx512(), lanes = 16;
#endif
        (void)isa;
        best = fmax(best, 2 * 12 * lanes * PEAK_ROUNDS / (now() - start) * 1e-9);
    }
    return best;
}

/* --- OpenBLAS -------------------------------------------------------------------------------------------- */

static struct {
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*set_threads)(int);
    char *(*core)(void), *(*config)(void);
} blas;

static void load_blas(enum ft_isa isa) {
    (void)setenv("OPENBLAS_CORETYPE", isa == FT_ISA_AVX512 ? "SkylakeX" : "Zen", 0);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW);
    if (!library) return;
    *(void **)&blas.set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&blas.core = dlsym(library, "openblas_get_corename");
    *(void **)&blas.config = dlsym(library, "openblas_get_config");
    *(void **)&blas.sgemm = dlsym(library, "cblas_sgemm");
}

/* --- cases ----------------------------------------------------------------------------------------------- */

/* NT: C = A B', a forward pass with B as [out, in]; PACKED: the same with B packed beforehand, PACKED_BF16 with
 * it kept in bf16; NN: a gradient of inputs; TURNED: the same out of what a forward pass packed in bf16; TN: a
 * gradient of weights, accumulated. */
enum kind { NT, PACKED, PACKED_BF16, NN, TURNED, TN, KINDS };
static const char *const kind_name[KINDS] = {"nt", "packed", "bf16", "nn", "turned", "tn"};

struct shape {
    const char *name;
    size_t m, n, k;
    unsigned kinds;
};
enum { F = 1 << NT | 1 << PACKED | 1 << PACKED_BF16, X = 1 << NN | 1 << TURNED, W = 1 << TN };

static const struct shape shapes[] = {
    {"S1 qkv", 1024, 2304, 768, F},        {"S1 qkv dX", 1024, 768, 2304, X},     {"S1 qkv dW", 2304, 768, 1024, W},
    {"S1 proj", 1024, 768, 768, F | X | W}, {"S1 fc", 1024, 3072, 768, F},        {"S1 fc2", 1024, 768, 3072, F | X},
    {"S1 fc dW", 3072, 768, 1024, W},      {"S1 head", 256, 50257, 768, F},       {"S1 head dX", 256, 768, 50257, X},
    {"S1 head dW", 50257, 768, 256, W},    {"S2 q", 1024, 576, 576, F | X | W},   {"S2 kv", 1024, 192, 576, F},
    {"S2 kv dW", 192, 576, 1024, W},       {"S2 gate", 1024, 1536, 576, F},       {"S2 down", 1024, 576, 1536, F | X},
    {"S2 gate dW", 1536, 576, 1024, W},    {"S2 head", 256, 49152, 576, F},       {"S3 q", 2048, 288, 288, F | X},
    {"S3 q dW", 288, 288, 2048, W},        {"S3 gate", 2048, 768, 288, F},        {"S3 down", 2048, 288, 768, F | X},
    {"S3 gate dW", 768, 288, 2048, W},     {"S4 q", 512, 2048, 2048, F | X},      {"S4 q dW", 2048, 2048, 512, W},
    {"S4 gate", 512, 8192, 2048, F},       {"S4 down", 512, 2048, 8192, F | X},   {"S4 gate dW", 8192, 2048, 512, W},
    {"lora8 A", 1024, 8, 768, 1 << NT},    {"lora8 B", 1024, 768, 8, 1 << NT},    {"lora8 dH", 1024, 8, 768, X},
    {"lora8 dA", 8, 768, 1024, W},         {"lora8 dB", 768, 8, 1024, W},         {"lora8 dX", 1024, 768, 8, X},
    {"lora16 A", 1024, 16, 576, 1 << NT},  {"lora16 B", 1024, 576, 16, 1 << NT},  {"lora16 dH", 1024, 16, 576, X},
    {"lora16 dA", 16, 576, 1024, W},       {"lora16 dB", 576, 16, 1024, W},       {"lora16 dX", 1024, 576, 16, X},
    {"lora4 A", 1024, 4, 768, 1 << NT},    {"lora64 A", 1024, 64, 576, 1 << NT},  {"lora64 B", 1024, 576, 64, 1 << NT},
    {"scores", 256, 256, 64, 1 << NT},     {"values", 256, 64, 256, X},           {"260K fc", 2000, 172, 64, F},
    {"260K q", 2000, 64, 64, F | X},       {"260K dW", 172, 64, 2000, W},         {"decode1", 1, 8192, 2048, F},
    {"decode2", 2, 8192, 2048, F},         {"decode4", 4, 8192, 2048, F},         {"decode1 S2", 1, 1536, 576, F},
    {"square", 2048, 2048, 2048, X},
};

struct bench {
    struct ft_exec *exec;
    float *a, *b, *c;
    uint16_t *b16;
    void *packed;
    double seconds, peak;
};

static void run_ours(const struct bench *bench, const struct shape *s, enum kind kind, const struct ft_packed *packed) {
    struct ft_product p = {.m = s->m, .n = s->n, .k = s->k, .c = bench->c, .ldc = s->n, .accumulate = kind == TN};
    p.a = kind == TN ? (struct ft_operand){bench->a, FT_F32, 1, s->m} : (struct ft_operand){bench->a, FT_F32, s->k, 1};
    p.b = kind == NT ? (struct ft_operand){bench->b, FT_F32, 1, s->k} : (struct ft_operand){bench->b, FT_F32, s->n, 1};
    if (kind == PACKED || kind == PACKED_BF16 || kind == TURNED) p.packed = packed;
    p.packed_transposed = kind == TURNED;
    ft_gemm(bench->exec, &p);
}

static void run_blas(const struct bench *bench, const struct shape *s, enum kind kind) {
    enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
    int m = (int)s->m, n = (int)s->n, k = (int)s->k;
    bool nt = kind == NT || kind == PACKED || kind == PACKED_BF16;
    blas.sgemm(ROW_MAJOR, kind == TN ? TRANS : NO_TRANS, nt ? TRANS : NO_TRANS, m, n, k, 1.0f, bench->a,
               kind == TN ? m : k, bench->b, nt ? k : n, kind == TN ? 1.0f : 0.0f, bench->c, n);
}

static void run_case(const struct bench *bench, const struct shape *s, enum kind kind) {
    double flops = 2.0 * (double)s->m * (double)s->n * (double)s->k, ours = 1e9, theirs = 1e9;
    struct ft_packed packed = {.data = bench->packed, .k = s->k, .n = s->n};
    if (kind == TURNED) packed = (struct ft_packed){.data = bench->packed, .k = s->n, .n = s->k};
    bool narrow = kind == PACKED_BF16 || kind == TURNED;
    if (narrow) packed.dtype = FT_BF16;
    struct ft_operand b = {narrow ? (const void *)bench->b16 : bench->b, packed.dtype, 1, packed.k};
    if (kind == PACKED || narrow) ft_pack(bench->exec, &packed, &b);
    size_t inner = (size_t)(1.0 + 2e7 / flops);
    double begin = now();
    for (int round = 0; round < 5 || now() < begin + bench->seconds; round++) {
        double start = now();
        for (size_t i = 0; i < inner; i++) run_ours(bench, s, kind, &packed);
        ours = fmin(ours, (now() - start) / (double)inner);
        if (!blas.sgemm) continue;
        start = now();
        for (size_t i = 0; i < inner; i++) run_blas(bench, s, kind);
        theirs = fmin(theirs, (now() - start) / (double)inner);
    }
    double bytes = (double)s->k * (double)s->n * (narrow ? 2.0 : 4.0);
    printf("%-11s %-6s %6zu %6zu %6zu %u  %7.1f GFLOP/s %5.1f %%", s->name, kind_name[kind], s->m, s->n, s->k, threads,
           flops / ours * 1e-9, 100 * flops / ours * 1e-9 / (bench->peak * threads));
    if (s->m <= 4) printf("  %5.1f GB/s", bytes / ours * 1e-9);
    if (blas.sgemm) printf("  OpenBLAS %7.1f  ratio %.2f", flops / theirs * 1e-9, theirs / ours);
    putchar('\n');
    fflush(stdout);
}

static void largest(size_t *floats) {
    *floats = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        size_t most = s->m * s->n > s->m * s->k ? s->m * s->n : s->m * s->k, b = (s->n + 64) * (s->k + 64);
        if (b > most) most = b;
        if (most > *floats) *floats = most;
    }
}

static void run_all(struct bench *bench, const char *filter) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            char text[128];
            (void)snprintf(text, sizeof text, "%s %s", shapes[i].name, kind_name[kind]);
            if (shapes[i].kinds >> kind & 1 && strstr(text, filter)) run_case(bench, &shapes[i], (enum kind)kind);
        }
}

int main(int argc, char **argv) {
    struct ft_error error;
    enum ft_isa isa;
    struct ft_arena arena;
    size_t floats;
    largest(&floats);
    if (ft_isa_select(&isa, &error) || ft_arena_init(&arena, 5 * ft_arena_cost(floats, sizeof(float)), &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    struct bench bench = {.seconds = argc > 2 ? strtod(argv[2], NULL) : 0.3};
    bench.a = ft_arena_take(&arena, floats, sizeof(float));
    bench.b = ft_arena_take(&arena, floats, sizeof(float));
    bench.c = ft_arena_take(&arena, floats, sizeof(float));
    bench.b16 = ft_arena_take(&arena, floats, sizeof(float));
    bench.packed = ft_arena_take(&arena, floats, sizeof(float));
    for (size_t i = 0; i < floats; i++) {
        bench.a[i] = (float)(i * 2654435761u % 1024) / 1024.0f - 0.5f;
        bench.b[i] = (float)(i * 40503u % 1024) / 1024.0f - 0.5f;
        bench.b16[i] = ft_bf16_narrow(bench.b[i]);
    }
    load_blas(isa);
    bench.peak = peak(isa);
    printf("ft %s, FMA peak %.1f GFLOP/s a thread; OpenBLAS %s, core %s\n", ft_isa_name(isa), bench.peak,
           blas.config ? blas.config() : "absent", blas.core ? blas.core() : "-");
    for (; threads <= 2; threads++) {
        if (ft_exec_new_isa(&bench.exec, threads, isa, &error)) {
            fprintf(stderr, "%s\n", error.message);
            return 2;
        }
        if (blas.set_threads) blas.set_threads((int)threads);
        run_all(&bench, argc > 1 ? argv[1] : "");
        ft_exec_free(bench.exec);
    }
    ft_arena_release(&arena);
    return 0;
}
