/*
 * bench_allreduce.c - what an all-reduce between GPUs takes, by its size.
 *
 *   bench_allreduce [-n CALLS] [-m FLOATS] DEVICE DEVICE...
 *
 * A rank on each device named, which may be the same one.  CALLS all-reduces
 * (64) are recorded as a step and replayed, as a session does; up to a row's
 * length also with a residual sum and a norm behind each, apart and at once.
 * Prints JSON: microseconds of one, the median of several replays, of sizes up
 * to FLOATS; or, where there is no way between the devices, the reason.
 * TLP_CUDA_COMM chooses the way.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "device/device.h"

#define MAX_RANK 8
#define REPEAT 7
#define MAX_ROW 8192

static const size_t sizes[] = { 1024,  2048,   4096,   8192,    16384,  32768,
                                65536, 131072, 262144, 1048576, 4194304 };
enum { N_SIZE = (int)TLPI_COUNT(sizes) };

/* SUM: an all-reduce; APART: and add_norm; AT_ONCE: in one call. */
typedef enum sum_kind { SUM, APART, AT_ONCE, N_KIND } sum_kind;

typedef struct allreduce_rank {
    const tlpi_device_ops *ops;
    tlpi_comm *host, *comm;
    tlpi_backend *b;
    int device;
    float *x, *delta, *y, *w;
    tlp_status st;
    char text[512];
    pthread_t thread;
} allreduce_rank;

static int n_call = 64;
static size_t max_floats = SIZE_MAX;
static double took[N_SIZE][N_KIND]; /* microseconds, by rank 0 */

static tlp_status record(allreduce_rank *r, size_t n, sum_kind k)
{
    tlpi_norm norm = { r->w, r->y };
    tlp_status st = TLP_OK;

    for (int i = 0; i < n_call && st == TLP_OK; i++) {
        if (k == AT_ONCE) {
            st = r->ops->allreduce_add_norm(r->comm, 1, (int)n, r->x, r->delta,
                                            &norm, 1, 1e-5f);
            continue;
        }
        st = r->comm->ops->allreduce(r->comm, r->delta, n, NULL);
        if (k == APART && st == TLP_OK)
            r->b->ops->add_norm(r->b, 1, (int)n, r->x, r->delta, r->x, &norm, 1,
                                1e-5f);
    }
    return st;
}

