/*
 * measure_work.c - what a rank's work takes when nobody waits.
 *
 * The forward pass runs with communicators that do nothing but look at the
 * clock, on all ranks at once, so that they share caches and memory as they do
 * later.  An exchange ends what came before it: attention, feed-forward, or a
 * stage.  The residual stream is nonsense meanwhile, and so is what the cache
 * gets, beyond the end of an empty sequence; times do not depend on values.
 */
#include "session/measure.h"

#include "plan/schedule.h"

enum { MAX_REPEAT = 32 };

#define BUDGET 0.5 /* seconds for a kind of step */

/* ==== a communicator that looks at the clock ============================= */

typedef struct watch {
    tlpi_comm base;
    double *at; /* [cap] when each exchange was called */
    int n, cap;
} watch;

static tlp_status look(tlpi_comm *c)
{
    watch *w = (watch *)c;

    if (w->n < w->cap)
        w->at[w->n++] = tlpi_now();
    return TLP_OK;
}

static tlp_status look_allreduce(tlpi_comm *c, float *x, size_t n,
                                 uint32_t *vote)
{
    (void)x;
    (void)n;
    (void)vote;
    return look(c);
}

static tlp_status look_send(tlpi_comm *c, const float *x, size_t n)
{
    (void)x;
    (void)n;
    return look(c);
}

static tlp_status look_recv(tlpi_comm *c, float *x, size_t n)
{
    (void)x;
    (void)n;
    return look(c);
}

/* All that a forward pass calls. */
static const tlpi_comm_ops watch_ops = { .allreduce = look_allreduce,
                                         .send_next = look_send,
                                         .recv_prev = look_recv };

/* ==== the pieces of a pass =============================================== */

/* What a rank does up to an exchange of its own. */
typedef struct piece {
    int stage;
    int n_half; /* 0 between exchanges that follow each other */
    double bytes;
    int n_head;
} piece;

/* Exchanges in which the rank takes part. */
static int n_call(const tlpi_act *a, int rank)
{
    int first = a->span.first, last = first + a->span.count - 1;

    switch (a->kind) {
    case TLPI_ACT_SUM:
        return 1;
    case TLPI_ACT_INNER:
        return rank >= first && rank <= last;
    case TLPI_ACT_PASS:
        return (rank > first && rank <= last) + (rank >= first && rank < last);
    default:
        return 0;
    }
}

/* Adds a stage's pieces to the n that are there; their number then. */
static int list_stage(const tlpi_rank *r, int stage, tlpi_act *act, piece *out,
                      int n)
{
    tlpi_work work = tlpi_schedule_work(r->plan, r->shards, stage, r->rank);
    int n_act = tlpi_schedule_stage(r->plan, r->shards, stage, act);
    piece next = { .stage = stage };

    for (int i = 0; i < n_act; i++) {
        if (act[i].kind == TLPI_ACT_ATTN) {
            next.n_half++;
            next.bytes += work.attn_bytes;
            next.n_head += work.n_head;
        } else if (act[i].kind == TLPI_ACT_FFN) {
            next.n_half++;
            next.bytes += work.ffn_bytes;
        }
        for (int c = n_call(&act[i], r->rank); c > 0; c--) {
            out[n++] = next;
            next = (piece){ .stage = stage };
        }
    }
    return n;
}

/* ==== running ============================================================ */

typedef struct timing {
    tlpi_rank *r;
    piece *piece; /* [n_piece] */
    int n_piece;
    watch watch;
    tlpi_comm **spans; /* [n_rank * (n_rank+1)], all the watch */
    double *seconds;   /* [n_piece][MAX_REPEAT] */
    double *stage;     /* [n_stage] of one decoded token */
    double *all;       /* rank 0: [n_rank][n_stage] */
    tlpi_act *act;
    double head; /* seconds */
} timing;

/* What goes to rank 0. */
typedef struct result {
    tlpi_fit decode, prefill;
    double head_seconds, head_bytes;
} result;

