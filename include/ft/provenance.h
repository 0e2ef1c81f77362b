/* SPDX-License-Identifier: MIT
 *
 * The audit trail of a directory of ours, ft-provenance(5): `provenance.json`, an in-toto Statement v1 with
 * the SLSA provenance v1 predicate in canonical bytes, and `SHA256SUMS`. Neither holds a time, a host, a path
 * of the machine, a thread count or an ISA, so the same inputs and recipe give the same bytes everywhere.
 * Order of calls in a program that makes a directory:
 *
 *     ft_provenance_new(&p, "split", &error)             what kind of work this is
 *     ft_provenance_parameters(p)                        what the user chose: set keys of this object
 *     ft_provenance_add_file / _digest / _model ...      every input, by digest
 *     ft_directory_begin; write the files
 *     ft_provenance_finish(p, ft_directory_path(d), &error)   provenance.json and SHA256SUMS over all of them
 *     ft_directory_commit; ft_provenance_free(p)
 */
#ifndef FT_PROVENANCE_H
#define FT_PROVENANCE_H

#include "ft/error.h"
#include "ft/hash.h"
#include "ft/json.h"

struct ft_provenance;

/* kind: "tokenize", "split", "train", "merge", "eval", ...; it becomes the buildType's last word. */
enum ft_status ft_provenance_new(struct ft_provenance **provenance, const char *kind, struct ft_error *error);
void ft_provenance_free(struct ft_provenance *provenance); /* NULL is fine */

/* The document being built and its externalParameters object: fill it with ft_json_set_... (never with paths
 * of this machine, threads or times). ft_provenance_internal: internalParameters, which already holds tool
 * version, numerics and source digest. */
struct ft_json *ft_provenance_json(struct ft_provenance *provenance);
struct cJSON *ft_provenance_parameters(struct ft_provenance *provenance);
struct cJSON *ft_provenance_internal(struct ft_provenance *provenance);

/* Inputs, in the order added; role: "model", "adapter", "train", "valid", "test", "data", "recipe", ... A
 * file is named by the last component of its path, a directory by its role: paths are not recorded. */
enum ft_status ft_provenance_add_file(struct ft_provenance *provenance, const char *role, const char *path,
                                      struct ft_error *error);
/* The same for an input whose digest (hexadecimal SHA-256) is known already, e.g. a stream that was read from
 * a pipe. */
enum ft_status ft_provenance_add_digest(struct ft_provenance *provenance, const char *role, const char *name,
                                        const char *sha256, struct ft_error *error);
/* A model or adapter directory by its ft_model_digest, when that is known, or NULL. */
enum ft_status ft_provenance_add_model(struct ft_provenance *provenance, const char *role, const char *path,
                                       const char *digest, struct ft_error *error);

/* Hashes what is in `directory` by now on a thread of its own, beside other work. Once, and these files must
 * not change any more: ft_provenance_finish hashes only what came later. Where there is no thread to be had it does nothing. */
void ft_provenance_hash_early(struct ft_provenance *provenance, const char *directory);

/* Hashes every file in `directory` (subdirectories too) that is not unhashed by convention, makes them the
 * subjects, writes provenance.json and SHA256SUMS there (both as they are when nothing changed). */
enum ft_status ft_provenance_finish(struct ft_provenance *provenance, const char *directory,
                                    struct ft_error *error);

/* One digest for a model or adapter directory, in-toto's dirHash of the files that define it: SHA-256 over
 * the lines "<sha256> <name>\n", sorted by name, of config.json, generation_config.json, adapter_config.json,
 * tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja, *.safetensors and
 * *.safetensors.index.json, those that lie directly in it. For a single file, and for a
 * directory that stands for a .gguf file (card.h): the file's SHA-256. FT_FORMAT
 * when a directory has none. */
enum ft_status ft_model_digest(const char *path, char hex[FT_SHA256_HEX], struct ft_error *error);

/* The same beside other work, on a thread of its own: begin, and later end, once and from the same thread. path is
 * borrowed until then. *digest NULL: end leaves hex alone and succeeds. */
struct ft_model_digest;
enum ft_status ft_model_digest_begin(struct ft_model_digest **digest, const char *path, struct ft_error *error);
enum ft_status ft_model_digest_end(struct ft_model_digest **digest, char hex[FT_SHA256_HEX], struct ft_error *error);

/* True for side files that may differ between equal runs and are neither hashed nor subjects: "*.log",
 * "timing.json", "timing.jsonl". */
bool ft_manifest_unhashed(const char *name);
/* Writes `directory`/SHA256SUMS: every regular file below but itself and the unhashed, sorted by path, as
 * sha256sum -c reads. */
enum ft_status ft_manifest_write(const char *directory, struct ft_error *error);
/* FT_MISMATCH with the first difference: a file that is missing, altered, or not listed. */
enum ft_status ft_manifest_check(const char *directory, struct ft_error *error);

#endif
