/* SPDX-License-Identifier: MIT
 * GGUF: every byte that is handed out can be read, strings end where their arrays do, every tensor can be widened. */
#include "fuzz.h"

#include "ft/gguf.h"

static unsigned walk_value(const struct ft_gguf *gguf, size_t i) {
    const struct ft_gguf_value *value = ft_gguf_value_at(gguf, i);
    unsigned sum = 0;
    uint64_t integer;
    double number;
    MUST(ft_gguf_value(gguf, value->key) == value);
    for (size_t k = 0; k < value->bytes; k++) sum += value->data[k];
    const unsigned char *cursor = value->data;
    for (uint64_t k = 0; k < value->count; k++) {
        if (value->type == FT_GGUF_STRING) sum += (unsigned)ft_gguf_next_text(&cursor).length;
        else if (ft_gguf_integer(value, k, &integer)) sum += (unsigned)integer;
        else sum += ft_gguf_number(value, k, &number);
    }
    if (value->type == FT_GGUF_STRING) MUST(cursor == value->data + value->bytes);
    return sum;
}

static unsigned walk_tensor(const struct ft_gguf *gguf, size_t i) {
    const struct ft_gguf_tensor *tensor = ft_gguf_tensor_at(gguf, i);
    const struct ft_ggml_layout *layout = ft_ggml_layout((uint32_t)tensor->type);
    float wide[256];
    unsigned sum = 0;
    MUST(ft_gguf_tensor(gguf, tensor->name) == tensor && tensor->elements % layout->block == 0);
    for (size_t k = 0; k < tensor->elements / layout->block; k++) {
        ft_ggml_widen(wide, tensor->data + k * layout->bytes, tensor->type, layout->block);
        sum += wide[layout->block - 1] > 0;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_gguf *gguf;
    struct fuzz_file file = fuzz_open(data, size);
    static volatile unsigned sink;
    if (ft_gguf_open(&gguf, file.path, &error)) {
        MUST(error.message[0]);
    } else {
        for (size_t i = 0; i < ft_gguf_values(gguf); i++) sink += walk_value(gguf, i);
        for (size_t i = 0; i < ft_gguf_tensors(gguf); i++) sink += walk_tensor(gguf, i);
        ft_gguf_close(gguf);
    }
    fuzz_close(&file);
    return 0;
}
