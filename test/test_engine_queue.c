/*
 * test_engine_queue.c - requests that wait: which begins next, what a step
 * gives to each, and how they leave before they have run.
 */
#include <stdlib.h>

#include "engine/engine_state.h"
#include "support/engine_rig.h"

#define N_VOCAB 288
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(engine_queue, .timeout = 180);

/* ==== who begins, and who waits ========================================== */

/* Tokens of prompts in one step beside a text, and no step without its token.
 */
Test(engine_queue, long_prompts_do_not_stall_texts)
{
    engine_rig r = engine_rig_small("serial", 1, 3, 4);
    engine_record *rec = calloc(3, sizeof *rec);
    int32_t ids[120];
    int steps = 0;
    tlp_request q = engine_request(ids, 5, 100);

    rig_tokens(ids, 120, N_VOCAB, 1);
    engine_submit(&rec[0], r.engine, &q);
    while (rec[0].choice[0].n == 0) {
        engine_step(r.engine);
    }
    rig_tokens(ids, 120, N_VOCAB, 2);
    q = engine_request(ids, 100, 1);
    engine_submit(&rec[1], r.engine, &q);
    rig_tokens(ids, 120, N_VOCAB, 3);
    q = engine_request(ids, 7, 1);
    engine_submit(&rec[2], r.engine, &q);
    for (; !rec[1].n_end; steps++) {
        int before = rec[0].choice[0].n;

        engine_step(r.engine);
        cr_expect_eq(rec[0].choice[0].n, before + 1);
        cr_assert_lt(steps, 100);
        if (rec[2].n_end && rec[2].id) {
            cr_expect_leq(steps, 4, "the short prompt waits for the long one");
            rec[2].id = 0;
        }
    }
    cr_expect_eq(steps, 27); /* 107 tokens, 4 in a step */
    cr_expect_gt(engine_rig_stats(&r).worst_gap, 0);
    free(rec);
    engine_rig_close(&r);
}

/* The order in which requests begin on one sequence. */
Test(engine_queue, priorities_and_clients_take_turns)
{
    static const struct {
        int priority, client;
    } of[] = { { 0, 1 }, { 0, 1 }, { 0, 1 }, { 0, 2 }, { 5, 1 } };
    static const int order[] = { 0, 4, 3, 1, 2 };
    engine_rig r = engine_rig_small("serial", 1, 2, 0);
    engine_record *rec = calloc(6, sizeof *rec);
    int32_t ids[4] = { 9, 8, 7, 6 };
    tlp_request q = engine_request(ids, 4, 60);
    int n = 0;

    q.client = 1; /* keeps one of the two sequences */
    engine_submit(&rec[5], r.engine, &q);
    CHECK_OK(tlp_engine_step(NULL, r.engine));
    q.n_predict = 2;
    for (int i = 0; i < COUNT(of); i++) {
        q.priority = of[i].priority;
        q.client = (uint64_t)of[i].client;
        engine_submit(&rec[i], r.engine, &q);
        if (i == 0) /* it begins before the others are there */
            CHECK_OK(tlp_engine_step(NULL, r.engine));
    }
    while (n < COUNT(of)) {
        engine_step(r.engine);
        for (; n < COUNT(of) && rec[order[n]].n_end; n++)
            for (int k = n + 1; k < COUNT(of); k++)
                cr_expect(!rec[order[k]].n_end, "%d ends before %d", order[k],
                          order[n]);
    }
    free(rec);
    engine_rig_close(&r);
}

