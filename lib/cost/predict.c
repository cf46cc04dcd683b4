/*
 * predict.c - what a plan will cost: the clocks of all ranks, run through the
 * acts of a dry run with the times of a measured link.
 *
 * Each rank has a clock, because a sum over the acts would be wrong: ranks need
 * not be level.  Over a link of latency L the other ranks start L after rank 0,
 * so that every second all-reduce finds rank 0's wait already over.
 */
#include "cost/dry_run.h"
#include "tlp_tune.h"

#include <math.h>
#include <string.h>

#define MAX_POS (1 << 20) /* as sessions have */

/* Kinds of exchange that take time in this run; other kinds take none. */
enum { COMMANDS = 1, SENDS = 2, SUMS = 4 };

/* How far a rank is in its step. */
typedef struct place {
    double clock;
    int next;      /* index of the next act */
    bool has_sent; /* a message that the next rank has not received */
    double sent;   /* the time of that message */
} place;

typedef struct run {
    const tlpi_dry_run *dry;
    const tlp_link *link;
    int with;      /* COMMANDS | ... */
    int64_t n_tok; /* of the step */
    int64_t pos;   /* before it */
    place *at;     /* [n_rank] */
} run;

/* ==== the link =========================================================== */

/* Seconds for n floats: straight lines between the sizes of the table, the
 * first value before the first size, the last line behind the last size. */
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

/* The table was measured between link->n_rank ranks.  Between `count` ranks the
 * latency does not change, and the rest is in proportion to the number of peers
 * of a rank. */
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

/* Seconds of a rank's half of a stage.  A step of several tokens takes at least
 * the time in which one token would read the weights that they read. */
static double work(const run *w, const tlpi_act *a)
{
    const tlp_link_rates *one = &w->link->decode, *many = &w->link->prefill;
    double n = (double)w->n_tok, pos = (double)w->pos, n_head = a->n_head;
    double first = one->half + tlpi_act_bytes(a, n) * one->byte +
                   n_head * (pos + 1) * one->attend;
    double seen = n * pos + n * (n + 1) / 2; /* positions, over all tokens */

    if (w->n_tok == 1)
        return first;
    return fmax(first, n * (many->half + a->bytes * many->byte) +
                           n_head * seen * many->attend);
}

/* A rank has the sum when the last vector of its peers has come, and its own
 * call is done. */
static void do_sum(run *w, const tlpi_comm_event *e)
{
    const tlp_link *l = w->link;
    int64_t n = w->n_tok * (int64_t)e->n;
    double flight = 0, own = 0;
    double first = -INFINITY, second = -INFINITY; /* the latest two */
    int latest = -1;

    if (w->with & SUMS) {
        double stall = w->n_tok == 1 ? l->decode.stall
                                     : (double)w->n_tok * l->prefill.stall;
        flight = exchange(l, l->allreduce, e->count, n) + stall;
        own = exchange(l, l->late, e->count, n) + stall;
    }
    for (int r = e->first; r < e->first + e->count; r++) {
        double clock = w->at[r].clock;
        if (clock > first) {
            second = first;
            first = clock;
            latest = r;
        } else {
            second = fmax(second, clock);
        }
    }
    for (int r = e->first; r < e->first + e->count; r++) {
        double others = r == latest ? second : first;
        w->at[r].clock = fmax(w->at[r].clock + own, others + flight);
        w->at[r].next++;
    }
}

/* The act that a rank stands before, or NULL at the end of its step. */
static const tlpi_act *next_act(const run *w, int rank)
{
    const tlpi_trace *t = &w->dry->rank[rank];

    return w->at[rank].next < t->n_act ? &t->act[w->at[rank].next] : NULL;
}

/* Do all ranks of a sum stand before it? */
static bool all_are_there(const run *w, const tlpi_comm_event *e)
{
    for (int r = e->first; r < e->first + e->count; r++) {
        const tlpi_act *a = next_act(w, r);

        if (!a || !tlpi_act_is_exchange(a) ||
            a->exchange.kind != TLPI_COMM_SUM ||
            a->exchange.first != e->first || a->exchange.count != e->count)
            return false;
    }
    return true;
}

static bool do_recv(run *w, int rank, int64_t n)
{
    place *mine = &w->at[rank], *from = &w->at[rank - 1];
    double flight = w->with & SENDS ? look_up(w->link, w->link->send, n) : 0;

    if (!from->has_sent)
        return false;
    mine->clock = fmax(mine->clock, from->sent + flight);
    mine->next++;
    from->has_sent = false;
    return true;
}

/* False: the rank waits for another one. */
static bool do_exchange(run *w, int rank, const tlpi_comm_event *e)
{
    place *mine = &w->at[rank];

    switch (e->kind) {
    case TLPI_COMM_SUM: /* the last rank looks whether all have come */
        if (rank != e->first + e->count - 1 || !all_are_there(w, e))
            return false;
        do_sum(w, e);
        return true;
    case TLPI_COMM_SEND:
        if (mine->has_sent)
            return false;
        mine->sent = mine->clock;
        mine->has_sent = true;
        mine->next++;
        return true;
    case TLPI_COMM_RECV:
        return do_recv(w, rank, w->n_tok * (int64_t)e->n);
    }
    return false;
}

