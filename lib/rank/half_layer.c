/*
 * half_layer.c - the halves of a layer in tracks, each at streams of its own.
 */
#include "rank/half_layer.h"

#include "rank/stage_half.h"

/* norm[t] = rms_norm(x_t) * weight: the stream of a track stands in its slot of
 * `track`, beside a common stream of zeros. */
static void enter(const tlpi_pass *p, const tlpi_rank_stage *s,
                  const tlpi_rank_input *input, const float *const *x)
{
    p->b->ops->zero(p->b, p->buf->x, p->n);
    for (int t = 0; t < s->n_member; t++) {
        float *own = tlpi_slot(p, p->buf->track, t);

        p->b->ops->write(p->b, own, x[t], p->n);
        tlpi_enter_own(p, input, t, own);
    }
}

/* The sums of both halves stand in tlpi_attn_sum. */
static tlp_status read_parts(const tlpi_pass *p, const tlpi_rank_stage *s,
                             float *y)
{
    tlp_status st = TLP_OK;

    for (int t = 0; t < s->n_member && st == TLP_OK; t++)
        st = p->b->ops->read(p->b, y + (size_t)t * p->n, tlpi_attn_sum(p, s, t),
                             p->n);
    return st;
}

tlp_status tlpi_half_layer(tlpi_rank *r, const tlpi_program *program, int index,
                           int half, const tlpi_step *step,
                           const float *const *x, float *y)
{
    const tlpi_rank_stage *s = &program->stage[index];
    const tlpi_pass p = { .rank = r->rank,
                          .hp = &r->model->hp,
                          .b = r->b,
                          .exchange = &r->exchange,
                          .buf = &r->scratch,
                          .step = step,
                          .n_tok = step->n_tok,
                          .n = tlpi_n_stream(r, step) };
    tlp_status st = TLP_OK;

    r->b->ops->begin_step(r->b, step, NULL);
    if (half == TLP_NOSYNC_ATTN) {
        enter(&p, s, s->attn_norm, x);
        st = tlpi_attend(&p, s);
        tlpi_zero_missing(&p, s);
        tlpi_project_each(&p, s);
    } else {
        enter(&p, s, s->ffn_norm, x);
        tlpi_expand(&p, s);
        tlpi_contract_each(&p, s);
    }
    if (st == TLP_OK)
        st = read_parts(&p, s, y);
    return r->b->ops->end_step(r->b, st);
}
