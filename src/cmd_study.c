/*
 * cmd_study.c - tlp study: for all ranges of layers, measure the model with
 * the layers shuffled, pruned, averaged, or run side by side; or (--why)
 * measure the price of single exchanges and pairs, and the errors behind it; or
 * (--bridge) the price of dropped layers with a linear map in their place.
 */
#include "commands.h"
#include "files.h"
#include "study_bridge.h"
#include "study_why.h"

/* Seconds between two writes of the state. */
#define SAVE_EVERY 0.5

/* ==== the cells, one by one ============================================== */

/* Write the finished cells to the file, if there is one; they survive a
 * kill. */
static int save(const study *s)
{
    return s->csv && out_is_replaced(s->csv) ? study_write_csv(s, s->csv)
                                             : CLI_OK;
}

static int run_cells(study *s)
{
    size_t before = s->n_done;
    double saved = cli_now();
    cli_progress bar;
    int rc = CLI_OK;

    cli_progress_start(&bar, "studying");
    for (size_t i = 0; rc == CLI_OK && i < s->n; i++) {
        if (s->cell[i].done)
            continue;
        rc = cli_interrupted() ? CLI_INTERRUPTED : study_score(s, &s->cell[i]);
        if (rc != CLI_OK)
            break;
        s->n_done++;
        cli_progress_step(
            (double)(s->n_done - before) / (double)(s->n - before), &bar);
        if (cli_now() - saved > SAVE_EVERY) {
            rc = save(s);
            saved = cli_now();
        }
    }
    cli_progress_end(&bar);
    return rc;
}

/* ==== results ============================================================ */

static int report(const study *s)
{
    int rc = s->csv ? study_write_csv(s, s->csv) : CLI_OK;

    if (rc == CLI_OK && s->svg)
        rc = study_write_svg(s, s->svg);
    if (rc == CLI_OK && s->json)
        rc = study_write_json(s, s->json);
    if (rc == CLI_OK && study_n_stdout(s) == 0)
        rc = study_print(s);
    return rc;
}

/* Also after a failure or an interruption, with the finished cells. */
static int run(study *s)
{
    int rc = run_cells(s);

    if (!s->cell[0].done)
        return rc;
    if (rc == CLI_OK)
        return report(s);
    if (rc == CLI_INTERRUPTED) {
        int reported = report(s);

        cli_fail("interrupted, %zu of %zu cells are done", s->n_done, s->n);
        return reported == CLI_OK ? rc : reported;
    }
    save(s);
    return rc;
}

/* ========================================================================= */

/* A study of a file is short unless --max-tokens says otherwise; --self has its
 * own number. */
static void set_defaults(study *s)
{
    s->kinds = s->kinds ? s->kinds : ~0u;
    s->modes = s->modes ? s->modes : 1;
    s->step = s->step ? s->step : 1;
    s->n_draw = s->n_draw ? s->n_draw : 3;
    s->n_track = s->n_track ? s->n_track : 2;
    if (s->text.max_tokens < 0)
        s->text.max_tokens = s->text.text_path || s->text.id_path ? 1024 : 0;
}

/* kinds 0: all. */
static bool has_kind(const study *s, int kind)
{
    return s->kinds == 0 || (s->kinds & 1u << (kind - SHUFFLE));
}

/* Options of a kind that is not studied. */
static int check_kinds(const study *s)
{
    if (s->why || s->bridge)
        return CLI_OK;
    if (s->modes && !has_kind(s, PARALLEL) && !has_kind(s, PAIRS))
        return cli_usage("--mode needs --kind parallel or pairs");
    if ((s->n_draw || s->seed) && !has_kind(s, SHUFFLE))
        return cli_usage("--draws and --seed need --kind shuffle");
    return CLI_OK;
}

/* An option that was given though another one excludes it. */
typedef struct excluded {
    const char *name;
    bool given;
} excluded;

static int check_excluded(const char *by, const excluded *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].given)
            return cli_usage("%s and %s exclude each other", by, list[i].name);
    return CLI_OK;
}

/* Options of studies of ranges go neither with --why nor with --bridge. */
static int check_ranges(const study *s, const char *by)
{
    const excluded of_ranges[] = {
        { "--kind", s->kinds },   { "--mode", s->modes },
        { "--step", s->step },    { "--ranges", s->ranges },
        { "--draws", s->n_draw }, { "--kl", s->with_kl },
        { "--resume", s->resume }
    };

    return check_excluded(by, of_ranges, sizeof of_ranges / sizeof *of_ranges);
}

static int check_why(const study *s)
{
    if (!s->why)
        return s->n_track ? cli_usage("--tracks goes with --why only") : CLI_OK;
    return check_ranges(s, "--why");
}

static int check_bridge(const study *s)
{
    const excluded others[] = { { "--why", s->why },
                                { "--csv", s->csv },
                                { "--svg", s->svg } };
    int rc;

    if (!s->bridge)
        return s->judge || s->judge_tokens || s->bridge_rank
                   ? cli_usage("--judge, --judge-tokens and --rank go with "
                               "--bridge only")
                   : CLI_OK;
    if (!s->judge)
        return cli_usage("no text to judge on: --judge FILE is required");
    rc = check_ranges(s, "--bridge");
    return rc == CLI_OK ? check_excluded("--bridge", others,
                                         sizeof others / sizeof *others)
                        : rc;
}

