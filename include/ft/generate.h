/* SPDX-License-Identifier: MIT
 *
 * Completions for many prompts, greedy or sampled, through one decoder. Prompts wait for a free slot, so short
 * and long ones share the work; what is expected to take longest begins first, so that the slots stay full to
 * the end. A step's linear layers are products over all running sequences, so weights are read once a step.
 * When a prompt runs and beside which others cannot change its completion (the decoder's logits depend on its
 * own sequence alone, and sampling is counted by record and position).
 */
#ifndef FT_GENERATE_H
#define FT_GENERATE_H

#include "ft/error.h"
#include "ft/exec.h"
#include "ft/model.h"
#include "ft/sample.h"

#include <stddef.h>
#include <stdint.h>

struct ft_prompt {
    const uint32_t *ids;
    size_t count;      /* >= 1 */
    size_t max_tokens; /* of the completion, the stop token included */
    size_t expected;   /* tokens that the completion may well have; 0: not known. Only the order of work follows it */
};

struct ft_completion {
    uint32_t *ids; /* without the stop token; belongs to ft_completions */
    size_t count;
    bool stopped; /* ended by a stop token, not by max_tokens or the context's end */
};

struct ft_completions {
    struct ft_completion *item; /* [count], in the order of the prompts */
    size_t count;
    uint32_t *ids; /* backing store */
};

struct ft_generate {
    struct ft_model *model;
    struct ft_exec *exec;
    const struct ft_prompt *prompts;
    size_t count;
    const uint32_t *stop; /* ids that end a completion */
    size_t stops;
    struct ft_sampling sampling; /* token `position` of a record: uniform number `position` of (seed, FT_RNG_SAMPLE,
                                  * step = the record's number) */
    size_t slots;  /* sequences at once; 0: FT_GENERATE_SLOTS, or fewer where the keys and values of so many of the longest
                    * would take more memory than the model's weights do and than FT_GENERATE_CACHE bytes */
    size_t group;  /* prompts begin in groups of so many, the longest of each first; 0: all are one group */
    uint64_t first_record; /* number of prompts[0], for sampling */
    void (*progress)(void *arg, size_t done); /* after each finished completion; may be NULL */
    /* Each completion, in the order of the prompts, as soon as it and all before it are there; may be NULL. A status
     * other than FT_OK ends the work. */
    enum ft_status (*completed)(void *arg, size_t prompt, const struct ft_completion *completion, struct ft_error *error);
    void *arg;
};

#define FT_GENERATE_SLOTS 64u
#define FT_GENERATE_CACHE ((size_t)256 << 20)

/* FT_LIMIT naming the prompt when one does not fit the model's context. *out is owned by the caller on success. */
enum ft_status ft_generate(const struct ft_generate *job, struct ft_completions *out, struct ft_error *error);
void ft_completions_release(struct ft_completions *completions);

#endif
