/* SPDX-License-Identifier: MIT
 *
 * The driver of the matrix product: cuts it into register tiles and shares them out. B is packed into panels
 * of nr columns (by all threads, or beforehand), A into panels of mr rows by the thread that needs them; a
 * task is a block of C. K is cut into blocks too: between them a chain's value rests in C, or in memory of
 * the exec where C cannot hold it. None of this can change a bit: every chain has the same terms in the same
 * order (ft-num-1, rule 2).
 */
#include "gemm.h"

#include "exec_internal.h"
#include "gemv.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>

enum {
    SMALL = 1 << 16,       /* multiplications below which threads are not worth waking */
    TASK = 1 << 18,        /* multiplications that make a task worth claiming */
    TASKS_EACH = 4,        /* tasks a thread, so that a late one can be made up for */
    IN_PLACE_COLUMNS = 64, /* products so narrow do not pay for packing A, nor FT_GEMM_IN_PLACE rows for packing B */
    NARROW_KC = 1024,
    A_TERMS = 2048, /* of a packed block of A */
    PACK_PANELS = 4,
    PACK_K = 512,
    PACK_ROWS = 64, /* of B at a time across the panels of a task: whole lines of a row-major B */
    PACK_A_TERMS = 16, /* of an A that is `crowded`, at a time across its panels */
};

/* A product while it runs; m0..k1 are the present chunk of it, everything else belongs to the whole. */
struct job {
    struct ft_exec *exec;
    const struct ft_gemm_isa *isa;
    struct ft_product p;
    size_t c_row, c_col, bias_row, bias_col; /* strides; exchanged when the product runs transposed */
    ft_tile_fn *const *tiles;
    size_t mr, nr, kc;
    bool pack_a, b_in_place; /* b_in_place: row-major, read where it lies but for its last columns */
    size_t m0, m1, n0, n1, k0, k1;
    size_t mb, nb, n_blocks; /* of the chunk: blocks of mb x nb are tasks, those of the same rows behind each other */
    float *partial;          /* chain (i, j) between chunks: partial[(i - m0) * ld_partial + j - n0] */
    size_t ld_partial;
    size_t pack_tasks; /* tasks that pack B come first; the others wait for them */
    atomic_size_t packed;
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }
static size_t round_up(size_t a, size_t b) { return ceil_div(a, b) * b; }

static const unsigned char *operand_pointer(const struct ft_operand *x, size_t row, size_t col) {
    return (const unsigned char *)x->data + (row * x->row_stride + col * x->col_stride) * ft_dtype_size(x->dtype);
}

/* May kernels read it where it lies? */
static bool in_place(const struct ft_operand *x) {
    return x->dtype == FT_F32 && (uintptr_t)x->data % sizeof(float) == 0;
}

/* --- scratch of a thread: rows of A, a widened panel of B, a tile, a strip of C------------------------------- */

static size_t a_floats(const struct ft_gemm_isa *isa) { return round_up(isa->mc * A_TERMS + FT_PACK_SLACK, 16); }
static size_t b_floats(const struct ft_gemm_isa *isa) { return round_up(isa->kc * isa->nr, 16); }

size_t ft_gemm_scratch(const struct ft_gemm_isa *isa) {
    return a_floats(isa) + b_floats(isa) + FT_TILE_FLOATS + isa->mc * isa->strip;
}

static float *a_scratch(const struct job *job, unsigned worker) {
    return job->exec->scratch + worker * job->exec->scratch_each;
}
static float *b_scratch(const struct job *job, unsigned worker) {
    return a_scratch(job, worker) + a_floats(job->isa);
}
static float *tile_scratch(const struct job *job, unsigned worker) {
    return b_scratch(job, worker) + b_floats(job->isa);
}
static float *strip_scratch(const struct job *job, unsigned worker) {
    return tile_scratch(job, worker) + FT_TILE_FLOATS;
}

/* --- one tile -------------------------------------------------------------------------------------------- */

/* Where a tile's chains come from and go to: the beginning and the end of the product are C; between chunks
 * they rest in job->partial, between blocks of K in the thread's strip. */
