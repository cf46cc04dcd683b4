/*
 * test_hello.c - the hello that ranks in several processes agree on: what
 * rank 0 writes is read, what does not fit is named, and nothing that a peer
 * may send does harm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group/handshake.h"
#include "model/digest.h"
#include "support/check.h"
#include "support/tiny.h"

#define CAP (TLPI_HELLO_BYTES + 1)

static tlp_model *model;
static tlp_plan *plan;
static const tlpi_session_config config = {
    .n_ctx = 64,
    .n_seq = 2,
    .n_batch = 32,
    .n_page = 2,
    .kv_ahead = true,
    .n_rank = 3,
    .wire = TLP_WIRE_BF16,
    .compute = TLP_COMPUTE_F32,
    .kv_type = TLP_KV_F32,
    .timeout_ms = 700,
};
static char wire_text[CAP];
static const char *digest; /* of the model */
static size_t n_text;

static void write_hello(void)
{
    tiny_spec spec = tiny_default();
    char json[4096];
    size_t len = 0;
    tlpi_hello hello;

    CHECK_OK(tlp_model_open(&model, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2"));
    CHECK_OK(tlp_plan_format(json, sizeof json, &len, plan, TLP_PLAN_JSON));
    CHECK_OK(tlpi_model_digest(model, &digest, NULL, NULL));
    tlpi_hello_init(&hello, model, digest, json, &config, 17);
    tlpi_text text = { .env = &model->env };
    tlpi_hello_write(&hello, &text);
    cr_assert(!text.failed && text.len < CAP);
    memcpy(wire_text, text.data, text.len + 1);
    n_text = text.len;
    tlpi_text_free(&text);
}

static void close_model(void)
{
    tlp_plan_free(plan);
    tlp_model_free(model);
}

TestSuite(hello, .init = write_hello, .fini = close_model, .timeout = 120);

/* The hello in a copy of the text, which it borrows. */
static tlp_status read_copy(tlpi_hello *hello, char copy[CAP], const char *text,
                            size_t n)
{
    memcpy(copy, text, n);
    return tlpi_hello_read(hello, copy, n);
}

/* The hello with the line of `key` changed. */
static size_t change(char *out, const char *key, const char *value)
{
    char line[64];

    snprintf(line, sizeof line, "\n%s ", key);
    const char *at = strstr(wire_text, line);
    cr_assert_not_null(at, "no line %s", key);
    size_t before = (size_t)(at - wire_text) + strlen(line);
    const char *rest = strchr(at + 1, '\n');
    cr_assert_not_null(rest);
    return (size_t)snprintf(out, CAP, "%.*s%s%s", (int)before, wire_text, value,
                            rest);
}

/* ==== what fits ========================================================== */

Test(hello, a_hello_is_read_as_it_was_written)
{
    static char copy[CAP];
    tlpi_hello hello;

    CHECK_OK(read_copy(&hello, copy, wire_text, n_text));
    cr_assert_eq(hello.protocol, TLPI_PROTOCOL);
    cr_assert_eq(hello.channel, 17);
    cr_assert_str_eq(hello.version, tlp_version_string());
    cr_assert_str_eq(hello.fingerprint, tlpi_model_fingerprint(model));
    cr_assert_str_eq(hello.digest, digest);
    cr_assert(!tlpi_hello_other_bytes(&hello, digest));
    cr_assert(tlpi_hello_other_bytes(&hello, "sha256:00"));
    cr_assert(!tlpi_hello_other_bytes(&hello, ""), "this rank trusts");
    cr_assert_eq(strncmp(hello.types, "F32:", 4), 0, "%s", hello.types);
    cr_assert_eq(hello.task, TLPI_TASK_SESSION);
    cr_assert_eq(hello.n_rank, 3);
    cr_assert_eq(hello.n_ctx, 64);
    cr_assert_eq(hello.n_seq, 2);
    cr_assert_eq(hello.n_batch, 32);
    cr_assert_eq(hello.n_page, 2);
    cr_assert_eq(hello.kv_ahead, 1);
    cr_assert_eq(hello.backend, TLP_BACKEND_CPU);
    cr_assert_eq(hello.compute, TLP_COMPUTE_F32);
    cr_assert_eq(hello.kv_type, TLP_KV_F32);
    cr_assert_eq(hello.wire, TLP_WIRE_BF16);
    cr_assert_eq(hello.timeout_ms, 700);
}

Test(hello, what_is_left_open_is_adopted)
{
    static char copy[CAP];
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_plan *got = NULL;
    tlpi_hello hello;
    char text[64];
    size_t len = 0;

    o.n_thread = 5;
    o.timeout_ms = 900;
    CHECK_OK(read_copy(&hello, copy, wire_text, n_text));
    CHECK_OK(tlpi_hello_check(&hello, model, digest, &o));
    CHECK_OK(tlpi_hello_plan(&hello, model, NULL, &got));
    CHECK_OK(tlp_plan_format(text, sizeof text, &len, got, TLP_PLAN_TEXT));
    cr_assert_str_eq(text, "par:1-2");
    tlp_plan_free(got);
    tlpi_hello_adopt(&hello, &o);
    cr_assert(o.n_rank == 3 && o.n_ctx == 64 && o.n_seq == 2 &&
              o.n_batch == 32 && o.compute == TLP_COMPUTE_F32 &&
              o.kv_type == TLP_KV_F32 && o.wire == TLP_WIRE_BF16);
    cr_assert(o.n_thread == 5 && o.timeout_ms == 900, "this rank's own");

    CHECK_OK(
        tlpi_hello_check(&hello, model, digest, &o)); /* given, and the same */
    CHECK_OK(tlpi_hello_plan(&hello, model, plan, &got));
    tlp_plan_free(got);
    /* rank 0's batch is cut to the positions of its session; so is this one */
    static char big[CAP];
    size_t n = change(big, "n_batch", "128");
    CHECK_OK(read_copy(&hello, copy, big, n));
    o.n_batch = 4096;
    CHECK_OK(tlpi_hello_check(&hello, model, digest, &o));
}

/* Digests decide where both ranks have one. */
Test(hello, a_digest_stands_for_the_fingerprint)
{
    static char changed[CAP], copy[CAP];
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlpi_hello hello;

    CHECK_OK(read_copy(&hello, copy, changed,
                       change(changed, "fingerprint", "sha256:00")));
    CHECK_OK(tlpi_hello_check(&hello, model, digest, &o));
    CHECK_OK(read_copy(&hello, copy, changed,
                       change(changed, "digest", TLPI_NO_DIGEST)));
    cr_assert(!tlpi_hello_other_bytes(&hello, digest), "rank 0 trusts");
    CHECK_OK(tlpi_hello_check(&hello, model, digest, &o));
}

/* Ranks choose experts alike only with equal kernels. */
Test(hello, kernels_count_where_layers_have_experts)
{
    static char copy[CAP], text[CAP];
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlpi_session_config cfg = { .n_rank = 2, .isa = TLP_ISA_SCALAR };
    tiny_spec spec = tiny_default();
    tlpi_hello sent, hello;
    tlpi_text out = { 0 };
    tlp_model *experts = NULL;

    spec.arch = "qwen3moe";
    CHECK_OK(tlp_model_open(&experts, tiny_make(&spec), NULL));
    out.env = &experts->env;
    cfg.n_ctx = cfg.n_seq = cfg.n_batch = cfg.timeout_ms = 64;
    tlpi_hello_init(&sent, experts, "", "{}", &cfg, 17);
    cr_expect_str_eq(sent.kernels, "scalar");
    tlpi_hello_write(&sent, &out);
    memcpy(text, out.data, out.len);
    CHECK_OK(read_copy(&hello, copy, text, out.len));
    tlpi_text_free(&out);
    o.isa = TLP_ISA_SCALAR;
    CHECK_OK(tlpi_hello_check(&hello, experts, "", &o));
    o.isa = TLP_ISA_AVX2;
    CHECK_FAILS(TLP_EMISMATCH, tlpi_hello_check(&hello, experts, "", &o));
    cr_expect_str_eq(tlp_last_error(), "kernels is avx2, rank 0 has scalar");
    tlp_model_free(experts);
}

/* ==== what does not ====================================================== */

static void expect_mismatch(const char *key, const char *theirs,
                            const tlp_session_options *o, const char *text)
{
    static char changed[CAP], copy[CAP];
    size_t n = change(changed, key, theirs);
    tlpi_hello hello;

    CHECK_OK(read_copy(&hello, copy, changed, n));
    CHECK_FAILS(TLP_EMISMATCH, tlpi_hello_check(&hello, model, digest, o));
    cr_assert_str_eq(tlp_last_error(), text);
}

Test(hello, the_field_and_both_values_are_named)
{
    char text[256], types[320];
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    static char copy[CAP];
    tlpi_hello hello;

    CHECK_OK(read_copy(&hello, copy, wire_text, n_text));
    snprintf(types, sizeof types, "types is %s, rank 0 has F32:1", hello.types);
    expect_mismatch("protocol", "1", &o, "protocol is 8, rank 0 has 1");
    snprintf(text, sizeof text, "version is %s, rank 0 has 9.9.9",
             tlp_version_string());
    expect_mismatch("version", "9.9.9", &o, text);
    snprintf(text, sizeof text, "byte_order is %s, rank 0 has middle",
             hello.byte_order);
    expect_mismatch("byte_order", "middle", &o, text);
    snprintf(text, sizeof text, "digest is %s, rank 0 has sha256:00", digest);
    expect_mismatch("digest", "sha256:00", &o, text);
    const char *own = digest;
    digest = ""; /* this rank trusts its fingerprint */
    snprintf(text, sizeof text, "fingerprint is %s, rank 0 has sha256:00",
             hello.fingerprint);
    expect_mismatch("fingerprint", "sha256:00", &o, text);
    digest = own;
    expect_mismatch("types", "F32:1", &o, types);

    tlpi_hello_adopt(&hello, &o);
    expect_mismatch("n_rank", "2", &o, "n_rank is 3, rank 0 has 2");
    expect_mismatch("n_ctx", "128", &o, "n_ctx is 64, rank 0 has 128");
    expect_mismatch("n_seq", "1", &o, "n_seq is 2, rank 0 has 1");
    expect_mismatch("n_batch", "16", &o, "n_batch is 32, rank 0 has 16");
    o.backend = TLP_BACKEND_CUDA;
    expect_mismatch("backend", "cpu", &o, "backend is cuda, rank 0 has cpu");
    expect_mismatch("backend", "npu", &o, "backend is cuda, rank 0 has ?");
    o.backend = TLP_BACKEND_CPU; /* as open as any zero */
    expect_mismatch("compute", "default", &o,
                    "compute is f32, rank 0 has default");
    expect_mismatch("kv_type", "bf16", &o, "kv_type is f32, rank 0 has bf16");
    expect_mismatch("kv_type", "q8_0", &o, "kv_type is f32, rank 0 has q8_0");
    expect_mismatch("wire", "q8", &o, "wire is bf16, rank 0 has q8");
}

Test(hello, a_backend_is_adopted_and_devices_are_not)
{
    static char copy[CAP], changed[CAP];
    static const int32_t devices[] = { 1 };
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlpi_hello hello;
    size_t n = change(changed, "backend", "cuda");

    o.devices = devices;
    o.n_device = 1;
    CHECK_OK(read_copy(&hello, copy, changed, n));
    CHECK_OK(tlpi_hello_check(&hello, model, digest, &o));
    tlpi_hello_adopt(&hello, &o);
    cr_assert_eq(o.backend, TLP_BACKEND_CUDA);
    cr_assert(o.n_device == 1 && o.devices == devices);
    o.backend = TLP_BACKEND_CPU;
    n = change(changed, "backend", "npu");
    CHECK_OK(read_copy(&hello, copy, changed, n));
    CHECK_FAILS(TLP_ECOMM, tlpi_hello_check(&hello, model, digest, &o));
    cr_assert_not_null(strstr(tlp_last_error(), "backend"));
}

/* A hello of another protocol may say anything after its channel. */
Test(hello, another_protocol_is_refused_before_all_else)
{
    static char copy[CAP];
    static const char text[] = "tlp-hello 1\nprotocol 9\nversion 3.0\n"
                               "byte_order big\nchannel 5\nwhatever\n";
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlpi_hello hello;

    CHECK_OK(read_copy(&hello, copy, text, strlen(text)));
    cr_assert_eq(hello.channel, 5);
    CHECK_FAILS(TLP_EMISMATCH, tlpi_hello_check(&hello, model, digest, &o));
    cr_assert_str_eq(tlp_last_error(), "protocol is 8, rank 0 has 9");
}

Test(hello, another_plan_is_named)
{
    static char copy[CAP];
    tlp_plan *own = NULL, *got = NULL;
    tlpi_hello hello;

    CHECK_OK(read_copy(&hello, copy, wire_text, n_text));
    CHECK_OK(tlp_plan_parse(&own, model, "lp:1-2"));
    CHECK_FAILS(TLP_EMISMATCH, tlpi_hello_plan(&hello, model, own, &got));
    cr_assert_null(got);
    cr_assert_str_eq(tlp_last_error(), "plan is lp:1-2, rank 0 has par:1-2");
    tlp_plan_free(own);
}

/* Texts of many layers are shown as hashes, which differ. */
Test(hello, long_plans_are_named_by_a_hash)
{
    static char copy[CAP];
    static char order[512];
    tiny_spec spec = tiny_default();
    tlp_model *deep = NULL;
    tlp_plan *a = NULL, *b = NULL, *got = NULL;
    char x[17], y[17];
    tlpi_hello hello;
    size_t n = 0;

    spec.n_layer = 40;
    CHECK_OK(tlp_model_open(&deep, tiny_make(&spec), NULL));
    n = (size_t)snprintf(order, sizeof order, "order:");
    for (int l = 39; l >= 0; l--)
        n += (size_t)snprintf(order + n, sizeof order - n, "%d%s", l,
                              l ? "," : "");
    CHECK_OK(tlp_plan_parse(&a, deep, order));
    CHECK_OK(tlp_plan_parse(&b, deep, "serial"));
    CHECK_OK(read_copy(&hello, copy, wire_text, n_text));
    static char json[8192];
    CHECK_OK(tlp_plan_format(json, sizeof json, &n, b, TLP_PLAN_JSON));
    hello.plan = json;
    CHECK_FAILS(TLP_EMISMATCH, tlpi_hello_plan(&hello, deep, a, &got));
    cr_assert_eq(
        sscanf(tlp_last_error(), "plan is %16[0-9a-f], rank 0 has %16s", x, y),
        2, "%s", tlp_last_error());
    cr_assert_eq(strlen(x), 16);
    cr_assert_str_eq(y, "serial");
    tlp_plan_free(a);
    tlp_plan_free(b);
    tlp_model_free(deep);
}

/* ==== hostile hellos ===================================================== */

static void expect_malformed(const char *key, const char *value)
{
    static char changed[CAP], copy[CAP];
    size_t n = change(changed, key, value);
    tlpi_hello hello;

    tlp_status st = read_copy(&hello, copy, changed, n);
    cr_assert_eq(st, TLP_ECOMM, "%s %s: %s", key, value, tlp_status_name(st));
    cr_assert_not_null(strstr(tlp_last_error(), key), "%s", tlp_last_error());
}

Test(hello, numbers_out_of_range_are_malformed)
{
    static const char *const keys[] = { "protocol",  "channel", "n_rank",
                                        "n_ctx",     "n_seq",   "n_batch",
                                        "timeout_ms" };
    static const char *const bad[] = { "",
                                       "0",
                                       "-1",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "0x10",
                                       "1e3",
                                       "one",
                                       "2147483648",
                                       "99999999999999999" };

    for (size_t k = 0; k < TLPI_COUNT(keys); k++)
        for (size_t b = 0; b < TLPI_COUNT(bad); b++)
            expect_malformed(keys[k], bad[b]);
    expect_malformed("n_rank", "1");
    expect_malformed("n_rank", "65");
    expect_malformed("n_ctx", "1048577");
    expect_malformed("n_seq", "4097");
    expect_malformed("n_batch", "16385");
    expect_malformed("n_page", "2147483648");
    expect_malformed("kv_ahead", "2");
    expect_malformed("channel", "8192"); /* its tags would not fit */
}

Test(hello, texts_too_long_are_malformed)
{
    static char text[300];

    memset(text, 'x', sizeof text - 1);
    expect_malformed("version", text);
    expect_malformed("byte_order", text);
    expect_malformed("digest", text);
    expect_malformed("fingerprint", text);
    expect_malformed("types", text);
}

/* What is quoted in an error text steers no terminal. */
Test(hello, controls_are_cleaned)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    char text[256];

    snprintf(text, sizeof text, "version is %s, rank 0 has ?[31m??",
             tlp_version_string());
    expect_mismatch("version", "\x1b[31m\xff\t", &o, text);
}

Test(hello, names_that_are_not_known_are_refused)
{
    static char changed[CAP], copy[CAP];
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    static const char *const keys[] = { "compute", "kv_type", "wire" };

    for (size_t k = 0; k < TLPI_COUNT(keys); k++) {
        size_t n = change(changed, keys[k], "f7");
        tlpi_hello hello;

        CHECK_OK(read_copy(&hello, copy, changed, n));
        CHECK_FAILS(TLP_ECOMM, tlpi_hello_check(&hello, model, digest, &o));
        cr_assert_not_null(strstr(tlp_last_error(), keys[k]));
    }
}

/* The scale of an adapter is a text of its own, and a number. */
Test(hello, scales_of_adapters)
{
    static const char *const bad[] = { "", "x", "1x", "inf", "nan" };
    static char changed[CAP], copy[CAP];
    tlpi_hello hello;
    float scale = 0;

    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        size_t n = change(changed, "adapter_scale", bad[i]);

        CHECK_FAILS(TLP_ECOMM, read_copy(&hello, copy, changed, n));
        cr_assert_not_null(strstr(tlp_last_error(), "adapter_scale"));
    }
    size_t n = change(changed, "adapter_scale", "-0.25");
    CHECK_OK(read_copy(&hello, copy, changed, n));
    cr_assert(tlpi_hello_scale(&hello, &scale) && scale == -0.25f);
}

