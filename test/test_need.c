/*
 * test_need.c - the memory of a session, told beforehand: equal to the memory
 * that the session then reports, and near to what it takes from the allocator;
 * what a failure says about the memory that was missing.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/counted.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(need, .timeout = 120);

typedef struct setting {
    const char *plan;
    tlpi_dtype type;
    int n_rank, n_seq, n_ctx, n_batch, kv_type, compute, isa;
    size_t n_row;
    const char *arch; /* NULL: llama */
} setting;

static tlp_session_options options_of(const setting *s)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.n_ctx = s->n_ctx;
    o.n_seq = s->n_seq;
    o.n_batch = s->n_batch;
    o.n_rank = s->n_rank;
    o.n_thread = 1;
    o.kv_type = s->kv_type;
    o.compute = s->compute;
    o.isa = s->isa;
    o.n_row = s->n_row;
    return o;
}

static tlp_need need_of(tlp_plan *plan, const tlp_session_options *o, int rank)
{
    tlp_need need = { .struct_size = sizeof need };

    CHECK_OK(tlp_session_need(&need, plan, o, rank));
    return need;
}

static uint64_t total(const tlp_need *n)
{
    return n->weight_bytes + n->kv_bytes + n->buffer_bytes;
}

/* The sum over the ranks is the whole, and the session reports the whole. */
static void expect_need(const setting *s, tlp_plan *plan, mem *m, int number)
{
    tlp_session_options o = options_of(s);
    tlp_session_stats stats = { .struct_size = sizeof stats };
    tlp_need all = need_of(plan, &o, -1), sum = { 0 };
    tlp_session *session = NULL;
    size_t before = atomic_load(&m->bytes);

    cr_assert_eq(all.n_rank, s->n_rank);
    for (int r = 0; r < s->n_rank; r++) {
        tlp_need one = need_of(plan, &o, r);

        sum.weight_bytes += one.weight_bytes;
        sum.kv_bytes += one.kv_bytes;
        sum.buffer_bytes += one.buffer_bytes;
    }
    cr_assert_eq(total(&sum), total(&all));
    o.kv_alloc = TLP_KV_AHEAD;
    CHECK_OK(tlp_session_create(&session, plan, &o));
    CHECK_OK(tlp_session_get_stats(&stats, session));
    cr_assert(stats.weight_bytes == all.weight_bytes &&
                  stats.kv_bytes == all.kv_bytes &&
                  stats.kv_most_bytes == all.kv_bytes &&
                  stats.buffer_bytes == all.buffer_bytes,
              "setting %d: weights %lu of %lu, cache %lu of %lu, buffers %lu "
              "of %lu",
              number, all.weight_bytes, stats.weight_bytes, all.kv_bytes,
              stats.kv_bytes, all.buffer_bytes, stats.buffer_bytes);
    /* Weights of 64 MB slabs, tables, threads. */
    double taken = (double)(atomic_load(&m->bytes) - before);
    cr_assert(taken > 0.8 * (double)(all.kv_bytes + all.buffer_bytes),
              "setting %d: %.0f taken, %.0f told", number, taken,
              (double)total(&all));
    tlp_session_free(session);
}

Test(need, equals_what_a_session_reports)
{
    static const setting settings[] = {
        { "serial", TLPI_Q4_0, 1, 1, 64, 0, 0, 0, 0, 0, NULL },
        { "serial", TLPI_F32, 1, 2, 33, 7, TLP_KV_F32, 1, 0, 0, NULL },
        { "par:1-2", TLPI_Q8_0, 2, 3, 100, 16, TLP_KV_F16, 0, 0, 0, NULL },
        { "asym:0-2", TLPI_BF16, 2, 1, 64, 0, TLP_KV_BF16, 0, 0, 40, NULL },
        { "lp:1-2", TLPI_F16, 3, 1, 64, 0, TLP_KV_Q8_0, 0, 0, 200, NULL },
        { "par:1-2,3-4", TLPI_Q6_K, 2, 1, 17, 5, TLP_KV_Q8_0, 0, 0, 0, NULL },
        { "merge:1-2;drop:4", TLPI_Q4_1, 2, 1, 64, 0, 0, 0, 0, 0, NULL },
        { "serial", TLPI_Q4_K, 2, 1, 64, 0, 0, 0, TLP_ISA_SCALAR, 0, NULL },
        { "par:1-2", TLPI_F32, 3, 1, 64, 0, 0, 1, TLP_ISA_SCALAR, 33, NULL },
        { "par:1-2", TLPI_Q4_K, 3, 1, 64, 0, 0, 0, 0, 0, "qwen3moe" },
        { "lp:1-2", TLPI_Q8_0, 2, 1, 64, 9, 0, 0, TLP_ISA_SCALAR, 0,
          "qwen3moe" },
        { "lp:1-2", TLPI_MXFP4, 3, 1, 64, 0, 0, 0, 0, 0, "gpt-oss" },
        { "par:1-2", TLPI_F32, 2, 2, 33, 7, TLP_KV_F32, 1, 0, 0, "gpt-oss" },
    };

    for (int i = 0; i < COUNT(settings); i++) {
        tiny_spec spec = tiny_default();
        tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
        tlp_model *model = NULL;
        tlp_plan *plan = NULL;
        mem m = { 0 };

        spec.type = settings[i].type;
        spec.arch = settings[i].arch ? settings[i].arch : spec.arch;
        if (spec.type == TLPI_Q6_K || spec.type == TLPI_Q4_K)
            spec.n_embd = spec.n_ff = 256;
        mo.allocator = mem_hooks(&m);
        CHECK_OK(tlp_model_open(&model, tiny_make(&spec), &mo));
        CHECK_OK(tlp_plan_parse(&plan, model, settings[i].plan));
        expect_need(&settings[i], plan, &m, i);
        tlp_plan_free(plan);
        tlp_model_free(model);
        cr_assert_eq(atomic_load(&m.live), 0);
    }
}

