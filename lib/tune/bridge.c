/*
 * bridge.c - tlp_plan_bridge: dropped layers with a linear map in their place.
 *
 * A gap is a run of layers that a plan drops.  Its map W adds W x to the stream
 * x in front of the gap; W is a ridge regression of what the serial model's
 * stream behind the gap has more than x.  The stream is that of the plan with
 * the maps before, so a map corrects earlier errors too.  The maps of all gaps
 * are fitted on one text, and then the plan is scored on another, with and
 * without them (arXiv 2605.15491).
 */
#include <math.h>
#include <string.h>

#include "tune/calibration.h"

typedef struct bridge {
    const tlpi_env *env;
    const tlp_plan *plan; /* borrowed */
    tlp_bridge_options o;
    tlp_session_options session;
    tlpi_fitted_lowrank *map; /* [n_stage + 1] before each stage, and at the
                                 end; rank 0: no gap, or no gain */
    double done, total;       /* progress, in runs of a window by a stage */
} bridge;

static tlp_status tick(void *arg)
{
    bridge *b = arg;

    b->done++;
    if (b->o.progress &&
        b->o.progress(fmin(1, b->done / b->total), b->o.progress_data))
        return tlpi_fail(TLP_ECANCELED, "fitting was canceled");
    return TLP_OK;
}

/* ==== gaps =============================================================== */

/* The first layer of stage i; n_layer at the end. */
static int begin_of(const tlp_plan *p, int i)
{
    return i < p->n_stage ? p->stage[i].layers[0] : p->model->hp.n_layer;
}

static int end_of(const tlp_plan *p, int i)
{
    const tlpi_stage *s = &p->stage[i];

    return i < 0 ? 0 : s->layers[s->n_member - 1] + 1;
}

/* Does the plan drop layers in front of stage i? */
static bool has_gap(const tlp_plan *p, int i)
{
    return end_of(p, i - 1) < begin_of(p, i);
}

static int count_gaps(const tlp_plan *p)
{
    int n = 0;

    for (int i = 0; i <= p->n_stage; i++)
        n += has_gap(p, i);
    return n;
}

/* ==== a map ============================================================== */

static void weigh(tlpi_calibration *c)
{
    for (size_t t = 0; t < c->text.n_tok; t++) {
        double square = tlpi_squares(c->stream.x + t * c->d, c->d);

        c->weight[t] = square > 0 ? (float)(1 / square) : 0;
    }
}

static tlp_status add_window(tlpi_calibration *c, int window,
                             tlpi_moments moments[2])
{
    const tlpi_window *w = &c->text.window[window];
    const float *x = c->stream.x + w->at * c->d;
    const tlpi_rows rows = { .n_tok = w->n,
                             .d = (int)c->d,
                             .n_feature = 1,
                             .feature = &x,
                             .target = c->teacher.stream + w->at * c->d,
                             .present = x,
                             .weight = c->weight + w->at };

    return tlpi_moments_add(&moments[window < c->text.n_held], c->fitter.pool,
                            &rows);
}

/* The teacher stands behind the gap. */
static tlp_status fit_gap(tlpi_calibration *c, int rank,
                          tlpi_fitted_lowrank *map)
{
    tlpi_moments moments[2] = { { 0 } };
    tlpi_choice choice;
    tlp_status st;

    weigh(c);
    for (int k = 0; k < 2; k++)
        TLP_TRY(tlpi_moments_create(&moments[k], c->env, (int)c->d, 1));
    for (int i = 0; i < c->text.n; i++)
        TLP_TRY(add_window(c, i, moments));
    st = tlpi_fit_lowrank(&c->fitter, &moments[0], &moments[1], rank, &choice,
                          map);
done:
    tlpi_moments_free(&moments[1]);
    tlpi_moments_free(&moments[0]);
    return st;
}

