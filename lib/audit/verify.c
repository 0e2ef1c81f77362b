/* SPDX-License-Identifier: MIT */
#include "ft/verify.h"

#include "ft/card.h"
#include "ft/file.h"
#include "ft/ftok.h"
#include "ft/json.h"
#include "ft/provenance.h"
#include "manifest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One of the paths given. */
struct item {
    const char *path;
    bool directory, evidence; /* evidence: it has SHA256SUMS, or is a token stream */
    bool used;                /* some other item names it, or a file in it, as an input */
    struct ft_manifest files; /* of a single file: its digest under its last component */
    char model[FT_SHA256_HEX]; /* "" when it is no model directory */
    char *provenance_path;
    struct ft_json provenance; /* root NULL: none */
    struct stream {
        bool is; /* a single file that is a token stream, with what it names; "" where it names nothing */
        uint64_t records;
        char tokenizer[FT_SHA256_HEX], data[FT_SHA256_HEX];
    } stream;
};

struct chain {
    const struct ft_verify *verify;
    struct item *item;
};

__attribute__((format(printf, 2, 3))) static void say(const struct chain *chain, const char *format, ...) {
    if (!chain->verify->say) return;
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    chain->verify->say(chain->verify->arg, line);
}

static const char *last_component(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- one directory -------------------------------------------------------------------------------------- */

static enum ft_status check_text(const struct ft_json *json, const char *key, const char *want,
                                 struct ft_error *error) {
    const char *found = NULL;
    enum ft_status status = ft_json_get_string(json, json->root, key, FT_JSON_REQUIRED, &found, error);
    if (!status && strcmp(found, want) != 0)
        status = ft_json_fail(json, ft_json_find(json->root, key), error, "expected \"%s\"", want);
    return status;
}

/* The digest that a subject or dependency has under `algorithm`; *digest is NULL when it has none. */
static enum ft_status get_digest(const struct ft_json *json, const struct cJSON *entry, const char *algorithm,
                                 const char **digest, struct ft_error *error) {
    const struct cJSON *set = NULL;
    unsigned char bytes[FT_SHA256_SIZE];
    *digest = NULL;
    enum ft_status status = ft_json_get_node(json, entry, "digest", FT_JSON_REQUIRED, FT_JSON_OBJECT, &set,
                                             error);
    if (!status) status = ft_json_get_string(json, set, algorithm, FT_JSON_OPTIONAL, digest, error);
    if (!status && *digest && !ft_unhex(*digest, bytes, sizeof bytes))
        status = ft_json_fail(json, set, error, "expected 64 hexadecimal digits");
    return status;
}

/* The subjects must be exactly the listed files, provenance.json itself aside. */
static enum ft_status check_subjects(const struct item *item, struct ft_error *error) {
    const struct ft_json *json = &item->provenance;
    const struct cJSON *subjects = NULL;
    struct ft_manifest made = {0}, found = {0};
    enum ft_status status = ft_json_get_node(json, json->root, "subject", FT_JSON_REQUIRED, FT_JSON_ARRAY,
                                             &subjects, error);
    for (const struct cJSON *s = status ? NULL : ft_json_first(subjects); s && !status; s = ft_json_next(s)) {
        const char *name = NULL, *digest = NULL;
        status = ft_json_get_string(json, s, "name", FT_JSON_REQUIRED, &name, error);
        if (!status) status = get_digest(json, s, "sha256", &digest, error);
        if (!status && !digest) status = ft_json_fail(json, s, error, "no SHA-256");
        if (!status) status = ft_manifest_add(&made, name, digest, error);
    }
    ft_manifest_sort(&made);
    for (size_t i = 0; i < item->files.count && !status; i++)
        if (strcmp(item->files.entry[i].name, FT_PROVENANCE_NAME) != 0)
            status = ft_manifest_add(&found, item->files.entry[i].name, item->files.entry[i].sha256, error);
    if (!status) status = ft_manifest_compare(&made, &found, item->path, error);
    if (status == FT_MISMATCH) ft_error_context(error, "%s: subject", item->provenance_path);
    ft_manifest_release(&made);
    ft_manifest_release(&found);
    return status;
}

/* Evidence has one form only, so that its own digest means something. */
static enum ft_status check_canonical(const struct item *item, struct ft_error *error) {
    struct ft_buffer text = {0}, file = {0};
    enum ft_status status = ft_read_all(&file, item->provenance_path, FT_JSON_MAX, error);
    if (!status) status = ft_json_print(&item->provenance, item->provenance.root, FT_JSON_SORTED, &text,
                                        error);
    if (!status) status = ft_buffer_string(&text, "\n", error);
    if (!status && (text.size != file.size || memcmp(text.data, file.data, file.size) != 0))
        status = ft_fail(error, FT_MISMATCH, "%s: is not in canonical form", item->provenance_path);
    ft_buffer_release(&text);
    ft_buffer_release(&file);
    return status;
}

static enum ft_status check_provenance(struct item *item, struct ft_error *error) {
    struct ft_json *json = &item->provenance;
    enum ft_status status = ft_json_read(json, item->provenance_path, 0, error);
    if (!status) status = ft_json_expect(json, json->root, FT_JSON_OBJECT, error);
    if (!status) status = check_text(json, "_type", "https://in-toto.io/Statement/v1", error);
    if (!status) status = check_text(json, "predicateType", "https://slsa.dev/provenance/v1", error);
    if (!status) status = check_canonical(item, error);
    return status ? status : check_subjects(item, error);
}

static bool has_file(const struct item *item, const char *name) {
    struct ft_buffer path = {0};
    bool has = !ft_path_join(&path, item->path, name, NULL) && ft_path_exists(path.data);
    ft_buffer_release(&path);
    return has;
}

static enum ft_status check_list(struct item *item, struct ft_error *error) {
    struct ft_manifest listed = {0};
    enum ft_status status = ft_manifest_read(&listed, item->path, error);
    if (!status) status = ft_manifest_compare(&listed, &item->files, item->path, error);
    ft_manifest_release(&listed);
    return status;
}

static enum ft_status load_directory(struct item *item, struct ft_error *error) {
    enum ft_status status = ft_manifest_collect(&item->files, item->path, NULL, error);
    if (status) return status;
    if (!ft_manifest_model(&item->files, item->model)) item->model[0] = '\0';
    item->evidence = has_file(item, FT_MANIFEST_NAME);
    bool provenance = has_file(item, FT_PROVENANCE_NAME);
    if (provenance && !item->evidence)
        return ft_fail(error, FT_MISMATCH, "%s: has " FT_PROVENANCE_NAME " but no " FT_MANIFEST_NAME,
                       item->path);
    if (item->evidence) status = check_list(item, error);
    if (status || !provenance) return status;
    struct ft_buffer path = {0};
    status = ft_path_join(&path, item->path, FT_PROVENANCE_NAME, error);
    item->provenance_path = path.data;
    return status ? status : check_provenance(item, error);
}

static enum ft_status read_stream(struct stream *stream, struct ft_ftok_reader *reader,
                                  struct ft_error *error) {
    const struct ft_ftok_record *record;
    enum ft_status status;
    while (!(status = ft_ftok_next(reader, &record, error)) && record) stream->records++;
    if (status) return status;
    const struct ft_ftok_header *header = ft_ftok_header(reader);
    const char *data = header->data ? header->data : ft_ftok_data(reader);
    memcpy(stream->tokenizer, header->tokenizer, FT_SHA256_HEX);
    if (data) memcpy(stream->data, data, FT_SHA256_HEX);
    return FT_OK;
}

/* Streams are made by the tokenizer.json that a GGUF file's values stand for: the file holds it, too. One that is no
 * model (an adapter) has none. */
static enum ft_status add_tokenizer(struct item *item, struct ft_error *error) {
    struct ft_buffer gguf = {0}, json = {0};
    struct ft_error ignored;
    char sha256[FT_SHA256_HEX];
    enum ft_status status = ft_card_gguf(item->path, &gguf, error);
    if (!status && gguf.size && ft_card_tokenizer_json(item->path, &json, &ignored) == FT_OK) {
        ft_sha256_hex(json.data, json.size, sha256);
        status = ft_manifest_add(&item->files, "tokenizer.json", sha256, error);
        ft_manifest_sort(&item->files);
    }
    ft_buffer_release(&json);
    ft_buffer_release(&gguf);
    return status;
}

/* A token stream carries its own evidence: it is read to its end. Other files are leaves. */
static enum ft_status load_file(struct item *item, struct ft_error *error) {
    struct ft_source *source;
    struct ft_ftok_reader *reader;
    char sha256[FT_SHA256_HEX];
    enum ft_status status = ft_sha256_file(item->path, sha256, NULL, error);
    if (!status) status = ft_manifest_add(&item->files, last_component(item->path), sha256, error);
    if (!status) status = ft_source_open(&source, item->path, error);
    if (status) return status;
    status = ft_ftok_detect(source, &item->stream.is, error);
    if (status || !item->stream.is) {
        ft_source_close(source);
        return status ? status : add_tokenizer(item, error);
    }
    item->evidence = true;
    status = ft_ftok_from(&reader, source, error);
    if (status) return status;
    status = read_stream(&item->stream, reader, error);
    ft_ftok_close(reader);
    return status;
}

static enum ft_status load(struct item *item, struct ft_error *error) {
    item->directory = ft_path_is_directory(item->path);
    return (item->directory ? load_directory : load_file)(item, error);
}

/* --- the links between them ----------------------------------------------------------------------------- */

struct input {
    const char *name, *role, *digest;
    bool is_directory; /* digest is a dirHash */
};

static enum ft_status read_input(const struct ft_json *json, const struct cJSON *entry, struct input *input,
                                 struct ft_error *error) {
    const struct cJSON *annotations = NULL;
    *input = (struct input){.role = "input"};
    enum ft_status status = ft_json_get_string(json, entry, "name", FT_JSON_REQUIRED, &input->name, error);
    if (!status)
        status = ft_json_get_node(json, entry, "annotations", FT_JSON_OPTIONAL, FT_JSON_OBJECT, &annotations,
                                  error);
    if (!status && annotations)
        status = ft_json_get_string(json, annotations, "role", FT_JSON_OPTIONAL, &input->role, error);
    if (!status) status = get_digest(json, entry, "sha256", &input->digest, error);
    if (status || input->digest) return status;
    input->is_directory = true;
    status = get_digest(json, entry, "dirHash", &input->digest, error);
    if (!status && !input->digest)
        status = ft_json_fail(json, entry, error, "expected a digest of type sha256 or dirHash");
    return status;
}

/* Whether an item is the input, or holds it as the file *file (NULL: it is the whole). */
static bool holds_input(const struct item *item, const struct input *input, const char **file) {
    *file = NULL;
    if (input->is_directory) return strcmp(item->model, input->digest) == 0;
    const struct ft_manifest_entry *entry = ft_manifest_find_digest(&item->files, input->digest);
    if (entry && item->directory) *file = entry->name;
    return entry != NULL;
}

/* Where the input lies among the other items; NULL: nowhere. Files are copied along (a tokenizer into the
 * tuned model), so there may be several places: all count as used, and a leaf is the one to show. */
static const struct item *find_input(const struct chain *chain, const struct item *self,
                                     const struct input *input, const char **file) {
    const struct item *found = NULL;
    for (size_t i = 0; i < chain->verify->count; i++) {
        struct item *item = &chain->item[i];
        const char *within;
        if (item == self || !holds_input(item, input, &within)) continue;
        item->used = true;
        if (found && (item->evidence || !found->evidence)) continue;
        found = item;
        *file = within;
    }
    return found;
}

/* The list of an artifact's inputs and what kind of work made it. */
static enum ft_status find_inputs(const struct item *item, const struct cJSON **inputs, const char **type,
                                  struct ft_error *error) {
    const struct ft_json *json = &item->provenance;
    const struct cJSON *predicate = NULL, *definition = NULL;
    enum ft_status status =
        ft_json_get_node(json, json->root, "predicate", FT_JSON_REQUIRED, FT_JSON_OBJECT, &predicate, error);
    if (!status)
        status = ft_json_get_node(json, predicate, "buildDefinition", FT_JSON_REQUIRED, FT_JSON_OBJECT,
                                  &definition, error);
    if (!status) status = ft_json_get_string(json, definition, "buildType", FT_JSON_REQUIRED, type, error);
    if (!status)
        status = ft_json_get_node(json, definition, "resolvedDependencies", FT_JSON_REQUIRED, FT_JSON_ARRAY,
                                  inputs, error);
    return status;
}

/* Whether some other artifact that was given names this digest among its inputs. */
static bool is_input_of_another(const struct chain *chain, const struct item *self, const char *digest) {
    for (size_t i = 0; i < chain->verify->count; i++) {
        const struct item *item = &chain->item[i];
        const struct cJSON *inputs = NULL;
        const char *type = NULL;
        if (item == self || !item->provenance.root || find_inputs(item, &inputs, &type, NULL)) continue;
        for (const struct cJSON *e = ft_json_first(inputs); e; e = ft_json_next(e)) {
            struct input input;
            if (!read_input(&item->provenance, e, &input, NULL) && strcmp(input.digest, digest) == 0) return true;
        }
    }
    return false;
}

/* A file of the input's name with other contents is most likely the one that was meant, unless it has its own
 * place in the chain: a base model was made from a train.ftok of its own, too. */
static enum ft_status refuse_namesake(const struct chain *chain, const struct item *self,
                                      const struct input *input, struct ft_error *error) {
    for (size_t i = 0; i < chain->verify->count && !input->is_directory; i++) {
        const struct item *item = &chain->item[i];
        const struct ft_manifest_entry *entry = ft_manifest_find(&item->files, input->name);
        if (item == self) continue;
        if (entry && !is_input_of_another(chain, self, entry->sha256))
            return ft_fail(error, FT_MISMATCH, "%s: was made from a %s with SHA-256 %s, but %s%s%s has %s",
                           self->path, input->name, input->digest, item->path, item->directory ? "/" : "",
                           item->directory ? entry->name : "", entry->sha256);
    }
    return FT_OK;
}

static enum ft_status check_input(const struct chain *chain, const struct item *self,
                                  const struct input *input, struct ft_error *error) {
    const char *file, *kind = input->is_directory ? "dirHash" : "SHA-256";
    const struct item *found = find_input(chain, self, input, &file);
    if (found) {
        say(chain, "      %s %s: %s%s%s", input->role, input->name, found->path, file ? "/" : "",
            file ? file : "");
        return FT_OK;
    }
    enum ft_status status = refuse_namesake(chain, self, input, error);
    if (status) return status;
    if (chain->verify->complete)
        return ft_fail(error, FT_MISMATCH, "%s: its input %s %s (%s %s) is not among what was given",
                       self->path, input->role, input->name, kind, input->digest);
    say(chain, "      %s %s: not given (%s %s)", input->role, input->name, kind, input->digest);
    return FT_OK;
}

static enum ft_status check_stream(const struct chain *chain, const struct item *item,
                                   struct ft_error *error) {
    const struct stream *stream = &item->stream;
    const struct input tokenizer = {"tokenizer.json", "tokenizer", stream->tokenizer, false},
                       data = {"records", "data", stream->data, false};
    say(chain, "ok    %s: %llu records, a token stream", item->path, (unsigned long long)stream->records);
    enum ft_status status = check_input(chain, item, &tokenizer, error);
    return status || !*stream->data ? status : check_input(chain, item, &data, error);
}

static enum ft_status check_inputs(const struct chain *chain, const struct item *item,
                                   struct ft_error *error) {
    const struct ft_json *json = &item->provenance;
    const struct cJSON *inputs = NULL;
    const char *type = NULL;
    enum ft_status status = find_inputs(item, &inputs, &type, error);
    if (status) return status;
    say(chain, "ok    %s: %zu files, %s", item->path, item->files.count, type);
    for (const struct cJSON *e = ft_json_first(inputs); e && !status; e = ft_json_next(e)) {
        struct input input;
        status = read_input(json, e, &input, error);
        if (!status) status = check_input(chain, item, &input, error);
    }
    return status;
}

static enum ft_status check_leaf(const struct chain *chain, const struct item *item, struct ft_error *error) {
    if (item->used) {
        say(chain, "ok    %s: a leaf", item->path);
        return FT_OK;
    }
    const char *digest = !item->directory ? ft_manifest_find(&item->files, last_component(item->path))->sha256 : item->model[0] ? item->model : "none";
    return ft_fail(error, FT_MISMATCH,
                   "%s: has no evidence of its own, and nothing given was made from it (%s %s)", item->path,
                   item->directory ? "model digest" : "SHA-256", digest);
}

static enum ft_status check_links(const struct chain *chain, struct ft_error *error) {
    enum ft_status status = FT_OK;
    for (size_t i = 0; i < chain->verify->count && !status; i++) {
        const struct item *item = &chain->item[i];
        if (item->provenance.root) status = check_inputs(chain, item, error);
        else if (item->stream.is) status = check_stream(chain, item, error);
        else if (item->evidence) say(chain, "ok    %s: %zu files, no provenance", item->path,
                                     item->files.count);
    }
    for (size_t i = 0; i < chain->verify->count && !status; i++)
        if (!chain->item[i].evidence) status = check_leaf(chain, &chain->item[i], error);
    return status;
}

static bool any_evidence(const struct chain *chain) {
    for (size_t i = 0; i < chain->verify->count; i++)
        if (chain->item[i].evidence) return true;
    return false;
}

static void item_release(struct item *item) {
    ft_manifest_release(&item->files);
    ft_json_release(&item->provenance);
    free(item->provenance_path);
}

enum ft_status ft_verify(const struct ft_verify *verify, struct ft_error *error) {
    struct chain chain = {.verify = verify};
    enum ft_status status = ft_alloc(&chain.item, verify->count, sizeof *chain.item, error);
    if (status) return status;
    for (size_t i = 0; i < verify->count && !status; i++) {
        chain.item[i].path = verify->paths[i];
        status = load(&chain.item[i], error);
    }
    if (!status && !any_evidence(&chain))
        status = ft_fail(error, FT_USAGE,
                         "nothing given holds a " FT_MANIFEST_NAME " or is a token stream: there is nothing to check");
    if (!status) status = check_links(&chain, error);
    for (size_t i = 0; i < verify->count; i++) item_release(&chain.item[i]);
    free(chain.item);
    return status;
}
