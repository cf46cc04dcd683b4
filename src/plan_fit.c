/*
 * plan_fit.c - see plan_fit.h.
 */
#include "plan_fit.h"

int fit_check_options(const corpus *text, const char *plan, const char *out)
{
    int rc = corpus_check(text);

    if (rc != CLI_OK)
        return rc;
    if (!plan)
        return cli_usage("no plan: --plan PLAN is required");
    if (!out)
        return cli_usage("no output file: -o FILE is required");
    return CLI_OK;
}

void fit_json(const fit_quality *q, json *j)
{
    json_int(j, "windows", q->n_window);
    json_int(j, "held_out", q->n_held_out);
    json_number(j, "kl_before", q->kl[0]);
    json_number(j, "kl_after", q->kl[1]);
    json_number(j, "ppl_before", q->ppl[0]);
    json_number(j, "ppl_after", q->ppl[1]);
    json_number(j, "top1_before", q->top1[0]);
    json_number(j, "top1_after", q->top1[1]);
}

void fit_print(const fit_quality *q)
{
    printf("%d of %d windows held out         before       after\n",
           q->n_held_out, q->n_window);
    printf("  KL divergence, nats         %10.4f  %10.4f\n", q->kl[0],
           q->kl[1]);
    printf("  perplexity                  %10.4f  %10.4f\n", q->ppl[0],
           q->ppl[1]);
    printf("  top-1 agreement, %%          %10.2f  %10.2f\n", 100 * q->top1[0],
           100 * q->top1[1]);
}
