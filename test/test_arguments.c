/*
 * test_arguments.c - every argument is checked before work begins: each public
 * function with each kind of bad argument gives its status at once, and changes
 * nothing: no position, no row, no out-parameter, no callback is called.
 */
#include <stdlib.h>
#include <string.h>

#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_eval.h"
#include "tlp_tune.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define N_VOCAB 288

static const char *path;
static rig r;
static tlp_task *task;
static tlp_sampler *sampler;
static tlp_stream *stream;
static int n_called; /* callbacks */

static const char *task_file(void)
{
    static const char line[] =
        "{\"query\": \"ab\", \"choices\": [\"b\", \"c\"], \"gold\": 0}";
    const char *file = tiny_path("arguments.jsonl");

    tool_write_file(file, line, sizeof line - 1);
    return file;
}

static void open_rig(void)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(2, 1);
    const int32_t ids[3] = { 97, 98, 99 };

    path = tiny_make(&spec);
    o.n_seq = 2;
    r = rig_open(path, "par:1-2,3-4", &o);
    CHECK_OK(tlp_task_load(&task, r.model, task_file(), NULL));
    CHECK_OK(tlp_sampler_create(&sampler, r.model, NULL));
    CHECK_OK(tlp_stream_create(&stream, r.model, NULL, 0, 0));
    CHECK_OK(tlp_session_prefill(r.session, ids, 3));
    n_called = 0;
}

static void close_rig(void)
{
    tlp_stream_free(stream);
    tlp_sampler_free(sampler);
    tlp_task_free(task);
    rig_close(&r);
}

TestSuite(arguments, .init = open_rig, .fini = close_rig, .timeout = 120);

static int on_progress(double done, void *user_data)
{
    (void)done;
    (void)user_data;
    n_called++;
    return 0;
}

static int on_text(const char *text, size_t len, void *user_data)
{
    (void)text;
    (void)len;
    (void)user_data;
    n_called++;
    return 0;
}

static void on_point(const tlp_plan_point *p, void *user_data)
{
    (void)p;
    (void)user_data;
    n_called++;
}

/* The call failed with a text, and the rig is as it was. */
static void expect_untouched(tlp_status want, tlp_status st, const char *call)
{
    tlp_session_stats stats = { .struct_size = sizeof stats };

    cr_assert_eq(st, want, "%s: %s expected, %s found: %s", call,
                 tlp_status_name(want), tlp_status_name(st), tlp_last_error());
    cr_assert(tlp_last_error()[0], "%s: no text", call);
    cr_assert_eq(n_called, 0, "%s: a callback was called", call);
    cr_assert_eq(tlp_session_pos(r.session, 0), 3, "%s moved sequence 0", call);
    cr_assert_eq(tlp_session_pos(r.session, 1), 0, "%s moved sequence 1", call);
    cr_assert_eq(tlp_session_n_logits(r.session), 1, "%s: rows", call);
    CHECK_OK(tlp_session_get_stats(&stats, r.session));
    cr_assert_eq(stats.n_step, 1, "%s evaluated something", call);
}

#define REFUSED(want, call) expect_untouched(want, call, #call)
#define INVALID(call) REFUSED(TLP_EINVAL, call)

/* ==== results of a wrong size ============================================ */

/* Each size with which a caller forgot struct_size. */
static const size_t wrong_sizes[] = { 0, 1, 7, 1 << 20, SIZE_MAX };

static int32_t tokens[64];

static const tlp_link some_link = { .struct_size = sizeof some_link,
                                    .n_rank = 2 };

/* A call that fills `out`; all else is right. */
#define CALL(name, expr)                                                       \
    static tlp_status call_##name(void *out)                                   \
    {                                                                          \
        return expr;                                                           \
    }

CALL(info, tlp_model_get_info(out, r.model))
CALL(tensor, tlp_model_get_tensor(out, r.model, 0))
CALL(cost, tlp_plan_get_cost(out, r.plan, 2))
CALL(stage, tlp_plan_get_stage(out, r.plan, 0))
CALL(need, tlp_session_need(out, r.plan, NULL, -1))
CALL(stats, tlp_session_get_stats(out, r.session))
static tlp_status call_generate(void *out)
{
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;

    o.n_predict = 3;
    o.text = on_text;
    return tlp_session_generate(out, r.session, sampler, &o);
}
static tlp_status call_quantize(void *out)
{
    const char *file = tiny_path("never.gguf");
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;

    o.progress = on_progress;
    tlp_status st = tlp_model_quantize(out, r.model, file, "Q8_0", &o);
    cr_assert(!tool_exists(file), "the file was written");
    return st;
}
CALL(get_adjust, tlp_plan_get_adjust(out, r.plan))
static tlp_status call_adjust(void *out)
{
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_session_options so = rig_f32(1, 1);
    tlp_plan *plan = r.plan;

    so.n_ctx = 16;
    o.session = &so;
    o.gains = 1;
    o.progress = on_progress;
    tlp_status st = tlp_plan_adjust(&plan, out, r.plan, tokens, 64, &o);
    cr_assert_null(plan);
    return st;
}
CALL(measure, tlp_session_measure(out, NULL, r.session))
CALL(predict, tlp_plan_predict(out, r.plan, &some_link, 2, 1, 0))
static tlp_status call_compare(void *out)
{
    const float row[2] = { 1, 2 };

    return tlp_logits_compare(out, row, row, 2);
}
CALL(task_info, tlp_task_get_info(out, task))
CALL(item, tlp_task_get_item(out, task, 0))
CALL(answer, tlp_task_answer(out, NULL, task, 0, r.session))
CALL(drill, tlp_drill_get(out, 0, 1, 1))