enum rest { IN_C, IN_PARTIAL, IN_STRIP };

struct place {
    size_t i, j, rows, columns;
    enum rest from, to;
    float *strip; /* chain (i, j), at the strip's own stride */
};

struct resting {
    float *at;
    size_t row, col; /* strides */
};

static struct resting resting(const struct job *job, const struct place *at, enum rest rest) {
    switch (rest) {
    case IN_PARTIAL:
        return (struct resting){job->partial + (at->i - job->m0) * job->ld_partial + (at->j - job->n0), job->ld_partial, 1};
    case IN_STRIP: return (struct resting){at->strip, job->isa->strip, 1};
    default: return (struct resting){job->p.c + at->i * job->c_row + at->j * job->c_col, job->c_row, job->c_col};
    }
}

/* Chains that begin with +0 come from nowhere. */
static bool starts_empty(const struct job *job, const struct place *at) {
    return at->from == IN_C && !job->p.accumulate;
}

static void finish_element(const struct job *job, size_t i, size_t j, float value) {
    const struct ft_product *p = &job->p;
    if (p->scale != 1.0f) value *= p->scale;
    if (p->bias) value += p->bias[i * job->bias_row + j * job->bias_col];
    if (p->add) value += p->add[job->c_col == 1 ? i * p->ld_add + j : j * p->ld_add + i];
    p->c[i * job->c_row + j * job->c_col] = value;
}

/* A tile at the right edge, or at either end of a transposed product: computed aside, its true columns copied. */
static void run_tile_aside(const struct job *job, ft_tile_fn *run, struct ft_tile *t, const struct place *at,
                           size_t width, float *aside) {
    struct resting in = resting(job, at, at->from), out = resting(job, at, at->to);
    bool empty = starts_empty(job, at);
    for (size_t i = 0; i < at->rows && !empty; i++) {
        for (size_t j = 0; j < at->columns; j++) aside[i * width + j] = in.at[i * in.row + j * in.col];
        for (size_t j = at->columns; j < width; j++) aside[i * width + j] = 0.0f;
    }
    t->in = empty ? NULL : aside;
    t->out = aside;
    t->ld_in = t->ld_out = width;
    t->scale = 1.0f;
    t->bias = t->add = NULL;
    run(t);
    for (size_t i = 0; i < at->rows; i++)
        for (size_t j = 0; j < at->columns; j++) {
            float value = aside[i * width + j];
            if (at->to == IN_C) finish_element(job, at->i + i, at->j + j, value);
            else out.at[i * out.row + j * out.col] = value;
        }
}

/* t has its operands; what it reads and writes of C is decided here. */
static void run_tile(const struct job *job, ft_tile_fn *run, struct ft_tile *t, const struct place *at, size_t width,
                     float *aside) {
    const struct ft_product *p = &job->p;
    bool reads_c = at->from == IN_C && p->accumulate, writes_c = at->to == IN_C;
    if (at->columns < width || (job->c_col != 1 && (reads_c || writes_c))) {
        run_tile_aside(job, run, t, at, width, aside);
        return;
    }
    struct resting in = resting(job, at, at->from), out = resting(job, at, at->to);
    t->in = starts_empty(job, at) ? NULL : in.at;
    t->ld_in = in.row;
    t->out = out.at;
    t->ld_out = out.row;
    t->scale = writes_c ? p->scale : 1.0f;
    t->bias = writes_c && p->bias ? p->bias + at->j : NULL;
    t->add = writes_c && p->add ? p->add + at->i * p->ld_add + at->j : NULL;
    t->ld_add = p->ld_add;
    run(t);
}

/* --- one block of C -------------------------------------------------------------------------------------- */

/* Rows [i0, i1) x columns [j0, j1), terms [k0, k1), or all terms of the product's `more`. */
struct block {
    size_t i0, i1, j0, j1, k0, k1;
    bool more;
};

static size_t padded_rows(const struct job *job, const struct block *b) { return round_up(b->i1 - b->i0, job->mr); }

