/*
 * bench_comm.c - what a pool region and an all-reduce cost between two threads
 * on two cores, in nanoseconds.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/pool.h"
#include "comm/comm.h"

#define N_ROUND 20000
#define N_WARM 2000

static tlpi_env env;
static double ns[N_ROUND];
static tlpi_cores *cores;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *name)
{
    qsort(ns, N_ROUND, sizeof *ns, by_value);
    printf("%-24s median %6.0f  p10 %6.0f  p90 %6.0f ns\n", name,
           ns[N_ROUND / 2], ns[N_ROUND / 10], ns[N_ROUND * 9 / 10]);
}

/* ==== pool =============================================================== */

static void nothing(void *arg, int ith, int nth)
{
    (void)arg;
    (void)ith;
    (void)nth;
}

static void bench_region(tlpi_pool *pool, int n_task, const char *name)
{
    for (int i = -N_WARM; i < N_ROUND; i++) {
        double start = tlpi_now();
        tlpi_pool_map(pool, n_task, nothing, pool);
        if (i >= 0)
            ns[i] = (tlpi_now() - start) * 1e9;
    }
    report(name);
}

static int bench_pool(void)
{
    tlpi_pool_options o = { .n_thread = 2, .n_machine = 2, .cores = cores };
    tlpi_pool *pool = NULL;

    if (tlpi_pool_create(&pool, &env, &o) != TLP_OK)
        return 1;
    bench_region(pool, 2, "pool region, 2 tasks");
    bench_region(pool, 16, "pool region, 16 tasks");
    tlpi_pool_free(pool);
    return 0;
}

/* ==== all-reduce ========================================================= */

typedef struct comm_rank {
    tlpi_comm *comm;
    size_t n;
} comm_rank;

static void reduce_rounds(comm_rank *r, double *took)
{
    float *x = calloc(r->n, sizeof *x);
    uint32_t vote = 0;

    for (int i = -N_WARM; x && i < N_ROUND; i++) {
        for (size_t k = 0; k < r->n; k++)
            x[k] = (float)i; /* lines are the rank's own again, as in use */
        double start = tlpi_now();
        if (r->comm->ops->allreduce(r->comm, x, r->n, &vote) != TLP_OK)
            break;
        if (took && i >= 0)
            took[i] = (tlpi_now() - start) * 1e9;
    }
    free(x);
}

static void *second_rank(void *arg)
{
    tlpi_cores_bind(cores, &env, pthread_self(), 1);
    reduce_rounds(arg, NULL);
    return NULL;
}

static int bench_allreduce(size_t n)
{
    tlpi_comm *comm[2];
    pthread_t thread;
    char name[32];

    if (tlpi_comm_threads_create(comm, &env, 2, 2, 10000) != TLP_OK)
        return 1;
    comm_rank first = { comm[0], n }, second = { comm[1], n };
    if (tlpi_thread_start(&thread, second_rank, &second) != TLP_OK)
        return 1;
    reduce_rounds(&first, ns);
    pthread_join(thread, NULL);
    tlpi_comm_free(comm[0]);
    tlpi_comm_free(comm[1]);
    snprintf(name, sizeof name, "all-reduce of %zu", n);
    report(name);
    return 0;
}

static int bench(void)
{
    const size_t sizes[] = { 1, 576, 4096, 65536 };

    if (tlpi_cores_create(&cores, &env) != TLP_OK || !cores)
        return 1;
    tlpi_cores_bind(cores, &env, pthread_self(), 0);
    int bad = bench_pool();
    for (size_t i = 0; i < TLPI_COUNT(sizes) && !bad; i++)
        bad = bench_allreduce(sizes[i]);
    tlpi_cores_free(cores);
    return bad;
}

int main(void)
{
    int bad = tlpi_env_init(&env, NULL, NULL, NULL) != TLP_OK || bench();

    if (bad)
        fprintf(stderr, "%s\n", tlp_last_error());
    return bad;
}
