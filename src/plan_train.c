/*
 * plan_train.c - tlp plan train: train the layers that a plan changes.
 */
#include "files.h"
#include "plan_commands.h"
#include "plan_fit.h"
#include "train_curve.h"

typedef struct train {
    engine e;
    corpus text, valid; /* valid: text_path NULL = windows of text */
    const char *out_path, *model_path, *type, *csv, *svg, *resume;
    bool full, norms, gains, corrections, as_json;
    int lora, n_accum, n_token, n_local, memory;
    float minutes, held_out, rate, text_share, weight_decay;
    uint64_t seed;
    train_curve curve;
    cli_progress bar;
    char what[64]; /* of the bar */
} train;

/* ==== reports ============================================================ */

static void print_json(const train *v, const tlp_plan_train_report *r)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    fit_json(&FIT_QUALITY(r), &j);
    json_int(&j, "tokens", r->n_token);
    json_int(&j, "numbers", r->n_number);
    json_number(&j, "seconds", r->seconds);
    json_int(&j, "interrupted", r->canceled);
    train_curve_json(&v->curve, &j);
    json_close(&j, '}');
    printf("\n");
}

static void print_table(const train *v, const tlp_plan_train_report *r)
{
    train_curve_print(&v->curve);
    fit_print(&FIT_QUALITY(r));
    if (r->canceled)
        printf("%s: the best state so far is kept\n",
               r->canceled == 1 ? "interrupted" : "a rank failed");
    printf("trained: %lld numbers; the best state has seen %lld tokens; "
           "%.0f s\n",
           (long long)r->n_number, (long long)r->n_token, r->seconds);
}

static void see_point(const tlp_train_point *p, void *arg)
{
    train *v = arg;

    train_curve_add(&v->curve, p);
    if (p->resumed)
        v->bar.begin = v->minutes > 0 ? p->seconds / (60 * (double)v->minutes)
                                      : (double)p->step / (double)p->n_step;
    if (p->step == 0)
        snprintf(v->what, sizeof v->what, "training, KL %.4f", p->kl);
    else
        snprintf(v->what, sizeof v->what,
                 "training, %sloss %.4f, KL %.4f, %.0f tokens/s",
                 p->local ? "local " : "", p->loss, p->kl,
                 train_curve_speed(&v->curve));
    v->bar.what = v->what;
}

static int write_csv(const train *v)
{
    out_file out;
    int rc = v->csv ? out_open(&out, v->csv) : CLI_OK;

    if (!v->csv || rc != CLI_OK)
        return rc;
    train_curve_put_csv(&v->curve, out.file);
    return out_commit(&out);
}

static int write_svg(const train *v, const tlp_plan_train_report *r)
{
    const tlp_model_info *info = &v->e.info;
    out_file out;
    int rc = v->svg ? out_open(&out, v->svg) : CLI_OK;

    if (!v->svg || rc != CLI_OK)
        return rc;
    train_curve_put_svg(&v->curve, info->name[0] ? info->name : info->arch,
                        r->n_token, out.file);
    return out_commit(&out);
}

/* ========================================================================= */

static tlp_plan_train_options train_options(train *v,
                                            const tlp_session_options *session)
{
    tlp_plan_train_options o = TLP_PLAN_TRAIN_OPTIONS_INIT;

    o.session = session;
    o.n_token = v->n_token;
    o.n_local_token = v->n_local;
    o.seconds = 60 * (double)v->minutes;
    o.n_accum = v->n_accum;
    o.full = v->full;
    o.rank = v->lora;
    o.norms = v->norms;
    o.gains = v->gains;
    o.corrections = v->corrections;
    o.rate = (double)v->rate;
    o.weight_decay = (double)v->weight_decay;
    o.text_share = (double)v->text_share;
    o.held_out = (double)v->held_out;
    o.n_held_out_token = (int64_t)v->valid.n;
    o.seed = v->seed;
    o.point = see_point;
    o.point_data = v;
    o.progress = cli_progress_step;
    o.progress_data = &v->bar;
    o.type = v->type;
    o.plan_path = v->model_path ? v->out_path : NULL;
    o.max_bytes = (uint64_t)v->memory << 20;
    o.keep = 1;
    o.resume_path = v->resume;
    return o;
}

