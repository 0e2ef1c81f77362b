/* SPDX-License-Identifier: MIT
 * Generation: the same pass, with keys and values that stay. Several sequences, whose rows meet all weights in every feed,
 * have them packed once. A single one streams them where they lie until packing, which is read faster (in one piece, without
 * turning), would have paid. */
#include "ft/decoder.h"

#include "dora.h"
#include "linear.h"
#include "packed.h"
#include "pass.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 32 }; /* tokens of a single sequence fed one by one before weights are packed for it */

struct ft_decoder {
    struct ft_model *model;
    struct ft_decoder_limits limits;
    struct ft_arena arena;
    struct ft_pass pass;
    struct ft_activations layer;  /* used by all layers in turn */
    struct ft_cache_layer *cache; /* [layers]: rows slot * length + position */
    struct ft_packed_weights weights;
    bool packed;
    size_t singles; /* tokens fed one by one so far */
    uint32_t *ids, *position, *select, *select_position, *cache_row;
    struct ft_attention_document *document, *select_document;
    float *x_final, *n_final, *mean, *rstd, *u_head; /* [outputs, ...] */
    size_t *length;                                  /* [sequences] tokens so far */
    bool *taken;                                     /* [sequences] slots of the present feed */
};

static void lay_cache(struct ft_decoder *decoder, struct ft_layout *layout) {
    const struct ft_config *config = &decoder->model->config;
    size_t rows, width = config->kv_heads * config->head_dim;
    if (!ft_size_mul(decoder->limits.sequences, decoder->limits.length, &rows)) rows = SIZE_MAX;
    decoder->cache = ft_layout_take(layout, config->layers, sizeof *decoder->cache);
    for (size_t l = 0; l < config->layers; l++) {
        struct ft_cache_layer layer = {.k = ft_layout_floats(layout, rows, width),
                                       .v = ft_layout_floats(layout, rows, width)};
        if (decoder->cache) decoder->cache[l] = layer;
    }
}

/* Rows that logits are computed for, at most. */
static size_t outputs(const struct ft_decoder_limits *limits) { return limits->every ? limits->feed : limits->sequences; }

static enum ft_packing packing_for(const struct ft_decoder_limits *limits) {
    if (limits->brief) return FT_PACK_NONE;
    return limits->frugal || limits->sequences == 1 ? FT_PACK_FROZEN : FT_PACK_ALL;
}

static void lay(struct ft_decoder *decoder, struct ft_layout *layout) {
    const struct ft_model *model = decoder->model;
    const struct ft_decoder_limits *limits = &decoder->limits;
    size_t T = limits->feed, P = outputs(limits), C = model->config.hidden;
    decoder->layer.x = ft_layout_floats(layout, T, C);
    ft_pass_lay_activations(layout, model, FT_ANY_LAYER, T, P, false, &decoder->layer);
    (void)ft_pass_lay_workspace(layout, decoder->pass.exec, model, T, P, limits->length, 0, false,
                                &decoder->pass.work);
    ft_pass_lay_rotary(layout, model, limits->length, decoder->pass.rotary);
    ft_packed_lay(layout, decoder->pass.exec, model, packing_for(limits), &decoder->weights);
    decoder->pass.layers = decoder->weights.layers;
    lay_cache(decoder, layout);
    decoder->ids = ft_layout_take(layout, T, sizeof *decoder->ids);
    decoder->position = ft_layout_take(layout, T, sizeof *decoder->position);
    decoder->cache_row = ft_layout_take(layout, T, sizeof *decoder->cache_row);
    decoder->select = ft_layout_take(layout, P, sizeof *decoder->select);
    decoder->select_position = ft_layout_take(layout, P, sizeof *decoder->select_position);
    decoder->document = ft_layout_take(layout, P, sizeof *decoder->document);
    decoder->select_document = ft_layout_take(layout, P, sizeof *decoder->select_document);
    decoder->x_final = ft_layout_floats(layout, P, C);
    decoder->n_final = ft_layout_floats(layout, P, C);
    decoder->mean = ft_layout_floats(layout, P, 1);
    decoder->rstd = ft_layout_floats(layout, P, 1);
    decoder->u_head = ft_layout_floats(layout, P, model->head.module->lora_a ? model->head.module->rank : 0);
    decoder->length = ft_layout_take(layout, P, sizeof *decoder->length);
    decoder->taken = ft_layout_take(layout, P, sizeof *decoder->taken);
}

