/* SPDX-License-Identifier: MIT
 *
 * make-ftok OUT TOKENIZER.json VOCAB ROWS SHORTEST LONGEST SEED [all|SHARED]: a token stream of random rows that can
 * be learned (each token follows from the one before, mostly), the first third of each row unsupervised, or none; or
 * with the same SHARED tokens in front of each row, unsupervised too. */
#include "ft/ftok.h"
#include "ft/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 4096 };

static enum ft_status put_row(struct ft_ftok_writer *writer, const struct ft_rng *rng, uint32_t row, uint32_t vocab,
                              size_t shortest, size_t longest, bool all, size_t shared, struct ft_error *error) {
    static uint32_t ids[TOKENS_MAX];
    static float weights[TOKENS_MAX];
    size_t count = shortest + (size_t)ft_rng_bounded(rng, row, 0, 0, longest - shortest + 1);
    for (size_t i = 0; i < shared; i++) {
        ids[i] = (uint32_t)ft_rng_bounded(rng, 0, 3, i, vocab);
        weights[i] = 0;
    }
    for (size_t i = shared; i < shared + count; i++) {
        uint32_t noise = (uint32_t)ft_rng_bounded(rng, row, 1, i, vocab);
        bool free = i == shared || ft_rng_uniform(rng, row, 2, i) < 0.2f;
        ids[i] = free ? noise : (ids[i - 1] * 5 + 3) % vocab;
        weights[i] = i == shared || (!all && i < shared + count / 3) ? 0 : 1;
    }
    struct ft_ftok_record record = {.ids = ids, .weights = weights, .count = shared + count, .line = row + 1};
    ft_sha256(ids, (shared + count) * sizeof *ids, record.source);
    return ft_ftok_put(writer, &record, error);
}

int main(int argc, char **argv) {
    struct ft_error error = {0};
    bool all = argc == 9 && strcmp(argv[8], "all") == 0;
    if (argc != 8 && argc != 9) return 2;
    uint32_t vocab = (uint32_t)strtoul(argv[3], NULL, 10), rows = (uint32_t)strtoul(argv[4], NULL, 10);
    size_t shortest = strtoul(argv[5], NULL, 10), longest = strtoul(argv[6], NULL, 10);
    size_t shared = argc == 9 && !all ? strtoul(argv[8], NULL, 10) : 0;
    struct ft_rng rng = ft_rng_new(strtoull(argv[7], NULL, 10), FT_RNG_TEST);
    if (shortest < 2 || longest < shortest || longest > TOKENS_MAX || shared > TOKENS_MAX - longest || vocab == 0) return 2;
    char tokenizer[FT_SHA256_HEX];
    struct ft_output *output = NULL;
    struct ft_ftok_writer *writer = NULL;
    enum ft_status status = ft_sha256_file(argv[2], tokenizer, NULL, &error);
    struct ft_ftok_header header = {.vocab_size = vocab, .tokenizer = tokenizer};
    if (!status) status = ft_output_open(&output, argv[1], 0, &error);
    if (!status) status = ft_ftok_writer_new(&writer, output, &header, &error);
    for (uint32_t r = 0; r < rows && !status; r++)
        status = put_row(writer, &rng, r, vocab, shortest, longest, all, shared, &error);
    if (!status) status = ft_ftok_finish(writer, NULL, &error);
    if (!status) status = ft_output_commit(output, &error);
    else ft_output_abort(output);
    ft_ftok_writer_free(writer);
    if (status) fprintf(stderr, "make-ftok: %s\n", error.message);
    return status ? 2 : 0;
}
