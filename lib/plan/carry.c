/*
 * carry.c - make a plan for another file of its model.
 *
 * Two files of one model can store the matrices in different types.  Their
 * hyper-parameters and their vectors (norms and biases) are equal, because
 * quantising keeps vectors in full precision.  Files of different models differ
 * in these values.  A baked file has hidden units in another order; a plan with
 * tracks or LoRA is refused for it.
 */
#include <stdio.h>
#include <string.h>

#include "plan/adjust.h"
#include "plan/plan_convert.h"
#include "tlp_tune.h"

/* ==== is it one model? =================================================== */

static tlp_status check_hparams(const tlp_model *a, const tlp_model *b)
{
    const tlpi_hparams *x = &a->hp, *y = &b->hp;
    if (x->arch != y->arch)
        return tlpi_fail(TLP_EMISMATCH, "%s: arch %s, but %s in %s", b->path,
                         tlpi_arch_get(y)->name, tlpi_arch_get(x)->name,
                         a->path);
    for (size_t i = 0; i < TLPI_N_HPARAM; i++) {
        const tlpi_hparam *row = &tlpi_hparam_table[i];
        double in_x = tlpi_hparam_value(x, row);
        double in_y = tlpi_hparam_value(y, row);

        if (row->identity != TLPI_SAME_MODEL && in_x != in_y)
            return tlpi_fail(TLP_EMISMATCH, "%s: %s %g, but %g in %s", b->path,
                             row->name, in_y, in_x, a->path);
    }
    return TLP_OK;
}

/* Have two tensors equal values?  x, y: room for [n] floats each. */
static bool same_values(const tlpi_tensor *a, const tlpi_tensor *b, float *x,
                        float *y)
{
    int64_t n = a->ne[0];

    tlpi_dequantize(a->type, a->data, x, n);
    tlpi_dequantize(b->type, b->data, y, n);
    for (int64_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return false;
    return true;
}

static tlp_status check_vector(const tlpi_tensor *t, const tlp_model *a,
                               const tlp_model *b)
{
    const tlpi_tensor *other = tlpi_model_tensor(b, t->name);
    float *x = NULL, *y = NULL;
    tlp_status st = TLP_OK;

    if (!other || other->n_dim != 1 || other->ne[0] != t->ne[0])
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: tensor %s: not there as in %s, so that this is "
                         "another model",
                         b->path, t->name, a->path);
    x = tlpi_alloc_array(&a->env, (size_t)t->ne[0], sizeof(*x));
    y = tlpi_alloc_array(&a->env, (size_t)t->ne[0], sizeof(*y));
    if (!x || !y)
        st = tlpi_fail_nomem_for("a plan");
    else if (!same_values(t, other, x, y))
        st = tlpi_fail(TLP_EMISMATCH,
                       "%s: tensor %s: other values than in %s, so that this "
                       "is another model",
                       b->path, t->name, a->path);
    tlpi_free(&a->env, y);
    tlpi_free(&a->env, x);
    return st;
}

static tlp_status check_same(const tlp_model *a, const tlp_model *b)
{
    tlp_status st;

    TLP_TRY(check_hparams(a, b));
    for (size_t f = 0; f < a->n_file; f++)
        for (size_t i = 0; i < a->file[f]->n_tensor; i++) {
            const tlpi_tensor *t = &a->file[f]->tensor[i];

            if (t->n_dim == 1)
                TLP_TRY(check_vector(t, a, b));
        }
done:
    return st;
}

/* ==== do its tracks have equal units? ==================================== */

enum { N_SEEN = 256 }; /* columns of a row that are compared: whole blocks */

/* Quantising changes a row by a few percent.  Two different rows are about as
 * far apart as they are long. */
static bool are_near(const tlpi_tensor *a, const tlpi_tensor *b, int64_t row)
{
    float x[N_SEEN], y[N_SEEN];
    int64_t n = TLPI_MIN(a->ne[0], N_SEEN);
    double apart = 0, size = 0;

    tlpi_read_row(a, row, x, n);
    tlpi_read_row(b, row, y, n);
    for (int64_t i = 0; i < n; i++) {
        apart += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)x[i] * (double)x[i] + (double)y[i] * (double)y[i];
    }
    return !(apart > 0.25 * size);
}

