/*
 * test_train_resume.c - a training cut short goes on to the bits of a training
 * in one piece, from a file of this training only.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sha256.h"
#include "file/safetensors.h"
#include "model/model.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_tune.h"

TestSuite(train_resume, .timeout = 300);

enum { N_CTX = 32, N_TOKEN = 12 * N_CTX, MAX_POINT = 64 };

static int32_t ids[N_TOKEN];
static tlp_session_options session;
static const char *result, *state; /* files */

static tlp_model *open_model(uint64_t seed)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.type = TLPI_F16;
    spec.seed = seed;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 11);
    return m;
}

/* ==== what a training does =============================================== */

typedef struct course {
    tlp_train_point point[MAX_POINT];
    int n_point, n_call;
    int cancel_at, kill_at; /* calls of progress; 0 = never */
} course;

static void see(const tlp_train_point *p, void *arg)
{
    course *c = arg;

    cr_assert_lt(c->n_point, MAX_POINT);
    c->point[c->n_point++] = *p;
}

static int step(double done, void *arg)
{
    course *c = arg;

    (void)done;
    c->n_call++;
    if (c->n_call == c->kill_at)
        kill(getpid(), SIGKILL);
    return c->n_call == c->cancel_at;
}

static tlp_plan_train_options options(course *c)
{
    tlp_plan_train_options o = TLP_PLAN_TRAIN_OPTIONS_INIT;

    session = plan_rig_session(N_CTX);
    result = tiny_path("trained.gguf");
    state = tiny_path("state");
    *c = (course){ 0 };
    o.session = &session;
    o.n_token = 44 * N_CTX;
    o.rate = 1e-3;
    o.held_out = 0.2;
    o.point = see;
    o.point_data = c;
    o.progress = step;
    o.progress_data = c;
    return o;
}

static const char plan_text[] = "nosync@2:1,2a;par:3-4";

static tlp_status train(tlp_model *m, const tlp_plan_train_options *o,
                        char **json)
{
    tlp_plan *plan = NULL, *trained = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, plan_text));
    tlp_status st =
        tlp_plan_train(&trained, NULL, plan, result, ids, N_TOKEN, o);

    if (st == TLP_OK && json)
        *json = plan_rig_format(trained, TLP_PLAN_JSON);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    return st;
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void expect_same_points(const course *a, const course *b)
{
    cr_assert_eq(a->n_point, b->n_point);
    for (int i = 0; i < a->n_point; i++) {
        const tlp_train_point *p = &a->point[i], *q = &b->point[i];

        cr_expect(p->n_token == q->n_token && p->step == q->step &&
                      p->n_step == q->n_step && same(p->loss, q->loss) &&
                      p->kl == q->kl && p->ppl == q->ppl &&
                      p->top1_agreement == q->top1_agreement &&
                      p->rate == q->rate,
                  "point %d", i);
        cr_expect(i == 0 || q->seconds > b->point[i - 1].seconds);
    }
}

/* ==== equal bits ========================================================= */

/* Cut after every `part` steps, each piece with another number of threads. */
static void expect_equal_bits(tlp_model *m, const tlp_plan_train_options *given,
                              int part)
{
    tlp_plan_train_options o = *given;
    course *c = o.progress_data, whole;
    char *want = NULL, *got = NULL;
    size_t n_want = 0, n_got = 0;
    tlp_status st = TLP_ECANCELED;
    int n_run = 0;

    *c = (course){ 0 };
    CHECK_OK(train(m, &o, &want));
    char *want_file = tool_read_file(result, &n_want);

    whole = *c;
    unlink(result);
    o.resume_path = state;
    for (; st == TLP_ECANCELED && n_run < 100; n_run++) {
        *c = (course){ .cancel_at = part };
        session.n_thread = session.n_thread_prefill = 1 + n_run % 3;
        st = train(m, &o, &got);
    }
    CHECK_OK(st);
    cr_expect_gt(n_run, 3);
    cr_expect(c->n_point == 0 || c->point[0].resumed);
    expect_same_points(&whole, c);
    char *got_file = tool_read_file(result, &n_got);

    cr_expect_str_eq(got, want);
    cr_expect(n_got == n_want && memcmp(got_file, want_file, n_got) == 0,
              "other bits after %d pieces", n_run);

    /* All steps are done: nothing is left but to write the results. */
    *c = (course){ 0 };
    free(got);
    CHECK_OK(train(m, &o, &got));
    cr_expect_eq(c->n_call, 0);
    cr_expect_str_eq(got, want);
    free(got_file);
    free(want_file);
    free(got);
    free(want);
    unlink(o.resume_path);
}

