/*
 * step.c - one step: what a batch holds, and what its rows are for.
 *
 * Every choice that writes text has one token in the batch, and guesses at the
 * next ones if no prompt is in it (draft.c).  Prompts share the rest: half goes
 * to the prompt that began first, so that it comes to its end however many
 * follow, and the other half to the prompts that lack least.
 */
#include <stdio.h>
#include <string.h>

#include "engine/engine_state.h"

/* What a step of prompts alone should take at most. */
#define STEP_SECONDS 0.25

bool tlpi_engine_is_fatal(tlp_status st)
{
    return st == TLP_ECOMM || st == TLP_ETIMEDOUT;
}

/* ==== the batch ========================================================== */

static void add_token(tlp_engine *e, int32_t token, int32_t seq, bool want,
                      tlpi_engine_row row)
{
    e->token[e->n_token] = token;
    e->token_seq[e->n_token] = seq;
    e->want[e->n_token++] = want;
    if (want)
        e->row[e->n_row++] = row;
}

/* A token that a choice chose in an earlier step, and guesses behind it. */
static void add_text(tlp_engine *e, tlpi_request_choice *c, bool guess)
{
    tlpi_engine_row row = { c->request, c, 0 };

    if (c->token < 0)
        return;
    add_token(e, c->token, c->seq, true, row);
    tlpi_draft_make(e, c, guess);
    for (int32_t i = 0; i < c->n_guess; i++)
        add_token(e, c->guess[i], c->seq, true, (tlpi_engine_row){ 0 });
    e->n_guess += c->n_guess;
}

static void add_texts(tlp_engine *e, bool guess)
{
    for (tlpi_request *r = e->running.first; r; r = r->next)
        for (int32_t i = 0; i < r->o.n_choice; i++)
            add_text(e, &r->choice[i], guess);
}

/* Choices that have a token to evaluate. */
static int32_t count_texts(const tlp_engine *e)
{
    int32_t n = 0;

    for (const tlpi_request *r = e->running.first; r; r = r->next)
        for (int32_t i = 0; i < r->o.n_choice; i++)
            n += r->choice[i].token >= 0;
    return n;
}

/* The prompt that lacks least and has got nothing yet. */
static tlpi_request *shortest(const tlp_engine *e)
{
    tlpi_request *best = NULL;

    for (tlpi_request *r = e->running.first; r; r = r->next)
        if (tlpi_request_has_prompt(r) && r->given == 0 &&
            (!best || r->n_prompt - r->n_done < best->n_prompt - best->n_done))
            best = r;
    return best;
}

static int32_t give(tlpi_request *r, int32_t most)
{
    int32_t n = TLPI_MIN(most, r->n_prompt - r->n_done - r->given);

    r->given += n;
    return n;
}

/* Share `room` tokens among the prompts; false if there is none. */
static bool share(tlp_engine *e, int32_t room)
{
    tlpi_request *oldest = NULL, *r;

    for (r = e->running.first; r; r = r->next) {
        r->given = 0;
        if (!oldest && tlpi_request_has_prompt(r))
            oldest = r;
    }
    if (!oldest)
        return false;
    room -= give(oldest, (room + 1) / 2);
    while (room > 0 && (r = shortest(e)))
        room -= give(r, room);
    give(oldest, room);
    return true;
}

/* Tokens of prompts in a step without texts.  A request that comes meanwhile
 * waits for the end of the step, so a slow machine gets less than a batch. */
static int32_t room_alone(const tlp_engine *e)
{
    double n = e->prompt_rate * STEP_SECONDS;

    if (e->prompt_rate == 0 || n >= e->n_batch)
        return e->n_batch;
    return TLPI_MAX((int32_t)n, e->n_chunk);
}

static void add_prompt(tlp_engine *e, tlpi_request *r)
{
    for (int32_t i = 0; i < r->given; i++) {
        int32_t pos = r->n_done + i;
        bool last = pos == r->n_prompt - 1;
        tlpi_engine_row row = { 0 };

        if (r->o.prompt_logprobs || (last && r->o.n_predict >= 0))
            row = (tlpi_engine_row){ r, NULL, pos };
        add_token(e, r->prompt[pos], r->choice[0].seq, row.request, row);
    }
    if (r->given)
        e->pool[r->choice[0].seq] = r->pooling;
}

static void fill_batch(tlp_engine *e)
{
    e->n_token = e->n_row = 0;
    e->n_guess = 0;
    memset(e->pool, 0, (size_t)e->n_seq * sizeof(*e->pool));
    e->n_text = count_texts(e);
    bool prompts = share(e, e->n_text ? e->n_chunk : room_alone(e));
    add_texts(e, !prompts);
    for (tlpi_request *r = e->running.first; r; r = r->next)
        add_prompt(e, r);
}

/* ==== the rows =========================================================== */

