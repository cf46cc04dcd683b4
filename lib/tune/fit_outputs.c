/*
 * fit_outputs.c - bring the sum of a group's outputs closer to the teacher's
 * stream behind the group: norms of outputs, gains of the parts, and a low-rank
 * map of the sum.
 */
#include <string.h>

#include "tune/fit_stage.h"

/* The outputs of a group while one fit sums over the windows: the parts that
 * the fit reads, each [n_ctx][d] of one window, and the sums. */
typedef struct outputs {
    tlpi_calibration *c;
    int stage, n_member;
    const float **part; /* [n_part] */
    int n_part;
    tlpi_gain_moments *gain; /* [2] of fitted and of held-out windows */
    tlpi_column_moments post[2];
    tlpi_moments low[2];
} outputs;

/* The parts are features of what is missing behind the stage. */
static tlpi_rows output_rows(const outputs *o, int window)
{
    const tlpi_calibration *c = o->c;
    const tlpi_window *w = &c->text.window[window];
    size_t at = w->at * c->d;

    return (tlpi_rows){ .n_tok = w->n,
                        .d = (int)c->d,
                        .n_feature = o->n_part,
                        .feature = o->part,
                        .target = c->teacher.stream + at,
                        .present = c->next.x + at,
                        .weight = c->weight + w->at };
}

/* to += sign * from, of a window */
static void add_part(const tlpi_calibration *c, int window, float *to,
                     const float *from, float sign)
{
    for (size_t i = 0; i < (size_t)c->text.window[window].n * c->d; i++)
        to[i] += sign * from[i];
}

/* ==== parts ============================================================== */

/* The parts that have factors of their own, attention first.  In lp the
 * attention of all members is one part. */
static int n_attn_part(const tlpi_stage *s)
{
    return s->mode == TLP_MODE_LP ? 1 : s->n_member;
}

static void list_parts(outputs *o)
{
    int n_attn = n_attn_part(&o->c->plan->stage[o->stage]);

    o->n_part = n_attn + o->n_member;
    for (int m = 0; m < n_attn; m++)
        o->part[m] = tlpi_cal_seen(o->c, TLPI_HALF_ATTN, m);
    for (int m = 0; m < o->n_member; m++)
        o->part[n_attn + m] = tlpi_cal_seen(o->c, TLPI_HALF_FFN, m);
}

/* In asym the attention of a member was kept as the sum over the members so
 * far: make it the member's own. */
static void part_sums(const outputs *o, int window)
{
    for (int i = o->n_member - 1; i > 0; i--)
        add_part(o->c, window, tlpi_cal_seen(o->c, TLPI_HALF_ATTN, i),
                 tlpi_cal_seen(o->c, TLPI_HALF_ATTN, i - 1), -1);
}

/* The parts of a window, and the outputs of the serial model that they should
 * come to. */
static tlpi_rows part_rows(outputs *o, int window)
{
    if (o->c->plan->stage[o->stage].mode == TLP_MODE_ASYM)
        part_sums(o, window);
    return output_rows(o, window);
}

/* ==== norms of outputs =================================================== */

static tlp_status take_posts(void *arg, int window)
{
    outputs *o = arg;

    const tlpi_rows rows = part_rows(o, window);

    tlpi_columns_add(&o->post[tlpi_fit_is_held(o->c, window)], &rows);
    return TLP_OK;
}

/* factor [n_part][d] */
static tlp_status solve_posts(outputs *o, float *factor)
{
    tlpi_calibration *c = o->c;
    const tlpi_cal_sink sink = { TLPI_KEEP_OUTPUTS, take_posts, o };
    tlp_status st;

    for (int i = 0; i < 2; i++)
        TLP_TRY(tlpi_columns_create(&o->post[i], c->env, (int)c->d, o->n_part));
    TLP_TRY(tlpi_calibration_run(c, o->stage, &sink));
    st = tlpi_fit_columns(&c->fitter, &o->post[0],
                          c->choosing ? &o->post[1] : NULL,
                          &c->choice[o->stage].posts, factor);
done:
    tlpi_columns_free(&o->post[0]);
    tlpi_columns_free(&o->post[1]);
    return st;
}

