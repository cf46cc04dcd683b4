/*
 * measure_work.c - seconds of a rank's work, and of a step beyond its work.
 *
 * Ordinary steps run with communicators that read the clock: between the end of
 * an exchange and the beginning of the next one a rank works.  A dry run tells
 * which work this is.  Work that is timed like this has the caches, interrupts
 * and neighbours of later steps; it would be faster without communication.  The
 * steps write into the cache beyond the end of sequence 0, which is empty.
 */
#include "cost/measure.h"

#include <math.h>

#include "cost/dry_run.h"
#include "rank/forward.h"

enum { MAX_REPEAT = 32 };

#define BUDGET 1.0 /* seconds for a kind of step */

/* ==== communicators that look at the clock =============================== */

/* The work of a rank in one pass. */
typedef struct diary {
    double since;  /* the beginning of the present work */
    double *spent; /* [cap] seconds of work before each exchange */
    int n, cap;
} diary;

typedef struct watch {
    tlpi_comm base;
    tlpi_comm *real;
    tlpi_comm_stats before; /* real's */
    diary *diary;
} watch;

static tlpi_comm *stop_work(tlpi_comm *c)
{
    const watch *w = (const watch *)c;
    diary *d = w->diary;

    if (d->n < d->cap)
        d->spent[d->n++] = tlpi_now() - d->since;
    return w->real;
}

static tlp_status go_on(tlpi_comm *c, tlp_status st)
{
    ((const watch *)c)->diary->since = tlpi_now();
    return st;
}

static tlp_status watch_allreduce(tlpi_comm *c, float *x, size_t n,
                                  uint32_t *vote)
{
    tlpi_comm *real = stop_work(c);

    return go_on(c, real->ops->allreduce(real, x, n, vote));
}

static tlp_status watch_send(tlpi_comm *c, const float *x, size_t n)
{
    tlpi_comm *real = stop_work(c);

    return go_on(c, real->ops->send_next(real, x, n));
}

static tlp_status watch_recv(tlpi_comm *c, float *x, size_t n)
{
    tlpi_comm *real = stop_work(c);

    return go_on(c, real->ops->recv_prev(real, x, n));
}

/* The operations that a forward pass calls. */
static const tlpi_comm_ops watch_ops = { .allreduce = watch_allreduce,
                                         .send_next = watch_send,
                                         .recv_prev = watch_recv };

static watch watch_of(tlpi_comm *real, diary *d)
{
    return (watch){ .base = { .ops = &watch_ops,
                              .env = real->env,
                              .rank = real->rank,
                              .size = real->size },
                    .real = real,
                    .before = real->stats,
                    .diary = d };
}

/* ==== the pieces of a pass =============================================== */

/* A rank's work before one of its exchanges. */
typedef struct piece {
    int stage;
    int n_half; /* 0 between exchanges that follow each other */
    double bytes;
    int n_head;
} piece;

/* List the pieces of a rank's trace, at most n_act pieces. */
static int list_pieces(const tlpi_trace *t, piece *out)
{
    piece next = { 0 };
    int n = 0;

    for (int i = 0; i < t->n_act; i++) {
        const tlpi_act *a = &t->act[i];

        next.stage = a->stage;
        if (a->kind == TLPI_ACT_EXCHANGE) {
            out[n++] = next;
            next = (piece){ 0 };
        } else {
            next.n_half++;
            next.bytes += a->bytes;
            next.n_head += a->n_head;
        }
    }
    return n;
}

/* ==== running ============================================================ */

typedef struct timing {
    const tlpi_measure *m;
    tlpi_rank *r;
    tlpi_trace trace; /* of r in a step of one token */
    piece *piece;     /* [n_piece] */
    int n_piece;
    diary diary;
    watch whole;
    watch *span;            /* [n_span] for the communicators of spans */
    tlpi_span_comm *spans;  /* [n_span] what the exchange gets meanwhile */
    double *seconds;        /* [n_piece][MAX_REPEAT] */
    double *stage;          /* [n_stage] of one decoded token */
    double *all;            /* rank 0: [n_rank][n_stage] */
    double head;            /* seconds of the last kind of step */
    double step;            /* and of it all, from command to candidates */
    double prefill, decode; /* of the longest step, of the last position */
} timing;

/* What goes to rank 0. */
typedef struct result {
    tlpi_fit decode, prefill;
    double head_seconds, head_bytes;
} result;

