/*
 * fit_plan.c - tlp_plan_adjust: options, the two passes over the stages, and
 * the adjusted plan.
 */
#include <inttypes.h>
#include <math.h>

#include "base/sha256.h"
#include "tune/calibration.h"

/* Cost of parts of the work; the unit is one stage without a fit. */
#define FIT_COST 12.0
#define SCORE_COST 3.0

/* Progress inside a part: PART_TICKS calls of tick cover about two thirds
 * of the rest, so progress never reaches the end of a part early. */
#define PART_TICKS 60.0

/* ==== progress =========================================================== */

static double stage_cost(const tlp_plan *p, int stage)
{
    return tlpi_fit_has(p, stage) ? FIT_COST : 1;
}

static double total_cost(const tlpi_calibration *c)
{
    double sum = SCORE_COST;

    for (int i = 0; i < c->plan->n_stage; i++)
        sum += stage_cost(c->plan, i);
    return 2 * sum;
}

static tlp_status report(const tlpi_calibration *c, double done)
{
    if (c->o.progress && c->o.progress(fmin(1, done), c->o.progress_data))
        return tlpi_fail(TLP_ECANCELED, "fitting was canceled");
    return TLP_OK;
}

static tlp_status tick(void *arg)
{
    tlpi_calibration *c = arg;

    c->part += (1 - c->part) / PART_TICKS;
    return report(c, (c->done + c->part * c->cost) / total_cost(c));
}

static void begin_part(tlpi_calibration *c, double cost)
{
    c->done += c->cost;
    c->cost = cost;
    c->part = 0;
}

/* ==== arguments ========================================================== */

static tlp_status check_options(const tlpi_calibration *c)
{
    const tlp_plan_adjust_options *o = &c->o;
    int d = c->model->hp.n_embd;

    tlp_status st = tlpi_flag_check("adjust option gains", o->gains);
    if (st == TLP_OK)
        st = tlpi_flag_check("adjust option norms", o->norms);
    if (st != TLP_OK)
        return st;
    if (o->rank < 0 || o->rank % 4 != 0 || o->rank > d)
        return tlpi_fail(TLP_EINVAL,
                         "rank %d: a multiple of 4 from 0 to %d expected",
                         o->rank, d);
    if (!o->gains && !o->norms && !o->rank)
        return tlpi_fail(TLP_EINVAL,
                         "one of gains, norms and rank is required");
    return tlpi_windows_check_share(o->held_out);
}

static tlp_status read_options(tlpi_calibration *c,
                               const tlp_plan_adjust_options *opts)
{
    tlp_plan_adjust_options *o = &c->o;
    tlp_status st;

    TLP_TRY(tlpi_options_read(o, sizeof(*o), opts, "tlp_plan_adjust_options"));
    TLP_TRY(tlpi_windows_options(&c->session, &o->held_out, o->session));
    o->session = &c->session;
    st = check_options(c);
done:
    return st;
}

/* Norms alone are asked for, and tracks have none that could be fitted. */
static tlp_status check_norms(const tlpi_calibration *c, const tlp_plan *p)
{
    bool groups = false;

    for (int i = 0; i < p->n_stage; i++)
        groups |= p->stage[i].n_member > 1;
    return groups || c->o.gains || c->o.rank
               ? TLP_OK
               : tlpi_model_check_inputs(p->model, "plan",
                                         "norms of tracks are not fitted in");
}

static tlp_status check_plan(const tlp_plan *p)
{
    bool any = false;

    if (p->adjust && p->adjust->lora)
        return tlpi_fail(TLP_EINVAL,
                         "plan: it has LoRA, which was trained with the plan "
                         "as it is: adjust a plan before its training");
    if (p->adjust)
        return tlpi_fail(TLP_EINVAL, "plan: it has adjustments already");
    if (p->model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, adjustments need its "
                         "layers",
                         p->model->path);
    for (int i = 0; i < p->n_stage; i++)
        any |= tlpi_fit_has(p, i);
    if (!any)
        return tlpi_fail(TLP_EINVAL,
                         "plan: no group in lp, par or asym and no nosync to "
                         "adjust");
    return tlpi_teacher_check_order(p, "adjustments are");
}

/* ==== passes ============================================================= */

static tlp_status pass(tlpi_calibration *c, bool choosing)
{
    tlp_status st = TLP_OK;

    c->choosing = choosing;
    tlpi_calibration_begin(c);
    for (int i = 0; i < c->plan->n_stage; i++) {
        const tlpi_stage *s = &c->plan->stage[i];
        bool fits = tlpi_fit_has(c->plan, i);
        int end = s->layers[s->n_member - 1] + 1;

        begin_part(c, stage_cost(c->plan, i));
        TLP_TRY(tlpi_calibration_advance(c, end, fits ? s : NULL));
        TLP_TRY(fits ? tlpi_fit_stage(c, i) : tlpi_calibration_run(c, i, NULL));
        tlpi_calibration_take(c);
    }
    st = tlpi_calibration_advance(c, c->model->hp.n_layer, NULL);
done:
    return st;
}

static void count(const tlpi_calibration *c, tlp_plan_adjust_report *r)
{
    for (int i = 0; i < c->plan->n_stage; i++) {
        const tlpi_fitted_stage *s = &c->fitted[i];

        r->n_low_rank += s->out_rank > 0;
        for (int m = 0; s->member && m < tlpi_plan_n_member(c->plan, i); m++) {
            const tlpi_fitted_member *x = &s->member[m];

            r->n_gain += (x->attn_gain != 1) + (x->ffn_gain != 1);
            r->n_norm += (x->attn_norm != NULL) + (x->ffn_norm != NULL) +
                         (x->attn_post != NULL) + (x->ffn_post != NULL);
            r->n_low_rank += (x->attn_in.rank > 0) + (x->ffn_in.rank > 0);
        }
    }
}

