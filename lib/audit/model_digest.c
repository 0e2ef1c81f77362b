/* SPDX-License-Identifier: MIT */
#include "ft/provenance.h"

#include "ft/card.h"
#include "ft/file.h"
#include "ft/memory.h"
#include "manifest.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool defines_model(const char *name) {
    static const char *const names[] = {"config.json",    "generation_config.json", "adapter_config.json",
                                        "tokenizer.json", "tokenizer_config.json",  "special_tokens_map.json",
                                        "chat_template.jinja"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    if (strchr(name, '/')) return false; /* checkpoints and the like are not the model */
    return ends_with(name, ".safetensors") || ends_with(name, ".safetensors.index.json");
}

/* As ft_manifest_print prints it, a line at a time. */
bool ft_manifest_model(const struct ft_manifest *manifest, char sha256[FT_SHA256_HEX]) {
    struct ft_sha256 hash;
    unsigned char digest[FT_SHA256_SIZE];
    size_t files = 0;
    ft_sha256_init(&hash);
    for (size_t i = 0; i < manifest->count; i++) {
        const struct ft_manifest_entry *entry = &manifest->entry[i];
        if (!defines_model(entry->name)) continue;
        ft_sha256_update(&hash, entry->sha256, FT_SHA256_HEX - 1);
        ft_sha256_update(&hash, "  ", 2);
        ft_sha256_update(&hash, entry->name, strlen(entry->name));
        ft_sha256_update(&hash, "\n", 1);
        files++;
    }
    ft_sha256_final(&hash, digest);
    ft_hex(digest, sizeof digest, sha256);
    return files > 0;
}

static enum ft_status add_file(struct ft_manifest *manifest, const char *directory, const char *name,
                               struct ft_error *error) {
    struct ft_buffer path = {0};
    char sha256[FT_SHA256_HEX];
    enum ft_status status = ft_path_join(&path, directory, name, error);
    if (!status) status = ft_sha256_file(path.data, sha256, NULL, error);
    if (!status) status = ft_manifest_add(manifest, name, sha256, error);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status add_files(struct ft_manifest *manifest, const char *path, struct ft_error *error) {
    DIR *directory = opendir(path);
    if (!directory) return ft_fail_errno(error, FT_IO, "%s: cannot be read", path);
    enum ft_status status = FT_OK;
    const struct dirent *entry;
    while (!status && (errno = 0, entry = readdir(directory)))
        if (defines_model(entry->d_name)) status = add_file(manifest, path, entry->d_name, error);
    if (!status && errno) status = ft_fail_errno(error, FT_IO, "%s: cannot be read", path);
    closedir(directory);
    return status;
}

static enum ft_status digest_directory(const char *path, char hex[FT_SHA256_HEX], struct ft_error *error) {
    struct ft_manifest manifest = {0};
    enum ft_status status = add_files(&manifest, path, error);
    ft_manifest_sort(&manifest);
    if (!status && !ft_manifest_model(&manifest, hex))
        status = ft_fail(error, FT_FORMAT,
                         "%s: holds no model: no config.json, no *.safetensors, no tokenizer, no .gguf file", path);
    ft_manifest_release(&manifest);
    return status;
}

enum ft_status ft_model_digest(const char *path, char hex[FT_SHA256_HEX], struct ft_error *error) {
    struct ft_buffer gguf = {0};
    if (!ft_path_is_directory(path)) return ft_sha256_file(path, hex, NULL, error);
    enum ft_status status = ft_card_gguf(path, &gguf, error);
    if (!status)
        status = gguf.size ? ft_sha256_file(gguf.data, hex, NULL, error) : digest_directory(path, hex, error);
    ft_buffer_release(&gguf);
    return status;
}

/* --- beside other work ---------------------------------------------------------------------------------- */

struct ft_model_digest {
    pthread_t thread;
    bool started;
    const char *path;
    char hex[FT_SHA256_HEX];
    enum ft_status status;
    struct ft_error error;
};

static void *compute(void *arg) {
    struct ft_model_digest *digest = arg;
    digest->status = ft_model_digest(digest->path, digest->hex, &digest->error);
    return NULL;
}

enum ft_status ft_model_digest_begin(struct ft_model_digest **out, const char *path, struct ft_error *error) {
    struct ft_model_digest *digest;
    enum ft_status status = ft_alloc(&digest, 1, sizeof *digest, error);
    if (status) return status;
    digest->path = path;
    digest->started = pthread_create(&digest->thread, NULL, compute, digest) == 0;
    *out = digest;
    return FT_OK;
}

enum ft_status ft_model_digest_end(struct ft_model_digest **from, char hex[FT_SHA256_HEX], struct ft_error *error) {
    struct ft_model_digest *digest = *from;
    if (!digest) return FT_OK;
    if (digest->started) (void)pthread_join(digest->thread, NULL);
    else (void)compute(digest);
    enum ft_status status = digest->status;
    if (status) *error = digest->error;
    else memcpy(hex, digest->hex, sizeof digest->hex);
    free(digest);
    *from = NULL;
    return status;
}
