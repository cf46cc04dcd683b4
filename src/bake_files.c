/*
 * bake_files.c - see bake_files.h.
 */
#include "bake_files.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"

static int choose_plan_path(bake *v)
{
    static const char model[] = ".gguf", plan[] = ".plan.json";
    size_t n = strlen(v->out_path), n_end = sizeof model - 1;

    if (v->plan_path)
        return CLI_OK;
    if (n > n_end && strcmp(v->out_path + n - n_end, model) == 0)
        n -= n_end;
    v->own_plan_path = malloc(n + sizeof plan);
    if (!v->own_plan_path)
        return cli_fail("out of memory");
    memcpy(v->own_plan_path, v->out_path, n);
    memcpy(v->own_plan_path + n, plan, sizeof plan);
    v->plan_path = v->own_plan_path;
    return CLI_OK;
}

int bake_check_files(bake *v)
{
    int rc = choose_plan_path(v);
    const char *const written[] = { v->out_path, v->plan_path };

    if (rc == CLI_OK)
        rc = out_check_distinct(written, sizeof written / sizeof *written);
    if (rc == CLI_OK)
        rc = out_check_model(v->out_path);
    if (rc == CLI_OK)
        rc = out_check(v->plan_path);
    return rc;
}

void bake_close(bake *v)
{
    corpus_free(&v->text);
    free(v->own_plan_path);
    engine_close(&v->e);
}

tlp_status bake_write(const bake *v, const tlp_plan *plan,
                      tlp_plan_bake_report *report)
{
    cli_progress bar;
    tlp_session_options session = engine_session_options(&v->e, v->text.ctx);
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;
    tlp_plan *baked = NULL;

    o.session = &session;
    o.held_out = (double)v->held_out;
    o.seed = v->seed;
    o.progress = cli_progress_step;
    o.progress_data = &bar;
    o.plan_path = v->plan_path;
    o.type = v->type;
    o.pure = v->pure;
    o.imatrix = v->imatrix;
    cli_progress_start(&bar, "baking");
    tlp_status st = tlp_plan_bake(&baked, report, plan, v->out_path,
                                  v->text.ids, v->text.n, &o);
    cli_progress_end(&bar);
    tlp_plan_free(baked);
    return st;
}

void bake_print(const bake *v, const tlp_plan_bake_report *r)
{
    fit_print(&FIT_QUALITY(r));
    printf("%s: %d hidden units changed their track, in %d of %d layers\n",
           v->out_path, r->n_unit, r->n_layer, r->n_site);
}