/* The prompt is whole: its other choices begin with copies of its sequence. */
static tlp_status begin_choices(tlp_engine *e, tlpi_request *r, size_t row)
{
    tlp_status st = TLP_OK;

    tlpi_engine_prompt_done(e, r);
    for (int32_t i = 1; st == TLP_OK && i < r->o.n_choice; i++)
        st = tlp_session_fork(e->session, r->choice[i].seq, r->choice[0].seq);
    for (int32_t i = 0; st == TLP_OK && i < r->o.n_choice; i++)
        st = tlpi_engine_choose(e, &r->choice[i], row);
    return st;
}

static tlp_status take_row(tlp_engine *e, size_t row)
{
    const tlpi_engine_row *what = &e->row[row];
    tlpi_request *r = what->request;
    tlp_status st = TLP_OK;

    if (!r)
        return TLP_OK; /* of a guess */
    if (what->choice)
        return tlpi_engine_choose(e, what->choice, row);
    if (r->n_left && r->o.prompt_logprobs)
        st = tlpi_engine_prompt_token(e, r, what->pos + 1, row);
    if (st == TLP_OK && r->n_left && what->pos == r->n_prompt - 1 &&
        r->o.n_predict >= 0)
        st = begin_choices(e, r, row);
    return st;
}

/* Requests whose prompt alone was wanted. */
static void end_prompts(tlp_engine *e)
{
    for (tlpi_request *r = e->running.first; r; r = r->next)
        if (r->n_left && r->given && !tlpi_request_has_prompt(r) &&
            r->o.n_predict < 0) {
            tlpi_engine_prompt_done(e, r);
            tlpi_engine_embedding(e, r);
            tlpi_engine_end_request(e, r, TLP_STOP_LENGTH, TLP_OK, "");
        }
}

static tlp_status take_rows(tlp_engine *e)
{
    tlp_status st = TLP_OK;

    for (tlpi_request *r = e->running.first; r; r = r->next)
        r->n_done += r->given;
    for (size_t i = 0; st == TLP_OK && i < e->n_row; i++)
        st = take_row(e, i);
    if (st == TLP_OK)
        end_prompts(e);
    return st;
}

/* ==== ends =============================================================== */

static bool is_canceled(const tlp_engine *e, const tlpi_request *r)
{
    return atomic_load(&e->cancel[tlpi_engine_slot(r->id)]) == r->id;
}

/* Why nobody wants a request any more; 0: somebody does. */
static int unwanted(const tlp_engine *e, const tlpi_request *r, double now)
{
    if (is_canceled(e, r))
        return TLP_STOP_CANCEL;
    return r->deadline != 0 && now > r->deadline ? TLP_STOP_DEADLINE : 0;
}

/* Waiting requests that nobody wants become running ones, which end. */
static void sweep_waiting(tlp_engine *e, double now)
{
    pthread_mutex_lock(&e->lock);
    for (tlpi_request **place = &e->waiting.first; *place;) {
        if (!unwanted(e, *place, now)) {
            place = &(*place)->next;
            continue;
        }
        (void)tlpi_engine_run(e, place);
    }
    pthread_mutex_unlock(&e->lock);
}

static void end_unwanted(tlp_engine *e)
{
    double now = tlpi_now();

    sweep_waiting(e, now);
    for (tlpi_request *r = e->running.first; r; r = r->next) {
        int reason = unwanted(e, r, now);

        if (!reason)
            continue;
        r->canceled = true;
        tlpi_engine_end_request(e, r, reason, TLP_OK, "");
    }
}

/* Release the requests that have ended. */
static void close_ended(tlp_engine *e)
{
    for (tlpi_request **place = &e->running.first; *place;) {
        if ((*place)->n_left) {
            place = &(*place)->next;
            continue;
        }
        pthread_mutex_lock(&e->lock);
        tlpi_request *r = tlpi_request_take(&e->running, place);
        pthread_mutex_unlock(&e->lock);
        tlpi_engine_close_request(e, r);
    }
}

void tlpi_engine_end_all(tlp_engine *e, int reason, tlp_status status,
                         const char *text)
{
    pthread_mutex_lock(&e->lock);
    while (e->waiting.first)
        (void)tlpi_engine_run(e, &e->waiting.first);
    pthread_mutex_unlock(&e->lock);
    for (tlpi_request *r = e->running.first; r; r = r->next) {
        r->canceled |= reason == TLP_STOP_CANCEL;
        tlpi_engine_end_request(e, r, reason, status, text);
    }
    close_ended(e);
    tlpi_engine_count_slots(e);
}

/* The batch failed, and the engine does not know which token is to blame. */
static void fail_batch(tlp_engine *e, tlp_status status, const char *text)
{
    for (tlpi_request *r = e->running.first; r; r = r->next)
        tlpi_engine_end_request(e, r, TLP_STOP_ERROR, status, text);
}

/* ==== the step =========================================================== */

static tlp_status evaluate(tlp_engine *e)
{
    const tlp_batch b = { sizeof(b), e->n_token, e->token, e->token_seq,
                          e->want };
    tlp_status st = tlpi_session_eval_pooled(e->session, &b, e->pool);

    if (st == TLP_OK)
        return take_rows(e);
    if (tlpi_engine_is_fatal(st))
        return st;
    fail_batch(e, st, tlp_last_error());
    return TLP_OK;
}

