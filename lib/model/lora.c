/* SPDX-License-Identifier: MIT
 * What an adapter consists of, and a new one. */
#include "ft/lora.h"

#include "adapter.h"
#include "dora.h"
#include "ft/hash.h"
#include "ft/options.h"
#include "ft/rng.h"
#include "select.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALPHA_MAX 1e9

void ft_adapter_free(struct ft_adapter *adapter) {
    if (!adapter) return;
    ft_arena_release(&adapter->memory);
    ft_json_release(&adapter->config);
    free(adapter->copies);
    free(adapter->names);
    free(adapter->parameters);
    free(adapter->storage);
    free(adapter);
}

const struct ft_parameter *ft_model_present(const struct ft_model *model, const struct ft_parameter *base) {
    const struct ft_adapter *adapter = model->adapter;
    for (size_t i = 0; adapter && i < adapter->copy_count; i++)
        if (adapter->copies[i].base == base) return adapter->copies[i].own;
    return base;
}

/* --- the specification -------------------------------------------------------------------------------- */

static enum ft_status check_rank(double rank, struct ft_error *error) {
    if (rank >= 1 && rank <= FT_LORA_RANK_MAX && rank == floor(rank)) return FT_OK;
    return ft_fail(error, FT_USAGE, "the rank of an adapter must be between 1 and %u, not %g", FT_LORA_RANK_MAX, rank);
}

static enum ft_status check_alpha(double alpha, struct ft_error *error) {
    if (alpha > 0 && alpha <= ALPHA_MAX) return FT_OK;
    return ft_fail(error, FT_USAGE, "the alpha of an adapter must be a positive number, not %g", alpha);
}

static enum ft_status check_spec(const struct ft_lora_spec *spec, struct ft_error *error) {
    enum ft_status status = check_rank((double)spec->rank, error);
    if (!status) status = check_alpha(spec->alpha, error);
    for (size_t i = 0; !status && i < spec->ranks.count; i++) status = check_rank(spec->ranks.item[i].value, error);
    for (size_t i = 0; !status && i < spec->alphas.count; i++) status = check_alpha(spec->alphas.item[i].value, error);
    if (!status && spec->target_expression && spec->layer_count)
        status = ft_fail(error, FT_USAGE, "an adapter's targets are an expression, which says the layers itself: layers cannot be given beside it");
    return status;
}

/* --- structure ---------------------------------------------------------------------------------------- */

/* The same code counts (adapter->storage NULL) and builds, so that they cannot disagree. */
struct builder {
    struct ft_model *model;
    const struct ft_lora_spec *spec;
    struct ft_selector selector;
    struct ft_adapter *adapter;
    bool train;
    size_t count, copies, bytes;
    struct ft_error *error;
    enum ft_status status;
};

static void add_bytes(struct builder *b, size_t elements) {
    if (!ft_size_add(b->bytes, ft_arena_cost(elements, sizeof(float)), &b->bytes)) b->bytes = SIZE_MAX;
}

static float *take(struct builder *b, size_t elements) {
    add_bytes(b, elements);
    if (!b->adapter->storage) return NULL;
    float *memory = ft_arena_take(&b->adapter->memory, elements, sizeof(float));
    assert(memory);
    return memory;
}

/* NULL while counting. A vector has rows 0. */
static struct ft_parameter *add_parameter(struct builder *b, const char *module, const char *suffix, size_t rows,
                                          size_t cols) {
    size_t i = b->count++, elements = (rows ? rows : 1) * cols;
    float *value = take(b, elements), *grad = b->train ? take(b, elements) : NULL;
    struct ft_adapter *adapter = b->adapter;
    if (!adapter->storage) return NULL;
    int length = snprintf(adapter->names[i], FT_NAME_MAX, FT_ADAPTER_PREFIX "%s%s", module, suffix);
    assert(length > 0 && (size_t)length < FT_NAME_MAX);
    (void)length;
    adapter->storage[i] = (struct ft_parameter){.name = adapter->names[i],
                                                .rank = rows ? 2 : 1,
                                                .rows = rows ? rows : 1,
                                                .cols = cols,
                                                .elements = elements,
                                                .dtype = FT_F32,
                                                .data = value,
                                                .value = value,
                                                .grad = grad,
                                                .trained = b->train};
    adapter->count = i + 1;
    return adapter->parameters[i] = &adapter->storage[i];
}

