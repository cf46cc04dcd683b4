/*
 * comm_threads.c - collectives between ranks of one process.
 */
#include <string.h>

#include "base/cores.h"
#include "comm/comm_threads.h"
#include "comm/sum.h"

static tlpi_comm_threads *of(tlpi_comm *c)
{
    return (tlpi_comm_threads *)c;
}

static void give_up(tlpi_comm *c)
{
    tlpi_phase_give_up(of(c));
}

/* Begins a call.  Returns 0 (no deadline) while ranks may be loading: they are
 * threads of this process, and a rank that fails aborts. */
static double deadline_from(tlpi_comm_threads *c, double start)
{
    c->lost = 0;
    if (c->base.patient)
        return 0;
    return start + c->group->root->timeout_ms * 1e-3;
}

/* ==== all-reduce ========================================================= */

/*
 * Up to SUM_SMALL floats every rank sums all vectors, in one phase.  For longer
 * vectors the cache lines that move between cores cost more than a second
 * phase, in which only one rank reads each line.  Over a link with a delay a
 * second phase would make the last rank wait for the first; then every vector
 * that fits a slot is summed in one phase.
 */
#define SUM_SMALL 128
#define SUM_SLOT (TLPI_SLOT_BYTES / sizeof(float))

_Static_assert(SUM_SMALL <= SUM_SLOT, "a small sum fits a slot");

static tlp_status reduce_small(tlpi_comm_threads *c, float *x, size_t n,
                               uint32_t *vote, double deadline)
{
    tlpi_message message = { .op = TLPI_OP_ALLREDUCE,
                             .vote = *vote,
                             .bytes = n * sizeof *x };
    const float *first = NULL;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_phase_publish(c, message, x, deadline));
    for (int r = 0; r < c->base.size; r++) {
        const tlpi_mailbox_slot *slot;
        TLP_TRY(tlpi_phase_receive(c, r, c->phase, message.op, message.bytes,
                                   deadline, &slot));
        *vote |= slot->message.vote;
        if (r == 0)
            first = slot->data;
        else
            tlpi_sum(x, r == 1 ? first : x, slot->data, n);
    }
done:
    return st;
}

/* Sum elements [i, i + n) over ranks and store the sum in every rank's
 * vector. */
static void reduce_chunk(const tlpi_comm_threads *c, size_t i, size_t n,
                         float *sum)
{
    const float *first = NULL;

    for (int r = 0; r < c->base.size; r++) {
        const float *x = tlpi_phase_slot(c, r, c->phase)->message.ptr;
        if (r == 0)
            first = x + i;
        else
            tlpi_sum(sum, r == 1 ? first : sum, x + i, n);
    }
    for (int r = 0; r < c->base.size; r++) {
        float *x = tlpi_phase_slot(c, r, c->phase)->message.ptr;
        memcpy(x + i, sum, n * sizeof *sum);
    }
}

/* Every rank sums its share of the vector in place for all ranks. */
static tlp_status reduce_large(tlpi_comm_threads *c, float *x, size_t n,
                               uint32_t *vote, double deadline)
{
    /* floats of a block on the stack; floats of a cache line */
    enum { CHUNK = 1024, GRAIN = 16 };
    tlpi_message message = {
        .op = TLPI_OP_ALLREDUCE, .vote = *vote, .bytes = n * sizeof *x, .ptr = x
    };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_phase_publish(c, message, NULL, deadline));
    for (int r = 0; r < c->base.size; r++) {
        const tlpi_mailbox_slot *slot;
        TLP_TRY(tlpi_phase_receive(c, r, c->phase, message.op, message.bytes,
                                   deadline, &slot));
        *vote |= slot->message.vote;
    }
    size_t lines = (n + GRAIN - 1) / GRAIN;
    size_t rank = (size_t)c->base.rank, size = (size_t)c->base.size;
    size_t end = TLPI_MIN(n, lines * (rank + 1) / size * GRAIN);
    float sum[CHUNK];
    TLP_TRY(tlpi_phase_begin_access(c));
    for (size_t i = lines * rank / size * GRAIN; i < end; i += CHUNK)
        reduce_chunk(c, i, TLPI_MIN(end - i, CHUNK), sum);
    tlpi_phase_end_access(c);
    tlpi_phase_pass(c, 1);
    TLP_TRY(tlpi_phase_await_all(c, deadline));
