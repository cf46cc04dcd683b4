/*
 * bench_run.c - run the plans and time them.
 *
 * Every repeat runs every plan once, one after the other, so that a change of
 * the machine's speed affects all plans.  A run clears the sequence, prefills
 * `prompt` pseudo-random ids (equal in every run) and decodes `gen` tokens
 * greedily, with sampling.  Prefill and decode are timed by the wall clock.
 * Before the first run of each session a short run, which does not count,
 * loads weights and starts threads.
 */
#include "bench.h"

/* Measure the seconds of a prefill of n_prompt tokens, and of n_gen decodes
 * after it. */
static tlp_status run_once(const bench *b, tlp_session *s, int n_prompt,
                           int n_gen, double *prefill, double *decode)
{
    tlp_status st = tlp_session_clear(s, 0);
    double start = cli_now();

    if (st == TLP_OK)
        st = tlp_session_prefill(s, b->prompt, (size_t)n_prompt);

    double middle = cli_now();

    tlp_session_reset_stats(s);
    for (int i = 0; st == TLP_OK && i < n_gen; i++) {
        int32_t token = 0;

        st = tlp_session_sample(&token, s, 0, b->greedy);
        if (st == TLP_OK)
            st = tlp_session_decode(s, token);
    }
    *prefill = middle - start;
    *decode = cli_now() - middle;
    return st;
}

/* Positions of the pages that a sequence of n positions can have (tlp.h). */
static int paged(int n)
{
    int unit = n <= 256 ? 16 : 256;

    return (n + unit - 1) / unit * unit;
}

/* The cache has room for the prompt and the decoded tokens.  A decoded token
 * reads the prompt's part, and half of the remaining part on average. */
static double kv_bytes_of_a_token(const bench *b,
                                  const tlp_session_stats *stats)
{
    double n_read = b->n_prompt + (b->n_gen + 1) / 2.0;

    return (double)stats->kv_most_bytes * n_read /
           paged(b->n_prompt + b->n_gen);
}

static int run_repeat(bench *b, contender *c, int repeat)
{
    double prefill, decode;
    tlp_session_stats stats = { .struct_size = sizeof stats };

    engine_watch(c->session);

    tlp_status st =
        run_once(b, c->session, b->n_prompt, b->n_gen, &prefill, &decode);

    if (st == TLP_OK)
        st = tlp_session_get_stats(&stats, c->session);
    if (st != TLP_OK)
        return engine_fail(st);
    c->prefill.value[repeat] = b->n_prompt / prefill;
    c->decode.value[repeat] = b->n_gen / decode;
    c->comm.value[repeat] = stats.comm_seconds;
    c->kv_bytes = kv_bytes_of_a_token(b, &stats);
    return CLI_OK;
}

static int warm_up(bench *b, contender *c)
{
    double unused;
    int n_prompt = b->n_prompt < 16 ? b->n_prompt : 16;
    int n_gen = b->n_gen < 4 ? b->n_gen : 4;

    engine_watch(c->session);

    tlp_status st = run_once(b, c->session, n_prompt, n_gen, &unused, &unused);

    if (st != TLP_OK)
        return engine_fail(st);
    return b->between.path[0] ? CLI_OK : link_measure(&b->between, c->session);
}

/* Run with a session of its own. */
static int run_alone(bench *b, contender *c, int repeat)
{
    int rc = bench_open_session(b, c);

    if (rc == CLI_OK)
        rc = warm_up(b, c);
    if (rc == CLI_OK)
        rc = run_repeat(b, c, repeat);
    bench_close_session(c);
    return rc;
}

int bench_run(bench *b)
{
    cli_progress bar;
    int rc = CLI_OK;
    bool alone = bench_one_at_a_time(b);
    double total = (double)b->n * b->n_repeat;

    cli_progress_start(&bar, "measuring");
    for (size_t i = 0; rc == CLI_OK && !alone && i < b->n; i++)
        rc = warm_up(b, &b->contender[i]);
    for (int r = 0; rc == CLI_OK && r < b->n_repeat; r++) {
        rc = bench_bandwidth_measure(b, r);
        if (rc == CLI_OK)
            rc = bench_link_measure(b);
        for (size_t i = 0; rc == CLI_OK && i < b->n; i++) {
            rc = (alone ? run_alone : run_repeat)(b, &b->contender[i], r);
            cli_progress_step(
                ((double)r * (double)b->n + (double)i + 1) / total, &bar);
        }
    }
    cli_progress_end(&bar);
    engine_watch(NULL);
    return rc;
}
