/* SPDX-License-Identifier: MIT
 *
 * Row kernels against mathematics: forward values against formulas in binary64, backward against central
 * differences of those formulas. What rows.c proves equal, this proves right. */
#include "../tap/tap.h"

#include "ft/exec.h"
#include "ft/rows.h"

#include <math.h>
#include <stdlib.h>

enum { T = 3, C = 37, N = T * C };

static struct ft_exec *exec;
static float x[N], y[N], dy[N], dx[N], w[C], b[C], dw[C], db[C], mean[T], rstd[T];

static uint64_t state = 7;
static float random_unit(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}
static void randomize(float *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = random_unit();
}

/* Relative 2-norm of the difference. */
static double distance(const float *got, const double *want, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(difference / (size > 0 ? size : 1));
}

/* A formula y(x) in binary64, of n_in numbers, the last of which may be parameters. */
typedef void formula(const double *in, double *out);

/* Gradient of sum dy y with respect to in[from .. from+count). */
static void central_differences(formula *f, double *in, size_t from, size_t count, const float *up, size_t n_out,
                                double *gradient) {
    static double high[N], low[N];
    const double h = 1e-5;
    for (size_t i = from; i < from + count; i++) {
        double keep = in[i];
        in[i] = keep + h;
        f(in, high);
        in[i] = keep - h;
        f(in, low);
        in[i] = keep;
        gradient[i - from] = 0;
        for (size_t k = 0; k < n_out; k++) gradient[i - from] += up[k] * (high[k] - low[k]) / (2 * h);
    }
}

static double in[3 * N + 2 * C], want[N];

static void widen(const float *from, size_t n, double *to) {
    for (size_t i = 0; i < n; i++) to[i] = from[i];
}

static void expect(const char *what, const float *got, const double *wanted, size_t n, double tolerance) {
    double d = distance(got, wanted, n);
    ok(d < tolerance, "%s (relative error %.1e)", what, d);
}

/* Compares dx (and dw, db) with differences of f over x, w, b laid out in `in`. */
static void expect_gradient(const char *what, formula *f, size_t from, size_t count, const float *got) {
    static double gradient[N];
    central_differences(f, in, from, count, dy, N, gradient);
    expect(what, got, gradient, count, 1e-5);
}

/* --- norms ------------------------------------------------------------------------------------------------ */

static void rms_formula(const double *v, double *out) {
    for (size_t t = 0; t < T; t++) {
        double sum = 0;
        for (size_t c = 0; c < C; c++) sum += v[t * C + c] * v[t * C + c];
        for (size_t c = 0; c < C; c++) out[t * C + c] = v[t * C + c] / sqrt(sum / C + 1e-5) * (1 + v[N + c]);
    }
}

static void test_rmsnorm(void) {
    randomize(x, N), randomize(w, C), randomize(dy, N);
    widen(x, N, in), widen(w, C, in + N);
    for (size_t c = 0; c < C; c++) dw[c] = 0;
    ft_rmsnorm_forward(exec, T, C, x, w, true, 1e-5f, y, rstd);
    ft_rmsnorm_backward(exec, T, C, x, w, true, rstd, dy, NULL, dx, dw);
    rms_formula(in, want);
    expect("rmsnorm", y, want, N, 1e-6);
    expect_gradient("rmsnorm: dx", rms_formula, 0, N, dx);
    expect_gradient("rmsnorm: dw", rms_formula, N, C, dw);
}

static void layer_formula(const double *v, double *out) {
    for (size_t t = 0; t < T; t++) {
        double m = 0, sum = 0;
        for (size_t c = 0; c < C; c++) m += v[t * C + c] / C;
        for (size_t c = 0; c < C; c++) sum += (v[t * C + c] - m) * (v[t * C + c] - m);
        for (size_t c = 0; c < C; c++)
            out[t * C + c] = (v[t * C + c] - m) / sqrt(sum / C + 1e-5) * v[N + c] + v[N + C + c];
    }
}

static void test_layernorm(void) {
    randomize(x, N), randomize(w, C), randomize(b, C), randomize(dy, N);
    widen(x, N, in), widen(w, C, in + N), widen(b, C, in + N + C);
    for (size_t c = 0; c < C; c++) dw[c] = db[c] = 0;
    ft_layernorm_forward(exec, T, C, x, w, b, 1e-5f, y, mean, rstd);
    ft_layernorm_backward(exec, T, C, x, w, mean, rstd, dy, NULL, dx, dw, db);
    layer_formula(in, want);
    expect("layernorm", y, want, N, 1e-6);
    expect_gradient("layernorm: dx", layer_formula, 0, N, dx);
    expect_gradient("layernorm: dw", layer_formula, N, C, dw);
    expect_gradient("layernorm: db", layer_formula, N + C, C, db);
}

/* --- activations -------------------------------------------------------------------------------------------- */

