/*
 * session_process.c - what the processes of test_mpi_session do.
 *
 *     session SCENARIO MODEL [ARGUMENTS]
 *
 * Every process runs the same scenario; a process that finds something wrong
 * says so on standard error and ends with status 1.
 */
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/digest.h"
#include "support/mem.h"
#include "support/messages.h"
#include "tlp_mpi.h"
#include "tlp_tune.h"

#define N_TOKEN 24

/* What serving needs before it reads a hello. */
#define HELLO_ROOM 65536

static int32_t rank, n_rank; /* this process's */
static const char *path;     /* of the model */

/* ==== complaints ========================================================= */

static void complain(int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "rank %d, line %d: ", rank, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

#define CHECK(cond, ...)                                                       \
    do {                                                                       \
        if (!(cond))                                                           \
            complain(__LINE__, __VA_ARGS__);                                   \
    } while (0)
#define OK(expr)                                                               \
    do {                                                                       \
        tlp_status check_st = (expr);                                          \
        CHECK(check_st == TLP_OK, "%s: %s: %s", #expr,                         \
              tlp_status_name(check_st), tlp_last_error());                    \
    } while (0)

/* The call fails with that status, and a text that has `text` in it. */
#define FAILS(want, text, expr)                                                \
    do {                                                                       \
        tlp_status check_st = (expr);                                          \
        CHECK(check_st == (want), "%s: %s expected, %s found: %s", #expr,      \
              tlp_status_name(want), tlp_status_name(check_st),                \
              check_st ? tlp_last_error() : "");                               \
        CHECK(strstr(tlp_last_error(), text),                                  \
              "%s: \"%s\" expected, found: %s", #expr, text,                   \
              tlp_last_error());                                               \
    } while (0)

/* ==== models, plans, sessions ============================================ */

static tlp_session_options options(int comm)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.n_ctx = 64;
    o.n_batch = 16;
    o.n_thread = 1;
    o.compute = TLP_COMPUTE_F32;
    o.comm = comm;
    o.n_rank = n_rank;
    o.timeout_ms = 10000;
    return o;
}

static tlp_model *open_model(const char *file, const tlp_allocator *memory)
{
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    if (memory)
        o.allocator = *memory;
    OK(tlp_model_open(&m, file, &o));
    return m;
}

/* A plan's text, or the file of one. */
static tlp_plan *parse(tlp_model *m, const char *text)
{
    tlp_plan *p = NULL;

    if (text[0] == '/')
        OK(tlp_plan_load(&p, m, text));
    else
        OK(tlp_plan_parse(&p, m, text));
    return p;
}

static void fill_ids(int32_t *ids, int n, int step)
{
    for (int i = 0; i < n; i++)
        ids[i] = (i * step + 11) % 256;
}

/* ==== scenarios ========================================================== */

/* What a session computes: rows of logits, scores, embeddings by last and mean,
 * greedy and drawn tokens. */
typedef struct answers {
    size_t n_vocab;
    float *row; /* [2][n_vocab] */
    float score[N_TOKEN];
    float vector[2][96];
    int32_t greedy[8], drawn[8];
} answers;

static void sample(tlp_session *s, tlp_model *m, float temperature,
                   int32_t *out)
{
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *sampler = NULL;

    so.temperature = temperature;
    so.top_k = 20;
    so.seed = 3;
    OK(tlp_sampler_create(&sampler, m, &so));
    for (int i = 0; i < 8; i++) {
        OK(tlp_session_sample(&out[i], s, 0, sampler));
        OK(tlp_session_decode(s, out[i]));
    }
    tlp_sampler_free(sampler);
}

