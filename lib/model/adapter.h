/* SPDX-License-Identifier: MIT
 *
 * The inside of an adapter, shared by lora.c (its structure) and lora_file.c (its files).
 */
#ifndef FT_MODEL_ADAPTER_H
#define FT_MODEL_ADAPTER_H

#include "ft/json.h"
#include "ft/lora.h"
#include "model.h"

#define FT_ADAPTER_PREFIX "base_model.model."

/* Gives the model an adapter: copies hold the base's values, everything else is zero. */
enum ft_status ft_lora_adapt(struct ft_model *model, const struct ft_lora_spec *spec, bool train, struct ft_error *error);
/* Takes it off again, when its weights cannot be had. */
void ft_lora_unadapt(struct ft_model *model);

/* Writes what adapter_config.json says of the specification into an object. */
void ft_lora_describe(struct ft_json *json, const struct ft_model *model, const struct ft_lora_spec *spec);

#endif