/* A column-major A whose columns begin in the same few sets of a cache. */
static bool crowded(const struct ft_operand *a) {
    return a->row_stride == 1 && a->col_stride * ft_dtype_size(a->dtype) % 4096 == 0;
}

/* Rows [i0, i1) of A, all terms of the chunk, block of K after block of K. */
static void pack_a(const struct job *job, const struct block *b, float *out) {
    const struct ft_operand *a = &job->p.a;
    for (size_t k = job->k0; k < job->k1; k += job->kc) {
        size_t terms = least(job->kc, job->k1 - k), at_once = crowded(a) ? PACK_A_TERMS : terms;
        for (size_t t = 0; t < terms; t += at_once)
            for (size_t i = b->i0; i < b->i1; i += job->mr)
                job->isa->pack(out + (i - b->i0) * terms + t * job->mr, job->mr, least(job->mr, b->i1 - i),
                               least(at_once, terms - t), operand_pointer(a, i, k + t), a->dtype, a->row_stride,
                               a->col_stride);
        out += padded_rows(job, b) * terms;
    }
}

/* A's part of the tile whose first row is i. */
static void place_a(const struct job *job, const struct block *b, size_t i, const float *packed, struct ft_tile *t) {
    if (b->more) {
        const struct ft_operand *a = &job->p.more.a;
        t->a = (const float *)a->data + i * a->row_stride;
        t->a_row = a->row_stride;
        t->a_step = a->col_stride;
    } else if (job->pack_a) {
        t->a = packed + (b->k0 - job->k0) * padded_rows(job, b) + (i - b->i0) * (b->k1 - b->k0);
        t->a_row = 1;
        t->a_step = job->mr;
    } else {
        t->a = (const float *)job->p.a.data + i * job->p.a.row_stride + b->k0 * job->p.a.col_stride;
        t->a_row = job->p.a.row_stride;
        t->a_step = job->p.a.col_stride;
    }
}

/* The rows [k0, k1) of B's panel at column j. */
static const void *panel_of_b(const struct job *job, const struct block *b, size_t j) {
    const struct ft_packed *packed = job->p.packed;
    if (packed)
        return (const unsigned char *)packed->data + (j * packed->k + b->k0 * job->nr) * ft_dtype_size(packed->dtype);
    if (job->b_in_place) return operand_pointer(&job->p.b, b->k0, j);
    return job->exec->shared + (j - job->n0) * (job->k1 - job->k0) + (b->k0 - job->k0) * job->nr;
}

/* The panel at column j of a B whose transpose was packed: each nr x nr block of it lies in one piece there. */
static void turn_panel(const struct job *job, const struct block *b, size_t j, float *out) {
    const struct ft_packed *packed = job->p.packed;
    size_t nr = job->nr, size = ft_dtype_size(packed->dtype), columns = least(nr, job->p.n - j);
    for (size_t k = b->k0, end; k < b->k1; k = end) {
        end = least((k / nr + 1) * nr, b->k1);
        const unsigned char *in = (const unsigned char *)packed->data + (k / nr * packed->k * nr + j * nr + k % nr) * size;
        job->isa->pack(out + (k - b->k0) * nr, nr, columns, end - k, in, packed->dtype, nr, 1);
    }
}

/* B's part of the tiles of the panel at column j of `more`. */
static ft_tile_fn *const *place_more(const struct job *job, size_t j, float *scratch, struct ft_tile *t) {
    const struct ft_operand *b = &job->p.more.b;
    job->isa->pack(scratch, job->nr, least(job->nr, job->p.n - j), job->p.more.k, operand_pointer(b, 0, j), b->dtype,
                   b->col_stride, b->row_stride);
    t->b = scratch;
    t->b_step = job->nr;
    return job->isa->strided;
}

/* B's part of the tiles of the panel at column j; returns the kernels for them. scratch: for a panel in BF16,
 * widened once when more than one tile will read it, and for the last columns of a B in place. */
