/*
 * plan_show.c - tlp plan show, check and diff: print, check and compare plans.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "plan_commands.h"
#include "tlp_tune.h"

static const char *const mode_names[] = { "serial", "lp",      "par",
                                          "asym",   "lp-code", "merge" };

typedef struct plans {
    engine e;
    const char *other_text;
    tlp_plan *other;
} plans;

/* Read the options; open the model and the first plan. */
static int start(plans *v, int argc, char **argv, const cli_option *table)
{
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (!v->e.plan_text)
        return cli_usage("no plan: --plan PLAN is required");
    rc = engine_open_model(&v->e, false);
    return rc == CLI_OK ? engine_parse_plan(&v->e, v->e.plan_text, &v->e.plan)
                        : rc;
}

static int finish(plans *v, int rc)
{
    tlp_plan_free(v->other);
    engine_close(&v->e);
    return rc == CLI_OK ? cli_close_stdout() : rc;
}

/* ==== show =============================================================== */

/* The exchanges of a layer in tracks, "|" for one and "." for none. */
static void print_tracks(const tlp_stage_info *s)
{
    printf("  attention %c feed-forward %c  %d tracks",
           s->nosync & TLP_NOSYNC_ATTN ? '.' : '|',
           s->nosync & TLP_NOSYNC_FFN ? '.' : '|', s->n_track);
}

static void print_stage(const tlp_stage_info *s)
{
    printf("  %-7s", s->n_track ? "nosync" : mode_names[s->mode]);
    for (int i = 0; i < s->n_member; i++)
        printf(" %d", s->layers[i]);
    if (s->n_track)
        print_tracks(s);
    putchar('\n');
}

static int print_groups(const tlp_plan *plan, int depth)
{
    for (int i = 0; i < depth; i++) {
        tlp_stage_info s = { .struct_size = sizeof s };
        tlp_status st = tlp_plan_get_stage(&s, plan, (size_t)i);

        if (st != TLP_OK)
            return engine_fail(st);
        if (s.n_member > 1 || s.n_track)
            print_stage(&s);
    }
    return CLI_OK;
}

/* Print the file's record, which is the last key of the JSON form. */
static int print_record(const tlp_plan *plan)
{
    static const char key[] = "\n  \"made\": ";
    char *text = NULL;
    int rc = engine_format_plan(plan, TLP_PLAN_JSON, &text);
    char *made = rc == CLI_OK ? strstr(text, key) : NULL;

    if (made) {
        made[strlen(made) - strlen("\n}\n")] = 0;
        printf("made ");
        cli_print_clean(stdout, made + strlen(key));
        putchar('\n');
    }
    free(text);
    return rc;
}

static int get_adjust(const tlp_plan *plan, tlp_plan_adjust_info *info)
{
    *info = (tlp_plan_adjust_info){ .struct_size = sizeof *info };
    tlp_status st = tlp_plan_get_adjust(info, plan);

    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static int print_adjust(const tlp_plan *plan)
{
    tlp_plan_adjust_info a;
    int rc = get_adjust(plan, &a);

    if (rc == CLI_OK && a.n_bytes > 0)
        printf("adjusted: %d gains, %d norms, %d low-rank corrections, LoRA of "
               "%d matrices, %llu bytes\n",
               a.n_gain, a.n_norm, a.n_low_rank, a.n_lora,
               (unsigned long long)a.n_bytes);
    return rc;
}

static int show(plans *v)
{
    tlp_plan_cost cost;
    char *text = NULL;
    int rc = engine_format_plan(v->e.plan, TLP_PLAN_TEXT, &text);

    v->e.n_rank = v->e.n_rank ? v->e.n_rank : 2;
    if (rc == CLI_OK)
        rc = engine_plan_cost(&v->e, v->e.plan, &cost);
    if (rc == CLI_OK) {
        printf("plan %s\n", text);
        printf("effective depth %d of %d layers; %d exchanges per token on %d "
               "rank%s: %d all-reduces, %d sends\n",
               cost.effective_depth, v->e.info.n_layer, cost.exchanges,
               cost.n_rank, cost.n_rank == 1 ? "" : "s",
               engine_allreduces(&cost), cost.sends);
        rc = print_groups(v->e.plan, cost.effective_depth);
    }
    if (rc == CLI_OK)
        rc = print_adjust(v->e.plan);
    free(text);
    return rc == CLI_OK ? print_record(v->e.plan) : rc;
}

int plan_show(int argc, char **argv)
{
    plans v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        { CLI_INT, 0, "ranks", &v.e.n_rank, "N", "count for N ranks (2)", 0,
          64 },
        { .kind = CLI_END },
    };
    int rc = start(&v, argc, argv, table);

    return finish(&v, rc == CLI_OK && v.e.plan ? show(&v) : rc);
}

