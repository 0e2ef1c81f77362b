/* SPDX-License-Identifier: MIT
 * Gradients against central differences of a transformer in binary64 that shares no code with lib/model:
 * every parameter of both families, and LoRA. */
#include "../tap/tap.h"

#include "ft/lora.h"
#include "ft/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCUMENTS = 3, TOKENS = 24, SAMPLES = 3 };

/* --- the model in binary64: one document at a time, matrices as nested loops -------------------------- */

struct reference {
    const struct ft_config *config;
    bool gpt2;
    size_t count;
    const char *names[256];
    size_t elements[256];
    double *values[256];
    size_t rank;
    double scale;
};

static double *find(const struct reference *r, const char *name) {
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->names[i], name) == 0) return r->values[i];
    return NULL;
}

__attribute__((format(printf, 2, 3))) static double *weights(const struct reference *r, const char *format,
                                                             ...) {
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return find(r, name);
}

/* y = x W^T + b + scale (x A^T) B^T for one row; the module's tensors by name, what is absent left out. */
static void linear(const struct reference *r, const char *module, bool in_out, size_t in, size_t out,
                   const double *x, double *y) {
    const double *w = weights(r, "%s.weight", module), *b = weights(r, "%s.bias", module);
    const double *A = weights(r, "base_model.model.%s.lora_A.weight", module);
    const double *B = weights(r, "base_model.model.%s.lora_B.weight", module);
    for (size_t o = 0; o < out; o++) {
        double sum = b ? b[o] : 0;
        for (size_t i = 0; i < in; i++) sum += x[i] * w[in_out ? i * out + o : o * in + i];
        for (size_t k = 0; A && k < r->rank; k++) {
            double u = 0;
            for (size_t i = 0; i < in; i++) u += x[i] * A[k * in + i];
            sum += r->scale * u * B[o * r->rank + k];
        }
        y[o] = sum;
    }
}

static void norm(const struct reference *r, const char *name, size_t n, const double *x, double *y) {
    const double *w = weights(r, "%s.weight", name), *b = weights(r, "%s.bias", name);
    double mean = 0, square = 0;
    for (size_t i = 0; b && i < n; i++) mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    double rstd = 1 / sqrt(square + (double)r->config->norm_eps);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i] + (b ? b[i] : 0);
}

static void rotate(const struct reference *r, size_t heads, size_t position, double *x) {
    size_t D = r->config->head_dim;
    for (size_t h = 0; h < heads; h++, x += D)
        for (size_t i = 0; i < D / 2; i++) {
            double angle = (double)position * pow(r->config->rope[0].theta, -2.0 * (double)i / (double)D);
            double c = cos(angle), s = sin(angle), a = x[i], b = x[i + D / 2];
            x[i] = a * c - b * s;
            x[i + D / 2] = b * c + a * s;
        }
}

