/*
 * cpu_route.c - choose the experts of each token.
 *
 * One thread does all: a router has a few hundred scores, its experts have
 * millions of weights.
 */
#include "backend/cpu_route.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ==== one token ========================================================== */

static bool is_sound(float best)
{
    return best <= FLT_MAX; /* false for NaN */
}

/* The n best experts by rising index. */
static void sort_by_index(const tlpi_candidate *best, int n, int32_t *out)
{
    for (int i = 0; i < n; i++) {
        int j = i;

        for (; j > 0 && out[j - 1] > best[i].id; j--)
            out[j] = out[j - 1];
        out[j] = best[i].id;
    }
}

/* The sum of e^(score - most) over the experts that share the weights. */
static float sum_of_shares(const tlpi_route_rule *rule, const float *score,
                           float most, const int32_t *chosen)
{
    float sum = 0;

    for (int i = 0; rule->norm && i < rule->n_used; i++)
        sum += expf(score[chosen[i]] - most);
    for (int i = 0; !rule->norm && i < rule->n_expert; i++)
        sum += expf(score[i] - most);
    return sum;
}

static void choose(tlpi_routes *r, const float *score, int32_t *chosen,
                   float *share)
{
    const tlpi_route_rule *rule = &r->rule;

    tlpi_top_k(score, rule->n_expert, 0, r->best, rule->n_used);
    float most = r->best[0].logit;
    if (!is_sound(most)) {
        for (int i = 0; i < rule->n_used; i++) {
            chosen[i] = i;
            share[i] = NAN;
        }
        return;
    }
    sort_by_index(r->best, rule->n_used, chosen);
    float sum = sum_of_shares(rule, score, most, chosen);
    for (int i = 0; i < rule->n_used; i++)
        share[i] = expf(score[chosen[i]] - most) / sum * rule->scale;
}

/* ==== all tokens ========================================================= */

/* The runs of the experts that have entries; next[e] = the first entry of
 * expert e. */
static void make_runs(tlpi_routes *r, int n)
{
    int n_expert = r->rule.n_expert, at = 0;

    memset(r->next, 0, (size_t)n_expert * sizeof *r->next);
    for (int i = 0; i < n; i++)
        r->next[r->chosen[i]]++;
    r->n_run = 0;
    for (int e = 0; e < n_expert; e++) {
        int count = r->next[e];

        r->next[e] = at;
        if (count == 0)
            continue;
        for (int i = at; i < at + count; i++)
            r->run_of[i] = r->n_run;
        r->run[r->n_run++] = (tlpi_cpu_run){ e, at };
        at += count;
    }
    r->run[r->n_run] = (tlpi_cpu_run){ n_expert, n };
    r->n_entry = n;
}

static void route_tokens(tlpi_routes *r, int n_tok, const float *score)
{
    int k = r->rule.n_used;

    for (int t = 0; t < n_tok; t++)
        choose(r, score + (size_t)t * (size_t)r->rule.n_expert,
               r->chosen + t * k, r->share + t * k);
    make_runs(r, n_tok * k);
    for (int i = 0; i < n_tok * k; i++) {
        int at = r->next[r->chosen[i]]++;

        r->token[at] = i / k;
        r->weight[at] = r->share[i];
    }
}

void tlpi_cpu_route(tlpi_backend *b, int n_tok, const tlpi_route *item, int n)
{
    (void)b;
    for (int i = 0; i < n; i++)
        route_tokens(item[i].routes, n_tok, item[i].score);
}

/* ==== lifetime =========================================================== */

tlp_status tlpi_cpu_routes_create(tlpi_backend *b, tlpi_routes **out,
                                  const tlpi_route_rule *rule)
{
    size_t n_expert = (size_t)rule->n_expert, n_used = (size_t)rule->n_used;
    size_t n = (size_t)tlpi_cpu_of(b)->max_tok * n_used;
    tlpi_routes *r = tlpi_calloc(b->env, 1, sizeof *r);

    *out = NULL;
    if (!r)
        return tlpi_fail_nomem_for("the experts of tokens");
    r->rule = *rule;
    r->token = tlpi_alloc_array(b->env, n, sizeof *r->token);
    r->weight = tlpi_alloc_array(b->env, n, sizeof *r->weight);
    r->run_of = tlpi_alloc_array(b->env, n, sizeof *r->run_of);
    r->run = tlpi_alloc_array(b->env, n_expert + 1, sizeof *r->run);
    r->chosen = tlpi_alloc_array(b->env, n, sizeof *r->chosen);
    r->share = tlpi_alloc_array(b->env, n, sizeof *r->share);
    r->next = tlpi_alloc_array(b->env, n_expert, sizeof *r->next);
    r->best = tlpi_alloc_array(b->env, n_used, sizeof *r->best);
    if (!r->token || !r->weight || !r->run_of || !r->run || !r->chosen ||
        !r->share || !r->next || !r->best) {
        tlpi_cpu_routes_free(b, r);
        return tlpi_fail_nomem_for("the experts of tokens");
    }
    *out = r;
    return TLP_OK;
}

void tlpi_cpu_routes_free(tlpi_backend *b, tlpi_routes *r)
{
    if (!r)
        return;
    tlpi_free(b->env, r->best);
    tlpi_free(b->env, r->next);
    tlpi_free(b->env, r->share);
    tlpi_free(b->env, r->chosen);
    tlpi_free(b->env, r->run);
    tlpi_free(b->env, r->run_of);
    tlpi_free(b->env, r->weight);
    tlpi_free(b->env, r->token);
    tlpi_free(b->env, r);
}