static float scale_of(struct builder *b, const char *module, size_t rank) {
    double alpha = ft_selector_alpha(&b->selector, module), r = (double)rank;
    return (float)(alpha / (b->spec->rslora ? sqrt(r) : r));
}

static bool is_target(struct builder *b, const struct ft_module *module) {
    return ft_selector_targets(&b->selector, module->name, module != b->model->head.module);
}

static void add_module(struct builder *b, struct ft_module *module) {
    size_t rank = ft_selector_rank(&b->selector, module->name);
    struct ft_parameter *lora_a = add_parameter(b, module->name, ".lora_A.weight", rank, module->in);
    struct ft_parameter *lora_b = add_parameter(b, module->name, ".lora_B.weight", module->out, rank);
    struct ft_parameter *magnitude = NULL;
    float *norm = NULL, *gain = NULL;
    if (b->spec->dora) {
        magnitude = add_parameter(b, module->name, ".lora_magnitude_vector", 0, module->out);
        norm = take(b, module->out);
        gain = take(b, module->out);
    }
    if (!lora_a) return;
    module->lora_a = lora_a;
    module->lora_b = lora_b;
    module->magnitude = magnitude;
    module->norm = norm;
    module->gain = gain;
    module->rank = rank;
    module->scale = scale_of(b, module->name, rank);
}

/* The table's module: its parameter's name in the structure, whatever the file called it. */
static void table_name(const struct ft_model *model, char name[FT_NAME_MAX]) {
    snprintf(name, FT_NAME_MAX, "%s", model->names[model->embedding - model->storage]);
    name[strlen(name) - strlen(".weight")] = '\0';
}

static bool is_table_target(struct builder *b) {
    char name[FT_NAME_MAX];
    table_name(b->model, name);
    return ft_selector_targets(&b->selector, name, false);
}

static void add_table(struct builder *b) {
    struct ft_model *model = b->model;
    char name[FT_NAME_MAX];
    table_name(model, name);
    size_t rank = ft_selector_rank(&b->selector, name);
    struct ft_parameter *lora_a = add_parameter(b, name, ".lora_embedding_A", rank, model->config.vocab);
    struct ft_parameter *lora_b = add_parameter(b, name, ".lora_embedding_B", model->config.hidden, rank);
    if (b->spec->dora)
        b->status = ft_fail(b->error, FT_UNSUPPORTED, "DoRA of the embedding table '%s' is not implemented", name);
    if (lora_a)
        model->embedding_adapter =
            (struct ft_embedding_adapter){.a = lora_a, .b = lora_b, .rank = rank, .scale = scale_of(b, name, rank)};
}

/* Does this place get a copy of the adapter's own, and under which name? */
static const char *copy_suffix(struct builder *b, const struct ft_place *place) {
    const struct ft_lora_spec *spec = b->spec;
    bool saved = ft_selector_saves(&b->selector, place->name);
    bool table = place->at == &b->model->embedding;
    if (!saved && (!place->bias || spec->bias == FT_LORA_BIAS_NONE)) return NULL;
    bool adapted = place->module ? is_target(b, place->module) : table && is_table_target(b);
    if (saved && adapted)
        b->status = ft_fail(b->error, FT_USAGE, "the module '%s' cannot be both adapted and saved whole", place->name);
    if (saved) return place->bias ? ".bias" : ".weight";
    if (adapted) return ".base_layer.bias";
    return spec->bias == FT_LORA_BIAS_ALL ? ".bias" : NULL;
}

