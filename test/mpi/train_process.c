/*
 * train_process.c - a training on the ranks of an MPI job.  test_mpi_train runs
 * it.
 *
 *     train_process MODEL OUT equal          train, and write OUT
 *     train_process MODEL OUT dies           the last rank dies at work
 *     train_process MODEL OUT dies keep      and the best state is kept
 *     train_process MODEL OUT again STATE    train in pieces
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tlp_tune.h"

enum { N_CTX = 32, N_TOKEN = 12 * N_CTX };

static int32_t rank, n_rank;
static tlp_model *model;
static int32_t ids[N_TOKEN];
static char go[4096]; /* a file: the victim dies */
static int n_step, cancel_at;

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rank %d: line %d: %s: %s\n", rank, __LINE__,      \
                    #cond, tlp_last_error());                                  \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

/* ==== rank 0 ============================================================= */

static int step(double done, void *arg)
{
    (void)done;
    if (++n_step == 12 && *(const char *)arg) {
        FILE *f = fopen(arg, "w");

        CHECK(f && fclose(f) == 0);
    }
    return n_step == cancel_at;
}

static tlp_session_options session_options(void)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.comm = TLP_COMM_MPI;
    o.n_thread = 1;
    o.timeout_ms = 20000;
    return o;
}

static tlp_status train(const char *path, const char *state, int keep,
                        tlp_plan_train_report *report)
{
    tlp_session_options session = session_options();
    tlp_plan_train_options o = TLP_PLAN_TRAIN_OPTIONS_INIT;
    tlp_plan *plan = NULL, *trained = NULL;
    tlp_status st;

    n_step = 0;
    session.n_ctx = N_CTX;
    session.compute = TLP_COMPUTE_F32;
    o.session = &session;
    o.n_token = 96 * N_CTX;
    o.n_local_token = 16 * N_CTX;
    o.rate = 1e-3;
    o.n_held_out_token = N_TOKEN / 4;
    o.full = o.norms = 1;
    o.keep = keep;
    o.resume_path = state;
    o.progress = step;
    o.progress_data = go;
    CHECK(tlp_plan_parse(&plan, model, "nosync@2:1,2a;par:3-4") == TLP_OK);
    st = tlp_plan_train(&trained, report, plan, path, ids, N_TOKEN, &o);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    return st;
}

static void lead(const char *path, const char *what, const char *more)
{
    tlp_plan_train_report r = { .struct_size = sizeof r };
    tlp_status st;

    if (strcmp(what, "again") == 0) {
        int n = 0;

        do {
            cancel_at = 11;
            st = train(path, more, 0, &r);
            n++;
        } while (st == TLP_ECANCELED && n < 20);
        CHECK(n > 2 || st != TLP_OK);
    } else {
        st = train(path, NULL, more && strcmp(more, "keep") == 0, &r);
    }
    printf("%s %.9g %.9g %d %s\n", tlp_status_name(st), r.kl_before, r.kl_after,
           (int)r.canceled, st == TLP_OK ? "" : tlp_last_error());
    fflush(stdout);
}

/* ==== other ranks ======================================================== */

static void *die(void *arg)
{
    (void)arg;
    while (access(go, F_OK) != 0)
        usleep(1000);
    kill(getpid(), SIGKILL);
    return NULL;
}

static void serve(bool dies)
{
    tlp_session_options o = session_options();
    pthread_t thread;
    tlp_status st;

    if (dies)
        CHECK(pthread_create(&thread, NULL, die, NULL) == 0);
    do
        st = tlp_worker_run(model, NULL, &o);
    while (st == TLP_OK);
    CHECK(st == TLP_ECLOSED || st == TLP_ECOMM);
}

int main(int argc, char **argv)
{
    tlp_session_options o = session_options();
    bool dies = argc > 3 && strcmp(argv[3], "dies") == 0;

    if (argc < 4)
        return 2;
    if (dies)
        snprintf(go, sizeof go, "%s.go", argv[2]);
    CHECK(tlp_comm_rank(&rank, &n_rank, &o) == TLP_OK);
    CHECK(tlp_model_open(&model, argv[1], NULL) == TLP_OK);
    for (int i = 0; i < N_TOKEN; i++)
        ids[i] = (37 * i + i * i / 7 + 11) % 256;
    if (rank == 0)
        lead(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
    else
        serve(dies && rank == n_rank - 1);
    tlp_model_free(model);
    return 0;
}
