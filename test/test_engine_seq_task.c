/*
 * test_engine_seq_task.c - sequences of an engine that are saved, loaded and
 * forgotten between its steps.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine_state.h"
#include "support/check.h"
#include "support/engine_rig.h"
#include "support/tiny.h"

enum { N_VOCAB = 288, PROMPT = 60 };

TestSuite(engine_seq_task, .timeout = 120);

static void run_one(const engine_rig *r, engine_record *rec, const int32_t *ids,
                    int n_predict)
{
    tlp_request q = engine_request(ids, PROMPT, n_predict);

    engine_submit(rec, r->engine, &q);
    engine_finish(r->engine, &rec, 1, true);
}

static int32_t held(const engine_rig *r, int32_t seq)
{
    tlp_slot s = { .struct_size = sizeof s };

    CHECK_OK(tlp_engine_get_slot(&s, r->engine, seq));
    return s.n_held;
}

static void expect_equal(const engine_record *a, const engine_record *b)
{
    cr_expect_eq(a->choice[0].n, b->choice[0].n);
    cr_expect_arr_eq(a->choice[0].token, b->choice[0].token,
                     (size_t)a->choice[0].n * sizeof(int32_t));
}

/* ==== what a file is for ================================================= */

/* Another engine continues from the file, with two ranks as well. */
Test(engine_seq_task, file_saves_the_prompt)
{
    for (int n_rank = 1; n_rank <= 2; n_rank++) {
        engine_rig a = engine_rig_small("par:1-2", n_rank, 2, 8);
        engine_rig b = engine_rig_small("par:1-2", n_rank, 3, 16);
        const char *path = tiny_path("prompt.seq");
        engine_record first, again;
        int32_t ids[PROMPT], n = -1;

        rig_tokens(ids, PROMPT, N_VOCAB, 3);
        run_one(&a, &first, ids, 6);
        CHECK_OK(tlp_engine_save_file(&n, a.engine, 0, path));
        cr_expect_eq(n, PROMPT + 5);
        CHECK_OK(tlp_engine_load_file(&n, b.engine, 2, path));
        cr_expect_eq(n, PROMPT + 5);
        cr_expect_eq(held(&b, 2), PROMPT + 5);
        run_one(&b, &again, ids, 6);
        cr_expect_eq(again.n_cached, PROMPT - 1);
        expect_equal(&first, &again);
        engine_rig_close(&a);
        engine_rig_close(&b);
    }
}

Test(engine_seq_task, forgotten)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 8);
    engine_record rec;
    int32_t ids[PROMPT], n = -1;

    rig_tokens(ids, PROMPT, N_VOCAB, 3);
    run_one(&r, &rec, ids, 6);
    cr_expect_eq(held(&r, 0), PROMPT + 5);
    CHECK_OK(tlp_engine_clear(&n, r.engine, 0));
    cr_expect_eq(n, PROMPT + 5);
    cr_expect_eq(held(&r, 0), 0);
    CHECK_OK(tlp_engine_clear(NULL, r.engine, 0));
    run_one(&r, &rec, ids, 6);
    cr_expect_eq(rec.n_cached, 0);
    engine_rig_close(&r);
}

/* Other sequences are taken before one that was just loaded. */
Test(engine_seq_task, loaded_ones_stay)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 8);
    const char *path = tiny_path("prompt.seq");
    engine_record rec;
    int32_t ids[PROMPT], other[PROMPT];

    rig_tokens(ids, PROMPT, N_VOCAB, 3);
    rig_tokens(other, PROMPT, N_VOCAB, 4);
    run_one(&r, &rec, ids, 2);
    CHECK_OK(tlp_engine_save_file(NULL, r.engine, 0, path));
    CHECK_OK(tlp_engine_clear(NULL, r.engine, 0));
    run_one(&r, &rec, other, 2);
    CHECK_OK(tlp_engine_load_file(NULL, r.engine, 0, path));
    other[0] ^= 1;
    run_one(&r, &rec, other, 2);
    run_one(&r, &rec, ids, 2);
    cr_expect_eq(rec.n_cached, PROMPT - 1);
    engine_rig_close(&r);
}

/* ==== threads ============================================================ */

/* The sequence of a running request is not touched; free ones are, while the
 * engine's thread steps. */
Test(engine_seq_task, beside_a_text)
{
    engine_rig r = engine_rig_small("serial", 2, 2, 8);
    const char *path = tiny_path("prompt.seq");
    engine_record quiet, loud, *list[] = { &loud };
    int32_t ids[PROMPT];
    tlp_request q = engine_request(ids, PROMPT, 60);

    rig_tokens(ids, PROMPT, N_VOCAB, 3);
    run_one(&r, &quiet, ids, 60);
    CHECK_OK(tlp_engine_clear(NULL, r.engine, 0));
    engine_submit(&loud, r.engine, &q);
    engine_step(r.engine); /* it has sequence 0 */
    CHECK_FAILS(TLP_EBUSY, tlp_engine_save_file(NULL, r.engine, 0, path));
    CHECK_FAILS(TLP_EBUSY, tlp_engine_load_file(NULL, r.engine, 0, path));
    CHECK_FAILS(TLP_EBUSY, tlp_engine_clear(NULL, r.engine, 0));
    CHECK_OK(tlp_engine_start(r.engine));
    for (int i = 0; i < 20; i++) {
        CHECK_OK(tlp_engine_save_file(NULL, r.engine, 1, path));
        CHECK_OK(tlp_engine_load_file(NULL, r.engine, 1, path));
        CHECK_OK(tlp_engine_clear(NULL, r.engine, 1));
    }
    engine_finish(r.engine, list, 1, false);
    expect_equal(&quiet, &loud);
    /* the thread waits for work now */
    CHECK_OK(tlp_engine_save_file(NULL, r.engine, 0, path));
    engine_rig_close(&r);
}

