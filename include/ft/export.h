/* SPDX-License-Identifier: MIT
 *
 * Models and adapters as GGUF files, for llama.cpp, Ollama and their kin. What is written is what llama.cpp's converters
 * would write: its names, its order of rows, its tokenizer and chat template.
 */
#ifndef FT_EXPORT_H
#define FT_EXPORT_H

#include "ft/exec.h"
#include "ft/gguf.h"
#include "ft/model.h"

struct ft_export {
    const char *card;   /* the MODEL that config.json, tokenizer and template are taken from */
    const char *name;   /* general.name; NULL: none */
    enum ft_ggml type;  /* of matrices: F32, F16, BF16 or Q8_0 (F16 where rows are no whole blocks); vectors and learned
                           positions are F32 */
    bool fuse;          /* with the adapter's part */
    const char *base_sha256, *adapter_sha256; /* ft.base.sha256, ft.adapter.sha256; NULL: none */
    unsigned flags;     /* enum ft_output_flags */
};

/* The element type by its name in lower case ("f16", "q8_0"); false when it cannot be written. */
bool ft_export_type(const char *name, enum ft_ggml *type);

/* The model at path, one tensor's copy in memory at a time. sha256 may be NULL. FT_UNSUPPORTED when GGUF has no form
 * for the architecture or the tokenizer. */
enum ft_status ft_export_model(struct ft_exec *exec, const struct ft_model *model, const struct ft_export *how,
                               const char *path, char sha256[65], struct ft_error *error);

/* The adapter alone: general.type "adapter", adapter.lora.alpha; llama.cpp scales by alpha / rank, so what an adapted
 * module scales otherwise (rsLoRA, a rank or an alpha of its own) is folded into alpha or into its B. */
enum ft_status ft_export_adapter(struct ft_exec *exec, const struct ft_model *model, const struct ft_export *how,
                                 const char *path, char sha256[65], struct ft_error *error);

#endif
