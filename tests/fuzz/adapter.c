/* SPDX-License-Identifier: MIT
 * adapter_config.json, then (behind 0xff) adapter_model.safetensors, for a tiny Llama: a refused adapter
 * leaves the model as it was, an accepted one is finite. */
#include "fuzz.h"

#include "ft/lora.h"

#include <math.h>

static struct ft_model *tiny_model(void) {
    static const char config[] =
        "{\"model_type\":\"llama\",\"hidden_size\":4,\"intermediate_size\":6,\"num_hidden_layers\":1,"
        "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"vocab_size\":5,\"max_position_embeddings\":8,"
        "\"rms_norm_eps\":1e-6,\"hidden_act\":\"silu\",\"rope_theta\":1e4,\"tie_word_embeddings\":true}";
    struct ft_error error = {0};
    struct ft_model *model;
    struct fuzz_file file = fuzz_open(config, sizeof config - 1);
    MUST(!ft_model_new_random(&model, file.path, 1, &error));
    fuzz_close(&file);
    return model;
}

static void check_adapter(const struct ft_model *model) {
    size_t count;
    struct ft_parameter *const *parameter = ft_lora_parameters(model, &count);
    MUST(count > 0);
    for (size_t i = 0; i < count; i++)
        for (size_t e = 0; e < parameter[i]->elements; e++) MUST(isfinite(parameter[i]->value[e]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors", NULL};
    static struct ft_model *model; /* kept until an adapter is accepted */
    struct ft_error error = {0};
    struct fuzz_part rest = {data, size}, json = fuzz_take(&rest);
    char base[65];
    size_t count;
    const char *directory = fuzz_directory(names);
    fuzz_write(names[0], json.data, json.size);
    fuzz_write(names[1], rest.data, rest.size);
    if (!model) model = tiny_model();
    if (ft_lora_load(model, directory, size % 2, base, &error)) {
        MUST(error.message[0]);
        (void)ft_lora_parameters(model, &count);
        MUST(count == 0);
    } else {
        check_adapter(model);
        ft_model_free(model);
        model = NULL;
    }
    return 0;
}