static ft_tile_fn *const *place_b(const struct job *job, const struct block *b, size_t j, float *scratch,
                                  struct ft_tile *t) {
    const struct ft_packed *packed = job->p.packed;
    const struct ft_operand *lying = &job->p.b;
    size_t terms = b->k1 - b->k0;
    if (b->more) return place_more(job, j, scratch, t);
    t->b_step = job->nr;
    if (job->p.packed_transposed) {
        turn_panel(job, b, j, scratch);
        t->b = scratch;
        return job->tiles;
    }
    t->b = panel_of_b(job, b, j);
    t->b_panel = job->nr * (packed ? packed->k : job->k1 - job->k0);
    if (packed && packed->dtype == FT_BF16) {
        if (b->i1 - b->i0 <= job->isa->bf16_rows) return job->isa->strided_bf16;
        job->isa->widen(scratch, t->b, terms * job->nr);
        t->b = scratch;
    } else if (job->b_in_place && job->p.n - j >= job->nr) {
        t->b_step = lying->row_stride;
        t->b_panel = job->nr;
    } else if (job->b_in_place) {
        job->isa->pack(scratch, job->nr, job->p.n - j, terms, t->b, FT_F32, 1, lying->row_stride);
        t->b = scratch;
    }
    return job->tiles;
}

/* Where the next panel is in memory, a line at a time, `run` lines `step` apart and then as many a `jump` further:
 * each tile fetches its share into L2. */
struct ahead {
    const char *line;
    size_t step, run, jump, each, at;
};

static struct ahead look_ahead(const struct job *job, const struct block *b, size_t j) {
    const struct ft_packed *packed = job->p.packed;
    size_t terms = b->k1 - b->k0, tiles = ceil_div(b->i1 - b->i0, job->mr), nr = job->nr;
    size_t next = j + nr < b->j1 ? j + nr : j, size = packed ? ft_dtype_size(packed->dtype) : sizeof(float);
    if (b->more) return (struct ahead){.run = 1};
    if (packed && job->p.packed_transposed) {
        size_t run = ceil_div(nr * nr * size, FT_ALIGN);
        return (struct ahead){.line = (const char *)packed->data + (b->k0 / nr * packed->k * nr + next * nr) * size,
                              .step = FT_ALIGN, .run = run, .jump = packed->k * nr * size - (run - 1) * FT_ALIGN,
                              .each = ceil_div(ceil_div(terms, nr) * run, tiles)};
    }
    struct ahead ahead = {.line = panel_of_b(job, b, next), .step = FT_ALIGN, .run = SIZE_MAX};
    if (job->b_in_place) ahead.step = job->p.b.row_stride * sizeof(float), ahead.each = ceil_div(terms, tiles);
    else ahead.each = ceil_div(terms * nr * size, tiles * FT_ALIGN);
    return ahead;
}

static void fetch(struct ahead *ahead) {
    for (size_t n = 0; n < ahead->each; n++) {
        __builtin_prefetch(ahead->line, 0, 2);
        bool more = ++ahead->at < ahead->run;
        ahead->line += more ? ahead->step : ahead->jump;
        if (!more) ahead->at = 0;
    }
}

/* Up to FT_WIDE_ROWS rows of C: several panels a tile, so that enough chains are in flight. Returns the first
 * column that is left over. */
static size_t run_wide(const struct job *job, const struct block *b, const float *packed_a, struct ft_tile *t,
                       struct place *at, float *strip, float *aside) {
    size_t rows = b->i1 - b->i0, j = b->j0;
    if (job->tiles == job->isa->narrow || rows > FT_WIDE_ROWS || b->more || job->p.packed_transposed) return j;
    bool narrow_b = job->p.packed && job->p.packed->dtype == FT_BF16;
    ft_tile_fn *run = narrow_b ? job->isa->wide_bf16[rows] : job->isa->wide[rows];
    size_t width = job->isa->wide_panels[rows] * job->nr;
    place_a(job, b, b->i0, packed_a, t);
    for (; j + width <= b->j1; j += width) {
        (void)place_b(job, b, j, NULL, t);
        at->i = b->i0;
        at->j = j;
        at->strip = strip + (j - b->j0);
        at->rows = rows;
        at->columns = width;
        run_tile(job, run, t, at, width, aside);
    }
    return j;
}

