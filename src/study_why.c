/*
 * study_why.c - run tlp_model_study and keep its places as rows.
 */
#include "study_why.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"

/* ==== rows =============================================================== */

static void add_row(const tlp_study_place *p, void *data)
{
    why *w = data;
    why_row *r = &w->row[w->n];
    size_t n;

    if (w->rc != CLI_OK)
        return;
    *r = (why_row){ .kind = p->kind, .layer = p->layer, .half = p->half };
    if (tlp_plan_format(r->plan, sizeof r->plan, &n, p->plan, TLP_PLAN_TEXT) !=
        TLP_OK) {
        w->rc = engine_fail(TLP_ERROR);
        return;
    }
    r->value[WHY_STEP] = p->step;
    r->value[WHY_OWN] = p->own;
    r->value[WHY_CHANGE] = p->change;
    r->value[WHY_ERROR] = p->error;
    r->value[WHY_SENSITIVITY] = p->sensitivity;
    r->value[WHY_ESTIMATE] = p->sensitivity * p->error * p->error;
    r->value[WHY_KL] = p->kl;
    w->n++;
}

static tlp_status measure(why *w)
{
    const study *s = w->s;
    cli_progress bar;
    tlp_session_options session = engine_session_options(&s->e, s->text.ctx);
    tlp_study_options o = TLP_STUDY_OPTIONS_INIT;

    o.session = &session;
    o.n_track = s->n_track;
    o.seed = s->seed;
    o.place = add_row;
    o.place_data = w;
    o.progress = cli_progress_step;
    o.progress_data = &bar;
    cli_progress_start(&bar, "studying");
    tlp_status st = tlp_model_study(s->e.model, s->text.ids, s->text.n, &o);
    cli_progress_end(&bar);
    return st;
}

/* ==== results ============================================================ */

static int report(const why *w)
{
    const study *s = w->s;
    int rc = s->csv ? why_write_csv(w, s->csv) : CLI_OK;

    if (rc == CLI_OK && s->svg)
        rc = why_write_svg(w, s->svg);
    if (rc == CLI_OK && s->json)
        rc = why_write_json(w, s->json);
    if (rc == CLI_OK && study_n_stdout(s) == 0)
        rc = why_print(w);
    return rc;
}

/* Also after an interruption, with the places that are done. */
static int run(why *w)
{
    tlp_status st = measure(w);

    if (w->rc != CLI_OK)
        return w->rc;
    if (st == TLP_OK)
        return report(w);
    if (st != TLP_ECANCELED || w->n == 0)
        return engine_fail(st);

    int rc = report(w);

    cli_fail("interrupted, %zu of %zu places are done", w->n, w->n_wanted);
    return rc == CLI_OK ? CLI_INTERRUPTED : rc;
}

static int check_files(const study *s)
{
    const char *const path[] = { s->csv, s->json, s->svg };
    int rc = CLI_OK;

    for (size_t i = 0; i < sizeof path / sizeof *path && rc == CLI_OK; i++)
        if (path[i])
            rc = out_check(path[i]);
    return rc;
}

int why_run(const study *s)
{
    /* 2 n_layer - 1 exchanges and n_layer - 1 pairs */
    why w = { .s = s, .n_wanted = 3 * (size_t)s->e.info.n_layer - 2 };
    int rc = check_files(s);

    w.row = calloc(w.n_wanted, sizeof *w.row);
    if (rc == CLI_OK)
        rc = w.row ? run(&w) : cli_fail("out of memory");
    free(w.row);
    return rc;
}
