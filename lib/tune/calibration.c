/*
 * calibration.c - run a plan beside the teacher, stage by stage, and keep what
 * fits need.
 */
#include "tune/calibration.h"

#include <string.h>

#include "rank/forward.h"

static size_t bytes_of(const tlpi_calibration *c, const tlpi_window *w)
{
    return (size_t)w->n * c->d * sizeof(float);
}

/* ==== lifetime =========================================================== */

static float *activations(const tlpi_calibration *c, int n)
{
    size_t size = 0;

    if (!tlpi_mul(c->text.n_tok * c->d, (size_t)n, &size))
        return NULL;
    return tlpi_alloc_array(c->env, size, sizeof(float));
}

static tlp_status alloc_activations(tlpi_calibration *c)
{
    c->stream = activations(c, 1);
    c->next = activations(c, 1);
    c->want = activations(c, 2 * c->max_member);
    c->seen = activations(c, 2 * c->max_member);
    c->weight = tlpi_alloc_array(c->env, c->text.n_tok, sizeof(float));
    c->score =
        tlpi_alloc_array(c->env, (size_t)c->text.n_ctx, sizeof(*c->score));
    if (!c->stream || !c->next || !c->want || !c->seen || !c->weight ||
        !c->score)
        return tlpi_fail_nomem_for("a fit");
    return TLP_OK;
}

static tlp_status alloc_stages(tlpi_calibration *c)
{
    size_t n = (size_t)c->plan->n_stage;

    c->fitted = tlpi_calloc(c->env, n, sizeof(*c->fitted));
    c->choice = tlpi_calloc(c->env, n, sizeof(*c->choice));
    if (!c->fitted || !c->choice)
        return tlpi_fail_nomem_for("a fit");
    for (size_t i = 0; i < n; i++) {
        tlpi_stage_choice *choice = &c->choice[i];
        size_t n_in = 2 * (size_t)c->plan->stage[i].n_member;

        choice->norm = tlpi_calloc(c->env, n_in, sizeof(*choice->norm));
        choice->in = tlpi_calloc(c->env, n_in, sizeof(*choice->in));
        if (!choice->norm || !choice->in)
            return tlpi_fail_nomem_for("a fit");
    }
    return TLP_OK;
}

tlp_status tlpi_calibration_create(tlpi_calibration *c, const tlp_plan *plan,
                                   const int32_t *tokens, size_t n)
{
    tlp_status st;

    TLP_TRY(tlpi_windows_cut(&c->text, c->env, tokens, n, c->session.n_ctx,
                             c->o.seed));
    TLP_TRY(tlpi_windows_hold_out(&c->text, c->o.held_out));
    TLP_TRY(tlpi_plan_rebuild(&c->plan, plan->model, plan, plan->made));
    c->d = (size_t)c->model->hp.n_embd;
    for (int i = 0; i < plan->n_stage; i++)
        c->max_member = TLPI_MAX(c->max_member, plan->stage[i].n_member);
    TLP_TRY(alloc_activations(c));
    TLP_TRY(alloc_stages(c));
    TLP_TRY(tlpi_teacher_create(&c->teacher, c->model, &c->cfg, &c->text,
                                c->fitter.tick));
    TLP_TRY(tlpi_runner_create(&c->student, c->plan, &c->cfg));
    c->fitter.pool = c->teacher.pool;
done:
    return st;
}

void tlpi_calibration_free(tlpi_calibration *c)
{
    void *all[] = { c->stream, c->next, c->want, c->seen, c->weight, c->score };

    for (int i = 0; c->plan && i < c->plan->n_stage; i++) {
        if (c->fitted)
            tlpi_fitted_clear(c->env, &c->fitted[i],
                              c->plan->stage[i].n_member);
        if (c->choice) {
            tlpi_free(c->env, c->choice[i].norm);
            tlpi_free(c->env, c->choice[i].in);
        }
    }
    tlpi_free(c->env, c->fitted);
    tlpi_free(c->env, c->choice);
    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        tlpi_free(c->env, all[i]);
    tlpi_runner_free(&c->student);
    tlpi_teacher_free(&c->teacher);
    tlpi_windows_free(&c->text);
    tlp_plan_free(c->plan);
}

/* ==== streams ============================================================ */

void tlpi_calibration_begin(tlpi_calibration *c)
{
    tlpi_teacher_begin(&c->teacher, c->text.n);
    memcpy(c->stream, c->teacher.stream,
           c->text.n_tok * c->d * sizeof(*c->stream));
}

/* The argument of the teacher's hook and of the student's probe. */
typedef struct view {
    const tlpi_calibration *c;
    const tlpi_stage *stage;
    const tlpi_window *window;
    uint32_t keep; /* TLPI_PROBE_* bits */
    int last;      /* the step ends when this member's last kept input was seen;
                      -1: the step does not end early */
} view;

