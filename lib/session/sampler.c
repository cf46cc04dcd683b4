/*
 * sampler.c - from logits to a token: bias, penalties, top-k, temperature,
 * top-p, min-p, draw.  Greedy and small top-k look at the best candidates of
 * every rank; all else needs the whole row.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "session/session.h"

struct tlp_sampler {
    tlp_model *model; /* retained; env and n_vocab */
    tlp_sampler_options o;
    tlp_logit_bias *bias; /* [o.n_bias] */
    int32_t *last;        /* [o.penalty_last_n] ring of accepted tokens */
    size_t n_last, at_last;
    uint64_t random;
    tlpi_candidate *all; /* [n_vocab] */
    float *p;            /* [n_vocab] changed logits, then probabilities */
};

/* ==== lifetime =========================================================== */

static tlp_status check_share(const char *name, float x, float lo, float hi)
{
    if (x >= lo && x <= hi) /* false for NaN */
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL, "sampler option %s: %g is outside %g to %g",
                     name, (double)x, (double)lo, (double)hi);
}

static tlp_status check_options(const tlp_sampler_options *o, int n_vocab)
{
    tlp_status st = TLP_OK;

    TLP_TRY(check_share("temperature", o->temperature, 0, 1000));
    TLP_TRY(check_share("top_p", o->top_p, 0, 1));
    TLP_TRY(check_share("min_p", o->min_p, 0, 1));
    TLP_TRY(check_share("repeat_penalty", o->repeat_penalty, 0, 1000));
    TLP_TRY(
        check_share("frequency_penalty", o->frequency_penalty, -1000, 1000));
    TLP_TRY(check_share("presence_penalty", o->presence_penalty, -1000, 1000));
    if (o->top_k < 0)
        return tlpi_fail(TLP_EINVAL, "sampler option top_k: %d is negative",
                         o->top_k);
    if (o->penalty_last_n < 0 || o->penalty_last_n > 1 << 20)
        return tlpi_fail(TLP_EINVAL,
                         "sampler option penalty_last_n: %d is outside 0 to "
                         "%d",
                         o->penalty_last_n, 1 << 20);
    if (o->n_bias && !o->bias)
        return tlpi_fail(TLP_EINVAL,
                         "sampler option bias: NULL with n_bias "
                         "%zu",
                         o->n_bias);
    for (size_t i = 0; i < o->n_bias; i++)
        if (o->bias[i].token < 0 || o->bias[i].token >= n_vocab ||
            isnan(o->bias[i].bias))
            return tlpi_fail(TLP_EINVAL,
                             "sampler option bias[%zu]: token %d, bias %g", i,
                             o->bias[i].token, (double)o->bias[i].bias);
done:
    return st;
}

tlp_status tlp_sampler_create(tlp_sampler **out, tlp_model *model,
                              const tlp_sampler_options *opts)
{
    tlp_sampler_options o = { 0 };
    tlp_sampler *s = NULL;
    tlp_status st = TLP_OK;

    if (out)
        *out = NULL;
    if (!out || !model)
        return tlpi_fail(TLP_EINVAL, "out and model are required");
    TLP_TRY(tlpi_options_read(&o, sizeof(o), opts, "tlp_sampler_options"));
    TLP_TRY(check_options(&o, model->hp.n_vocab));
    if (o.penalty_last_n == 0)
        o.penalty_last_n = 64;
    s = tlpi_calloc(&model->env, 1, sizeof(*s));
    if (!s)
        return tlpi_fail_nomem();
    s->model = tlpi_model_retain(model);
    s->o = o;
    size_t n_vocab = (size_t)model->hp.n_vocab;
    s->bias = tlpi_alloc_array(&model->env, o.n_bias, sizeof(*s->bias));
    s->last = tlpi_alloc_array(&model->env, (size_t)o.penalty_last_n,
                               sizeof(*s->last));
    s->all = tlpi_alloc_array(&model->env, n_vocab, sizeof(*s->all));
    s->p = tlpi_alloc_array(&model->env, n_vocab, sizeof(*s->p));
    if (!s->bias || !s->last || !s->all || !s->p) {
        st = tlpi_fail_nomem();
        goto done;
    }
    if (o.n_bias)
        memcpy(s->bias, o.bias, o.n_bias * sizeof(*s->bias));
    s->o.bias = s->bias;
    tlp_sampler_reset(s);
    *out = s;
    s = NULL;
done:
    tlp_sampler_free(s);
    return st;
}