static void add_copy(void *arg, const struct ft_place *place) {
    struct builder *b = arg;
    struct ft_parameter *base = *place->at;
    const char *suffix = copy_suffix(b, place);
    if (!place->module && place->at != &b->model->embedding && b->spec->target_expression &&
        ft_selector_targets(&b->selector, place->name, false))
        b->status = ft_fail(b->error, FT_UNSUPPORTED, "the adapter's target '%s' is no linear module", place->name);
    if (!suffix || b->status) return;
    struct ft_parameter *own = add_parameter(b, place->name, suffix, base->rank == 2 ? base->rows : 0, base->cols);
    size_t i = b->copies++;
    if (!own) return;
    ft_parameter_widen(base, own->value);
    b->adapter->copies[i] = (struct ft_copy){.place = place->at, .base = base, .own = own};
    b->adapter->copy_count = b->copies;
    *place->at = own;
}

static void add_everything(struct builder *b) {
    b->count = b->copies = b->bytes = 0;
    for (size_t i = 0; i < b->model->module_count; i++)
        if (is_target(b, &b->model->modules[i])) add_module(b, &b->model->modules[i]);
    if (is_table_target(b)) add_table(b);
    ft_model_each_place(b->model, add_copy, b);
    if (b->selector.status) b->status = b->selector.status;
}

/* --- names that fit nothing --------------------------------------------------------------------------- */

struct search {
    const char *name;
    bool dotted; /* a target: behind a dot, and no norm */
    bool found;
    const char *known[FT_LORA_NAMES_MAX + 1];
    char names[FT_LORA_NAMES_MAX][FT_NAME_MAX];
    size_t count;
    const struct ft_model *model;
};

static void search_place(void *arg, const struct ft_place *place) {
    struct search *s = arg;
    if (s->dotted && !place->module && place->at != &s->model->embedding) return;
    size_t length = strlen(place->name), tail = strlen(s->name);
    if (s->dotted ? ft_select_name(place->name, s->name)
                  : length >= tail && strcmp(place->name + length - tail, s->name) == 0)
        s->found = true;
    const char *dot = strrchr(place->name, '.');
    if (s->count == FT_LORA_NAMES_MAX) return;
    snprintf(s->names[s->count], FT_NAME_MAX, "%s", dot ? dot + 1 : place->name);
    s->known[s->count] = s->names[s->count];
    s->count++;
}

static enum ft_status check_names(struct ft_model *model, const struct ft_lora_names *names, bool dotted,
                                  struct ft_error *error) {
    enum ft_status status = FT_OK;
    struct search *s;
    for (size_t i = 0; i < names->count && !status; i++) {
        status = ft_alloc(&s, 1, sizeof *s, error);
        if (status) return status;
        s->name = names->item[i];
        s->dotted = dotted;
        s->model = model;
        ft_model_each_place(model, search_place, s);
        const char *nearest = s->found ? NULL : ft_nearest(s->name, s->known);
        if (!s->found)
            status = ft_fail(error, FT_USAGE, "%s: no %s '%.100s' to %s%s%s%s", model->path, dotted ? "linear module" : "module",
                             s->name, dotted ? "adapt" : "save", nearest ? " (did you mean '" : "", nearest ? nearest : "",
                             nearest ? "'?)" : "");
        free(s);
    }
    return status;
}

/* --- an adapter --------------------------------------------------------------------------------------- */

static enum ft_status build(struct builder *b) {
    struct ft_adapter *adapter = b->adapter;
    struct ft_parameter *storage = NULL;
    add_everything(b);
    if (b->status) return b->status;
    if (b->bytes == SIZE_MAX) return ft_fail(b->error, FT_LIMIT, "%s: the adapter does not fit into memory", b->model->path);
    if (!b->count) return ft_fail(b->error, FT_USAGE, "%s: no module fits the adapter's targets", b->model->path);
    enum ft_status status = ft_alloc(&adapter->parameters, b->count, sizeof *adapter->parameters, b->error);
    if (!status) status = ft_alloc(&adapter->names, b->count, sizeof *adapter->names, b->error);
    if (!status) status = ft_alloc(&adapter->copies, b->copies ? b->copies : 1, sizeof *adapter->copies, b->error);
    if (!status) status = ft_arena_init(&adapter->memory, b->bytes, b->error);
    if (!status) status = ft_alloc(&storage, b->count, sizeof *storage, b->error);
    if (status) return status;
    adapter->storage = storage;
    b->model->adapter = adapter;
    add_everything(b);
    assert(!b->status && b->count == adapter->count && adapter->memory.used == adapter->memory.size);
    qsort(adapter->parameters, adapter->count, sizeof *adapter->parameters, ft_parameter_compare);
    return FT_OK;
}

