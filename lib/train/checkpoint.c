/* SPDX-License-Identifier: MIT */
#include "ft/checkpoint.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/json.h"
#include "ft/memory.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_MAX = 1 << 16, NAME_SIZE = 64, PARTS = 3 };

static const char folder[] = "checkpoint";
static const char remedy[] = "start the run anew with --force, or restore the file";

/* "<run>/checkpoint" or "<run>/checkpoint/<name>" */
static enum ft_status path_of(struct ft_buffer *path, const char *run, const char *name, struct ft_error *error) {
    struct ft_buffer inner = {0};
    enum ft_status status = ft_path_join(name ? &inner : path, run, folder, error);
    if (!status && name) status = ft_path_join(path, inner.data, name, error);
    ft_buffer_release(&inner);
    return status;
}

static void tensor_file(char name[NAME_SIZE], const char *kind, uint64_t step) {
    snprintf(name, NAME_SIZE, "%s-%" PRIu64 ".safetensors", kind, step);
}

/* --- writing --------------------------------------------------------------------------------------------- */

/* Memory of part p of a tensor: its value, m, v. */
static float *part(const struct ft_parameter *tensor, size_t p) {
    return p == 0 ? tensor->value : p == 1 ? tensor->m : tensor->v;
}
static const char *const part_name[PARTS] = {"value", "m", "v"};

static void shape_of(const struct ft_parameter *tensor, uint64_t shape[FT_TENSOR_RANK]) {
    shape[0] = tensor->rank == 1 ? tensor->elements : tensor->rows;
    shape[1] = tensor->cols;
}

static enum ft_status write_tensors(const char *path, struct ft_parameter *const *tensors, size_t count, size_t parts,
                                    char sha256[FT_SHA256_HEX], struct ft_error *error) {
    struct ft_tensor_out *out = NULL;
    struct ft_buffer *name = NULL;
    enum ft_status status = ft_alloc(&out, count * parts, sizeof *out, error);
    if (!status) status = ft_alloc(&name, count * parts, sizeof *name, error);
    for (size_t i = 0; i < count * parts && !status; i++) {
        const struct ft_parameter *tensor = tensors[i / parts];
        status = parts == 1 ? ft_buffer_string(&name[i], tensor->name, error)
                            : ft_buffer_printf(&name[i], error, "%s.%s", part_name[i % parts], tensor->name);
        if (status) break;
        out[i] = (struct ft_tensor_out){.name = name[i].data, .dtype = FT_F32, .rank = tensor->rank,
                                        .data = part(tensor, i % parts)};
        shape_of(tensor, out[i].shape);
    }
    if (!status) status = ft_safetensors_write(path, out, count * parts, NULL, NULL, FT_OUTPUT_HASH, sha256, error);
    for (size_t i = 0; name && i < count * parts; i++) ft_buffer_release(&name[i]);
    free(name);
    free(out);
    return status;
}

