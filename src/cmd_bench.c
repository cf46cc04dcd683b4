/*
 * cmd_bench.c - tlp bench: compare the speed of plans on this machine, and
 * measure its memory rate.
 */
#include <stdlib.h>

#include "bench.h"
#include "commands.h"

/* Pseudo-random ids, equal on every machine. */
static void fill_prompt(bench *b)
{
    uint32_t x = 1;

    for (int i = 0; i < b->n_prompt; i++) {
        x = x * 1664525u + 1013904223u;
        b->prompt[i] = (int32_t)((x >> 8) % (uint32_t)b->e.info.n_vocab);
    }
}

int bench_open_session(bench *b, contender *c)
{
    return engine_create_session(&b->e, c->plan,
                                 (int64_t)b->n_prompt + b->n_gen, &c->session);
}

void bench_close_session(contender *c)
{
    engine_watch(NULL);
    tlp_session_free(c->session);
    c->session = NULL;
}

int bench_open_series(series *s, int n)
{
    s->value = calloc((size_t)n, sizeof *s->value);
    return s->value ? CLI_OK : cli_fail("out of memory");
}

static int open_contender(bench *b, contender *c, const char *text)
{
    int rc = engine_parse_plan(&b->e, text, &c->plan);

    c->text = text;
    if (rc == CLI_OK)
        rc = bench_open_series(&c->prefill, b->n_repeat);
    if (rc == CLI_OK)
        rc = bench_open_series(&c->decode, b->n_repeat);
    if (rc == CLI_OK)
        rc = bench_open_series(&c->comm, b->n_repeat);
    if (rc == CLI_OK)
        rc = engine_plan_cost(&b->e, c->plan, &c->cost);
    if (rc == CLI_OK && !bench_one_at_a_time(b))
        rc = bench_open_session(b, c);
    return rc;
}

static int open_plans(bench *b, const cli_list *plans)
{
    int rc = engine_start(&b->e, 0);

    if (rc != CLI_OK)
        return rc;
    if (b->bandwidth.wanted && bench_one_at_a_time(b))
        return cli_usage(
            "--bandwidth measures one machine: not with --comm mpi");

    tlp_status st = tlp_sampler_create(&b->greedy, b->e.model, NULL);

    if (st != TLP_OK)
        return engine_fail(st);
    b->prompt = malloc((size_t)b->n_prompt * sizeof *b->prompt);
    b->contender = calloc(plans->n, sizeof *b->contender);
    if (!b->prompt || !b->contender)
        return cli_fail("out of memory");
    fill_prompt(b);
    b->n = plans->n;
    for (size_t i = 0; rc == CLI_OK && i < plans->n; i++)
        rc = open_contender(b, &b->contender[i], plans->item[i]);
    return rc == CLI_OK ? bench_link_open(b) : rc;
}

/* Measuring only the memory needs no model. */
static int open_all(bench *b, cli_list *plans)
{
    int rc = CLI_OK;

    if (b->e.model_path || !b->bandwidth.wanted || b->link.wanted || plans->n) {
        if (plans->n == 0)
            plans->item[plans->n++] = "serial";
        rc = open_plans(b, plans);
    }
    return rc == CLI_OK ? bench_bandwidth_open(b) : rc;
}

static void close_all(bench *b)
{
    bench_bandwidth_close(b);
    bench_link_close(b);
    for (size_t i = 0; i < b->n; i++) {
        contender *c = &b->contender[i];

        bench_close_session(c);
        tlp_plan_free(c->plan);
        free(c->prefill.value);
        free(c->decode.value);
        free(c->comm.value);
    }
    free(b->contender);
    free(b->prompt);
    tlp_sampler_free(b->greedy);
    engine_close(&b->e);
}

int cmd_bench(int argc, char **argv)
{
    bench b = {
        .e = ENGINE_INIT, .n_prompt = 512, .n_gen = 128, .n_repeat = 5
    };
    cli_list plans = { .n = 0 };
    bool as_json = false;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(b.e),
        ENGINE_TRUST_OPTION(b.e),
        { CLI_LIST, 0, "plan", &plans, "PLAN",
          "plan to measure; may be repeated (serial)", 0, 0 },
        { CLI_INT, 0, "prompt", &b.n_prompt, "N", "tokens to prefill (512)", 1,
          INT32_MAX / 4 },
        { CLI_INT, 0, "gen", &b.n_gen, "N", "tokens to decode (128)", 1,
          INT32_MAX / 4 },
        { CLI_INT, 0, "repeat", &b.n_repeat, "N", "runs of each plan (5)", 1,
          10000 },
        { CLI_FLAG, 0, "measure-link", &b.link.wanted, NULL,
          "measure work and link, and predict tokens/s from them", 0, 0 },
        { CLI_LIST, 0, "predict", &b.link.texts, "PLAN",
          "plan to predict without running it; may be repeated", 0, 0 },
        { CLI_INT, 0, "predict-ranks", &b.link.n_rank, "N",
          "predict also for N ranks (0: none)", 0, 64 },
        { CLI_FLAG, 0, "bandwidth", &b.bandwidth.wanted, NULL,
          "measure the memory rate, and decode's share of it", 0, 0 },
        { CLI_FLAG, 0, "json", &as_json, NULL, "print JSON", 0, 0 },
        ENGINE_SESSION_OPTIONS(b.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (!b.link.wanted && (b.link.texts.n > 0 || b.link.n_rank > 0))
        return cli_usage("--predict and --predict-ranks need --measure-link");
    rc = open_all(&b, &plans);
    if (rc == CLI_OK)
        rc = bench_run(&b);
    if (rc == CLI_OK)
        rc = bench_report(&b, as_json);
    close_all(&b);
    return rc;
}
