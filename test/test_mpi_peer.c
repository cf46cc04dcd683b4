/*
 * test_mpi_peer.c - the operations between processes: test/mpi/peer.c run by
 * mpirun, more processes than cores among them.
 */
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/mpirun.h"

TestSuite(mpi_peer, .timeout = 300);

/* All of n processes, but for those that are killed on the way, are fine. */
static void run_ranks(const char *scenario, int n, int n_killed)
{
    mpirun_options o = { .n = n, .recovery = n_killed > 0 };
    spawned s =
        mpirun(&o, (const char *const[]){ "test/mpi/peer", scenario, NULL });
    int fine = 0;

    for (const char *at = s.out; (at = strstr(at, ": fine\n")); at++)
        fine++;
    cr_assert(fine == n - n_killed && (n_killed > 0 || s.status == 0),
              "%s: %d of %d processes fine, status %d\n%s%s", scenario, fine, n,
              s.status, s.out, s.err);
    spawn_free(&s);
}

#define SCENARIO(name, most, killed)                                           \
    Test(mpi_peer, name)                                                       \
    {                                                                          \
        MPIRUN_OR_SKIP();                                                      \
        for (int n = 2; n <= (most); n++)                                      \
            run_ranks(#name, n, killed);                                       \
    }

SCENARIO(sums, 4, 0)
SCENARIO(wires, 4, 0)
SCENARIO(groups, 4, 0)
SCENARIO(send_next, 3, 0)
SCENARIO(gather, 4, 0)
SCENARIO(bcast, 3, 0)
SCENARIO(idle, 2, 0)
SCENARIO(single, 3, 0)
SCENARIO(mismatch, 3, 0)
SCENARIO(abort_all, 3, 0)
SCENARIO(abort_self, 3, 0)
SCENARIO(late, 3, 0)
SCENARIO(stopped, 3, 0)
SCENARIO(stopped_waiting, 2, 0)
SCENARIO(killed, 3, 1)
SCENARIO(killed_idle, 3, 1)
SCENARIO(patient, 3, 0)
