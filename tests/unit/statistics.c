/* SPDX-License-Identifier: MIT
 * Intervals and the paired comparison, against values worked out elsewhere. */
#include "../tap/tap.h"

#include "ft/statistics.h"

#include <math.h>
#include <string.h>

static bool near(double a, double b, double tolerance) { return fabs(a - b) <= tolerance; }

static void test_wilson(void) {
    /* published: 8 of 10 gives 0.4901 to 0.9433 */
    struct ft_interval i = ft_wilson(8, 10);
    ok(near(i.low, 0.4901625, 1e-6) && near(i.high, 0.9433178, 1e-6), "Wilson, 8 of 10: %.6f to %.6f", i.low, i.high);
    i = ft_wilson(0, 20);
    ok(i.low == 0.0 && near(i.high, 0.1611252, 1e-6), "Wilson, 0 of 20: up to %.6f", i.high);
    i = ft_wilson(20, 20);
    ok(i.high == 1.0 && near(i.low, 0.8388748, 1e-6), "Wilson, 20 of 20: from %.6f", i.low);
}

enum { N = 200 };

static void test_paired(void) {
    double base[N], tuned[N], same[N], one[N];
    for (int i = 0; i < N; i++) {
        base[i] = i % 2;
        same[i] = (i + 1) % 2; /* as many successes on other records */
        tuned[i] = i % 10 != 0;
        one[i] = 1.0;
    }
    struct ft_paired q[2] = {{.numerator = {base, tuned}, .denominator = one}, {.numerator = {base, same}, .denominator = one}};
    struct ft_error error;
    ok(ft_compare_paired(q, 2, N, 7, 2000, &error) == FT_OK, "two comparisons are made");
    ok(near(q[0].value[0], 0.5, 1e-12) && near(q[0].value[1], 0.9, 1e-12) && near(q[0].difference, 0.4, 1e-12), "values and difference");
    /* standard error of the difference: sd of (tuned - base) / sqrt(n) = 0.0485 or so */
    ok(q[0].difference_interval.low > 0.28 && q[0].difference_interval.low < 0.34 && q[0].difference_interval.high > 0.46 &&
           q[0].difference_interval.high < 0.52, "interval %.3f to %.3f", q[0].difference_interval.low, q[0].difference_interval.high);
    ok(q[0].p_value <= 1.0 / 2001 + 1e-15, "a clear difference has the least p-value: %.5f", q[0].p_value);
    ok(q[1].difference == 0.0 && q[1].p_value == 1.0, "no difference has p = 1: %.3f", q[1].p_value);
    struct ft_paired again = {.numerator = {base, tuned}, .denominator = one};
    ok(ft_compare_paired(&again, 1, N, 7, 2000, &error) == FT_OK &&
           memcmp(&again.difference_interval, &q[0].difference_interval, sizeof again.difference_interval) == 0,
       "the same seed gives the same interval, whatever else is compared");
    double none[N] = {0};
    struct ft_paired empty = {.numerator = {base, tuned}, .denominator = none};
    ok(ft_compare_paired(&empty, 1, N, 7, 2000, &error) == FT_FORMAT, "no weight is refused: %s", error.message);
}

int main(void) {
    test_wilson();
    test_paired();
    return tap_done();
}