static const struct {
    const char *name;
    tlp_status (*call)(void *out);
} results[] = {
    { "model_info", call_info },
    { "tensor_info", call_tensor },
    { "plan_cost", call_cost },
    { "stage_info", call_stage },
    { "need", call_need },
    { "stats", call_stats },
    { "generate", call_generate },
    { "quantize", call_quantize },
    { "adjust_info", call_get_adjust },
    { "adjust", call_adjust },
    { "link", call_measure },
    { "prediction", call_predict },
    { "divergence", call_compare },
    { "task_info", call_task_info },
    { "item", call_item },
    { "answer", call_answer },
    { "drill", call_drill },
};

Test(arguments, results_of_a_wrong_size)
{
    for (int i = 0; i < COUNT(results); i++)
        for (int k = 0; k < COUNT(wrong_sizes); k++) {
            static char out[4096];

            memset(out, 0x5a, sizeof out);
            memcpy(out, &wrong_sizes[k], sizeof(size_t));
            expect_untouched(TLP_EINVAL, results[i].call(out), results[i].name);
            for (size_t b = sizeof(size_t); b < sizeof out; b++)
                cr_assert_eq(out[b], 0x5a, "%s wrote byte %zu", results[i].name,
                             b);
        }
}

/* All but stats, generate and adjust need their out. */
Test(arguments, no_result)
{
    for (int i = 0; i < COUNT(results); i++)
        if (strcmp(results[i].name, "generate") != 0 &&
            strcmp(results[i].name, "quantize") != 0 &&
            strcmp(results[i].name, "adjust") != 0)
            expect_untouched(TLP_EINVAL, results[i].call(NULL),
                             results[i].name);
}

/* ==== flags ============================================================== */

/* Each field that is a flag, with the values that are none. */
Test(arguments, flags)
{
    static const int32_t values[] = { -1, 2, 3, 7, INT32_MIN, INT32_MAX };
    tlp_model *model = r.model;
    tlp_session *session = r.session;
    tlp_task *loaded = task;
    tlp_plan *plan = r.plan;
    const tlp_chat_message message = { "user", "a" };
    char text[64];
    size_t n = 9;

    for (int i = 0; i < COUNT(values); i++) {
        int32_t v = values[i];
        tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
        tlp_session_options so = TLP_SESSION_OPTIONS_INIT;
        tlp_generate_options go = TLP_GENERATE_OPTIONS_INIT;
        tlp_quantize_options qo = TLP_QUANTIZE_OPTIONS_INIT;
        tlp_plan_adjust_options ao = TLP_PLAN_ADJUST_OPTIONS_INIT;
        tlp_task_options to = TLP_TASK_OPTIONS_INIT;

        mo.progress = so.progress = qo.progress = ao.progress = on_progress;
        mo.no_mmap = v;
        INVALID(tlp_model_open(&model, path, &mo));
        cr_assert_null(model);
        cr_assert(strstr(tlp_last_error(), "no_mmap"), "%s", tlp_last_error());
        mo.no_mmap = 0;
        mo.vocab_only = v;
        INVALID(tlp_model_open(&model, path, &mo));
        mo.vocab_only = 0;
        mo.trust_sample = v;
        INVALID(tlp_model_open(&model, path, &mo));
        INVALID(
            tlp_chat_render(text, sizeof text, &n, r.model, &message, 1,
                            &(tlp_chat_options){ sizeof(tlp_chat_options),
                                                 .add_generation_prompt = v }));
        so.pin = v;
        INVALID(tlp_session_create(&session, r.plan, &so));
        cr_assert_null(session);
        go.ignore_end = v;
        INVALID(tlp_session_generate(NULL, r.session, NULL, &go));
        go.ignore_end = 0;
        go.keep_window = v;
        INVALID(tlp_session_generate(NULL, r.session, NULL, &go));
        qo.pure = v;
        INVALID(tlp_model_quantize(NULL, r.model, tiny_path("no.gguf"), "Q8_0",
                                   &qo));
        ao.rank = 4;
        ao.gains = v;
        INVALID(tlp_plan_adjust(&plan, NULL, r.plan, tokens, 64, &ao));
        ao.gains = 0;
        ao.norms = v;
        INVALID(tlp_plan_adjust(&plan, NULL, r.plan, tokens, 64, &ao));
        cr_assert_null(plan);
        to.bos = v;
        INVALID(tlp_task_load(&loaded, r.model, path, &to));
        cr_assert_null(loaded);
        INVALID(
            tlp_chat_format(text, sizeof text, &n, r.model, &message, 1, v));
        cr_assert_eq(n, 0);
    }
}

