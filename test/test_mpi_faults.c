/*
 * test_mpi_faults.c - processes that die, stop or never come: the others notice
 * in time, clean up, go on alone, and end by themselves.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "support/fault.h"

TestSuite(faults, .timeout = 400);

#define DETECTED 2.0 /* seconds from a death to its notice */

/* ==== a process ends ===================================================== */

/* Rank 0 ends before there is anything to serve: so does serving. */
static bool begins_nothing(const char *phase)
{
    return strcmp(phase, "met") == 0 || strncmp(phase, "alloc", 5) == 0;
}

static void ends_once(const fault *f)
{
    bool unmet = strcmp(f->phase, "start") == 0;
    int n = f->n, victim = f->victim;
    spawned s = fault_play(f, NULL);
    log_event struck = fault_find(victim, "struck");

    cr_assert(struck.when > 0, "%s: nothing happened: %s", fault_label, s.err);
    cr_expect(fault_find(victim, "clean").when == 0, "%s: it lives",
              fault_label);
    for (int r = 0; r < n; r++) {
        if (r == victim)
            continue;
        fault_expect_failed(r,
                            unmet ? "TLP_ETIMEDOUT"
                            : victim == 0 && begins_nothing(f->phase)
                                ? "TLP_ECLOSED"
                                : "TLP_ECOMM",
                            struck.when, DETECTED);
        fault_expect_well(r, &s);
        cr_expect_str_neq(fault_find(r, "again").status, "TLP_OK", "%s",
                          fault_label);
    }
    fault_clean();
    spawn_free(&s);
}

static void ends(int n, int victim, const char *how, const char *phase)
{
    int timeout_ms = strcmp(phase, "start") == 0 ? 500 : 5000;

    fault_try(ends_once, &(fault){ n, victim, how, phase, timeout_ms });
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
static void pauses_once(const fault *f)
{
    spawned s = fault_play(f, NULL);
    log_event struck = fault_find(f->victim, "struck");

    for (int r = 0; r < f->n; r++) {
        fault_expect_well(r, &s);
        cr_expect(fault_find(r, "worked").when > struck.when + 0.9 &&
                      struck.when > 0,
                  "%s: rank %d: %s", fault_label, r, s.err);
    }
    fault_clean();
    spawn_free(&s);
}

static void pauses(int n, int victim, const char *phase)
{
    fault_try(pauses_once, &(fault){ n, victim, "pause", phase, 5000 });
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
static void stops_once(const fault *f)
{
    double timeout = f->timeout_ms ? f->timeout_ms * 1e-3 : 5;
    spawned s = fault_play(f, NULL);
    double struck = fault_find(f->victim, "struck").when;
    int n_waited = 0;

    for (int r = 0; r < f->n; r++) {
        log_event e = fault_find(r, "failed");
        bool waited = strcmp(e.status, "TLP_ETIMEDOUT") == 0;

        n_waited += waited && r != f->victim;
        fault_expect_failed(r, waited ? "TLP_ETIMEDOUT" : "TLP_ECOMM", struck,
                            timeout + 1);
        cr_expect(e.when - struck > timeout - 0.1, "%s: too soon", fault_label);
        fault_expect_well(r, &s);
        cr_expect_str_eq(fault_find(r, "again").status, "TLP_OK", "%s: %d: %s",
                         fault_label, r, fault_find(r, "again").text);
    }
    cr_expect_geq(n_waited, 1, "%s", fault_label);
    fault_clean();
    spawn_free(&s);
}

static void stops(int n, int victim, const char *phase, int timeout_ms)
{
    fault_try(stops_once, &(fault){ n, victim, "stop", phase, timeout_ms });
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

/* `missing`: a part of the error text, which says where ranks are missing. */
static void waits_for(const fault *f, const char *const more[],
                      const char *missing)
{
    spawned s = fault_play(f, more);

    fault_expect_failed(0, "TLP_ETIMEDOUT", 0, 1);
    cr_expect_not_null(strstr(fault_find(0, "failed").text, missing), "%s",
                       fault_find(0, "failed").text);
    fault_expect_well(0, &s);
    fault_clean();
    spawn_free(&s);
}

static void waits_for_a_stranger(const fault *f)
{
    waits_for(f, (const char *const[]){ ":", "-np", "1", "sleep", "3", NULL },
              "MPI has not started: not all 2 processes");
}

static void waits_for_rank_1(const fault *f)
{
    waits_for(f, NULL, "not all 2 processes of the communicator have come");
}

Test(faults, a_process_that_never_starts_mpi)
{
    MPIRUN_OR_SKIP();
    fault_try(waits_for_a_stranger, &(fault){ 1, 1, "not", "start", 500 });
}

Test(faults, a_process_with_mpi_of_its_own)
{
    MPIRUN_OR_SKIP();
    fault_try(waits_for_rank_1, &(fault){ 2, 1, "mpi", "start", 500 });
}

static void serves_late(const fault *f)
{
    spawned s = fault_play(f, NULL);

    for (int r = 0; r < 2; r++) {
        fault_expect_failed(r, "TLP_ETIMEDOUT", 0, 1);
        fault_expect_well(r, &s);
        cr_expect_str_eq(fault_find(r, "again").status, "TLP_OK");
    }
    fault_clean();
    spawn_free(&s);
}

/* Until rank 0 has given up; then it serves the next session. */
Test(faults, a_worker_that_serves_late)
{
    MPIRUN_OR_SKIP();
    fault_try(serves_late, &(fault){ 2, 1, "late", "met", 500 });
}