/* Without weights being read or threads being started. */
Test(need, costs_little)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    mem m = { 0 };

    mo.allocator = mem_hooks(&m);
    CHECK_OK(tlp_model_open(&model, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&plan, model, "serial"));
    size_t before = atomic_load(&m.bytes);
    m.budget = before + 200000;
    o.n_ctx = 1 << 20;
    o.n_seq = 4096;
    o.n_rank = 4;
    tlp_need all = need_of(plan, &o, -1);
    cr_assert_gt(all.kv_bytes, (uint64_t)1 << 40);
    cr_assert_eq(atomic_load(&m.bytes), before, "memory was kept");
    tlp_plan_free(plan);
    tlp_model_free(model);
}

/* ==== what was missing =================================================== */

static bool has_number(const char *text)
{
    return strpbrk(text, "123456789") != NULL;
}

/* In run n the n-th allocation fails: the text names bytes and a purpose. */
Test(need, texts_say_how_much_for_what)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(1, 1);
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_status st = TLP_ENOMEM;
    mem m = { 0 };
    int n_failed = 0;

    mo.allocator = mem_hooks(&m);
    CHECK_OK(tlp_model_open(&model, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2"));
    while (st != TLP_OK) {
        m.fail_at = atomic_load(&m.calls) + ++n_failed;
        st = tlp_session_create(&session, plan, &o);
        const char *text = tlp_last_error();
        cr_assert(st == TLP_OK || st == TLP_ENOMEM);
        if (st != TLP_OK)
            cr_assert(strstr(text, "out of memory: ") && has_number(text) &&
                          (strstr(text, " bytes for ") ||
                           strstr(text, ": out of memory")),
                      "allocation %d: \"%s\"", n_failed, text);
    }
    cr_assert_gt(n_failed, 50);
    m.fail_at = 0;
    tlp_session_free(session);

    tlp_sampler *sampler = NULL;
    for (int i = 1; i <= 4; i++) {
        m.fail_at = atomic_load(&m.calls) + i;
        CHECK_FAILS(TLP_ENOMEM, tlp_sampler_create(&sampler, model, NULL));
        cr_assert(strstr(tlp_last_error(), " bytes for a sampler"), "%s",
                  tlp_last_error());
    }
    m.fail_at = 0;
    tlp_plan_free(plan);
    tlp_model_free(model);
}

/* An evaluation that keeps many rows: the rows are the purpose, and the session
 * goes on. */
Test(need, rows_that_do_not_fit)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    int32_t ids[60];
    uint8_t all[60];
    tlp_batch b = { sizeof b, 60, ids, NULL, all };
    mem m = { 0 };

    memset(all, 1, sizeof all);
    rig_tokens(ids, 60, 288, 1);
    rig r = counted_open(&m, tiny_make(&spec), "par:1-2", &o);
    tlp_session *s = r.session;
    for (int i = 1; i <= 5; i++) {
        m.fail_at = atomic_load(&m.calls) + i;
        CHECK_FAILS(TLP_ENOMEM, tlp_session_eval(s, &b));
        cr_assert(strstr(tlp_last_error(), "60 rows of logits"), "%s",
                  tlp_last_error());
        cr_assert_eq(tlp_session_pos(s, 0), 0);
        m.fail_at = 0;
        CHECK_OK(tlp_session_decode(s, 1));
        CHECK_OK(tlp_session_clear(s, 0));
    }
    size_t before = counted_bytes(&r, &m);
    CHECK_OK(tlp_session_eval(s, &b));
    cr_assert_gt(atomic_load(&m.bytes), before + (size_t)2 * 40 * 288 * 4);
    CHECK_OK(tlp_session_decode(s, 1));
    CHECK_OK(tlp_session_clear(s, 0)); /* its page too */
    cr_assert_eq(counted_bytes(&r, &m), before, "the room was kept");
    rig_close(&r);
}
