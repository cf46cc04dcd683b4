/*
 * test_sequence_refused.c - bytes that are damaged or belong to another session
 * are refused, and a load that fails changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "session/saved.h"
#include "support/counted.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/rig.h"
#include "support/saved_bytes.h"
#include "support/tiny.h"

TestSuite(sequence_refused, .timeout = 240);

enum { N_ID = 1000, N_HELD = 21 };

static const char *model_of_seed(uint64_t seed)
{
    tiny_spec s = tiny_default();

    s.seed = seed;
    return tiny_keep_path(tiny_make(&s));
}

static const char *windowed(void)
{
    tiny_spec s = tiny_default();

    s.arch = "gemma3";
    s.window = 40;
    return tiny_keep_path(tiny_make(&s));
}

static tlp_session_options options(int n_rank)
{
    tlp_session_options o = rig_f32(n_rank, 1);

    o.n_seq = 2;
    return o;
}

/* A session whose sequence 1 has some tokens, and the row that follows one more
 * of them. */
typedef struct kept {
    rig r;
    int32_t ids[N_ID];
    float *want; /* [n_vocab] */
} kept;

static kept open_kept(const char *path, const char *plan,
                      const tlp_session_options *o)
{
    kept k = { .r = rig_open(path, plan, o) };

    rig_tokens(k.ids, N_ID, k.r.n_vocab, 5);
    free(saved_extend(&k.r, 1, k.ids, N_HELD));
    CHECK_OK(tlp_session_fork(k.r.session, 0, 1));
    k.want = saved_extend(&k.r, 0, k.ids + N_HELD, 1);
    CHECK_OK(tlp_session_clear(k.r.session, 0));
    return k;
}

static uint64_t kv_bytes(const rig *r)
{
    tlp_session_stats s = { .struct_size = sizeof s };

    CHECK_OK(tlp_session_get_stats(&s, r->session));
    return s.kv_bytes;
}

/* Sequence 1 is as it was. */
static void expect_kept(kept *k)
{
    cr_assert_eq(tlp_session_pos(k->r.session, 1), N_HELD);
    float *found = saved_extend(&k->r, 1, k->ids + N_HELD, 1);
    cr_assert_eq(memcmp(found, k->want, k->r.n_vocab * sizeof *found), 0);
    CHECK_OK(tlp_session_rewind(k->r.session, 1, N_HELD));
    free(found);
}

static void close_kept(kept *k)
{
    free(k->want);
    rig_close(&k->r);
}

/* A saved sequence of n tokens. */
static uint8_t *save_of(const char *path, const char *plan,
                        const tlp_session_options *o, int n_token, size_t *n)
{
    rig r = rig_open(path, plan, o);
    int32_t ids[N_ID];

    rig_tokens(ids, N_ID, r.n_vocab, 1);
    if (n_token > 0)
        free(saved_extend(&r, 0, ids, n_token));
    uint8_t *bytes = saved_bytes(&r, 0, n);
    rig_close(&r);
    return bytes;
}

/* ==== damage ============================================================= */

static void expect_damaged(kept *k, const uint8_t *bytes, size_t n,
                           const char *what, size_t at)
{
    tlp_status st = tlp_session_load(k->r.session, 1, bytes, n);

    cr_assert(st == TLP_EFORMAT || st == TLP_EMISMATCH, "%s %zu: %s: %s", what,
              at, tlp_status_name(st), tlp_last_error());
    cr_assert_eq(tlp_session_pos(k->r.session, 1), N_HELD);
}

Test(sequence_refused, flipped_and_truncated)
{
    tlp_session_options o = options(2);
    const char *path = model_of_seed(1);
    kept k = open_kept(path, "serial", &o);
    size_t n = 0;
    uint8_t *bytes = save_of(path, "serial", &o, 17, &n);
    uint64_t held = kv_bytes(&k.r);

    for (size_t i = 0; i < n; i += i < 2000 ? 1 : 23 * CHECK_SLOWDOWN) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        expect_damaged(&k, bytes, n, "byte", i);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t i = 0; i < n; i += i < 200 ? 1 : 211) {
        uint8_t *part = malloc(i + 1); /* exactly as long, for sanitizers */

        memcpy(part, bytes, i);
        expect_damaged(&k, part, i, "length", i);
        free(part);
    }
    cr_assert_eq(kv_bytes(&k.r), held);
    expect_kept(&k);
    CHECK_OK(tlp_session_load(k.r.session, 1, bytes, n));
    free(bytes);
    close_kept(&k);
}