/* ==== check ============================================================== */

int plan_check(int argc, char **argv)
{
    plans v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        { .kind = CLI_END },
    };
    int rc = start(&v, argc, argv, table);
    tlp_plan_adjust_info a = { 0 };

    if (rc == CLI_OK && v.e.plan)
        rc = get_adjust(v.e.plan, &a);
    if (rc == CLI_OK && v.e.plan)
        printf(a.n_bytes > 0 ? "the plan and its adjustments fit %s\n"
                             : "the plan fits %s\n",
               v.e.model_path);
    return finish(&v, rc);
}

/* ==== diff =============================================================== */

static bool same_stage(const tlp_stage_info *a, const tlp_stage_info *b)
{
    return a->mode == b->mode && a->n_member == b->n_member &&
           a->nosync == b->nosync && a->n_track == b->n_track &&
           !memcmp(a->layers, b->layers,
                   (size_t)a->n_member * sizeof *a->layers);
}

/* Get the index-th stage; false past the end. */
static bool stage(const tlp_plan *plan, size_t index, tlp_stage_info *s)
{
    *s = (tlp_stage_info){ .struct_size = sizeof *s };
    return tlp_plan_get_stage(s, plan, index) == TLP_OK;
}

/* Print the stages of a that b lacks; returns their number. */
static int print_only(const tlp_plan *a, const tlp_plan *b, char sign)
{
    tlp_stage_info s, t;
    int n = 0;

    for (size_t i = 0; stage(a, i, &s); i++) {
        bool found = false;

        for (size_t j = 0; !found && stage(b, j, &t); j++)
            found = same_stage(&s, &t);
        if (found)
            continue;
        putchar(sign);
        print_stage(&s);
        n++;
    }
    return n;
}

static int diff_stages(plans *v, bool *differ)
{
    char *a = NULL, *b = NULL;
    int rc = engine_format_plan(v->e.plan, TLP_PLAN_TEXT, &a);

    if (rc == CLI_OK)
        rc = engine_format_plan(v->other, TLP_PLAN_TEXT, &b);
    if (rc == CLI_OK && strcmp(a, b) != 0) {
        *differ = true;
        if (print_only(v->e.plan, v->other, '-') +
                print_only(v->other, v->e.plan, '+') ==
            0)
            printf("the same stages in another order\n");
    }
    free(a);
    free(b);
    return rc;
}

static int diff_adjust(plans *v, bool *differ)
{
    tlp_plan_adjust_info a, b = { 0 };
    int rc = get_adjust(v->e.plan, &a);

    if (rc == CLI_OK)
        rc = get_adjust(v->other, &b);
    if (rc != CLI_OK || (a.sha256 && b.sha256 && !strcmp(a.sha256, b.sha256)))
        return rc;
    if (a.sha256)
        printf("-  adjusted %s\n", a.sha256);
    if (b.sha256)
        printf("+  adjusted %s\n", b.sha256);
    *differ = *differ || a.sha256 || b.sha256;
    return CLI_OK;
}

/* Exit status as of the command diff: 1 when there is a difference, 2 for
 * trouble. */
static int diff(plans *v)
{
    bool differ = false;
    int rc = diff_stages(v, &differ);

    if (rc == CLI_OK)
        rc = diff_adjust(v, &differ);
    if (rc != CLI_OK || !differ)
        return rc;
    return cli_close_stdout() == CLI_OK ? CLI_FAILURE : CLI_USAGE;
}

int plan_diff(int argc, char **argv)
{
    plans v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        { CLI_TEXT, 0, "against", &v.other_text, "PLAN", "the other plan", 0,
          0 },
        { .kind = CLI_END },
    };
    int rc = start(&v, argc, argv, table);

    if (rc == CLI_OK && v.e.plan && !v.other_text)
        rc = cli_usage("no other plan: --against PLAN is required");
    if (rc == CLI_OK && v.e.plan)
        rc = engine_parse_plan(&v.e, v.other_text, &v.other);
    if (rc == CLI_FAILURE)
        rc = CLI_USAGE;
    return finish(&v, rc == CLI_OK && v.e.plan ? diff(&v) : rc);
}
