/*
 * test_mpi_repeat.c - hundreds of sessions in one job, good and bad ones:
 * memory, files and threads stay as they are.
 */
#include <criterion/criterion.h>

#include "support/mpirun.h"
#include "support/tiny.h"

TestSuite(mpi_repeat, .timeout = 120);

static void repeat(int n, const char *good, const char *bad)
{
    tiny_spec spec = tiny_default();
    const char *argv[] = { "test/mpi/repeat", tiny_make(&spec), good, bad,
                           NULL };
    spawned s = mpirun(&(mpirun_options){ .n = n, .limit_s = 100 }, argv);

    cr_expect_eq(s.status, 0, "status %d: %s%s", s.status, s.out, s.err);
    cr_log_info("%s", s.out);
    spawn_free(&s);
}

Test(mpi_repeat, two_processes)
{
    MPIRUN_OR_SKIP();
    repeat(2, "200", "20");
}

Test(mpi_repeat, three_processes)
{
    MPIRUN_OR_SKIP();
    repeat(3, "30", "20");
}