static int run(train *v, const tlp_plan *plan, tlp_plan **trained)
{
    tlp_plan_train_report report = { .struct_size = sizeof report };
    tlp_session_options session = engine_session_options(&v->e, v->text.ctx);
    tlp_plan_train_options o = train_options(v, &session);

    cli_progress_start(&v->bar, "training");
    tlp_status st = tlp_plan_train(trained, &report, plan, v->model_path,
                                   v->text.ids, v->text.n, &o);
    cli_progress_end(&v->bar);
    if (st == TLP_OK && !v->model_path)
        st = tlp_plan_save(*trained, v->out_path);
    if (st != TLP_OK)
        return engine_fail(st);
    int rc = write_csv(v);
    if (rc == CLI_OK)
        rc = write_svg(v, &report);
    if (rc != CLI_OK)
        return rc;
    if (v->as_json)
        print_json(v, &report);
    else
        print_table(v, &report);
    rc = cli_close_stdout();
    return rc == CLI_OK && report.canceled == 2 ? CLI_FAILURE : rc;
}

/* Read the text, and put the text for validation before it. */
static int read_text(train *v)
{
    int rc = corpus_read(&v->text, &v->e);

    if (rc != CLI_OK || !v->valid.text_path)
        return rc;
    v->valid.ctx = v->text.ctx;
    v->valid.bos = v->text.bos;
    v->valid.no_bos = v->text.no_bos;
    v->valid.spread = v->valid.max_tokens > 0;
    rc = corpus_read(&v->valid, &v->e);
    return rc == CLI_OK ? corpus_prepend(&v->text, &v->valid) : rc;
}

static int train_plan(train *v)
{
    tlp_plan *plan = NULL, *trained = NULL;
    int rc = engine_parse_plan(&v->e, v->e.plan_text, &plan);

    if (rc == CLI_OK)
        rc = read_text(v);
    if (rc == CLI_OK)
        rc = run(v, plan, &trained);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    return rc;
}

static int check_options(const train *v)
{
    const char *const out[] = { v->out_path, v->model_path, v->csv, v->svg,
                                v->resume };
    int rc = fit_check_options(&v->text, v->e.plan_text, v->out_path);

    if (rc != CLI_OK)
        return rc;
    if (v->n_token && v->n_local > v->n_token)
        return cli_usage("--local-tokens: at most --train-tokens expected");
    if (v->valid.text_path && v->held_out > 0)
        return cli_usage("--held-out and --held-out-text: give one of them");
    if (v->valid.max_tokens && !v->valid.text_path)
        return cli_usage("--held-out-tokens needs --held-out-text");
    if (v->full && v->lora)
        return cli_usage("--full and --lora: give one of them");
    if (v->n_token && v->minutes > 0)
        return cli_usage("--train-tokens and --minutes: give one of them");
    if (!v->full && !v->lora && !v->norms && !v->gains && !v->corrections)
        return cli_usage("nothing to train: --full, --lora R, --norms, --gains "
                         "or --corrections is required");
    if (v->full && !v->model_path)
        return cli_usage("--full writes a model: --model-out FILE is required");
    if (!v->full && !v->lora && (v->model_path || v->type))
        return cli_usage("--model-out and --type are for --full and --lora");
    if (v->type && !v->model_path)
        return cli_usage("--type is for the model of --model-out");
    if (out_is_stdout(v->csv) && out_is_stdout(v->svg))
        return cli_usage("only one of --csv and --svg can go to standard "
                         "output");
    return out_check_distinct(out, sizeof out / sizeof out[0]);
}

/* Rank 0 writes the results; other hosts may lack the folders. */
static int check_files(const train *v)
{
    const char *const out[] = { v->out_path, v->csv, v->svg, v->resume };
    int rc = v->model_path ? out_check_model(v->model_path) : CLI_OK;

    for (size_t i = 0; rc == CLI_OK && i < sizeof out / sizeof *out; i++)
        if (out[i])
            rc = out_check(out[i]);
    return rc;
}

static int carry_out(train *v)
{
    int rc = check_options(v);

    if (rc == CLI_OK)
        rc = engine_start(&v->e, 0);
    if (rc == CLI_OK)
        rc = check_files(v);
    if (rc == CLI_OK)
        rc = train_plan(v);
    train_curve_free(&v->curve);
    corpus_free(&v->valid);
    corpus_free(&v->text);
    engine_close(&v->e);
    return rc;
}

