/*
 * test_plan_quantize.c - a model and the plan for it in another type, in one
 * call: tlp_plan_quantize, and tlp_plan_bake with a type.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model/model.h"
#include "support/mem.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/written.h"

TestSuite(plan_quantize, .timeout = 300);

enum { N_CTX = 32, N_TOKEN = 12 * N_CTX };

#define PLAN "nosync@2:1a,2,3a"

static int32_t ids[N_TOKEN];
static tlp_session_options session;

/* An F16 model, a plan for it, and the files to write. */
static struct {
    tlp_model *model;
    tlp_plan *plan;
    char path[512], plan_path[512];
} job;

static void set_up(const char *form)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F16;
    spec.n_ff = 256;
    job.model = rig_open_changeable(tiny_make(&spec));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 11);
    snprintf(job.path, sizeof job.path, "%s", tiny_path("small.gguf"));
    snprintf(job.plan_path, sizeof job.plan_path, "%s", tiny_path("p.json"));
    CHECK_OK(tlp_plan_parse(&job.plan, job.model, form));
}

static void tear_down(void)
{
    tlp_plan_free(job.plan);
    tlp_model_free(job.model);
}

static tlp_plan_bake_options bake_options(void)
{
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;

    session = plan_rig_session(N_CTX);
    o.session = &session;
    o.plan_path = job.plan_path;
    o.type = "Q4_0";
    return o;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static bool holds(const char *path, const char *text)
{
    char buf[64] = "";
    FILE *f = fopen(path, "rb");

    if (!f)
        return false;
    size_t n = fread(buf, 1, sizeof buf - 1, f);
    fclose(f);
    return n == strlen(text) && memcmp(buf, text, n) == 0;
}

/* The saved plan fits the new file alone, and is the plan that was handed out.
 * The name of a file of adjustments may differ. */
static void expect_plan_of_file(const tlp_plan *given)
{
    tlp_model *m = rig_open_changeable(job.path);
    tlp_plan *loaded = NULL;

    CHECK_OK(tlp_plan_load(&loaded, m, job.plan_path));
    char *x = plan_rig_format(loaded, TLP_PLAN_JSON);
    tlp_plan_free(loaded);
    CHECK_FAILS(TLP_EMISMATCH,
                tlp_plan_load(&loaded, job.model, job.plan_path));
    char *y = plan_rig_format(given, TLP_PLAN_JSON);
    char *name = strstr(x, "adjust.safetensors"), *begin = name;
    while (begin && begin[-1] != '"')
        begin--;
    if (begin)
        memmove(begin, name, strlen(name) + 1);
    cr_expect_str_eq(x, y);
    free(y);
    free(x);
    tlp_model_free(m);
}

/* ==== tlp_plan_quantize ================================================== */

Test(plan_quantize, is_quantize_and_carry)
{
    tlp_quantize_result r = { .struct_size = sizeof r }, s = r;
    tlp_model_info x = { .struct_size = sizeof x }, y = x;
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    const char *other = tiny_path("other.gguf");
    tlp_plan *plan = NULL, *carried = NULL;

    set_up(PLAN);
    o.pure = 1;
    CHECK_OK(tlp_plan_quantize(&plan, &r, job.plan, job.path, job.plan_path,
                               "Q4_0", &o));
    expect_plan_of_file(plan);
    CHECK_OK(tlp_model_quantize(&s, job.model, other, "Q4_0", &o));
    cr_expect_eq(memcmp(&r, &s, sizeof r), 0);
    tlp_model *m = rig_open_changeable(other);
    CHECK_OK(tlp_plan_carry(&carried, job.plan, m));
    char *a = plan_rig_format(plan, TLP_PLAN_JSON),
         *b = plan_rig_format(carried, TLP_PLAN_JSON);
    cr_expect_str_eq(a, b);
    cr_expect(strstr(a, "\"carried_from\""), "%s", a);
    free(b);
    free(a);

    tlp_model *n = rig_open_changeable(job.path);
    CHECK_OK(tlp_model_get_info(&x, n));
    CHECK_OK(tlp_model_get_info(&y, m));
    cr_expect_str_eq(x.fingerprint, y.fingerprint);
    tlp_model_free(n);
    tlp_plan_free(carried);
    tlp_model_free(m);
    tlp_plan_free(plan);
    tear_down();
}

Test(plan_quantize, carries_adjustments)
{
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan *adjusted = NULL, *plan = NULL;
    tlp_plan_adjust_info info = { .struct_size = sizeof info };

    set_up(PLAN);
    session = plan_rig_session(N_CTX);
    o.session = &session;
    o.rank = 8;
    CHECK_OK(tlp_plan_adjust(&adjusted, NULL, job.plan, ids, N_TOKEN, &o));
    CHECK_OK(tlp_plan_quantize(&plan, NULL, adjusted, job.path, job.plan_path,
                               "Q8_0", NULL));
    expect_plan_of_file(plan);
    CHECK_OK(tlp_plan_get_adjust(&info, plan));
    cr_expect_gt(info.n_bytes, 0);
    tlp_plan_free(plan);
    tlp_plan_free(adjusted);
    tear_down();
}

static void refuse(tlp_status want, const char *words, const char *path,
                   const char *plan_path, const char *type)
{
    tlp_plan *plan = NULL;

    CHECK_FAILS(want, tlp_plan_quantize(&plan, NULL, job.plan, path, plan_path,
                                        type, NULL));
    cr_expect_null(plan);
    cr_expect(strstr(tlp_last_error(), words), "%s", tlp_last_error());
}

Test(plan_quantize, refuses)
{
    char again[1024];
    tlp_plan *plan = NULL;

    set_up(PLAN);
    put(job.path, "old");
    put(job.plan_path, "old plan");
    int before = written_n_beside(job.path);
    snprintf(again, sizeof again, "%.*s/.%s",
             (int)(strrchr(job.path, '/') - job.path), job.path,
             strrchr(job.path, '/'));
    refuse(TLP_EINVAL, "model and plan in one file", job.path, job.path,
           "Q8_0");
    refuse(TLP_EINVAL, "model and plan in one file", job.path, again, "Q8_0");
    refuse(TLP_EINVAL, "own file", job.model->path, job.plan_path, "Q8_0");
    refuse(TLP_EINVAL, "own file", job.path, job.model->path, "Q8_0");
    refuse(TLP_EINVAL, "type Q9_0", job.path, job.plan_path, "Q9_0");
    refuse(TLP_EIO, "/nowhere/p.json", job.path, "/nowhere/p.json", "Q8_0");
    refuse(TLP_EIO, "/nowhere/x.gguf", "/nowhere/x.gguf", job.plan_path,
           "Q8_0");
    CHECK_FAILS(TLP_EINVAL, tlp_plan_quantize(NULL, NULL, job.plan, job.path,
                                              NULL, "Q8_0", NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_quantize(&plan, NULL, NULL, job.path, NULL,
                                              "Q8_0", NULL));
    cr_expect(holds(job.path, "old") && holds(job.plan_path, "old plan"));
    cr_expect_eq(written_n_beside(job.path), before);
    CHECK_OK(tlp_plan_quantize(&plan, NULL, job.plan, job.path, NULL, "Q8_0",
                               NULL)); /* without a file for the plan */
    cr_expect(holds(job.plan_path, "old plan"));
    tlp_plan_free(plan);
    tear_down();
}

/* ==== tlp_plan_bake ====================================================== */

/* The units are ordered first, then quantised: bake, quantize and carry give
 * an equal file. */
Test(plan_quantize, bakes_before_it_quantizes)
{
    static const char *const types[] = { "Q4_0", "Q8_0", "BF16", "F16" };
    tlp_plan_bake_options o = { 0 }, whole;
    tlp_plan_bake_report r = { .struct_size = sizeof r }, s = r;
    tlp_model_info x = { .struct_size = sizeof x }, y = x;
    const char *mid = tiny_path("mid.gguf"), *end = tiny_path("end.gguf");
    tlp_plan *plan = NULL, *baked = NULL;

    set_up(PLAN);
    whole = bake_options();
    whole.type = whole.plan_path = NULL;
    CHECK_OK(tlp_plan_bake(&baked, &r, job.plan, mid, ids, N_TOKEN, &whole));
    cr_expect_eq(r.n_converted, 0);
    tlp_model *m = rig_open_changeable(mid);
    for (size_t i = 0; i < TLPI_COUNT(types); i++) {
        o = bake_options();
        o.type = types[i];
        CHECK_OK(
            tlp_plan_bake(&plan, &s, job.plan, job.path, ids, N_TOKEN, &o));
        cr_expect_eq(s.kl_after, r.kl_after);
        cr_expect_eq(s.n_unit, r.n_unit);
        cr_expect_eq(s.n_converted > 0, i < 3);
        expect_plan_of_file(plan);
        tlp_plan_free(plan);

        CHECK_OK(tlp_model_quantize(NULL, m, end, types[i], NULL));
        tlp_model *a = rig_open_changeable(end),
                  *b = rig_open_changeable(job.path);
        CHECK_OK(tlp_model_get_info(&x, a));
        CHECK_OK(tlp_model_get_info(&y, b));
        cr_expect_str_eq(x.fingerprint, y.fingerprint, "%s", types[i]);
        for (size_t k = 0; k < a->file[0]->n_tensor; k++) {
            const tlpi_tensor *t = &a->file[0]->tensor[k];
            const tlpi_tensor *u = tlpi_model_tensor(b, t->name);

            cr_assert(u && u->n_bytes == t->n_bytes);
            cr_expect_eq(memcmp(t->data, u->data, t->n_bytes), 0, "%s",
                         t->name);
        }
        tlp_model_free(b);
        tlp_model_free(a);
    }
    tlp_model_free(m);
    tlp_plan_free(baked);
    tear_down();
}

/* The text names the value's place in the model, not in the new order. */
Test(plan_quantize, names_a_value_without_a_place)
{
    tlp_plan_bake_options o;
    tlp_plan *plan = NULL;
    char want[64];

    set_up("nosync@2:1a");
    o = bake_options();
    o.type = "F32";
    CHECK_OK(tlp_plan_bake(&plan, NULL, job.plan, job.path, ids, N_TOKEN, &o));
    tlp_plan_free(plan);
    remove(job.path);
    remove(job.plan_path);

    tiny_spec spec = tiny_default();
    spec.n_ff = 256;
    spec.type = TLPI_F32;
    tlp_model *m = rig_open_changeable(tiny_make(&spec));
    tlp_plan *own = NULL;
    CHECK_OK(tlp_plan_parse(&own, m, "nosync@2:1a"));
    o.type = "F16";
    for (int row = 0; row < 256; row += 85) {
        float *gate = (float *)m->w.layer[1].t[TLPI_FFN_GATE]->data;
        float *up = (float *)m->w.layer[1].t[TLPI_FFN_UP]->data;
        float *x = gate + (size_t)row * 96 + 7;

        memset(up + (size_t)row * 96, 0, 96 * sizeof *up); /* the unit is 0 */
        *x = 70000;
        CHECK_FAILS(TLP_EFORMAT, tlp_plan_bake(&plan, NULL, own, job.path, ids,
                                               N_TOKEN, &o));
        snprintf(want, sizeof want, "row %d, column 7: 70000 has no place",
                 row);
        cr_expect(strstr(tlp_last_error(), want), "%s", tlp_last_error());
        cr_expect_neq(access(job.path, F_OK), 0);
        cr_expect_neq(access(job.plan_path, F_OK), 0);
        *x = 0;
    }
    tlp_plan_free(own);
    tlp_model_free(m);
    tear_down();
}

static void refuse_bake(tlp_status want, const char *words,
                        const tlp_plan_bake_options *o)
{
    tlp_plan *plan = NULL;

    CHECK_FAILS(
        want, tlp_plan_bake(&plan, NULL, job.plan, job.path, ids, N_TOKEN, o));
    cr_expect_null(plan);
    cr_expect(strstr(tlp_last_error(), words), "%s", tlp_last_error());
    cr_expect(holds(job.path, "old") && holds(job.plan_path, "old plan"));
}

Test(plan_quantize, bake_refuses)
{
    set_up(PLAN);
    put(job.path, "old");
    put(job.plan_path, "old plan");
    tlp_plan_bake_options o = bake_options();
    int before = written_n_beside(job.path);

    o.type = "Q9_0";
    refuse_bake(TLP_EINVAL, "type Q9_0", &o);
    o.type = NULL;
    o.pure = 1;
    refuse_bake(TLP_EINVAL, "pure", &o);
    o = bake_options();
    o.pure = 2;
    refuse_bake(TLP_EINVAL, "pure", &o);
    o = bake_options();
    o.plan_path = job.path;
    refuse_bake(TLP_EINVAL, "model and plan in one file", &o);
    o.plan_path = job.model->path;
    refuse_bake(TLP_EINVAL, "own file", &o);
    o.plan_path = "/nowhere/p.json";
    refuse_bake(TLP_EIO, "/nowhere/p.json", &o);
    cr_expect_eq(written_n_beside(job.path), before);
    tear_down();
}

/* ==== nothing is half-written ============================================ */

/* Whatever the size of the disk: both files, or neither. */
Test(plan_quantize, full_disk_leaves_both_old_files)
{
    struct rlimit limit;
    tlp_plan *plan = NULL;
    tlp_status st = TLP_EIO;

    set_up(PLAN);
    put(job.path, "old");
    put(job.plan_path, "old plan");
    int before = written_n_beside(job.path);
    tlp_plan_bake_options o = bake_options();
    signal(SIGXFSZ, SIG_DFL);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (rlim_t room = 0; st == TLP_EIO; room = 2 * room + 100) {
        struct rlimit low = { room, limit.rlim_max };

        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
        st = tlp_plan_bake(&plan, NULL, job.plan, job.path, ids, N_TOKEN, &o);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_assert(st == TLP_EIO || st == TLP_OK, "%s", tlp_last_error());
        cr_expect_eq(written_n_beside(job.path), before);
        cr_expect_eq(holds(job.path, "old"), st != TLP_OK);
        cr_expect_eq(holds(job.plan_path, "old plan"), st != TLP_OK);
    }
    tlp_plan_free(plan);
    tear_down();
}

Test(plan_quantize, canceled_anywhere)
{
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_status st = TLP_ECANCELED;
    tlp_plan *plan = NULL;
    int n = 1;

    set_up(PLAN);
    put(job.path, "old");
    put(job.plan_path, "old plan");
    int before = written_n_beside(job.path);
    o.progress = written_count;
    for (; st == TLP_ECANCELED; n++) {
        written_meter p = { .cancel_at = n };

        o.progress_data = &p;
        st = tlp_plan_quantize(&plan, NULL, job.plan, job.path, job.plan_path,
                               "Q8_0", &o);
        cr_assert(st == TLP_ECANCELED || st == TLP_OK, "%s", tlp_last_error());
        cr_expect_eq(written_n_beside(job.path), before);
        cr_expect_eq(holds(job.path, "old"), st != TLP_OK);
        cr_expect_eq(holds(job.plan_path, "old plan"), st != TLP_OK);
    }
    cr_expect_gt(n, 10);
    tlp_plan_free(plan);
    tear_down();
}

Test(plan_quantize, memory_runs_out_anywhere)
{
    mem hooks = { 0 };
    tiny_spec spec = tiny_default();
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_plan *plan = NULL, *own = NULL;
    tlp_status st = TLP_ENOMEM;
    tlp_model *m = NULL;
    long n = 1;

    set_up(PLAN);
    put(job.path, "old");
    put(job.plan_path, "old plan");
    mo.allocator = mem_hooks(&hooks);
    o.n_thread = 1;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&own, m, PLAN));
    int before = written_n_beside(job.path);
    long live = hooks.live;
    for (; st == TLP_ENOMEM; n++) {
        hooks.calls = 0;
        hooks.fail_at = n;
        st = tlp_plan_quantize(&plan, NULL, own, job.path, job.plan_path,
                               "Q8_0", &o);
        cr_assert(st == TLP_OK || st == TLP_ENOMEM, "%s", tlp_last_error());
        if (st != TLP_OK)
            cr_assert_eq(hooks.live, live, "call %ld", n);
        cr_expect_eq(written_n_beside(job.path), before, "call %ld", n);
    }
    cr_expect_gt(n, 50);
    tlp_plan_free(plan);
    tlp_plan_free(own);
    tlp_model_free(m);
    tear_down();
}
