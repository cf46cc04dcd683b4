/*
 * forward_head.c - what becomes of the residual stream after the stages.
 */
#include "rank/forward.h"

void tlpi_forward_stream(tlpi_rank *r, const tlpi_step *step, float *host)
{
    size_t n = tlpi_n_stream(r, step);

    r->b->ops->add(r->b, r->scratch.x, r->scratch.delta, n);
    r->b->ops->zero(r->b, r->scratch.delta, n);
    (void)r->b->ops->read(r->b, host, r->scratch.x,
                          n); /* runners': the CPU's */
}

void tlpi_forward_stream_tracks(tlpi_rank *r, const tlpi_step *step,
                                int n_track, float *x, float *const *track)
{
    size_t n = tlpi_n_stream(r, step);

    (void)r->b->ops->read(r->b, x, r->scratch.x, n); /* runners': the CPU's */
    for (int t = 0; t < n_track; t++)
        (void)r->b->ops->read(r->b, track[t], r->scratch.track + (size_t)t * n,
                              n);
}

const float *tlpi_forward_states(tlpi_rank *r, const int32_t *rows, int n)
{
    const tlpi_hparams *hp = &r->model->hp;
    float *x = r->scratch.rows;
    float *delta = x + (size_t)TLPI_LOGIT_CHUNK * (size_t)hp->n_embd;
    float *out = delta + (size_t)TLPI_LOGIT_CHUNK * (size_t)hp->n_embd;
    tlpi_norm norm = { r->store.output_norm, out };

    r->b->ops->gather(r->b, r->scratch.x, rows, n, hp->n_embd, x);
    r->b->ops->gather(r->b, r->scratch.delta, rows, n, hp->n_embd, delta);
    r->b->ops->add_norm(r->b, n, hp->n_embd, x, delta, NULL, &norm, 1,
                        hp->norm_eps);
    return out;
}

void tlpi_forward_head(tlpi_rank *r, const int32_t *rows, int n, float *y)
{
    const tlpi_hparams *hp = &r->model->hp;

    if (!r->store.head) /* more ranks than pieces of the vocabulary */
        return;
    tlpi_term term = { r->store.head, tlpi_forward_states(r, rows, n),
                       1 / hp->logit_scale, NULL, NULL };
    tlpi_matmul m = { &term, 1, NULL, false, y };

    r->b->ops->matmul(r->b, n, &m, 1);
    if (hp->logit_cap > 0)
        r->b->ops->soft_cap(r->b, y, (size_t)n * (size_t)r->scratch.logit_cols,
                            hp->logit_cap);
}
