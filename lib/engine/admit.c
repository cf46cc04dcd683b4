/*
 * admit.c - which request begins next, and on which sequences.
 *
 * A sequence that no choice uses keeps its tokens.  A prompt begins with the
 * longest beginning that any sequence holds: a copy of that sequence is cut to
 * the common length.  The sequences that were used longest ago are taken first.
 */
#include <string.h>

#include "engine/engine_state.h"

/* ==== which request ====================================================== */

static int running_of(const tlp_engine *e, uint64_t client)
{
    int n = 0;

    for (int32_t i = 0; i < e->n_seq; i++)
        n += e->seq[i].choice && e->seq[i].choice->request->o.client == client;
    return n;
}

/* The place of the request that begins next; under lock, with some waiting. */
static tlpi_request **next_request(tlp_engine *e)
{
    tlpi_request **best = &e->waiting.first;
    int best_running = running_of(e, (*best)->o.client);

    for (tlpi_request **r = &(*best)->next; *r; r = &(*r)->next) {
        int running = running_of(e, (*r)->o.client);
        int32_t more = (*r)->o.priority;

        if (more > (*best)->o.priority ||
            (more == (*best)->o.priority && running < best_running)) {
            best = r;
            best_running = running;
        }
    }
    return best;
}

/* ==== which sequences ==================================================== */

/* Tokens that a sequence has in common with a prompt. */
static int32_t common(const tlp_engine *e, int32_t seq, const int32_t *prompt,
                      int32_t n)
{
    const int32_t *held = tlpi_session_history(e->session, seq);
    int32_t most = TLPI_MIN(n, tlp_session_pos(e->session, seq)), i = 0;

    while (i < most && held[i] == prompt[i])
        i++;
    return i;
}

/* The sequence with the longest beginning of a prompt; free ones first. */
static int32_t find_beginning(const tlp_engine *e, const tlpi_request *r,
                              int32_t *n)
{
    int32_t best = 0;

    *n = -1;
    for (int32_t i = 0; i < e->n_seq; i++) {
        int32_t k = common(e, i, r->prompt, r->n_prompt - 1);

        if (k > *n || (k == *n && !e->seq[i].choice && e->seq[best].choice)) {
            best = i;
            *n = k;
        }
    }
    return best;
}

static bool is_older(const tlp_engine *e, int32_t a, int32_t b)
{
    bool holds_a = tlp_session_pos(e->session, a) > 0;
    bool holds_b = tlp_session_pos(e->session, b) > 0;

    return holds_a != holds_b ? holds_b : e->seq[a].used < e->seq[b].used;
}

/* The free sequence that was used longest ago, empty ones first; -1: none.
 * `spare` is taken only if no other one is free. */
static int32_t find_free(const tlp_engine *e, int32_t spare)
{
    int32_t best = -1;

    for (int32_t i = 0; i < e->n_seq; i++)
        if (!e->seq[i].choice && i != spare &&
            (best < 0 || is_older(e, i, best)))
            best = i;
    return best < 0 && spare >= 0 && !e->seq[spare].choice ? spare : best;
}

static void give(tlp_engine *e, int32_t seq, tlpi_request_choice *c)
{
    e->seq[seq].choice = c;
    e->seq[seq].used = ++e->clock;
    c->seq = seq;
}

/* The sequence for a prompt of which `from` holds n tokens: `from` itself if
 * that loses nothing, else a free sequence, which becomes a copy of `from`. */
static int32_t choose_seq(const tlp_engine *e, int32_t from, int32_t n)
{
    if (n == 0)
        return find_free(e, -1);
    if (!e->seq[from].choice && tlp_session_pos(e->session, from) == n)
        return from;
    return find_free(e, from);
}

/* Give the first choice a sequence that holds the longest known beginning of
 * the prompt. */
static tlp_status begin_prompt(tlp_engine *e, tlpi_request *r)
{
    int32_t n = 0, from = find_beginning(e, r, &n), seq;
    tlp_status st = TLP_OK;

    if (r->o.prompt_logprobs) /* rows of cached tokens are gone */
        n = 0;
    if (r->pooling) /* and so are their states */
        n = TLPI_MIN(n, r->pooling->from);
    seq = choose_seq(e, from, n);
    give(e, seq, &r->choice[0]);
    if (seq != from && n > 0)
        TLP_TRY(tlp_session_fork(e->session, seq, from));
    TLP_TRY(tlp_session_rewind(e->session, seq, n));
    r->n_done = r->n_cached = n;
done:
    return st;
}

static tlp_status begin(tlp_engine *e, tlpi_request *r)
{
    tlp_status st = begin_prompt(e, r);

    for (int32_t i = 1; st == TLP_OK && i < r->o.n_choice; i++) {
        give(e, find_free(e, -1), &r->choice[i]);
        st = tlp_session_rewind(e->session, r->choice[i].seq, 0);
    }
    for (int32_t i = 0; st == TLP_OK && i < r->o.n_choice; i++) {
        tlp_sampler_options o = r->sampler;

        o.seed += (uint64_t)i;
        st = tlp_sampler_create(&r->choice[i].sampler, e->plan->model, &o);
        if (st == TLP_OK)
            tlpi_sampler_begin(r->choice[i].sampler, r->prompt,
                               (size_t)r->n_prompt);
    }
    return st;
}

/* ==== beginning ========================================================== */

static int n_free(const tlp_engine *e)
{
    int n = 0;

    for (int32_t i = 0; i < e->n_seq; i++)
        n += !e->seq[i].choice;
    return n;
}

/* Take the next request if its choices have room.  A request that needs more
 * room than there is keeps later ones waiting, so that its turn comes. */
static tlpi_request *take_next(tlp_engine *e)
{
    tlpi_request *r = NULL;
    int room = n_free(e);

    if (room == 0)
        return NULL;
    pthread_mutex_lock(&e->lock);
    if (e->waiting.first) {
        tlpi_request **place = next_request(e);

        if ((*place)->o.n_choice <= room)
            r = tlpi_engine_run(e, place);
    }
    pthread_mutex_unlock(&e->lock);
    return r;
}

tlp_status tlpi_engine_admit(tlp_engine *e)
{
    tlpi_request *r;

    tlp_status st = TLP_OK;

    while (st == TLP_OK && (r = take_next(e)))
        st = tlpi_engine_fail_request(e, r, begin(e, r));
    return st;
}
