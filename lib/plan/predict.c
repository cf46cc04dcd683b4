/*
 * predict.c - what a plan will cost: the clocks of all ranks, run through the
 * acts of every stage with the times of a measured link.
 *
 * A clock for each rank, and not a sum of what each act takes, because ranks
 * need not be level: over a link of latency L the others start L after rank 0,
 * so that every other all-reduce finds rank 0's wait already over.
 */
#include "plan/schedule.h"

#include <math.h>
#include <string.h>

#define MAX_POS (1 << 20) /* as sessions have */

/* Kinds of exchange that take time in this run; the others take none. */
enum { COMMANDS = 1, SENDS = 2, SUMS = 4 };

typedef struct run {
    const tlp_plan *plan;
    const tlpi_shards *shards;
    const tlp_link *link;
    tlpi_act *act; /* [tlpi_schedule_max] */
    int with;      /* COMMANDS | ... */
    int64_t n_tok; /* of the step */
    int64_t pos;   /* before it */
    double clock[TLPI_MAX_RANK];
} run;

/* ==== the link =========================================================== */

/* A table's seconds for n floats: straight lines between the sizes, the first
 * value before and the last line behind them. */
static double look_up(const tlp_link *l, const double *table, int64_t n)
{
    int i = 1;

    if (n <= l->size[0])
        return table[0];
    while (i < l->n_size - 1 && n > l->size[i])
        i++;
    double part =
        (double)(n - l->size[i - 1]) / (double)(l->size[i] - l->size[i - 1]);
    double y = table[i - 1] + part * (table[i] - table[i - 1]);
    return fmax(y, table[0]);
}

/* The table is of link->n_rank ranks; among `count` the latency is the same,
 * and what a vector takes beyond it goes with the number of others. */
static double exchange(const tlp_link *l, const double *table, int count,
                       int64_t n)
{
    double latency = table[0], rest = look_up(l, table, n) - latency;

    return latency + rest * (count - 1) / (l->n_rank - 1);
}

static bool is_time(double x)
{
    return isfinite(x) && x >= 0;
}

static bool are_rates(const tlp_link_rates *r)
{
    return is_time(r->half) && is_time(r->byte) && is_time(r->attend) &&
           is_time(r->stall);
}

static tlp_status check_tables(const tlp_link *l)
{
    bool ok = l->n_size >= 2 && l->n_size <= TLP_LINK_SIZES;

    for (int i = 0; ok && i < l->n_size; i++)
        ok = is_time(l->allreduce[i]) && is_time(l->late[i]) &&
             is_time(l->send[i]) && l->size[i] > 0 &&
             (i == 0 || l->size[i] > l->size[i - 1]);
    return ok ? TLP_OK
              : tlpi_fail(TLP_EINVAL,
                          "link: tables of %d sizes are no times "
                          "by rising size",
                          l->n_size);
}

static tlp_status check_link(const tlp_link *l, const tlp_plan *plan,
                             int n_rank)
{
    const char *model = tlpi_model_fingerprint(plan->model);

    if (!memchr(l->fingerprint, '\0', sizeof l->fingerprint))
        return tlpi_fail(TLP_EINVAL, "link: fingerprint does not end");
    if (l->fingerprint[0] && strcmp(l->fingerprint, model) != 0)
        return tlpi_fail(TLP_EMISMATCH,
                         "link: measured with model %s, the plan is for %s",
                         l->fingerprint, model);
    if (!are_rates(&l->decode) || !are_rates(&l->prefill) ||
        !is_time(l->head_byte) || !is_time(l->command))
        return tlpi_fail(TLP_EINVAL, "link: a negative or endless time");
    if (l->n_batch < 1 || l->n_rank < 1)
        return tlpi_fail(TLP_EINVAL, "link: n_batch %d, n_rank %d", l->n_batch,
                         l->n_rank);
    if (n_rank == 1)
        return TLP_OK;
    if (l->n_rank == 1)
        return tlpi_fail(TLP_EINVAL, "link: measured with one rank, %d wanted",
                         n_rank);
    return check_tables(l);
}

/* ==== acts =============================================================== */

/* A rank's half of a stage with that many bytes and query heads.  A step of
 * several tokens takes at least what one of them does. */
static double work(const run *w, double bytes, int n_head)
{
    const tlp_link_rates *one = &w->link->decode, *many = &w->link->prefill;
    double n = (double)w->n_tok, pos = (double)w->pos;
    double first =
        one->half + bytes * one->byte + n_head * (pos + 1) * one->attend;
    double seen = n * pos + n * (n + 1) / 2; /* positions, over all tokens */

    if (w->n_tok == 1)
        return first;
    return fmax(first, n * (many->half + bytes * many->byte) +
                           n_head * seen * many->attend);
}

static void do_work(run *w, tlpi_act_kind kind, int stage)
{
    for (int r = 0; r < w->shards->n_rank; r++) {
        tlpi_work share = tlpi_schedule_work(w->plan, w->shards, stage, r);

        w->clock[r] += kind == TLPI_ACT_ATTN
                           ? work(w, share.attn_bytes, share.n_head)
                           : work(w, share.ffn_bytes, 0);
    }
}

/* A rank has the sum when the last of the others' vectors has come, and its
 * own call has been worked through. */
