/*
 * sampler.c - options and state of a sampler: the window of the penalties, the
 * mask, the matcher of the grammar.
 */
#include <math.h>
#include <string.h>

#include "session/sampler.h"

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

/* The matcher of the options' grammar, if there is one. */
static tlp_status make_matcher(tlp_sampler *s)
{
    if (!s->o.grammar)
        return TLP_OK;
    if (tlpi_grammar_model(s->o.grammar) != s->model)
        return tlpi_fail(TLP_EMISMATCH,
                         "sampler option grammar: made for another model");
    return tlp_matcher_create(&s->matcher, s->o.grammar);
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
    TLP_TRY(make_matcher(s));
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

    tlp_matcher_free(s->matcher);
    tlpi_free(&model->env, s->mask);
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
    s->restart = true;
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

/* ==== which tokens are allowed =========================================== */

tlp_status tlp_sampler_set_mask(tlp_sampler *s, const uint32_t *bits,
                                size_t n_word)
{
    if (!s)
        return tlpi_fail(TLP_EINVAL, "sampler is required");
    size_t want = bits ? ((size_t)s->model->hp.n_vocab + 31) / 32 : 0;

    if (n_word != want)
        return tlpi_fail(TLP_EINVAL, "a mask of %zu words, %zu expected",
                         n_word, want);
    if (bits && !s->mask)
        s->mask = tlpi_alloc_array(&s->model->env, want, sizeof(*s->mask));
    if (bits && !s->mask)
        return tlpi_fail_nomem_for("a mask of tokens");
    if (bits)
        memcpy(s->mask, bits, want * sizeof(*bits));
    s->has_mask = bits != NULL;
    return TLP_OK;
}

tlp_status tlpi_sampler_restart(tlp_sampler *s)
{
    tlp_status st =
        s->restart && s->matcher ? tlp_matcher_reset(s->matcher) : TLP_OK;

    if (st == TLP_OK)
        s->restart = false;
    return st;
}

tlp_matcher *tlp_sampler_matcher(tlp_sampler *s)
{
    return s && tlpi_sampler_restart(s) == TLP_OK ? s->matcher : NULL;
}

tlp_status tlpi_sampler_begin_text(tlp_sampler *s)
{
    if (s->matcher && tlp_matcher_place(s->matcher) == TLP_PLACE_ENDED)
        s->restart = true;
    return tlpi_sampler_restart(s);
}

bool tlpi_sampler_is_over(const tlp_sampler *s)
{
    return s->matcher && tlp_matcher_place(s->matcher) == TLP_PLACE_COMPLETE &&
           !tlpi_grammar_has_end(s->o.grammar);
}

bool tlpi_sampler_has_grammar(const tlp_sampler *s)
{
    return s && s->matcher;
}
