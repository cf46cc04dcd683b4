/*
 * calibration.c - run a plan beside the teacher, stage by stage, and keep what
 * fits need.
 */
#include "tune/calibration.h"

#include <string.h>

#include "rank/forward.h"

/* ==== lifetime =========================================================== */

static float *activations(const tlpi_calibration *c, size_t n_tok, int n)
{
    size_t size = 0;

    if (!tlpi_mul(n_tok * c->d, (size_t)n, &size))
        return NULL;
    return tlpi_alloc_array(c->env, size, sizeof(float));
}

static tlp_status alloc_stream(const tlpi_calibration *c, tlpi_cal_stream *s)
{
    int n = c->plan->n_track;

    s->x = activations(c, c->text.n_tok, 1);
    if (n)
        s->track = tlpi_calloc(c->env, (size_t)n, sizeof(*s->track));
    if (!s->x || (n && !s->track))
        return tlpi_fail_nomem_for("a fit");
    for (int t = 0; t < n; t++) {
        s->track[t] = activations(c, c->text.n_tok, 1);
        if (!s->track[t])
            return tlpi_fail_nomem_for("a fit");
    }
    return TLP_OK;
}

static void free_stream(const tlpi_calibration *c, tlpi_cal_stream *s)
{
    for (int t = 0; s->track && t < c->plan->n_track; t++)
        tlpi_free(c->env, s->track[t]);
    tlpi_free(c->env, s->track);
    tlpi_free(c->env, s->x);
}

static tlp_status alloc_activations(tlpi_calibration *c)
{
    tlp_status st;

    TLP_TRY(alloc_stream(c, &c->stream));
    TLP_TRY(alloc_stream(c, &c->next));
    c->want = activations(c, c->text.n_tok, 2 * c->max_layer);
    c->seen = activations(c, (size_t)c->text.n_ctx, 2 * c->max_member);
    c->weight = tlpi_alloc_array(c->env, c->text.n_tok, sizeof(float));
    c->score =
        tlpi_alloc_array(c->env, (size_t)c->text.n_ctx, sizeof(*c->score));
    if (!c->want || !c->seen || !c->weight || !c->score)
        st = tlpi_fail_nomem_for("a fit");
done:
    return st;
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
        size_t n_in = 2 * (size_t)tlpi_plan_n_member(c->plan, (int)i);

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
    c->max_member = tlpi_plan_max_members(plan);
    for (int i = 0; i < plan->n_stage; i++)
        c->max_layer = TLPI_MAX(c->max_layer, plan->stage[i].n_member);
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
    void *all[] = { c->want, c->seen, c->weight, c->score };

    for (int i = 0; c->plan && i < c->plan->n_stage; i++) {
        if (c->fitted)
            tlpi_fitted_clear(c->env, &c->fitted[i],
                              tlpi_plan_n_member(c->plan, i));
        if (c->choice) {
            tlpi_free(c->env, c->choice[i].norm);
            tlpi_free(c->env, c->choice[i].in);
        }
    }
    free_stream(c, &c->stream);
    free_stream(c, &c->next);
    tlpi_free(c->env, c->fitted);
    tlpi_free(c->env, c->choice);
    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        tlpi_free(c->env, all[i]);
    tlpi_runner_free(&c->student);
    tlpi_teacher_free(&c->teacher);
    tlpi_windows_free(&c->text);
    tlp_plan_free(c->plan);
}

/* ==== the teacher ======================================================== */

void tlpi_calibration_begin(tlpi_calibration *c)
{
    tlpi_teacher_begin(&c->teacher, c->text.n);
    memcpy(c->stream.x, c->teacher.stream,
           c->text.n_tok * c->d * sizeof(*c->stream.x));
    c->stream.open = false;
}

/* The argument of the teacher's hook. */
typedef struct teacher_view {
    const tlpi_calibration *c;
    const tlpi_stage *stage;
} teacher_view;

static void see_teacher(void *arg, int layer, tlpi_probe_at at,
                        const tlpi_window *w, const float *x)
{
    const teacher_view *v = arg;
    const tlpi_calibration *c = v->c;
    int half = at == TLPI_PROBE_FFN_IN ? TLPI_HALF_FFN : TLPI_HALF_ATTN;

    for (int i = 0; i < v->stage->n_member; i++)
        if (v->stage->layers[i] == layer)
            memcpy(tlpi_cal_want(c, half, i) + w->at * c->d, x,
                   (size_t)w->n * c->d * sizeof(*x));
}

tlp_status tlpi_calibration_advance(tlpi_calibration *c, int end,
                                    const tlpi_stage *stage)
{
    teacher_view v = { c, stage };
    const tlpi_teacher_hook hook = { .input = see_teacher, .arg = &v };

    return tlpi_teacher_advance(&c->teacher, end, stage ? &hook : NULL);
}

