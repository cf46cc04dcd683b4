/*
 * forward.c - the equations of layer parallelism, once, for every backend.
 *
 * Between stages the residual stream is held as x + delta.  A stage puts the
 * sum over its members on this rank into delta.  The sum over the ranks is
 * owed: the next RMS norm makes it when it takes delta in, and the last stage's
 * is made after that stage (forward_step.c).  docs/design.md derives the modes.
 *
 * Some models normalise what a layer's halves give: P_i stands for the norm of
 * member i's output, and for nothing in other models.  A norm needs the sum
 * over all ranks that hold parts of the member.
 *
 * A plan may adjust a stage (plan/adjust.h).  Norms and gains are other numbers
 * in these equations.  Low-rank corrections belong to taps (tap.h): at its taps
 * a stage's values are corrected, and shown to a probe.  With corrections,
 * Na_i x and Nf_i y stand for u + up (down u), u = Na_i x or Nf_i y, and z has
 * another term: up (sum down_i delta_i).
 *
 * Shapes: x, delta [T][d]; acc, norm [member][T][d].
 */
#include "rank/forward.h"

#include "rank/stage_half.h"

static const tlpi_owed shares = { .shares = true }; /* of delta */

/* ==== a stage begins ====================================================== */

/* The heads of all parts, from the stage's input. */
static tlp_status begin_stage(const tlpi_pass *p, const tlpi_rank_stage *s,
                              tlpi_owed owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_enter(p, s->attn_norm, s->n_member, owed));
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN_IN));
    st = tlpi_attend(p, s);
done:
    return st;
}

/* ==== serial, lp, lp-code, merge ========================================= */

/*
 * y = x + sum P_i(A_i(Na_i x));  z = y + sum P_i(F_i(Nf_i y))
 * lp-code differs only in its parts: each names the norm it reads through.
 */
static tlp_status stage_lp(const tlpi_pass *p, const tlpi_rank_stage *s,
                           tlpi_owed owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(begin_stage(p, s, owed));
    tlpi_project_sum(p, s, p->buf->delta);
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN));
    TLP_TRY(tlpi_enter(p, s->ffn_norm, s->n_member, shares));
    TLP_TRY(tlpi_feed_forward(p, s, false));
done:
    return st;
}

/* With norms of outputs: one all-reduce sums the outputs of all members. */
static tlp_status stage_lp_post(const tlpi_pass *p, const tlpi_rank_stage *s,
                                tlpi_owed owed)
{
    const tlpi_owed apart = { true, s->n_member, s->attn_post };
    tlp_status st = TLP_OK;

    TLP_TRY(begin_stage(p, s, owed));
    tlpi_zero_missing(p, s);
    tlpi_project_each(p, s);
    TLP_TRY(tlpi_settle(p, apart));
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN));
    TLP_TRY(tlpi_enter(p, s->ffn_norm, s->n_member, (tlpi_owed){ 0 }));
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN_IN));
    tlpi_expand(p, s);
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN));
    tlpi_contract_each(p, s);
done:
    return st;
}

/* ==== par and asym: members that finish on their own ===================== */

/* delta += the attention sums of members [m0, n_member) that this rank hands
 * on, and has not formed there. */
static void add_sums(const tlpi_pass *p, const tlpi_rank_stage *s, int m0)
{
    for (int m = m0; m < s->n_member; m++)
        if (tlpi_rank_counts(p->rank, s, m) && m != s->carried)
            p->b->ops->add(p->b, p->buf->delta, tlpi_attn_sum(p, s, m), p->n);
}

/* norm[m] of members with a feed-forward part, y_i = x + the attention sum of
 * member i. */
static void enter_members(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    for (int i = 0; i < s->n_ffn; i++)
        if (tlpi_begins_member(s, i))
            tlpi_enter_own(p, s->ffn_norm, s->ffn[i].norm,
                           tlpi_attn_sum(p, s, s->ffn[i].member));
}

/* delta = the attention sums of members [m0, n_member) and all F_i(Nf_i y_i).
 */
static tlp_status finish_members(const tlpi_pass *p, const tlpi_rank_stage *s,
                                 int m0)
{
    bool begun = s->carried >= 0; /* in delta */
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN));
    enter_members(p, s);
    if (begun)
        add_sums(p, s, m0);
    TLP_TRY(tlpi_feed_forward(p, s, begun));
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

