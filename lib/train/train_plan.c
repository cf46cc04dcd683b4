/*
 * train_plan.c - tlp_plan_train: options, training, the new file and its plan.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/sha256.h"
#include "model/convert.h"
#include "plan/plan_convert.h"
#include "train/trainer.h"

/* Shares of windows, tokens and steps where an option says nothing. */
#define HELD_OUT 0.1
#define RATE_FULL 1e-4
#define RATE_ADJUSTED 4e-5 /* such a plan is close to its goal */
#define RATE_LORA 1e-3
#define WARM_UP 0.03
#define CLIP 1.0
#define MAX_BYTES ((uint64_t)1 << 30)

/* ==== options ============================================================ */

static tlp_status check_number(const char *name, double x, double lo, double hi)
{
    if (x >= lo && x <= hi)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL, "train option %s %g: %g to %g expected", name,
                     x, lo, hi);
}

static tlp_status check_options(const tlp_plan_train_options *o)
{
    tlp_status st;

    TLP_TRY(tlpi_flag_check("train option full", o->full));
    TLP_TRY(tlpi_flag_check("train option norms", o->norms));
    TLP_TRY(tlpi_flag_check("train option gains", o->gains));
    TLP_TRY(tlpi_flag_check("train option corrections", o->corrections));
    TLP_TRY(tlpi_flag_check("train option keep", o->keep));
    TLP_TRY(check_number("n_token", (double)o->n_token, 0, 1e15));
    TLP_TRY(check_number("n_local_token", (double)o->n_local_token, 0, 1e15));
    TLP_TRY(check_number("n_held_out_token", (double)o->n_held_out_token, 0,
                         INT32_MAX));
    TLP_TRY(check_number("seconds", o->seconds, 0, 1e9));
    TLP_TRY(check_number("n_accum", o->n_accum, 1, 4096));
    TLP_TRY(check_number("rank", o->rank, 0, 4096));
    TLP_TRY(check_number("rate", o->rate, 0, 1));
    TLP_TRY(check_number("warm_up", o->warm_up, 0, 1));
    TLP_TRY(check_number("weight_decay", o->weight_decay, 0, 100));
    TLP_TRY(check_number("clip", o->clip, 0, 1e9));
    TLP_TRY(check_number("text_share", o->text_share, 0, 1));
    TLP_TRY(tlpi_windows_check_share(o->held_out));
    if (o->full && o->rank)
        return tlpi_fail(TLP_EINVAL,
                         "train options full and rank: one of them expected");
    if (!o->full && !o->rank && !o->norms && !o->gains && !o->corrections)
        return tlpi_fail(TLP_EINVAL, "train options: one of full, rank, norms, "
                                     "gains and corrections expected");
done:
    return st;
}

/* Is there more than LoRA among the plan's adjustments? */
static bool is_adjusted(const tlp_plan *plan)
{
    const tlpi_adjust *a = plan->adjust;

    for (int i = 0; a && a->stage && i < plan->n_stage; i++)
        if (a->stage[i].member)
            return true;
    return false;
}

static tlp_status read_options(tlpi_trainer *t,
                               const tlp_plan_train_options *opts)
{
    tlp_plan_train_options *o = &t->o;
    tlp_status st;

    TLP_TRY(tlpi_options_read(o, sizeof(*o), opts, "tlp_plan_train_options"));
    if (o->held_out != 0 && o->n_held_out_token != 0)
        TLP_TRY(tlpi_fail(TLP_EINVAL, "train options held_out and "
                                      "n_held_out_token: one of them "
                                      "expected"));
    if (o->held_out == 0)
        o->held_out = HELD_OUT;
    if (o->n_accum == 0)
        o->n_accum = 1;
    if (o->rate == 0)
        o->rate = o->rank                ? RATE_LORA
                  : is_adjusted(t->plan) ? RATE_ADJUSTED
                                         : RATE_FULL;
    if (o->warm_up == 0)
        o->warm_up = WARM_UP;
    if (o->clip == 0)
        o->clip = CLIP;
    if (o->max_bytes == 0)
        o->max_bytes = MAX_BYTES;
    if (o->n_token != 0 && o->seconds >= 0)
        o->seconds = 0; /* a limit for trainings without n_token */
    TLP_TRY(tlpi_windows_options(&t->session, &o->held_out, o->session));
    o->session = &t->session;
done:
    return st;
}

/* ==== results ============================================================ */

static tlpi_fitted_lowrank fitted_pair(const tlpi_train_lowrank *c)
{
    return c->rank
               ? (tlpi_fitted_lowrank){ c->rank, c->down->value, c->up->value }
               : (tlpi_fitted_lowrank){ 0 };
}

