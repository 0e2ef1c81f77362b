/* SPDX-License-Identifier: MIT */
#include "ft/plan.h"

#include "ft/json.h"
#include "ft/memory.h"
#include "ft/progress.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- operations ------------------------------------------------------------------------------------------ */

/* Multiplications and additions of a forward pass over a set, linear maps and attention apart. */
struct work {
    double linear, attention, head;
};

static struct work forward_work(const struct ft_model *model, const struct ft_ftok_set *set) {
    const struct ft_config *config = ft_model_config(model);
    size_t count;
    struct ft_module *module = ft_model_modules(model, &count);
    double weights = 0, tokens = 0, squares = 0;
    for (size_t i = 0; i < count; i++) weights += (double)module[i].in * (double)module[i].out;
    double head = (double)config->vocab * (double)config->hidden;
    if (!config->tied) weights -= head; /* the head is a module then; it is counted for supervised tokens only */
    for (size_t r = 0; r < set->rows; r++) {
        double length = (double)(set->start[r + 1] - set->start[r]);
        tokens += length;
        squares += length * length;
    }
    double width = (double)(config->heads * config->head_dim * config->layers);
    return (struct work){.linear = 2 * weights * tokens,
                         .attention = 2 * width * squares, /* scores and weighted sum, half of the square each */
                         .head = 2 * head * (double)set->supervised};
}

static double run_flops(const struct ft_trainer_spec *spec, const struct ft_plan *plan) {
    struct work one = forward_work(spec->model, spec->train);
    bool lora = spec->recipe->method == FT_METHOD_LORA; /* no gradients of frozen weights */
    double epoch = (lora ? 2 : 3) * (one.linear + one.head) + 3.5 * one.attention;
    double flops = epoch * (double)plan->steps / (double)plan->per_epoch;
    if (!spec->valid) return flops;
    struct work check = forward_work(spec->model, spec->valid);
    uint64_t every = spec->recipe->eval_every ? spec->recipe->eval_every : plan->per_epoch;
    return flops + (check.linear + check.head + check.attention) * (double)((plan->steps + every - 1) / every);
}

/* Operations a second of a product of this size on all threads: the best of a few. */
static enum ft_status measure(struct ft_exec *exec, double *rate, struct ft_error *error) {
    enum { M = 512, N = 512, K = 512 };
    struct ft_arena arena;
    enum ft_status status = ft_arena_init(&arena, 3 * ft_arena_cost((size_t)M * K, sizeof(float)), error);
    if (status) return status;
    float *a = ft_arena_take(&arena, (size_t)M * K, sizeof *a), *b = ft_arena_take(&arena, (size_t)K * N, sizeof *b);
    float *c = ft_arena_take(&arena, (size_t)M * N, sizeof *c);
    for (size_t i = 0; i < (size_t)M * K; i++) a[i] = 1;
    for (size_t i = 0; i < (size_t)K * N; i++) b[i] = 1;
    struct ft_product product = {.m = M, .n = N, .k = K, .a = {a, FT_F32, K, 1}, .b = {b, FT_F32, N, 1}, .c = c, .ldc = N};
    double start = ft_seconds(), last = start;
    *rate = 0;
    do {
        ft_gemm(exec, &product);
        double now = ft_seconds(), r = 2.0 * M * N * K / (now - last);
        if (r > *rate) *rate = r;
        last = now;
    } while (last - start < 0.05);
    ft_arena_release(&arena);
    return FT_OK;
}

/* --- bytes ----------------------------------------------------------------------------------------------- */

static size_t set_bytes(const struct ft_ftok_set *set) {
    if (!set) return 0;
    size_t tokens = set->start[set->rows];
    return tokens * (sizeof *set->ids + sizeof *set->weights) +
           set->rows * (sizeof *set->start + sizeof *set->source + sizeof *set->line + 2 * sizeof *set->label);
}

static void count_parameters(const struct ft_model *model, struct ft_plan *plan) {
    size_t count;
    struct ft_parameter *const *parameter = ft_model_parameters(model, &count);
    for (size_t i = 0; i < count; i++) {
        plan->parameters += parameter[i]->elements;
        if (!parameter[i]->trained) plan->weights += parameter[i]->elements * ft_dtype_size(parameter[i]->dtype);
        if (!parameter[i]->trained && parameter[i]->value) plan->weights += parameter[i]->elements * sizeof(float);
    }
    parameter = ft_model_trained(model, &count);
    for (size_t i = 0; i < count; i++) plan->trainable += parameter[i]->elements;
    plan->trained = 2 * plan->trainable * sizeof(float);
}

static void at_least(size_t *most, size_t numbers) {
    if (numbers > *most) *most = numbers;
}

/* Numbers in the largest matrix that a product packs for itself: weights, unless the session has packed them, and inputs
 * of a linear map for the gradient of its weights, or of an adapter too large to be read in place. */
static size_t largest_factor(const struct ft_model *model, size_t rows, bool packed) {
    size_t count, most = 0;
    const struct ft_module *module = ft_model_modules(model, &count);
    for (size_t i = 0; i < count; i++, module++) { /* the inputs are in memory more than once, so their size is a number */
        bool trained = module->weight->trained;
        if (trained || !packed) at_least(&most, module->weight->elements);
        if (trained || (module->lora_a && module->rank > FT_GEMM_IN_PLACE)) at_least(&most, rows * module->in);
    }
    return most;
}

