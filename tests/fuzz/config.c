/* SPDX-License-Identifier: MIT
 * config.json: what is accepted holds together, and when it is small a model can be laid out by it. */
#include "fuzz.h"

#include "ft/model.h"

static bool is_small(const struct ft_config *c) {
    const size_t width = c->hidden + c->ffn + c->heads * c->head_dim;
    return width < 256 && c->vocab < 512 && c->positions < 512 && c->layers <= 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_config config;
    struct fuzz_file file = fuzz_open(data, size);
    if (ft_config_read(&config, file.path, &error)) {
        MUST(error.message[0]);
    } else {
        struct ft_model *model;
        size_t count;
        MUST(config.vocab && config.hidden && config.layers && config.ffn);
        MUST(config.positions && config.head_dim);
        MUST(config.kv_heads && config.heads % config.kv_heads == 0 && config.eos_count <= FT_EOS_MAX);
        if (is_small(&config)) {
            MUST(!ft_model_new_random(&model, file.path, 1, &error));
            (void)ft_model_parameters(model, &count);
            MUST(count > config.layers);
            ft_model_free(model);
        }
    }
    fuzz_close(&file);
    return 0;
}