void tlp_sampler_free(tlp_sampler *s)
{
    if (!s)
        return;
    tlp_model *model = s->model;

    tlpi_free(&model->env, s->bias);
    tlpi_free(&model->env, s->last);
    tlpi_free(&model->env, s->all);
    tlpi_free(&model->env, s->p);
    tlpi_free(&model->env, s);
    tlp_model_free(model);
}

void tlp_sampler_reset(tlp_sampler *s)
{
    if (!s)
        return;
    s->n_last = s->at_last = 0;
    s->random = s->o.seed;
}

void tlp_sampler_accept(tlp_sampler *s, int32_t token)
{
    if (!s)
        return;
    size_t cap = (size_t)s->o.penalty_last_n;

    s->last[s->at_last] = token;
    s->at_last = (s->at_last + 1) % cap;
    s->n_last = TLPI_MIN(s->n_last + 1, cap);
}

/* ==== changing logits ==================================================== */

static bool has_penalties(const tlp_sampler *s)
{
    return (s->o.repeat_penalty != 0 && s->o.repeat_penalty != 1) ||
           s->o.frequency_penalty != 0 || s->o.presence_penalty != 0;
}

static int count_of(const tlp_sampler *s, int32_t token)
{
    int n = 0;

    for (size_t i = 0; i < s->n_last; i++)
        n += s->last[i] == token;
    return n;
}

static bool seen_before(const tlp_sampler *s, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (s->last[j] == s->last[i])
            return true;
    return false;
}

static void change_logits(const tlp_sampler *s, float *logits)
{
    float repeat = s->o.repeat_penalty != 0 ? s->o.repeat_penalty : 1;

    for (size_t i = 0; i < s->o.n_bias; i++)
        logits[s->bias[i].token] += s->bias[i].bias;
    for (size_t i = 0; has_penalties(s) && i < s->n_last; i++) {
        int32_t token = s->last[i];

        if (token < 0 || token >= s->model->hp.n_vocab || seen_before(s, i))
            continue;
        float *x = &logits[token];
        *x = *x > 0 ? *x / repeat : *x * repeat;
        *x -= (float)count_of(s, token) * s->o.frequency_penalty;
        *x -= s->o.presence_penalty;
    }
}

/* ==== choosing =========================================================== */