static tlp_status choose(tlpi_calibration *c, tlp_plan_adjust_report *r)
{
    tlpi_cal_score before, after;
    tlp_status st;

    r->n_window = c->text.n;
    r->n_held_out = c->text.n_held;
    begin_part(c, SCORE_COST);
    TLP_TRY(tlpi_calibration_score(c, true, &before));
    TLP_TRY(pass(c, true));
    begin_part(c, SCORE_COST);
    TLP_TRY(tlpi_calibration_score(c, false, &after));
    count(c, r);
    r->kl_before = before.kl;
    r->kl_after = after.kl;
    r->ppl_before = exp(before.nll);
    r->ppl_after = exp(after.nll);
    r->top1_before = before.top1;
    r->top1_after = after.top1;
    if (r->n_gain + r->n_norm + r->n_low_rank == 0)
        st = tlpi_fail(TLP_ENOGAIN,
                       "nothing brings the plan closer to the serial model on "
                       "the held-out windows");
    else if (!(after.kl < before.kl))
        st = tlpi_fail(TLP_ENOGAIN,
                       "the adjustments do not help: KL %.6g on the held-out "
                       "windows, %.6g without them",
                       after.kl, before.kl);
done:
    return st;
}

/* Add to the plan's record how its adjustments were made. */
static tlp_status record(tlpi_calibration *c, const tlp_plan_adjust_report *r)
{
    const tlp_plan_adjust_options *o = &c->o;
    tlpi_text text = { .env = c->env };
    char *made = NULL, hash[TLPI_HASH_TEXT];
    tlp_status st;

    tlpi_sha256_ids(c->text.ids, c->text.n_id, hash);
    tlpi_text_printf(&text,
                     "{\"tool\": \"tlp_plan_adjust\", \"version\": \"%s\", "
                     "\"gains\": %d, \"norms\": %d, \"rank\": %d, "
                     "\"tokens\": %zu, \"text\": \"%s\", \"n_ctx\": %d, "
                     "\"windows\": %d, \"held_out\": %d, "
                     "\"seed\": \"%" PRIu64 "\", ",
                     tlp_version_string(), o->gains, o->norms, o->rank,
                     c->text.n_tok, hash, c->text.n_ctx, c->text.n,
                     c->text.n_held, o->seed);
    tlpi_text_printf(&text,
                     "\"kl_before\": %.12g, \"kl_after\": %.12g, "
                     "\"ppl_before\": %.12g, \"ppl_after\": %.12g}",
                     r->kl_before, r->kl_after, r->ppl_before, r->ppl_after);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("a fit"));
    TLP_TRY(tlpi_plan_record(c->plan, "adjusted", text.data, &made));
    tlpi_free(c->env, c->plan->made);
    c->plan->made = made;
done:
    tlpi_text_free(&text);
    return st;
}

static tlp_status hand_out(tlpi_calibration *c, tlp_plan **out,
                           tlp_plan_adjust_report *r)
{
    void *image;
    size_t n;
    tlp_status st;

    TLP_TRY(record(c, r));
    TLP_TRY(tlpi_adjust_image(c->plan, c->fitted, NULL, &image, &n));
    TLP_TRY(tlpi_plan_with_adjust(out, c->plan, image, n, "adjustments"));
    *r = (tlp_plan_adjust_report){ .struct_size = r->struct_size,
                                   .n_window = r->n_window,
                                   .n_held_out = r->n_held_out,
                                   .kl_before = r->kl_before,
                                   .kl_after = r->kl_after,
                                   .ppl_before = r->ppl_before,
                                   .ppl_after = r->ppl_after,
                                   .top1_before = r->top1_before,
                                   .top1_after = r->top1_after,
                                   .n_bytes = n };
    count(c, r);
    st = report(c, 1);
done:
    return st;
}

tlp_status tlp_plan_adjust(tlp_plan **out, tlp_plan_adjust_report *out_report,
                           const tlp_plan *plan, const int32_t *tokens,
                           size_t n, const tlp_plan_adjust_options *opts)
{
    tlpi_calibration c = { 0 };
    tlp_plan_adjust_report r = { .struct_size = sizeof(r) };
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !plan || !tokens)
        return tlpi_fail(TLP_EINVAL, "out, plan and tokens are required");
    c.env = &plan->model->env;
    c.model = plan->model;
    c.fitter = (tlpi_fitter){ .env = c.env, .tick = { tick, &c } };
    if (out_report) /* before the work begins */
        TLP_TRY(
            tlpi_struct_check(out_report, sizeof(r), "tlp_plan_adjust_report"));
    TLP_TRY(check_plan(plan));
    TLP_TRY(read_options(&c, opts));
    TLP_TRY(check_norms(&c, plan));
    TLP_TRY(tlpi_windows_check(c.model, tokens, n, c.session.n_ctx));
    TLP_TRY(tlpi_runner_config(&c.cfg, c.model, &c.session));
    TLP_TRY(tlpi_calibration_create(&c, plan, tokens, n));
    st = choose(&c, &r);
    if (st == TLP_OK) {
        TLP_TRY(pass(&c, false));
        TLP_TRY(hand_out(&c, out, &r));
    }
done:
    if (out_report && (st == TLP_OK || st == TLP_ENOGAIN))
        (void)tlpi_struct_write(out_report, &r, sizeof(r), "");
    if (st != TLP_OK) {
        tlp_plan_free(*out);
        *out = NULL;
    }
    tlpi_calibration_free(&c);
    return st;
}
