/* SPDX-License-Identifier: MIT
 *
 * peak-rss [-o FILE] COMMAND...: runs it and prints (into the file) the most resident memory that it had, in KiB. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct rusage usage;
    int status;
    const char *file = argc > 3 && strcmp(argv[1], "-o") == 0 ? argv[2] : NULL;
    if (file) argv += 2, argc -= 2;
    pid_t pid = argc > 1 ? fork() : -1;
    if (pid < 0) return 2;
    if (pid == 0) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return 2;
    if (getrusage(RUSAGE_CHILDREN, &usage) != 0) return 2;
    FILE *out = file ? fopen(file, "w") : stdout;
    if (!out) return 2;
    fprintf(out, "%ld\n", usage.ru_maxrss);
    return fclose(out) ? 2 : 0;
}
