/* SPDX-License-Identifier: MIT
 *
 * The driver of the matrix product: cuts it into register tiles and shares them out. B is packed into panels
 * of nr columns (by all threads, or beforehand), A into panels of mr rows by the thread that needs them; a
 * task is a block of C. K is cut into blocks too: between them a chain's value rests in C, or in memory of
 * the exec where C cannot hold it. None of this can change a bit: every chain has the same terms in the same
 * order (ft-num-1, rule 2).
 */
#include "gemm_job.h"

#include "gemv.h"

#include <assert.h>

enum {
    IN_PLACE_COLUMNS = 64, /* products so narrow do not pay for packing A, nor FT_GEMM_IN_PLACE rows for packing B */
    NARROW_KC = 1024,
};

/* C' = B' A': then a long operand whose rows are adjacent in memory is the one read by vectors. */
static void exchange(struct ft_gemm_job *job) {
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
static bool better_exchanged(const struct ft_gemm_job *job) {
    const struct ft_product *p = &job->p;
    if (p->packed || p->ldc == 1) return false;
    if (p->n <= job->isa->narrow_nr && p->m > 4 * p->n) return p->a.row_stride == 1 && p->a.col_stride != 1;
    /* few rows, and B not readable by columns: B's rows become the ones broadcast */
    if (p->m <= job->isa->nr && p->n > 4 * p->m) return p->b.row_stride == 1 && p->b.col_stride != 1;
    return false;
}

static void choose_tiles(struct ft_gemm_job *job) {
    const struct ft_gemm_isa *isa = job->isa;
    const struct ft_product *p = &job->p;
    bool narrow = !p->packed && p->n <= isa->narrow_nr;
    job->mr = narrow ? isa->narrow_mr : isa->mr;
    job->nr = narrow ? isa->narrow_nr : isa->nr;
    job->b_in_place =
        !p->packed && !narrow && p->m <= FT_GEMM_IN_PLACE && in_place(&p->a) && in_place(&p->b) && p->b.col_stride == 1;
    job->pack_a = !in_place(&p->a) || (p->m > job->mr && p->n > IN_PLACE_COLUMNS && !job->b_in_place);
    job->tiles = narrow ? isa->narrow : job->pack_a ? isa->packed : isa->strided;
    size_t kc = isa->kc;
    if (!job->pack_a && !p->packed && !job->b_in_place)
        kc = NARROW_KC;
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

static struct chunks choose_chunks(struct ft_gemm_job *job, bool rest_in_c) {
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
    if (job->pack_a && c.k > FT_GEMM_A_TERMS) {
        size_t blocks = ceil_div(c.k, job->kc);
        c.k = least(ceil_div(blocks, ceil_div(c.k, FT_GEMM_A_TERMS)), FT_GEMM_A_TERMS / job->kc) * job->kc;
    }
    if (shared && c.k) c.n = least(c.n, FT_GEMM_SHARED / c.k / job->nr * job->nr);
    if (!rest_in_c && c.k < p->k) {
        c.n = least(c.n, 64 * job->nr);
        c.m = least(p->m, FT_GEMM_PARTIAL / c.n / job->mr * job->mr);
    }
    return c;
}

/* Where chains rest between chunks of K. */
static bool rests_in_c(const struct ft_gemm_job *job) { return job->c_col == 1 && job->p.add != job->p.c; }

static void place_chunk(struct ft_gemm_job *job, const struct chunks *chunk, size_t m, size_t n) {
    const struct ft_product *p = &job->p;
    bool in_c = rests_in_c(job);
    job->n0 = n;
    job->n1 = least(n + chunk->n, p->n);
    job->m0 = m;
    job->m1 = least(m + chunk->m, p->m);
    job->partial = in_c ? p->c + m * p->ldc + n : job->exec->partial;
    job->ld_partial = in_c ? p->ldc : chunk->n;
    job->k0 = 0;
}

static void run_product(struct ft_gemm_job *job) {
    const struct ft_product *p = &job->p;
    struct chunks chunk = choose_chunks(job, rests_in_c(job));
    for (size_t n = 0; n < p->n; n += chunk.n)
        for (size_t m = 0; m < p->m; m += chunk.m) {
            place_chunk(job, &chunk, m, n);
            do { /* once even without terms: C is written */
                job->k1 = least(job->k0 + chunk.k, p->k);
                ft_gemm_run_chunks(job, 1, m == 0 || chunk.k < p->k);
                job->k0 = job->k1;
            } while (job->k0 < p->k);
        }
}

/* Tiles go on with `more` where they stand; few rows or columns are better off with a second product. */
static bool goes_on(const struct ft_gemm_job *job) {
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

static struct ft_gemm_job plan(struct ft_exec *exec, const struct ft_product *product) {
    struct ft_gemm_job job = {.exec = exec,
                              .isa = exec->gemm,
                              .p = *product,
                              .c_row = product->ldc,
                              .c_col = 1,
                              .bias_col = 1,
                              .shared = exec->shared};
    if (job.p.scale == 0.0f) job.p.scale = 1.0f;
    return job;
}

void ft_gemm(struct ft_exec *exec, const struct ft_product *product) {
    if (product->m == 0 || product->n == 0) return;
    struct ft_gemm_job job = plan(exec, product);
    if (product->more.k && !goes_on(&job)) {
        run_apart(exec, product);
        return;
    }
    if (ft_gemv(exec, product)) return;
    if (better_exchanged(&job)) exchange(&job);
    choose_tiles(&job);
    run_product(&job);
}

/* Makes the job ready to run beside others that have taken *used numbers of the exec's memory, if it is one chunk that
 * fits into the rest. */
static bool fits_beside(struct ft_gemm_job *job, size_t *used) {
    const struct ft_product *p = &job->p;
    if (p->m == 0 || p->n == 0 || (p->more.k && !goes_on(job)) || ft_gemv_takes(job->exec, p)) return false;
    if (better_exchanged(job)) exchange(job);
    choose_tiles(job);
    struct chunks chunk = choose_chunks(job, rests_in_c(job));
    size_t needs = p->packed || job->b_in_place ? 0 : round_up(p->n, job->nr) * p->k;
    if (chunk.m < p->m || chunk.n < p->n || chunk.k < p->k || needs > FT_GEMM_SHARED - *used) return false;
    place_chunk(job, &chunk, 0, 0);
    job->k1 = p->k;
    job->shared += *used;
    *used += round_up(needs, FT_ALIGN / sizeof(float));
    return true;
}

void ft_gemm_all(struct ft_exec *exec, const struct ft_product *product, size_t count) {
    FT_UNINITIALIZED struct ft_gemm_job job[FT_GEMM_TOGETHER];
    while (count) {
        size_t used = 0, together = 0;
        for (; together < count && together < FT_GEMM_TOGETHER; together++) {
            job[together] = plan(exec, &product[together]);
            if (!fits_beside(&job[together], &used)) break;
        }
        if (together > 1) {
            ft_gemm_run_chunks(job, together, true);
        } else {
            ft_gemm(exec, product);
            together = 1;
        }
        product += together;
        count -= together;
    }
}
