/*
 * test_mpi_hostile.c - a peer that sends anything at all: test/mpi/hostile.c
 * in two processes, over shared memory and over TCP.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "support/mpirun.h"
#include "support/tiny.h"

TestSuite(mpi_hostile, .timeout = 120);

static void attack(const char *const more[])
{
    tiny_spec spec = tiny_default();
    const char *argv[] = { "test/mpi/hostile", tiny_make(&spec), NULL };
    mpirun_options o = { .n = 2, .limit_s = 100, .more = more };
    spawned s = mpirun(&o, argv);

    cr_expect_eq(s.status, 0, "status %d: %s", s.status, s.err);
    cr_expect_not_null(strstr(s.out, "rank 0: 33 attacks"), "%s", s.out);
    cr_expect_not_null(strstr(s.out, "rank 1: 143 attacks"), "%s", s.out);
    spawn_free(&s);
}

Test(mpi_hostile, in_shared_memory)
{
    MPIRUN_OR_SKIP();
    attack(NULL);
}

Test(mpi_hostile, over_tcp)
{
    MPIRUN_OR_SKIP();
    attack((const char *const[]){ "--mca", "btl", "tcp,self", NULL });
}
