/*
 * fit_stage.c - the fits of one group, one after the other, each seeing the
 * effect of those before it: the inputs of attention, those of feed-forward,
 * gains, and the output.
 */
#include "tune/calibration.h"

#include <math.h>
#include <string.h>

enum { ATTN, FFN }; /* halves of a layer */

#define BIT(at) (1u << (at))
#define OUTPUTS (BIT(TLPI_PROBE_ATTN) | BIT(TLPI_PROBE_FFN))

bool tlpi_stage_is_group(const tlpi_stage *s)
{
    return s->n_member > 1 &&
           (s->mode == TLP_MODE_LP || s->mode == TLP_MODE_PAR ||
            s->mode == TLP_MODE_ASYM);
}

static int slot_of(const tlpi_calibration *c, int half, int member)
{
    return half * c->max_member + member;
}

/* While choosing, the first windows are those held out. */
static bool is_held(const tlpi_calibration *c, int window)
{
    return c->choosing && window < c->n_held;
}

/* ==== proof ============================================================== */

/* 1 / |x|^2 of the tokens: else the first of a window rules, whose stream is
 * by orders of magnitude the largest. */
static void weigh(tlpi_calibration *c)
{
    for (size_t t = 0; t < c->n_tok; t++) {
        const float *x = c->stream + t * c->d;
        double sum = 0;

        for (size_t j = 0; j < c->d; j++)
            sum += (double)x[j] * (double)x[j];
        c->weight[t] = (float)(1 / (sum + 1e-30));
    }
}

/* Of the held-out windows. */
static double output_error(const tlpi_calibration *c)
{
    size_t last = (size_t)c->n_held - 1;
    size_t n = c->window[last].at + (size_t)c->window[last].n;
    double sum = 0;

    for (size_t t = 0; t < n; t++)
        for (size_t j = t * c->d; j < (t + 1) * c->d; j++) {
            double missing = (double)c->truth[j] - (double)c->next[j];
            sum += (double)c->weight[t] * missing * missing;
        }
    return sum;
}

/*
 * Runs the stage as it is fitted, to keep what that run shows.  While choosing:
 * is the stage's output better than it was?  A fit that brings an input closer
 * can still make the output worse: it shrinks what is uncertain, which layers
 * do not forgive.
 */
static tlp_status prove(tlpi_calibration *c, int stage, uint32_t keep,
                        bool *better)
{
    tlp_status st;

    *better = true;
    TLP_TRY(tlpi_fitted_apply(c, stage));
    if (!c->choosing && !keep)
        goto done;
    TLP_TRY(tlpi_calibration_run(c, stage, keep));
    if (c->choosing) {
        double error = output_error(c);

        *better = error < TLPI_HELPS * c->error;
        if (*better)
            c->error = error;
    }
done:
    return st;
}

/* ==== inputs ============================================================= */

static tlpi_rows input_rows(const tlpi_calibration *c, int slot, int window,
                            const float *feature[1])
{
    const tlpi_cal_window *w = &c->window[window];
    size_t at = w->at * c->d;

    feature[0] = tlpi_cal_slot(c, c->seen, slot) + at;
    return (tlpi_rows){ .n_tok = w->n,
                        .d = (int)c->d,
                        .n_feature = 1,
                        .feature = feature,
                        .target = tlpi_cal_slot(c, c->want, slot) + at,
                        .present = feature[0] };
}

/* The model's weight times scale. */
static tlp_status scale_norm(const tlpi_calibration *c,
                             const tlpi_tensor *model, const float *scale,
                             float **norm)
{
    *norm = tlpi_alloc_array(c->env, c->d, sizeof(**norm));
    if (!*norm)
        return tlpi_fail_nomem();
    tlpi_dequantize(model->type, model->data, *norm, (int64_t)c->d);
    for (size_t j = 0; j < c->d; j++)
        (*norm)[j] *= scale[j];
    return TLP_OK;
}

