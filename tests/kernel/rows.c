/* SPDX-License-Identifier: MIT
 * Row kernels: every instruction set this machine runs, on several threads, against the scalar specification. */
#include "rows_cases.h"

#include "../../lib/kernel/kernels.h"

/* Changing this is changing ft-num-1. */
#define GOLDEN 0xc6aeba90ae87e1d5u

static void test_golden(void) {
    struct pair p = pair_new(FT_ISA_SCALAR, 1);
    uint64_t hash = golden_hash(&p);
    ok(hash == GOLDEN, "the bits of ft-num-1 (%016llx)", (unsigned long long)hash);
    pair_free(&p);
}

/* Attention's softmax of a row has no public function. */
static bool softmax_agrees(const struct ft_kernels *table, struct pair *p, size_t n) {
    float *a = p->a + 1, *b = p->b + 3, max[2], sum[2];
    for (int again = 0; again < 2; again++) {
        memcpy(a, p->in.pool, n * sizeof *a);
        memcpy(b, p->in.pool, n * sizeof *b);
        a[n] = b[n] = 12345.0f;
        if (again) {
            ft_kernels_scalar.softmax_again(a, n, max[0], sum[0]);
            table->softmax_again(b, n, max[0], sum[0]);
        } else {
            ft_kernels_scalar.softmax(a, n, &max[0], &sum[0]);
            table->softmax(b, n, &max[1], &sum[1]);
            if (!same_number(max[0], max[1]) || !same_number(sum[0], sum[1])) return false;
        }
        for (size_t i = 0; i <= n; i++)
            if (!same_number(a[i], b[i])) return false;
    }
    return true;
}

static void test_softmax(enum ft_isa isa) {
    struct pair p = pair_new(isa, 1);
    for (int flavour = 0; flavour < FLAVOURS; flavour++) {
        fill(&p.in, (enum flavour)flavour);
        bool good = true;
        for (size_t n = 1; n < 200 && good; n++) good = softmax_agrees(ft_kernels_of(p.other), &p, n);
        ok(good, "%s: softmax of %s numbers, the scalar bits", ft_isa_name(isa), flavour_name[flavour]);
    }
    pair_free(&p);
}

int main(void) {
    test_golden();
    for (int i = 0; i < FT_ISA_COUNT; i++) {
        enum ft_isa isa = (enum ft_isa)i;
        if (!ft_isa_available(isa)) continue;
        if (isa != FT_ISA_SCALAR) test_softmax(isa);
        for (unsigned threads = isa == FT_ISA_SCALAR ? 2 : 1; threads <= 3; threads++)
            compare_with_scalar(ft_isa_name(isa), isa, threads);
    }
    return tap_done();
}
