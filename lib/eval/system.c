/* SPDX-License-Identifier: MIT */
#include "ft/system.h"

#include "ft/file.h"
#include "ft/lora.h"
#include "ft/memory.h"

#include <string.h>

static bool holds(const char *directory, const char *name) {
    struct ft_buffer path = {0};
    bool found = ft_path_join(&path, directory, name, NULL) == FT_OK && ft_path_exists(path.data);
    ft_buffer_release(&path);
    return found;
}

bool ft_system_is_adapter(const char *directory) { return holds(directory, "adapter_config.json"); }

enum ft_status ft_system_check_base(const char *base, const char *base_sha256, const char *tuned, struct ft_error *error) {
    char wanted[65];
    if (!ft_system_is_adapter(tuned)) return FT_OK;
    enum ft_status status = ft_lora_base(tuned, wanted, error);
    if (status || !wanted[0] || strcmp(wanted, base_sha256) == 0) return status;
    return ft_fail(error, FT_MISMATCH, "%s: the adapter was trained on a base with digest %.12s..., but %s has %.12s...; give the right base with -m",
                   tuned, wanted, base, base_sha256);
}

static enum ft_status open_adapted(struct ft_model **model, const char *base, const char *base_sha256, const char *adapter,
                                   struct ft_error *error) {
    enum ft_status status = base_sha256 ? ft_system_check_base(base, base_sha256, adapter, error) : FT_OK;
    if (!status) status = ft_model_open(model, base, error);
    if (!status) status = ft_lora_load(*model, adapter, false, NULL, error);
    return status;
}

static enum ft_status open_tuned(struct ft_model **model, const char *base, const char *tuned, struct ft_error *error) {
    struct ft_config config;
    enum ft_status status = ft_config_read(&config, base, error);
    if (!status) status = ft_model_open(model, tuned, error);
    if (!status && ft_model_config(*model)->vocab != config.vocab)
        status = ft_fail(error, FT_MISMATCH, "%s has %zu vocabulary entries and %s has %zu: they are not comparable", tuned,
                         ft_model_config(*model)->vocab, base, config.vocab);
    return status;
}

enum ft_status ft_system_open(struct ft_model **out, struct ft_exec *exec, const char *base, const char *base_sha256,
                              const char *tuned, struct ft_error *error) {
    struct ft_model *model = NULL;
    enum ft_status status;
    if (!tuned) status = ft_model_open(&model, base, error);
    else if (ft_system_is_adapter(tuned)) status = open_adapted(&model, base, base_sha256, tuned, error);
    else if (holds(tuned, "config.json")) status = open_tuned(&model, base, tuned, error);
    else
        status = ft_fail(error, FT_USAGE, "%s: neither an adapter (adapter_config.json) nor a model (config.json) is there; give the directory that ft-train wrote",
                         tuned);
    if (!status) status = ft_model_check_finite(exec, model, error);
    if (status) ft_model_free(model);
    else *out = model;
    return status;
}
