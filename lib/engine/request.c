/*
 * request.c - requests: checked and copied on the thread that submits, then
 * hung into the list of those that wait.
 */
#include <math.h>
#include <string.h>

#include "engine/engine_state.h"
#include "grammar/grammar.h"

#define MAX_STOP 1024
#define MAX_TOP 64

_Static_assert(MAX_TOP <= TLPI_MAX_TOP, "candidates of a row");

/* ==== lists ============================================================== */

void tlpi_request_push(tlpi_request_list *list, tlpi_request *r)
{
    r->next = NULL;
    *list->end = r;
    list->end = &r->next;
    list->n++;
}

tlpi_request *tlpi_request_take(tlpi_request_list *list, tlpi_request **place)
{
    tlpi_request *r = *place;

    *place = r->next;
    if (!r->next)
        list->end = place;
    list->n--;
    r->next = NULL;
    return r;
}

/* ==== lifetime =========================================================== */

static void free_choice(tlpi_request_choice *c)
{
    tlp_sampler_free(c->sampler);
    tlp_stream_free(c->stream);
    tlpi_event_free(c->stop);
}

void tlpi_request_free(tlp_model *model, tlpi_request *r)
{
    const tlpi_env *env = &model->env;

    if (!r)
        return;
    for (int32_t i = 0; r->choice && i < r->o.n_choice; i++)
        free_choice(&r->choice[i]);
    tlpi_event_free(r->end);
    tlpi_free(env, r->pooling);
    tlpi_free(env, r->choice);
    tlpi_free(env, r->prompt);
    tlpi_free(env, r->stop_tokens);
    tlpi_free(env, r->bias);
    tlp_grammar_free(r->sampler.grammar);
    tlpi_free(env, r);
}

/* ==== checks ============================================================= */

static tlp_status check_range(const char *name, int64_t x, int64_t lo,
                              int64_t hi)
{
    if (x >= lo && x <= hi)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL,
                     "request option %s: %lld is outside %lld to "
                     "%lld",
                     name, (long long)x, (long long)lo, (long long)hi);
}

static tlp_status check_prompt(const tlp_request *o)
{
    bool conversation =
        o->messages || o->n_message || (o->chat && o->chat->messages_json);

    if ((o->tokens || o->n_token) && (conversation || o->chat))
        return tlpi_fail(TLP_EINVAL,
                         "a request has tokens and a conversation, one of them "
                         "expected");
    if (!conversation && (!o->tokens || o->n_token == 0))
        return tlpi_fail(TLP_EINVAL,
                         "a request needs tokens or a conversation");
    return TLP_OK;
}

/* A request for an embedding writes no text. */
static tlp_status check_embed(const tlp_request *o)
{
    if (!o->embed || (o->n_predict <= 0 && o->n_choice == 1))
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL,
                     "request option embed: with n_predict %d and n_choice %d, "
                     "0 or -1 and 1 expected",
                     o->n_predict, o->n_choice);
}

static tlp_status check(const tlp_engine *e, const tlp_request *o)
{
    tlp_status st;

    TLP_TRY(check_prompt(o));
    TLP_TRY(check_embed(o));
    TLP_TRY(check_range("n_predict", o->n_predict, -1, INT32_MAX));
    TLP_TRY(check_range("n_choice", o->n_choice, 1, e->n_seq));
    TLP_TRY(check_range("n_stop", (int64_t)TLPI_MIN(o->n_stop, INT32_MAX), 0,
                        MAX_STOP));
    TLP_TRY(check_range("n_stop_token",
                        (int64_t)TLPI_MIN(o->n_stop_token, INT32_MAX), 0,
                        MAX_STOP));
    TLP_TRY(check_range("n_top", o->n_top, 0, MAX_TOP));
    TLP_TRY(tlpi_flag_check("request option ignore_end", o->ignore_end));
    TLP_TRY(tlpi_flag_check("request option logprobs", o->logprobs));
    TLP_TRY(
        tlpi_flag_check("request option prompt_logprobs", o->prompt_logprobs));
    if (!(o->deadline >= 0 && o->deadline < 1e9))
        return tlpi_fail(TLP_EINVAL,
                         "request option deadline: %g seconds, 0 to 1e9 "
                         "expected",
                         o->deadline);
    if (o->n_stop_token && !o->stop_tokens)
        return tlpi_fail(TLP_EINVAL,
                         "request option stop_tokens: NULL with n_stop_token "
                         "%zu",
                         o->n_stop_token);
    st = o->n_stop_token ? tlpi_session_check_ids(e->session, o->stop_tokens,
                                                  o->n_stop_token)
                         : TLP_OK;
done:
    return st;
}

