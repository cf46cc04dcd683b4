/*
 * choice.c - from a row of logits to a token, its text and its event, and the
 * ends of choices and requests.
 */
#include <math.h>
#include <string.h>

#include "engine/engine_state.h"

/* ==== events ============================================================= */

void tlpi_engine_fill_event(tlpi_event *event, const tlpi_request *r, int kind,
                            int choice, double now)
{
    tlp_event *e = &event->event;

    e->request = r->id;
    e->kind = kind;
    e->choice = choice;
    e->seq = r->choice[TLPI_MAX(choice, 0)].seq;
    e->n_prompt = r->n_prompt;
    e->n_cached = r->n_cached;
    e->seconds = now - r->submitted;
    e->user = r->o.user;
}

/* The log-probabilities of a token and of the likeliest. */
static tlp_status fill_logprobs(const tlp_engine *e, tlp_event *event,
                                size_t row)
{
    tlp_logprob *top = (tlp_logprob *)(uintptr_t)event->top;

    event->n_top = TLPI_MIN(event->n_top, e->plan->model->hp.n_vocab);
    return tlp_session_logprobs(top, (size_t)event->n_top, &event->logprob,
                                e->session, row, event->token);
}

/* ==== the prompt ========================================================= */

static tlp_status post_prompt_token(tlp_engine *e, tlpi_request *r, int32_t n,
                                    const size_t *row)
{
    tlpi_event *event =
        tlpi_event_make(e->plan->model, row ? r->o.n_top : 0, NULL, 0);
    tlp_status st = TLP_OK;

    if (!event) /* no event is lost in silence: the request ends */
        TLP_TRY(tlpi_fail_nomem_for("an event"));
    tlpi_engine_fill_event(event, r, TLP_EVENT_PROMPT_TOKEN, -1, tlpi_now());
    event->event.token = r->prompt[n];
    if (row)
        TLP_TRY(fill_logprobs(e, &event->event, *row));
    tlpi_engine_post(e, event);
    event = NULL;
done:
    tlpi_event_free(event);
    return tlpi_engine_fail_request(e, r, st);
}

tlp_status tlpi_engine_prompt_token(tlp_engine *e, tlpi_request *r, int32_t n,
                                    size_t row)
{
    tlp_status st = TLP_OK;

    if (n == 1)
        st = post_prompt_token(e, r, 0, NULL);
    if (st == TLP_OK && r->n_left && n < r->n_prompt)
        st = post_prompt_token(e, r, n, &row);
    return st;
}

void tlpi_engine_prompt_done(tlp_engine *e, tlpi_request *r)
{
    tlpi_event *event = tlpi_event_make(e->plan->model, 0, NULL, 0);

    pthread_mutex_lock(&e->lock);
    e->stats.n_prompt += (uint64_t)r->n_prompt;
    e->stats.n_cached += (uint64_t)r->n_cached;
    pthread_mutex_unlock(&e->lock);
    if (!event) {
        (void)tlpi_engine_fail_request(e, r, tlpi_fail_nomem_for("an event"));
        return;
    }
    tlpi_engine_fill_event(event, r, TLP_EVENT_PROMPT, -1, tlpi_now());
    tlpi_engine_post(e, event);
}

/* ==== ends =============================================================== */

static void count_end(tlp_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->stats.n_choice--;
    pthread_mutex_unlock(&e->lock);
}

/* Text that was held back is certain once nothing follows. */
static void flush(tlpi_request_choice *c)
{
    const char *text = NULL;
    size_t n = 0;

    if (tlp_stream_flush(&text, &n, c->stream) == TLP_OK)
        tlpi_event_set_text(c->stop, text, n);
}

