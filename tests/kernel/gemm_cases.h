/* SPDX-License-Identifier: MIT
 *
 * The matrix product against its scalar specification, by memcmp; included by gemm.c for what the machine runs
 * and by gemm_avx512_simde.c for what it may not. NaN compares as NaN: which operand's payload and sign a NaN result takes is
 * not part of ft-num-1 (a run stops at the first non-finite value).
 */
#ifndef GEMM_CASES_H
#define GEMM_CASES_H

#include "ft/gemm.h"
#include "ft/memory.h"
#include "ft/rows.h"
#include "../tap/tap.h"

#include <math.h>
#include <stdlib.h>

/* --- inputs ---------------------------------------------------------------------------------------------- */

static uint64_t state = 1;

static uint32_t random32(void) {
    state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}
static size_t below(size_t n) { return (size_t)((uint64_t)random32() * n >> 32); }

enum values { ORDINARY, TINY, SPECIAL, VALUES };

static float random_value(enum values kind) {
    static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e38f, -1e38f, 0x1p-149f, -0x1p-126f};
    float x = ((float)random32() * 0x1p-31f - 1.0f);
    if (kind == TINY) return x * 0x1p-75f;
    if (kind == SPECIAL && below(8) == 0) return special[below(sizeof special / sizeof *special)];
    return x;
}

/* A matrix of random values somewhere in an allocation of its own, so that sanitizers see every overrun. */
struct matrix {
    unsigned char *memory;
    struct ft_operand view;
};

enum layout { ROWS, COLUMNS, ROWS_PADDED, COLUMNS_PADDED, BOTH_STRIDED, LAYOUTS };

static struct matrix matrix(size_t rows, size_t cols, enum ft_dtype dtype, enum layout layout, enum values kind,
                            size_t misaligned) {
    size_t rs = cols, cs = 1;
    if (layout == COLUMNS || layout == COLUMNS_PADDED) rs = 1, cs = rows;
    if (layout == ROWS_PADDED) rs += 3;
    if (layout == COLUMNS_PADDED) cs += 5;
    if (layout == BOTH_STRIDED) rs = cols * 2 + 1, cs = 2;
    size_t size = ft_dtype_size(dtype), count = rows && cols ? (rows - 1) * rs + (cols - 1) * cs + 1 : 0;
    struct matrix m = {malloc(count * size + misaligned + 1), {NULL, dtype, rs, cs}};
    if (!m.memory) abort();
    m.view.data = m.memory + misaligned;
    for (size_t i = 0; i < count; i++) {
        float x = random_value(kind);
        ft_narrow(m.memory + misaligned + i * size, dtype, &x, 1);
    }
    return m;
}

/* --- comparison ------------------------------------------------------------------------------------------ */

static bool same(const float *x, const float *y, size_t count) {
    if (memcmp(x, y, count * sizeof *x) == 0) return true;
    for (size_t i = 0; i < count; i++)
        if (ft_to_bits(x[i]) != ft_to_bits(y[i]) && !(isnan(x[i]) && isnan(y[i]))) return false;
    return true;
}

struct options {
    size_t m, n, k;
    enum ft_dtype a_type, b_type;
    enum layout a_layout, b_layout;
    enum values kind;
    size_t misaligned;
    int packed; /* 0, or 1 + the dtype to pack to */
    bool accumulate, bias;
    float scale;
    int add; /* 0 none, 1 another matrix, 2 c itself */
    bool a_aligned; /* in spite of misaligned */
    bool turned;    /* what is packed is the transpose */
    size_t more;    /* terms of a second pair of operands */
    enum layout more_a, more_b;
};

static void fill(float *x, size_t count, enum values kind) {
    for (size_t i = 0; i < count; i++) x[i] = random_value(kind);
}

/* One element by the specification, `before` being its value beforehand. */
static float expected_element(const struct ft_product *p, size_t i, size_t j, float before) {
    struct ft_product one = *p;
    one.m = one.n = 1;
    one.a.data = (const unsigned char *)p->a.data + i * p->a.row_stride * ft_dtype_size(p->a.dtype);
    one.b.data = (const unsigned char *)p->b.data + j * p->b.col_stride * ft_dtype_size(p->b.dtype);
    one.more.a.data = (const float *)p->more.a.data + i * p->more.a.row_stride;
    one.more.b.data = (const float *)p->more.b.data + j * p->more.b.col_stride;
    one.c = &before;
    if (p->bias) one.bias = p->bias + j;
    if (p->add) one.add = p->add == p->c ? &before : p->add + i * p->ld_add + j;
    ft_gemm_reference(&one);
    return before;
}

