/*
 * bake_plan.c - tlp_plan_bake: options, the steps, the new file and its plan.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/sha256.h"
#include "plan/plan_convert.h"
#include "plan/shard.h"
#include "tune/bake.h"

/* The share of the progress that is left for writing the file. */
#define WRITE_SHARE 0.05

/* ==== progress =========================================================== */

static tlp_status say(const tlpi_bake *b, double done)
{
    if (b->o.progress && b->o.progress(fmin(1, done), b->o.progress_data))
        return tlpi_fail(TLP_ECANCELED, "baking was canceled");
    return TLP_OK;
}

static tlp_status tick(void *arg)
{
    tlpi_bake *b = arg;

    b->done += b->tick_size;
    return say(b, (1 - WRITE_SHARE) * fmin(1, b->done / b->total));
}

static int see_writing(double done, void *arg)
{
    const tlpi_bake *b = arg;

    return say(b, 1 - WRITE_SHARE + WRITE_SHARE * done) != TLP_OK;
}

/* ==== arguments ========================================================== */

static tlp_status read_options(tlpi_bake *b, const tlp_plan_bake_options *opts)
{
    tlp_plan_bake_options *o = &b->o;
    tlp_status st;

    TLP_TRY(tlpi_options_read(o, sizeof *o, opts, "tlp_plan_bake_options"));
    TLP_TRY(tlpi_windows_options(&b->session, &o->held_out, o->session));
    o->session = &b->session;
    TLP_TRY(tlpi_windows_check_share(o->held_out));
    if (o->type)
        TLP_TRY(tlpi_convert_check_type(b->model, o->type));
    else if (o->pure || o->imatrix)
        TLP_TRY(tlpi_fail(TLP_EINVAL, "bake option %s: without a type",
                          o->pure ? "pure" : "imatrix"));
    st = tlpi_quantize_options(
        &b->file, &(tlp_quantize_options){ sizeof(tlp_quantize_options),
                                           b->session.n_thread, o->pure,
                                           see_writing, b, o->imatrix });
done:
    return st;
}

/* Stages with a left-out exchange after one of these halves. */
static int count_sites(const tlp_plan *p, int halves)
{
    int n = 0;

    for (int i = 0; i < p->n_stage; i++)
        n += (p->stage[i].nosync & halves) != 0;
    return n;
}

static tlp_status check_plan(const tlp_plan *p)
{
    static const char what[] = "baking is not supported for";
    tlp_status st = tlpi_model_check_post(p->model, "plan", what);

    if (st == TLP_OK)
        st = tlpi_model_check_experts(p->model, "plan", what);
    if (st != TLP_OK)
        return st;
    if (p->model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, baking needs its "
                         "layers",
                         p->model->path);
    if (p->adjust)
        return tlpi_fail(TLP_EINVAL,
                         "plan: it has adjustments, which were fitted to the "
                         "order of units that the file has");
    if (p->n_track == 0)
        return tlpi_fail(TLP_EINVAL,
                         "plan: it leaves out no exchange (nosync), so no "
                         "order of units changes what it computes");
    return tlpi_teacher_check_order(p, "units are dealt out");
}

/* ==== sites ============================================================== */

static tlp_status open_site(tlpi_bake *b, tlpi_bake_site *s, int stage,
                            const tlpi_shards *shards)
{
    const tlpi_stage_shard *part = tlpi_shard_at(shards, stage, 0);
    size_t n = (size_t)b->model->hp.n_ff;

    s->stage = stage;
    s->layer = b->plan->stage[stage].layers[0];
    s->half = b->plan->stage[stage].nosync;
    s->block = tlpi_unit_block(b->model, s->layer);
    s->track = tlpi_calloc(b->env, n, sizeof *s->track);
    if (s->half & TLP_NOSYNC_ATTN)
        s->cost =
            tlpi_calloc(b->env, n * (size_t)b->plan->n_track, sizeof *s->cost);
    if (!s->track || (!s->cost && (s->half & TLP_NOSYNC_ATTN)))
        return tlpi_fail_nomem_for("the hidden units of a layer");
    for (int i = 0; i < part->n_ffn; i++)
        for (int j = part->ffn[i].ff0; j < part->ffn[i].ff1; j++)
            s->track[j] = part->ffn[i].member;
    return TLP_OK;
}