static double activation(const struct reference *r, double x) {
    if (r->config->activation == FT_SILU) return x / (1 + exp(-x));
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

struct row {
    double x[64], n[64], q[64], k[64], v[64], o[64], up[256], gate[256];
};

static void project(const struct reference *r, const char *l, size_t position, struct row *row) {
    const struct ft_config *c = r->config;
    size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    char name[160];
    double fused[192];
    if (r->gpt2) {
        snprintf(name, sizeof name, "%s.attn.c_attn", l);
        linear(r, name, true, c->hidden, 3 * q, row->n, fused);
        memcpy(row->q, fused, q * sizeof *fused);
        memcpy(row->k, fused + q, q * sizeof *fused);
        memcpy(row->v, fused + 2 * q, q * sizeof *fused);
        return;
    }
    snprintf(name, sizeof name, "%s.self_attn.q_proj", l);
    linear(r, name, false, c->hidden, q, row->n, row->q);
    snprintf(name, sizeof name, "%s.self_attn.k_proj", l);
    linear(r, name, false, c->hidden, kv, row->n, row->k);
    snprintf(name, sizeof name, "%s.self_attn.v_proj", l);
    linear(r, name, false, c->hidden, kv, row->n, row->v);
    rotate(r, c->heads, position, row->q);
    rotate(r, c->kv_heads, position, row->k);
}

static void attend(const struct reference *r, struct row *rows, size_t t) {
    const struct ft_config *c = r->config;
    size_t D = c->head_dim;
    for (size_t h = 0; h < c->heads; h++) {
        size_t g = h / (c->heads / c->kv_heads);
        double p[TOKENS], sum = 0;
        for (size_t j = 0; j <= t; j++) {
            double score = 0;
            for (size_t d = 0; d < D; d++) score += rows[t].q[h * D + d] * rows[j].k[g * D + d];
            sum += p[j] = exp(score / sqrt((double)D));
        }
        for (size_t d = 0; d < D; d++) {
            rows[t].o[h * D + d] = 0;
            for (size_t j = 0; j <= t; j++) rows[t].o[h * D + d] += p[j] / sum * rows[j].v[g * D + d];
        }
    }
}

static void feed_forward(const struct reference *r, const char *l, struct row *row, double *y) {
    const struct ft_config *c = r->config;
    char name[160];
    snprintf(name, sizeof name, r->gpt2 ? "%s.mlp.c_fc" : "%s.mlp.up_proj", l);
    linear(r, name, r->gpt2, c->hidden, c->ffn, row->n, row->up);
    if (!r->gpt2) {
        snprintf(name, sizeof name, "%s.mlp.gate_proj", l);
        linear(r, name, false, c->hidden, c->ffn, row->n, row->gate);
    }
    for (size_t i = 0; i < c->ffn; i++)
        row->up[i] = r->gpt2 ? activation(r, row->up[i]) : activation(r, row->gate[i]) * row->up[i];
    snprintf(name, sizeof name, r->gpt2 ? "%s.mlp.c_proj" : "%s.mlp.down_proj", l);
    linear(r, name, r->gpt2, c->ffn, c->hidden, row->up, y);
}

static void layer(const struct reference *r, size_t index, struct row *rows, size_t T) {
    const struct ft_config *c = r->config;
    char l[64], name[160];
    double y[64];
    snprintf(l, sizeof l, r->gpt2 ? "transformer.h.%zu" : "model.layers.%zu", index);
    for (size_t t = 0; t < T; t++) {
        snprintf(name, sizeof name, r->gpt2 ? "%s.ln_1" : "%s.input_layernorm", l);
        norm(r, name, c->hidden, rows[t].x, rows[t].n);
        project(r, l, t, &rows[t]);
    }
    for (size_t t = 0; t < T; t++) {
        attend(r, rows, t);
        snprintf(name, sizeof name, r->gpt2 ? "%s.attn.c_proj" : "%s.self_attn.o_proj", l);
        linear(r, name, r->gpt2, c->heads * c->head_dim, c->hidden, rows[t].o, y);
        for (size_t i = 0; i < c->hidden; i++) rows[t].x[i] += y[i];
        snprintf(name, sizeof name, r->gpt2 ? "%s.ln_2" : "%s.post_attention_layernorm", l);
        norm(r, name, c->hidden, rows[t].x, rows[t].n);
        feed_forward(r, l, &rows[t], y);
        for (size_t i = 0; i < c->hidden; i++) rows[t].x[i] += y[i];
    }
}

/* Sum of weight * cross-entropy over one document. */
static double document_loss(const struct reference *r, const uint32_t *ids, const float *weight, size_t T) {
    static struct row rows[TOKENS];
    const struct ft_config *c = r->config;
    const double *table = find(r, r->gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight");
    const double *position = find(r, "transformer.wpe.weight"), *head = find(r, "lm_head.weight");
    double loss = 0;
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < c->hidden; i++)
            rows[t].x[i] = table[ids[t] * c->hidden + i] + (position ? position[t * c->hidden + i] : 0);
    for (size_t l = 0; l < c->layers; l++) layer(r, l, rows, T);
    for (size_t t = 0; t + 1 < T; t++) {
        double sum = 0, target = 0;
        norm(r, r->gpt2 ? "transformer.ln_f" : "model.norm", c->hidden, rows[t].x, rows[t].n);
        double logits[128];
        if (head) linear(r, "lm_head", false, c->hidden, c->vocab, rows[t].n, logits);
        for (size_t v = 0; v < c->vocab; v++) {
            if (!head) logits[v] = 0;
            for (size_t i = 0; !head && i < c->hidden; i++)
                logits[v] += rows[t].n[i] * table[v * c->hidden + i];
            sum += exp(logits[v]);
        }
        target = logits[ids[t + 1]];
        loss += (double)weight[t + 1] * (log(sum) - target);
    }
    return loss;
}

static double total_loss(const struct reference *r, const struct ft_batch *batch) {
    double loss = 0, weight = 0;
    for (size_t d = 0; d < batch->documents; d++) {
        size_t start = batch->start[d], T = batch->start[d + 1] - start;
        loss += document_loss(r, batch->ids + start, batch->weights + start, T);
        for (size_t i = 0; i < T; i++) weight += (double)batch->weights[start + i];
    }
    return loss / weight;
}

static void copy_parameters(struct reference *r, struct ft_parameter *const *parameters, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float *widened = malloc(parameters[i]->elements * sizeof *widened);
        double *values = malloc(parameters[i]->elements * sizeof *values);
        struct ft_operand w = ft_parameter_operand(parameters[i]);
        ft_widen(widened, w.data, w.dtype, parameters[i]->elements);
        for (size_t e = 0; e < parameters[i]->elements; e++) values[e] = (double)widened[e];
        free(widened);
        r->names[r->count] = parameters[i]->name;
        r->elements[r->count] = parameters[i]->elements;
        r->values[r->count++] = values;
    }
}

