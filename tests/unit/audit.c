/* SPDX-License-Identifier: MIT
 * Provenance and manifests: canonical bytes, stock tools agree, the first difference is named. */
#include "../tap/tap.h"

#include "ft/commit.h"
#include "ft/file.h"
#include "ft/provenance.h"
#include "ft/tree.h"
#include "ft/version.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ft_error error;

static void put(const char *path, const char *text) {
    if (ft_write_file(path, text, strlen(text), FT_OUTPUT_NOSYNC, &error))
        ok(false, "set-up: %s", error.message);
}

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static enum ft_status make_split(const char *directory) {
    struct ft_provenance *p;
    enum ft_status status = ft_provenance_new(&p, "split", &error);
    if (status) return status;
    ft_json_set_u64(ft_provenance_json(p), ft_provenance_parameters(p), "seed", 7);
    status = ft_provenance_add_file(p, "data", "abc.jsonl", &error);
    if (!status) status = ft_provenance_add_digest(p, "data", "-", ABC, &error);
    if (!status) status = ft_provenance_add_model(p, "model", "model", NULL, &error);
    if (!status) status = ft_provenance_finish(p, directory, &error);
    ft_provenance_free(p);
    return status;
}

static void test_provenance(void) {
    struct ft_buffer text = {0}, want = {0};
    put("abc.jsonl", "abc");
    ft_directory_make("model", NULL);
    put("model/config.json", "{}");
    put("model/README.md", "not part of the model");
    put("model/a.safetensors", "abc");
    ft_directory_make("out/sub", NULL);
    put("out/train.ftok", "abc");
    put("out/sub/x", "");
    put("out/run.log", "12:34");
    char model[65];
    ok(!ft_model_digest("model", model, &error) &&
           strcmp(model, "58cf87356638e481ff171f20a24b22e30ae03169e0a9fb5765e60a11b34674eb") == 0,
       "a model's digest is the SHA-256 of its list: %s", model);
    ok(!make_split("out"), "finished (%s)", error.message);
    ft_read_all(&text, "out/provenance.json", 1 << 20, NULL);
    ft_buffer_printf(&want, NULL,
                     "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicate\":{\"buildDefinition\":{\"buildType\":"
                     "\"urn:ft:split:1\",\"externalParameters\":{\"seed\":7},\"internalParameters\":{\"numerics\":\"%s\","
                     "\"source_sha256\":\"%s\",\"version\":\"%s\"},\"resolvedDependencies\":[{\"annotations\":{\"role\":"
                     "\"data\"},\"digest\":{\"sha256\":\"" ABC "\"},\"name\":\"abc.jsonl\"},{\"annotations\":{\"role\":"
                     "\"data\"},\"digest\":{\"sha256\":\"" ABC "\"},\"name\":\"-\"},{\"annotations\":{\"role\":\"model\"},"
                     "\"digest\":{\"dirHash\":\"%s\"},\"name\":\"model\"}]},\"runDetails\":{\"builder\":{\"id\":"
                     "\"urn:ft:builder:ft-split\"}}},\"predicateType\":\"https://slsa.dev/provenance/v1\",\"subject\":["
                     "{\"digest\":{\"sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"},\"name\":"
                     "\"sub/x\"},{\"digest\":{\"sha256\":\"" ABC "\"},\"name\":\"train.ftok\"}]}\n",
                     FT_NUMERICS, ft_source_digest(), FT_VERSION, model);
    ok(text.data && strcmp(text.data, want.data) == 0, "canonical bytes");
    ok(system("cd out && sha256sum --quiet --strict -c SHA256SUMS") == 0, "sha256sum -c agrees");
    ok(system("cd out && find . -type f ! -name SHA256SUMS ! -name '*.log' | sed 's,^./,,' | LC_ALL=C sort | "
              "xargs sha256sum | cmp - SHA256SUMS") == 0,
       "and would have written the same");
    ok(!ft_manifest_check("out", &error), "the check agrees");
    struct stat before, after;
    stat("out/SHA256SUMS", &before);
    ok(!make_split("out") && stat("out/SHA256SUMS", &after) == 0 && before.st_ino == after.st_ino,
       "made again: the same bytes, the files are left alone");
    ft_buffer_release(&text);
    ft_buffer_release(&want);
}

static void test_manifest(void) {
    put("out/train.ftok", "abd");
    ok(ft_manifest_check("out", &error) == FT_MISMATCH && strstr(error.message, "out/train.ftok: altered"),
       "%s", error.message);
    unlink("out/train.ftok");
    ok(ft_manifest_check("out", &error) == FT_MISMATCH, "%s", error.message);
    put("out/train.ftok", "abc");
    put("out/more", "");
    ok(ft_manifest_check("out", &error) == FT_MISMATCH, "%s", error.message);
    unlink("out/more");
    put("out/other.log", "unhashed files do not count");
    ok(!ft_manifest_check("out", &error), "put right again");
    static const char *const bad[] = {
        "x\n", ABC "\n", ABC "  \n", ABC " a\n", ABC "  /etc/passwd\n", ABC "  ../x\n", ABC "  a/../../x\n", ABC "  a//b\n",
        ABC "  ./a\n", ABC "  b\n" ABC "  a\n", ABC "  a\n" ABC "  a\n", "\\" ABC "  a\\nb\n",
        "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD  a\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("out/SHA256SUMS", bad[i]);
        ok(ft_manifest_check("out", &error) == FT_FORMAT, "%s", error.message);
    }
    unlink("out/SHA256SUMS");
    ok(ft_manifest_check("out", &error) == FT_IO, "%s", error.message);
}

static void test_refused(void) {
    char hex[65];
    ok(ft_model_digest("out/sub", hex, &error) == FT_FORMAT, "%s", error.message);
    ok(ft_model_digest("absent", hex, &error) == FT_IO, "%s", error.message);
    ok(!ft_model_digest("abc.jsonl", hex, &error) && strcmp(hex, ABC) == 0,
       "a single file's digest is its own");
    struct ft_provenance *p;
    ok(!ft_provenance_new(&p, "x", &error) && ft_provenance_add_digest(p, "data", "d", "123",
                                                                       &error) == FT_USAGE, "%s",
       error.message);
    ok(ft_provenance_add_file(p, "data", "absent", &error) == FT_IO, "%s", error.message);
    ft_provenance_free(p);
    ft_directory_make("odd", NULL);
    put("odd/a\nb", "");
    ok(ft_manifest_write("odd", &error) == FT_UNSUPPORTED, "a newline in a name is refused");
    unlink("odd/a\nb");
    ok(symlink("..", "odd/link") == 0 && ft_manifest_write("odd", &error) == FT_FORMAT, "%s", error.message);
}

int main(void) {
    char directory[] = "/tmp/ft-audit-XXXXXX";
    if (!mkdtemp(directory) || chdir(directory) != 0) return 1;
    test_provenance();
    test_manifest();
    test_refused();
    if (chdir("/") != 0 || ft_tree_remove(directory) != 0) return 1;
    return tap_done();
}
