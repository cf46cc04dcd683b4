/*
 * test_plan_bake.c - tlp_plan_bake: a model that is known to need one order of
 * its hidden units, the plan for the new file, refusals.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/mem.h"
#include "support/plan_rig.h"
#include "support/reordered.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/written.h"

TestSuite(plan_bake, .timeout = 300);

enum { N_CTX = 32, N_TOKEN = 12 * N_CTX };

#define PLAN "nosync@2:1a,2,3a"

static int32_t ids[N_TOKEN];
static const text_windows whole = { ids, N_TOKEN, N_CTX };
static tlp_session_options session;

static tlp_model *open_tiny(const tiny_spec *spec)
{
    tlp_model *m = rig_open_changeable(tiny_make(spec));

    rig_tokens(ids, N_TOKEN, (size_t)spec->n_vocab, 11);
    return m;
}

static tlp_plan_bake_options options(void)
{
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;

    session = plan_rig_session(N_CTX);
    o.session = &session;
    return o;
}

/* ==== a model that needs one order ======================================= */

static float *row_of(const tlpi_tensor *t, int row)
{
    return (float *)(uintptr_t)t->data + (size_t)row * (size_t)t->ne[0];
}

/* Zero the columns [c0, c1) of a row. */
static void clear(const tlpi_tensor *t, int row, int c0, int c1)
{
    memset(row_of(t, row) + c0, 0, (size_t)(c1 - c0) * sizeof(float));
}

static void scale(const tlpi_tensor *t, float factor)
{
    for (int j = 0; j < t->ne[0]; j++)
        row_of(t, 0)[j] *= factor;
}

/* All tokens have a large number in column 0 of the stream, so that all streams
 * have nearly one RMS.  Nothing reads the column, and norms undo the RMS. */
static void fix_scale(tlp_model *m)
{
    const float rms = 300 / sqrtf((float)m->hp.n_embd);

    scale(m->w.t[TLPI_OUTPUT_NORM], rms);
    for (int i = 0; i < m->hp.n_vocab; i++) {
        row_of(m->w.t[TLPI_TOKEN_EMBD], i)[0] = 300;
        row_of(m->w.t[TLPI_OUTPUT], i)[0] = 0;
    }
    for (int l = 0; l < m->hp.n_layer; l++) {
        static const tlpi_layer_id readers[] = { TLPI_ATTN_Q, TLPI_ATTN_K,
                                                 TLPI_ATTN_V, TLPI_FFN_GATE,
                                                 TLPI_FFN_UP };

        scale(m->w.layer[l].t[TLPI_ATTN_NORM], rms);
        scale(m->w.layer[l].t[TLPI_FFN_NORM], rms);
        for (size_t k = 0; k < TLPI_COUNT(readers); k++) {
            const tlpi_tensor *t = m->w.layer[l].t[readers[k]];

            for (int r = 0; r < t->ne[1]; r++)
                row_of(t, r)[0] = 0;
        }
    }
}

/* In layer l, track t's heads write to part t of the stream, and the units i
 * with i / block % n_track = t read part t alone. */
static void need_one_order(tlp_model *m, int l, int n_track, int block)
{
    const tlpi_layer *x = &m->w.layer[l];
    int d = m->hp.n_embd, heads = m->hp.n_head / n_track;
    int width = heads * m->hp.head_dim;

    for (int r = 0; r < d; r++) {
        int t = r * n_track / d;

        for (int j = 0; j < m->hp.n_head * m->hp.head_dim; j++)
            row_of(x->t[TLPI_ATTN_OUTPUT], r)[j] *= 8; /* easy to see */
        clear(x->t[TLPI_ATTN_OUTPUT], r, 0, t * width);
        clear(x->t[TLPI_ATTN_OUTPUT], r, (t + 1) * width, n_track * width);
    }
    for (int i = 0; i < m->hp.n_ff; i++) {
        int t = i / block % n_track;

        clear(x->t[TLPI_FFN_GATE], i, 0, t * d / n_track);
        clear(x->t[TLPI_FFN_GATE], i, (t + 1) * d / n_track, d);
        clear(x->t[TLPI_FFN_UP], i, 0, t * d / n_track);
        clear(x->t[TLPI_FFN_UP], i, (t + 1) * d / n_track, d);
    }
}

