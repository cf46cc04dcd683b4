#include "support/fault.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/tiny.h"

#define FREED 0.5
#define ENDED 2.0 /* from return to end of the process */

/* ==== what happened ====================================================== */

char fault_dir[] = "/tmp/tlp-faults-XXXXXX";

void fault_folder(void)
{
    strcpy(fault_dir + sizeof fault_dir - 7, "XXXXXX");
    cr_assert_not_null(mkdtemp(fault_dir), "%s", strerror(errno));
}

const char *fault_path(const char *name)
{
    static char path[64];

    snprintf(path, sizeof path, "%s/%s", fault_dir, name);
    return path;
}

void fault_clean(void)
{
    static const char *const names[] = {
        "rank.0", "rank.1", "rank.2", "go", "cut", "left", "revived", "ends"
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(fault_path(names[i]));
    rmdir(fault_dir);
}

log_event fault_find(int rank, const char *event)
{
    return log_find(fault_dir, log_of(rank), event, INFINITY);
}

/* ==== cases ============================================================== */

char fault_label[64];  /* of the current case */
static char late[256]; /* the first event that took too long, if any */

void fault_in_time(int rank, const char *what, double seconds, double limit)
{
    if (seconds >= limit && !*late)
        snprintf(late, sizeof late, "%s: rank %d: %s after %.3f s", fault_label,
                 rank, what, seconds);
    cr_log_info("%s: rank %d: %s after %.3f s", fault_label, rank, what,
                seconds);
}

void fault_try(void (*run)(const fault *), const fault *f)
{
    for (int i = 0; i < 3; i++) {
        *late = '\0';
        run(f);
        if (!*late)
            return;
    }
    cr_assert_fail("%s, and late three times", late);
}

const char *fault_model(void)
{
    static const char *path;
    tiny_spec spec = tiny_default();

    if (!path) {
        spec.n_ctx = 4096;
        path = tiny_make(&spec);
    }
    return path;
}

spawned fault_play(const fault *f, const char *const more[])
{
    char victim[16], timeout[16];
    const char *argv[16] = {
        "test/mpi/faults", fault_model(), fault_dir, victim, f->how,
        f->phase,          timeout
    };
    mpirun_options o = { .n = f->n, .recovery = true, .limit_s = 100 };

    for (int i = 0; more && more[i]; i++)
        argv[7 + i] = more[i];
    snprintf(victim, sizeof victim, "%d", f->victim);
    snprintf(timeout, sizeof timeout, "%d", f->timeout_ms);
    snprintf(fault_label, sizeof fault_label, "%d ranks, %d: %s in %s", f->n,
             f->victim, f->how, f->phase);
    fault_folder();
    spawned s = mpirun(&o, argv);
    cr_expect_neq(s.status, 124, "%s: a process is stuck: %s", fault_label,
                  s.err);
    return s;
}

void fault_expect_well(int rank, const spawned *s)
{
    log_event clean = fault_find(rank, "clean"),
              ended = fault_find(rank, "ended");

    cr_expect(
        fault_find(rank, "alone").when > 0 && clean.when > 0 && ended.when > 0,
        "%s: rank %d is not well: %s%s", fault_label, rank, s->err, s->out);
    fault_in_time(rank, "ended", ended.when - clean.when, ENDED);
}

void fault_expect_failed(int rank, const char *status, double since,
                         double limit)
{
    log_event e = fault_find(rank, "failed");

    cr_assert(e.when > 0, "%s: rank %d did not fail", fault_label, rank);
    cr_expect_str_eq(e.status, status, "%s: rank %d: %s: %s", fault_label, rank,
                     e.status, e.text);
    since = fmax(since, log_find(fault_dir, log_of(rank), "call", e.when).when);
    fault_in_time(rank, e.text, e.when - since, limit);
    if (rank == 0)
        fault_in_time(rank, "freed", fault_find(rank, "alone").when - e.when,
                      FREED);
}
