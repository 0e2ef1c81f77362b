/* SPDX-License-Identifier: MIT
 *
 * Attention on 16 lanes, compiled once per ISA: the bits of attention_reference.c. The includer has included a
 * vec_*.h and defines FT_ATTENTION, the name of the table.
 *
 * A unit packs its keys transposed (and, going backward, its values), so that vectors run over keys in the
 * scores and over dimensions elsewhere; never over a chain. Query rows go in blocks: the block's scores stay in
 * cache between the steps. Rows, keys and dimensions meet in tiles of TILE rows x 16 lanes.
 */
#include "attention.h"
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { TILE = 6, LANES = 16 };

/* A block of the query rows of one head, and what each row sees. */
struct block {
    size_t first_row, rows;                      /* queries of the document */
    size_t low[FT_ATTENTION_BLOCK], high[FT_ATTENTION_BLOCK]; /* visible keys [low, high) */
    size_t from, to;                             /* union of them; from is a multiple of 16 */
};

static size_t padded(size_t keys) { return (keys + LANES - 1) / LANES * LANES; }

static struct block *describe(struct block *b, const struct ft_attention *at, const struct ft_attention_document *doc,
                              size_t first_row) {
    size_t rest = doc->query_count - first_row;
    b->first_row = first_row;
    b->rows = rest < FT_ATTENTION_BLOCK ? rest : FT_ATTENTION_BLOCK;
    for (size_t r = 0; r < b->rows; r++) {
        size_t p = ft_attention_position(doc, first_row + r);
        b->low[r] = ft_attention_first(at, p);
        b->high[r] = p + 1;
    }
    b->from = b->low[0] / LANES * LANES; /* both bounds ascend with the row */
    b->to = b->high[b->rows - 1];
    return b;
}

/* out[d][j] = in[j][d] for n rows of `dims`; columns n.. of the padded width are +0. */
static void transpose(float *out, size_t width, const float *in, size_t ld, size_t n, size_t dims) {
    for (size_t d = 0; d < dims; d++) {
        for (size_t j = 0; j < n; j++) out[d * width + j] = in[j * ld + d];
        for (size_t j = n; j < width; j++) out[d * width + j] = 0.0f;
    }
}

/* out[r][j] = (chain over d of a[r][d] * b[d][j]) * scale for R rows and j in [from, to), in whole vectors. */
static inline __attribute__((always_inline)) void dots_tile(const size_t R, const float *a, size_t lda, size_t dims,
                                                            const float *b, size_t width, size_t from, size_t to,
                                                            float scale, float *out, size_t ldo) {
    for (size_t j = from; j < to; j += LANES) {
        v16 acc[TILE];
#pragma GCC unroll 6
        for (size_t r = 0; r < R; r++) acc[r] = v16_set1(0.0f);
        for (size_t d = 0; d < dims; d++) {
            v16 key = v16_load(b + d * width + j);
#pragma GCC unroll 6
            for (size_t r = 0; r < R; r++) acc[r] = v16_fma(v16_set1(a[r * lda + d]), key, acc[r]);
        }
#pragma GCC unroll 6
        for (size_t r = 0; r < R; r++) v16_store(out + r * ldo + j, v16_mul(acc[r], v16_set1(scale)));
    }
}

/* Rows that share a tile see nearly the same keys: each tile stops at its own last one. */
static void dots(const struct block *b, const float *a, size_t lda, size_t dims, const float *keys, size_t width,
                 float scale, float *out) {
    size_t r = 0;
    for (; r + TILE <= b->rows; r += TILE)
        dots_tile(TILE, a + r * lda, lda, dims, keys, width, b->low[r] / LANES * LANES, b->high[r + TILE - 1], scale,
                  out + r * width, width);
    for (; r < b->rows; r++)
        dots_tile(1, a + r * lda, lda, dims, keys, width, b->low[r] / LANES * LANES, b->high[r], scale, out + r * width,
                  width);
}

