/*
 * test_mpi_engine.c - an engine over several processes: its texts, and its
 * requests when a process dies.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/mpirun.h"
#include "support/tiny.h"

TestSuite(mpi_engine, .timeout = 120);

static const char *model(void)
{
    tiny_spec spec = tiny_default();

    return tiny_make(&spec);
}

Test(mpi_engine, texts_equal_those_of_one_process)
{
    MPIRUN_OR_SKIP();
    for (int n = 2; n <= 3; n++) {
        spawned s = MPIRUN(n, "test/mpi/engine_process", model(), "text");

        cr_expect_eq(s.status, 0, "%d processes: %s%s", n, s.out, s.err);
        spawn_free(&s);
    }
}

Test(mpi_engine, a_process_that_dies_ends_every_request)
{
    MPIRUN_OR_SKIP();
    setenv("ENGINE_PROCESS_FILE", tiny_path("strike"), 1);
    const char *argv[] = { "test/mpi/engine_process", model(), "kill", NULL };
    spawned s = mpirun(&(mpirun_options){ .n = 2, .recovery = true }, argv);

    cr_expect(strstr(s.out, "survived"), "status %d: %s%s", s.status, s.out,
              s.err);
    spawn_free(&s);
}
