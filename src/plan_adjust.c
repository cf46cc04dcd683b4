/*
 * plan_adjust.c - tlp plan adjust: fit a plan's groups to the serial model.
 */
#include <inttypes.h>

#include "files.h"
#include "plan_commands.h"
#include "plan_fit.h"
#include "tlp_tune.h"

typedef struct adjust {
    engine e;
    corpus text;
    const char *out_path;
    bool gains, norms, as_json;
    int rank;
    float held_out;
    uint64_t seed;
} adjust;

#define DEFAULT_RANK 32

/* ==== report ============================================================= */

static void print_json(const tlp_plan_adjust_report *r)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    fit_json(&FIT_QUALITY(r), &j);
    json_int(&j, "gains", r->n_gain);
    json_int(&j, "norms", r->n_norm);
    json_int(&j, "low_rank", r->n_low_rank);
    json_int(&j, "bytes", (int64_t)r->n_bytes);
    json_close(&j, '}');
    printf("\n");
}

static void print_table(const tlp_plan_adjust_report *r)
{
    fit_print(&FIT_QUALITY(r));
    printf("kept: %d gains, %d norms, %d low-rank corrections, %.2f MB\n",
           r->n_gain, r->n_norm, r->n_low_rank, 1e-6 * (double)r->n_bytes);
}

/* ========================================================================= */

static tlp_plan_adjust_options
adjust_options(const adjust *v, const tlp_session_options *session,
               cli_progress *bar)
{
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;

    o.session = session;
    o.gains = v->gains;
    o.norms = v->norms;
    o.rank = v->rank;
    o.held_out = (double)v->held_out;
    o.seed = v->seed;
    o.progress = cli_progress_step;
    o.progress_data = bar;
    return o;
}

/* Without options fit everything. */
static void set_defaults(adjust *v)
{
    int largest = v->e.info.n_embd / 4 * 4;

    if (v->gains || v->norms || v->rank)
        return;
    v->gains = v->norms = true;
    v->rank = largest < DEFAULT_RANK ? largest : DEFAULT_RANK;
}

static int fit(adjust *v, const tlp_plan *plan, tlp_plan **adjusted)
{
    tlp_plan_adjust_report report = { .struct_size = sizeof report };
    cli_progress bar;
    tlp_session_options session = engine_session_options(&v->e, v->text.ctx);
    tlp_plan_adjust_options o = adjust_options(v, &session, &bar);

    cli_progress_start(&bar, "fitting");
    tlp_status st =
        tlp_plan_adjust(adjusted, &report, plan, v->text.ids, v->text.n, &o);
    cli_progress_end(&bar);
    if (st == TLP_OK && tlp_plan_save(*adjusted, v->out_path) != TLP_OK)
        st = TLP_ERROR;
    if (st != TLP_OK)
        return engine_fail(st);
    if (v->as_json)
        print_json(&report);
    else
        print_table(&report);
    return cli_close_stdout();
}

static int adjust_plan(adjust *v)
{
    tlp_plan *plan = NULL, *adjusted = NULL;
    int rc = engine_parse_plan(&v->e, v->e.plan_text, &plan);

    set_defaults(v);
    if (rc == CLI_OK)
        rc = corpus_read(&v->text, &v->e);
    if (rc == CLI_OK)
        rc = fit(v, plan, &adjusted);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
    corpus_free(&v->text);
    return rc;
}

int plan_adjust(int argc, char **argv)
{
    adjust v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        CORPUS_FILE_OPTIONS(v.text),
        CORPUS_MAX_OPTION(v.text),
        { CLI_FLAG, 0, "gains", &v.gains, NULL,
          "fit gains of attention and feed-forward", 0, 0 },
        { CLI_FLAG, 0, "norms", &v.norms, NULL, "fit weights of the norms", 0,
          0 },
        { CLI_INT, 0, "rank", &v.rank, "R",
          "fit low-rank corrections up to rank R (32, if none of these is "
          "given)",
          0, 4096 },
        FIT_WINDOW_OPTIONS(v),
        { CLI_TEXT, 'o', "output", &v.out_path, "FILE",
          "the adjusted plan, JSON; its numbers go to a file beside it", 0, 0 },
        { CLI_FLAG, 0, "json", &v.as_json, NULL, "print JSON", 0, 0 },
        ENGINE_TYPE_OPTIONS(v.e),
        ENGINE_THREAD_OPTIONS(v.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = fit_check_options(&v.text, v.e.plan_text, v.out_path);
    if (rc == CLI_OK)
        rc = out_check(v.out_path);
    if (rc == CLI_OK)
        rc = engine_open_model(&v.e, false);
    if (rc == CLI_OK)
        rc = adjust_plan(&v);
    engine_close(&v.e);
    return rc;
}
