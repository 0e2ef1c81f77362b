/* SPDX-License-Identifier: MIT
 *
 * Digests: SHA-256 for identity, XXH3-64 for noticing accidents (frames, checkpoints). Hexadecimal is lower
 * case.
 */
#ifndef FT_HASH_H
#define FT_HASH_H

#include "ft/error.h"

#include <stddef.h>
#include <stdint.h>

#define FT_SHA256_SIZE 32u
#define FT_SHA256_HEX 65u /* with the NUL */

struct ft_sha256 {
    _Alignas(8) unsigned char state[128]; /* private */
};

void ft_sha256_init(struct ft_sha256 *hash);
void ft_sha256_update(struct ft_sha256 *hash, const void *bytes, size_t count);
void ft_sha256_final(struct ft_sha256 *hash, unsigned char digest[FT_SHA256_SIZE]);

/* In one call. */
void ft_sha256(const void *bytes, size_t count, unsigned char digest[FT_SHA256_SIZE]);
void ft_sha256_hex(const void *bytes, size_t count, char hex[FT_SHA256_HEX]);
/* A whole file, streamed; a directory or a missing file fails. size may be NULL. */
enum ft_status ft_sha256_file(const char *path, char hex[FT_SHA256_HEX], uint64_t *size,
                              struct ft_error *error);

/* hex holds 2 * count + 1 bytes. */
void ft_hex(const unsigned char *bytes, size_t count, char *hex);
/* Exactly 2 * count lower-case digits and NUL; false otherwise. */
bool ft_unhex(const char *hex, unsigned char *bytes, size_t count);

uint64_t ft_xxh3(const void *bytes, size_t count);

#endif
