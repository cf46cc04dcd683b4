/*
 * test_rank_end.c - a rank on a device, for which a CPU with a communicator of
 * its own stands: in which order it ends, and what its steps are known by.
 */
#include <string.h>

#include "tune/plan_runner.h"
#include "session/session.h"
#include "support/check.h"
#include "support/tiny.h"

TestSuite(rank_end, .timeout = 60);

/* ==== a device that tells ================================================ */

static char events[4096]; /* "abort free buffer backend" */
static int buffers_left;  /* until there is no memory; negative: for ever */
static tlpi_want wanted;  /* of the last step */

static const tlpi_backend_ops *cpu;
static tlpi_backend_ops ops;

static void tell(const char *event)
{
    size_t n = strlen(event), len = strlen(events);

    /* Several of one kind are told once. */
    if (len >= n + 1 && strncmp(events + len - n - 1, event, n) == 0)
        return;
    strncat(events, event, sizeof events - len - 2);
    strncat(events, " ", 2);
}

static tlp_status buffer_create(tlpi_backend *b, float **out, size_t n)
{
    if (buffers_left == 0)
        return tlpi_fail(TLP_ENOMEM, "no room for a buffer");
    buffers_left--;
    return cpu->buffer_create(b, out, n);
}

static void buffer_free(tlpi_backend *b, float *x)
{
    tell("buffer");
    cpu->buffer_free(b, x);
}

static bool begin_step(tlpi_backend *b, const tlpi_step *s,
                       const tlpi_want *want)
{
    if (want)
        wanted = *want;
    return cpu->begin_step(b, s, want);
}

static void backend_free(tlpi_backend *b)
{
    tell("backend");
    cpu->free(b);
}

static tlp_status backend_create(tlpi_backend **out, const tlpi_env *env,
                                 const tlpi_backend_options *opts, int device)
{
    tlp_status st = tlpi_backend_cpu_create(out, env, opts);

    (void)device;
    if (st != TLP_OK)
        return st;
    cpu = (*out)->ops;
    ops = *cpu;
    ops.buffer_create = buffer_create;
    ops.buffer_free = buffer_free;
    ops.begin_step = begin_step;
    ops.free = backend_free;
    (*out)->ops = &ops;
    return TLP_OK;
}

static tlp_status allreduce(tlpi_comm *c, float *x, size_t n, uint32_t *vote)
{
    (void)c, (void)x, (void)n;
    if (vote)
        *vote = 0;
    return TLP_OK;
}

static tlpi_backend *under; /* the communicator's */

static tlp_status allreduce_add_norm(tlpi_comm *c, int n_tok, int cols,
                                     float *x, float *delta,
                                     const tlpi_norm *norm, int n_norm,
                                     float eps)
{
    (void)c;
    under->ops->add_norm(under, n_tok, cols, x, delta, x, norm, n_norm, eps);
    return TLP_OK;
}

static tlp_status exchange_buffer(tlpi_comm *c, float **out, size_t n)
{
    (void)c;
    return under->ops->buffer_create(under, out, n);
}

static void comm_abort(tlpi_comm *c)
{
    (void)c;
    tell("abort");
}

static void comm_free(tlpi_comm *c)
{
    (void)c;
    tell("free");
    (void)tlpi_fail(TLP_ECOMM, "said at the end");
}

static tlp_status comm_create(tlpi_comm **out, tlpi_comm *host, tlpi_backend *b,
                              int timeout_ms)
{
    static const tlpi_comm_ops comm_ops = { .allreduce = allreduce,
                                            .abort = comm_abort,
                                            .free = comm_free };
    static tlpi_comm comm;

    (void)timeout_ms;
    under = b;
    comm = (tlpi_comm){ .ops = &comm_ops, .env = host->env, .size = 1 };
    *out = &comm;
    return TLP_OK;
}

static uint64_t weight_size(tlpi_dtype type, int64_t rows, int64_t cols)
{
    (void)type;
    return (uint64_t)(rows * cols) * sizeof(float);
}

static uint64_t free_bytes; /* of the device */