static double sigmoid(double v) { return 1 / (1 + exp(-v)); }
static double silu(double v) { return v * sigmoid(v); }
static double gelu_tanh(double v) { return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))); }
static double gelu_erf(double v) { return 0.5 * v * (1 + erf(v / sqrt(2))); }
static double relu(double v) { return v > 0 ? v : 0; }
static double (*const activation[])(double) = {silu, gelu_tanh, gelu_erf, relu};
static const char *const activation_name[] = {"silu", "gelu tanh", "gelu erf", "relu"};
static enum ft_activation kind;

static void activation_formula(const double *v, double *out) {
    for (size_t i = 0; i < N; i++) out[i] = activation[kind](v[i]);
}
static void gated_formula(const double *v, double *out) {
    for (size_t i = 0; i < N; i++) out[i] = activation[kind](v[i]) * v[N + i];
}
static void softcap_formula(const double *v, double *out) {
    for (size_t i = 0; i < N; i++) out[i] = 2 * tanh(v[i] / 2);
}

static void test_activation(void) {
    static float up[N], d_up[N], h[N];
    char what[64];
    randomize(x, N), randomize(up, N), randomize(dy, N);
    for (size_t i = 0; i < N; i++) x[i] *= 6;
    widen(x, N, in), widen(up, N, in + N);
    ft_activation_forward(exec, kind, N, x, y);
    ft_activation_backward(exec, kind, N, x, dy, dx);
    activation_formula(in, want);
    expect(activation_name[kind], y, want, N, 1e-6);
    snprintf(what, sizeof what, "%s: dx", activation_name[kind]);
    expect_gradient(what, activation_formula, 0, N, dx);
    ft_gated_forward(exec, kind, T, C, x, up, C, y);
    ft_gated_backward(exec, kind, T, C, x, up, C, dy, dx, d_up, h);
    gated_formula(in, want);
    expect("gated", y, want, N, 1e-6);
    expect("gated: h again", h, want, N, 1e-6);
    expect_gradient("gated: d_gate", gated_formula, 0, N, dx);
    expect_gradient("gated: d_up", gated_formula, N, N, d_up);
}

static void test_softcap(void) {
    randomize(x, N), randomize(dy, N);
    for (size_t i = 0; i < N; i++) y[i] = x[i] *= 4, dx[i] = dy[i];
    widen(x, N, in);
    ft_softcap_forward(exec, N, 2, y);
    ft_softcap_backward(exec, N, 2, y, dx);
    softcap_formula(in, want);
    expect("softcap", y, want, N, 1e-6);
    expect_gradient("softcap: dx", softcap_formula, 0, N, dx);
}

/* --- rotation and loss -------------------------------------------------------------------------------------- */

/* A rotation: keeps lengths, and its inverse is its transpose. */
static void test_rope(void) {
    enum { HEAD = 12, HEADS = 3, HALF = HEAD / 2 };
    static float cosine[2 * HALF], sine[2 * HALF];
    const uint32_t position[T] = {1, 0, 1};
    for (size_t i = 0; i < 2 * HALF; i++) cosine[i] = (float)cos(0.3 * (double)i), sine[i] = (float)sin(0.3 * (double)i);
    randomize(x, N);
    for (size_t i = 0; i < N; i++) y[i] = x[i], want[i] = x[i];
    ft_rope(exec, T, HEADS, HEAD, HEAD, y, C, position, cosine, sine, false);
    for (size_t t = 0; t < T; t++)
        for (size_t k = 0; k < HEADS * HALF; k++) {
            size_t i = t * C + k / HALF * HEAD + k % HALF, a = position[t] * HALF + k % HALF;
            want[i] = (double)x[i] * cosine[a] - (double)x[i + HALF] * sine[a];
            want[i + HALF] = (double)x[i + HALF] * cosine[a] + (double)x[i] * sine[a];
        }
    expect("rope rotates halves", y, want, N, 1e-6);
    ft_rope(exec, T, HEADS, HEAD, HEAD, y, C, position, cosine, sine, true);
    widen(x, N, want);
    expect("inverse rope turns back", y, want, N, 1e-6);
}

static const uint32_t target[T] = {5, 0, C - 1};
static void loss_formula(const double *v, double *out) {
    for (size_t t = 0; t < T; t++) {
        double sum = 0;
        for (size_t c = 0; c < C; c++) sum += exp(v[t * C + c]);
        out[t] = log(sum) - v[t * C + target[t]];
    }
}

static void test_loss(void) {
    static double gradient[N];
    const float weight[T] = {1, 0.25f, 3};
    float loss[T];
    uint32_t predicted[T], predicted_again[T];
    randomize(x, N);
    for (size_t i = 0; i < N; i++) x[i] *= 5, y[i] = x[i];
    y[C + 7] = x[C + 7] = y[C + 20] = x[C + 20] = 9; /* a tie: the first wins */
    widen(x, N, in);
    loss_formula(in, want);
    ft_cross_entropy_loss(exec, T, C, x, C, target, loss, predicted_again);
    expect("cross-entropy without gradient", loss, want, T, 1e-6);
    ft_cross_entropy(exec, T, C, y, C, target, weight, loss, predicted);
    expect("cross-entropy", loss, want, T, 1e-6);
    central_differences(loss_formula, in, 0, N, weight, T, gradient);
    expect("cross-entropy: gradient", y, gradient, N, 1e-5);
    ok(predicted[1] == 7 && memcmp(predicted, predicted_again, sizeof predicted) == 0, "the first maximum is predicted");
}

