/*
 * comm_peer.c - the operations between ranks in several processes, and the
 * life of a communicator.
 */
#include "comm/comm_peer.h"

#include <string.h>
#include <unistd.h>

#include "base/pool.h"
#include "comm/peer.h"
#include "comm/wire.h"

/* Votes and agreements travel as they are, whatever the wire. */
#define EXACT_FLOATS 64

/* Bounds the memory for messages; a round of so many hides its latency. */
#define MAX_ROUND ((size_t)4 << 20)

static void end_call(const tlpi_peer_call *call)
{
    call->c->base.stats.seconds += tlpi_now() - call->start;
}

/* ==== all-reduce ========================================================= */

static tlp_status peer_allreduce(tlpi_comm *base, float *x, size_t n,
                                 uint32_t *vote)
{
    tlpi_comm_peer *c = tlpi_peer_of(base);
    const tlpi_peer_family *f = c->family;
    int wire = n < EXACT_FLOATS ? TLP_WIRE_F32 : f->wire;
    uint32_t votes = vote ? *vote : 0;
    size_t at = 0;

    if (base->size == 1)
        return tlpi_peer_check(f);
    do {
        size_t m = TLPI_MIN(n - at, f->max_round);
        tlpi_peer_call call;
        tlp_status st =
            tlpi_peer_begin(&call, c, TLPI_PEER_ALLREDUCE, n * sizeof *x, wire);
        if (st == TLP_OK)
            st = tlpi_peer_reduce(&call, x + at, m, &votes);
        end_call(&call);
        if (st != TLP_OK)
            return st;
        at += m;
    } while (at < n);
    base->stats.allreduces++;
    base->stats.bytes += n * sizeof *x;
    if (vote)
        *vote = votes;
    return TLP_OK;
}

/* ==== messages =========================================================== */

static tlp_status peer_send_next(tlpi_comm *base, const float *x, size_t n)
{
    tlpi_comm_peer *c = tlpi_peer_of(base);
    tlpi_peer_call call;

    if (base->size == 1)
        return tlpi_peer_check(c->family);
    if (base->rank == base->size - 1)
        return tlpi_fail(TLP_EINVAL, "rank %d is the last: nobody to send to",
                         tlpi_peer_root(c, base->rank));
    tlp_status st = tlpi_peer_begin(&call, c, TLPI_PEER_MAIL, n * sizeof *x,
                                    c->family->wire);
    call.head.seq = ++c->sent;
    call.tag = c->family->tag + TLPI_PEER_TAG_MAIL;
    if (st == TLP_OK)
        st = tlpi_peer_push(&call, base->rank + 1, 1, x, n);
    end_call(&call);
    if (st == TLP_OK)
        base->stats.bytes += n * sizeof *x;
    return st;
}

static tlp_status peer_recv_prev(tlpi_comm *base, float *x, size_t n)
{
    tlpi_comm_peer *c = tlpi_peer_of(base);
    tlpi_peer_call call;

    if (base->size == 1)
        return tlpi_peer_check(c->family);
    if (base->rank == 0)
        return tlpi_fail(TLP_EINVAL, "rank %d is the first: nobody sends to it",
                         tlpi_peer_root(c, 0));
    tlp_status st = tlpi_peer_begin(&call, c, TLPI_PEER_MAIL, n * sizeof *x,
                                    c->family->wire);
    call.head.seq = ++c->received;
    call.tag = c->family->tag + TLPI_PEER_TAG_MAIL;
    if (st == TLP_OK)
        st = tlpi_peer_pull(&call, base->rank - 1, x, n);
    end_call(&call);
    return st;
}

static tlp_status gather_in(tlpi_peer_call *call, const size_t *bytes,
                            char *dst)
{
    size_t at = bytes[0];

    for (int r = 1; r < call->c->base.size; r++) {
        call->head.bytes = bytes[r];
        tlp_status st = tlpi_peer_pull(call, r, dst + at, bytes[r]);
        if (st != TLP_OK)
            return st;
        at += bytes[r];
    }
    return TLP_OK;
}