/* In layer l, the units i with i / block % n_track = t write to part t of the
 * stream, which track t's heads of the next layer read alone. */
static void need_order_for_heads(tlp_model *m, int l, int n_track, int block)
{
    static const tlpi_layer_id readers[] = { TLPI_ATTN_Q, TLPI_ATTN_K,
                                             TLPI_ATTN_V };
    const tlpi_tensor *down = m->w.layer[l].t[TLPI_FFN_DOWN];
    int d = m->hp.n_embd;

    for (int r = 0; r < d; r++)
        for (int i = 0; i < m->hp.n_ff; i++)
            row_of(down, r)[i] *=
                i / block % n_track == r * n_track / d ? 8 : 0;
    for (size_t k = 0; k < TLPI_COUNT(readers); k++) {
        const tlpi_tensor *x = m->w.layer[l + 1].t[readers[k]];
        int n = (int)x->ne[1];

        for (int r = 0; r < n; r++) {
            int t = r * n_track / n;

            clear(x, r, 0, t * d / n_track);
            clear(x, r, (t + 1) * d / n_track, d);
        }
    }
}

static void expect_track_writes(const tlp_model *m, int l, int n_track)
{
    const tlpi_tensor *down = m->w.layer[l].t[TLPI_FFN_DOWN];
    int d = m->hp.n_embd, n = m->hp.n_ff;

    for (int r = 0; r < d; r++)
        for (int i = 0; i < n; i++)
            if (r * n_track / d != i * n_track / n)
                cr_assert_eq(reordered_element(down, r, i), 0,
                             "row %d, unit %d", r, i);
}

static void expect_track_reads(const tlp_model *m, int l, int n_track)
{
    const tlpi_tensor *gate = m->w.layer[l].t[TLPI_FFN_GATE];
    int d = m->hp.n_embd, n = m->hp.n_ff;

    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++)
            if (j * n_track / d != i * n_track / n)
                cr_assert_eq(reordered_element(gate, i, j), 0,
                             "unit %d, column %d", i, j);
}

/* Bake a model of which two layers need another order; the plan for the new
 * file. */
static tlp_plan *bake_two_layers(tlp_model *m, const char *form,
                                 const char *path)
{
    tlp_plan_bake_report r = { .struct_size = sizeof r };
    tlp_plan_bake_options o = options();
    tlp_plan *plan = NULL, *baked = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, form));
    CHECK_OK(tlp_plan_bake(&baked, &r, plan, path, ids, N_TOKEN, &o));
    cr_expect_eq(r.n_window, 12);
    cr_expect_eq(r.n_held_out, 3);
    cr_expect_eq(r.n_site, 2);
    cr_expect_eq(r.n_layer, 2);
    cr_expect_gt(r.kl_before, 1e-4, "%g", r.kl_before);
    cr_expect_lt(r.kl_after, 1e-2 * r.kl_before, "%g, %g before", r.kl_after,
                 r.kl_before);
    tlp_plan_free(plan);
    return baked;
}

static void expect_repaired(int n_track, const char *form)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_path("baked.gguf");

    spec.type = TLPI_F32;
    spec.n_ff = 96 * n_track;
    tlp_model *m = open_tiny(&spec);
    fix_scale(m);
    need_one_order(m, 1, n_track, 1);
    need_one_order(m, 3, n_track, 16);
    tlp_plan *baked = bake_two_layers(m, form, path);

    tlp_model *b = rig_open_changeable(path);
    expect_track_reads(b, 1, n_track);
    expect_track_reads(b, 3, n_track);
    reordered_keeps_rest(m, b);
    reordered_is_same(m, b, &whole);

    /* The report is what sessions find. */
    float *serial = text_serial_logits(m, &whole);
    double before = text_kl(m, form, &whole, serial);
    double after = text_compare(b, baked, &whole, serial).kl;
    cr_expect_lt(after, 1e-2 * before, "%g, %g before", after, before);
    cr_expect_float_eq(text_kl(b, form, &whole, serial), after, 1e-6 * before);
    free(serial);
    tlp_model_free(b);
    tlp_plan_free(baked);
    tlp_model_free(m);
}

