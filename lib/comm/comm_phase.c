/*
 * comm_phase.c - synchronisation of ranks in one process.
 *
 * A collective is one or two phases.  In phase p a rank may write a message
 * and a small payload into its slot p % 2.  Then it publishes the phase, and
 * waits for the ranks whose slots it reads.  A rank that has published phase p
 * no longer reads slots of earlier phases.  Before a rank fills a slot for
 * phase p it waits until all ranks have published p - 1.  After that no rank
 * reads phase p - 2, which used the slot last.  No rank waits at the end of a
 * phase.
 *
 * Large payloads stay in the memory of their rank, and other ranks access them
 * there.  A rank whose collective fails must not return, and have that memory
 * freed, during an access.  An accessing rank therefore first announces the
 * access and then checks for a failed rank; a rank that returns first records
 * the failure and then waits until no access is announced.
 */
#include <sched.h>
#include <string.h>

#include "comm/comm_threads.h"

#define SLICE 0.1 /* seconds; longest part of a wait with a deadline */

static const char *op_name(int op)
{
    static const char *const names[] = {
        [TLPI_OP_ALLREDUCE] = "all-reduce",
        [TLPI_OP_GATHER] = "gather",
        [TLPI_OP_BCAST] = "bcast",
        [TLPI_OP_SPLIT] = "split",
    };
    return op >= 1 && op < (int)TLPI_COUNT(names) ? names[op] : "nothing";
}

int tlpi_root_rank(const tlpi_comm_threads *c, int rank)
{
    return c->group->first + rank;
}

tlp_status tlpi_phase_check(const tlpi_comm_threads *c)
{
    int failed_rank = atomic_load_explicit(&c->group->root->failed_rank,
                                           memory_order_acquire);
    if (failed_rank == 0)
        return TLP_OK;
    return tlpi_fail(TLP_ECOMM, "rank %d gave up", failed_rank - 1);
}

void tlpi_phase_give_up(tlpi_comm_threads *c)
{
    tlpi_comm_root_abort(c->group->root, tlpi_root_rank(c, c->base.rank));
}

/* Accesses are short, and no access begins after a failure. */
static void await_accesses(const tlpi_group *g)
{
    for (int r = 0; r < g->size; r++)
        while (atomic_load(&g->mailbox[r].accessing))
            sched_yield();
}

tlp_status tlpi_phase_begin_access(tlpi_comm_threads *c)
{
    atomic_store(&c->group->mailbox[c->base.rank].accessing, 1);
    tlp_status st = tlpi_phase_check(c);
    if (st != TLP_OK) {
        tlpi_phase_end_access(c);
        await_accesses(c->group);
    }
    return st;
}

void tlpi_phase_end_access(tlpi_comm_threads *c)
{
    atomic_store_explicit(&c->group->mailbox[c->base.rank].accessing, 0,
                          memory_order_release);
}

/* The end of a wait for `rank`: success if it is in time and nobody gave up. */
static tlp_status end_wait(tlpi_comm_threads *c, bool in_time, int rank)
{
    tlp_status st = tlpi_phase_check(c);

    if (st == TLP_OK && in_time)
        return st;
    tlpi_phase_give_up(c);
    await_accesses(c->group);
    if (st != TLP_OK)
        return st;
    return tlpi_fail(TLP_ETIMEDOUT,
                     "rank %d did not answer rank %d within %d ms",
                     tlpi_root_rank(c, rank), tlpi_root_rank(c, c->base.rank),
                     c->group->root->timeout_ms);
}

/*
 * The time that this thread lost is not the peer's: a stopped process, or a
 * machine without a core for the thread, stops the peer too.  So the wait is
 * cut into slices, and the deadline moves by the time by which a slice ends
 * late.
 */