#ifdef FT_SANITIZED
enum { BUDGET = 1 << 16 };
#else
enum { BUDGET = 1 << 20 }; /* multiplications by the specification for one product */
#endif

/* Compares c with the specification applied to `before`, in place: all of it, or a sample when that would
 * take too long. */
static bool check(struct ft_product p, const struct ft_operand *b, float *before) {
    const float *c = p.c;
    size_t count = p.m * p.ldc + 1;
    p.b = *b;
    if (below(2)) p.packed = NULL; /* the specification reads packed memory too */
    bool sampled = p.m * p.n * (p.k + 1) > BUDGET;
    if (sampled) p.packed = NULL;
    if (p.add == p.c) p.add = before;
    p.c = before;
    if (!sampled) {
        ft_gemm_reference(&p);
        return same(c, before, count);
    }
    for (size_t sample = 0; sample < 2 + BUDGET / (p.k + 1); sample++) {
        size_t i = sample < 2 ? (p.m - 1) * sample : below(p.m), j = below(p.n);
        float value = expected_element(&p, i, j, before[i * p.ldc + j]);
        if (!same(&c[i * p.ldc + j], &value, 1)) return false;
    }
    return true;
}

/* A product in memory of its own. */
struct instance {
    struct options o;
    struct matrix a, b, more_a, more_b;
    float *c, *before, *add, *bias;
    struct ft_packed pack;
    struct ft_product p;
};

static void pack_instance(struct ft_exec *exec, struct instance *in) {
    const struct options *o = &in->o;
    const struct ft_operand *b = &in->b.view;
    struct ft_operand turned = {b->data, b->dtype, b->col_stride, b->row_stride};
    in->pack = (struct ft_packed){.k = o->turned ? o->n : o->k, .n = o->turned ? o->k : o->n, .dtype = (enum ft_dtype)(o->packed - 1)};
    in->pack.data = aligned_alloc(FT_ALIGN, ft_packed_size(exec, in->pack.k, in->pack.n, in->pack.dtype) + FT_ALIGN);
    if (!in->pack.data) abort();
    ft_pack(exec, &in->pack, o->turned ? &turned : b);
    in->p.packed = &in->pack;
    in->p.packed_transposed = o->turned;
    in->p.b.data = NULL;
}

/* a: another's, or NULL. */
static void make_instance(struct ft_exec *exec, struct instance *in, const struct options *o, const struct ft_operand *a) {
    size_t ldc = o->n + below(4), count = o->m * ldc + 1, ld_add = o->n + 2;
    *in = (struct instance){.o = *o};
    if (!a) in->a = matrix(o->m, o->k, o->a_type, o->a_layout, o->kind, o->a_aligned ? 0 : o->misaligned);
    in->b = matrix(o->k, o->n, o->b_type, o->b_layout, o->kind, o->misaligned);
    in->c = malloc(2 * count * sizeof *in->c);
    in->add = malloc((o->m * ld_add + 1) * sizeof *in->add);
    in->bias = malloc((o->n + 1) * sizeof *in->bias);
    if (!in->c || !in->add || !in->bias) abort();
    in->before = in->c + count;
    fill(in->c, count, o->kind);
    memcpy(in->before, in->c, count * sizeof *in->c);
    fill(in->add, o->m * ld_add, o->kind);
    fill(in->bias, o->n, o->kind);
    in->p = (struct ft_product){.m = o->m, .n = o->n, .k = o->k, .a = a ? *a : in->a.view, .b = in->b.view, .c = in->c, .ldc = ldc,
                                .accumulate = o->accumulate, .scale = o->scale, .bias = o->bias ? in->bias : NULL,
                                .add = o->add == 2 ? in->c : o->add ? in->add : NULL, .ld_add = o->add == 2 ? ldc : ld_add};
    in->more_a = matrix(o->m, o->more, FT_F32, o->more_a, o->kind, 0);
    in->more_b = matrix(o->more, o->n, FT_F32, o->more_b, o->kind, 0);
    in->p.more = (struct ft_terms){o->more, in->more_a.view, in->more_b.view};
    if (o->packed) pack_instance(exec, in);
}

