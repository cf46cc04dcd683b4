/*
 * bake_choose.c - the orders of sites that help on held-out text.
 *
 * The start is the better of two plans: every site in its new order, or none.
 * Then each site in turn tries its other orders, and keeps the one with the
 * least divergence.  So the result is never worse on these windows than the
 * plan was.  Sites come in the order of layers, and a plan that tries an order
 * starts from the kept stream before that site.
 */
#include <math.h>

#include "rank/forward.h"
#include "tune/bake.h"

#define LOGIT_BYTES ((size_t)768 << 20)

typedef struct chooser {
    tlpi_bake *b;
    tlp_model *twins;
    /* All layers and all twins, so that their packed weights stay. */
    tlpi_runner kept[TLPI_N_ORDER];
    tlpi_token_score *score; /* [n_ctx] */
    float *stream; /* [tokens of the held-out windows][n_embd] of the chosen
                      orders, before stage `from` */
    int from;      /* a stage before which all tracks have one stream */
} chooser;

/* The plan with the twins of the chosen orders. */
static tlp_status build_variant(const chooser *c, tlp_plan **out)
{
    const tlpi_bake *b = c->b;
    tlp_status st;

    TLP_TRY(tlpi_plan_rebuild(out, c->twins, b->plan, NULL));
    for (int i = 0; i < b->n_site; i++)
        (*out)->stage[b->site[i].stage].layers[0] =
            tlpi_bake_twin(b, i, b->site[i].chosen);
done:
    return st;
}

static tlp_status create_variant(const chooser *c, tlpi_runner *out)
{
    tlp_plan *plan = NULL;
    tlp_status st;

    TLP_TRY(build_variant(c, &plan));
    TLP_TRY(tlpi_runner_create(out, plan, &c->b->cfg));
done:
    tlp_plan_free(plan);
    return st;
}

static float *stream_of(const chooser *c, const tlpi_window *w)
{
    return c->stream + w->at * (size_t)c->b->model->hp.n_embd;
}

/* Run a window from the kept streams up to a stage. */
static tlp_status run_window(const chooser *c, const tlpi_runner *r,
                             const tlpi_window *w, int end)
{
    tlpi_step step = tlpi_window_step(&c->b->text, w);

    tlpi_forward_begin(r->rank, &step, c->from ? stream_of(c, w) : NULL);
    return tlpi_forward_stages(r->rank, r->rank->program, &step, c->from, end);
}

/* Take the kept streams on to stage `end`. */
static tlp_status advance(chooser *c, int end)
{
    const tlpi_windows *text = &c->b->text;
    tlpi_runner r = { .plan = NULL };
    tlp_status st = TLP_OK;

    if (end == c->from)
        return TLP_OK;
    TLP_TRY(create_variant(c, &r));
    for (int i = 0; i < text->n_held; i++) {
        tlpi_step step = tlpi_window_step(text, &text->window[i]);

        TLP_TRY(run_window(c, &r, &text->window[i], end));
        tlpi_forward_stream(r.rank, &step, stream_of(c, &text->window[i]));
    }
    c->from = end;
done:
    tlpi_runner_free(&r);
    return st;
}

static tlp_status score_window(chooser *c, const tlpi_runner *r, int i,
                               tlpi_bake_score *sum)
{
    tlpi_bake *b = c->b;
    const tlpi_window *w = &b->text.window[i];
    tlp_status st;

    TLP_TRY(run_window(c, r, w, b->plan->n_stage));
    TLP_TRY(tlpi_teacher_score(&b->teacher, r, i, c->score));
    for (int t = 0; t < w->n - 1; t++) {
        sum->kl += c->score[t].kl;
        sum->nll += c->score[t].nll;
        sum->top1 += c->score[t].same_top1;
    }
    st = tlpi_tick_call(&b->tick);
done:
    return st;
}

