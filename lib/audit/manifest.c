/* SPDX-License-Identifier: MIT */
#include "manifest.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/provenance.h"
#include "ft/tree.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX ((size_t)1 << 20)
#define TEXT_MAX ((size_t)256 << 20)

/* --- the list ------------------------------------------------------------------------------------------- */

enum ft_status ft_manifest_add(struct ft_manifest *manifest, const char *name, const char *sha256,
                               struct ft_error *error) {
    enum ft_status status = ft_grow(&manifest->entry, &manifest->capacity, manifest->count + 1,
                                    sizeof *manifest->entry, ENTRIES_MAX, "files of a manifest", error);
    if (status) return status;
    struct ft_manifest_entry *entry = &manifest->entry[manifest->count];
    entry->name = strdup(name);
    if (!entry->name) return ft_fail(error, FT_NOMEM, "out of memory");
    memcpy(entry->sha256, sha256, FT_SHA256_HEX);
    manifest->count++;
    return FT_OK;
}

void ft_manifest_release(struct ft_manifest *manifest) {
    for (size_t i = 0; i < manifest->count; i++) free(manifest->entry[i].name);
    free(manifest->entry);
    *manifest = (struct ft_manifest){0};
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct ft_manifest_entry *)a)->name, ((const struct ft_manifest_entry *)b)->name);
}

void ft_manifest_sort(struct ft_manifest *manifest) {
    if (manifest->count) qsort(manifest->entry, manifest->count, sizeof *manifest->entry, by_name);
}

const struct ft_manifest_entry *ft_manifest_find(const struct ft_manifest *manifest, const char *name) {
    const struct ft_manifest_entry key = {.name = (char *)(uintptr_t)name};
    return manifest->count ? bsearch(&key, manifest->entry, manifest->count, sizeof key, by_name) : NULL;
}

const struct ft_manifest_entry *ft_manifest_find_digest(const struct ft_manifest *manifest,
                                                        const char *sha256) {
    for (size_t i = 0; i < manifest->count; i++)
        if (strcmp(manifest->entry[i].sha256, sha256) == 0) return &manifest->entry[i];
    return NULL;
}

/* --- from the files ------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

bool ft_manifest_unhashed(const char *name) {
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    return ends_with(last, ".log") || strcmp(last, "timing.json") == 0 || strcmp(last, "timing.jsonl") == 0;
}

struct collection {
    struct ft_manifest *manifest;
    const char *directory;
    const struct ft_manifest *known;
};

static enum ft_status collect_file(void *arg, const char *name, struct ft_error *error) {
    const struct collection *c = arg;
    if (strcmp(name, FT_MANIFEST_NAME) == 0 || ft_manifest_unhashed(name)) return FT_OK;
    if (strpbrk(name, "\n\r\\"))
        return ft_fail(error, FT_UNSUPPORTED,
                       "%s/%s: a name with a newline or backslash cannot be listed in SHA256SUMS",
                       c->directory, name);
    struct ft_buffer path = {0};
    char sha256[FT_SHA256_HEX];
    const struct ft_manifest_entry *known = c->known ? ft_manifest_find(c->known, name) : NULL;
    if (known) return ft_manifest_add(c->manifest, name, known->sha256, error);
    enum ft_status status = ft_path_join(&path, c->directory, name, error);
    if (!status) status = ft_sha256_file(path.data, sha256, NULL, error);
    if (!status) status = ft_manifest_add(c->manifest, name, sha256, error);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_manifest_collect(struct ft_manifest *manifest, const char *directory, const struct ft_manifest *known,
                                   struct ft_error *error) {
    struct collection c = {manifest, directory, known};
    return ft_tree_walk(directory, collect_file, &c, error);
}

/* --- from and to text ----------------------------------------------------------------------------------- */

/* A relative path that stays inside: no empty, "." or ".." component. */
static bool is_inside(const char *name) {
    for (const char *part = name;; part++) {
        size_t length = strcspn(part, "/");
        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.')) return false;
        part += length;
        if (!*part) return true;
    }
}

