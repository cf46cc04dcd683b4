/*
 * score.c - keep the scores of variants, take means, compare two scores.
 */
#include "tune/scorer.h"
#include "tlp_tune.h"

#include <math.h>
#include <string.h>

/* Standard errors of the mean difference.  About once in a hundred times, a
 * candidate is dropped that is not worse. */
#define DOUBT 2.5
/* Fewer blocks give no useful standard error. */
#define MIN_BLOCKS 8

void tlpi_score_free(const tlpi_env *env, tlpi_score *score)
{
    if (!score)
        return;
    tlpi_free(env, score->variant);
    tlpi_free(env, score->kl);
    tlpi_free(env, score->nll);
    tlpi_free(env, score->top1);
    tlpi_free(env, score);
}

static tlpi_score *create(const tlpi_scorer *s, const char *variant)
{
    size_t n_window = (size_t)s->n_window;
    tlpi_score *x = tlpi_calloc(s->env, 1, sizeof(*x));

    if (!x)
        return NULL;
    x->variant = tlpi_strndup(s->env, variant, strlen(variant));
    x->kl = tlpi_calloc(s->env, n_window * (size_t)s->n_block, sizeof(*x->kl));
    x->nll =
        tlpi_calloc(s->env, n_window * (size_t)s->n_block, sizeof(*x->nll));
    x->top1 = tlpi_calloc(s->env, n_window, sizeof(*x->top1));
    if (x->variant && x->kl && x->nll && x->top1)
        return x;
    tlpi_score_free(s->env, x);
    return NULL;
}

tlp_status tlpi_score_find(tlpi_scorer *s, const char *variant,
                           tlpi_score **out)
{
    for (size_t i = 0; i < s->n_score; i++) {
        *out = s->score[i];
        if (strcmp((*out)->variant, variant) == 0)
            return TLP_OK;
    }
    *out = NULL;
    if (s->n_score == s->cap_score) {
        size_t cap = 2 * s->cap_score + 64;
        tlpi_score **grown =
            tlpi_realloc_array(s->env, s->score, cap, sizeof(*grown));

        if (!grown)
            return tlpi_fail_nomem_for("a search");
        s->score = grown;
        s->cap_score = cap;
    }
    *out = create(s, variant);
    if (!*out)
        return tlpi_fail_nomem_for("a search");
    s->score[s->n_score++] = *out;
    return TLP_OK;
}

int tlpi_score_blocks(const tlpi_window *w)
{
    return (w->n - 1 + TLPI_SCORE_BLOCK - 1) / TLPI_SCORE_BLOCK;
}

static int n_prediction(const tlpi_scorer *s, int n_window)
{
    int n = 0;

    for (int w = 0; w < n_window; w++)
        n += s->text->window[w].n - 1;
    return n;
}

/* The mean prediction, from n sums. */
static double mean(const tlpi_scorer *s, const double *sum, int n, int n_window)
{
    double all = 0;

    for (int i = 0; i < n; i++)
        all += sum[i];
    return all / n_prediction(s, n_window);
}

/* Unused blocks of a short window are zero. */
double tlpi_score_kl(const tlpi_scorer *s, const tlpi_score *x, int n_window)
{
    return mean(s, x->kl, n_window * s->n_block, n_window);
}

double tlpi_score_nll(const tlpi_scorer *s, const tlpi_score *x, int n_window)
{
    return mean(s, x->nll, n_window * s->n_block, n_window);
}

double tlpi_score_top1(const tlpi_scorer *s, const tlpi_score *x, int n_window)
{
    return mean(s, x->top1, n_window, n_window);
}

/* Shares of KL and of -log p in the cost. */
static const struct {
    double kl, nll;
} weights[] = {
    [TLP_OBJECTIVE_BOTH] = { 0.5, 0.5 },
    [TLP_OBJECTIVE_KL] = { 1, 0 },
    [TLP_OBJECTIVE_NLL] = { 0, 1 },
};

static double block_cost(const tlpi_scorer *s, const tlpi_score *x, int block)
{
    return weights[s->objective].kl * x->kl[block] +
           weights[s->objective].nll * x->nll[block];
}

double tlpi_score_cost(const tlpi_scorer *s, const tlpi_score *x, int n_window)
{
    return weights[s->objective].kl * tlpi_score_kl(s, x, n_window) +
           weights[s->objective].nll * tlpi_score_nll(s, x, n_window);
}

double tlpi_price_mean(const tlpi_scorer *s, const tlpi_price *p, int n_window)
{
    return (tlpi_score_cost(s, p->score, n_window) -
            tlpi_score_cost(s, p->base, n_window)) /
           p->saved;
}

static double block_price(const tlpi_scorer *s, const tlpi_price *p, int block)
{
    return (block_cost(s, p->score, block) - block_cost(s, p->base, block)) /
           p->saved;
}

bool tlpi_price_is_worse(const tlpi_scorer *s, const tlpi_price *a,
                         const tlpi_price *b, int n_window)
{
    double sum = 0, squares = 0;
    int n = 0;

    for (int w = 0; w < n_window; w++) {
        int blocks = tlpi_score_blocks(&s->text->window[w]);

        for (int i = w * s->n_block; i < w * s->n_block + blocks; i++, n++) {
            double d = block_price(s, a, i) - block_price(s, b, i);

            sum += d;
            squares += d * d;
        }
    }
    if (n < MIN_BLOCKS)
        return false;
    double centre = sum / n, variance = (squares - sum * centre) / (n - 1);

    return centre > DOUBT * sqrt(fmax(0, variance) / n);
}
