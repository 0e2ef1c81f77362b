/* SPDX-License-Identifier: MIT */
#include "ft/provenance.h"

#include "ft/card.h"
#include "ft/commit.h"
#include "ft/file.h"
#include "ft/version.h"
#include "manifest.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ft_provenance {
    struct ft_json json;
    struct cJSON *external, *internal, *dependencies;
    struct { /* files of the directory, hashed beside other work */
        pthread_t thread;
        bool running;
        char *directory;
        struct ft_manifest files;
        enum ft_status status;
        struct ft_error error;
    } early;
};

static void describe_tool(struct ft_json *json, struct cJSON *internal) {
    ft_json_set_string(json, internal, "numerics", FT_NUMERICS);
    ft_json_set_string(json, internal, "source_sha256", ft_source_digest());
    ft_json_set_string(json, internal, "version", FT_VERSION);
}

enum ft_status ft_provenance_new(struct ft_provenance **out, const char *kind, struct ft_error *error) {
    struct ft_provenance *p;
    char type[64], builder[64];
    snprintf(type, sizeof type, "urn:ft:%s:1", kind);
    snprintf(builder, sizeof builder, "urn:ft:builder:ft-%s", kind);
    enum ft_status status = ft_alloc(&p, 1, sizeof *p, error);
    if (status) return status;
    struct ft_json *json = &p->json;
    status = ft_json_new(json, FT_JSON_OBJECT, error);
    if (status) {
        ft_provenance_free(p);
        return status;
    }
    ft_json_set_string(json, json->root, "_type", "https://in-toto.io/Statement/v1");
    ft_json_set_string(json, json->root, "predicateType", "https://slsa.dev/provenance/v1");
    struct cJSON *predicate = ft_json_set_object(json, json->root, "predicate");
    struct cJSON *definition = ft_json_set_object(json, predicate, "buildDefinition");
    struct cJSON *details = ft_json_set_object(json, predicate, "runDetails");
    ft_json_set_string(json, definition, "buildType", type);
    p->external = ft_json_set_object(json, definition, "externalParameters");
    p->internal = ft_json_set_object(json, definition, "internalParameters");
    p->dependencies = ft_json_set_array(json, definition, "resolvedDependencies");
    ft_json_set_string(json, ft_json_set_object(json, details, "builder"), "id", builder);
    describe_tool(json, p->internal);
    *out = p;
    return FT_OK;
}

static enum ft_status end_early(struct ft_provenance *p, struct ft_error *error) {
    if (!p->early.running) return FT_OK;
    (void)pthread_join(p->early.thread, NULL);
    p->early.running = false;
    if (p->early.status && error) *error = p->early.error;
    return p->early.status;
}

void ft_provenance_free(struct ft_provenance *p) {
    if (!p) return;
    (void)end_early(p, NULL);
    ft_manifest_release(&p->early.files);
    free(p->early.directory);
    ft_json_release(&p->json);
    free(p);
}

struct ft_json *ft_provenance_json(struct ft_provenance *p) { return &p->json; }
struct cJSON *ft_provenance_parameters(struct ft_provenance *p) { return p->external; }
struct cJSON *ft_provenance_internal(struct ft_provenance *p) { return p->internal; }

/* --- inputs --------------------------------------------------------------------------------------------- */

static enum ft_status add_dependency(struct ft_provenance *p, const char *role, const char *name,
                                     const char *algorithm, const char *digest, struct ft_error *error) {
    unsigned char bytes[FT_SHA256_SIZE];
    if (!ft_unhex(digest, bytes, sizeof bytes))
        return ft_fail(error, FT_USAGE, "%s: the digest of an input must be 64 hexadecimal digits", name);
    struct ft_json *json = &p->json;
    struct cJSON *entry = ft_json_set_object(json, p->dependencies, NULL);
    ft_json_set_string(json, ft_json_set_object(json, entry, "annotations"), "role", role);
    ft_json_set_string(json, ft_json_set_object(json, entry, "digest"), algorithm, digest);
    ft_json_set_string(json, entry, "name", name);
    return FT_OK;
}

