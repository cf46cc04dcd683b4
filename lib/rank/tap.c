/*
 * tap.c - low-rank corrections of a stage's values, and what a probe sees of
 * the values.
 *
 * A correction is two calls of the backend: down, all members at once, and up.
 */
#include "rank/stage_half.h"

/* ==== corrections ======================================================== */

/* norm[m] += up_m (down_m norm[m]), for all members. */
static void correct_inputs(const tlpi_pass *p, const tlpi_rank_stage *s,
                           const tlpi_rank_lowrank *low)
{
    tlpi_matmul *down = p->buf->mm, *up = p->buf->mm + s->n_member;
    float *t = p->buf->low;
    int n = 0;

    for (int m = 0; m < s->n_member; m++) {
        float *x = tlpi_input(p, m);
        tlpi_term *term = &p->buf->term[2 * n];

        if (low[m].rank == 0)
            continue;
        term[0] = (tlpi_term){ low[m].down, x, 1, NULL, NULL };
        term[1] = (tlpi_term){ low[m].up, t, 1, NULL, NULL };
        down[n] = (tlpi_matmul){ &term[0], 1, NULL, false, t };
        up[n] = (tlpi_matmul){ &term[1], 1, NULL, true, x };
        t += (size_t)p->n_tok * (size_t)low[m].rank;
        n++;
    }
    if (n) {
        p->b->ops->matmul(p->b, p->n_tok, down, n);
        p->b->ops->matmul(p->b, p->n_tok, up, n);
    }
}

/* delta = up (sum of down_m times this rank's share of delta_m) */
static void correct_delta(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    const tlpi_rank_adjust *a = s->adjust;
    tlpi_term *term = p->buf->term;
    float *delta = p->buf->delta, *low = p->buf->low;
    int n = 0;

    for (int i = 0; i < s->n_ffn; i++) {
        int m = s->ffn[i].member;
        if (tlpi_begins_member(s, i))
            term[n++] =
                (tlpi_term){ a->out_down[m], tlpi_input(p, m), 1, NULL, NULL };
    }
    for (int m = 0; m < s->n_member; m++)
        if (tlpi_rank_counts(p->rank, s, m))
            term[n++] =
                (tlpi_term){ a->out_down[m],
                             s->span ? tlpi_slot(p, p->buf->acc, m) : delta, 1,
                             NULL, NULL };
    if (n == 0) {
        p->b->ops->zero(p->b, delta, p->n);
        return;
    }
    tlpi_matmul down = { term, n, NULL, false, low };
    p->b->ops->matmul(p->b, p->n_tok, &down, 1);
    tlpi_term last = { a->out_up, low, 1, NULL, NULL };
    tlpi_matmul up = { &last, 1, NULL, false, delta };
    p->b->ops->matmul(p->b, p->n_tok, &up, 1);
}

void tlpi_correct_output(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    tlpi_project_ffns(p, s, p->buf->norm, 0);
    correct_delta(p, s);
    for (int i = 0; i < s->n_ffn; i++)
        if (tlpi_begins_member(s, i))
            p->b->ops->add(p->b, p->buf->delta, tlpi_input(p, s->ffn[i].member),
                           p->n);
}

/* ==== probes ============================================================= */

static tlp_status show_one(const tlpi_pass *p, tlpi_probe_at at, int member,
                           const float *x)
{
    tlp_status st = tlpi_scratch_reserve_seen(p->buf);

    TLP_TRY(st);
    TLP_TRY(p->b->ops->read(p->b, p->buf->seen, x, p->n));
    st = p->probe->see(p->probe->arg, at, member, p->buf->seen);
done:
    return st;
}

static tlp_status show(const tlpi_pass *p, const tlpi_rank_stage *s,
                       tlpi_probe_at at)
{
    tlp_status st = TLP_OK;

    if (at == TLPI_PROBE_ATTN && !s->span)
        return show_one(p, at, 0, p->buf->delta);
    if (at == TLPI_PROBE_FFN)
        tlpi_project_ffns(p, s, p->buf->norm, 0);
    for (int m = 0; at == TLPI_PROBE_FFN && s->ffn_post && m < s->n_member; m++)
        tlpi_post(p, s->ffn_post[m], tlpi_input(p, m));
    for (int m = 0; m < s->n_member && st == TLP_OK; m++)
        st = show_one(p, at, m,
                      at == TLPI_PROBE_ATTN ? tlpi_attn_sum(p, s, m)
                                            : tlpi_input(p, m));
    return st;
}

tlp_status tlpi_tap(const tlpi_pass *p, const tlpi_rank_stage *s,
                    tlpi_probe_at at)
{
    if (s->adjust && at == TLPI_PROBE_ATTN_IN)
        correct_inputs(p, s, s->adjust->attn_in);
    if (s->adjust && at == TLPI_PROBE_FFN_IN)
        correct_inputs(p, s, s->adjust->ffn_in);
    return p->probe ? show(p, s, at) : TLP_OK;
}
