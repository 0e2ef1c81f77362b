/* SPDX-License-Identifier: MIT
 *
 * A block of a matrix product by register tiles: packs rows of A, makes B's panels ready, and keeps chains
 * where they can rest between blocks of K.
 */
#include "gemm_job.h"

enum { PACK_TERMS = 16 }; /* of an A that is `crowded`, at a time across its panels */

/* --- scratch of a thread: rows of A, a widened panel of B, a tile, a strip of C ------------------------------ */

static size_t a_floats(const struct ft_gemm_isa *isa) {
    return round_up(isa->mc * FT_GEMM_A_TERMS + FT_PACK_SLACK, 16);
}
static size_t b_floats(const struct ft_gemm_isa *isa) { return round_up(isa->kc * isa->nr, 16); }

size_t ft_gemm_scratch(const struct ft_gemm_isa *isa) {
    return a_floats(isa) + b_floats(isa) + FT_TILE_FLOATS + isa->mc * isa->strip;
}

static float *a_scratch(const struct ft_gemm_job *job, unsigned worker) {
    return job->exec->scratch + worker * job->exec->scratch_each;
}
static float *b_scratch(const struct ft_gemm_job *job, unsigned worker) {
    return a_scratch(job, worker) + a_floats(job->isa);
}
static float *tile_scratch(const struct ft_gemm_job *job, unsigned worker) {
    return b_scratch(job, worker) + b_floats(job->isa);
}
static float *strip_scratch(const struct ft_gemm_job *job, unsigned worker) {
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

static struct resting resting(const struct ft_gemm_job *job, const struct place *at, enum rest rest) {
    switch (rest) {
    case IN_PARTIAL:
        return (struct resting){job->partial + (at->i - job->m0) * job->ld_partial + at->j - job->n0, job->ld_partial, 1};
    case IN_STRIP: return (struct resting){at->strip, job->isa->strip, 1};
    default: return (struct resting){job->p.c + at->i * job->c_row + at->j * job->c_col, job->c_row, job->c_col};
    }
}

/* Chains that begin with +0 come from nowhere. */
static bool starts_empty(const struct ft_gemm_job *job, const struct place *at) {
    return at->from == IN_C && !job->p.accumulate;
}

static void finish_element(const struct ft_gemm_job *job, size_t i, size_t j, float value) {
    const struct ft_product *p = &job->p;
    if (p->scale != 1.0f) value *= p->scale;
    if (p->bias) value += p->bias[i * job->bias_row + j * job->bias_col];
    if (p->add) value += p->add[job->c_col == 1 ? i * p->ld_add + j : j * p->ld_add + i];
    p->c[i * job->c_row + j * job->c_col] = value;
}

/* A tile at the right edge, or at either end of a transposed product: computed aside, its true columns copied. */
static void run_tile_aside(const struct ft_gemm_job *job, ft_tile_fn *run, struct ft_tile *t, const struct place *at,
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
            if (at->to == IN_C)
                finish_element(job, at->i + i, at->j + j, value);
            else
                out.at[i * out.row + j * out.col] = value;
        }
}

/* Can kernels read and write C for tiles of that place? Else they compute them aside. */
static bool direct(const struct ft_gemm_job *job, const struct place *at, size_t width) {
    bool reads_c = at->from == IN_C && job->p.accumulate, writes_c = at->to == IN_C;
    return at->columns == width && (job->c_col == 1 || !(reads_c || writes_c));
}

/* What a tile reads and writes of C. */
static void place_c(const struct ft_gemm_job *job, const struct place *at, struct ft_tile *t) {
    const struct ft_product *p = &job->p;
    struct resting in = resting(job, at, at->from), out = resting(job, at, at->to);
    bool writes_c = at->to == IN_C;
    t->in = starts_empty(job, at) ? NULL : in.at;
    t->ld_in = in.row;
    t->out = out.at;
    t->ld_out = out.row;
    t->scale = writes_c ? p->scale : 1.0f;
    t->bias = writes_c && p->bias ? p->bias + at->j : NULL;
    t->add = writes_c && p->add ? p->add + at->i * p->ld_add + at->j : NULL;
    t->ld_add = p->ld_add;
}

/* To C's part of the tile that is `rows` rows further down. */
static void go_down(struct ft_tile *t, size_t rows) {
    t->out += rows * t->ld_out;
    if (t->in) t->in += rows * t->ld_in;
    if (t->add) t->add += rows * t->ld_add;
}

/* --- one block of C -------------------------------------------------------------------------------------- */

