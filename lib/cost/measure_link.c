/*
 * measure_link.c - seconds of all-reduces and sends by size, and of a command.
 *
 * Calls follow each other without a pause and are timed in blocks.  Over a link
 * every second all-reduce finds its message already there, so a block has an
 * even number of calls.  The result is the median over the blocks.
 */
#include "cost/measure.h"

#include <math.h>

enum { BLOCK = 4, MAX_BLOCKS = 64 };

/* Seconds spent on each kind of call with a size; decoding's size gets more. */
#define BUDGET 0.03
#define BUDGET_DECODE 0.1

typedef tlp_status (*call_fn)(const tlpi_measure *m, size_t n);

/* x holds zeroes, which stay zeroes. */
static tlp_status sum(const tlpi_measure *m, size_t n)
{
    tlpi_rank *r = m->rank;
    uint32_t vote = 0;

    return r->exchange.data->ops->allreduce(r->exchange.data, r->scratch.x, n,
                                            &vote);
}

/* A message from rank 0 to rank 1.  The sum of one float makes rank 0 wait for
 * rank 1. */
static tlp_status send(const tlpi_measure *m, size_t n)
{
    tlpi_rank *r = m->rank;
    tlp_status st = TLP_OK;

    if (r->rank == 0)
        TLP_TRY(tlpi_exchange_send_next(&r->exchange, r->scratch.x, n));
    if (r->rank == 1)
        TLP_TRY(tlpi_exchange_recv_prev(&r->exchange, r->scratch.x, n));
    st = sum(m, 1);
done:
    return st;
}

/* A command, and the answers of all ranks. */
static tlp_status command(const tlpi_measure *m, size_t n)
{
    tlpi_rank *r = m->rank;
    size_t *bytes = r->scratch.gather_bytes;
    tlpi_candidate mine = { 0 }, all[TLPI_MAX_RANK];
    tlp_status st = TLP_OK;

    (void)n;
    for (int i = 0; i < r->cfg->n_rank; i++)
        bytes[i] = sizeof mine;
    TLP_TRY(r->comm->ops->bcast(r->comm, m->command, m->command_bytes, true));
    st = r->comm->ops->gather(r->comm, &mine, bytes, r->rank == 0 ? all : NULL);
done:
    return st;
}

/* A block of calls; seconds of one. */
static tlp_status run_block(const tlpi_measure *m, call_fn call, size_t n,
                            double *seconds)
{
    double start = tlpi_now();
    tlp_status st = TLP_OK;

    for (int i = 0; i < BLOCK && st == TLP_OK; i++)
        st = call(m, n);
    *seconds = (tlpi_now() - start) / BLOCK;
    return st;
}

static tlp_status time_calls(const tlpi_measure *m, call_fn call, size_t n,
                             double budget, double *median)
{
    double seconds[MAX_BLOCKS];
    int n_block = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_measure_meet(m->rank, TLP_OK));
    TLP_TRY(run_block(m, call, n, &seconds[0]));
    TLP_TRY(tlpi_measure_repeats(m->rank, budget, seconds[0] * BLOCK, 2,
                                 MAX_BLOCKS, &n_block));
    for (int i = 0; i < n_block; i++)
        TLP_TRY(run_block(m, call, n, &seconds[i]));
    *median = tlpi_median(seconds, n_block);
done:
    return st;
}

/* All-reduces to which rank 0 comes last, when its peers' vectors are there. */
static tlp_status time_late(const tlpi_measure *m, size_t n, double budget,
                            double flight, double *median)
{
    double seconds[MAX_BLOCKS], pause = 3 * flight;
    int times = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(
        tlpi_measure_repeats(m->rank, budget, pause, 4, MAX_BLOCKS, &times));
    for (int i = 0; i < times; i++) {
        double now = tlpi_now(), end = now + pause;

        /* A rank that computes does not look at its messages either. */
        while (m->rank->rank == 0 && now < end)
            now = tlpi_now();
        TLP_TRY(sum(m, n));
        seconds[i] = tlpi_now() - now;
    }
    *median = fmin(tlpi_median(seconds, times), flight);
done:
    return st;
}

static tlp_status time_size(const tlpi_measure *m, int64_t n)
{
    tlp_link *link = m->link;
    int i = link->n_size++;
    double budget = n <= m->rank->model->hp.n_embd ? BUDGET_DECODE : BUDGET;
    tlp_status st = TLP_OK;

    link->size[i] = n;
    TLP_TRY(time_calls(m, sum, (size_t)n, budget, &link->allreduce[i]));
    TLP_TRY(
        time_late(m, (size_t)n, budget, link->allreduce[i], &link->late[i]));
    TLP_TRY(time_calls(m, send, (size_t)n, budget, &link->send[i]));
done:
    return st;
}

tlp_status tlpi_measure_token(const tlpi_measure *m)
{
    size_t n = (size_t)m->rank->model->hp.n_embd;

    if (m->rank->comm->size == 1)
        return TLP_OK;
    m->rank->b->ops->zero(m->rank->b, m->rank->scratch.x, n);
    return time_calls(m, sum, n, BUDGET_DECODE, &m->link->allreduce[0]);
}

/* A longer message cannot take less time: where it does, something disturbed
 * the shorter message. */
static void smooth(double *table, int n)
{
    for (int i = n - 1; i > 0; i--)
        table[i - 1] = fmin(table[i - 1], table[i]);
}

tlp_status tlpi_measure_link(const tlpi_measure *m)
{
    tlpi_rank *r = m->rank;
    tlp_link *link = m->link;
    int64_t d = r->model->hp.n_embd, longest = d * r->cfg->n_batch;
    double both = 0;
    tlp_status st = TLP_OK;

    if (r->comm->size == 1)
        return TLP_OK;
    r->b->ops->zero(r->b, r->scratch.x, (size_t)longest);
    TLP_TRY(time_size(m, 1));
    for (int64_t n = d; n < longest; n *= 2)
        TLP_TRY(time_size(m, n));
    TLP_TRY(time_size(m, longest));
    smooth(link->allreduce, link->n_size);
    smooth(link->late, link->n_size);
    smooth(link->send, link->n_size);
    for (int i = 0; i < link->n_size; i++) /* without the sum behind it */
        link->send[i] = fmax(0, link->send[i] - link->allreduce[0]);
    TLP_TRY(time_calls(m, command, 0, BUDGET_DECODE, &both));
    link->command = both / 2;
done:
    return st;
}
