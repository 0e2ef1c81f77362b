/* SPDX-License-Identifier: MIT
 *
 * What the tests of steps share: documents, fixtures opened to be trained, steps in micro-batches, digests of
 * gradients.
 */
#ifndef TESTS_UNIT_MODEL_FIXTURE_H
#define TESTS_UNIT_MODEL_FIXTURE_H

#include "fixture.h"

#include "ft/hash.h"
#include "ft/lora.h"
#include "ft/session.h"

enum { DOCUMENTS_MAX = 16, TOKENS_MAX = 512 };

struct documents {
    size_t count;
    size_t start[DOCUMENTS_MAX + 1];
    uint32_t ids[TOKENS_MAX];
    float weights[TOKENS_MAX];
    float inverse; /* of the sum of the weights */
};

static inline uint32_t noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Appends a document; ids and weights are to be written from start[count - 1] on. Returns its index. */
static inline size_t add_document(struct documents *docs, size_t length) {
    docs->start[docs->count + 1] = docs->start[docs->count] + length;
    return docs->count++;
}

/* Once all weights are written. */
static inline void weigh_documents(struct documents *docs) {
    double sum = 0;
    for (size_t i = 0; i < docs->start[docs->count]; i++) sum += (double)docs->weights[i];
    docs->inverse = (float)(1 / sum);
}

static inline struct ft_batch batch_of(const struct documents *docs, size_t first, size_t count) {
    return (struct ft_batch){
        .documents = count, .start = docs->start + first, .ids = docs->ids, .weights = docs->weights};
}

enum method { FULL, LORA };

/* The model of a fixture, ready to be trained; NULL when that fails. spec: of LORA. */
static inline struct ft_model *open_model(const char *name, enum method method,
                                          const struct ft_lora_spec *spec) {
    struct ft_model *model = NULL;
    struct ft_error error;
    if (ft_model_open(&model, fixture("%s", name), &error)) return NULL;
    if (method == FULL ? ft_model_train_full(model, &error) : ft_lora_attach(model, spec, &error))
        return NULL;
    size_t count;
    struct ft_parameter *const *trained = ft_model_trained(model, &count);
    for (size_t i = 0; method == LORA && i < count; i++) /* B is zero at first, which would hide A */
        for (size_t e = 0; e < trained[i]->elements; e++) trained[i]->value[e] += (float)(e % 7) * 0.01f;
    return model;
}

/* One optimizer step of documents [first, end), `micro` at a time. */
static inline enum ft_status take_step(struct ft_session *session, const struct documents *docs, size_t first,
                                       size_t end, size_t micro, struct ft_loss_sum *sum,
                                       struct ft_error *error) {
    struct ft_batch all = batch_of(docs, first, end - first);
    enum ft_status status = ft_session_begin_step(session, &all, error);
    for (size_t d = first; d < end && !status; d += micro) {
        struct ft_batch batch = batch_of(docs, d, d + micro < end ? micro : end - d);
        status = ft_session_step(session, &batch, docs->inverse, sum, error);
    }
    if (!status) ft_session_end_step(session);
    return status;
}

/* Of all gradients and the loss. */
static inline void digest_step(const struct ft_model *model, const struct ft_loss_sum *sum,
                               char hex[FT_SHA256_HEX]) {
    size_t count;
    struct ft_parameter *const *trained = ft_model_trained(model, &count);
    unsigned char digest[FT_SHA256_SIZE];
    struct ft_sha256 hash;
    ft_sha256_init(&hash);
    for (size_t i = 0; i < count; i++)
        ft_sha256_update(&hash, trained[i]->grad, trained[i]->elements * sizeof(float));
    ft_sha256_update(&hash, &sum->loss, sizeof sum->loss);
    ft_sha256_final(&hash, digest);
    ft_hex(digest, FT_SHA256_SIZE, hex);
}

#endif
