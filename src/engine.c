/*
 * engine.c - from command-line options to a model, a plan and a session.
 */
#include "engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int engine_fail(tlp_status status)
{
    if (status == TLP_ECANCELED && cli_interrupted())
        return CLI_INTERRUPTED;
    return cli_fail("%s", tlp_last_error());
}

char *engine_get_meta(const engine *e, const char *key, size_t *n)
{
    char *text = NULL;
    tlp_status st = tlp_model_get_meta(NULL, 0, n, e->model, key);

    if (st == TLP_EBUFS && (text = malloc(*n + 1)) != NULL)
        st = tlp_model_get_meta(text, *n + 1, n, e->model, key);
    if (st == TLP_OK)
        return text;
    free(text);
    return NULL;
}

static void abort_session(void *session)
{
    tlp_session_abort(session);
}

void engine_watch(tlp_session *session)
{
    cli_on_interrupt(session ? abort_session : NULL, session);
}

static int check_paths(const engine *e)
{
    if (!e->lora_path && e->lora_scale != 1)
        return cli_usage("--lora-scale is for --lora");
    return e->model_path ? CLI_OK : cli_usage("no model: -m FILE is required");
}

/* tlp_log_fn.  The library reports errors as a status too. */
static void show_warning(int level, const char *text, void *user_data)
{
    (void)user_data;
    if (level == TLP_LOG_WARN)
        cli_warn("%s", text);
}

int engine_open_model(engine *e, bool vocab_only)
{
    cli_progress bar;
    tlp_model_options opts = TLP_MODEL_OPTIONS_INIT;
    int rc = check_paths(e);

    if (rc != CLI_OK)
        return rc;
    opts.no_mmap = e->no_mmap;
    opts.trust_sample = e->trust_sample;
    opts.vocab_only = vocab_only;
    opts.progress = cli_progress_step;
    opts.progress_data = &bar;
    opts.log = show_warning;
    cli_progress_start(&bar, "opening");

    tlp_status st = tlp_model_open(&e->model, e->model_path, &opts);

    cli_progress_end(&bar);
    if (st != TLP_OK)
        return engine_fail(st);
    e->info.struct_size = sizeof e->info;
    st = tlp_model_get_info(&e->info, e->model);
    if (st == TLP_OK && e->lora_path)
        st = tlp_adapter_open(&e->adapter, e->model, e->lora_path);
    return st != TLP_OK ? engine_fail(st) : CLI_OK;
}

/* Whether text names a plan file.  A plan's text is never the path of an
 * existing file and never ends in ".json"; "serial" is a plan even if a file
 * has this name. */
static bool is_plan_file(const char *text)
{
    struct stat st;
    size_t n = strlen(text);

    if (!strcmp(text, "serial"))
        return false;
    return (n > 5 && !strcmp(text + n - 5, ".json")) ||
           (stat(text, &st) == 0 && S_ISREG(st.st_mode));
}

int engine_parse_plan(const engine *e, const char *text, tlp_plan **plan)
{
    if (!text)
        text = "serial";

    tlp_status st = is_plan_file(text) ? tlp_plan_load(plan, e->model, text)
                                       : tlp_plan_parse(plan, e->model, text);

    return st != TLP_OK ? engine_fail(st) : CLI_OK;
}

/* ==== ranks ============================================================== */

/* Parse "cpu", "cuda" or "cuda:0,1". */
static int read_device(engine *e)
{
    const char *text = e->device, *at = text;

    e->backend = TLP_BACKEND_CPU;
    e->n_device = 0;
    if (!text || !strcmp(text, "cpu"))
        return CLI_OK;
    e->backend = TLP_BACKEND_CUDA;
    if (!strcmp(text, "cuda"))
        return CLI_OK;
    if (strncmp(text, "cuda:", 5))
        return cli_usage("--device %s: cpu, cuda or cuda:0,1 expected", text);
    for (at += 4; *at;) {
        char *end = NULL;
        const char *digits = ++at;
        unsigned long n = strtoul(digits, &end, 10);

        at = end;
        if (*digits < '0' || *digits > '9' || n >= ENGINE_MAX_DEVICE ||
            (*at && *at != ','))
            return cli_usage("--device %s: numbers from 0 to %d expected, with "
                             "commas between",
                             text, ENGINE_MAX_DEVICE - 1);
        if (e->n_device == ENGINE_MAX_DEVICE)
            return cli_usage("--device: at most %d numbers", ENGINE_MAX_DEVICE);
        e->devices[e->n_device++] = (int32_t)n;
    }
    return CLI_OK;
}

