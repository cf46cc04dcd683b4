/*
 * test_engine_faults.c - what an engine refuses, and what happens to its
 * requests when something fails: a prompt, a rank, memory, the process.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine_state.h"
#include "support/engine_rig.h"
#include "support/mem.h"
#include "support/tiny.h"

#define N_VOCAB 288
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(engine_faults, .timeout = 300);

static const int32_t ids[6] = { 97, 98, 99, 100, 101, 102 };

static tlp_request request_of(int n_predict)
{
    return engine_request(ids, 6, n_predict);
}

static engine_rig open_engine(const tlp_session_options *s)
{
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;

    o.session = s;
    return engine_rig_open(NULL, "serial", &o);
}

/* ==== arguments ========================================================== */

static void refuse(tlp_engine *e, tlp_request *q, tlp_status expected,
                   const char *text)
{
    uint64_t id = 5;
    tlp_status st = tlp_engine_submit(&id, e, q);

    cr_expect_eq(st, expected, "%s: %s", text, tlp_status_name(st));
    cr_expect(strstr(tlp_last_error(), text), "%s: %s", text, tlp_last_error());
    cr_expect_eq(id, 0);
}

Test(engine_faults, requests_are_checked)
{
    engine_rig r = open_engine(NULL);
    tlp_chat_options chat = TLP_CHAT_OPTIONS_INIT;
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    int32_t bad = N_VOCAB;
    int32_t *many = calloc(4097, sizeof *many);
    tlp_request q;

#define REFUSE(status, text, ...)                                              \
    do {                                                                       \
        q = request_of(3);                                                     \
        __VA_ARGS__;                                                           \
        refuse(r.engine, &q, status, text);                                    \
    } while (0)
    REFUSE(TLP_EINVAL, "tokens or a conversation", q.tokens = NULL);
    REFUSE(TLP_EINVAL, "tokens or a conversation", q.n_token = 0);
    REFUSE(TLP_EINVAL, "one of them expected", q.chat = &chat);
    REFUSE(TLP_EINVAL, "id 288", q.tokens = &bad; q.n_token = 1);
    REFUSE(TLP_EFULL, "4097 tokens", q.tokens = many; q.n_token = 4097);
    REFUSE(TLP_EINVAL, "n_predict: -2", q.n_predict = -2);
    REFUSE(TLP_EINVAL, "n_choice: 9", q.n_choice = 9);
    REFUSE(TLP_EINVAL, "n_choice: -1", q.n_choice = -1);
    REFUSE(TLP_EINVAL, "n_top: 65", q.n_top = 65);
    REFUSE(TLP_EINVAL, "n_stop", q.n_stop = (size_t)1 << 40);
    REFUSE(TLP_EINVAL, "stop", q.n_stop = 1);
    REFUSE(TLP_EINVAL, "n_stop_token", q.n_stop_token = SIZE_MAX);
    REFUSE(TLP_EINVAL, "stop_tokens: NULL", q.n_stop_token = 1);
    REFUSE(TLP_EINVAL, "id 288", q.n_stop_token = 1; q.stop_tokens = &bad);
    REFUSE(TLP_EINVAL, "deadline", q.deadline = NAN);
    REFUSE(TLP_EINVAL, "deadline", q.deadline = -1);
    REFUSE(TLP_EINVAL, "logprobs", q.logprobs = 2);
    REFUSE(TLP_EINVAL, "prompt_logprobs", q.prompt_logprobs = -1);
    REFUSE(TLP_EINVAL, "ignore_end", q.ignore_end = 2);
    REFUSE(TLP_EINVAL, "temperature", so.temperature = -1; q.sampler = &so);
    chat.messages_json = "[{]";
    REFUSE(TLP_EFORMAT, "messages", q.tokens = NULL; q.n_token = 0;
           q.chat = &chat);
    REFUSE(TLP_EINVAL, "struct_size", q.struct_size = 0);
#undef REFUSE
    tlp_engine_stats s = engine_rig_stats(&r);
    cr_expect(s.n_submitted == 0 && s.n_event == 0);
    free(many);
    engine_rig_close(&r);
}

