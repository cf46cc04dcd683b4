/*
 * cmd_bench.c - tlp bench: plans against each other on the same machine.
 *
 * Every repeat runs every plan once, one after the other, so that a machine
 * that grows slower or faster meanwhile does so for all of them.  A run clears
 * the sequence, prefills `prompt` pseudo-random ids (the same in every run) and
 * then decodes `gen` tokens greedily, sampling included.  Prefill and decode
 * are timed by the wall clock; medians are over the repeats, and a ratio is a
 * plan's median over the first plan's.  One short run of each plan before the
 * first repeat is not counted: it brings weights and threads in.
 */
#include <stdlib.h>

#include "commands.h"
#include "engine.h"
#include "json.h"

typedef struct series {
    double *value; /* [repeat] */
    double median, min, max;
} series;

typedef struct contender {
    const char *text;
    tlp_plan *plan;
    tlp_session *session;
    tlp_plan_cost cost;
    series prefill, decode; /* tokens/s */
    series comm;            /* seconds in communication while decoding */
} contender;

typedef struct bench {
    engine e;
    int n_prompt, n_gen, n_repeat;
    int32_t *prompt; /* [n_prompt] */
    tlp_sampler *greedy;
    contender *contender; /* [n] */
    size_t n;
} bench;

/* ==== running ============================================================ */

/* Ids that look random and are the same everywhere. */
static void fill_prompt(bench *b)
{
    uint32_t x = 1;

    for (int i = 0; i < b->n_prompt; i++) {
        x = x * 1664525u + 1013904223u;
        b->prompt[i] = (int32_t)((x >> 8) % (uint32_t)b->e.info.n_vocab);
    }
}

/* Seconds of a prefill of n_prompt tokens, and of n_gen decodes after it. */
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

        st = tlp_session_sample(s, 0, b->greedy, &token);
        if (st == TLP_OK)
            st = tlp_session_decode(s, token);
    }
    *prefill = middle - start;
    *decode = cli_now() - middle;
    return st;
}

static int run_repeat(bench *b, contender *c, int repeat)
{
    double prefill, decode;
    tlp_session_stats stats = { .struct_size = sizeof stats };

    engine_watch(c->session);

    tlp_status st =
        run_once(b, c->session, b->n_prompt, b->n_gen, &prefill, &decode);

    if (st == TLP_OK)
        st = tlp_session_get_stats(c->session, &stats);
    if (st != TLP_OK)
        return engine_fail(st);
    c->prefill.value[repeat] = b->n_prompt / prefill;
    c->decode.value[repeat] = b->n_gen / decode;
    c->comm.value[repeat] = stats.comm_seconds;
    return CLI_OK;
}