enum ft_status ft_lora_adapt(struct ft_model *model, const struct ft_lora_spec *spec, bool train, struct ft_error *error) {
    if (model->trained || model->adapter)
        return ft_fail(error, FT_USAGE, "%s: the model is trained or adapted already", model->path);
    struct builder b = {.model = model, .spec = spec, .train = train, .error = error};
    enum ft_status status = check_spec(spec, error);
    if (!status) status = check_names(model, &spec->targets, true, error);
    if (!status) status = check_names(model, &spec->saved, false, error);
    if (!status) status = ft_selector_init(&b.selector, spec, error);
    if (status) return status;
    status = ft_alloc(&b.adapter, 1, sizeof *b.adapter, error);
    if (!status) status = ft_json_new(&b.adapter->config, FT_JSON_OBJECT, error);
    if (!status) status = build(&b);
    ft_selector_release(&b.selector);
    if (status) {
        ft_adapter_free(b.adapter);
        return status;
    }
    ft_lora_describe(&b.adapter->config, model, spec);
    if (train) {
        model->trained = b.adapter->parameters;
        model->trained_count = b.adapter->count;
    }
    return FT_OK;
}

void ft_lora_unadapt(struct ft_model *model) {
    struct ft_adapter *adapter = model->adapter;
    for (size_t i = 0; i < model->module_count; i++) {
        struct ft_module *module = &model->modules[i];
        module->lora_a = module->lora_b = module->magnitude = NULL;
        module->norm = module->gain = NULL;
        module->rank = 0;
    }
    for (size_t i = 0; i < adapter->copy_count; i++) *adapter->copies[i].place = adapter->copies[i].base;
    model->embedding_adapter = (struct ft_embedding_adapter){0};
    model->adapter = NULL;
    model->trained = NULL;
    model->trained_count = 0;
    ft_adapter_free(adapter);
}

/* --- a new one ---------------------------------------------------------------------------------------- */

static void fill_uniform(struct ft_parameter *a, const struct ft_rng *rng, double bound) {
    uint32_t stream = (uint32_t)ft_xxh3(a->name, strlen(a->name));
    for (size_t i = 0; i < a->elements; i++) {
        float u = ft_rng_uniform(rng, 0, stream, i);
        a->value[i] = (2 * u - 1) * (float)bound;
    }
}

enum ft_status ft_lora_attach(struct ft_model *model, const struct ft_lora_spec *spec,
                              struct ft_error *error) {
    enum ft_status status = ft_lora_adapt(model, spec, true, error);
    if (status) return status;
    struct ft_rng rng = ft_rng_new(spec->seed, FT_RNG_INIT);
    for (size_t i = 0; i < model->module_count; i++) {
        struct ft_module *module = &model->modules[i];
        if (!module->lora_a) continue;
        fill_uniform(module->lora_a, &rng, 1 / sqrt((double)module->in));
        if (module->magnitude) ft_dora_norms_of_base(module, module->magnitude->value);
    }
    if (model->embedding_adapter.b) fill_uniform(model->embedding_adapter.b, &rng, sqrt(3));
    return FT_OK;
}

struct ft_parameter *const *ft_lora_parameters(const struct ft_model *model, size_t *count) {
    *count = model->adapter ? model->adapter->count : 0;
    return model->adapter ? model->adapter->parameters : NULL;
}
