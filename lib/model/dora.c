/* SPDX-License-Identifier: MIT */
#include "dora.h"

#include <math.h>

enum {
    DORA_OUTPUTS = 256, /* of V at a time */
    DORA_BLOCK = 16,    /* outputs of a task; no part of the numbers */
    DORA_CHUNK = 512,   /* widened at a time */
    DORA_ROWS = 64      /* rows of a task */
};

/* --- norms -------------------------------------------------------------------------------------------- */

/* w[count] = elements [first, first + count) of row r of the tensor as stored. */
static void widen_row(struct ft_operand weights, size_t row, size_t first, size_t count, float *w) {
    const unsigned char *data = weights.data;
    ft_widen(w, data + (row * weights.row_stride + first) * ft_dtype_size(weights.dtype), weights.dtype, count);
}

static double add_squares(double sum, const float *w, const float *delta, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float v = delta ? delta[i] + w[i] : w[i];
        sum += (double)v * (double)v; /* the product is exact */
    }
    return sum;
}

/* A stored row is one output's weights. */
static double sum_output(const struct ft_module *module, size_t output, const float *delta) {
    struct ft_operand weights = ft_parameter_operand(module->weight);
    float w[DORA_CHUNK];
    double sum = 0;
    for (size_t i = 0; i < module->in; i += DORA_CHUNK) {
        size_t left = module->in - i, count = left < DORA_CHUNK ? left : DORA_CHUNK;
        widen_row(weights, output, i, count, w);
        sum = add_squares(sum, w, delta ? delta + i : NULL, count);
    }
    return sum;
}

/* A stored row is one input's weights: outputs side by side. */
static void sum_outputs(const struct ft_module *module, size_t first, size_t count, const float *delta, double *sum) {
    struct ft_operand weights = ft_parameter_operand(module->weight);
    float w[DORA_BLOCK];
    for (size_t o = 0; o < count; o++) sum[o] = 0;
    for (size_t i = 0; i < module->in; i++) {
        widen_row(weights, i, first, count, w);
        for (size_t o = 0; o < count; o++)
            sum[o] = add_squares(sum[o], &w[o], delta ? delta + o * module->in + i : NULL, 1);
    }
}

/* delta: [count, in] scale B A of these outputs, or NULL for zeros. */
static void norm_outputs(const struct ft_module *module, size_t first, size_t count, const float *delta, float *norm) {
    double sum[DORA_BLOCK];
    if (module->in_out) sum_outputs(module, first, count, delta, sum);
    for (size_t o = 0; o < count; o++) {
        if (!module->in_out) sum[o] = sum_output(module, first + o, delta ? delta + o * module->in : NULL);
        norm[o] = sum[o] > 0 ? (float)sqrt(sum[o]) : INFINITY;
    }
}

void ft_dora_norms_of_base(const struct ft_module *module, float *norm) {
    for (size_t first = 0; first < module->out; first += DORA_BLOCK) {
        size_t left = module->out - first;
        norm_outputs(module, first, left < DORA_BLOCK ? left : DORA_BLOCK, NULL, norm + first);
    }
    for (size_t o = 0; o < module->out; o++)
        if (isinf(norm[o])) norm[o] = 0; /* as a magnitude */
}

struct norm_job {
    const struct ft_module *module;
    size_t first, count;
    const float *delta;
};

static void norm_block(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct norm_job *job = arg;
    const struct ft_module *module = job->module;
    size_t at = index * DORA_BLOCK, left = job->count - at, count = left < DORA_BLOCK ? left : DORA_BLOCK;
    norm_outputs(module, job->first + at, count, job->delta + at * module->in, module->norm + job->first + at);
}

static struct ft_operand factor(const struct ft_parameter *parameter, size_t first_row) {
    struct ft_operand operand = ft_parameter_operand(parameter);
    operand.data = parameter->value + first_row * parameter->cols;
    return operand;
}

static void refresh_outputs(struct ft_exec *exec, const struct ft_module *module, size_t first, size_t count, float *delta) {
    ft_gemm(exec, &(struct ft_product){.m = count,
                                       .n = module->in,
                                       .k = module->rank,
                                       .a = factor(module->lora_b, first),
                                       .b = factor(module->lora_a, 0),
                                       .c = delta,
                                       .ldc = module->in,
                                       .scale = module->scale});
    struct norm_job job = {module, first, count, delta};
    ft_pool_run(ft_exec_pool(exec), (count + DORA_BLOCK - 1) / DORA_BLOCK, norm_block, &job);
    for (size_t o = first; o < first + count; o++) module->gain[o] = module->magnitude->value[o] / module->norm[o];
}

size_t ft_dora_scratch(const struct ft_model *model) {
    size_t widest = 0;
    for (size_t i = 0; i < model->module_count; i++)
        if (model->modules[i].magnitude && model->modules[i].in > widest) widest = model->modules[i].in;
    return widest * DORA_OUTPUTS;
}

void ft_dora_refresh(struct ft_exec *exec, const struct ft_model *model, float *scratch) {
    for (size_t i = 0; i < model->module_count; i++) {
        const struct ft_module *module = &model->modules[i];
        if (!module->magnitude) continue;
        for (size_t first = 0; first < module->out; first += DORA_OUTPUTS) {
            size_t left = module->out - first;
            refresh_outputs(exec, module, first, left < DORA_OUTPUTS ? left : DORA_OUTPUTS, scratch);
        }
    }
}

/* --- outputs ------------------------------------------------------------------------------------------ */

struct output_job {
    size_t rows, out;
    const float *factor, *bias, *add;
    float *y;
};

static void run(struct ft_exec *exec, struct output_job *job, void (*task)(void *, size_t, unsigned)) {
    ft_pool_run(ft_exec_pool(exec), (job->rows + DORA_ROWS - 1) / DORA_ROWS, task, job);
}

static void apply_rows(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct output_job *job = arg;
    size_t out = job->out, end = (index + 1) * DORA_ROWS;
    for (size_t t = index * DORA_ROWS; t < end && t < job->rows; t++) {
        float *y = job->y + t * out;
        const float *add = job->add ? job->add + t * out : NULL;
        for (size_t o = 0; o < out; o++) y[o] *= job->factor[o];
        for (size_t o = 0; job->bias && o < out; o++) y[o] += job->bias[o];
        for (size_t o = 0; add && o < out; o++) y[o] += add[o];
    }
}

void ft_dora_apply(struct ft_exec *exec, size_t rows, size_t out, const float *gain, const float *bias, const float *add,
                   float *y) {
    run(exec, &(struct output_job){rows, out, gain, bias, add, y}, apply_rows);
}

static void term_rows(void *arg, size_t index, unsigned worker) {
    (void)worker;
    const struct output_job *job = arg;
    size_t out = job->out, end = (index + 1) * DORA_ROWS;
    for (size_t t = index * DORA_ROWS; t < end && t < job->rows; t++) {
        float *z = job->y + t * out;
        const float *dy = job->add + t * out;
        for (size_t o = 0; o < out; o++) z[o] = dy[o] * (z[o] / job->factor[o]);
    }
}

void ft_dora_terms(struct ft_exec *exec, size_t rows, size_t out, const float *norm, const float *dy, float *z) {
    run(exec, &(struct output_job){.rows = rows, .out = out, .factor = norm, .add = dy, .y = z}, term_rows);
}