static enum ft_status save_tensors(const char *run, const char *kind, uint64_t step, struct ft_parameter *const *tensors,
                                   size_t count, size_t parts, char sha256[FT_SHA256_HEX], struct ft_error *error) {
    struct ft_buffer path = {0};
    char name[NAME_SIZE];
    tensor_file(name, kind, step);
    enum ft_status status = path_of(&path, run, NULL, error);
    if (!status) status = ft_directory_make(path.data, error);
    ft_buffer_clear(&path);
    if (!status) status = path_of(&path, run, name, error);
    if (!status) status = write_tensors(path.data, tensors, count, parts, sha256, error);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_checkpoint_save_best(const char *run, uint64_t step, struct ft_parameter *const *tensors, size_t count,
                                       char sha256[FT_SHA256_HEX], struct ft_error *error) {
    return save_tensors(run, "best", step, tensors, count, 1, sha256, error);
}

static void describe(const struct ft_checkpoint *c, const char *tensors_sha256, struct ft_json *json,
                     struct cJSON *state) {
    ft_json_set_string(json, state, "identity", c->identity);
    ft_json_set_u64(json, state, "step", c->step);
    ft_json_set_string(json, state, "tensors_sha256", tensors_sha256);
    ft_json_set_u64(json, state, "tokens", c->tokens);
    ft_json_set_u64(json, state, "supervised", c->supervised);
    ft_json_set_u64(json, state, "metrics_size", c->metrics_size);
    ft_json_set_string(json, state, "metrics_sha256", c->metrics_sha256);
    ft_json_set_u64(json, state, "stale", c->stale);
    ft_json_set_bool(json, state, "stopped", c->stopped);
    if (!c->has_best) return;
    struct cJSON *best = ft_json_set_object(json, state, "best");
    ft_json_set_u64(json, best, "step", c->best_step);
    ft_json_set_double(json, best, "loss", c->best_loss);
    ft_json_set_string(json, best, "sha256", c->best_sha256);
}

/* SHA-256 of the canonical bytes of a node. */
static enum ft_status node_digest(const struct ft_json *json, const struct cJSON *node, char hex[FT_SHA256_HEX],
                                  struct ft_error *error) {
    struct ft_buffer text = {.max = STATE_MAX};
    enum ft_status status = ft_json_print(json, node, FT_JSON_SORTED, &text, error);
    if (!status) ft_sha256_hex(text.data, text.size, hex);
    ft_buffer_release(&text);
    return status;
}

static enum ft_status save_state(const char *run, const struct ft_checkpoint *checkpoint, const char *tensors_sha256,
                                 struct ft_error *error) {
    struct ft_json json = {0};
    struct ft_buffer path = {0};
    char hex[FT_SHA256_HEX];
    enum ft_status status = ft_json_new(&json, FT_JSON_OBJECT, error);
    if (!status) {
        struct cJSON *state = ft_json_set_object(&json, json.root, "state");
        describe(checkpoint, tensors_sha256, &json, state);
        status = node_digest(&json, state, hex, error);
    }
    if (!status) {
        ft_json_set_string(&json, json.root, "sha256", hex);
        status = path_of(&path, run, "state.json", error);
    }
    if (!status) status = ft_json_save(&json, path.data, FT_JSON_SORTED | FT_JSON_PRETTY, 0, error);
    ft_buffer_release(&path);
    ft_json_release(&json);
    return status;
}

enum ft_status ft_checkpoint_save(const char *run, const struct ft_checkpoint *checkpoint,
                                  struct ft_parameter *const *tensors, size_t count, struct ft_error *error) {
    char sha256[FT_SHA256_HEX];
    enum ft_status status = save_tensors(run, "state", checkpoint->step, tensors, count, PARTS, sha256, error);
    if (!status) status = save_state(run, checkpoint, sha256, error);
    return status ? status : ft_checkpoint_tidy(run, checkpoint, error);
}

/* --- reading --------------------------------------------------------------------------------------------- */

static enum ft_status get_digest(const struct ft_json *json, const struct cJSON *object, const char *key,
                                 char hex[FT_SHA256_HEX], struct ft_error *error) {
    const char *text = NULL;
    unsigned char bytes[FT_SHA256_SIZE];
    enum ft_status status = ft_json_get_string(json, object, key, FT_JSON_REQUIRED, &text, error);
    if (status) return status;
    if (!ft_unhex(text, bytes, sizeof bytes)) return ft_json_fail(json, object, error, "%s is not a SHA-256", key);
    memcpy(hex, text, FT_SHA256_HEX);
    return FT_OK;
}

static enum ft_status get_count(const struct ft_json *json, const struct cJSON *object, const char *key, uint64_t *out,
                                struct ft_error *error) {
    return ft_json_get_u64(json, object, key, FT_JSON_REQUIRED, 0, INT64_MAX, out, error);
}

static enum ft_status read_best(const struct ft_json *json, const struct cJSON *state, struct ft_checkpoint *c,
                                struct ft_error *error) {
    static const char *const best_keys[] = {"step", "loss", "sha256", NULL};
    const struct cJSON *best = NULL;
    enum ft_status status = ft_json_get_node(json, state, "best", FT_JSON_OPTIONAL, FT_JSON_OBJECT, &best, error);
    if (status || !best) return status;
    c->has_best = true;
    status = ft_json_only(json, best, best_keys, error);
    if (!status) status = get_count(json, best, "step", &c->best_step, error);
    if (!status) status = ft_json_get_double(json, best, "loss", FT_JSON_REQUIRED, &c->best_loss, error);
    return status ? status : get_digest(json, best, "sha256", c->best_sha256, error);
}

static enum ft_status read_state(const struct ft_json *json, struct ft_checkpoint *c, char tensors_sha256[FT_SHA256_HEX],
                                 struct ft_error *error) {
    static const char *const root_keys[] = {"state", "sha256", NULL};
    static const char *const state_keys[] = {"identity", "step", "tensors_sha256", "tokens", "supervised", "stale",
                                             "metrics_size", "metrics_sha256", "stopped", "best", NULL};
    const struct cJSON *state = NULL;
    char hex[FT_SHA256_HEX], stated[FT_SHA256_HEX];
    enum ft_status status = ft_json_expect(json, json->root, FT_JSON_OBJECT, error);
    if (!status) status = ft_json_only(json, json->root, root_keys, error);
    if (!status) status = get_digest(json, json->root, "sha256", stated, error);
    if (!status) status = ft_json_get_node(json, json->root, "state", FT_JSON_REQUIRED, FT_JSON_OBJECT, &state, error);
    if (!status) status = node_digest(json, state, hex, error);
    if (!status && strcmp(hex, stated) != 0)
        status = ft_json_fail(json, json->root, error, "the state does not match its digest: the file was altered");
    if (!status) status = ft_json_only(json, state, state_keys, error);
    if (!status) status = get_digest(json, state, "identity", c->identity, error);
    if (!status) status = get_count(json, state, "step", &c->step, error);
    if (!status) status = get_digest(json, state, "tensors_sha256", tensors_sha256, error);
    if (!status) status = get_count(json, state, "tokens", &c->tokens, error);
    if (!status) status = get_count(json, state, "supervised", &c->supervised, error);
    if (!status) status = get_count(json, state, "stale", &c->stale, error);
    if (!status) status = get_count(json, state, "metrics_size", &c->metrics_size, error);
    if (!status) status = get_digest(json, state, "metrics_sha256", c->metrics_sha256, error);
    if (!status) status = ft_json_get_bool(json, state, "stopped", FT_JSON_REQUIRED, &c->stopped, error);
    return status ? status : read_best(json, state, c, error);
}

static enum ft_status peek(const char *run, struct ft_checkpoint *checkpoint, char tensors_sha256[FT_SHA256_HEX],
                           struct ft_error *error) {
    struct ft_buffer path = {0};
    struct ft_json json = {0};
    *checkpoint = (struct ft_checkpoint){0};
    enum ft_status status = path_of(&path, run, "state.json", error);
    if (!status) status = ft_json_read(&json, path.data, STATE_MAX, error);
    if (!status) status = read_state(&json, checkpoint, tensors_sha256, error);
    if (status == FT_FORMAT) {
        size_t used = strlen(error->message);
        snprintf(error->message + used, sizeof error->message - used, "; %s", remedy);
    }
    ft_json_release(&json);
    ft_buffer_release(&path);
    return status;
}

bool ft_checkpoint_exists(const char *run) {
    struct ft_buffer path = {0};
    bool exists = !path_of(&path, run, "state.json", NULL) && ft_path_exists(path.data);
    ft_buffer_release(&path);
    return exists;
}

enum ft_status ft_checkpoint_peek(const char *run, struct ft_checkpoint *checkpoint, struct ft_error *error) {
    char tensors_sha256[FT_SHA256_HEX];
    return peek(run, checkpoint, tensors_sha256, error);
}

/* Opens checkpoint/<kind>-<step>.safetensors after its digest was found right. */
static enum ft_status open_checked(const char *run, const char *kind, uint64_t step, const char *sha256,
                                   struct ft_safetensors **st, struct ft_error *error) {
    struct ft_buffer path = {0};
    char name[NAME_SIZE], hex[FT_SHA256_HEX];
    tensor_file(name, kind, step);
    enum ft_status status = path_of(&path, run, name, error);
    if (!status) status = ft_sha256_file(path.data, hex, NULL, error);
    if (!status && strcmp(hex, sha256) != 0)
        status = ft_fail(error, FT_FORMAT, "%s: altered or damaged: its SHA-256 is not the one in state.json; %s",
                         path.data, remedy);
    if (!status) status = ft_safetensors_open(st, path.data, error);
    ft_buffer_release(&path);
    return status;
}

static enum ft_status load_part(const struct ft_safetensors *st, const struct ft_parameter *tensor, size_t p,
                                struct ft_error *error) {
    struct ft_buffer name = {0};
    const struct ft_tensor *stored = NULL;
    uint64_t shape[FT_TENSOR_RANK];
    shape_of(tensor, shape);
    enum ft_status status = ft_buffer_printf(&name, error, "%s.%s", part_name[p], tensor->name);
    if (!status) status = ft_safetensors_need(st, name.data, tensor->rank, shape, &stored, error);
    if (!status && stored->dtype != FT_F32)
        status = ft_fail(error, FT_FORMAT, "%s: %s is not F32; %s", stored->file, stored->name, remedy);
    if (!status && tensor->elements) memcpy(part(tensor, p), stored->data, tensor->elements * sizeof(float));
    ft_buffer_release(&name);
    return status;
}

enum ft_status ft_checkpoint_load(const char *run, const struct ft_checkpoint *checkpoint, struct ft_parameter *const *tensors,
                                  size_t count, struct ft_error *error) {
    struct ft_checkpoint again;
    struct ft_safetensors *st = NULL, *best = NULL;
    char sha256[FT_SHA256_HEX];
    enum ft_status status = peek(run, &again, sha256, error);
    if (!status && again.step != checkpoint->step)
        status = ft_fail(error, FT_MISMATCH, "%s: another process is writing checkpoints here; end it first", run);
    if (!status) status = open_checked(run, "state", checkpoint->step, sha256, &st, error);
    if (!status && ft_safetensors_count(st) != count * PARTS)
        status = ft_fail(error, FT_FORMAT, "%s: the checkpoint has %zu tensors, this run trains %zu; %s", run,
                         ft_safetensors_count(st) / PARTS, count, remedy);
    for (size_t i = 0; i < count * PARTS && !status; i++) status = load_part(st, tensors[i / PARTS], i % PARTS, error);
    if (!status && checkpoint->has_best) status = ft_checkpoint_open_best(run, checkpoint, &best, error);
    ft_safetensors_close(best);
    ft_safetensors_close(st);
    return status;
}

enum ft_status ft_checkpoint_open_best(const char *run, const struct ft_checkpoint *checkpoint,
                                       struct ft_safetensors **best, struct ft_error *error) {
    return open_checked(run, "best", checkpoint->best_step, checkpoint->best_sha256, best, error);
}

/* --- removing -------------------------------------------------------------------------------------------- */

static bool ends_in(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* Only what a checkpoint may have written, temporaries of killed processes included (the caller holds the run's lock):
 * what else the user keeps here stays. */
static bool is_ours(const char *name) {
    if (strncmp(name, ".ft-", 4) == 0) return ends_in(name, ".tmp");
    return (strncmp(name, "state-", 6) == 0 || strncmp(name, "best-", 5) == 0) && ends_in(name, ".safetensors");
}

static enum ft_status unlink_in(const char *directory, const char *name, struct ft_error *error) {
    struct ft_buffer file = {0};
    enum ft_status status = ft_path_join(&file, directory, name, error);
    if (!status && unlink(file.data) != 0 && errno != ENOENT)
        status = ft_fail_errno(error, FT_IO, "%s: cannot be removed", file.data);
    ft_buffer_release(&file);
    return status;
}

/* Removes the tensor files but those two. */
static enum ft_status remove_but(const char *directory, const char *state, const char *best, struct ft_error *error) {
    enum ft_status status = FT_OK;
    DIR *listing = opendir(directory);
    if (!listing) return errno == ENOENT ? FT_OK : ft_fail_errno(error, FT_IO, "%s: cannot be listed", directory);
    for (struct dirent *entry; !status && (entry = readdir(listing));) {
        const char *name = entry->d_name;
        if (!is_ours(name) || strcmp(name, state) == 0 || strcmp(name, best) == 0) continue;
        status = unlink_in(directory, name, error);
    }
    closedir(listing);
    return status;
}

enum ft_status ft_checkpoint_tidy(const char *run, const struct ft_checkpoint *checkpoint, struct ft_error *error) {
    struct ft_buffer path = {0};
    char state[NAME_SIZE], best[NAME_SIZE] = "";
    tensor_file(state, "state", checkpoint->step);
    if (checkpoint->has_best) tensor_file(best, "best", checkpoint->best_step);
    enum ft_status status = path_of(&path, run, NULL, error);
    if (!status) status = remove_but(path.data, state, best, error);
    ft_buffer_release(&path);
    return status;
}

enum ft_status ft_checkpoint_remove(const char *run, struct ft_error *error) {
    struct ft_buffer path = {0};
    enum ft_status status = path_of(&path, run, NULL, error);
    if (!status) status = unlink_in(path.data, "state.json", error); /* first: what it names must exist */
    if (!status) status = remove_but(path.data, "", "", error);
    if (!status && rmdir(path.data) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        status = ft_fail_errno(error, FT_IO, "%s: cannot be removed", path.data);
    ft_buffer_release(&path);
    return status;
}
