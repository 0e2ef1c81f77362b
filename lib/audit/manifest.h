/* SPDX-License-Identifier: MIT
 *
 * A list of (SHA-256, name), sorted by name in byte order: what SHA256SUMS holds. Private to audit.
 */
#ifndef FT_MANIFEST_H
#define FT_MANIFEST_H

#include "ft/error.h"
#include "ft/hash.h"
#include "ft/memory.h"

#define FT_MANIFEST_NAME "SHA256SUMS"
#define FT_PROVENANCE_NAME "provenance.json"

struct ft_manifest {
    struct ft_manifest_entry {
        char *name;
        char sha256[FT_SHA256_HEX];
    } *entry;
    size_t count, capacity;
};

enum ft_status ft_manifest_add(struct ft_manifest *manifest, const char *name, const char *sha256,
                               struct ft_error *error);
void ft_manifest_release(struct ft_manifest *manifest);
void ft_manifest_sort(struct ft_manifest *manifest);
/* In a sorted list; NULL: absent. */
const struct ft_manifest_entry *ft_manifest_find(const struct ft_manifest *manifest, const char *name);
const struct ft_manifest_entry *ft_manifest_find_digest(const struct ft_manifest *manifest,
                                                        const char *sha256);

/* Hashes every file below the directory but SHA256SUMS, what ft_manifest_unhashed says, and those that `known` (sorted, or
 * NULL) has a digest of. The list comes out sorted. */
enum ft_status ft_manifest_collect(struct ft_manifest *manifest, const char *directory, const struct ft_manifest *known,
                                   struct ft_error *error);
/* Reads directory/SHA256SUMS, refusing what this module would not have written: FT_FORMAT. */
enum ft_status ft_manifest_read(struct ft_manifest *manifest, const char *directory, struct ft_error *error);
enum ft_status ft_manifest_print(const struct ft_manifest *manifest, struct ft_buffer *text,
                                 struct ft_error *error);
/* Writes the list to directory/SHA256SUMS. */
enum ft_status ft_manifest_save(const struct ft_manifest *manifest, const char *directory,
                                struct ft_error *error);
/* FT_MISMATCH with the first difference, in order of names. */
enum ft_status ft_manifest_compare(const struct ft_manifest *listed, const struct ft_manifest *found,
                                   const char *directory, struct ft_error *error);
/* ft_model_digest from a list of the directory's files: false when it holds no model. */
bool ft_manifest_model(const struct ft_manifest *manifest, char sha256[FT_SHA256_HEX]);

#endif