Test(engine_queue, cancel_deadline_and_stop)
{
    engine_rig r = engine_rig_small("serial", 1, 1, 0);
    engine_record rec[4], *list[4];
    int32_t ids[4] = { 9, 8, 7, 6 };
    tlp_request q = engine_request(ids, 4, 0);
    uint64_t id = 0;

    for (int i = 0; i < 4; i++) {
        list[i] = &rec[i];
        q.deadline = i == 2 ? 1e-6 : 0;
        engine_submit(&rec[i], r.engine, &q);
    }
    tlp_engine_cancel(r.engine, rec[1].id);
    tlp_engine_cancel(r.engine, 1); /* no such request */
    engine_finish(r.engine, &list[1], 2, true);
    engine_step(r.engine);
    cr_expect_eq(rec[1].choice[0].stop_reason, TLP_STOP_CANCEL);
    cr_expect_eq(rec[2].choice[0].stop_reason, TLP_STOP_DEADLINE);
    cr_expect_gt(rec[0].choice[0].n, 0);
    tlp_engine_cancel(r.engine, rec[0].id);
    engine_finish(r.engine, &list[0], 1, true);
    cr_expect_eq(rec[0].choice[0].stop_reason, TLP_STOP_CANCEL);

    tlp_engine_stop(r.engine);
    engine_finish(r.engine, &list[3], 1, false);
    cr_expect_eq(rec[3].choice[0].stop_reason, TLP_STOP_CANCEL);
    cr_expect_eq(rec[3].choice[0].n, 1);
    tlp_event *v = NULL;
    cr_expect_eq(tlp_engine_next(&v, r.engine, -1), TLP_ECLOSED);
    cr_expect_eq(tlp_engine_submit(&id, r.engine, &q), TLP_ECLOSED);
    cr_expect(id == 0 && !v);
    cr_expect_eq(tlp_engine_start(r.engine), TLP_ESTATE);
    tlp_engine_stats s = engine_rig_stats(&r);
    cr_expect(s.n_submitted == 4 && s.n_ended == 4 && s.n_canceled == 4 &&
              s.n_failed == 0 && s.n_waiting + s.n_running + s.n_choice == 0);
    engine_rig_close(&r);
}

/* Cancelling the request that had a slot before does not cancel the one that
 * has it now. */
Test(engine_queue, numbers_are_never_used_again)
{
    engine_rig r = engine_rig_small("serial", 1, 1, 0);
    engine_record rec[2], *list[2] = { &rec[0], &rec[1] };
    int32_t ids[2] = { 9, 8 };
    tlp_request q = engine_request(ids, 2, 3);

    engine_submit(&rec[0], r.engine, &q);
    engine_finish(r.engine, &list[0], 1, true);
    engine_submit(&rec[1], r.engine, &q);
    cr_expect_neq(rec[0].id, rec[1].id);
    tlp_engine_cancel(r.engine, rec[0].id);
    engine_finish(r.engine, &list[1], 1, true);
    cr_expect_eq(rec[1].choice[0].stop_reason, TLP_STOP_LENGTH);
    engine_rig_close(&r);
}

Test(engine_queue, a_full_engine_takes_no_more)
{
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    engine_record rec[3], *list[3] = { &rec[0], &rec[1], &rec[2] };
    int32_t ids[2] = { 9, 8 };
    tlp_request q = engine_request(ids, 2, 3);
    uint64_t id = 7;

    o.n_request = 2;
    engine_rig r = engine_rig_open(NULL, "serial", &o);

    engine_submit(&rec[0], r.engine, &q);
    engine_submit(&rec[1], r.engine, &q);
    cr_expect_eq(tlp_engine_submit(&id, r.engine, &q), TLP_EBUSY);
    cr_expect_eq(id, 0);
    engine_finish(r.engine, list, 2, true);
    engine_submit(&rec[2], r.engine, &q);
    engine_finish(r.engine, list + 2, 1, true);
    engine_rig_close(&r);
}

/* ==== the length of a step =============================================== */

