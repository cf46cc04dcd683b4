/*
 * forward.c - the equations of layer parallelism, once, for every backend.
 *
 * Between stages the residual stream is held as x + delta.  A stage puts the
 * sum over its members on this rank into delta.  The sum over the ranks is
 * owed: the next RMS norm makes it when it takes delta in, and the last stage's
 * is made after that stage (forward_step.c).  docs/design.md derives the modes.
 *
 * A plan may adjust a stage (plan/adjust.h).  Norms and gains are other numbers
 * in these equations.  Low-rank corrections belong to taps (tap.h): at its taps
 * a stage's values are corrected, and shown to a probe.  With corrections,
 * Na_i x and Nf_i y stand for u + up (down u), u = Na_i x or Nf_i y, and z has
 * another term: up (sum down_i delta_i).
 *
 * Shapes: x, delta [T][d]; acc, norm [member][T][d].
 */
#include "rank/pass.h"

/* ==== norms ============================================================== */

/* norms[i] = the norms of members that have a weight here; returns how many. */
static int list_norms(const tlpi_pass *p, float *const *weight, int n_member)
{
    int n = 0;

    for (int i = 0; i < n_member; i++)
        if (weight[i])
            p->buf->norms[n++] = (tlpi_norm){ weight[i], tlpi_input(p, i) };
    return n;
}

/* x += delta, after the sum over the ranks if that is `owed`; norm[i] =
 * rms_norm(x) * weight[i] for members that have one. */
static tlp_status enter(const tlpi_pass *p, float *const *weight, int n_member,
                        bool owed)
{
    const tlpi_hparams *hp = p->hp;
    tlpi_scratch *buf = p->buf;
    int n = list_norms(p, weight, n_member);

    if (owed)
        return tlpi_exchange_sum_norm(p->exchange, p->n_tok, hp->n_embd, buf->x,
                                      buf->delta, buf->norms, n, hp->norm_eps);
    p->b->ops->add_norm(p->b, p->n_tok, hp->n_embd, buf->x, buf->delta, buf->x,
                        buf->norms, n, hp->norm_eps);
    return TLP_OK;
}

/* norm[part] = rms_norm(x + attention sum of its member) * Nf; x stays. */
static void enter_members(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    const tlpi_hparams *hp = p->hp;

    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];
        tlpi_norm norm = { s->ffn_norm[f->norm], tlpi_input(p, f->norm) };

        p->b->ops->add_norm(p->b, p->n_tok, hp->n_embd, p->buf->x,
                            tlpi_attn_sum(p, s, f->member), NULL, &norm, 1,
                            hp->norm_eps);
    }
}

/* ==== attention ========================================================== */

/* The places of a part's activations in the qkv buffer. */
static tlpi_attn attn_args(const tlpi_pass *p, const tlpi_rank_attn *a)
{
    size_t h = (size_t)p->hp->head_dim, t = (size_t)p->n_tok;
    size_t nq = t * (size_t)a->n_head * h, nk = t * (size_t)a->n_head_kv * h;
    float *q = p->buf->qkv + t * a->at;

    return (tlpi_attn){ .q = q,
                        .k = q + 2 * nq,
                        .v = q + 2 * nq + nk,
                        .q_norm = a->t.v[TLPI_ATTN_Q_NORM],
                        .k_norm = a->t.v[TLPI_ATTN_K_NORM],
                        .kv = a->kv,
                        .n_head = a->n_head,
                        .n_head_kv = a->n_head_kv,
                        .y = q + nq,
                        .no_rope = !a->has_rope,
                        .scale = p->hp->attention_scale };
}

/* Queries, keys and values of all parts from norm[member], in one call for the
 * whole group; then attention proper, in one call. */
static void attend(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    tlpi_scratch *buf = p->buf;

    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];
        const float *x = tlpi_input(p, a->member);
        tlpi_attn y = attn_args(p, a);
        tlpi_term *t = &buf->term[3 * i];
        tlpi_matmul *m = &buf->mm[3 * i];

        t[0] = (tlpi_term){ a->t.w[TLPI_ATTN_Q], x, 1 };
        t[1] = (tlpi_term){ a->t.w[TLPI_ATTN_K], x, 1 };
        t[2] = (tlpi_term){ a->t.w[TLPI_ATTN_V], x, 1 };
        m[0] = (tlpi_matmul){ &t[0], 1, a->t.v[TLPI_ATTN_Q_BIAS], false, y.q };
        m[1] = (tlpi_matmul){ &t[1], 1, a->t.v[TLPI_ATTN_K_BIAS], false, y.k };
        m[2] = (tlpi_matmul){ &t[2], 1, a->t.v[TLPI_ATTN_V_BIAS], false,
                              (float *)y.v };
        buf->attn[i] = y;
    }
    if (s->n_attn) {
        p->b->ops->matmul(p->b, p->n_tok, buf->mm, 3 * s->n_attn);
        p->b->ops->attention(p->b, p->step, p->rope, buf->attn, s->n_attn,
                             p->hp->head_dim, p->hp->norm_eps);
    }
}

