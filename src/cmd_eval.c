/*
 * cmd_eval.c - tlp eval: perplexity over windows of ctx tokens, each from
 * position 0, so that a window of n tokens gives n - 1 predictions.
 */
#include <math.h>
#include <stdlib.h>

#include "commands.h"
#include "engine.h"
#include "files.h"
#include "json.h"

typedef struct eval_result {
    size_t n_token, n_prediction;
    double nll;     /* mean over the predictions, nats */
    double seconds; /* of evaluation, wall clock */
    tlp_plan_cost cost;
} eval_result;

static int eval_windows(engine *e, const int32_t *ids, size_t n, size_t ctx,
                        eval_result *r)
{
    cli_progress bar;
    double sum = 0, start = cli_now();
    tlp_status st = TLP_OK;
    float *logprob = malloc(ctx * sizeof *logprob);

    if (!logprob)
        return cli_fail("out of memory");
    cli_progress_start(&bar, "evaluating");
    for (size_t i = 0; st == TLP_OK && n - i >= 2;) {
        size_t len = n - i < ctx ? n - i : ctx;

        st = tlp_session_clear(e->session, 0);
        if (st == TLP_OK)
            st = tlp_session_score(e->session, 0, ids + i, len, logprob);
        for (size_t t = 1; st == TLP_OK && t < len; t++)
            sum -= (double)logprob[t];
        r->n_prediction += len - 1;
        i += len;
        cli_progress_step((double)i / (double)n, &bar);
    }
    cli_progress_end(&bar);
    free(logprob);
    if (st != TLP_OK)
        return engine_fail(st);
    r->n_token = n;
    r->nll = sum / (double)r->n_prediction;
    r->seconds = cli_now() - start;
    return engine_plan_cost(e, e->plan, &r->cost);
}

static void print_result(const eval_result *r, bool as_json)
{
    json j = { .file = stdout };

    if (!as_json) {
        printf("%zu tokens, %zu predictions in %.2f s\n"
               "perplexity %.4f, nll %.5f\n"
               "effective depth %d, %d all-reduces per token\n",
               r->n_token, r->n_prediction, r->seconds, exp(r->nll), r->nll,
               r->cost.effective_depth, engine_allreduces(&r->cost));
        return;
    }
    json_open(&j, NULL, '{');
    json_int(&j, "tokens", (int64_t)r->n_token);
    json_int(&j, "predictions", (int64_t)r->n_prediction);
    json_real(&j, "nll", r->nll);
    json_real(&j, "ppl", exp(r->nll));
    json_int(&j, "effective_depth", r->cost.effective_depth);
    json_int(&j, "allreduces_per_token", engine_allreduces(&r->cost));
    json_real(&j, "seconds", r->seconds);
    json_close(&j, '}');
    putchar('\n');
}

/* The tokens to score, from the file of ids or by tokenizing the text. */
static int read_tokens(const engine *e, const char *text_path,
                       const char *id_path, int32_t **ids, size_t *n)
{
    char *text = NULL;
    size_t n_text = 0;

    if (id_path)
        return file_read_ids(id_path, ids, n);

    int rc = file_read(text_path, &text, &n_text);

    if (rc == CLI_OK)
        rc = engine_tokenize(e, text, n_text, 0, ids, n);
    free(text);
    return rc;
}

int cmd_eval(int argc, char **argv)
{
    engine e = ENGINE_INIT;
    const char *text_path = NULL, *id_path = NULL;
    int ctx = 512, max_tokens = 0;
    bool as_json = false;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(e),
        { CLI_TEXT, 0, "text", &text_path, "FILE",
          "text to score; no BOS is added", 0, 0 },
        { CLI_TEXT, 0, "tokens", &id_path, "FILE",
          "token ids to score, little-endian int32", 0, 0 },
        { CLI_INT, 'c', "ctx", &ctx, "N", "tokens in a window (512)", 2,
          INT32_MAX },
        { CLI_INT, 0, "max-tokens", &max_tokens, "N",
          "score the first N tokens only (0: all)", 0, INT32_MAX },
        { CLI_FLAG, 0, "json", &as_json, NULL, "print JSON", 0, 0 },
        ENGINE_PLAN_OPTION(e),
        ENGINE_SESSION_OPTIONS(e),
        { .kind = CLI_END },
    };
    eval_result result = { 0 };
    int32_t *ids = NULL;
    size_t n = 0;
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (!text_path == !id_path)
        return cli_usage("either --text or --tokens is required");

    rc = engine_start(&e, 0);
    if (rc == CLI_OK)
        rc = read_tokens(&e, text_path, id_path, &ids, &n);
    if (max_tokens && (size_t)max_tokens < n)
        n = (size_t)max_tokens;
    if (rc == CLI_OK && n < 2)
        rc = cli_fail("%zu tokens, at least 2 expected", n);
    if (rc == CLI_OK && (size_t)ctx > n)
        ctx = (int)n;
    if (rc == CLI_OK)
        rc = engine_open_session(&e, ctx);
    if (rc == CLI_OK)
        rc = eval_windows(&e, ids, n, (size_t)ctx, &result);
    if (rc == CLI_OK) {
        print_result(&result, as_json);
        rc = cli_close_stdout();
    }
    free(ids);
    engine_close(&e);
    return rc;
}