static size_t padded_rows(const struct ft_gemm_job *job, const struct ft_gemm_block *b) {
    return round_up(b->i1 - b->i0, job->mr);
}

/* A column-major A whose columns begin in the same few sets of a cache. */
static bool crowded(const struct ft_operand *a) {
    return a->row_stride == 1 && a->col_stride * ft_dtype_size(a->dtype) % 4096 == 0;
}

/* Block of K after block of K. */
void ft_gemm_pack_a(const struct ft_gemm_job *job, const struct ft_gemm_block *b, unsigned worker) {
    float *out = a_scratch(job, worker);
    const struct ft_operand *a = &job->p.a;
    for (size_t k = job->k0; k < job->k1; k += job->kc) {
        size_t terms = least(job->kc, job->k1 - k), at_once = crowded(a) ? PACK_TERMS : terms;
        for (size_t t = 0; t < terms; t += at_once)
            for (size_t i = b->i0; i < b->i1; i += job->mr)
                job->isa->pack(out + (i - b->i0) * terms + t * job->mr, job->mr, least(job->mr, b->i1 - i),
                               least(at_once, terms - t), operand_pointer(a, i, k + t), a->dtype, a->row_stride,
                               a->col_stride);
        out += padded_rows(job, b) * terms;
    }
}

/* A's part of the block's first tile; returns how far it is to the next one's. */
static size_t place_a(const struct ft_gemm_job *job, const struct ft_gemm_block *b, const float *packed,
                      struct ft_tile *t) {
    const struct ft_operand *a = b->more ? &job->p.more.a : &job->p.a;
    if (job->pack_a && !b->more) {
        t->a = packed + (b->k0 - job->k0) * padded_rows(job, b);
        t->a_row = 1;
        t->a_step = job->mr;
        return job->mr * (b->k1 - b->k0);
    }
    t->a = (const float *)a->data + b->i0 * a->row_stride + (b->more ? 0 : b->k0) * a->col_stride;
    t->a_row = a->row_stride;
    t->a_step = a->col_stride;
    return job->mr * a->row_stride;
}

/* The rows [k0, k1) of B's panel at column j. */
static const void *panel_of_b(const struct ft_gemm_job *job, const struct ft_gemm_block *b, size_t j) {
    const struct ft_packed *packed = job->p.packed;
    if (packed)
        return (const unsigned char *)packed->data + (j * packed->k + b->k0 * job->nr) * ft_dtype_size(packed->dtype);
    if (job->b_in_place) return operand_pointer(&job->p.b, b->k0, j);
    return job->shared + (j - job->n0) * (job->k1 - job->k0) + (b->k0 - job->k0) * job->nr;
}

/* The panel at column j of a B whose transpose was packed: each nr x nr block of it lies in one piece there. */
static void turn_panel(const struct ft_gemm_job *job, const struct ft_gemm_block *b, size_t j, float *out) {
    const struct ft_packed *packed = job->p.packed;
    size_t nr = job->nr, size = ft_dtype_size(packed->dtype), columns = least(nr, job->p.n - j);
    for (size_t k = b->k0, end; k < b->k1; k = end) {
        end = least((k / nr + 1) * nr, b->k1);
        const unsigned char *in =
            (const unsigned char *)packed->data + (k / nr * packed->k * nr + j * nr + k % nr) * size;
        job->isa->pack(out + (k - b->k0) * nr, nr, columns, end - k, in, packed->dtype, nr, 1);
    }
}

/* B's part of the tiles of the panel at column j of `more`. */
static ft_tile_fn *const *place_more(const struct ft_gemm_job *job, size_t j, float *scratch, struct ft_tile *t) {
    const struct ft_operand *b = &job->p.more.b;
    job->isa->pack(scratch, job->nr, least(job->nr, job->p.n - j), job->p.more.k, operand_pointer(b, 0, j), b->dtype,
                   b->col_stride, b->row_stride);
    t->b = scratch;
    t->b_step = job->nr;
    return job->isa->strided;
}

/* B's part of the tiles of the panel at column j; returns the kernels for them. scratch: for a panel in BF16,
 * widened once when more than one tile will read it, and for the last columns of a B in place. */
