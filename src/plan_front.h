/*
 * plan_front.h - the best plan of every depth or number of exchanges, which
 * tlp plan make finds during its search: table, CSV and picture.
 */
#ifndef PLAN_FRONT_H
#define PLAN_FRONT_H

#include "corpus.h"
#include "engine.h"
#include "tlp_tune.h"

typedef struct front_point {
    int depth;
    int allreduces; /* per token, on n_rank ranks */
    int exchanges;  /* that a token waits for, on n_rank ranks */
    int n_rank;
    bool chosen; /* the requested plan */
    double kl, top1_agreement, ppl;
    char *plan;
} front_point;

typedef struct plan_front {
    /* in the order of the search, from the serial plan */
    front_point *point;
    size_t n;
} plan_front;

int front_add(plan_front *front, const tlp_plan_point *p);
void front_print(const plan_front *front);
void front_put_csv(const plan_front *front, FILE *f);
/* Draw KL and perplexity against depth, or against exchanges if all plans have
 * one depth, for this model on this text. */
void front_put_svg(const plan_front *front, const engine *e, const corpus *text,
                   FILE *f);
void front_free(plan_front *front);

#endif