static tlp_status peer_gather(tlpi_comm *base, const void *src,
                              const size_t *bytes, void *dst)
{
    int rank = base->rank;
    tlpi_peer_call call;
    tlp_status st = tlpi_peer_begin(&call, tlpi_peer_of(base), TLPI_PEER_GATHER,
                                    bytes[rank], TLPI_PEER_RAW);

    if (st == TLP_OK && rank > 0) {
        st = tlpi_peer_push(&call, 0, 1, src, bytes[rank]);
    } else if (st == TLP_OK) {
        if (dst != src && bytes[0] > 0)
            memmove(dst, src, bytes[0]);
        st = gather_in(&call, bytes, dst);
    }
    end_call(&call);
    return st;
}

static tlp_status peer_bcast(tlpi_comm *base, void *buf, size_t bytes,
                             bool idle)
{
    tlpi_peer_call call;
    tlp_status st = tlpi_peer_begin(&call, tlpi_peer_of(base), TLPI_PEER_BCAST,
                                    bytes, TLPI_PEER_RAW);

    if (st == TLP_OK && base->rank == 0) {
        st = tlpi_peer_push(&call, 1, base->size - 1, buf, bytes);
    } else if (st == TLP_OK) {
        call.idle = idle;
        st = tlpi_peer_pull(&call, 0, buf, bytes);
    }
    if (!idle || base->rank == 0)
        end_call(&call);
    return st;
}

static void peer_busy(tlpi_comm *base)
{
    const tlpi_peer_family *f = tlpi_peer_of(base)->family;
    f->ops->busy(f->t);
}

static void peer_abort(tlpi_comm *base)
{
    tlpi_peer_abort(tlpi_peer_of(base));
}

/* ==== families =========================================================== */

static void free_family(tlpi_peer_family *f)
{
    if (!f)
        return;
    if (f->memory)
        f->ops->retire(f->t, f->memory, f->xfer, f->n_xfer);
    tlpi_free(f->env, f->xfer);
    pthread_mutex_destroy(&f->lock);
    tlpi_free(f->env, f);
}

/* Bound processes see their own cores only; they count for their threads. */
static bool is_crowded(const tlpi_transport *t, int n_thread)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t n = (int64_t)t->n_local * n_thread;

    return n_thread > tlpi_n_cores() || (online > 0 && n > online);
}

/* Room for the vectors of groups of any size up to the root's. */
static tlp_status create_slots(tlpi_peer_family *f)
{
    f->n_send = f->n_recv = 1;
    for (int size = 2; size <= f->size; size++) {
        int n_send, n_recv;
        tlpi_peer_reduce_slots(size, f->max_round, &n_send, &n_recv);
        f->n_send = TLPI_MAX(f->n_send, n_send);
        f->n_recv = TLPI_MAX(f->n_recv, n_recv);
    }
    size_t slots = (size_t)f->n_send + (size_t)f->n_recv;
    f->n_xfer = f->n_send * f->size + f->n_recv + 1 + f->size;
    f->xfer = tlpi_calloc(f->env, (size_t)f->n_xfer, sizeof(*f->xfer));
    f->memory =
        f->ops->alloc(f->t, slots * TLPI_EAGER_BYTES + 2 * TLPI_PEER_TEXT);
    if (!f->xfer || !f->memory)
        return tlpi_fail_nomem();
    f->heard = f->memory + slots * TLPI_EAGER_BYTES;
    f->told = f->heard + TLPI_PEER_TEXT;
    f->sends = f->xfer;
    f->recvs = f->sends + f->n_send * f->size;
    f->alarm = f->recvs + f->n_recv;
    f->alarms = f->alarm + 1;
    return TLP_OK;
}

static tlp_status create_family(tlpi_peer_family **out, const tlpi_env *env,
                                const tlpi_peer_setup *setup)
{
    tlpi_peer_family *f = tlpi_calloc(env, 1, sizeof *f);
    char err[TLPI_PEER_TEXT];
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!f)
        return tlpi_fail_nomem();
    if (pthread_mutex_init(&f->lock, NULL) != 0) {
        tlpi_free(env, f);
        return tlpi_fail_nomem();
    }
    f->env = env;
    f->ops = setup->ops;
    f->t = setup->transport;
    f->size = f->t->size;
    f->tag = setup->channel * TLPI_PEER_N_TAG;
    f->wire = setup->wire;
    f->timeout_ms = setup->timeout_ms;
    f->max_round = TLPI_MIN(setup->max_floats, MAX_ROUND);
    f->max_round = TLPI_MAX(f->max_round, TLPI_WIRE_BLOCK);
    f->crowded = is_crowded(f->t, setup->n_thread);
    TLP_TRY(create_slots(f));
    st = f->ops->recv(f->t, f->alarm, TLPI_ANY_RANK,
                      f->tag + TLPI_PEER_TAG_ABORT, f->heard,
                      TLPI_PEER_TEXT - 1, err, sizeof err);
    if (st != TLP_OK) {
        st = tlpi_fail(st, "%s", err);
        goto done;
    }
    *out = f;
    f = NULL;