/* v_m = P_m(v_m), v_m = tlpi_attn_sum(m), of the members whose span has this
 * rank, or of all. */
static void norm_members(const tlpi_pass *p, const tlpi_rank_stage *s,
                         float *const *post, bool all)
{
    for (int m = 0; post && m < s->n_member; m++)
        if (all || tlpi_span_has(s->span[m], p->rank))
            tlpi_post(p, post[m], tlpi_attn_sum(p, s, m));
}

/* As finish_members, with norms of the feed-forward parts: these take the slots
 * of the attention sums, which are in delta by then. */
static tlp_status finish_members_post(const tlpi_pass *p,
                                      const tlpi_rank_stage *s, int m0)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN));
    enter_members(p, s);
    p->b->ops->zero(p->b, p->buf->delta, p->n);
    add_sums(p, s, m0);
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN_IN));
    tlpi_expand(p, s);
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN));
    tlpi_contract_each(p, s);
    TLP_TRY(sum_spans(p, s));
    norm_members(p, s, s->ffn_post, false);
    add_sums(p, s, 0);
done:
    return st;
}

static tlp_status finish(const tlpi_pass *p, const tlpi_rank_stage *s, int m0)
{
    return s->ffn_post ? finish_members_post(p, s, m0)
                       : finish_members(p, s, m0);
}

/*
 * par: y_i = x + P_i(A_i(Na_i x));  z = x + sum [P_i(A_i) + P_i(F_i(Nf_i y_i))]
 * One all-reduce for the group.  The first rank of a member's span hands the
 * member's attention on.
 */
static tlp_status stage_par(const tlpi_pass *p, const tlpi_rank_stage *s,
                            tlpi_owed owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(begin_stage(p, s, owed));
    tlpi_project_each(p, s);
    if (s->shared_members)
        tlpi_zero_missing(p, s);
    TLP_TRY(sum_spans(p, s));
    norm_members(p, s, s->attn_post, false);
    TLP_TRY(finish(p, s, 0));
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

    tlpi_zero_missing(p, s);
    TLP_TRY(tlpi_exchange_sum(p->exchange, acc, p->n * (size_t)s->n_member));
    norm_members(p, s, s->attn_post, true);
    for (int m = 1; m < s->n_member; m++)
        p->b->ops->add(p->b, tlpi_slot(p, acc, m), tlpi_slot(p, acc, m - 1),
                       p->n);
done:
    return st;
}

/*
 * asym: y_i = x + sum_{j<=i} P_j(A_j(Na_j x));
 *       z = y_last + sum P_i(F_i(Nf_i y_i))
 * The last member's sum is the whole attention sum; its (first) rank hands it
 * on.
 */