Test(train_resume, pieces_give_the_bits_of_the_whole)
{
    course c;
    tlp_model *m = open_model(1);
    tlp_plan_train_options o = options(&c);

    o.full = o.norms = 1;
    expect_equal_bits(m, &o, 7);
    o.full = 0;
    o.rank = 4;
    o.gains = 1;
    o.n_accum = 2;
    o.weight_decay = 0.1;
    o.text_share = 0.3;
    o.seed = 5;
    expect_equal_bits(m, &o, 5);
    tlp_model_free(m);
}

/* The child is killed two steps after a state was written. */
Test(train_resume, a_killed_training_goes_on)
{
    course c, whole;
    char *want = NULL, *got = NULL;
    int status = 0;
    pid_t pid;

    CHECK_SKIP_FORK();
    tlp_plan_train_options o = options(&c);

    pid = fork();
    tlp_model *m = open_model(1);

    o.full = 1;
    if (pid == 0) {
        o.resume_path = state;
        c.kill_at = 27;
        (void)train(m, &o, NULL);
        _exit(1);
    }
    cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_OK(train(m, &o, &want));
    whole = c;
    c = (course){ 0 };
    o.resume_path = state;
    cr_assert(tool_exists(o.resume_path));
    CHECK_OK(train(m, &o, &got));
    cr_expect(c.n_call > 0 && c.n_call < 30, "%d steps were left", c.n_call);
    cr_expect_str_eq(got, want);
    expect_same_points(&whole, &c);
    free(got);
    free(want);
    tlp_model_free(m);
}

/* With `keep` the best state so far is handed out, and the training goes on
 * later all the same. */
Test(train_resume, a_kept_training_goes_on)
{
    course c;
    tlp_model *m = open_model(1);
    tlp_plan_train_options o = options(&c);
    char *want = NULL, *kept = NULL, *got = NULL;

    o.norms = o.gains = 1;
    o.rate = 1e-2;
    CHECK_OK(train(m, &o, &want));
    o.keep = 1;
    o.resume_path = state;
    c = (course){ .cancel_at = 25 };
    CHECK_OK(train(m, &o, &kept));
    c = (course){ 0 };
    CHECK_OK(train(m, &o, &got));
    cr_expect_str_neq(kept, want);
    cr_expect_str_eq(got, want);
    free(got);
    free(kept);
    free(want);
    tlp_model_free(m);
}

/* A number of the state in the file. */
static double number_of(const char *key)
{
    char name[64];
    size_t n;
    char *data = tool_read_file(state, &n);

    snprintf(name, sizeof name, "\\\"%s\\\": ", key);
    const char *at = strstr(data + 8, "\"state\":");

    at = at ? strstr(at, name) : NULL;
    cr_assert_not_null(at, "%s", key);
    double value = strtod(at + strlen(name), NULL);

    free(data);
    return value;
}

/* The number of steps that the time allowed stays, and the time counts. */
Test(train_resume, the_time_of_earlier_runs_counts)
{
    course c;
    tlp_model *m = open_model(1);
    tlp_plan_train_options o = options(&c);
    double n_step = 0, seconds = 0;

    o.n_token = 0;
    o.seconds = 1e5;
    o.norms = 1;
    o.resume_path = state;
    for (int i = 0; i < 4; i++) { /* step 4 is in the second run */
        c = (course){ .cancel_at = 3 };
        CHECK_FAILS(TLP_ECANCELED, train(m, &o, NULL));
        cr_expect_eq(number_of("step"), 3 * (i + 1));
        cr_expect_gt(number_of("seconds"), seconds);
        seconds = number_of("seconds");
        if (i > 0)
            cr_expect_gt(number_of("n_step"), 100);
        if (i > 1)
            cr_expect_eq(number_of("n_step"), n_step);
        n_step = number_of("n_step");
    }
    cr_expect_eq(c.n_point, 4);
    cr_expect_lt(c.point[3].seconds, seconds);
    tlp_model_free(m);
}

/* ==== a full disk ======================================================== */