static void keep_rows(const tlpi_calibration *c, float *base, bool ffn,
                      int member, const tlpi_window *w, const float *x)
{
    int slot = ffn ? member + c->max_member : member;

    memcpy(tlpi_cal_slot(c, base, slot) + w->at * c->d, x, bytes_of(c, w));
}

static void see_teacher(void *arg, int layer, tlpi_probe_at at,
                        const tlpi_window *w, const float *x)
{
    const view *v = arg;

    for (int m = 0; m < v->stage->n_member; m++)
        if (v->stage->layers[m] == layer)
            keep_rows(v->c, v->c->want, at == TLPI_PROBE_FFN_IN, m, w, x);
}

tlp_status tlpi_calibration_advance(tlpi_calibration *c, int end,
                                    const tlpi_stage *stage)
{
    view v = { .c = c, .stage = stage };
    const tlpi_teacher_hook hook = { .input = see_teacher, .arg = &v };

    return tlpi_teacher_advance(&c->teacher, end, stage ? &hook : NULL);
}

static tlp_status see_student(void *arg, tlpi_probe_at at, int member,
                              const float *x)
{
    const view *v = arg;
    bool ffn = at == TLPI_PROBE_FFN_IN || at == TLPI_PROBE_FFN;

    if (v->keep >> at & 1)
        keep_rows(v->c, v->c->seen, ffn, member, v->window, x);
    return v->keep >> at == 1 && member == v->last ? TLP_ECANCELED : TLP_OK;
}

static tlp_status run_window(tlpi_calibration *c, const tlpi_window *w,
                             int stage)
{
    tlpi_rank *r = c->student.rank;
    tlpi_step step = tlpi_window_step(&c->text, w);
    size_t at = w->at * c->d;

    tlpi_forward_begin(r, &step, c->stream + at);
    tlp_status st = tlpi_forward_stages(r, r->program, &step, stage, stage + 1);
    if (st == TLP_OK)
        tlpi_forward_stream(r, &step, c->next + at);
    return st == TLP_ECANCELED ? TLP_OK : st; /* canceled by see_student */
}

tlp_status tlpi_calibration_run(tlpi_calibration *c, int stage, uint32_t keep)
{
    const tlpi_stage *s = &c->plan->stage[stage];
    bool whole = keep & 1u << TLPI_PROBE_FFN;
    view v = { c, s, NULL, keep, whole ? -1 : s->n_member - 1 };
    const tlpi_probe probe = { see_student, &v };
    tlp_status st = TLP_OK;

    c->student.rank->probe = keep ? &probe : NULL;
    if (keep) /* some modes give no attention sum of some members */
        memset(c->seen, 0,
               2 * (size_t)c->max_member * c->text.n_tok * c->d *
                   sizeof(*c->seen));
    for (int i = 0; i < c->text.n; i++) {
        v.window = &c->text.window[i];
        TLP_TRY(run_window(c, v.window, stage));
        TLP_TRY(tlpi_tick_call(&c->fitter.tick));
    }
done:
    c->student.rank->probe = NULL;
    return st;
}

void tlpi_calibration_take(tlpi_calibration *c)
{
    float *x = c->stream;

    c->stream = c->next;
    c->next = x;
}

/* ==== scores ============================================================= */

static tlp_status score_window(tlpi_calibration *c, int i, bool run,
                               tlpi_cal_score *sum)
{
    const tlpi_window *w = &c->text.window[i];
    tlpi_step step = tlpi_window_step(&c->text, w);
    tlpi_rank *r = c->student.rank;
    tlp_status st = TLP_OK;

    tlpi_forward_begin(r, &step, run ? NULL : c->stream + w->at * c->d);
    if (run)
        TLP_TRY(tlpi_forward_stages(r, r->program, &step, 0, c->plan->n_stage));
    TLP_TRY(tlpi_teacher_score(&c->teacher, &c->student, i, c->score));
    for (int t = 0; t < w->n - 1; t++) {
        sum->kl += c->score[t].kl;
        sum->nll += c->score[t].nll;
        sum->top1 += c->score[t].same_top1;
    }
    sum->n += w->n - 1;
done:
    return st;
}

tlp_status tlpi_calibration_score(tlpi_calibration *c, bool run,
                                  tlpi_cal_score *out)
{
    tlpi_cal_score sum = { 0 };
    tlp_status st = TLP_OK;

    if (run) {
        tlpi_teacher_begin(&c->teacher, c->text.n_held);
        TLP_TRY(tlpi_teacher_advance(&c->teacher, c->model->hp.n_layer, NULL));
    }
    for (int i = 0; i < c->text.n_held; i++) {
        TLP_TRY(score_window(c, i, run, &sum));
        TLP_TRY(tlpi_tick_call(&c->fitter.tick));
    }
    *out = (tlpi_cal_score){ sum.kl / sum.n, sum.nll / sum.n, sum.top1 / sum.n,
                             sum.n };
done:
    return st;
}
