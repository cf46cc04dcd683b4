/*
 * test_mpi_transport.c - the MPI transport between real processes: each test
 * runs scenarios of test/mpi/transport_process.c.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "support/mpirun.h"

/* Runs to a good end; `said` stands n_said times in the output. */
static void expect_run(int n, bool recovery, const char *scenario,
                       const char *said, int n_said)
{
    mpirun_options o = { .n = n, .recovery = recovery };
    const char *argv[] = { "test/mpi/transport_process", scenario, NULL };
    spawned s = mpirun(&o, argv);
    int count = 0;

    cr_expect_eq(s.status, 0, "%s, %d processes: status %d: %s", scenario, n,
                 s.status, s.err);
    for (const char *p = s.out; said && (p = strstr(p, said)); p++)
        count++;
    cr_expect_eq(count, n_said, "%s, %d processes: %s", scenario, n, s.out);
    spawn_free(&s);
}

Test(mpi_transport, messages_both_ways)
{
    MPIRUN_OR_SKIP();
    expect_run(1, false, "messages", NULL, 0);
    expect_run(2, false, "messages", NULL, 0);
    expect_run(3, false, "messages", NULL, 0);
    expect_run(2, false, "unexpected", NULL, 0);
}

Test(mpi_transport, from_any_rank)
{
    MPIRUN_OR_SKIP();
    expect_run(3, false, "any-rank", NULL, 0);
}

Test(mpi_transport, bad_messages)
{
    MPIRUN_OR_SKIP();
    expect_run(2, false, "refused", NULL, 0);
}

Test(mpi_transport, retired_transfers)
{
    MPIRUN_OR_SKIP();
    expect_run(2, false, "retire", NULL, 0);
}

Test(mpi_transport, one_endpoint_and_its_channels)
{
    MPIRUN_OR_SKIP();
    expect_run(2, false, "channels", NULL, 0);
}

Test(mpi_transport, a_killed_process_is_noticed)
{
    MPIRUN_OR_SKIP();
    expect_run(2, true, "killed", "survived", 1);
    expect_run(3, true, "killed", "survived", 2);
}

Test(mpi_transport, a_leaving_process_waits_for_rank_0)
{
    MPIRUN_OR_SKIP();
    expect_run(2, false, "leaves", "done", 1);
}

Test(mpi_transport, a_dead_process_is_named_not_who_leaves)
{
    MPIRUN_OR_SKIP();
    expect_run(3, true, "blamed", "done", 1);
}

Test(mpi_transport, a_stopped_process_is_there)
{
    MPIRUN_OR_SKIP();
    expect_run(2, false, "stopped", NULL, 0);
}

Test(mpi_transport, busy_is_heard)
{
    MPIRUN_OR_SKIP();
    expect_run(2, false, "busy", NULL, 0);
}

/* mpirun complains that a process did not start MPI. */
Test(mpi_transport, a_process_that_never_comes)
{
    MPIRUN_OR_SKIP();

    spawned s = MPIRUN(2, "test/mpi/transport_process", "never");

    cr_expect_not_null(strstr(s.out, "not all 2 processes"), "%s%s", s.out,
                       s.err);
    spawn_free(&s);
}

Test(mpi_transport, a_process_that_comes_late)
{
    MPIRUN_OR_SKIP();
    expect_run(2, false, "late", "waited", 1);
    expect_run(2, false, "late-to-meet", "waited", 1);
}

Test(mpi_transport, the_programs_own_mpi)
{
    MPIRUN_OR_SKIP();
    expect_run(3, false, "own", NULL, 0);
    expect_run(2, false, "one-thread", NULL, 0);
}

/* Sockets between processes, and strangers who call them. */
Test(mpi_transport, watch)
{
    MPIRUN_OR_SKIP();

    spawned s = SPAWN("test/mpi/liveness_process");

    cr_expect_eq(s.status, 0, "status %d: %s", s.status, s.err);
    spawn_free(&s);
}
