/* SPDX-License-Identifier: MIT
 *
 * Elementary functions: their error against libm in a wider type, special values, and the vector variants' bits.
 * Quick: every 1,009th binary32 input (in a sanitizer's build fewer). `elementary all`, or FT_LONG=1: all 2^32 of them (minutes). */
#include "../tap/tap.h"

#include "../../lib/kernel/kernels.h"
#include "ft/elementary.h"
#include "ft/exec.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK = 4096 };
#ifdef FT_SANITIZED /* which makes it slow, and has nothing to say on arithmetic */
enum { STRIDE = 100003 };
#else
enum { STRIDE = 1009 };
#endif
#define GOLDEN 0x0e6a92c62a1027c9u

static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

static const struct function {
    const char *name;
    float (*f)(float);
    double (*reference)(double); /* its own error, 2^-52, is nothing beside 2^-24 */
    double bound;                /* as elementary.h states it */
    size_t kernel;               /* offset of the vector variant in struct ft_kernels; 0: none */
} functions[] = {
    {"exp", ft_expf, exp, 1.0, offsetof(struct ft_kernels, exp)},
    {"log", ft_logf, log, 0.9, 0},
    {"tanh", ft_tanhf, tanh, 1.4, offsetof(struct ft_kernels, tanh)},
    {"erf", ft_erff, erf, 1.0, offsetof(struct ft_kernels, erf)},
    {"sigmoid", ft_sigmoidf, sigmoid, 2.5, offsetof(struct ft_kernels, sigmoid)},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* Distance of y from the exact value in units of binary32's last place there. */
static double error_in_ulp(float y, double exact) {
    if (exact != exact || y != y) return (exact != exact) == (y != y) ? 0 : HUGE_VAL;
    if ((double)y == exact) return 0;
    if (isinf(exact)) return HUGE_VAL;
    int exponent;
    (void)frexp(exact, &exponent);
    double ulp = ldexp(1.0, (exponent < -125 ? -125 : exponent) - 24);
    if (isinf(y)) return (ldexp(1.0, 128) - fabs(exact)) / ulp; /* as if binary32 went on */
    return fabs((double)y - exact) / ulp;
}

struct worst {
    double ulp;
    float at;
    uint64_t different; /* inputs at which a vector variant differs from the scalar function */
};

static void check_block(const struct function *fn, const float *x, size_t n, const struct ft_kernels *const *tables,
                        struct worst *worst) {
    static float expected[BLOCK], got[BLOCK];
    for (size_t i = 0; i < n; i++) {
        expected[i] = fn->f(x[i]);
        double e = error_in_ulp(expected[i], fn->reference((double)x[i]));
        if (!(e <= worst->ulp)) worst->ulp = e, worst->at = x[i];
    }
    for (; fn->kernel && *tables; tables++) {
        ft_range_kernel *kernel;
        memcpy(&kernel, (const char *)*tables + fn->kernel, sizeof kernel);
        kernel(&(struct ft_elements_args){x, got}, 0, n);
        for (size_t i = 0; i < n; i++)
            worst->different += ft_to_bits(got[i]) != ft_to_bits(expected[i]) &&
                                !(got[i] != got[i] && expected[i] != expected[i]);
    }
}

static void test_function(const struct function *fn, uint64_t step, const struct ft_kernels *const *tables) {
    static float x[BLOCK];
    struct worst worst = {0};
    for (uint64_t u = 0; u < (uint64_t)1 << 32;) {
        size_t n = 0;
        for (; n < BLOCK && u < (uint64_t)1 << 32; u += step) x[n++] = ft_from_bits((uint32_t)u);
        check_block(fn, x, n, tables, &worst);
    }
    ok(worst.ulp <= fn->bound, "%s is within %.1f ulp (worst %.4f, at %a)", fn->name, fn->bound, worst.ulp,
       (double)worst.at);
    ok(worst.different == 0, "the vector variants of %s give its bits", fn->name);
}

static void test_special_values(void) {
    ok(ft_expf(-INFINITY) == 0 && ft_expf(INFINITY) == INFINITY && ft_expf(-104.0f) == 0 && ft_expf(88.8f) == INFINITY &&
           ft_expf(0.0f) == 1.0f && ft_expf(-0.0f) == 1.0f && isnan(ft_expf(NAN)) && ft_expf(-103.0f) == 0x1p-149f,
       "exp: infinities, overflow, underflow, exp(0) = 1");
    ok(ft_logf(0.0f) == -INFINITY && ft_logf(-0.0f) == -INFINITY && isnan(ft_logf(-1.0f)) && isnan(ft_logf(-INFINITY)) &&
           ft_logf(INFINITY) == INFINITY && ft_to_bits(ft_logf(1.0f)) == 0 && isnan(ft_logf(NAN)),
       "log: zeros, negative numbers, log(1) = +0");
    ok(ft_to_bits(ft_tanhf(-0.0f)) == 0x80000000u && ft_tanhf(INFINITY) == 1.0f && ft_tanhf(-INFINITY) == -1.0f &&
           ft_to_bits(ft_tanhf(-0x1p-149f)) == 0x80000001u,
       "tanh: odd, signed zeros, limits");
    ok(ft_to_bits(ft_erff(-0.0f)) == 0x80000000u && ft_erff(INFINITY) == 1.0f && ft_erff(-10.0f) == -1.0f,
       "erf: odd, signed zeros, limits");
    ok(ft_sigmoidf(0.0f) == 0.5f && ft_sigmoidf(-INFINITY) == 0.0f && ft_sigmoidf(INFINITY) == 1.0f &&
           ft_sigmoidf(-100.0f) > 0.0f,
       "sigmoid: limits, and a negative tail that does not vanish early");
}

/* Symmetry that the formulas must keep to the bit. */
static void test_symmetry(void) {
    unsigned wrong = 0;
    for (uint32_t u = 0; u < 0x7f800000u; u += 99991) {
        float x = ft_from_bits(u);
        wrong += ft_tanhf(-x) != -ft_tanhf(x) || ft_erff(-x) != -ft_erff(x);
    }
    ok(wrong == 0, "tanh and erf are odd to the bit");
}

static void test_binary64(void) {
    static const struct {
        const char *name;
        double (*f)(double);
        long double (*reference)(long double);
        double low, high;
        bool binary32; /* inputs rounded to binary32, as rotary angles are */
    } t[] = {{"exp", ft_exp, expl, -700, 700, false},   {"exp near 0", ft_exp, expl, -1, 1, false},
             {"log", ft_log, logl, 1e-10, 1e10, false}, {"log near 1", ft_log, logl, 0.5, 2, false},
             {"sin", ft_sin, sinl, -0x1p30, 0x1p30, true}, {"sin near 0", ft_sin, sinl, -10, 10, true},
             {"cos", ft_cos, cosl, -0x1p30, 0x1p30, true}, {"cos near 0", ft_cos, cosl, -10, 10, true}};
    uint64_t state = 1;
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        double worst = 0;
        for (int i = 0; i < 100000; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            double x = t[k].low + (double)(state >> 11) * 0x1p-53 * (t[k].high - t[k].low);
            if (t[k].binary32) x = (double)(float)x;
            long double exact = t[k].reference(x);
            int exponent;
            (void)frexpl(exact, &exponent);
            double e = (double)(fabsl((long double)t[k].f(x) - exact) / ldexpl(1.0L, exponent - 53));
            if (!(e <= worst)) worst = e;
        }
        ok(worst <= 1.0, "binary64 %s is within 1 ulp (worst %.3f)", t[k].name, worst);
    }
    ok(ft_exp(-800) == 0 && ft_exp(800) == HUGE_VAL && ft_exp(-745) == 0x1p-1074 && isnan(ft_exp(NAN)) &&
           ft_log(0.0) == -HUGE_VAL && isnan(ft_log(-1)) && ft_log(HUGE_VAL) == HUGE_VAL &&
           fabs(ft_log(0x1p-1074) + 744.4400719213812) < 1e-12 && isnan(ft_sin(HUGE_VAL)) && isnan(ft_cos(-HUGE_VAL)),
       "binary64 special values");
}