static tlp_status info(int device, tlpi_device_info *out)
{
    (void)device;
    *out = (tlpi_device_info){ .free = free_bytes, .total = UINT64_MAX };
    return TLP_OK;
}

static const tlpi_device_ops device = { .abi = TLPI_DEVICE_ABI,
                                        .name = "telling",
                                        .info = info,
                                        .backend_create = backend_create,
                                        .weight_size = weight_size,
                                        .comm_create = comm_create,
                                        .allreduce_add_norm =
                                            allreduce_add_norm,
                                        .exchange_buffer = exchange_buffer };

/* ==== a rank on it ======================================================= */

typedef struct fixture {
    tlp_model *model;
    tlp_plan *plan;
    tlpi_session_config cfg;
} fixture;

static fixture open_fixture(void)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tiny_spec spec = tiny_default();
    fixture f = { .model = NULL };

    o.n_ctx = 16;
    o.n_thread = 1;
    CHECK_OK(tlp_model_open(&f.model, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&f.plan, f.model, "lp:1-2"));
    CHECK_OK(tlpi_runner_config(&f.cfg, f.model, &o));
    f.cfg.device = &device;
    f.cfg.device_of[0] = 0;
    events[0] = '\0';
    buffers_left = -1;
    free_bytes = UINT64_MAX;
    return f;
}

static void close_fixture(fixture *f)
{
    tlp_plan_free(f->plan);
    tlp_model_free(f->model);
}

Test(rank_end, exchanges_end_before_memory_goes)
{
    fixture f = open_fixture();
    tlpi_runner run;

    CHECK_OK(tlpi_runner_create(&run, f.plan, &f.cfg));
    events[0] = '\0';
    tlpi_runner_free(&run);
    cr_assert_str_eq(events, "free buffer backend ", "%s", events);
    close_fixture(&f);
}

Test(rank_end, a_rank_that_fails_aborts_its_exchanges)
{
    fixture f = open_fixture();
    tlpi_runner run;

    buffers_left = 3;
    CHECK_FAILS(TLP_ENOMEM, tlpi_runner_create(&run, f.plan, &f.cfg));
    cr_assert_str_eq(tlp_last_error(), "no room for a buffer", "%s",
                     tlp_last_error());
    cr_assert_str_eq(events, "abort free buffer backend ", "%s", events);
    close_fixture(&f);
}

/* The rank ends before it has a store. */
Test(rank_end, a_device_is_too_small)
{
    fixture f = open_fixture();
    tlpi_runner run;

    free_bytes = 1000;
    CHECK_FAILS(TLP_ENOMEM, tlpi_runner_create(&run, f.plan, &f.cfg));
    cr_assert_str_eq(events, "abort free backend ", "%s", events);
    close_fixture(&f);
}

/* ==== what a step is known by ============================================ */

static void decode(tlpi_rank *r, int at)
{
    tlpi_command cmd = {
        .op = TLPI_OP_STEP, .n_tok = 1, .n_row = 1, .row = at
    };

    memset(r->scratch.step.id, 0,
           5 * (size_t)r->cfg->n_batch * sizeof *r->scratch.step.id);
    CHECK_OK(tlpi_command_run(r, &cmd, NULL));
    cr_assert_eq(wanted.n_row, 1);
    cr_assert_eq(wanted.at, at);
}

/* Nothing of it is an address; more room for logits makes it another step. */
Test(rank_end, steps_are_known_by_what_all_ranks_know)
{
    fixture f = open_fixture();
    tlpi_runner run;

    CHECK_OK(tlpi_runner_create(&run, f.plan, &f.cfg));
    decode(run.rank, 0);
    uint32_t version = wanted.version;
    decode(run.rank, TLPI_LOGIT_CHUNK - 1);
    cr_assert_eq(wanted.version, version);
    tlpi_command more = { .op = TLPI_OP_RESERVE,
                          .n_row = TLPI_LOGIT_CHUNK + 3 };
    CHECK_OK(tlpi_command_run(run.rank, &more, NULL));
    decode(run.rank, TLPI_LOGIT_CHUNK + 2);
    cr_assert_neq(wanted.version, version);
    tlpi_runner_free(&run);
    close_fixture(&f);
}
