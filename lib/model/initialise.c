/* SPDX-License-Identifier: MIT
 * Random weights for training from scratch; ft/model.h says which numbers. */
#include "model.h"

#include "family.h"
#include "ft/elementary.h"
#include "ft/hash.h"
#include "ft/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const double two_pi = 6.283185307179586476925;

/* Two normal numbers by Box and Muller (1958). */
static void normal_pair(const uint32_t word[2], double out[2]) {
    double u = ((double)word[0] + 0.5) / 4294967296.0,
           angle = two_pi * (((double)word[1] + 0.5) / 4294967296.0);
    double radius = sqrt(-2 * ft_log(u));
    out[0] = radius * ft_cos(angle);
    out[1] = radius * ft_sin(angle);
}

static void fill_normal(struct ft_parameter *parameter, const struct ft_rng *rng, double deviation) {
    uint32_t stream = (uint32_t)ft_xxh3(parameter->name, strlen(parameter->name));
    for (size_t i = 0; i < parameter->elements; i += 4) {
        uint32_t word[4];
        double normal[4];
        ft_rng_u32x4(rng, 0, stream, i / 4, word);
        normal_pair(word, normal);
        normal_pair(word + 2, normal + 2);
        size_t left = parameter->elements - i, count = left < 4 ? left : 4;
        for (size_t j = 0; j < count; j++) parameter->value[i + j] = (float)(normal[j] * deviation);
    }
}

static bool is_residual(const struct ft_model *model, const struct ft_parameter *parameter) {
    for (size_t l = 0; l < model->config.layers; l++)
        if (parameter == model->layers[l].o.module->weight ||
            parameter == model->layers[l].down.module->weight)
            return true;
    return false;
}

static bool is_norm_weight(const struct ft_model *model, const struct ft_parameter *parameter) {
    for (size_t l = 0; l < model->config.layers; l++) {
        const struct ft_layer *layer = &model->layers[l];
        const struct ft_norm_weights *norms[] = {&layer->attention_norm, &layer->q_norm,
                                                 &layer->k_norm,         &layer->post_attention_norm,
                                                 &layer->mlp_norm,       &layer->post_mlp_norm};
        for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
            if (parameter == norms[i]->weight) return true;
    }
    return parameter == model->final_norm.weight;
}

static void initialise(const struct ft_model *model, struct ft_parameter *parameter,
                       const struct ft_rng *rng) {
    if (parameter->rank == 1) { /* memory is zeroed: biases are done, and norms that multiply by 1 + weight */
        if (model->config.norm_plus_one || !is_norm_weight(model, parameter)) return;
        for (size_t i = 0; i < parameter->elements; i++) parameter->value[i] = 1;
        return;
    }
    double deviation = model->config.initializer_range;
    if (model->config.family->small_residual && is_residual(model, parameter))
        deviation /= sqrt(2.0 * (double)model->config.layers);
    fill_normal(parameter, rng, deviation);
}

enum ft_status ft_model_initialise(struct ft_model *model, uint64_t seed, struct ft_error *error) {
    size_t total = 0;
    bool fits = true;
    for (size_t i = 0; i < model->count; i++)
        fits = fits && ft_size_add(total, ft_arena_cost(model->storage[i].elements, sizeof(float)), &total);
    if (!fits) return ft_fail(error, FT_LIMIT, "%s: the weights do not fit into memory", model->path);
    enum ft_status status = ft_arena_init(&model->masters, total, error);
    if (status) return status;
    struct ft_rng rng = ft_rng_new(seed, FT_RNG_INIT);
    for (size_t i = 0; i < model->count; i++) {
        struct ft_parameter *parameter = &model->storage[i];
        parameter->value = ft_arena_take(&model->masters, parameter->elements, sizeof(float));
        assert(parameter->value);
        parameter->data = parameter->value;
        parameter->dtype = FT_F32;
        initialise(model, parameter, &rng);
    }
    return FT_OK;
}
