/*
 * test_threads.c - the threads of a session: their numbers, changed numbers,
 * threads of the host, spinning, masks.  Bits never depend on them.
 */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* More positions than a chunk of attention, and more tokens than a chunk of a
 * matmul; then single tokens. */
enum { N_PROMPT = 330, N_DECODE = 6, N_TOKEN = N_PROMPT + N_DECODE };

static const char *const plans[] = { "serial", "par:0-1" };

TestSuite(threads, .timeout = 240);

static const char *model_path(void)
{
    tiny_spec s = tiny_default();

    s.n_layer = 3;
    s.n_embd = 128;
    s.n_ff = 320;
    s.n_head = 8;
    s.n_head_kv = 4;
    s.n_ctx = 512;
    s.type = TLPI_Q8_0;
    return tiny_make(&s);
}

static tlp_session_options options(int n_rank, int n_thread)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.n_rank = n_rank;
    o.n_thread = n_thread;
    o.n_ctx = 512;
    o.timeout_ms = 60000; /* a busy machine is no fault */
    return o;
}

static tlp_session_stats stats_of(const rig *r)
{
    tlp_session_stats s = { .struct_size = sizeof s };

    CHECK_OK(tlp_session_get_stats(&s, r->session));
    return s;
}

/* A call that changes the session between steps, or NULL. */
typedef void (*change_fn)(rig *r, int step);

/* Logits of the prompt's last token and of every token after it,
 * [1 + N_DECODE][n_vocab]; the caller frees them. */
static float *run(const char *path, const char *plan,
                  const tlp_session_options *o, change_fn change)
{
    rig r = rig_open(path, plan, o);
    size_t row = r.n_vocab;
    float *all = malloc((1 + N_DECODE) * row * sizeof *all);
    int32_t ids[N_TOKEN];
    const float *logits = NULL;

    cr_assert(all != NULL);
    rig_tokens(ids, N_TOKEN, r.n_vocab, 3);
    for (int i = 0; i <= N_DECODE; i++) {
        if (change)
            change(&r, i);
        if (i == 0)
            CHECK_OK(tlp_session_prefill(r.session, ids, N_PROMPT));
        else
            CHECK_OK(tlp_session_decode(r.session, ids[N_PROMPT + i - 1]));
        CHECK_OK(tlp_session_logits(&logits, r.session, 0));
        memcpy(all + (size_t)i * row, logits, row * sizeof *all);
    }
    rig_close(&r);
    return all;
}

static void expect_equal(const char *path, const char *plan,
                         const tlp_session_options *o, change_fn change,
                         const float *want, const char *what)
{
    float *got = run(path, plan, o, change);

    cr_assert_eq(memcmp(got, want, (1 + N_DECODE) * 288 * sizeof *got), 0,
                 "%s, %s, %d ranks, %d and %d threads: other bits", what, plan,
                 o->n_rank, o->n_thread, o->n_thread_prefill);
    free(got);
}

/* ==== equal bits ========================================================= */

enum { BACKWARD, AT_ONCE, NOTHING, N_MANNER };

typedef struct one_call {
    tlp_work_fn fn;
    void *arg;
    int32_t i;
} one_call;

static void *call_one(void *arg)
{
    const one_call *c = arg;
    c->fn(c->arg, c->i);
    return NULL;
}

/* Sessions of several ranks call this on several threads. */
static void lend(int32_t n, tlp_work_fn fn, void *arg, void *user)
{
    int manner = *(const int *)user;
    pthread_t thread[8];
    one_call call[8];

    if (n < 1 || n > 8)
        abort();
    if (manner == BACKWARD)
        for (int32_t i = n; i-- > 0;)
            fn(arg, i);
    for (int32_t i = 0; i < n && manner == AT_ONCE; i++) {
        call[i] = (one_call){ fn, arg, i };
        if (pthread_create(&thread[i], NULL, call_one, &call[i]) != 0)
            abort();
    }
    for (int32_t i = 0; i < n && manner == AT_ONCE; i++)
        pthread_join(thread[i], NULL);
}

static void change_numbers(rig *r, int step)
{
    static const int numbers[][2] = { { 2, 3 }, { 1, 1 }, { 5, 1 }, { 3, 0 },
                                      { 0, 4 }, { 7, 7 }, { 2, 1 } };
    const int *n = numbers[step % COUNT(numbers)];
    tlp_session_stats before = stats_of(r), after;

    CHECK_OK(tlp_session_set_threads(r->session, n[0], n[1]));
    after = stats_of(r);
    cr_assert_eq(after.n_thread, n[0] ? n[0] : before.n_thread);
    cr_assert_eq(after.n_thread_prefill, n[1] ? n[1] : before.n_thread_prefill);
}

