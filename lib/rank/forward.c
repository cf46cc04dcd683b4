/*
 * forward.c - the equations of layer parallelism, once, for every backend.
 *
 * Between stages the residual stream is held as x + delta: what a stage adds,
 * summed over its members, stays in delta; the sum over the ranks is owed, and
 * made when the next RMS norm takes delta in (a device does both at once), or
 * after the last stage.  docs/design.md derives the modes.
 *
 * A plan may adjust a stage (plan/adjust.h).  Norms and gains are other numbers
 * in the same equations.  Na_i x stands for u + up (down u) where attn_in
 * corrects it, Nf_i y likewise with ffn_in, and z has a term more where the
 * stage's output is corrected: up (sum down_i delta_i).  forward_adjust.c has
 * these.
 *
 * Shapes: x, delta [T][d]; acc, norm [member][T][d].
 */
#include "rank/forward.h"

/* Sum over all ranks.  The vote makes every rank see an abort in the same
 * all-reduce, and so leave at the same place; on devices it does not travel,
 * and aborts are seen between steps (command.c). */
static tlp_status allreduce(tlpi_rank *r, float *x, size_t n)
{
    uint32_t vote = r->abort && atomic_load(r->abort);
    tlp_status st = r->data->ops->allreduce(r->data, x, n, &vote);

    if (st == TLP_OK && vote)
        st = tlpi_fail(TLP_ECANCELED, "evaluation was aborted");
    return st;
}

/* x += delta, which is still to be summed over the ranks if that is `owed`;
 * norm[i] = rms_norm(x) * weight[i] for members that have one. */
static tlp_status enter(tlpi_rank *r, const tlpi_step *step,
                        float *const *weight, int n_member, bool owed)
{
    const tlpi_hparams *hp = &r->model->hp;
    const tlpi_device_ops *device = r->cfg->device;
    tlp_status st = TLP_OK;
    int n = 0;

    for (int i = 0; i < n_member; i++)
        if (weight[i])
            r->norm[n++] =
                (tlpi_norm){ weight[i], tlpi_slot(r, step, r->buf.norm, i) };
    if (owed && device)
        return device->allreduce_add_norm(r->data, step->n_tok, hp->n_embd,
                                          r->buf.x, r->buf.delta, r->norm, n,
                                          hp->norm_eps);
    if (owed)
        TLP_TRY(allreduce(r, r->buf.delta, tlpi_n_stream(r, step)));
    r->b->ops->add_norm(r->b, step->n_tok, hp->n_embd, r->buf.x, r->buf.delta,
                        r->buf.x, r->norm, n, hp->norm_eps);
done:
    return st;
}

/* norm[part] = rms_norm(x + attention sum of its member) * Nf; x stays. */
static void enter_ffns(tlpi_rank *r, const tlpi_step *step,
                       const tlpi_rank_stage *s)
{
    const tlpi_hparams *hp = &r->model->hp;

    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];
        tlpi_norm norm = { s->ffn_norm[f->norm],
                           tlpi_slot(r, step, r->buf.norm, f->norm) };

        r->b->ops->add_norm(r->b, step->n_tok, hp->n_embd, r->buf.x,
                            tlpi_attn_sum(r, step, s, f->member), NULL, &norm,
                            1, hp->norm_eps);
    }
}

/* ==== what all modes are made of ========================================= */

/* The places of a part's activations in the qkv buffer. */
static tlpi_attn attn_args(const tlpi_rank *r, const tlpi_step *step,
                           const tlpi_rank_attn *a)
{
    size_t h = (size_t)r->model->hp.head_dim, t = (size_t)step->n_tok;
    size_t nq = t * (size_t)a->n_head * h, nk = t * (size_t)a->n_head_kv * h;
    float *q = r->buf.qkv + t * a->at;

    return (tlpi_attn){ .q = q,
                        .k = q + 2 * nq,
                        .v = q + 2 * nq + nk,
                        .q_norm = a->q_norm,
                        .k_norm = a->k_norm,
                        .kv = a->kv,
                        .n_head = a->n_head,
                        .n_head_kv = a->n_head_kv,
                        .y = q + nq };
}

