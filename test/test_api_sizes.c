/*
 * test_api_sizes.c - what crosses the public border by size: structs of older
 * and newer headers, texts and ids into buffers of every capacity.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_eval.h"
#include "tlp_tune.h"

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

TestSuite(api_sizes, .init = open_rig, .fini = close_rig, .timeout = 120);

/* ==== sizes of structs =================================================== */

/* A struct of the caller's, with room behind it for a newer header's fields. */
typedef union big {
    size_t struct_size;
    char bytes[1024];
} big;

typedef struct option_case {
    const char *name;
    size_t size;
    tlp_status (*call)(const void *opts);
} option_case;

static tlp_status call_model(const void *o)
{
    tlp_model *m = NULL;
    tlp_status st = tlp_model_open(&m, path, o);

    tlp_model_free(m);
    return st;
}

static tlp_status call_session(const void *o)
{
    tlp_session *s = NULL;
    tlp_status st = tlp_session_create(&s, r.plan, o);

    tlp_session_free(s);
    return st;
}

static tlp_status call_sampler(const void *o)
{
    tlp_sampler *s = NULL;
    tlp_status st = tlp_sampler_create(&s, r.model, o);

    tlp_sampler_free(s);
    return st;
}

static tlp_status call_generate(const void *o)
{
    CHECK_OK(tlp_session_clear(r.session, 0));
    CHECK_OK(tlp_session_decode(r.session, 1));
    return tlp_session_generate(NULL, r.session, NULL, o);
}

static tlp_status call_task(const void *o)
{
    static const char line[] =
        "{\"query\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 0}";
    const char *file = tiny_path("task.jsonl");
    tlp_task *t = NULL;

    tool_write_file(file, line, sizeof line - 1);
    tlp_status st = tlp_task_load(&t, r.model, file, o);
    tlp_task_free(t);
    return st;
}

static tlp_status call_quantize(const void *o)
{
    return tlp_model_quantize(NULL, r.model, tiny_path("out.gguf"), "Q8_0", o);
}

static tlp_status call_imatrix(const void *o)
{
    static const int32_t ids[] = { 1, 2, 3 };

    return tlp_model_imatrix(NULL, r.model, tiny_path("im.gguf"), ids, 3, o);
}

static const option_case options[] = {
    { "model", sizeof(tlp_model_options), call_model },
    { "session", sizeof(tlp_session_options), call_session },
    { "sampler", sizeof(tlp_sampler_options), call_sampler },
    { "generate", sizeof(tlp_generate_options), call_generate },
    { "task", sizeof(tlp_task_options), call_task },
    { "quantize", sizeof(tlp_quantize_options), call_quantize },
    { "imatrix", sizeof(tlp_imatrix_options), call_imatrix },
};

Test(api_sizes, of_options)
{
    for (int i = 0; i < COUNT(options); i++) {
        const option_case *c = &options[i];
        big o = { 0 };

        CHECK_OK(c->call(NULL));
        o.struct_size = c->size;
        CHECK_OK(c->call(&o));
        o.struct_size = sizeof(size_t); /* an older header: all defaults */
        memset(o.bytes + sizeof(size_t), 0xee, sizeof o - sizeof(size_t));
        CHECK_OK(c->call(&o));
        memset(&o, 0, sizeof o);
        for (size_t size = 0; size < sizeof(size_t); size++) {
            o.struct_size = size;
            CHECK_FAILS(TLP_EINVAL, c->call(&o));
        }
        o.struct_size = SIZE_MAX;
        CHECK_FAILS(TLP_EINVAL, c->call(&o));
        o.struct_size = c->size + 64; /* a newer header: not used */
        CHECK_OK(c->call(&o));
        o.bytes[c->size + 63] = 1; /* and used */
        CHECK_FAILS(TLP_EABI, c->call(&o));
    }
}

/* A batch is an options struct too. */
Test(api_sizes, of_batches)
{
    int32_t id = 1;
    big o = { 0 };
    tlp_batch b = { sizeof b, 1, &id, NULL, NULL };

    memcpy(&o, &b, sizeof b);
    o.struct_size = sizeof b + 8;
    CHECK_OK(tlp_session_eval(r.session, (const tlp_batch *)(void *)&o));
    o.bytes[sizeof b] = 1;
    CHECK_FAILS(TLP_EABI,
                tlp_session_eval(r.session, (const tlp_batch *)(void *)&o));
    b.struct_size = 0;
    CHECK_FAILS(TLP_EINVAL, tlp_session_eval(r.session, &b));
    b.struct_size = offsetof(tlp_batch, seqs);
    b.seqs = (int32_t *)(void *)&r; /* past the end of what the caller knows */
    CHECK_OK(tlp_session_eval(r.session, &b));
    cr_assert_eq(tlp_session_pos(r.session, 0), 2);
}

