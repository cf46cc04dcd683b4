/*
 * eval_session.c - the sessions of tlp eval: the plan's session on the ranks
 * of the options, and the reference's session beside it.
 */
#include "eval.h"

static void stop_sessions(void *arg)
{
    const eval *v = arg;

    tlp_session_abort(v->e.session);
    if (v->reference)
        tlp_session_abort(v->reference);
}

int eval_open_other(eval *v)
{
    engine *e = &v->other;

    *e = v->e;
    e->model_path = v->against_model;
    e->model = NULL;
    e->adapter = NULL;

    int rc = engine_open_model(e, false);

    return rc == CLI_OK ? engine_check_vocab(&v->e, e) : rc;
}

/* Use the arithmetic of the plan's session. */
static int open_reference(eval *v, int64_t n_ctx)
{
    engine e = v->against_model ? v->other : v->e;
    int rc = engine_parse_plan(&e, v->against, &v->reference_plan);

    e.comm = TLP_COMM_THREADS;
    e.wire = TLP_WIRE_F32;
    e.n_rank = 1;
    return rc == CLI_OK ? engine_create_session(&e, v->reference_plan, n_ctx,
                                                &v->reference)
                        : rc;
}

int eval_open_sessions(eval *v, int64_t n_ctx)
{
    int rc = engine_open_session(&v->e, n_ctx);

    if (rc == CLI_OK && v->against)
        rc = open_reference(v, n_ctx);
    if (rc == CLI_OK)
        cli_on_interrupt(stop_sessions, v);
    return rc;
}

void eval_close(eval *v)
{
    engine_watch(NULL);
    tlp_session_free(v->reference);
    tlp_plan_free(v->reference_plan);
    if (v->against_model)
        engine_close(&v->other);
    corpus_free(&v->text);
    engine_close(&v->e);
}