/* NULL where the model has none, or where it is the model's own. */
static float *own_norm(const tlpi_train_param *w, const tlpi_tensor *old)
{
    return w && (w->grad || old) ? w->value : NULL;
}

/* Borrowed numbers. */
static void fit_member(const tlpi_trainer *t, int stage, int member,
                       tlpi_fitted_member *f)
{
    const tlpi_train_member *m = &t->net.stage[stage].member[member];
    const tlpi_adjust *a = t->plan->adjust;
    const tlpi_member_adjust *old =
        a && a->stage[stage].member ? &a->stage[stage].member[member] : NULL;

    *f = (tlpi_fitted_member){
        .attn_norm = own_norm(m->attn_norm, old ? old->attn_norm : NULL),
        .ffn_norm = own_norm(m->ffn_norm, old ? old->ffn_norm : NULL),
        .attn_post = own_norm(m->attn_post, old ? old->attn_post : NULL),
        .ffn_post = own_norm(m->ffn_post, old ? old->ffn_post : NULL),
        .attn_gain = m->attn_gain->value[0],
        .ffn_gain = m->ffn_gain->value[0],
        .attn_in = fitted_pair(&m->attn_in),
        .ffn_in = fitted_pair(&m->ffn_in),
        .out_down = m->out_down ? m->out_down->value : NULL,
    };
}

/* Does the training write a new file?  LoRA is part of its matrices then, and
 * one of the plan's adjustments otherwise. */
static bool writes(const tlpi_trainer *t, const char *path)
{
    return path && (t->o.full || t->o.rank);
}

/* Borrowed numbers of the LoRA of all layers. */
static void fit_lora(const tlpi_trainer *t, tlpi_fitted_lora *lora)
{
    for (int l = 0; l < t->model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_train_matrix *w = &t->net.layer[l].w[i];

            if (w->down)
                lora[l].pair[i] =
                    (tlpi_fitted_lowrank){ (int)w->down->rows, w->down->value,
                                           w->up->value };
        }
}

static bool has_adjustments(const tlpi_trainer *t)
{
    return t->o.norms || t->o.gains || t->o.rank || t->plan->adjust;
}

/* The plan with the norms, gains, corrections and LoRA that were trained, still
 * for the old file. */
static tlp_status adjusted_plan(const tlpi_trainer *t, tlp_plan **out)
{
    size_t n_stage = (size_t)t->plan->n_stage;
    size_t n_layer = (size_t)t->model->hp.n_layer;
    tlpi_fitted_stage *f = tlpi_calloc(t->env, n_stage, sizeof(*f));
    tlpi_fitted_lora *lora = tlpi_calloc(t->env, n_layer, sizeof(*lora));
    tlpi_fitted_member *all = NULL;
    size_t n = 0;
    void *image;
    size_t n_image;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < n_stage; i++)
        n += (size_t)t->net.stage[i].n_member;
    all = tlpi_calloc(t->env, n, sizeof(*all));
    if (!f || !all || !lora)
        TLP_TRY(tlpi_fail_nomem_for("a trained plan"));
    fit_lora(t, lora);
    n = 0;
    for (int i = 0; i < t->plan->n_stage; i++) {
        const tlpi_train_stage *s = &t->net.stage[i];

        if (!tlpi_train_touches(t->plan, i))
            continue;
        f[i] = (tlpi_fitted_stage){ &all[n], s->out_rank,
                                    s->out_up ? s->out_up->value : NULL };
        for (int j = 0; j < s->n_member; j++)
            fit_member(t, i, j, &all[n++]);
    }
    TLP_TRY(tlpi_adjust_image(t->plan, f, lora, &image, &n_image));
    st = tlpi_plan_with_adjust(out, t->plan, image, n_image, "training");
done:
    tlpi_free(t->env, all);
    tlpi_free(t->env, lora);
    tlpi_free(t->env, f);
    return st;
}

/* ==== the file =========================================================== */

/* The matrices that were trained, as tensors of floats; borrowed numbers. */
static size_t list_matrices(const tlpi_trainer *t, tlpi_tensor *list)
{
    size_t n = 0;

    for (int l = 0; l < t->model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_train_matrix *w = &t->net.layer[l].w[i];

            if (!w->full)
                continue;
            list[n] = *w->tensor;
            list[n].type = TLPI_F32;
            list[n].data = w->full->value;
            list[n++].n_bytes = tlpi_train_param_size(w->full) * sizeof(float);
        }
    return n;
}

/* Write whole matrices that were trained, or the matrices with the plan's
 * LoRA. */
