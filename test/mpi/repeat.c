/*
 * repeat.c - sessions one after the other, some of which fail on purpose:
 * nothing grows.  test_mpi_repeat runs it.
 *
 *     repeat MODEL GOOD BAD
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mem.h"
#include "tlp.h"

static int32_t rank, n_rank;
static tlp_model *model;
static tlp_plan *plan;

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rank %d: line %d: %s: %s\n", rank, __LINE__,      \
                    #cond, tlp_last_error());                                  \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

/* ==== what a process holds =============================================== */

typedef struct holdings {
    long kb;
    int fds, threads;
} holdings;

static int count(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static holdings take_stock(void)
{
    holdings h = { 0, count("/proc/self/fd"), count("/proc/self/task") };
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];

    while (f && fgets(line, sizeof line, f))
        (void)sscanf(line, "VmRSS: %ld", &h.kb);
    if (f)
        fclose(f);
    return h;
}

/* ==== sessions =========================================================== */

/* A worker with another n_ctx is refused; one that gives up loading fails. */
typedef enum repeat_kind { GOOD, REFUSED, CANCELED } repeat_kind;

static int cancel(double done, void *user_data)
{
    (void)user_data;
    return done > 0.3;
}

static void one_session(repeat_kind k)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    int32_t ids[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    tlp_session *s = NULL;
    tlp_status st;

    o.comm = TLP_COMM_MPI;
    o.n_ctx = rank > 0 && k == REFUSED ? 32 : 64;
    o.n_thread = 1;
    o.timeout_ms = 20000;
    if (rank > 0 && k == CANCELED)
        o.progress = cancel;
    if (rank == 0) {
        st = tlp_session_create(&s, plan, &o);
        CHECK((st == TLP_OK) == (k == GOOD));
        if (st == TLP_OK)
            CHECK(tlp_session_prefill(s, ids, 8) == TLP_OK &&
                  tlp_session_decode(s, 9) == TLP_OK);
        tlp_session_free(s);
    } else {
        st = tlp_worker_run(model, NULL, &o);
        CHECK((st == TLP_OK) == (k == GOOD));
    }
}

static void some(int n_good, int n_bad)
{
    for (int i = 0; i < n_good; i++)
        one_session(GOOD);
    for (int i = 0; i < n_bad; i++)
        one_session(i % 2 ? REFUSED : CANCELED);
    one_session(GOOD);
}

int main(int argc, char **argv)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    mem heap = { 0 };

    if (argc != 4)
        return 2;
    o.comm = TLP_COMM_MPI;
    o.timeout_ms = 20000;
    mo.allocator = mem_hooks(&heap);
    CHECK(tlp_comm_rank(&rank, &n_rank, &o) == TLP_OK);
    CHECK(tlp_model_open(&model, argv[1], &mo) == TLP_OK);
    CHECK(tlp_plan_parse(&plan, model, "par:1-2") == TLP_OK);
    some(10, 4);

    holdings before = take_stock();
    long live = heap.live;

    some(atoi(argv[2]), atoi(argv[3]));

    holdings after = take_stock();

    printf("rank %d: %ld -> %ld KB, %d -> %d fds, %d -> %d threads\n", rank,
           before.kb, after.kb, before.fds, after.fds, before.threads,
           after.threads);
    CHECK(heap.live == live);
    CHECK(after.fds <= before.fds && after.threads <= before.threads);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed for a while */
    CHECK(after.kb < before.kb + 4096);
#endif
    tlp_plan_free(plan);
    tlp_model_free(model);
    CHECK(heap.live == 0);
    return 0;
}
