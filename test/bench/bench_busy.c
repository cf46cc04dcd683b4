/*
 * bench_busy.c - tokens/s while the host keeps cores busy with threads of its
 * own, with 1, 2, ... threads of the library.
 *
 *   bench_busy MODEL.gguf [rounds [threads [busy [spin_us]]]]
 *
 * Sessions with 1 ... `threads` threads share the weights, and are timed in
 * turn, each with 0 ... `busy` busy threads.  Prints a line for each figure:
 * phase, busy threads, threads, median, least and most tokens/s of the rounds.
 * It uses the public interface alone, so it also runs with older libraries.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tlp.h"

enum { MOST = 8, MAX_ROUND = 101, PROMPT = 256, SETTLE_MS = 400 };

static const double seconds = 0.8; /* of decoding in a round */

typedef struct series {
    double value[MAX_ROUND];
} series;

static series speed[2][MOST + 1][MOST]; /* [phase][busy][threads - 1] */
static atomic_int stop;

static void must(tlp_status st)
{
    if (st != TLP_OK) {
        fprintf(stderr, "bench_busy: %s\n", tlp_last_error());
        exit(1);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *keep_busy(void *arg)
{
    volatile unsigned *x = arg;

    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        for (int i = 0; i < 1000; i++)
            *x = *x * 1664525u + 1013904223u;
    return NULL;
}

static void start_busy(pthread_t *thread, unsigned *x, int n)
{
    struct timespec settle = { .tv_nsec = SETTLE_MS * 1000000L };

    atomic_store(&stop, 0);
    for (int i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, keep_busy, &x[16 * i]) != 0)
            exit(1);
    nanosleep(&settle, NULL);
}

static void stop_busy(const pthread_t *thread, int n)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
}

/* Tokens/s of a prompt, and of the tokens after it. */
static void time_session(tlp_session *s, double *prefill, double *decode)
{
    int32_t id[PROMPT];
    int n = 0;

    for (int i = 0; i < PROMPT; i++)
        id[i] = 5 + i * 7919 % 30000;
    must(tlp_session_clear(s, 0));
    double start = now(), end;
    must(tlp_session_prefill(s, id, PROMPT));
    *prefill = PROMPT / (now() - start);
    start = now();
    do {
        must(tlp_session_decode(s, id[n++ % PROMPT]));
        end = now();
    } while (end - start < seconds);
    *decode = n / (end - start);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *phase, int busy, int n_thread, series *s, int n)
{
    qsort(s->value, (size_t)n, sizeof *s->value, by_value);
    printf("%s %d %d %.2f %.2f %.2f\n", phase, busy, n_thread, s->value[n / 2],
           s->value[0], s->value[n - 1]);
}

static int number(int argc, char **argv, int i, int dflt, int most)
{
    int n = argc > i ? atoi(argv[i]) : dflt;
    return n < most ? n : most;
}

static void run(tlp_session **s, int n_round, int n_thread, int n_busy)
{
    static unsigned x[16 * MOST];
    pthread_t thread[MOST];

    for (int r = 0; r < n_round; r++)
        for (int b = 0; b <= n_busy; b++) {
            start_busy(thread, x, b);
            for (int t = 0; t < n_thread; t++)
                time_session(s[t], &speed[0][b][t].value[r],
                             &speed[1][b][t].value[r]);
            stop_busy(thread, b);
        }
}

int main(int argc, char **argv)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_session *s[MOST];
    tlp_model *m;
    tlp_plan *p;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_busy MODEL.gguf [rounds [threads [busy "
                        "[spin_us]]]]\n");
        return 2;
    }
    int n_round = number(argc, argv, 2, 5, MAX_ROUND);
    int n_thread = number(argc, argv, 3, 2, MOST);
    int n_busy = number(argc, argv, 4, 2, MOST);
    o.n_ctx = 1024;
    o.spin_us = number(argc, argv, 5, 0, 1000000);
    must(tlp_model_open(&m, argv[1], NULL));
    must(tlp_plan_parse(&p, m, "serial"));
    for (int t = 0; t < n_thread; t++) {
        o.n_thread = t + 1;
        must(tlp_session_create(&s[t], p, &o));
        double first;
        time_session(s[t], &first, &first); /* does not count */
    }
    run(s, n_round, n_thread, n_busy);
    for (int phase = 0; phase < 2; phase++)
        for (int b = 0; b <= n_busy; b++)
            for (int t = 0; t < n_thread; t++)
                report(phase ? "decode" : "prefill", b, t + 1,
                       &speed[phase][b][t], n_round);
    for (int t = 0; t < n_thread; t++)
        tlp_session_free(s[t]);
    tlp_plan_free(p);
    tlp_model_free(m);
    return 0;
}
