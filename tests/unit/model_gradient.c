/* SPDX-License-Identifier: MIT
 * Gradients against central differences of a transformer in binary64 that shares no code with lib/model:
 * every parameter of every family, and LoRA. */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/lora.h"
#include "ft/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCUMENTS = 3, TOKENS = 24, SAMPLES = 3 };

/* --- the model in binary64: one document at a time, matrices as nested loops -------------------------- */

/* What a family calls its tensors, behind the layer's prefix; NULL: it has none. */
struct names {
    const char *embedding, *final, *head, *layer;
    const char *norm1, *q, *k, *v, *qkv, *q_norm, *k_norm, *o, *post1, *norm2, *gate, *up, *gate_up, *down,
        *post2;
    bool in_out;
};

#define OUTSIDE                                                                                              \
    .embedding = "model.embed_tokens", .final = "model.norm", .head = "lm_head", .layer = "model.layers."
#define QKV .q = "self_attn.q_proj", .k = "self_attn.k_proj", .v = "self_attn.v_proj", .o = "self_attn.o_proj"
#define MLP .gate = "mlp.gate_proj", .up = "mlp.up_proj", .down = "mlp.down_proj"
#define QK_NORMS .q_norm = "self_attn.q_norm", .k_norm = "self_attn.k_norm"
#define PRE_NORMS .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm"
#define FOUR_NORMS                                                                                           \
    .norm1 = "input_layernorm", .post1 = "post_attention_layernorm", .norm2 = "pre_feedforward_layernorm",   \
    .post2 = "post_feedforward_layernorm"

static const struct {
    const char *model_type;
    struct names names;
} families[] = {
    {"llama", {OUTSIDE, QKV, MLP, PRE_NORMS}},
    {"qwen2", {OUTSIDE, QKV, MLP, PRE_NORMS}},
    {"mistral", {OUTSIDE, QKV, MLP, PRE_NORMS}},
    {"gemma", {OUTSIDE, QKV, MLP, PRE_NORMS}},
    {"granite", {OUTSIDE, QKV, MLP, PRE_NORMS}},
    {"smollm3", {OUTSIDE, QKV, MLP, PRE_NORMS}},
    {"qwen3", {OUTSIDE, QKV, MLP, PRE_NORMS, QK_NORMS}},
    {"gemma2", {OUTSIDE, QKV, MLP, FOUR_NORMS}},
    {"gemma3_text", {OUTSIDE, QKV, MLP, FOUR_NORMS, QK_NORMS}},
    {"olmo2",
     {OUTSIDE, QKV, MLP, QK_NORMS, .post1 = "post_attention_layernorm",
      .post2 = "post_feedforward_layernorm"}},
    {"phi3",
     {OUTSIDE, PRE_NORMS, .qkv = "self_attn.qkv_proj", .o = "self_attn.o_proj", .gate_up = "mlp.gate_up_proj",
      .down = "mlp.down_proj"}},
    {"gpt_neox",
     {.embedding = "gpt_neox.embed_in",
      .final = "gpt_neox.final_layer_norm",
      .head = "embed_out",
      .layer = "gpt_neox.layers.",
      PRE_NORMS,
      .qkv = "attention.query_key_value",
      .o = "attention.dense",
      .up = "mlp.dense_h_to_4h",
      .down = "mlp.dense_4h_to_h"}},
    {"gpt2",
     {.embedding = "transformer.wte",
      .final = "transformer.ln_f",
      .head = "lm_head",
      .layer = "transformer.h.",
      .norm1 = "ln_1",
      .norm2 = "ln_2",
      .qkv = "attn.c_attn",
      .o = "attn.c_proj",
      .up = "mlp.c_fc",
      .down = "mlp.c_proj",
      .in_out = true}},
};

struct reference {
    const struct ft_config *config;
    const struct names *names;
    char layer[64]; /* the prefix of the present layer's names */
    size_t count;
    const char *names_of[256];
    size_t elements[256];
    double *values[256];
    size_t rank;
    double scale;
};

