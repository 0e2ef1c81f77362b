/* SPDX-License-Identifier: MIT
 *
 * Where kernels run: a thread pool, the instruction set chosen at start-up, and per-thread scratch memory,
 * all taken once. Every kernel of gemm.h, attention.h and rows.h takes one of these. What a kernel computes
 * is the written scalar specification (ft-numerics(7)); the ISA, the thread count and the partition of work
 * change only the time.
 */
#ifndef FT_EXEC_H
#define FT_EXEC_H

#include "ft/cpu.h"
#include "ft/error.h"
#include "ft/pool.h"

struct ft_exec;

/* threads 0: the processors this process may use. ISA by ft_isa_select (FT_CPU). *exec is owned by the
 * caller; free with ft_exec_free (NULL is fine). */
enum ft_status ft_exec_new(struct ft_exec **exec, unsigned threads, struct ft_error *error);
/* As ft_exec_new with the ISA given: for tests that compare variants in one process. */
enum ft_status ft_exec_new_isa(struct ft_exec **exec, unsigned threads, enum ft_isa isa, struct ft_error *error);
void ft_exec_free(struct ft_exec *exec);

enum ft_isa ft_exec_isa(const struct ft_exec *exec);
unsigned ft_exec_threads(const struct ft_exec *exec);
/* Bytes of scratch that products use, of which the largest has so many numbers in its second factor. */
size_t ft_exec_size(const struct ft_exec *exec, size_t largest);
struct ft_pool *ft_exec_pool(const struct ft_exec *exec);

#endif