/* Attention of all parts, from norm[member]: one region for the projections
 * of the whole group, one for the attention proper. */
static void attend(tlpi_rank *r, const tlpi_step *step,
                   const tlpi_rank_stage *s)
{
    const tlpi_hparams *hp = &r->model->hp;

    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];
        const float *x = tlpi_slot(r, step, r->buf.norm, a->member);
        tlpi_attn p = attn_args(r, step, a);
        tlpi_term *t = &r->term[3 * i];
        tlpi_matmul *m = &r->mm[3 * i];

        t[0] = (tlpi_term){ a->q, x, 1 };
        t[1] = (tlpi_term){ a->k, x, 1 };
        t[2] = (tlpi_term){ a->v, x, 1 };
        m[0] = (tlpi_matmul){ &t[0], 1, a->q_bias, false, p.q };
        m[1] = (tlpi_matmul){ &t[1], 1, a->k_bias, false, p.k };
        m[2] = (tlpi_matmul){ &t[2], 1, a->v_bias, false, (float *)p.v };
        r->attn[i] = p;
    }
    if (s->n_attn) {
        r->b->ops->matmul(r->b, step->n_tok, r->mm, 3 * s->n_attn);
        r->b->ops->attention(r->b, step, r->rope, r->attn, s->n_attn,
                             hp->head_dim, hp->norm_eps);
    }
}

/* y = sum over the parts of their output projections. */
static void project_sum(tlpi_rank *r, const tlpi_step *step,
                        const tlpi_rank_stage *s, float *y)
{
    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];

        r->term[i] = (tlpi_term){ a->o, attn_args(r, step, a).y,
                                  s->attn_gain[a->member] };
    }
    if (s->n_attn) {
        tlpi_matmul m = { r->term, s->n_attn, s->o_bias, false, y };
        r->b->ops->matmul(r->b, step->n_tok, &m, 1);
    } else {
        r->b->ops->zero(r->b, y, tlpi_n_stream(r, step));
    }
}

/* attn_sum[member] = this rank's share of that member's output projection: a
 * term for each of its parts, which are neighbours in the list. */
static void project_each(tlpi_rank *r, const tlpi_step *step,
                         const tlpi_rank_stage *s)
{
    int n = 0;

    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];

        r->term[i] = (tlpi_term){ a->o, attn_args(r, step, a).y,
                                  s->attn_gain[a->member] };
        if (i > 0 && s->attn[i - 1].member == a->member)
            r->mm[n - 1].n_term++;
        else
            r->mm[n++] = (tlpi_matmul){ &r->term[i], 1, a->o_bias, false,
                                        tlpi_attn_sum(r, step, s, a->member) };
    }
    if (n)
        r->b->ops->matmul(r->b, step->n_tok, r->mm, n);
}

/* hidden = silu(gate x) * (up x) of all parts, x = norm[part.norm] */
static void expand(tlpi_rank *r, const tlpi_step *step,
                   const tlpi_rank_stage *s)
{
    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];

        r->gate_up[i] =
            (tlpi_gate_up){ f->gate, f->up,
                            tlpi_slot(r, step, r->buf.norm, f->norm),
                            tlpi_hidden(r, step, f) };
    }
    if (s->n_ffn)
        r->b->ops->gate_up(r->b, step->n_tok, r->gate_up, s->n_ffn);
}

/* delta (+)= sum over the parts of their down projections */
static void contract(tlpi_rank *r, const tlpi_step *step,
                     const tlpi_rank_stage *s, bool add)
{
    float *delta = r->buf.delta;

    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];

        r->term[i] = (tlpi_term){ f->down, tlpi_hidden(r, step, f),
                                  s->ffn_gain[f->member] };
    }
    if (s->n_ffn) {
        tlpi_matmul m = { r->term, s->n_ffn, NULL, add, delta };
        r->b->ops->matmul(r->b, step->n_tok, &m, 1);
    } else if (!add) {
        r->b->ops->zero(r->b, delta, tlpi_n_stream(r, step));
    }
}