static struct place rests(const struct job *job, const struct block *b) {
    bool last = b->k1 == job->p.k;
    if (b->more) return (struct place){.from = IN_STRIP, .to = IN_C};
    return (struct place){.from = b->k0 == 0 ? IN_C : b->k0 == job->k0 ? IN_PARTIAL : IN_STRIP,
                          .to = last && !job->p.more.k ? IN_C : b->k1 == job->k1 && !last ? IN_PARTIAL : IN_STRIP};
}

static void run_block(const struct job *job, const struct block *b, unsigned worker) {
    const float *packed_a = a_scratch(job, worker);
    float *aside = tile_scratch(job, worker);
    struct ft_tile t = {.k = b->more ? job->p.more.k : b->k1 - b->k0};
    struct place at = rests(job, b);
    float *strip = strip_scratch(job, worker);
    for (size_t j = run_wide(job, b, packed_a, &t, &at, strip, aside); j < b->j1; j += job->nr) {
        ft_tile_fn *const *tiles = place_b(job, b, j, b_scratch(job, worker), &t);
        at.j = j;
        at.columns = least(job->nr, b->j1 - j);
        struct ahead ahead = look_ahead(job, b, j);
        for (size_t i = b->i0; i < b->i1; i += job->mr) {
            fetch(&ahead);
            at.i = i;
            at.strip = strip + (i - b->i0) * job->isa->strip + (j - b->j0);
            at.rows = least(job->mr, b->i1 - i);
            place_a(job, b, i, packed_a, &t);
            run_tile(job, tiles[at.rows], &t, &at, job->nr, aside);
        }
    }
}

/* --- tasks ----------------------------------------------------------------------------------------------- */

/* Packs b(k, j) for k in [k0, k1) and the panels that begin in [j0, j1) into panels of `terms` rows, the
 * chunk's first row and column being (k_origin, j_origin). */
struct packing {
    const struct ft_gemm_isa *isa;
    const struct ft_operand *b;
    float *out;
    size_t nr, n, terms, k_origin, j_origin;
};

static void pack_b(const struct packing *job, size_t k0, size_t k1, size_t j0, size_t j1) {
    for (size_t k = k0; k < k1; k += PACK_ROWS)
        for (size_t j = j0; j < j1; j += job->nr)
            job->isa->pack(job->out + (j - job->j_origin) * job->terms + (k - job->k_origin) * job->nr, job->nr,
                           least(job->nr, job->n - j), least(PACK_ROWS, k1 - k), operand_pointer(job->b, k, j),
                           job->b->dtype, job->b->col_stride, job->b->row_stride);
}

static void pack_task(struct job *job, size_t index) {
    struct packing packing = {job->isa, &job->p.b, job->exec->shared, job->nr, job->n1,
                              job->k1 - job->k0, job->k0, job->n0};
    size_t pieces = ceil_div(job->k1 - job->k0, PACK_K), columns = PACK_PANELS * job->nr;
    size_t j = job->n0 + index / pieces * columns, k = job->k0 + index % pieces * PACK_K;
    pack_b(&packing, k, least(k + PACK_K, job->k1), j, least(j + columns, job->n1));
    atomic_fetch_add_explicit(&job->packed, 1, memory_order_release);
}

/* Packing tasks were claimed before any task that waits here, so they are done or running. */
static void await_packing(struct job *job) {
    for (unsigned i = 0; atomic_load_explicit(&job->packed, memory_order_acquire) < job->pack_tasks; i++)
        if (i > 1000) sched_yield();
}

/* Does the thread's scratch hold the packed rows from i0 on, from its last task? If not, it will now. */
static bool holds_rows(const struct job *job, size_t i0, unsigned worker) {
    struct ft_rows_held *held = &job->exec->held[worker];
    bool holds = held->chunk == job->exec->chunk && held->row == i0;
    *held = (struct ft_rows_held){job->exec->chunk, i0};
    return holds;
}