Test(plan_bake, puts_a_constructed_model_right)
{
    expect_repaired(2, "nosync@2:1a,3a");
    expect_repaired(3, "nosync@3:1a,3a");
}

/* An exchange that is left out after a feed-forward part. */
static void expect_repaired_for_heads(int n_track, const char *form)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_path("baked.gguf");

    spec.type = TLPI_F32;
    spec.n_ff = 48 * n_track;
    spec.n_head = spec.n_head_kv = 2 * n_track;
    tlp_model *m = open_tiny(&spec);
    fix_scale(m);
    need_order_for_heads(m, 1, n_track, 1);
    need_order_for_heads(m, 3, n_track, 8);
    tlp_plan_free(bake_two_layers(m, form, path));

    tlp_model *b = rig_open_changeable(path);
    expect_track_writes(b, 1, n_track);
    expect_track_writes(b, 3, n_track);
    reordered_keeps_rest(m, b);
    reordered_is_same(m, b, &whole);
    tlp_model_free(b);
    tlp_model_free(m);
}

Test(plan_bake, gives_heads_the_units_that_they_see)
{
    expect_repaired_for_heads(2, "nosync@2:1f,3f");
    expect_repaired_for_heads(3, "nosync@3:1f,3f");
}

/* ==== the plan for the new file ========================================== */

Test(plan_bake, plan_is_for_the_new_file)
{
    static const char form[] =
        "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}, {\"layers\": [1]}, "
        "{\"layers\": [2]}, {\"layers\": [3, 4], \"mode\": \"par\"}], "
        "\"nosync\": {\"tracks\": 2, \"cut\": \"even\", \"after\": [\"1a\", "
        "\"1f\", \"2a\"]}, \"made\": {\"by\": \"hand\"}}";
    tiny_spec spec = tiny_default();
    tlp_plan_bake_options o = options();
    tlp_plan *plan = NULL, *baked = NULL, *back = NULL;
    tlp_model_info info = { .struct_size = sizeof info };

    spec.type = TLPI_F16;
    tlp_model *m = open_tiny(&spec);
    const char *path = tiny_path("baked.gguf");
    CHECK_OK(tlp_plan_parse(&plan, m, form));
    CHECK_OK(tlp_plan_bake(&baked, NULL, plan, path, ids, N_TOKEN, &o));
    char *text = plan_rig_format(baked, TLP_PLAN_JSON),
         *old = plan_rig_format(plan, TLP_PLAN_JSON);
    CHECK_OK(tlp_model_get_info(&info, m));

    cr_expect(strstr(text, "\"by\": \"hand\""), "%s", text);
    const char *record = strstr(text, "\"baked\"");
    cr_assert_not_null(record, "%s", text);
    cr_expect(strstr(record, info.fingerprint), "%s", text);
    cr_expect(strstr(record, "kl_after"), "%s", text);

    tlp_model *b = rig_open_changeable(path);
    CHECK_OK(tlp_plan_parse(&back, b, text));
    tlp_plan_free(back);
    CHECK_FAILS(TLP_EMISMATCH, tlp_plan_parse(&back, m, text));
    CHECK_FAILS(TLP_EMISMATCH, tlp_plan_parse(&back, b, old));
    free(old);
    free(text);
    tlp_model_free(b);
    tlp_plan_free(plan);
    tlp_model_free(m);
    /* The plan keeps its model. */
    tlp_session *s = NULL;
    CHECK_OK(tlp_session_create(&s, baked, NULL));
    tlp_session_free(s);
    tlp_plan_free(baked);
}

