/* SPDX-License-Identifier: MIT
 *
 * Weights that stay, packed once for all products: forward (x W^T) and, turned while they are widened, backward
 * (dy W). What was packed out of a file need not stay in memory as the file has it, so this costs no memory.
 */
#ifndef FT_MODEL_PACKED_H
#define FT_MODEL_PACKED_H

#include "ft/exec.h"
#include "model.h"
#include "pass.h"

enum ft_packing {
    FT_PACK_NONE,
    FT_PACK_FROZEN, /* what lies in a file as bf16 or f32 and is not trained; its pages there are given up */
    FT_PACK_ALL,    /* the rest, too, as it is now: f32, or bf16 where it is that */
};

struct ft_packed_weights {
    struct ft_layer *layers;  /* [layers]: the model's, with the packed weights of those slices that have them */
    struct ft_slice head;     /* likewise */
    struct ft_packed *packed; /* [slices] */
    size_t replaced;          /* bytes of files given up */
};

/* Adds up the memory, or takes it; the slices are the model's own until ft_packed_fill. */
void ft_packed_lay(struct ft_layout *layout, struct ft_exec *exec, const struct ft_model *model, enum ft_packing packing,
                   struct ft_packed_weights *weights);

/* Packs; from now on the slices have it. */
void ft_packed_fill(struct ft_exec *exec, const struct ft_model *model, struct ft_packed_weights *weights);

/* The frozen table of a tied model in its head's packed weights, or NULL. */
const struct ft_packed *ft_packed_table(const struct ft_model *model, const struct ft_packed_weights *weights);

/* Memory for one slice's weights, and the slice knows; packed whenever ft_packed_refresh is called. */
void ft_packed_lay_slice(struct ft_layout *layout, struct ft_exec *exec, struct ft_slice *slice, struct ft_packed *packed);
void ft_packed_refresh(struct ft_exec *exec, struct ft_slice slice, struct ft_packed *packed);

#endif
