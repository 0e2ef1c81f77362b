/* SPDX-License-Identifier: MIT
 * A checkpoint. No fuzzer guesses SHA-256: an input that begins with 'P' is the members of the state, as JSON
 * without tensors_sha256, then (behind 0xff) the tensors' file, and gets its digests here; any other is
 * state.json as it is. */
#include "fuzz.h"

#include "ft/checkpoint.h"
#include "ft/json.h"
#include "ft/memory.h"

#include <inttypes.h>

/* {"sha256": of the canonical state, "state": {"tensors_sha256": ..., members...}}; empty when no JSON. */
static void wrap(struct ft_buffer *out, struct fuzz_part members, struct fuzz_part tensors) {
    struct ft_json json = {0};
    struct ft_buffer text = {0}, state = {0};
    char hex[FT_SHA256_HEX];
    ft_sha256_hex(tensors.data, tensors.size, hex);
    MUST(!ft_buffer_printf(&text, NULL, "{\"tensors_sha256\":\"%s\",", hex));
    MUST(!ft_buffer_append(&text, members.data, members.size, NULL));
    if (!ft_json_parse(&json, text.data, text.size, "fuzz", 0, NULL)) {
        MUST(!ft_json_print(&json, json.root, FT_JSON_SORTED, &state, NULL));
        ft_sha256_hex(state.data, state.size, hex);
        MUST(!ft_buffer_printf(out, NULL, "{\"sha256\":\"%s\",\"state\":%s}", hex, state.data));
        ft_json_release(&json);
    }
    ft_buffer_release(&state);
    ft_buffer_release(&text);
}

/* Reads everything for a run that trains a vector and a matrix. */
static void load(const char *run, struct fuzz_part tensors) {
    static float memory[2][3][6];
    static struct ft_parameter vector = {.name = "a", .rank = 1, .rows = 1, .cols = 4, .elements = 4,
                                         .value = memory[0][0], .m = memory[0][1], .v = memory[0][2]};
    static struct ft_parameter matrix = {.name = "b", .rank = 2, .rows = 2, .cols = 3, .elements = 6,
                                         .value = memory[1][0], .m = memory[1][1], .v = memory[1][2]};
    static struct ft_parameter *const trained[] = {&vector, &matrix};
    struct ft_error error = {0};
    struct ft_checkpoint checkpoint;
    struct ft_safetensors *best;
    char name[64];
    if (ft_checkpoint_peek(run, &checkpoint, &error)) {
        MUST(error.message[0]);
        return;
    }
    snprintf(name, sizeof name, "checkpoint/state-%" PRIu64 ".safetensors", checkpoint.step);
    fuzz_write(name, tensors.data, tensors.size);
    if (checkpoint.has_best && !ft_checkpoint_open_best(run, &checkpoint, &best, &error))
        ft_safetensors_close(best);
    if (ft_checkpoint_load(run, &checkpoint, trained, 2, &error)) MUST(error.message[0]);
    MUST(!ft_checkpoint_remove(run, &error));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"checkpoint/state.json", "checkpoint", NULL};
    struct ft_buffer state = {0};
    char folder[96];
    const char *run = fuzz_directory(names);
    fuzz_path(folder, names[1]);
    (void)mkdir(folder, 0700);
    struct fuzz_part rest = {data, size};
    if (size && data[0] == 'P') {
        rest = (struct fuzz_part){data + 1, size - 1};
        struct fuzz_part members = fuzz_take(&rest);
        wrap(&state, members, rest);
    } else {
        MUST(!ft_buffer_append(&state, data, size, NULL));
    }
    fuzz_write(names[0], state.data, state.size);
    load(run, rest);
    ft_buffer_release(&state);
    return 0;
}