/* Rows [i0, i1), columns [j0, j1): a strip of columns at a time, so that its part of C stays in L2 from one
 * block of K to the next. */
static void run_task(struct job *job, size_t i0, size_t i1, size_t j0, size_t j1, unsigned worker) {
    struct block b = {.i0 = i0, .i1 = i1};
    if (job->pack_a && !holds_rows(job, i0, worker)) pack_a(job, &b, a_scratch(job, worker));
    for (b.j0 = j0; b.j0 < j1; b.j0 = b.j1) {
        b.j1 = least(b.j0 + job->isa->strip, j1);
        b.k0 = job->k0;
        do { /* once even without terms: C is written */
            b.k1 = least(b.k0 + job->kc, job->k1);
            run_block(job, &b, worker);
            b.k0 = b.k1;
        } while (b.k0 < job->k1);
        b.more = job->p.more.k && job->k1 == job->p.k;
        if (b.more) run_block(job, &b, worker);
        b.more = false;
    }
}

static void task(void *arg, size_t index, unsigned worker) {
    struct job *job = arg;
    if (index < job->pack_tasks) {
        pack_task(job, index);
        return;
    }
    await_packing(job);
    index -= job->pack_tasks;
    size_t i = job->m0 + index / job->n_blocks * job->mb, j = job->n0 + index % job->n_blocks * job->nb;
    run_task(job, i, least(i + job->mb, job->m1), j, least(j + job->nb, job->n1), worker);
}

/* Cuts the chunk into m_blocks x n_blocks tasks, near enough equal; returns their number. */
static size_t partition(struct job *job, size_t mc) {
    size_t m = job->m1 - job->m0, n = job->n1 - job->n0, k = job->k1 - job->k0;
    size_t threads = ft_exec_threads(job->exec), m_blocks = ceil_div(m, mc), n_blocks = 1;
    double worth = 1.0 + (double)m * (double)n * (double)k / TASK;
    size_t wanted = threads == 1 ? 1 : worth < (double)(threads * TASKS_EACH) ? (size_t)worth : threads * TASKS_EACH;
    if (m_blocks < wanted) n_blocks = ceil_div(wanted, m_blocks);
    else if (m_blocks < 4 * wanted) m_blocks = round_up(m_blocks, threads);
    job->mb = round_up(ceil_div(m, m_blocks), job->mr);
    job->nb = round_up(ceil_div(n, n_blocks), job->nr);
    job->n_blocks = ceil_div(n, job->nb);
    return ceil_div(m, job->mb) * job->n_blocks;
}

static void run_chunk(struct job *job, bool pack) {
    size_t m = job->m1 - job->m0, n = job->n1 - job->n0, k = job->k1 - job->k0;
    size_t tasks = partition(job, job->isa->mc / job->mr * job->mr);
    job->pack_tasks = 0;
    job->exec->chunk++;
    atomic_store_explicit(&job->packed, 0, memory_order_relaxed);
    if (pack && k) job->pack_tasks = ceil_div(n, PACK_PANELS * job->nr) * ceil_div(k, PACK_K);
    tasks += job->pack_tasks;
    if ((double)m * (double)n * (double)k < SMALL) {
        for (size_t i = 0; i < tasks; i++) task(job, i, 0);
    } else {
        ft_pool_run(ft_exec_pool(job->exec), tasks, task, job);
    }
}

/* --- the plan -------------------------------------------------------------------------------------------- */

/* C' = B' A': then a long operand whose rows are adjacent in memory is the one read by vectors. */
static void exchange(struct job *job) {
    struct ft_product *p = &job->p;
    struct ft_operand a = p->a;
    p->a = (struct ft_operand){p->b.data, p->b.dtype, p->b.col_stride, p->b.row_stride};
    p->b = (struct ft_operand){a.data, a.dtype, a.col_stride, a.row_stride};
    size_t m = p->m;
    p->m = p->n;
    p->n = m;
    job->c_row = 1;
    job->c_col = p->ldc;
    job->bias_row = 1;
    job->bias_col = 0;
}

