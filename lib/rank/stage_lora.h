/*
 * stage_lora.h - LoRA in the products of a stage: W x + b (a x) is a term more
 * in the call of the backend that computes W x.  One call before it computes
 * the a x of all its matrices.
 */
#ifndef TLPI_STAGE_LORA_H
#define TLPI_STAGE_LORA_H

#include "rank/pass.h"

/* The products a x before a call. */
typedef struct tlpi_lora_call {
    const tlpi_pass *p;
    int n;     /* products, in scratch.low_mm */
    float *at; /* behind their results in scratch.low */
} tlpi_lora_call;

static inline tlpi_lora_call tlpi_lora_begin(const tlpi_pass *p)
{
    return (tlpi_lora_call){ p, 0, p->buf->low };
}

/* The term scale * b (a x) of a part's matrix, whose a x is added to the call;
 * a term without a weight where the matrix has no LoRA. */
tlpi_term tlpi_lora_term(tlpi_lora_call *c, const tlpi_rank_tensors *t,
                         tlpi_layer_id id, const float *x, float scale);

/* term[0] = scale * W x of a part's matrix, term[1] = its LoRA's; returns how
 * many terms there are. */
int tlpi_lora_terms(tlpi_lora_call *c, const tlpi_rank_tensors *t,
                    tlpi_layer_id id, const float *x, float scale,
                    tlpi_term *term);

/* Compute the products, if there are any. */
void tlpi_lora_run(const tlpi_lora_call *c);

#endif