static tlp_status open_sites(tlpi_bake *b)
{
    tlpi_shards *shards = NULL;
    int n_site = count_sites(b->plan, TLP_NOSYNC_ATTN | TLP_NOSYNC_FFN);
    tlp_status st;

    b->n_attn_site = count_sites(b->plan, TLP_NOSYNC_ATTN);
    b->n_ffn_site = count_sites(b->plan, TLP_NOSYNC_FFN);
    TLP_TRY(tlpi_shards_create(&shards, b->plan, 1));
    b->site = tlpi_calloc(b->env, (size_t)n_site, sizeof *b->site);
    if (!b->site)
        TLP_TRY(tlpi_fail_nomem_for("the hidden units of a layer"));
    for (int i = 0; i < b->plan->n_stage; i++)
        if (b->plan->stage[i].nosync)
            TLP_TRY(open_site(b, &b->site[b->n_site++], i, shards));
done:
    tlpi_shards_free(shards);
    return st;
}

static void free_sites(tlpi_bake *b)
{
    for (int i = 0; b->site && i < b->n_site; i++) {
        tlpi_bake_site *s = &b->site[i];

        for (int k = 0; k < TLPI_N_ORDER; k++) {
            for (int j = 0; j < TLPI_N_UNIT_TENSOR; j++)
                tlpi_free(b->env, (void *)(uintptr_t)s->order[k].twin[j].data);
            tlpi_free(b->env, s->order[k].unit);
        }
        tlpi_free(b->env, s->cost);
        tlpi_free(b->env, s->track);
    }
    tlpi_free(b->env, b->site);
}

/* Units of chosen sites that are on another track than in the file. */
static void count(const tlpi_bake *b, tlp_plan_bake_report *r)
{
    r->n_site = b->n_site;
    r->n_layer = r->n_unit = 0;
    for (int i = 0; i < b->n_site; i++) {
        const tlpi_bake_site *s = &b->site[i];
        const int32_t *unit = s->order[s->chosen].unit;

        if (!unit)
            continue;
        r->n_layer++;
        for (int j = 0; j < b->model->hp.n_ff; j++)
            r->n_unit += s->track[j] != s->track[unit[j]];
    }
}

/* ==== steps ============================================================== */

static tlp_status prepare(tlpi_bake *b, const int32_t *tokens, size_t n)
{
    tlp_status st;

    TLP_TRY(tlpi_windows_check(b->model, tokens, n, b->session.n_ctx));
    TLP_TRY(tlpi_runner_config(&b->cfg, b->model, &b->session));
    TLP_TRY(tlpi_windows_cut(&b->text, b->env, tokens, n, b->session.n_ctx,
                             b->o.seed));
    TLP_TRY(tlpi_windows_hold_out(&b->text, b->o.held_out));
    TLP_TRY(open_sites(b));
    /* Measuring takes a window once for each half; choosing takes the held-out
     * windows for the serial model, its logits, two plans, and the sites. */
    b->total = 4 * b->text.n_held;
    for (int i = 0; i < b->n_site; i++)
        b->total += b->text.n_held * tlpi_bake_n_trial(&b->site[i]);
    if (b->n_attn_site > 0)
        b->total += b->text.n - b->text.n_held;
    if (b->n_ffn_site > 0)
        b->total += b->text.n;
    TLP_TRY(
        tlpi_teacher_create(&b->teacher, b->model, &b->cfg, &b->text, b->tick));
done:
    return st;
}

static tlp_status choose(tlpi_bake *b, tlp_plan_bake_report *r)
{
    tlpi_bake_score before, after;
    tlp_status st;

    r->n_window = b->text.n;
    r->n_held_out = b->text.n_held;
    if (b->n_attn_site > 0)
        TLP_TRY(tlpi_bake_measure(b));
    TLP_TRY(tlpi_bake_order_sites(b));
    TLP_TRY(tlpi_bake_choose(b, &before, &after));
    count(b, r);
    r->kl_before = before.kl;
    r->kl_after = after.kl;
    r->ppl_before = exp(before.nll);
    r->ppl_after = exp(after.nll);
    r->top1_before = before.top1;
    r->top1_after = after.top1;
    if (r->n_layer == 0)
        st = tlpi_fail(TLP_ENOGAIN,
                       "no other order of units lowers the KL divergence on "
                       "the held-out windows, which is %.6g",
                       before.kl);
done:
    return st;
}