Test(arguments, wanted_logits)
{
    uint8_t want[3] = { 1, 0, 1 };
    tlp_batch b = { sizeof b, 3, tokens, NULL, want };

    for (int v = 2; v < 256; v++) {
        want[1] = (uint8_t)v;
        INVALID(tlp_session_eval(r.session, &b));
    }
}

/* ==== tokens ============================================================= */

/* Behind the array there are no 2^40 tokens: reading on would end the test. */
Test(arguments, too_many_tokens_are_not_read)
{
    const int32_t one = 97, seq = 0;
    const int32_t *beyond = &one;
    tlp_batch b = { sizeof b, (size_t)1 << 40, beyond, NULL, NULL };
    float lp;

    REFUSED(TLP_EFULL, tlp_session_prefill(r.session, beyond, (size_t)1 << 40));
    REFUSED(TLP_EFULL, tlp_session_prefill(r.session, beyond, SIZE_MAX));
    REFUSED(TLP_EFULL, tlp_session_eval(r.session, &b));
    b.seqs = &seq;
    REFUSED(TLP_EFULL, tlp_session_eval(r.session, &b));
    REFUSED(TLP_EFULL,
            tlp_session_score(&lp, r.session, 1, beyond, (size_t)1 << 40));
}

Test(arguments, ids_out_of_range)
{
    static const int32_t bad[] = { -1, N_VOCAB, INT32_MIN, INT32_MAX };

    for (int i = 0; i < COUNT(bad); i++) {
        const int32_t ids[2] = { 97, bad[i] };
        tlp_batch b = { sizeof b, 2, ids, NULL, NULL };
        tlp_plan_make_options mo = TLP_PLAN_MAKE_OPTIONS_INIT;
        tlp_plan_adjust_options ao = TLP_PLAN_ADJUST_OPTIONS_INIT;
        tlp_plan *plan = r.plan;
        const char *text = "x";
        float lp[2];
        char buf[16];
        size_t n = 5;
        int stopped = 5;

        INVALID(tlp_session_prefill(r.session, ids, 2));
        INVALID(tlp_session_decode(r.session, bad[i]));
        INVALID(tlp_session_eval(r.session, &b));
        INVALID(tlp_session_score(lp, r.session, 1, ids, 2));
        INVALID(tlp_detokenize(buf, sizeof buf, &n, r.model, ids, 2, 0));
        cr_assert_eq(n, 0);
        INVALID(tlp_stream_push(&text, &n, &stopped, stream, bad[i]));
        mo.depth = 4;
        mo.progress = ao.progress = on_progress;
        mo.point = on_point;
        INVALID(tlp_plan_make(&plan, r.model, ids, 2, &mo));
        cr_assert_null(plan);
        ao.gains = 1;
        INVALID(tlp_plan_adjust(&plan, NULL, r.plan, ids, 2, &ao));
    }
}

/* ==== numbers out of range =============================================== */

Test(arguments, sequences_and_rows)
{
    static const int32_t bad[] = { -1, 2, INT32_MIN, INT32_MAX };
    const float *row = (const float *)(void *)&r;
    int32_t id = 7, seq = 7, pos = 7;
    size_t found = 7;

    for (int i = 0; i < COUNT(bad); i++) {
        const int32_t seqs[1] = { bad[i] };
        tlp_batch b = { sizeof b, 1, tokens, seqs, NULL };
        tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
        float lp;

        o.seq = bad[i];
        o.text = on_text;
        INVALID(tlp_session_eval(r.session, &b));
        INVALID(tlp_session_score(&lp, r.session, bad[i], tokens, 1));
        INVALID(tlp_session_rewind(r.session, bad[i], 0));
        INVALID(tlp_session_clear(r.session, bad[i]));
        INVALID(tlp_session_fork(r.session, bad[i], 0));
        INVALID(tlp_session_fork(r.session, 0, bad[i]));
        INVALID(tlp_session_generate(NULL, r.session, NULL, &o));
        INVALID(tlp_session_find_row(&found, r.session, bad[i]));
        cr_assert_eq(tlp_session_pos(r.session, bad[i]), -1);
    }
    INVALID(tlp_session_rewind(r.session, 0, 4));
    INVALID(tlp_session_rewind(r.session, 0, -1));
    for (size_t i = 1; i < 4; i++) {
        size_t at = i == 3 ? SIZE_MAX : i;

        INVALID(tlp_session_logits(&row, r.session, at));
        cr_assert_null(row);
        INVALID(tlp_session_sample(&id, r.session, at, sampler));
        cr_assert_eq(id, -1);
        INVALID(tlp_session_get_place(&seq, &pos, r.session, at));
        cr_assert(seq == -1 && pos == -1);
    }
}