static tlp_status write_file(tlpi_trainer *t, const tlp_plan *plan,
                             const char *made, const char *path, tlp_plan **out)
{
    size_t most = (size_t)t->model->hp.n_layer * TLPI_N_LAYER_TENSOR;
    tlpi_tensor *list = tlpi_calloc(t->env, most, sizeof(*list));

    if (!list)
        return tlpi_fail_nomem_for("a trained model");
    const tlpi_plan_convert c = { .plan = plan,
                                  .made = made,
                                  .plan_path = t->o.plan_path,
                                  .file = { .model = t->model,
                                            .path = path,
                                            .type = t->o.type,
                                            .replace = list,
                                            .n_replace =
                                                list_matrices(t, list) } };
    tlp_status st = t->o.rank ? tlpi_plan_merge_write(out, NULL, &c)
                              : tlpi_plan_convert_write(out, NULL, &c);

    tlpi_free(t->env, list);
    return st;
}

/* ==== the record ========================================================= */

static tlp_status record(const tlpi_trainer *t, const tlp_plan *plan,
                         const tlp_plan_train_report *r, char **made)
{
    const tlp_plan_train_options *o = &t->o;
    tlpi_text text = { .env = t->env };
    char hash[TLPI_HASH_TEXT];
    tlp_status st;

    tlpi_sha256_ids(t->text.ids, t->text.n_id, hash);
    tlpi_text_printf(
        &text,
        "{\"tool\": \"tlp_plan_train\", \"version\": \"%s\", \"from\": "
        "\"%s\", \"text\": \"%s\", \"text_tokens\": %zu, \"n_ctx\": %d, "
        "\"windows\": %d, \"held_out\": %d, \"seed\": \"%" PRIu64 "\", "
        "\"tokens\": %" PRId64 ", \"of_tokens\": %" PRId64 ", ",
        tlp_version_string(), tlpi_model_fingerprint(t->model), hash,
        t->text.n_tok, t->text.n_ctx, t->text.n, t->text.n_held, o->seed,
        r->n_token, t->token);
    tlpi_text_printf(
        &text,
        "\"full\": %d, \"lora\": %d, \"norms\": %d, \"gains\": %d, "
        "\"corrections\": %d, \"n_accum\": %d, \"rate\": %.12g, "
        "\"text_share\": %.12g, \"local_tokens\": %" PRId64 ", ",
        o->full, o->rank, o->norms, o->gains, o->corrections, o->n_accum,
        o->rate, o->text_share, o->n_local_token);
    tlpi_text_printf(
        &text,
        "\"kl_before\": %.12g, \"kl_after\": %.12g, \"ppl_before\": %.12g, "
        "\"ppl_after\": %.12g}",
        r->kl_before, r->kl_after, r->ppl_before, r->ppl_after);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("a trained plan"));
    st = tlpi_plan_record(plan, "trained", text.data, made);
done:
    tlpi_text_free(&text);
    return st;
}

static void fill_report(const tlpi_trainer *t, tlp_plan_train_report *r)
{
    const tlpi_train_loss *a = &t->first_score, *b = &t->best_score;
    double n = (double)a->n;

    r->n_window = t->text.n;
    r->n_held_out = t->text.n_held;
    r->n_token = t->best_token;
    r->n_number = (int64_t)t->net.param.n_trained;
    r->kl_before = a->kl / n;
    r->kl_after = b->kl / n;
    r->ppl_before = exp(a->nll / n);
    r->ppl_after = exp(b->nll / n);
    r->top1_before = (double)a->top1 / n;
    r->top1_after = (double)b->top1 / n;
    r->seconds = tlpi_now() - t->begin;
    r->canceled = t->canceled;
}

/* ==== several ranks ====================================================== */

/* Meet the processes of the session options, and say what is trained. */
static tlp_status meet_ranks(tlpi_trainer *t, const int32_t *tokens, size_t n)
{
    const tlp_plan_train_options *o = &t->o;
    tlpi_train_brief b = { .n_ctx = t->session.n_ctx,
                           .n_accum = o->n_accum,
                           .full = o->full,
                           .rank = o->rank,
                           .norms = o->norms,
                           .gains = o->gains,
                           .corrections = o->corrections,
                           .n_id = (int64_t)n,
                           .n_token = o->n_token,
                           .n_local_token = o->n_local_token,
                           .n_held_out_token = o->n_held_out_token,
                           .seed = o->seed,
                           .max_bytes = o->max_bytes,
                           .seconds = o->seconds,
                           .rate = o->rate,
                           .warm_up = o->warm_up,
                           .weight_decay = o->weight_decay,
                           .clip = o->clip,
                           .text_share = o->text_share,
                           .held_out = o->held_out };
    tlp_status st;

    TLP_TRY(tlpi_windows_check(t->model, tokens, n, b.n_ctx));
    TLP_TRY(tlpi_train_group_lead(&t->group, t->plan, &t->session));
    if (!t->group.comm)
        return TLP_OK;
    t->session.n_thread = t->group.cfg.n_thread;
    t->session.n_thread_prefill = t->group.cfg.n_prefill;
    TLP_TRY(tlpi_train_share(&t->group, &b, sizeof(b)));
    st = tlpi_train_share(&t->group, (void *)(uintptr_t)tokens,
                          n * sizeof(*tokens));
done:
    return st;
}

