/* SPDX-License-Identifier: MIT
 *
 * make-records BYTES [SEED]: at least so many bytes of made-up JSONL, a question and an answer a line, of about
 * 1,000 bytes. Words follow Zipf's law, roughly; no two records are alike. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 4096, LETTERS = 9, RECORD = 4096 };

static uint64_t state;

static uint32_t below(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((state >> 32) * n) >> 32);
}

static char word[WORDS][LETTERS + 1];

static void make_words(void) {
    static const char consonant[] = "bcdfghklmnprstvwz", vowel[] = "aeiou";
    for (size_t w = 0; w < WORDS; w++) {
        size_t length = 2 + below(LETTERS - 1);
        for (size_t i = 0; i < length; i++) word[w][i] = i % 2 ? vowel[below(5)] : consonant[below(17)];
    }
}

/* Appends `count` words to the record. */
static size_t put_words(char *record, size_t at, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t rank = below(1 + below(1 + below(WORDS)));
        size_t length = strlen(word[rank]);
        memcpy(record + at, word[rank], length);
        at += length;
        record[at++] = i + 1 == count ? '.' : ' ';
    }
    return at;
}

static size_t put_text(char *record, size_t at, const char *text) {
    size_t length = strlen(text);
    memcpy(record + at, text, length);
    return at + length;
}

int main(int argc, char **argv) {
    static char record[RECORD];
    if (argc < 2) return fprintf(stderr, "usage: make-records BYTES [SEED]\n"), 2;
    unsigned long long bytes = strtoull(argv[1], NULL, 10), written = 0;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    make_words();
    while (written < bytes) {
        size_t at = put_text(record, 0, "{\"messages\": [{\"role\": \"user\", \"content\": \"");
        at = put_words(record, at, 20 + below(60));
        at = put_text(record, at, "\"}, {\"role\": \"assistant\", \"content\": \"");
        at = put_words(record, at, 40 + below(160));
        at = put_text(record, at, "\"}]}\n");
        if (fwrite(record, 1, at, stdout) != at) return 2;
        written += at;
    }
    return fclose(stdout) ? 2 : 0;
}
