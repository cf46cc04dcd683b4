/*
 * fit_outputs.c - bring the sum of a group's outputs closer to the teacher's
 * stream behind the group: gains of the parts, and a low-rank map of the sum.
 */
#include <string.h>

#include "tune/fit_stage.h"

/* The slots are features of the part that is missing behind the stage. */
static tlpi_rows output_rows(const tlpi_calibration *c, const int *slot, int n,
                             int window, const float **feature)
{
    const tlpi_window *w = &c->text.window[window];
    size_t at = w->at * c->d;

    for (int i = 0; i < n; i++)
        feature[i] = tlpi_cal_slot(c, c->seen, slot[i]) + at;
    return (tlpi_rows){ .n_tok = w->n,
                        .d = (int)c->d,
                        .n_feature = n,
                        .feature = feature,
                        .target = c->teacher.stream + at,
                        .present = c->next + at,
                        .weight = c->weight + w->at };
}

/* slot[to] += sign * slot[from] */
static void add_slot(const tlpi_calibration *c, int to, int from, float sign)
{
    const float *x = tlpi_cal_slot(c, c->seen, from);
    float *y = tlpi_cal_slot(c, c->seen, to);

    for (size_t i = 0; i < c->text.n_tok * c->d; i++)
        y[i] += sign * x[i];
}

/* ==== gains ============================================================== */

/* The parts that have a gain, attention first.  In lp the attention of all
 * members has one gain. */
static int gain_slots(const tlpi_calibration *c, const tlpi_stage *s, int *slot)
{
    int n = 0, n_attn = s->mode == TLP_MODE_LP ? 1 : s->n_member;

    for (int m = 0; m < n_attn; m++)
        slot[n++] = tlpi_fit_slot(c, TLPI_HALF_ATTN, m);
    for (int m = 0; m < s->n_member; m++)
        slot[n++] = tlpi_fit_slot(c, TLPI_HALF_FFN, m);
    return n;
}

static void put_gains(const tlpi_stage *s, const float *gain,
                      tlpi_fitted_stage *out)
{
    int n_attn = s->mode == TLP_MODE_LP ? 1 : s->n_member;

    for (int m = 0; m < s->n_member; m++) {
        out->member[m].attn_gain = gain[TLPI_MIN(m, n_attn - 1)];
        out->member[m].ffn_gain = gain[n_attn + m];
    }
}

/* In asym a slot of attention holds the sum over the members so far:
 * part_sums makes it the member's own output, join_sums undoes that. */
static void part_sums(const tlpi_calibration *c, int n_member)
{
    for (int i = n_member - 1; i > 0; i--)
        add_slot(c, tlpi_fit_slot(c, TLPI_HALF_ATTN, i),
                 tlpi_fit_slot(c, TLPI_HALF_ATTN, i - 1), -1);
}

static void join_sums(const tlpi_calibration *c, int n_member)
{
    for (int i = 1; i < n_member; i++)
        add_slot(c, tlpi_fit_slot(c, TLPI_HALF_ATTN, i),
                 tlpi_fit_slot(c, TLPI_HALF_ATTN, i - 1), 1);
}

static tlp_status solve_gains(tlpi_calibration *c, int stage, float *gain)
{
    const tlpi_stage *s = &c->plan->stage[stage];
    const float *feature[TLPI_MAX_GAIN];
    int slot[TLPI_MAX_GAIN];
    tlpi_gain_moments *m = tlpi_calloc(c->env, 2, sizeof(*m));
    tlp_status st = m ? TLP_OK : tlpi_fail_nomem_for("a fit");

    if (s->mode == TLP_MODE_ASYM)
        part_sums(c, s->n_member);
    int n = gain_slots(c, s, slot);
    for (int i = 0; i < c->text.n && st == TLP_OK; i++) {
        tlpi_rows rows = output_rows(c, slot, n, i, feature);
        tlpi_gains_add(&m[tlpi_fit_is_held(c, i)], &rows);
    }
    if (st == TLP_OK)
        st = tlpi_fit_gains(&c->fitter, &m[0], c->choosing ? &m[1] : NULL,
                            &c->choice[stage].gains, gain);
    if (s->mode == TLP_MODE_ASYM)
        join_sums(c, s->n_member);
    tlpi_free(c->env, m);
    return st;
}