static tlp_status forward(timing *b, const tlpi_step *step, int repeat)
{
    tlpi_rank *r = b->r;
    tlpi_comm *comm = r->comm, **spans = r->span_comm;
    const _Atomic int *abort = r->abort;

    b->watch.n = 0;
    r->comm = &b->watch.base;
    r->span_comm = b->spans;
    r->abort = NULL; /* looked at where all ranks can agree */
    double before = tlpi_now();
    tlp_status st = tlpi_forward(r, step);
    r->comm = comm;
    r->span_comm = spans;
    r->abort = abort;
    if (st == TLP_OK && b->watch.n != b->n_piece)
        st = tlpi_fail(TLP_ERROR, "%d exchanges in a pass, %d expected",
                       b->watch.n, b->n_piece);
    for (int i = 0; i < b->watch.n; i++) {
        b->seconds[i * MAX_REPEAT + repeat] = b->watch.at[i] - before;
        before = b->watch.at[i];
    }
    return st;
}

/* Medians of every piece of a step of n_tok tokens from position pos on come
 * to stand in seconds[piece * MAX_REPEAT]. */
static tlp_status time_step(timing *b, int n_tok, int pos)
{
    tlpi_rank *r = b->r;
    tlpi_step step = tlpi_measure_fill(r, n_tok, pos);
    double head[MAX_REPEAT];
    int n_repeat = 1;
    tlp_status st = TLP_OK;

    for (int i = 0; i < n_repeat; i++) {
        TLP_TRY(tlpi_measure_meet(r, TLP_OK));
        double start = tlpi_now();
        TLP_TRY(forward(b, &step, i));
        double middle = tlpi_now();
        (void)tlpi_measure_head(r, n_tok);
        head[i] = tlpi_now() - middle;
        if (i == 0)
            TLP_TRY(tlpi_measure_repeats(r, BUDGET, tlpi_now() - start, 2,
                                         MAX_REPEAT, &n_repeat));
    }
    for (int i = 0; i < b->n_piece; i++)
        b->seconds[i * MAX_REPEAT] =
            tlpi_median(&b->seconds[i * MAX_REPEAT], n_repeat);
    b->head = tlpi_median(head, n_repeat);
done:
    return st;
}

static void add_samples(const timing *b, int n_tok, int pos, tlpi_fit *fit)
{
    double n = n_tok, seen = n * pos + n * (n + 1) / 2;

    for (int i = 0; i < b->n_piece; i++) {
        const piece *p = &b->piece[i];
        double x[TLPI_N_RATE] = { n * p->n_half, n * p->bytes,
                                  seen * p->n_head };

        if (p->n_half > 0)
            tlpi_fit_add(fit, x, b->seconds[i * MAX_REPEAT]);
    }
}

static tlp_status run_steps(timing *b, result *out)
{
    tlpi_rank *r = b->r;
    int n_tok = tlpi_measure_tokens(r);
    tlp_status st = TLP_OK;

    if (n_tok > 1) {
        TLP_TRY(time_step(b, n_tok, 0));
        add_samples(b, n_tok, 0, &out->prefill);
        TLP_TRY(time_step(b, n_tok / 2, 0));
        add_samples(b, n_tok / 2, 0, &out->prefill);
        TLP_TRY(time_step(b, 1, n_tok - 1));
        add_samples(b, 1, n_tok - 1, &out->decode);
    }
    TLP_TRY(time_step(b, 1, 0));
    add_samples(b, 1, 0, &out->decode);
    for (int i = 0; i < b->n_piece; i++)
        b->stage[b->piece[i].stage] += b->seconds[i * MAX_REPEAT];
    out->head_seconds = b->head;
    out->head_bytes = tlpi_schedule_head(r->plan, r->shards, r->rank);
done:
    return st;
}

/* ==== together =========================================================== */

static tlp_status gather(tlpi_rank *r, const void *src, size_t bytes, void *dst)
{
    for (int i = 0; i < r->cfg->n_rank; i++)
        r->gather_bytes[i] = bytes;
    return r->comm->ops->gather(r->comm, src, r->gather_bytes, dst);
}

static void set_rates(tlp_link_rates *out, const tlpi_fit *fit)
{
    double rate[TLPI_N_RATE];

    tlpi_fit_solve(fit, rate);
    *out =
        (tlp_link_rates){ .half = rate[0], .byte = rate[1], .attend = rate[2] };
}

