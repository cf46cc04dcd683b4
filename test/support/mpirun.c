/*
 * mpirun.c - run a program of the build folder in several processes.
 *
 * mpirun gives each process a group of its own, so ending its group is not
 * enough: this process adopts what loses its parent, and ends that too.
 */
#include "mpirun.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/event_log.h"
#include "support/tiny.h"

#define MAX_ARGS 64
#define TIMED_OUT 124

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

/* Whether a folder of PATH has the program. */
static bool in_path(const char *name)
{
    const char *path = getenv("PATH");
    char file[PATH_MAX];

    for (const char *p = path ? path : ""; *p;) {
        size_t n = strcspn(p, ":");

        snprintf(file, sizeof file, "%.*s/%s", (int)n, p, name);
        if (access(file, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

const char *mpirun_missing(void)
{
    char file[PATH_MAX];

#ifdef UNDER_TSAN
    return "Open MPI was not built with TSan, which sees races in it";
#endif
    snprintf(file, sizeof file, "%s/libtlp_mpi.so", spawn_build_dir());
    if (access(file, F_OK) != 0)
        return "built without MPI";
    return in_path("mpirun") ? NULL : "no mpirun in PATH";
}

/* Open MPI keeps some memory for good, and unloads modules that allocated it,
 * so a report needs whole call stacks to name one of these libraries. */
void mpirun_allow_leaks(void)
{
    static const char text[] = "leak:libmpi\nleak:libopen-\nleak:libpmix\n"
                               "leak:libevent\nleak:mca_\nleak:libhwloc\n";
    const char *path = tiny_path("lsan.supp");
    char options[PATH_MAX + 64];
    FILE *f = fopen(path, "w");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
    snprintf(options, sizeof options,
             "suppressions=%s:print_suppressions=0:fast_unwind_on_malloc=0",
             path);
    setenv("LSAN_OPTIONS", options, 1);
}

static void child(const mpirun_options *o, const char *const argv[], FILE *out,
                  FILE *err)
{
    char program[PATH_MAX], n[16];
    const char *args[MAX_ARGS] = { "mpirun",    "--oversubscribe",
                                   "--bind-to", "none",
                                   "-np",       n };
    int k = 6;

    snprintf(n, sizeof n, "%d", o->n);
    snprintf(program, sizeof program, "%s/%s", spawn_build_dir(), argv[0]);
    if (o->recovery)
        args[k++] = "--enable-recovery";
    for (const char *const *p = o->more; p && *p && k < MAX_ARGS / 2; p++)
        args[k++] = *p;
    args[k++] = program;
    for (const char *const *p = argv + 1; *p && k < MAX_ARGS - 1; p++)
        args[k++] = *p;
    args[k] = NULL;
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("TLP_PLUGIN_PATH", spawn_build_dir(), 1);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    if (!freopen("/dev/null", "r", stdin))
        _exit(127);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    execvp(args[0], (char *const *)args);
    _exit(127);
}

static void nap(void)
{
    nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
}

/* True and *status once pid has ended, before log_now() is `until`. */
static bool wait_for(pid_t pid, double until, int *status)
{
    while (waitpid(pid, status, WNOHANG) != pid) {
        if (log_now() > until)
            return false;
        nap();
    }
    return true;
}

/* True once no child is left that runs, adopted ones too. */
static bool wait_for_all(double until)
{
    siginfo_t info;

    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
            return true;
        if (log_now() > until)
            return false;
        nap();
    }
}

static void wait_for_file(const char *path, double seconds)
{
    for (; seconds > 0 && access(path, F_OK) != 0; seconds -= 5e-3)
        nap();
}

/* Kill and bury all children, those that were adopted too. */
static void end_children(void)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    while (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) {
        FILE *f = fopen(path, "r");
        int pid;

        while (f && fscanf(f, "%d", &pid) == 1)
            kill(pid, SIGKILL);
        if (f)
            fclose(f);
        nap();
    }
}

spawned mpirun(const mpirun_options *o, const char *const argv[])
{
    spawned s = { .status = TIMED_OUT };
    FILE *out = tmpfile(), *err = tmpfile();
    double limit = o->limit_s ? o->limit_s : 60;
    int status;

    tiny_temp_dir(); /* in which jobs of Open MPI keep their files */
    if (!out || !err || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        abort();
    pid_t pid = fork();

    if (pid < 0)
        abort();
    if (pid == 0)
        child(o, argv, out, err);
    if (o->interrupt) {
        wait_for_file(o->interrupt, limit);
        kill(pid, SIGINT);
        limit = 2;
    }

    double until = log_now() + limit;
    bool ended = wait_for(pid, until, &status);

    if (ended && (!o->interrupt || wait_for_all(until)))
        s.status =
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (!ended) {
        /* It ends its processes by itself if it can. */
        kill(pid, SIGTERM);
        if (!wait_for(pid, log_now() + 2, &status))
            kill(-pid, SIGKILL);
    }
    end_children();
    s.out = spawn_read_back(out, &s.n_out);
    s.err = spawn_read_back(err, &s.n_err);
    return s;
}