/* ==== the call =========================================================== */

static tlp_status hand_out(tlpi_trainer *t, const tlp_plan_train_report *r,
                           const char *path, tlp_plan **out)
{
    tlp_plan *plan = NULL;
    char *made = NULL;
    tlp_status st;

    if (has_adjustments(t))
        TLP_TRY(adjusted_plan(t, &plan));
    else
        plan = tlpi_plan_retain(t->plan);
    TLP_TRY(record(t, plan, r, &made));
    if (writes(t, path))
        TLP_TRY(write_file(t, plan, made, path, out));
    else
        TLP_TRY(tlpi_plan_move(out, plan, t->model, made));
done:
    tlpi_free(t->env, made);
    tlp_plan_free(plan);
    return st;
}

static tlp_status check_paths(const tlpi_trainer *t, const char *path)
{
    const char *resume = t->o.resume_path;
    tlp_status st = TLP_OK;

    if (t->o.full && !path)
        return tlpi_fail(TLP_EINVAL, "path is required for a training of "
                                     "whole matrices");
    if (writes(t, path))
        TLP_TRY(tlpi_plan_convert_check(t->model, path, t->o.plan_path));
    if (!resume)
        return TLP_OK;
    TLP_TRY(tlpi_model_check_path(t->model, resume));
    if ((writes(t, path) && strcmp(resume, path) == 0) ||
        (t->o.plan_path && strcmp(resume, t->o.plan_path) == 0))
        st = tlpi_fail(TLP_EINVAL,
                       "%s: state of the training and its result "
                       "in one file",
                       resume);
done:
    return st;
}

tlp_status tlpi_trainer_check(const tlpi_trainer *t)
{
    const tlp_plan *plan = t->plan;
    const tlp_plan_train_options *o = &t->o;
    tlp_status st;

    TLP_TRY(check_options(o));
    TLP_TRY(tlpi_model_check_experts(plan->model, "plan",
                                     "training is not supported for"));
    if (plan->model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, training needs its "
                         "layers",
                         plan->model->path);
    if (plan->model->w.view && o->full)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: its layers have fused tensors (attn_qkv, or "
                         "ffn_up with ffn_gate), whose parts cannot be trained",
                         plan->model->path);
    st = o->type ? tlpi_convert_check_type(plan->model, o->type) : TLP_OK;
done:
    return st;
}

tlp_status tlp_plan_train(tlp_plan **out, tlp_plan_train_report *out_report,
                          const tlp_plan *plan, const char *path,
                          const int32_t *tokens, size_t n,
                          const tlp_plan_train_options *opts)
{
    tlpi_trainer t = { 0 };
    tlp_plan_train_report r = { .struct_size = sizeof(r) };
    bool trained = false;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !plan || !tokens)
        return tlpi_fail(TLP_EINVAL, "out, plan and tokens are required");
    t.env = &plan->model->env;
    t.model = plan->model;
    if (out_report) /* before the work begins */
        TLP_TRY(
            tlpi_struct_check(out_report, sizeof(r), "tlp_plan_train_report"));
    TLP_TRY(tlpi_plan_move(&t.plan, plan, t.model, plan->made));
    TLP_TRY(read_options(&t, opts));
    TLP_TRY(tlpi_trainer_check(&t));
    TLP_TRY(check_paths(&t, path));
    TLP_TRY(meet_ranks(&t, tokens, n));
    TLP_TRY(tlpi_trainer_create(&t, tokens, n));
    TLP_TRY(tlpi_trainer_run(&t));
    tlpi_train_group_leave(&t.group, t.canceled == 2 ? TLP_ECOMM : TLP_OK);
    fill_report(&t, &r);
    trained = true;
    if (t.best_token == 0)
        TLP_TRY(tlpi_fail(TLP_ENOGAIN,
                          "training does not help: no state is better on the "
                          "held-out windows than the plan, KL %.6g",
                          r.kl_before));
    st = hand_out(&t, &r, path, out);
done:
    if (out_report && trained)
        (void)tlpi_struct_write(out_report, &r, sizeof(r), "");
    tlpi_train_group_leave(&t.group, st);
    tlpi_trainer_free(&t);
    tlp_plan_free(t.plan);
    return st;
}
