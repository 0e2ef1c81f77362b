/* SPDX-License-Identifier: MIT */
#include "postprocessor.h"

#include "ft/json.h"
#include "vocab.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 8, IDS_MAX = 1024 };

static enum ft_status push(struct ft_ids *ids, uint64_t id, struct ft_error *error) {
    enum ft_status status =
        ft_grow(&ids->id, &ids->capacity, ids->count + 1, sizeof *ids->id, IDS_MAX, "special tokens around a text", error);
    if (!status) ids->id[ids->count++] = (uint32_t)id;
    return status;
}

/* One more layer around a text: its `before` goes before everything, its `after` behind. Behind a template the reference takes each
 * token for a text of its own, which nobody can have meant. */
static enum ft_status wrap(struct ft_postprocessor *outer, struct ft_postprocessor *layer, bool template,
                           const struct ft_json *json, struct ft_error *error) {
    enum ft_status status = FT_OK;
    if (outer->apart)
        return ft_fail(error, FT_UNSUPPORTED, "%s: a post-processor that adds tokens behind a TemplateProcessing is not supported",
                       json->name);
    outer->apart = template && layer->before.count + layer->after.count > 0;
    for (size_t i = 0; i < outer->before.count && !status; i++) status = push(&layer->before, outer->before.id[i], error);
    for (size_t i = 0; i < layer->after.count && !status; i++) status = push(&outer->after, layer->after.id[i], error);
    struct ft_ids swap = outer->before;
    outer->before = layer->before;
    layer->before = swap;
    return status;
}

/* {"SpecialToken": {"id": name}}: the ids that special_tokens[name] lists. */
static enum ft_status template_token(struct ft_ids *to, const struct ft_json *json, const struct cJSON *tokens,
                                     const struct cJSON *piece, struct ft_error *error) {
    const char *name = NULL;
    const struct cJSON *entry = NULL, *ids = NULL;
    enum ft_status status = ft_json_get_string(json, piece, "id", FT_JSON_REQUIRED, &name, error);
    if (!status) status = ft_json_get_node(json, tokens, name, FT_JSON_REQUIRED, FT_JSON_OBJECT, &entry, error);
    if (!status) status = ft_json_get_node(json, entry, "ids", FT_JSON_REQUIRED, FT_JSON_ARRAY, &ids, error);
    if (status) return status;
    for (const struct cJSON *node = ft_json_first(ids); node && !status; node = ft_json_next(node)) {
        uint64_t id;
        status = ft_json_u64(json, node, 0, FT_VOCAB_MAX - 1, &id, error);
        if (!status) status = push(to, id, error);
    }
    return status;
}

static enum ft_status read_template(struct ft_postprocessor *layer, const struct ft_json *json, const struct cJSON *node,
                                    struct ft_error *error) {
    const struct cJSON *single = NULL, *tokens = NULL;
    size_t texts = 0;
    enum ft_status status = ft_json_get_node(json, node, "single", FT_JSON_REQUIRED, FT_JSON_ARRAY, &single, error);
    if (!status) status = ft_json_get_node(json, node, "special_tokens", FT_JSON_REQUIRED, FT_JSON_OBJECT, &tokens, error);
    if (status) return status;
    for (const struct cJSON *part = ft_json_first(single); part && !status; part = ft_json_next(part)) {
        const struct cJSON *piece = ft_json_find(part, "SpecialToken");
        if (piece) status = template_token(texts ? &layer->after : &layer->before, json, tokens, piece, error);
        else texts++;
    }
    if (!status && texts != 1) status = ft_json_fail(json, single, error, "a template has the text once");
    return status;
}

/* BERT's and RoBERTa's: [name, id] under "cls" and "sep". */
static enum ft_status read_pair(struct ft_postprocessor *layer, const struct ft_json *json, const struct cJSON *node,
                                struct ft_error *error) {
    static const char *const key[] = {"cls", "sep"};
    enum ft_status status = FT_OK;
    for (int i = 0; i < 2 && !status; i++) {
        const struct cJSON *pair = NULL;
        uint64_t id;
        status = ft_json_get_node(json, node, key[i], FT_JSON_REQUIRED, FT_JSON_ARRAY, &pair, error);
        if (status) break;
        const struct cJSON *second = ft_json_count(pair) == 2 ? ft_json_next(ft_json_first(pair)) : NULL;
        if (!second) return ft_json_fail(json, pair, error, "expected [token, id]");
        status = ft_json_u64(json, second, 0, FT_VOCAB_MAX - 1, &id, error);
        if (!status) status = push(i ? &layer->after : &layer->before, id, error);
    }
    return status;
}

static enum ft_status read_node(struct ft_postprocessor *outer, const struct ft_json *json, const struct cJSON *node,
                                unsigned depth, struct ft_error *error) {
    const char *type = NULL;
    enum ft_status status = ft_json_get_string(json, node, "type", FT_JSON_REQUIRED, &type, error);
    if (status || strcmp(type, "ByteLevel") == 0) return status;
    if (strcmp(type, "Sequence") == 0) {
        const struct cJSON *list = NULL;
        if (depth == DEPTH_MAX) return ft_json_fail(json, node, error, "post-processors nest too deeply");
        status = ft_json_get_node(json, node, "processors", FT_JSON_REQUIRED, FT_JSON_ARRAY, &list, error);
        if (status) return status;
        for (node = ft_json_first(list); node && !status; node = ft_json_next(node))
            status = read_node(outer, json, node, depth + 1, error);
        return status;
    }
    struct ft_postprocessor layer = {0};
    if (strcmp(type, "TemplateProcessing") == 0) status = read_template(&layer, json, node, error);
    else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        status = read_pair(&layer, json, node, error);
    else status = ft_fail(error, FT_UNSUPPORTED, "%s: the post-processor \"%s\" is not supported", json->name, type);
    if (!status) status = wrap(outer, &layer, strcmp(type, "TemplateProcessing") == 0, json, error);
    ft_postprocessor_release(&layer);
    return status;
}

enum ft_status ft_postprocessor_read(struct ft_postprocessor *postprocessor, const struct ft_json *json,
                                     const struct cJSON *node, struct ft_error *error) {
    if (!node || ft_json_type(node) == FT_JSON_NULL) return FT_OK;
    return read_node(postprocessor, json, node, 0, error);
}

void ft_postprocessor_release(struct ft_postprocessor *postprocessor) {
    ft_ids_release(&postprocessor->before);
    ft_ids_release(&postprocessor->after);
}