/* Best first; equal logits by id, so that the order is total. */
static int by_logit(const void *a, const void *b)
{
    const tlpi_candidate *x = a, *y = b;

    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/*
 * Unnormalised probabilities of n candidates, the best one's 1; their sum.  A
 * bias may make logits infinite: such candidates share all probability.
 */
static double weigh(const tlp_sampler *s, const tlpi_candidate *c, int n,
                    float best, float *p)
{
    double sum = 0;

    for (int i = 0; i < n; i++) {
        p[i] = c[i].logit == best
                   ? 1.0f
                   : expf((c[i].logit - best) / s->o.temperature);
        sum += (double)p[i];
    }
    return sum;
}

/*
 * Drop what top-p and min-p cannot keep, before paying for a sort: candidates
 * below (1 - top_p) / n of all probability weigh less than 1 - top_p together.
 */
static int prune(const tlp_sampler *s, tlpi_candidate *c, int n, double sum)
{
    bool top_p = s->o.top_p > 0 && s->o.top_p < 1;
    double floor = top_p ? (1.0 - (double)s->o.top_p) / n * sum : 0;
    int keep = 0;

    floor = fmax(floor, (double)s->o.min_p);
    for (int i = 0; i < n; i++)
        if ((double)s->p[i] >= floor)
            c[keep++] = c[i];
    return keep;
}

/* How many of n sorted candidates top-p and min-p leave, at least one. */
static int cut(const tlp_sampler *s, int n, double sum)
{
    int keep = n;

    if (s->o.top_p > 0 && s->o.top_p < 1) {
        double want = (double)s->o.top_p * sum, have = 0;
        for (keep = 0; keep < n && have < want; keep++)
            have += (double)s->p[keep];
    }
    while (keep > 1 && s->p[keep - 1] < s->o.min_p * s->p[0])
        keep--;
    return TLPI_MAX(keep, 1);
}

/* Draw from n candidates whose highest logit is `best`. */
static int32_t draw(tlp_sampler *s, tlpi_candidate *c, int n, float best)
{
    double sum = weigh(s, c, n, best, s->p), kept = 0;
    int last = 0;

    if (s->o.min_p > 0 || (s->o.top_p > 0 && s->o.top_p < 1)) {
        n = prune(s, c, n, sum);
        qsort(c, (size_t)n, sizeof(*c), by_logit);
        weigh(s, c, n, best, s->p);
        n = cut(s, n, sum);
    }
    for (int i = 0; i < n; i++)
        kept += (double)s->p[i];
    double u = tlpi_uniform(&s->random) * kept;
    for (int i = 0; i < n; i++) {
        if (s->p[i] > 0)
            last = i;
        u -= (double)s->p[i];
        if (u < 0)
            return c[i].id;
    }
    return c[last].id; /* u fell into the rounding of the sum */
}

/* Choose among n candidates in any order; unused ones have id -1 at the end. */
static tlp_status choose(tlp_sampler *s, tlpi_candidate *c, int n,
                         int32_t *token)
{
    int best = 0;

    while (n > 0 && c[n - 1].id < 0)
        n--;
    for (int i = 1; i < n; i++)
        if (by_logit(&c[i], &c[best]) < 0)
            best = i;
    if (n == 0 || !(c[best].logit > -INFINITY))
        return tlpi_fail(TLP_ERROR, "no token is possible: every logit is "
                                    "-inf or NaN");
    *token = s->o.temperature == 0 ? c[best].id : draw(s, c, n, c[best].logit);
    tlp_sampler_accept(s, *token);
    return TLP_OK;
}

/* Candidates that decide: 1 for greedy, top_k if that is few, else 0: all. */
static int few(const tlp_sampler *s)
{
    if (s->o.temperature == 0)
        return 1;
    return s->o.top_k <= TLPI_MAX_TOP ? s->o.top_k : 0;
}

int tlpi_sampler_candidates(const tlp_sampler *s)
{
    return s->o.n_bias || has_penalties(s) ? 0 : few(s);
}

/* Choose from a whole row. */
static tlp_status choose_from_row(tlp_sampler *s, const float *logits,
                                  int32_t *token)
{
    int n = s->model->hp.n_vocab, k = few(s);

    for (int i = 0; i < n; i++)
        s->p[i] = isnan(logits[i]) ? -INFINITY : logits[i];
    change_logits(s, s->p);
    if (k > 0) {
        tlpi_top_k(s->p, n, 0, s->all, k);
        return choose(s, s->all, k, token);
    }
    for (int i = 0; i < n; i++)
        s->all[i] = (tlpi_candidate){ i, s->p[i] };
    if (s->o.top_k > 0 && s->o.top_k < n) {
        qsort(s->all, (size_t)n, sizeof(*s->all), by_logit);
        n = s->o.top_k;
    }
    return choose(s, s->all, n, token);
}

tlp_status tlpi_session_sample(int32_t *token, tlp_session *session, size_t row,
                               tlp_sampler *sampler)
{
    tlpi_candidate top[TLPI_MAX_TOP];
    const float *logits = NULL;
    tlp_status st = TLP_OK;

    if (token)
        *token = -1;
    if (!session || !sampler || !token)
        return tlpi_fail(TLP_EINVAL, "session, sampler and token are required");
    if (sampler->model != session->plan->model)
        return tlpi_fail(TLP_EMISMATCH,
                         "the sampler was made for another model");
    int k = tlpi_sampler_candidates(sampler);
    if (k > 0) {
        TLP_TRY(tlpi_session_top(session, row, k, top));
        st = choose(sampler, top, k, token);
    } else {
        TLP_TRY(tlpi_session_row(session, row, &logits));
        st = choose_from_row(sampler, logits, token);
    }
done:
    return st;
}