typedef struct result_case {
    const char *name;
    size_t size;
    tlp_status (*call)(void *out);
} result_case;

static tlp_status get_info(void *o)
{
    return tlp_model_get_info(o, r.model);
}

static tlp_status get_tensor(void *o)
{
    return tlp_model_get_tensor(o, r.model, 0);
}

static tlp_status get_cost(void *o)
{
    return tlp_plan_get_cost(o, r.plan, 2);
}

static tlp_status predict(void *o)
{
    tlp_link link = { .struct_size = sizeof link, .n_rank = 1, .n_batch = 1 };

    link.decode.half = 1e-3;
    return tlp_plan_predict(o, r.plan, &link, 1, 1, 0);
}

static tlp_status get_stage(void *o)
{
    return tlp_plan_get_stage(o, r.plan, 1);
}

static tlp_status get_adjust(void *o)
{
    return tlp_plan_get_adjust(o, r.plan);
}

static tlp_status get_stats(void *o)
{
    return tlp_session_get_stats(o, r.session);
}

static tlp_status get_result(void *o)
{
    tlp_generate_options go = TLP_GENERATE_OPTIONS_INIT;

    go.n_predict = 2;
    go.ignore_end = 1;
    CHECK_OK(tlp_session_clear(r.session, 0));
    CHECK_OK(tlp_session_decode(r.session, 1));
    return tlp_session_generate(o, r.session, NULL, &go);
}

static tlp_status compare_rows(void *o)
{
    static const float a[3] = { 1, 2, 3 }, b[3] = { 3, 2, 1 };

    return tlp_logits_compare(o, a, b, 3);
}

static tlp_status get_drill(void *o)
{
    return tlp_drill_get(o, TLP_DRILL_ADD, 0, 0);
}

static tlp_status quantize(void *o)
{
    return tlp_model_quantize(o, r.model, tiny_path("out.gguf"), "Q8_0", NULL);
}

static tlp_status imatrix(void *o)
{
    static const int32_t ids[] = { 1, 2, 3 };

    return tlp_model_imatrix(o, r.model, tiny_path("im.gguf"), ids, 3, NULL);
}

static const result_case results[] = {
    { "model_info", sizeof(tlp_model_info), get_info },
    { "tensor_info", sizeof(tlp_tensor_info), get_tensor },
    { "plan_cost", sizeof(tlp_plan_cost), get_cost },
    { "prediction", sizeof(tlp_prediction), predict },
    { "stage_info", sizeof(tlp_stage_info), get_stage },
    { "plan_adjust_info", sizeof(tlp_plan_adjust_info), get_adjust },
    { "session_stats", sizeof(tlp_session_stats), get_stats },
    { "generate_result", sizeof(tlp_generate_result), get_result },
    { "divergence", sizeof(tlp_divergence), compare_rows },
    { "drill", sizeof(tlp_drill), get_drill },
    { "quantize_result", sizeof(tlp_quantize_result), quantize },
    { "imatrix_result", sizeof(tlp_imatrix_result), imatrix },
};

static bool all_bytes(const char *p, size_t n, char value)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != value)
            return false;
    return true;
}

Test(api_sizes, of_results)
{
    for (int i = 0; i < COUNT(results); i++) {
        const result_case *c = &results[i];
        big whole, part, o;

        memset(&whole, 0x5a, sizeof whole);
        whole.struct_size = c->size;
        CHECK_OK(c->call(&whole));
        cr_assert_eq(whole.struct_size, c->size);
        cr_assert(!all_bytes(whole.bytes + 8, 8, 0x5a), "%s: not filled",
                  c->name);
        cr_assert(
            all_bytes(whole.bytes + c->size, sizeof whole - c->size, 0x5a),
            "%s: wrote past the end", c->name);

        memset(&part, 0x5a, sizeof part); /* an older header */
        part.struct_size = sizeof(size_t) + 8;
        CHECK_OK(c->call(&part));
        cr_assert_eq(part.struct_size, sizeof(size_t) + 8);
        cr_assert_eq(memcmp(part.bytes + 8, whole.bytes + 8, 4), 0);
        cr_assert(all_bytes(part.bytes + 16, sizeof part - 16, 0x5a),
                  "%s: wrote past the end", c->name);

        memset(&o, 0x5a, sizeof o); /* a newer one: its fields are zero */
        o.struct_size = c->size + 40;
        CHECK_OK(c->call(&o));
        cr_assert_eq(o.struct_size, c->size + 40);
        cr_assert(all_bytes(o.bytes + c->size, 40, 0) &&
                      o.bytes[c->size + 40] == 0x5a,
                  "%s: the tail", c->name);
        o.struct_size = 0;
        CHECK_FAILS(TLP_EINVAL, c->call(&o));
        o.struct_size = 7;
        CHECK_FAILS(TLP_EINVAL, c->call(&o));
    }
}

