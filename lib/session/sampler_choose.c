/*
 * sampler_choose.c - from logits to a token: the program's function, bias, mask
 * and grammar, penalties, top-k, temperature, top-p, min-p, draw.  Greedy and
 * small top-k look at the best candidates of every rank; all else needs the
 * whole row.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "session/sampler.h"

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

/* What the mask and the grammar allow. */
typedef struct allowed {
    const uint32_t *mask, *grammar; /* or NULL */
} allowed;

static tlp_status find_allowed(tlp_sampler *s, allowed *a)
{
    *a = (allowed){ s->has_mask ? s->mask : NULL, NULL };
    tlp_status st = tlpi_sampler_restart(s);

    return st == TLP_OK && s->matcher
               ? tlpi_matcher_mask(&a->grammar, s->matcher)
               : st;
}

static bool is_allowed(const allowed *a, int32_t token)
{
    return (!a->mask || tlpi_bit_get(a->mask, token)) &&
           (!a->grammar || tlpi_bit_get(a->grammar, token));
}

static void forbid(const allowed *a, float *logits, int n)
{
    for (int i = 0; i < n && (a->mask || a->grammar); i += 32) {
        uint32_t word = a->mask ? a->mask[i / 32] : UINT32_MAX;

        word &= a->grammar ? a->grammar[i / 32] : UINT32_MAX;
        if (word == UINT32_MAX)
            continue;
        for (int k = i; k < n && k < i + 32; k++)
            if (!(word >> (k - i) & 1))
                logits[k] = -INFINITY;
    }
}

/* The program's own rule. */
static tlp_status call_logits(const tlp_sampler *s, float *logits, int n)
{
    if (!s->o.logits)
        return TLP_OK;
    if (s->o.logits(logits, n, s->o.logits_data) != 0)
        return tlpi_fail(TLP_ECANCELED, "canceled by the logits function");
    for (int i = 0; i < n; i++)
        if (isnan(logits[i]))
            return tlpi_fail(TLP_EINVAL,
                             "the logits function made the logit of token %d "
                             "NaN",
                             i);
    return TLP_OK;
}

static void change_logits(const tlp_sampler *s, const allowed *a, float *logits)
{
    for (size_t i = 0; i < s->o.n_bias; i++) {
        float *x = &logits[s->bias[i].token];

        /* Certain, also where the model's logit is -inf. */
        *x = s->bias[i].bias == INFINITY ? INFINITY : *x + s->bias[i].bias;
    }
    forbid(a, logits, s->model->hp.n_vocab);
    if (has_penalties(s))
        punish(s, logits, s->draw.list);
}

/* ==== choosing =========================================================== */

static tlp_status fail_impossible(const tlp_sampler *s)
{
    if (s->matcher || s->has_mask)
        return tlpi_fail(TLP_ERROR,
                         "no token is possible: the logits of all "
                         "tokens that the %s allows are -inf",
                         s->matcher ? "grammar" : "mask");
    return tlpi_fail(TLP_ERROR, "no token is possible: every logit is -inf");
}

/* Choose among candidates in s->draw. */
static tlp_status choose(tlp_sampler *s, int32_t *token)
{
    const tlpi_draw_rule rule = { s->o.temperature, s->o.top_p, s->o.min_p };
    tlpi_draw *d = &s->draw;
    int best = d->n ? tlpi_draw_best(d) : 0;

    if (d->n == 0 || !(d->logit[best] > -INFINITY))
        return fail_impossible(s);
    int place = rule.temperature == 0
                    ? best
                    : tlpi_draw_take(d, &rule, best, &s->random);
    *token = d->id ? d->id[place] : place;
    tlp_status st =
        s->matcher ? tlp_matcher_accept(s->matcher, *token) : TLP_OK;
    if (st != TLP_OK)
        *token = -1;
    else
        tlp_sampler_accept(s, *token);
    return st;
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

/* Of candidates beyond those that decide, some may be forbidden. */
enum { SPARE_TOP = 31 };

int tlpi_sampler_candidates(const tlp_sampler *s)
{
    int k = s->o.n_bias || s->o.logits || has_penalties(s) ? 0 : few(s);

    if (k > 0 && (s->matcher || s->has_mask))
        k = TLPI_MIN(k + SPARE_TOP, TLPI_MAX_TOP);
    return k;
}

/* Keep the allowed ones of k candidates.  True if they decide: as many are left
 * as are needed, or there were no more. */
static bool keep_allowed(const tlp_sampler *s, const allowed *a,
                         tlpi_candidate *c, int k)
{
    bool all = c[k - 1].id < 0;
    int n = 0;

    for (int i = 0; i < k; i++)
        if (c[i].id >= 0 && is_allowed(a, c[i].id))
            c[n++] = c[i];
    for (int i = n; i < k; i++)
        c[i] = (tlpi_candidate){ -1, -INFINITY };
    return all || n >= few(s);
}

tlp_status tlpi_sampler_check(const tlp_sampler *s, const tlp_model *model)
{
    if (!s || s->model == model)
        return TLP_OK;
    return tlpi_fail(TLP_EMISMATCH, "the sampler was made for another model");
}

/* Choose from a whole row. */
static tlp_status choose_from_row(tlp_sampler *s, const allowed *a,
                                  const float *logits, int32_t *token)
{
    tlpi_draw *d = &s->draw;
    int n = s->model->hp.n_vocab, k = few(s);

    memcpy(d->logit, logits, (size_t)n * sizeof(*logits));
    tlp_status st = call_logits(s, d->logit, n);
    if (st != TLP_OK)
        return st;
    change_logits(s, a, d->logit);
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
                         tlp_sampler *s)
{
    tlpi_candidate top[TLPI_MAX_TOP];
    const float *logits = NULL;
    int k = tlpi_sampler_candidates(s);
    bool done_by_top = k > 0;
    allowed a;
    tlp_status st = TLP_OK;

    TLP_TRY(find_allowed(s, &a));
    if (k > 0) {
        TLP_TRY(tlpi_session_top(session, row, k, top));
        if (a.mask || a.grammar)
            done_by_top = keep_allowed(s, &a, top, k);
    }
    if (done_by_top) {
        st = choose_from_top(s, top, TLPI_MIN(k, few(s)), token);
    } else {
        TLP_TRY(tlpi_session_row(session, row, &logits));
        tlpi_session_expect(session, k);
        st = choose_from_row(s, &a, logits, token);
    }
    if (st != TLP_OK)
        st = tlpi_session_fail_at(session, row, st);
done:
    return st;
}

/* Logits of the program. */
static tlp_status check_row(const float *logits, int n)
{
    bool possible = false;
    size_t i = tlpi_find_unsound(logits, (size_t)n, &possible);

    if (i < (size_t)n)
        return tlpi_fail(
            TLP_EINVAL,
            "the logit of token %zu is %s, a finite number or -inf "
            "expected",
            i, isnan(logits[i]) ? "NaN" : "+inf");
    return possible ? TLP_OK : tlpi_fail(TLP_ERROR, "every logit is -inf");
}

tlp_status tlp_sampler_pick(int32_t *token, tlp_sampler *s, const float *logits)
{
    allowed a;
    tlp_status st = TLP_OK;

    if (token)
        *token = -1;
    if (!token || !s || !logits)
        return tlpi_fail(TLP_EINVAL, "token, sampler and logits are required");
    TLP_TRY(check_row(logits, s->model->hp.n_vocab));
    TLP_TRY(find_allowed(s, &a));
    st = choose_from_row(s, &a, logits, token);
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