/* One step, to its end; its version tells shapes apart. */
static tlp_status step(allreduce_rank *r, size_t n, sum_kind k,
                       uint32_t version)
{
    static const int32_t zero = 0;
    tlpi_step s = { 1, &zero, &zero, &zero };
    tlpi_want want = { &zero, 1, 0, version };
    float last;
    tlp_status st = TLP_OK;

    if (!r->b->ops->begin_step(r->b, &s, &want))
        st = record(r, n, k);
    TLP_TRY(r->b->ops->end_step(r->b, st));
    st = r->b->ops->read(r->b, &last, r->delta, 1);
done:
    return st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static tlp_status measure(allreduce_rank *r, int size, sum_kind k)
{
    uint32_t version = (uint32_t)(size * N_KIND + (int)k);
    double us[REPEAT];
    float none = 0;
    tlp_status st = TLP_OK;

    for (int i = 0; i < 3; i++) /* seen, recorded, replayed */
        TLP_TRY(step(r, sizes[size], k, version));
    for (int i = 0; i < REPEAT; i++) {
        TLP_TRY(r->host->ops->allreduce(r->host, &none, 1, NULL));
        double start = tlpi_now();
        TLP_TRY(step(r, sizes[size], k, version));
        us[i] = (tlpi_now() - start) * 1e6 / n_call;
    }
    qsort(us, REPEAT, sizeof *us, by_value);
    if (r->host->rank == 0)
        took[size][k] = us[REPEAT / 2];
done:
    return st;
}

static tlp_status measure_all(allreduce_rank *r)
{
    const tlpi_backend_ops *ops = r->b->ops;
    tlp_status st = TLP_OK;

    TLP_TRY(r->ops->exchange_buffer(r->comm, &r->delta, sizes[N_SIZE - 1]));
    TLP_TRY(ops->buffer_create(r->b, &r->x, MAX_ROW));
    TLP_TRY(ops->buffer_create(r->b, &r->y, MAX_ROW));
    TLP_TRY(ops->buffer_create(r->b, &r->w, MAX_ROW));
    for (int i = 0; i < N_SIZE && sizes[i] <= max_floats; i++)
        for (int k = 0; k < N_KIND && (k == SUM || sizes[i] <= MAX_ROW); k++)
            TLP_TRY(measure(r, i, (sum_kind)k));
done:
    ops->buffer_free(r->b, r->w);
    ops->buffer_free(r->b, r->y);
    ops->buffer_free(r->b, r->x);
    ops->buffer_free(r->b, r->delta);
    return st;
}

static void *live(void *arg)
{
    allreduce_rank *r = arg;
    tlpi_backend_options o = { .n_thread = 1,
                               .n_machine = 1,
                               .max_tok = 8,
                               .max_cols = MAX_ROW,
                               .max_terms = 3,
                               .max_attn = 1 };
    tlp_status st = TLP_OK;

    TLP_TRY(r->ops->backend_create(&r->b, r->host->env, &o, r->device));
    TLP_TRY(r->ops->comm_create(&r->comm, r->host, r->b, 20000));
    st = measure_all(r);
done:
    r->st = st;
    if (st != TLP_OK) {
        snprintf(r->text, sizeof r->text, "%s", tlp_last_error());
        r->host->ops->abort(r->host);
    }
    tlpi_comm_free(r->comm);
    if (r->b)
        r->b->ops->free(r->b);
    return NULL;
}

/* Strings of ours have no quotes. */
static int show(const allreduce_rank *r, int n)
{
    for (int i = 0; i < n; i++) {
        if (r[i].st == TLP_ENOTSUP) {
            printf("{\"reason\":\"%s\"}\n", r[i].text);
            return 0;
        }
        if (r[i].st != TLP_OK) {
            fprintf(stderr, "rank %d: %s\n", i, r[i].text);
            return 1;
        }
    }
    printf("{\"ranks\":%d,\"sizes\":[", n);
    for (int i = 0; i < N_SIZE && sizes[i] <= max_floats; i++) {
        printf("%s{\"floats\":%zu,\"us\":%.2f", i ? "," : "", sizes[i],
               took[i][SUM]);
        if (sizes[i] <= MAX_ROW)
            printf(",\"norm_apart_us\":%.2f,\"norm_at_once_us\":%.2f",
                   took[i][APART], took[i][AT_ONCE]);
        printf("}");
    }
    printf("]}\n");
    return 0;
}

int main(int argc, char **argv)
{
    const tlpi_device_ops *ops = NULL;
    tlpi_comm *host[MAX_RANK];
    allreduce_rank all[MAX_RANK] = { 0 };
    tlpi_env env;
    int n = 0;

    for (int i = 1; i < argc && n < MAX_RANK; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc)
            n_call = atoi(argv[++i]);
        else if (strcmp(argv[i], "-m") == 0 && i + 1 < argc)
            max_floats = (size_t)atoll(argv[++i]);
        else
            all[n++].device = atoi(argv[i]);
    }
    if (n < 2 || n_call < 1) {
        fprintf(stderr, "bench_allreduce [-n CALLS] [-m FLOATS] DEVICE "
                        "DEVICE...\n");
        return 2;
    }
    if (tlpi_env_init(&env, NULL, NULL, NULL) != TLP_OK ||
        tlpi_device_load(&ops, TLP_BACKEND_CUDA) != TLP_OK ||
        tlpi_comm_threads_create(host, &env, n, n, 60000) != TLP_OK) {
        fprintf(stderr, "%s\n", tlp_last_error());
        return 1;
    }
    for (int i = 0; i < n; i++) {
        all[i].ops = ops;
        all[i].host = host[i];
        if (tlpi_thread_start(&all[i].thread, live, &all[i]) != TLP_OK)
            return 1;
    }
    for (int i = 0; i < n; i++)
        pthread_join(all[i].thread, NULL);
    for (int i = 0; i < n; i++)
        tlpi_comm_free(host[i]);
    return show(all, n);
}
