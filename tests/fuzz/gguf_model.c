/* SPDX-License-Identifier: MIT
 * A GGUF file as a model: what it says as config.json and tokenizer.json, and its weights. What is opened can be
 * tokenized with and is whole. */
#include "fuzz.h"

#include "ft/card.h"
#include "ft/config.h"

static void use_tokenizer(const struct ft_tokenizer *tokenizer) {
    struct ft_error error = {0};
    struct ft_encoder *encoder = NULL;
    struct ft_ids ids = {0};
    struct ft_buffer text = {0};
    if (!ft_encoder_new(&encoder, tokenizer, &error) && !ft_encode(encoder, "a b, 12", 7, FT_ENCODE_SPECIALS, &ids, &error)) {
        for (size_t i = 0; i < ids.count; i++) MUST(ids.id[i] < ft_tokenizer_size(tokenizer));
        (void)ft_decode(tokenizer, ids.id, ids.count, 0, &text, &error);
    }
    ft_buffer_release(&text);
    ft_ids_release(&ids);
    ft_encoder_free(encoder);
}

static void use_model(const struct ft_model *model) {
    size_t count;
    struct ft_parameter *const *parameter = ft_model_parameters(model, &count);
    static volatile unsigned sink;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *bytes = parameter[i]->data;
        for (size_t k = 0; k < parameter[i]->elements * ft_dtype_size(parameter[i]->dtype); k++) sink += bytes[k];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"x.gguf", NULL};
    struct ft_error error = {0};
    struct ft_tokenizer *tokenizer = NULL;
    struct ft_model *model = NULL;
    char path[96];
    (void)fuzz_directory(names);
    fuzz_write("x.gguf", data, size);
    fuzz_path(path, "x.gguf");
    if (ft_card_tokenizer(&tokenizer, path, &error)) MUST(error.message[0]);
    else use_tokenizer(tokenizer);
    ft_tokenizer_free(tokenizer);
    error = (struct ft_error){0};
    if (ft_model_open(&model, path, &error)) MUST(error.message[0]);
    else use_model(model);
    ft_model_free(model);
    return 0;
}
