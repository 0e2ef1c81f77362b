/* SPDX-License-Identifier: MIT */
#include "exec_internal.h"

#include "gemm.h"

#include <stdlib.h>

static enum ft_status take_memory(struct ft_exec *exec, struct ft_error *error) {
    exec->scratch_each = ft_gemm_scratch(exec->gemm);
    size_t threads = ft_pool_threads(exec->pool), each = exec->scratch_each * sizeof(float);
    size_t size = (FT_GEMM_SHARED + FT_GEMM_PARTIAL) * sizeof(float) + threads * each +
                  ft_arena_cost(threads, sizeof *exec->held);
    enum ft_status status = ft_arena_init(&exec->arena, size, error);
    if (status) return status;
    exec->shared = ft_arena_take(&exec->arena, FT_GEMM_SHARED, sizeof(float));
    exec->partial = ft_arena_take(&exec->arena, FT_GEMM_PARTIAL, sizeof(float));
    exec->scratch = ft_arena_take(&exec->arena, threads, each);
    exec->held = ft_arena_take(&exec->arena, threads, sizeof *exec->held);
    return FT_OK;
}

enum ft_status ft_exec_new_isa(struct ft_exec **out, unsigned threads, enum ft_isa isa, struct ft_error *error) {
    if (!ft_isa_available(isa))
        return ft_fail(error, FT_USAGE, "instruction set %s: this machine cannot run it", ft_isa_name(isa));
    struct ft_exec *exec;
    enum ft_status status = ft_alloc(&exec, 1, sizeof *exec, error);
    if (status) return status;
    exec->isa = isa;
    exec->gemm = ft_gemm_isa(isa);
    status = ft_pool_new(&exec->pool, threads, error);
    if (!status) status = take_memory(exec, error);
    if (status) {
        ft_exec_free(exec);
        return status;
    }
    *out = exec;
    return FT_OK;
}

enum ft_status ft_exec_new(struct ft_exec **exec, unsigned threads, struct ft_error *error) {
    enum ft_isa isa;
    enum ft_status status = ft_isa_select(&isa, error);
    return status ? status : ft_exec_new_isa(exec, threads, isa, error);
}

void ft_exec_free(struct ft_exec *exec) {
    if (!exec) return;
    ft_pool_free(exec->pool);
    ft_arena_release(&exec->arena);
    free(exec);
}

enum ft_isa ft_exec_isa(const struct ft_exec *exec) { return exec->isa; }
unsigned ft_exec_threads(const struct ft_exec *exec) { return ft_pool_threads(exec->pool); }
size_t ft_exec_size(const struct ft_exec *exec, size_t largest) {
    size_t packed = largest < FT_GEMM_SHARED ? largest : FT_GEMM_SHARED;
    return (packed + ft_exec_threads(exec) * exec->scratch_each) * sizeof(float);
}
struct ft_pool *ft_exec_pool(const struct ft_exec *exec) { return exec->pool; }
