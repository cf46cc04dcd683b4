/*
 * cmd_worker.c - tlp worker: a rank other than 0 that gets plan and options
 * from rank 0, which may run any command or program.
 */
#include "commands.h"
#include "engine.h"

int cmd_worker(int argc, char **argv)
{
    engine e = ENGINE_INIT;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(e),
        ENGINE_TRUST_OPTION(e),
        { CLI_TEXT, 0, "device", &e.device, "cuda[:N,...]",
          "GPUs of this process (as rank 0's --device)", 0, 0 },
        ENGINE_PROCESS_OPTIONS(e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    e.where = ENGINE_MPI;
    e.keep_serving = true;
    rc = engine_start(&e, 0);
    if (rc == CLI_OK)
        rc = cli_fail("a worker cannot be rank 0 of %d: start rank 0's command "
                      "first (mpirun tlp run ... : tlp worker ...)",
                      e.n_rank);
    engine_close(&e);
    return rc;
}
