/*
 * forward_adjust.c - low-rank corrections of a stage, and what a probe sees.
 *
 * A correction is two calls of the backend: down, all members at once, and up.
 */
#include "rank/forward.h"

void tlpi_forward_correct(tlpi_rank *r, const tlpi_step *step,
                          const tlpi_rank_lowrank *low, int n_member)
{
    tlpi_matmul *down = r->mm, *up = r->mm + n_member;
    float *t = r->buf.low;
    int n = 0;

    for (int m = 0; m < n_member; m++) {
        float *x = tlpi_slot(r, step, r->buf.norm, m);
        tlpi_term *term = &r->term[2 * n];

        if (low[m].rank == 0)
            continue;
        term[0] = (tlpi_term){ low[m].down, x, 1 };
        term[1] = (tlpi_term){ low[m].up, t, 1 };
        down[n] = (tlpi_matmul){ &term[0], 1, NULL, false, t };
        up[n] = (tlpi_matmul){ &term[1], 1, NULL, true, x };
        t += (size_t)step->n_tok * (size_t)low[m].rank;
        n++;
    }
    if (n) {
        r->b->ops->matmul(r->b, step->n_tok, down, n);
        r->b->ops->matmul(r->b, step->n_tok, up, n);
    }
}

/* Is this the first of a member's feed-forward parts?  They are neighbours. */
static bool begins_member(const tlpi_rank_stage *s, int part)
{
    return part == 0 || s->ffn[part - 1].member != s->ffn[part].member;
}

/* norm[m] = this rank's share of F_m: the normalised inputs have been read. */
static void project_ffns(tlpi_rank *r, const tlpi_step *step,
                         const tlpi_rank_stage *s)
{
    int n = 0;

    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];

        r->term[i] = (tlpi_term){ f->down, tlpi_hidden(r, step, f),
                                  s->ffn_gain[f->member] };
        if (begins_member(s, i))
            r->mm[n++] =
                (tlpi_matmul){ &r->term[i], 1, NULL, false,
                               tlpi_slot(r, step, r->buf.norm, f->member) };
        else
            r->mm[n - 1].n_term++;
    }
    if (n)
        r->b->ops->matmul(r->b, step->n_tok, r->mm, n);
}

/* delta = up (sum of down_m times what this rank has of delta_m) */
static void correct_delta(tlpi_rank *r, const tlpi_step *step,
                          const tlpi_rank_stage *s)
{
    const tlpi_rank_adjust *a = s->adjust;
    float *delta = r->buf.delta;
    int n = 0;

    for (int i = 0; i < s->n_ffn; i++) {
        int m = s->ffn[i].member;
        if (begins_member(s, i))
            r->term[n++] = (tlpi_term){ a->out_down[m],
                                        tlpi_slot(r, step, r->buf.norm, m), 1 };
    }
    for (int m = 0; m < s->n_member; m++)
        if (tlpi_rank_counts(r, s, m))
            r->term[n++] = (tlpi_term){
                a->out_down[m],
                s->span ? tlpi_slot(r, step, r->buf.acc, m) : delta, 1
            };
    if (n == 0) {
        r->b->ops->zero(r->b, delta, tlpi_n_stream(r, step));
        return;
    }
    tlpi_matmul down = { r->term, n, NULL, false, r->buf.low };
    r->b->ops->matmul(r->b, step->n_tok, &down, 1);
    tlpi_term term = { a->out_up, r->buf.low, 1 };
    tlpi_matmul up = { &term, 1, NULL, false, delta };
    r->b->ops->matmul(r->b, step->n_tok, &up, 1);
}

void tlpi_forward_out(tlpi_rank *r, const tlpi_step *step,
                      const tlpi_rank_stage *s)
{
    project_ffns(r, step, s);
    correct_delta(r, step, s);
    for (int i = 0; i < s->n_ffn; i++)
        if (begins_member(s, i))
            r->b->ops->add(r->b, r->buf.delta,
                           tlpi_slot(r, step, r->buf.norm, s->ffn[i].member),
                           tlpi_n_stream(r, step));
}

/* ==== probes ============================================================= */

static tlp_status show(tlpi_rank *r, const tlpi_step *step, tlpi_probe_at at,
                       int member, const float *x)
{
    size_t room = (size_t)r->cfg->n_batch * (size_t)r->model->hp.n_embd;

    if (!r->seen)
        r->seen = tlpi_alloc_array(r->env, room, sizeof(*r->seen));
    if (!r->seen)
        return tlpi_fail_nomem();
    tlp_status st = r->b->ops->read(r->b, r->seen, x, tlpi_n_stream(r, step));
    return st != TLP_OK ? st
                        : r->probe->see(r->probe->arg, at, member, r->seen);
}

tlp_status tlpi_probe_inputs(tlpi_rank *r, const tlpi_step *step,
                             const tlpi_rank_stage *s, tlpi_probe_at at)
{
    tlp_status st = TLP_OK;

    for (int m = 0; m < s->n_member && st == TLP_OK; m++)
        st = show(r, step, at, m, tlpi_slot(r, step, r->buf.norm, m));
    return st;
}

tlp_status tlpi_probe_sums(tlpi_rank *r, const tlpi_step *step,
                           const tlpi_rank_stage *s)
{
    tlp_status st = TLP_OK;

    if (!s->span)
        return show(r, step, TLPI_PROBE_ATTN, 0, r->buf.delta);
    for (int m = 0; m < s->n_member && st == TLP_OK; m++)
        st = show(r, step, TLPI_PROBE_ATTN, m, tlpi_attn_sum(r, step, s, m));
    return st;
}

tlp_status tlpi_probe_ffns(tlpi_rank *r, const tlpi_step *step,
                           const tlpi_rank_stage *s)
{
    project_ffns(r, step, s);
    return tlpi_probe_inputs(r, step, s, TLPI_PROBE_FFN);
}
