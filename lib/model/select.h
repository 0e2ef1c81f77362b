/* SPDX-License-Identifier: MIT
 *
 * Which modules an adapter's specification means, as PEFT 0.21 decides it.
 */
#ifndef FT_MODEL_SELECT_H
#define FT_MODEL_SELECT_H

#include "ft/lora.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Compiled expressions of one list. */
struct ft_expressions {
    pcre2_code **code;
    size_t count;
};

struct ft_selector {
    const struct ft_lora_spec *spec;
    struct ft_expressions target, excluded, ranks, alphas, layers, saved;
    pcre2_match_data *data;
    pcre2_match_context *context;
    struct ft_error *error;
    enum ft_status status; /* of the first expression that gave up; all answers are false from then on */
};

/* The specification is borrowed. FT_USAGE naming an expression that does not compile. */
enum ft_status ft_selector_init(struct ft_selector *selector, const struct ft_lora_spec *spec, struct ft_error *error);
void ft_selector_release(struct ft_selector *selector); /* a zero one is fine */

/* linear: not the head, and no table; what "all linear modules" means. */
bool ft_selector_targets(struct ft_selector *selector, const char *module, bool linear);
bool ft_selector_saves(const struct ft_selector *selector, const char *module);
size_t ft_selector_rank(struct ft_selector *selector, const char *module);
double ft_selector_alpha(struct ft_selector *selector, const char *module);

/* PEFT's rule for lists: the whole name, or its end after a dot. */
bool ft_select_name(const char *module, const char *name);

#endif
