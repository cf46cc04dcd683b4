/*
 * test_host.c - what docs/threads.md promises to a host: callbacks, forks,
 * threads, signals, and how long the host's own objects are used.
 */
#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/mem.h"
#include "support/rig.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "tlp_tune.h"

#define N_PROMPT 7
#define N_PREDICT 12

TestSuite(host, .timeout = 120);

static rig open_rig(int n_rank, int n_thread)
{
    tiny_spec spec = tiny_default();
    tlp_session_options o = rig_f32(n_rank, n_thread);

    o.n_seq = 2;
    return rig_open(tiny_make(&spec), "serial", &o);
}

static void prefill(rig *r)
{
    int32_t ids[N_PROMPT];

    rig_tokens(ids, N_PROMPT, r->n_vocab, 3);
    CHECK_OK(tlp_session_clear(r->session, 0));
    CHECK_OK(tlp_session_prefill(r->session, ids, N_PROMPT));
}

static tlp_generate_options generate_options(tlp_text_fn text, void *data)
{
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;

    o.n_predict = N_PREDICT;
    o.ignore_end = 1;
    o.text = text;
    o.text_data = data;
    return o;
}

/* ==== calls from callbacks =============================================== */

typedef struct from_text {
    rig *r;
    rig *other;  /* a session that may be used, or NULL */
    char *whole; /* text so far */
    int calls;
} from_text;

static void expect_refused(tlp_session *s)
{
    int32_t id = 1;
    float logprob = 0;
    tlp_batch b = TLP_BATCH_INIT;
    tlp_link link = { .struct_size = sizeof link };

    b.n = 1;
    b.tokens = &id;
    CHECK_FAILS(TLP_ESTATE, tlp_session_prefill(s, &id, 1));
    CHECK_FAILS(TLP_ESTATE, tlp_session_decode(s, 1));
    CHECK_FAILS(TLP_ESTATE, tlp_session_eval(s, &b));
    CHECK_FAILS(TLP_ESTATE, tlp_session_score(&logprob, s, 1, &id, 1));
    CHECK_FAILS(TLP_ESTATE, tlp_session_rewind(s, 0, 1));
    CHECK_FAILS(TLP_ESTATE, tlp_session_clear(s, 0));
    CHECK_FAILS(TLP_ESTATE, tlp_session_fork(s, 1, 0));
    CHECK_FAILS(TLP_ESTATE, tlp_session_set_threads(s, 1, 1));
    CHECK_FAILS(TLP_ESTATE, tlp_session_generate(NULL, s, NULL, NULL));
    CHECK_FAILS(TLP_ESTATE, tlp_session_measure(&link, NULL, s));
    CHECK_FAILS(TLP_ESTATE, tlp_session_measure_link(&link.command, s));
}

/* Calls that only read give this status. */
static void expect_read(tlp_session *s, tlp_status want)
{
    tlp_session_stats stats = { .struct_size = sizeof stats };
    int32_t seq = 0, pos = 0, ids[N_PROMPT + N_PREDICT];
    size_t row = 0, count = 0;

    cr_expect_eq(tlp_session_get_stats(&stats, s), want);
    cr_expect_eq(tlp_session_find_row(&row, s, 0), want);
    cr_expect_eq(row, want == TLP_OK ? 0 : SIZE_MAX);
    cr_expect_eq(tlp_session_get_place(&seq, &pos, s, 0), want);
    cr_expect_eq(seq, want == TLP_OK ? 0 : -1);
    cr_expect_eq(pos, want == TLP_OK ? tlp_session_pos(s, 0) - 1 : -1);
    cr_expect_eq(
        tlp_session_get_tokens(ids, N_PROMPT + N_PREDICT, &count, s, 0), want);
    cr_expect_eq(count, want == TLP_OK ? (size_t)tlp_session_pos(s, 0) : 0);
}