/* Score the chosen orders. */
static tlp_status score(chooser *c, tlpi_bake_score *out)
{
    const tlpi_windows *text = &c->b->text;
    tlpi_bake_score sum = { 0 };
    tlpi_runner r = { .plan = NULL };
    tlp_status st;
    int n = 0;

    TLP_TRY(create_variant(c, &r));
    for (int i = 0; i < text->n_held; i++) {
        TLP_TRY(score_window(c, &r, i, &sum));
        n += text->window[i].n - 1;
    }
    *out = (tlpi_bake_score){ sum.kl / n, sum.nll / n, sum.top1 / n };
done:
    tlpi_runner_free(&r);
    return st;
}

/* Choose an order wherever a unit moves in it. */
static void choose_all(tlpi_bake *b, int order)
{
    for (int i = 0; i < b->n_site; i++) {
        tlpi_bake_site *s = &b->site[i];
        int k = order & s->half;

        s->chosen = s->order[k].unit ? k : TLPI_ORDER_OLD;
    }
}

static tlp_status alloc_chooser(chooser *c)
{
    const tlpi_windows *text = &c->b->text;
    const tlpi_window *last = &text->window[text->n_held - 1];
    size_t n = last->at + (size_t)last->n;

    c->score =
        tlpi_alloc_array(c->b->env, (size_t)text->n_ctx, sizeof *c->score);
    c->stream = tlpi_alloc_array(c->b->env, n * (size_t)c->b->model->hp.n_embd,
                                 sizeof *c->stream);
    return c->score && c->stream
               ? TLP_OK
               : tlpi_fail_nomem_for("the choice of an order");
}

static tlp_status keep_weights(chooser *c)
{
    tlp_status st;

    for (int k = 0; k < TLPI_N_ORDER; k++) {
        choose_all(c->b, k);
        TLP_TRY(create_variant(c, &c->kept[k]));
    }
done:
    return st;
}

static tlp_status run_teacher(tlpi_bake *b)
{
    size_t budget = LOGIT_BYTES;
    tlp_status st;

    tlpi_teacher_begin(&b->teacher, b->text.n_held);
    TLP_TRY(tlpi_teacher_advance(&b->teacher, b->model->hp.n_layer, NULL));
    TLP_TRY(tlpi_teacher_keep_logits(&b->teacher, &budget));
done:
    return st;
}

/* Try the other orders of site i. */
static tlp_status try_orders(chooser *c, int i, tlpi_bake_score *best)
{
    tlpi_bake_site *s = &c->b->site[i];
    int begin = s->stage, start = s->chosen, kept = s->chosen;
    tlp_status st = TLP_OK;

    while (tlpi_plan_is_open(c->b->plan, begin))
        begin--;
    for (int k = 0; k < TLPI_N_ORDER; k++) {
        tlpi_bake_score now;

        if (k == start || (k != TLPI_ORDER_OLD && !s->order[k].unit))
            continue;
        TLP_TRY(advance(c, begin));
        s->chosen = k;
        TLP_TRY(score(c, &now));
        if (now.kl < best->kl) {
            *best = now;
            kept = k;
        }
    }
done:
    s->chosen = kept;
    return st;
}

tlp_status tlpi_bake_choose(tlpi_bake *b, tlpi_bake_score *before,
                            tlpi_bake_score *after)
{
    chooser c = { .b = b };
    tlp_status st;

    TLP_TRY(alloc_chooser(&c));
    TLP_TRY(tlpi_bake_twins_create(&c.twins, b));
    TLP_TRY(keep_weights(&c));
    TLP_TRY(run_teacher(b));
    choose_all(b, TLPI_ORDER_OLD);
    TLP_TRY(score(&c, before));
    choose_all(b, TLPI_ORDER_BOTH);
    TLP_TRY(score(&c, after));
    if (!(after->kl < before->kl)) {
        choose_all(b, TLPI_ORDER_OLD);
        *after = *before;
    }
    for (int i = 0; i < b->n_site; i++)
        TLP_TRY(try_orders(&c, i, after));
done:
    for (int k = 0; k < TLPI_N_ORDER; k++)
        tlpi_runner_free(&c.kept[k]);
    tlpi_bake_twins_free(c.twins);
    tlpi_free(b->env, c.stream);
    tlpi_free(b->env, c.score);
    return st;
}
