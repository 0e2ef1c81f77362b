/* SPDX-License-Identifier: MIT
 * safetensors: every byte of every tensor that is handed out can be read. */
#include "fuzz.h"

#include "ft/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_safetensors *st;
    struct fuzz_file file = fuzz_open(data, size);
    if (ft_safetensors_open(&st, file.path, &error)) {
        MUST(error.message[0]);
    } else {
        size_t bytes = 0;
        unsigned sum = 0;
        for (size_t i = 0; i < ft_safetensors_count(st); i++) {
            const struct ft_tensor *tensor = ft_safetensors_at(st, i);
            MUST(ft_safetensors_find(st, tensor->name) == tensor);
            for (size_t k = 0; k < tensor->bytes; k++) sum += tensor->data[k];
            bytes += tensor->bytes;
        }
        MUST(bytes < size && sum <= 255 * size);
        ft_safetensors_close(st);
    }
    fuzz_close(&file);
    return 0;
}
