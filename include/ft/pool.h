/* SPDX-License-Identifier: MIT
 *
 * A fixed set of threads that share out numbered tasks. Tasks own disjoint outputs and never combine
 * floating-point numbers across tasks, so the number of threads and the order of tasks cannot change a bit.
 */
#ifndef FT_POOL_H
#define FT_POOL_H

#include "ft/error.h"

#include <stddef.h>

struct ft_pool;

#define FT_POOL_MAX 256u

/* Starts threads-1 workers (the caller is worker 0); threads 0 means the processors this process may use.
 * Every thread has the floating-point environment of ft_fpenv_set. Workers of a pool as large as the set of processors
 * are bound to one each; the caller's own set is as before. FT_USAGE: too many threads; FT_NOMEM: no memory, or no
 * thread. *pool is the caller's: free it with ft_pool_free. */
enum ft_status ft_pool_new(struct ft_pool **pool, unsigned threads, struct ft_error *error);

unsigned ft_pool_threads(const struct ft_pool *pool);

/* Runs task(arg, i, worker) for every i < count, worker < ft_pool_threads, and returns when all are done.
 * Must not be called from inside a task. Allocates nothing. */
void ft_pool_run(struct ft_pool *pool, size_t count, void (*task)(void *arg, size_t index, unsigned worker),
                 void *arg);

void ft_pool_free(struct ft_pool *pool); /* NULL is fine */

#endif
