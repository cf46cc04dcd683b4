/*
 * fit_inputs.c - bring the inputs of a group's attention or feed-forward closer
 * to the teacher's: a factor for each column of a norm, and a low-rank map.
 */
#include "tune/fit_stage.h"

/* The input of one half of one member. */
typedef struct input {
    int slot;                     /* in want and seen */
    const tlpi_tensor *weight;    /* of the model's norm */
    float **norm;                 /* fit, or *norm is NULL */
    tlpi_fitted_lowrank *lowrank; /* fit, or of rank 0 */
} input;

static input input_of(const tlpi_calibration *c, int stage, int half,
                      int member)
{
    int layer = c->plan->stage[stage].layers[member];
    const tlpi_layer *l = &c->model->w.layer[layer];
    tlpi_fitted_member *x = &c->fitted[stage].member[member];
    int slot = tlpi_fit_slot(c, half, member);

    if (half == TLPI_HALF_ATTN)
        return (input){ slot, l->t[TLPI_ATTN_NORM], &x->attn_norm,
                        &x->attn_in };
    return (input){ slot, l->t[TLPI_FFN_NORM], &x->ffn_norm, &x->ffn_in };
}

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

/* ==== norms ============================================================== */

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

static tlp_status fit_norm(tlpi_calibration *c, const input *in,
                           tlpi_choice *choice)
{
    tlpi_norm_moments m[2] = { 0 };
    float *scale = tlpi_alloc_array(c->env, c->d, sizeof(*scale));
    const float *feature[1];
    tlp_status st = scale ? TLP_OK : tlpi_fail_nomem_for("a fit");

    TLP_TRY(st);
    TLP_TRY(tlpi_norms_create(&m[0], c->env, (int)c->d));
    TLP_TRY(tlpi_norms_create(&m[1], c->env, (int)c->d));
    for (int i = 0; i < c->text.n; i++) {
        tlpi_rows rows = input_rows(c, in->slot, i, feature);
        tlpi_norms_add(&m[tlpi_fit_is_held(c, i)], &rows);
    }
    tlpi_fit_norms(&m[0], c->choosing ? &m[1] : NULL, choice, scale);
    if (choice->rank)
        TLP_TRY(scale_norm(c, in, scale));
done:
    tlpi_norms_free(&m[0]);
    tlpi_norms_free(&m[1]);
    tlpi_free(c->env, scale);
    return st;
}

static void drop_norm(tlpi_calibration *c, const input *in)
{
    tlpi_free(c->env, *in->norm);
    *in->norm = NULL;
}

/* ==== low rank =========================================================== */

static tlp_status fit_lowrank(tlpi_calibration *c, const input *in,
                              tlpi_choice *choice)
{
    tlpi_moments m[2] = { 0 };
    const float *feature[1];
    tlp_status st;

    if (!c->choosing && choice->rank == 0)
        return TLP_OK;
    TLP_TRY(tlpi_moments_create(&m[0], c->env, (int)c->d, 1));
    if (c->choosing)
        TLP_TRY(tlpi_moments_create(&m[1], c->env, (int)c->d, 1));
    for (int i = 0; i < c->text.n; i++) {
        tlpi_rows rows = input_rows(c, in->slot, i, feature);
        TLP_TRY(tlpi_moments_add(&m[tlpi_fit_is_held(c, i)], c->fitter.pool,
                                 &rows));
    }
    TLP_TRY(tlpi_fit_lowrank(&c->fitter, &m[0], c->choosing ? &m[1] : NULL,
                             c->o.rank, choice, in->lowrank));
done:
    tlpi_moments_free(&m[0]);
    tlpi_moments_free(&m[1]);
    return st;
}

static void drop_lowrank(tlpi_calibration *c, const input *in)
{
    tlpi_fitted_lowrank_free(c->env, in->lowrank);
}

/* ==== a half of a group ================================================== */

typedef struct fit_kind {
    tlp_status (*fit)(tlpi_calibration *c, const input *in,
                      tlpi_choice *choice);
    void (*drop)(tlpi_calibration *c, const input *in);
} fit_kind;

/* Fit the inputs of all members, and drop the fits if the output is no better.
 * choice [n_member]: after the choosing pass, what to fit. */
static tlp_status fit_members(tlpi_calibration *c, int stage, int half,
                              const fit_kind *kind, tlpi_choice *choice)
{
    const tlpi_probe_at at =
        half == TLPI_HALF_ATTN ? TLPI_PROBE_ATTN_IN : TLPI_PROBE_FFN_IN;
    int n = c->plan->stage[stage].n_member;
    bool any = c->choosing, better;
    tlp_status st = TLP_OK;

    for (int m = 0; m < n; m++)
        any |= choice[m].rank != 0;
    if (!any)
        return TLP_OK;
    TLP_TRY(tlpi_calibration_run(c, stage, 1u << at));
    for (int m = 0; m < n; m++) {
        const input in = input_of(c, stage, half, m);
        TLP_TRY(kind->fit(c, &in, &choice[m]));
    }
    TLP_TRY(tlpi_fit_check(c, stage, 0, &better));
    if (better)
        goto done;
    for (int m = 0; m < n; m++) {
        const input in = input_of(c, stage, half, m);
        kind->drop(c, &in);
        choice[m] = (tlpi_choice){ 0 };
    }
    st = tlpi_fitted_apply(c, stage);
done:
    return st;
}

tlp_status tlpi_fit_inputs(tlpi_calibration *c, int stage, int half)
{
    static const fit_kind norm = { fit_norm, drop_norm };
    static const fit_kind lowrank = { fit_lowrank, drop_lowrank };
    const tlpi_stage_choice *choice = &c->choice[stage];
    int first = half * c->plan->stage[stage].n_member;
    tlp_status st = TLP_OK;

    if (c->o.norms)
        TLP_TRY(fit_members(c, stage, half, &norm, choice->norm + first));
    if (c->o.rank)
        TLP_TRY(fit_members(c, stage, half, &lowrank, choice->in + first));
done:
    return st;
}
