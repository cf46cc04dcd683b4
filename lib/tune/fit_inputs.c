/*
 * fit_inputs.c - bring the inputs of a stage's attention or feed-forward closer
 * to the teacher's: a factor for each column of a norm, and a low-rank map.
 */
#include "tune/fit_stage.h"

/* What a fit sums over the tokens: of fitted windows, and of held-out ones. */
typedef union input_sums {
    tlpi_norm_moments norm[2];
    tlpi_moments low[2];
} input_sums;

/* The input of one half of one member. */
typedef struct input {
    const float *want, *seen;     /* of all windows; of one window */
    const tlpi_tensor *weight;    /* of the model's norm */
    float **norm;                 /* fit, or *norm is NULL */
    tlpi_fitted_lowrank *lowrank; /* fit, or of rank 0 */
    tlpi_choice *choice;
    input_sums sums;
} input;

typedef struct fit_kind fit_kind;

/* The inputs of one half of a stage, and what is fitted of them. */
typedef struct inputs {
    tlpi_calibration *c;
    const fit_kind *kind;
    input *in; /* [n] */
    int n;     /* members */
} inputs;

struct fit_kind {
    tlp_status (*begin)(const tlpi_calibration *c, input *in);
    tlp_status (*add)(tlpi_calibration *c, input *in, const tlpi_rows *rows,
                      bool held);
    tlp_status (*solve)(tlpi_calibration *c, input *in);
    void (*end)(input *in);
    void (*drop)(tlpi_calibration *c, const input *in);
};

static input input_of(const tlpi_calibration *c, int stage, int half,
                      int member)
{
    const tlpi_stage *s = &c->plan->stage[stage];
    int layer = tlpi_stage_layer(s, member);
    const tlpi_layer *l = &c->model->w.layer[layer];
    tlpi_fitted_member *x = &c->fitted[stage].member[member];
    input in = {
        .want = tlpi_cal_want(c, half, s->n_member > 1 ? member : 0),
        .seen = tlpi_cal_seen(c, half, member),
        .weight = l->t[TLPI_ATTN_NORM],
        .norm = &x->attn_norm,
        .lowrank = &x->attn_in,
    };

    if (half == TLPI_HALF_FFN) {
        in.weight = l->t[TLPI_FFN_NORM];
        in.norm = &x->ffn_norm;
        in.lowrank = &x->ffn_in;
    }
    return in;
}

/* ==== norms ============================================================== */

static tlp_status begin_norm(const tlpi_calibration *c, input *in)
{
    tlp_status st;

    TLP_TRY(tlpi_norms_create(&in->sums.norm[0], c->env, (int)c->d));
    st = tlpi_norms_create(&in->sums.norm[1], c->env, (int)c->d);
done:
    return st;
}

static tlp_status add_norm(tlpi_calibration *c, input *in,
                           const tlpi_rows *rows, bool held)
{
    (void)c;
    tlpi_norms_add(&in->sums.norm[held], rows);
    return TLP_OK;
}

/* The model's weight times scale. */
static tlp_status scale_norm(const tlpi_calibration *c, const input *in,
                             const float *scale)
{
    float *norm = tlpi_alloc_array(c->env, c->d, sizeof(*norm));

    *in->norm = norm;
    if (!norm)
        return tlpi_fail_nomem_for("a fit");
    tlpi_dequantize(in->weight->type, in->weight->data, norm, (int64_t)c->d);
    for (size_t j = 0; j < c->d; j++)
        norm[j] *= scale[j];
    return TLP_OK;
}

static tlp_status solve_norm(tlpi_calibration *c, input *in)
{
    tlpi_norm_moments *m = in->sums.norm;
    float *scale = tlpi_alloc_array(c->env, c->d, sizeof(*scale));
    tlp_status st = TLP_OK;

    if (!scale)
        return tlpi_fail_nomem_for("a fit");
    tlpi_fit_norms(&m[0], c->choosing ? &m[1] : NULL, in->choice, scale);
    if (in->choice->rank)
        st = scale_norm(c, in, scale);
    tlpi_free(c->env, scale);
    return st;
}

static void end_norm(input *in)
{
    tlpi_norms_free(&in->sums.norm[0]);
    tlpi_norms_free(&in->sums.norm[1]);
}

static void drop_norm(tlpi_calibration *c, const input *in)
{
    tlpi_free(c->env, *in->norm);
    *in->norm = NULL;
}

static const fit_kind norms = { begin_norm, add_norm, solve_norm, end_norm,
                                drop_norm };

/* ==== low rank =========================================================== */

static tlp_status begin_lowrank(const tlpi_calibration *c, input *in)
{
    tlp_status st;

    TLP_TRY(tlpi_moments_create(&in->sums.low[0], c->env, (int)c->d, 1));
    if (c->choosing)
        st = tlpi_moments_create(&in->sums.low[1], c->env, (int)c->d, 1);
done:
    return st;
}

