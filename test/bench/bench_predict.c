/*
 * bench_predict.c - what the cost model says of models and hosts that are not
 * here: tokens/s of serial and of plans with fewer exchanges.
 *
 *   bench_predict MODEL.gguf [GB/s [Gbit/s]]
 *
 * Hosts read weights at GB/s (100) and are linked at Gbit/s (25).  Only the
 * shapes and types of the file count, so it may be one of holes
 * (scripts/make-random-model.py --holes).  A plan for R hosts has R tracks, and
 * leaves out exchanges evenly between the second layer and the last but one.
 * Prints CSV: hosts, latency in us, exchanges, milliseconds a token at position
 * POS, tokens/s, ratio to serial.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tlp_tune.h"

enum { POS = 1024, MAX_TEXT = 1 << 16 };

static tlp_model *model;

static void must(tlp_status st)
{
    if (st != TLP_OK) {
        fprintf(stderr, "bench_predict: %s\n", tlp_last_error());
        exit(1);
    }
}

/* An all-reduce takes one latency, and the time of its bytes. */
static tlp_link link_of(double latency, double bytes_per_s, double rate,
                        int n_embd)
{
    tlp_link l = { .struct_size = sizeof l };

    l.n_rank = 2;
    l.n_thread = 1;
    l.n_batch = 512;
    l.n_size = 2;
    l.decode.byte = l.prefill.byte = l.head_byte = 1 / rate;
    l.command = latency;
    l.size[0] = 1;
    l.size[1] = n_embd * 512LL;
    for (int i = 0; i < 2; i++) {
        l.allreduce[i] = latency + 4.0 * (double)l.size[i] / bytes_per_s;
        l.late[i] = 0;
        l.send[i] = l.allreduce[i];
    }
    return l;
}

/* The plan that leaves out `drop` exchanges of the 2 n_layer - 4 that it may
 * touch; 0: serial. */
static tlp_plan *plan_of(int n_track, int n_layer, int drop)
{
    static char text[MAX_TEXT];
    int n = 2 * n_layer - 4, at = 0;
    tlp_plan *plan = NULL;

    if (drop == 0) {
        must(tlp_plan_parse(&plan, model, "serial"));
        return plan;
    }
    at = snprintf(text, sizeof text, "nosync@%d:", n_track);
    for (int i = 0, k = 0; i < n; i++) {
        if ((i + 1) * drop / n == k)
            continue;
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%d%c",
                       k ? "," : "", 1 + i / 2, i % 2 ? 'f' : 'a');
        k++;
    }
    must(tlp_plan_parse(&plan, model, text));
    return plan;
}

static void print_row(const tlp_link *l, int n_host, double latency,
                      const tlp_plan *plan, double *serial)
{
    tlp_prediction p = { .struct_size = sizeof p };
    tlp_plan_cost cost = { .struct_size = sizeof cost };

    must(tlp_plan_predict(&p, plan, l, n_host, 1, POS));
    must(tlp_plan_get_cost(&cost, plan, n_host));
    if (*serial == 0)
        *serial = p.seconds;
    printf("%d,%.0f,%d,%.2f,%.2f,%.3f\n", n_host, latency * 1e6,
           (int)cost.exchanges, p.seconds * 1e3, 1 / p.seconds,
           *serial / p.seconds);
}

int main(int argc, char **argv)
{
    static const double latency[] = { 25e-6, 100e-6, 500e-6, 10e-3 };
    static const double kept[] = { 1, 0.8, 0.6, 0.5, 0.4 };
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model_info info = { .struct_size = sizeof info };
    double rate = 1e9 * (argc > 2 ? atof(argv[2]) : 100);
    double bytes_per_s = 1e9 / 8 * (argc > 3 ? atof(argv[3]) : 25);

    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.gguf [GB/s [Gbit/s]]\n", argv[0]);
        return 2;
    }
    o.trust_sample = 1;
    must(tlp_model_open(&model, argv[1], &o));
    must(tlp_model_get_info(&info, model));
    puts("hosts,latency_us,exchanges,ms,tokens_per_s,ratio");
    for (int n_host = 1; n_host <= 8; n_host *= 2)
        for (int i = 0; i < (n_host > 1 ? 4 : 1); i++) {
            tlp_link l = link_of(latency[i], bytes_per_s, rate, info.n_embd);
            double serial = 0;

            for (int k = 0; k < (n_host > 1 ? 5 : 1); k++) {
                int drop = (int)((1 - kept[k]) * 2 * info.n_layer + 0.5);
                tlp_plan *plan = plan_of(n_host, info.n_layer, drop);

                print_row(&l, n_host, latency[i], plan, &serial);
                tlp_plan_free(plan);
            }
        }
    tlp_model_free(model);
    return 0;
}