static enum ft_status parse_line(struct ft_manifest *manifest, const char *line, size_t size,
                                 struct ft_error *error) {
    unsigned char digest[FT_SHA256_SIZE];
    char sha256[FT_SHA256_HEX];
    if (size < FT_SHA256_HEX + 2 || memchr(line, 0, size) || line[64] != ' ' ||
        (line[65] != ' ' && line[65] != '*'))
        return ft_fail(error, FT_FORMAT, "expected a digest, two spaces and a name");
    memcpy(sha256, line, 64);
    sha256[64] = '\0';
    const char *name = line + 66;
    if (!ft_unhex(sha256, digest, sizeof digest))
        return ft_fail(error, FT_FORMAT, "expected 64 hexadecimal digits");
    if (!is_inside(name)) return ft_fail(error, FT_FORMAT, "\"%.100s\" is not a path inside the directory",
                                         name);
    if (manifest->count && strcmp(manifest->entry[manifest->count - 1].name, name) >= 0)
        return ft_fail(error, FT_FORMAT, "\"%.100s\" is listed twice or out of order", name);
    return ft_manifest_add(manifest, name, sha256, error);
}

enum ft_status ft_manifest_read(struct ft_manifest *manifest, const char *directory, struct ft_error *error) {
    struct ft_buffer path = {0};
    struct ft_lines *lines = NULL;
    const char *line = NULL;
    size_t size;
    enum ft_status status = ft_path_join(&path, directory, FT_MANIFEST_NAME, error);
    if (!status) status = ft_lines_open(&lines, path.data, 1 << 16, error);
    while (!status && !(status = ft_lines_next(lines, &line, &size, error)) && line) {
        status = parse_line(manifest, line, size, error);
        if (status) ft_error_context(error, "%s:%llu", path.data, (unsigned long long)ft_lines_number(lines));
    }
    ft_lines_close(lines);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_manifest_print(const struct ft_manifest *manifest, struct ft_buffer *text,
                                 struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < manifest->count && !status; i++)
        status = ft_buffer_printf(text, error, "%s  %s\n", manifest->entry[i].sha256,
                                  manifest->entry[i].name);
    return status;
}

enum ft_status ft_manifest_save(const struct ft_manifest *manifest, const char *directory,
                                struct ft_error *error) {
    struct ft_buffer path = {0}, text = {.max = TEXT_MAX};
    enum ft_status status = ft_path_join(&path, directory, FT_MANIFEST_NAME, error);
    if (!status) status = ft_manifest_print(manifest, &text, error);
    if (!status) status = ft_write_file(path.data, text.data, text.size, FT_OUTPUT_KEEP, error);
    ft_buffer_release(&path);
    ft_buffer_release(&text);
    return status;
}

/* --- both ----------------------------------------------------------------------------------------------- */

enum ft_status ft_manifest_compare(const struct ft_manifest *listed, const struct ft_manifest *found,
                                   const char *directory, struct ft_error *error) {
    for (size_t i = 0; i < listed->count || i < found->count; i++) {
        const struct ft_manifest_entry *l = i < listed->count ? &listed->entry[i] : NULL;
        const struct ft_manifest_entry *f = i < found->count ? &found->entry[i] : NULL;
        int order = !l ? 1 : !f ? -1 : strcmp(l->name, f->name);
        if (order < 0) return ft_fail(error, FT_MISMATCH, "%s/%s: is listed but missing", directory, l->name);
        if (order > 0) return ft_fail(error, FT_MISMATCH, "%s/%s: is there but not listed", directory,
                                      f->name);
        if (strcmp(l->sha256, f->sha256) != 0)
            return ft_fail(error, FT_MISMATCH, "%s/%s: altered: SHA-256 %s, listed %s", directory, l->name,
                           f->sha256, l->sha256);
    }
    return FT_OK;
}

enum ft_status ft_manifest_write(const char *directory, struct ft_error *error) {
    struct ft_manifest manifest = {0};
    enum ft_status status = ft_manifest_collect(&manifest, directory, NULL, error);
    if (!status) status = ft_manifest_save(&manifest, directory, error);
    ft_manifest_release(&manifest);
    return status;
}

enum ft_status ft_manifest_check(const char *directory, struct ft_error *error) {
    struct ft_manifest listed = {0}, found = {0};
    enum ft_status status = ft_manifest_read(&listed, directory, error);
    if (!status) status = ft_manifest_collect(&found, directory, NULL, error);
    if (!status) status = ft_manifest_compare(&listed, &found, directory, error);
    ft_manifest_release(&listed);
    ft_manifest_release(&found);
    return status;
}