static tlp_status fit_norm(tlpi_calibration *c, int stage, int half, int member)
{
    const tlpi_layer *l =
        &c->model->w.layer[c->plan->stage[stage].layers[member]];
    tlpi_fitted_member *out = &c->fitted[stage].member[member];
    int slot = slot_of(c, half, member);
    tlpi_choice *choice =
        &c->choice[stage].norm[half * c->plan->stage[stage].n_member + member];
    tlpi_norm_moments m[2] = { 0 };
    float *scale = tlpi_alloc_array(c->env, c->d, sizeof(*scale));
    const float *feature[1];
    tlp_status st = scale ? TLP_OK : tlpi_fail_nomem();

    TLP_TRY(st);
    TLP_TRY(tlpi_norms_create(&m[0], c->env, (int)c->d));
    TLP_TRY(tlpi_norms_create(&m[1], c->env, (int)c->d));
    for (int i = 0; i < c->n_window; i++) {
        tlpi_rows rows = input_rows(c, slot, i, feature);
        tlpi_norms_add(&m[is_held(c, i)], &rows);
    }
    tlpi_fit_norms(&m[0], c->choosing ? &m[1] : NULL, choice, scale);
    if (choice->rank)
        TLP_TRY(scale_norm(c, half == ATTN ? l->attn_norm : l->ffn_norm, scale,
                           half == ATTN ? &out->attn_norm : &out->ffn_norm));
done:
    tlpi_norms_free(&m[0]);
    tlpi_norms_free(&m[1]);
    tlpi_free(c->env, scale);
    return st;
}

static tlp_status fit_input(tlpi_calibration *c, int stage, int half,
                            int member)
{
    tlpi_fitted_member *out = &c->fitted[stage].member[member];
    int slot = slot_of(c, half, member);
    tlpi_choice *choice =
        &c->choice[stage].in[half * c->plan->stage[stage].n_member + member];
    tlpi_moments m[2] = { 0 };
    const float *feature[1];
    tlp_status st;

    if (!c->choosing && choice->rank == 0)
        return TLP_OK;
    TLP_TRY(tlpi_moments_create(&m[0], c->env, (int)c->d, 1));
    if (c->choosing)
        TLP_TRY(tlpi_moments_create(&m[1], c->env, (int)c->d, 1));
    for (int i = 0; i < c->n_window; i++) {
        tlpi_rows rows = input_rows(c, slot, i, feature);
        TLP_TRY(tlpi_moments_add(&m[is_held(c, i)], c->pool, &rows));
    }
    TLP_TRY(tlpi_fit_lowrank(&c->fitter, &m[0], c->choosing ? &m[1] : NULL,
                             c->o.rank, choice,
                             half == ATTN ? &out->attn_in : &out->ffn_in));
done:
    tlpi_moments_free(&m[0]);
    tlpi_moments_free(&m[1]);
    return st;
}

/* Is there anything to fit for the inputs of this half? */
static bool wants_inputs(const tlpi_calibration *c, int stage, int half)
{
    int n = c->plan->stage[stage].n_member;
    bool any = c->choosing && (c->o.norms || c->o.rank);

    for (int i = half * n; i < (half + 1) * n; i++)
        any |= !c->choosing &&
               (c->choice[stage].norm[i].rank || c->choice[stage].in[i].rank);
    return any;
}

static void drop_norms(tlpi_calibration *c, int stage, int half)
{
    int n = c->plan->stage[stage].n_member;

    for (int m = 0; m < n; m++) {
        tlpi_fitted_member *x = &c->fitted[stage].member[m];
        float **norm = half == ATTN ? &x->attn_norm : &x->ffn_norm;

        tlpi_free(c->env, *norm);
        *norm = NULL;
        c->choice[stage].norm[half * n + m] = (tlpi_choice){ 0 };
    }
}

static void drop_inputs(tlpi_calibration *c, int stage, int half)
{
    int n = c->plan->stage[stage].n_member;

    for (int m = 0; m < n; m++) {
        tlpi_fitted_member *x = &c->fitted[stage].member[m];

        tlpi_fitted_lowrank_free(c->env,
                                 half == ATTN ? &x->attn_in : &x->ffn_in);
        c->choice[stage].in[half * n + m] = (tlpi_choice){ 0 };
    }
}