/* Add to the plan's record how its file was made. */
static tlp_status record(const tlpi_bake *b, const tlp_plan_bake_report *r,
                         char **made)
{
    tlpi_text text = { .env = b->env };
    char hash[TLPI_HASH_TEXT];
    tlp_status st = TLP_OK;

    tlpi_sha256_ids(b->text.ids, b->text.n_id, hash);
    tlpi_text_printf(&text,
                     "{\"tool\": \"tlp_plan_bake\", \"version\": \"%s\", "
                     "\"from\": \"%s\", \"tokens\": %zu, \"text\": \"%s\", "
                     "\"n_ctx\": %d, \"windows\": %d, \"held_out\": %d, "
                     "\"seed\": \"%" PRIu64 "\", ",
                     tlp_version_string(), tlpi_model_fingerprint(b->model),
                     b->text.n_tok, hash, b->text.n_ctx, b->text.n,
                     b->text.n_held, b->o.seed);
    if (b->o.type)
        tlpi_text_printf(&text, "\"type\": \"%s\", ", b->o.type);
    tlpi_text_printf(&text, "\"layers\": [");
    for (int i = 0, n = 0; i < b->n_site; i++)
        if (b->site[i].chosen)
            tlpi_text_printf(&text, "%s%d", n++ ? ", " : "", b->site[i].layer);
    tlpi_text_printf(&text,
                     "], \"units\": %d, \"kl_before\": %.12g, \"kl_after\": "
                     "%.12g, \"ppl_before\": %.12g, \"ppl_after\": %.12g}",
                     r->n_unit, r->kl_before, r->kl_after, r->ppl_before,
                     r->ppl_after);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("a plan"));
    TLP_TRY(tlpi_plan_record(b->plan, "baked", text.data, made));
done:
    tlpi_text_free(&text);
    return st;
}

static tlp_status write_file(tlpi_bake *b, tlp_plan **out, const char *path,
                             tlp_plan_bake_report *r)
{
    size_t n = (size_t)b->model->hp.n_layer;
    tlpi_unit_order order = { tlpi_calloc(b->env, n, sizeof *order.unit) };
    tlpi_plan_convert c = { .plan = b->plan, .plan_path = b->o.plan_path };
    tlp_quantize_result file = { 0 };
    char *made = NULL;
    tlp_status st;

    if (!order.unit)
        return tlpi_fail_nomem_for("a model file");
    for (int i = 0; i < b->n_site; i++)
        if (b->site[i].chosen)
            order.unit[b->site[i].layer] =
                b->site[i].order[b->site[i].chosen].unit;
    c.file = (tlpi_convert){ .model = b->model,
                             .path = path,
                             .type = b->o.type,
                             .order = &order,
                             .opts = b->file };
    TLP_TRY(record(b, r, &made));
    c.made = made;
    TLP_TRY(tlpi_plan_convert_write(out, &file, &c));
    r->n_tensor = file.n_tensor;
    r->n_converted = file.n_converted;
    r->n_fallback = file.n_fallback;
    r->n_bytes = file.n_bytes;
done:
    tlpi_free(b->env, made);
    tlpi_free(b->env, order.unit);
    return st;
}

static void tear_down(tlpi_bake *b)
{
    if (!b->env)
        return;
    tlpi_teacher_free(&b->teacher);
    free_sites(b);
    tlpi_windows_free(&b->text);
}

/* ==== the call =========================================================== */

tlp_status tlp_plan_bake(tlp_plan **out, tlp_plan_bake_report *out_report,
                         const tlp_plan *plan, const char *path,
                         const int32_t *tokens, size_t n,
                         const tlp_plan_bake_options *opts)
{
    tlpi_bake b = { .tick = { tick, &b }, .tick_size = 1 };
    tlp_plan_bake_report r = { .struct_size = sizeof r };
    tlp_plan *copy = NULL;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !plan || !path || !tokens)
        return tlpi_fail(TLP_EINVAL, "out, plan, path and tokens are required");
    b.env = &plan->model->env;
    b.model = plan->model;
    if (out_report) /* before the work begins */
        TLP_TRY(
            tlpi_struct_check(out_report, sizeof r, "tlp_plan_bake_report"));
    TLP_TRY(check_plan(plan));
    TLP_TRY(read_options(&b, opts));
    TLP_TRY(tlpi_plan_convert_check(b.model, path, b.o.plan_path));
    TLP_TRY(tlpi_plan_rebuild(&copy, plan->model, plan, plan->made));
    b.plan = copy;
    TLP_TRY(prepare(&b, tokens, n));
    st = choose(&b, &r);
    if (st == TLP_OK)
        TLP_TRY(write_file(&b, out, path, &r));
done:
    if (out_report && (st == TLP_OK || st == TLP_ENOGAIN))
        (void)tlpi_struct_write(out_report, &r, sizeof r, "");
    tear_down(&b);
    tlp_plan_free(copy);
    return st;
}