/* Are the hidden units and the query heads of a layer in one order? */
static tlp_status check_order(const tlp_model *a, const tlp_model *b, int l)
{
    static const struct {
        tlpi_layer_id id;
        const char *what;
    } cut[] = { { TLPI_FFN_GATE, "hidden units" }, { TLPI_ATTN_Q, "heads" } };

    for (size_t i = 0; i < TLPI_COUNT(cut); i++) {
        const tlpi_tensor *x = a->w.layer[l].t[cut[i].id];
        const tlpi_tensor *y = b->w.layer[l].t[cut[i].id];

        for (int64_t row = 0; row < x->ne[1] * x->ne[2]; row++)
            if (!are_near(x, y, row))
                return tlpi_fail(TLP_EMISMATCH,
                                 "%s: tensor %s: row %lld: not as in %s; the "
                                 "tracks or the LoRA of the plan would have "
                                 "other %s",
                                 b->path, y->name, (long long)row, a->path,
                                 cut[i].what);
    }
    return TLP_OK;
}

static bool has_lora(const tlp_plan *plan, int layer)
{
    const tlpi_adjust *a = plan->adjust;

    for (int i = 0; a && a->lora && i < TLPI_N_LAYER_TENSOR; i++)
        if (a->lora[layer].pair[i].rank > 0)
            return true;
    return false;
}

/* A plan with tracks or LoRA is another function where the units of a layer
 * have another order, although the serial model is the same. */
static tlp_status check_orders(const tlp_plan *plan, const tlp_model *b)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < plan->n_stage; i++)
        for (int j = 0; j < plan->stage[i].n_member; j++) {
            int l = plan->stage[i].layers[j];

            if (tlpi_plan_has_tracks(plan, i) || has_lora(plan, l))
                TLP_TRY(check_order(plan->model, b, l));
        }
done:
    return st;
}

/* ==== adjustments ======================================================== */

/* Copy the image, and replace the fingerprint of the old model by the
 * fingerprint of the new model, which has equal length. */
static tlp_status rename_model(const tlp_plan *plan, const tlp_model *model,
                               void **image)
{
    const tlpi_adjust *a = plan->adjust;
    const char *from = tlpi_model_fingerprint(plan->model);
    const char *to = tlpi_model_fingerprint(model);
    size_t n = strlen(from), last = a->n_image - n, i = 0;

    if (!a->image)
        return tlpi_fail(TLP_ESTATE,
                         "plan: of the adjustments only the hash is known");
    char *copy = tlpi_alloc(&model->env, a->n_image);
    if (!copy)
        return tlpi_fail_nomem_for("a plan");
    memcpy(copy, a->image, a->n_image);
    while (i < last && memcmp(copy + i, from, n) != 0)
        i++;
    memcpy(copy + i, to, n); /* if not found, reading the image fails */
    *image = copy;
    return TLP_OK;
}

tlp_status tlpi_plan_move(tlp_plan **out, const tlp_plan *plan,
                          tlp_model *model, const char *made)
{
    void *image = NULL;
    tlp_plan *p = NULL;
    tlp_status st;

    TLP_TRY(tlpi_plan_rebuild(&p, model, plan, made));
    if (plan->adjust) {
        TLP_TRY(rename_model(plan, model, &image));
        TLP_TRY(tlpi_plan_with_adjust(out, p, image, plan->adjust->n_image,
                                      "adjustments"));
    } else {
        *out = p;
        p = NULL;
    }
done:
    tlp_plan_free(p);
    return st;
}

/* ========================================================================= */

tlp_status tlpi_plan_record_carried(const tlp_plan *plan, char **made)
{
    char value[80];

    snprintf(value, sizeof value, "\"%s\"",
             tlpi_model_fingerprint(plan->model));
    return tlpi_plan_record(plan, "carried_from", value, made);
}

tlp_status tlp_plan_carry(tlp_plan **out, const tlp_plan *plan,
                          tlp_model *model)
{
    char *made = NULL;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !plan || !model)
        return tlpi_fail(TLP_EINVAL, "out, plan and model are required");
    if (plan->model->vocab_only || model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, a plan is carried "
                         "between layers",
                         (model->vocab_only ? model : plan->model)->path);
    TLP_TRY(check_same(plan->model, model));
    TLP_TRY(check_orders(plan, model));
    TLP_TRY(tlpi_plan_record_carried(plan, &made));
    st = tlpi_plan_move(out, plan, model, made);
done:
    tlpi_free(&plan->model->env, made);
    return st;
}