static tlp_status fit_norms(tlpi_calibration *c, int stage, int half,
                            uint32_t keep)
{
    bool better;
    tlp_status st;

    TLP_TRY(tlpi_calibration_run(c, stage, keep));
    for (int m = 0; m < c->plan->stage[stage].n_member; m++)
        TLP_TRY(fit_norm(c, stage, half, m));
    TLP_TRY(prove(c, stage, 0, &better));
    if (better)
        goto done;
    drop_norms(c, stage, half);
    st = tlpi_fitted_apply(c, stage);
done:
    return st;
}

static tlp_status fit_lowranks(tlpi_calibration *c, int stage, int half,
                               uint32_t keep)
{
    bool better;
    tlp_status st;

    TLP_TRY(tlpi_calibration_run(c, stage, keep));
    for (int m = 0; m < c->plan->stage[stage].n_member; m++)
        TLP_TRY(fit_input(c, stage, half, m));
    TLP_TRY(prove(c, stage, 0, &better));
    if (better)
        goto done;
    drop_inputs(c, stage, half);
    st = tlpi_fitted_apply(c, stage);
done:
    return st;
}

static tlp_status fit_inputs(tlpi_calibration *c, int stage, int half)
{
    uint32_t keep = BIT(half == ATTN ? TLPI_PROBE_ATTN_IN : TLPI_PROBE_FFN_IN);
    tlp_status st = TLP_OK;

    if (!wants_inputs(c, stage, half))
        return TLP_OK;
    if (c->o.norms)
        TLP_TRY(fit_norms(c, stage, half, keep));
    if (c->o.rank)
        TLP_TRY(fit_lowranks(c, stage, half, keep));
done:
    return st;
}

/* ==== the output ========================================================= */

/* Slots as features of what is missing behind the stage. */
static tlpi_rows output_rows(const tlpi_calibration *c, const int *slot, int n,
                             int window, const float **feature)
{
    const tlpi_cal_window *w = &c->window[window];
    size_t at = w->at * c->d;

    for (int i = 0; i < n; i++)
        feature[i] = tlpi_cal_slot(c, c->seen, slot[i]) + at;
    return (tlpi_rows){ .n_tok = w->n,
                        .d = (int)c->d,
                        .n_feature = n,
                        .feature = feature,
                        .target = c->truth + at,
                        .present = c->next + at,
                        .weight = c->weight + w->at };
}

/* slot[to] += sign * slot[from] */
static void add_slot(const tlpi_calibration *c, int to, int from, float sign)
{
    const float *x = tlpi_cal_slot(c, c->seen, from);
    float *y = tlpi_cal_slot(c, c->seen, to);

    for (size_t i = 0; i < c->n_tok * c->d; i++)
        y[i] += sign * x[i];
}

/* ---- gains ---- */