/* Bytes with a checksum that fits may come from anyone. */
Test(sequence_refused, forged)
{
    tlp_session_options o = options(2);
    const char *path = windowed();
    size_t n = 0;

    o.n_ctx = 700;
    o.n_batch = 64;
    kept k = open_kept(path, "serial", &o);
    uint8_t *bytes = save_of(path, "serial", &o, 300, &n);
    uint32_t n_text;
    memcpy(&n_text, bytes + TLPI_SAVED_AT_N_TEXT, sizeof n_text);
    const struct {
        size_t at;
        uint32_t value;
        tlp_status st;
        const char *text;
    } bad[] = {
        { TLPI_SAVED_AT_VERSION, 2, TLP_EMISMATCH, "version 2, 1 expected" },
        { TLPI_SAVED_AT_N_TEXT, n_text - 1, TLP_EFORMAT, "key rope" },
        { TLPI_SAVED_AT_N_TEXT, n_text + 1, TLP_EFORMAT, "behind the last" },
        { TLPI_SAVED_AT_N_TEXT, 0, TLP_EFORMAT, "key model" },
        { TLPI_SAVED_AT_N_TEXT, UINT32_MAX, TLP_EFORMAT, "bytes of text" },
        { TLPI_SAVED_AT_N_POS, 301, TLP_EFORMAT, "expected" },
        { TLPI_SAVED_AT_N_POS, 0, TLP_EFORMAT, "expected" },
        { TLPI_SAVED_AT_N_POS, 701, TLP_EFULL, "n_ctx 700" },
        { TLPI_SAVED_AT_N_POS, UINT32_MAX, TLP_EFULL, "n_ctx 700" },
        { TLPI_SAVED_AT_FIRST, 1, TLP_EFORMAT, "expected" },
        { TLPI_SAVED_AT_FIRST, 2, TLP_EFORMAT, "begin in page 2" },
        { TLPI_SAVED_AT_FIRST, UINT32_MAX, TLP_EFORMAT, "begin in page" },
        { TLPI_SAVED_AT_N_RANK, 1, TLP_EFORMAT, "expected" },
        { TLPI_SAVED_AT_TEXT + n_text + 8, 288, TLP_EFORMAT, "token 2" },
        { TLPI_SAVED_AT_TEXT + n_text + 4, UINT32_MAX, TLP_EFORMAT, "token 1" },
        { TLPI_SAVED_AT_TEXT + n_text + 1200, 0, TLP_EMISMATCH, "parts" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t old[4];

        memcpy(old, bytes + bad[i].at, 4);
        memcpy(bytes + bad[i].at, &bad[i].value, 4);
        tlpi_saved_hash(bytes, n, bytes + TLPI_SAVED_AT_SHA256);
        CHECK_FAILS(bad[i].st, tlp_session_load(k.r.session, 1, bytes, n));
        cr_assert(strstr(tlp_last_error(), bad[i].text), "%zu: %s", i,
                  tlp_last_error());
        memcpy(bytes + bad[i].at, old, 4);
    }
    expect_kept(&k);
    tlpi_saved_hash(bytes, n, bytes + TLPI_SAVED_AT_SHA256);
    CHECK_OK(tlp_session_load(k.r.session, 1, bytes, n));
    free(bytes);
    close_kept(&k);
}

/* ==== other sessions ===================================================== */

/* A sequence of a session with one plan and options does not fit another, and
 * the text has both values. */
static void refuse(const char *from_path, const char *from_plan,
                   const tlp_session_options *from, const char *path,
                   const char *plan, const tlp_session_options *o,
                   const char *text)
{
    size_t n = 0;
    uint8_t *bytes = save_of(from_path, from_plan, from, 17, &n);
    kept k = open_kept(path, plan, o);

    CHECK_FAILS(TLP_EMISMATCH, tlp_session_load(k.r.session, 1, bytes, n));
    cr_assert(strstr(tlp_last_error(), text), "%s expected: %s", text,
              tlp_last_error());
    cr_assert_null(strchr(tlp_last_error(), '\n'));
    expect_kept(&k);
    close_kept(&k);
    free(bytes);
}

Test(sequence_refused, other_sessions)
{
    tlp_session_options o = options(2), other;
    const char *path = model_of_seed(1), *next = model_of_seed(2);

    refuse(next, "serial", &o, path, "serial", &o, "model: sha256:");
    refuse(path, "par:1-2", &o, path, "serial", &o,
           "plan: par:1-2, this session has serial");
    other = o;
    other.n_rank = 3;
    refuse(path, "serial", &other, path, "serial", &o,
           "n_rank: 3, this session has 2");
    other = o;
    other.kv_type = TLP_KV_Q8_0;
    refuse(path, "serial", &other, path, "serial", &o,
           "kv_type: q8_0, this session has f32");
    other = o;
    other.compute = TLP_COMPUTE_DEFAULT;
    other.kv_type = TLP_KV_F32;
    refuse(path, "serial", &other, path, "serial", &o,
           "compute: default, this session has f32");

    const char *gemma = windowed();
    other = o;
    o.n_ctx = other.n_ctx = 700;
    o.n_batch = 64;
    other.n_batch = 650;
    refuse(gemma, "serial", &other, gemma, "serial", &o,
           "window: 0, this session has 40");
}

/* Rope factors depend on n_ctx. */
Test(sequence_refused, other_angles)
{
    tlp_session_options o = options(1), other = o;
    tiny_spec s = tiny_default();

    s.arch = "phi3";
    s.long_gain = 4;
    s.scale_ctx = 128;
    const char *path = tiny_make(&s);
    other.n_ctx = 256;
    refuse(path, "serial", &o, path, "serial", &other,
           "rope: rope_factors_short.weight, this session has "
           "rope_factors_long.weight");
}

/* A session of a plan with adjustments, whose numbers `seed` chooses. */
static rig open_adjusted(const char *path, uint64_t seed,
                         const tlp_session_options *o)
{
    rig r = rig_open(path, "par:1-2", o);
    tlp_plan *plan = NULL;

    tlp_session_free(r.session);
    CHECK_OK(fitted_plan(&plan, r.plan, FITTED_ALL, 2, seed));
    tlp_plan_free(r.plan);
    r.plan = plan;
    CHECK_OK(tlp_session_create(&r.session, plan, o));
    return r;
}

Test(sequence_refused, other_adjustments)
{
    tlp_session_options o = options(2);
    const char *path = model_of_seed(1);
    rig a = open_adjusted(path, 1, &o), b = open_adjusted(path, 2, &o);
    size_t n = 0;

    free(saved_extend(&a, 0, (int32_t[]){ 1, 2, 3 }, 3));
    void *bytes = saved_bytes(&a, 0, &n);
    CHECK_OK(tlp_session_load(a.session, 1, bytes, n));
    CHECK_FAILS(TLP_EMISMATCH, tlp_session_load(b.session, 1, bytes, n));
    cr_assert(strstr(tlp_last_error(), "adjust: sha256:"), "%s",
              tlp_last_error());
    free(bytes);
    rig_close(&a);
    rig_close(&b);
}

/* A session with a random adapter. */
static void open_adapter(rig *r, const char *path, float scale)
{
    tlp_session_options o = options(2);
    tlp_adapter *adapter = NULL;

    *r = rig_open(path, "serial", &o);
    tlp_session_free(r->session);
    tlp_plan *plan = lora_plan(r->plan, 0, 2, 1);
    const char *file = tiny_path("lora.gguf");
    CHECK_OK(tlp_plan_save_adapter(plan, file));
    CHECK_OK(tlp_adapter_open(&adapter, r->model, file));
    o.adapter = adapter;
    o.adapter_scale = scale;
    CHECK_OK(tlp_session_create(&r->session, r->plan, &o));
    tlp_adapter_free(adapter);
    tlp_plan_free(plan);
}

Test(sequence_refused, other_adapters)
{
    tlp_session_options o = options(2);
    const char *path = model_of_seed(1);
    kept k = open_kept(path, "serial", &o);
    rig a, b;
    size_t n = 0;

    open_adapter(&a, path, 1);
    open_adapter(&b, path, 0.5f);
    free(saved_extend(&a, 0, (int32_t[]){ 1, 2, 3 }, 3));
    void *bytes = saved_bytes(&a, 0, &n);
    CHECK_OK(tlp_session_load(a.session, 1, bytes, n));
    CHECK_FAILS(TLP_EMISMATCH, tlp_session_load(k.r.session, 1, bytes, n));
    cr_assert(strstr(tlp_last_error(), "adapter: sha256:"));
    cr_assert(strstr(tlp_last_error(), "this session has none"));
    expect_kept(&k);
    CHECK_FAILS(TLP_EMISMATCH, tlp_session_load(b.session, 1, bytes, n));
    cr_assert(
        strstr(tlp_last_error(), "adapter_scale: 1, this session has 0.5"));
    free(bytes);
    rig_close(&a);
    rig_close(&b);
    close_kept(&k);
}

/* ==== memory ============================================================= */

/* Any allocation of any rank fails while a sequence is loaded over another:
 * nothing has changed on either rank. */
Test(sequence_refused, out_of_memory)
{
    tlp_session_options o = options(2);
    const char *path = windowed();
    int32_t ids[N_ID];
    size_t n = 0, len = 0;
    mem m = { 0 };
    kept k = { 0 };
    long i = 1;

    o.n_ctx = N_ID;
    o.n_batch = 64;
    k.r = counted_open(&m, path, "par:1-2", &o);
    rig_tokens(ids, N_ID, k.r.n_vocab, 1);
    memcpy(k.ids, ids, sizeof ids);
    uint8_t *bytes = save_of(path, "par:1-2", &o, 700, &n);
    free(saved_extend(&k.r, 1, ids, N_HELD));
    CHECK_OK(tlp_session_fork(k.r.session, 0, 1));
    k.want = saved_extend(&k.r, 0, ids + N_HELD, 1);
    size_t before = counted_bytes(&k.r, &m);
    for (;; i++) {
        m.fail_at = atomic_load(&m.calls) + i;
        tlp_status st = tlp_session_load(k.r.session, 1, bytes, n);
        bool failed = atomic_load(&m.calls) >= m.fail_at;
        m.fail_at = 0;
        if (!failed)
            break;
        cr_assert_eq(st, TLP_ENOMEM, "allocation %ld: status %d", i, st);
        cr_assert(strstr(tlp_last_error(), "out of memory"), "%s",
                  tlp_last_error());
        cr_assert_eq(counted_bytes(&k.r, &m), before, "allocation %ld", i);
        expect_kept(&k);
    }
    cr_assert_geq(i, 2 * (3 + 1) + 9); /* pages and their copies at least */
    cr_assert_eq(tlp_session_pos(k.r.session, 1), 700);
    float *found = saved_extend(&k.r, 1, ids + 700, 1);
    rig other = rig_open(path, "par:1-2", &o);
    free(saved_extend(&other, 0, ids, 700));
    float *want = saved_extend(&other, 0, ids + 700, 1);
    cr_assert_eq(memcmp(found, want, other.n_vocab * sizeof *want), 0);

    /* Saving: the sequence stays, and the memory goes back. */
    before = counted_bytes(&k.r, &m);
    uint8_t *again = malloc(2 * n);
    for (i = 1;; i++) {
        m.fail_at = atomic_load(&m.calls) + i;
        tlp_status st = tlp_session_save(again, 2 * n, &len, k.r.session, 1);
        bool failed = atomic_load(&m.calls) >= m.fail_at;
        m.fail_at = 0;
        if (!failed)
            break;
        cr_assert_eq(st, TLP_ENOMEM, "allocation %ld: status %d", i, st);
        cr_assert_eq(counted_bytes(&k.r, &m), before, "allocation %ld", i);
    }
    cr_assert_geq(i, 9);
    free(again);
    free(found);
    free(want);
    free(bytes);
    rig_close(&other);
    close_kept(&k);
}

/* A budget of pages that does not suffice. */
Test(sequence_refused, too_few_pages)
{
    tlp_session_options o = options(2);
    const char *path = model_of_seed(1);
    size_t n = 0;

    o.n_ctx = 700;
    uint8_t *bytes = save_of(path, "serial", &o, 600, &n);
    rig whole = rig_open(path, "serial", &o);
    tlp_session_stats s = { .struct_size = sizeof s };
    CHECK_OK(tlp_session_get_stats(&s, whole.session));
    rig_close(&whole);
    o.kv_bytes = s.kv_most_bytes / 2; /* 3 of 6 pages */
    kept k = open_kept(path, "serial", &o);
    CHECK_FAILS(TLP_EFULL, tlp_session_load(k.r.session, 1, bytes, n));
    cr_assert(strstr(tlp_last_error(), "2 of 3 are free"), "%s",
              tlp_last_error());
    CHECK_FAILS(TLP_EFULL, tlp_session_load(k.r.session, 0, bytes, n));
    expect_kept(&k);
    CHECK_OK(tlp_session_clear(k.r.session, 1));
    CHECK_OK(tlp_session_load(k.r.session, 1, bytes, n));
    close_kept(&k);

    o.kv_bytes = 0;
    o.n_ctx = 599;
    k = open_kept(path, "serial", &o);
    CHECK_FAILS(TLP_EFULL, tlp_session_load(k.r.session, 1, bytes, n));
    expect_kept(&k);
    close_kept(&k);
    free(bytes);
}
