/*
 * test_api.c - the public functions in the hands of a careless caller: NULL,
 * calls out of order, handles freed in any order, threads.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const char *path;
static rig r;

static void open_rig(void)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);

    path = tiny_make(&spec);
    r = rig_open(path, "par:1-2,3-4", &o);
}

static void close_rig(void)
{
    rig_close(&r);
}

TestSuite(api, .init = open_rig, .fini = close_rig, .timeout = 120);

/* A pointer that a failing constructor must overwrite. */
#define DANGLING(type) ((type *)(void *)&r)

/* ==== NULL =============================================================== */

Test(api, constructors_without_arguments)
{
    tlp_model *model = DANGLING(tlp_model);
    tlp_plan *plan = DANGLING(tlp_plan);
    tlp_session *session = DANGLING(tlp_session);
    tlp_sampler *sampler = DANGLING(tlp_sampler);
    tlp_stream *stream = DANGLING(tlp_stream);
    const char *none[1] = { NULL };

    CHECK_FAILS(TLP_EINVAL, tlp_model_open(NULL, path, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_open(&model, NULL, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_parse(NULL, r.model, "serial"));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_parse(&plan, NULL, "serial"));
    cr_assert_null(plan);
    plan = DANGLING(tlp_plan);
    CHECK_FAILS(TLP_EINVAL, tlp_plan_parse(&plan, r.model, NULL));
    cr_assert_null(plan);
    CHECK_FAILS(TLP_EINVAL, tlp_plan_load(NULL, r.model, path));
    plan = DANGLING(tlp_plan);
    CHECK_FAILS(TLP_EINVAL, tlp_plan_load(&plan, NULL, path));
    cr_assert_null(plan);
    CHECK_FAILS(TLP_EINVAL, tlp_plan_load(&plan, r.model, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_create(NULL, r.plan, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_create(&session, NULL, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_create(NULL, r.model, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_create(&sampler, NULL, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(NULL, r.model, NULL, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&stream, NULL, NULL, 0, 0));
    cr_assert(!model && !session && !sampler && !stream);
    stream = DANGLING(tlp_stream);
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&stream, r.model, none, 1, 0));
    cr_assert_null(stream);
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&stream, r.model, NULL, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_create(&stream, r.model, NULL, 0, 2));
}

Test(api, model_without_arguments)
{
    const tlp_chat_message odd[2] = { { NULL, "x" }, { "user", NULL } };
    tlp_model_info info = { .struct_size = sizeof info };
    tlp_tensor_info tensor = { .struct_size = sizeof tensor };
    int32_t id = 0;
    char buf[8];
    size_t n = 0;

    CHECK_FAILS(TLP_EINVAL, tlp_model_get_info(&info, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_info(NULL, r.model));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_tensor(&tensor, NULL, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_tensor(NULL, r.model, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_tensor(&tensor, r.model, 1000));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_tensor(&tensor, r.model, SIZE_MAX));
    cr_assert_null(tlp_model_meta_key(NULL, 0));
    cr_assert_null(tlp_model_meta_key(r.model, 1000));
    cr_assert_null(tlp_model_meta_key(r.model, SIZE_MAX));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_meta(buf, 8, &n, NULL, "a"));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_meta(buf, 8, &n, r.model, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_meta(buf, 8, &n, r.model, "no.such"));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(&id, 1, &n, NULL, "a", 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(&id, 1, &n, r.model, NULL, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(&id, 1, NULL, r.model, "a", 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(&id, 1, &n, r.model, "a", 1, 8));
    CHECK_FAILS(TLP_EINVAL, tlp_detokenize(buf, 8, &n, NULL, &id, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_detokenize(buf, 8, &n, r.model, NULL, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_detokenize(buf, 8, &n, r.model, &id, 1, 2));
    id = 288;
    CHECK_FAILS(TLP_EINVAL, tlp_detokenize(buf, 8, &n, r.model, &id, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 8, &n, NULL, odd, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 8, &n, r.model, NULL, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 8, &n, r.model, odd, 1, 0));
    CHECK_FAILS(TLP_EINVAL,
                tlp_chat_format(buf, 8, &n, r.model, odd + 1, 1, 0));
    cr_assert_eq(tlp_token_is_end(NULL, 0), 0);
    cr_assert_eq(tlp_token_is_end(r.model, -1), 0);
    cr_assert_eq(tlp_token_is_end(r.model, INT32_MAX), 0);
}

Test(api, plan_without_arguments)
{
    tlp_plan_cost cost = { .struct_size = sizeof cost };
    tlp_stage_info stage = { .struct_size = sizeof stage };
    char buf[8];
    size_t n = 0;

    CHECK_FAILS(TLP_EINVAL, tlp_plan_save(NULL, "x"));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_save(r.plan, NULL));
    CHECK_FAILS(TLP_EIO, tlp_plan_save(r.plan, "/no/such/folder/plan.json"));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_save(r.plan, path));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_format(buf, 8, &n, NULL, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_format(buf, 8, &n, r.plan, 2));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_format(buf, 8, &n, r.plan, -1));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_cost(&cost, NULL, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_cost(NULL, r.plan, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_cost(&cost, r.plan, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_cost(&cost, r.plan, -1));
    tlp_status st = tlp_plan_get_cost(&cost, r.plan, INT32_MAX);
    cr_assert(st == TLP_EINVAL || st == TLP_ENOMEM, "%s", tlp_status_name(st));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_stage(&stage, NULL, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_stage(NULL, r.plan, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_stage(&stage, r.plan, 3));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_stage(&stage, r.plan, SIZE_MAX));
}

Test(api, session_without_arguments)
{
    tlp_session *s = r.session;
    tlp_batch b = TLP_BATCH_INIT;
    tlp_session_stats stats = { .struct_size = sizeof stats };
    tlp_sampler *sampler = NULL;
    const float *row = (const float *)&r;
    int32_t id = 1;
    float lp;

    CHECK_OK(tlp_sampler_create(&sampler, r.model, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_prefill(NULL, &id, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_prefill(s, NULL, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_prefill(s, &id, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_decode(NULL, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_eval(NULL, &b));
    CHECK_FAILS(TLP_EINVAL, tlp_session_eval(s, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_eval(s, &b));
    b.n = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_session_eval(s, &b));
    cr_assert_eq(tlp_session_n_logits(NULL), 0);
    CHECK_FAILS(TLP_EINVAL, tlp_session_logits(&row, NULL, 0));
    cr_assert_null(row);
    CHECK_FAILS(TLP_EINVAL, tlp_session_logits(NULL, s, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_score(&lp, NULL, 0, &id, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_score(&lp, s, 0, NULL, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_score(NULL, s, 0, &id, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_score(&lp, s, 0, &id, 0));
    cr_assert_eq(tlp_session_pos(NULL, 0), -1);
    CHECK_FAILS(TLP_EINVAL, tlp_session_rewind(NULL, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_fork(NULL, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_clear(NULL, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_get_stats(&stats, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_get_stats(NULL, s));
    CHECK_FAILS(TLP_EINVAL, tlp_session_sample(&id, NULL, 0, sampler));
    CHECK_FAILS(TLP_EINVAL, tlp_session_sample(&id, s, 0, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_sample(NULL, s, 0, sampler));
    CHECK_FAILS(TLP_EINVAL, tlp_session_generate(NULL, NULL, NULL, NULL));
    tlp_session_reset_stats(NULL);
    tlp_session_abort(NULL);
    tlp_sampler_accept(NULL, 1);
    tlp_sampler_reset(NULL);
    tlp_sampler_accept(sampler, -1); /* no token: ignored */
    tlp_sampler_accept(sampler, INT32_MAX);
    tlp_sampler_free(sampler);
    tlp_sampler_free(NULL);
    tlp_stream_free(NULL);
    tlp_session_free(NULL);
    tlp_plan_free(NULL);
    tlp_model_free(NULL);
}

/* ==== calls out of order ================================================= */

Test(api, logits_before_evaluation)
{
    tlp_sampler *sampler = NULL;
    const float *row = NULL;
    int32_t id = 5;

    CHECK_OK(tlp_sampler_create(&sampler, r.model, NULL));
    cr_assert_eq(tlp_session_n_logits(r.session), 0);
    CHECK_FAILS(TLP_ESTATE, tlp_session_logits(&row, r.session, 0));
    CHECK_FAILS(TLP_ESTATE, tlp_session_sample(&id, r.session, 0, sampler));
    cr_assert_eq(id, -1);
    CHECK_FAILS(TLP_ESTATE,
                tlp_session_generate(NULL, r.session, sampler, NULL));
    tlp_sampler_free(sampler);
}

Test(api, session_options_out_of_range)
{
    static const struct {
        size_t at;
        int32_t value;
        tlp_status status;
    } bad[] = {
#define OPTION(field, value, status)                                           \
    { offsetof(tlp_session_options, field), value, status }
        OPTION(n_ctx, -1, TLP_EINVAL),
        OPTION(n_ctx, INT32_MAX, 0),
        OPTION(n_seq, -1, TLP_EINVAL),
        OPTION(n_seq, INT32_MAX, 0),
        OPTION(n_batch, -1, TLP_EINVAL),
        OPTION(n_batch, INT32_MAX, 0),
        OPTION(n_rank, -1, TLP_EINVAL),
        OPTION(n_rank, INT32_MAX, 0),
        OPTION(n_thread, -1, TLP_EINVAL),
        OPTION(n_thread, INT32_MAX, 0),
        OPTION(n_thread_prefill, -1, TLP_EINVAL),
        OPTION(n_thread_prefill, 257, TLP_EINVAL),
        OPTION(spin_us, -2, TLP_EINVAL),
        OPTION(spin_us, 1000001, 0),
        OPTION(backend, 7, TLP_ENOTSUP),
        OPTION(backend, -1, 0),
        OPTION(comm, 7, TLP_ENOTSUP),
        OPTION(comm, -1, 0),
        OPTION(compute, 2, TLP_EINVAL),
        OPTION(compute, -1, TLP_EINVAL),
        OPTION(kv_type, 5, TLP_EINVAL),
        OPTION(kv_type, -1, TLP_EINVAL),
        OPTION(isa, 5, TLP_EINVAL),
        OPTION(isa, -1, TLP_EINVAL),
        OPTION(timeout_ms, -1, TLP_EINVAL),
        OPTION(wire, -1, TLP_EINVAL),
        OPTION(wire, 1, TLP_EINVAL),
        OPTION(wire, 3, TLP_EINVAL),
#undef OPTION
    };

    for (int i = 0; i < COUNT(bad); i++) {
        tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
        tlp_session *s = DANGLING(tlp_session);

        memcpy((char *)&o + bad[i].at, &bad[i].value, sizeof bad[i].value);
        tlp_status st = tlp_session_create(&s, r.plan, &o);
        cr_assert(bad[i].status ? st == bad[i].status : st < 0, "case %d: %s",
                  i, tlp_status_name(st));
        cr_assert_null(s);
        cr_assert(tlp_last_error()[0]);
    }
}

/* In one process this is rank 0 of as many as were asked for, and nobody's
 * worker. */
Test(api, ranks_in_this_process)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    int32_t rank = -1, n_rank = -1;

    CHECK_OK(tlp_comm_rank(&rank, &n_rank, NULL));
    cr_assert(rank == 0 && n_rank == 1);
    o.n_rank = 3;
    CHECK_OK(tlp_comm_rank(&rank, &n_rank, &o));
    cr_assert(rank == 0 && n_rank == 3);
    CHECK_FAILS(TLP_EINVAL, tlp_worker_run(r.model, NULL, &o));
    CHECK_FAILS(TLP_EINVAL, tlp_worker_run(r.model, r.plan, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_worker_run(NULL, NULL, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_comm_rank(NULL, &n_rank, &o));
    CHECK_FAILS(TLP_EINVAL, tlp_comm_rank(&rank, NULL, &o));
    rank = n_rank = -1;
    o.n_rank = 65;
    CHECK_FAILS(TLP_EINVAL, tlp_comm_rank(&rank, &n_rank, &o));
    o.struct_size = 3;
    CHECK_FAILS(TLP_EINVAL, tlp_comm_rank(&rank, &n_rank, &o));
    CHECK_FAILS(TLP_EINVAL, tlp_worker_run(r.model, NULL, &o));
    cr_assert(rank == -1 && n_rank == -1);
}

static int dawdle(double done, void *user_data)
{
    (void)done, (void)user_data;
    nanosleep(&(struct timespec){ .tv_nsec = 40000000 }, NULL);
    return 0;
}

/* Ranks wait for one that loads as long as it takes. */
Test(api, loading_may_take_longer_than_an_answer)
{
    tlp_session_options o = rig_f32(2, 1);
    tlp_session *s = NULL;

    o.timeout_ms = 100;
    o.progress = dawdle;
    CHECK_OK(tlp_session_create(&s, r.plan, &o));
    tlp_session_free(s);
}

/* ==== lives ============================================================== */

/* Model, plan, session, sampler, stream, freed in each of the 120 orders. */
Test(api, handles_are_freed_in_any_order)
{
    for (int order = 0; order < 120; order++) {
        mem m = { 0 };
        tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
        tlp_session_options o = rig_f32(1 + order % 2, 1);
        tlp_model *model = NULL;
        tlp_plan *plan = NULL;
        tlp_session *session = NULL;
        tlp_sampler *sampler = NULL;
        tlp_stream *stream = NULL;
        const char *text = NULL;
        size_t len = 0;
        int stopped = 0, left[5] = { 0, 1, 2, 3, 4 }, n = 5, code = order;

        o.n_ctx = 16;
        mo.allocator = mem_hooks(&m);
        CHECK_OK(tlp_model_open(&model, path, &mo));
        CHECK_OK(tlp_plan_parse(&plan, model, "par:0-1"));
        CHECK_OK(tlp_session_create(&session, plan, &o));
        CHECK_OK(tlp_sampler_create(&sampler, model, NULL));
        CHECK_OK(tlp_stream_create(&stream, model, NULL, 0, 0));
        for (; n > 0; n--) {
            int at = code % n, which = left[at];

            code /= n;
            left[at] = left[n - 1];
            if (which == 0)
                tlp_model_free(model);
            else if (which == 1)
                tlp_plan_free(plan);
            else if (which == 2) {
                CHECK_OK(tlp_session_decode(session, 1));
                tlp_session_free(session);
            } else if (which == 3)
                tlp_sampler_free(sampler);
            else {
                CHECK_OK(tlp_stream_push(&text, &len, &stopped, stream, 'a'));
                cr_assert_str_eq(text, "a");
                tlp_stream_free(stream);
            }
        }
        cr_assert(atomic_load(&m.live) == 0 && atomic_load(&m.bytes) == 0,
                  "order %d: %ld blocks left", order, atomic_load(&m.live));
    }
}

/* ==== threads ============================================================ */

typedef struct api_worker {
    tlp_plan *plan;
    int n_rank;
    const float *want;
    size_t n_vocab;
    int32_t ids[12];
    pthread_t thread;
    bool same;
} api_worker;

/* Create, evaluate, free, again and again; errors stay on their thread. */
static void *work(void *arg)
{
    api_worker *w = arg;
    tlp_session_options o = rig_f32(w->n_rank, 1);

    w->same = true;
    for (int i = 0; i < 10; i++) {
        tlp_session *s = NULL;
        const float *row = NULL;

        if (tlp_session_create(&s, w->plan, &o) ||
            tlp_session_prefill(s, w->ids, 12) ||
            tlp_session_logits(&row, s, 0) ||
            memcmp(row, w->want, w->n_vocab * sizeof *row) != 0)
            w->same = false;
        if (tlp_session_decode(s, -w->n_rank) != TLP_EINVAL)
            w->same = false;
        char id[16];
        snprintf(id, sizeof id, "id -%d ", w->n_rank);
        w->same &= strstr(tlp_last_error(), id) != NULL;
        tlp_session_free(s);
    }
    return NULL;
}

Test(api, threads_share_a_model)
{
    api_worker w[3];

    for (int i = 0; i < 3; i++) {
        tlp_session_options o = rig_f32(i + 1, 1);
        tlp_session *s = NULL;
        const float *row = NULL;

        w[i] = (api_worker){ .plan = r.plan,
                             .n_rank = i + 1,
                             .n_vocab = r.n_vocab };
        rig_tokens(w[i].ids, 12, r.n_vocab, (uint64_t)i);
        float *want = malloc(r.n_vocab * sizeof *want);
        CHECK_OK(tlp_session_create(&s, r.plan, &o));
        CHECK_OK(tlp_session_prefill(s, w[i].ids, 12));
        CHECK_OK(tlp_session_logits(&row, s, 0));
        memcpy(want, row, r.n_vocab * sizeof *want);
        w[i].want = want;
        tlp_session_free(s);
    }
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(w[i].thread, NULL);
        cr_assert(w[i].same, "%d ranks: other bits or errors", w[i].n_rank);
        free((void *)(uintptr_t)w[i].want);
    }
}

/* ==== buffers that are missing =========================================== */

Test(api, texts_without_a_buffer)
{
    const int32_t id = 1;
    size_t n = 7;

    CHECK_FAILS(TLP_EINVAL, tlp_model_get_meta(NULL, 5, &n, r.model,
                                               "general.architecture"));
    cr_assert_eq(n, 0);
    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_format(NULL, 5, &n, r.plan, TLP_PLAN_TEXT));
    CHECK_FAILS(TLP_EINVAL, tlp_detokenize(NULL, 5, &n, r.model, &id, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_tokenize(NULL, 5, &n, r.model, "a", 1, 0));
    CHECK_FAILS(TLP_EBUFS, tlp_plan_format(NULL, 0, &n, r.plan, TLP_PLAN_TEXT));
    cr_assert_gt(n, 5);
}

Test(api, streams_without_arguments)
{
    tlp_stream *stream = NULL;
    const char *text = "x";
    size_t n = 5;
    int stopped = 5;

    CHECK_OK(tlp_stream_create(&stream, r.model, NULL, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_push(&text, &n, &stopped, NULL, 1));
    cr_assert(!text && n == 0 && stopped == 0);
    n = 5;
    CHECK_FAILS(TLP_EINVAL, tlp_stream_flush(&text, &n, NULL));
    cr_assert(!text && n == 0);
    CHECK_FAILS(TLP_EINVAL, tlp_stream_flush(NULL, &n, stream));
    CHECK_FAILS(TLP_EINVAL, tlp_stream_push(&text, NULL, &stopped, stream, 1));
    tlp_stream_free(stream);
}