/* Few columns, and A not readable by rows: the transposed product has few rows, and A's columns as vectors. */
static bool better_exchanged(const struct job *job) {
    const struct ft_product *p = &job->p;
    if (p->packed || p->ldc == 1) return false;
    if (p->n <= job->isa->nr && p->m > 4 * p->n) return p->a.row_stride == 1 && p->a.col_stride != 1;
    /* few rows, and B not readable by columns: B's rows become the ones broadcast */
    if (p->m <= job->isa->nr && p->n > 4 * p->m) return p->b.row_stride == 1 && p->b.col_stride != 1;
    return false;
}

static void choose_tiles(struct job *job) {
    const struct ft_gemm_isa *isa = job->isa;
    const struct ft_product *p = &job->p;
    bool narrow = !p->packed && p->n <= isa->narrow_nr;
    job->mr = narrow ? isa->narrow_mr : isa->mr;
    job->nr = narrow ? isa->narrow_nr : isa->nr;
    job->b_in_place = !p->packed && !narrow && p->m <= FT_GEMM_IN_PLACE && in_place(&p->a) && in_place(&p->b) &&
                      p->b.col_stride == 1;
    job->pack_a = !in_place(&p->a) || (p->m > job->mr && p->n > IN_PLACE_COLUMNS && !job->b_in_place);
    job->tiles = narrow ? isa->narrow : job->pack_a ? isa->packed : isa->strided;
    size_t kc = isa->kc;
    if (!job->pack_a && !p->packed && !job->b_in_place) kc = NARROW_KC;
    else if (!job->pack_a && p->packed && !p->packed_transposed && p->m <= isa->bf16_rows)
        kc = p->k; /* nothing goes through scratch */
    job->kc = p->k ? ceil_div(p->k, ceil_div(p->k, kc)) : 1;
    if (p->packed_transposed && round_up(job->kc, job->nr) <= kc) job->kc = round_up(job->kc, job->nr); /* whole blocks */
    if (!job->pack_a) job->mr = ceil_div(p->m, ceil_div(p->m, job->mr)); /* 4 + 4 rows are faster than 6 + 2 */
}

/* Chunks: what the exec's memory can hold of B, and of chains that cannot rest in C. */
struct chunks {
    size_t m, n, k;
};

static struct chunks choose_chunks(struct job *job, bool rest_in_c) {
    const struct ft_product *p = &job->p;
    struct chunks c = {p->m, p->n, p->k};
    bool shared = !p->packed && !job->b_in_place;
    if (shared) {
        size_t some = least(p->n, 16 * job->nr);
        if (p->k > FT_GEMM_SHARED / round_up(some, job->nr)) {
            c.n = least(p->n, 64 * job->nr);
            c.k = FT_GEMM_SHARED / round_up(c.n, job->nr) / job->kc * job->kc;
        }
    }
    if (job->pack_a && c.k > A_TERMS) {
        size_t blocks = ceil_div(c.k, job->kc);
        c.k = least(ceil_div(blocks, ceil_div(c.k, A_TERMS)), A_TERMS / job->kc) * job->kc;
    }
    if (shared && c.k) c.n = least(c.n, FT_GEMM_SHARED / c.k / job->nr * job->nr);
    if (!rest_in_c && c.k < p->k) {
        c.n = least(c.n, 64 * job->nr);
        c.m = least(p->m, FT_GEMM_PARTIAL / c.n / job->mr * job->mr);
    }
    return c;
}

