/*
 * fit_inputs.c - bring the inputs of a group's attention or feed-forward closer
 * to the teacher's: a number for each column of a norm, and a low-rank map.
 */
#include "tune/fit_stage.h"

static tlpi_rows input_rows(const tlpi_calibration *c, int slot, int window,
                            const float *feature[1])
{
    const tlpi_window *w = &c->text.window[window];
    size_t at = w->at * c->d;

    feature[0] = tlpi_cal_slot(c, c->seen, slot) + at;
    return (tlpi_rows){ .n_tok = w->n,
                        .d = (int)c->d,
                        .n_feature = 1,
                        .feature = feature,
                        .target = tlpi_cal_slot(c, c->want, slot) + at,
                        .present = feature[0] };
}

/* norm: the model's weight times scale. */
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
    int slot = tlpi_fit_slot(c, half, member);
    tlpi_choice *choice =
        &c->choice[stage].norm[half * c->plan->stage[stage].n_member + member];
    tlpi_norm_moments m[2] = { 0 };
    float *scale = tlpi_alloc_array(c->env, c->d, sizeof(*scale));
    const float *feature[1];
    tlp_status st = scale ? TLP_OK : tlpi_fail_nomem();

    TLP_TRY(st);
    TLP_TRY(tlpi_norms_create(&m[0], c->env, (int)c->d));
    TLP_TRY(tlpi_norms_create(&m[1], c->env, (int)c->d));
    for (int i = 0; i < c->text.n; i++) {
        tlpi_rows rows = input_rows(c, slot, i, feature);
        tlpi_norms_add(&m[tlpi_fit_is_held(c, i)], &rows);
    }
    tlpi_fit_norms(&m[0], c->choosing ? &m[1] : NULL, choice, scale);
    if (choice->rank)
        TLP_TRY(scale_norm(
            c, half == TLPI_HALF_ATTN ? l->attn_norm : l->ffn_norm, scale,
            half == TLPI_HALF_ATTN ? &out->attn_norm : &out->ffn_norm));
done:
    tlpi_norms_free(&m[0]);
    tlpi_norms_free(&m[1]);
    tlpi_free(c->env, scale);
    return st;
}

static tlp_status fit_lowrank(tlpi_calibration *c, int stage, int half,
                              int member)
{
    tlpi_fitted_member *out = &c->fitted[stage].member[member];
    int slot = tlpi_fit_slot(c, half, member);
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
    for (int i = 0; i < c->text.n; i++) {
        tlpi_rows rows = input_rows(c, slot, i, feature);
        TLP_TRY(tlpi_moments_add(&m[tlpi_fit_is_held(c, i)], c->fitter.pool,
                                 &rows));
    }
    TLP_TRY(tlpi_fit_lowrank(
        &c->fitter, &m[0], c->choosing ? &m[1] : NULL, c->o.rank, choice,
        half == TLPI_HALF_ATTN ? &out->attn_in : &out->ffn_in));
done:
    tlpi_moments_free(&m[0]);
    tlpi_moments_free(&m[1]);
    return st;
}

static void drop_norms(tlpi_calibration *c, int stage, int half)
{
    int n = c->plan->stage[stage].n_member;

    for (int m = 0; m < n; m++) {
        tlpi_fitted_member *x = &c->fitted[stage].member[m];
        float **norm = half == TLPI_HALF_ATTN ? &x->attn_norm : &x->ffn_norm;

        tlpi_free(c->env, *norm);
        *norm = NULL;
        c->choice[stage].norm[half * n + m] = (tlpi_choice){ 0 };
    }
}

static void drop_lowranks(tlpi_calibration *c, int stage, int half)
{
    int n = c->plan->stage[stage].n_member;

    for (int m = 0; m < n; m++) {
        tlpi_fitted_member *x = &c->fitted[stage].member[m];

        tlpi_fitted_lowrank_free(c->env, half == TLPI_HALF_ATTN ? &x->attn_in
                                                                : &x->ffn_in);
        c->choice[stage].in[half * n + m] = (tlpi_choice){ 0 };
    }
}

/* Do the options or the choices ask for a fit of the inputs of this half? */
static bool wants_inputs(const tlpi_calibration *c, int stage, int half)
{
    int n = c->plan->stage[stage].n_member;
    bool any = c->choosing && (c->o.norms || c->o.rank);

    for (int i = half * n; i < (half + 1) * n; i++)
        any |= !c->choosing &&
               (c->choice[stage].norm[i].rank || c->choice[stage].in[i].rank);
    return any;
}

/* A kind of fit: `fit` works on one member, `drop` undoes it for all. */
typedef struct fit_kind {
    tlp_status (*fit)(tlpi_calibration *c, int stage, int half, int member);
    void (*drop)(tlpi_calibration *c, int stage, int half);
} fit_kind;

static tlp_status fit_members(tlpi_calibration *c, int stage, int half,
                              fit_kind kind)
{
    const tlpi_probe_at at =
        half == TLPI_HALF_ATTN ? TLPI_PROBE_ATTN_IN : TLPI_PROBE_FFN_IN;
    bool better;
    tlp_status st;

    TLP_TRY(tlpi_calibration_run(c, stage, 1u << at));
    for (int m = 0; m < c->plan->stage[stage].n_member; m++)
        TLP_TRY(kind.fit(c, stage, half, m));
    TLP_TRY(tlpi_fit_prove(c, stage, 0, &better));
    if (better)
        goto done;
    kind.drop(c, stage, half);
    st = tlpi_fitted_apply(c, stage);
done:
    return st;
}

tlp_status tlpi_fit_inputs(tlpi_calibration *c, int stage, int half)
{
    const fit_kind norms = { fit_norm, drop_norms };
    const fit_kind lowranks = { fit_lowrank, drop_lowranks };
    tlp_status st = TLP_OK;

    if (!wants_inputs(c, stage, half))
        return TLP_OK;
    if (c->o.norms)
        TLP_TRY(fit_members(c, stage, half, norms));
    if (c->o.rank)
        TLP_TRY(fit_members(c, stage, half, lowranks));
done:
    return st;
}