static int warm_up(bench *b, contender *c)
{
    double unused;
    int n_prompt = b->n_prompt < 16 ? b->n_prompt : 16;
    int n_gen = b->n_gen < 4 ? b->n_gen : 4;

    engine_watch(c->session);

    tlp_status st = run_once(b, c->session, n_prompt, n_gen, &unused, &unused);

    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static int run_all(bench *b)
{
    cli_progress bar;
    int rc = CLI_OK;
    double total = (double)b->n * b->n_repeat;

    cli_progress_start(&bar, "measuring");
    for (size_t i = 0; rc == CLI_OK && i < b->n; i++)
        rc = warm_up(b, &b->contender[i]);
    for (int r = 0; rc == CLI_OK && r < b->n_repeat; r++) {
        for (size_t i = 0; rc == CLI_OK && i < b->n; i++) {
            rc = run_repeat(b, &b->contender[i], r);
            cli_progress_step(
                ((double)r * (double)b->n + (double)i + 1) / total, &bar);
        }
    }
    cli_progress_end(&bar);
    engine_watch(NULL);
    return rc;
}

/* ==== reporting ========================================================== */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void summarise(series *s, int n)
{
    qsort(s->value, (size_t)n, sizeof *s->value, compare);
    s->min = s->value[0];
    s->max = s->value[n - 1];
    s->median = (s->value[(n - 1) / 2] + s->value[n / 2]) / 2;
}

static void print_table(const bench *b)
{
    const contender *first = &b->contender[0];

    printf("%d rank%s, prompt %d, gen %d, median of %d\n", b->e.n_rank,
           b->e.n_rank == 1 ? "" : "s", b->n_prompt, b->n_gen, b->n_repeat);
    printf("%5s %11s %9s %7s %9s %7s %9s  %s\n", "depth", "all-reduces",
           "prefill/s", "ratio", "decode/s", "ratio", "comm s", "plan");
    for (size_t i = 0; i < b->n; i++) {
        const contender *c = &b->contender[i];

        printf("%5d %11d %9.1f %7.3f %9.1f %7.3f %9.4f  ",
               c->cost.effective_depth, engine_allreduces(&c->cost),
               c->prefill.median, c->prefill.median / first->prefill.median,
               c->decode.median, c->decode.median / first->decode.median,
               c->comm.median);
        cli_print_clean(stdout, c->text);
        putchar('\n');
    }
}

static void json_series(json *j, const char *key, const series *s)
{
    json_open(j, key, '{');
    json_real(j, "median", s->median);
    json_real(j, "min", s->min);
    json_real(j, "max", s->max);
    json_close(j, '}');
}

static void print_json(const bench *b)
{
    const contender *first = &b->contender[0];
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    json_open(&j, "plans", '[');
    for (size_t i = 0; i < b->n; i++) {
        const contender *c = &b->contender[i];

        json_open(&j, NULL, '{');
        json_text(&j, "plan", c->text);
        json_int(&j, "effective_depth", c->cost.effective_depth);
        json_int(&j, "allreduces_per_token", engine_allreduces(&c->cost));
        json_series(&j, "prefill", &c->prefill);
        json_series(&j, "decode", &c->decode);
        json_real(&j, "comm_seconds", c->comm.median);
        json_real(&j, "decode_ratio", c->decode.median / first->decode.median);
        json_real(&j, "prefill_ratio",
                  c->prefill.median / first->prefill.median);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    putchar('\n');
}

static int report(bench *b, bool as_json)
{
    for (size_t i = 0; i < b->n; i++) {
        summarise(&b->contender[i].prefill, b->n_repeat);
        summarise(&b->contender[i].decode, b->n_repeat);
        summarise(&b->contender[i].comm, b->n_repeat);
    }
    if (as_json)
        print_json(b);
    else
        print_table(b);
    return cli_close_stdout();
}

/* ==== setting up ========================================================= */

static int open_contender(bench *b, contender *c, const char *text)
{
    size_t n = (size_t)b->n_repeat;
    int rc = engine_parse_plan(&b->e, text, &c->plan);

    c->text = text;
    c->prefill.value = calloc(n, sizeof(double));
    c->decode.value = calloc(n, sizeof(double));
    c->comm.value = calloc(n, sizeof(double));
    if (!c->prefill.value || !c->decode.value || !c->comm.value)
        return cli_fail("out of memory");
    if (rc == CLI_OK)
        rc = engine_plan_cost(&b->e, c->plan, &c->cost);
    if (rc == CLI_OK)
        rc = engine_create_session(
            &b->e, c->plan, (int64_t)b->n_prompt + b->n_gen, &c->session);
    return rc;
}

static int open_all(bench *b, const cli_list *plans)
{
    int rc = engine_open_model(&b->e, false);

    if (rc != CLI_OK)
        return rc;

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
    return rc;
}

static void close_all(bench *b)
{
    for (size_t i = 0; i < b->n; i++) {
        contender *c = &b->contender[i];

        tlp_session_free(c->session);
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
        { CLI_LIST, 0, "plan", &plans, "PLAN",
          "plan to measure; may be repeated (serial)", 0, 0 },
        { CLI_INT, 0, "prompt", &b.n_prompt, "N", "tokens to prefill (512)", 1,
          INT32_MAX / 4 },
        { CLI_INT, 0, "gen", &b.n_gen, "N", "tokens to decode (128)", 1,
          INT32_MAX / 4 },
        { CLI_INT, 0, "repeat", &b.n_repeat, "N", "runs of each plan (5)", 1,
          10000 },
        { CLI_FLAG, 0, "json", &as_json, NULL, "print JSON", 0, 0 },
        ENGINE_SESSION_OPTIONS(b.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (plans.n == 0)
        plans.item[plans.n++] = "serial";
    rc = open_all(&b, &plans);
    if (rc == CLI_OK)
        rc = run_all(&b);
    if (rc == CLI_OK)
        rc = report(&b, as_json);
    close_all(&b);
    return rc;
}
