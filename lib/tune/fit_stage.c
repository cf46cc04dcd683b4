/*
 * fit_stage.c - the fits of one stage, one after another: the inputs of
 * attention, the inputs of feed-forward, the outputs of a group.
 */
#include "tune/fit_stage.h"

#include <math.h>

static bool is_group(const tlpi_stage *s)
{
    return s->n_member > 1 &&
           (s->mode == TLP_MODE_LP || s->mode == TLP_MODE_PAR ||
            s->mode == TLP_MODE_ASYM);
}

/* Does this half of a layer read streams that differ between tracks? */
static bool reads_tracks(const tlp_plan *p, int stage, int half)
{
    return half == TLPI_HALF_ATTN ? tlpi_plan_is_open(p, stage)
                                  : p->stage[stage].nosync & TLP_NOSYNC_ATTN;
}

/* Is this half's input another than the teacher's, by what the stage leaves
 * out? */
static bool has_inputs(const tlp_plan *p, int stage, int half)
{
    return is_group(&p->stage[stage]) || reads_tracks(p, stage, half);
}

bool tlpi_fit_has(const tlp_plan *p, int stage)
{
    return has_inputs(p, stage, TLPI_HALF_ATTN) ||
           has_inputs(p, stage, TLPI_HALF_FFN);
}

/* Weight tokens by 1 / |x|^2.  Otherwise the first token of a window dominates:
 * its stream is larger by orders of magnitude. */
static tlp_status weigh(tlpi_calibration *c)
{
    float *x = tlpi_alloc_array(c->env, c->d, sizeof(*x));

    if (!x)
        return tlpi_fail_nomem_for("a fit");
    for (size_t t = 0; t < c->text.n_tok; t++) {
        tlpi_calibration_join(c, &c->stream, t, x);
        c->weight[t] = (float)(1 / (tlpi_squares(x, c->d) + 1e-30));
    }
    tlpi_free(c->env, x);
    return TLP_OK;
}

/* The weighted error of next on the held-out windows. */
static tlp_status output_error(const tlpi_calibration *c, double *error)
{
    const tlpi_window *last = &c->text.window[c->text.n_held - 1];
    size_t n = last->at + (size_t)last->n;
    float *x = tlpi_alloc_array(c->env, c->d, sizeof(*x));

    *error = 0;
    if (!x)
        return tlpi_fail_nomem_for("a fit");
    for (size_t t = 0; t < n; t++) {
        const float *want = c->teacher.stream + t * c->d;

        tlpi_calibration_join(c, &c->next, t, x);
        for (size_t j = 0; j < c->d; j++) {
            double missing = (double)want[j] - (double)x[j];
            *error += (double)c->weight[t] * missing * missing;
        }
    }
    tlpi_free(c->env, x);
    return TLP_OK;
}

tlp_status tlpi_fit_check(tlpi_calibration *c, int stage, bool *better)
{
    double error;
    tlp_status st;

    *better = true;
    TLP_TRY(tlpi_fitted_apply(c, stage));
    if (!c->choosing)
        goto done;
    TLP_TRY(tlpi_calibration_run(c, stage, NULL));
    TLP_TRY(output_error(c, &error));
    *better = error < TLPI_HELPS * c->error;
    if (*better)
        c->error = error;
done:
    return st;
}

tlp_status tlpi_fit_stage(tlpi_calibration *c, int stage)
{
    int n = tlpi_plan_n_member(c->plan, stage);
    bool better;
    tlp_status st;

    tlpi_fitted_clear(c->env, &c->fitted[stage], n);
    TLP_TRY(tlpi_fitted_init(c->env, &c->fitted[stage], n));
    TLP_TRY(weigh(c));
    c->error = INFINITY;
    TLP_TRY(tlpi_fit_check(c, stage, &better));
    for (int half = TLPI_HALF_ATTN; half <= TLPI_HALF_FFN; half++)
        if (has_inputs(c->plan, stage, half))
            TLP_TRY(tlpi_fit_inputs(c, stage, half));
    if (is_group(&c->plan->stage[stage]))
        TLP_TRY(tlpi_fit_outputs(c, stage));
    st = tlpi_calibration_run(c, stage, NULL);
done:
    return st;
}
