/*
 * test_mpi_faults.c - processes that die, stop, never come or are cut off: the
 * others notice in time, clean up, go on alone, and end by themselves.
 *
 * Each case runs test/mpi/faults.c, which writes down what happened and when.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/diary.h"
#include "support/mpirun.h"
#include "support/tiny.h"

TestSuite(faults, .timeout = 120);

#define DETECTED 2.0 /* seconds from a death to its notice */
#define FREED 0.5
#define ENDED 2.0 /* from return to end of the process */

/* ==== what happened ====================================================== */

static char folder[] = "/tmp/tlp-faults-XXXXXX";

static void new_folder(void)
{
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    cr_assert_not_null(mkdtemp(folder), "%s", strerror(errno));
}

static const char *path_of(const char *name)
{
    static char path[64];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void remove_folder(void)
{
    static const char *const names[] = {
        "rank.0", "rank.1", "rank.2", "go", "cut", "left", "revived", "ends"
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    rmdir(folder);
}

static diary_event find_of(int rank, const char *event)
{
    return diary_find(folder, diary_of(rank), event, INFINITY);
}

/* ==== cases ============================================================== */

typedef struct fault {
    int n, victim;
    const char *how, *phase;
    int timeout_ms;
} fault;

static char label[64]; /* of the case */

static void expect_in_time(int rank, const char *what, double seconds,
                           double limit)
{
    cr_expect(seconds < limit, "%s: rank %d: %s after %.3f s", label, rank,
              what, seconds);
    cr_log_info("%s: rank %d: %s after %.3f s", label, rank, what, seconds);
}

static const char *model(void)
{
    static const char *path;
    tiny_spec spec = tiny_default();

    if (!path) {
        spec.n_ctx = 4096;
        path = tiny_make(&spec);
    }
    return path;
}

/* Runs a case in a new folder; what mpirun started is gone then. */
static spawned play(const fault *f, const char *const more[])
{
    char victim[16], timeout[16];
    const char *argv[16] = { "test/mpi/faults", model(), folder, victim, f->how,
                             f->phase,          timeout };
    mpirun_options o = { .n = f->n, .recovery = true, .limit_s = 40 };

    for (int i = 0; more && more[i]; i++)
        argv[7 + i] = more[i];
    snprintf(victim, sizeof victim, "%d", f->victim);
    snprintf(timeout, sizeof timeout, "%d", f->timeout_ms);
    snprintf(label, sizeof label, "%d ranks, %d: %s in %s", f->n, f->victim,
             f->how, f->phase);
    new_folder();
    spawned s = mpirun(&o, argv);
    cr_expect_neq(s.status, 124, "%s: a process is stuck: %s", label, s.err);
    return s;
}

/* It has got over it: alone with the right logits, nothing kept, ended. */
static void expect_well(int rank, const spawned *s)
{
    diary_event clean = find_of(rank, "clean"), ended = find_of(rank, "ended");

    cr_expect(find_of(rank, "alone").when > 0 && clean.when > 0 &&
                  ended.when > 0,
              "%s: rank %d is not well: %s%s", label, rank, s->err, s->out);
    expect_in_time(rank, "ended", ended.when - clean.when, ENDED);
}

/* Its call failed with that status, so long after the fault or, if later,
 * after the call. */
static void expect_failed(int rank, const char *status, double since,
                          double limit)
{
    diary_event e = find_of(rank, "failed");

    cr_assert(e.when > 0, "%s: rank %d did not fail", label, rank);
    cr_expect_str_eq(e.status, status, "%s: rank %d: %s: %s", label, rank,
                     e.status, e.text);
    since =
        fmax(since, diary_find(folder, diary_of(rank), "call", e.when).when);
    expect_in_time(rank, e.text, e.when - since, limit);
    if (rank == 0)
        expect_in_time(rank, "freed", find_of(rank, "alone").when - e.when,
                       FREED);
}

/* ==== a process ends ===================================================== */

/* Rank 0 ends before there is anything to serve: so does serving. */
static bool begins_nothing(const char *phase)
{
    return strcmp(phase, "met") == 0 || strncmp(phase, "alloc", 5) == 0;
}

static void ends(int n, int victim, const char *how, const char *phase)
{
    bool unmet = strcmp(phase, "start") == 0;
    fault f = { n, victim, how, phase, unmet ? 500 : 5000 };
    spawned s = play(&f, NULL);
    diary_event struck = find_of(victim, "struck");

    cr_assert(struck.when > 0, "%s: nothing happened: %s", label, s.err);
    cr_expect(find_of(victim, "clean").when == 0, "%s: it lives", label);
    for (int r = 0; r < n; r++) {
        if (r == victim)
            continue;
        expect_failed(r,
                      unmet                                  ? "TLP_ETIMEDOUT"
                      : victim == 0 && begins_nothing(phase) ? "TLP_ECANCELED"
                                                             : "TLP_ECOMM",
                      struck.when, DETECTED);
        expect_well(r, &s);
        cr_expect_str_neq(find_of(r, "again").status, "TLP_OK", "%s", label);
    }
    remove_folder();
    spawn_free(&s);
}

Test(faults, a_worker_killed_before_it_works)
{
    MPIRUN_OR_SKIP();
    ends(2, 1, "kill", "start");
    ends(2, 1, "kill", "met");
    ends(2, 1, "kill", "alloc:1"); /* before the hello */
    ends(2, 1, "kill", "alloc:2"); /* it has come */
    ends(2, 1, "kill", "alloc:7");
    ends(2, 1, "kill", "load");
}

Test(faults, a_worker_killed_at_work)
{
    MPIRUN_OR_SKIP();
    ends(2, 1, "kill", "prefill");
    ends(2, 1, "kill", "decode");
    ends(2, 1, "kill", "idle");
}

Test(faults, a_worker_exits)
{
    MPIRUN_OR_SKIP();
    ends(2, 1, "exit", "start");
    ends(2, 1, "exit", "met");
    ends(2, 1, "exit", "alloc:2");
    ends(2, 1, "exit", "load");
    ends(2, 1, "exit", "prefill");
    ends(2, 1, "exit", "decode");
    ends(2, 1, "exit", "idle");
}

Test(faults, a_worker_aborts)
{
    MPIRUN_OR_SKIP();
    ends(2, 1, "abort", "start");
    ends(2, 1, "abort", "alloc:5");
    ends(2, 1, "abort", "prefill");
    ends(2, 1, "abort", "decode");
}

Test(faults, rank_0_ends)
{
    MPIRUN_OR_SKIP();
    ends(2, 0, "kill", "start");
    ends(2, 0, "kill", "met");
    ends(2, 0, "kill", "alloc:12");
    ends(2, 0, "kill", "load");
    ends(2, 0, "kill", "prefill");
    ends(2, 0, "kill", "decode");
    ends(2, 0, "kill", "idle");
    ends(2, 0, "abort", "decode");
    ends(2, 0, "exit", "prefill");
    ends(2, 0, "exit", "idle");
}

Test(faults, one_of_three_ends)
{
    MPIRUN_OR_SKIP();
    ends(3, 2, "kill", "start");
    ends(3, 2, "kill", "alloc:3");
    ends(3, 1, "abort", "load");
    ends(3, 2, "kill", "prefill");
    ends(3, 1, "kill", "decode");
    ends(3, 0, "kill", "decode");
    ends(3, 2, "exit", "decode");
    ends(3, 1, "kill", "idle");
}

/* ==== a process stops ==================================================== */

/* The results, which the processes compare, are as without it. */
static void pauses(int n, int victim, const char *phase)
{
    spawned s = play(&(fault){ n, victim, "pause", phase, 5000 }, NULL);
    diary_event struck = find_of(victim, "struck");

    for (int r = 0; r < n; r++) {
        expect_well(r, &s);
        cr_expect(find_of(r, "worked").when > struck.when + 0.9 &&
                      struck.when > 0,
                  "%s: rank %d: %s", label, r, s.err);
    }
    remove_folder();
    spawn_free(&s);
}

Test(faults, a_second_s_stop_does_no_harm)
{
    MPIRUN_OR_SKIP();
    pauses(2, 1, "prefill");
    pauses(2, 1, "decode");
    pauses(2, 0, "decode");
    pauses(3, 1, "decode");
}

/* It goes on when the others have given up; then all work together again. */
static void stops(int n, int victim, const char *phase, int timeout_ms)
{
    double timeout = timeout_ms ? timeout_ms * 1e-3 : 5;
    spawned s = play(&(fault){ n, victim, "stop", phase, timeout_ms }, NULL);
    double struck = find_of(victim, "struck").when;
    int n_late = 0;

    for (int r = 0; r < n; r++) {
        diary_event e = find_of(r, "failed");
        bool late = strcmp(e.status, "TLP_ETIMEDOUT") == 0;

        n_late += late && r != victim;
        expect_failed(r, late ? "TLP_ETIMEDOUT" : "TLP_ECOMM", struck,
                      timeout + 1);
        cr_expect(e.when - struck > timeout - 0.1, "%s: too soon", label);
        expect_well(r, &s);
        cr_expect_str_eq(find_of(r, "again").status, "TLP_OK", "%s: %d: %s",
                         label, r, find_of(r, "again").text);
    }
    cr_expect_geq(n_late, 1, "%s", label);
    remove_folder();
    spawn_free(&s);
}

Test(faults, a_worker_that_stops)
{
    MPIRUN_OR_SKIP();
    stops(2, 1, "alloc:2", 700);
    stops(2, 1, "load", 700);
    stops(2, 1, "prefill", 1000);
    stops(2, 1, "decode", 1000);
    stops(2, 1, "idle", 1000);
    stops(3, 2, "decode", 1000);
}

Test(faults, rank_0_stops)
{
    MPIRUN_OR_SKIP();
    stops(2, 0, "load", 700);
    stops(2, 0, "prefill", 1000);
    stops(3, 0, "decode", 1000);
}

Test(faults, five_seconds_unless_told)
{
    MPIRUN_OR_SKIP();
    stops(2, 1, "decode", 0);
}

/* ==== a process does not come ============================================ */

#define MORE(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void expect_alone(const fault *f, const char *const more[])
{
    spawned s = play(f, more);

    expect_failed(0, "TLP_ETIMEDOUT", 0, 1);
    expect_well(0, &s);
    remove_folder();
    spawn_free(&s);
}

Test(faults, a_process_that_never_starts_mpi)
{
    MPIRUN_OR_SKIP();
    expect_alone(&(fault){ 1, 1, "not", "start", 500 },
                 MORE(":", "-np", "1", "sleep", "3"));
}

Test(faults, a_process_with_mpi_of_its_own)
{
    MPIRUN_OR_SKIP();
    expect_alone(&(fault){ 2, 1, "mpi", "start", 500 }, NULL);
}

/* Until rank 0 has given up; then it serves the next session. */
Test(faults, a_worker_that_serves_late)
{
    MPIRUN_OR_SKIP();

    spawned s = play(&(fault){ 2, 1, "late", "met", 500 }, NULL);

    for (int r = 0; r < 2; r++) {
        expect_failed(r, "TLP_ETIMEDOUT", 0, 1);
        expect_well(r, &s);
        cr_expect_str_eq(find_of(r, "again").status, "TLP_OK");
    }
    remove_folder();
    spawn_free(&s);
}

/* ==== mpirun is interrupted ============================================== */

/* Two seconds are not much on a busy machine: one time of three will do. */
static void interrupted(int n, const char *phase)
{
    const char *argv[] = {
        "test/mpi/faults", model(), folder, "-1", "not", phase, "5000", NULL
    };
    mpirun_options o = { .n = n };
    int status = 124;
    char go[64];

    for (int i = 0; i < 3 && status == 124; i++) {
        new_folder();
        snprintf(go, sizeof go, "%s", path_of("go"));
        o.interrupt = go;
        spawned s = mpirun(&o, argv);
        status = s.status;
        cr_expect(access(go, F_OK) == 0 && status != 0, "%s: %s", phase, s.err);
        remove_folder();
        spawn_free(&s);
    }
    cr_expect_neq(status, 124, "%s: not ended in time", phase);
}

Test(faults, an_interrupt_ends_all)
{
    MPIRUN_OR_SKIP();
    interrupted(2, "prefill");
    interrupted(3, "decode");
}

/* ==== the link is cut ==================================================== */

static const char cut_script[] =
    "dir=$0 hosts=$1 faults=$2 model=$3\n"
    "both() { grep -q ^$1 $dir/rank.0 && grep -q ^$1 $dir/rank.1; }\n"
    "$hosts mpirun -np 2 --enable-recovery"
    " $faults $model $dir -1 cut $4 2000 &\n"
    "mpirun=$!\n"
    "i=0; until [ -e $dir/go ] || [ $((i += 1)) -gt 400 ]; do\n"
    "    sleep 0.05; done\n"
    "sleep 0.05; $faults mark $dir cut; $hosts cut\n"
    "i=0; until both ended || [ $((i += 1)) -gt 400 ]; do sleep 0.05; done\n"
    "sleep 0.5; for pid in $(sed -n '/^pid/s/.* //p' $dir/rank.*); do\n"
    "    kill -0 $pid 2>/dev/null && echo $pid >>$dir/left; done\n"
    "kill -9 $mpirun\n";

/* Seconds until a silent host counts as lost, by TCP's probes: who waits for
 * nothing in particular learns it so. */
#define LOST 6.0

#define CUT_TIMEOUT 2.0 /* the script's */

static void cut(const char *phase)
{
    char hosts[4096], program[4096];
    const char *build = spawn_build_dir();

    snprintf(hosts, sizeof hosts, "%s/test/hosts/hosts.sh", build);
    snprintf(program, sizeof program, "%s/test/mpi/faults", build);
    setenv("TLP_PLUGIN_PATH", build, 1);
    snprintf(label, sizeof label, "cut in %s", phase);
    new_folder();

    const char *argv[] = { "test/hosts/hosts.sh",
                           "with",
                           "--",
                           "sh",
                           "-c",
                           cut_script,
                           folder,
                           hosts,
                           program,
                           model(),
                           phase,
                           NULL };
    spawned s = spawn(&(spawn_options){ 0 }, argv);
    if (s.status == 77) {
        remove_folder();
        cr_skip_test("%s", s.err);
    }
    double at = diary_find(folder, "cut", "cut", INFINITY).when;
    cr_assert(at > 0, "%s: %s", label, s.err);
    for (int r = 0; r < 2; r++) {
        diary_event e = find_of(r, "failed");
        bool late = strcmp(e.status, "TLP_ETIMEDOUT") == 0;

        expect_failed(r, late ? "TLP_ETIMEDOUT" : "TLP_ECOMM", at,
                      late ? CUT_TIMEOUT + 1 : LOST);
        expect_in_time(r, "ended", find_of(r, "ended").when - at, LOST + 4);
        cr_expect(find_of(r, "clean").when > 0, "%s: %s%s", label, s.err,
                  s.out);
    }
    cr_expect_neq(access(path_of("left"), F_OK), 0, "%s: a process is stuck",
                  label);
    remove_folder();
    spawn_free(&s);
}

Test(faults, the_link_is_cut_in_prefill)
{
    MPIRUN_OR_SKIP();
    cut("prefill");
}

Test(faults, the_link_is_cut_in_decode)
{
    MPIRUN_OR_SKIP();
    cut("decode");
}

Test(faults, the_link_is_cut_when_nothing_is_done)
{
    MPIRUN_OR_SKIP();
    cut("idle");
}
