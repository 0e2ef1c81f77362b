/* SPDX-License-Identifier: MIT
 *
 * Opens what a user calls "the tuned model": a base with an adapter, or a model directory that full fine-tuning
 * wrote.
 */
#ifndef FT_SYSTEM_H
#define FT_SYSTEM_H

#include "ft/exec.h"
#include "ft/model.h"

/* base: a model directory, base_sha256: its digest (ft_model_digest), or NULL while it is being computed: then
 * ft_system_check_base is due. tuned: NULL (the base itself), an adapter's
 * directory (refused with FT_MISMATCH when it names another base), or a model directory of the same vocabulary.
 * Weights are checked to be finite. *model is the caller's: ft_model_free. */
enum ft_status ft_system_open(struct ft_model **model, struct ft_exec *exec, const char *base, const char *base_sha256,
                              const char *tuned, struct ft_error *error);

/* FT_MISMATCH when the adapter in `tuned` names another base than that. FT_OK for whatever is no adapter. */
enum ft_status ft_system_check_base(const char *base, const char *base_sha256, const char *tuned, struct ft_error *error);

/* True when the directory holds an adapter (adapter_config.json). */
bool ft_system_is_adapter(const char *directory);

#endif
