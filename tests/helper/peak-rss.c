/* SPDX-License-Identifier: MIT
 *
 * peak-rss COMMAND...: runs it and prints the most resident memory that it had, in KiB. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct rusage usage;
    int status;
    pid_t pid = argc > 1 ? fork() : -1;
    if (pid < 0) return 2;
    if (pid == 0) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return 2;
    if (getrusage(RUSAGE_CHILDREN, &usage) != 0) return 2;
    printf("%ld\n", usage.ru_maxrss);
    return 0;
}
