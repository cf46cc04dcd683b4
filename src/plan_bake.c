/*
 * plan_bake.c - tlp plan bake: write a model in which each track of a plan has
 * the hidden units that it serves best.
 */
#include "files.h"
#include "plan_commands.h"
#include "plan_fit.h"
#include "tlp_tune.h"

typedef struct bake {
    engine e;
    corpus text;
    const char *out_path, *plan_path;
    bool as_json;
    float held_out;
    uint64_t seed;
} bake;

/* ==== report ============================================================= */

static void print_json(const tlp_plan_bake_report *r)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    fit_json(&FIT_QUALITY(r), &j);
    json_int(&j, "sites", r->n_site);
    json_int(&j, "layers", r->n_layer);
    json_int(&j, "units", r->n_unit);
    json_close(&j, '}');
    printf("\n");
}

static void print_table(const bake *v, const tlp_plan_bake_report *r)
{
    fit_print(&FIT_QUALITY(r));
    printf("%s: %d hidden units changed their track, in %d of %d layers\n",
           v->out_path, r->n_unit, r->n_layer, r->n_site);
}

/* ========================================================================= */

static tlp_plan_bake_options bake_options(const bake *v,
                                          const tlp_session_options *session,
                                          cli_progress *bar)
{
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;

    o.session = session;
    o.held_out = (double)v->held_out;
    o.seed = v->seed;
    o.progress = cli_progress_step;
    o.progress_data = bar;
    return o;
}

static int write_model(bake *v, const tlp_plan *plan, tlp_plan **baked)
{
    tlp_plan_bake_report report = { .struct_size = sizeof report };
    cli_progress bar;
    tlp_session_options session = engine_session_options(&v->e, v->text.ctx);
    tlp_plan_bake_options o = bake_options(v, &session, &bar);

    cli_progress_start(&bar, "baking");
    tlp_status st = tlp_plan_bake(baked, &report, plan, v->out_path,
                                  v->text.ids, v->text.n, &o);
    cli_progress_end(&bar);
    if (st == TLP_OK && v->plan_path)
        st = tlp_plan_save(*baked, v->plan_path);
    if (st != TLP_OK)
        return engine_fail(st);
    if (v->as_json)
        print_json(&report);
    else
        print_table(v, &report);
    return cli_close_stdout();
}

static int bake_plan(bake *v)
{
    tlp_plan *plan = NULL, *baked = NULL;
    int rc = engine_parse_plan(&v->e, v->e.plan_text, &plan);

    if (rc == CLI_OK)
        rc = corpus_read(&v->text, &v->e);
    if (rc == CLI_OK)
        rc = write_model(v, plan, &baked);
    tlp_plan_free(baked);
    tlp_plan_free(plan);
    corpus_free(&v->text);
    return rc;
}

int plan_bake(int argc, char **argv)
{
    bake v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        CORPUS_FILE_OPTIONS(v.text),
        CORPUS_MAX_OPTION(v.text),
        FIT_WINDOW_OPTIONS(v),
        { CLI_TEXT, 'o', "output", &v.out_path, "FILE",
          "the model with its hidden units in the new order, GGUF", 0, 0 },
        { CLI_TEXT, 0, "plan-out", &v.plan_path, "FILE",
          "the plan for that model, JSON", 0, 0 },
        { CLI_FLAG, 0, "json", &v.as_json, NULL, "print JSON", 0, 0 },
        ENGINE_TYPE_OPTIONS(v.e),
        ENGINE_THREAD_OPTIONS(v.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = fit_check_options(&v.text, v.e.plan_text, v.out_path);

    const char *const written[] = { v.out_path, v.plan_path };

    if (rc == CLI_OK)
        rc = out_check_distinct(written, sizeof written / sizeof *written);
    if (rc == CLI_OK)
        rc = out_check_model(v.out_path);
    if (rc == CLI_OK && v.plan_path)
        rc = out_check(v.plan_path);
    if (rc == CLI_OK)
        rc = engine_open_model(&v.e, false);
    if (rc == CLI_OK)
        rc = bake_plan(&v);
    engine_close(&v.e);
    return rc;
}