/* Coefficients of a weighted sum of vectors: row r takes coefficient[r * row_stride + k * term_stride] of vector k. */
struct terms {
    const float *coefficient;
    size_t row_stride, term_stride;
    const float *vector; /* vector k at vector + k * ld */
    size_t ld;
};

static inline __attribute__((always_inline)) v16 row_chain(const struct terms *t, size_t r, size_t low, size_t high,
                                                           size_t lanes, v16 acc) {
    for (size_t k = low; k < high; k++) {
        const float *p = t->vector + k * t->ld;
        v16 x = lanes == LANES ? v16_load(p) : v16_load_part(p, lanes);
        acc = v16_fma(v16_set1(t->coefficient[r * t->row_stride + k * t->term_stride]), x, acc);
    }
    return acc;
}

/* R rows, up to 16 dimensions: what not all rows see comes before and after what all see, in ascending order. */
static inline __attribute__((always_inline)) void combine_tile(const size_t R, const struct terms *t, const size_t *low,
                                                               const size_t *high, size_t lanes, float *out,
                                                               size_t ldo, bool accumulate) {
    v16 acc[TILE];
    size_t from = low[0], to = high[0];
    for (size_t r = 1; r < R; r++) {
        if (low[r] > from) from = low[r];
        if (high[r] < to) to = high[r];
    }
    if (from > to) from = to = SIZE_MAX; /* nothing in common: all in the first loop */
#pragma GCC unroll 6
    for (size_t r = 0; r < R; r++) {
        const float *start = out + r * ldo;
        v16 begin = v16_set1(0.0f);
        if (accumulate) begin = lanes == LANES ? v16_load(start) : v16_load_part(start, lanes);
        acc[r] = row_chain(t, r, low[r], high[r] < from ? high[r] : from, lanes, begin);
    }
    if (to != SIZE_MAX) {
        for (size_t k = from; k < to; k++) {
            const float *p = t->vector + k * t->ld, *c = t->coefficient + k * t->term_stride;
            v16 x = lanes == LANES ? v16_load(p) : v16_load_part(p, lanes);
#pragma GCC unroll 6
            for (size_t r = 0; r < R; r++) acc[r] = v16_fma(v16_set1(c[r * t->row_stride]), x, acc[r]);
        }
#pragma GCC unroll 6
        for (size_t r = 0; r < R; r++) acc[r] = row_chain(t, r, to, high[r], lanes, acc[r]);
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < R; r++) {
        if (lanes == LANES) v16_store(out + r * ldo, acc[r]);
        else v16_store_part(out + r * ldo, lanes, acc[r]);
    }
}

/* out[r][d] (+)= chain over k in [low[r], high[r]) of coefficient(r, k) * vector(k)[d], for `rows` rows. */
static void combine(size_t rows, const struct terms *terms, const size_t *low, const size_t *high, size_t dims,
                    float *out, size_t ldo, bool accumulate) {
    for (size_t d = 0; d < dims; d += LANES) {
        struct terms t = *terms;
        t.vector += d;
        size_t lanes = dims - d < LANES ? dims - d : LANES, r = 0;
        for (; r + TILE <= rows; r += TILE, t.coefficient += TILE * t.row_stride) {
            if (lanes == LANES) combine_tile(TILE, &t, low + r, high + r, LANES, out + r * ldo + d, ldo, accumulate);
            else combine_tile(TILE, &t, low + r, high + r, lanes, out + r * ldo + d, ldo, accumulate);
        }
        for (; r < rows; r++, t.coefficient += t.row_stride)
            combine_tile(1, &t, low + r, high + r, lanes, out + r * ldo + d, ldo, accumulate);
    }
}

/* s = cap * tanh(s / cap) */
static void soften(const struct ft_kernels *kernels, float cap, float *s, size_t n) {
    for (size_t j = 0; j < n; j++) s[j] = s[j] / cap;
    struct ft_elements_args args = {.x = s, .y = s};
    kernels->tanh(&args, 0, n);
    for (size_t j = 0; j < n; j++) s[j] = cap * s[j];
}