static void do_sum(run *w, tlpi_span span, int64_t n)
{
    const tlp_link *l = w->link;
    double flight = 0, own = 0;
    double first = -INFINITY, second = -INFINITY; /* the latest two */
    int latest = -1;

    if (w->with & SUMS) {
        double stall = w->n_tok == 1 ? l->decode.stall
                                     : (double)w->n_tok * l->prefill.stall;
        flight = exchange(l, l->allreduce, span.count, n) + stall;
        own = exchange(l, l->late, span.count, n) + stall;
    }
    for (int r = span.first; r < span.first + span.count; r++) {
        if (w->clock[r] > first) {
            second = first;
            first = w->clock[r];
            latest = r;
        } else {
            second = fmax(second, w->clock[r]);
        }
    }
    for (int r = span.first; r < span.first + span.count; r++) {
        double others = r == latest ? second : first;
        w->clock[r] = fmax(w->clock[r] + own, others + flight);
    }
}

static void do_pass(run *w, tlpi_span span, int64_t n)
{
    double flight = w->with & SENDS ? look_up(w->link, w->link->send, n) : 0;

    for (int r = span.first + 1; r < span.first + span.count; r++)
        w->clock[r] = fmax(w->clock[r], w->clock[r - 1] + flight);
}

static void do_stage(run *w, int stage)
{
    int n = tlpi_schedule_stage(w->plan, w->shards, stage, w->act);

    for (int i = 0; i < n; i++) {
        const tlpi_act *a = &w->act[i];
        int64_t n_float = w->n_tok * w->plan->model->hp.n_embd * a->n_vector;

        if (a->kind == TLPI_ACT_ATTN || a->kind == TLPI_ACT_FFN)
            do_work(w, a->kind, stage);
        else if (a->span.count < 2)
            continue;
        else if (a->kind == TLPI_ACT_PASS)
            do_pass(w, a->span, n_float);
        else
            do_sum(w, a->span, n_float);
    }
}

/* ==== a call ============================================================= */

/* Seconds until rank 0 has the last token's candidates. */
static double run_call(run *w, int64_t n_tok, int64_t pos, int with)
{
    int n_rank = w->shards->n_rank;
    double way = with & COMMANDS && n_rank > 1 ? w->link->command : 0;

    w->with = with;
    for (int r = 0; r < n_rank; r++)
        w->clock[r] = 0;
    for (int64_t at = 0; at < n_tok; at += w->n_tok) {
        w->n_tok = TLPI_MIN(n_tok - at, w->link->n_batch);
        w->pos = pos + at;
        for (int r = 1; r < n_rank; r++)
            w->clock[r] = fmax(w->clock[r], w->clock[0] + way);
        for (int i = 0; i < w->plan->n_stage; i++)
            do_stage(w, i);
    }
    double end = 0;
    for (int r = 0; r < n_rank; r++) {
        double bytes = tlpi_schedule_head(w->plan, w->shards, r);
        double done = w->clock[r] + bytes * w->link->head_byte;

        end = fmax(end, r > 0 ? done + way : done);
    }
    return end;
}

static tlp_prediction predict(run *w, int64_t n_tok, int64_t pos)
{
    double work = run_call(w, n_tok, pos, 0);
    double told = run_call(w, n_tok, pos, COMMANDS);
    double sent = run_call(w, n_tok, pos, COMMANDS | SENDS);
    double all = run_call(w, n_tok, pos, COMMANDS | SENDS | SUMS);

    return (tlp_prediction){ .seconds = all,
                             .compute_seconds = work,
                             .command_seconds = told - work,
                             .send_seconds = sent - told,
                             .allreduce_seconds = all - sent };
}

tlp_status tlp_plan_predict(const tlp_plan *plan, const tlp_link *link,
                            int n_rank, int64_t n_tok, int64_t pos,
                            tlp_prediction *out)
{
    tlp_link l = { 0 };
    tlpi_shards *shards = NULL;
    tlpi_act *act = NULL;
    tlp_status st = TLP_OK;

    if (!plan || !link || !out)
        return tlpi_fail(TLP_EINVAL, "plan, link and out are required");
    if (n_rank < 1 || n_rank > TLPI_MAX_RANK)
        return tlpi_fail(TLP_EINVAL, "n_rank is %d, 1 to %d expected", n_rank,
                         TLPI_MAX_RANK);
    if (n_tok < 1 || n_tok > MAX_POS || pos < 0 || pos > MAX_POS)
        return tlpi_fail(TLP_EINVAL,
                         "%lld tokens after %lld: at most %d of either",
                         (long long)n_tok, (long long)pos, MAX_POS);
    TLP_TRY(tlpi_options_read(&l, sizeof l, link, "tlp_link"));
    TLP_TRY(check_link(&l, plan, n_rank));
    TLP_TRY(tlpi_shards_create(&shards, plan, n_rank));
    act = tlpi_alloc_array(&plan->model->env, (size_t)tlpi_schedule_max(plan),
                           sizeof *act);
    if (!act)
        TLP_TRY(tlpi_fail_nomem());
    run w = { .plan = plan, .shards = shards, .link = &l, .act = act };
    tlp_prediction p = predict(&w, n_tok, pos);
    TLP_TRY(tlpi_struct_write(out, &p, sizeof p, "tlp_prediction"));
done:
    tlpi_free(&plan->model->env, act);
    tlpi_shards_free(shards);
    return st;
}
