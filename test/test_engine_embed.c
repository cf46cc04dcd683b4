/*
 * test_engine_embed.c - embeddings as requests of an engine, and what it tells
 * of its sequences.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/engine_rig.h"
#include "support/tiny.h"

enum { N_VOCAB = 288, PROMPT = 90 };

TestSuite(engine_embed, .timeout = 120);

/* The embedding of a prompt in a session of its own. */
static void alone(const engine_rig *r, const int32_t *ids, int n, int pooling,
                  float *out)
{
    tlp_session_options o = rig_f32(1, 1);
    tlp_embed_options e = { sizeof e, pooling, 0 };
    tlp_session *s = NULL;

    o.n_ctx = 128;
    CHECK_OK(tlp_session_create(&s, r->plan, &o));
    CHECK_OK(tlp_session_embed(out, s, 0, ids, (size_t)n, &e));
    tlp_session_free(s);
}

static void expect_embedding(const engine_rig *r, const engine_record *rec,
                             const int32_t *ids, int n, int pooling)
{
    float want[ENGINE_EMBD];

    alone(r, ids, n, pooling, want);
    cr_expect_eq(rec->n_prompt, n);
    cr_expect_eq(rec->n_generated, 0);
    cr_expect_eq(rec->n_embedding, ENGINE_EMBD);
    cr_expect_eq(rec->choice[0].stop_reason, TLP_STOP_LENGTH);
    cr_expect(memcmp(want, rec->embedding, sizeof want) == 0,
              "%d tokens, pooling %d", n, pooling);
}

/* ==== beside texts ======================================================= */

/* Embeddings and texts in turn, more than there are sequences. */
Test(engine_embed, bits_do_not_depend_on_what_runs_beside)
{
    enum { N = 12 };
    engine_rig r = engine_rig_small("par:1-2", 1, 3, 8);
    engine_record *rec = calloc(N, sizeof *rec), *list[N];
    int32_t ids[N][PROMPT];

    for (int i = 0; i < N; i++) {
        tlp_embed_options e = { sizeof e, 1 + i / 2 % 2, 0 };
        tlp_request q = engine_request(ids[i], PROMPT - 7 * i, i % 2 ? 9 : 0);

        rig_tokens(ids[i], PROMPT, N_VOCAB, (uint64_t)i % 4);
        if (i % 2 == 0)
            q.embed = &e;
        list[i] = &rec[i];
        engine_submit(&rec[i], r.engine, &q);
        memset(&e, 0xff, sizeof e); /* the engine has a copy */
    }
    engine_finish(r.engine, list, N, true);
    for (int i = 0; i < N; i++) {
        if (i % 2 == 0)
            expect_embedding(&r, &rec[i], ids[i], PROMPT - 7 * i,
                             1 + i / 2 % 2);
        else
            cr_expect(rec[i].choice[0].n == 9 && rec[i].n_embedding == 0);
    }
    free(rec);
    engine_rig_close(&r);
}

static void run_one(const engine_rig *r, engine_record *rec, tlp_request *q)
{
    engine_submit(rec, r->engine, q);
    engine_finish(r->engine, &rec, 1, true);
}

/* The last state needs no states of known tokens, the mean needs all. */
Test(engine_embed, known_beginnings)
{
    engine_rig r = engine_rig_small("serial", 2, 2, 8);
    tlp_embed_options last = { sizeof last, TLP_POOLING_LAST, 0 };
    tlp_embed_options mean = { sizeof mean, TLP_POOLING_MEAN, 0 };
    engine_record rec;
    int32_t ids[60];
    tlp_request q = engine_request(ids, 60, 2);

    rig_tokens(ids, 60, N_VOCAB, 9);
    run_one(&r, &rec, &q);
    q.n_predict = -1;
    q.embed = &last;
    run_one(&r, &rec, &q);
    cr_expect_eq(rec.n_cached, 59);
    cr_expect_eq(rec.n_embedding, ENGINE_EMBD);
    q.embed = &mean;
    run_one(&r, &rec, &q);
    cr_expect_eq(rec.n_cached, 0);
    cr_expect_eq(rec.n_embedding, ENGINE_EMBD);
    engine_rig_close(&r);
}

/* The sequence of an embedding is taken before that of a text. */
Test(engine_embed, texts_keep_their_sequences)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 8);
    tlp_embed_options e = TLP_EMBED_OPTIONS_INIT;
    engine_record rec;
    int32_t text[40], other[40];
    tlp_request q = engine_request(text, 40, 3);
    tlp_request embed = engine_request(other, 40, 0);

    rig_tokens(text, 40, N_VOCAB, 1);
    run_one(&r, &rec, &q);
    embed.embed = &e;
    for (uint64_t i = 0; i < 5; i++) {
        rig_tokens(other, 40, N_VOCAB, 100 + i);
        run_one(&r, &rec, &embed);
    }
    run_one(&r, &rec, &q);
    cr_expect_eq(rec.n_cached, 39);
    engine_rig_close(&r);
}

