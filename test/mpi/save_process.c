/*
 * save_process.c - sequences of sessions over processes, saved and loaded.
 * test_mpi_save runs it.
 *
 *     save_process MODEL PLAN
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mem.h"
#include "tlp.h"

enum { N_TOKEN = 300 };

static int32_t rank, n_rank;
static tlp_model *model;
static tlp_plan *plan;
static size_t n_vocab;
static int32_t ids[N_TOKEN + 8];

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rank %d: line %d: %s: %s\n", rank, __LINE__,      \
                    #cond, tlp_last_error());                                  \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static tlp_session_options options(int comm)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.n_ctx = 700;
    o.n_seq = 2;
    o.n_batch = 64;
    o.n_thread = 1;
    o.comm = comm;
    o.n_rank = n_rank;
    o.timeout_ms = 10000;
    return o;
}

static void *save(tlp_session *s, int32_t seq, size_t *n)
{
    CHECK(tlp_session_save(NULL, 0, n, s, seq) == TLP_EBUFS);
    void *bytes = malloc(*n);
    CHECK(bytes && tlp_session_save(bytes, *n, n, s, seq) == TLP_OK);
    return bytes;
}

/* The logits of one more token of a sequence; the caller frees them. */
static float *extend(tlp_session *s, int32_t seq)
{
    tlp_batch b = { sizeof b, 1, ids + N_TOKEN, &seq, NULL };
    float *copy = malloc(n_vocab * sizeof *copy);
    const float *row = NULL;

    CHECK(copy && tlp_session_eval(s, &b) == TLP_OK);
    CHECK(tlp_session_logits(&row, s, 0) == TLP_OK);
    memcpy(copy, row, n_vocab * sizeof *copy);
    return copy;
}

/* One more token of either sequence gives equal rows. */
static void expect_equal(tlp_session *a, int32_t seq_a, tlp_session *b,
                         int32_t seq_b)
{
    float *row_a = extend(a, seq_a), *row_b = extend(b, seq_b);

    CHECK(memcmp(row_a, row_b, n_vocab * sizeof *row_a) == 0);
    free(row_a);
    free(row_b);
}

/* Ranks in processes and in threads save equal bytes, and load each other's. */
static void between_threads_and_processes(void)
{
    tlp_session_options here = options(TLP_COMM_THREADS);
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_session *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0;

    CHECK(tlp_session_create(&a, plan, &o) == TLP_OK);
    CHECK(tlp_session_create(&b, plan, &here) == TLP_OK);
    CHECK(tlp_session_prefill(a, ids, N_TOKEN) == TLP_OK);
    CHECK(tlp_session_prefill(b, ids, N_TOKEN) == TLP_OK);
    uint8_t *of_a = save(a, 0, &n_a), *of_b = save(b, 0, &n_b);
    CHECK(n_a == n_b && memcmp(of_a, of_b, n_a) == 0);
    CHECK(tlp_session_load(a, 1, of_b, n_b) == TLP_OK);
    CHECK(tlp_session_load(b, 1, of_a, n_a) == TLP_OK);
    expect_equal(a, 0, a, 1);
    expect_equal(b, 0, b, 1);
    expect_equal(a, 1, b, 0);
    of_a[n_a / 2] ^= 1;
    CHECK(tlp_session_load(a, 1, of_a, n_a) == TLP_EFORMAT);
    expect_equal(a, 1, b, 0);
    tlp_session_free(a);
    tlp_session_free(b);
    free(of_a);
    free(of_b);
}

/* The last rank has no memory for more pages: no rank loads the sequence. */
static void without_memory(void)
{
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_session *s = NULL;
    size_t n = 0;

    CHECK(tlp_session_create(&s, plan, &o) == TLP_OK);
    CHECK(tlp_session_prefill(s, ids, N_TOKEN) == TLP_OK);
    void *bytes = save(s, 0, &n);
    CHECK(tlp_session_load(s, 1, bytes, n) == TLP_ENOMEM);
    CHECK(strstr(tlp_last_error(), "another rank"));
    CHECK(tlp_session_pos(s, 1) == 0);
    CHECK(tlp_session_clear(s, 0) == TLP_OK);
    CHECK(tlp_session_load(s, 1, bytes, n) == TLP_OK);
    CHECK(tlp_session_pos(s, 1) == N_TOKEN);
    tlp_session_free(s);
    free(bytes);
}

/* The first session shows how much memory a sequence takes at most. */
static void measure(void)
{
    tlp_session_options o = options(TLP_COMM_MPI);
    tlp_session *s = NULL;
    size_t n = 0;

    CHECK(tlp_session_create(&s, plan, &o) == TLP_OK);
    CHECK(tlp_session_prefill(s, ids, N_TOKEN) == TLP_OK);
    free(save(s, 0, &n));
    tlp_session_free(s);
}

int main(int argc, char **argv)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_model_info info = { .struct_size = sizeof info };
    mem memory = { 0 };

    o.comm = TLP_COMM_MPI;
    CHECK(argc == 3);
    CHECK(tlp_comm_rank(&rank, &n_rank, &o) == TLP_OK);
    mo.allocator = mem_hooks(&memory);
    CHECK(tlp_model_open(&model, argv[1], &mo) == TLP_OK);
    CHECK(tlp_plan_parse(&plan, model, argv[2]) == TLP_OK);
    CHECK(tlp_model_get_info(&info, model) == TLP_OK);
    n_vocab = (size_t)info.n_vocab;
    for (int i = 0; i < N_TOKEN + 8; i++)
        ids[i] = (i * 7 + 11) % 256;
    o = options(TLP_COMM_MPI);
    if (rank == 0) {
        between_threads_and_processes();
        measure();
        without_memory();
    } else {
        CHECK(tlp_worker_run(model, NULL, &o) == TLP_OK);
        atomic_store(&memory.peak, atomic_load(&memory.bytes));
        CHECK(tlp_worker_run(model, NULL, &o) == TLP_OK);
        if (rank == n_rank - 1) /* less than two pages */
            memory.budget = atomic_load(&memory.peak) + 65536;
        CHECK(tlp_worker_run(model, NULL, &o) == TLP_OK);
        memory.budget = 0;
    }
    tlp_plan_free(plan);
    tlp_model_free(model);
    CHECK(memory.live == 0);
    return 0;
}
