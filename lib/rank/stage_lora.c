/*
 * stage_lora.c - see stage_lora.h.
 */
#include "rank/stage_lora.h"

tlpi_term tlpi_lora_term(tlpi_lora_call *c, const tlpi_rank_tensors *t,
                         tlpi_layer_id id, const float *x, float scale)
{
    const tlpi_rank_lowrank *l = &t->lora[id];
    float *low = c->at;

    if (l->rank == 0)
        return (tlpi_term){ 0 };
    c->p->buf->low_term[c->n] = (tlpi_term){ l->down, x, 1, NULL, NULL };
    c->p->buf->low_mm[c->n] =
        (tlpi_matmul){ &c->p->buf->low_term[c->n], 1, NULL, false, low };
    c->n++;
    c->at += (size_t)c->p->n_tok * (size_t)l->rank;
    return (tlpi_term){ l->up, low, scale, NULL, NULL };
}

int tlpi_lora_terms(tlpi_lora_call *c, const tlpi_rank_tensors *t,
                    tlpi_layer_id id, const float *x, float scale,
                    tlpi_term *term)
{
    term[0] = (tlpi_term){ t->w[id], x, scale, NULL, NULL };
    term[1] = tlpi_lora_term(c, t, id, x, scale);
    return term[1].w ? 2 : 1;
}

void tlpi_lora_run(const tlpi_lora_call *c)
{
    if (c->n)
        c->p->b->ops->matmul(c->p->b, c->p->n_tok, c->p->buf->low_mm, c->n);
}