static void compare_all(const char *path, const char *plan, int n_rank,
                        int compute)
{
    static const int numbers[][2] = { { 2, 0 }, { 3, 1 }, { 1, 4 }, { 6, 6 } };
    tlp_session_options o = options(n_rank, 1);

    o.compute = compute;
    float *want = run(path, plan, &o, NULL);
    for (int i = 0; i < COUNT(numbers); i++) {
        o.n_thread = numbers[i][0];
        o.n_thread_prefill = numbers[i][1];
        o.spin_us = i - 1; /* never, adapts, fixed */
        expect_equal(path, plan, &o, NULL, want, "numbers");
    }
    o.spin_us = 0;
    o.n_thread_prefill = 0;
    expect_equal(path, plan, &o, change_numbers, want, "changed numbers");
    for (int manner = 0; manner < N_MANNER; manner++) {
        tlp_pool pool = TLP_POOL_INIT;
        pool.run = lend;
        pool.user = &manner;
        o.pool = &pool;
        o.n_thread = 3;
        expect_equal(path, plan, &o, NULL, want, "threads of the host");
        if (manner == BACKWARD)
            expect_equal(path, plan, &o, change_numbers, want,
                         "changed numbers of the host's threads");
    }
    free(want);
}

Test(threads, bits_of_one_rank)
{
    const char *path = model_path();

    for (int p = 0; p < COUNT(plans); p++)
        for (int c = 0; c < 2; c++)
            compare_all(path, plans[p], 1,
                        c ? TLP_COMPUTE_F32 : TLP_COMPUTE_DEFAULT);
}

Test(threads, bits_of_two_ranks)
{
    compare_all(model_path(), plans[1], 2, TLP_COMPUTE_DEFAULT);
}

Test(threads, bits_of_every_instruction_set)
{
    const char *path = model_path();

    for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
        tlp_session_options o = options(1, 1);

        if (!rig_has_isa(isa))
            continue;
        o.isa = isa;
        float *want = run(path, plans[0], &o, NULL);
        o.n_thread = 4;
        expect_equal(path, plans[0], &o, NULL, want, rig_isa_name(isa));
        free(want);
    }
}

/* ==== numbers ============================================================ */

