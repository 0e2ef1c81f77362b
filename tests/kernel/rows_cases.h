/* SPDX-License-Identifier: MIT
 *
 * Every function of rows.h as a case that reads numbers from a pool and writes to one output buffer, and the
 * comparison of an exec with the scalar specification on one thread. Used by rows.c for the variants that this
 * machine runs, and by rows_avx512_simde.c for one that it may not.
 */
#ifndef ROWS_CASES_H
#define ROWS_CASES_H

#include "../tap/tap.h"

#include "ft/exec.h"
#include "ft/rows.h"

#include <stdlib.h>

enum { POOL = 1 << 20, OUT = 1 << 20, MARGIN = 64, IDS = 4096, TABLE_ROWS = 61 };

struct inputs {
    float *pool; /* POOL numbers, 16 more behind them */
    uint32_t id[IDS];
};

/* A case lays out its outputs from `out` on, takes inputs from the pool, and returns how many numbers it wrote. */
typedef size_t run_case(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out);
struct row_case {
    const char *name;
    run_case *run;
};

/* --- numbers ------------------------------------------------------------------------------------------------ */

static uint64_t random_state;
static uint32_t random32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}
static float random_unit(void) { return (float)(int32_t)random32() * 0x1p-31f; }

static const float special[] = {0.0f,  -0.0f, 0x1p-149f,        -0x1p-149f,        0x1.8p-127f, -0x1p-126f,
                                1.0f,  -1.0f, 0x1.fffffep127f, -0x1.fffffep127f, 1e30f,       -1e30f,
                                88.8f, -104.5f, 0x1p-20f,        3.5f};

enum flavour { ORDINARY, WIDE, DENORMAL, SPECIAL, NONFINITE, FLAVOURS };
static const char *const flavour_name[] = {"ordinary", "wide-ranging", "denormal", "special", "non-finite"};

static float draw(enum flavour flavour) {
    uint32_t r = random32();
    switch (flavour) {
    case ORDINARY: return 3.0f * random_unit();
    case WIDE: return ft_from_bits((r & 0x80000000u) | (r % 200u + 20u) << 23 | random32() >> 9);
    case DENORMAL: return ft_from_bits(r & 0x807fffffu);
    case SPECIAL: return r % 3 ? random_unit() : special[r / 3 % (sizeof special / sizeof *special)];
    default:
        if (r % 40 == 0) return ft_from_bits(r % 80 ? 0x7f800000u : 0xff800000u);
        return r % 41 == 0 ? ft_from_bits(0x7fc00000u) : random_unit();
    }
}

static void fill(struct inputs *in, enum flavour flavour) {
    for (size_t i = 0; i < POOL + 16; i++) in->pool[i] = draw(flavour);
    for (size_t i = 0; i < IDS; i++) in->id[i] = random32();
}

/* --- cases -------------------------------------------------------------------------------------------------- */

/* Successive pieces of the pool and of the output. */
struct cursor {
    const float *in, *in_end;
    float *out, *begin;
};
static struct cursor start(const struct inputs *in, float *out) {
    return (struct cursor){in->pool, in->pool + POOL, out, out};
}
static const float *take(struct cursor *c, size_t n) {
    const float *p = c->in;
    c->in += n;
    if (c->in > c->in_end) abort(); /* a case too large for the pool: a bug of the test */
    return p;
}
/* n output numbers that start as a copy of pool numbers */
static float *give(struct cursor *c, size_t n) {
    float *p = c->out;
    const float *from = take(c, n);
    for (size_t i = 0; i < n; i++) p[i] = from[i];
    c->out += n;
    return p;
}
static size_t used(const struct cursor *c) { return (size_t)(c->out - c->begin); }

static void indexes(uint32_t *to, const struct inputs *in, size_t n, size_t below) {
    for (size_t i = 0; i < n; i++) to[i] = in->id[i % IDS] % (uint32_t)below;
}
static uint32_t index_a[IDS], index_b[IDS];