static answers ask(tlp_session *s, tlp_model *m)
{
    tlp_model_info info = { .struct_size = sizeof info };
    answers a = { 0 };
    int32_t ids[N_TOKEN];
    const float *row = NULL;

    OK(tlp_model_get_info(&info, m));
    a.n_vocab = (size_t)info.n_vocab;
    a.row = malloc(2 * a.n_vocab * sizeof *a.row);
    CHECK(a.row, "out of memory");
    fill_ids(ids, N_TOKEN, 37);
    OK(tlp_session_score(a.score, s, 0, ids, N_TOKEN));
    CHECK(info.n_embd == 96, "n_embd %d", info.n_embd);
    for (int i = 0; i < 2; i++) {
        tlp_embed_options o = { sizeof o, i ? TLP_POOLING_MEAN : 0, 0 };

        OK(tlp_session_clear(s, 0));
        OK(tlp_session_embed(a.vector[i], s, 0, ids, N_TOKEN, &o));
    }
    OK(tlp_session_clear(s, 0));
    OK(tlp_session_prefill(s, ids, N_TOKEN));
    OK(tlp_session_logits(&row, s, 0));
    memcpy(a.row, row, a.n_vocab * sizeof *row);
    OK(tlp_session_decode(s, ids[3]));
    OK(tlp_session_logits(&row, s, 0));
    memcpy(a.row + a.n_vocab, row, a.n_vocab * sizeof *row);
    sample(s, m, 0, a.greedy);
    sample(s, m, 1, a.drawn);
    return a;
}

/* Largest difference of two rows. */
static double distance(const answers *a, const answers *b)
{
    double max = 0;

    for (size_t i = 0; i < 2 * a->n_vocab; i++)
        max = fmax(max, fabs((double)a->row[i] - (double)b->row[i]));
    return max;
}

static void expect_same(const answers *a, const answers *b, const char *what)
{
    CHECK(memcmp(a->row, b->row, 2 * a->n_vocab * sizeof *a->row) == 0,
          "%s: logits differ by %g", what, distance(a, b));
    CHECK(memcmp(a->score, b->score, sizeof a->score) == 0, "%s: scores differ",
          what);
    CHECK(memcmp(a->vector, b->vector, sizeof a->vector) == 0,
          "%s: embeddings differ", what);
    CHECK(memcmp(a->greedy, b->greedy, sizeof a->greedy) == 0,
          "%s: greedy tokens differ", what);
    CHECK(memcmp(a->drawn, b->drawn, sizeof a->drawn) == 0,
          "%s: drawn tokens differ", what);
}

static answers run(tlp_plan *plan, tlp_model *m, const tlp_session_options *o,
                   tlp_session_stats *stats)
{
    tlp_session *s = NULL;

    OK(tlp_session_create(&s, plan, o));
    answers a = ask(s, m);
    if (stats) {
        stats->struct_size = sizeof *stats;
        OK(tlp_session_get_stats(stats, s));
    }
    tlp_session_free(s);
    return a;
}

