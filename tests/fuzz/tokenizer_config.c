/* SPDX-License-Identifier: MIT
 * The files beside tokenizer.json, separated by 0xff in the order of `names`, an empty one absent: the tokens that they name
 * are the tokenizer's. */
#include "fuzz.h"

#include "ft/tokenizer.h"

static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
                                    "config.json", "chat_template.jinja", "tokenizer.json", NULL};

static void write_files(struct fuzz_part rest) {
    static const char json[] = "{\"added_tokens\":[{\"id\":2,\"content\":\"<s>\",\"special\":true},"
                               "{\"id\":3,\"content\":\"</s>\",\"special\":true}],"
                               "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"<s>\":2,\"</s>\":3},\"merges\":[]}}";
    for (int i = 0; i < 5; i++) {
        struct fuzz_part part = fuzz_take(&rest);
        char path[96];
        fuzz_path(path, names[i]);
        if (part.size) fuzz_write(names[i], part.data, part.size);
        else (void)remove(path);
    }
    fuzz_write(names[5], json, sizeof json - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_tokenizer *tokenizer;
    const char *directory = fuzz_directory(names);
    write_files((struct fuzz_part){data, size});
    if (ft_tokenizer_load(&tokenizer, directory, &error)) {
        MUST(error.message[0]);
        return 0;
    }
    uint32_t bos;
    size_t count;
    const uint32_t *eos = ft_tokenizer_eos(tokenizer, &count);
    if (ft_tokenizer_bos(tokenizer, &bos)) MUST(ft_tokenizer_token(tokenizer, bos, NULL));
    for (size_t i = 0; i < count; i++) {
        MUST(ft_tokenizer_token(tokenizer, eos[i], NULL));
        for (size_t k = 0; k < i; k++) MUST(eos[k] != eos[i]);
    }
    const char *template = ft_tokenizer_template(tokenizer);
    MUST(!template || strlen(template) <= size);
    ft_tokenizer_free(tokenizer);
    return 0;
}