/* Scores of a block, softened, before softmax. */
static void block_scores(const struct ft_attention *at, const struct ft_kernels *kernels, const struct block *b,
                         const float *q, const float *keys, size_t width, float *s) {
    dots(b, q, at->ld_q, at->head_dim, keys, width, at->scale, s);
    for (size_t r = 0; r < b->rows && at->softcap != 0.0f; r++)
        soften(kernels, at->softcap, s + r * width + b->low[r], b->high[r] - b->low[r]);
}

static void forward_unit(const struct ft_attention *at, const struct ft_kernels *kernels,
                         const struct ft_attention_document *doc, size_t g, const float *q, const float *k,
                         const float *v, float *o, float *row_max, float *row_sum, float *scratch) {
    size_t group = at->n_head / at->n_kv, kv = doc->key_row * at->ld_kv + g * at->head_dim, width = padded(doc->key_count);
    float *keys = scratch, *s = keys + at->head_dim * width;
    struct block b;
    transpose(keys, width, k + kv, at->ld_kv, doc->key_count, at->head_dim);
    for (size_t i = 0; i < doc->query_count; i += b.rows) {
        describe(&b, at, doc, i);
        for (size_t h = g * group; h < (g + 1) * group; h++) {
            size_t row = doc->query_row + i;
            block_scores(at, kernels, &b, q + row * at->ld_q + h * at->head_dim, keys, width, s);
            for (size_t r = 0; r < b.rows; r++) {
                float max, sum;
                kernels->softmax(s + r * width + b.low[r], b.high[r] - b.low[r], &max, &sum);
                if (row_max) row_max[(row + r) * at->n_head + h] = max;
                if (row_sum) row_sum[(row + r) * at->n_head + h] = sum;
            }
            struct terms t = {s, width, 1, v + kv, at->ld_kv};
            combine(b.rows, &t, b.low, b.high, at->head_dim, o + row * at->ld_o + h * at->head_dim, at->ld_o, false);
        }
    }
}

/* Rule-3 sum over d of fma(x, y). */
static float dot_lanes(const float *x, const float *y, size_t n) {
    v16 lane = v16_set1(0.0f);
    size_t d = 0;
    for (; d + LANES <= n; d += LANES) lane = v16_fma(v16_load(x + d), v16_load(y + d), lane);
    if (d < n) { /* lanes beyond the end stay as they are */
        v16 more = v16_fma(v16_load_part(x + d, n - d), v16_load_part(y + d, n - d), lane);
        lane = v16_select(v16_first(n - d), more, lane);
    }
    return v16_sum(lane);
}

/* ds = p * (dp - D), times 1 - (s/cap)^2, times scale; in place of dp, over one row's visible keys. */
static void score_gradients(const struct ft_attention *at, const float *p, const float *s, float D, float *dp, size_t n) {
    if (at->softcap != 0.0f) {
        for (size_t j = 0; j < n; j++) {
            float t = s[j] / at->softcap, square = t * t, ds = p[j] * (dp[j] - D);
            ds *= 1.0f - square;
            dp[j] = ds * at->scale;
        }
        return;
    }
    v16 d = v16_set1(D), scale = v16_set1(at->scale);
    size_t j = 0;
    for (; j + LANES <= n; j += LANES)
        v16_store(dp + j, v16_mul(v16_mul(v16_load(p + j), v16_sub(v16_load(dp + j), d)), scale));
    for (; j < n; j++) dp[j] = p[j] * (dp[j] - D) * at->scale;
}

/* dk and dv: rows are keys, terms are the block's queries. Query r sees key j when low[r] <= j < high[r], and both
 * bounds ascend, so the queries of a key are a range whose ends ascend with the key. */
