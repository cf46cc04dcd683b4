/*
 * engine_rig.c - requests on an engine.
 */
#include "support/engine_rig.h"

#include <stdio.h>
#include <string.h>

#include "support/tiny.h"

engine_rig engine_rig_open(const char *path, const char *plan,
                           const tlp_engine_options *o)
{
    tiny_spec spec = tiny_default();
    engine_rig r = { 0 };

    CHECK_OK(tlp_model_open(&r.model, path ? path : tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, plan));
    CHECK_OK(tlp_engine_create(&r.engine, r.plan, o));
    return r;
}

engine_rig engine_rig_small(const char *plan, int n_rank, int n_seq,
                            int n_chunk)
{
    tlp_session_options s = rig_f32(n_rank, 1);
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;

    s.n_ctx = 128;
    s.n_batch = 32;
    s.n_seq = n_seq;
    o.session = &s;
    o.n_chunk = n_chunk;
    return engine_rig_open(NULL, plan, &o);
}

void engine_rig_close(engine_rig *r)
{
    tlp_engine_free(r->engine);
    tlp_plan_free(r->plan);
    tlp_model_free(r->model);
}

tlp_engine_stats engine_rig_stats(const engine_rig *r)
{
    tlp_engine_stats s = { .struct_size = sizeof s };

    CHECK_OK(tlp_engine_get_stats(&s, r->engine));
    return s;
}

tlp_request engine_request(const int32_t *ids, int n, int n_predict)
{
    tlp_request q = TLP_REQUEST_INIT;

    q.tokens = ids;
    q.n_token = (size_t)n;
    q.n_predict = n_predict;
    q.ignore_end = 1;
    return q;
}

void engine_submit(engine_record *rec, tlp_engine *e, tlp_request *request)
{
    memset(rec, 0, sizeof *rec);
    rec->n_choice = request->n_choice ? request->n_choice : 1;
    request->user = rec;
    CHECK_OK(tlp_engine_submit(&rec->id, e, request));
    cr_assert_gt(rec->id, 0);
}

static void add_text(engine_text *t, const tlp_event *v)
{
    cr_assert_lt(t->n_text + v->n_text, sizeof t->text);
    memcpy(t->text + t->n_text, v->text, v->n_text);
    t->n_text += v->n_text;
    t->text[t->n_text] = 0;
}

static void see_token(engine_record *r, engine_text *t, const tlp_event *v)
{
    cr_assert_lt(t->n, ENGINE_TOKENS);
    t->token[t->n] = v->token;
    t->logprob[t->n++] = v->logprob;
    add_text(t, v);
    r->wrong |= t->stop_reason || v->n_generated != t->n || r->n_prompt == 0;
}

static void see_stop(engine_record *r, engine_text *t, const tlp_event *v)
{
    r->wrong |= t->stop_reason || v->n_generated != t->n || v->token != -1;
    t->stop_reason = v->stop_reason;
    t->status = v->status;
    if (v->stop_reason == TLP_STOP_ERROR)
        snprintf(t->error, sizeof t->error, "%s", v->text);
    else
        add_text(t, v);
}

static void see_end(engine_record *r, const tlp_event *v)
{
    int n = 0;

    for (int i = 0; i < r->n_choice; i++) {
        r->wrong |= !r->choice[i].stop_reason;
        n += r->choice[i].n;
    }
    r->n_generated = v->n_generated;
    r->wrong |= r->n_end++ || v->n_generated != n;
}

static void see_embedding(engine_record *r, const tlp_event *v)
{
    r->wrong |= r->n_embedding != 0 || v->choice != -1 || r->n_prompt == 0 ||
                r->choice[0].stop_reason;
    cr_assert_eq(v->n_embedding, ENGINE_EMBD);
    memcpy(r->embedding, v->embedding, sizeof r->embedding);
    r->n_embedding = v->n_embedding;
}

static void see(const tlp_event *v)
{
    engine_record *r = v->user;

    r->wrong |= v->struct_size != sizeof *v || v->text[v->n_text] != 0 ||
                v->request != r->id || r->n_end || !(v->seconds >= 0);
    r->wrong |= (v->kind == TLP_EVENT_EMBEDDING) != (v->embedding != NULL) ||
                !v->embedding != !v->n_embedding;
    if (v->kind == TLP_EVENT_PROMPT) {
        r->wrong |= r->n_prompt != 0;
        r->n_prompt = v->n_prompt;
        r->n_cached = v->n_cached;
    } else if (v->kind == TLP_EVENT_PROMPT_TOKEN) {
        cr_assert_lt(r->n_prompt_token, ENGINE_TOKENS);
        r->prompt_logprob[r->n_prompt_token++] = v->logprob;
    } else if (v->kind == TLP_EVENT_EMBEDDING) {
        see_embedding(r, v);
    } else if (v->kind == TLP_EVENT_END) {
        see_end(r, v);
    } else {
        cr_assert(v->choice >= 0 && v->choice < r->n_choice);
        (v->kind == TLP_EVENT_TOKEN ? see_token
                                    : see_stop)(r, &r->choice[v->choice], v);
    }
}

int engine_take(tlp_engine *e, int32_t timeout_ms)
{
    tlp_event *v = NULL;
    int kind = 0;

    CHECK_OK(tlp_engine_next(&v, e, timeout_ms));
    if (v) {
        kind = v->kind;
        see(v);
    }
    tlp_event_free(v);
    return kind;
}

void engine_finish(tlp_engine *e, engine_record *const *rec, int n, bool step)
{
    for (int i = 0; i < n; i++)
        while (!rec[i]->n_end) {
            if (step)
                CHECK_OK(tlp_engine_step(NULL, e));
            while (!rec[i]->n_end && engine_take(e, step ? 0 : 100))
                ;
        }
    for (int i = 0; i < n; i++)
        cr_expect(!rec[i]->wrong, "request %d: events do not fit", i);
}

void engine_step(tlp_engine *e)
{
    CHECK_OK(tlp_engine_step(NULL, e));
    while (engine_take(e, 0))
        ;
}