Test(threads, numbers_are_checked)
{
    tlp_session_options o = options(1, 2);
    rig r = rig_open(model_path(), "serial", &o);

    cr_assert_eq(stats_of(&r).n_thread, 2);
    cr_assert_eq(stats_of(&r).n_thread_prefill, 2);
    CHECK_FAILS(TLP_EINVAL, tlp_session_set_threads(NULL, 1, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_set_threads(r.session, -1, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_set_threads(r.session, 1, -1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_set_threads(r.session, 257, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_set_threads(r.session, 1, 257));
    cr_assert(strstr(tlp_last_error(), "257 to prefill"));
    cr_assert_eq(stats_of(&r).n_thread, 2);
    CHECK_OK(tlp_session_set_threads(r.session, 0, 0));
    cr_assert_eq(stats_of(&r).n_thread, 2);
    rig_close(&r);
}

/* Out of memory at every allocation of a larger number: the numbers stay, and
 * the session goes on. */
Test(threads, no_memory_for_more)
{
    for (int n_rank = 1; n_rank <= 2; n_rank++) {
        mem m = { .fail_after = true };
        tlp_allocator hooks = mem_hooks(&m);
        tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
        tlp_session_options o = options(n_rank, 1);
        rig r = { .n_vocab = 288 };
        int failed = 0;

        mo.allocator = hooks;
        CHECK_OK(tlp_model_open(&r.model, model_path(), &mo));
        CHECK_OK(tlp_plan_parse(&r.plan, r.model, "serial"));
        CHECK_OK(tlp_session_create(&r.session, r.plan, &o));
        for (int at = 1;; at++) {
            m.calls = 0;
            m.fail_at = at;
            tlp_status st = tlp_session_set_threads(r.session, 2, 3);
            m.fail_at = 0;
            if (st == TLP_OK)
                break;
            cr_assert_eq(st, TLP_ENOMEM, "%s", tlp_last_error());
            cr_assert_eq(stats_of(&r).n_thread, 1);
            cr_assert_eq(stats_of(&r).n_thread_prefill, 1);
            CHECK_OK(tlp_session_decode(r.session, 1));
            failed++;
        }
        cr_assert(failed > 3, "%d", failed);
        cr_assert_eq(stats_of(&r).n_thread_prefill, 3);
        CHECK_OK(tlp_session_decode(r.session, 1));
        rig_close(&r);
        cr_assert_eq(m.live, 0);
    }
}

static void run_nothing(int32_t n, tlp_work_fn fn, void *arg, void *user)
{
    (void)n;
    (void)fn;
    (void)arg;
    (void)user;
}

Test(threads, a_pool_is_checked)
{
    tlp_session_options o = options(1, 2);
    rig r = rig_open(model_path(), "serial", NULL);
    tlp_session *s = NULL;
    tlp_pool pool = TLP_POOL_INIT;

    o.pool = &pool;
    CHECK_FAILS(TLP_EINVAL, tlp_session_create(&s, r.plan, &o));
    cr_assert(strstr(tlp_last_error(), "pool: run is required"));
    pool.run = run_nothing;
    o.pin = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_session_create(&s, r.plan, &o));
    cr_assert(strstr(tlp_last_error(), "pin"));
    o.pin = 0;
    pool.struct_size = 3;
    CHECK_FAILS(TLP_EINVAL, tlp_session_create(&s, r.plan, &o));
    rig_close(&r);
}

/* ==== masks ============================================================== */

/* CPUs that a thread of this process may use, and whether it is inside. */
static int count_outside(const cpu_set_t *mask, int *n_thread)
{
    DIR *d = opendir("/proc/self/task");
    int outside = 0;

    *n_thread = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        cpu_set_t set, both;
        int tid = atoi(e->d_name);
        if (tid < 1 || sched_getaffinity(tid, sizeof set, &set) != 0)
            continue;
        CPU_AND(&both, &set, mask);
        outside += !CPU_EQUAL(&both, &set);
        ++*n_thread;
    }
    if (d)
        closedir(d);
    return outside;
}

typedef struct narrow {
    tlp_plan *plan;
    cpu_set_t set;
    int n_rank, n_thread, pin;
    int found; /* threads per rank */
    int outside, before, n_all;
} narrow;

static void *create_here(void *arg)
{
    narrow *w = arg;
    tlp_session_options o = options(w->n_rank, w->n_thread);
    tlp_session_stats s = { .struct_size = sizeof s };
    tlp_session *session = NULL;
    int n = 0;

    o.pin = w->pin;
    if (sched_setaffinity(0, sizeof w->set, &w->set) != 0)
        return "no affinity";
    w->before = count_outside(&w->set, &n);
    if (tlp_session_create(&session, w->plan, &o) ||
        tlp_session_decode(session, 1) || tlp_session_get_stats(&s, session))
        return "no session";
    w->found = s.n_thread;
    w->outside = count_outside(&w->set, &w->n_all);
    tlp_session_free(session);
    return NULL;
}

static void expect_narrow(tlp_plan *plan, int n_rank, int n_thread, int pin,
                          int found)
{
    cpu_set_t all;
    size_t cpu = 0;
    void *failed = NULL;
    pthread_t t;
    narrow w = {
        .plan = plan, .n_rank = n_rank, .n_thread = n_thread, .pin = pin
    };

    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_SET(cpu, &w.set);
    cr_assert_eq(pthread_create(&t, NULL, create_here, &w), 0);
    pthread_join(t, &failed);
    cr_assert(!failed, "%s: %s", (char *)failed, tlp_last_error());
    cr_assert_eq(w.found, found);
    cr_assert(w.n_all >= n_rank * found);
    cr_assert_eq(w.outside, w.before, "threads left the mask");
}

/* A session made on a thread with one CPU has one thread per rank by default,
 * and all its threads stay on that CPU, bound or not. */
Test(threads, mask_of_the_calling_thread)
{
    rig r = rig_open(model_path(), "serial", NULL);

    cr_assert_eq(stats_of(&r).n_thread, tlp_default_threads());
    for (int pin = 0; pin <= 1; pin++) {
        expect_narrow(r.plan, 1, 0, pin, 1);
        expect_narrow(r.plan, 2, 0, pin, 1);
        expect_narrow(r.plan, 2, 3, pin, 3);
    }
    rig_close(&r);
}

/* The default is divided among the ranks of the process. */
Test(threads, default_is_divided)
{
    const char *path = model_path();

    for (int n_rank = 1; n_rank <= 3; n_rank++) {
        tlp_session_options o = options(n_rank, 0);
        rig r = rig_open(path, "serial", &o);
        int n = tlp_default_threads() / n_rank;
        cr_assert_eq(stats_of(&r).n_thread, n < 1 ? 1 : n);
        rig_close(&r);
    }
}