tlp_session_options engine_session_options(const engine *e, int n_ctx)
{
    tlp_session_options opts = TLP_SESSION_OPTIONS_INIT;

    opts.n_ctx = n_ctx;
    opts.n_rank = e->n_rank;
    opts.n_thread = e->n_thread;
    opts.n_thread_prefill = e->n_thread_batch;
    opts.spin_us = e->spin_us;
    opts.backend = e->backend;
    opts.devices = e->devices;
    opts.n_device = e->n_device;
    opts.comm = e->comm;
    opts.compute = e->compute;
    opts.kv_type = e->kv;
    opts.isa = e->isa;
    opts.pin = e->pin;
    opts.timeout_ms = (int32_t)lround(1000.0 * (double)e->timeout);
    opts.wire = e->wire;
    opts.link_delay_us = e->link_delay_us;
    if (e->adapter && e->lora_scale != 0) { /* 0: it adds nothing */
        opts.adapter = e->adapter;
        opts.adapter_scale = (double)e->lora_scale;
    }
    return opts;
}

/* A number from the environment; 0 if it is not set. */
static long env_number(const char *name)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : 0;
}

/* Whether this process was started as one of several: by Open MPI's mpirun, by
 * MPICH or its derivatives, or by Slurm's srun --mpi=pmix. */
static bool has_company(void)
{
    return env_number("OMPI_COMM_WORLD_SIZE") > 1 ||
           env_number("PMI_SIZE") > 1 ||
           (getenv("PMIX_RANK") && env_number("SLURM_STEP_NUM_TASKS") > 1);
}

/* Find this process's rank and the number of ranks. */
static int find_rank(engine *e, int32_t *rank)
{
    bool mpi = e->where == ENGINE_AUTO ? has_company() : e->where == ENGINE_MPI;
    int32_t n_rank = 0;

    e->comm = mpi ? TLP_COMM_MPI : TLP_COMM_THREADS;

    tlp_session_options opts = engine_session_options(e, 0);
    tlp_status st = tlp_comm_rank(rank, &n_rank, &opts);

    if (st != TLP_OK)
        return engine_fail(st);
    cli_set_rank(*rank);
    if (*rank > 0)
        cli_release_interrupt();
    e->n_rank = n_rank;
    return CLI_OK;
}

static bool is_peer_failure(tlp_status st)
{
    return st == TLP_ECOMM || st == TLP_ETIMEDOUT || st == TLP_EMISMATCH;
}

static int serve(engine *e, int n_ctx)
{
    tlp_session_options opts = engine_session_options(e, n_ctx);
    int rc =
        e->plan_text ? engine_parse_plan(e, e->plan_text, &e->plan) : CLI_OK;

    while (rc == CLI_OK) {
        tlp_status st = tlp_worker_run(e->model, e->plan, &opts);

        if (st == TLP_ECLOSED)
            return CLI_SERVED;
        if (st != TLP_OK)
            rc = engine_fail(st);
        if (e->keep_serving && is_peer_failure(st))
            rc = CLI_OK;
    }
    return rc;
}

int engine_start(engine *e, int n_ctx)
{
    int32_t rank = 0;
    int rc = check_paths(e);

    if (rc == CLI_OK)
        rc = read_device(e);
    if (rc == CLI_OK)
        rc = find_rank(e, &rank);
    if (rc == CLI_OK)
        rc = engine_open_model(e, false);
    return rc == CLI_OK && rank > 0 ? serve(e, n_ctx) : rc;
}

/* ==== a session ========================================================== */

/* Say once that a session has more positions than the model knows. */
static void warn_of_context(engine *e, int64_t n_ctx)
{
    if (e->warned || e->info.n_ctx_train <= 0 || n_ctx <= e->info.n_ctx_train)
        return;
    e->warned = true;
    cli_warn(
        "%lld positions, but the model was trained with %d: results beyond "
        "these may be of no use",
        (long long)n_ctx, e->info.n_ctx_train);
}

/* Session options that show the progress of loading. */
static int begin_loading(const engine *e, int64_t n_ctx, cli_progress *bar,
                         tlp_session_options *opts)
{
    if (n_ctx > INT32_MAX)
        return cli_fail("%lld tokens are more than a context can hold",
                        (long long)n_ctx);
    *opts = engine_session_options(e, (int)n_ctx);
    opts->progress = cli_progress_step;
    opts->progress_data = bar;
    cli_progress_start(bar, "loading");
    return CLI_OK;
}

static int end_loading(engine *e, int64_t n_ctx, cli_progress *bar,
                       tlp_status st)
{
    cli_progress_end(bar);
    if (st != TLP_OK)
        return engine_fail(st);
    warn_of_context(e, n_ctx);
    return CLI_OK;
}

int engine_create_session(engine *e, tlp_plan *plan, int64_t n_ctx,
                          tlp_session **session)
{
    cli_progress bar;
    tlp_session_options opts;
    int rc = begin_loading(e, n_ctx, &bar, &opts);

    return rc == CLI_OK ? end_loading(e, n_ctx, &bar,
                                      tlp_session_create(session, plan, &opts))
                        : rc;
}

