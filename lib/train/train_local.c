/*
 * train_local.c - find the sections of a plan, and train each on the serial
 * model's streams.
 */
#include "train/train_local.h"

#include <math.h>
#include <string.h>

static const char purpose[] = "the local loss of a training";

/* ==== sections =========================================================== */

/* The least layer of a stage, and the layer behind its greatest. */
static void widen(const tlpi_train_stage *s, tlpi_train_section *c)
{
    for (int j = 0; j < s->n_member; j++) {
        c->lo = TLPI_MIN(c->lo, s->member[j].layer);
        c->hi = TLPI_MAX(c->hi, s->member[j].layer + 1);
    }
}

/* The section that begins with stage `first`; *changed: by the plan. */
static tlpi_train_section section_at(const tlpi_train_net *net, int first,
                                     bool *changed)
{
    const tlp_plan *plan = net->plan;
    tlpi_train_section c = { first, first, net->model->hp.n_layer, 0 };

    *changed = false;
    do {
        widen(&net->stage[c.end], &c);
        *changed |= tlpi_train_touches(plan, c.end);
        c.end++;
    } while (c.end < plan->n_stage && tlpi_plan_is_open(plan, c.end));
    return c;
}

static tlp_status find_sections(tlpi_train_local *l, const tlpi_train_net *net)
{
    int n_stage = net->plan->n_stage, hi = 0;
    bool changed;

    l->section = tlpi_calloc(net->env, (size_t)n_stage, sizeof(*l->section));
    if (!l->section)
        return tlpi_fail_nomem_for(purpose);
    for (int i = 0; i < n_stage;) {
        tlpi_train_section c = section_at(net, i, &changed);

        if (c.lo < hi)
            return tlpi_fail(TLP_ENOTSUP,
                             "plan: stage %d begins with layer %d, after layer "
                             "%d: local training expects layers in their order",
                             i, c.lo, hi - 1);
        if (changed)
            l->section[l->n++] = c;
        hi = c.hi;
        i = c.end;
    }
    return TLP_OK;
}

tlp_status tlpi_train_local_create(tlpi_train_local *l, tlpi_train_pass *pass,
                                   int isa)
{
    const tlpi_train_choice none = { .rank = 0 };
    const tlpi_train_net *net = pass->net;
    tlp_plan *serial = NULL;
    tlp_status st;

    *l = (tlpi_train_local){ .pass = pass };
    TLP_TRY(find_sections(l, net));
    l->loss = tlpi_calloc(net->env, (size_t)pass->max_tok, sizeof(*l->loss));
    if (!l->loss)
        TLP_TRY(tlpi_fail_nomem_for(purpose));
    TLP_TRY(
        tlp_plan_parse(&serial, (tlp_model *)(uintptr_t)net->model, "serial"));
    TLP_TRY(tlpi_train_net_create(&l->net, serial, &none));
    st = tlpi_train_pass_create(&l->serial, &l->net, pass->ops.pool, isa,
                                pass->max_tok, 0);
done:
    tlp_plan_free(serial);
    if (st != TLP_OK)
        tlpi_train_local_free(l);
    return st;
}

void tlpi_train_local_free(tlpi_train_local *l)
{
    if (!l->pass)
        return;
    tlpi_train_pass_free(&l->serial);
    tlpi_train_net_free(&l->net);
    tlpi_free(l->pass->env, l->loss);
    tlpi_free(l->pass->env, l->section);
    *l = (tlpi_train_local){ 0 };
}

/* ==== the loss =========================================================== */

typedef struct local_rows {
    const float *x, *y, *z; /* [n][d] */
    float *slope;           /* [n][d] by z */
    size_t d;
    double weight; /* of the section */
    double *loss;  /* [n] */
} local_rows;

/* A change that is lost beside the stream counts as this share of it. */
#define LEAST_CHANGE 1e-12

static void local_row(void *arg, int t, int n_row)
{
    const local_rows *r = arg;
    const float *x = r->x + (size_t)t * r->d, *y = r->y + (size_t)t * r->d;
    const float *z = r->z + (size_t)t * r->d;
    float *slope = r->slope + (size_t)t * r->d;
    double change = 0, stream = 0, error = 0;

    (void)n_row;
    for (size_t i = 0; i < r->d; i++) {
        double c = (double)y[i] - (double)x[i];
        double e = (double)z[i] - (double)y[i];

        change += c * c;
        stream += (double)y[i] * (double)y[i];
        error += e * e;
    }
    change = fmax(change, LEAST_CHANGE * stream);
    double scale = change > 0 ? r->weight / change : 0;

    for (size_t i = 0; i < r->d; i++)
        slope[i] = (float)(2 * scale * ((double)z[i] - (double)y[i]));
    r->loss[t] = scale * error;
}

static tlp_status run_section(tlpi_train_local *l, const tlpi_train_section *c,
                              double *loss)
{
    tlpi_train_pass *p = l->pass;
    const local_rows rows = { .x = l->serial.border[c->lo].x,
                              .y = l->serial.border[c->hi].x,
                              .z = p->border[c->end].x,
                              .slope = p->slope.x,
                              .d = (size_t)p->net->model->hp.n_embd,
                              .weight = 1.0 / l->n,
                              .loss = l->loss };

    memcpy(p->border[c->first].x, rows.x,
           tlpi_train_n_stream(p) * sizeof(float));
    tlpi_train_forward(p, c->first, c->end);
    tlpi_pool_map(p->ops.pool, p->n_tok, local_row, (void *)(uintptr_t)&rows);
    for (int t = 0; t < p->n_tok; t++) {
        if (!isfinite(l->loss[t]))
            return tlpi_fail(TLP_ERROR,
                             "token %d of a window: a local loss that is not "
                             "finite in training",
                             t);
        *loss += l->loss[t];
    }
    for (int i = c->end - 1; i >= c->first; i--)
        tlpi_train_stage_back(p, i);
    return TLP_OK;
}

tlp_status tlpi_train_local_window(tlpi_train_local *l, const int32_t *ids,
                                   int n, double *loss)
{
    tlp_status st = TLP_OK;

    tlpi_train_embed(&l->serial, ids, n);
    tlpi_train_forward(&l->serial, 0, l->section[l->n - 1].hi);
    l->pass->n_tok = n;
    for (int i = 0; i < l->n; i++)
        TLP_TRY(run_section(l, &l->section[i], loss));
done:
    return st;
}
