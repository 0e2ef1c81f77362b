/* SPDX-License-Identifier: MIT
 *
 * Shares chunks of matrix products out among threads: first the packing of every B, then blocks of every C.
 */
#include "gemm_job.h"

#include <sched.h>

enum {
    SMALL = 1 << 16,     /* multiplications below which threads are not worth waking */
    TASK = 1 << 18,      /* multiplications that make a task worth claiming, */
    TASK_BYTES = 1 << 17, /* or bytes of a packed B that few rows wait for */
    TASKS_EACH = 4,      /* tasks a thread, so that a late one can be made up for */
    BLOCK_TILES = 24,    /* tiles of rows in a block that threads do not share */
    L2_FLOATS = 1 << 17, /* more of A than this in a block is read again from afar for each task: */
    AGAIN_PANELS = 2,    /* tasks that are not worth it without so many panels */
    PACK_TERMS = 512,    /* of B, a task */
};

static void pack_task(struct ft_gemm_job *job, size_t index) {
    struct ft_packing packing = {job->isa, &job->p.b, job->shared, job->nr, job->n1, job->k1 - job->k0, job->k0,
                                 job->n0};
    size_t pieces = ceil_div(job->k1 - job->k0, PACK_TERMS), columns = FT_GEMM_PANELS * job->nr;
    size_t j = job->n0 + index / pieces * columns, k = job->k0 + index % pieces * PACK_TERMS;
    ft_gemm_pack_b(&packing, k, least(k + PACK_TERMS, job->k1), j, least(j + columns, job->n1));
    atomic_fetch_add_explicit(&job->packed, 1, memory_order_release);
}

/* Packing tasks were claimed before any task that waits here, so they are done or running. */
static void await_packing(struct ft_gemm_job *job) {
    for (unsigned i = 0; atomic_load_explicit(&job->packed, memory_order_acquire) < job->pack_tasks; i++)
        if (i > 1000) sched_yield();
}

/* Does the thread's scratch hold the packed rows from i0 on, from its last task? If not, it will now. */
static bool holds_rows(const struct ft_gemm_job *job, size_t i0, unsigned worker) {
    struct ft_rows_held *held = &job->exec->held[worker];
    bool holds = held->chunk == job->rows && held->row == i0;
    *held = (struct ft_rows_held){job->rows, i0};
    return holds;
}

/* Rows [i0, i1), columns [j0, j1): a strip of columns at a time, so that its part of C stays in L2 from one
 * block of K to the next. */
static void run_task(struct ft_gemm_job *job, size_t i0, size_t i1, size_t j0, size_t j1, unsigned worker) {
    struct ft_gemm_block b = {.i0 = i0, .i1 = i1};
    if (job->pack_a && !holds_rows(job, i0, worker)) ft_gemm_pack_a(job, &b, worker);
    await_packing(job);
    for (b.j0 = j0; b.j0 < j1; b.j0 = b.j1) {
        b.j1 = least(b.j0 + job->isa->strip, j1);
        b.k0 = job->k0;
        do { /* once even without terms: C is written */
            b.k1 = least(b.k0 + job->kc, job->k1);
            ft_gemm_run_block(job, &b, worker);
            b.k0 = b.k1;
        } while (b.k0 < job->k1);
        b.more = job->p.more.k && job->k1 == job->p.k;
        if (b.more) ft_gemm_run_block(job, &b, worker);
        b.more = false;
    }
}

/* The first row of a block of rows. */
static size_t first_row(const struct ft_gemm_job *job, size_t block) {
    return least(job->m0 + block * job->row_tiles / job->m_blocks * job->mr, job->m1);
}

/* The last blocks of rows take turns, so that a thread mostly stays with the rows that it has packed. */
static void block_task(struct ft_gemm_job *job, size_t index, unsigned worker) {
    size_t block = index, j0 = job->n0, j1 = job->n1;
    if (index >= job->whole) {
        size_t abreast = job->m_blocks - job->whole, piece = (index - job->whole) / abreast;
        block = job->whole + (index - job->whole) % abreast;
        j0 = job->n0 + job->cut[piece] * job->nr;
        j1 = least(job->n0 + job->cut[piece + 1] * job->nr, job->n1);
    }
    run_task(job, first_row(job, block), first_row(job, block + 1), j0, j1, worker);
}

/* Cuts the panels, `unit` of which are not parted, so that each time every thread gets half of its share of what is left:
 * processors that share a host are not equally fast, and the last task of the slower one is what the others wait for. */
static void cut_panels(struct ft_gemm_job *job, size_t abreast, size_t threads, size_t fewest, size_t unit) {
    if (fewest < ceil_div(job->panels, FT_GEMM_CUTS)) fewest = ceil_div(job->panels, FT_GEMM_CUTS);
    job->pieces = 0;
    for (size_t at = 0; at < job->panels; job->cut[++job->pieces] = at) {
        size_t left = job->panels - at, share = ceil_div(left * abreast, 2 * threads);
        at += least(round_up(share > fewest ? share : fewest, unit), left);
    }
}