/* x += up (down x), for a token; low: room for the rank. */
static void cross(const tlpi_fitted_lowrank *map, size_t d, float *x,
                  double *low)
{
    for (int k = 0; k < map->rank; k++) {
        const float *down = map->down + (size_t)k * d;

        low[k] = 0;
        for (size_t j = 0; j < d; j++)
            low[k] += (double)down[j] * (double)x[j];
    }
    for (size_t j = 0; j < d; j++) {
        const float *up = map->up + j * (size_t)map->rank;
        double sum = 0;

        for (int k = 0; k < map->rank; k++)
            sum += (double)up[k] * low[k];
        x[j] += (float)sum;
    }
}

typedef struct crossing {
    tlpi_calibration *c;
    const tlpi_fitted_lowrank *map;
    double *low; /* [n][rank] */
} crossing;

static void cross_some(void *arg, int i, int n)
{
    const crossing *j = arg;
    const tlpi_calibration *c = j->c;
    double *low = j->low + (size_t)i * (size_t)j->map->rank;

    for (size_t t = (size_t)i; t < c->text.n_tok; t += (size_t)n)
        cross(j->map, c->d, c->stream.x + t * c->d, low);
}

static tlp_status cross_all(tlpi_calibration *c, const tlpi_fitted_lowrank *map)
{
    int n = tlpi_pool_size(c->fitter.pool);
    crossing j = { c, map, NULL };

    if (map->rank == 0)
        return TLP_OK;
    j.low =
        tlpi_alloc_array(c->env, (size_t)n * (size_t)map->rank, sizeof(*j.low));
    if (!j.low)
        return tlpi_fail_nomem_for("a fit");
    tlpi_pool_map(c->fitter.pool, n, cross_some, &j);
    tlpi_free(c->env, j.low);
    return TLP_OK;
}

/* ==== passes ============================================================= */

enum { PLAIN, FIT, CROSS };

/* The plan from end to end, plain, or with maps that are fitted on the way or
 * were fitted before. */
static tlp_status pass(bridge *b, tlpi_calibration *c, int what)
{
    const tlp_plan *p = b->plan;
    tlp_status st = TLP_OK;

    tlpi_calibration_begin(c);
    for (int i = 0; i <= p->n_stage; i++) {
        TLP_TRY(tlpi_calibration_advance(c, begin_of(p, i), NULL));
        if (what == FIT && has_gap(p, i))
            TLP_TRY(fit_gap(c, b->o.rank, &b->map[i]));
        if (what != PLAIN)
            TLP_TRY(cross_all(c, &b->map[i]));
        if (i == p->n_stage)
            break;
        TLP_TRY(tlpi_calibration_run(c, i, NULL));
        tlpi_calibration_take(c);
    }
done:
    return st;
}

static tlp_status open_text(bridge *b, tlpi_calibration *c,
                            const int32_t *tokens, size_t n)
{
    tlp_status st;

    *c = (tlpi_calibration){ .env = b->env, .model = b->plan->model };
    c->o.held_out = b->o.held_out;
    c->o.seed = b->o.seed;
    c->session = b->session;
    c->fitter = (tlpi_fitter){ .env = b->env, .tick = { tick, b } };
    TLP_TRY(tlpi_windows_check(c->model, tokens, n, b->session.n_ctx));
    TLP_TRY(tlpi_runner_config(&c->cfg, c->model, &c->session));
    st = tlpi_calibration_create(c, b->plan, tokens, n);
done:
    return st;
}

static tlp_status fit(bridge *b, const int32_t *tokens, size_t n)
{
    tlpi_calibration c = { 0 };
    tlp_status st;

    TLP_TRY(open_text(b, &c, tokens, n));
    st = pass(b, &c, FIT);
done:
    tlpi_calibration_free(&c);
    return st;
}

static tlp_status judge(bridge *b, const int32_t *tokens, size_t n,
                        tlp_bridge_report *r)
{
    tlpi_calibration c = { 0 };
    tlpi_cal_score score[2];
    tlp_status st;

    TLP_TRY(open_text(b, &c, tokens, n));
    c.text.n_held = c.text.n; /* nothing is fitted here: all is scored */
    for (int k = 0; k < 2; k++) {
        TLP_TRY(pass(b, &c, k ? CROSS : PLAIN));
        TLP_TRY(tlpi_calibration_score(&c, false, &score[k]));
    }
    r->n_window = c.text.n;
    r->kl_before = score[0].kl;
    r->kl_after = score[1].kl;
    r->ppl_before = exp(score[0].nll);
    r->ppl_after = exp(score[1].nll);
    r->top1_before = score[0].top1;
    r->top1_after = score[1].top1;
done:
    tlpi_calibration_free(&c);
    return st;
}