static void key_gradients(const struct ft_attention *at, const struct block *b, const struct terms *to_k,
                          const struct terms *to_v, float *dk, float *dv) {
    size_t low[TILE], high[TILE], first = 0, last = 0, begin = b->low[0];
    for (size_t j = begin; j < b->to; j += TILE) {
        size_t rows = b->to - j < TILE ? b->to - j : TILE;
        for (size_t x = 0; x < rows; x++) {
            while (first < b->rows && b->high[first] <= j + x) first++;
            while (last < b->rows && b->low[last] <= j + x) last++;
            low[x] = first;
            high[x] = last > first ? last : first;
        }
        struct terms tk = *to_k, tv = *to_v;
        tk.coefficient += j;
        tv.coefficient += j;
        combine(rows, &tk, low, high, at->head_dim, dk + j * at->ld_kv, at->ld_kv, true);
        combine(rows, &tv, low, high, at->head_dim, dv + j * at->ld_kv, at->ld_kv, true);
    }
}

struct backward {
    const float *q, *k, *v, *o, *row_max, *row_sum, *d_o;
    float *dq, *dk, *dv;
};

static void backward_block(const struct ft_attention *at, const struct ft_kernels *kernels, const struct block *b,
                           size_t row, size_t h, size_t kv, const struct backward *x, const float *keys,
                           const float *values, size_t width, float *p, float *ds, float *s) {
    size_t hd = at->head_dim, q = row * at->ld_q + h * hd, o = row * at->ld_o + h * hd;
    block_scores(at, kernels, b, x->q + q, keys, width, p);
    dots(b, x->d_o + o, at->ld_o, hd, values, width, 1.0f, ds);
    for (size_t r = 0; r < b->rows; r++) {
        size_t from = r * width + b->low[r], n = b->high[r] - b->low[r], stat = (row + r) * at->n_head + h;
        if (at->softcap != 0.0f) memcpy(s, p + from, n * sizeof *s);
        kernels->softmax_again(p + from, n, x->row_max[stat], x->row_sum[stat]);
        float D = dot_lanes(x->d_o + o + r * at->ld_o, x->o + o + r * at->ld_o, hd);
        score_gradients(at, p + from, s, D, ds + from, n);
    }
    struct terms to_q = {ds, width, 1, x->k + kv, at->ld_kv};
    struct terms to_k = {ds, 1, width, x->q + q, at->ld_q}, to_v = {p, 1, width, x->d_o + o, at->ld_o};
    combine(b->rows, &to_q, b->low, b->high, hd, x->dq + q, at->ld_q, false);
    key_gradients(at, b, &to_k, &to_v, x->dk + kv, x->dv + kv);
}

static void backward_unit(const struct ft_attention *at, const struct ft_kernels *kernels,
                          const struct ft_attention_document *doc, size_t g, const float *q, const float *k,
                          const float *v, const float *o, const float *row_max, const float *row_sum, const float *d_o,
                          float *dq, float *dk, float *dv, float *scratch) {
    size_t group = at->n_head / at->n_kv, kv = doc->key_row * at->ld_kv + g * at->head_dim, width = padded(doc->key_count);
    struct backward x = {q, k, v, o, row_max, row_sum, d_o, dq, dk, dv};
    float *keys = scratch, *values = keys + at->head_dim * width, *p = values + at->head_dim * width;
    float *ds = p + FT_ATTENTION_BLOCK * width, *s = ds + FT_ATTENTION_BLOCK * width;
    transpose(keys, width, k + kv, at->ld_kv, doc->key_count, at->head_dim);
    transpose(values, width, v + kv, at->ld_kv, doc->key_count, at->head_dim);
    for (size_t j = 0; j < doc->key_count; j++) {
        memset(dk + kv + j * at->ld_kv, 0, at->head_dim * sizeof *dk);
        memset(dv + kv + j * at->ld_kv, 0, at->head_dim * sizeof *dv);
    }
    struct block b;
    for (size_t h = g * group; h < (g + 1) * group; h++)
        for (size_t i = 0; i < doc->query_count; i += b.rows)
            backward_block(at, kernels, describe(&b, at, doc, i), doc->query_row + i, h, kv, &x, keys, values, width, p,
                           ds, s);
}

const struct ft_attention_isa FT_ATTENTION = {forward_unit, backward_unit};
