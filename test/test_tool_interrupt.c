/*
 * test_tool_interrupt.c - Ctrl-C on ranks in several processes: all are gone
 * soon, whoever gets the signal.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/mpirun.h"
#include "support/processes.h"
#include "support/tool.h"

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
    cr_assert(processes_wait(m, 3, 20), "the run did not start");
    sleep(1);
    return pid;
}

/* Everything of a run ends by itself in so many seconds. */
static void expect_end(const char *m, pid_t mpirun_pid, double seconds)
{
    bool ended = processes_wait(m, 0, seconds);
    int n = processes_kill(m);

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
    pid_t pid = start_long_run(m), rank0 = processes_rank(m, 0);

    cr_assert_gt(rank0, 0);
    kill(rank0, SIGINT);
    expect_end(m, pid, 5);
}