static tlp_status stage_asym(const tlpi_pass *p, const tlpi_rank_stage *s,
                             tlpi_owed owed)
{
    tlp_status st = TLP_OK;

    TLP_TRY(begin_stage(p, s, owed));
    tlpi_project_each(p, s);
    if (s->shared_members) {
        TLP_TRY(share_running_sums(p, s));
    } else {
        norm_members(p, s, s->attn_post, false);
        TLP_TRY(pass_running_sum(p, s));
    }
    TLP_TRY(finish(p, s, s->n_member - 1));
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
 * With norms of outputs, P is the norm of the layer's half.  A track's own part
 * has the norm P_t, which is P with its weights divided by sqrt(T), unless the
 * plan gives it weights of its own:
 *
 *   no exchange:  D_t = D_t + P_t(A_t(Na x_t))
 *   exchange:     x = x + P(sum A_t(Na x_t)) + sum D_t,  D_t = 0
 *
 * par is this with whole layers as members and no exchange in the middle.  The
 * half that a track added last is in tlpi_attn_sum(t), what it added before in
 * track[t]; several ranks of a track hold shares of the former and copies of
 * the latter.
 */

/* norm[t] = rms_norm(x_t) * weight; x stays. */
static void enter_tracks(const tlpi_pass *p, const tlpi_rank_stage *s,
                         const tlpi_rank_input *input)
{
    for (int t = 0; t < s->n_member; t++)
        tlpi_enter_own(p, input, t, tlpi_slot(p, p->buf->track, t));
}

/* No exchange: D_t = D_t + the half of each track. */
static tlp_status keep_tracks(const tlpi_pass *p, const tlpi_rank_stage *s,
                              float *const *post, bool open)
{
    tlp_status st = TLP_OK;

    TLP_TRY(sum_spans(p, s));
    for (int t = 0; t < s->n_member; t++) {
        float *track = tlpi_slot(p, p->buf->track, t);

        if (!tlpi_span_has(s->span[t], p->rank))
            continue;
        if (post)
            tlpi_post(p, post[TLPI_POST_OWN + t], tlpi_attn_sum(p, s, t));
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

/* With norms of outputs: slot TLPI_POST_SUM of acc gets this rank's share of
 * the layer's half, slot TLPI_POST_REST, if the streams are open, its share of
 * sum D_t. */
static void join_tracks_post(const tlpi_pass *p, const tlpi_rank_stage *s,
                             bool open)
{
    float *half = tlpi_slot(p, p->buf->acc, TLPI_POST_SUM);
    float *rest = tlpi_slot(p, p->buf->acc, TLPI_POST_REST);

    /* The half of track 0 is in that slot. */
    if (!tlpi_span_has(s->span[0], p->rank))
        p->b->ops->zero(p->b, half, p->n);
    for (int t = 1; t < s->n_member; t++)
        if (tlpi_span_has(s->span[t], p->rank))
            p->b->ops->add(p->b, half, tlpi_attn_sum(p, s, t), p->n);
    if (!open)
        return;
    p->b->ops->zero(p->b, rest, p->n);
    for (int t = 0; t < s->n_member; t++)
        if (tlpi_rank_counts(p->rank, s, t))
            p->b->ops->add(p->b, rest, tlpi_slot(p, p->buf->track, t), p->n);
}

/* An exchange.  post: the norms of this half, or NULL. */
static void join(const tlpi_pass *p, const tlpi_rank_stage *s,
                 float *const *post, bool open)
{
    if (post)
        join_tracks_post(p, s, open);
    else
        join_tracks(p, s, open);
}

/* What the stream is owed after an exchange. */
static tlpi_owed owed_by_tracks(float *const *post, bool open)
{
    return post ? (tlpi_owed){ true, open ? 2 : 1, post } : shares;
}

static tlp_status stage_tracks(const tlpi_pass *p, const tlpi_rank_stage *s,
                               tlpi_owed owed)
{
    bool open = s->open;
    tlp_status st = TLP_OK;

    if (open)
        enter_tracks(p, s, s->attn_norm);
    else
        TLP_TRY(tlpi_enter(p, s->attn_norm, s->n_member, owed));
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_ATTN_IN));
    TLP_TRY(tlpi_attend(p, s));
    tlpi_zero_missing(p, s);
    tlpi_project_each(p, s);
    if (s->nosync & TLP_NOSYNC_ATTN) {
        TLP_TRY(keep_tracks(p, s, s->attn_post, open));
        enter_tracks(p, s, s->ffn_norm);
        open = true;
    } else {
        join(p, s, s->attn_post, open);
        TLP_TRY(tlpi_enter(p, s->ffn_norm, s->n_member,
                           owed_by_tracks(s->attn_post, open)));
        open = false;
    }
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN_IN));
    tlpi_expand(p, s);
    tlpi_contract_each(p, s);
    if (s->nosync & TLP_NOSYNC_FFN)
        TLP_TRY(keep_tracks(p, s, s->ffn_post, open));
    else
        join(p, s, s->ffn_post, open);
done:
    return st;
}

/* ==== a stage ============================================================ */

tlpi_owed tlpi_forward_owed(const tlpi_rank_stage *s)
{
    if (tlpi_stage_has_tracks(s))
        return owed_by_tracks(s->ffn_post, s->nosync & TLP_NOSYNC_ATTN);
    if (s->ffn_post && !s->span)
        return (tlpi_owed){ true, s->n_member, s->ffn_post };
    return shares;
}

tlp_status tlpi_forward_stage(const tlpi_pass *p, const tlpi_rank_stage *s,
                              const tlpi_rank_stage *before)
{
    tlpi_owed owed = before ? tlpi_forward_owed(before) : (tlpi_owed){ 0 };

    if (tlpi_stage_has_tracks(s))
        return stage_tracks(p, s, owed);
    switch (s->mode) {
    case TLP_MODE_PAR:
        return stage_par(p, s, owed);
    case TLP_MODE_ASYM:
        return stage_asym(p, s, owed);
    default:
        return s->ffn_post ? stage_lp_post(p, s, owed) : stage_lp(p, s, owed);
    }
}
