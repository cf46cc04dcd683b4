/*
 * cmd_quantize.c - tlp quantize: convert a model's weights to another type;
 * with a plan also write the plan for the new file, and put its cut into that
 * file if there is a text.
 */
#include "bake_files.h"
#include "commands.h"

static void print_result(const bake *q, const tlp_quantize_result *r,
                         double seconds)
{
    printf("%s: %s, %.1f MB in %d tensors (%.1f MB before), %d converted in "
           "%.1f s\n",
           q->out_path, q->type, (double)r->n_bytes / 1e6, r->n_tensor,
           (double)q->e.info.n_bytes / 1e6, r->n_converted, seconds);
    if (r->n_fallback > 0)
        printf("tensors whose rows do not fit the type's blocks: %d; each got "
               "the nearest type that fits\n",
               r->n_fallback);
}

/* Quantize; with a plan also carry it to the new file. */
static tlp_status convert(const bake *q, const tlp_plan *plan,
                          tlp_quantize_result *result)
{
    cli_progress bar;
    tlp_quantize_options opts = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_plan *carried = NULL;
    tlp_status st;

    opts.n_thread = q->e.n_thread;
    opts.pure = q->pure;
    opts.imatrix = q->imatrix;
    opts.progress = cli_progress_step;
    opts.progress_data = &bar;
    cli_progress_start(&bar, "quantizing");
    if (plan)
        st = tlp_plan_quantize(&carried, result, plan, q->out_path,
                               q->plan_path, q->type, &opts);
    else
        st =
            tlp_model_quantize(result, q->e.model, q->out_path, q->type, &opts);
    cli_progress_end(&bar);
    tlp_plan_free(carried);
    return st;
}

/* Put the plan's cut into the new file.  TLP_ENOGAIN: nothing is written. */
static tlp_status bake_cut(bake *q, const tlp_plan *plan,
                           tlp_quantize_result *result)
{
    tlp_plan_bake_report r = { .struct_size = sizeof r };
    tlp_status st = bake_write(q, plan, &r);

    if (st == TLP_OK)
        bake_print(q, &r);
    else if (st == TLP_ENOGAIN)
        cli_warn("%s; the file keeps its order", tlp_last_error());
    result->n_tensor = r.n_tensor;
    result->n_converted = r.n_converted;
    result->n_fallback = r.n_fallback;
    result->n_bytes = r.n_bytes;
    return st;
}

static int write_files(bake *q, const tlp_plan *plan)
{
    tlp_quantize_result result = { .struct_size = sizeof result };
    double start = cli_now();
    tlp_status st = TLP_ENOGAIN;

    if (q->text.n > 0)
        st = bake_cut(q, plan, &result);
    if (st == TLP_ENOGAIN)
        st = convert(q, plan, &result);
    if (st != TLP_OK)
        return engine_fail(st);
    print_result(q, &result, cli_now() - start);
    if (plan)
        printf("%s: the plan for that file\n", q->plan_path);
    return cli_close_stdout();
}

static bool has_text(const bake *q)
{
    return q->text.text_path || q->text.id_path || q->text.own.n;
}

/* Whether options say how a text is used. */
static bool shapes_text(const bake *q)
{
    return corpus_is_cut(&q->text) || own_text_is_shaped(&q->text.own) ||
           q->text.ctx || q->text.bos || q->text.no_bos || q->held_out > 0 ||
           q->seed;
}

static int check_options(bake *q)
{
    if (!q->type)
        return cli_usage("IN.gguf, OUT.gguf and TYPE are required");
    if (shapes_text(q) && !has_text(q))
        return cli_usage("no text: --text FILE, --tokens FILE or --self N is "
                         "required");
    if (!q->e.plan_text) {
        if (has_text(q) || q->plan_path)
            return cli_usage("%s is of a plan: --plan PLAN is required",
                             has_text(q) ? "a text" : "--plan-out");
        return CLI_OK;
    }
    int rc = has_text(q) ? corpus_check(&q->text) : CLI_OK;

    return rc == CLI_OK ? bake_check_files(q) : rc;
}

static int quantize(bake *q)
{
    tlp_plan *plan = NULL;
    int rc = CLI_OK;

    if (q->e.plan_text)
        rc = engine_parse_plan(&q->e, q->e.plan_text, &plan);
    if (rc == CLI_OK && has_text(q))
        rc = corpus_read(&q->text, &q->e);
    if (rc == CLI_OK)
        rc = write_files(q, plan);
    tlp_plan_free(plan);
    return rc;
}

int cmd_quantize(int argc, char **argv)
{
    bake q = { .e = ENGINE_INIT };
    const cli_option table[] = {
        { .kind = CLI_NAME,
          .value = &q.e.model_path,
          .arg = "IN.gguf",
          .help = "the model; of a split one, the first file" },
        { .kind = CLI_NAME,
          .value = &q.out_path,
          .arg = "OUT.gguf",
          .help = "output file, replaced when complete" },
        { .kind = CLI_NAME,
          .value = &q.type,
          .arg = "TYPE",
          .help = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K "
                  "Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 Q3_K_S Q3_K_M Q3_K_L "
                  "Q4_K_S Q4_K_M Q5_K_S Q5_K_M" },
        { CLI_FLAG, 0, "pure", &q.pure, NULL,
          "no better type for the output matrix or others", 0, 0 },
        { CLI_TEXT, 0, "imatrix", &q.imatrix, "FILE",
          "importance matrix of tlp imatrix, for smaller errors", 0, 0 },
        { CLI_TEXT, 0, "plan", &q.e.plan_text, "PLAN",
          "also write this plan for the new file", 0, 0 },
        ENGINE_TRUST_OPTION(q.e),
        BAKE_PLAN_OPTION(q),
        CORPUS_FILE_OPTIONS(q.text),
        CORPUS_MAX_OPTION(q.text),
        FIT_WINDOW_OPTIONS(q),
        ENGINE_TYPE_OPTIONS(q.e),
        { CLI_INT, 't', "threads", &q.e.n_thread, "N", "threads (0: all cores)",
          0, 256 },
        { CLI_FLAG, 0, "no-mmap", &q.e.no_mmap, NULL,
          "read the model instead of mapping it", 0, 0 },
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = check_options(&q);
    if (rc == CLI_OK)
        rc = engine_open_model(&q.e, false);
    if (rc == CLI_OK)
        rc = quantize(&q);
    bake_close(&q);
    return rc;
}
