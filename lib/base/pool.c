/* SPDX-License-Identifier: MIT
 *
 * Workers spin for about as long as OpenMP's do after a job, because the next one usually follows within microseconds
 * and a sleeper is slow to come back on a busy machine; then they sleep on a condition variable. A job is published by
 * bumping `generation`; tasks are claimed with one atomic counter. The caller waits for the workers that have entered
 * the job, not for one that is still on its way: `busy` counts the former, and who enters after `open` has been
 * cleared finds it so and leaves (both sides write their flag before they read the other's, sequentially consistent). */
#define _GNU_SOURCE /* sched_getaffinity, sched_getcpu, pthread_setaffinity_np */
#include "ft/pool.h"

#include "ft/cpu.h"
#include "ft/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 20000 };

struct worker {
    struct ft_pool *pool;
    pthread_t thread;
    unsigned index;
};

struct ft_pool {
    unsigned threads, started;
    struct worker *workers; /* threads-1 of them, indexes 1.. */
    int home;               /* the processor that no worker is bound to, or -1 */
    cpu_set_t all;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_bool stop;

    void (*task)(void *, size_t, unsigned);
    void *arg;
    size_t count;
    _Alignas(FT_ALIGN) atomic_size_t next;
    _Alignas(FT_ALIGN) atomic_uint generation;
    _Alignas(FT_ALIGN) atomic_uint busy; /* workers inside the present job */
    atomic_bool open;                    /* the fields above describe a job that may be entered */
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_tasks(struct ft_pool *pool, unsigned worker) {
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= pool->count) return;
        pool->task(pool->arg, i, worker);
    }
}

/* Waits for a generation other than *seen and takes it over; returns false when the pool stops. */
static bool await_job(struct ft_pool *pool, unsigned *seen) {
    unsigned now = *seen;
    for (int i = 0; i < SPINS && now == *seen; i++) {
        relax();
        now = atomic_load_explicit(&pool->generation, memory_order_acquire);
    }
    if (now == *seen) {
        pthread_mutex_lock(&pool->mutex);
        while ((now = atomic_load_explicit(&pool->generation, memory_order_acquire)) == *seen)
            pthread_cond_wait(&pool->wake, &pool->mutex);
        pthread_mutex_unlock(&pool->mutex);
    }
    *seen = now;
    return !atomic_load_explicit(&pool->stop, memory_order_acquire);
}

static void *worker_main(void *arg) {
    struct worker *self = arg;
    struct ft_pool *pool = self->pool;
    (void)ft_fpenv_set(NULL); /* checked once by ft_pool_new on the same machine */
    for (unsigned seen = 0; await_job(pool, &seen);) {
        atomic_fetch_add(&pool->busy, 1);
        if (atomic_load(&pool->open)) take_tasks(pool, self->index);
        atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_release);
    }
    return NULL;
}

static unsigned usable_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1u : n > (int)FT_POOL_MAX ? FT_POOL_MAX : (unsigned)n;
}

static void bind_to(pthread_t thread, unsigned cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    (void)pthread_setaffinity_np(thread, sizeof one, &one);
}

/* Moves the calling thread to the processor that the workers have left, and sets it free again, so that threads and
 * pools that it makes have all processors. */
static void go_home(const struct ft_pool *pool) {
    if (pool->home < 0 || sched_getcpu() == pool->home) return;
    bind_to(pthread_self(), (unsigned)pool->home);
    (void)pthread_setaffinity_np(pthread_self(), sizeof pool->all, &pool->all);
}

/* Binds worker i of a pool that fills its processors to the i-th of them, but for the caller's, the first: schedulers are
 * slow to part two busy threads that are on one. Best effort. */
static void bind_workers(struct ft_pool *pool) {
    cpu_set_t *all = &pool->all;
    if (pool->threads < 2 || sched_getaffinity(0, sizeof *all, all) != 0) return;
    if (CPU_COUNT(all) != (int)pool->threads) return;
    for (unsigned i = 0, cpu = 0; i < pool->threads; i++, cpu++) {
        while (!CPU_ISSET(cpu, all)) cpu++;
        if (i == 0) pool->home = (int)cpu;
        else bind_to(pool->workers[i - 1].thread, cpu);
    }
    go_home(pool);
}

static void publish(struct ft_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

enum ft_status ft_pool_new(struct ft_pool **out, unsigned threads, struct ft_error *error) {
    if (threads == 0) threads = usable_processors();
    if (threads > FT_POOL_MAX)
        return ft_fail(error, FT_USAGE, "%u threads: at most %u are supported", threads, FT_POOL_MAX);
    enum ft_status status = ft_fpenv_set(error);
    if (status) return status;
    struct ft_pool *pool = aligned_alloc(FT_ALIGN, (sizeof *pool + FT_ALIGN - 1) / FT_ALIGN * FT_ALIGN);
    if (!pool) return ft_fail(error, FT_NOMEM, "out of memory for a thread pool");
    *pool = (struct ft_pool){.threads = threads, .home = -1};
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    if (ft_alloc(&pool->workers, threads, sizeof *pool->workers, error)) {
        ft_pool_free(pool);
        return FT_NOMEM;
    }
    for (unsigned i = 1; i < threads; i++) {
        struct worker *worker = &pool->workers[i - 1];
        *worker = (struct worker){.pool = pool, .index = i};
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            ft_pool_free(pool);
            return ft_fail(error, FT_NOMEM, "thread %u of %u cannot be started; use fewer with --threads", i, threads);
        }
        pool->started++;
    }
    bind_workers(pool);
    *out = pool;
    return FT_OK;
}

unsigned ft_pool_threads(const struct ft_pool *pool) { return pool->threads; }

void ft_pool_run(struct ft_pool *pool, size_t count, void (*task)(void *, size_t, unsigned), void *arg) {
    if (pool->threads == 1 || count <= 1) {
        for (size_t i = 0; i < count; i++) task(arg, i, 0);
        return;
    }
    go_home(pool);
    pool->task = task;
    pool->arg = arg;
    pool->count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store(&pool->open, true);
    publish(pool);
    take_tasks(pool, 0);
    atomic_store(&pool->open, false);
    for (unsigned i = 0; atomic_load(&pool->busy) != 0; i++) {
        if (i < SPINS) relax();
        else sched_yield();
    }
}

void ft_pool_free(struct ft_pool *pool) {
    if (!pool) return;
    if (pool->started) {
        atomic_store_explicit(&pool->stop, true, memory_order_release);
        publish(pool);
        for (unsigned i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}