Test(train_resume, a_full_disk_leaves_the_older_state)
{
    course c;
    tlp_model *m = open_model(1);
    tlp_plan_train_options o = options(&c);
    char *want = NULL, *got = NULL;
    struct rlimit limit, low;
    size_t n = 0, n_then = 0;

    o.norms = 1;
    o.rate = 1e-2;
    CHECK_OK(train(m, &o, &want));
    o.resume_path = state;
    c = (course){ .cancel_at = 10 };
    CHECK_FAILS(TLP_ECANCELED, train(m, &o, NULL));
    char *older = tool_read_file(o.resume_path, &n);

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low = limit;
    low.rlim_cur = n - 1;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    c = (course){ 0 };
    CHECK_FAILS(TLP_EIO, train(m, &o, NULL));
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_expect(strstr(tlp_last_error(), o.resume_path));
    char *then = tool_read_file(o.resume_path, &n_then);

    cr_expect(n == n_then && memcmp(older, then, n) == 0);
    c = (course){ 0 };
    CHECK_OK(train(m, &o, &got));
    cr_expect_str_eq(got, want);
    free(then);
    free(older);
    free(got);
    free(want);
    tlp_model_free(m);
}

/* ==== states of other trainings ========================================== */

static void refuse(tlp_model *m, const tlp_plan_train_options *o,
                   tlp_status want, const char *says)
{
    CHECK_FAILS(want, train(m, o, NULL));
    cr_expect(strstr(tlp_last_error(), says), "\"%s\" expected: %s", says,
              tlp_last_error());
    cr_expect(strstr(tlp_last_error(), o->resume_path), "%s", tlp_last_error());
    cr_expect_eq(((course *)o->progress_data)->n_call, 0);
}

/* A state of a training of norms. */
static void make_state(tlp_model *m, tlp_plan_train_options *o, course *c)
{
    *o = options(c);
    o->norms = 1;
    o->resume_path = state;
    c->cancel_at = 10;
    CHECK_FAILS(TLP_ECANCELED, train(m, o, NULL));
    *c = (course){ 0 };
}

Test(train_resume, refuses_another_training)
{
    course c;
    tlp_model *m = open_model(1), *other;
    tlp_plan_train_options o, was;

    make_state(m, &o, &c);
    was = o;
#define REFUSE(field, value)                                                   \
    do {                                                                       \
        o.field = (value);                                                     \
        refuse(m, &o, TLP_EMISMATCH, "\"of." #field "\"");                     \
        o = was;                                                               \
    } while (0)
    REFUSE(seed, 1);
    REFUSE(n_token, 45 * N_CTX);
    REFUSE(n_accum, 2);
    REFUSE(gains, 1);
    REFUSE(full, 1);
    REFUSE(rank, 2);
    REFUSE(rate, 2e-3);
    REFUSE(warm_up, 0.1);
    REFUSE(weight_decay, 0.1);
    REFUSE(clip, 2);
    REFUSE(text_share, 0.5);
    REFUSE(held_out, 0.4);
    session.n_ctx = 16;
    refuse(m, &o, TLP_EMISMATCH, "of.");
    session.n_ctx = N_CTX;
    session.compute = TLP_COMPUTE_DEFAULT;
    refuse(m, &o, TLP_EMISMATCH, "of.compute");
    session.compute = TLP_COMPUTE_F32;
    session.isa = TLP_ISA_SCALAR;
    refuse(m, &o, TLP_EMISMATCH, "of.isa");
    session.isa = TLP_ISA_AUTO;
    ids[3]++;
    refuse(m, &o, TLP_EMISMATCH, "of.tokens");
    other = open_model(2);
    refuse(other, &o, TLP_EMISMATCH, "of.");
    tlp_model_free(other);
    tlp_model_free(m);
}

Test(train_resume, paths_are_checked)
{
    course c;
    tlp_model *m = open_model(1);
    tlp_plan_train_options o = options(&c);

    o.full = 1;
    o.resume_path = m->path;
    refuse(m, &o, TLP_EINVAL, "own file");
    o.resume_path = result;
    refuse(m, &o, TLP_EINVAL, "one file");
    o.plan_path = o.resume_path = tiny_path("p.json");
    refuse(m, &o, TLP_EINVAL, "one file");
    o.plan_path = NULL;
    o.resume_path = tiny_path("no/such/folder");
    refuse(m, &o, TLP_EIO, "folder");
    tlp_model_free(m);
}

/* ==== damaged and forged files =========================================== */

static void write_and_refuse(tlp_model *m, tlp_plan_train_options *o,
                             const char *data, size_t n, const char *says)
{
    o->resume_path = tiny_path("bad");
    tool_write_file(o->resume_path, data, n);
    refuse(m, o, TLP_EFORMAT, says);
}

/* Give the file the checksum that belongs to what it says now. */
static void seal(tlp_model *m, char *data, size_t n)
{
    tlpi_safetensors *s = NULL;
    char found[TLPI_HASH_TEXT], *at;
    tlpi_sha256 hash;

    CHECK_OK(tlpi_safetensors_open(&s, &m->env, data, n, "forged"));
    const char *of = tlpi_safetensors_get(s, "of");
    const char *progress = tlpi_safetensors_get(s, "state");
    const char *numbers = s->tensor[0].data;

    tlpi_sha256_init(&hash);
    tlpi_sha256_add(&hash, of, strlen(of) + 1);
    tlpi_sha256_add(&hash, progress, strlen(progress) + 1);
    tlpi_sha256_add(&hash, numbers, (size_t)(data + n - numbers));
    tlpi_sha256_text(&hash, found);
    at = strstr(data + 8, "\"sha256\":\"");
    cr_assert_not_null(at);
    memcpy(at + 10, found, strlen(found));
    tlpi_safetensors_close(s);
}

/* `from` becomes `to`, of equal length, in the header. */
static char *forge(tlp_model *m, const char *good, size_t n, const char *from,
                   const char *to)
{
    char *data = malloc(n + 1), *at;

    cr_assert_not_null(data);
    memcpy(data, good, n + 1);
    at = strstr(data + 8, from);
    cr_assert(at && strlen(from) == strlen(to), "%s", from);
    memcpy(at, to, strlen(to));
    seal(m, data, n);
    return data;
}

/* Number `i` of the data becomes x. */
static void forge_number(tlp_model *m, tlp_plan_train_options *o,
                         const char *good, size_t n, size_t i, float x)
{
    char *data = malloc(n + 1);
    uint64_t header;

    cr_assert_not_null(data);
    memcpy(data, good, n + 1);
    memcpy(&header, data, 8);
    memcpy(data + 8 + header + i * sizeof(x), &x, sizeof(x));
    write_and_refuse(m, o, data, n, "damaged");
    seal(m, data, n);
    write_and_refuse(m, o, data, n, "not finite");
    free(data);
}

Test(train_resume, refuses_damaged_files)
{
    course c;
    tlp_model *m = open_model(1);
    tlp_plan_train_options o;
    size_t n;

    make_state(m, &o, &c);
    char *good = tool_read_file(o.resume_path, &n);
    const size_t cut[] = { 1, 7, 9, 300, n / 2, n - 4, n - 1 };

    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++)
        write_and_refuse(m, &o, good, cut[i], "bad");
    size_t d = (size_t)m->hp.n_embd; /* of the first tensor, a norm */

    forge_number(m, &o, good, n, 0, NAN);
    forge_number(m, &o, good, n, d, INFINITY);
    forge_number(m, &o, good, n, 2 * d + 1, -1);
    forge_number(m, &o, good, n, 4 * d - 1, -INFINITY);
    free(good);
    tlp_model_free(m);
}