static double *find(const struct reference *r, const char *name) {
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->names_of[i], name) == 0) return r->values[i];
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
static void linear_of(const struct reference *r, const char *prefix, const char *module, bool in_out,
                      size_t in, size_t out, const double *x, double *y) {
    const double *w = weights(r, "%s%s.weight", prefix, module), *b = weights(r, "%s%s.bias", prefix, module);
    const double *A = weights(r, "base_model.model.%s%s.lora_A.weight", prefix, module);
    const double *B = weights(r, "base_model.model.%s%s.lora_B.weight", prefix, module);
    const double *m = weights(r, "base_model.model.%s%s.lora_magnitude_vector", prefix, module);
    const double *n = weights(r, "norm %s%s", prefix, module);
    for (size_t o = 0; o < out; o++) {
        double sum = 0;
        for (size_t i = 0; i < in; i++) sum += x[i] * w[in_out ? i * out + o : o * in + i];
        for (size_t k = 0; A && k < r->rank; k++) {
            double u = 0;
            for (size_t i = 0; i < in; i++) u += x[i] * A[k * in + i];
            sum += r->scale * u * B[o * r->rank + k];
        }
        y[o] = (m ? sum * m[o] / n[o] : sum) + (b ? b[o] : 0);
    }
}

static void linear(const struct reference *r, const char *module, size_t in, size_t out, const double *x,
                   double *y) {
    linear_of(r, r->layer, module, r->names->in_out, in, out, x, y);
}

/* RMSNorm, or LayerNorm where there is a bias; x itself without a name. */
static void norm(const struct reference *r, const char *prefix, const char *name, size_t n, const double *x,
                 double *y) {
    if (!name) {
        memmove(y, x, n * sizeof *y);
        return;
    }
    const double *w = weights(r, "%s%s.weight", prefix, name), *b = weights(r, "%s%s.bias", prefix, name);
    double mean = 0, square = 0, more = r->config->norm_plus_one ? 1 : 0;
    for (size_t i = 0; b && i < n; i++) mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    double rstd = 1 / sqrt(square + (double)r->config->norm_eps);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * (more + w[i]) + (b ? b[i] : 0);
}

/* Of all heads together or of each, as wide as the weight is. */
static void norm_heads(const struct reference *r, const char *name, size_t heads, double *x) {
    size_t D = r->config->head_dim;
    if (r->config->qk_norm_whole) norm(r, r->layer, name, heads * D, x, x);
    else
        for (size_t h = 0; h < heads; h++) norm(r, r->layer, name, D, x + h * D, x + h * D);
}

static void rotate(const struct reference *r, size_t l, size_t heads, size_t position, double *x) {
    size_t D = r->config->head_dim, which = r->config->kind[l].rope;
    if (which >= r->config->rope_count) return;
    const struct ft_rope *rope = &r->config->rope[which];
    size_t half = rope->dimensions / 2;
    for (size_t h = 0; h < heads; h++, x += D)
        for (size_t i = 0; i < half; i++) {
            double power = pow(rope->theta, -2.0 * (double)i / (double)rope->dimensions);
            double angle = (double)position * power / rope->factor;
            double c = cos(angle), s = sin(angle), a = x[i], b = x[i + half];
            x[i] = a * c - b * s;
            x[i + half] = b * c + a * s;
        }
}

static double activation(const struct reference *r, double x) {
    switch (r->config->activation) {
    case FT_SILU:
        return x / (1 + exp(-x));
    case FT_GELU_ERF:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    default:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    }
}

static double capped(float cap, double x) { return cap != 0 ? (double)cap * tanh(x / (double)cap) : x; }

struct row {
    double x[64], n[64], q[64], k[64], v[64], o[64], up[256], gate[256];
};

static void project(const struct reference *r, size_t l, size_t position, struct row *row) {
    const struct ft_config *c = r->config;
    const struct names *names = r->names;
    size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    double fused[192];
    if (names->qkv) linear(r, names->qkv, c->hidden, q + 2 * kv, row->n, fused);
    if (c->qkv_by_head) {
        double *part[] = {row->q, row->k, row->v};
        for (size_t i = 0; i < 3 * q; i++)
            part[i / c->head_dim % 3][i / c->head_dim / 3 * c->head_dim + i % c->head_dim] = fused[i];
    } else if (names->qkv) {
        memcpy(row->q, fused, q * sizeof *fused);
        memcpy(row->k, fused + q, kv * sizeof *fused);
        memcpy(row->v, fused + q + kv, kv * sizeof *fused);
    } else {
        linear(r, names->q, c->hidden, q, row->n, row->q);
        linear(r, names->k, c->hidden, kv, row->n, row->k);
        linear(r, names->v, c->hidden, kv, row->n, row->v);
    }
    norm_heads(r, names->q_norm, c->heads, row->q);
    norm_heads(r, names->k_norm, c->kv_heads, row->k);
    rotate(r, l, c->heads, position, row->q);
    rotate(r, l, c->kv_heads, position, row->k);
}