static bool wait_in_time(tlpi_comm_threads *c, tlpi_word *w, uint32_t target,
                         double deadline)
{
    if (deadline == 0 || tlpi_word_reached(w, target))
        return tlpi_word_wait(w, target, &c->spin, deadline);
    for (;;) {
        double end = TLPI_MIN(tlpi_now() + SLICE, deadline + c->lost);
        if (tlpi_word_wait(w, target, &c->spin, end))
            return true;
        double now = tlpi_now();
        c->lost += now - end;
        if (now >= deadline + c->lost)
            return false;
    }
}

tlp_status tlpi_phase_await(tlpi_comm_threads *c, tlpi_word *w, uint32_t target,
                            int rank, double deadline)
{
    return end_wait(c, wait_in_time(c, w, target, deadline), rank);
}

double tlpi_phase_due(const tlpi_comm_threads *c)
{
    double delay = c->group->root->link_delay;

    return delay > 0 ? tlpi_now() + delay : 0;
}

tlp_status tlpi_phase_await_link(tlpi_comm_threads *c,
                                 const tlpi_message *message, tlpi_word *w,
                                 uint32_t count, int rank, double deadline)
{
    if (message->due == 0 || rank == c->base.rank)
        return TLP_OK;
    bool in_time = deadline == 0 || message->due <= deadline + c->lost;
    tlpi_word_wait_until(w, count + TLPI_ABORT_STEP / 2, c->spin.max_ns,
                         in_time ? message->due : deadline + c->lost);
    return end_wait(c, in_time, rank);
}

tlp_status tlpi_phase_await_all(tlpi_comm_threads *c, double deadline)
{
    for (int r = 0; r < c->base.size; r++) {
        tlpi_word *w = &c->group->mailbox[r].phase;
        tlp_status st = tlpi_phase_await(c, w, c->phase, r, deadline);
        if (st != TLP_OK)
            return st;
    }
    return TLP_OK;
}

void tlpi_phase_pass(tlpi_comm_threads *c, uint32_t n)
{
    c->phase += n;
    tlpi_word_add(&c->group->mailbox[c->base.rank].phase, n);
}

tlp_status tlpi_phase_publish(tlpi_comm_threads *c, tlpi_message message,
                              const void *data, double deadline)
{
    tlp_status st = tlpi_phase_await_all(c, deadline);
    if (st != TLP_OK)
        return st;

    tlpi_mailbox_slot *slot =
        &c->group->mailbox[c->base.rank].slot[(c->phase + 1) % 2];
    slot->message = message;
    slot->message.due = tlpi_phase_due(c);
    if (data && message.bytes > 0)
        memcpy(slot->data, data, message.bytes);
    tlpi_phase_pass(c, 1);
    return TLP_OK;
}

const tlpi_mailbox_slot *tlpi_phase_slot(const tlpi_comm_threads *c, int rank,
                                         uint32_t phase)
{
    return &c->group->mailbox[rank].slot[phase % 2];
}

tlp_status tlpi_phase_receive(tlpi_comm_threads *c, int rank, uint32_t phase,
                              int op, size_t bytes, double deadline,
                              const tlpi_mailbox_slot **out)
{
    tlpi_word *w = &c->group->mailbox[rank].phase;
    tlp_status st = tlpi_phase_await(c, w, phase, rank, deadline);
    if (st != TLP_OK)
        return st;

    *out = tlpi_phase_slot(c, rank, phase);
    const tlpi_message *message = &(*out)->message;
    st = tlpi_phase_await_link(c, message, w, phase, rank, deadline);
    if (st != TLP_OK)
        return st;
    if (message->op == op && message->bytes == bytes)
        return TLP_OK;
    tlpi_phase_give_up(c);
    await_accesses(c->group);
    return tlpi_fail(
        TLP_ECOMM, "rank %d: %s of %zu bytes, rank %d: %s of %zu bytes",
        tlpi_root_rank(c, c->base.rank), op_name(op), bytes,
        tlpi_root_rank(c, rank), op_name(message->op), message->bytes);
}