Test(arguments, options_out_of_range)
{
    const tlp_session_options bad[] = {
        { .n_ctx = -1 },
        { .n_ctx = (1 << 20) + 1 },
        { .n_seq = -1 },
        { .n_seq = 4097 },
        { .n_batch = -1 },
        { .n_batch = 16385 },
        { .n_rank = -1 },
        { .n_rank = 65 },
        { .n_thread = -1 },
        { .n_thread = 257 },
        { .compute = -1 },
        { .compute = 2 },
        { .kv_type = -1 },
        { .kv_type = 5 },
        { .isa = -1 },
        { .isa = 5 },
        { .timeout_ms = -1 },
        { .wire = -1 },
        { .wire = 3 },
        { .n_device = 65 },
        { .n_device = 1 },
        { .link_delay_us = -1 },
        { .link_delay_us = 1000001 },
        { .n_row = (1 << 20) + 1 },
        { .n_row = SIZE_MAX },
    };

    for (int i = 0; i < COUNT(bad); i++) {
        tlp_session_options o = bad[i];
        tlp_session *session = r.session;
        tlp_need need = { .struct_size = sizeof need };
        int32_t rank = 7, n_rank = 7;

        o.struct_size = sizeof o;
        o.progress = on_progress;
        INVALID(tlp_session_create(&session, r.plan, &o));
        cr_assert_null(session, "case %d", i);
        INVALID(tlp_session_need(&need, r.plan, &o, -1));
        INVALID(tlp_comm_rank(&rank, &n_rank, &o));
        INVALID(tlp_worker_run(r.model, NULL, &o));
    }
    tlp_need need = { .struct_size = sizeof need };
    INVALID(tlp_session_need(&need, r.plan, NULL, -2));
    INVALID(tlp_session_need(&need, r.plan, NULL, 1));
    INVALID(tlp_session_need(&need, NULL, NULL, 0));
}

/* A search that would need a link looks at it first. */
Test(arguments, links)
{
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;
    tlp_plan *plan = r.plan;
    tlp_link link = some_link;

    o.progress = on_progress;
    o.point = on_point;
    o.speedup = 1.1;
    o.link = &link;
    link.struct_size = 0;
    INVALID(tlp_plan_make(&plan, r.model, tokens, 64, &o));
    link.struct_size = sizeof link;
    tlp_status st = tlp_plan_make(&plan, r.model, tokens, 64, &o);
    cr_assert(st == TLP_EINVAL || st == TLP_EMISMATCH);
    REFUSED(st, tlp_plan_make(&plan, r.model, tokens, 64, &o));
}

/* ==== another model ====================================================== */

Test(arguments, another_models_session)
{
    tiny_spec spec = tiny_default();
    tlp_model *other = NULL;
    tlp_sampler *foreign = NULL;
    tlp_drill d = { .struct_size = sizeof d };
    tlp_answer a = { .struct_size = sizeof a };
    tlp_task *foreign_task = NULL;
    int32_t exact = 0, id = 7;

    spec.n_vocab = 300;
    CHECK_OK(tlp_model_open(&other, tiny_make(&spec), NULL));
    CHECK_OK(tlp_sampler_create(&foreign, other, NULL));
    CHECK_OK(tlp_task_load(&foreign_task, other, task_file(), NULL));
    CHECK_OK(tlp_drill_get(&d, 0, 1, 1));
    REFUSED(TLP_EMISMATCH, tlp_session_sample(&id, r.session, 0, foreign));
    REFUSED(TLP_EMISMATCH,
            tlp_session_generate(NULL, r.session, foreign, NULL));
    REFUSED(TLP_EMISMATCH, tlp_drill_run(&exact, &d, other, r.session));
    REFUSED(TLP_EMISMATCH,
            tlp_task_answer(&a, NULL, foreign_task, 0, r.session));
    REFUSED(TLP_EFULL, tlp_drill_run(&exact, &d, r.model, r.session));
    tlp_task_free(foreign_task);
    tlp_sampler_free(foreign);
    tlp_model_free(other);
}