static void prepare(struct ft_decoder *decoder, const struct ft_model *model, struct ft_exec *exec,
                    const struct ft_decoder_limits *limits) {
    *decoder = (struct ft_decoder){.model = (struct ft_model *)model, .limits = *limits};
    decoder->pass.exec = exec;
    decoder->pass.model = model;
}

size_t ft_decoder_size(const struct ft_model *model, struct ft_exec *exec,
                       const struct ft_decoder_limits *limits) {
    struct ft_decoder decoder;
    struct ft_layout layout = {0};
    prepare(&decoder, model, exec, limits);
    lay(&decoder, &layout);
    return layout.bytes;
}

static void pack(struct ft_decoder *decoder) {
    ft_packed_fill(decoder->pass.exec, decoder->model, &decoder->weights);
    decoder->pass.table = ft_packed_table(decoder->model, &decoder->weights);
    decoder->packed = true;
}

static enum ft_status check_limits(const struct ft_model *model, const struct ft_decoder_limits *limits,
                                   struct ft_error *error) {
    if (!limits->sequences || !limits->length || limits->feed < limits->sequences ||
        limits->feed > UINT32_MAX)
        return ft_fail(error, FT_USAGE,
                       "a decoder needs sequences, a length, and to be fed at least a token for each");
    if (limits->length > model->config.positions)
        return ft_fail(error, FT_USAGE, "%s: the model has positions for %zu tokens, not for %zu",
                       model->path, model->config.positions, limits->length);
    size_t rows;
    if (!ft_size_mul(limits->sequences, limits->length, &rows) || rows > UINT32_MAX)
        return ft_fail(error, FT_LIMIT, "%zu sequences of %zu tokens are too many", limits->sequences,
                       limits->length);
    return FT_OK;
}

enum ft_status ft_decoder_new(struct ft_decoder **out, struct ft_model *model, struct ft_exec *exec,
                              const struct ft_decoder_limits *limits, struct ft_error *error) {
    *out = NULL;
    struct ft_decoder *decoder = NULL;
    enum ft_status status = check_limits(model, limits, error);
    if (!status) status = ft_alloc(&decoder, 1, sizeof *decoder, error);
    if (status) return status;
    prepare(decoder, model, exec, limits);
    status = ft_arena_init(&decoder->arena, ft_decoder_size(model, exec, limits), error);
    if (status) {
        free(decoder);
        return status;
    }
    struct ft_layout layout = {.arena = &decoder->arena};
    lay(decoder, &layout);
    assert(decoder->arena.used == decoder->arena.size);
    ft_dora_refresh(exec, model, decoder->pass.work.dora);
    if (limits->sequences > 1 && !limits->brief) pack(decoder);
    *out = decoder;
    return FT_OK;
}

void ft_decoder_free(struct ft_decoder *decoder) {
    if (!decoder) return;
    ft_arena_release(&decoder->arena);
    free(decoder);
}

size_t ft_decoder_length(const struct ft_decoder *decoder, size_t slot) { return decoder->length[slot]; }

void ft_decoder_truncate(struct ft_decoder *decoder, size_t slot, size_t length) {
    assert(length <= decoder->length[slot]);
    decoder->length[slot] = length;
}

void ft_decoder_copy(struct ft_decoder *decoder, size_t from, size_t to, size_t length) {
    assert(from != to && decoder->length[to] == 0 && length <= decoder->length[from]);
    const struct ft_config *config = &decoder->model->config;
    size_t width = config->kv_heads * config->head_dim, slot = decoder->limits.length * width;
    for (size_t l = 0; l < config->layers; l++) {
        const struct ft_cache_layer *cache = &decoder->cache[l];
        memcpy(cache->k + to * slot, cache->k + from * slot, length * width * sizeof *cache->k);
        memcpy(cache->v + to * slot, cache->v + from * slot, length * width * sizeof *cache->v);
    }
    decoder->length[to] = length;
}

