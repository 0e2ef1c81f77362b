/* SPDX-License-Identifier: MIT
 * The base layer: checked sizes, buffers, options, pool, dtype conversions. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "../tap/tap.h"

#include "ft/cpu.h"
#include "ft/dtype.h"
#include "ft/memory.h"
#include "ft/options.h"
#include "ft/pool.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

static void test_buffer(void) {
    struct ft_error error = {0};
    struct ft_buffer buffer = {.max = 10};
    ok(ft_buffer_string(&buffer, "0123456789", &error) == FT_OK && strcmp(buffer.data, "0123456789") == 0,
       "a buffer takes as much as its maximum");
    ok(ft_buffer_string(&buffer, "x", &error) == FT_LIMIT && error.status == FT_LIMIT && buffer.size == 10,
       "a buffer refuses more than its maximum and keeps its contents");
    ft_buffer_release(&buffer);
    ok(buffer.data == NULL && buffer.max == 10, "a released buffer is empty and keeps its maximum");
}

static void test_arena(void) {
    struct ft_arena arena;
    size_t need = ft_arena_cost(3, 4) + ft_arena_cost(100, 1);
    ok(ft_arena_init(&arena, need, NULL) == FT_OK, "an arena of the computed size can be had");
    void *a = ft_arena_take(&arena, 3, 4), *b = ft_arena_take(&arena, 100, 1);
    ok(a && b && (uintptr_t)a % FT_ALIGN == 0 && (uintptr_t)b % FT_ALIGN == 0, "its pieces are aligned");
    ok(ft_arena_take(&arena, 1, 1) == NULL, "an arena does not grow");
    ok(ft_arena_cost(SIZE_MAX, 2) == SIZE_MAX, "an overflowing size is noticed");
    ft_arena_release(&arena);
}

static atomic_uint hits[1000];
static void hit(void *arg, size_t i, unsigned worker) {
    (void)arg, (void)worker;
    atomic_fetch_add(&hits[i], 1);
}

static void test_pool(void) {
    for (unsigned threads = 1; threads <= 8; threads += 3) {
        struct ft_pool *pool;
        if (!ok(ft_pool_new(&pool, threads, NULL) == FT_OK, "a pool of %u threads starts", threads)) continue;
        for (int round = 0; round < 200; round++) ft_pool_run(pool, 1000, hit, NULL);
        unsigned wrong = 0;
        for (size_t i = 0; i < 1000; i++) wrong += atomic_exchange(&hits[i], 0) != 200;
        ok(wrong == 0, "%u threads run each task exactly once", threads);
        ft_pool_free(pool);
    }
    struct ft_error error;
    struct ft_pool *pool = NULL;
    ok(ft_pool_new(&pool, 100000, &error) == FT_USAGE && !pool, "too many threads are refused");
}

/* A pool that fills the processors binds its workers; threads that the caller makes later must not inherit that. */
static void test_pool_binding(void) {
    cpu_set_t before, during, after;
    struct ft_pool *pool;
    bool read = sched_getaffinity(0, sizeof before, &before) == 0;
    if (!ok(read && ft_pool_new(&pool, 0, NULL) == FT_OK, "a pool of all processors starts")) return;
    ok(ft_pool_threads(pool) == (unsigned)CPU_COUNT(&before) || CPU_COUNT(&before) > (int)FT_POOL_MAX,
       "it has a thread for each processor");
    read = sched_getaffinity(0, sizeof during, &during) == 0;
    ft_pool_free(pool);
    read = sched_getaffinity(0, sizeof after, &after) == 0 && read;
    ok(read && CPU_EQUAL(&before, &during) && CPU_EQUAL(&before, &after), "the caller keeps its processors");
}

static void test_dtype(void) {
    unsigned wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = ft_f16_widen((uint16_t)h), b = ft_bf16_widen((uint16_t)h);
        if (!isnan(f)) wrong += ft_f16_narrow(f) != h;
        if (!isnan(b)) wrong += ft_bf16_narrow(b) != h;
        if (isnan(f)) wrong += !isnan(ft_f16_widen(ft_f16_narrow(f)));
        if (isnan(b)) wrong += !isnan(ft_bf16_widen(ft_bf16_narrow(b)));
    }
    ok(wrong == 0, "narrow(widen(h)) == h for every f16 and bf16");
    /* rounding to nearest even, checked against the two neighbours */
    wrong = 0;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float lo = ft_f16_widen((uint16_t)h), hi = ft_f16_widen((uint16_t)(h + 1)), mid = (lo + hi) / 2;
        wrong += ft_f16_narrow(mid) != (h & 1 ? h + 1 : h);
        wrong += ft_f16_narrow(nextafterf(mid, 0)) != h;
        wrong += ft_f16_narrow(nextafterf(mid, INFINITY)) != h + 1;
    }
    ok(wrong == 0, "f16 rounds to nearest even between all neighbours");
    ok(ft_f16_narrow(65519.0f) == 0x7bff && ft_f16_narrow(65520.0f) == 0x7c00 && ft_f16_narrow(0x1p-25f) == 0 &&
           ft_f16_narrow(0x1.000002p-25f) == 1,
       "f16 at its ends");
    ok(ft_bf16_narrow(ft_from_bits(0x3f808000)) == 0x3f80 && ft_bf16_narrow(ft_from_bits(0x3f818000)) == 0x3f82,
       "bf16 ties to even");
}