int engine_create_requests(engine *e, tlp_plan *plan, int64_t n_ctx, int n_seq,
                           const tlp_engine_options *opts, tlp_engine **out)
{
    cli_progress bar;
    tlp_session_options session;
    tlp_engine_options o = *opts;
    int rc = begin_loading(e, n_ctx, &bar, &session);

    if (rc != CLI_OK)
        return rc;
    session.n_seq = n_seq;
    o.session = &session;
    return end_loading(e, n_ctx, &bar, tlp_engine_create(out, plan, &o));
}

int engine_open_session(engine *e, int64_t n_ctx)
{
    int rc = engine_parse_plan(e, e->plan_text, &e->plan);

    if (rc == CLI_OK)
        rc = engine_create_session(e, e->plan, n_ctx, &e->session);
    if (rc == CLI_OK)
        engine_watch(e->session);
    return rc;
}

void engine_close(engine *e)
{
    engine_watch(NULL);
    tlp_session_free(e->session);
    tlp_plan_free(e->plan);
    tlp_adapter_free(e->adapter);
    tlp_model_free(e->model);
    e->session = NULL;
    e->plan = NULL;
    e->adapter = NULL;
    e->model = NULL;
}

int engine_tokenize(const engine *e, const char *text, size_t n, uint32_t flags,
                    int32_t **ids, size_t *n_ids)
{
    /* usually enough; else the next turn uses the needed size */
    size_t cap = n / 2 + 16;
    tlp_status st = TLP_EBUFS;

    *ids = NULL;
    *n_ids = 0;
    for (int round = 0; round < 2 && st == TLP_EBUFS; round++) {
        free(*ids);
        *ids = malloc(cap * sizeof **ids);
        if (!*ids)
            return cli_fail("out of memory");
        st = tlp_tokenize(*ids, cap, n_ids, e->model, text, n, flags);
        cap = *n_ids;
    }
    if (st == TLP_OK)
        return CLI_OK;
    free(*ids);
    *ids = NULL;
    return engine_fail(st);
}

int engine_detokenize(const engine *e, const int32_t *ids, size_t n,
                      uint32_t flags, char **text, size_t *len)
{
    tlp_status st = tlp_detokenize(NULL, 0, len, e->model, ids, n, flags);

    *text = NULL;
    if (st == TLP_OK || st == TLP_EBUFS) {
        *text = malloc(*len + 1);
        if (!*text)
            return cli_fail("out of memory");
        st = tlp_detokenize(*text, *len + 1, len, e->model, ids, n, flags);
    }
    if (st == TLP_OK)
        return CLI_OK;
    free(*text);
    *text = NULL;
    return engine_fail(st);
}

static int token_text(const engine *e, int32_t id, char **text, size_t *len)
{
    return engine_detokenize(e, &id, 1, TLP_DETOKENIZE_SPECIAL, text, len);
}

int engine_check_vocab(const engine *a, const engine *b)
{
    if (a->info.n_vocab != b->info.n_vocab)
        return cli_fail("%s has %d tokens and %s %d, one vocabulary expected",
                        a->model_path, a->info.n_vocab, b->model_path,
                        b->info.n_vocab);
    for (int32_t id = 0; id < a->info.n_vocab; id++) {
        size_t n_a = 0, n_b = 0;
        char *of_a = NULL, *of_b = NULL;
        int rc = token_text(a, id, &of_a, &n_a);

        if (rc == CLI_OK)
            rc = token_text(b, id, &of_b, &n_b);
        bool equal = rc == CLI_OK && n_a == n_b && memcmp(of_a, of_b, n_a) == 0;

        free(of_a);
        free(of_b);
        if (rc != CLI_OK)
            return rc;
        if (!equal)
            return cli_fail("token %d: %s and %s have different texts, one "
                            "vocabulary expected",
                            id, a->model_path, b->model_path);
    }
    return CLI_OK;
}

int engine_format_plan(const tlp_plan *plan, int form, char **text)
{
    size_t n = 0;
    tlp_status st = tlp_plan_format(NULL, 0, &n, plan, form);

    *text = st == TLP_EBUFS ? malloc(n + 1) : NULL;
    if (st == TLP_EBUFS && !*text)
        return cli_fail("out of memory");
    if (*text)
        st = tlp_plan_format(*text, n + 1, &n, plan, form);
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

int engine_plan_cost(const engine *e, const tlp_plan *plan, tlp_plan_cost *cost)
{
    *cost = (tlp_plan_cost){ .struct_size = sizeof *cost };

    tlp_status st = tlp_plan_get_cost(cost, plan, e->n_rank);

    return st != TLP_OK ? engine_fail(st) : CLI_OK;
}