/* Rows of the option table: what is trained. */
/* clang-format off */
#define TRAIN_WHAT_OPTIONS(v)                                                  \
    { CLI_FLAG, 0, "full", &(v).full, NULL,                                    \
      "train all matrices of the layers that the plan changes", 0, 0 },        \
    { CLI_INT, 0, "lora", &(v).lora, "R",                                      \
      "train products of rank R that are added to these matrices; they stay "  \
      "beside the plan, or go into the model of --model-out",                  \
      0, 4096 },                                                               \
    { CLI_FLAG, 0, "norms", &(v).norms, NULL,                                  \
      "train weights of the norms", 0, 0 },                                    \
    { CLI_FLAG, 0, "gains", &(v).gains, NULL,                                  \
      "train gains of attention and feed-forward", 0, 0 },                     \
    { CLI_FLAG, 0, "corrections", &(v).corrections, NULL,                      \
      "train the low-rank corrections that the plan has", 0, 0 }
/* Rows of the option table: windows or a text for validation. */
#define TRAIN_VALID_OPTIONS(v)                                                 \
    { CLI_FLOAT, 0, "held-out", &(v).held_out, "SHARE",                        \
      "windows kept for validation (0.1)", 0, 0.9 },                           \
    { CLI_TEXT, 0, "held-out-text", &(v).valid.text_path, "FILE",              \
      "text for validation, in place of windows of the text", 0, 0 },          \
    { CLI_INT, 0, "held-out-tokens", &(v).valid.max_tokens, "N",               \
      "take N tokens from all over it (0: all)", 0, INT32_MAX }
/* clang-format on */

int plan_train(int argc, char **argv)
{
    train v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        CORPUS_FILE_OPTIONS(v.text),
        CORPUS_MAX_OPTION(v.text),
        TRAIN_WHAT_OPTIONS(v),
        { CLI_INT, 0, "train-tokens", &v.n_token, "N",
          "train on N tokens, the text again and again (0: the text once)", 0,
          INT32_MAX },
        { CLI_INT, 0, "local-tokens", &v.n_local, "N",
          "train sections of the plan alone on the first N of them (0)", 0,
          INT32_MAX },
        { CLI_FLOAT, 0, "minutes", &v.minutes, "M", "train for about M minutes",
          0, 100000 },
        { CLI_INT, 0, "accum", &v.n_accum, "N",
          "windows of a rank in a step (1)", 0, 4096 },
        { CLI_FLOAT, 0, "rate", &v.rate, "X",
          "learning rate (1e-4, of adjusted plans 4e-5, with --lora 1e-3)", 0,
          1 },
        { CLI_FLOAT, 0, "weight-decay", &v.weight_decay, "X",
          "decay of matrices (0)", 0, 100 },
        { CLI_FLOAT, 0, "text-share", &v.text_share, "X",
          "share of -log p of the text in the loss (0)", 0, 1 },
        { CLI_INT, 0, "memory", &v.memory, "MIB",
          "memory for results that save work (1024)", 0, 1 << 20 },
        TRAIN_VALID_OPTIONS(v),
        CORPUS_CTX_OPTION(v.text),
        { CLI_SEED, 0, "seed", &v.seed, "N",
          "seed of the order of windows and of LoRA (0)", 0, 0 },
        { CLI_TEXT, 'o', "output", &v.out_path, "FILE",
          "the trained plan, JSON; norms, gains, corrections and LoRA go to a "
          "file beside it",
          0, 0 },
        { CLI_TEXT, 0, "model-out", &v.model_path, "FILE",
          "the model with the trained matrices, GGUF", 0, 0 },
        { CLI_TEXT, 0, "type", &v.type, "TYPE",
          "type of its matrices, as in tlp quantize (they stay, but trained "
          "ones "
          "get Q8_0 instead of fewer bits)",
          0, 0 },
        { CLI_TEXT, 0, "resume", &v.resume, "FILE",
          "keep the state of the training in this file, and go on from it", 0,
          0 },
        { CLI_TEXT, 0, "csv", &v.csv, "FILE", "write the validations as CSV", 0,
          0 },
        { CLI_TEXT, 0, "svg", &v.svg, "FILE", "draw the validations", 0, 0 },
        { CLI_FLAG, 0, "json", &v.as_json, NULL, "print JSON", 0, 0 },
        { CLI_CHOICE, 0, "comm", &v.e.where, "auto|threads|mpi",
          "one rank, or one in each process (auto)", 0, 0 },
        ENGINE_TYPE_OPTIONS(v.e),
        ENGINE_PROCESS_OPTIONS(v.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    return rc == CLI_GO ? carry_out(&v) : rc;
}
