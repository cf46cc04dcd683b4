/*
 * comm_record.c - the communicator that records; see comm_record.h.
 */
#include "comm/comm_record.h"

typedef struct record {
    tlpi_comm base;
    int first; /* rank 0 of this communicator, counted in the root */
    bool split;
    tlpi_comm_event_fn see;
    void *arg;
} record;

static tlp_status show(tlpi_comm *c, tlpi_comm_kind kind, size_t n)
{
    const record *r = (const record *)c;
    tlpi_comm_event e = { kind, r->first, c->size, r->split, n };

    return r->see ? r->see(r->arg, &e) : TLP_OK;
}

static tlp_status record_allreduce(tlpi_comm *c, float *x, size_t n,
                                   uint32_t *vote)
{
    (void)x;
    (void)vote;
    if (c->size > 1) {
        c->stats.allreduces++;
        c->stats.bytes += n * sizeof(*x);
    }
    return show(c, TLPI_COMM_SUM, n);
}

static tlp_status record_send_next(tlpi_comm *c, const float *x, size_t n)
{
    (void)x;
    if (c->rank == c->size - 1)
        return tlpi_fail(TLP_EINVAL, "rank %d is the last: no rank to send to",
                         c->rank);
    c->stats.bytes += n * sizeof(*x);
    return show(c, TLPI_COMM_SEND, n);
}

static tlp_status record_recv_prev(tlpi_comm *c, float *x, size_t n)
{
    (void)x;
    if (c->rank == 0)
        return tlpi_fail(TLP_EINVAL, "rank 0 is the first: no rank sends to "
                                     "it");
    return show(c, TLPI_COMM_RECV, n);
}

static tlp_status no_peers(void)
{
    return tlpi_fail(TLP_ENOTSUP, "a recorded rank has no peers");
}

static tlp_status record_gather(tlpi_comm *c, const void *src,
                                const size_t *bytes, void *dst)
{
    (void)c;
    (void)src;
    (void)bytes;
    (void)dst;
    return no_peers();
}

static tlp_status record_bcast(tlpi_comm *c, void *buf, size_t bytes, bool idle)
{
    (void)c;
    (void)buf;
    (void)bytes;
    (void)idle;
    return no_peers();
}

static tlp_status create(tlpi_comm **out, const record *like, int rank,
                         int size);

static tlp_status record_split(tlpi_comm *c, int first, int count,
                               tlpi_comm **out)
{
    record sub = *(const record *)c;

    *out = NULL;
    if (first < 0 || count < 1 || first + count > c->size)
        return tlpi_fail(TLP_EINVAL, "ranks %d..%d: outside a group of %d",
                         first, first + count - 1, c->size);
    if (c->rank < first || c->rank >= first + count)
        return TLP_OK;
    sub.first += first;
    sub.split = true;
    return create(out, &sub, c->rank - first, count);
}

static void record_abort(tlpi_comm *c)
{
    (void)c;
}

static void record_free(tlpi_comm *c)
{
    tlpi_free(c->env, c);
}

static tlp_status create(tlpi_comm **out, const record *like, int rank,
                         int size)
{
    static const tlpi_comm_ops ops = {
        .allreduce = record_allreduce,
        .send_next = record_send_next,
        .recv_prev = record_recv_prev,
        .gather = record_gather,
        .bcast = record_bcast,
        .split = record_split,
        .abort = record_abort,
        .free = record_free,
    };
    const tlpi_env *env = like->base.env;
    record *r = tlpi_alloc(env, sizeof(*r));

    *out = NULL;
    if (!r)
        return tlpi_fail_nomem_for("a communicator");
    *r = *like;
    r->base =
        (tlpi_comm){ .ops = &ops, .env = env, .rank = rank, .size = size };
    *out = &r->base;
    return TLP_OK;
}

tlp_status tlpi_comm_record_create(tlpi_comm **out, const tlpi_env *env,
                                   int rank, int size, tlpi_comm_event_fn see,
                                   void *arg)
{
    record like = { .base.env = env, .see = see, .arg = arg };

    return create(out, &like, rank, size);
}