void tlpi_engine_count_session(tlp_engine *e)
{
    tlp_session_stats s = { .struct_size = sizeof(s) };
    int64_t n = 0;

    if (tlp_session_get_stats(&s, e->session) != TLP_OK)
        return;
    for (int32_t i = 0; i < e->n_seq; i++)
        n += tlp_session_pos(e->session, i);
    pthread_mutex_lock(&e->lock);
    e->session_stats = s;
    e->stats.n_position = n;
    pthread_mutex_unlock(&e->lock);
}

static tlp_slot slot_of(const tlp_engine *e, int32_t seq)
{
    const tlpi_request_choice *c = e->seq[seq].choice;
    tlp_slot s = { .choice = -1, .n_held = tlp_session_pos(e->session, seq) };

    if (!c)
        return s;
    s.request = c->request->id;
    s.choice = c->index;
    s.n_prompt = c->request->n_prompt;
    s.n_done = c->request->n_done;
    s.n_cached = c->request->n_cached;
    s.n_generated = c->n_generated;
    return s;
}

void tlpi_engine_count_slots(tlp_engine *e)
{
    pthread_mutex_lock(&e->lock);
    for (int32_t i = 0; i < e->n_seq; i++)
        e->slot[i] = slot_of(e, i);
    pthread_mutex_unlock(&e->lock);
}

/* The best rate counts, and is forgotten slowly: other programs make a step
 * slow by chance. */
static void count_prompts(tlp_engine *e, double seconds)
{
    double rate = (double)e->n_token / seconds;

    if (e->n_token >= (size_t)e->n_chunk)
        e->prompt_rate = TLPI_MAX(rate, 0.9 * e->prompt_rate);
}

static void count_step(tlp_engine *e, double begin)
{
    double seconds = TLPI_MAX(tlpi_now() - begin, 1e-9);

    if (e->n_text == 0)
        count_prompts(e, seconds);
    if (e->n_text && e->n_token == (size_t)(e->n_text + e->n_guess))
        tlpi_draft_time(&e->cost, e->n_text, e->n_guess, seconds);
    pthread_mutex_lock(&e->lock);
    e->stats.n_step++;
    e->stats.n_draft += (uint64_t)e->n_guess;
    e->stats.step_seconds += seconds;
    pthread_mutex_unlock(&e->lock);
    tlpi_engine_count_session(e);
}

/* Every request ends with the text of the rank that failed. */
static tlp_status break_engine(tlp_engine *e, tlp_status st)
{
    char text[sizeof(e->broken_text)];

    snprintf(text, sizeof(text), "%s", tlp_last_error());
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_mutex_unlock(&e->lock);
    tlpi_engine_end_all(e, TLP_STOP_ERROR, st, text);
    pthread_mutex_lock(&e->lock);
    memcpy(e->broken_text, text, sizeof(text));
    e->broken = st;
    pthread_cond_broadcast(&e->news);
    pthread_cond_broadcast(&e->between);
    pthread_mutex_unlock(&e->lock);
    return tlpi_fail(st, "%s", text);
}

tlp_status tlpi_engine_check_task(tlp_engine *e, tlp_status st)
{
    return tlpi_engine_is_fatal(st) ? break_engine(e, st) : st;
}

tlp_status tlpi_engine_step(tlp_engine *e)
{
    double begin = tlpi_now();
    tlp_status st;

    end_unwanted(e);
    close_ended(e);
    TLP_TRY(tlpi_engine_do_tasks(e));
    TLP_TRY(tlpi_engine_admit(e));
    fill_batch(e);
    if (e->n_token) {
        TLP_TRY(evaluate(e));
        count_step(e, begin);
    }
    close_ended(e);
    tlpi_engine_count_slots(e);
done:
    return st == TLP_OK ? TLP_OK : break_engine(e, st);
}

/* Evaluate the last token of sequence 0 once more, or any token of an empty
 * sequence: it then holds what it held before. */
static tlp_status evaluate_again(tlp_engine *e)
{
    int32_t pos = tlp_session_pos(e->session, 0), keep = TLPI_MAX(pos - 1, 0);
    int32_t token = pos > 0 ? tlpi_session_history(e->session, 0)[keep] : 0;
    const int32_t seq = 0;
    const uint8_t want = 0;
    const tlp_batch b = { sizeof(b), 1, &token, &seq, &want };
    tlp_status st = tlp_session_rewind(e->session, 0, keep);

    if (st == TLP_OK)
        st = tlp_session_eval(e->session, &b);
    if (st == TLP_OK)
        st = tlp_session_rewind(e->session, 0, pos);
    return st;
}

tlp_status tlpi_engine_check_ranks(tlp_engine *e)
{
    tlp_status st = evaluate_again(e);

    return tlpi_engine_is_fatal(st) ? break_engine(e, st) : TLP_OK;
}
