/*
 * study_bridge.c - see study_bridge.h.
 */
#include "study_bridge.h"

#include "files.h"
#include "tlp_tune.h"

static tlp_status measure(const study *s, const tlp_plan *plan,
                          const corpus *judge, tlp_bridge_report *r)
{
    tlp_session_options session = engine_session_options(&s->e, s->text.ctx);
    tlp_bridge_options o = TLP_BRIDGE_OPTIONS_INIT;
    cli_progress bar;

    o.session = &session;
    o.rank = s->bridge_rank;
    o.seed = s->seed;
    o.progress = cli_progress_step;
    o.progress_data = &bar;
    cli_progress_start(&bar, "fitting maps");
    tlp_status st = tlp_plan_bridge(r, plan, s->text.ids, s->text.n, judge->ids,
                                    judge->n, &o);
    cli_progress_end(&bar);
    return st;
}

static void print_table(const tlp_bridge_report *r)
{
    printf("%d gaps, %d with a map, %d windows     dropped    with maps\n",
           r->n_gap, r->n_map, r->n_window);
    printf("  KL divergence, nats         %10.4f  %10.4f\n", r->kl_before,
           r->kl_after);
    printf("  perplexity                  %10.4f  %10.4f\n", r->ppl_before,
           r->ppl_after);
    printf("  top-1 agreement, %%          %10.2f  %10.2f\n",
           100 * r->top1_before, 100 * r->top1_after);
}

static int write_json(const study *s, const tlp_bridge_report *r)
{
    out_file out;
    int rc = out_open(&out, s->json);

    if (rc != CLI_OK)
        return rc;
    json j = { .file = out.file };

    json_open(&j, NULL, '{');
    json_int(&j, "gaps", r->n_gap);
    json_int(&j, "maps", r->n_map);
    json_int(&j, "windows", r->n_window);
    json_number(&j, "kl_before", r->kl_before);
    json_number(&j, "kl_after", r->kl_after);
    json_number(&j, "ppl_before", r->ppl_before);
    json_number(&j, "ppl_after", r->ppl_after);
    json_number(&j, "top1_before", r->top1_before);
    json_number(&j, "top1_after", r->top1_after);
    json_close(&j, '}');
    fputs("\n", out.file);
    return out_commit(&out);
}

static int report(const study *s, const tlp_bridge_report *r)
{
    if (s->json)
        return write_json(s, r);
    print_table(r);
    return cli_close_stdout();
}

int bridge_run(study *s)
{
    tlp_bridge_report r = { .struct_size = sizeof r };
    corpus judge = { .text_path = s->judge,
                     .ctx = s->text.ctx,
                     .max_tokens = s->judge_tokens,
                     .spread = s->judge_tokens > 0 };
    tlp_plan *plan = NULL;
    int rc = s->json ? out_check(s->json) : CLI_OK;

    if (rc == CLI_OK)
        rc = engine_parse_plan(&s->e, s->bridge, &plan);
    if (rc == CLI_OK)
        rc = corpus_read(&judge, &s->e);
    if (rc == CLI_OK) {
        tlp_status st = measure(s, plan, &judge, &r);

        rc = st == TLP_OK ? report(s, &r) : engine_fail(st);
    }
    corpus_free(&judge);
    tlp_plan_free(plan);
    return rc;
}