static int on_text(const char *text, size_t len, void *data)
{
    from_text *f = data;
    const float *logits = NULL;
    tlp_sampler *sampler = NULL;
    int32_t id = 0;

    strncat(f->whole, text, len);
    f->calls++;
    expect_refused(f->r->session);
    CHECK_OK(tlp_sampler_create(&sampler, f->r->model, NULL));
    CHECK_FAILS(TLP_ESTATE, tlp_session_sample(&id, f->r->session, 0, sampler));
    cr_expect_eq(id, -1);
    tlp_sampler_free(sampler);
    /* reading is allowed */
    CHECK_OK(tlp_session_logits(&logits, f->r->session, 0));
    expect_read(f->r->session, TLP_OK);
    cr_expect_geq(tlp_session_pos(f->r->session, 0), N_PROMPT);
    cr_expect_eq(tlp_session_n_logits(f->r->session), 1);
    prefill(f->other);
    return 0;
}

static int only_collect(const char *text, size_t len, void *data)
{
    from_text *f = data;

    strncat(f->whole, text, len);
    return 0;
}

Test(host, a_text_callback_reads_its_session_and_uses_others)
{
    char want[1024] = "", got[1024] = "";

    for (int n_rank = 1; n_rank <= 2; n_rank++) {
        rig r = open_rig(n_rank, 2), other = open_rig(2, 1);
        from_text plain = { .whole = want }, busy = { &r, &other, got, 0 };
        tlp_generate_options o = generate_options(only_collect, &plain);

        want[0] = got[0] = '\0';
        prefill(&r);
        CHECK_OK(tlp_session_generate(NULL, r.session, NULL, &o));
        o = generate_options(on_text, &busy);
        prefill(&r);
        CHECK_OK(tlp_session_generate(NULL, r.session, NULL, &o));
        cr_expect_gt(busy.calls, 0);
        cr_expect_str_eq(got, want);
        rig_close(&r);
        rig_close(&other);
    }
}

static int free_session(const char *text, size_t len, void *data)
{
    rig *r = data;

    (void)text, (void)len;
    tlp_session_free(r->session);
    return 0;
}

Test(host, a_session_freed_in_its_callback_ends_with_the_call)
{
    mem m = { 0 };
    tlp_allocator hooks = mem_hooks(&m);
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options o = rig_f32(2, 2);
    tiny_spec spec = tiny_default();
    rig r = { .n_vocab = 288 };
    tlp_generate_options g = generate_options(free_session, &r);

    mo.allocator = hooks;
    CHECK_OK(tlp_model_open(&r.model, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "serial"));
    CHECK_OK(tlp_session_create(&r.session, r.plan, &o));
    tlp_plan_free(r.plan);
    tlp_model_free(r.model);
    prefill(&r);
    CHECK_FAILS(TLP_ECANCELED, tlp_session_generate(NULL, r.session, NULL, &g));
    cr_expect_eq(m.live, 0, "%ld blocks", (long)m.live);
}

/* ==== calls from other threads =========================================== */

typedef struct held {
    sem_t inside, go_on;
} held;

static int hold(const char *text, size_t len, void *data)
{
    held *h = data;

    (void)text, (void)len;
    sem_post(&h->inside);
    sem_wait(&h->go_on);
    return 1;
}

typedef struct generation_job {
    tlp_session *s;
    held h;
    tlp_status st;
} generation_job;

static void *generate_held(void *arg)
{
    generation_job *j = arg;
    tlp_generate_options o = generate_options(hold, &j->h);

    j->st = tlp_session_generate(NULL, j->s, NULL, &o);
    return NULL;
}

Test(host, a_call_beside_another_threads_call_is_refused)
{
    rig r = open_rig(2, 1);
    generation_job j = { .s = r.session };
    tlp_session_stats stats = { .struct_size = sizeof stats };
    const float *logits = NULL;
    pthread_t thread;

    sem_init(&j.h.inside, 0, 0);
    sem_init(&j.h.go_on, 0, 0);
    prefill(&r);
    cr_assert_eq(pthread_create(&thread, NULL, generate_held, &j), 0);
    sem_wait(&j.h.inside);
    expect_refused(r.session);
    CHECK_FAILS(TLP_ESTATE, tlp_session_logits(&logits, r.session, 0));
    expect_read(r.session, TLP_ESTATE);
    tlp_session_reset_stats(r.session); /* does nothing */
    sem_post(&j.h.go_on);
    pthread_join(thread, NULL);
    cr_expect_eq(j.st, TLP_OK);
    CHECK_OK(tlp_session_get_stats(&stats, r.session));
    cr_expect_eq(stats.n_prefill, N_PROMPT);
    prefill(&r);
    rig_close(&r);
}

