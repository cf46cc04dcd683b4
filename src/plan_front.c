/*
 * plan_front.c - the best plan of every depth or number of exchanges:
 * collect, print as a table, write as CSV.
 */
#include "plan_front.h"

#include <stdlib.h>

int front_add(plan_front *front, const tlp_plan_point *p)
{
    tlp_plan_cost cost = { .struct_size = sizeof cost };
    size_t size = (front->n + 1) * sizeof *front->point;
    front_point *point = realloc(front->point, size);

    if (!point)
        return cli_fail("out of memory");
    front->point = point;
    if (tlp_plan_get_cost(&cost, p->plan, p->n_rank) != TLP_OK)
        return engine_fail(TLP_ERROR);
    point += front->n;
    *point = (front_point){
        .depth = p->depth,
        .allreduces = engine_allreduces(&cost),
        .exchanges = p->exchanges,
        .n_rank = p->n_rank,
        .chosen = p->chosen != 0,
        .kl = p->kl,
        .top1_agreement = p->top1_agreement,
        .ppl = p->ppl,
    };
    front->n++;
    return engine_format_plan(p->plan, TLP_PLAN_TEXT, &point->plan);
}

void front_print(const plan_front *front)
{
    printf(
        "  depth all-reduces exchanges  KL nats top-1 %% perplexity  plan\n");
    for (size_t i = 0; i < front->n; i++) {
        const front_point *p = &front->point[i];

        printf("%c %5d %11d %9d %8.4f %7.2f %10.4f  %s\n",
               p->chosen ? '>' : ' ', p->depth, p->allreduces, p->exchanges,
               p->kl, 100 * p->top1_agreement, p->ppl, p->plan);
    }
}

void front_put_csv(const plan_front *front, FILE *f)
{
    int n_rank = front->point[0].n_rank;

    fprintf(f,
            "depth,allreduces_%d_ranks,kl,top1_agreement,ppl,plan,"
            "exchanges_%d_ranks\n",
            n_rank, n_rank);
    for (size_t i = 0; i < front->n; i++) {
        const front_point *p = &front->point[i];

        fprintf(f, "%d,%d,%.9g,%.9g,%.9g,\"%s\",%d\n", p->depth, p->allreduces,
                p->kl, p->top1_agreement, p->ppl, p->plan, p->exchanges);
    }
}

void front_free(plan_front *front)
{
    for (size_t i = 0; i < front->n; i++)
        free(front->point[i].plan);
    free(front->point);
    *front = (plan_front){ 0 };
}
