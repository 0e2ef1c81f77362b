/* SPDX-License-Identifier: MIT
 * A real model, when it is at hand: stories260K computes what transformers computed with it. */
#include "../tap/tap.h"
#include "fixture.h"

#include "ft/decoder.h"
#include "ft/file.h"
#include "ft/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GREEDY_MAX = 256 };

static double compare_logits(struct ft_decoder *decoder, const struct ft_tensor *want, const uint32_t *ids,
                             size_t count, float *logits, size_t vocab) {
    double largest = 0;
    for (size_t t = 0; t < count; t++) {
        struct ft_decoder_piece piece = {0, ids + t, 1};
        if (ft_decoder_feed(decoder, &piece, 1, logits, NULL)) return INFINITY;
        for (size_t v = 0; v < vocab; v++) {
            float y;
            memcpy(&y, want->data + 4 * (t * vocab + v), sizeof y);
            double difference = fabs((double)y - (double)logits[v]);
            if (!(difference <= largest)) largest = difference;
        }
    }
    return largest;
}

static uint32_t argmax(const float *logits, size_t vocab) {
    size_t best = 0;
    for (size_t v = 1; v < vocab; v++)
        if (logits[v] > logits[best]) best = v;
    return (uint32_t)best;
}

static void test(struct ft_model *model, struct ft_exec *exec, const struct ft_safetensors *expected) {
    size_t vocab = ft_model_config(model)->vocab;
    const struct ft_tensor *ids = ft_safetensors_find(expected, "ids"),
                           *greedy = ft_safetensors_find(expected, "greedy");
    uint32_t tokens[GREEDY_MAX];
    float *logits = malloc(vocab * sizeof *logits);
    struct ft_decoder *decoder = NULL;
    struct ft_decoder_limits limits = {.sequences = 1, .length = GREEDY_MAX, .feed = 8};
    if (!ok(logits && !ft_decoder_new(&decoder, model, exec, &limits, NULL), "a decoder")) return;
    memcpy(tokens, greedy->data, greedy->bytes);
    double largest = compare_logits(decoder, ft_safetensors_find(expected, "logits"), tokens, ids->elements,
                                    logits, vocab);
    ok(largest < 1e-4, "logits are within 1e-4 of transformers' (%.2g)", largest);
    size_t same = 0;
    for (size_t t = ids->elements; t < greedy->elements; t++, same++) {
        uint32_t next = argmax(logits, vocab);
        if (next != tokens[t]) break;
        if (ft_decoder_feed(decoder, &(struct ft_decoder_piece){0, &next, 1}, 1, logits, NULL)) break;
    }
    ok(same == greedy->elements - ids->elements, "the greedy continuation is the same, %zu tokens", same);
    ft_decoder_free(decoder);
    free(logits);
}

int main(void) {
    char directory[600];
    const char *shared = getenv("FT_SHARED");
    if (shared) snprintf(directory, sizeof directory, "%s/models/stories260K", shared);
    else snprintf(directory, sizeof directory, "%s", source_path("../shared/models/stories260K"));
    if (!ft_path_is_directory(directory)) {
        puts("1..0 # SKIP the model stories260K is not here (FT_SHARED)");
        return 0;
    }
    struct ft_model *model = NULL;
    struct ft_exec *exec = NULL;
    struct ft_safetensors *expected = NULL;
    struct ft_error error = {0};
    bool good = !ft_exec_new(&exec, 1, &error) && !ft_model_open(&model, directory, &error) &&
                !ft_model_check_finite(exec, model, &error) &&
                !ft_safetensors_open(&expected, fixture("stories260K.safetensors"), &error);
    if (ok(good, "stories260K opens%s", error.message)) test(model, exec, expected);
    ft_safetensors_close(expected);
    ft_model_free(model);
    ft_exec_free(exec);
    return tap_done();
}