/* The heads of all parts, from the stage's input. */
static tlp_status begin_stage(const tlpi_pass *p, const tlpi_rank_stage *s,
                              bool owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(enter(p, s->attn_norm, s->n_member, owed));
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN_IN));
    attend(p, s);
done:
    return st;
}

static tlpi_term out_term(const tlpi_pass *p, const tlpi_rank_stage *s,
                          const tlpi_rank_attn *a)
{
    return (tlpi_term){ a->t.w[TLPI_ATTN_OUTPUT], attn_args(p, a).y,
                        s->attn_gain[a->member] };
}

/* y = sum over the parts of their output projections. */
static void project_sum(const tlpi_pass *p, const tlpi_rank_stage *s, float *y)
{
    tlpi_matmul m = { p->buf->term, s->n_attn, s->o_bias, false, y };

    for (int i = 0; i < s->n_attn; i++)
        p->buf->term[i] = out_term(p, s, &s->attn[i]);
    if (s->n_attn)
        p->b->ops->matmul(p->b, p->n_tok, &m, 1);
    else
        p->b->ops->zero(p->b, y, p->n);
}

/* attn_sum[member] = this rank's share of that member's output projection: a
 * term for each of its parts, which are neighbours in the list. */
static void project_each(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    tlpi_matmul *mm = p->buf->mm;
    int n = 0;

    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];
        tlpi_term *term = &p->buf->term[i];

        *term = out_term(p, s, a);
        if (i > 0 && s->attn[i - 1].member == a->member)
            mm[n - 1].n_term++;
        else
            mm[n++] = (tlpi_matmul){ term, 1, a->t.v[TLPI_ATTN_OUTPUT_BIAS],
                                     false, tlpi_attn_sum(p, s, a->member) };
    }
    if (n)
        p->b->ops->matmul(p->b, p->n_tok, mm, n);
}

/* ==== feed-forward ======================================================= */

/* hidden = silu(gate x) * (up x) of all parts, x = norm[part.norm] */
static void expand(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];

        p->buf->gate_up[i] =
            (tlpi_gate_up){ f->t.w[TLPI_FFN_GATE], f->t.w[TLPI_FFN_UP],
                            tlpi_input(p, f->norm), tlpi_hidden(p, f) };
    }
    if (s->n_ffn)
        p->b->ops->gate_up(p->b, p->n_tok, p->buf->gate_up, s->n_ffn);
}

/* delta (+)= sum over the parts of their down projections */
static void contract(const tlpi_pass *p, const tlpi_rank_stage *s, bool add)
{
    tlpi_matmul m = { p->buf->term, s->n_ffn, NULL, add, p->buf->delta };

    for (int i = 0; i < s->n_ffn; i++)
        p->buf->term[i] = tlpi_down_term(p, s, &s->ffn[i]);
    if (s->n_ffn)
        p->b->ops->matmul(p->b, p->n_tok, &m, 1);
    else if (!add)
        p->b->ops->zero(p->b, p->buf->delta, p->n);
}

/* delta (+)= sum over the parts of their feed-forward, from norm.  A correction
 * of the stage's output also puts what it reads of the attention into delta. */
static tlp_status feed_forward(const tlpi_pass *p, const tlpi_rank_stage *s,
                               bool add)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN_IN));
    expand(p, s);
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN));
    if (tlpi_corrects_output(s))
        tlpi_correct_output(p, s);
    else
        contract(p, s, add);
done:
    return st;
}

/* ==== serial, lp, lp-code, merge ========================================= */

/*
 * y = x + sum A_i(Na_i x);  z = y + sum F_i(Nf_i y)
 * lp-code differs only in its parts: each names the norm it reads through.
 */
static tlp_status stage_lp(const tlpi_pass *p, const tlpi_rank_stage *s,
                           bool owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(begin_stage(p, s, owed));
    project_sum(p, s, p->buf->delta);
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN));
    TLP_TRY(enter(p, s->ffn_norm, s->n_member, true));
    TLP_TRY(feed_forward(p, s, false));
done:
    return st;
}

/* ==== par and asym: members that finish on their own ===================== */

static bool has_attn(const tlpi_rank_stage *s, int member)
{
    bool have = false;

    for (int i = 0; i < s->n_attn; i++)
        have |= s->attn[i].member == member;
    return have;
}

static bool has_ffn(const tlpi_rank_stage *s, int member)
{
    bool have = false;

    for (int i = 0; i < s->n_ffn; i++)
        have |= s->ffn[i].member == member;
    return have;
}

