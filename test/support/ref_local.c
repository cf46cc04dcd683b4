/*
 * ref_local.c - see ref_local.h.
 */
#include "support/ref_local.h"

#include <stdlib.h>
#include <string.h>

#include "support/ref_impl.h"

double **ref_serial_streams(const ref_model *m, const int32_t *ids, int n)
{
    size_t size = (size_t)n * (size_t)m->d;
    double **x = malloc((size_t)(m->n_layer + 1) * sizeof *x);

    if (!x)
        ref_die("out of memory", "");
    x[0] = ref_embed(m, ids, n);
    for (int l = 0; l < m->n_layer; l++) {
        ref_plan layer = { .n_stage = 1 };

        layer.stage[0] = ref_parse("0").stage[0];
        layer.stage[0].layers[0] = l;
        x[l + 1] = ref_zeros(size);
        memcpy(x[l + 1], x[l], size * sizeof **x);
        ref_run(m, &layer, x[l + 1], n);
    }
    return x;
}

void ref_streams_free(const ref_model *m, double **x)
{
    for (int l = 0; l <= m->n_layer; l++)
        free(x[l]);
    free(x);
}

/* Stages [first, end) do the work of the layers [lo, hi). */
typedef struct ref_section {
    int first, end, lo, hi;
} ref_section;

static double section_loss(const ref_model *m, const ref_plan *plan,
                           const ref_section *c, double *const *serial, int n)
{
    size_t d = (size_t)m->d, size = (size_t)n * d;
    ref_plan part = *plan;
    double *z = ref_zeros(size), sum = 0;

    part.n_stage = c->end - c->first;
    memmove(part.stage, part.stage + c->first,
            (size_t)part.n_stage * sizeof *part.stage);
    memcpy(z, serial[c->lo], size * sizeof *z);
    ref_run(m, &part, z, n);
    for (size_t t = 0; t < (size_t)n; t++) {
        double error = 0, change = 0;

        for (size_t i = t * d; i < (t + 1) * d; i++) {
            double x = serial[c->lo][i], y = serial[c->hi][i];

            error += (z[i] - y) * (z[i] - y);
            change += (y - x) * (y - x);
        }
        sum += error / change;
    }
    free(z);
    return sum;
}

double ref_local_loss(const ref_model *m, const ref_plan *plan,
                      double *const *serial, int n)
{
    ref_section c = { 0, 0, m->n_layer, 0 };
    double sum = 0;
    int n_section = 0;
    bool changed = false;

    for (int i = 0; i < plan->n_stage; i++) {
        const ref_stage *stage = &plan->stage[i];

        for (int j = 0; j < stage->n_member; j++) {
            int l = stage->layers[j];

            c.lo = l < c.lo ? l : c.lo;
            c.hi = l + 1 > c.hi ? l + 1 : c.hi;
        }
        changed |= stage->n_member > 1 || stage->open_attn || stage->open_ffn;
        if (stage->open_ffn)
            continue;
        c.end = i + 1;
        if (changed)
            sum += section_loss(m, plan, &c, serial, n);
        n_section += changed;
        changed = false;
        c = (ref_section){ i + 1, 0, m->n_layer, 0 };
    }
    return sum / n_section;
}
