/* SPDX-License-Identifier: MIT */
#include "ggml_pre.h"

#include <stddef.h>
#include <string.h>

#define SHORT_FORMS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CL100K(digits)                                                                                                 \
    SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits                                                         \
                "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(after)                                                                                                   \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" after "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" after
#define CASED_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char llama3[] = CL100K("{1,3}"), qwen2[] = CL100K(""),
                  o200k[] = CASED(SHORT_FORMS "?") "|\\p{N}{1,3}" CASED_REST,
                  tekken[] = CASED("") "|\\p{N}" CASED_REST;

/* Names that mean the same stand behind each other: a search by what they mean takes the first. */
static const struct ft_ggml_pre known[] = {
    {.name = "gpt-2"},
    {.name = "phi-2"},
    {.name = "olmo"},
    {.name = "mpt"},
    {.name = "jais"},
    {.name = "trillion"},
    {.name = "granite-docling"},
    {.name = "smollm", .digits = true},
    {.name = "starcoder", .digits = true},
    {.name = "refact", .digits = true},
    {.name = "command-r", .digits = true, .nfc = true},
    {.name = "codeshell", .digits = true},
    {.name = "minerva-7b", .digits = true},
    {.name = "llama-bpe", .split = llama3, .whole_words = true, .begins = true},
    {.name = "llama3", .split = llama3, .whole_words = true, .begins = true},
    {.name = "llama-v3", .split = llama3, .whole_words = true, .begins = true},
    {.name = "falcon3", .split = llama3, .whole_words = true, .begins = true},
    {.name = "pixtral", .split = llama3, .whole_words = true, .begins = true},
    {.name = "lfm2", .split = llama3, .whole_words = true, .begins = true},
    {.name = "dbrx", .split = llama3},
    {.name = "smaug-bpe", .split = llama3},
    {.name = "qwen2", .split = qwen2, .nfc = true},
    {.name = "deepseek-r1-qwen", .split = qwen2, .nfc = true},
    {.name = "megrez", .split = qwen2, .nfc = true},
    {.name = "stablelm2", .split = qwen2},
    {.name = "gpt-4o", .split = o200k},
    {.name = "llama4", .split = o200k},
    {.name = "tekken", .split = tekken, .whole_words = true, .begins = true},
};
#define KNOWN (sizeof known / sizeof *known)

const struct ft_ggml_pre *ft_ggml_pre_named(const char *name) {
    for (size_t i = 0; i < KNOWN; i++)
        if (strcmp(known[i].name, name) == 0) return &known[i];
    return NULL;
}

const struct ft_ggml_pre *ft_ggml_pre_like(bool digits, const char *split, bool whole_words) {
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].digits == digits && known[i].whole_words == whole_words && !known[i].split == !split &&
            (!split || strcmp(known[i].split, split) == 0))
            return &known[i];
    return NULL;
}