static size_t run_rmsnorm(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    const float *x = take(&c, T * C), *w = take(&c, C), *dy = take(&c, T * C);
    for (int plus_one = 0; plus_one < 2; plus_one++) {
        float *rstd = give(&c, T), *y = give(&c, T * C), *dx = give(&c, T * C), *dw = give(&c, C);
        ft_rmsnorm_forward(exec, T, C, x, w, plus_one, 1e-5f, y, rstd);
        ft_rmsnorm_backward(exec, T, C, x, w, plus_one, rstd, dy, NULL, dx, dw);
    }
    float *rstd = give(&c, T), *y = give(&c, T * C), *dw = give(&c, C);
    float *residual = give(&c, T * C), *own = give(&c, T * C);
    ft_rmsnorm_forward(exec, T, C, x, w, false, 0.0f, y, rstd);
    ft_rmsnorm_backward(exec, T, C, x, w, false, rstd, dy, residual, residual, NULL);
    ft_rmsnorm_backward(exec, T, C, x, w, false, rstd, own, NULL, own, dw);
    return used(&c);
}

static size_t run_layernorm(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    const float *x = take(&c, T * C), *w = take(&c, C), *b = take(&c, C), *dy = take(&c, T * C);
    float *mean = give(&c, T), *rstd = give(&c, T), *dw = give(&c, C), *db = give(&c, C);
    float *y = give(&c, T * C), *y2 = give(&c, T * C), *dx = give(&c, T * C), *dx2 = give(&c, T * C);
    ft_layernorm_forward(exec, T, C, x, w, NULL, 1e-5f, y, mean, rstd);
    ft_layernorm_forward(exec, T, C, x, w, b, 1e-5f, y2, mean, rstd);
    ft_layernorm_backward(exec, T, C, x, w, mean, rstd, dy, NULL, dx, dw, db);
    ft_layernorm_backward(exec, T, C, x, w, mean, rstd, dy, NULL, dx2, dw, NULL);
    float *residual = give(&c, T * C), *own = give(&c, T * C);
    ft_layernorm_backward(exec, T, C, x, w, mean, rstd, dy, residual, residual, NULL, db);
    ft_layernorm_backward(exec, T, C, x, w, mean, rstd, own, NULL, own, dw, db);
    return used(&c);
}

/* C is half the rotary dimensions of each of three heads, which have one dimension more. */
static size_t run_rope(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    enum { HEADS = 3, POSITIONS = 9 };
    struct cursor c = start(in, out);
    size_t head_dim = 2 * C + 1, ld = HEADS * head_dim + 2;
    const float *cosine = take(&c, POSITIONS * C), *sine = take(&c, POSITIONS * C);
    float *x = give(&c, T * ld), *y = give(&c, T * ld);
    indexes(index_a, in, T, POSITIONS);
    ft_rope(exec, T, HEADS, head_dim, 2 * C, x, ld, index_a, cosine, sine, false);
    ft_rope(exec, T, HEADS, head_dim, 2 * C, y, ld, index_a, cosine, sine, true);
    return used(&c);
}

static size_t run_activation(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    size_t n = T * C;
    const float *x = take(&c, n), *dy = take(&c, n), *again = c.in;
    for (int kind = FT_SILU; kind <= FT_RELU; kind++, c.in = again) {
        enum ft_activation act = (enum ft_activation)kind;
        float *own = give(&c, n), *own_dx = give(&c, n), *y = give(&c, n), *dx = give(&c, n);
        ft_activation_forward(exec, act, n, own, own);
        ft_activation_forward(exec, act, n, x, y);
        ft_activation_backward(exec, act, n, x, dy, dx);
        ft_activation_backward(exec, act, n, x, own_dx, own_dx);
    }
    return used(&c);
}

static size_t run_gated(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    size_t ld = 2 * C + 3;
    const float *both = take(&c, T * ld), *dh = take(&c, T * C), *again = c.in;
    for (int kind = FT_SILU; kind <= FT_RELU; kind++, c.in = again) {
        enum ft_activation act = (enum ft_activation)kind;
        float *d = give(&c, T * ld), *own = give(&c, T * ld), *h = give(&c, T * C), *h2 = give(&c, T * C);
        ft_gated_forward(exec, act, T, C, both, both + C, ld, h);
        ft_gated_backward(exec, act, T, C, both, both + C, ld, dh, d, d + C, NULL);
        ft_gated_backward(exec, act, T, C, own, own + C, ld, dh, own, own + C, h2);
    }
    return used(&c);
}

