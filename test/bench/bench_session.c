/*
 * bench_session.c - decoding of several sequences at once, and at the end of
 * long contexts.
 *
 *   bench_session MODEL.gguf [threads [kv_type]]     kv_type 2 f16, 4 q8_0
 *
 * Sequences: tokens/s of 1 ... 8 of them, each 16 to 48 positions long.
 * Contexts: tokens/s of one sequence behind so many positions, and of the
 * prefill that filled them.  Median of several runs in turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

enum { N_SEQ = 8, START = 16, STEPS = 32, RUNS = 5, MAX_CTX = 4096 };

static void must(tlp_status st)
{
    if (st != TLP_OK) {
        fprintf(stderr, "bench_session: %s\n", tlp_last_error());
        exit(1);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x)
{
    qsort(x, RUNS, sizeof *x, compare);
    return x[RUNS / 2];
}

/* Tokens/s of STEPS steps with one token of each of the first n sequences. */
static double decode(tlp_session *s, int n)
{
    int32_t id[N_SEQ], seq[N_SEQ];
    tlp_batch b = TLP_BATCH_INIT;
    double t0 = tlpi_now();

    b.n = (size_t)n;
    b.tokens = id;
    b.seqs = seq;
    for (int i = 0; i < STEPS; i++) {
        for (int k = 0; k < n; k++) {
            id[k] = 100 + 37 * i + k;
            seq[k] = k;
        }
        must(tlp_session_eval(s, &b));
    }
    return STEPS * n / (tlpi_now() - t0);
}

static double prefill(tlp_session *s, int seq, const int32_t *id, int n)
{
    int32_t seqs[MAX_CTX];
    tlp_batch b = TLP_BATCH_INIT;
    double t0 = tlpi_now();

    for (int i = 0; i < n; i++)
        seqs[i] = seq;
    b.n = (size_t)n;
    b.tokens = id;
    b.seqs = seqs;
    must(tlp_session_eval(s, &b));
    return n / (tlpi_now() - t0);
}

static void bench_sequences(tlp_session *s, const int32_t *id)
{
    double speed[N_SEQ][RUNS];

    for (int run = -1; run < RUNS; run++) /* the first does not count */
        for (int n = 0; n < N_SEQ; n++) {
            for (int i = 0; i <= n; i++) {
                must(tlp_session_clear(s, i));
                prefill(s, i, id, START);
            }
            double v = decode(s, n + 1);
            if (run >= 0)
                speed[n][run] = v;
        }
    for (int n = 0; n < N_SEQ; n++) {
        double v = median(speed[n]);
        printf("%d sequences  decode %7.1f/s  %.2f\n", n + 1, v,
               v / speed[0][RUNS / 2]);
    }
}

static void bench_contexts(tlp_session *s, const int32_t *id)
{
    static const int length[] = { START, 512, 1024, 2048, MAX_CTX };
    enum { N = TLPI_COUNT(length) };
    double fill[N][RUNS], gen[N][RUNS];

    for (int run = 0; run < RUNS; run++)
        for (int i = 0; i < N; i++) {
            must(tlp_session_clear(s, 0));
            fill[i][run] = prefill(s, 0, id, length[i]);
            gen[i][run] = decode(s, 1);
        }
    for (int i = 0; i < N; i++) {
        double f = median(fill[i]), d = median(gen[i]);
        printf("context %4d  prefill %7.1f/s  decode %7.1f/s  %.2f\n",
               length[i], f, d, d / gen[0][RUNS / 2]);
    }
}

int main(int argc, char **argv)
{
    static int32_t id[MAX_CTX];
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_session *s;
    tlp_model *m;
    tlp_plan *p;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_session MODEL.gguf [threads [kv]]\n");
        return 2;
    }
    for (int i = 0; i < MAX_CTX; i++)
        id[i] = 5 + i * 7919 % 30000;
    o.n_seq = N_SEQ;
    o.n_ctx = MAX_CTX + STEPS;
    o.n_thread = argc > 2 ? atoi(argv[2]) : 0;
    o.kv_type = argc > 3 ? atoi(argv[3]) : 0;
    must(tlp_model_open(&m, argv[1], NULL));
    must(tlp_plan_parse(&p, m, "serial"));
    must(tlp_session_create(&s, p, &o));
    bench_sequences(s, id);
    bench_contexts(s, id);
    tlp_session_free(s);
    tlp_plan_free(p);
    tlp_model_free(m);
    return 0;
}