/* ==== the student ======================================================== */

/* The argument of the student's probe. */
typedef struct student_view {
    const tlpi_calibration *c;
    const tlpi_window *window;
    uint32_t keep;
    int last; /* the step ends when this member's last kept input was seen;
                 -1: the step does not end early */
} student_view;

static tlp_status see_student(void *arg, tlpi_probe_at at, int member,
                              const float *x)
{
    const student_view *v = arg;
    bool ffn = at == TLPI_PROBE_FFN_IN || at == TLPI_PROBE_FFN;

    if (v->keep >> at & 1)
        memcpy(
            tlpi_cal_seen(v->c, ffn ? TLPI_HALF_FFN : TLPI_HALF_ATTN, member),
            x, (size_t)v->window->n * v->c->d * sizeof(*x));
    return v->keep >> at == 1 && member == v->last ? TLP_ECANCELED : TLP_OK;
}

/* to[t] = the rows of a window in what track t of the stream has added. */
static void track_rows(const tlpi_calibration *c, const tlpi_cal_stream *s,
                       const tlpi_window *w, float *to[TLPI_MAX_TRACK])
{
    for (int t = 0; t < c->plan->n_track; t++)
        to[t] = s->track[t] + w->at * c->d;
}

static void write_stream(tlpi_calibration *c, const tlpi_window *w,
                         const tlpi_step *step)
{
    float *track[TLPI_MAX_TRACK];

    track_rows(c, &c->stream, w, track);
    tlpi_forward_begin_tracks(
        c->student.rank, step, c->stream.open ? c->plan->n_track : 0,
        c->stream.x + w->at * c->d, (const float *const *)track);
}

static void read_next(tlpi_calibration *c, const tlpi_window *w,
                      const tlpi_step *step)
{
    float *x = c->next.x + w->at * c->d, *track[TLPI_MAX_TRACK];

    track_rows(c, &c->next, w, track);
    if (c->next.open)
        tlpi_forward_stream_tracks(c->student.rank, step, c->plan->n_track, x,
                                   track);
    else
        tlpi_forward_stream(c->student.rank, step, x);
}

static tlp_status run_window(tlpi_calibration *c, const tlpi_window *w,
                             int stage)
{
    tlpi_rank *r = c->student.rank;
    tlpi_step step = tlpi_window_step(&c->text, w);

    write_stream(c, w, &step);
    tlp_status st = tlpi_forward_stages(r, r->program, &step, stage, stage + 1);
    if (st == TLP_OK)
        read_next(c, w, &step);
    return st == TLP_ECANCELED ? TLP_OK : st; /* canceled by see_student */
}

tlp_status tlpi_calibration_run(tlpi_calibration *c, int stage,
                                const tlpi_cal_sink *sink)
{
    uint32_t keep = sink ? sink->keep : 0;
    bool whole = keep & 1u << TLPI_PROBE_FFN;
    student_view v = { c, NULL, keep,
                       whole ? -1 : tlpi_plan_n_member(c->plan, stage) - 1 };
    const tlpi_probe probe = { see_student, &v };
    tlp_status st = TLP_OK;

    c->next.open = tlpi_plan_is_open(c->plan, stage + 1);
    c->student.rank->probe = keep ? &probe : NULL;
    for (int i = 0; i < c->text.n; i++) {
        v.window = &c->text.window[i];
        if (keep) /* some modes give no attention sum of some members */
            memset(c->seen, 0,
                   2 * (size_t)c->max_member * (size_t)c->text.n_ctx * c->d *
                       sizeof(*c->seen));
        TLP_TRY(run_window(c, v.window, stage));
        if (sink)
            TLP_TRY(sink->take(sink->arg, i));
        TLP_TRY(tlpi_tick_call(&c->fitter.tick));
    }
done:
    c->student.rank->probe = NULL;
    return st;
}

void tlpi_calibration_take(tlpi_calibration *c)
{
    tlpi_cal_stream s = c->stream;

    c->stream = c->next;
    c->next = s;
}

void tlpi_calibration_join(const tlpi_calibration *c, const tlpi_cal_stream *s,
                           size_t token, float *x)
{
    memcpy(x, s->x + token * c->d, c->d * sizeof(*x));
    for (int t = 0; s->open && t < c->plan->n_track; t++)
        for (size_t j = 0; j < c->d; j++)
            x[j] += s->track[t][token * c->d + j];
}

/* ==== scores ============================================================= */

static tlp_status score_window(tlpi_calibration *c, int i, bool run,
                               tlpi_cal_score *sum)
{
    const tlpi_window *w = &c->text.window[i];
    tlpi_step step = tlpi_window_step(&c->text, w);
    tlpi_rank *r = c->student.rank;
    tlp_status st = TLP_OK;

    tlpi_forward_begin(r, &step, run ? NULL : c->stream.x + w->at * c->d);
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
