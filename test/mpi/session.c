/*
 * session.c - what the processes of test_mpi_session do.
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

#include "support/mem.h"
#include "tlp_mpi.h"

#define N_TOKEN 24

static int rank, n_rank; /* this process's */
static const char *path; /* of the model */

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
        CHECK(strstr(tlp_last_error(), text), "%s: \"%s\" expected, found: %s",\
              #expr, text, tlp_last_error());                                  \
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

static tlp_plan *parse(tlp_model *m, const char *text)
{
    tlp_plan *p = NULL;

    OK(tlp_plan_parse(&p, m, text));
    return p;
}

static void fill_ids(int32_t *ids, int n, int step)
{
    for (int i = 0; i < n; i++)
        ids[i] = (i * step + 11) % 256;
}

/* ==== scenarios ========================================================== */

/* What a session computes: rows of logits, scores, greedy and drawn tokens. */
typedef struct answers {
    size_t n_vocab;
    float *row; /* [2][n_vocab] */
    float score[N_TOKEN];
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
        OK(tlp_session_sample(s, 0, sampler, &out[i]));
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

    OK(tlp_model_get_info(m, &info));
    a.n_vocab = (size_t)info.n_vocab;
    a.row = malloc(2 * a.n_vocab * sizeof *a.row);
    CHECK(a.row, "out of memory");
    fill_ids(ids, N_TOKEN, 37);
    OK(tlp_session_score(s, 0, ids, N_TOKEN, a.score));
    OK(tlp_session_clear(s, 0));
    OK(tlp_session_prefill(s, ids, N_TOKEN));
    OK(tlp_session_logits(s, 0, &row));
    memcpy(a.row, row, a.n_vocab * sizeof *row);
    OK(tlp_session_decode(s, ids[3]));
    OK(tlp_session_logits(s, 0, &row));
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
    CHECK(memcmp(a->score, b->score, sizeof a->score) == 0,
          "%s: scores differ", what);
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
        OK(tlp_session_get_stats(s, stats));
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
            OK(tlp_session_serve(m, NULL, &mpi));
        }
        tlp_plan_free(plan);
    }
    tlp_model_free(m);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(char **args);
    } scenarios[] = {
        { "exact", exact },
    };
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    int32_t r = -1, n = -1;

    if (argc < 3)
        return 2;
    path = argv[2];
    o.comm = TLP_COMM_MPI;
    if (strcmp(argv[1], "own_comm") != 0)
        OK(tlp_comm_rank(&r, &n, &o));
    rank = r;
    n_rank = n;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run(argv + 3);
            return 0;
        }
    fprintf(stderr, "no scenario %s\n", argv[1]);
    return 2;
}