static size_t run_cross_entropy(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    if (C == 0) return 0;
    size_t ld = C + 5;
    const float *logits = take(&c, T * ld), *weight = take(&c, T);
    indexes(index_a, in, T, C);
    for (int pass = 0; pass < 3; pass++) {
        uint32_t *predicted = pass == 2 ? NULL : index_b;
        float *x = give(&c, T * ld), *loss = give(&c, T), *seen = give(&c, T);
        if (pass == 0) ft_cross_entropy_loss(exec, T, C, logits, ld, index_a, loss, predicted);
        else ft_cross_entropy(exec, T, C, x, ld, index_a, weight, loss, predicted);
        for (size_t t = 0; t < T; t++) seen[t] = (float)index_b[t];
    }
    return used(&c);
}

static size_t run_softcap(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    float *x = give(&c, T * C), *dx = give(&c, T * C);
    ft_softcap_forward(exec, T * C, 30.0f, x);
    ft_softcap_backward(exec, T * C, 30.0f, x, dx);
    return used(&c);
}

static size_t run_embed(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    const float *table = take(&c, TABLE_ROWS * C), *positions = take(&c, TABLE_ROWS * C), *dy = take(&c, T * C);
    indexes(index_a, in, T, TABLE_ROWS);
    indexes(index_b, in, T, 7);
    for (int kind = FT_F32; kind <= FT_F16; kind++) {
        enum ft_dtype dtype = (enum ft_dtype)kind;
        ft_embed(exec, T, C, index_a, table, dtype, dtype == FT_F32 ? 1.0f : 1.7f, index_b,
                 dtype == FT_F16 ? NULL : positions, dtype, give(&c, T * C));
    }
    float *d_table = give(&c, TABLE_ROWS * C);
    ft_embed_backward(exec, T, C, index_a, dy, 1.0f, d_table);
    ft_embed_backward(exec, T, C, index_a, dy, 1.7f, d_table);
    return used(&c);
}

static size_t run_moves(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    const float *x = take(&c, T * (C + 3));
    float *gathered = give(&c, T * C), *scattered = give(&c, T * C), *sums = give(&c, C), *y = give(&c, T * C);
    float *square = give(&c, 2), *finite = give(&c, 1);
    for (size_t t = 0; t < T; t++) index_a[t] = (uint32_t)(T - 1 - t); /* scatter wants distinct rows */
    ft_gather_rows(exec, T, C, index_a, x, gathered);
    ft_scatter_rows(exec, T, C, index_a, x, scattered);
    ft_column_sum(exec, T, C, x, C + 3, sums);
    ft_add(exec, T * C, x, y);
    ft_scale(exec, T * C, -1.7f, y);
    double sum = ft_sum_squares(exec, T * C, x);
    if (sum != sum) square[0] = square[1] = 0.0f;
    else memcpy(square, &sum, sizeof sum);
    *finite = (float)ft_all_finite(exec, T * C, x);
    return used(&c);
}

static size_t run_adamw(struct ft_exec *exec, const struct inputs *in, size_t T, size_t C, float *out) {
    struct cursor c = start(in, out);
    size_t n = T * C;
    struct ft_adamw step = {.lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .one_minus_beta1 = 0.1f,
                            .one_minus_beta2 = 0.001f, .eps = 1e-8f, .inv_bias1 = 10.0f, .inv_bias2 = 1000.0f,
                            .grad_scale = 0.37f};
    const float *grad = take(&c, n);
    float *p = give(&c, n), *m = give(&c, n), *v = give(&c, n);
    ft_adamw(exec, &step, n, p, grad, m, v);
    step.lr_decay = 1e-4f;
    ft_adamw(exec, &step, n, p, grad, m, v);
    return used(&c);
}

static const struct row_case cases[] = {
    {"rmsnorm", run_rmsnorm}, {"layernorm", run_layernorm}, {"rope", run_rope},
    {"activation", run_activation}, {"gated", run_gated}, {"cross-entropy", run_cross_entropy},
    {"softcap", run_softcap}, {"embed", run_embed}, {"moves and sums", run_moves}, {"adamw", run_adamw},
};

