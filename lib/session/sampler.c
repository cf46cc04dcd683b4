/*
 * sampler.c - from logits to a token: bias, penalties, top-k, temperature,
 * top-p, min-p, draw.  Greedy and small top-k look at the best candidates of
 * every rank; all else needs the whole row.
 */
#include <math.h>
#include <string.h>

#include "session/sampler_draw.h"
#include "session/session.h"

struct tlp_sampler {
    tlp_model *model; /* retained; env and n_vocab */
    tlp_sampler_options o;
    tlp_logit_bias *bias; /* [o.n_bias] */
    int32_t *last;        /* [o.penalty_last_n] ring of accepted tokens */
    size_t n_last, at_last;
    uint64_t random;
    int32_t *kept;  /* [n_vocab] ids of the candidates that top-k keeps */
    tlpi_draw draw; /* its arrays are [n_vocab] */
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
    /* smaller ones would make finite logits infinite */
    if (o->repeat_penalty != 0)
        TLP_TRY(check_share("repeat_penalty", o->repeat_penalty, 0.001f, 1000));
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

static tlp_status alloc_draw(tlp_sampler *s, size_t n_vocab)
{
    const tlpi_env *env = &s->model->env;
    tlpi_draw *d = &s->draw;

    s->kept = tlpi_alloc_array(env, n_vocab, sizeof(*s->kept));
    d->logit = tlpi_alloc_array(env, n_vocab, sizeof(*d->logit));
    d->weight = tlpi_alloc_array(env, n_vocab, sizeof(*d->weight));
    d->list = tlpi_alloc_array(env, n_vocab, sizeof(*d->list));
    return s->kept && d->logit && d->weight && d->list
               ? TLP_OK
               : tlpi_fail_nomem_for("a sampler");
}

/* A token that is both certain and forbidden. */
static tlp_status check_opposites(const tlp_sampler *s, size_t n_vocab)
{
    float *sum = s->draw.logit;

    memset(sum, 0, n_vocab * sizeof(*sum));
    for (size_t i = 0; i < s->o.n_bias; i++) {
        sum[s->bias[i].token] += s->bias[i].bias;
        if (isnan(sum[s->bias[i].token]))
            return tlpi_fail(TLP_EINVAL,
                             "sampler option bias[%zu]: token %d has +inf and "
                             "-inf, one of them expected",
                             i, s->bias[i].token);
    }
    return TLP_OK;
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
        return tlpi_fail_nomem_for("a sampler");
    s->model = tlpi_model_retain(model);
    s->o = o;
    size_t n_vocab = (size_t)model->hp.n_vocab;
    s->bias = tlpi_alloc_array(&model->env, o.n_bias, sizeof(*s->bias));
    s->last = tlpi_alloc_array(&model->env, (size_t)o.penalty_last_n,
                               sizeof(*s->last));
    if (!s->bias || !s->last)
        TLP_TRY(tlpi_fail_nomem_for("a sampler"));
    TLP_TRY(alloc_draw(s, n_vocab));
    if (o.n_bias)
        memcpy(s->bias, o.bias, o.n_bias * sizeof(*s->bias));
    s->o.bias = s->bias;
    TLP_TRY(check_opposites(s, n_vocab));
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
    tlpi_free(&model->env, s->kept);
    tlpi_free(&model->env, s->draw.logit);
    tlpi_free(&model->env, s->draw.weight);
    tlpi_free(&model->env, s->draw.list);
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
    if (!s || token < 0 || token >= s->model->hp.n_vocab)
        return;
    size_t cap = (size_t)s->o.penalty_last_n;

    s->last[s->at_last] = token;
    s->at_last = (s->at_last + 1) % cap;
    s->n_last = TLPI_MIN(s->n_last + 1, cap);
}

void tlpi_sampler_begin(tlp_sampler *s, const int32_t *ids, size_t n)
{
    size_t cap = (size_t)s->o.penalty_last_n, first = n > cap ? n - cap : 0;

    s->n_last = s->at_last = 0;
    for (size_t i = first; i < n; i++)
        tlp_sampler_accept(s, ids[i]);
}

/* ==== changing logits ==================================================== */

static bool has_penalties(const tlp_sampler *s)
{
    return (s->o.repeat_penalty != 0 && s->o.repeat_penalty != 1) ||
           s->o.frequency_penalty != 0 || s->o.presence_penalty != 0;
}

/* Penalties of the tokens in the window; count[token] is scratch. */
static void punish(const tlp_sampler *s, float *logits, int32_t *count)
{
    float repeat = s->o.repeat_penalty != 0 ? s->o.repeat_penalty : 1;

    for (size_t i = 0; i < s->n_last; i++)
        count[s->last[i]] = 0;
    for (size_t i = 0; i < s->n_last; i++)
        count[s->last[i]]++;
    for (size_t i = 0; i < s->n_last; i++) {
        int32_t token = s->last[i];
        float *x = &logits[token];

        if (count[token] == 0) /* done */
            continue;
        *x = *x > 0 ? *x / repeat : *x * repeat;
        *x -= (float)count[token] * s->o.frequency_penalty;
        *x -= s->o.presence_penalty;
        count[token] = 0;
    }
}

static void change_logits(const tlp_sampler *s, float *logits)
{
    for (size_t i = 0; i < s->o.n_bias; i++) {
        float *x = &logits[s->bias[i].token];

        /* Certain, also where the model's logit is -inf. */
        *x = s->bias[i].bias == INFINITY ? INFINITY : *x + s->bias[i].bias;
    }
    if (has_penalties(s))
        punish(s, logits, s->draw.list);
}

/* ==== choosing =========================================================== */

static tlp_status fail_impossible(void)
{
    return tlpi_fail(TLP_ERROR, "no token is possible: every logit is -inf");
}

/* Choose among candidates in s->draw. */
static tlp_status choose(tlp_sampler *s, int32_t *token)
{
    const tlpi_draw_rule rule = { s->o.temperature, s->o.top_p, s->o.min_p };
    tlpi_draw *d = &s->draw;
    int best = d->n ? tlpi_draw_best(d) : 0;

    if (d->n == 0 || !(d->logit[best] > -INFINITY))
        return fail_impossible();
    int place = rule.temperature == 0
                    ? best
                    : tlpi_draw_take(d, &rule, best, &s->random);
    *token = d->id ? d->id[place] : place;
    tlp_sampler_accept(s, *token);
    return TLP_OK;
}

/* Choose from k sorted candidates; unused ones have id -1 at the end. */
static tlp_status choose_from_top(tlp_sampler *s, const tlpi_candidate *c,
                                  int k, int32_t *token)
{
    tlpi_draw *d = &s->draw;

    d->n = 0;
    d->id = s->kept;
    d->ordered = false; /* places are the order */
    for (int i = 0; i < k && c[i].id >= 0; i++) {
        d->id[d->n] = c[i].id;
        d->logit[d->n++] = c[i].logit;
    }
    return choose(s, token);
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

tlp_status tlpi_sampler_check(const tlp_sampler *s, const tlp_model *model)
{
    if (!s || s->model == model)
        return TLP_OK;
    return tlpi_fail(TLP_EMISMATCH, "the sampler was made for another model");
}

/* Choose from a whole row. */
static tlp_status choose_from_row(tlp_sampler *s, const float *logits,
                                  int32_t *token)
{
    tlpi_draw *d = &s->draw;
    int n = s->model->hp.n_vocab, k = few(s);

    memcpy(d->logit, logits, (size_t)n * sizeof(*logits));
    change_logits(s, d->logit);
    if (k > 0) {
        tlpi_candidate top[TLPI_MAX_TOP];

        tlpi_top_k(d->logit, n, 0, top, k);
        return choose_from_top(s, top, k, token);
    }
    d->n = n;
    d->id = NULL;
    d->ordered = s->o.top_k > 0 && s->o.top_k < n;
    if (d->ordered)
        tlpi_draw_keep(d, s->o.top_k, s->kept);
    return choose(s, token);
}

static tlp_status sample(int32_t *token, tlp_session *session, size_t row,
                         tlp_sampler *sampler)
{
    tlpi_candidate top[TLPI_MAX_TOP];
    const float *logits = NULL;
    int k = tlpi_sampler_candidates(sampler);
    tlp_status st = TLP_OK;

    if (k > 0) {
        TLP_TRY(tlpi_session_top(session, row, k, top));
        st = choose_from_top(sampler, top, k, token);
    } else {
        TLP_TRY(tlpi_session_row(session, row, &logits));
        st = choose_from_row(sampler, logits, token);
    }
    if (st != TLP_OK)
        st = tlpi_session_fail_at(session, row, st);
done:
    return st;
}

tlp_status tlpi_session_sample(int32_t *token, tlp_session *session, size_t row,
                               tlp_sampler *sampler)
{
    tlp_status st = TLP_OK;

    if (token)
        *token = -1;
    if (!session || !sampler || !token)
        return tlpi_fail(TLP_EINVAL, "session, sampler and token are required");
    TLP_TRY(tlpi_session_check(session));
    TLP_TRY(tlpi_sampler_check(sampler, session->plan->model));
    TLP_TRY(tlpi_session_check_row(session, row));
    TLP_TRY(tlpi_session_check_held(session, row));
    st = sample(token, session, row, sampler);
done:
    return st;
}
