/*
 * schedule.c - the acts of each mode, and a rank's share of them.
 *
 * With more than one rank a serial, lp or merged stage ends its attention and
 * its FFN with an all-reduce each; a par stage has one at its end, and one
 * inside each member that several ranks share; an asym stage has one at its
 * end, and hands the attention sum on from rank to rank, or, when ranks share a
 * member, all-reduces the members' sums side by side.
 */
#include "plan/schedule.h"

int tlpi_schedule_max(const tlp_plan *plan)
{
    return tlpi_plan_max_members(plan) + 3;
}

static int add_inner(const tlpi_span *span, int n_member, tlpi_act *out)
{
    int n = 0;

    for (int i = 0; i < n_member; i++)
        if (span[i].count > 1)
            out[n++] = (tlpi_act){ TLPI_ACT_INNER, span[i], 1 };
    return n;
}

static tlpi_act running_sum(const tlpi_span *span, int n_member, tlpi_span all)
{
    int first = span[0].first, last = span[n_member - 1].first;

    for (int i = 0; i < n_member; i++)
        if (span[i].count > 1)
            return (tlpi_act){ TLPI_ACT_SUM, all, n_member };
    return (tlpi_act){ TLPI_ACT_PASS, { first, last - first + 1 }, 1 };
}

int tlpi_schedule_stage(const tlp_plan *plan, const tlpi_shards *shards,
                        int stage, tlpi_act *out)
{
    const tlpi_stage *s = &plan->stage[stage];
    const tlpi_span *span = shards->span[stage];
    tlpi_span all = { 0, shards->n_rank };
    int n = 0;

    out[n++] = (tlpi_act){ .kind = TLPI_ACT_ATTN };
    if (s->mode == TLP_MODE_PAR)
        n += add_inner(span, s->n_member, out + n);
    else if (s->mode == TLP_MODE_ASYM)
        out[n++] = running_sum(span, s->n_member, all);
    else
        out[n++] = (tlpi_act){ TLPI_ACT_SUM, all, 1 };
    out[n++] = (tlpi_act){ .kind = TLPI_ACT_FFN };
    out[n++] = (tlpi_act){ TLPI_ACT_SUM, all, 1 };
    return n;
}

static double share(const tlpi_tensor *t, int part, int whole)
{
    return (double)t->n_bytes * part / whole;
}

tlpi_work tlpi_schedule_work(const tlp_plan *plan, const tlpi_shards *shards,
                             int stage, int rank)
{
    const tlpi_hparams *hp = &plan->model->hp;
    const tlpi_stage_shard *p = tlpi_shard_at(shards, stage, rank);
    const int *layers = plan->stage[stage].layers;
    tlpi_work w = { 0 };

    for (int i = 0; i < p->n_attn; i++) {
        const tlpi_attn_part *a = &p->attn[i];
        const tlpi_layer *l = &plan->model->w.layer[layers[a->member]];
        int q = a->q1 - a->q0, kv = a->kv1 - a->kv0;

        w.attn_bytes += share(l->attn_q, q, hp->n_head) +
                        share(l->attn_output, q, hp->n_head) +
                        share(l->attn_k, kv, hp->n_head_kv) +
                        share(l->attn_v, kv, hp->n_head_kv);
        w.n_head += q;
    }
    for (int i = 0; i < p->n_ffn; i++) {
        const tlpi_ffn_part *f = &p->ffn[i];
        const tlpi_layer *l = &plan->model->w.layer[layers[f->member]];
        int ff = f->ff1 - f->ff0;

        w.ffn_bytes += share(l->ffn_gate, ff, hp->n_ff) +
                       share(l->ffn_up, ff, hp->n_ff) +
                       share(l->ffn_down, ff, hp->n_ff);
    }
    return w;
}

double tlpi_schedule_head(const tlp_plan *plan, const tlpi_shards *shards,
                          int rank)
{
    const tlp_model *m = plan->model;
    int rows = shards->vocab[rank + 1] - shards->vocab[rank];

    return share(m->w.output, rows, m->hp.n_vocab);
}