/* Each plan gives the bits that ranks in one process give. */
static void exact(char **plans)
{
    tlp_model *m = open_model(path, NULL);
    tlp_session_options mpi = options(TLP_COMM_MPI);
    tlp_session_options threads = options(TLP_COMM_THREADS);

    for (; *plans; plans++) {
        tlp_plan *plan = parse(m, *plans);

        if (rank == 0) {
            tlp_session_stats here, there;
            answers a = run(plan, m, &mpi, &there);
            answers b = run(plan, m, &threads, &here);

            expect_same(&a, &b, *plans);
            CHECK(there.allreduces == here.allreduces &&
                      there.comm_bytes == here.comm_bytes &&
                      there.n_rank == here.n_rank,
                  "%s: %llu all-reduces, %llu expected", *plans,
                  (unsigned long long)there.allreduces,
                  (unsigned long long)here.allreduces);
            CHECK(there.kv_bytes == here.kv_bytes &&
                      there.buffer_bytes == here.buffer_bytes &&
                      there.weight_bytes > 0,
                  "%s: sizes of all ranks", *plans);
            free(a.row);
            free(b.row);
        } else {
            OK(tlp_worker_run(m, NULL, &mpi));
        }
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

/* Rounded activations give nearly the same; rank 0 chooses how. */
static void wires(char **args)
{
    static const struct {
        int32_t wire;
        double off;
    } wire[] = { { TLP_WIRE_BF16, 0.03 }, { TLP_WIRE_Q8, 0.03 } };
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[0]);
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_session_options threads = options(TLP_COMM_THREADS);

    for (int i = 0; i < 2; i++) {
        if (rank != 0) {
            OK(tlp_worker_run(m, NULL, &o));
            continue;
        }
        o.wire = wire[i].wire;
        answers a = run(plan, m, &o, NULL), b = run(plan, m, &threads, NULL);
        double scale = 0, off = distance(&a, &b);
        for (size_t j = 0; j < a.n_vocab; j++)
            scale = fmax(scale, fabs((double)b.row[j]));
        CHECK(off > 0 && off < wire[i].off * scale, "wire %d: off by %g of %g",
              wire[i].wire, off, scale);
        free(a.row);
        free(b.row);
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* A greedy token costs one broadcast and one gather beside its all-reduces. */
static void messages(char **args)
{
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[0]);
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    tlp_session *s = NULL;

    if (rank == 0) {
        OK(tlp_session_create(&s, plan, &o));
        OK(tlp_session_decode(s, 1));
        gen.n_predict = 11;
        gen.ignore_end = 1;
        count_messages(s);
        OK(tlp_session_generate(NULL, s, NULL, &gen)); /* ten steps */
        CHECK(n_bcast == 11 && n_gather == 11, "%d broadcasts, %d gathers",
              n_bcast, n_gather); /* the first token came without candidates */
        tlp_session_free(s);
    } else {
        OK(tlp_worker_run(m, NULL, &o));
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* ==== agreeing =========================================================== */

/* A worker that leaves everything open takes what rank 0 has. */
static void adopts(char **args)
{
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[0]);
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_session_stats stats;

    o.comm = TLP_COMM_MPI;
    if (rank != 0) {
        OK(tlp_worker_run(m, NULL, &o));
    } else {
        o = options(TLP_COMM_MPI);
        o.n_rank = 0;
        o.n_seq = 3;
        o.kv_type = TLP_KV_Q8_0;
        answers a = run(plan, m, &o, &stats);
        CHECK(stats.n_rank == n_rank, "%d ranks", stats.n_rank);
        o.comm = TLP_COMM_THREADS;
        o.n_rank = n_rank;
        answers b = run(plan, m, &o, NULL);
        expect_same(&a, &b, "adopted options");
        free(a.row);
        free(b.row);
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* One option that rank 0 and rank `who` have different. */
typedef struct difference {
    size_t at; /* of the option; 0: the plan */
    int32_t rank0, other;
    const char *text;
} difference;

static void differ(tlp_model *m, const difference *d, int who)
{
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_plan *plan = NULL;
    tlp_session *s = NULL;
    char text[256];

    o.compute = TLP_COMPUTE_DEFAULT;
    o.n_rank = 0;
    if (d->at && (rank == 0 || rank >= who))
        memcpy((char *)&o + d->at, rank ? &d->other : &d->rank0,
               sizeof d->other);
    if (rank == 0 || (!d->at && rank >= who))
        plan = parse(m, rank ? "lp:1-2" : "par:1-2");
    snprintf(text, sizeof text, "rank %d: %s", who, d->text);
    if (rank == 0)
        FAILS(TLP_EMISMATCH, text, tlp_session_create(&s, plan, &o));
    else
        FAILS(TLP_EMISMATCH, text, tlp_worker_run(m, plan, &o));
    CHECK(strcmp(tlp_last_error(), text) == 0, "%s", tlp_last_error());
    CHECK(!s, "a session in spite of it");
    tlp_plan_free(plan);
}

/* A session that works, after whatever went wrong. */
static void goes_on(tlp_model *m)
{
    tlp_plan *plan = parse(m, "par:1-2");
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_session_options alone = options(TLP_COMM_THREADS);

    alone.n_rank = 1;
    answers one = run(plan, m, &alone, NULL);
    if (rank == 0) {
        answers all = run(plan, m, &o, NULL);
        CHECK(distance(&one, &all) < 1e-4, "a later session is wrong");
        free(all.row);
    } else {
        OK(tlp_worker_run(m, NULL, &o));
    }
    free(one.row);
    tlp_plan_free(plan);
}

static void refuses(char **args)
{
#define OPTION(name) offsetof(tlp_session_options, name)
    static const difference differences[] = {
        { OPTION(n_rank), 0, 50, "n_rank is 50, rank 0 has %d" },
        { OPTION(n_ctx), 64, 32, "n_ctx is 32, rank 0 has 64" },
        { OPTION(n_seq), 1, 2, "n_seq is 2, rank 0 has 1" },
        { OPTION(n_batch), 16, 8, "n_batch is 8, rank 0 has 16" },
        { OPTION(compute), 0, 1, "compute is f32, rank 0 has default" },
        { OPTION(kv_type), 1, 3, "kv_type is bf16, rank 0 has f32" },
        { OPTION(wire), 2, 1, "wire is bf16, rank 0 has q8" },
        { 0, 0, 0, "plan is lp:1-2, rank 0 has par:1-2" },
    };
    tlp_model *m = open_model(path, NULL), *other = open_model(args[0], NULL);
    char text[128];

    for (size_t i = 0; i < sizeof differences / sizeof differences[0]; i++)
        for (int who = 1; who < n_rank; who++) {
            difference d = differences[i];

            snprintf(text, sizeof text, d.text, n_rank);
            d.text = text;
            differ(m, &d, who);
        }
    static const char both[] =
        "rank 1: tensor blk.0.attn_k.weight differs: rank 0 has sha256:";
    if (rank == 0) {
        tlp_session_options o = options(TLP_COMM_MPI);
        tlp_plan *plan = parse(m, "serial");
        tlp_session *s = NULL;

        FAILS(TLP_EMISMATCH, both, tlp_session_create(&s, plan, &o));
        tlp_plan_free(plan);
    } else {
        tlp_session_options o = options(TLP_COMM_MPI);

        FAILS(TLP_EMISMATCH, both,
              tlp_worker_run(rank == 1 ? other : m, NULL, &o));
    }
    goes_on(m);
    tlp_model_free(other);
    tlp_model_free(m);
}

/* Rank 0 has the model, other ranks have args[0].  args[1]: the ranks that
 * trust a sample, "0", "1" and so on, "all" or "none".  args[2]: the text that
 * every rank gets, "" where they agree. */
static void copies(char **args)
{
    char own[16];

    snprintf(own, sizeof own, "%d", rank);
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_model *m = NULL;
    tlp_session *s = NULL;

    mo.trust_sample = !strcmp(args[1], "all") || !strcmp(args[1], own);
    OK(tlp_model_open(&m, rank == 0 ? path : args[0], &mo));
    if (!*args[2]) {
        tlp_plan *plan = parse(m, "par:1-2");

        if (rank == 0)
            free(run(plan, m, &o, NULL).row);
        else
            OK(tlp_worker_run(m, NULL, &o));
        tlp_plan_free(plan);
    } else if (rank == 0) {
        tlp_plan *plan = parse(m, "par:1-2");

        FAILS(TLP_EMISMATCH, args[2], tlp_session_create(&s, plan, &o));
        tlp_plan_free(plan);
    } else {
        FAILS(TLP_EMISMATCH, args[2], tlp_worker_run(m, NULL, &o));
    }
    tlp_model_free(m);
    m = open_model(path, NULL);
    goes_on(m);
    tlp_model_free(m);
}

/* Each chunk takes its time, whatever the number of threads. */
static void hash_slowly(void *lock)
{
    pthread_mutex_lock(lock);
    nanosleep(&(struct timespec){ .tv_nsec = 150000000 }, NULL);
    pthread_mutex_unlock(lock);
}

/* One rank after the other needs several times the limit for its digest.  The
 * other ranks see that it is at work. */
static void hashes_slowly(char **args)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    (void)args;
    for (int slow = 0; slow < n_rank; slow++) {
        tlp_model *m = open_model(path, NULL);
        tlp_plan *plan = parse(m, "par:1-2");
        tlp_session_options o = options(TLP_COMM_MPI);

        o.timeout_ms = 2000;
        if (rank == slow)
            tlpi_digest_set_tick(m, hash_slowly, &lock);
        if (rank == 0)
            free(run(plan, m, &o, NULL).row);
        else
            OK(tlp_worker_run(m, NULL, &o));
        tlp_plan_free(plan);
        tlp_model_free(m);
    }
}

/* Rank 0 asks for more ranks than there are. */
static void counts_ranks(char **args)
{
    char text[64];
    tlp_session_options o = options(TLP_COMM_MPI);
    int32_t r, n;

    (void)args;
    snprintf(text, sizeof text, "n_rank: 7, but the job has %d process%s",
             n_rank, n_rank == 1 ? "" : "es");
    o.n_rank = 7;
    FAILS(TLP_EINVAL, text, tlp_comm_rank(&r, &n, &o));
    CHECK(strcmp(strstr(tlp_last_error(), "n_rank"), text) == 0, "%s",
          tlp_last_error());
}

/* The adapter of rank 0 comes to every other rank; a rank that was given one
 * must have an equal one. */
static void adapts(char **args)
{
    static const struct {
        int adapter; /* of the other ranks; -1: none */
        double scale;
        const char *text; /* NULL: they agree */
    } given[] = {
        { -1, 0, NULL },
        { 0, 0.5, NULL },
        { 1, 0.5, "rank 1: adapter is sha256:" },
        { 0, 2, "rank 1: adapter_scale is 2, rank 0 has 0.5" },
    };
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[2]);
    tlp_adapter *adapter[2] = { NULL, NULL };

    for (int i = 0; i < 2; i++)
        OK(tlp_adapter_open(&adapter[i], m, args[i]));
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        tlp_session_options o = options(TLP_COMM_MPI);
        tlp_session_options threads = options(TLP_COMM_THREADS);
        bool with = rank == 0 || given[i].adapter >= 0;
        tlp_session *s = NULL;

        o.adapter = with ? adapter[rank ? given[i].adapter : 0] : NULL;
        o.adapter_scale = rank ? given[i].scale : 0.5;
        threads.adapter = adapter[0];
        threads.adapter_scale = 0.5;
        if (given[i].text) {
            FAILS(TLP_EMISMATCH, given[i].text,
                  rank ? tlp_worker_run(m, NULL, &o)
                       : tlp_session_create(&s, plan, &o));
        } else if (rank) {
            OK(tlp_worker_run(m, NULL, &o));
        } else {
            answers a = run(plan, m, &o, NULL);
            answers b = run(plan, m, &threads, NULL);

            expect_same(&a, &b, args[2]);
            free(a.row);
            free(b.row);
        }
    }
    for (int i = 0; i < 2; i++)
        tlp_adapter_free(adapter[i]);
    tlp_plan_free(plan);
    goes_on(m);
    tlp_model_free(m);
}

/* Calls that no process can accept, and what they say. */
/* Adjustments are the same if their files are: none, or args[0], args[1]. */
static void compares(char **args)
{
    const char *const plans[] = { "par:1-2", args[0], args[1] };
    const char *hash[3] = { "none" };
    tlp_model *m = open_model(path, NULL);
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_plan *plan[3];
    char text[256];

    for (int i = 0; i < 3; i++) {
        tlp_plan_adjust_info info = { .struct_size = sizeof info };

        plan[i] = parse(m, plans[i]);
        OK(tlp_plan_get_adjust(&info, plan[i]));
        hash[i] = info.sha256 ? info.sha256 : hash[i];
    }
    for (int i = 0; i < 9; i++) {
        int first = i / 3, other = i % 3;
        tlp_session *s = NULL;
        tlp_status st =
            rank == 0 ? tlp_session_create(&s, plan[first], &o) : TLP_OK;

        tlp_session_free(s);
        if (rank != 0)
            st = tlp_worker_run(m, plan[other], &o);
        snprintf(text, sizeof text,
                 "rank 1: the plan's adjustments are %s, rank 0 has %s",
                 hash[other], hash[first]);
        CHECK(st == (first == other ? TLP_OK : TLP_EMISMATCH), "%s, %s: %s",
              hash[first], hash[other], tlp_last_error());
        CHECK(st == TLP_OK || strcmp(tlp_last_error(), text) == 0, "%s",
              tlp_last_error());
    }
    for (int i = 0; i < 3; i++)
        tlp_plan_free(plan[i]);
    goes_on(m);
    tlp_model_free(m);
}

static void arguments(char **args)
{
    tlp_model_options vocab_only = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = open_model(path, NULL), *other = open_model(args[0], NULL);
    tlp_model *words = NULL;
    tlp_plan *plan = parse(m, "serial");
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_session *s = NULL;
    int32_t r = -1, n = -1;

    FAILS(TLP_EINVAL, "model", tlp_worker_run(NULL, NULL, &o));
    FAILS(TLP_EINVAL, "comm", tlp_worker_run(m, NULL, NULL));
    FAILS(TLP_EMISMATCH, "plan", tlp_worker_run(other, plan, &o));
    vocab_only.vocab_only = 1;
    OK(tlp_model_open(&words, path, &vocab_only));
    FAILS(TLP_EINVAL, "vocab_only", tlp_worker_run(words, NULL, &o));
    tlp_model_free(words);
    o.wire = 3;
    FAILS(TLP_EINVAL, "wire", tlp_worker_run(m, NULL, &o));
    o.wire = 0;
    if (rank == 0)
        FAILS(TLP_ESTATE, "rank 0", tlp_worker_run(m, NULL, &o));
    else
        FAILS(TLP_ESTATE, "rank", tlp_session_create(&s, plan, &o));
    o.n_rank = 9;
    FAILS(TLP_EINVAL, "n_rank: 9, but the job has 2 processes",
          tlp_comm_rank(&r, &n, &o));
    CHECK(r == -1 && n == -1, "stored");
    if (rank == 0)
        FAILS(TLP_EINVAL, "9", tlp_session_create(&s, plan, &o));
    o.comm = TLP_COMM_THREADS;
    OK(tlp_comm_rank(&r, &n, &o));
    CHECK(r == 0 && n == 9, "%d of %d", r, n);
    OK(tlp_comm_rank(&r, &n, NULL));
    CHECK(r == 0 && n == 1, "%d of %d", r, n);
    o.wire = TLP_WIRE_BF16;
    FAILS(TLP_EINVAL, "wire", tlp_comm_rank(&r, &n, &o));
    tlp_plan_free(plan);
    tlp_model_free(other);
    goes_on(m);
    tlp_model_free(m);
}

/* ==== several sessions =================================================== */

static void in_turn(char **args)
{
    tlp_model *m = open_model(path, NULL);

    (void)args;
    for (int i = 0; i < 5; i++)
        goes_on(m);
    tlp_model_free(m);
}

static void *run_one(void *model)
{
    goes_on(model);
    return NULL;
}

/* Two threads of each process, each with a session of its own. */
static void at_once(char **args)
{
    tlp_model *m = open_model(path, NULL);
    pthread_t thread;

    (void)args;
    CHECK(pthread_create(&thread, NULL, run_one, m) == 0, "no thread");
    goes_on(m);
    pthread_join(thread, NULL);
    tlp_model_free(m);
}

/* ==== stopping =========================================================== */

static atomic_int stage; /* 1: evaluating, 2: done */

static void *stop_it(void *session)
{
    while (atomic_load(&stage) == 0)
        ;
    while (atomic_load(&stage) == 1) {
        nanosleep(&(struct timespec){ .tv_nsec = 300000 }, NULL);
        tlp_session_abort(session);
    }
    return NULL;
}

/* An abort stops the running call on all ranks; the session goes on. */
static void aborts(char **args)
{
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[0]);
    tlp_session_options o = options(TLP_COMM_MPI);
    int32_t ids[48];
    tlp_session *s = NULL;
    pthread_t thread;
    int canceled = 0;

    o.n_batch = 2;
    if (rank != 0) {
        OK(tlp_worker_run(m, NULL, &o));
        goto done;
    }
    fill_ids(ids, 48, 37);
    OK(tlp_session_create(&s, plan, &o));
    CHECK(pthread_create(&thread, NULL, stop_it, s) == 0, "no thread");
    atomic_store(&stage, 1);
    for (int i = 0; i < 1000 && canceled < 3; i++) {
        tlp_status st = tlp_session_prefill(s, ids, 48);
        CHECK(st == TLP_OK || st == TLP_ECANCELED, "%s", tlp_last_error());
        canceled += st == TLP_ECANCELED;
        CHECK(tlp_session_pos(s, 0) == (st ? 0 : 48), "half a prefill");
        OK(tlp_session_clear(s, 0));
    }
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
    CHECK(canceled == 3, "canceled %d times", canceled);
    (void)!tlp_session_decode(s, 1); /* an abort may be left over */
    OK(tlp_session_clear(s, 0));
    answers a = ask(s, m);
    tlp_session_free(s);
    o.comm = TLP_COMM_THREADS;
    answers b = run(plan, m, &o, NULL);
    expect_same(&a, &b, "after aborts");
    free(a.row);
    free(b.row);
done:
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* ==== failing ============================================================ */

/* The last rank's memory runs out, at once, while it loads, or while it gets
 * a plan's adjustments. */
static void starves(char **args)
{
    int last = n_rank - 1;
    char who[32];
    int n_late = 0; /* failures after the handshake */

    snprintf(who, sizeof who, "rank %d", last);
    for (size_t room = 0; room <= 400000; room += 50000) {
        mem memory = { 0 };
        tlp_allocator hooks = mem_hooks(&memory);
        tlp_model *m = open_model(path, rank == last ? &hooks : NULL);
        tlp_plan *plan = parse(m, args[0]);
        tlp_session_options o = options(TLP_COMM_MPI);
        tlp_session *s = NULL;

        memory.budget = memory.bytes + HELLO_ROOM + room;
        tlp_status st = rank == 0 ? tlp_session_create(&s, plan, &o)
                                  : tlp_worker_run(m, NULL, &o);
        CHECK(st == TLP_ENOMEM || (st == TLP_ECOMM && rank != last),
              "%zu bytes: %s: %s", room, tlp_status_name(st), tlp_last_error());
        CHECK(rank == last || strstr(tlp_last_error(), who), "%s",
              tlp_last_error());
        CHECK(strstr(tlp_last_error(), "memory"), "%s", tlp_last_error());
        n_late += st == TLP_ECOMM;
        memory.budget = 0;
        goes_on(m);
        tlp_plan_free(plan);
        tlp_model_free(m);
        CHECK(memory.live == 0, "%ld blocks leaked", memory.live);
    }
    CHECK(rank == last || n_late > 0, "never while loading");
}

/* A stage takes less than the time limit, all of them more. */
static int dawdle(double done, void *user_data)
{
    (void)done, (void)user_data;
    nanosleep(&(struct timespec){ .tv_nsec = 150000000 }, NULL);
    return 0;
}

/* Some rank takes its time to load; who waits for it sees that it is at work.
 */
static void loads_slowly(char **args)
{
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[0]);
    tlp_session_options o = options(TLP_COMM_MPI);

    for (int slow = 0; slow < n_rank; slow++) {
        o.timeout_ms = 500;
        o.progress = rank == slow ? dawdle : NULL;
        if (rank == 0)
            free(run(plan, m, &o, NULL).row);
        else
            OK(tlp_worker_run(m, NULL, &o));
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static int cancel(double done, void *user_data)
{
    (void)user_data;
    return done > 0.5;
}

/* A rank's own hook ends its loading, and so everybody's. */
static void cancels_loading(char **args)
{
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[0]);

    for (int who = 0; who < n_rank; who++) {
        tlp_session_options o = options(TLP_COMM_MPI);
        tlp_status want = rank == who ? TLP_ECANCELED : TLP_ECOMM;
        tlp_session *s = NULL;

        o.progress = rank == who ? cancel : NULL;
        if (rank == 0)
            FAILS(want, "loading was canceled",
                  tlp_session_create(&s, plan, &o));
        else
            FAILS(want, "loading was canceled", tlp_worker_run(m, NULL, &o));
        goes_on(m);
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* A rank that comes to serve after rank 0 has given up on it. */
static void comes_late(char **args)
{
    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, "serial");
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_session *s = NULL;

    (void)args;
    o.timeout_ms = 300;
    if (rank == 0) {
        FAILS(TLP_ETIMEDOUT, "rank 1", tlp_session_create(&s, plan, &o));
        o.timeout_ms = 10000;
        answers a = run(plan, m, &o, NULL);
        free(a.row);
    } else {
        if (rank == 1)
            nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
        FAILS(TLP_ETIMEDOUT, "rank 1", tlp_worker_run(m, NULL, &o));
        OK(tlp_worker_run(m, NULL, &o));
    }
    goes_on(m);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

/* Rank 0 ends; the others wait for a session that never comes. */
static void left_alone(char **args)
{
    tlp_model *m = open_model(path, NULL);
    tlp_session_options o = options(TLP_COMM_MPI);

    (void)args;
    goes_on(m);
    if (rank != 0)
        FAILS(TLP_ECLOSED, "rank 0 has left", tlp_worker_run(m, NULL, &o));
    tlp_model_free(m);
}

/* ==== a communicator of the program's own ================================ */

/* The other way round: the last process is rank 0. */
static void own_comm(char **args)
{
    MPI_Comm mine;
    int provided = 0, world = 0, size = 0;

    MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &world);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_split(MPI_COMM_WORLD, 0, -world, &mine);
    tlp_session_options o = options(TLP_COMM_MPI);
    o.n_rank = 0;
    tlp_mpi_use(&o, &mine);
    OK(tlp_comm_rank(&rank, &n_rank, &o));
    CHECK(rank == size - 1 - world && n_rank == size, "%d of %d", rank, n_rank);

    tlp_model *m = open_model(path, NULL);
    tlp_plan *plan = parse(m, args[0]);
    if (rank == 0) {
        tlp_session_options threads = options(TLP_COMM_THREADS);
        answers a = run(plan, m, &o, NULL), b = run(plan, m, &threads, NULL);

        expect_same(&a, &b, "own communicator");
        free(a.row);
        free(b.row);
    } else {
        OK(tlp_worker_run(m, NULL, &o));
    }
    tlp_plan_free(plan);
    tlp_model_free(m);
    MPI_Barrier(mine); /* it is still the program's */
    MPI_Comm_free(&mine);
    MPI_Finalize();
}

/* ==== main =============================================================== */

static const struct {
    const char *name;
    void (*run)(char **args);
    bool starts_mpi;
} scenarios[] = {
    { "exact", exact, false },
    { "wires", wires, false },
    { "messages", messages, false },
    { "adopts", adopts, false },
    { "adapts", adapts, false },
    { "refuses", refuses, false },
    { "copies", copies, false },
    { "hashes_slowly", hashes_slowly, false },
    { "counts_ranks", counts_ranks, false },
    { "compares", compares, false },
    { "arguments", arguments, false },
    { "in_turn", in_turn, false },
    { "at_once", at_once, false },
    { "aborts", aborts, false },
    { "starves", starves, false },
    { "loads_slowly", loads_slowly, false },
    { "cancels_loading", cancels_loading, false },
    { "comes_late", comes_late, false },
    { "left_alone", left_alone, false },
    { "own_comm", own_comm, true },
};

int main(int argc, char **argv)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.comm = TLP_COMM_MPI;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        if (argc < 3 || strcmp(argv[1], scenarios[i].name) != 0)
            continue;
        path = argv[2];
        if (!scenarios[i].starts_mpi)
            OK(tlp_comm_rank(&rank, &n_rank, &o));
        scenarios[i].run(argv + 3);
        return 0;
    }
    fprintf(stderr, "usage: %s SCENARIO MODEL [ARGUMENTS]\n", argv[0]);
    return 2;
}