/* Compares its c, which was computed, with the specification; also that nothing beside c was written. Frees it. */
static bool end_instance(struct instance *in) {
    const struct options *o = &in->o;
    bool good = check(in->p, &in->b.view, in->before);
    if (!good)
        printf("# differs: m %zu n %zu k %zu dtypes %d %d layouts %d %d values %d misaligned %zu packed %d accumulate %d "
               "bias %d scale %g add %d turned %d more %zu\n", o->m, o->n, o->k, (int)o->a_type, (int)o->b_type, (int)o->a_layout,
               (int)o->b_layout, (int)o->kind, o->misaligned, o->packed, o->accumulate, o->bias, (double)o->scale, o->add,
               o->turned, o->more);
    free(in->more_b.memory);
    free(in->more_a.memory);
    free(in->pack.data);
    free(in->bias);
    free(in->add);
    free(in->c);
    free(in->a.memory);
    free(in->b.memory);
    return good;
}

static bool agrees(struct ft_exec *exec, const struct options *o) {
    struct instance in;
    make_instance(exec, &in, o, NULL);
    ft_gemm(exec, &in.p);
    return end_instance(&in);
}

/* --- the tests ------------------------------------------------------------------------------------------- */

static const char *name;

static struct options plain(size_t m, size_t n, size_t k) { return (struct options){.m = m, .n = n, .k = k}; }

static void test_sizes(struct ft_exec *exec) {
    static const size_t size[] = {0, 1, 2, 3, 5, 7, 8, 13, 17, 33};
    enum { COUNT = sizeof size / sizeof *size };
    bool good = true;
    for (size_t i = 0; i < COUNT * COUNT * COUNT; i++) {
        struct options o = plain(size[i % COUNT], size[i / COUNT % COUNT], size[i / COUNT / COUNT]);
        good &= agrees(exec, &o);
        o.a_layout = COLUMNS;
        o.b_layout = i % 2 ? COLUMNS : ROWS;
        o.accumulate = i % 3 == 0;
        good &= agrees(exec, &o);
    }
    ok(good, "%s: every tiny size", name);
}

static struct options random_options(size_t limit, enum values kind) {
    struct options o = {.m = below(limit), .n = below(limit), .k = below(limit), .a_type = (enum ft_dtype)below(3),
                        .b_type = (enum ft_dtype)below(3), .a_layout = (enum layout)below(LAYOUTS),
                        .b_layout = (enum layout)below(LAYOUTS), .kind = kind, .misaligned = below(4),
                        .accumulate = below(2), .bias = below(2), .scale = below(2) ? 0.37f : 0.0f,
                        .add = (int)below(3), .a_aligned = below(2)};
    if (below(3) == 0) o.a_type = o.b_type = FT_F32;
    if (below(3) == 0) o.m = below(20);
    if (below(3) == 0) o.n = below(20);
    if (below(3) == 0) o.packed = 1 + (o.b_type == FT_BF16 && below(2) ? FT_BF16 : FT_F32);
    o.turned = o.packed && below(2);
    if (o.add != 2 && below(3) == 0) o.more = below(40);
    o.more_a = (enum layout)below(LAYOUTS);
    o.more_b = (enum layout)below(LAYOUTS);
    return o;
}

static void test_random(struct ft_exec *exec, enum values kind) {
    static const char *const kinds[VALUES] = {"ordinary", "denormal", "signed zero, infinite and NaN"};
    bool good = true;
    for (int round = 0; round < 150; round++) {
        size_t limit = round % 10 == 0 ? 180 : 60;
        struct options o = random_options(limit, kind);
        good &= agrees(exec, &o);
    }
    ok(good, "%s: random shapes, strides and types of %s numbers", name, kinds[kind]);
}