static const char *last_component(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

enum ft_status ft_provenance_add_digest(struct ft_provenance *p, const char *role, const char *name,
                                        const char *sha256, struct ft_error *error) {
    return add_dependency(p, role, last_component(name), "sha256", sha256, error);
}

enum ft_status ft_provenance_add_file(struct ft_provenance *p, const char *role, const char *path,
                                      struct ft_error *error) {
    char sha256[FT_SHA256_HEX];
    enum ft_status status = ft_sha256_file(path, sha256, NULL, error);
    return status ? status : add_dependency(p, role, last_component(path), "sha256", sha256, error);
}

enum ft_status ft_provenance_add_model(struct ft_provenance *p, const char *role, const char *path,
                                       const char *digest, struct ft_error *error) {
    struct ft_buffer gguf = {0};
    char hex[FT_SHA256_HEX];
    enum ft_status status = digest ? FT_OK : ft_model_digest(path, hex, error);
    if (!digest) digest = hex;
    if (!status) status = ft_card_gguf(path, &gguf, error);
    if (!status && (gguf.size || !ft_path_is_directory(path)))
        status = add_dependency(p, role, last_component(gguf.size ? gguf.data : path), "sha256", digest, error);
    else if (!status) status = add_dependency(p, role, role, "dirHash", digest, error);
    ft_buffer_release(&gguf);
    return status;
}

/* --- outputs -------------------------------------------------------------------------------------------- */

static void set_subjects(struct ft_json *json, const struct ft_manifest *files) {
    struct cJSON *subjects = ft_json_set_array(json, json->root, "subject");
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->entry[i].name, FT_PROVENANCE_NAME) == 0) continue;
        struct cJSON *entry = ft_json_set_object(json, subjects, NULL);
        ft_json_set_string(json, ft_json_set_object(json, entry, "digest"), "sha256", files->entry[i].sha256);
        ft_json_set_string(json, entry, "name", files->entry[i].name);
    }
}

/* The list gains (or gets right) the entry of the file just written. */
static enum ft_status list_provenance(struct ft_manifest *files, const char *path, struct ft_error *error) {
    char sha256[FT_SHA256_HEX];
    enum ft_status status = ft_sha256_file(path, sha256, NULL, error);
    if (status) return status;
    const struct ft_manifest_entry *old = ft_manifest_find(files, FT_PROVENANCE_NAME);
    if (old) memcpy(files->entry[old - files->entry].sha256, sha256, sizeof sha256);
    else status = ft_manifest_add(files, FT_PROVENANCE_NAME, sha256, error);
    ft_manifest_sort(files);
    return status;
}

static void *hash_early(void *arg) {
    struct ft_provenance *p = arg;
    ft_directory_flush(p->early.directory);
    p->early.status = ft_manifest_collect(&p->early.files, p->early.directory, NULL, &p->early.error);
    return NULL;
}

void ft_provenance_hash_early(struct ft_provenance *p, const char *directory) {
    p->early.directory = strdup(directory);
    p->early.running = p->early.directory && pthread_create(&p->early.thread, NULL, hash_early, p) == 0;
}

enum ft_status ft_provenance_finish(struct ft_provenance *p, const char *directory, struct ft_error *error) {
    struct ft_manifest files = {0};
    struct ft_buffer path = {0};
    ft_directory_flush(directory); /* beside the hashing */
    enum ft_status status = end_early(p, error);
    if (!status) status = ft_path_join(&path, directory, FT_PROVENANCE_NAME, error);
    if (!status) status = ft_manifest_collect(&files, directory, &p->early.files, error);
    if (!status) {
        set_subjects(&p->json, &files);
        status = ft_json_save(&p->json, path.data, FT_JSON_SORTED, FT_OUTPUT_KEEP, error);
    }
    if (!status) status = list_provenance(&files, path.data, error);
    if (!status) status = ft_manifest_save(&files, directory, error);
    ft_buffer_release(&path);
    ft_manifest_release(&files);
    return status;
}