static void attend(const struct reference *r, size_t l, struct row *rows, size_t t) {
    const struct ft_config *c = r->config;
    size_t D = c->head_dim, window = c->kind[l].window ? c->window : t + 1,
           first = t + 1 > window ? t + 1 - window : 0;
    for (size_t h = 0; h < c->heads; h++) {
        size_t g = h / (c->heads / c->kv_heads);
        double p[TOKENS], sum = 0;
        for (size_t j = first; j <= t; j++) {
            double score = 0;
            for (size_t d = 0; d < D; d++) score += rows[t].q[h * D + d] * rows[j].k[g * D + d];
            sum += p[j] = exp(capped(c->attention_softcap, score * (double)c->attention_scale));
        }
        for (size_t d = 0; d < D; d++) {
            rows[t].o[h * D + d] = 0;
            for (size_t j = first; j <= t; j++) rows[t].o[h * D + d] += p[j] / sum * rows[j].v[g * D + d];
        }
    }
}

static void feed_forward(const struct reference *r, struct row *row, double *y) {
    const struct ft_config *c = r->config;
    const struct names *names = r->names;
    double both[512];
    if (names->gate_up) {
        linear(r, names->gate_up, c->hidden, 2 * c->ffn, row->n, both);
        memcpy(row->gate, both, c->ffn * sizeof *both);
        memcpy(row->up, both + c->ffn, c->ffn * sizeof *both);
    } else {
        linear(r, names->up, c->hidden, c->ffn, row->n, row->up);
        if (names->gate) linear(r, names->gate, c->hidden, c->ffn, row->n, row->gate);
    }
    for (size_t i = 0; i < c->ffn; i++)
        row->up[i] = c->gated ? activation(r, row->gate[i]) * row->up[i] : activation(r, row->up[i]);
    linear(r, names->down, c->ffn, c->hidden, row->up, y);
}

/* x += norm(y) * scale */
static void add_branch(const struct reference *r, const char *post, double *y, double *x) {
    norm(r, r->layer, post, r->config->hidden, y, y);
    for (size_t i = 0; i < r->config->hidden; i++) x[i] += y[i] * (double)r->config->residual_scale;
}

static void layer(struct reference *r, size_t index, struct row *rows, size_t T) {
    const struct ft_config *c = r->config;
    const struct names *names = r->names;
    snprintf(r->layer, sizeof r->layer, "%s%zu.", names->layer, index);
    for (size_t t = 0; t < T; t++) {
        norm(r, r->layer, names->norm1, c->hidden, rows[t].x, rows[t].n);
        project(r, index, t, &rows[t]);
    }
    for (size_t t = 0; t < T; t++) {
        double attention[64], mlp[64], input[64];
        memcpy(input, rows[t].x, sizeof input);
        attend(r, index, rows, t);
        linear(r, names->o, c->heads * c->head_dim, c->hidden, rows[t].o, attention);
        add_branch(r, names->post1, attention, rows[t].x);
        norm(r, r->layer, names->norm2, c->hidden, c->parallel ? input : rows[t].x, rows[t].n);
        feed_forward(r, &rows[t], mlp);
        add_branch(r, names->post2, mlp, rows[t].x);
    }
}

/* Cross-entropy of one row. */
static double row_loss(const struct reference *r, const double *table, const struct row *row,
                       uint32_t target) {
    const struct ft_config *c = r->config;
    double logits[128], sum = 0;
    if (!c->tied) linear_of(r, "", r->names->head, false, c->hidden, c->vocab, row->n, logits);
    for (size_t v = 0; v < c->vocab; v++) {
        if (c->tied) logits[v] = 0;
        for (size_t i = 0; c->tied && i < c->hidden; i++) logits[v] += row->n[i] * table[v * c->hidden + i];
        logits[v] = capped(c->logit_softcap, logits[v] * (double)c->logit_scale);
        sum += exp(logits[v]);
    }
    return log(sum) - logits[target];
}

/* Sum of weight * cross-entropy over one document. */
static double document_loss(struct reference *r, const uint32_t *ids, const float *weight, size_t T) {
    static struct row rows[TOKENS];
    const struct ft_config *c = r->config;
    const double *table = weights(r, "%s.weight", r->names->embedding),
                 *position = find(r, "transformer.wpe.weight");
    double loss = 0;
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < c->hidden; i++)
            rows[t].x[i] = table[ids[t] * c->hidden + i] * (double)c->embedding_scale +
                           (position ? position[t * c->hidden + i] : 0);
    for (size_t l = 0; l < c->layers; l++) layer(r, l, rows, T);
    for (size_t t = 0; t + 1 < T; t++) {
        norm(r, "", r->names->final, c->hidden, rows[t].x, rows[t].n);
        if (weight[t + 1] > 0) loss += (double)weight[t + 1] * row_loss(r, table, &rows[t], ids[t + 1]);
    }
    return loss;
}

