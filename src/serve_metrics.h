/*
 * serve_metrics.h - counters of the server for /metrics.
 */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include <pthread.h>
#include <stdint.h>

#include "tlp.h"

#define METRICS_BUCKETS 16

/* Times in seconds. */
typedef struct histogram {
    uint64_t bucket[METRICS_BUCKETS]; /* up to each bound */
    uint64_t n;
    double sum;
} histogram;

typedef struct metrics {
    pthread_mutex_t lock;
    histogram first, gap, whole; /* to the first token; between two; all */
    uint64_t stop[TLP_STOP_ERROR + 1]; /* choices by the reason of their end */
    uint64_t reply[6];                 /* answers by the first digit; 0: none */
} metrics;

void metrics_init(metrics *m);
void metrics_free(metrics *m);

/* Count an event of the engine; *last is the time of the choice's last token,
 * which the caller keeps. */
void metrics_event(metrics *m, const tlp_event *event, double *last);
void metrics_reply(metrics *m, int status);

#endif
