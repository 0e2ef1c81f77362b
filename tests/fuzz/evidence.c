/* SPDX-License-Identifier: MIT
 * Evidence of a directory with the file `data`. No fuzzer guesses SHA-256: an input that begins with 'P' is
 * provenance.json, brought into canonical form and listed here; any other is SHA256SUMS. */
#include "fuzz.h"

#include "ft/json.h"
#include "ft/provenance.h"
#include "ft/verify.h"

static void write_provenance(const char *directory, const uint8_t *data, size_t size) {
    struct ft_json json = {0};
    struct ft_buffer text = {0};
    if (!ft_json_parse(&json, (const char *)data, size, "fuzz", 0, NULL)) {
        MUST(!ft_json_print(&json, json.root, FT_JSON_SORTED, &text, NULL));
        MUST(!ft_buffer_string(&text, "\n", NULL));
        fuzz_write("provenance.json", text.data, text.size);
        ft_json_release(&json);
    } else {
        fuzz_write("provenance.json", data, size);
    }
    MUST(!ft_manifest_write(directory, NULL));
    ft_buffer_release(&text);
}

static void count_line(void *lines, const char *line) { *(size_t *)lines += strlen(line) > 0; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"data", "provenance.json", "SHA256SUMS", NULL};
    struct ft_error error = {0};
    size_t lines = 0;
    char path[96];
    const char *directory = fuzz_directory(names);
    fuzz_write("data", "abc", 3);
    if (size && data[0] == 'P') {
        write_provenance(directory, data + 1, size - 1);
    } else {
        fuzz_path(path, "provenance.json");
        remove(path);
        fuzz_write("SHA256SUMS", data, size);
        if (ft_manifest_check(directory, &error)) MUST(error.message[0]);
    }
    for (int complete = 0; complete < 2; complete++) {
        const struct ft_verify verify = {&directory, 1, complete, count_line, &lines};
        enum ft_status status = ft_verify(&verify, &error);
        MUST(status ? error.message[0] != '\0' : lines > 0);
    }
    return 0;
}