/* Zero for the members that this rank holds no attention of. */
static void zero_missing(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    for (int m = 0; m < s->n_member; m++)
        if (!has_attn(s, m))
            p->b->ops->zero(p->b, tlpi_attn_sum(p, s, m), p->n);
}

/* delta += the attention sums of members [m0, n_member) that this rank hands
 * on, and has not formed there. */
static void add_sums(const tlpi_pass *p, const tlpi_rank_stage *s, int m0)
{
    for (int m = m0; m < s->n_member; m++)
        if (tlpi_rank_counts(p->rank, s, m) && m != s->carried)
            p->b->ops->add(p->b, p->buf->delta, tlpi_attn_sum(p, s, m), p->n);
}

/* delta = the attention sums of members [m0, n_member) and all F_i(Nf_i y_i),
 * y_i = x + the attention sum of member i. */
static tlp_status finish_members(const tlpi_pass *p, const tlpi_rank_stage *s,
                                 int m0)
{
    bool begun = s->carried >= 0; /* in delta */
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN));
    enter_members(p, s);
    if (begun)
        add_sums(p, s, m0);
    TLP_TRY(feed_forward(p, s, begun));
    if (!begun)
        add_sums(p, s, m0);
done:
    return st;
}

/* A member that is spread over several ranks sums what it has in tlpi_attn_sum
 * inside its span. */
static tlp_status sum_spans(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    tlp_status st = TLP_OK;

    for (int m = 0; m < s->n_member && st == TLP_OK; m++) {
        if (s->span[m].count < 2 || !tlpi_span_has(s->span[m], p->rank))
            continue;
        st = tlpi_exchange_sum_span(p->exchange, s->span[m],
                                    tlpi_attn_sum(p, s, m), p->n);
    }
    return st;
}

/*
 * par: y_i = x + A_i(Na_i x);  z = x + sum [A_i + F_i(Nf_i y_i)]
 * One all-reduce for the group.  The first rank of a member's span hands the
 * member's attention on.
 */
static tlp_status stage_par(const tlpi_pass *p, const tlpi_rank_stage *s,
                            bool owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(begin_stage(p, s, owed));
    project_each(p, s);
    if (s->shared_members)
        zero_missing(p, s);
    TLP_TRY(sum_spans(p, s));
    TLP_TRY(finish_members(p, s, 0));
done:
    return st;
}

/*
 * asym, members whole: this rank's attention sums become running sums S_i =
 * sum_{j<=i} A_j, which start from what the ranks before it sent and go on to
 * the next.
 */
static tlp_status pass_running_sum(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    int first = s->span[0].first, end = s->span[s->n_member - 1].first;
    float *sum = NULL;
    tlp_status st = TLP_OK;

    if (p->rank > first && p->rank <= end) {
        sum = tlpi_slot(p, p->buf->acc, s->n_member);
        TLP_TRY(tlpi_exchange_recv_prev(p->exchange, sum, p->n));
    }
    for (int m = 0; m < s->n_member; m++) {
        float *a = tlpi_attn_sum(p, s, m);

        if (!tlpi_span_has(s->span[m], p->rank))
            continue;
        if (sum)
            p->b->ops->add(p->b, a, sum, p->n);
        sum = a;
    }
    if (p->rank >= first && p->rank < end)
        TLP_TRY(tlpi_exchange_send_next(p->exchange, sum, p->n));
done:
    return st;
}

/* asym, members shared between ranks: all ranks learn all A_i in one
 * all-reduce of the stack, then form the running sums for themselves. */
static tlp_status share_running_sums(const tlpi_pass *p,
                                     const tlpi_rank_stage *s)
{
    float *acc = p->buf->acc;
    tlp_status st = TLP_OK;

    zero_missing(p, s);
    TLP_TRY(tlpi_exchange_sum(p->exchange, acc, p->n * (size_t)s->n_member));
    for (int m = 1; m < s->n_member; m++)
        p->b->ops->add(p->b, tlpi_slot(p, acc, m), tlpi_slot(p, acc, m - 1),
                       p->n);
done:
    return st;
}

/*
 * asym: y_i = x + sum_{j<=i} A_j(Na_j x);  z = y_last + sum F_i(Nf_i y_i)
 * The last member's sum is the whole attention sum; its (first) rank hands it
 * on.
 */
static tlp_status stage_asym(const tlpi_pass *p, const tlpi_rank_stage *s,
                             bool owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(begin_stage(p, s, owed));
    project_each(p, s);
    if (s->shared_members)
        TLP_TRY(share_running_sums(p, s));
    else
        TLP_TRY(pass_running_sum(p, s));
    TLP_TRY(finish_members(p, s, s->n_member - 1));
done:
    return st;
}