/* *post = the layer's norm times the factors, or NULL without factors. */
static tlp_status put_post(tlpi_calibration *c, const tlpi_tensor *model,
                           const float *factor, float **post)
{
    tlpi_free(c->env, *post);
    *post = NULL;
    if (!factor)
        return TLP_OK;
    *post = tlpi_alloc_array(c->env, c->d, sizeof(**post));
    if (!*post)
        return tlpi_fail_nomem_for("a fit");
    tlpi_dequantize(model->type, model->data, *post, (int64_t)c->d);
    for (size_t j = 0; j < c->d; j++)
        (*post)[j] *= factor[j];
    return TLP_OK;
}

/* factor NULL: the model's norms. */
static tlp_status put_posts(const outputs *o, const float *factor)
{
    tlpi_calibration *c = o->c;
    const tlpi_stage *s = &c->plan->stage[o->stage];
    int n_attn = n_attn_part(s);
    tlp_status st = TLP_OK;

    for (int m = 0; m < s->n_member; m++) {
        const tlpi_layer *l = &c->model->w.layer[s->layers[m]];
        tlpi_fitted_member *x = &c->fitted[o->stage].member[m];
        size_t attn = (size_t)TLPI_MIN(m, n_attn - 1) * c->d;
        size_t ffn = (size_t)(n_attn + m) * c->d;

        TLP_TRY(put_post(c, l->t[TLPI_ATTN_POST_NORM],
                         factor ? factor + attn : NULL, &x->attn_post));
        TLP_TRY(put_post(c, l->t[TLPI_FFN_POST_NORM],
                         factor ? factor + ffn : NULL, &x->ffn_post));
    }
done:
    return st;
}

/* As with gains, the result is checked. */
static tlp_status fit_posts(outputs *o)
{
    tlpi_calibration *c = o->c;
    tlpi_choice *choice = &c->choice[o->stage].posts;
    float *factor = NULL;
    bool better;
    tlp_status st = TLP_OK;

    if (2 * o->n_member > TLPI_MAX_GAIN || !(c->choosing || choice->rank))
        return TLP_OK;
    list_parts(o);
    factor =
        tlpi_alloc_array(c->env, (size_t)o->n_part * c->d, sizeof(*factor));
    if (!factor)
        return tlpi_fail_nomem_for("a fit");
    TLP_TRY(solve_posts(o, factor));
    if (choice->rank == 0)
        goto done;
    TLP_TRY(put_posts(o, factor));
    TLP_TRY(tlpi_fit_check(c, o->stage, &better));
    if (better)
        goto done;
    *choice = (tlpi_choice){ 0 };
    TLP_TRY(put_posts(o, NULL));
    st = tlpi_fitted_apply(c, o->stage);
done:
    tlpi_free(c->env, factor);
    return st;
}

/* ==== gains ============================================================== */

static void put_gains(const tlpi_stage *s, const float *gain,
                      tlpi_fitted_stage *out)
{
    int n_attn = n_attn_part(s);

    for (int m = 0; m < s->n_member; m++) {
        out->member[m].attn_gain = gain[TLPI_MIN(m, n_attn - 1)];
        out->member[m].ffn_gain = gain[n_attn + m];
    }
}

static tlp_status take_gains(void *arg, int window)
{
    outputs *o = arg;

    const tlpi_rows rows = part_rows(o, window);

    tlpi_gains_add(&o->gain[tlpi_fit_is_held(o->c, window)], &rows);
    return TLP_OK;
}

static tlp_status solve_gains(outputs *o, float *gain)
{
    tlpi_calibration *c = o->c;
    const tlpi_cal_sink sink = { TLPI_KEEP_OUTPUTS, take_gains, o };
    tlp_status st;

    o->gain = tlpi_calloc(c->env, 2, sizeof(*o->gain));
    if (!o->gain)
        return tlpi_fail_nomem_for("a fit");
    list_parts(o);
    TLP_TRY(tlpi_calibration_run(c, o->stage, &sink));
    st = tlpi_fit_gains(&c->fitter, &o->gain[0],
                        c->choosing ? &o->gain[1] : NULL,
                        &c->choice[o->stage].gains, gain);
done:
    tlpi_free(c->env, o->gain);
    o->gain = NULL;
    return st;
}

/* A gain of attention also changes the input of feed-forward.  The regression
 * does not know that, so the result is checked. */