Test(engine_faults, calls_are_checked)
{
    engine_rig r = open_engine(NULL);
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    tlp_engine_stats stats = { .struct_size = 0 };
    tlp_engine *e = r.engine;
    tlp_event *v = NULL;
    tlp_request q = request_of(1);
    uint64_t id;

    cr_expect_eq(tlp_engine_create(NULL, r.plan, NULL), TLP_EINVAL);
    cr_expect_eq(tlp_engine_create(&e, NULL, NULL), TLP_EINVAL);
    cr_expect_null(e);
    o.n_request = 65537;
    cr_expect_eq(tlp_engine_create(&e, r.plan, &o), TLP_EINVAL);
    o.n_request = 0;
    o.n_chunk = -1;
    cr_expect_eq(tlp_engine_create(&e, r.plan, &o), TLP_EINVAL);
    e = r.engine;
    cr_expect_eq(tlp_engine_submit(NULL, e, &q), TLP_EINVAL);
    cr_expect_eq(tlp_engine_submit(&id, NULL, &q), TLP_EINVAL);
    cr_expect_eq(tlp_engine_submit(&id, e, NULL), TLP_EINVAL);
    cr_expect_eq(tlp_engine_next(NULL, e, 0), TLP_EINVAL);
    cr_expect_eq(tlp_engine_next(&v, NULL, 0), TLP_EINVAL);
    cr_expect_eq(tlp_engine_next(&v, e, -2), TLP_EINVAL);
    cr_expect_eq(tlp_engine_step(NULL, NULL), TLP_EINVAL);
    cr_expect_eq(tlp_engine_start(NULL), TLP_EINVAL);
    cr_expect_eq(tlp_engine_get_stats(&stats, e), TLP_EINVAL);
    CHECK_OK(tlp_engine_next(&v, e, 20)); /* nothing in time */
    cr_expect_null(v);
    CHECK_OK(tlp_engine_start(e));
    cr_expect_eq(tlp_engine_start(e), TLP_ESTATE);
    tlp_engine_cancel(NULL, 1);
    tlp_engine_cancel(e, 0);
    tlp_engine_cancel(e, UINT64_MAX);
    tlp_engine_stop(NULL);
    tlp_engine_free(NULL);
    tlp_event_free(NULL);
    engine_rig_close(&r);
}

/* ==== one request fails ================================================== */

Test(engine_faults, a_choice_fails_alone)
{
    engine_rig r = open_engine(NULL);
    engine_record rec[2], *list[2] = { &rec[0], &rec[1] };
    tlp_logit_bias b[N_VOCAB];
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    tlp_request q = request_of(5);

    engine_submit(&rec[0], r.engine, &q);
    for (int32_t i = 0; i < N_VOCAB; i++)
        b[i] = (tlp_logit_bias){ i, -INFINITY };
    so.bias = b;
    so.n_bias = N_VOCAB;
    q.sampler = &so; /* no token is possible */
    q.n_choice = 2;
    engine_submit(&rec[1], r.engine, &q);
    engine_finish(r.engine, list, 2, true);
    cr_expect_eq(rec[0].choice[0].stop_reason, TLP_STOP_LENGTH);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rec[1].choice[i].stop_reason, TLP_STOP_ERROR);
        cr_expect_eq(rec[1].choice[i].status, TLP_ERROR);
        cr_expect(strstr(rec[1].choice[i].error, "no token is possible"), "%s",
                  rec[1].choice[i].error);
    }
    engine_rig_close(&r);
}

/* ==== a rank fails ======================================================= */

