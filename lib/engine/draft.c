/*
 * draft.c - guesses at the next tokens of a text, and how many of them to
 * evaluate.
 *
 * A guess is what followed the longest earlier occurrence of the text's last
 * tokens, in its prompt or in itself.  Guessed tokens are evaluated behind the
 * token that was chosen last, in one step; the sampler then chooses from one
 * row after the other, as long as it chooses what was guessed.  So a text does
 * not depend on guesses.
 *
 * A guess of k tokens costs k rows and gives p + p^2 + ... + p^k tokens, where
 * p is the share of guesses of this text that came true.  The k-th row is worth
 * it while p^k, the tokens that it gives, is above what texts give in its time.
 */
#include "engine/engine_state.h"

/* Tokens that must occur again, and that are compared at most. */
enum { MIN_MATCH = 2, MAX_MATCH = 16 };

#define NEW_STEP 0.1  /* share of a step in the means of times */
#define NEW_GUESS 0.1 /* of a guess in the share that came true */
#define MARGIN 1.15   /* gain that a row must promise */

/* How many tokens up to place i of a text equal the tokens at its end, which is
 * `last` behind n tokens. */
static int32_t matching(const int32_t *text, int32_t n, int32_t last, int32_t i)
{
    int32_t m = text[i] == last;

    while (m > 0 && m < MAX_MATCH && m <= i && text[i - m] == text[n - m])
        m++;
    return m;
}

int32_t tlpi_draft_find(int32_t *out, const int32_t *text, int32_t n,
                        int32_t last, int32_t most)
{
    int32_t best = MIN_MATCH - 1, end = -1, k = 0;

    for (int32_t i = n - 1; i >= 0 && best < MAX_MATCH; i--) {
        int32_t m = matching(text, n, last, i);

        if (m > best) {
            best = m;
            end = i;
        }
    }
    for (; end >= 0 && k < most && end + 1 + k <= n; k++)
        out[k] = end + 1 + k < n ? text[end + 1 + k] : last;
    return k;
}

/* ==== what a guess is worth ============================================== */

static void mix(double *mean, double x, double share)
{
    *mean = *mean == 0 ? x : *mean + share * (x - *mean);
}

void tlpi_draft_time(tlpi_draft_cost *c, int32_t n_text, int32_t n_guess,
                     double seconds)
{
    double *plain = &c->plain[n_text];

    if (n_guess == 0) {
        mix(plain, seconds, NEW_STEP);
    } else if (*plain > 0) {
        double each = (seconds - *plain) / n_guess;

        mix(&c->each, each > 1e-9 ? each : 1e-9, NEW_STEP);
    }
}

int32_t tlpi_draft_length(const tlpi_draft_cost *c, int32_t n_text, double hit,
                          int32_t most)
{
    double plain = c->plain[n_text], gain = hit;
    int32_t k = 0;

    if (plain == 0) /* one step without guesses comes first */
        return 0;
    while (k < most && gain * plain > MARGIN * c->each * n_text &&
           gain > 0.05) {
        gain *= hit;
        k++;
    }
    return k;
}

void tlpi_draft_see(tlpi_request_choice *c, bool hit)
{
    c->hit += NEW_GUESS * ((hit ? 1 : 0) - c->hit);
}

void tlpi_draft_make(const tlp_engine *e, tlpi_request_choice *c, bool use)
{
    const tlpi_request *r = c->request;
    int32_t held = tlp_session_pos(e->session, c->seq);
    int32_t most = TLPI_MIN(e->n_draft, e->n_ctx - held - 1);

    if (r->o.n_predict)
        most = TLPI_MIN(most, r->o.n_predict - c->n_generated - 1);
    c->n_guess = 0;
    if (most > 0)
        c->n_guess =
            tlpi_draft_find(c->guess, tlpi_session_history(e->session, c->seq),
                            held, c->token, most);
    c->guessed = c->n_guess ? c->guess[0] : -1;
    if (c->n_guess)
        c->n_guess =
            use ? tlpi_draft_length(&e->cost, e->n_text, c->hit, c->n_guess)
                : 0;
}
