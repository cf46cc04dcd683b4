/*
 * engine_process.c - an engine whose other rank is a process.  test_mpi_engine
 * runs it.
 *
 *     engine_process MODEL text      texts equal those of one process
 *     engine_process MODEL kill      rank 1 dies while texts are written: every
 *                                    request ends, and the process goes on
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tlp.h"

enum { N_REQUEST = 6, N_PREDICT = 12, N_PROMPT = 40 };

static int32_t rank, n_rank;

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rank %d: line %d: %s: %s\n", rank, __LINE__,      \
                    #cond, tlp_last_error());                                  \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

typedef struct writing {
    int32_t token[N_PREDICT];
    int n, reason, n_end;
    tlp_status status;
    char error[256];
} writing;

static tlp_engine *make_engine(tlp_plan *plan, int comm)
{
    tlp_session_options s = TLP_SESSION_OPTIONS_INIT;
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    tlp_engine *e = NULL;

    s.comm = comm;
    s.n_rank = comm == TLP_COMM_MPI ? 0 : n_rank;
    s.n_ctx = 64;
    s.n_seq = 3;
    s.n_thread = 1;
    o.session = &s;
    o.n_chunk = 8;
    CHECK(tlp_engine_create(&e, plan, &o) == TLP_OK);
    return e;
}

static void submit(tlp_engine *e, writing *w)
{
    int32_t ids[N_PROMPT];

    memset(w, 0, N_REQUEST * sizeof *w);
    for (int i = 0; i < N_REQUEST; i++) {
        tlp_request q = TLP_REQUEST_INIT;
        uint64_t id = 0;

        for (int k = 0; k < N_PROMPT; k++)
            ids[k] = (i * 37 + k * k) % 250;
        q.tokens = ids;
        q.n_token = (size_t)(N_PROMPT - 5 * i);
        q.n_predict = N_PREDICT;
        q.ignore_end = 1;
        q.user = &w[i];
        CHECK(tlp_engine_submit(&id, e, &q) == TLP_OK);
    }
}

/* Take events until n requests have ended; calls `at` at the first token. */
static void take(tlp_engine *e, int n, void (*at)(void))
{
    tlp_event *v = NULL;

    while (n > 0) {
        CHECK(tlp_engine_next(&v, e, 20000) == TLP_OK && v);
        writing *w = v->user;

        if (v->kind == TLP_EVENT_TOKEN) {
            w->token[w->n++] = v->token;
            if (at)
                at();
            at = NULL;
        } else if (v->kind == TLP_EVENT_STOP) {
            w->reason = v->stop_reason;
            w->status = v->status;
            snprintf(w->error, sizeof w->error, "%s", v->text);
        } else if (v->kind == TLP_EVENT_END) {
            w->n_end++;
            n--;
        }
        tlp_event_free(v);
    }
}

static void texts(tlp_plan *plan)
{
    writing w[2][N_REQUEST];

    for (int i = 0; i < 2; i++) {
        tlp_engine *e = make_engine(plan, i ? TLP_COMM_THREADS : TLP_COMM_MPI);

        CHECK(tlp_engine_start(e) == TLP_OK);
        submit(e, w[i]);
        take(e, N_REQUEST, NULL);
        tlp_engine_free(e);
    }
    for (int i = 0; i < N_REQUEST; i++) {
        CHECK(w[0][i].n == N_PREDICT && w[0][i].reason == TLP_STOP_LENGTH);
        CHECK(memcmp(w[0][i].token, w[1][i].token, sizeof w[0][i].token) == 0);
    }
}

/* Rank 1 waits for this file, and then kills itself. */
static const char *signal_file(void)
{
    return getenv("ENGINE_PROCESS_FILE");
}

static void strike(void)
{
    FILE *f = fopen(signal_file(), "w");

    CHECK(f && fclose(f) == 0);
}

/* Every request has its end; returns how many failed. */
static int count_failed(const writing *w)
{
    int n = 0;

    for (int i = 0; i < N_REQUEST; i++) {
        CHECK(w[i].n_end == 1);
        if (w[i].reason != TLP_STOP_ERROR)
            continue; /* it had ended before */
        CHECK(w[i].status == TLP_ECOMM || w[i].status == TLP_ETIMEDOUT);
        CHECK(strstr(w[i].error, "rank 1"));
        n++;
    }
    return n;
}

static void survive(tlp_plan *plan)
{
    writing w[N_REQUEST];
    tlp_engine *e = make_engine(plan, TLP_COMM_MPI);
    tlp_event *v = NULL;

    CHECK(tlp_engine_start(e) == TLP_OK);
    do { /* until rank 1 is dead */
        submit(e, w);
        take(e, N_REQUEST, strike);
    } while (count_failed(w) == 0);
    CHECK(tlp_engine_next(&v, e, 20000) < 0 && !v);
    tlp_engine_free(e);

    e = make_engine(plan, TLP_COMM_THREADS); /* the process goes on */
    CHECK(tlp_engine_start(e) == TLP_OK);
    submit(e, w);
    take(e, N_REQUEST, NULL);
    CHECK(w[0].reason == TLP_STOP_LENGTH);
    tlp_engine_free(e);
    printf("survived\n");
}

static void *die_when_told(void *arg)
{
    while (access(signal_file(), F_OK) != 0)
        usleep(1000);
    kill(getpid(), SIGKILL);
    return arg;
}

int main(int argc, char **argv)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    pthread_t thread;
    bool kills = argc > 2 && strcmp(argv[2], "kill") == 0;

    o.comm = TLP_COMM_MPI;
    o.n_thread = 1;
    CHECK(tlp_comm_rank(&rank, &n_rank, &o) == TLP_OK);
    CHECK(tlp_model_open(&model, argv[1], NULL) == TLP_OK);
    CHECK(tlp_plan_parse(&plan, model, "par:1-2") == TLP_OK);
    if (rank > 0 && kills)
        CHECK(pthread_create(&thread, NULL, die_when_told, NULL) == 0);
    if (rank > 0)
        while (tlp_worker_run(model, NULL, &o) == TLP_OK)
            ;
    else if (kills)
        survive(plan);
    else
        texts(plan);
    tlp_plan_free(plan);
    tlp_model_free(model);
    return 0;
}
