/*
 * random_lora.c - see random_lora.h.
 */
#include "random_lora.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "check.h"
#include "random_adjust.h"
#include "ref_adjust.h"
#include "ref_impl.h"

/* Matrices that are single. */
static bool takes_lora(const tlp_model *m, int layer, int id)
{
    const tlpi_tensor_row *row = &tlpi_layer_table[id];

    return m->w.layer[layer].t[id] && tlpi_row_is_matrix(row) &&
           !row->float_alone && tlpi_row_depth(row, &m->hp) == 1;
}

float *lora_fill(tlpi_fitted_lora *lora, const tlp_model *m, int rank,
                 uint64_t seed)
{
    size_t n = 0;
    float *all, *at;

    for (int l = 0; l < m->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            if (takes_lora(m, l, i))
                n += (size_t)rank * (size_t)(m->w.layer[l].t[i]->ne[0] +
                                             m->w.layer[l].t[i]->ne[1]);
    all = at = malloc(n * sizeof *all);
    cr_assert(all != NULL, "out of memory");
    for (size_t i = 0; i < n; i++)
        all[i] = (float)(0.3 * (2 * tlpi_uniform(&seed) - 1));
    for (int l = 0, k = 0; l < m->hp.n_layer; l++) {
        lora[l] = (tlpi_fitted_lora){ 0 };
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_tensor *w = m->w.layer[l].t[i];

            if (!takes_lora(m, l, i) || ++k % 3 == 0)
                continue;
            lora[l].pair[i] =
                (tlpi_fitted_lowrank){ rank, at, at + rank * w->ne[0] };
            at += rank * (w->ne[0] + w->ne[1]);
        }
    }
    return all;
}

static bool runs(const tlp_plan *plan, int layer)
{
    for (int i = 0; i < plan->n_stage; i++)
        for (int j = 0; j < plan->stage[i].n_member; j++)
            if (plan->stage[i].layers[j] == layer)
                return true;
    return false;
}

tlp_plan *lora_plan(const tlp_plan *plan, int kinds, int rank, uint64_t seed)
{
    int n_layer = plan->model->hp.n_layer;
    tlpi_fitted_stage *f = fitted_make(plan, kinds, 5, seed);
    tlpi_fitted_lora *lora = malloc((size_t)n_layer * sizeof *lora);
    tlp_plan *out = NULL;
    void *image = NULL;
    size_t n_image = 0;

    cr_assert(f && lora, "out of memory");
    float *all = lora_fill(lora, plan->model, rank, seed);
    for (int l = 0; l < n_layer; l++)
        if (!runs(plan, l))
            lora[l] = (tlpi_fitted_lora){ 0 };
    CHECK_OK(tlpi_adjust_image(plan, f, lora, &image, &n_image));
    CHECK_OK(tlpi_plan_with_adjust(&out, plan, image, n_image, "test"));
    free(all);
    free(lora);
    free(f);
    return out;
}

tlp_plan *lora_parse(tlp_model *m, const char *text, int kinds, int rank)
{
    tlp_plan *plain = NULL;

    CHECK_OK(tlp_plan_parse(&plain, m, text));
    tlp_plan *plan = lora_plan(plain, kinds, rank, 7);
    tlp_plan_free(plain);
    return plan;
}

/* ==== the reference ====================================================== */

static void add_pair(ref_array *w, const tlpi_lowrank *pair, double scale)
{
    double *a = ref_doubles(&pair->down), *b = ref_doubles(&pair->up);
    size_t rank = (size_t)pair->rank, cols = (size_t)pair->down.ne[0];

    for (size_t i = 0; i < w->n; i++)
        for (size_t k = 0; k < rank; k++)
            w->x[i] += scale * b[i / cols * rank + k] * a[k * cols + i % cols];
    free(a);
    free(b);
}

void ref_add_lora(ref_model *m, const tlpi_layer_lora *lora, double scale)
{
    static const int of[][2] = {
        { TLPI_ATTN_Q, ATTN_Q },     { TLPI_ATTN_K, ATTN_K },
        { TLPI_ATTN_V, ATTN_V },     { TLPI_ATTN_OUTPUT, ATTN_OUT },
        { TLPI_FFN_GATE, FFN_GATE }, { TLPI_FFN_UP, FFN_UP },
        { TLPI_FFN_DOWN, FFN_DOWN },
    };

    for (int l = 0; l < m->n_layer; l++)
        for (size_t i = 0; i < TLPI_COUNT(of); i++)
            if (lora[l].pair[of[i][0]].rank > 0)
                add_pair(&m->layer[l].t[of[i][1]], &lora[l].pair[of[i][0]],
                         scale);
}