static tlp_status fit_gains(outputs *o)
{
    tlpi_calibration *c = o->c;
    const tlpi_stage *s = &c->plan->stage[o->stage];
    tlpi_choice *choice = &c->choice[o->stage].gains;
    float gain[TLPI_MAX_GAIN];
    bool better;
    tlp_status st;

    if (2 * s->n_member > TLPI_MAX_GAIN || !(c->choosing || choice->rank))
        return TLP_OK;
    TLP_TRY(solve_gains(o, gain));
    if (choice->rank == 0)
        return TLP_OK;
    put_gains(s, gain, &c->fitted[o->stage]);
    TLP_TRY(tlpi_fit_check(c, o->stage, &better));
    if (better)
        goto done;
    *choice = (tlpi_choice){ 0 };
    for (size_t i = 0; i < TLPI_COUNT(gain); i++)
        gain[i] = 1;
    put_gains(s, gain, &c->fitted[o->stage]);
    st = tlpi_fitted_apply(c, o->stage);
done:
    return st;
}

/* ==== low rank =========================================================== */

/* Cut the columns of `down` into the columns of each member. */
static tlp_status put_out(tlpi_calibration *c, int n_member,
                          tlpi_fitted_lowrank *x, tlpi_fitted_stage *out)
{
    size_t r = (size_t)x->rank, n = (size_t)n_member * c->d;

    for (int m = 0; m < n_member; m++) {
        float *down = tlpi_alloc_array(c->env, r * c->d, sizeof(*down));

        if (!down)
            return tlpi_fail_nomem_for("a fit");
        for (size_t k = 0; k < r; k++)
            memcpy(down + k * c->d, x->down + k * n + (size_t)m * c->d,
                   c->d * sizeof(*down));
        out->member[m].out_down = down;
    }
    out->out_rank = x->rank;
    out->out_up = x->up;
    x->up = NULL;
    return TLP_OK;
}

/* A member's part is its feed-forward and the attention that this read. */
static tlp_status take_out(void *arg, int window)
{
    outputs *o = arg;

    for (int m = 0; m < o->n_member; m++)
        add_part(o->c, window, tlpi_cal_seen(o->c, TLPI_HALF_ATTN, m),
                 tlpi_cal_seen(o->c, TLPI_HALF_FFN, m), 1);
    const tlpi_rows rows = output_rows(o, window);
    return tlpi_moments_add(&o->low[tlpi_fit_is_held(o->c, window)],
                            o->c->fitter.pool, &rows);
}

static tlp_status fit_out(outputs *o)
{
    tlpi_calibration *c = o->c;
    const tlpi_cal_sink sink = { TLPI_KEEP_OUTPUTS, take_out, o };
    tlpi_choice *choice = &c->choice[o->stage].out;
    tlpi_fitted_lowrank x = { 0 };
    tlp_status st = TLP_OK;

    if (!c->choosing && choice->rank == 0)
        return TLP_OK;
    o->n_part = o->n_member;
    for (int m = 0; m < o->n_member; m++)
        o->part[m] = tlpi_cal_seen(c, TLPI_HALF_ATTN, m);
    for (int i = 0; i < (c->choosing ? 2 : 1); i++)
        TLP_TRY(
            tlpi_moments_create(&o->low[i], c->env, (int)c->d, o->n_member));
    TLP_TRY(tlpi_calibration_run(c, o->stage, &sink));
    TLP_TRY(tlpi_fit_lowrank(&c->fitter, &o->low[0],
                             c->choosing ? &o->low[1] : NULL, c->o.rank, choice,
                             &x));
    if (x.rank) {
        TLP_TRY(put_out(c, o->n_member, &x, &c->fitted[o->stage]));
        st = tlpi_fitted_apply(c, o->stage);
    }
done:
    tlpi_moments_free(&o->low[0]);
    tlpi_moments_free(&o->low[1]);
    tlpi_fitted_lowrank_free(c->env, &x);
    return st;
}

tlp_status tlpi_fit_outputs(tlpi_calibration *c, int stage)
{
    outputs o = { .c = c,
                  .stage = stage,
                  .n_member = c->plan->stage[stage].n_member };
    bool post = tlpi_arch_get(&c->model->hp)->post_norm;
    tlp_status st = TLP_OK;

    o.part = tlpi_calloc(c->env, 2 * (size_t)o.n_member, sizeof(*o.part));
    if (!o.part)
        return tlpi_fail_nomem_for("a fit");
    if (c->o.norms && post)
        TLP_TRY(fit_posts(&o));
    if (c->o.gains)
        TLP_TRY(fit_gains(&o));
    if (c->o.rank && !post)
        st = fit_out(&o);
done:
    tlpi_free(c->env, (void *)o.part);
    return st;
}
