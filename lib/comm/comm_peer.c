/*
 * comm_peer.c - operations between ranks in several processes, and the
 * lifetime of a communicator.
 */
#include "comm/comm_peer.h"

#include <string.h>
#include <unistd.h>

#include "base/cores.h"
#include "comm/peer.h"
#include "comm/wire.h"

/* All-reduces of at most this many floats (votes, agreements) use F32 on the
 * wire. */
#define EXACT_FLOATS 64

/* Floats of one round of an all-reduce.  Bounds the memory for messages; a
 * round of this size hides its latency. */
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
    const tlpi_peer_root *root = c->root;
    int wire = n < EXACT_FLOATS ? TLP_WIRE_F32 : root->wire;
    uint32_t votes = vote ? *vote : 0;
    size_t at = 0;

    if (base->size == 1)
        return tlpi_peer_check(root);
    do {
        size_t m = TLPI_MIN(n - at, root->max_round);
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
        return tlpi_peer_check(c->root);
    if (base->rank == base->size - 1)
        return tlpi_fail(TLP_EINVAL, "rank %d is the last: nobody to send to",
                         tlpi_peer_root_rank(c, base->rank));
    tlp_status st = tlpi_peer_begin(&call, c, TLPI_PEER_SEND_NEXT,
                                    n * sizeof *x, c->root->wire);
    call.head.seq = ++c->sent;
    call.tag = c->root->tag + TLPI_PEER_TAG_SEND_NEXT;
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
        return tlpi_peer_check(c->root);
    if (base->rank == 0)
        return tlpi_fail(TLP_EINVAL, "rank %d is the first: nobody sends to it",
                         tlpi_peer_root_rank(c, 0));
    tlp_status st = tlpi_peer_begin(&call, c, TLPI_PEER_SEND_NEXT,
                                    n * sizeof *x, c->root->wire);
    call.head.seq = ++c->received;
    call.tag = c->root->tag + TLPI_PEER_TAG_SEND_NEXT;
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
    const tlpi_peer_root *root = tlpi_peer_of(base)->root;
    root->ops->busy(root->t);
}

static void peer_abort(tlpi_comm *base)
{
    tlpi_peer_abort(tlpi_peer_of(base));
}

/* ==== roots ============================================================== */

static void free_root(tlpi_peer_root *root)
{
    if (!root)
        return;
    if (root->memory)
        root->ops->retire(root->t, root->memory, root->xfer, root->n_xfer);
    tlpi_free(root->env, root->xfer);
    pthread_mutex_destroy(&root->lock);
    tlpi_free(root->env, root);
}

/* Compare this process's threads with the cores that it may use, and the
 * threads of all local ranks with all cores. */
static bool is_oversubscribed(const tlpi_transport *t, int n_thread)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t n = (int64_t)t->n_local * n_thread;

    return n_thread > tlpi_n_cores() || (online > 0 && n > online);
}

/* Allocate slots for vectors of groups of every size up to the root's. */
static tlp_status create_slots(tlpi_peer_root *root)
{
    root->n_send = root->n_recv = 1;
    for (int size = 2; size <= root->size; size++) {
        int n_send, n_recv;
        tlpi_peer_reduce_slots(size, root->max_round, &n_send, &n_recv);
        root->n_send = TLPI_MAX(root->n_send, n_send);
        root->n_recv = TLPI_MAX(root->n_recv, n_recv);
    }
    size_t slots = (size_t)root->n_send + (size_t)root->n_recv;
    int n_xfer = root->n_send * root->size + root->n_recv + 1 + root->size;
    root->xfer = tlpi_calloc(root->env, (size_t)n_xfer, sizeof(*root->xfer));
    root->n_xfer = root->xfer ? n_xfer : 0;
    root->memory = root->ops->alloc(root->t, slots * TLPI_EAGER_BYTES +
                                                 2 * TLPI_PEER_TEXT);
    if (!root->xfer || !root->memory)
        return tlpi_fail_nomem_for("a communicator");
    root->abort_in = root->memory + slots * TLPI_EAGER_BYTES;
    root->abort_out = root->abort_in + TLPI_PEER_TEXT;
    root->sends = root->xfer;
    root->recvs = root->sends + root->n_send * root->size;
    root->abort_recv = root->recvs + root->n_recv;
    root->abort_sends = root->abort_recv + 1;
    return TLP_OK;
}