static ft_tile_fn *const *place_b(const struct ft_gemm_job *job, const struct ft_gemm_block *b, size_t j,
                                  float *scratch, struct ft_tile *t) {
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

/* Where the next panel is in memory, a line at a time, `run` lines `step` apart and then as many a `jump`
 * further: each tile fetches its share into L2. */
struct ahead {
    const char *line;
    size_t step, run, jump, each, at;
};

static struct ahead look_ahead(const struct ft_gemm_job *job, const struct ft_gemm_block *b, size_t j) {
    const struct ft_packed *packed = job->p.packed;
    size_t terms = b->k1 - b->k0, tiles = ceil_div(b->i1 - b->i0, job->mr), nr = job->nr;
    size_t next = j + nr < b->j1 ? j + nr : j, size = packed ? ft_dtype_size(packed->dtype) : sizeof(float);
    if (b->more) return (struct ahead){.run = 1};
    if (packed && job->p.packed_transposed) {
        size_t run = ceil_div(nr * nr * size, FT_ALIGN);
        return (struct ahead){.line = (const char *)packed->data + (b->k0 / nr * packed->k * nr + next * nr) * size,
                              .step = FT_ALIGN,
                              .run = run,
                              .jump = packed->k * nr * size - (run - 1) * FT_ALIGN,
                              .each = ceil_div(ceil_div(terms, nr) * run, tiles)};
    }
    struct ahead ahead = {.line = panel_of_b(job, b, next), .step = FT_ALIGN, .run = SIZE_MAX};
    if (job->b_in_place)
        ahead.step = job->p.b.row_stride * sizeof(float), ahead.each = ceil_div(terms, tiles);
    else
        ahead.each = ceil_div(terms * nr * size, tiles * FT_ALIGN);
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
static size_t run_wide(const struct ft_gemm_job *job, const struct ft_gemm_block *b, const float *packed_a,
                       struct ft_tile *t, struct place *at, float *strip, float *aside) {
    size_t rows = b->i1 - b->i0, j = b->j0;
    if (job->tiles == job->isa->narrow || rows > FT_WIDE_ROWS || b->more || job->p.packed_transposed) return j;
    bool narrow_b = job->p.packed && job->p.packed->dtype == FT_BF16;
    ft_tile_fn *run = narrow_b ? job->isa->wide_bf16[rows] : job->isa->wide[rows];
    size_t width = job->isa->wide_panels[rows] * job->nr;
    (void)place_a(job, b, packed_a, t);
    for (; j + width <= b->j1; j += width) {
        (void)place_b(job, b, j, NULL, t);
        *at = (struct place){b->i0, j, rows, width, at->from, at->to, strip + (j - b->j0)};
        if (direct(job, at, width)) {
            place_c(job, at, t);
            run(t);
        } else {
            run_tile_aside(job, run, t, at, width, aside);
        }
    }
    return j;
}

static struct place rests(const struct ft_gemm_job *job, const struct ft_gemm_block *b) {
    bool last = b->k1 == job->p.k;
    if (b->more) return (struct place){.from = IN_STRIP, .to = IN_C};
    return (struct place){.from = b->k0 == 0 ? IN_C : b->k0 == job->k0 ? IN_PARTIAL : IN_STRIP,
                          .to = last && !job->p.more.k ? IN_C : b->k1 == job->k1 && !last ? IN_PARTIAL : IN_STRIP};
}

void ft_gemm_run_block(const struct ft_gemm_job *job, const struct ft_gemm_block *b, unsigned worker) {
    const float *packed_a = a_scratch(job, worker);
    float *aside = tile_scratch(job, worker);
    struct ft_tile t = {.k = b->more ? job->p.more.k : b->k1 - b->k0};
    struct place at = rests(job, b);
    float *strip = strip_scratch(job, worker);
    for (size_t j = run_wide(job, b, packed_a, &t, &at, strip, aside); j < b->j1; j += job->nr) {
        ft_tile_fn *const *tiles = place_b(job, b, j, b_scratch(job, worker), &t);
        size_t a_rows = place_a(job, b, packed_a, &t), rows = job->mr;
        struct ahead ahead = look_ahead(job, b, j);
        at = (struct place){b->i0, j, rows, least(job->nr, b->j1 - j), at.from, at.to, strip + (j - b->j0)};
        bool lies = direct(job, &at, job->nr);
        if (lies) place_c(job, &at, &t);
        for (size_t i = b->i0; i < b->i1; i += rows) {
            fetch(&ahead);
            if (b->i1 - i < rows) at.rows = b->i1 - i;
            if (lies) {
                tiles[at.rows](&t);
                if (i + rows < b->i1) go_down(&t, rows);
            } else {
                at.i = i;
                at.strip = strip + (i - b->i0) * job->isa->strip + (j - b->j0);
                run_tile_aside(job, tiles[at.rows], &t, &at, job->nr, aside);
            }
            if (i + rows < b->i1) t.a += a_rows;
        }
    }
}
