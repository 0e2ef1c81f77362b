/* SPDX-License-Identifier: MIT */
#include "word_model.h"

#include "ft/json.h"
#include "ft/memory.h"
#include "word_cache.h"

#include <stdlib.h>

/* --- reading --------------------------------------------------------------------------------------------- */

static const char *const type_name[] = {[FT_MODEL_BPE] = "BPE",
                                        [FT_MODEL_WORDPIECE] = "WordPiece",
                                        [FT_MODEL_WORDLEVEL] = "WordLevel",
                                        [FT_MODEL_UNIGRAM] = "Unigram"};

/* Old files have no "type": the first that fits, in the reference's order. */
static enum ft_status guess_type(struct ft_word_model *model, const struct ft_json *json, const struct cJSON *node, bool merges,
                                 struct ft_error *error) {
    if (merges) model->type = FT_MODEL_BPE;
    else if (model->score) model->type = FT_MODEL_UNIGRAM;
    else if (ft_json_find(node, "continuing_subword_prefix") && ft_json_find(node, "max_input_chars_per_word"))
        model->type = FT_MODEL_WORDPIECE;
    else if (ft_json_find(node, "unk_token")) model->type = FT_MODEL_WORDLEVEL;
    else return ft_json_fail(json, node, error, "\"type\" and \"merges\" are missing");
    return FT_OK;
}

static enum ft_status read_type(struct ft_word_model *model, const struct ft_json *json, const struct cJSON *node, bool merges,
                                struct ft_error *error) {
    const char *type = NULL;
    enum ft_status status = ft_json_get_string(json, node, "type", FT_JSON_OPTIONAL, &type, error);
    if (status) return status;
    if (!type) return guess_type(model, json, node, merges, error);
    for (size_t i = 0; i < sizeof type_name / sizeof *type_name; i++) {
        if (strcmp(type, type_name[i]) != 0) continue;
        model->type = (enum ft_model_type)i;
        return FT_OK;
    }
    return ft_fail(error, FT_UNSUPPORTED, "%s: the model type \"%s\" is not supported (BPE, Unigram, WordPiece and WordLevel are)",
                   json->name, type);
}

enum ft_status ft_word_model_read(struct ft_word_model *model, bool *bytes, const struct ft_json *json, const struct cJSON *node,
                                  struct ft_scan *merges, struct ft_error *error) {
    enum ft_status status = read_type(model, json, node, merges->p != NULL, error);
    if (status) return status;
    if ((model->type == FT_MODEL_UNIGRAM) != (model->score != NULL) || !model->vocab.slots)
        return ft_json_fail(json, node, error, "the \"vocab\" of a %s model must be %s", type_name[model->type],
                            model->type == FT_MODEL_UNIGRAM ? "a list of tokens and scores" : "an object of tokens and ids");
    *bytes = *bytes && model->type == FT_MODEL_BPE;
    switch (model->type) {
    case FT_MODEL_BPE: return ft_bpe_read(&model->u.bpe, &model->vocab, *bytes, json, node, merges, error);
    case FT_MODEL_WORDPIECE: return ft_wordpiece_read(&model->u.wordpiece, &model->vocab, false, json, node, error);
    case FT_MODEL_WORDLEVEL: return ft_wordpiece_read(&model->u.wordpiece, &model->vocab, true, json, node, error);
    case FT_MODEL_UNIGRAM: return ft_unigram_read(&model->u.unigram, &model->vocab, model->score, json, node, error);
    }
    return FT_OK;
}

void ft_word_model_release(struct ft_word_model *model) {
    switch (model->type) {
    case FT_MODEL_BPE: ft_bpe_release(&model->u.bpe); break;
    case FT_MODEL_WORDPIECE:
    case FT_MODEL_WORDLEVEL: ft_wordpiece_release(&model->u.wordpiece); break;
    case FT_MODEL_UNIGRAM: ft_unigram_release(&model->u.unigram); break;
    }
    ft_vocab_release(&model->vocab);
    free(model->score);
    *model = (struct ft_word_model){0};
}

/* --- encoding -------------------------------------------------------------------------------------------- */

struct ft_word_state {
    const struct ft_word_model *model;
    struct ft_word_slot *cache;
    struct ft_bpe_state bpe;
    struct ft_unigram_path path;
};

enum ft_status ft_word_state_new(struct ft_word_state **out, const struct ft_word_model *model, struct ft_error *error) {
    struct ft_word_state *state;
    enum ft_status status = ft_alloc(&state, 1, sizeof *state, error);
    if (status) return status;
    state->model = model;
    if ((status = ft_alloc(&state->cache, FT_WORD_CACHE_SLOTS, sizeof *state->cache, error))) {
        free(state);
        return status;
    }
    *out = state;
    return FT_OK;
}

void ft_word_state_free(struct ft_word_state *state) {
    if (!state) return;
    free(state->cache);
    ft_bpe_state_release(&state->bpe);
    ft_unigram_path_release(&state->path);
    free(state);
}

/* A word that the cache does not have. */
static enum ft_status encode_new(struct ft_word_state *state, const char *word, size_t length, struct ft_ids *ids,
                                 struct ft_error *error) {
    const struct ft_word_model *model = state->model;
    switch (model->type) {
    case FT_MODEL_BPE: return ft_bpe_encode(&model->u.bpe, &state->bpe, word, length, ids, error);
    case FT_MODEL_UNIGRAM: return ft_unigram_encode(&model->u.unigram, &state->path, word, length, ids, error);
    default: return ft_wordpiece_encode(&model->u.wordpiece, word, length, ids, error);
    }
}

static enum ft_status encode_cached(struct ft_word_state *state, const char *word, size_t length, struct ft_ids *ids,
                                    struct ft_error *error) {
    if (length > FT_WORD_CACHE_BYTES) return encode_new(state, word, length, ids, error);
    struct ft_word_slot *slot = ft_word_cache_at(state->cache, word, length);
    size_t before = ids->count;
    enum ft_status status;
    if (ft_word_cache_has(slot, word, length)) {
        if (ids->capacity - before < FT_WORD_CACHE_IDS &&
            (status = ft_grow(&ids->id, &ids->capacity, before + FT_WORD_CACHE_IDS, sizeof *ids->id, SIZE_MAX / 8, "ids", error)))
            return status;
        memcpy(ids->id + before, slot->id, sizeof slot->id);
        ids->count += slot->count;
        return FT_OK;
    }
    if (!(status = encode_new(state, word, length, ids, error)))
        ft_word_cache_put(slot, word, length, ids->id + before, ids->count - before);
    return status;
}

enum ft_status ft_word_encode(struct ft_word_state *state, const char *word, size_t length, struct ft_ids *ids,
                              struct ft_error *error) {
    if (state->model->type != FT_MODEL_BPE || !state->model->u.bpe.cut_at_meta)
        return encode_cached(state, word, length, ids, error);
    enum ft_status status = FT_OK;
    for (const char *p = word, *end = word + length; p < end && !status;) {
        const char *stop = ft_bpe_part_end(p, end);
        status = encode_cached(state, p, (size_t)(stop - p), ids, error);
        p = stop;
    }
    return status;
}