static tlp_status create_root(tlpi_peer_root **out, const tlpi_env *env,
                              const tlpi_peer_setup *setup)
{
    tlpi_peer_root *root = tlpi_calloc(env, 1, sizeof *root);
    char err[TLPI_PEER_TEXT];
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!root)
        return tlpi_fail_nomem_for("a communicator");
    if (pthread_mutex_init(&root->lock, NULL) != 0) {
        tlpi_free(env, root);
        return tlpi_fail_nomem_for("a communicator");
    }
    root->env = env;
    root->ops = setup->ops;
    root->t = setup->transport;
    root->size = root->t->size;
    root->tag = setup->channel * TLPI_PEER_N_TAG;
    root->wire = setup->wire;
    root->timeout_ms = setup->timeout_ms;
    root->max_round = TLPI_MIN(setup->max_floats, MAX_ROUND);
    root->max_round = TLPI_MAX(root->max_round, TLPI_WIRE_BLOCK);
    root->oversubscribed =
        setup->never_spin || is_oversubscribed(root->t, setup->n_thread);
    TLP_TRY(create_slots(root));
    st = root->ops->recv(root->t, root->abort_recv, TLPI_ANY_RANK,
                         root->tag + TLPI_PEER_TAG_ABORT, root->abort_in,
                         TLPI_PEER_TEXT - 1, err, sizeof err);
    if (st != TLP_OK) {
        st = tlpi_fail(st, "%s", err);
        goto done;
    }
    *out = root;
    root = NULL;
done:
    free_root(root);
    return st;
}

/* ==== groups ============================================================= */

static tlpi_comm *create_group(tlpi_peer_root *root, const tlpi_comm_ops *ops,
                               int first, int size, uint32_t id)
{
    tlpi_comm_peer *c = tlpi_calloc(root->env, 1, sizeof *c);

    if (!c)
        return NULL;
    c->base = (tlpi_comm){ .ops = ops,
                           .env = root->env,
                           .rank = root->t->rank - first,
                           .size = size,
                           .link = root->t->n_local == root->t->size
                                       ? "processes of one machine"
                                       : "processes of several machines" };
    c->root = root;
    c->first = first;
    c->id = id;
    root->n_handle++;
    return &c->base;
}

static void peer_free(tlpi_comm *base)
{
    tlpi_comm_peer *c = tlpi_peer_of(base);
    tlpi_peer_root *root = c->root;
    const tlpi_env *env = root->env;

    pthread_mutex_lock(&root->lock);
    bool last = --root->n_handle == 0;
    pthread_mutex_unlock(&root->lock);
    if (last)
        free_root(root);
    tlpi_free(env, c);
}

/* All ranks vote on whether one of them lacks the memory. */
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
        sub = create_group(c->root, base->ops, tlpi_peer_root_rank(c, first),
                           count, id);
    uint32_t votes = inside && !sub;
    TLP_TRY(tlpi_peer_reduce(&call, NULL, 0, &votes));
    if (votes) {
        st = tlpi_fail_nomem_for("a communicator");
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
    tlpi_peer_root *root;

    *out = NULL;
    if (setup->timeout_ms < 1)
        return tlpi_fail(TLP_EINVAL, "timeout of %d ms: at least 1 expected",
                         setup->timeout_ms);
    if (setup->channel < 1 || setup->channel >= TLPI_TAG_END / TLPI_PEER_N_TAG)
        return tlpi_fail(TLP_EINVAL, "channel %d: 1..%d expected",
                         setup->channel, TLPI_TAG_END / TLPI_PEER_N_TAG - 1);
    tlp_status st = create_root(&root, env, setup);
    if (st != TLP_OK)
        return st;
    *out = create_group(root, &ops, 0, root->size, 0);
    if (!*out) {
        free_root(root);
        return tlpi_fail_nomem_for("a communicator");
    }
    return TLP_OK;
}
