/*
 * event_log.c - a line is "EVENT SECONDS STATUS TEXT", written in one piece.
 */
#include "event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double log_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void log_nap(int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

const char *log_of(int rank)
{
    static const char *const names[] = { "rank.0", "rank.1", "rank.2" };

    return rank >= 0 && rank < 3 ? names[rank] : "rank.none";
}

void log_add(const char *folder, const char *file, const char *event,
             const char *status, const char *text)
{
    char path[512], line[1024];
    int n = snprintf(line, sizeof line, "%s %.6f %s %s\n", event, log_now(),
                     status, text[0] ? text : "-");

    snprintf(path, sizeof path, "%s/%s", folder, file);

    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, line, (size_t)n) != n)
        perror(path);
    if (fd >= 0)
        close(fd);
}

log_event log_find(const char *folder, const char *file, const char *event,
                   double until)
{
    char path[512], line[1024], name[32];
    log_event e = { 0 }, at;

    snprintf(path, sizeof path, "%s/%s", folder, file);

    FILE *f = fopen(path, "r");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "%31s %lf %31s %511[^\n]", name, &at.when, at.status,
                   at.text) == 4 &&
            strcmp(name, event) == 0 && at.when <= until)
            e = at;
    if (f)
        fclose(f);
    return e;
}

bool log_has(const char *folder, const char *file, const char *event)
{
    return log_find(folder, file, event, INFINITY).when > 0;
}
