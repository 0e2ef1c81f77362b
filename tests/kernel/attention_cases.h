/* SPDX-License-Identifier: MIT
 * Every variant of attention against its scalar specification, bit for bit: shapes, windows, soft-capping, grouped
 * heads, query subsets, threads, awkward numbers. NaN compares as NaN. */
#ifndef ATTENTION_CASES_H
#define ATTENTION_CASES_H

#include "../tap/tap.h"

#include "ft/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DOCS_MAX = 5, ROWS_MAX = 400 };

static uint64_t state = 1;
static uint32_t random32(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}
static size_t below(size_t n) { return random32() % n; }

static float number(int kind) {
    float x = ((float)random32() / 0x1p30f - 1.0f) * 2.0f;
    if (kind == 0) return x;
    switch (below(12)) {
    case 0: return -0.0f;
    case 1: return 0.0f;
    case 2: return x * 0x1p-130f;
    case 3: return x * 0x1p-20f;
    case 4: return kind == 2 && below(40) == 0 ? INFINITY : x;
    case 5: return kind == 2 && below(40) == 0 ? NAN : x;
    default: return x;
    }
}

static float *numbers(size_t n, int kind) {
    float *p = malloc((n + 1) * sizeof *p); /* one more, so that a test may begin off alignment */
    for (size_t i = 0; i < n + 1; i++) p[i] = number(kind);
    return p;
}

static size_t differing(const float *a, const float *b, size_t n) {
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]));
    return wrong;
}

struct shape {
    struct ft_attention at;
    struct ft_attention_document doc[DOCS_MAX];
    uint32_t position[DOCS_MAX][ROWS_MAX];
    size_t rows_q, rows_k;
};

/* few: a single long document, whose work is split further. */
static void make_shape(struct shape *s, bool few) {
    memset(s, 0, sizeof *s);
    static const size_t dims[] = {1, 2, 8, 16, 20, 32, 64, 80};
    s->at.n_kv = 1 + below(3);
    s->at.n_head = s->at.n_kv * (1 + below(3));
    s->at.head_dim = dims[below(8)];
    s->at.scale = 1.0f / sqrtf((float)s->at.head_dim);
    s->at.softcap = below(4) == 0 ? 5.0f : 0.0f;
    s->at.window = below(3) == 0 ? 1 + below(40) : 0;
    s->at.n_document = few ? 1 : 1 + below(DOCS_MAX);
    if (few) s->at.n_kv = 1, s->at.n_head = 2;
    s->at.document = s->doc;
    s->at.ld_q = s->at.n_head * s->at.head_dim + below(3);
    s->at.ld_kv = s->at.n_kv * s->at.head_dim + below(3);
    s->at.ld_o = s->at.n_head * s->at.head_dim + below(3);
    for (size_t d = 0; d < s->at.n_document; d++) {
        struct ft_attention_document *doc = &s->doc[d];
        size_t keys = few ? 100 + below(ROWS_MAX - 100) : 1 + below(below(3) ? 70 : 180);
        size_t queries = below(3) ? keys : below(2) ? 1 + below(keys) : 1;
        *doc = (struct ft_attention_document){s->rows_k, keys, s->rows_q, queries, NULL};
        if (below(2) && queries < keys) { /* an ascending subset */
            size_t n = 0;
            for (size_t p = 0; p < keys && n < queries; p++)
                if (keys - p == queries - n || below(2)) s->position[d][n++] = (uint32_t)p;
            doc->query_position = s->position[d];
        }
        s->rows_q += queries;
        s->rows_k += keys;
    }
}

/* Outputs of one run, reference or variant. */
struct result {
    float *o, *max, *sum, *dq, *dk, *dv;
};

static struct result room(const struct shape *s) {
    size_t q = s->rows_q * s->at.ld_q, k = s->rows_k * s->at.ld_kv, o = s->rows_q * s->at.ld_o, h = s->rows_q * s->at.n_head;
    struct result r = {calloc(o, 4), calloc(h, 4), calloc(h, 4), calloc(q, 4), calloc(k, 4), calloc(k, 4)};
    return r;
}

static void release(struct result *r) {
    free(r->o), free(r->max), free(r->sum), free(r->dq), free(r->dk), free(r->dv);
}

static size_t run_case(struct ft_exec *exec, int kind, bool few) {
    struct shape s;
    make_shape(&s, few);
    size_t nq = s.rows_q * s.at.ld_q, nk = s.rows_k * s.at.ld_kv, no = s.rows_q * s.at.ld_o;
    float *q = numbers(nq, kind), *k = numbers(nk, kind), *v = numbers(nk, kind), *d_o = numbers(no, kind);
    size_t off = below(2);
    struct result want = room(&s), got = room(&s);
    size_t keys = 0;
    for (size_t d = 0; d < s.at.n_document; d++)
        if (s.doc[d].key_count > keys) keys = s.doc[d].key_count;
    void *scratch = aligned_alloc(64, (ft_attention_scratch(exec, &s.at, keys) + 63) / 64 * 64);
    ft_attention_forward_reference(&s.at, q + off, k + off, v + off, want.o, want.max, want.sum);
    ft_attention_backward_reference(&s.at, q + off, k + off, v + off, want.o, want.max, want.sum, d_o + off, want.dq, want.dk, want.dv);
    ft_attention_forward(exec, &s.at, q + off, k + off, v + off, got.o, got.max, got.sum, scratch);
    size_t wrong = differing(want.o, got.o, no) + differing(want.max, got.max, s.rows_q * s.at.n_head) +
                   differing(want.sum, got.sum, s.rows_q * s.at.n_head);
    ft_attention_backward(exec, &s.at, q + off, k + off, v + off, want.o, want.max, want.sum, d_o + off, got.dq, got.dk, got.dv, scratch);
    wrong += differing(want.dq, got.dq, nq) + differing(want.dk, got.dk, nk) + differing(want.dv, got.dv, nk);
    release(&want);
    release(&got);
    free(scratch);
    free(q), free(k), free(v), free(d_o);
    return wrong;
}

static void compare_with_specification(const char *name, enum ft_isa isa, unsigned threads) {
    static const char *const kinds[] = {"plain numbers", "zeros and subnormals", "infinities and NaN"};
    struct ft_exec *exec;
    if (!ok(ft_exec_new_isa(&exec, threads, isa, NULL) == FT_OK, "%s, %u threads", name, threads)) return;
    for (int kind = 0; kind < 3; kind++) {
        size_t wrong = 0;
        for (int n = 0; n < 16; n++) wrong += run_case(exec, kind, n % 4 == 3);
        ok(wrong == 0, "%s, %u threads, %s: %zu bits differ", name, threads, kinds[kind], wrong);
    }
    ft_exec_free(exec);
}

#endif
