/*
 * test_tool_serve_mpi.c - tlp serve with ranks in several processes: equal
 * texts, one signal ends all, and a rank that dies is reported.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/mpirun.h"
#include "support/processes.h"
#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve_mpi, .timeout = 180);

#define ASK                                                                    \
    "{\"prompt\":\"the world\",\"max_tokens\":12,\"temperature\":0,"           \
    "\"ignore_eos\":true}"

static web_server start(const char *model)
{
    static const char *const first[] = {
        "mpirun", "--oversubscribe",   "--bind-to", "none", "-np",
        "2",      "--enable-recovery", NULL
    };

    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    return web_start_under(first, model,
                           (const char *const[]){ "-c", "256", NULL });
}

/* All of a job is gone in time. */
static void expect_gone(web_server *s, const char *model, double seconds)
{
    bool gone = processes_wait(model, 0, seconds);

    cr_expect(gone, "%d processes are left", processes_kill(model));
    web_end(s, 0, 5);
}

static char *text_of(const web_server *s)
{
    json_t *o = web_object(s, "/v1/completions", ASK);
    char *text = strdup(web_text(o, "choices.0.text"));

    json_decref(o);
    return text;
}

Test(tool_serve_mpi, texts_and_the_end)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    web_server two = WEB_START(m, "--ranks", "2", "-c", "256");
    char *threads = text_of(&two);

    web_end(&two, SIGTERM, 20);
    web_server s = start(m);
    char *processes = text_of(&s);

    cr_expect_str_eq(processes, threads);
    cr_expect_eq(web_metric(&s, "tlp:ranks"), 2);
    cr_expect_gt(web_metric(&s, "tlp:allreduces_total"), 0);
    free(threads);
    free(processes);
    kill(s.pid, SIGTERM); /* mpirun, which passes it on */
    expect_gone(&s, m, 10);
}

/* Rank 0 gets the signal, drains, and the workers end with it. */
Test(tool_serve_mpi, a_signal_to_rank_0)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    web_server s = start(m);
    pid_t rank0 = processes_rank(m, 0);

    cr_assert_gt(rank0, 0);
    kill(rank0, SIGTERM);
    expect_gone(&s, m, 10);
}

Test(tool_serve_mpi, a_rank_that_dies_while_the_server_is_idle)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    web_server s = start(m);
    web_answer a = web_get(&s, "/health");
    pid_t rank1 = processes_rank(m, 1);

    cr_expect_eq(a.status, 200);
    web_free(&a);
    cr_assert_gt(rank1, 0);
    kill(rank1, SIGKILL);
    for (int i = 0; i < 300; i++) {
        a = web_get(&s, "/health");
        if (a.status != 200)
            break;
        web_free(&a);
        nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
    }
    web_expect_error(&a, 503, "rank 1");
    web_free(&a);
    a = web_post(&s, "/v1/completions", ASK);
    web_expect_error(&a, 503, "rank 1");
    web_free(&a);
    kill(processes_rank(m, 0), SIGTERM);
    expect_gone(&s, m, 10);
}
