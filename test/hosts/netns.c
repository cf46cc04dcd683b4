/*
 * netns.c - messages, namespaces, time.
 */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

noreturn void die(const char *format, ...)
{
    int error = errno;
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, error ? ": %s\n" : "%s\n", error ? strerror(error) : "");
    exit(EXIT_FAILURE);
}

void netns_enter(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "/run/netns/%s", name);

    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        die("namespace %s", name);
    close(fd);
}

int64_t parse_number(const char *what, const char *text, int64_t min,
                     int64_t max)
{
    char *end;

    errno = 0;
    long long x = strtoll(text, &end, 10);

    if (end == text || *end || errno || x < min || x > max) {
        errno = 0;
        die("%s %s: not a number from %lld to %lld", what, text, (long long)min,
            (long long)max);
    }
    return x;
}

int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