/* delta (+)= sum over the parts of their feed-forward; with a correction of
 * the stage's output, that and what it reads of the attention as well. */
static tlp_status feed_forward(tlpi_rank *r, const tlpi_step *step,
                               const tlpi_rank_stage *s, bool add)
{
    tlp_status st = TLP_OK;

    expand(r, step, s);
    if (r->probe)
        TLP_TRY(tlpi_probe_ffns(r, step, s));
    if (tlpi_has_out(s))
        tlpi_forward_out(r, step, s);
    else
        contract(r, step, s, add);
done:
    return st;
}

/* The inputs of attention or feed-forward are normalised: correct them. */
static tlp_status adjust_inputs(tlpi_rank *r, const tlpi_step *step,
                                const tlpi_rank_stage *s, tlpi_probe_at at)
{
    const tlpi_rank_adjust *a = s->adjust;

    if (a)
        tlpi_forward_correct(r, step,
                             at == TLPI_PROBE_ATTN_IN ? a->attn_in : a->ffn_in,
                             s->n_member);
    return r->probe ? tlpi_probe_inputs(r, step, s, at) : TLP_OK;
}

/* ==== the modes ========================================================== */

/*
 * serial, lp, lp-code, merge:
 *   y = x + sum A_i(Na_i x);  z = y + sum F_i(Nf_i y)
 * lp-code differs only in its parts: each names the norm it reads through.
 */
static tlp_status stage_lp(tlpi_rank *r, const tlpi_step *step,
                           const tlpi_rank_stage *s, bool owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(enter(r, step, s->attn_norm, s->n_member, owed));
    TLP_TRY(adjust_inputs(r, step, s, TLPI_PROBE_ATTN_IN));
    attend(r, step, s);
    project_sum(r, step, s, r->buf.delta);
    if (r->probe) { /* which sees the whole sum */
        TLP_TRY(allreduce(r, r->buf.delta, tlpi_n_stream(r, step)));
        TLP_TRY(tlpi_probe_sums(r, step, s));
    }
    TLP_TRY(enter(r, step, s->ffn_norm, s->n_member, !r->probe));
    TLP_TRY(adjust_inputs(r, step, s, TLPI_PROBE_FFN_IN));
    TLP_TRY(feed_forward(r, step, s, false));
done:
    return st;
}

/* Members this rank holds no attention of, but takes part in the sum of. */
static void zero_missing(tlpi_rank *r, const tlpi_step *step,
                         const tlpi_rank_stage *s, int m0, int m1)
{
    for (int m = m0; m < m1; m++) {
        bool have = false;
        for (int i = 0; i < s->n_attn; i++)
            have |= s->attn[i].member == m;
        if (!have)
            r->b->ops->zero(r->b, tlpi_attn_sum(r, step, s, m),
                            tlpi_n_stream(r, step));
    }
}

/* par: delta += the attention sums that this rank hands on. */
static void add_sums(tlpi_rank *r, const tlpi_step *step,
                     const tlpi_rank_stage *s)
{
    for (int m = 0; m < s->n_member; m++)
        if (tlpi_rank_counts(r, s, m) && m != s->carried)
            r->b->ops->add(r->b, r->buf.delta, tlpi_attn_sum(r, step, s, m),
                           tlpi_n_stream(r, step));
}

static bool in_span(tlpi_span span, int rank)
{
    return rank >= span.first && rank < span.first + span.count;
}

/*
 * par: y_i = x + A_i(Na_i x);  z = x + sum [A_i + F_i(Nf_i y_i)]
 * One all-reduce for the group; a member spread over several ranks first sums
 * its attention inside its span, and the span's first rank hands it on.
 */