Test(engine_faults, a_rank_that_fails_ends_every_request)
{
    tlp_session_options o = rig_f32(2, 1);
    engine_rig r = { 0 };
    engine_record *rec = calloc(4, sizeof *rec);
    tlp_request q = request_of(50);
    tlp_event *v = NULL;
    uint64_t id = 1;
    int32_t n_left = 5;

    o.n_seq = 2;
    r = open_engine(&o);
    for (int i = 0; i < 4; i++)
        engine_submit(&rec[i], r.engine, &q);
    CHECK_OK(tlp_engine_step(&n_left, r.engine));
    cr_expect_eq(n_left, 4);
    r.engine->session->broken = true; /* what a command does whose rank fails */
    cr_expect_eq(tlp_engine_step(&n_left, r.engine), TLP_ECOMM);
    cr_expect_eq(n_left, 0);
    for (int i = 0; i < 4; i++) {
        while (!rec[i].n_end)
            cr_assert(engine_take(r.engine, 0));
        cr_expect_eq(rec[i].choice[0].stop_reason, TLP_STOP_ERROR);
        cr_expect_eq(rec[i].choice[0].status, TLP_ECOMM);
        cr_expect_gt(strlen(rec[i].choice[0].error), 5);
        cr_expect(!rec[i].wrong || i > 1); /* the last two never began */
    }
    cr_expect_eq(tlp_engine_next(&v, r.engine, -1), TLP_ECOMM);
    cr_expect_eq(tlp_engine_step(NULL, r.engine), TLP_ECOMM);
    cr_expect_eq(tlp_engine_submit(&id, r.engine, &q), TLP_ECOMM);
    engine_rig_close(&r);
    free(rec);
    r = open_engine(&o); /* another engine in the process */
    engine_rig_close(&r);
}

/* ==== memory ============================================================= */

static bool fine(tlp_status st, long n)
{
    cr_assert(st == TLP_OK || st == TLP_ENOMEM, "allocation %ld: %s: %s", n,
              tlp_status_name(st), tlp_last_error());
    if (st != TLP_OK)
        cr_assert(strstr(tlp_last_error(), "out of memory"), "%s",
                  tlp_last_error());
    return st == TLP_OK;
}

/* A request that was accepted ended once, with its texts or its embedding, or
 * for want of memory. */
static void expect_end(const engine_record *rec, bool embed, long n)
{
    const engine_text *t = rec->choice;

    cr_expect_eq(rec->n_end, rec->id != 0, "allocation %ld", n);
    for (int k = 0; rec->id && k < rec->n_choice; k++)
        cr_expect(t[k].stop_reason == TLP_STOP_LENGTH ||
                      (t[k].stop_reason == TLP_STOP_ERROR &&
                       t[k].status == TLP_ENOMEM),
                  "allocation %ld: reason %d", n, t[k].stop_reason);
    cr_expect_eq(rec->n_embedding != 0,
                 embed && t[0].stop_reason == TLP_STOP_LENGTH,
                 "allocation %ld: embedding", n);
}

/* A life of an engine whose n-th allocation fails: every request that was taken
 * has its end, in order.  Returns how many allocations there were. */
static long live(long n)
{
    static const char *const stop[] = { "zzzz" };
    tiny_spec spec = tiny_default();
    mem m = { .fail_at = n };
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    tlp_session_options so = rig_f32(1, 1);
    static const char *path;
    tlp_embed_options embed = TLP_EMBED_OPTIONS_INIT;
    engine_record rec[3] = { 0 };
    engine_rig r = { 0 };
    tlp_request q = request_of(4), e = request_of(0);

    e.embed = &embed;
    spec.n_layer = 2;
    path = path ? path : tiny_make(&spec);
    so.n_seq = 3;
    o.session = &so;
    mo.allocator = mem_hooks(&m);
    m.fail_at = 0;
    CHECK_OK(tlp_model_open(&r.model, path, &mo));
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "serial"));
    m.calls = 0;
    m.fail_at = n;
    q.n_choice = 2;
    q.stop = stop;
    q.n_stop = 1;
    q.logprobs = q.prompt_logprobs = 1;
    q.n_top = 3;
    if (fine(tlp_engine_create(&r.engine, r.plan, &o), n)) {
        for (int i = 0; i < 2; i++) {
            rec[i].n_choice = 2;
            q.user = &rec[i];
            (void)fine(tlp_engine_submit(&rec[i].id, r.engine, &q), n);
        }
        rec[2].n_choice = 1;
        e.user = &rec[2];
        (void)fine(tlp_engine_submit(&rec[2].id, r.engine, &e), n);
        for (int i = 0; i < 20; i++) {
            cr_assert_eq(tlp_engine_step(NULL, r.engine), TLP_OK);
            while (engine_take(r.engine, 0))
                ;
        }
        for (int i = 0; i < 3; i++)
            expect_end(&rec[i], i == 2, n);
    }
    long calls = m.calls;
    engine_rig_close(&r);
    cr_assert(m.live == 0 && m.bytes == 0, "allocation %ld: %ld blocks left", n,
              (long)m.live);
    return calls;
}

