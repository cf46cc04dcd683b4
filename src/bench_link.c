/*
 * bench_link.c - measure work and link under the serial plan once in every
 * repeat, and predict the times of plans from them.
 *
 * The measurement of each repeat gives a prediction.  Reports show the median
 * of the predictions beside the median of the runs.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static bool is_serial(const char *text)
{
    return !strcmp(text, "serial");
}

/* ==== setting up ========================================================= */

static int parse_plans(bench *b)
{
    bench_link *l = &b->link;
    char pairs[64];
    int n_paired = b->e.info.n_layer / 2 * 2;
    int rc = engine_parse_plan(&b->e, "serial", &l->serial.plan);

    /* A model of one layer has no pairs. */
    snprintf(pairs, sizeof pairs, "pairs:0-%d@par", n_paired - 1);
    if (rc == CLI_OK)
        rc = engine_parse_plan(&b->e, n_paired > 0 ? pairs : "serial",
                               &l->pairs);
    for (size_t i = 0; rc == CLI_OK && i < l->texts.n; i++)
        rc = engine_parse_plan(&b->e, l->texts.item[i], &l->plan[i]);
    return rc;
}

int bench_link_open(bench *b)
{
    bench_link *l = &b->link;

    if (!l->wanted)
        return CLI_OK;
    l->plan = calloc(l->texts.n + 1, sizeof(tlp_plan *));
    l->link = calloc((size_t)b->n_repeat, sizeof *l->link);
    l->stage = calloc((size_t)b->e.info.n_layer, sizeof *l->stage);
    /* Rows: serial, plans that run, plans that do not; for one or two rank
     * counts. */
    l->row = calloc(2 * (1 + b->n + l->texts.n), sizeof *l->row);
    if (!l->plan || !l->link || !l->stage || !l->row)
        return cli_fail("out of memory");
    return parse_plans(b);
}

void bench_link_close(bench *b)
{
    bench_link *l = &b->link;

    bench_close_session(&l->serial);
    tlp_plan_free(l->serial.plan);
    tlp_plan_free(l->pairs);
    for (size_t i = 0; l->plan && i < l->texts.n; i++)
        tlp_plan_free(l->plan[i]);
    free(l->plan);
    free(l->link);
    free(l->stage);
    free(l->row);
}

/* ==== measuring ========================================================== */

int bench_link_measure(bench *b)
{
    bench_link *l = &b->link;

    if (!l->wanted)
        return CLI_OK;

    tlp_link *link = &l->link[l->n_link];
    int rc = bench_open_session(b, &l->serial);

    link->struct_size = sizeof *link;
    if (rc == CLI_OK) {
        engine_watch(l->serial.session);

        tlp_status st = tlp_session_measure(link, l->stage, l->serial.session);

        if (st != TLP_OK)
            rc = engine_fail(st);
    }
    if (rc == CLI_OK)
        l->n_link++;
    bench_close_session(&l->serial);
    return rc;
}

/* ==== predicting ========================================================= */

static int compare(const void *a, const void *b)
{
    double x = ((const tlp_prediction *)a)->seconds;
    double y = ((const tlp_prediction *)b)->seconds;

    return (x > y) - (x < y);
}

