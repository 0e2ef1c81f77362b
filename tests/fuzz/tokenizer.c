/* SPDX-License-Identifier: MIT
 * tokenizer.json, then (behind 0xff) a text: what is accepted gives ids below the size, the same ones from
 * warm caches, and UTF-8 back. */
#include "fuzz.h"

#include "ft/tokenizer.h"
#include "ft/utf8.h"

static void encode_twice(const struct ft_tokenizer *tokenizer, struct fuzz_part text, unsigned flags) {
    struct ft_error error = {0};
    struct ft_encoder *encoder;
    struct ft_ids first = {0}, second = {0};
    struct ft_buffer back = {0};
    MUST(!ft_encoder_new(&encoder, tokenizer, &error));
    enum ft_status status = ft_encode(encoder, (const char *)text.data, text.size, flags, &first, &error);
    MUST(ft_encode(encoder, (const char *)text.data, text.size, flags, &second, &error) == status);
    if (status) {
        MUST(error.message[0]);
    } else {
        MUST(first.count == second.count);
        MUST(!first.count || memcmp(first.id, second.id, first.count * sizeof *first.id) == 0);
        for (size_t i = 0; i < first.count; i++) MUST(first.id[i] < ft_tokenizer_size(tokenizer));
        MUST(!ft_decode(tokenizer, first.id, first.count, 0, &back, &error));
        MUST(ft_utf8_valid(back.data ? back.data : "", back.size));
    }
    ft_buffer_release(&back);
    ft_ids_release(&first);
    ft_ids_release(&second);
    ft_encoder_free(encoder);
}

/* Any ids, also such as nobody encodes. */
static void decode_all(const struct ft_tokenizer *tokenizer) {
    struct ft_error error = {0};
    struct ft_buffer text = {0};
    for (uint32_t id = 0; id < ft_tokenizer_size(tokenizer) + 2 && id < 300; id++)
        MUST(!ft_decode(tokenizer, &id, 1, FT_DECODE_SKIP_SPECIAL, &text, &error));
    MUST(ft_utf8_valid(text.data ? text.data : "", text.size));
    ft_buffer_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ft_error error = {0};
    struct ft_tokenizer *tokenizer;
    struct fuzz_part rest = {data, size}, json = fuzz_take(&rest);
    if (ft_tokenizer_parse(&tokenizer, (const char *)json.data, json.size, "fuzz", &error)) {
        MUST(error.message[0]);
        return 0;
    }
    encode_twice(tokenizer, rest, 0);
    encode_twice(tokenizer, rest, FT_ENCODE_SPECIALS);
    encode_twice(tokenizer, rest, FT_ENCODE_CONTINUE);
    decode_all(tokenizer);
    ft_tokenizer_free(tokenizer);
    return 0;
}