static tlp_status stage_par(tlpi_rank *r, const tlpi_step *step,
                            const tlpi_rank_stage *s, bool owed)
{
    size_t n = tlpi_n_stream(r, step);
    tlp_status st = TLP_OK;

    TLP_TRY(enter(r, step, s->attn_norm, s->n_member, owed));
    TLP_TRY(adjust_inputs(r, step, s, TLPI_PROBE_ATTN_IN));
    attend(r, step, s);
    project_each(r, step, s);
    for (int m = 0; m < s->n_member; m++) {
        tlpi_span span = s->span[m];
        uint32_t vote = 0;

        if (span.count < 2 || !in_span(span, r->rank))
            continue;
        tlpi_comm *c = tlpi_rank_span(r, span);
        zero_missing(r, step, s, m, m + 1);
        TLP_TRY(c->ops->allreduce(c, tlpi_attn_sum(r, step, s, m), n, &vote));
    }
    if (r->probe)
        TLP_TRY(tlpi_probe_sums(r, step, s));
    enter_ffns(r, step, s);
    TLP_TRY(adjust_inputs(r, step, s, TLPI_PROBE_FFN_IN));
    if (s->carried >= 0)
        add_sums(r, step, s);
    TLP_TRY(feed_forward(r, step, s, s->carried >= 0));
    if (s->carried < 0)
        add_sums(r, step, s);
done:
    return st;
}

/*
 * asym, members whole: this rank's attention sums become running sums S_i =
 * sum_{j<=i} A_j, which start from what the ranks before it sent and go on to
 * the next.
 */
static tlp_status pass_running_sum(tlpi_rank *r, const tlpi_step *step,
                                   const tlpi_rank_stage *s)
{
    size_t n = tlpi_n_stream(r, step);
    int first = s->span[0].first, end = s->span[s->n_member - 1].first;
    float *sum = NULL;
    tlp_status st = TLP_OK;

    if (r->rank > first && r->rank <= end) {
        sum = tlpi_slot(r, step, r->buf.acc, s->n_member);
        TLP_TRY(r->data->ops->recv_prev(r->data, sum, n));
    }
    for (int m = 0; m < s->n_member; m++) {
        float *a = tlpi_attn_sum(r, step, s, m);

        if (!in_span(s->span[m], r->rank))
            continue;
        if (sum)
            r->b->ops->add(r->b, a, sum, n);
        sum = a;
    }
    if (r->rank >= first && r->rank < end)
        TLP_TRY(r->data->ops->send_next(r->data, sum, n));
done:
    return st;
}

/* asym, members shared between ranks: all ranks learn all A_i in one
 * all-reduce of the stack, then form the running sums for themselves. */
static tlp_status share_running_sums(tlpi_rank *r, const tlpi_step *step,
                                     const tlpi_rank_stage *s)
{
    size_t n = tlpi_n_stream(r, step);
    tlp_status st = TLP_OK;

    zero_missing(r, step, s, 0, s->n_member);
    TLP_TRY(allreduce(r, r->buf.acc, n * (size_t)s->n_member));
    for (int m = 1; m < s->n_member; m++)
        r->b->ops->add(r->b, tlpi_slot(r, step, r->buf.acc, m),
                       tlpi_slot(r, step, r->buf.acc, m - 1), n);
done:
    return st;
}

/*
 * asym: y_i = x + sum_{j<=i} A_j(Na_j x);  z = y_last + sum F_i(Nf_i y_i)
 * The last member's (first) rank puts the whole attention sum into delta.
 */