void tlpi_engine_end_choice(tlp_engine *e, tlpi_request_choice *c, int reason,
                            tlp_status status, const char *text)
{
    tlpi_request *r = c->request;

    if (c->ended)
        return;
    c->ended = true;
    c->token = -1;
    if (c->seq >= 0)
        e->seq[c->seq].choice = NULL;
    if (c->seq >= 0 && r->pooling) /* prompts of embeddings seldom come again */
        e->seq[c->seq].used = 0;
    r->n_left--;
    r->failed |= reason == TLP_STOP_ERROR;
    tlpi_engine_fill_event(c->stop, r, TLP_EVENT_STOP, c->index, tlpi_now());
    c->stop->event.stop_reason = reason;
    c->stop->event.status = status;
    c->stop->event.n_generated = c->n_generated;
    if (reason == TLP_STOP_ERROR)
        tlpi_event_set_text(c->stop, text, strlen(text));
    else
        flush(c);
    tlpi_engine_post(e, c->stop);
    c->stop = NULL;
    tlp_sampler_free(c->sampler);
    c->sampler = NULL;
    count_end(e);
}

void tlpi_engine_end_request(tlp_engine *e, tlpi_request *r, int reason,
                             tlp_status status, const char *text)
{
    for (int32_t i = 0; i < r->o.n_choice; i++)
        tlpi_engine_end_choice(e, &r->choice[i], reason, status, text);
}

tlp_status tlpi_engine_fail_request(tlp_engine *e, tlpi_request *r,
                                    tlp_status st)
{
    if (tlpi_engine_is_fatal(st))
        return st;
    if (st != TLP_OK)
        tlpi_engine_end_request(e, r, TLP_STOP_ERROR, st, tlp_last_error());
    return TLP_OK;
}

void tlpi_engine_close_request(tlp_engine *e, tlpi_request *r)
{
    tlpi_event *end = r->end;

    tlpi_engine_fill_event(end, r, TLP_EVENT_END, -1, tlpi_now());
    for (int32_t i = 0; i < r->o.n_choice; i++)
        end->event.n_generated += r->choice[i].n_generated;
    end->event.n_draft = r->n_draft;
    end->event.n_accepted = r->n_accepted;
    r->end = NULL;
    pthread_mutex_lock(&e->lock);
    e->stats.n_ended++;
    e->stats.n_accepted += (uint64_t)r->n_accepted;
    e->stats.n_failed += r->failed;
    e->stats.n_canceled += r->canceled;
    e->free_slot[e->n_free++] = tlpi_engine_slot(r->id);
    pthread_mutex_unlock(&e->lock);
    tlpi_engine_post(e, end);
    tlpi_request_free(e->plan->model, r);
}

/* ==== choosing =========================================================== */

static bool is_stop_token(const tlpi_request *r, int32_t token)
{
    for (size_t i = 0; i < r->o.n_stop_token; i++)
        if (r->stop_tokens[i] == token)
            return true;
    return false;
}

/* Why a token ends its choice; 0: the choice goes on. */
static int ends(const tlp_engine *e, const tlpi_request_choice *c,
                int32_t token)
{
    const tlpi_request *r = c->request;

    if (!r->o.ignore_end && tlp_token_is_end(e->plan->model, token))
        return TLP_STOP_END;
    return is_stop_token(r, token) ? TLP_STOP_TOKEN : 0;
}

/* Tokens of a choice that its sequence holds: all but the last one. */
static int32_t held(const tlpi_request_choice *c)
{
    return c->request->n_prompt + c->n_generated - 1;
}

static int is_full(const tlp_engine *e, const tlpi_request_choice *c)
{
    if (c->n_generated == c->request->o.n_predict)
        return TLP_STOP_LENGTH;
    return held(c) >= e->n_ctx ? TLP_STOP_CONTEXT : 0;
}

static void count_token(tlp_engine *e, tlpi_request_choice *c, double now)
{
    pthread_mutex_lock(&e->lock);
    e->stats.n_generated++;
    if (c->n_generated > 0)
        e->stats.worst_gap = fmax(e->stats.worst_gap, now - c->last);
    pthread_mutex_unlock(&e->lock);
    c->last = now;
    c->n_generated++;
}

