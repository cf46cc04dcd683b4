/*
 * test_mpi_save.c - sequences of sessions over processes, saved and loaded.
 * The processes run test/mpi/save_process.c.
 */
#include <criterion/criterion.h>

#include "support/mpirun.h"
#include "support/tiny.h"

TestSuite(mpi_save, .timeout = 120);

static void play(int n, const char *arch, int window, const char *plan)
{
    tiny_spec spec = tiny_default();

    spec.arch = arch;
    spec.window = window;
    const char *argv[] = { "test/mpi/save_process", tiny_make(&spec), plan,
                           NULL };
    spawned s = mpirun(&(mpirun_options){ .n = n, .limit_s = 100 }, argv);

    cr_expect_eq(s.status, 0, "status %d: %s%s", s.status, s.out, s.err);
    spawn_free(&s);
}

Test(mpi_save, two_processes)
{
    MPIRUN_OR_SKIP();
    play(2, "llama", 0, "par:1-2");
}

Test(mpi_save, windows)
{
    MPIRUN_OR_SKIP();
    play(2, "gemma3", 40, "serial");
}

Test(mpi_save, three_processes)
{
    MPIRUN_OR_SKIP();
    play(3, "llama", 0, "serial");
}
