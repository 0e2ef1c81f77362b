/* SPDX-License-Identifier: MIT
 *
 * safetensors: a strict reader (one file, or a directory with model.safetensors or a sharded index) and a
 * writer whose bytes are those of Hugging Face's library. The reader maps files and checks everything before
 * it hands out a pointer: header size, JSON, duplicate names, no holes, no overlaps, size == product(shape) x
 * element size, file length.
 */
#ifndef FT_SAFETENSORS_H
#define FT_SAFETENSORS_H

#include "ft/commit.h"
#include "ft/dtype.h"
#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

#define FT_TENSOR_RANK 8u

/* A tensor in a file. Strings and data belong to the ft_safetensors. data may have any alignment (files are
 * unpadded in the wild): read it with ft_widen or memcpy. */
struct ft_tensor {
    const char *name, *file; /* file: which shard, for messages */
    const char *stored;      /* the file's own word for the element type: "F32", "I64", ... */
    bool readable;           /* stored is F32, BF16 or F16, and dtype says which */
    enum ft_dtype dtype;
    unsigned rank;
    uint64_t shape[FT_TENSOR_RANK];
    size_t elements, bytes;
    const unsigned char *data; /* NULL when bytes is 0 */
};

struct ft_safetensors;

/* path: a .safetensors file, a .safetensors.index.json, or a directory that holds
 * model.safetensors.index.json or model.safetensors. Shards are plain names beside the index. *out is owned
 * by the caller. */
enum ft_status ft_safetensors_open(struct ft_safetensors **out, const char *path, struct ft_error *error);
void ft_safetensors_close(struct ft_safetensors *st); /* NULL is fine */

size_t ft_safetensors_count(const struct ft_safetensors *st);
const struct ft_tensor *ft_safetensors_at(const struct ft_safetensors *st, size_t i); /* in byte order of names */
const struct ft_tensor *ft_safetensors_find(const struct ft_safetensors *st, const char *name); /* NULL: absent */
/* Value of a key of __metadata__ (of the first shard that has it), or NULL. */
const char *ft_safetensors_metadata(const struct ft_safetensors *st, const char *key);

/* A tensor that must be there, be readable and have this shape; else FT_FORMAT (FT_UNSUPPORTED for the
 * element type) naming file, tensor, what was expected and what was found. */
enum ft_status ft_safetensors_need(const struct ft_safetensors *st, const char *name, unsigned rank,
                                   const uint64_t *shape, const struct ft_tensor **out,
                                   struct ft_error *error);

/* --- writing -------------------------------------------------------------------------------------------- */

struct ft_tensor_out {
    const char *name;
    enum ft_dtype dtype;
    unsigned rank;
    uint64_t shape[FT_TENSOR_RANK];
    const void *data; /* the bytes in dtype, little-endian; NULL: ft_tensor_source is asked */
};

/* Writes exactly the bytes of tensors[index] by ft_output_write; called in file order, one tensor at a time.
 * */
typedef enum ft_status ft_tensor_source(void *arg, const struct ft_tensor_out *tensor, size_t index,
                                        struct ft_output *output, struct ft_error *error);

/* Writes `count` tensors (any order, names distinct) to path, atomically, with __metadata__ {"format":"pt"}.
 * Order in the file: element type (F32, BF16, F16: rank descending as Hugging Face has it), then name. flags:
 * enum ft_output_flags. sha256 (may be NULL) receives the hexadecimal digest of the file. source may be NULL
 * when every tensor has data. */
enum ft_status ft_safetensors_write(const char *path, const struct ft_tensor_out *tensors, size_t count,
                                    ft_tensor_source *source, void *arg, unsigned flags, char sha256[65],
                                    struct ft_error *error);

#endif