/* What was given, before the defaults are there. */
static int check_given(const study *s)
{
    int rc = check_kinds(s);

    if (rc == CLI_OK)
        rc = check_why(s);
    if (rc == CLI_OK)
        rc = check_bridge(s);
    if (rc == CLI_OK && s->ranges && s->step > 0)
        rc = cli_usage("--step and --ranges exclude each other");
    return rc;
}

static int check_options(const study *s)
{
    int rc = corpus_check(&s->text);

    if (rc != CLI_OK)
        return rc;
    if (study_n_stdout(s) > 1)
        return cli_usage("only one of --csv, --json and --svg can go to "
                         "standard output");

    const char *const written[] = { s->csv, s->json, s->svg };

    return out_check_distinct(written, sizeof written / sizeof *written);
}

static int start(study *s)
{
    int rc = engine_start(&s->e, 0);

    if (rc == CLI_OK)
        rc = corpus_read(&s->text, &s->e);
    if (rc != CLI_OK || s->why || s->bridge)
        return rc;
    rc = study_make_cells(s);
    if (rc == CLI_OK && s->resume)
        rc = study_read_csv(s, s->resume);
    if (!s->csv)
        s->csv = s->resume;
    return rc == CLI_OK && s->n_done < s->n ? study_open(s) : rc;
}

static int carry_out(study *s)
{
    int rc = check_given(s);

    set_defaults(s);
    if (rc == CLI_OK)
        rc = check_options(s);
    s->e.where = ENGINE_THREADS;
    if (rc == CLI_OK)
        rc = start(s);
    if (rc == CLI_OK)
        rc = s->bridge ? bridge_run(s) : s->why ? why_run(s) : run(s);
    study_close(s);
    return rc;
}

int cmd_study(int argc, char **argv)
{
    study s = { .e = ENGINE_INIT, .text.max_tokens = -1 };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(s.e),
        ENGINE_TRUST_OPTION(s.e),
        CORPUS_FILE_OPTIONS(s.text),
        { CLI_INT, 0, "max-tokens", &s.text.max_tokens, "N",
          "score the first N tokens only (1024; 0: all)", 0, INT32_MAX },
        { CLI_INT, 'c', "ctx", &s.text.ctx, "N", "tokens in a window (512)", 2,
          INT32_MAX },
        { CLI_SET, 0, "kind", &s.kinds, STUDY_KINDS,
          "what to do to a range; commas between (all)", 0, 0 },
        { CLI_SET, 0, "mode", &s.modes, STUDY_MODES,
          "of parallel and pairs; commas between (lp)", 0, 0 },
        { CLI_INT, 0, "step", &s.step, "K",
          "ranges begin and end at multiples of K (1)", 1, 65536 },
        { CLI_TEXT, 0, "ranges", &s.ranges, "START-END,...",
          "only these ranges of layers", 0, 0 },
        { CLI_INT, 0, "draws", &s.n_draw, "N",
          "number of shuffles to average (3)", 1, 1000 },
        { CLI_SEED, 0, "seed", &s.seed, "N",
          "seed of the shuffles, or of the noise of --why (0)", 0, 0 },
        { CLI_FLAG, 0, "kl", &s.with_kl, NULL,
          "KL divergence from serial too; keeps its logits", 0, 0 },
        { CLI_FLAG, 0, "why", &s.why, NULL,
          "what single exchanges and pairs cost, and why", 0, 0 },
        { CLI_INT, 0, "tracks", &s.n_track, "N",
          "with --why: tracks where an exchange is left out (2)", 2, 64 },
        { CLI_TEXT, 0, "bridge", &s.bridge, "PLAN",
          "what the plan's dropped layers cost with a linear map in place of "
          "each gap, fitted on the text",
          0, 0 },
        { CLI_TEXT, 0, "judge", &s.judge, "FILE",
          "with --bridge: text on which the plan is judged", 0, 0 },
        { CLI_INT, 0, "judge-tokens", &s.judge_tokens, "N",
          "with --bridge: take N tokens from all over that text (all)", 0,
          INT32_MAX },
        { CLI_INT, 0, "rank", &s.bridge_rank, "R",
          "with --bridge: largest rank of a map (n_embd)", 4, 65536 },
        { CLI_TEXT, 0, "csv", &s.csv, "FILE",
          "write the cells to this file as they finish", 0, 0 },
        { CLI_OPTIONAL, 0, "json", &s.json, "[FILE]",
          "write JSON (to standard output)", 0, 0 },
        { CLI_TEXT, 0, "svg", &s.svg, "FILE", "draw the heatmaps", 0, 0 },
        { CLI_TEXT, 0, "resume", &s.resume, "FILE",
          "continue this CSV file (written to --csv, if given)", 0, 0 },
        ENGINE_TYPE_OPTIONS(s.e),
        ENGINE_THREAD_OPTIONS(s.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    return rc == CLI_GO ? carry_out(&s) : rc;
}