/* Products side by side: whatever fits and does not, with rows in common or without. */
static void test_together(struct ft_exec *exec) {
    enum { MOST = 7 };
    static struct instance in[MOST];
    static struct ft_product product[MOST];
    bool good = true;
    for (int round = 0; round < 60; round++) {
        size_t count = 1 + below(MOST), limit = round % 10 == 0 ? 300 : round % 3 ? 40 : 130;
        struct options first = random_options(limit, ORDINARY);
        if (round % 4 == 1) first.m = 1 + below(4);
        if (round == 1) first.k = 5000, first.m = 20; /* chunks: not side by side */
        for (size_t i = 0; i < count; i++) {
            size_t kinship = i > 0 ? below(4) : 0; /* none, of the same size, the same rows of A */
            struct options o = i > 0 ? random_options(limit, ORDINARY) : first;
            if (kinship) o.m = first.m, o.k = first.k;
            make_instance(exec, &in[i], &o, kinship > 1 ? &in[0].p.a : NULL);
            product[i] = in[i].p;
        }
        ft_gemm_all(exec, product, count);
        for (size_t i = count; i-- > 0;) good &= end_instance(&in[i]); /* the first has A */
    }
    ok(good, "%s: several side by side", name);
}

/* One row: every number of outputs around the vectors' widths, and of terms around a line's, of both kinds of B. */
static void test_one_row(struct ft_exec *exec) {
    static const size_t outputs[] = {1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 95, 511, 512, 545, 1100};
    static const size_t terms[] = {0, 1, 3, 4, 7, 8, 9, 15, 16, 31, 32, 33, 40, 95, 129};
    bool good = true;
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        for (size_t t = 0; t < sizeof terms / sizeof *terms; t++)
            for (int variant = 0; variant < 6; variant++) {
                struct options o = plain(1, outputs[i], terms[t]);
                o.b_type = (enum ft_dtype)(variant % 3);
                o.b_layout = variant < 3 ? COLUMNS : ROWS;
                if (i % 3 == 0) o.b_layout = variant < 3 ? COLUMNS_PADDED : ROWS_PADDED;
                o.kind = (enum values)((i + t) % VALUES);
                o.misaligned = t % 4;
                o.a_aligned = true;
                o.accumulate = t % 2;
                o.scale = i % 2 ? 0.37f : 0.0f;
                o.bias = (i + t) % 2;
                o.add = (int)(t % 3);
                good &= agrees(exec, &o);
            }
    ok(good, "%s: one row, every type", name);
}

/* Several blocks of K, of A and of B, for each of the driver's ways. */
static void test_blocks(struct ft_exec *exec) {
    bool good = true;
    static const size_t shape[][3] = {{301, 70, 700}, {20, 130, 1100}, {1, 300, 1500}, {2, 140, 900}, {3, 100, 700},
                                      {5, 90, 2100}, {100, 8, 2200}, {100, 3, 1300}, {9, 400, 1100}, {400, 16, 600}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int variant = 0; variant < 8; variant++) {
            struct options o = plain(shape[i][0], shape[i][1], shape[i][2]);
            o.a_layout = variant & 1 ? COLUMNS : ROWS;
            o.b_layout = variant & 2 ? COLUMNS : ROWS;
            o.accumulate = variant & 4;
            o.bias = o.accumulate;
            o.scale = 0.5f;
            o.add = variant % 3;
            if (variant == 2 || variant == 5) o.packed = 1 + FT_F32;
            if (variant == 3 || variant == 6) o.packed = 1 + FT_BF16, o.b_type = FT_BF16;
            o.turned = variant == 3 || variant == 5;
            if (o.add != 2 && i % 2) o.more = i == 1 ? 400 : 16;
            good &= agrees(exec, &o);
        }
    ok(good, "%s: many blocks", name);
}

/* A column-major A whose columns are a multiple of 4 KiB apart is packed in another order; ragged, too. */
static void test_crowded(struct ft_exec *exec) {
    bool good = true;
    for (int variant = 0; variant < 6; variant++) {
        struct options o = plain(variant % 2 ? 2048 : 1024, 70, variant < 2 ? 37 : 700);
        o.a_layout = COLUMNS;
        o.accumulate = variant < 4;
        if (variant >= 4) o.a_type = FT_BF16, o.m = 2048;
        good &= agrees(exec, &o);
    }
    ok(good, "%s: columns of A that crowd into few sets of a cache", name);
}