done:
    return st;
}

static tlp_status threads_allreduce(tlpi_comm *base, float *x, size_t n,
                                    uint32_t *vote)
{
    tlpi_comm_threads *c = of(base);
    tlp_status st = tlpi_phase_check(c);

    if (st != TLP_OK || base->size == 1)
        return st;
    double start = tlpi_now();
    double deadline = deadline_from(c, start);
    uint32_t votes = vote ? *vote : 0;
    if (n <= (c->group->root->link_delay > 0 ? SUM_SLOT : SUM_SMALL))
        st = reduce_small(c, x, n, &votes, deadline);
    else
        st = reduce_large(c, x, n, &votes, deadline);
    base->stats.seconds += tlpi_now() - start;
    if (st != TLP_OK)
        return st;
    if (vote)
        *vote = votes;
    base->stats.allreduces++;
    base->stats.bytes += n * sizeof *x;
    return TLP_OK;
}

/* Copy a rank's payload, from its slot or its memory. */
static tlp_status copy_payload(tlpi_comm_threads *c,
                               const tlpi_mailbox_slot *slot, void *dst)
{
    const tlpi_message *message = &slot->message;

    if (message->bytes == 0)
        return TLP_OK;
    tlp_status st = tlpi_phase_begin_access(c);
    if (st != TLP_OK)
        return st;
    memcpy(dst, message->ptr ? message->ptr : slot->data, message->bytes);
    tlpi_phase_end_access(c);
    return TLP_OK;
}

/* ==== messages =========================================================== */

/* The slot to_next holds a small message, and the sender continues.  The
 * receiver copies a large message out of the sender's memory while the sender
 * waits. */
static tlp_status send_message(tlpi_comm_threads *c, const float *x, size_t n,
                               double deadline)
{
    tlpi_mailbox *mine = &c->group->mailbox[c->base.rank];
    size_t bytes = n * sizeof *x;
    bool large = bytes > TLPI_SLOT_BYTES;
    int next = c->base.rank + 1;

    tlp_status st = tlpi_phase_await(c, &mine->taken, c->sent, next, deadline);
    if (st != TLP_OK)
        return st;
    mine->to_next.message = (tlpi_message){ .bytes = bytes,
                                            .ptr = large ? (void *)x : NULL,
                                            .due = tlpi_phase_due(c) };
    if (!large && bytes > 0)
        memcpy(mine->to_next.data, x, bytes);
    c->sent++;
    tlpi_word_add(&mine->sent, 1);
    return large ? tlpi_phase_await(c, &mine->taken, c->sent, next, deadline)
                 : TLP_OK;
}

static tlp_status receive_message(tlpi_comm_threads *c, float *x, size_t n,
                                  double deadline)
{
    int prev = c->base.rank - 1;
    tlpi_mailbox *theirs = &c->group->mailbox[prev];

    tlp_status st =
        tlpi_phase_await(c, &theirs->sent, c->received + 1, prev, deadline);
    if (st != TLP_OK)
        return st;
    const tlpi_message *message = &theirs->to_next.message;
    st = tlpi_phase_await_link(c, message, &theirs->sent, c->received + 1, prev,
                               deadline);
    if (st != TLP_OK)
        return st;
    if (message->bytes != n * sizeof *x) {
        tlpi_phase_give_up(c);
        return tlpi_fail(TLP_ECOMM,
                         "rank %d sent %zu bytes, rank %d expected %zu",
                         tlpi_root_rank(c, prev), message->bytes,
                         tlpi_root_rank(c, c->base.rank), n * sizeof *x);
    }
    st = copy_payload(c, &theirs->to_next, x);
    if (st != TLP_OK)
        return st;
    c->received++;
    tlpi_word_add(&theirs->taken, 1);
    return TLP_OK;
}

static tlp_status threads_send_next(tlpi_comm *base, const float *x, size_t n)
{
    tlpi_comm_threads *c = of(base);
    tlp_status st = tlpi_phase_check(c);

    if (st != TLP_OK || base->size == 1)
        return st;
    if (base->rank == base->size - 1)
        return tlpi_fail(TLP_EINVAL, "rank %d is the last: nobody to send to",
                         tlpi_root_rank(c, base->rank));
    double start = tlpi_now();
    st = send_message(c, x, n, deadline_from(c, start));
    base->stats.seconds += tlpi_now() - start;
    if (st == TLP_OK)
        base->stats.bytes += n * sizeof *x;
    return st;
}

