/* SPDX-License-Identifier: MIT */
#include "ft/exec.h"

#include "ft/memory.h"

#include <stdlib.h>

struct ft_exec {
    struct ft_pool *pool;
    enum ft_isa isa;
};

enum ft_status ft_exec_new_isa(struct ft_exec **out, unsigned threads, enum ft_isa isa, struct ft_error *error) {
    if (!ft_isa_available(isa))
        return ft_fail(error, FT_USAGE, "instruction set %s: this machine cannot run it", ft_isa_name(isa));
    struct ft_exec *exec;
    enum ft_status status = ft_alloc(&exec, 1, sizeof *exec, error);
    if (status) return status;
    exec->isa = isa;
    status = ft_pool_new(&exec->pool, threads, error);
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
    free(exec);
}

enum ft_isa ft_exec_isa(const struct ft_exec *exec) { return exec->isa; }
unsigned ft_exec_threads(const struct ft_exec *exec) { return ft_pool_threads(exec->pool); }
struct ft_pool *ft_exec_pool(const struct ft_exec *exec) { return exec->pool; }