/* ==== copies ============================================================= */

static void *copy_of(const tlpi_env *env, const void *p, size_t n, size_t size)
{
    void *copy = tlpi_alloc_array(env, n, size);

    if (copy && n)
        memcpy(copy, p, n * size);
    return copy;
}

static tlp_status fail_full(const tlp_engine *e, size_t n)
{
    return tlpi_fail(TLP_EFULL,
                     "a prompt of %zu tokens does not fit in n_ctx "
                     "%d",
                     n, e->n_ctx);
}

static tlp_status chat_prompt(const tlp_engine *e, const tlp_request *o,
                              tlpi_request *r)
{
    tlp_model *model = e->plan->model;
    tlp_chat_options chat = TLP_CHAT_OPTIONS_INIT;
    size_t n = 0, cap = (size_t)e->n_ctx;
    tlp_status st;

    chat.add_generation_prompt = 1;
    TLP_TRY(
        tlpi_options_read(&chat, sizeof(chat), o->chat, "tlp_chat_options"));
    r->prompt = tlpi_alloc_array(e->env, cap, sizeof(*r->prompt));
    if (!r->prompt)
        TLP_TRY(tlpi_fail_nomem_for("a prompt"));
    st = tlp_chat_tokenize(r->prompt, cap, &n, model, o->messages, o->n_message,
                           &chat);
    if (st == TLP_EBUFS)
        st = fail_full(e, n);
    else if (st == TLP_OK && n == 0)
        st = tlpi_fail(TLP_EINVAL, "the conversation gives no tokens");
    r->n_prompt = (int32_t)TLPI_MIN(n, cap);
done:
    return st;
}

static tlp_status token_prompt(const tlp_engine *e, const tlp_request *o,
                               tlpi_request *r)
{
    tlp_status st = TLP_OK;

    if (o->n_token > (size_t)e->n_ctx)
        return fail_full(e, o->n_token);
    TLP_TRY(tlpi_session_check_ids(e->session, o->tokens, o->n_token));
    r->prompt = copy_of(e->env, o->tokens, o->n_token, sizeof(*r->prompt));
    if (!r->prompt)
        TLP_TRY(tlpi_fail_nomem_for("a prompt"));
    r->n_prompt = (int32_t)o->n_token;
done:
    return st;
}

/* The sampler's options.  A sampler that is made and released checks them. */
static tlp_status copy_sampler(const tlp_engine *e, const tlp_request *o,
                               tlpi_request *r)
{
    tlp_sampler_options given = { 0 };
    tlp_sampler *sampler = NULL;
    tlp_status st;

    TLP_TRY(tlpi_options_read(&given, sizeof(given), o->sampler,
                              "tlp_sampler_options"));
    TLP_TRY(tlp_sampler_create(&sampler, e->plan->model, &given));
    tlp_sampler_free(sampler);
    if (given.grammar && o->ignore_end)
        return tlpi_fail(TLP_EINVAL, "request option ignore_end: 1 with a "
                                     "grammar, 0 expected");
    r->sampler = given;
    if (given.grammar)
        tlpi_grammar_retain(given.grammar);
    r->bias =
        copy_of(e->env, r->sampler.bias, r->sampler.n_bias, sizeof(*r->bias));
    r->sampler.bias = r->bias;
    if (!r->bias)
        TLP_TRY(tlpi_fail_nomem_for("the biases of a request"));
done:
    return st;
}

static tlp_status make_choices(const tlp_engine *e, const tlp_request *o,
                               tlpi_request *r)
{
    tlp_model *model = e->plan->model;
    tlp_status st = TLP_OK;

    r->choice = tlpi_calloc(e->env, (size_t)o->n_choice, sizeof(*r->choice));
    r->end = tlpi_event_make(model, 0, NULL, 0);
    if (!r->choice || !r->end)
        return tlpi_fail_nomem_for("a request");
    for (int32_t i = 0; i < o->n_choice; i++) {
        tlpi_request_choice *c = &r->choice[i];

        *c = (tlpi_request_choice){ .request = r,
                                    .index = i,
                                    .seq = -1,
                                    .token = -1,
                                    .guessed = -1,
                                    .hit = 0.5 };
        c->stop = tlpi_event_make(model, 0, NULL, 0);
        if (!c->stop)
            TLP_TRY(tlpi_fail_nomem_for("a request"));
        TLP_TRY(
            tlp_stream_create(&c->stream, model, o->stop, o->n_stop, o->flags));
    }
    r->n_left = o->n_choice;
done:
    return st;
}