static tlp_status threads_recv_prev(tlpi_comm *base, float *x, size_t n)
{
    tlpi_comm_threads *c = of(base);
    tlp_status st = tlpi_phase_check(c);

    if (st != TLP_OK || base->size == 1)
        return st;
    if (base->rank == 0)
        return tlpi_fail(TLP_EINVAL, "rank %d is the first: nobody sends to it",
                         tlpi_root_rank(c, 0));
    double start = tlpi_now();
    st = receive_message(c, x, n, deadline_from(c, start));
    base->stats.seconds += tlpi_now() - start;
    return st;
}

/* ==== gather, bcast ====================================================== */

static tlp_status gather_in(tlpi_comm_threads *c, const size_t *bytes,
                            char *dst, double deadline)
{
    size_t at = bytes[0];

    tlpi_phase_pass(c, 1);
    for (int r = 1; r < c->base.size; r++) {
        const tlpi_mailbox_slot *slot;
        tlp_status st = tlpi_phase_receive(c, r, c->phase, TLPI_OP_GATHER,
                                           bytes[r], deadline, &slot);
        if (st != TLP_OK)
            return st;
        st = copy_payload(c, slot, dst + at);
        if (st != TLP_OK)
            return st;
        at += bytes[r];
    }
    return TLP_OK;
}

/* One phase.  If a piece is large (all ranks know all sizes), a second phase
 * tells its rank that rank 0 has copied it. */
static tlp_status gather(tlpi_comm_threads *c, const void *src,
                         const size_t *bytes, void *dst, double deadline)
{
    int rank = c->base.rank;
    bool large = false;
    tlp_status st = TLP_OK;

    for (int r = 1; r < c->base.size; r++)
        large = large || bytes[r] > TLPI_SLOT_BYTES;
    if (rank == 0) {
        if (dst != src && bytes[0] > 0)
            memmove(dst, src, bytes[0]);
        TLP_TRY(gather_in(c, bytes, dst, deadline));
    } else {
        tlpi_message message = {
            .op = TLPI_OP_GATHER,
            .bytes = bytes[rank],
            .ptr = large ? (void *)src : NULL,
        };
        TLP_TRY(tlpi_phase_publish(c, message, large ? NULL : src, deadline));
        if (large)
            TLP_TRY(tlpi_phase_await(c, &c->group->mailbox[0].phase,
                                     c->phase + 1, 0, deadline));
    }
    if (large)
        tlpi_phase_pass(c, 1);
done:
    return st;
}

static tlp_status threads_gather(tlpi_comm *base, const void *src,
                                 const size_t *bytes, void *dst)
{
    tlpi_comm_threads *c = of(base);
    tlp_status st = tlpi_phase_check(c);

    if (st != TLP_OK)
        return st;
    double start = tlpi_now();
    st = gather(c, src, bytes, dst, deadline_from(c, start));
    base->stats.seconds += tlpi_now() - start;
    return st;
}

static tlp_status bcast_out(tlpi_comm_threads *c, void *buf, size_t bytes,
                            double deadline)
{
    bool large = bytes > TLPI_SLOT_BYTES;
    tlpi_message message = { .op = TLPI_OP_BCAST,
                             .bytes = bytes,
                             .ptr = large ? buf : NULL };

    tlp_status st =
        tlpi_phase_publish(c, message, large ? NULL : buf, deadline);
    if (st != TLP_OK || !large)
        return st;
    for (int r = 1; r < c->base.size && st == TLP_OK; r++)
        st = tlpi_phase_await(c, &c->group->mailbox[r].phase, c->phase + 1, r,
                              deadline);
    if (st == TLP_OK)
        tlpi_phase_pass(c, 1);
    return st;
}