Test(engine_faults, memory_that_runs_out_at_every_allocation)
{
    long n = live(0);

    cr_assert_gt(n, 50);
    for (long i = 1; i <= n; i++)
        live(i);
}

/* ==== threads ============================================================ */

enum { SUBMITTERS = 3, EACH = 12 };

typedef struct crowd {
    tlp_engine *engine;
    _Atomic int n_end, n_bad;
} crowd;

static void *submit_some(void *arg)
{
    crowd *c = arg;

    for (int i = 0; i < EACH; i++) {
        tlp_request q = request_of(1 + i % 5);
        uint64_t id = 0;
        tlp_status st;

        do {
            st = tlp_engine_submit(&id, c->engine, &q);
        } while (st == TLP_EBUSY);
        c->n_bad += st != TLP_OK;
        if (i % 4 == 1)
            tlp_engine_cancel(c->engine, id);
    }
    return NULL;
}

static void *take_events(void *arg)
{
    crowd *c = arg;
    tlp_event *v = NULL;
    tlp_status st;

    while ((st = tlp_engine_next(&v, c->engine, -1)) == TLP_OK) {
        c->n_end += v->kind == TLP_EVENT_END;
        tlp_event_free(v);
    }
    c->n_bad += st != TLP_ECLOSED;
    return NULL;
}

Test(engine_faults, many_threads)
{
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    tlp_engine_stats s;
    pthread_t in[SUBMITTERS], out[2];

    o.n_request = 8;
    engine_rig r = engine_rig_open(NULL, "serial", &o);
    crowd c = { .engine = r.engine };
    CHECK_OK(tlp_engine_start(r.engine));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&out[i], NULL, take_events, &c), 0);
    for (int i = 0; i < SUBMITTERS; i++)
        cr_assert_eq(pthread_create(&in[i], NULL, submit_some, &c), 0);
    for (int i = 0; i < SUBMITTERS; i++)
        pthread_join(in[i], NULL);
    do {
        usleep(1000);
        s = engine_rig_stats(&r);
    } while (s.n_waiting + s.n_running > 0);
    tlp_engine_stop(r.engine);
    for (int i = 0; i < 2; i++)
        pthread_join(out[i], NULL);
    cr_expect_eq(c.n_end, SUBMITTERS * EACH);
    cr_expect_eq(c.n_bad, 0);
    cr_expect_eq(s.n_ended, SUBMITTERS * EACH);
    engine_rig_close(&r);
}

/* ==== processes ========================================================== */

static void in_child(tlp_engine *e)
{
    tlp_request q = request_of(2);
    tlp_event *v = NULL;
    uint64_t id;
    bool ok = tlp_engine_submit(&id, e, &q) == TLP_ESTATE &&
              tlp_engine_step(NULL, e) == TLP_ESTATE &&
              tlp_engine_next(&v, e, -1) == TLP_ESTATE &&
              tlp_engine_start(e) == TLP_ESTATE;

    tlp_engine_stop(e);
    tlp_engine_free(e);
    _exit(ok ? 0 : 1);
}

Test(engine_faults, a_forked_child_has_no_engine)
{
    engine_rig r = open_engine(NULL);
    engine_record rec, *list = &rec;
    tlp_request q = request_of(2);
    int status = 0;

    CHECK_OK(tlp_engine_start(r.engine));
    pid_t pid = fork();
    if (pid == 0)
        in_child(r.engine);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    engine_submit(&rec, r.engine, &q); /* the parent goes on */
    engine_finish(r.engine, &list, 1, false);
    engine_rig_close(&r);
}