/* An embedding table that was packed as the head: the same rows to the bit. */
static void test_packed_table(struct ft_exec *exec) {
    enum { V = 75, C = 29, T = 90 };
    static float plainly[T * C], turned_out[T * C];
    uint32_t id[T], position[T];
    for (size_t t = 0; t < T; t++) id[t] = (uint32_t)(t % V), position[t] = (uint32_t)(t % 7);
    struct matrix positions = matrix(7, C, FT_F32, ROWS, ORDINARY, 0);
    bool good = true;
    for (int kind = 0; kind < 2; kind++) {
        enum ft_dtype dtype = kind ? FT_BF16 : FT_F32;
        struct matrix table = matrix(V, C, dtype, ROWS, ORDINARY, 0);
        struct ft_operand turned = {table.view.data, dtype, 1, C};
        struct ft_packed pack = {.k = C, .n = V, .dtype = dtype};
        pack.data = aligned_alloc(FT_ALIGN, ft_packed_size(exec, C, V, dtype) + FT_ALIGN);
        if (!pack.data) abort();
        ft_pack(exec, &pack, &turned);
        for (int scaled = 0; scaled < 2; scaled++) {
            const void *added = scaled ? NULL : positions.view.data;
            float scale = scaled ? 1.7f : 1.0f;
            ft_embed(exec, T, C, id, table.view.data, dtype, scale, position, added, FT_F32, plainly);
            ft_embed_packed(exec, T, id, &pack, scale, position, added, FT_F32, turned_out);
            good &= memcmp(plainly, turned_out, sizeof turned_out) == 0;
        }
        free(pack.data);
        free(table.memory);
    }
    free(positions.memory);
    ok(good, "%s: rows of a packed table", name);
}

/* More of B than the exec's memory holds, and of chains that cannot rest in C. */
static void test_chunks(struct ft_exec *exec) {
    struct options o = plain(3, 1100, 5000);
    bool good = agrees(exec, &o);
    o = plain(2, 20, 270000);
    o.b_layout = COLUMNS;
    good &= agrees(exec, &o);
    o.a_layout = COLUMNS;
    o.add = 2;
    good &= agrees(exec, &o);
    o = plain(20, 2, 270000);
    o.a_layout = COLUMNS;
    o.accumulate = true;
    good &= agrees(exec, &o);
    o = plain(1200, 1100, 340);
    o.add = 2;
    good &= agrees(exec, &o);
    o = plain(40, 50, 6000);
    o.packed = 1 + FT_BF16;
    o.b_type = FT_BF16;
    o.turned = true;
    o.more = 8;
    good &= agrees(exec, &o);
    ok(good, "%s: more than the exec's memory holds", name);
}

/* Side by side with the same rows of A, which differ in how they are cut: in blocks of rows, or of K. */
static void test_rows_in_common(struct ft_exec *exec) {
    static const size_t columns[] = {80, 310, 100, 90};
    struct instance in[4];
    struct ft_product product[4];
    bool good = true;
    for (size_t i = 0; i < 4; i++) {
        struct options o = plain(300, columns[i], 300);
        o.packed = i > 1 ? 1 + FT_F32 : 0;
        o.turned = i == 3;
        make_instance(exec, &in[i], &o, i > 0 ? &in[0].p.a : NULL);
        product[i] = in[i].p;
    }
    ft_gemm_all(exec, product, 4);
    for (size_t i = 4; i-- > 0;) good &= end_instance(&in[i]);
    ok(good, "%s: rows in common", name);
}

static void compare_with_specification(const char *isa_name, enum ft_isa isa, unsigned threads) {
    struct ft_exec *exec;
    struct ft_error error;
    char text[64];
    (void)snprintf(text, sizeof text, "%s, %u threads", isa_name, threads);
    name = text;
    state = 1;
    if (!ok(ft_exec_new_isa(&exec, threads, isa, &error) == FT_OK, "%s: exec", name)) return;
    if (threads == 2) test_sizes(exec);
    test_one_row(exec);
    for (int kind = 0; kind < VALUES; kind++) test_random(exec, (enum values)kind);
    test_together(exec);
    test_rows_in_common(exec);
    if (isa != FT_ISA_SCALAR) test_blocks(exec);
    if (isa != FT_ISA_SCALAR && threads == 2) test_chunks(exec);
    if (isa != FT_ISA_SCALAR && threads == 2) test_crowded(exec);
    test_packed_table(exec);
    ft_exec_free(exec);
}

#endif