/* Move a rank up to an exchange in which it waits.  False if it cannot move. */
static bool advance(run *w, int rank)
{
    bool moved = false;

    for (const tlpi_act *a; (a = next_act(w, rank)); moved = true) {
        if (tlpi_act_is_exchange(a)) {
            if (!do_exchange(w, rank, &a->exchange))
                break;
            continue;
        }
        if (a->kind != TLPI_ACT_EXCHANGE)
            w->at[rank].clock += work(w, a);
        w->at[rank].next++;
    }
    return moved;
}

/* Run all ranks through a step. */
static tlp_status do_step(run *w)
{
    int n_rank = w->dry->n_rank;
    bool moved = true;

    for (int r = 0; r < n_rank; r++)
        w->at[r].next = 0;
    while (moved) {
        moved = false;
        for (int r = 0; r < n_rank; r++)
            moved |= advance(w, r);
    }
    for (int r = 0; r < n_rank; r++)
        if (next_act(w, r))
            return tlpi_fail(TLP_ERROR, "dry run: rank %d waits without an end",
                             r);
    return TLP_OK;
}

/* ==== a call ============================================================= */

/* Seconds until rank 0 has the last token's candidates. */
static tlp_status run_call(run *w, int64_t n_tok, int64_t pos, int with,
                           double *seconds)
{
    int n_rank = w->dry->n_rank;
    double way = with & COMMANDS && n_rank > 1 ? w->link->command : 0;
    tlp_status st = TLP_OK;

    w->with = with;
    *seconds = 0;
    for (int r = 0; r < n_rank; r++)
        w->at[r] = (place){ 0 };
    for (int64_t at = 0; at < n_tok; at += w->n_tok) {
        w->n_tok = TLPI_MIN(n_tok - at, w->link->n_batch);
        w->pos = pos + at;
        for (int r = 1; r < n_rank; r++)
            w->at[r].clock = fmax(w->at[r].clock, w->at[0].clock + way);
        TLP_TRY(do_step(w));
    }
    for (int r = 0; r < n_rank; r++) {
        double bytes = w->dry->rank[r].head_bytes;
        double end = w->at[r].clock + bytes * w->link->head_byte;

        *seconds = fmax(*seconds, r > 0 ? end + way : end);
    }
done:
    return st;
}

static tlp_status predict(run *w, int64_t n_tok, int64_t pos,
                          tlp_prediction *out)
{
    double work = 0, told = 0, sent = 0, all = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(run_call(w, n_tok, pos, 0, &work));
    TLP_TRY(run_call(w, n_tok, pos, COMMANDS, &told));
    TLP_TRY(run_call(w, n_tok, pos, COMMANDS | SENDS, &sent));
    TLP_TRY(run_call(w, n_tok, pos, COMMANDS | SENDS | SUMS, &all));
    *out = (tlp_prediction){ .seconds = all,
                             .compute_seconds = work,
                             .command_seconds = told - work,
                             .send_seconds = sent - told,
                             .allreduce_seconds = all - sent };
done:
    return st;
}

tlp_status tlpi_dry_run_exchanges(const tlpi_dry_run *dry, int *out)
{
    static const tlp_link unit = { .n_rank = 2,
                                   .n_batch = 1,
                                   .n_size = 2,
                                   .size = { 1, 2 },
                                   .allreduce = { 1, 1 },
                                   .late = { 1, 1 },
                                   .send = { 1, 1 } };
    size_t n_rank = (size_t)dry->n_rank;
    run w = { .dry = dry, .link = &unit };
    double n = 0;
    tlp_status st = TLP_OK;

    *out = 0;
    w.at = tlpi_alloc_array(dry->env, n_rank, sizeof(*w.at));
    if (!w.at)
        return tlpi_fail_nomem_for("the clocks of ranks");
    TLP_TRY(run_call(&w, 1, 0, SENDS | SUMS, &n));
    *out = (int)n;
done:
    tlpi_free(dry->env, w.at);
    return st;
}

tlp_status tlp_plan_predict(tlp_prediction *out, const tlp_plan *plan,
                            const tlp_link *link, int n_rank, int64_t n_tok,
                            int64_t pos)
{
    place at[TLPI_MAX_RANK];
    tlp_link l = { 0 };
    tlp_prediction p = { 0 };
    tlpi_dry_run dry = { 0 };
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
    TLP_TRY(tlpi_struct_check(out, sizeof p, "tlp_prediction"));
    TLP_TRY(check_link(&l, plan, n_rank));
    TLP_TRY(tlpi_dry_run_create(&dry, plan, n_rank));
    run w = { .dry = &dry, .link = &l, .at = at };
    TLP_TRY(predict(&w, n_tok, pos, &p));
    TLP_TRY(tlpi_struct_write(out, &p, sizeof p, "tlp_prediction"));
done:
    tlpi_dry_run_free(&dry);
    return st;
}