/* A gain of attention also changes the input of feed-forward.  The regression
 * does not know that, so the result is checked. */
static tlp_status fit_gains(tlpi_calibration *c, int stage)
{
    const tlpi_stage *s = &c->plan->stage[stage];
    tlpi_choice *choice = &c->choice[stage].gains;
    float gain[TLPI_MAX_GAIN];
    bool better;
    tlp_status st;

    if (2 * s->n_member > TLPI_MAX_GAIN || !(c->choosing || choice->rank))
        return TLP_OK;
    TLP_TRY(solve_gains(c, stage, gain));
    if (choice->rank == 0)
        return TLP_OK;
    put_gains(s, gain, &c->fitted[stage]);
    TLP_TRY(tlpi_fit_check(c, stage, TLPI_KEEP_OUTPUTS, &better));
    if (better)
        goto done;
    *choice = (tlpi_choice){ 0 };
    for (size_t i = 0; i < TLPI_COUNT(gain); i++)
        gain[i] = 1;
    put_gains(s, gain, &c->fitted[stage]);
    TLP_TRY(tlpi_fitted_apply(c, stage));
    st = tlpi_calibration_run(c, stage, TLPI_KEEP_OUTPUTS);
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

static tlp_status fit_out(tlpi_calibration *c, int stage)
{
    int n = c->plan->stage[stage].n_member;
    tlpi_choice *choice = &c->choice[stage].out;
    const float **feature = tlpi_calloc(c->env, (size_t)n, sizeof(*feature));
    int *slot = tlpi_calloc(c->env, (size_t)n, sizeof(*slot));
    tlpi_fitted_lowrank x = { 0 };
    tlpi_moments m[2] = { 0 };
    tlp_status st = feature && slot ? TLP_OK : tlpi_fail_nomem_for("a fit");

    TLP_TRY(st);
    if (!c->choosing && choice->rank == 0)
        goto done;
    for (int i = 0; i < n; i++) {
        slot[i] = tlpi_fit_slot(c, TLPI_HALF_ATTN, i);
        add_slot(c, slot[i], tlpi_fit_slot(c, TLPI_HALF_FFN, i), 1);
    }
    TLP_TRY(tlpi_moments_create(&m[0], c->env, (int)c->d, n));
    if (c->choosing)
        TLP_TRY(tlpi_moments_create(&m[1], c->env, (int)c->d, n));
    for (int i = 0; i < c->text.n; i++) {
        tlpi_rows rows = output_rows(c, slot, n, i, feature);
        TLP_TRY(tlpi_moments_add(&m[tlpi_fit_is_held(c, i)], c->fitter.pool,
                                 &rows));
    }
    TLP_TRY(tlpi_fit_lowrank(&c->fitter, &m[0], c->choosing ? &m[1] : NULL,
                             c->o.rank, choice, &x));
    if (x.rank) {
        TLP_TRY(put_out(c, n, &x, &c->fitted[stage]));
        TLP_TRY(tlpi_fitted_apply(c, stage));
        TLP_TRY(tlpi_calibration_run(c, stage, 0));
    }
done:
    tlpi_moments_free(&m[0]);
    tlpi_moments_free(&m[1]);
    tlpi_fitted_lowrank_free(c->env, &x);
    tlpi_free(c->env, slot);
    tlpi_free(c->env, feature);
    return st;
}

tlp_status tlpi_fit_outputs(tlpi_calibration *c, int stage)
{
    tlp_status st = TLP_OK;

    if (c->o.gains)
        TLP_TRY(fit_gains(c, stage));
    if (c->o.rank)
        TLP_TRY(fit_out(c, stage));
done:
    return st;
}