/* The parts that have a gain: attention first.  lp has one for all of it. */
static int gain_slots(const tlpi_calibration *c, const tlpi_stage *s, int *slot)
{
    int n = 0, n_attn = s->mode == TLP_MODE_LP ? 1 : s->n_member;

    for (int m = 0; m < n_attn; m++)
        slot[n++] = slot_of(c, ATTN, m);
    for (int m = 0; m < s->n_member; m++)
        slot[n++] = slot_of(c, FFN, m);
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

/* asym: running sums of attention become each member's own, and back. */
static void part_sums(const tlpi_calibration *c, int n_member)
{
    for (int i = n_member - 1; i > 0; i--)
        add_slot(c, slot_of(c, ATTN, i), slot_of(c, ATTN, i - 1), -1);
}

static void join_sums(const tlpi_calibration *c, int n_member)
{
    for (int i = 1; i < n_member; i++)
        add_slot(c, slot_of(c, ATTN, i), slot_of(c, ATTN, i - 1), 1);
}

static tlp_status solve_gains(tlpi_calibration *c, int stage, float *gain)
{
    const tlpi_stage *s = &c->plan->stage[stage];
    const float *feature[TLPI_MAX_GAIN];
    int slot[TLPI_MAX_GAIN];
    tlpi_gain_moments *m = tlpi_calloc(c->env, 2, sizeof(*m));
    tlp_status st = m ? TLP_OK : tlpi_fail_nomem();

    if (s->mode == TLP_MODE_ASYM)
        part_sums(c, s->n_member);
    int n = gain_slots(c, s, slot);
    for (int i = 0; i < c->n_window && st == TLP_OK; i++) {
        tlpi_rows rows = output_rows(c, slot, n, i, feature);
        tlpi_gains_add(&m[is_held(c, i)], &rows);
    }
    if (st == TLP_OK)
        st = tlpi_fit_gains(&c->fitter, &m[0], c->choosing ? &m[1] : NULL,
                            &c->choice[stage].gains, gain);
    if (s->mode == TLP_MODE_ASYM)
        join_sums(c, s->n_member);
    tlpi_free(c->env, m);
    return st;
}

/* A gain of attention also changes what feed-forward reads, which its fit does
 * not know. */
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
    TLP_TRY(prove(c, stage, OUTPUTS, &better));
    if (better)
        goto done;
    *choice = (tlpi_choice){ 0 };
    for (size_t i = 0; i < TLPI_COUNT(gain); i++)
        gain[i] = 1;
    put_gains(s, gain, &c->fitted[stage]);
    TLP_TRY(tlpi_fitted_apply(c, stage));
    st = tlpi_calibration_run(c, stage, OUTPUTS);
done:
    return st;
}

/* ---- low rank ---- */

/* Columns of each member's own from those of all. */
static tlp_status put_out(tlpi_calibration *c, int n_member,
                          tlpi_fitted_lowrank *x, tlpi_fitted_stage *out)
{
    size_t r = (size_t)x->rank, n = (size_t)n_member * c->d;

    for (int m = 0; m < n_member; m++) {
        float *down = tlpi_alloc_array(c->env, r * c->d, sizeof(*down));

        if (!down)
            return tlpi_fail_nomem();
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
    tlp_status st = feature && slot ? TLP_OK : tlpi_fail_nomem();

    TLP_TRY(st);
    if (!c->choosing && choice->rank == 0)
        goto done;
    for (int i = 0; i < n; i++) {
        slot[i] = slot_of(c, ATTN, i);
        add_slot(c, slot[i], slot_of(c, FFN, i), 1);
    }
    TLP_TRY(tlpi_moments_create(&m[0], c->env, (int)c->d, n));
    if (c->choosing)
        TLP_TRY(tlpi_moments_create(&m[1], c->env, (int)c->d, n));
    for (int i = 0; i < c->n_window; i++) {
        tlpi_rows rows = output_rows(c, slot, n, i, feature);
        TLP_TRY(tlpi_moments_add(&m[is_held(c, i)], c->pool, &rows));
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

/* ==== all ================================================================ */

tlp_status tlpi_fit_stage(tlpi_calibration *c, int stage)
{
    int n = c->plan->stage[stage].n_member;
    bool better;
    tlp_status st;

    tlpi_fitted_clear(c->env, &c->fitted[stage], n);
    TLP_TRY(tlpi_fitted_init(c->env, &c->fitted[stage], n));
    weigh(c);
    c->error = INFINITY;
    TLP_TRY(prove(c, stage, 0, &better));
    TLP_TRY(fit_inputs(c, stage, ATTN));
    TLP_TRY(fit_inputs(c, stage, FFN));
    TLP_TRY(tlpi_calibration_run(c, stage, OUTPUTS));
    if (c->o.gains)
        TLP_TRY(fit_gains(c, stage));
    if (c->o.rank)
        TLP_TRY(fit_out(c, stage));
done:
    return st;
}