typedef struct caller {
    tlp_engine *engine;
    const char *path;
    atomic_bool *end;
    int n_done, n_wrong;
} caller;

static void *call_on(void *arg)
{
    caller *c = arg;

    while (!atomic_load(c->end)) {
        c->n_wrong +=
            tlp_engine_save_file(NULL, c->engine, 1, c->path) != TLP_OK;
        c->n_wrong += tlp_engine_clear(NULL, c->engine, 2) != TLP_OK;
        c->n_done++;
    }
    return NULL;
}

/* A host that steps by itself never finds another thread stepping. */
Test(engine_seq_task, beside_steps_of_the_host)
{
    engine_rig r = engine_rig_small("serial", 1, 3, 8);
    atomic_bool end = false;
    pthread_t thread[2];
    caller c[2] = { { r.engine, tiny_path("a.seq"), &end, 0, 0 },
                    { r.engine, tiny_path("b.seq"), &end, 0, 0 } };
    engine_record rec;
    int32_t ids[PROMPT];
    tlp_request q = engine_request(ids, PROMPT, 60);

    rig_tokens(ids, PROMPT, N_VOCAB, 3);
    engine_submit(&rec, r.engine, &q);
    engine_step(r.engine);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, call_on, &c[i]), 0);
    for (int i = 0; i < 300; i++)
        engine_step(r.engine);
    atomic_store(&end, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        cr_expect(c[i].n_done > 0 && c[i].n_wrong == 0, "%d done, %d wrong",
                  c[i].n_done, c[i].n_wrong);
    }
    cr_expect_eq(rec.choice[0].n, 60);
    engine_rig_close(&r);
}

/* Texts that were cut off by the end can still be kept. */
Test(engine_seq_task, after_the_end)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 8);
    const char *path = tiny_path("prompt.seq");
    engine_record rec;
    int32_t ids[PROMPT], n = -1;
    tlp_request q = engine_request(ids, PROMPT, 60);

    rig_tokens(ids, PROMPT, N_VOCAB, 3);
    engine_submit(&rec, r.engine, &q);
    for (int i = 0; i < 4; i++)
        engine_step(r.engine);
    tlp_engine_stop(r.engine);
    CHECK_OK(tlp_engine_save_file(&n, r.engine, 0, path));
    cr_expect_geq(n, PROMPT);
    engine_rig_close(&r);
}

/* ==== what is refused ==================================================== */

Test(engine_seq_task, refused)
{
    engine_rig r = engine_rig_small("par:1-2", 1, 2, 8);
    engine_rig other = engine_rig_small("serial", 1, 2, 8);
    const char *path = tiny_path("prompt.seq");
    engine_record rec;
    int32_t ids[PROMPT], n = 7;

    rig_tokens(ids, PROMPT, N_VOCAB, 3);
    run_one(&r, &rec, ids, 2);
    CHECK_OK(tlp_engine_save_file(NULL, r.engine, 0, path));
    CHECK_FAILS(TLP_EINVAL, tlp_engine_save_file(&n, r.engine, 2, path));
    CHECK_FAILS(TLP_EINVAL, tlp_engine_load_file(&n, r.engine, -1, path));
    CHECK_FAILS(TLP_EINVAL, tlp_engine_clear(&n, NULL, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_engine_save_file(&n, r.engine, 0, NULL));
    CHECK_FAILS(TLP_EMISMATCH, tlp_engine_load_file(&n, other.engine, 0, path));
    CHECK_FAILS(TLP_EIO,
                tlp_engine_load_file(&n, r.engine, 0, tiny_path("absent")));
    cr_expect_eq(truncate(path, 100), 0);
    CHECK_FAILS(TLP_EFORMAT, tlp_engine_load_file(&n, r.engine, 1, path));
    cr_expect_eq(n, 0);
    run_one(&r, &rec, ids, 2); /* nothing was lost */
    cr_expect_eq(rec.n_cached, PROMPT - 1);
    engine_rig_close(&r);
    engine_rig_close(&other);
}

Test(engine_seq_task, failed_rank)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 8);
    engine_record rec;
    int32_t ids[PROMPT];

    rig_tokens(ids, PROMPT, N_VOCAB, 3);
    run_one(&r, &rec, ids, 2);
    r.engine->session->broken = true; /* what a command does whose rank fails */
    CHECK_FAILS(TLP_ECOMM, tlp_engine_clear(NULL, r.engine, 0));
    CHECK_FAILS(TLP_ECOMM, tlp_engine_clear(NULL, r.engine, 1));
    cr_expect_eq(tlp_engine_step(NULL, r.engine), TLP_ECOMM);
    engine_rig_close(&r);
}