/* The median of the predictions from all links. */
static int predict(const bench *b, const tlp_plan *plan, int n_rank, int n_tok,
                   int pos, tlp_prediction *out)
{
    const bench_link *l = &b->link;
    tlp_prediction *all = calloc((size_t)l->n_link, sizeof *all);
    tlp_status st = TLP_OK;

    if (!all)
        return cli_fail("out of memory");
    for (int i = 0; st == TLP_OK && i < l->n_link; i++) {
        all[i].struct_size = sizeof *all;
        st = tlp_plan_predict(&all[i], plan, &l->link[i], n_rank, n_tok, pos);
    }
    qsort(all, (size_t)l->n_link, sizeof *all, compare);
    *out = all[(l->n_link - 1) / 2];
    free(all);
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

/* Fill in a row whose plan and number of ranks are set. */
static int fill(const bench *b, forecast *f)
{
    int middle = b->n_prompt + (b->n_gen - 1) / 2;
    tlp_prediction prompt = { .struct_size = sizeof prompt }, serial = prompt;
    int rc = predict(b, f->plan, f->n_rank, 1, middle, &f->token);

    if (rc == CLI_OK)
        rc = predict(b, f->plan, f->n_rank, b->n_prompt, 0, &prompt);
    if (rc == CLI_OK)
        rc = predict(b, b->link.serial.plan, f->n_rank, 1, middle, &serial);
    f->decode = 1 / f->token.seconds;
    f->prefill = b->n_prompt / prompt.seconds;
    f->ratio = serial.seconds / f->token.seconds;
    return rc;
}

static int add_rows(bench *b, int n_rank, bool measured)
{
    bench_link *l = &b->link;
    size_t first = l->n_row;
    int rc = CLI_OK;

    if (!measured && !is_serial(b->contender[0].text))
        l->row[l->n_row++] =
            (forecast){ .text = "serial", .plan = l->serial.plan };
    for (size_t i = 0; i < b->n; i++)
        l->row[l->n_row++] =
            (forecast){ .text = b->contender[i].text,
                        .plan = b->contender[i].plan,
                        .measured = measured ? &b->contender[i] : NULL };
    for (size_t i = 0; i < l->texts.n; i++)
        l->row[l->n_row++] =
            (forecast){ .text = l->texts.item[i], .plan = l->plan[i] };
    for (size_t i = first; rc == CLI_OK && i < l->n_row; i++) {
        l->row[i].n_rank = n_rank;
        rc = fill(b, &l->row[i]);
    }
    return rc;
}

/* The row with the largest gain on the present ranks, or NULL. */
static const forecast *best_row(const bench *b)
{
    const forecast *best = NULL;

    for (size_t i = 0; i < b->link.n_row; i++) {
        const forecast *f = &b->link.row[i];

        if (f->n_rank == b->e.n_rank && !is_serial(f->text) &&
            (!best || f->ratio > best->ratio))
            best = f;
    }
    return best;
}

/* A gain that justifies a change in what the model computes. */
#define WORTH 1.05

static void judge(bench *b)
{
    bench_link *l = &b->link;
    const forecast *best = best_row(b);
    const tlp_prediction *t = &l->base.token;
    double share = 100 * t->allreduce_seconds / t->seconds;
    double most = l->best_pairs.ratio;
    char *text = l->verdict;
    size_t cap = sizeof l->verdict;

    if (b->e.n_rank == 1)
        snprintf(text, cap,
                 "one rank makes no all-reduces: there is nothing to save");
    else if (most < WORTH && (!best || best->ratio < WORTH))
        snprintf(text, cap,
                 "all-reduces are %.0f%% of a token here: layer parallelism "
                 "does not pay (%.2fx with every layer in a pair)",
                 share, most);
    else if (best)
        snprintf(text, cap,
                 "all-reduces are %.0f%% of a token here: at best %.2fx of "
                 "serial is predicted (%.2fx with every layer in a pair), "
                 "with %s",
                 share, best->ratio, most, best->text);
    else
        snprintf(text, cap,
                 "all-reduces are %.0f%% of a token here: layer parallelism "
                 "can win up to %.2fx (every layer in a pair)",
                 share, most);
}

int bench_link_predict(bench *b)
{
    bench_link *l = &b->link;

    if (!l->wanted)
        return CLI_OK;
    l->base = (forecast){ .plan = l->serial.plan, .n_rank = b->e.n_rank };
    l->best_pairs = (forecast){ .plan = l->pairs, .n_rank = b->e.n_rank };

    int rc = fill(b, &l->base);

    if (rc == CLI_OK)
        rc = fill(b, &l->best_pairs);
    if (rc == CLI_OK)
        rc = add_rows(b, b->e.n_rank, true);
    if (rc == CLI_OK && l->n_rank > 0 && l->n_rank != b->e.n_rank)
        rc = add_rows(b, l->n_rank, false);
    if (rc == CLI_OK)
        judge(b);
    return rc;
}