static enum ft_status check_piece(const struct ft_decoder *decoder, const struct ft_decoder_piece *piece,
                                  size_t room, struct ft_error *error) {
    if (piece->slot >= decoder->limits.sequences || decoder->taken[piece->slot] || piece->count == 0)
        return ft_fail(error, FT_USAGE, "a decoder's piece needs tokens and a slot of its own below %zu",
                       decoder->limits.sequences);
    if (piece->count > decoder->limits.length - decoder->length[piece->slot])
        return ft_fail(error, FT_USAGE, "a sequence of %zu tokens is longer than %zu",
                       decoder->length[piece->slot] + piece->count, decoder->limits.length);
    if (piece->count > room)
        return ft_fail(error, FT_USAGE, "more than %zu tokens at once for a decoder", decoder->limits.feed);
    for (size_t i = 0; i < piece->count; i++)
        if (piece->ids[i] >= decoder->model->config.vocab)
            return ft_fail(error, FT_USAGE, "token %u is not below the vocabulary's size %zu", piece->ids[i],
                           decoder->model->config.vocab);
    return FT_OK;
}

static enum ft_status check_pieces(struct ft_decoder *decoder, const struct ft_decoder_piece *pieces,
                                   size_t count, struct ft_error *error) {
    enum ft_status status = FT_OK;
    size_t total = 0;
    memset(decoder->taken, 0, decoder->limits.sequences * sizeof *decoder->taken);
    for (size_t i = 0; !status && i < count; i++) {
        status = check_piece(decoder, &pieces[i], decoder->limits.feed - total, error);
        if (status) break;
        decoder->taken[pieces[i].slot] = true;
        total += pieces[i].count;
    }
    return status;
}

static void take_piece(struct ft_decoder *decoder, const struct ft_decoder_piece *piece) {
    struct ft_pass *pass = &decoder->pass;
    size_t start = decoder->length[piece->slot], first_row = pass->rows,
           cache = piece->slot * decoder->limits.length;
    for (size_t i = 0; i < piece->count; i++, pass->rows++) {
        decoder->ids[pass->rows] = piece->ids[i];
        decoder->position[pass->rows] = (uint32_t)(start + i);
        decoder->cache_row[pass->rows] = (uint32_t)(cache + start + i);
    }
    size_t keys = decoder->length[piece->slot] = start + piece->count;
    struct ft_attention_document document = {
        .key_row = cache, .key_count = keys, .query_row = first_row, .query_count = piece->count};
    decoder->document[pass->documents] = document;
    if (decoder->limits.every) { /* all rows: nothing is selected among them */
        pass->documents++;
        pass->selected = pass->rows;
        return;
    }
    size_t p = pass->selected++;
    decoder->select[p] = (uint32_t)(pass->rows - 1);
    decoder->select_position[p] = (uint32_t)(keys - 1);
    document.query_row = p;
    document.query_count = 1;
    decoder->select_document[pass->documents++] = document;
}

static void take_pieces(struct ft_decoder *decoder, const struct ft_decoder_piece *pieces, size_t count) {
    struct ft_pass *pass = &decoder->pass;
    pass->rows = pass->selected = pass->documents = 0;
    pass->ids = decoder->ids;
    pass->position = decoder->position;
    pass->select = decoder->select;
    pass->select_position = decoder->select_position;
    pass->document = decoder->document;
    pass->select_document = decoder->select_document;
    pass->cache = decoder->cache;
    pass->cache_row = decoder->cache_row;
    for (size_t i = 0; i < count; i++) take_piece(decoder, &pieces[i]);
}

enum ft_status ft_decoder_feed(struct ft_decoder *decoder, const struct ft_decoder_piece *pieces,
                               size_t count, float *logits, struct ft_error *error) {
    enum ft_status status = check_pieces(decoder, pieces, count, error);
    if (status || count == 0) return status;
    take_pieces(decoder, pieces, count);
    if (!decoder->packed && !decoder->limits.brief && decoder->pass.rows == 1 && ++decoder->singles > PATIENCE) pack(decoder);
    const struct ft_model *model = decoder->model;
    const struct ft_pass *pass = &decoder->pass;
    size_t layers = model->config.layers, rows = pass->selected;
    ft_pass_embed(pass, decoder->layer.x);
    for (size_t l = 0; l < layers; l++)
        ft_pass_layer_forward(pass, l, &decoder->layer, l + 1 < layers ? decoder->layer.x : decoder->x_final);
    ft_norm_forward(pass, &model->final_norm, rows, decoder->x_final, decoder->n_final, decoder->mean,
                    decoder->rstd);
    if (ft_module_adapted(decoder->weights.head.module))
        ft_module_project(pass->exec, decoder->weights.head.module, rows, decoder->n_final, decoder->u_head);
    ft_linear_forward(pass->exec, decoder->weights.head, rows, decoder->n_final, decoder->u_head, NULL, logits);
    ft_pass_finish_logits(pass, rows, logits);
    return FT_OK;
}