/* Room for the embedding of the prompt, if it is wanted. */
static tlp_status make_pooling(const tlp_engine *e, const tlp_request *o,
                               tlpi_request *r)
{
    tlp_embed_options embed = { 0 };
    tlp_status st = TLP_OK;

    r->o.embed = NULL; /* the caller's */
    if (!o->embed)
        return TLP_OK;
    r->o.n_predict = -1;
    TLP_TRY(tlpi_options_read(&embed, sizeof(embed), o->embed,
                              "tlp_embed_options"));
    TLP_TRY(tlpi_pooling_check(&embed));
    st = tlpi_pooling_create(&r->pooling, e->plan->model, &embed, 0,
                             r->n_prompt);
done:
    return st;
}

static tlp_status make_request(tlpi_request **out, const tlp_engine *e,
                               const tlp_request *o)
{
    tlpi_request *r = tlpi_calloc(e->env, 1, sizeof(*r));
    tlp_status st;

    if (!r)
        return tlpi_fail_nomem_for("a request");
    r->o = *o;
    r->submitted = tlpi_now();
    r->deadline = o->deadline > 0 ? r->submitted + o->deadline : 0;
    r->stop_tokens = copy_of(e->env, o->stop_tokens, o->n_stop_token,
                             sizeof(*r->stop_tokens));
    if (!r->stop_tokens)
        TLP_TRY(tlpi_fail_nomem_for("a request"));
    TLP_TRY(o->tokens ? token_prompt(e, o, r) : chat_prompt(e, o, r));
    TLP_TRY(make_pooling(e, o, r));
    TLP_TRY(copy_sampler(e, o, r));
    TLP_TRY(make_choices(e, o, r));
    *out = r;
    return TLP_OK;
done:
    tlpi_request_free(e->plan->model, r);
    return st;
}

/* ==== calls ============================================================== */

/* Is there room for a request?  Under lock. */
static tlp_status check_room(const tlp_engine *e)
{
    if (e->broken)
        return tlpi_fail(e->broken, "%s", e->broken_text);
    if (e->stopping)
        return tlpi_fail(TLP_ECLOSED, "the engine was stopped");
    if (e->n_free == 0)
        return tlpi_fail(TLP_EBUSY,
                         "%d requests wait or run, the most that "
                         "the engine takes",
                         e->n_request);
    return TLP_OK;
}

/* Hang a request into the list of waiting ones.  With NULL, only ask for room:
 * the copying of a request that would be refused is saved. */
static tlp_status enqueue(tlp_engine *e, tlpi_request *r, uint64_t *id)
{
    pthread_mutex_lock(&e->lock);
    tlp_status st = check_room(e);

    if (st == TLP_OK && r) {
        r->id = ++e->n_id << 16 | (uint64_t)e->free_slot[--e->n_free];
        tlpi_request_push(&e->waiting, r);
        e->stats.n_submitted++;
        pthread_cond_signal(&e->work);
        *id = r->id;
    }
    pthread_mutex_unlock(&e->lock);
    return st;
}

tlp_status tlp_engine_submit(uint64_t *id, tlp_engine *e,
                             const tlp_request *request)
{
    tlp_request o = { 0 };
    tlpi_request *r = NULL;
    tlp_status st = tlpi_engine_check(e);

    if (id)
        *id = 0;
    if (st != TLP_OK)
        return st;
    if (!id || !request)
        return tlpi_fail(TLP_EINVAL, "id and request are required");
    TLP_TRY(tlpi_options_read(&o, sizeof(o), request, "tlp_request"));
    o.n_choice = o.n_choice ? o.n_choice : 1;
    TLP_TRY(check(e, &o));
    TLP_TRY(enqueue(e, NULL, NULL));
    TLP_TRY(make_request(&r, e, &o));
    st = enqueue(e, r, id);
    if (st != TLP_OK)
        tlpi_request_free(e->plan->model, r);
done:
    return st;
}

void tlp_engine_cancel(tlp_engine *e, uint64_t id)
{
    int32_t slot = tlpi_engine_slot(id);

    if (!e || slot >= e->n_request)
        return;
    /* Numbers grow: an old one must not take the place of a newer one. */
    uint64_t before = atomic_load(&e->cancel[slot]);
    while (before < id &&
           !atomic_compare_exchange_weak(&e->cancel[slot], &before, id))
        ;
}