/* Tokens of a prompt of 60 that one step evaluates. */
static int32_t in_one_step(double prompt_rate)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 8);
    tlp_slot s = { .struct_size = sizeof s };
    engine_record rec;
    int32_t ids[60];
    tlp_request q = engine_request(ids, 60, 2);

    rig_tokens(ids, 60, N_VOCAB, 1);
    r.engine->prompt_rate = prompt_rate;
    engine_submit(&rec, r.engine, &q);
    engine_step(r.engine);
    CHECK_OK(tlp_engine_get_slot(&s, r.engine, 0));
    cr_expect_gt(r.engine->prompt_rate, 0.5 * prompt_rate);
    engine_rig_close(&r);
    return s.n_done;
}

/* A quarter of a second by the rate of earlier steps, between n_chunk and
 * n_batch. */
Test(engine_queue, slow_prompts_have_short_steps)
{
    cr_expect_eq(in_one_step(0), 32);
    cr_expect_eq(in_one_step(1e9), 32);
    cr_expect_eq(in_one_step(4 * 20), 20);
    cr_expect_eq(in_one_step(1), 8);
}

/* ==== ranks ============================================================== */

Test(engine_queue, counters_of_the_session)
{
    engine_rig r = engine_rig_small("par:1-2", 2, 3, 0);
    tlp_session_stats s = { .struct_size = sizeof s };
    engine_record rec, *list = &rec;
    int32_t ids[2] = { 9, 8 };
    tlp_request q = engine_request(ids, 2, 3);

    CHECK_OK(tlp_engine_get_session_stats(&s, r.engine));
    cr_expect(s.n_rank == 2 && s.n_step == 0 && s.kv_bytes == 0);
    engine_submit(&rec, r.engine, &q);
    engine_finish(r.engine, &list, 1, true);
    CHECK_OK(tlp_engine_get_session_stats(&s, r.engine));
    /* The prompt, and two tokens that were chosen; a step has 2 all-reduces for
     * each of three layers and 1 for the pair. */
    cr_expect(s.n_step == 3 && s.n_prefill == 2 && s.n_decode == 2);
    cr_expect_eq(s.allreduces, 3 * 7);
    cr_expect(s.kv_bytes > 0 && s.kv_bytes <= s.kv_most_bytes);
    tlp_engine_stats e = engine_rig_stats(&r);
    cr_expect(e.n_seq == 3 && e.n_ctx == 128 && e.n_position == 4);
    s.struct_size = 4;
    cr_expect_eq(tlp_engine_get_session_stats(&s, r.engine), TLP_EINVAL);
    cr_expect_eq(tlp_engine_get_session_stats(NULL, r.engine), TLP_EINVAL);
    cr_expect_eq(tlp_engine_get_stats(NULL, r.engine), TLP_EINVAL);
    engine_rig_close(&r);
}

/* A look at idle ranks changes nothing that a sequence holds. */
Test(engine_queue, idle_ranks_are_looked_at)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 0);
    engine_record rec[2], *list[2] = { &rec[0], &rec[1] };
    int32_t ids[20];
    tlp_request q = engine_request(ids, 20, 30);
    tlp_event *v = NULL;

    rig_tokens(ids, 20, 288, 1);
    r.engine->session->cfg.remote = true; /* as with ranks in processes */
    CHECK_OK(tlp_engine_start(r.engine));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(tlp_engine_next(&v, r.engine, 1500)); /* idle */
        cr_assert_null(v);
        engine_submit(&rec[i], r.engine, &q);
        engine_finish(r.engine, &list[i], 1, false);
    }
    cr_expect_eq(rec[1].n_cached, 19);
    cr_expect_arr_eq(rec[1].choice[0].token, rec[0].choice[0].token,
                     30 * sizeof(int32_t));
    engine_rig_close(&r);
}

Test(engine_queue, a_rank_that_fails_while_idle_is_noticed)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 0);
    tlp_event *v = NULL;

    r.engine->session->cfg.remote = true;
    r.engine->session->broken = true; /* what a command does whose rank fails */
    CHECK_OK(tlp_engine_start(r.engine));
    cr_expect_eq(tlp_engine_next(&v, r.engine, 20000), TLP_ECOMM);
    engine_rig_close(&r);
}
