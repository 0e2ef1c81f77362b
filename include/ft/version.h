/* SPDX-License-Identifier: MIT
 *
 * What this build is: the version, the name of the arithmetic contract, and a digest of the sources. The
 * digest is the same for every compiler and machine, so it may stand in hashed artifacts.
 */
#ifndef FT_VERSION_H
#define FT_VERSION_H

#define FT_VERSION "0.1.0"
#define FT_NUMERICS "ft-num-1"

/* 64 hexadecimal digits: SHA-256 over the list of (SHA-256, path) of every file in include/, lib/ and cmd/. */
const char *ft_source_digest(void);

/* "<program> 0.1.0 (numerics ft-num-1, isa avx2, source 0123456789ab)" on stdout. */
void ft_version_print(const char *program);

#endif
