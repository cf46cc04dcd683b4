/*
 * test_tool_interrupt.c - Ctrl-C on ranks in several processes: all are gone
 * soon, whoever gets the signal.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/mpirun.h"
#include "support/tool.h"

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

/* Processes with `needle` among their arguments, up to 16. */
static int find_processes(const char *needle, pid_t pids[16])
{
    char buf[16384];
    DIR *dir = opendir("/proc");
    int n = 0;

    cr_assert_not_null(dir);
    for (struct dirent *d; (d = readdir(dir)) && n < 16;) {
        pid_t pid = atoi(d->d_name);

        if (pid > 0 &&
            holds(buf, read_proc(pid, "cmdline", buf, sizeof buf), needle))
            pids[n++] = pid;
    }
    closedir(dir);
    return n;
}

/* The process that mpirun made rank 0 of a job; 0 = none. */
static pid_t find_rank0(const char *needle)
{
    pid_t pids[16];
    int n = find_processes(needle, pids);
    char buf[65536];

    for (int i = 0; i < n; i++)
        if (holds(buf, read_proc(pids[i], "environ", buf, sizeof buf),
                  "OMPI_COMM_WORLD_RANK=0"))
            return pids[i];
    return 0;
}

/* Wait until so many processes have it; false after `seconds`. */
static bool wait_for_count(const char *needle, int count, double seconds)
{
    const struct timespec nap = { 0, 20000000 };
    pid_t pids[16];

    for (double t = 0; find_processes(needle, pids) != count; t += 0.02) {
        if (t > seconds)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

/* A long run in two processes, at work; mpirun's process. */
static pid_t start_long_run(const char *m)
{
    char tool[4096];
    const char *argv[] = { "mpirun",
                           "--oversubscribe",
                           "--bind-to",
                           "none",
                           "-np",
                           "2",
                           "--enable-recovery",
                           tool,
                           "bench",
                           "-m",
                           m,
                           "--repeat",
                           "10000",
                           "--timeout",
                           "25",
                           "-t",
                           "1",
                           NULL };
    pid_t pid;

    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        if (!freopen("/dev/null", "r", stdin) ||
            !freopen("/dev/null", "w", stdout) ||
            !freopen("/dev/null", "w", stderr))
            _exit(127);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    cr_assert(wait_for_count(m, 3, 20), "the run did not start");
    sleep(1);
    return pid;
}

/* Everything of a run ends by itself in so many seconds. */
static void expect_end(const char *m, pid_t mpirun_pid, double seconds)
{
    pid_t pids[16];
    bool ended = wait_for_count(m, 0, seconds);
    int n = find_processes(m, pids);

    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    waitpid(mpirun_pid, NULL, 0);
    cr_expect(ended, "%d processes are left after %g s", n, seconds);
}

Test(tool_interrupt, of_mpirun)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    pid_t pid = start_long_run(m);

    kill(pid, SIGINT);
    expect_end(m, pid, 2);
}

/* Rank 0 leaves, and then the others. */
Test(tool_interrupt, of_rank_0)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    pid_t pid = start_long_run(m), rank0 = find_rank0(m);

    cr_assert_gt(rank0, 0);
    kill(rank0, SIGINT);
    expect_end(m, pid, 5);
}
