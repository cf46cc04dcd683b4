/*
 * exchange.c - better drafts of the same depth: another mode for a group, or a
 * place opened and another one joined.
 */
#include "search/search.h"

#include <math.h>
#include <string.h>

/* Exchanges tried on the first window in a round, and rounds. */
#define MAX_TRIES 12
#define MAX_ROUNDS 4

/* Mode changes come first to be tried: an estimate of the draft's own cost. */
static tlp_status list_modes(tlpi_search *q, const char *draft, double cost,
                             char *scratch, tlpi_field *f)
{
    tlp_status st = TLP_OK;

    for (int p = 0; p < q->n_place && st == TLP_OK; p++) {
        if (draft[p] == TLPI_DRAFT_SERIAL ||
            (p > 0 && draft[p - 1] != TLPI_DRAFT_SERIAL))
            continue;
        int group = tlpi_draft_group(draft, p);
        double change[TLPI_N_LETTER], now = 0;

        for (int i = 0; i < q->n_letter; i++) {
            change[i] = q->alone[p * q->n_letter + i];
            if (q->letter[i] == draft[p])
                now = change[i];
        }
        for (int i = 0; i < q->n_letter && st == TLP_OK; i++) {
            double diff = group == 2 ? change[i] - now : NAN;

            if (q->letter[i] == draft[p])
                continue;
            memcpy(scratch, draft, (size_t)q->n_place);
            memset(scratch + p, q->letter[i], (size_t)group - 1);
            st = tlpi_field_add(f, scratch, isnan(diff) ? cost : cost + diff,
                                -1, -1);
        }
    }
    return st;
}

/* opened: the draft without one of its places, and its cost. */
static tlp_status list_joins(tlpi_search *q, const char *opened, int place,
                             double cost, double bar, char *scratch,
                             tlpi_field *f)
{
    tlp_status st = TLP_OK;

    for (int p = 0; p < q->n_place; p++) {
        if (p == place || !tlpi_search_may_join(q, opened, p))
            continue;
        for (int i = 0; i < q->n_letter; i++) {
            double added = tlpi_search_estimate(q, opened, p, i);

            if (isinf(added) || cost + TLPI_TRUST * added >= bar)
                continue;
            memcpy(scratch, opened, (size_t)q->n_place);
            tlpi_draft_join(scratch, p, q->letter[i]);
            TLP_TRY(tlpi_field_add(f, scratch, cost + added, p, i));
        }
    }
done:
    return st;
}

static tlp_status list_exchanges(tlpi_search *q, const char *draft, double cost,
                                 tlpi_field *f)
{
    size_t n = (size_t)q->n_place;
    char *opened = tlpi_strndup(q->env, draft, n);
    char *scratch = tlpi_strndup(q->env, draft, n);
    const tlpi_score *score;
    tlp_status st = TLP_OK;

    if (!opened || !scratch)
        TLP_TRY(tlpi_fail_nomem());
    TLP_TRY(list_modes(q, draft, cost, scratch, f));
    for (int p = 0; p < q->n_place; p++) {
        if (draft[p] == TLPI_DRAFT_SERIAL)
            continue;
        memcpy(opened, draft, n);
        opened[p] = TLPI_DRAFT_SERIAL;
        TLP_TRY(tlpi_scorer_run(q->scorer, opened, 1, &score));
        TLP_TRY(list_joins(q, opened, p, tlpi_score_cost(q->scorer, score, 1),
                           cost, scratch, f));
    }
done:
    tlpi_free(q->env, scratch);
    tlpi_free(q->env, opened);
    return st;
}

/* Those that promise most, on the first window.  Exchanges that are worse than
 * the draft there, beyond doubt, stay out of the race. */
static tlp_status try_exchanges(tlpi_search *q, const tlpi_score *now,
                                tlpi_field *f)
{
    tlp_status st = TLP_OK;

    for (int tries = 0; tries < MAX_TRIES; tries++) {
        int best = -1;

        for (int i = 0; i < f->n; i++)
            if (!isnan(f->item[i].estimate) &&
                (best < 0 || f->item[i].estimate < f->item[best].estimate))
                best = i;
        if (best < 0)
            break;
        tlpi_candidate_draft *c = &f->item[best];
        const tlpi_score *score;

        c->estimate = NAN; /* was looked at */
        TLP_TRY(tlpi_scorer_run(q->scorer, c->draft, 1, &score));
        if (!tlpi_score_is_worse(q->scorer, score, now, 1))
            c->score = score;
    }
done:
    return st;
}

static tlp_status exchange_once(tlpi_search *q, char *draft, bool *better)
{
    tlpi_field f = { .env = q->env };
    const tlpi_score *now;
    const char *winner = NULL;
    tlp_status st;

    *better = false;
    TLP_TRY(tlpi_scorer_rebase(q->scorer, draft));
    TLP_TRY(tlpi_scorer_run(q->scorer, draft, q->scorer->n_window, &now));
    TLP_TRY(list_exchanges(q, draft, tlpi_score_cost(q->scorer, now, 1), &f));
    TLP_TRY(try_exchanges(q, now, &f));
    TLP_TRY(tlpi_field_add(&f, draft, 0, -1, -1));
    f.item[f.n - 1].score = now;
    TLP_TRY(tlpi_race(q, &f, &winner));
    const tlpi_score *best = now;
    TLP_TRY(tlpi_scorer_run(q->scorer, winner, q->scorer->n_window, &best));
    *better = tlpi_score_cost(q->scorer, best, q->scorer->n_window) <
              tlpi_score_cost(q->scorer, now, q->scorer->n_window);
    if (*better)
        memcpy(draft, winner, (size_t)q->n_place);
done:
    tlpi_field_clear(&f);
    return st;
}

tlp_status tlpi_search_exchange(tlpi_search *q, char *draft)
{
    bool better = true;
    tlp_status st = TLP_OK;

    for (int i = 0; i < MAX_ROUNDS && better && st == TLP_OK; i++)
        st = exchange_once(q, draft, &better);
    return st;
}