static tlp_status stage_asym(tlpi_rank *r, const tlpi_step *step,
                             const tlpi_rank_stage *s, bool owed)
{
    size_t n = tlpi_n_stream(r, step);
    int last = s->n_member - 1;
    tlp_status st = TLP_OK;

    TLP_TRY(enter(r, step, s->attn_norm, s->n_member, owed));
    TLP_TRY(adjust_inputs(r, step, s, TLPI_PROBE_ATTN_IN));
    attend(r, step, s);
    project_each(r, step, s);
    if (s->shared_members)
        TLP_TRY(share_running_sums(r, step, s));
    else
        TLP_TRY(pass_running_sum(r, step, s));
    if (r->probe)
        TLP_TRY(tlpi_probe_sums(r, step, s));
    enter_ffns(r, step, s);
    TLP_TRY(adjust_inputs(r, step, s, TLPI_PROBE_FFN_IN));
    TLP_TRY(feed_forward(r, step, s, s->carried >= 0));
    if (tlpi_rank_counts(r, s, last) && s->carried < 0)
        r->b->ops->add(r->b, r->buf.delta, tlpi_attn_sum(r, step, s, last), n);
done:
    return st;
}

static tlp_status run_stage(tlpi_rank *r, const tlpi_step *step,
                            const tlpi_rank_stage *s, bool owed)
{
    switch (s->mode) {
    case TLP_MODE_PAR:
        return stage_par(r, step, s, owed);
    case TLP_MODE_ASYM:
        return stage_asym(r, step, s, owed);
    default:
        return stage_lp(r, step, s, owed);
    }
}

static tlp_status run_stages(tlpi_rank *r, const tlpi_step *step, int first,
                             int end)
{
    tlp_status st = TLP_OK;

    for (int i = first; i < end && st == TLP_OK; i++)
        st = run_stage(r, step, &r->stage[i], i > first);
    if (first < end && st == TLP_OK)
        st = allreduce(r, r->buf.delta, tlpi_n_stream(r, step));
    return st;
}

static void embed(tlpi_rank *r, const tlpi_step *step)
{
    r->b->ops->embed(r->b, step, r->model->w.token_embd, r->embd, r->buf.x);
    r->b->ops->zero(r->b, r->buf.delta, tlpi_n_stream(r, step));
}

tlp_status tlpi_forward(tlpi_rank *r, const tlpi_step *step)
{
    r->b->ops->begin_step(r->b, step, NULL);
    embed(r, step);
    tlp_status st = run_stages(r, step, 0, r->plan->n_stage);
    return r->b->ops->end_step(r->b, st);
}

tlp_status tlpi_forward_logits(tlpi_rank *r, const tlpi_step *step,
                               const int32_t *row, int n_row, int at)
{
    tlpi_want want = { row, n_row, at, r->version };
    tlp_status st = TLP_OK;

    if (r->b->ops->begin_step(r->b, step, &want)) {
        tlpi_replay_count(r, step->n_tok);
    } else {
        tlpi_replay_before(r);
        embed(r, step);
        st = run_stages(r, step, 0, r->plan->n_stage);
        tlpi_replay_after(r, step->n_tok);
        for (int i = 0; i < n_row && st == TLP_OK; i += TLPI_LOGIT_CHUNK)
            tlpi_forward_head(r, row + i, TLPI_MIN(TLPI_LOGIT_CHUNK, n_row - i),
                              tlpi_rank_logits(r, at + i));
    }
    return r->b->ops->end_step(r->b, st);
}

/* ==== in pieces ========================================================== */

void tlpi_forward_begin(tlpi_rank *r, const tlpi_step *step, const float *x)
{
    if (!x) {
        r->b->ops->begin_step(r->b, step, NULL);
        embed(r, step);
        return;
    }
    r->b->ops->write(r->b, r->buf.x, x, tlpi_n_stream(r, step));
    r->b->ops->zero(r->b, r->buf.delta, tlpi_n_stream(r, step));
}

tlp_status tlpi_forward_stages(tlpi_rank *r, const tlpi_step *step, int first,
                               int end)
{
    r->b->ops->begin_step(r->b, step, NULL);
    tlp_status st = run_stages(r, step, first, end);
    return r->b->ops->end_step(r->b, st);
}
