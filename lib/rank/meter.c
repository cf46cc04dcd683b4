/*
 * meter.c - see meter.h.
 */
#include "rank/meter.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cpu_route.h"

/* ==== products =========================================================== */

static int by_weight(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)(*(tlpi_meter_entry *const *)a)->w;
    uintptr_t y = (uintptr_t)(*(tlpi_meter_entry *const *)b)->w;

    return (x > y) - (x < y);
}

static tlpi_meter_entry *find(const tlpi_meter *m, const tlpi_weight *w)
{
    const tlpi_meter_entry want = { .w = w }, *key = &want;
    tlpi_meter_entry **found =
        bsearch(&key, m->by_weight, m->n, sizeof *m->by_weight, by_weight);

    return found ? *found : NULL;
}

static void add_row(tlpi_meter_entry *e, int matrix, const float *x)
{
    double *sum = e->sum + matrix * e->cols;

    for (int64_t j = 0; j < e->cols; j++)
        sum[j] += (double)x[j] * (double)x[j];
    e->count[matrix]++;
}

/* W reads a row of x for each token; with routes, for each entry, or for the
 * token of each entry. */
static void add_input(const tlpi_meter *m, const tlpi_weight *w, const float *x,
                      int n_tok, const tlpi_routes *r, bool by_entry)
{
    tlpi_meter_entry *e = find(m, w);

    for (int t = 0; e && !r && t < n_tok; t++)
        add_row(e, 0, x + t * e->cols);
    for (int k = 0; e && r && k < r->n_run; k++)
        for (int i = r->run[k].begin; i < r->run[k + 1].begin; i++)
            add_row(e, r->run[k].expert,
                    x + (by_entry ? i : r->token[i]) * e->cols);
}

/* The ops of a rank that has a meter are the meter's first member. */
static const tlpi_meter *meter_of(const tlpi_backend *b)
{
    return (const tlpi_meter *)(const void *)b->ops;
}

static void matmul(tlpi_backend *b, int n_tok, const tlpi_matmul *item, int n)
{
    const tlpi_meter *m = meter_of(b);

    for (int i = 0; i < n; i++)
        for (int j = 0; j < item[i].n_term; j++) {
            const tlpi_term *t = &item[i].term[j];

            add_input(m, t->w, t->x, n_tok, t->routes, true);
        }
    m->own->matmul(b, n_tok, item, n);
}

static void gate_up(tlpi_backend *b, int n_tok, const tlpi_gate_up *item, int n)
{
    const tlpi_meter *m = meter_of(b);

    for (int i = 0; i < n; i++) {
        add_input(m, item[i].gate, item[i].x, n_tok, item[i].routes, false);
        add_input(m, item[i].up, item[i].x, n_tok, item[i].routes, false);
    }
    m->own->gate_up(b, n_tok, item, n);
}

/* ==== entries ============================================================ */

static tlp_status add_entry(tlpi_meter *m, const tlpi_tensor *t,
                            const tlpi_weight *w)
{
    const tlpi_env *env = m->rank->env;
    tlpi_meter_entry *e = &m->entry[m->n];

    *e = (tlpi_meter_entry){
        .tensor = t, .w = w, .cols = t->ne[0], .n_mat = t->ne[2]
    };
    m->by_weight[m->n++] = e;
    e->sum = tlpi_calloc(env, (size_t)(e->cols * e->n_mat), sizeof *e->sum);
    e->count = tlpi_calloc(env, (size_t)e->n_mat, sizeof *e->count);
    return e->sum && e->count ? TLP_OK
                              : tlpi_fail_nomem_for("an importance matrix");
}

/* The matrices of one part.  Parts of a fused tensor have its name, and read
 * equal inputs: the first stands for all. */
static tlp_status add_part(tlpi_meter *m, int layer, const tlpi_rank_tensors *t)
{
    const size_t first = m->n;
    tlp_status st = TLP_OK;

    for (int id = 0; id < TLPI_N_LAYER_TENSOR; id++) {
        const tlpi_tensor *x = m->rank->model->w.layer[layer].t[id];
        bool known = !t->w[id];

        for (size_t i = first; !known && i < m->n; i++)
            known = strcmp(m->entry[i].tensor->name, x->name) == 0;
        if (!known)
            TLP_TRY(add_entry(m, x, t->w[id]));
    }
done:
    return st;
}

static tlp_status add_all(tlpi_meter *m)
{
    const tlpi_program *p = &m->rank->program[0];
    size_t most = (size_t)p->plan->n_stage * TLPI_N_LAYER_TENSOR;
    tlp_status st;

    m->entry = tlpi_alloc_array(m->rank->env, most, sizeof *m->entry);
    m->by_weight = tlpi_alloc_array(m->rank->env, most, sizeof *m->by_weight);
    if (!m->entry || !m->by_weight)
        return tlpi_fail_nomem_for("an importance matrix");
    for (int i = 0; i < p->plan->n_stage; i++) {
        int layer = p->plan->stage[i].layers[0];

        /* A rank alone holds one part of each half. */
        TLP_TRY(add_part(m, layer, &p->stage[i].attn[0].t));
        TLP_TRY(add_part(m, layer, &p->stage[i].ffn[0].t));
    }
    qsort(m->by_weight, m->n, sizeof *m->by_weight, by_weight);
done:
    return st;
}

tlp_status tlpi_meter_create(tlpi_meter **out, tlpi_rank *rank)
{
    tlpi_meter *m = tlpi_calloc(rank->env, 1, sizeof *m);

    *out = m;
    if (!m)
        return tlpi_fail_nomem_for("an importance matrix");
    m->rank = rank;
    m->own = rank->b->ops;
    tlp_status st = add_all(m);
    m->ops = *m->own;
    m->ops.matmul = matmul;
    m->ops.gate_up = gate_up;
    rank->b->ops = &m->ops;
    return st;
}

void tlpi_meter_free(tlpi_meter *m)
{
    if (!m)
        return;
    m->rank->b->ops = m->own;
    for (size_t i = 0; i < m->n; i++) {
        tlpi_free(m->rank->env, m->entry[i].sum);
        tlpi_free(m->rank->env, m->entry[i].count);
    }
    tlpi_free(m->rank->env, m->entry);
    tlpi_free(m->rank->env, m->by_weight);
    tlpi_free(m->rank->env, m);
}