/* Few rows of a product whose B was packed beforehand: the time is that of reading B. */
static bool streams(const struct ft_gemm_job *job) {
    return job->p.packed && !job->p.packed_transposed && job->m1 - job->m0 <= FT_WIDE_ROWS;
}

/* Of how many tasks is the chunk worth? */
static double worth(const struct ft_gemm_job *job) {
    double numbers = (double)(job->n1 - job->n0) * (double)(job->k1 - job->k0);
    if (streams(job)) return 1.0 + numbers * (double)ft_dtype_size(job->p.packed->dtype) / TASK_BYTES;
    return 1.0 + numbers * (double)(job->m1 - job->m0) / TASK;
}

/* Cuts the chunk into tasks; returns their number. A block has at most mc rows. */
static size_t partition(struct ft_gemm_job *job, size_t mc) {
    size_t m = job->m1 - job->m0, n = job->n1 - job->n0, k = job->k1 - job->k0, threads = ft_exec_threads(job->exec);
    double most = worth(job);
    size_t wanted = threads == 1 ? 1 : most < (double)(threads * TASKS_EACH) ? (size_t)most : threads * TASKS_EACH;
    job->row_tiles = ceil_div(m, job->mr);
    job->panels = ceil_div(n, job->nr);
    job->m_blocks = ceil_div(job->row_tiles, mc / job->mr);
    job->cut[0] = job->whole = 0;
    if (wanted == 1) {
        job->whole = job->m_blocks;
        return job->m_blocks;
    }
    if (job->m_blocks * job->panels < wanted) job->m_blocks = ceil_div(wanted, job->panels);
    if (round_up(job->m_blocks, threads) * BLOCK_TILES <= job->row_tiles)
        job->m_blocks = round_up(job->m_blocks, threads);
    job->m_blocks = least(job->m_blocks, job->row_tiles);
    job->whole = (job->m_blocks - 1) / threads * threads;
    size_t fewest = ceil_div(job->panels * job->m_blocks, (size_t)most); /* panels that make a task */
    if (ceil_div(m, job->m_blocks) * k > L2_FLOATS && fewest < AGAIN_PANELS) fewest = AGAIN_PANELS;
    cut_panels(job, job->m_blocks - job->whole, threads, fewest, streams(job) ? job->isa->wide_panels[m] : 1);
    return job->whole + (job->m_blocks - job->whole) * job->pieces;
}

struct jobs {
    struct ft_gemm_job *job;
    size_t count;
};

static void task(void *arg, size_t index, unsigned worker) {
    const struct jobs *jobs = arg;
    for (size_t i = 0; i < jobs->count; index -= jobs->job[i++].pack_tasks)
        if (index < jobs->job[i].pack_tasks) {
            pack_task(&jobs->job[i], index);
            return;
        }
    struct ft_gemm_job *job = jobs->job;
    for (; index >= job->tasks; job++) index -= job->tasks;
    block_task(job, index, worker);
}

/* Does a thread that has packed rows of `before` have them for `job`, too? */
static bool same_rows(const struct ft_gemm_job *job, const struct ft_gemm_job *before) {
    const struct ft_operand *a = &job->p.a, *b = &before->p.a;
    return a->data == b->data && a->dtype == b->dtype && a->row_stride == b->row_stride && a->col_stride == b->col_stride &&
           job->pack_a && before->pack_a && job->mr == before->mr && job->kc == before->kc && job->k0 == before->k0 &&
           job->k1 == before->k1 && job->m0 == before->m0 && job->m1 == before->m1 && job->m_blocks == before->m_blocks;
}

void ft_gemm_run_chunks(struct ft_gemm_job *job, size_t count, bool pack) {
    size_t tasks = 0;
    double multiplications = 0;
    for (size_t i = 0; i < count; i++) {
        size_t m = job[i].m1 - job[i].m0, n = job[i].n1 - job[i].n0, k = job[i].k1 - job[i].k0;
        job[i].tasks = partition(&job[i], job[i].isa->mc);
        job[i].pack_tasks = 0;
        if (pack && k && !job[i].p.packed && !job[i].b_in_place)
            job[i].pack_tasks = ceil_div(n, FT_GEMM_PANELS * job[i].nr) * ceil_div(k, PACK_TERMS);
        atomic_store_explicit(&job[i].packed, 0, memory_order_relaxed);
        job[i].rows = i > 0 && same_rows(&job[i], &job[i - 1]) ? job[i - 1].rows : ++job[i].exec->chunk;
        tasks += job[i].tasks + job[i].pack_tasks;
        multiplications += (double)m * (double)n * (double)k;
    }
    struct jobs jobs = {job, count};
    if (multiplications < SMALL) {
        for (size_t i = 0; i < tasks; i++) task(&jobs, i, 0);
    } else {
        ft_pool_run(ft_exec_pool(job->exec), tasks, task, &jobs);
    }
}
