/*
 * comm_phase.c - how ranks of one process keep step.
 *
 * A collective is one or two phases.  In a phase a rank may leave a note and a
 * small payload in its slot of that phase's parity, then publishes the phase,
 * and waits for those ranks whose slots it reads.  Having published phase p
 * means being done with the slots of all phases before p; so whoever fills a
 * slot of phase p first sees that all have published p - 1, which leaves no
 * reader of p - 2, the slot's last use.  Nobody waits at the end of a phase.
 *
 * Large payloads stay in their rank's memory, where others visit them.  A rank
 * whose collective fails must not return, and have that memory freed, while a
 * visit is on: a visitor first announces itself and then looks whether
 * somebody gave up, the one who returns looks for visitors after that.
 */
#include <sched.h>
#include <string.h>

#include "comm/comm_threads.h"

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
    int culprit =
        atomic_load_explicit(&c->group->family->culprit, memory_order_acquire);
    if (culprit == 0)
        return TLP_OK;
    return tlpi_fail(TLP_ECOMM, "rank %d gave up", culprit - 1);
}

void tlpi_phase_give_up(tlpi_comm_threads *c)
{
    tlpi_family_abort(c->group->family, tlpi_root_rank(c, c->base.rank));
}

/* Visits are short, and no new ones begin. */
static void await_visitors(const tlpi_group *g)
{
    for (int r = 0; r < g->size; r++)
        while (atomic_load(&g->station[r].visiting))
            sched_yield();
}

tlp_status tlpi_phase_visit(tlpi_comm_threads *c)
{
    atomic_store(&c->group->station[c->base.rank].visiting, 1);
    tlp_status st = tlpi_phase_check(c);
    if (st != TLP_OK) {
        tlpi_phase_leave(c);
        await_visitors(c->group);
    }
    return st;
}

void tlpi_phase_leave(tlpi_comm_threads *c)
{
    atomic_store_explicit(&c->group->station[c->base.rank].visiting, 0,
                          memory_order_release);
}

tlp_status tlpi_phase_await(tlpi_comm_threads *c, tlpi_word *w, uint32_t target,
                            int rank, double deadline)
{
    const tlpi_family *f = c->group->family;
    bool there = tlpi_word_wait(w, target, f->spin_ns, deadline);
    tlp_status st = tlpi_phase_check(c);

    if (st == TLP_OK && there)
        return st;
    tlpi_phase_give_up(c);
    await_visitors(c->group);
    if (st != TLP_OK)
        return st;
    return tlpi_fail(TLP_ETIMEDOUT,
                     "rank %d did not answer rank %d within %d ms",
                     tlpi_root_rank(c, rank), tlpi_root_rank(c, c->base.rank),
                     f->timeout_ms);
}

tlp_status tlpi_phase_await_all(tlpi_comm_threads *c, double deadline)
{
    for (int r = 0; r < c->base.size; r++) {
        tlpi_word *w = &c->group->station[r].phase;
        tlp_status st = tlpi_phase_await(c, w, c->phase, r, deadline);
        if (st != TLP_OK)
            return st;
    }
    return TLP_OK;
}

void tlpi_phase_pass(tlpi_comm_threads *c, uint32_t n)
{
    c->phase += n;
    tlpi_word_add(&c->group->station[c->base.rank].phase, n);
}

tlp_status tlpi_phase_publish(tlpi_comm_threads *c, tlpi_note note,
                              const void *data, double deadline)
{
    tlp_status st = tlpi_phase_await_all(c, deadline);
    if (st != TLP_OK)
        return st;

    tlpi_slot *slot = &c->group->station[c->base.rank].slot[(c->phase + 1) % 2];
    slot->note = note;
    if (data && note.bytes > 0)
        memcpy(slot->data, data, note.bytes);
    tlpi_phase_pass(c, 1);
    return TLP_OK;
}

const tlpi_slot *tlpi_phase_slot(const tlpi_comm_threads *c, int rank,
                                 uint32_t phase)
{
    return &c->group->station[rank].slot[phase % 2];
}

tlp_status tlpi_phase_meet(tlpi_comm_threads *c, int rank, uint32_t phase,
                           int op, size_t bytes, double deadline,
                           const tlpi_slot **out)
{
    tlpi_word *w = &c->group->station[rank].phase;
    tlp_status st = tlpi_phase_await(c, w, phase, rank, deadline);
    if (st != TLP_OK)
        return st;

    *out = tlpi_phase_slot(c, rank, phase);
    const tlpi_note *note = &(*out)->note;
    if (note->op == op && note->bytes == bytes)
        return TLP_OK;
    tlpi_phase_give_up(c);
    await_visitors(c->group);
    return tlpi_fail(TLP_ECOMM,
                     "rank %d: %s of %zu bytes, rank %d: %s of %zu bytes",
                     tlpi_root_rank(c, c->base.rank), op_name(op), bytes,
                     tlpi_root_rank(c, rank), op_name(note->op), note->bytes);
}