/* Arrays at odd addresses and of lengths with a rest against one element at a time, over all 16 bit patterns. */
static void test_dtype_arrays(enum ft_dtype dtype, const char *name) {
    enum { N = 65536, ODD = 77 };
    static unsigned char stored[2 * N + 1], again[2 * N + 1];
    static float values[N];
    unsigned wrong = 0;
    for (uint32_t h = 0; h < N; h++) {
        uint16_t half = (uint16_t)h;
        memcpy(stored + 1 + 2 * h, &half, sizeof half);
    }
    for (size_t begin = 0, count; begin < N; begin += count) {
        count = N - begin < ODD ? N - begin : ODD;
        ft_widen(values, stored + 1 + 2 * begin, dtype, count);
        ft_narrow(again + 1 + 2 * begin, dtype, values, count);
        bool finite = true;
        for (size_t i = 0; i < count; i++) {
            uint16_t h = (uint16_t)(begin + i), narrow = dtype == FT_BF16 ? ft_bf16_narrow(values[i]) : ft_f16_narrow(values[i]);
            float wide = dtype == FT_BF16 ? ft_bf16_widen(h) : ft_f16_widen(h);
            wrong += ft_to_bits(values[i]) != ft_to_bits(wide) || memcmp(again + 1 + 2 * (begin + i), &narrow, sizeof narrow) != 0;
            wrong += ft_finite(stored + 1 + 2 * (begin + i), dtype, 1) != (bool)isfinite(wide);
            finite &= isfinite(wide) != 0;
        }
        wrong += ft_finite(stored + 1 + 2 * begin, dtype, count) != finite || ft_finite(values, FT_F32, count) != finite;
    }
    ok(wrong == 0, "%s by the array is %s by the element", name, name);
}

static void test_options(void) {
    bool flag = false;
    const char *text = NULL;
    size_t size = 7;
    struct ft_option_list list = {0};
    const struct ft_option table[] = {
        {'f', "flag", FT_OPTION_FLAG, &flag, NULL, "a flag", 0, 0},
        {'t', "text", FT_OPTION_STRING, &text, "TEXT", "a text", 0, 0},
        {0, "size", FT_OPTION_SIZE, &size, "N", "a size", 1, 9},
        {'s', "set", FT_OPTION_LIST, &list, "K=V", "a list", 0, 0},
        {0},
    };
    const struct ft_command command = {"ft-x", "", "x", NULL, table};
    char *argv[] = {"ft-x", "one", "-ft", "word", "--size=3", "-sa=1", "--set", "b=2", "-", "--", "-z", NULL};
    int first;
    struct ft_error error;
    ok(ft_options_parse(&command, 11, argv, &first, &error) == FT_OPTIONS_RUN && flag && size == 3 && text &&
           strcmp(text, "word") == 0 && list.count == 2 && strcmp(list.item[1], "b=2") == 0,
       "short, bundled, long and repeated options");
    ok(first == 8 && strcmp(argv[8], "one") == 0 && strcmp(argv[9], "-") == 0 && strcmp(argv[10], "-z") == 0,
       "operands keep their order");
    char *bad[][3] = {{"ft-x", "--sise=3", NULL}, {"ft-x", "--size=10", NULL}, {"ft-x", "--size=-1", NULL},
                      {"ft-x", "--text", NULL},   {"ft-x", "-q", NULL},        {"ft-x", "--flag=1", NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ok(ft_options_parse(&command, 2, bad[i], &first, &error) == FT_OPTIONS_BAD, "refused: %s (%s)", bad[i][1],
           error.message);
}

int main(void) {
    struct ft_error error;
    enum ft_isa isa;
    ok(ft_isa_select(&isa, &error) == FT_OK, "an instruction set is selected");
    test_buffer();
    test_arena();
    test_pool();
    test_pool_binding();
    test_dtype();
    test_dtype_arrays(FT_BF16, "bf16");
    test_dtype_arrays(FT_F16, "f16");
    test_options();
    return tap_done();
}
