/*
 * fit_stage.c - the fits of one group, one after another: the inputs of
 * attention, the inputs of feed-forward, the outputs.
 */
#include "tune/fit_stage.h"

#include <math.h>

bool tlpi_stage_is_group(const tlpi_stage *s)
{
    return s->n_member > 1 &&
           (s->mode == TLP_MODE_LP || s->mode == TLP_MODE_PAR ||
            s->mode == TLP_MODE_ASYM);
}

/* Weight tokens by 1 / |x|^2.  Otherwise the first token of a window dominates:
 * its stream is larger by orders of magnitude. */
static void weigh(tlpi_calibration *c)
{
    for (size_t t = 0; t < c->text.n_tok; t++) {
        const float *x = c->stream + t * c->d;
        double sum = 0;

        for (size_t j = 0; j < c->d; j++)
            sum += (double)x[j] * (double)x[j];
        c->weight[t] = (float)(1 / (sum + 1e-30));
    }
}

/* The weighted error of next on the held-out windows. */
static double output_error(const tlpi_calibration *c)
{
    const tlpi_window *last = &c->text.window[c->text.n_held - 1];
    size_t n = last->at + (size_t)last->n;
    double sum = 0;

    for (size_t t = 0; t < n; t++)
        for (size_t j = t * c->d; j < (t + 1) * c->d; j++) {
            double missing = (double)c->teacher.stream[j] - (double)c->next[j];
            sum += (double)c->weight[t] * missing * missing;
        }
    return sum;
}

tlp_status tlpi_fit_check(tlpi_calibration *c, int stage, uint32_t keep,
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

tlp_status tlpi_fit_stage(tlpi_calibration *c, int stage)
{
    int n = c->plan->stage[stage].n_member;
    bool better;
    tlp_status st;

    tlpi_fitted_clear(c->env, &c->fitted[stage], n);
    TLP_TRY(tlpi_fitted_init(c->env, &c->fitted[stage], n));
    weigh(c);
    c->error = INFINITY;
    TLP_TRY(tlpi_fit_check(c, stage, 0, &better));
    TLP_TRY(tlpi_fit_inputs(c, stage, TLPI_HALF_ATTN));
    TLP_TRY(tlpi_fit_inputs(c, stage, TLPI_HALF_FFN));
    TLP_TRY(tlpi_calibration_run(c, stage, TLPI_KEEP_OUTPUTS));
    TLP_TRY(tlpi_fit_outputs(c, stage));
done:
    return st;
}