/* ==== tracks ============================================================= */

/*
 * A layer beside an exchange that is left out.  Its members are its tracks, t;
 * A_t and F_t are a track's parts of the layer, x_t = x + D_t a track's stream,
 * D_t what the track has added since the last exchange.  The exchange after a
 * half-layer makes x = x + sum D_t and all D_t = 0:
 *
 *   D_t = D_t + A_t(Na x_t);  exchange, or not;
 *   D_t = D_t + F_t(Nf x_t);  exchange, or not
 *
 * par is this with whole layers as members and no exchange in the middle.  The
 * half that a track added last is in tlpi_attn_sum(t), what it added before in
 * track[t]; several ranks of a track hold shares of the former and copies of
 * the latter.
 */

/* norm[t] = rms_norm(x_t) * weight; x stays. */
static void enter_tracks(const tlpi_pass *p, const tlpi_rank_stage *s,
                         float *const *weight)
{
    for (int t = 0; t < s->n_member; t++) {
        tlpi_norm norm = { weight[t], tlpi_input(p, t) };

        if (weight[t])
            p->b->ops->add_norm(p->b, p->n_tok, p->hp->n_embd, p->buf->x,
                                tlpi_slot(p, p->buf->track, t), NULL, &norm, 1,
                                p->hp->norm_eps);
    }
}

/* tlpi_attn_sum(t) = this rank's share of F_t */
static void contract_each(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    for (int t = 0; t < s->n_member; t++)
        if (tlpi_span_has(s->span[t], p->rank) && !has_ffn(s, t))
            p->b->ops->zero(p->b, tlpi_attn_sum(p, s, t), p->n);
    tlpi_project_ffns(p, s, s->carried < 0 ? p->buf->acc : p->buf->delta,
                      TLPI_MAX(s->carried, 0));
}

/* No exchange: D_t = D_t + the half of each track. */
static tlp_status keep_tracks(const tlpi_pass *p, const tlpi_rank_stage *s,
                              bool open)
{
    tlp_status st = TLP_OK;

    TLP_TRY(sum_spans(p, s));
    for (int t = 0; t < s->n_member; t++) {
        float *track = tlpi_slot(p, p->buf->track, t);

        if (!tlpi_span_has(s->span[t], p->rank))
            continue;
        if (!open)
            p->b->ops->zero(p->b, track, p->n);
        p->b->ops->add(p->b, track, tlpi_attn_sum(p, s, t), p->n);
    }
done:
    return st;
}

/* delta = this rank's share of sum D_t, which the next norm exchanges. */
static void join_tracks(const tlpi_pass *p, const tlpi_rank_stage *s, bool open)
{
    if (s->carried < 0)
        p->b->ops->zero(p->b, p->buf->delta, p->n);
    for (int t = 0; t < s->n_member; t++) {
        float *sum = tlpi_attn_sum(p, s, t);

        if (!tlpi_span_has(s->span[t], p->rank))
            continue;
        if (open && tlpi_rank_counts(p->rank, s, t))
            p->b->ops->add(p->b, sum, tlpi_slot(p, p->buf->track, t), p->n);
        if (t != s->carried)
            p->b->ops->add(p->b, p->buf->delta, sum, p->n);
    }
}

static tlp_status stage_tracks(const tlpi_pass *p, const tlpi_rank_stage *s,
                               bool owed)
{
    bool open = s->open;
    tlp_status st = TLP_OK;

    if (open)
        enter_tracks(p, s, s->attn_norm);
    else
        TLP_TRY(enter(p, s->attn_norm, s->n_member, owed));
    attend(p, s);
    zero_missing(p, s);
    project_each(p, s);
    if (s->nosync & TLP_NOSYNC_ATTN) {
        TLP_TRY(keep_tracks(p, s, open));
        enter_tracks(p, s, s->ffn_norm);
        open = true;
    } else {
        join_tracks(p, s, open);
        TLP_TRY(enter(p, s->ffn_norm, s->n_member, true));
        open = false;
    }
    expand(p, s);
    contract_each(p, s);
    if (s->nosync & TLP_NOSYNC_FFN)
        TLP_TRY(keep_tracks(p, s, open));
    else
        join_tracks(p, s, open);
done:
    return st;
}

/* ==== a stage ============================================================ */

tlp_status tlpi_forward_stage(const tlpi_pass *p, const tlpi_rank_stage *s,
                              bool owed)
{
    if (tlpi_stage_has_tracks(s))
        return stage_tracks(p, s, owed);
    switch (s->mode) {
    case TLP_MODE_PAR:
        return stage_par(p, s, owed);
    case TLP_MODE_ASYM:
        return stage_asym(p, s, owed);
    default:
        return stage_lp(p, s, owed);
    }
}