/* Every variant on numbers of all magnitudes, where exp does something and where it does not, in lengths with a rest. */
static void test_binary64_variants(const struct ft_kernels *const *tables) {
    enum { N = 1003, ROUNDS = 1000 };
    static double x[N], y[N];
    uint64_t state = 7;
    for (; *tables; tables++) {
        size_t wrong = 0;
        for (int round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < N; i++) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                memcpy(&x[i], &state, sizeof x[i]);
                if (round % 2) x[i] = (double)(state >> 11) * 0x1p-53 * 1500 - 750;
            }
            if (!round) x[0] = -0.0, x[1] = HUGE_VAL, x[2] = -HUGE_VAL, x[3] = NAN;
            memcpy(y, x, sizeof y);
            (*tables)->exp_double(y, N);
            for (size_t i = 0; i < N; i++) {
                double expected = ft_exp(x[i]);
                wrong += memcmp(&y[i], &expected, sizeof expected) != 0 && (y[i] == y[i] || expected == expected);
            }
        }
        ok(wrong == 0, "binary64 exp of a variant: the specification's bits");
    }
}

/* Bits that must be the same on every machine and for every compiler: FNV-1a over the results. */
static void test_golden(void) {
    uint64_t hash = 14695981039346656037u;
    for (size_t k = 0; k < FUNCTIONS; k++)
        for (uint64_t u = 0; u < (uint64_t)1 << 32; u += 104729) {
            float y = functions[k].f(ft_from_bits((uint32_t)u));
            hash = (hash ^ (y == y ? ft_to_bits(y) : 0x7fc00000u)) * 1099511628211u;
        }
    for (int i = 0; i < 10000; i++) {
        double y[4] = {ft_exp(i * 0.07), ft_log(i * 0.9 + 0.1), ft_sin(i * 1.3), ft_cos(i * 1.7)};
        for (int j = 0; j < 4; j++) {
            uint64_t bits;
            memcpy(&bits, &y[j], sizeof bits);
            hash = (hash ^ bits) * 1099511628211u;
        }
    }
    ok(hash == GOLDEN, "the bits of ft-num-1 (%016llx)", (unsigned long long)hash);
}

int main(int argc, char **argv) {
    const char *wish = getenv("FT_LONG");
    bool all = (argc > 1 && strcmp(argv[1], "all") == 0) || (wish && strcmp(wish, "1") == 0);
    const struct ft_kernels *tables[FT_ISA_COUNT] = {0};
    size_t n = 0;
    for (int isa = FT_ISA_AVX2; isa < FT_ISA_COUNT; isa++) {
        struct ft_exec *exec;
        if (ft_exec_new_isa(&exec, 1, (enum ft_isa)isa, NULL)) continue;
        tables[n++] = ft_kernels_of(exec);
        ft_exec_free(exec);
    }
    for (size_t k = 0; k < FUNCTIONS; k++) test_function(&functions[k], all ? 1 : STRIDE, tables);
    test_special_values();
    test_symmetry();
    test_binary64();
    test_binary64_variants(tables);
    test_golden();
    return tap_done();
}