static double total_loss(struct reference *r, const struct ft_batch *batch) {
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
        r->names_of[r->count] = parameters[i]->name;
        r->elements[r->count] = parameters[i]->elements;
        r->values[r->count++] = values;
    }
}

/* DoRA's norms, which no gradient goes through: as they are now. */
static void fix_norms(struct reference *r, const struct ft_model *model) {
    size_t count;
    const struct ft_module *modules = ft_model_modules((struct ft_model *)model, &count);
    for (size_t i = 0; i < count; i++) {
        const struct ft_module *module = &modules[i];
        if (!module->magnitude) continue;
        const double *w = weights(r, "%s.weight", module->name);
        const double *A = weights(r, "base_model.model.%s.lora_A.weight", module->name);
        const double *B = weights(r, "base_model.model.%s.lora_B.weight", module->name);
        double *norm = calloc(module->out, sizeof *norm);
        for (size_t o = 0; o < module->out; o++) {
            for (size_t j = 0; j < module->in; j++) {
                double v = w[module->in_out ? j * module->out + o : o * module->in + j];
                for (size_t k = 0; k < r->rank; k++)
                    v += r->scale * B[o * r->rank + k] * A[k * module->in + j];
                norm[o] += v * v;
            }
            norm[o] = sqrt(norm[o]);
        }
        char *name = malloc(strlen(module->name) + sizeof "norm ");
        r->names_of[r->count] = strcat(strcpy(name, "norm "), module->name);
        r->elements[r->count] = module->out;
        r->values[r->count++] = norm;
    }
}

static struct reference make_reference(const struct ft_model *model, const struct ft_lora_spec *spec) {
    struct reference r = {.config = ft_model_config(model)};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].model_type, r.config->model_type) == 0) r.names = &families[i].names;
    size_t count;
    struct ft_parameter *const *parameters = ft_model_parameters(model, &count);
    copy_parameters(&r, parameters, count);
    parameters = ft_lora_parameters(model, &count);
    copy_parameters(&r, parameters, count);
    if (spec) r.rank = spec->rank, r.scale = spec->alpha / (double)spec->rank;
    fix_norms(&r, model);
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
    for (size_t i = 0; i < r.count; i++) {
        if (strncmp(r.names_of[i], "norm ", 5) == 0) free((char *)r.names_of[i]);
        free(r.values[i]);
    }
    ft_session_free(session);
}

static void run(const char *name, struct ft_exec *exec, const struct ft_lora_spec *spec,
                const struct ft_batch *batch) {
    struct ft_model *model = NULL;
    struct ft_error error = {0};
    bool good = !ft_model_new_random(&model, fixture("%s", name), 7, &error);
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
    struct ft_lora_spec some = {.rank = 2, .alpha = 4, .targets = {one, 1}};
    struct ft_lora_spec top = {.rank = 2, .alpha = 4, .targets = {head, 2}};
    struct ft_exec *exec;
    struct ft_error error;
    if (!ok(!ft_exec_new(&exec, 1, &error), "kernels")) return tap_done();
    struct ft_lora_spec dora = {.rank = 3, .alpha = 5, .seed = 3, .dora = true};
    run("llama", exec, &dora, &batch);
    run("llama-bias", exec, &dora, &batch);
    run("gpt2", exec, &dora, &batch);
    run("llama", exec, NULL, &batch);
    run("llama-tied", exec, NULL, &batch);
    run("llama-bias", exec, NULL, &batch);
    run("gpt2", exec, NULL, &batch);
    run("llama", exec, &all, &batch);
    run("gpt2", exec, &all, &batch);
    run("llama-tied", exec, &some, &batch);
    run("llama", exec, &top, &batch);
    static const char *const others[] = {"qwen2",   "qwen3",    "mistral",         "phi3",
                                         "olmo2",   "gemma",    "gemma2",          "gemma3_text",
                                         "granite", "gpt_neox", "gpt_neox-serial", "smollm3"};
    for (size_t i = 0; i < 20; i++) ids[i] %= 37;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        run(others[i], exec, NULL, &batch);
        run(others[i], exec, &all, &batch);
    }
    ft_exec_free(exec);
    return tap_done();
}