/* Equal arguments give equal files, whatever the number of threads. */
Test(plan_bake, is_deterministic_and_never_worse)
{
    static const tlpi_dtype types[] = { TLPI_F16, TLPI_Q8_0 };
    tiny_spec spec = tiny_default();

    for (size_t k = 0; k < TLPI_COUNT(types); k++) {
        tlp_plan_bake_report r = { .struct_size = sizeof r };
        tlp_plan_bake_options o = options();
        tlp_plan *plan = NULL, *baked = NULL;
        char first[128] = "", *text;

        spec.type = types[k];
        spec.n_ff = 256;
        tlp_model *m = open_tiny(&spec);
        CHECK_OK(tlp_plan_parse(&plan, m, PLAN));
        for (int n = 1; n <= 2; n++) {
            session.n_thread = n;
            CHECK_OK(tlp_plan_bake(&baked, &r, plan, tiny_path("baked.gguf"),
                                   ids, N_TOKEN, &o));
            cr_expect_lt(r.kl_after, r.kl_before);
            text = plan_rig_format(baked, TLP_PLAN_JSON);
            const char *print = strstr(text, "\"fingerprint\"");
            cr_assert_not_null(print);
            if (n == 2)
                cr_expect_eq(strncmp(print, first, 90), 0);
            snprintf(first, sizeof first, "%.100s", print);
            free(text);
            tlp_plan_free(baked);
        }
        tlp_plan_free(plan);
        tlp_model_free(m);
    }
}

/* ==== refusals =========================================================== */

static void refuse(tlp_status want, const char *words, tlp_model *m,
                   const char *form, const char *path,
                   const tlp_plan_bake_options *o)
{
    tlp_plan *plan = NULL, *baked = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, form));
    CHECK_FAILS(want, tlp_plan_bake(&baked, NULL, plan, path, ids, N_TOKEN, o));
    cr_expect_null(baked);
    cr_expect(strstr(tlp_last_error(), words), "%s", tlp_last_error());
    tlp_plan_free(plan);
}

Test(plan_bake, refuses)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec);
    const char *path = tiny_path("baked.gguf");
    tlp_plan_bake_options o = options();
    tlp_plan *plan = NULL, *baked = NULL;
    int before = written_n_beside(path);

    refuse(TLP_EINVAL, "leaves out no exchange", m, "par:1-2", path, &o);
    refuse(TLP_EINVAL, "the model's own file", m, PLAN, m->path, &o);
    refuse(TLP_ENOTSUP, "layer 3 behind layer 4", m,
           "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}, {\"layers\": "
           "[1]}, {\"layers\": [2]}, {\"layers\": [3]}, {\"layers\": [4]}], "
           "\"order\": [0, 1, 2, 4, 3], \"nosync\": {\"tracks\": 2, \"cut\": "
           "\"even\", \"after\": [\"1a\"]}}",
           path, &o);
    o.held_out = 1;
    refuse(TLP_EINVAL, "held_out 1", m, PLAN, path, &o);
    o.held_out = 0;
    session.n_ctx = N_TOKEN; /* one window */
    refuse(TLP_EINVAL, "two windows expected", m, PLAN, path, &o);
    session.n_ctx = N_CTX;
    refuse(TLP_EIO, "nowhere", m, PLAN, "/nowhere/x.gguf", &o);
    CHECK_OK(tlp_plan_parse(&plan, m, PLAN));
    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_bake(NULL, NULL, plan, path, ids, N_TOKEN, &o));
    CHECK_FAILS(TLP_EINVAL,
                tlp_plan_bake(&baked, NULL, plan, NULL, ids, N_TOKEN, &o));
    tlp_plan_free(plan);
    cr_expect_eq(written_n_beside(path), before);
    tlp_model_free(m);
}

/* Units that serve all tracks alike stay where they are, and no file is
 * written. */