static tlp_status bcast_in(tlpi_comm_threads *c, void *buf, size_t bytes,
                           double deadline)
{
    const tlpi_mailbox_slot *slot;
    tlp_status st = tlpi_phase_receive(c, 0, c->phase + 1, TLPI_OP_BCAST, bytes,
                                       deadline, &slot);
    if (st == TLP_OK)
        st = copy_payload(c, slot, buf);
    if (st != TLP_OK)
        return st;
    tlpi_phase_pass(c, bytes > TLPI_SLOT_BYTES ? 2 : 1);
    return TLP_OK;
}

static tlp_status threads_bcast(tlpi_comm *base, void *buf, size_t bytes,
                                bool idle)
{
    tlpi_comm_threads *c = of(base);
    tlp_status st = tlpi_phase_check(c);

    if (st != TLP_OK || base->size == 1)
        return st;
    double start = tlpi_now();
    double deadline = deadline_from(c, start);
    if (base->rank == 0)
        st = bcast_out(c, buf, bytes, deadline);
    else
        st = bcast_in(c, buf, bytes, idle ? 0 : deadline);
    if (!idle || base->rank == 0)
        base->stats.seconds += tlpi_now() - start;
    return st;
}

/* ==== life =============================================================== */

/* Rank `first` creates the group, or publishes NULL if it could not. */
static tlp_status threads_split(tlpi_comm *base, int first, int count,
                                tlpi_comm **out)
{
    tlpi_comm_threads *c = of(base);
    tlpi_group *sub = NULL;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (first < 0 || count < 1 || count > base->size - first)
        return tlpi_fail(TLP_EINVAL, "%d ranks from %d on: %d expected at most",
                         count, first, base->size);
    TLP_TRY(tlpi_phase_check(c));
    double deadline = deadline_from(c, tlpi_now());
    if (base->rank == first) {
        st = tlpi_group_create(&sub, c->group->root, tlpi_root_rank(c, first),
                               count, base->ops);
        tlpi_message message = { .op = TLPI_OP_SPLIT,
                                 .bytes = (size_t)count,
                                 .ptr = sub };
        TLP_TRY(tlpi_phase_publish(c, message, NULL, deadline));
    } else {
        const tlpi_mailbox_slot *slot;
        TLP_TRY(tlpi_phase_receive(c, first, c->phase + 1, TLPI_OP_SPLIT,
                                   (size_t)count, deadline, &slot));
        sub = slot->message.ptr;
        tlpi_phase_pass(c, 1);
    }
    if (!sub)
        return tlpi_fail_nomem_for("a communicator");
    if (base->rank >= first && base->rank < first + count)
        *out = tlpi_group_take(sub, base->rank - first);
done:
    return st;
}

static void threads_free(tlpi_comm *base)
{
    tlpi_group_put(of(base));
}

tlp_status tlpi_comm_threads_create(tlpi_comm **out, const tlpi_env *env, int n,
                                    int n_machine, int timeout_ms)
{
    static const tlpi_comm_ops ops = {
        .allreduce = threads_allreduce,
        .send_next = threads_send_next,
        .recv_prev = threads_recv_prev,
        .gather = threads_gather,
        .bcast = threads_bcast,
        .split = threads_split,
        .abort = give_up,
        .free = threads_free,
    };

    for (int r = 0; r < n; r++)
        out[r] = NULL;
    if (n < 1)
        return tlpi_fail(TLP_EINVAL, "%d ranks: at least 1 expected", n);
    if (timeout_ms < 1)
        return tlpi_fail(TLP_EINVAL, "timeout of %d ms: at least 1 expected",
                         timeout_ms);
    tlpi_group *root;
    tlp_status st =
        tlpi_comm_root_create(&root, env, n, n_machine, timeout_ms, &ops);
    if (st != TLP_OK)
        return st;
    for (int r = 0; r < n; r++)
        out[r] = tlpi_group_take(root, r);
    return TLP_OK;
}

void tlpi_comm_threads_set_spin(tlpi_comm *base, int spin_us)
{
    tlpi_group *g = of(base)->group;
    tlpi_comm_root *root = g->root;

    root->spin = tlpi_spin_make(spin_us, root->n_machine, tlpi_n_cores());
    for (int r = 0; r < g->size; r++)
        g->handle[r].spin = root->spin;
}

void tlpi_comm_threads_set_delay(tlpi_comm *base, double seconds)
{
    of(base)->group->root->link_delay = seconds;
}