/* --- comparison --------------------------------------------------------------------------------------------- */

static bool same_number(float a, float b) {
    return ft_to_bits(a) == ft_to_bits(b) || (a != a && b != b); /* a NaN is a NaN */
}

struct pair {
    struct ft_exec *scalar, *other;
    struct inputs in;
    float *a, *b; /* OUT numbers and a margin that must stay untouched */
};

/* False with a diagnosis when one number, or the margin behind the outputs, differs. */
static bool agree(struct pair *p, const struct row_case *rc, size_t T, size_t C, size_t misalign) {
    struct inputs in = p->in;
    in.pool += misalign;
    float *a = p->a + misalign, *b = p->b + (misalign ? 3 : 0);
    size_t n = rc->run(p->scalar, &in, T, C, a);
    if (n > OUT) abort();
    for (size_t i = 0; i < MARGIN; i++) a[n + i] = b[n + i] = 12345.0f;
    rc->run(p->other, &in, T, C, b);
    for (size_t i = 0; i < n + MARGIN; i++) {
        if (same_number(a[i], b[i])) continue;
        printf("# %s T %zu C %zu misalign %zu: output %zu of %zu is %a, not %a\n", rc->name, T, C, misalign, i, n,
               (double)b[i], (double)a[i]);
        return false;
    }
    return true;
}

/* Small shapes are one task, so they are tried on one thread only. */
static bool all_shapes(struct pair *p, const struct row_case *rc) {
    static const struct {
        size_t T, C;
    } large[] = {{2, 127}, {1, 128}, {3, 129}, {5, 1027}, {1, 5003}, {37, 511}, {300, 67}, {90, 260}};
    for (size_t C = 0; C <= 70 && ft_exec_threads(p->other) == 1; C++)
        for (size_t T = 0; T <= 3; T++)
            if (!agree(p, rc, T, C, C % 3)) return false;
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (!agree(p, rc, large[i].T, large[i].C, i % 4)) return false;
    return true;
}

/* FNV-1a over the scalar bits of every case: the same on every machine and from every compiler. */
__attribute__((unused)) static uint64_t golden_hash(struct pair *p) {
    static const struct {
        size_t T, C;
    } shape[] = {{3, 37}, {2, 129}, {41, 70}};
    uint64_t hash = 14695981039346656037u;
    for (int flavour = 0; flavour < FLAVOURS; flavour++) {
        random_state = (uint64_t)flavour;
        fill(&p->in, (enum flavour)flavour);
        for (size_t i = 0; i < sizeof cases / sizeof *cases * 3; i++) {
            size_t n = cases[i / 3].run(p->scalar, &p->in, shape[i % 3].T, shape[i % 3].C, p->a);
            for (size_t k = 0; k < n; k++)
                hash = (hash ^ (p->a[k] == p->a[k] ? ft_to_bits(p->a[k]) : 0x7fc00000u)) * 1099511628211u;
        }
    }
    return hash;
}

static float *numbers(size_t n) {
    float *p = calloc(n, sizeof *p);
    if (!p) abort();
    return p;
}

static struct pair pair_new(enum ft_isa isa, unsigned threads) {
    struct pair p = {.in.pool = numbers(POOL + 16), .a = numbers(OUT + MARGIN + 8), .b = numbers(OUT + MARGIN + 8)};
    if (ft_exec_new_isa(&p.scalar, 1, FT_ISA_SCALAR, NULL) || ft_exec_new_isa(&p.other, threads, isa, NULL)) abort();
    return p;
}

static void pair_free(struct pair *p) {
    ft_exec_free(p->other);
    ft_exec_free(p->scalar);
    free(p->in.pool);
    free(p->a);
    free(p->b);
}

static void compare_with_scalar(const char *what, enum ft_isa isa, unsigned threads) {
    struct pair p = pair_new(isa, threads);
    for (int flavour = 0; flavour < FLAVOURS; flavour++) {
        random_state = 1234 + (uint64_t)flavour;
        fill(&p.in, (enum flavour)flavour);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            ok(all_shapes(&p, &cases[i]), "%s, %u threads: %s on %s numbers, the scalar bits", what, threads,
               cases[i].name, flavour_name[flavour]);
    }
    pair_free(&p);
}

#endif