/* ==== the call =========================================================== */

static tlp_status check_plan(const tlp_plan *p)
{
    if (p->model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, fitting needs its "
                         "layers",
                         p->model->path);
    if (p->adjust)
        return tlpi_fail(TLP_ENOTSUP, "plan: it has adjustments, and maps in "
                                      "gaps are for plans without");
    for (int i = 0; i < p->n_stage; i++)
        if (p->stage[i].nosync)
            return tlpi_fail(TLP_ENOTSUP,
                             "plan: it leaves out exchanges (nosync), and maps "
                             "in gaps are for plans that make all");
    if (count_gaps(p) == 0)
        return tlpi_fail(TLP_EINVAL, "plan: it drops no layer");
    return tlpi_teacher_check_order(p, "maps in gaps are");
}

static tlp_status read_options(bridge *b, const tlp_bridge_options *opts)
{
    tlp_bridge_options *o = &b->o;
    int d = b->plan->model->hp.n_embd;
    tlp_status st;

    TLP_TRY(tlpi_options_read(o, sizeof(*o), opts, "tlp_bridge_options"));
    TLP_TRY(tlpi_windows_options(&b->session, &o->held_out, o->session));
    TLP_TRY(tlpi_windows_check_share(o->held_out));
    if (o->rank == 0)
        o->rank = d / 4 * 4;
    if (o->rank < 4 || o->rank > d || o->rank % 4)
        st = tlpi_fail(TLP_EINVAL,
                       "bridge option rank %d: a multiple of 4 up to %d "
                       "expected",
                       o->rank, d);
done:
    return st;
}

static tlp_status create_maps(bridge *b, size_t n, size_t n_judge)
{
    size_t n_stage = (size_t)b->plan->n_stage;
    size_t n_ctx = (size_t)b->session.n_ctx;
    double layers = b->plan->model->hp.n_layer;

    b->map = tlpi_calloc(b->env, n_stage + 1, sizeof(*b->map));
    if (!b->map)
        return tlpi_fail_nomem_for("a fit");
    /* A run and the teacher's for each stage and window; twice to judge. */
    b->total = ((double)(n / n_ctx) + 2 * (double)(n_judge / n_ctx)) *
               ((double)n_stage + layers + 2);
    return TLP_OK;
}

tlp_status tlp_plan_bridge(tlp_bridge_report *report, const tlp_plan *plan,
                           const int32_t *tokens, size_t n,
                           const int32_t *judge_tokens, size_t n_judge,
                           const tlp_bridge_options *opts)
{
    bridge b = { .plan = plan };
    tlp_bridge_report r = { .struct_size = sizeof(r) };
    tlp_status st;

    if (!report || !plan || !tokens || !judge_tokens)
        return tlpi_fail(TLP_EINVAL, "report, plan and two texts are required");
    b.env = &plan->model->env;
    TLP_TRY(tlpi_struct_check(report, sizeof(r), "tlp_bridge_report"));
    TLP_TRY(check_plan(plan));
    TLP_TRY(read_options(&b, opts));
    TLP_TRY(create_maps(&b, n, n_judge));
    TLP_TRY(fit(&b, tokens, n));
    TLP_TRY(judge(&b, judge_tokens, n_judge, &r));
    r.n_gap = count_gaps(plan);
    for (int i = 0; i <= plan->n_stage; i++)
        r.n_map += b.map[i].rank > 0;
    st = tlpi_struct_write(report, &r, sizeof(r), "tlp_bridge_report");
done:
    for (int i = 0; b.map && i <= plan->n_stage; i++)
        tlpi_fitted_lowrank_free(b.env, &b.map[i]);
    tlpi_free(b.env, b.map);
    return st;
}