static tlp_status forward(timing *b, const tlpi_step *step, int repeat)
{
    tlpi_rank *r = b->r;
    tlpi_exchange *x = &r->exchange;
    tlpi_comm *data = x->data;
    tlpi_span_comm *spans = x->span;

    b->diary.n = 0;
    b->diary.since = tlpi_now();
    x->data = &b->whole.base;
    x->span = b->spans;
    tlp_status st = tlpi_forward(r, r->program, step);
    x->data = data;
    x->span = spans;
    if (st == TLP_OK && b->diary.n != b->n_piece)
        st = tlpi_fail(TLP_ERROR, "%d exchanges in a pass, %d expected",
                       b->diary.n, b->n_piece);
    for (int i = 0; i < b->diary.n; i++)
        b->seconds[i * MAX_REPEAT + repeat] = b->diary.spent[i];
    return st;
}

static tlp_status gather(tlpi_rank *r, const void *src, size_t bytes, void *dst)
{
    for (int i = 0; i < r->cfg->n_rank; i++)
        r->scratch.gather_bytes[i] = bytes;
    return r->comm->ops->gather(r->comm, src, r->scratch.gather_bytes, dst);
}

/* All that happens between a command and the best candidates of all ranks. */
static tlp_status run_step(timing *b, const tlpi_step *step, int repeat,
                           double *head)
{
    tlpi_rank *r = b->r;
    tlpi_candidate best, all[TLPI_MAX_RANK];
    tlp_status st = TLP_OK;

    TLP_TRY(
        r->comm->ops->bcast(r->comm, b->m->command, b->m->command_bytes, true));
    TLP_TRY(forward(b, step, repeat));
    double start = tlpi_now();
    TLP_TRY(tlpi_measure_head(r, step->n_tok, &best));
    *head = tlpi_now() - start;
    st = gather(r, &best, sizeof best, r->rank == 0 ? all : NULL);
done:
    return st;
}

/* Medians of every piece of a step of n_tok tokens from position pos on come
 * to stand in seconds[piece * MAX_REPEAT]. */
static tlp_status time_step(timing *b, int n_tok, int pos)
{
    tlpi_rank *r = b->r;
    tlpi_step step = tlpi_measure_fill(r, n_tok, pos);
    double head[MAX_REPEAT], whole[MAX_REPEAT];
    int n_repeat = 1;
    tlp_status st = TLP_OK;

    for (int i = 0; i < n_repeat; i++) {
        TLP_TRY(tlpi_measure_meet(r, TLP_OK));
        double start = tlpi_now();
        TLP_TRY(run_step(b, &step, i, &head[i]));
        whole[i] = tlpi_now() - start;
        if (i == 0)
            TLP_TRY(tlpi_measure_repeats(r, BUDGET, whole[0], 2, MAX_REPEAT,
                                         &n_repeat));
    }
    for (int i = 0; i < b->n_piece; i++)
        b->seconds[i * MAX_REPEAT] =
            tlpi_median(&b->seconds[i * MAX_REPEAT], n_repeat);
    b->head = tlpi_median(head, n_repeat);
    b->step = tlpi_median(whole, n_repeat);
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
        b->prefill = b->step;
        TLP_TRY(time_step(b, n_tok / 2, 0));
        add_samples(b, n_tok / 2, 0, &out->prefill);
    }
    TLP_TRY(time_step(b, 1, n_tok - 1));
    add_samples(b, 1, n_tok - 1, &out->decode);
    b->decode = b->step;
    TLP_TRY(time_step(b, 1, 0));
    add_samples(b, 1, 0, &out->decode);
    for (int i = 0; i < b->n_piece; i++)
        b->stage[b->piece[i].stage] += b->seconds[i * MAX_REPEAT];
    out->head_seconds = b->head;
    out->head_bytes = b->trace.head_bytes;
done:
    return st;
}

/* ==== together =========================================================== */

static void set_rates(tlp_link_rates *out, const tlpi_fit *fit)
{
    double rate[TLPI_N_RATE];

    tlpi_fit_solve(fit, rate);
    *out =
        (tlp_link_rates){ .half = rate[0], .byte = rate[1], .attend = rate[2] };
}

/* Seconds per token and all-reduce that the model lacks. */
static tlp_status find_stall(const tlpi_rank *r, const tlp_link *link,
                             int n_tok, int pos, double seconds, double *stall)
{
    int n_rank = r->cfg->n_rank;
    tlp_plan_cost cost = { .struct_size = sizeof cost };
    tlp_prediction p = { .struct_size = sizeof p };
    tlp_status st = TLP_OK;

    TLP_TRY(tlp_plan_get_cost(&cost, r->program->plan, n_rank));
    TLP_TRY(tlp_plan_predict(&p, r->program->plan, link, n_rank, n_tok, pos));
    int n = cost.allreduces + cost.inner_allreduces;
    *stall = fmax(0, seconds - p.seconds) / n_tok / n;
done:
    return st;
}