/* --- tables, sums, optimizer ------------------------------------------------------------------------------------ */

static void test_embed(void) {
    enum { ROWS = 5 };
    static float table[ROWS * C], positions[ROWS * C], d_table[ROWS * C];
    static double d_want[ROWS * C];
    const uint32_t id[T] = {4, 1, 4}, position[T] = {0, 1, 2};
    randomize(table, ROWS * C), randomize(positions, ROWS * C), randomize(dy, N);
    ft_embed(exec, T, C, id, table, FT_F32, 3, position, positions, FT_F32, y);
    for (size_t i = 0; i < N; i++) {
        want[i] = 3.0 * table[id[i / C] * C + i % C] + positions[position[i / C] * C + i % C];
        d_want[id[i / C] * C + i % C] += 3.0 * dy[i];
    }
    ft_embed_backward(exec, T, C, id, dy, 3, d_table);
    expect("embed", y, want, N, 1e-6);
    expect("embed: the table's gradient", d_table, d_want, ROWS * C, 1e-6);
}

static void test_sums(void) {
    enum { MANY = 200003 };
    float *big = malloc(MANY * sizeof *big);
    if (!big) abort();
    randomize(big, MANY), randomize(x, N);
    double sum = 0;
    for (size_t i = 0; i < MANY; i++) sum += (double)big[i] * big[i];
    ok(fabs(ft_sum_squares(exec, MANY, big) / sum - 1) < 1e-13, "sum of squares over several chunks");
    ok(ft_all_finite(exec, MANY, big), "all are finite");
    big[MANY - 1] = INFINITY;
    ok(!ft_all_finite(exec, MANY, big), "an infinity at the end is seen");
    big[MANY - 1] = 0, big[70000] = NAN;
    ok(!ft_all_finite(exec, MANY, big), "a NaN is seen");
    free(big);
    for (size_t c = 0; c < C; c++) {
        db[c] = 2;
        want[c] = 2;
        for (size_t t = 0; t < T; t++) want[c] += x[t * C + c];
    }
    ft_column_sum(exec, T, C, x, C, db);
    expect("column sums go on from what is there", db, want, C, 1e-6);
    const uint32_t row[2] = {2, 0};
    ft_gather_rows(exec, 2, C, row, x, y);
    ft_scatter_rows(exec, 2, C, row, y, dx);
    ok(memcmp(y, x + 2 * C, C * sizeof *x) == 0 && memcmp(y + C, x, C * sizeof *x) == 0, "rows are gathered");
    ok(memcmp(dx, x, C * sizeof *x) == 0 && memcmp(dx + 2 * C, x + 2 * C, C * sizeof *x) == 0, "and scattered back");
}

static void test_adamw(void) {
    static float p[N], m[N], v[N];
    static double dp[N], dm[N], dv[N];
    randomize(p, N), widen(p, N, dp);
    for (int t = 1; t <= 5; t++) {
        double inv1 = 1 / (1 - pow(0.9, t)), inv2 = 1 / (1 - pow(0.999, t));
        struct ft_adamw step = {.lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .one_minus_beta1 = 0.1f,
                                .one_minus_beta2 = 0.001f, .eps = 1e-8f, .inv_bias1 = (float)inv1,
                                .inv_bias2 = (float)inv2, .lr_decay = 0.001f, .grad_scale = 0.5f};
        randomize(dy, N);
        ft_adamw(exec, &step, N, p, dy, m, v);
        for (size_t i = 0; i < N; i++) {
            double g = 0.5 * dy[i];
            dm[i] = 0.9 * dm[i] + 0.1 * g;
            dv[i] = 0.999 * dv[i] + 0.001 * g * g;
            dp[i] = dp[i] * (1 - 0.001) - 0.01 * dm[i] * inv1 / (sqrt(dv[i] * inv2) + 1e-8);
        }
    }
    expect("AdamW: parameters after five steps", p, dp, N, 1e-6);
    expect("AdamW: first moments", m, dm, N, 1e-6);
    expect("AdamW: second moments", v, dv, N, 1e-6);
}

int main(void) {
    if (ft_exec_new(&exec, 2, NULL)) return 1;
    test_rmsnorm();
    test_layernorm();
    for (int k = FT_SILU; k <= FT_RELU; k++) {
        kind = (enum ft_activation)k;
        test_activation();
    }
    test_softcap();
    test_rope();
    test_loss();
    test_embed();
    test_sums();
    test_adamw();
    ft_exec_free(exec);
    return tap_done();
}