static void *close_rig(void *arg)
{
    rig_close(arg);
    return NULL;
}

static void *open_and_use(void *arg)
{
    rig *r = arg;

    *r = open_rig(2, 2);
    prefill(r);
    return NULL;
}

static void on_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, fn, arg), 0);
    pthread_join(thread, NULL);
}

Test(host, created_used_and_freed_on_three_threads)
{
    rig r;

    on_thread(open_and_use, &r);
    prefill(&r);
    CHECK_OK(tlp_session_decode(r.session, 1));
    on_thread(close_rig, &r);
}

/* ==== a forked child ===================================================== */

static int in_child(rig *r, const tlp_session_options *o, const float *want)
{
    tlp_session *s = NULL, *old = r->session;
    const float *logits = NULL;
    int32_t id = 1;
    float logprob;

    if (tlp_session_prefill(old, &id, 1) != TLP_ESTATE ||
        tlp_session_logits(&logits, old, 0) != TLP_ESTATE || logits ||
        tlp_session_score(&logprob, old, 0, &id, 1) != TLP_ESTATE ||
        tlp_session_clear(old, 0) != TLP_ESTATE ||
        tlp_session_fork(old, 1, 0) != TLP_ESTATE ||
        tlp_session_generate(NULL, old, NULL, NULL) != TLP_ESTATE ||
        !strstr(tlp_last_error(), "forked"))
        return 2;
    tlp_session_free(old);
    /* model and plan are the child's too */
    if (tlp_session_create(&s, r->plan, o))
        return 3;
    r->session = s;
    prefill(r);
    if (tlp_session_logits(&logits, s, 0) ||
        memcmp(logits, want, r->n_vocab * sizeof *want))
        return 4;
    tlp_session_free(s);
    return 0;
}

Test(host, a_forked_child_cannot_use_the_session_and_can_make_its_own)
{
    CHECK_SKIP_FORK();
    tlp_session_options o = rig_f32(2, 2);
    rig r = open_rig(2, 2);
    const float *want = NULL;
    int status = -1;

    o.n_seq = 2;
    prefill(&r);
    CHECK_OK(tlp_session_logits(&want, r.session, 0));

    pid_t pid = fork();

    if (pid == 0) {
        alarm(60);
        _exit(in_child(&r, &o, want));
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0, "status %x", (unsigned)status);
    prefill(&r); /* the parent's session works on */
    rig_close(&r);
}

/* ==== signals ============================================================ */

static volatile sig_atomic_t n_signal;
static volatile sig_atomic_t on_other_thread;
static pthread_t host_thread;

static void on_signal(int number)
{
    (void)number;
    n_signal++;
    on_other_thread |= !pthread_equal(pthread_self(), host_thread);
}

/* The mask of blocked signals of a thread, from its status file. */
static unsigned long long blocked_of(const char *task)
{
    char path[300], line[256];
    unsigned long long mask = 0;

    snprintf(path, sizeof path, "/proc/self/task/%s/status", task);

    FILE *f = fopen(path, "r");

    cr_assert_not_null(f, "%s", path);
    while (fgets(line, sizeof line, f))
        (void)sscanf(line, "SigBlk: %llx", &mask);
    fclose(f);
    return mask;
}

static int count_threads(unsigned long long want)
{
    DIR *d = opendir("/proc/self/task");
    char self[32];
    int n = 0;

    cr_assert_not_null(d);
    snprintf(self, sizeof self, "%d", (int)gettid());
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || !strcmp(e->d_name, self))
            continue;
        unsigned long long mask = blocked_of(e->d_name);

        n += (mask & want) == want;
    }
    closedir(d);
    return n;
}

