/* SPDX-License-Identifier: MIT
 * ft-verify: check every hash of what ft made, and the chain from results back to their inputs. */
#include "ft/options.h"
#include "ft/verify.h"

#include <stdio.h>

static void say(void *arg, const char *line) {
    (void)arg;
    puts(line);
}

int main(int argc, char **argv) {
    bool complete = false, quiet = false;
    const struct ft_option options[] = {
        {'a', "all-inputs", FT_OPTION_FLAG, &complete, NULL, "every recorded input must be among what is given", 0, 0},
        {'q', "quiet", FT_OPTION_FLAG, &quiet, NULL, "print nothing when all is well", 0, 0},
        {0},
    };
    const struct ft_command command = {
        "ft-verify", "DIR|FILE...", "check every hash of what ft made, back to the leaves", "Exit status: 0 all agrees, "
        "1 something differs (named on standard error), 2 usage or failure.\n\n"
        "  ft-verify tuned report\n"
        "  ft-verify --all-inputs report tuned run split base data.jsonl\n", options};
    struct ft_error error;
    int first;
    enum ft_options_result parsed = ft_options_parse(&command, argc, argv, &first, &error);
    if (parsed == FT_OPTIONS_DONE) return fclose(stdout) == 0 ? 0 : 2;
    enum ft_status status = FT_USAGE;
    if (parsed == FT_OPTIONS_RUN && first == argc)
        ft_fail(&error, FT_USAGE, "name at least one directory; see --help");
    else if (parsed == FT_OPTIONS_RUN) {
        const struct ft_verify verify = {
            .paths = (const char *const *)(argv + first),
            .count = (size_t)(argc - first),
            .complete = complete,
            .say = quiet ? NULL : say,
        };
        status = ft_verify(&verify, &error);
    }
    if (fclose(stdout) != 0 && !status)
        status = ft_fail_errno(&error, FT_IO, "standard output: cannot be written");
    if (status) fprintf(stderr, "ft-verify: %s\n", error.message);
    return status == FT_OK ? 0 : status == FT_MISMATCH ? 1 : 2;
}