/* ==== failures =========================================================== */

Test(engine_embed, refused)
{
    engine_rig r = engine_rig_small("serial", 1, 4, 8);
    tlp_embed_options e = { sizeof e, 7, 0 };
    uint64_t id = 1;
    const int32_t ids[4] = { 1, 2, 3, 4 };
    tlp_request q = engine_request(ids, 4, 0);

    q.embed = &e;
    CHECK_FAILS(TLP_EINVAL, tlp_engine_submit(&id, r.engine, &q));
    cr_expect_eq(id, 0);
    e.pooling = 0;
    e.no_normalize = -1;
    CHECK_FAILS(TLP_EINVAL, tlp_engine_submit(&id, r.engine, &q));
    e.no_normalize = 0;
    q.n_predict = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_engine_submit(&id, r.engine, &q));
    q.n_predict = -1;
    q.n_choice = 2;
    CHECK_FAILS(TLP_EINVAL, tlp_engine_submit(&id, r.engine, &q));
    q.n_choice = 1;
    CHECK_OK(tlp_engine_submit(&id, r.engine, &q));
    engine_rig_close(&r); /* a request that waits is freed */
}

/* A state with inf ends its request alone. */
Test(engine_embed, states_that_are_no_numbers)
{
    tiny_spec spec = tiny_default();
    tlp_embed_options e = TLP_EMBED_OPTIONS_INIT;
    engine_rig r = { 0 };
    engine_record rec[2], *list[2] = { &rec[0], &rec[1] };
    const int32_t ids[4] = { 1, 2, 3, 4 };
    tlp_request q = engine_request(ids, 4, -1);

    spec.type = TLPI_F32;
    r.model = rig_open_changeable(tiny_make(&spec));
    ((float *)(uintptr_t)r.model->w.t[TLPI_OUTPUT_NORM]->data)[5] = INFINITY;
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "serial"));
    CHECK_OK(tlp_engine_create(&r.engine, r.plan, NULL));
    engine_submit(&rec[0], r.engine, &q);
    q.embed = &e;
    engine_submit(&rec[1], r.engine, &q);
    engine_finish(r.engine, list, 2, true);
    cr_expect_eq(rec[0].choice[0].stop_reason, TLP_STOP_LENGTH);
    cr_expect_eq(rec[1].choice[0].stop_reason, TLP_STOP_ERROR);
    cr_expect_eq(rec[1].choice[0].status, TLP_ERROR);
    cr_expect_eq(rec[1].n_embedding, 0);
    cr_expect(strstr(rec[1].choice[0].error, "position 3: the state"), "%s",
              rec[1].choice[0].error);
    engine_rig_close(&r);
}

/* ==== sequences ========================================================== */

static tlp_slot slot_of(const engine_rig *r, int32_t seq)
{
    tlp_slot s = { .struct_size = sizeof s };

    CHECK_OK(tlp_engine_get_slot(&s, r->engine, seq));
    return s;
}

Test(engine_embed, slots)
{
    engine_rig r = engine_rig_small("serial", 1, 2, 8);
    engine_record rec;
    int32_t ids[40];
    tlp_request q = engine_request(ids, 40, 3);
    tlp_slot s = slot_of(&r, 1);

    cr_expect(s.request == 0 && s.choice == -1 && s.n_held == 0);
    rig_tokens(ids, 40, N_VOCAB, 1);
    engine_submit(&rec, r.engine, &q);
    engine_step(r.engine); /* 32 tokens, n_batch */
    s = slot_of(&r, 0);
    cr_expect_eq(s.request, rec.id);
    cr_expect(s.choice == 0 && s.n_held == 32 && s.n_prompt == 40);
    cr_expect(s.n_done == 32 && s.n_cached == 0 && s.n_generated == 0);
    engine_step(r.engine);
    s = slot_of(&r, 0);
    cr_expect(s.n_done == 40 && s.n_generated == 1);
    tlp_engine_cancel(r.engine, rec.id);
    engine_step(r.engine);
    s = slot_of(&r, 0);
    cr_expect(s.request == 0 && s.choice == -1 && s.n_held == 40);
    CHECK_FAILS(TLP_EINVAL, tlp_engine_get_slot(&s, r.engine, 2));
    CHECK_FAILS(TLP_EINVAL, tlp_engine_get_slot(&s, r.engine, -1));
    CHECK_FAILS(TLP_EINVAL, tlp_engine_get_slot(NULL, r.engine, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_engine_get_slot(&s, NULL, 0));
    engine_rig_close(&r);
}