Test(host, threads_of_the_library_block_the_hosts_signals)
{
    static const int faults[] = { SIGSEGV, SIGBUS,  SIGFPE,
                                  SIGILL,  SIGTRAP, SIGABRT };
    unsigned long long want = 0;
    struct sigaction action = { .sa_handler = on_signal };
    sigset_t one;
    int others = count_threads(0);
    rig r = open_rig(2, 2);
    for (int i = 1; i < 32; i++)
        want |= i == SIGKILL || i == SIGSTOP ? 0 : 1ull << (i - 1);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        want &= ~(1ull << (faults[i] - 1));
    want |= 1ull << (SIGRTMIN - 1) | 1ull << (SIGRTMAX - 1);
    /* of 2 ranks with 2 threads */
    cr_expect_eq(count_threads(0) - others, 3 + CHECK_OWN_THREADS);
    cr_expect_geq(count_threads(want), 3);

    host_thread = pthread_self();
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    for (int i = 0; i < 20; i++) {
        kill(getpid(), SIGUSR1);
        prefill(&r);
        cr_assert_eq(n_signal, 0, "a thread of the library ran the handler");
    }
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    cr_expect_eq(n_signal, 1);
    cr_expect_not(on_other_thread);
    rig_close(&r);
}

/* ==== the host's objects ================================================= */

typedef struct owned {
    mem m;
    _Atomic bool dead; /* the last object was freed: no call may come */
    _Atomic int late;
} owned;

static void *owned_alloc(size_t size, size_t align, void *data)
{
    owned *o = data;
    tlp_allocator hooks = mem_hooks(&o->m);

    o->late += o->dead;
    return hooks.alloc(size, align, hooks.user_data);
}

static void owned_free(void *ptr, size_t size, void *data)
{
    owned *o = data;
    tlp_allocator hooks = mem_hooks(&o->m);

    o->late += o->dead;
    hooks.free(ptr, size, hooks.user_data);
}

static void owned_log(int level, const char *text, void *data)
{
    owned *o = data;

    (void)level, (void)text;
    o->late += o->dead;
}

/* Free the model, the plan and the session in the order of `order`. */
static void free_in_order(const char *order)
{
    owned o = { 0 };
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options so = rig_f32(2, 2);
    tiny_spec spec = tiny_default();
    rig r = { .n_vocab = 288 };

    mo.allocator = (tlp_allocator){ owned_alloc, owned_free, &o };
    mo.log = owned_log;
    mo.log_data = &o;
    CHECK_OK(tlp_model_open(&r.model, tiny_make(&spec), &mo));
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "par:1-2"));
    CHECK_OK(tlp_session_create(&r.session, r.plan, &so));
    for (const char *c = order; *c; c++) {
        if (strchr(c, 's'))
            prefill(&r); /* what is freed early is still in use */
        cr_expect_neq(o.m.live, 0);
        if (*c == 'm')
            tlp_model_free(r.model);
        else if (*c == 'p')
            tlp_plan_free(r.plan);
        else
            tlp_session_free(r.session);
    }
    o.dead = true;
    cr_expect_eq(o.m.live, 0, "%s: %ld blocks", order, (long)o.m.live);
    tlp_session_free(NULL);
    usleep(1000);
    cr_expect_eq(o.late, 0, "%s", order);
}

Test(host, log_and_allocator_end_with_the_last_object)
{
    static const char *const orders[] = { "mps", "msp", "pms",
                                          "psm", "smp", "spm" };

    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        free_in_order(orders[i]);
}

/* ==== exceptions ========================================================= */

Test(host, a_cxx_host_keeps_its_exceptions)
{
    tiny_spec spec = tiny_default();
    spawned s = SPAWN("test/host/throws", tiny_make(&spec));

    cr_expect_eq(s.status, 0, "status %d: %s", s.status, s.err);
    cr_expect_str_eq(s.out, "caught 4\n", "%s", s.out);
    spawn_free(&s);
}