static tlp_status add_lowrank(tlpi_calibration *c, input *in,
                              const tlpi_rows *rows, bool held)
{
    return tlpi_moments_add(&in->sums.low[held], c->fitter.pool, rows);
}

static tlp_status solve_lowrank(tlpi_calibration *c, input *in)
{
    tlpi_moments *m = in->sums.low;

    return tlpi_fit_lowrank(&c->fitter, &m[0], c->choosing ? &m[1] : NULL,
                            c->o.rank, in->choice, in->lowrank);
}

static void end_lowrank(input *in)
{
    tlpi_moments_free(&in->sums.low[0]);
    tlpi_moments_free(&in->sums.low[1]);
}

static void drop_lowrank(tlpi_calibration *c, const input *in)
{
    tlpi_fitted_lowrank_free(c->env, in->lowrank);
}

static const fit_kind lowranks = { begin_lowrank, add_lowrank, solve_lowrank,
                                   end_lowrank, drop_lowrank };

/* ==== a half of a stage ================================================== */

/* The choosing pass tries to fit every input. */
static bool wants(const inputs *x, const input *in)
{
    return x->c->choosing || in->choice->rank != 0;
}

static tlp_status take_window(void *arg, int window)
{
    inputs *x = arg;
    const tlpi_window *w = &x->c->text.window[window];
    bool raw = tlpi_arch_get(&x->c->model->hp)->raw_input; /* not normalised */
    tlp_status st = TLP_OK;

    for (int m = 0; m < x->n && st == TLP_OK; m++) {
        input *in = &x->in[m];
        const tlpi_rows rows = { .n_tok = w->n,
                                 .d = (int)x->c->d,
                                 .n_feature = 1,
                                 .feature = &in->seen,
                                 .target = in->want + w->at * x->c->d,
                                 .present = in->seen,
                                 .weight = raw ? x->c->weight + w->at : NULL };

        if (wants(x, in))
            st = x->kind->add(x->c, in, &rows, tlpi_fit_is_held(x->c, window));
    }
    return st;
}

static tlp_status solve_all(inputs *x, int stage, tlpi_probe_at at)
{
    const tlpi_cal_sink sink = { 1u << at, take_window, x };
    tlp_status st = TLP_OK;

    for (int m = 0; m < x->n; m++)
        if (wants(x, &x->in[m]))
            TLP_TRY(x->kind->begin(x->c, &x->in[m]));
    TLP_TRY(tlpi_calibration_run(x->c, stage, &sink));
    for (int m = 0; m < x->n; m++)
        if (wants(x, &x->in[m]))
            TLP_TRY(x->kind->solve(x->c, &x->in[m]));
done:
    for (int m = 0; m < x->n; m++)
        x->kind->end(&x->in[m]);
    return st;
}

/* Fit the inputs of all members, and drop the fits if the output is no better.
 * choice [n]: after the choosing pass, what to fit. */
static tlp_status fit_members(tlpi_calibration *c, int stage, int half,
                              const fit_kind *kind, tlpi_choice *choice)
{
    inputs x = { c, kind, NULL, tlpi_plan_n_member(c->plan, stage) };
    bool any = false, better;
    tlp_status st = TLP_OK;

    x.in = tlpi_calloc(c->env, (size_t)x.n, sizeof(*x.in));
    if (!x.in)
        return tlpi_fail_nomem_for("a fit");
    for (int m = 0; m < x.n; m++) {
        x.in[m] = input_of(c, stage, half, m);
        x.in[m].choice = &choice[m];
        any |= wants(&x, &x.in[m]);
    }
    if (!any)
        goto done;
    TLP_TRY(solve_all(&x, stage,
                      half == TLPI_HALF_ATTN ? TLPI_PROBE_ATTN_IN
                                             : TLPI_PROBE_FFN_IN));
    TLP_TRY(tlpi_fit_check(c, stage, &better));
    if (better)
        goto done;
    for (int m = 0; m < x.n; m++) {
        kind->drop(c, &x.in[m]);
        choice[m] = (tlpi_choice){ 0 };
    }
    st = tlpi_fitted_apply(c, stage);
done:
    tlpi_free(c->env, x.in);
    return st;
}

tlp_status tlpi_fit_inputs(tlpi_calibration *c, int stage, int half)
{
    const tlpi_stage_choice *choice = &c->choice[stage];
    int first = half * tlpi_plan_n_member(c->plan, stage);
    tlp_status st = TLP_OK;

    if (c->o.norms && !tlpi_arch_get(&c->model->hp)->raw_input)
        TLP_TRY(fit_members(c, stage, half, &norms, choice->norm + first));
    if (c->o.rank)
        TLP_TRY(fit_members(c, stage, half, &lowranks, choice->in + first));
done:
    return st;
}
