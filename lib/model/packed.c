/* SPDX-License-Identifier: MIT */
#include "packed.h"

#include "ft/file.h"
#include "linear.h"

#include <string.h>

enum { SLICES = 8 }; /* of a layer */

/* Frozen, and mapped from a file of ours in a type that is packed as it is. */
static bool stays(const struct ft_model *model, struct ft_slice slice) {
    const struct ft_parameter *weight = slice.module->weight;
    return model->file && !weight->trained && !weight->value && (weight->dtype == FT_BF16 || weight->dtype == FT_F32);
}

/* The norms of a module with magnitudes are taken from the file's own rows in every step. */
static bool is_replaced(const struct ft_model *model, struct ft_slice slice) {
    return stays(model, slice) && !slice.module->magnitude;
}

void ft_packed_refresh(struct ft_exec *exec, struct ft_slice slice, struct ft_packed *packed) {
    struct ft_operand weights = ft_linear_operand(slice);
    ft_pack(exec, packed, &weights);
}

static struct ft_packed lay_memory(struct ft_layout *layout, struct ft_exec *exec, const struct ft_slice *slice) {
    struct ft_packed p = {.k = slice->module->in, .n = slice->out};
    p.dtype = ft_linear_operand(*slice).dtype == FT_BF16 ? FT_BF16 : FT_F32; /* narrow weights stay narrow */
    p.data = ft_layout_take(layout, ft_packed_size(exec, p.k, p.n, p.dtype), 1);
    return p;
}

void ft_packed_lay_slice(struct ft_layout *layout, struct ft_exec *exec, struct ft_slice *slice, struct ft_packed *packed) {
    struct ft_packed p = lay_memory(layout, exec, slice);
    if (!layout->arena) return;
    *packed = p;
    slice->packed = packed;
}

/* The places of a layer's slices, of which some are empty. */
static void slices_of(struct ft_layer *layer, struct ft_slice *slices[SLICES]) {
    struct ft_slice *all[SLICES] = {&layer->qkv, &layer->q, &layer->k, &layer->v, &layer->o, &layer->gate, &layer->up, &layer->down};
    memcpy(slices, all, sizeof all);
}

static void lay_slice(struct ft_layout *layout, struct ft_exec *exec, const struct ft_model *model, enum ft_packing packing,
                      const struct ft_slice *slice, size_t index, struct ft_packed_weights *weights) {
    if (!slice->module || packing == FT_PACK_NONE || (packing == FT_PACK_FROZEN && !stays(model, *slice))) return;
    struct ft_packed packed = lay_memory(layout, exec, slice);
    if (weights->packed) weights->packed[index] = packed;
    if (is_replaced(model, *slice))
        weights->replaced += slice->out * slice->module->in * ft_dtype_size(slice->module->weight->dtype);
}

void ft_packed_lay(struct ft_layout *layout, struct ft_exec *exec, const struct ft_model *model, enum ft_packing packing,
                   struct ft_packed_weights *weights) {
    size_t layers = model->config.layers;
    weights->layers = ft_layout_take(layout, layers, sizeof *weights->layers);
    weights->packed = ft_layout_take(layout, SLICES * layers + 1, sizeof *weights->packed);
    weights->head = model->head;
    weights->replaced = 0;
    lay_slice(layout, exec, model, packing, &weights->head, SLICES * layers, weights);
    for (size_t l = 0; l < layers; l++) {
        struct ft_layer layer = model->layers[l];
        struct ft_slice *slices[SLICES];
        slices_of(&layer, slices);
        for (size_t s = 0; s < SLICES; s++) lay_slice(layout, exec, model, packing, slices[s], SLICES * l + s, weights);
        if (weights->layers) weights->layers[l] = layer;
    }
}

static void fill_slice(struct ft_exec *exec, const struct ft_model *model, struct ft_slice *slice, struct ft_packed *packed) {
    if (!packed->data) return;
    ft_packed_refresh(exec, *slice, packed);
    slice->packed = packed;
    if (!is_replaced(model, *slice)) return;
    const struct ft_parameter *weight = slice->module->weight;
    ft_map_forget(weight->data, weight->elements * ft_dtype_size(weight->dtype)); /* other slices come back from the file */
}

void ft_packed_fill(struct ft_exec *exec, const struct ft_model *model, struct ft_packed_weights *weights) {
    size_t layers = model->config.layers;
    fill_slice(exec, model, &weights->head, &weights->packed[SLICES * layers]);
    for (size_t l = 0; l < layers; l++) {
        struct ft_slice *slices[SLICES];
        slices_of(&weights->layers[l], slices);
        for (size_t s = 0; s < SLICES; s++) fill_slice(exec, model, slices[s], &weights->packed[SLICES * l + s]);
    }
}

const struct ft_packed *ft_packed_table(const struct ft_model *model, const struct ft_packed_weights *weights) {
    bool tied = weights->head.module->weight == model->embedding;
    return tied && stays(model, weights->head) ? weights->head.packed : NULL;
}