/* A hello cut anywhere before its plan is none; one cut in its plan has none.
 */
Test(hello, cut_hellos_are_refused)
{
    size_t body = (size_t)(strstr(wire_text, "\nplan ") - wire_text) + 6;
    tlp_plan *got = NULL;
    tlpi_hello hello;

    for (size_t n = 0; n + 2 < n_text; n++) {
        char *copy = malloc(n + 1); /* just so much, for the sanitizers */
        cr_assert_not_null(copy);
        tlp_status st = read_copy(&hello, copy, wire_text, n);
        cr_assert_eq(st, n < body ? TLP_ECOMM : TLP_OK, "%zu bytes", n);
        if (st == TLP_OK)
            cr_assert_neq(tlpi_hello_plan(&hello, model, NULL, &got), TLP_OK,
                          "%zu bytes", n);
        free(copy);
    }
}

/* Any byte changed: refused, or a hello whose numbers are in range. */
Test(hello, changed_hellos_do_no_harm)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    static const char values[] = { '\0', '\n', ' ', '9', '-', '"', '\xff' };
    char *copy = malloc(n_text + 1);
    tlpi_hello hello;

    cr_assert_not_null(copy);
    for (size_t i = 0; i < n_text; i++)
        for (size_t v = 0; v < sizeof values; v++) {
            tlp_plan *got = NULL;
            char was = wire_text[i];

            wire_text[i] = values[v];
            tlp_status st = read_copy(&hello, copy, wire_text, n_text);
            if (st == TLP_OK && hello.protocol == TLPI_PROTOCOL)
                cr_assert(hello.channel > 0 && hello.n_ctx > 0 &&
                          hello.n_ctx <= TLPI_MAX_CTX && hello.n_rank > 1);
            if (st == TLP_OK)
                st = tlpi_hello_check(&hello, model, digest, &o);
            if (st == TLP_OK)
                st = tlpi_hello_plan(&hello, model, plan, &got);
            tlp_plan_free(got);
            wire_text[i] = was;
        }
    free(copy);
}