static tlp_status find_stalls(const timing *b, tlp_link *link)
{
    int n_tok = tlpi_measure_tokens(b->r);
    double one = 0, many = 0;
    tlp_status st = TLP_OK;

    if (b->r->cfg->n_rank == 1)
        return TLP_OK;
    TLP_TRY(find_stall(b->r, link, 1, n_tok - 1, b->decode, &one));
    if (n_tok > 1)
        TLP_TRY(find_stall(b->r, link, n_tok, 0, b->prefill, &many));
    link->decode.stall = one;
    link->prefill.stall = n_tok > 1 ? many : one;
done:
    return st;
}

/* All ranks' samples in one fit: ranks are taken to be equally fast. */
static void conclude(const timing *b, const result *each)
{
    tlp_link *link = b->m->link;
    double *stage = b->m->stage;
    result sum = { 0 };
    int n_stage = b->r->program->plan->n_stage;

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
    size_t n_rank = (size_t)r->cfg->n_rank,
           n_stage = (size_t)r->program->plan->n_stage;
    size_t n_span = (size_t)r->exchange.n_span;
    tlp_status st = tlpi_trace_create(&b->trace, r->program->plan,
                                      r->program->shards, r->rank);

    if (st != TLP_OK)
        return st;
    b->piece = tlpi_alloc_array(env, (size_t)b->trace.n_act, sizeof *b->piece);
    b->span = tlpi_calloc(env, n_span, sizeof *b->span);
    b->spans = tlpi_calloc(env, n_span, sizeof *b->spans);
    b->stage = tlpi_calloc(env, n_stage, sizeof *b->stage);
    b->all = tlpi_calloc(env, n_rank * n_stage, sizeof *b->all);
    if (!b->piece || !b->span || !b->spans || !b->stage || !b->all)
        return tlpi_fail_nomem_for("measurements");
    b->n_piece = list_pieces(&b->trace, b->piece);
    size_t n = (size_t)b->n_piece;
    b->seconds = tlpi_alloc_array(env, n, MAX_REPEAT * sizeof *b->seconds);
    b->diary.spent = tlpi_alloc_array(env, n, sizeof *b->diary.spent);
    if (!b->seconds || !b->diary.spent)
        return tlpi_fail_nomem_for("measurements");
    b->diary.cap = b->n_piece;
    b->whole = watch_of(r->exchange.data, &b->diary);
    for (size_t i = 0; i < n_span; i++) {
        b->spans[i] = r->exchange.span[i];
        if (!b->spans[i].comm)
            continue;
        b->span[i] = watch_of(b->spans[i].comm, &b->diary);
        b->spans[i].comm = &b->span[i].base;
    }
    return TLP_OK;
}

static void clean_up(timing *b)
{
    const tlpi_env *env = b->r->env;

    for (int i = 0; b->spans && i < b->r->exchange.n_span; i++)
        if (b->spans[i].comm)
            b->span[i].real->stats = b->span[i].before;
    tlpi_free(env, b->diary.spent);
    tlpi_free(env, b->seconds);
    tlpi_free(env, b->all);
    tlpi_free(env, b->stage);
    tlpi_free(env, b->spans);
    tlpi_free(env, b->span);
    tlpi_free(env, b->piece);
    tlpi_trace_free(&b->trace);
}

tlp_status tlpi_measure_work(const tlpi_measure *m)
{
    tlpi_rank *r = m->rank;
    timing b = { .m = m, .r = r };
    result mine = { 0 };
    result *each = tlpi_calloc(r->env, (size_t)r->cfg->n_rank, sizeof *each);
    size_t stage_bytes = (size_t)r->program->plan->n_stage * sizeof *b.stage;
    tlp_status st = prepare(&b);

    if (!each)
        st = tlpi_fail_nomem_for("measurements");
    TLP_TRY(tlpi_measure_meet(r, st));
    TLP_TRY(run_steps(&b, &mine));
    TLP_TRY(gather(r, &mine, sizeof mine, r->rank == 0 ? each : NULL));
    TLP_TRY(gather(r, b.stage, stage_bytes, r->rank == 0 ? b.all : NULL));
    if (r->rank == 0) {
        conclude(&b, each);
        st = find_stalls(&b, m->link);
    }
done:
    clean_up(&b);
    tlpi_free(r->env, each);
    return st;
}
