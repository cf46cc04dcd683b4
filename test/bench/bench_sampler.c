/*
 * bench_sampler.c - the time of choosing a token.
 *
 *   bench_sampler MODEL.gguf
 *
 * One thread.  For each set of options: microseconds of tlp_session_sample on a
 * row that rank 0 has; then milliseconds of a step of 8 sequences, and of the 8
 * choices after it.  The least of many runs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

enum { N_SEQ = 8, RUNS = 60 };

static void must(tlp_status st)
{
    if (st != TLP_OK) {
        fprintf(stderr, "bench_sampler: %s\n", tlp_last_error());
        exit(1);
    }
}

static const struct {
    const char *name;
    tlp_sampler_options o;
} cases[] = {
    { "greedy", { .temperature = 0 } },
    { "temp=1.5", { .temperature = 1.5f } },
    { "temp=1.5; top_k=40", { .temperature = 1.5f, .top_k = 40 } },
    { "temp=1.5; top_k=1000", { .temperature = 1.5f, .top_k = 1000 } },
    { "temp=1.5; top_p=0.99", { .temperature = 1.5f, .top_p = 0.99f } },
    { "temp=0.8; top_p=0.95", { .temperature = 0.8f, .top_p = 0.95f } },
    { "temp=1; min_p=0.05", { .temperature = 1, .min_p = 0.05f } },
    { "temp=1.5; top_k=1000; top_p=0.9",
      { .temperature = 1.5f, .top_k = 1000, .top_p = 0.9f } },
};

static tlp_sampler *create(tlp_model *model, const tlp_sampler_options *from)
{
    tlp_sampler_options o = *from;
    tlp_sampler *s = NULL;

    o.struct_size = sizeof o;
    must(tlp_sampler_create(&s, model, &o));
    return s;
}

static void time_choices(tlp_model *model, tlp_session *session)
{
    for (size_t c = 0; c < TLPI_COUNT(cases); c++) {
        tlp_sampler *s = create(model, &cases[c].o);
        double best = 1;
        int32_t id;

        for (int i = 0; i < RUNS; i++) {
            double start = tlpi_now();
            must(tlp_session_sample(&id, session, 0, s));
            best = TLPI_MIN(best, tlpi_now() - start);
        }
        printf("%-36s %8.1f us\n", cases[c].name, 1e6 * best);
        tlp_sampler_free(s);
    }
}

static void time_steps(tlp_model *model, tlp_session *session)
{
    const tlp_sampler_options o = { .temperature = 1.5f, .top_p = 0.99f };
    tlp_sampler *s = create(model, &o);
    double step = 10, choice = 10;
    int32_t id[N_SEQ], seq[N_SEQ];
    tlp_batch b = TLP_BATCH_INIT;

    b.n = N_SEQ;
    b.tokens = id;
    b.seqs = seq;
    for (int k = 0; k < N_SEQ; k++) {
        id[k] = 100 + k;
        seq[k] = k;
    }
    for (int i = 0; i < RUNS; i++) {
        double start = tlpi_now();
        must(tlp_session_eval(session, &b));
        double middle = tlpi_now();
        for (int k = 0; k < N_SEQ; k++)
            must(tlp_session_sample(&id[k], session, (size_t)k, s));
        double end = tlpi_now();
        step = TLPI_MIN(step, end - start);
        choice = TLPI_MIN(choice, end - middle);
    }
    printf("%-36s %8.2f ms, %.2f ms of it choosing\n",
           "step of 8; temp=1.5; top_p=0.99", 1e3 * step, 1e3 * choice);
    tlp_sampler_free(s);
}

int main(int argc, char **argv)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    const int32_t ids[] = { 40, 41, 42, 43, 44, 45 };

    if (argc != 2) {
        fprintf(stderr, "usage: bench_sampler MODEL.gguf\n");
        return 2;
    }
    o.n_thread = 1;
    o.n_seq = N_SEQ;
    o.n_ctx = 128;
    must(tlp_model_open(&model, argv[1], NULL));
    must(tlp_plan_parse(&plan, model, "serial"));
    must(tlp_session_create(&session, plan, &o));
    must(tlp_session_prefill(session, ids, TLPI_COUNT(ids)));
    time_choices(model, session);
    must(tlp_session_clear(session, 0));
    time_steps(model, session);
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(model);
    return 0;
}