/* The event of a token, with its text; sets the reason of the end. */
static tlp_status make_token(tlpi_event **out, tlp_engine *e,
                             tlpi_request_choice *c, int32_t token, size_t row,
                             int *reason)
{
    const tlpi_request *r = c->request;
    const char *text = NULL;
    size_t n = 0;
    int stopped = 0;
    tlpi_event *event = NULL;
    tlp_status st = TLP_OK;

    *reason = ends(e, c, token);
    if (!*reason)
        TLP_TRY(tlp_stream_push(&text, &n, &stopped, c->stream, token));
    if (stopped)
        *reason = TLP_STOP_STRING;
    event = tlpi_event_make(e->plan->model, r->o.logprobs ? r->o.n_top : 0,
                            text, n);
    if (!event)
        TLP_TRY(tlpi_fail_nomem_for("an event"));
    event->event.token = token;
    if (r->o.logprobs)
        TLP_TRY(fill_logprobs(e, &event->event, row));
    *out = event;
    event = NULL;
done:
    tlpi_event_free(event);
    return st;
}

static tlp_status choose(tlp_engine *e, tlpi_request_choice *c, size_t row,
                         int *reason)
{
    tlpi_event *event = NULL;
    int32_t token = -1;
    tlp_status st;

    TLP_TRY(tlp_session_sample(&token, e->session, row, c->sampler));
    TLP_TRY(make_token(&event, e, c, token, row, reason));
    double now = tlpi_now();
    count_token(e, c, now);
    if (!*reason)
        *reason =
            tlpi_sampler_is_over(c->sampler) ? TLP_STOP_END : is_full(e, c);
    c->token = token;
    tlpi_engine_fill_event(event, c->request, TLP_EVENT_TOKEN, c->index, now);
    event->event.n_generated = c->n_generated;
    tlpi_engine_post(e, event);
done:
    return st;
}

/* Choose from a row; a failure that is not a rank's ends the choice alone. */
static tlp_status choose_or_end(tlp_engine *e, tlpi_request_choice *c,
                                size_t row)
{
    int reason = 0;
    tlp_status st = choose(e, c, row, &reason);

    if (tlpi_engine_is_fatal(st))
        return st;
    if (st != TLP_OK)
        tlpi_engine_end_choice(e, c, TLP_STOP_ERROR, st, tlp_last_error());
    else if (reason)
        tlpi_engine_end_choice(e, c, reason, TLP_OK, "");
    return TLP_OK;
}

/* Choose from the rows of guesses as long as they come true. */
static tlp_status choose_guessed(tlp_engine *e, tlpi_request_choice *c,
                                 size_t row)
{
    int32_t n = c->n_guess, i = 0;
    tlp_status st = TLP_OK;

    for (; st == TLP_OK && !c->ended && i < n; i++) {
        bool hit = c->token == c->guess[i];

        if (i > 0) /* the first one was seen */
            tlpi_draft_see(c, hit);
        if (!hit)
            break;
        c->request->n_accepted++;
        st = choose_or_end(e, c, row + 1 + (size_t)i);
    }
    return st;
}

tlp_status tlpi_engine_choose(tlp_engine *e, tlpi_request_choice *c, size_t row)
{
    int32_t seq = c->seq, n_guess = c->n_guess;
    tlp_status st;

    if (c->ended)
        return TLP_OK;
    TLP_TRY(choose_or_end(e, c, row));
    if (c->guessed >= 0 && !c->ended)
        tlpi_draft_see(c, c->token == c->guessed);
    TLP_TRY(choose_guessed(e, c, row));
    c->request->n_draft += n_guess;
    if (n_guess)
        st = tlp_session_rewind(
            e->session, seq,
            TLPI_MIN(held(c), tlp_session_pos(e->session, seq)));
    c->n_guess = 0;
done:
    return st;
}