Test(train_resume, refuses_forged_files)
{
    static const char *const cases[][3] = {
        { "\"tlp_train\":\"1\"", "\"tlp_train\":\"9\"", "tlp_train" },
        { "\\\"step\\\": 10", "\\\"step\\\": 99", "state.step" },
        { "\\\"step\\\": 10", "\\\"step\\\": -1", "state.step" },
        { "\\\"step\\\": 10", "\\\"step\\\": {}", "state.step" },
        { "\\\"n_step\\\": 44", "\\\"n_step\\\": 45", "state.n_step" },
        { "\\\"epoch\\\": ", "\\\"epoch\\\":-", "state.epoch" },
        { "\\\"next\\\": ", "\\\"next\\\":9", "state.next" },
        { "\\\"token\\\"", "\\\"broke\\\"", "state.token" },
        { "\\\"random\\\": \\\"", "\\\"random\\\":\\\" ", "state.random" },
        { "\\\"first\\\": [", "\\\"first\\\":[[", "metadata" },
        { "\\\"best\\\": [", "\\\"best\\\":{}", "metadata" },
        { "\\\"points\\\": [", "\\\"pounts\\\": [", "state.points" },
        { "blk.1", "blk.7", "tensor" },
        { "\"shape\":[4,96]", "\"shape\":[96,4]", "tensor" },
    };
    course c;
    tlp_model *m = open_model(1);
    tlp_plan_train_options o;
    size_t n;

    make_state(m, &o, &c);
    char *good = tool_read_file(o.resume_path, &n);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *data = forge(m, good, n, cases[i][0], cases[i][1]);

        write_and_refuse(m, &o, data, n, cases[i][2]);
        free(data);
    }
    write_and_refuse(m, &o, good, 0, "bad");
    free(good);
    tlp_model_free(m);
}