static void run_product(struct job *job) {
    const struct ft_product *p = &job->p;
    bool rest_in_c = job->c_col == 1 && p->add != p->c;
    struct chunks chunk = choose_chunks(job, rest_in_c);
    for (size_t n = 0; n < p->n; n += chunk.n)
        for (size_t m = 0; m < p->m; m += chunk.m) {
            job->n0 = n;
            job->n1 = least(n + chunk.n, p->n);
            job->m0 = m;
            job->m1 = least(m + chunk.m, p->m);
            job->partial = rest_in_c ? p->c + m * p->ldc + n : job->exec->partial;
            job->ld_partial = rest_in_c ? p->ldc : chunk.n;
            job->k0 = 0;
            do { /* once even without terms: C is written */
                job->k1 = least(job->k0 + chunk.k, p->k);
                run_chunk(job, !p->packed && !job->b_in_place && (m == 0 || chunk.k < p->k));
                job->k0 = job->k1;
            } while (job->k0 < p->k);
        }
}

/* Tiles go on with `more` where they stand; few rows or columns are better off with a second product. */
static bool goes_on(const struct job *job) {
    const struct ft_product *p = &job->p;
    return p->m > FT_WIDE_ROWS && p->n > job->isa->nr && p->more.k <= job->isa->kc && in_place(&p->more.a) &&
           !better_exchanged(job);
}

static void run_apart(struct ft_exec *exec, const struct ft_product *product) {
    struct ft_product first = *product, second = *product;
    assert(product->add != product->c);
    first.more.k = 0;
    first.scale = 1.0f;
    first.bias = first.add = NULL;
    second.k = product->more.k;
    second.a = product->more.a;
    second.b = product->more.b;
    second.packed = NULL;
    second.packed_transposed = false;
    second.more.k = 0;
    second.accumulate = true;
    ft_gemm(exec, &first);
    ft_gemm(exec, &second);
}

void ft_gemm(struct ft_exec *exec, const struct ft_product *product) {
    if (product->m == 0 || product->n == 0) return;
    struct job job = {.exec = exec, .isa = exec->gemm, .p = *product, .c_row = product->ldc, .c_col = 1, .bias_col = 1};
    if (product->more.k && !goes_on(&job)) {
        run_apart(exec, product);
        return;
    }
    if (ft_gemv(exec, product)) return;
    if (job.p.scale == 0.0f) job.p.scale = 1.0f;
    if (better_exchanged(&job)) exchange(&job);
    choose_tiles(&job);
    run_product(&job);
}

/* --- packing beforehand ---------------------------------------------------------------------------------- */

size_t ft_packed_size(const struct ft_exec *exec, size_t k, size_t n, enum ft_dtype dtype) {
    size_t columns = round_up(n, exec->gemm->nr), count;
    return ft_size_mul(k, columns, &count) ? ft_arena_cost(count, ft_dtype_size(dtype)) : SIZE_MAX;
}

struct prepacking {
    struct packing packing;
    const struct ft_packed *packed;
};

/* BF16 stays as it is. */
static void copy_panel(const struct ft_packed *packed, const struct ft_operand *b, size_t nr, size_t j) {
    uint16_t *out = (uint16_t *)packed->data + j * packed->k;
    size_t columns = least(nr, packed->n - j);
    for (size_t k = 0; k < packed->k; k++, out += nr) {
        for (size_t x = 0; x < columns; x++) memcpy(out + x, operand_pointer(b, k, j + x), sizeof *out);
        for (size_t x = columns; x < nr; x++) out[x] = 0;
    }
}

static void prepack_task(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct prepacking *job = arg;
    size_t nr = job->packing.nr, j = index * PACK_PANELS * nr, end = least(j + PACK_PANELS * nr, job->packed->n);
    if (job->packed->dtype == FT_F32) {
        pack_b(&job->packing, 0, job->packed->k, j, end);
    } else {
        for (; j < end; j += nr) copy_panel(job->packed, job->packing.b, nr, j);
    }
}

void ft_pack(struct ft_exec *exec, struct ft_packed *packed, const struct ft_operand *b) {
    size_t nr = exec->gemm->nr;
    packed->width = nr;
    struct prepacking job = {{exec->gemm, b, packed->data, nr, packed->n, packed->k, 0, 0}, packed};
    ft_pool_run(ft_exec_pool(exec), ceil_div(packed->n, PACK_PANELS * nr), prepack_task, &job);
}