enum ft_status ft_plan_make(struct ft_plan *plan, const struct ft_trainer_spec *spec, struct ft_error *error) {
    struct ft_session_limits limits;
    struct ft_session_size session;
    *plan = (struct ft_plan){.rows = spec->train->rows, .supervised = spec->train->supervised};
    ft_trainer_length(spec->recipe, spec->train->rows, &plan->per_epoch, &plan->steps);
    count_parameters(spec->model, plan);
    enum ft_status status = ft_trainer_limits(spec, &limits, error);
    if (!status) status = ft_session_plan(spec->model, spec->exec, &limits, &session, error);
    if (status) return status;
    ft_trainer_size(spec, &limits, &plan->moments, &plan->data);
    plan->activations = session.activations;
    plan->workspace = session.workspace;
    plan->weights += session.packed - session.replaced;
    plan->head = session.head;
    plan->embedding = session.embedding;
    plan->data += set_bytes(spec->train) + set_bytes(spec->valid);
    plan->program = ft_exec_size(spec->exec, largest_factor(spec->model, limits.tokens, session.packed != 0)) + FT_PLAN_PROGRAM;
    plan->total = plan->weights + plan->trained + plan->moments + session.total - session.packed + plan->data + plan->program;
    plan->flops = run_flops(spec, plan);
    status = measure(spec->exec, &plan->rate, error);
    if (!status) plan->seconds = plan->flops / (plan->rate * FT_PLAN_SHARE);
    return status;
}

/* --- telling --------------------------------------------------------------------------------------------- */

static enum ft_status print_json(const struct ft_plan *plan, FILE *out, struct ft_error *error) {
    struct ft_json json = {0};
    struct ft_buffer text = {0};
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (status) return status;
    struct cJSON *bytes = ft_json_set_object(&json, json.root, "bytes");
    ft_json_set_u64(&json, bytes, "weights", plan->weights);
    ft_json_set_u64(&json, bytes, "trained", plan->trained);
    ft_json_set_u64(&json, bytes, "moments", plan->moments);
    ft_json_set_u64(&json, bytes, "activations", plan->activations);
    ft_json_set_u64(&json, bytes, "workspace", plan->workspace);
    ft_json_set_u64(&json, bytes, "head", plan->head);
    ft_json_set_u64(&json, bytes, "embedding", plan->embedding);
    ft_json_set_u64(&json, bytes, "data", plan->data);
    ft_json_set_u64(&json, bytes, "program", plan->program);
    ft_json_set_u64(&json, bytes, "total", plan->total);
    ft_json_set_u64(&json, json.root, "parameters", plan->parameters);
    ft_json_set_u64(&json, json.root, "trainable", plan->trainable);
    ft_json_set_u64(&json, json.root, "rows", plan->rows);
    ft_json_set_u64(&json, json.root, "supervised_tokens", plan->supervised);
    ft_json_set_u64(&json, json.root, "steps_per_epoch", plan->per_epoch);
    ft_json_set_u64(&json, json.root, "steps", plan->steps);
    ft_json_set_double(&json, json.root, "flops", plan->flops);
    ft_json_set_double(&json, json.root, "measured_flops_per_second", plan->rate);
    ft_json_set_double(&json, json.root, "estimated_seconds", plan->seconds);
    status = ft_json_print(&json, json.root, FT_JSON_PRETTY, &text, error);
    if (!status) fputs(text.data, out);
    ft_buffer_release(&text);
    ft_json_release(&json);
    return status;
}

static void print_row(FILE *out, const char *name, size_t bytes, const char *what) {
    if (bytes >= (size_t)10 << 20) fprintf(out, "  %-12s %10.1f MiB  %s\n", name, (double)bytes / 1048576, what);
    else fprintf(out, "  %-12s %10.1f KiB  %s\n", name, (double)bytes / 1024, what);
}

enum ft_status ft_plan_print(const struct ft_plan *plan, bool json, FILE *out, struct ft_error *error) {
    if (json) return print_json(plan, out, error);
    fprintf(out, "memory\n");
    print_row(out, "weights", plan->weights, "frozen ones, as stored or packed; of a trained head its packed copy");
    print_row(out, "trained", plan->trained, "binary32 masters and gradients");
    print_row(out, "moments", plan->moments, "AdamW's m and v");
    print_row(out, "activations", plan->activations, "of one micro-batch");
    print_row(out, "workspace", plan->workspace, "a layer's temporaries, or logits of a chunk of rows");
    print_row(out, "head", plan->head, "last hidden states and losses of supervised tokens");
    print_row(out, "embedding", plan->embedding, "gradient of a tied table");
    print_row(out, "data", plan->data, "token streams and packed rows");
    print_row(out, "program", plan->program, "itself, and scratch of its threads");
    print_row(out, "total", plan->total, "");
    fprintf(out, "work\n  %zu of %zu parameters trained\n", plan->trainable, plan->parameters);
    fprintf(out, "  %" PRIu64 " rows, %" PRIu64 " tokens to learn; %" PRIu64 " steps, %" PRIu64 " an epoch\n",
            plan->rows, plan->supervised, plan->steps, plan->per_epoch);
    fprintf(out, "  %.3g floating-point operations\n", plan->flops);
    fprintf(out, "time\n  about %.0f s at %.0f %% of the %.1f GFLOP/s measured here\n", plan->seconds,
            100 * FT_PLAN_SHARE, plan->rate * 1e-9);
    return FT_OK;
}