done:
    free_family(f);
    return st;
}

/* ==== groups ============================================================= */

static tlpi_comm *create_group(tlpi_peer_family *f, const tlpi_comm_ops *ops,
                               int first, int size, uint32_t id)
{
    tlpi_comm_peer *c = tlpi_calloc(f->env, 1, sizeof *c);

    if (!c)
        return NULL;
    c->base = (tlpi_comm){
        .ops = ops, .env = f->env, .rank = f->t->rank - first, .size = size
    };
    c->family = f;
    c->first = first;
    c->id = id;
    f->n_handle++;
    return &c->base;
}

static void peer_free(tlpi_comm *base)
{
    tlpi_comm_peer *c = tlpi_peer_of(base);
    tlpi_peer_family *f = c->family;
    const tlpi_env *env = f->env;

    pthread_mutex_lock(&f->lock);
    bool last = --f->n_handle == 0;
    pthread_mutex_unlock(&f->lock);
    if (last)
        free_family(f);
    tlpi_free(env, c);
}

/* A vote tells all whether one lacks the memory. */
static tlp_status peer_split(tlpi_comm *base, int first, int count,
                             tlpi_comm **out)
{
    tlpi_comm_peer *c = tlpi_peer_of(base);
    tlpi_comm *sub = NULL;
    tlpi_peer_call call;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (first < 0 || count < 1 || count > base->size - first)
        return tlpi_fail(TLP_EINVAL, "%d ranks from %d on: %d expected at most",
                         count, first, base->size);
    TLP_TRY(tlpi_peer_begin(&call, c, TLPI_PEER_SPLIT,
                            (size_t)first * (size_t)base->size + (size_t)count,
                            TLP_WIRE_F32));
    bool inside = base->rank >= first && base->rank < first + count;
    uint32_t id = (c->id + 1) * 0x9e3779b1u + c->seq;
    if (inside)
        sub = create_group(c->family, base->ops, tlpi_peer_root(c, first),
                           count, id);
    uint32_t votes = inside && !sub;
    TLP_TRY(tlpi_peer_reduce(&call, NULL, 0, &votes));
    if (votes) {
        st = tlpi_fail_nomem();
        goto done;
    }
    *out = sub;
    sub = NULL;
done:
    tlpi_comm_free(sub);
    return st;
}

tlp_status tlpi_comm_peer_create(tlpi_comm **out, const tlpi_env *env,
                                 const tlpi_peer_setup *setup)
{
    static const tlpi_comm_ops ops = {
        .allreduce = peer_allreduce,
        .send_next = peer_send_next,
        .recv_prev = peer_recv_prev,
        .gather = peer_gather,
        .bcast = peer_bcast,
        .split = peer_split,
        .busy = peer_busy,
        .abort = peer_abort,
        .free = peer_free,
    };
    tlpi_peer_family *f;

    *out = NULL;
    if (setup->timeout_ms < 1)
        return tlpi_fail(TLP_EINVAL, "timeout of %d ms: at least 1 expected",
                         setup->timeout_ms);
    if (setup->channel < 1 || setup->channel >= TLPI_TAG_END / TLPI_PEER_N_TAG)
        return tlpi_fail(TLP_EINVAL, "channel %d: 1..%d expected",
                         setup->channel, TLPI_TAG_END / TLPI_PEER_N_TAG - 1);
    tlp_status st = create_family(&f, env, setup);
    if (st != TLP_OK)
        return st;
    *out = create_group(f, &ops, 0, f->size, 0);
    if (!*out) {
        free_family(f);
        return tlpi_fail_nomem();
    }
    return TLP_OK;
}