/* ==== buffers ============================================================ */

typedef struct text_case {
    const char *name;
    tlp_status (*call)(char *buf, size_t cap, size_t *len);
} text_case;

static tlp_status put_meta(char *buf, size_t cap, size_t *len)
{
    return tlp_model_get_meta(buf, cap, len, r.model, "general.architecture");
}

static tlp_status put_array(char *buf, size_t cap, size_t *len)
{
    return tlp_model_get_meta(buf, cap, len, r.model, "tokenizer.ggml.tokens");
}

static tlp_status put_ids(char *buf, size_t cap, size_t *len)
{
    static const int32_t ids[] = { 'a', 'b', 256, 'c' };

    return tlp_detokenize(buf, cap, len, r.model, ids, 4, 0);
}

static tlp_status put_chat(char *buf, size_t cap, size_t *len)
{
    static const tlp_chat_message m[] = { { "user", "hi" } };

    return tlp_chat_format(buf, cap, len, r.model, m, 1, 1);
}

static tlp_status put_text_plan(char *buf, size_t cap, size_t *len)
{
    return tlp_plan_format(buf, cap, len, r.plan, TLP_PLAN_TEXT);
}

static tlp_status put_json_plan(char *buf, size_t cap, size_t *len)
{
    return tlp_plan_format(buf, cap, len, r.plan, TLP_PLAN_JSON);
}

static const text_case texts[] = {
    { "meta", put_meta },           { "array", put_array },
    { "detokenize", put_ids },      { "chat", put_chat },
    { "text plan", put_text_plan }, { "json plan", put_json_plan },
};

/* Every capacity from none to one too many. */
Test(api_sizes, text_buffers)
{
    for (int i = 0; i < COUNT(texts); i++) {
        const text_case *c = &texts[i];
        char whole[4096], buf[4096];
        size_t need = 0, len = 0;

        CHECK_FAILS(TLP_EBUFS, c->call(NULL, 0, &need));
        cr_assert(need > 0 && need < sizeof whole - 1, "%s: %zu", c->name,
                  need);
        CHECK_OK(c->call(whole, sizeof whole, &len));
        cr_assert(len == need && strlen(whole) == len, "%s", c->name);
        for (size_t cap = 0; cap <= need + 2; cap++) {
            memset(buf, 0x5a, sizeof buf);
            len = 0;
            tlp_status st = c->call(buf, cap, &len);
            cr_assert_eq(st, cap > need ? TLP_OK : TLP_EBUFS, "%s: cap %zu",
                         c->name, cap);
            cr_assert_eq(len, need);
            cr_assert(all_bytes(buf + cap, sizeof buf - cap, 0x5a),
                      "%s: wrote past %zu", c->name, cap);
            cr_assert(st != TLP_OK || strcmp(buf, whole) == 0);
        }
    }
}

Test(api_sizes, id_buffers)
{
    static const char text[] = "hello, the world";
    int32_t whole[32], ids[32];
    size_t need = 0, n = 0;

    CHECK_FAILS(TLP_EBUFS,
                tlp_tokenize(NULL, 0, &need, r.model, text, strlen(text), 0));
    CHECK_OK(tlp_tokenize(whole, 32, &n, r.model, text, strlen(text), 0));
    cr_assert(n == need && n > 2 && n < 31);
    for (size_t cap = 0; cap <= need + 1; cap++) {
        memset(ids, 0x5a, sizeof ids);
        n = 0;
        tlp_status st =
            tlp_tokenize(ids, cap, &n, r.model, text, strlen(text), 0);
        cr_assert_eq(st, cap >= need ? TLP_OK : TLP_EBUFS, "cap %zu", cap);
        cr_assert_eq(n, need);
        cr_assert(all_bytes((char *)(ids + cap), sizeof ids - cap * 4, 0x5a));
        cr_assert(st != TLP_OK || memcmp(ids, whole, need * 4) == 0);
    }
    CHECK_OK(tlp_tokenize(NULL, 0, &n, r.model, "", 0, 0)); /* nothing fits */
    cr_assert_eq(n, 0);
}