Test(plan_bake, writes_nothing_without_gain)
{
    tiny_spec spec = tiny_default();
    tlp_plan_bake_report r = { .struct_size = sizeof r };
    tlp_plan_bake_options o = options();
    tlp_plan *plan = NULL, *baked = NULL;

    spec.type = TLPI_F32;
    tlp_model *m = open_tiny(&spec);
    const char *path = tiny_path("baked.gguf");
    const tlpi_tensor *down = m->w.layer[2].t[TLPI_FFN_DOWN];
    memset((void *)(uintptr_t)down->data, 0, down->n_bytes);
    CHECK_OK(tlp_plan_parse(&plan, m, "nosync@2:2a"));
    CHECK_FAILS(TLP_ENOGAIN,
                tlp_plan_bake(&baked, &r, plan, path, ids, N_TOKEN, &o));
    cr_expect_null(baked);
    cr_expect_eq(r.n_site, 1);
    cr_expect_eq(r.n_layer, 0);
    cr_expect_eq(r.kl_after, r.kl_before);
    cr_expect_eq(access(path, F_OK), -1);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(plan_bake, full_disk_leaves_nothing)
{
    static const rlim_t rooms[] = { 0, 100, 40000, 200000 };
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec);
    const char *path = tiny_path("baked.gguf");
    tlp_plan_bake_options o = options();
    int before = written_n_beside(path);
    struct rlimit limit;

    signal(SIGXFSZ, SIG_DFL);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t k = 0; k < TLPI_COUNT(rooms); k++) {
        struct rlimit low = { rooms[k], limit.rlim_max };

        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
        refuse(TLP_EIO, "File too large", m, PLAN, path, &o);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_expect_eq(written_n_beside(path), before);
    }
    tlp_model_free(m);
}

Test(plan_bake, canceled_anywhere)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec);
    const char *path = tiny_path("baked.gguf");
    tlp_plan_bake_options o = options();
    int before = written_n_beside(path), n = 1;
    tlp_plan *plan = NULL, *baked = NULL;
    tlp_status st = TLP_ECANCELED;

    o.progress = written_count;
    CHECK_OK(tlp_plan_parse(&plan, m, PLAN));
    for (; st == TLP_ECANCELED; n += CHECK_SLOWDOWN) {
        written_meter p = { .cancel_at = n };

        o.progress_data = &p;
        st = tlp_plan_bake(&baked, NULL, plan, path, ids, N_TOKEN, &o);
        cr_expect(!p.backwards);
        cr_assert(st == TLP_ECANCELED || st == TLP_OK, "%s", tlp_last_error());
        cr_expect_eq(written_n_beside(path), before + (st == TLP_OK));
        if (st == TLP_OK)
            cr_expect_eq(p.last, 1);
    }
    cr_expect_gt(n, 10);
    tlp_plan_free(baked);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

Test(plan_bake, memory_runs_out_anywhere)
{
    mem hooks = { 0 };
    tiny_spec spec = tiny_default();
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_plan_bake_options o = options();
    tlp_model *m = NULL;
    tlp_plan *plan = NULL, *baked = NULL;
    tlp_status st = TLP_ENOMEM;
    long n = 1;

    mo.allocator = mem_hooks(&hooks);
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 11);
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&plan, m, "nosync:2"));
    const char *path = tiny_path("baked.gguf");
    session.n_ctx = 8;
    long live = hooks.live;
    for (; st == TLP_ENOMEM; n += 1 + n / 40) {
        hooks.calls = 0;
        hooks.fail_at = n;
        st = tlp_plan_bake(&baked, NULL, plan, path, ids, 32, &o);
        cr_assert(st == TLP_OK || st == TLP_ENOMEM || st == TLP_ENOGAIN, "%s",
                  tlp_last_error());
        if (st != TLP_OK)
            cr_assert_eq(hooks.live, live, "call %ld", n);
    }
    cr_expect_gt(n, 100);
    tlp_plan_free(baked);
    tlp_plan_free(plan);
    cr_expect_gt(hooks.live, 0);
    tlp_model_free(m);
    cr_expect_eq(hooks.live, 0);
}
