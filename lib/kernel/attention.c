/* SPDX-License-Identifier: MIT
 *
 * Attention by blocks of queries. For 16 queries of a head: scores against all their keys, softmax, then the
 * weighted sum of values; backward recomputes scores and probabilities for up to BLOCK queries, then adds their
 * part to the chains of dk and dv. Products run over what several rows see in common as register tiles, over the
 * ragged rest row by row, so that only visible pairs enter chains, in ascending order. A single query, as in
 * generation, has nobody beside it: vectors go over its keys.
 */
#include "attention.h"

#include "exec_internal.h"
#include "gemm.h"
#include "gemv.h"
#include "kernels.h"

#include <string.h>

enum {
    BLOCK = 64,          /* queries of a backward block: terms that dk and dv gain at a time */
    QUERIES_MIN = 64,    /* of a forward task */
    TASKS_EACH = 4,      /* forward tasks a thread, where there are queries enough */
    KEYS_MAX = 1 << 24,  /* beyond, the lanes' bounds are not exact: the specification does it */
    RESIDENT = 24 * 1024, /* bytes of B that stay in L1 */
    COMMON_MIN = 3       /* terms in common that are worth a tile */
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t most(size_t a, size_t b) { return a > b ? a : b; }
static size_t round_up(size_t a, size_t b) { return (a + b - 1) / b * b; }

/* --- products -------------------------------------------------------------------------------------------- */

/* A matrix of `rows` x `columns` for the vector side of tiles: panels of nr columns while there are so many, then
 * narrow ones, the last padded; or where it lies, row-major, in whole narrow panels (ld is not 0). */
struct panels {
    const float *data;
    size_t rows, columns, ld;
};

static size_t panel_width(const struct ft_gemm_isa *isa, size_t columns_left) {
    return columns_left >= isa->nr ? isa->nr : isa->narrow_nr;
}

/* Numbers that packed panels take. */
static size_t panels_size(const struct ft_gemm_isa *isa, size_t rows, size_t columns) {
    return rows * round_up(columns, isa->narrow_nr);
}

/* Element (row, column) is at in[row * row_step + column * column_step]; +0 for columns from `there` on. */
static struct panels pack_panels(const struct ft_gemm_isa *isa, float *to, size_t rows, size_t columns, size_t there,
                                 const float *in, size_t row_step, size_t column_step) {
    size_t width;
    for (size_t c = 0; c < columns; c += width) {
        width = panel_width(isa, columns - c);
        isa->pack(to + c * rows, width, least(width, there - c), rows, in + c * column_step, FT_F32, column_step,
                  row_step);
    }
    return (struct panels){to, rows, columns, 0};
}

/* Products with rows of B: c(i, n) = chain from +0 (`empty`) or from c, then times scale. */
struct product {
    const struct ft_gemm_isa *isa;
    const struct panels *b;
    size_t b_first; /* row of B that is k = 0 */
    const float *a; /* a(i, k) at a[i * a_row + k * a_step] */
    size_t a_row, a_step;
    float *c;
    size_t ldc;
    bool empty;
    float scale;
};

static void run_padded(ft_tile_fn *run, struct ft_tile *t, size_t rows, size_t columns, size_t width) {
    FT_UNINITIALIZED float aside[FT_TILE_FLOATS];
    float *c = t->out;
    size_t ldc = t->ld_out;
    for (size_t i = 0; i < rows && t->in; i++)
        for (size_t n = 0; n < width; n++) aside[i * width + n] = n < columns ? c[i * ldc + n] : 0.0f;
    t->in = t->in ? aside : NULL;
    t->out = aside;
    t->ld_in = t->ld_out = width;
    run(t);
    t->ld_in = t->ld_out = ldc;
    for (size_t i = 0; i < rows; i++) memcpy(c + i * ldc, aside + i * width, columns * sizeof *c);
}

/* Rows [i0, i1), the columns from `column` on that one panel, or several for a single row, holds; returns their
 * number. */
static size_t multiply_panel(const struct product *p, size_t i0, size_t i1, size_t k0, size_t k, size_t column) {
    const struct ft_gemm_isa *isa = p->isa;
    size_t left = p->b->columns - column, width = panel_width(isa, left), wide = isa->wide_panels[1] * isa->nr;
    ft_tile_fn *const *tiles = width == isa->nr ? isa->strided : isa->narrow;
    size_t mr = width == isa->nr ? isa->mr : isa->narrow_mr, panel = width;
    if (i1 - i0 == 1 && left >= wide) {
        tiles = isa->wide;
        width = wide;
    }
    const struct panels *b = p->b;
    struct ft_tile t = {.k = k, .a_row = p->a_row, .a_step = p->a_step, .b_step = b->ld ? b->ld : panel, .scale = p->scale};
    t.b = b->ld ? b->data + (p->b_first + k0) * b->ld + column : b->data + column * b->rows + (p->b_first + k0) * panel;
    t.b_panel = b->ld ? panel : b->rows * panel;
    for (size_t i = i0; i < i1; i += mr) {
        size_t rows = least(mr, i1 - i), columns = least(width, left);
        t.a = p->a + i * p->a_row + k0 * p->a_step;
        t.out = p->c + i * p->ldc + column;
        t.in = p->empty ? NULL : t.out;
        t.ld_in = t.ld_out = p->ldc;
        if (columns == width) tiles[rows](&t);
        else run_padded(tiles[rows], &t, rows, columns, width);
    }
    return width;
}

/* Rows of the tiles that most columns of B take. */
static size_t tile_rows(const struct product *p) {
    return p->b->columns < p->isa->nr ? p->isa->narrow_mr : p->isa->mr;
}

static void multiply(const struct product *p, size_t i0, size_t i1, size_t k0, size_t k) {
    size_t mr = tile_rows(p), step = k * p->b->columns * sizeof(float) <= RESIDENT ? mr : i1 - i0;
    for (size_t i = i0; i < i1; i += step) /* a few rows by all of a small B, else all rows by a panel */
        for (size_t n = 0; n < p->b->columns;) n += multiply_panel(p, i, least(i + step, i1), k0, k, n);
}

/* The terms of a row of a product. */
struct range {
    size_t begin, end;
};

/* B again, where it lies: row k at data + k * ld. */
struct plain {
    const float *data;
    size_t ld;
};

static void multiply_row(const struct product *p, const struct ft_attention_isa *isa, const struct plain *b, size_t i,
                         size_t begin, size_t end) {
    if (begin < end)
        isa->row(p->c + i * p->ldc, p->a + i * p->a_row + begin * p->a_step, p->a_step, b->data + begin * b->ld, b->ld,
                 end - begin, p->b->columns);
}

/* As multiply without scale, row i having the terms of range[i] only; both ends ascend with i. Tiles do what the
 * rows of a tile have in common. */
static void multiply_ragged(const struct product *p, const struct ft_attention_isa *isa, const struct plain *b,
                            size_t rows, const struct range *range) {
    size_t mr = tile_rows(p);
    for (size_t i = 0; i < rows; i += mr) {
        size_t last = least(i + mr, rows) - 1, begin = range[last].begin, end = range[i].end;
        if (begin + COMMON_MIN > end) begin = end = range[last].end; /* every row alone */
        for (size_t r = i; r <= last; r++) multiply_row(p, isa, b, r, range[r].begin, least(range[r].end, begin));
        if (begin < end) multiply(p, i, last + 1, begin, end - begin);
        for (size_t r = i; r <= last; r++) multiply_row(p, isa, b, r, most(range[r].begin, end), range[r].end);
    }
}

/* --- a block of queries ---------------------------------------------------------------------------------- */

struct job {
    const struct ft_attention *at;
    const struct ft_gemm_isa *gemm;
    const struct ft_attention_isa *isa;
    const struct ft_kernels *rows;
    ft_gemv_heads_fn *scores; /* of the heads of a single query */
    const float *q, *k, *v, *o, *d_o;
    float *out, *row_max, *row_sum; /* forward */
    const float *max, *sum;         /* backward: the same, read */
    float *dq, *dk, *dv;
    float *scratch;
    size_t scratch_each; /* numbers a thread */
    size_t parts;        /* tasks that share the queries of a document and key/value head */
    bool separate;       /* backward: tasks for dq, then tasks for dk and dv */
};

/* One task's document, key/value head and scratch. */
struct unit {
    const struct job *job;
    const struct ft_attention_document *doc;
    size_t g, kv; /* kv: where the head's first key is in k, v, dk, dv */
    float *keys_by_dim, *dim_by_lanes, *dim_by_lanes_2, *block_by_dim, *block_by_dim_2, *s, *dp;
    struct range *ranges; /* as many as keys or, if more, BLOCK */
};

static size_t ranges_size(size_t keys) { return most(keys, BLOCK) * (sizeof(struct range) / sizeof(float)); }

static size_t scratch_each(const struct ft_gemm_isa *isa, size_t head_dim, size_t keys) {
    size_t size = panels_size(isa, keys, head_dim) + 2 * panels_size(isa, head_dim, FT_LANES) +
                  2 * panels_size(isa, BLOCK, head_dim) + 2 * keys * BLOCK + ranges_size(keys);
    return round_up(size + 8 * (FT_PACK_SLACK + FT_ALIGN / sizeof(float)), FT_ALIGN / sizeof(float));
}

static float *take(float **memory, size_t count) {
    float *taken = *memory;
    *memory += round_up(count + FT_PACK_SLACK, FT_ALIGN / sizeof(float));
    return taken;
}

static struct unit make_unit(const struct job *job, size_t index, unsigned worker) {
    const struct ft_attention *at = job->at;
    const struct ft_attention_document *doc = &at->document[index / at->n_kv];
    struct unit u = {.job = job, .doc = doc, .g = index % at->n_kv};
    u.kv = doc->key_row * at->ld_kv + u.g * at->head_dim;
    float *memory = job->scratch + worker * job->scratch_each;
    u.keys_by_dim = take(&memory, panels_size(job->gemm, doc->key_count, at->head_dim));
    u.dim_by_lanes = take(&memory, panels_size(job->gemm, at->head_dim, FT_LANES));
    u.dim_by_lanes_2 = take(&memory, panels_size(job->gemm, at->head_dim, FT_LANES));
    u.block_by_dim = take(&memory, panels_size(job->gemm, BLOCK, at->head_dim));
    u.block_by_dim_2 = take(&memory, panels_size(job->gemm, BLOCK, at->head_dim));
    u.s = take(&memory, doc->key_count * BLOCK);
    u.dp = take(&memory, doc->key_count * BLOCK);
    u.ranges = (struct range *)(void *)take(&memory, ranges_size(doc->key_count));
    return u;
}

/* Visible keys of the document's query i. */
static struct range visible(const struct unit *u, size_t i) {
    size_t position = ft_attention_position(u->doc, i);
    return (struct range){ft_attention_first(u->job->at, position), position + 1};
}

static size_t q_at(const struct unit *u, size_t i, size_t h) {
    return (u->doc->query_row + i) * u->job->at->ld_q + h * u->job->at->head_dim;
}
static size_t o_at(const struct unit *u, size_t i, size_t h) {
    return (u->doc->query_row + i) * u->job->at->ld_o + h * u->job->at->head_dim;
}
static size_t stat_at(const struct unit *u, size_t i, size_t h) {
    return (u->doc->query_row + i) * u->job->at->n_head + h;
}

/* Queries [i, i + count), at most 16, against the keys [origin, ...) that any of them sees. */
static struct ft_attention_lanes lanes_of(const struct unit *u, size_t i, size_t count, size_t origin) {
    const struct ft_attention *at = u->job->at;
    struct ft_attention_lanes l = {.count = count, .softcap = at->softcap, .scale = at->scale};
    for (size_t lane = 0; lane < count; lane++) {
        struct range keys = visible(u, i + lane);
        l.first[lane] = keys.begin - origin;
        l.last[lane] = keys.end - 1 - origin;
    }
    l.keys = l.last[count - 1] + 1;
    return l;
}

/* out(j, lane) = chain over d of rows(j, d) x(lane, d), times scale, for `keys` rows at ld_kv. x: lanes at
 * x_step. to: scratch for x as columns. */
static void against_keys(const struct unit *u, const float *x, size_t x_step, size_t count, const float *rows,
                         size_t keys, float scale, float *to, float *out, size_t ld) {
    const struct ft_attention *at = u->job->at;
    size_t padded = round_up(count, u->job->gemm->narrow_nr); /* what is computed of padding is never read */
    struct panels columns = pack_panels(u->job->gemm, to, at->head_dim, padded, count, x, 1, x_step);
    struct product p = {.isa = u->job->gemm, .b = &columns, .a = rows, .a_row = at->ld_kv, .a_step = 1, .c = out,
                        .ldc = ld, .empty = true, .scale = scale};
    multiply(&p, 0, keys, 0, at->head_dim);
}

/* For multiply_ragged: the keys that each of `count` queries from i on sees, counted from `origin`. */
static void keys_of_queries(const struct unit *u, size_t i, size_t count, size_t origin, struct range *range) {
    for (size_t n = 0; n < count; n++) {
        struct range keys = visible(u, i + n);
        range[n] = (struct range){most(keys.begin, origin) - origin, keys.end - origin};
    }
}

/* And the queries, counted from i, that see each of `keys`; both bounds of a query's keys ascend. */
static void queries_of_keys(const struct unit *u, size_t i, size_t count, struct range keys, struct range *range) {
    size_t begin = 0, end = 0;
    for (size_t j = keys.begin; j < keys.end; j++) {
        while (begin < count && visible(u, i + begin).end <= j) begin++;
        while (end < count && visible(u, i + end).begin <= j) end++;
        range[j - keys.begin] = (struct range){begin, most(begin, end)};
    }
}

/* --- forward --------------------------------------------------------------------------------------------- */

static void forward_lanes(const struct unit *u, size_t h, size_t i, size_t count, const struct panels *v,
                          size_t v_origin) {
    const struct job *job = u->job;
    const struct ft_attention *at = job->at;
    size_t origin = visible(u, i).begin;
    struct ft_attention_lanes l = lanes_of(u, i, count, origin);
    against_keys(u, job->q + q_at(u, i, h), at->ld_q, count, job->k + u->kv + origin * at->ld_kv, l.keys, at->scale,
                 u->dim_by_lanes, u->s, FT_LANES);
    job->isa->softmax(&l, u->s, FT_LANES);
    for (size_t lane = 0; lane < count; lane++) {
        memset(job->out + o_at(u, i + lane, h), 0, at->head_dim * sizeof(float));
        if (job->row_max) job->row_max[stat_at(u, i + lane, h)] = l.max[lane];
        if (job->row_sum) job->row_sum[stat_at(u, i + lane, h)] = l.sum[lane];
    }
    struct range range[FT_LANES];
    keys_of_queries(u, i, count, origin, range);
    struct plain plain = {job->v + u->kv + origin * at->ld_kv, at->ld_kv};
    struct product p = {.isa = job->gemm, .b = v, .b_first = origin - v_origin, .a = u->s, .a_row = 1, .a_step = FT_LANES,
                        .c = job->out + o_at(u, i, h), .ldc = at->ld_o, .scale = 1.0f};
    multiply_ragged(&p, job->isa, &plain, count, range);
}

/* The heads of the group for query i alone; their probabilities are rows of s. */
static void forward_single(const struct unit *u, size_t i, size_t group, const struct panels *v) {
    const struct job *job = u->job;
    const struct ft_attention *at = job->at;
    struct range keys = visible(u, i);
    size_t n = keys.end - keys.begin, h = u->g * group;
    memset(u->s, 0, group * n * sizeof *u->s);
    job->scores(job->q + q_at(u, i, h), at->head_dim, group, at->head_dim, job->k + u->kv + keys.begin * at->ld_kv, at->ld_kv,
                n, u->s);
    for (size_t r = 0; r < group; r++) {
        float *s = u->s + r * n, max, sum;
        for (size_t j = 0; j < n; j++) s[j] *= at->scale;
        job->rows->softmax(s, n, &max, &sum);
        if (job->row_max) job->row_max[stat_at(u, i, h + r)] = max;
        if (job->row_sum) job->row_sum[stat_at(u, i, h + r)] = sum;
    }
    struct product p = {.isa = job->gemm, .b = v, .a = u->s, .a_row = n, .a_step = 1, .c = job->out + o_at(u, i, h),
                        .ldc = at->head_dim, .empty = true, .scale = 1.0f};
    multiply(&p, 0, group, 0, n);
}

/* Values of the keys [begin, end): where they lie when few queries will read them, else packed. */
static struct panels value_panels(const struct unit *u, size_t begin, size_t end, size_t queries) {
    const struct job *job = u->job;
    const struct ft_attention *at = job->at;
    const float *v = job->v + u->kv + begin * at->ld_kv;
    if (queries <= FT_LANES && at->head_dim % job->gemm->narrow_nr == 0)
        return (struct panels){v, end - begin, at->head_dim, at->ld_kv};
    return pack_panels(job->gemm, u->keys_by_dim, end - begin, at->head_dim, at->head_dim, v,
                       at->ld_kv, 1);
}

/* Query number `part` of `parts`, in whole lanes. */
static size_t part_begin(size_t queries, size_t part, size_t parts) {
    return least(queries, round_up(queries * part / parts, FT_LANES));
}

static void forward_task(void *arg, size_t index, unsigned worker) {
    const struct job *job = arg;
    const struct ft_attention *at = job->at;
    struct unit u = make_unit(job, index / job->parts, worker);
    size_t begin = part_begin(u.doc->query_count, index % job->parts, job->parts);
    size_t end = part_begin(u.doc->query_count, index % job->parts + 1, job->parts);
    if (begin == end) return;
    size_t first_key = visible(&u, begin).begin, group = at->n_head / at->n_kv;
    struct panels v = value_panels(&u, first_key, visible(&u, end - 1).end, (end - begin) * group);
    if (end - begin == 1 && at->softcap == 0.0f && group <= BLOCK) {
        forward_single(&u, begin, group, &v);
        return;
    }
    for (size_t h = u.g * group; h < (u.g + 1) * group; h++)
        for (size_t i = begin; i < end; i += FT_LANES) forward_lanes(&u, h, i, least(FT_LANES, end - i), &v, first_key);
}

/* --- backward -------------------------------------------------------------------------------------------- */

/* Probabilities and gradients of scores of queries [i, i + count) of head h against the keys
 * [origin, origin + keys), into the columns of s and dp from `column` on. */
static void gradient_lanes(const struct unit *u, size_t h, size_t i, size_t count, struct range keys, size_t column) {
    const struct job *job = u->job;
    const struct ft_attention *at = job->at;
    struct ft_attention_lanes l = {.count = count, .keys = keys.end - keys.begin, .softcap = at->softcap,
                                   .scale = at->scale};
    for (size_t lane = 0; lane < count; lane++) {
        l.max[lane] = job->max[stat_at(u, i + lane, h)];
        l.sum[lane] = job->sum[stat_at(u, i + lane, h)];
        l.d[lane] = job->isa->dot(job->d_o + o_at(u, i + lane, h), job->o + o_at(u, i + lane, h), at->head_dim);
    }
    size_t at_keys = u->kv + keys.begin * at->ld_kv;
    against_keys(u, job->q + q_at(u, i, h), at->ld_q, count, job->k + at_keys, l.keys, at->scale, u->dim_by_lanes,
                 u->s + column, BLOCK);
    against_keys(u, job->d_o + o_at(u, i, h), at->ld_o, count, job->v + at_keys, l.keys, 1.0f, u->dim_by_lanes_2,
                 u->dp + column, BLOCK);
    job->isa->gradient(&l, u->s + column, u->dp + column, BLOCK);
}

/* dq of queries [i, i + count) of head h: chain over visible j of fma(ds[j], k[j][d]). */
static void query_gradient(const struct unit *u, size_t h, size_t i, size_t count, struct range keys,
                           const struct panels *k, size_t k_origin) {
    const struct job *job = u->job;
    for (size_t n = i; n < i + count; n++) memset(job->dq + q_at(u, n, h), 0, job->at->head_dim * sizeof(float));
    keys_of_queries(u, i, count, keys.begin, u->ranges);
    struct plain plain = {job->k + u->kv + keys.begin * job->at->ld_kv, job->at->ld_kv};
    struct product p = {.isa = job->gemm, .b = k, .b_first = keys.begin - k_origin, .a = u->dp, .a_row = 1,
                        .a_step = BLOCK, .c = job->dq + q_at(u, i, h), .ldc = job->at->ld_q, .scale = 1.0f};
    multiply_ragged(&p, job->isa, &plain, count, u->ranges);
}

/* dk[j][d] and dv[j][d] go on with fma(ds, q[d]) and fma(p, d_o[d]) over these queries. */
static void key_gradients(const struct unit *u, size_t h, size_t i, size_t count, struct range keys) {
    const struct job *job = u->job;
    const struct ft_attention *at = job->at;
    size_t rows = keys.end - keys.begin;
    struct plain q_plain = {job->q + q_at(u, i, h), at->ld_q}, d_o_plain = {job->d_o + o_at(u, i, h), at->ld_o};
    struct panels q = pack_panels(job->gemm, u->block_by_dim, count, at->head_dim, at->head_dim, q_plain.data, at->ld_q, 1);
    struct panels d_o = pack_panels(job->gemm, u->block_by_dim_2, count, at->head_dim, at->head_dim, d_o_plain.data,
                                    at->ld_o, 1);
    queries_of_keys(u, i, count, keys, u->ranges);
    struct product p = {.isa = job->gemm, .b = &q, .a = u->dp, .a_row = BLOCK, .a_step = 1,
                        .c = job->dk + u->kv + keys.begin * at->ld_kv, .ldc = at->ld_kv, .scale = 1.0f};
    multiply_ragged(&p, job->isa, &q_plain, rows, u->ranges);
    p.b = &d_o;
    p.a = u->s;
    p.c = job->dv + u->kv + keys.begin * at->ld_kv;
    multiply_ragged(&p, job->isa, &d_o_plain, rows, u->ranges);
}

static struct range overlap(struct range a, struct range b) {
    return (struct range){most(a.begin, b.begin), least(a.end, b.end)};
}

/* Scores and what follows from them, for queries [begin, end) and the keys in `only`. */
static void backward_queries(const struct unit *u, size_t begin, size_t end, struct range only, bool dq, bool dkv) {
    const struct job *job = u->job;
    const struct ft_attention *at = job->at;
    size_t group = at->n_head / at->n_kv;
    struct panels k = {0};
    if (dq)
        k = pack_panels(job->gemm, u->keys_by_dim, only.end - only.begin, at->head_dim, at->head_dim,
                        job->k + u->kv + only.begin * at->ld_kv, at->ld_kv, 1);
    for (size_t h = u->g * group; h < (u->g + 1) * group; h++)
        for (size_t i = begin; i < end; i += BLOCK) {
            size_t count = least(BLOCK, end - i);
            struct range keys = overlap(only, (struct range){visible(u, i).begin, visible(u, i + count - 1).end});
            if (keys.begin >= keys.end) continue;
            for (size_t n = 0; n < count; n += FT_LANES) {
                size_t lanes = least(FT_LANES, count - n);
                struct range seen = {keys.begin, least(keys.end, visible(u, i + n + lanes - 1).end)};
                if (seen.begin < seen.end) gradient_lanes(u, h, i + n, lanes, seen, n);
            }
            if (dq) query_gradient(u, h, i, count, keys, &k, only.begin);
            if (dkv) key_gradients(u, h, i, count, keys);
        }
}

static void clear_keys(const struct unit *u, struct range keys) {
    const struct ft_attention *at = u->job->at;
    for (size_t j = keys.begin; j < keys.end; j++) {
        memset(u->job->dk + u->kv + j * at->ld_kv, 0, at->head_dim * sizeof(float));
        memset(u->job->dv + u->kv + j * at->ld_kv, 0, at->head_dim * sizeof(float));
    }
}

/* Whole: everything of a document and key/value head. */
static void backward_whole(const struct unit *u) {
    struct range all = {0, u->doc->key_count};
    clear_keys(u, all);
    if (u->doc->query_count) backward_queries(u, 0, u->doc->query_count, all, true, true);
}

static void backward_task(void *arg, size_t index, unsigned worker) {
    const struct job *job = arg;
    size_t each = job->separate ? 2 * job->parts : 1, part = index % each;
    struct unit u = make_unit(job, index / each, worker);
    if (!job->separate) {
        backward_whole(&u);
    } else if (part < job->parts) {
        size_t begin = part_begin(u.doc->query_count, part, job->parts);
        size_t end = part_begin(u.doc->query_count, part + 1, job->parts);
        if (begin == end) return;
        struct range keys = {visible(&u, begin).begin, visible(&u, end - 1).end};
        backward_queries(&u, begin, end, keys, true, false);
    } else {
        part -= job->parts;
        struct range keys = {part_begin(u.doc->key_count, part, job->parts),
                             part_begin(u.doc->key_count, part + 1, job->parts)};
        clear_keys(&u, keys);
        if (keys.begin < keys.end && u.doc->query_count) backward_queries(&u, 0, u.doc->query_count, keys, false, true);
    }
}

/* --- the specification as tasks -------------------------------------------------------------------------- */

static void forward_plainly(void *arg, size_t i, unsigned worker) {
    const struct job *job = arg;
    const struct ft_attention *at = job->at;
    ft_attention_forward_unit(at, &at->document[i / at->n_kv], i % at->n_kv, job->q, job->k, job->v, job->out,
                              job->row_max, job->row_sum, job->scratch + worker * job->scratch_each);
}

static void backward_plainly(void *arg, size_t i, unsigned worker) {
    const struct job *job = arg;
    const struct ft_attention *at = job->at;
    ft_attention_backward_unit(at, &at->document[i / at->n_kv], i % at->n_kv, job->q, job->k, job->v, job->o,
                               job->max, job->sum, job->d_o, job->dq, job->dk, job->dv,
                               job->scratch + worker * job->scratch_each);
}

/* --- calls ----------------------------------------------------------------------------------------------- */

static size_t longest(const struct ft_attention *at) {
    size_t keys = 0;
    for (size_t n = 0; n < at->n_document; n++) keys = most(keys, at->document[n].key_count);
    return keys;
}

static size_t most_queries(const struct ft_attention *at) {
    size_t queries = 0;
    for (size_t n = 0; n < at->n_document; n++) queries = most(queries, at->document[n].query_count);
    return queries;
}

size_t ft_attention_scratch(const struct ft_exec *exec, const struct ft_attention *at, size_t max_keys) {
    return ft_exec_threads(exec) * scratch_each(exec->gemm, at->head_dim, max_keys) * sizeof(float);
}

static struct job make_job(const struct ft_exec *exec, const struct ft_attention *at, const float *q, const float *k,
                           const float *v, void *scratch) {
    size_t keys = longest(at);
    const struct ft_gemv_isa *gemv = ft_gemv_isa(exec->isa); /* as attention: every one but the scalar has it */
    return (struct job){.at = at, .gemm = exec->gemm, .isa = keys < KEYS_MAX && gemv ? ft_attention_isa(exec->isa) : NULL,
                        .rows = ft_kernels_of(exec), .scores = gemv ? gemv->heads : NULL, .q = q, .k = k, .v = v,
                        .scratch = scratch, .scratch_each = scratch_each(exec->gemm, at->head_dim, keys), .parts = 1};
}

void ft_attention_forward(struct ft_exec *exec, const struct ft_attention *at, const float *q, const float *k,
                          const float *v, float *o, float *row_max, float *row_sum, void *scratch) {
    struct job job = make_job(exec, at, q, k, v, scratch);
    job.out = o;
    job.row_max = row_max;
    job.row_sum = row_sum;
    size_t units = at->n_document * at->n_kv, threads = ft_exec_threads(exec);
    if (!job.isa) {
        ft_pool_run(ft_exec_pool(exec), units, forward_plainly, &job);
        return;
    }
    if (threads > 1 && units && units < TASKS_EACH * threads)
        job.parts = most(1, least(TASKS_EACH * threads / units + 1, most_queries(at) / QUERIES_MIN));
    ft_pool_run(ft_exec_pool(exec), units * job.parts, forward_task, &job);
}

/* Recomputing the scores for dq and for dk, dv separately costs 7 products for 5, but shares out the work of a
 * few long documents: worth it when threads would otherwise idle for more than that. */
static bool better_separate(size_t units, size_t threads) {
    size_t rounds = (units + threads - 1) / threads;
    return units && 10 * units < 7 * rounds * threads;
}

void ft_attention_backward(struct ft_exec *exec, const struct ft_attention *at, const float *q, const float *k,
                           const float *v, const float *o, const float *row_max, const float *row_sum,
                           const float *d_o, float *dq, float *dk, float *dv, void *scratch) {
    struct job job = make_job(exec, at, q, k, v, scratch);
    job.o = o;
    job.max = row_max;
    job.sum = row_sum;
    job.d_o = d_o;
    job.dq = dq;
    job.dk = dk;
    job.dv = dv;
    size_t units = at->n_document * at->n_kv, threads = ft_exec_threads(exec);
    if (!job.isa) {
        ft_pool_run(ft_exec_pool(exec), units, backward_plainly, &job);
        return;
    }
    job.parts = most(1, least(TASKS_EACH * threads / most(units, 1) + 1, longest(at) / QUERIES_MIN));
    job.separate = job.parts > 1 && better_separate(units, threads);
    if (!job.separate) job.parts = 1;
    ft_pool_run(ft_exec_pool(exec), job.separate ? 2 * units * job.parts : units, backward_task, &job);
}
