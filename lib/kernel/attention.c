/* SPDX-License-Identifier: MIT */
#include "attention.h"
#include "kernels.h"

#include "ft/memory.h"

struct job {
    const struct ft_attention *at;
    const struct ft_attention_isa *isa;
    const struct ft_kernels *kernels;
    const float *q, *k, *v, *o, *d_o, *row_max_in, *row_sum_in;
    float *out, *row_max, *row_sum, *dq, *dk, *dv;
    float *scratch;
    size_t scratch_each; /* floats a thread */
};

static size_t longest(const struct ft_attention *at) {
    size_t most = 0;
    for (size_t n = 0; n < at->n_document; n++)
        if (at->document[n].key_count > most) most = at->document[n].key_count;
    return most;
}

/* Transposed keys and values, two blocks of scores and one row. */
static size_t scratch_each(const struct ft_attention *at, size_t keys) {
    size_t width = (keys + 15) / 16 * 16;
    return ft_arena_cost(width * (2 * at->head_dim + 2 * FT_ATTENTION_BLOCK + 1), sizeof(float)) / sizeof(float);
}

static const struct ft_attention_isa *isa_of(const struct ft_exec *exec) {
    switch (ft_exec_isa(exec)) {
#if defined(__x86_64__)
    case FT_ISA_AVX2: return &ft_attention_avx2;
    case FT_ISA_AVX512: return &ft_attention_avx512;
#elif defined(__aarch64__)
    case FT_ISA_NEON: return &ft_attention_neon;
#endif
    default: return &ft_attention_scalar;
    }
}

size_t ft_attention_scratch(const struct ft_exec *exec, const struct ft_attention *at, size_t max_keys) {
    return ft_exec_threads(exec) * scratch_each(at, max_keys) * sizeof(float);
}

static void forward_task(void *arg, size_t i, unsigned worker) {
    const struct job *job = arg;
    const struct ft_attention *at = job->at;
    job->isa->forward(at, job->kernels, &at->document[i / at->n_kv], i % at->n_kv, job->q, job->k, job->v, job->out,
                              job->row_max, job->row_sum, job->scratch + worker * job->scratch_each);
}

void ft_attention_forward(struct ft_exec *exec, const struct ft_attention *at, const float *q, const float *k,
                          const float *v, float *o, float *row_max, float *row_sum, void *scratch) {
    struct job job = {.at = at, .isa = isa_of(exec), .kernels = ft_kernels_of(exec), .q = q, .k = k, .v = v, .out = o, .row_max = row_max, .row_sum = row_sum,
                      .scratch = scratch, .scratch_each = scratch_each(at, longest(at))};
    ft_pool_run(ft_exec_pool(exec), at->n_document * at->n_kv, forward_task, &job);
}

static void backward_task(void *arg, size_t i, unsigned worker) {
    const struct job *job = arg;
    const struct ft_attention *at = job->at;
    job->isa->backward(at, job->kernels, &at->document[i / at->n_kv], i % at->n_kv, job->q, job->k, job->v, job->o,
                               job->row_max_in, job->row_sum_in, job->d_o, job->dq, job->dk, job->dv,
                               job->scratch + worker * job->scratch_each);
}

void ft_attention_backward(struct ft_exec *exec, const struct ft_attention *at, const float *q, const float *k,
                           const float *v, const float *o, const float *row_max, const float *row_sum,
                           const float *d_o, float *dq, float *dk, float *dv, void *scratch) {
    struct job job = {.at = at, .isa = isa_of(exec), .kernels = ft_kernels_of(exec), .q = q, .k = k, .v = v, .o = o, .d_o = d_o, .row_max_in = row_max,
                      .row_sum_in = row_sum, .dq = dq, .dk = dk, .dv = dv, .scratch = scratch,
                      .scratch_each = scratch_each(at, longest(at))};
    ft_pool_run(ft_exec_pool(exec), at->n_document * at->n_kv, backward_task, &job);
}