/* All ranks' samples in one fit: ranks are taken to be equally fast. */
static void conclude(const timing *b, const result *each, tlp_link *link,
                     double *stage)
{
    result sum = { 0 };
    int n_stage = b->r->plan->n_stage;

    for (int r = 0; r < b->r->cfg->n_rank; r++) {
        tlpi_fit_merge(&sum.decode, &each[r].decode);
        tlpi_fit_merge(&sum.prefill, &each[r].prefill);
        sum.head_seconds += each[r].head_seconds;
        sum.head_bytes += each[r].head_bytes;
        for (int i = 0; stage && i < n_stage; i++)
            stage[i] = TLPI_MAX(r > 0 ? stage[i] : 0, b->all[r * n_stage + i]);
    }
    set_rates(&link->decode, &sum.decode);
    set_rates(&link->prefill, &sum.prefill);
    if (tlpi_measure_tokens(b->r) == 1)
        link->prefill = link->decode;
    link->head_byte = sum.head_seconds / sum.head_bytes;
}

static tlp_status prepare(timing *b)
{
    tlpi_rank *r = b->r;
    const tlpi_env *env = r->env;
    size_t n_rank = (size_t)r->cfg->n_rank, n_stage = (size_t)r->plan->n_stage;
    int per_stage = tlpi_schedule_max(r->plan);
    size_t cap = n_stage * (size_t)per_stage;

    b->act = tlpi_alloc_array(env, (size_t)per_stage, sizeof *b->act);
    b->piece = tlpi_alloc_array(env, cap, sizeof *b->piece);
    b->spans = tlpi_alloc_array(env, n_rank * (n_rank + 1), sizeof *b->spans);
    b->stage = tlpi_calloc(env, n_stage, sizeof *b->stage);
    b->all = tlpi_calloc(env, n_rank * n_stage, sizeof *b->all);
    if (!b->act || !b->piece || !b->spans || !b->stage || !b->all)
        return tlpi_fail_nomem();
    for (int i = 0; i < r->plan->n_stage; i++)
        b->n_piece = list_stage(r, i, b->act, b->piece, b->n_piece);
    size_t n = (size_t)b->n_piece;
    b->seconds = tlpi_alloc_array(env, n, MAX_REPEAT * sizeof *b->seconds);
    b->watch.at = tlpi_alloc_array(env, n, sizeof *b->watch.at);
    if (!b->seconds || !b->watch.at)
        return tlpi_fail_nomem();
    b->watch.base = (tlpi_comm){
        .ops = &watch_ops, .env = env, .rank = r->rank, .size = r->comm->size
    };
    b->watch.cap = b->n_piece;
    for (size_t i = 0; i < n_rank * (n_rank + 1); i++)
        b->spans[i] = &b->watch.base;
    return TLP_OK;
}

static void clean_up(timing *b)
{
    const tlpi_env *env = b->r->env;

    tlpi_free(env, b->watch.at);
    tlpi_free(env, b->seconds);
    tlpi_free(env, b->all);
    tlpi_free(env, b->stage);
    tlpi_free(env, b->spans);
    tlpi_free(env, b->piece);
    tlpi_free(env, b->act);
}

tlp_status tlpi_measure_work(tlpi_rank *r, tlp_link *link, double *stage)
{
    timing b = { .r = r };
    result mine = { 0 };
    result *each = tlpi_calloc(r->env, (size_t)r->cfg->n_rank, sizeof *each);
    size_t stage_bytes = (size_t)r->plan->n_stage * sizeof *b.stage;
    tlp_status st = prepare(&b);

    if (!each)
        st = tlpi_fail_nomem();
    TLP_TRY(tlpi_measure_meet(r, st));
    TLP_TRY(run_steps(&b, &mine));
    TLP_TRY(gather(r, &mine, sizeof mine, r->rank == 0 ? each : NULL));
    TLP_TRY(gather(r, b.stage, stage_bytes, r->rank == 0 ? b.all : NULL));
    if (r->rank == 0)
        conclude(&b, each, link, stage);
done:
    clean_up(&b);
    tlpi_free(r->env, each);
    return st;
}