static struct reference make_reference(const struct ft_model *model, const struct ft_lora_spec *spec) {
    struct reference r = {.config = ft_model_config(model),
                          .gpt2 = strcmp(ft_model_config(model)->model_type, "gpt2") == 0};
    size_t count;
    struct ft_parameter *const *parameters = ft_model_parameters(model, &count);
    copy_parameters(&r, parameters, count);
    parameters = ft_lora_parameters(model, &count);
    copy_parameters(&r, parameters, count);
    if (spec) r.rank = spec->rank, r.scale = spec->alpha / (double)spec->rank;
    return r;
}

/* --- the comparison ----------------------------------------------------------------------------------- */

/* Worst |difference| / (|numeric| + size of the tensor's gradients) over some elements of one parameter. */
static double worst_element(struct reference *r, const struct ft_batch *batch,
                            const struct ft_parameter *parameter) {
    double *values = find(r, parameter->name), size = 0, worst = 0;
    for (size_t i = 0; i < parameter->elements; i++)
        size += pow((double)parameter->grad[i], 2) / (double)parameter->elements;
    size = sqrt(size) + 1e-7;
    for (size_t s = 0; s < SAMPLES; s++) {
        size_t i = (s * 7919 + 13 * s * s) % parameter->elements;
        double old = values[i], step = 1e-5;
        values[i] = old + step;
        double up = total_loss(r, batch);
        values[i] = old - step;
        double down = total_loss(r, batch);
        values[i] = old;
        double numeric = (up - down) / (2 * step),
               error = fabs(numeric - (double)parameter->grad[i]) / (fabs(numeric) + size);
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

static void shake(struct ft_parameter *const *parameters, size_t count) {
    uint32_t state = 12345;
    for (size_t i = 0; i < count; i++)
        for (size_t e = 0; e < parameters[i]->elements; e++) {
            state = state * 1664525u + 1013904223u;
            parameters[i]->value[e] += ((float)(state >> 8) / 16777216.0f - 0.5f) * 0.4f;
        }
}

static void compare(const char *name, struct ft_exec *exec, struct ft_model *model,
                    const struct ft_lora_spec *spec, const struct ft_batch *batch) {
    struct ft_error error = {0};
    struct ft_session *session = NULL;
    struct ft_session_limits limits = {.tokens = 64, .documents = DOCUMENTS, .train = true};
    size_t count, bad = 0;
    struct ft_parameter *const *trained = ft_model_trained(model, &count);
    shake(trained, count);
    double weight = 0;
    for (size_t i = 0; i < batch->start[batch->documents]; i++) weight += (double)batch->weights[i];
    struct ft_loss_sum sum = {0};
    if (!ok(!ft_session_new(&session, model, exec, &limits, &error), "%s: a session", name)) return;
    enum ft_status status = ft_session_begin_step(session, batch, &error);
    if (!status) status = ft_session_step(session, batch, (float)(1 / weight), &sum, &error);
    ft_session_end_step(session);
    struct reference r = make_reference(model, spec);
    ok(!status && fabs(total_loss(&r, batch) - sum.loss / sum.weight) < 1e-5,
       "%s: the loss is that of the binary64 model", name);
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        double w = worst_element(&r, batch, trained[i]);
        if (!(w <= worst)) worst = w;
        if (!(w < 1e-4)) printf("# %s: %s is off by %g\n", name, trained[i]->name, w), bad++;
    }
    ok(count > 0 && bad == 0, "%s: gradients of all %zu parameters are the finite differences (%.1g)", name,
       count, worst);
    for (size_t i = 0; i < r.count; i++) free(r.values[i]);
    ft_session_free(session);
}

static void run(const char *name, struct ft_exec *exec, const struct ft_lora_spec *spec,
                const struct ft_batch *batch) {
    char path[600];
    const char *slash = strstr(__FILE__, "tests/");
    struct ft_model *model = NULL;
    struct ft_error error = {0};
    snprintf(path, sizeof path, "%.*stests/oracle/fixtures/%s", slash ? (int)(slash - __FILE__) : 0, __FILE__,
             name);
    bool good = !ft_model_new_random(&model, path, 7, &error);
    if (good) good = !(spec ? ft_lora_attach(model, spec, &error) : ft_model_train_full(model, &error));
    if (ok(good, "%s%s: random weights%s", name, spec ? " by LoRA" : "", error.message))
        compare(name, exec, model, spec, batch);
    ft_model_free(model);
}

int main(void) {
    static const size_t start[DOCUMENTS + 1] = {0, 7, 9, 20};
    uint32_t ids[20];
    float weight[20];
    for (size_t i = 0; i < 20; i++) {
        ids[i] = (uint32_t)(3 + i * i * 5 % 61);
        weight[i] = i % 3 == 1 ? 0 : (float)(1 + i % 2);
    }
    weight[0] = weight[7] = weight[9] = 0;
    weight[8] = weight[19] = 1;
    struct ft_batch batch = {.documents = DOCUMENTS, .start = start, .ids = ids, .weights = weight};
    struct ft_lora_spec all = {.rank = 3, .alpha = 5, .seed = 3};
    static const char *const one[] = {"o_proj"}, *const head[] = {"lm_head", "q_proj"};
    struct ft_lora_spec some = {.rank = 2, .alpha = 4, .targets = one, .target_count = 1};
    struct ft_lora_spec top = {.rank = 2, .alpha = 4, .targets = head, .target_count = 2};
    struct ft_exec *exec;
    struct ft_error error;
    if (!ok(!ft_exec_new(&exec, 1, &error), "kernels")) return tap_done();
    run("llama", exec, NULL, &batch);
    run("llama-tied", exec, NULL, &batch);
    run("llama-bias", exec, NULL, &batch);
    run("gpt2", exec, NULL, &batch);
    run("llama", exec, &all, &batch);
    run("gpt2", exec, &all, &batch);
    run("llama-tied", exec, &some, &batch);
    run("llama", exec, &top, &batch);
    ft_exec_free(exec);
    return tap_done();
}
