/* SPDX-License-Identifier: MIT
 * model.safetensors.index.json, then (each behind 0xff) the shards a.safetensors and b.safetensors: what is accepted comes
 * from a shard that the index names for it, and all of it can be read. */
#include "fuzz.h"

#include "ft/safetensors.h"

static const char *const names[] = {"model.safetensors.index.json", "a.safetensors", "b.safetensors", NULL};

static void read_all(const struct ft_safetensors *st, size_t size) {
    size_t bytes = 0;
    unsigned sum = 0;
    for (size_t i = 0; i < ft_safetensors_count(st); i++) {
        const struct ft_tensor *tensor = ft_safetensors_at(st, i);
        const char *file = strrchr(tensor->file, '/');
        MUST(file && (strcmp(file + 1, names[1]) == 0 || strcmp(file + 1, names[2]) == 0));
        MUST(ft_safetensors_find(st, tensor->name) == tensor);
        for (size_t k = 0; k < tensor->bytes; k++) sum += tensor->data[k];
        bytes += tensor->bytes;
    }
    MUST(bytes < size && sum <= 255 * size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_safetensors *st;
    struct fuzz_part rest = {data, size};
    const char *directory = fuzz_directory(names);
    for (int i = 0; i < 2; i++) {
        struct fuzz_part part = fuzz_take(&rest);
        fuzz_write(names[i], part.data, part.size);
    }
    fuzz_write(names[2], rest.data, rest.size);
    if (ft_safetensors_open(&st, directory, &error)) {
        MUST(error.message[0]);
    } else {
        read_all(st, size);
        ft_safetensors_close(st);
    }
    return 0;
}
