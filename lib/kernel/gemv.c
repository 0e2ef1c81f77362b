/* SPDX-License-Identifier: MIT
 *
 * The driver of the matrix-vector product: tasks are ranges of outputs, cut into strips whose chains wait on
 * the stack until scale, bias and add are due.
 */
#include "gemv.h"

#include "exec_internal.h"

enum {
    STRIP = 480,    /* outputs */
    GRAIN = 96,     /* of a task: a multiple of what the kernels take at once, 24 or 32 */
    TASK = 1 << 17, /* bytes of B that make a task worth claiming */
    TASKS_EACH = 4, /* tasks a thread, so that a late one can be made up for */
};

struct job {
    const struct ft_product *p;
    ft_gemv_fn *run;
    size_t ld, each; /* each: outputs of a task */
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void finish(const struct ft_product *p, size_t begin, size_t end, const float *chain) {
    for (size_t j = begin; j < end; j++) {
        float value = chain[j - begin];
        if (p->scale != 0.0f && p->scale != 1.0f) value *= p->scale;
        if (p->bias) value += p->bias[j];
        if (p->add) value += p->add[j];
        p->c[j] = value;
    }
}

static void task(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct job *job = arg;
    const struct ft_product *p = job->p;
    FT_UNINITIALIZED float chain[STRIP];
    size_t last = least((index + 1) * job->each, p->n);
    for (size_t begin = index * job->each, end; begin < last; begin = end) {
        end = least(begin + STRIP, last);
        if (p->accumulate) memcpy(chain, p->c + begin, (end - begin) * sizeof *chain);
        else memset(chain, 0, (end - begin) * sizeof *chain);
        job->run(p->a.data, p->k, p->b.data, job->ld, begin, end, chain);
        finish(p, begin, end, chain);
    }
}

/* A row of binary32 with its numbers side by side. */
static bool is_row(const struct ft_product *p) {
    return p->m == 1 && p->a.dtype == FT_F32 && (p->a.col_stride == 1 || p->k == 1) &&
           (uintptr_t)p->a.data % sizeof(float) == 0;
}

/* The kernel for the product and B's stride, or NULL. */
static ft_gemv_fn *choose(const struct ft_exec *exec, const struct ft_product *p, size_t *ld) {
    const struct ft_gemv_isa *isa = ft_gemv_isa(exec->isa);
    if (!isa || p->packed || !is_row(p) || p->k == 0) return NULL;
    bool down = p->b.row_stride == 1;
    *ld = down ? p->b.col_stride : p->b.row_stride;
    return down ? isa->down[p->b.dtype] : p->b.col_stride == 1 ? isa->across[p->b.dtype] : NULL;
}

bool ft_gemv_takes(const struct ft_exec *exec, const struct ft_product *p) {
    size_t ld;
    return choose(exec, p, &ld) != NULL;
}

bool ft_gemv(struct ft_exec *exec, const struct ft_product *p) {
    struct job job = {.p = p};
    job.run = choose(exec, p, &job.ld);
    if (!job.run) return false;
    size_t threads = ft_exec_threads(exec);
    double worth = 1.0 + (double)p->n * (double)p->k * (double)ft_dtype_size(p->b.dtype) / TASK;
    size_t tasks = threads == 1 ? 1 : worth < (double)(threads * TASKS_EACH) ? (size_t)worth : threads * TASKS_EACH;
    job.each = (p->n / tasks / GRAIN + 1) * GRAIN;
    ft_pool_run(ft_exec_pool(exec), (p->n + job.each - 1) / job.each, task, &job);
    return true;
}
