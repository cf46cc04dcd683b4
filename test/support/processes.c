/*
 * processes.c - processes that a test did not start itself, in /proc.
 */
#include "processes.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The file of a process in /proc, NULs and all; its size. */
static size_t read_proc(pid_t pid, const char *name, char *buf, size_t cap)
{
    char path[64];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    f = fopen(path, "r");
    n = f ? fread(buf, 1, cap, f) : 0;
    if (f)
        fclose(f);
    return n;
}

static bool holds(const char *buf, size_t n, const char *text)
{
    return memmem(buf, n, text, strlen(text)) != NULL;
}

int processes_find(const char *needle, pid_t pids[PROCESSES_MAX])
{
    char buf[16384];
    DIR *dir = opendir("/proc");
    int n = 0;

    cr_assert_not_null(dir);
    for (struct dirent *d; (d = readdir(dir)) && n < PROCESSES_MAX;) {
        pid_t pid = atoi(d->d_name);

        if (pid > 0 &&
            holds(buf, read_proc(pid, "cmdline", buf, sizeof buf), needle))
            pids[n++] = pid;
    }
    closedir(dir);
    return n;
}

pid_t processes_rank(const char *needle, int rank)
{
    pid_t pids[PROCESSES_MAX];
    int n = processes_find(needle, pids);
    char buf[65536], name[48];

    snprintf(name, sizeof name, "OMPI_COMM_WORLD_RANK=%d", rank);

    for (int i = 0; i < n; i++)
        if (holds(buf, read_proc(pids[i], "environ", buf, sizeof buf), name))
            return pids[i];
    return 0;
}

bool processes_wait(const char *needle, int count, double seconds)
{
    const struct timespec nap = { 0, 20000000 };
    pid_t pids[PROCESSES_MAX];

    for (double t = 0; processes_find(needle, pids) != count; t += 0.02) {
        if (t > seconds)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

int processes_kill(const char *needle)
{
    pid_t pids[PROCESSES_MAX];
    int n = processes_find(needle, pids);

    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    return n;
}
